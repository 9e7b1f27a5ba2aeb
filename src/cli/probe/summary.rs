//! What `neurosieve probe` prints: the answer in a few lines.

use std::fmt::Write as _;

use crate::study::probe::ProbeResults;
use crate::study::probe::results::{Estimate, Figures, PartMetrics};

/// The answer in a few lines.
pub(super) fn summary(results: &ProbeResults) -> String {
    let mut text = String::new();
    write_summary(&mut text, results).expect("writing to a String cannot fail");
    text
}

fn write_summary(text: &mut String, results: &ProbeResults) -> std::fmt::Result {
    let seen = results.columns.as_ref().map_or(results.neurons, Vec::len);
    let what = match &results.classes {
        Some(classes) => format!("{} classes", classes.len()),
        None => "values".to_owned(),
    };
    writeln!(
        text,
        "{}: {what}, {seen} of {} neurons, {} of them in use, on {} ({})",
        results.task,
        results.neurons,
        results.neurons_used,
        results.device.kind,
        results.device.name
    )?;
    let selection = &results.selection;
    let chosen = match (selection.by, selection.rule, selection.folds) {
        ("dev", Some(rule), _) => format!("chosen on dev by {}", rule.name()),
        (_, Some(rule), Some(folds)) => format!("chosen by {} in {folds} folds", rule.name()),
        _ => "given".to_owned(),
    };
    writeln!(
        text,
        "  λ1 {}, λ2 {} ({chosen}; {} tried)",
        plain(results.l1),
        plain(results.l2),
        selection.path.len()
    )?;
    let certificate = &results.certificate;
    let gap = certificate
        .relative_gap
        .map_or("unbounded".to_owned(), |gap| format!("{gap:.1e}"));
    writeln!(
        text,
        "  {}: KKT {:.1e} of λ_max, relative gap {gap}, {:.1} passes",
        match (results.method, certificate.converged) {
            ("adam", _) => "trained as NeuroX",
            (_, true) => "converged",
            (_, false) => "NOT CONVERGED",
        },
        certificate.kkt_relative,
        certificate.passes
    )?;
    let parts = [
        ("train", Some(&results.metrics.train)),
        ("dev", results.metrics.dev.as_ref()),
        ("test", results.metrics.test.as_ref()),
    ];
    for (at, (name, metrics)) in parts
        .into_iter()
        .filter_map(|(n, m)| Some((n, m?)))
        .enumerate()
    {
        let figures = figures(metrics);
        if at == 0 {
            write!(text, "  {:<5} {:>7}", "", "samples")?;
            figures
                .iter()
                .try_for_each(|(figure, _)| write!(text, "  {figure:<25}"))?;
            writeln!(text)?;
        }
        write!(text, "  {name:<5} {:>7}", metrics.samples)?;
        figures
            .iter()
            .try_for_each(|(_, value)| write!(text, "  {value:<25}"))?;
        writeln!(text)?;
    }
    write_beyond(text, results)
}

/// Whether the probe knows more than memory.
fn write_beyond(text: &mut String, results: &ProbeResults) -> std::fmt::Result {
    if let Some(control) = &results.control {
        writeln!(
            text,
            "  selectivity on {} {} (accuracy − {:.4} of {}, classes {}, ± {:.4}; {:.0} % of the words are in train)",
            control.judged_on,
            shown(&control.selectivity),
            control.accuracy,
            counted(control.draws.len(), "control task"),
            control.from.name(),
            control.spread,
            100.0 * control.seen_in_train
        )?;
    }
    if let Some(shuffles) = &results.label_shuffles {
        let largest = shuffles.accuracies.iter().copied().fold(0.0, f64::max);
        writeln!(
            text,
            "  p {:.4} on {}: accuracy {:.4}, at most {largest:.4} of {}",
            shuffles.p,
            shuffles.judged_on,
            shuffles.accuracy,
            counted(shuffles.accuracies.len(), "label shuffle")
        )?;
    }
    if let Some(length) = &results.description_length {
        let task = &length.task;
        writeln!(
            text,
            "  description length of train's labels {:.0} bits: compression {:.2} (uniform code {:.0}, class frequencies {:.0} bits)",
            task.bits, task.compression, task.uniform_bits, task.frequency_bits
        )?;
        if let (Some(bits), Some(compression)) = (length.control_bits, length.control_compression) {
            writeln!(
                text,
                "    of {}: {bits:.0} bits, compression {compression:.2} on average",
                counted(length.controls.len(), "control task")
            )?;
        }
    }
    Ok(())
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The figures of a part with their names.
fn figures(metrics: &PartMetrics) -> Vec<(&'static str, String)> {
    let defined = |e: &Option<Estimate>| e.as_ref().map_or("undefined".to_owned(), shown);
    match &metrics.figures {
        Figures::Classes {
            accuracy,
            macro_f1,
            mcc,
            log_loss,
            ..
        } => vec![
            ("accuracy", shown(accuracy)),
            ("macro-F1", shown(macro_f1)),
            ("MCC", shown(mcc)),
            ("log-loss", shown(log_loss)),
        ],
        Figures::Values {
            mse,
            r2,
            pearson,
            spearman,
        } => vec![
            ("MSE", shown(mse)),
            ("R²", defined(r2)),
            ("Pearson's r", defined(pearson)),
            ("Spearman's ρ", defined(spearman)),
        ],
    }
}

/// A penalty in digits that `--l1` takes again.
fn plain(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.4e}")
    }
}

fn shown(estimate: &Estimate) -> String {
    let value = estimate.value;
    match estimate.interval {
        Some([low, high]) => format!("{value:.4} [{low:.4}, {high:.4}]"),
        None => format!("{value:.4}"),
    }
}
