//! `neurosieve study --dry-run`: what a run would do.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{memory, report, say, say_json};
use crate::error::Result;
use crate::ops::Backend;
use crate::report::format::count;
use crate::study::memory::Limit;
use crate::study::plan::{EACH, PASSES, Plan, RATE};
use crate::study::results::DeviceUsed;
use crate::study::units::Folder;
use crate::study::units::shards::UNITS;
use crate::study::{self, Spec};

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    plan: Plan,
    device: DeviceUsed,
    /// Units in the folder; whether they fit is known when the activations are read.
    units_there: usize,
    /// Seconds that the run took whose results are in the folder, of the same samples and neurons.
    earlier_seconds: Option<f64>,
}

/// Shows the plan of a study whose results would go to the folder, which is not made.
pub(super) fn show(
    spec: &Spec,
    folder: &Path,
    ((backend, device), limit): ((Backend, DeviceUsed), Option<Limit>),
    as_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let plan = study::plan(spec, &backend, limit, memory::process())?;
    let document = Document {
        earlier_seconds: earlier(folder, &plan, &device),
        units_there: Folder::units_in(&folder.join(UNITS)),
        plan,
        device,
    };
    if as_json {
        return say_json(out, &document);
    }
    let mut text = String::new();
    describe(&mut text, &document, folder).expect("writing to a String cannot fail");
    say(out, &text)
}

/// How long the run in the folder took, where there is one that did about the same on such a device.
fn earlier(folder: &Path, plan: &Plan, device: &DeviceUsed) -> Option<f64> {
    let results = report::read(&folder.join("results.json")).ok()?;
    let samples = &results.data.samples;
    let same = [samples.train, samples.dev, samples.test] == plan.samples
        && results.data.neurons == plan.neurons
        && results.tasks.len() == plan.tasks.len()
        && (&results.device.kind, &results.device.name) == (&device.kind, &device.name);
    same.then(|| results.timings.iter().map(|timing| timing.seconds).sum())
}

fn describe(text: &mut String, document: &Document, folder: &Path) -> std::fmt::Result {
    let plan = &document.plan;
    let [train, dev, test] = plan.samples.map(count);
    writeln!(text, "{}: nothing is computed", plan.name)?;
    writeln!(
        text,
        "  {} neurons in {} layers; {train} / {dev} / {test} samples of train / dev / test, stored as {}",
        count(plan.neurons),
        plan.layers,
        plan.dtypes.join(" / "),
    )?;
    let tasks: Vec<String> = (plan.tasks.iter())
        .map(|(task, classes)| format!("{task} ({classes} classes)"))
        .collect();
    let words = match plan.words {
        true => "",
        false => "; words are not known: no control tasks",
    };
    writeln!(text, "  tasks: {}{words}", tasks.join(", "))?;
    let device = &document.device;
    writeln!(
        text,
        "  on {} ({}). {}\n",
        device.kind, device.name, device.reason
    )?;
    steps(text, plan)?;
    costs(text, document, folder)
}

/// A line a step.
fn steps(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let mut row =
        |name: &str, fits: String, work: String| writeln!(text, "  {name:<58}{fits:>16}{work:>12}");
    let fits = |fits: usize, exact: bool| match exact {
        true => count(fits),
        false => format!("at most {}", count(fits)),
    };
    row("step", "fits".to_owned(), "FLOP/pass".to_owned())?;
    row("correlation", String::new(), amount(plan.correlation_flop))?;
    for step in &plan.steps {
        row(
            &step.step,
            fits(step.fits, step.exact),
            amount(step.pass_flop),
        )?;
    }
    row("all", fits(plan.fits, plan.exact), amount(plan.pass_flop))?;
    match plan.exact {
        true => Ok(()),
        false => writeln!(
            text,
            "  at most: dev decides how many, and mostly on far fewer"
        ),
    }
}

/// Memory, time, and what is there already.
fn costs(text: &mut String, document: &Document, folder: &Path) -> std::fmt::Result {
    let plan = &document.plan;
    let host = &plan.host;
    write!(
        text,
        "\n  memory: about {} on the host, at most {}",
        bytes(host.expected),
        bytes(host.most)
    )?;
    match host.allowed {
        Some(allowed) => writeln!(text, " of the {} that are allowed", bytes(allowed))?,
        None => writeln!(text)?,
    }
    writeln!(
        text,
        "          {} of the first is for working sets, whose sizes data and penalties decide: half or twice as much may be",
        bytes(host.decided)
    )?;
    writeln!(
        text,
        "          activations {}, correlations {}, standardised copy {}; with nothing side by side at most {}",
        bytes(host.data),
        bytes(host.correlations),
        bytes(host.standardised),
        bytes(host.least)
    )?;
    if let Some(device) = plan.device_bytes {
        writeln!(text, "          about {} on the GPU", bytes(device))?;
    }
    match (document.earlier_seconds, plan.estimated_seconds) {
        (Some(seconds), _) => writeln!(
            text,
            "  time: {} is what the run in {} took",
            time(seconds),
            folder.display()
        )?,
        (None, Some(seconds)) => writeln!(
            text,
            "  time: about {}, an estimate: {PASSES} passes a fit at {} GFLOP/s a thread, {EACH} s each",
            time(seconds),
            RATE / 1e9
        )?,
        (None, None) => writeln!(text, "  time: no estimate for a GPU; a first run says it")?,
    }
    if document.units_there > 0 {
        writeln!(
            text,
            "  {} units are in {}: those that fit are not computed again with --resume",
            count(document.units_there),
            folder.join(UNITS).display()
        )?;
    }
    Ok(())
}

/// FLOP with a prefix.
fn amount(flop: f64) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P"];
    let mut left = flop;
    let mut at = 0;
    while left >= 1000.0 && at + 1 < prefixes.len() {
        left /= 1000.0;
        at += 1;
    }
    format!("{left:.1} {}", prefixes[at]).trim_end().to_owned()
}

fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes {
        large if large >= 1024.0 => format!("{:.1} GiB", large / 1024.0),
        small => format!("{small:.0} MiB"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{:.1} hours", s / 3600.0),
        s if s >= 120.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{:.0} s", s.max(1.0)),
    }
}
