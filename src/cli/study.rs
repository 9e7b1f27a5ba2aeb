//! `neurosieve study`: a whole study from its specification.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::output::{OutputFolder, gibibytes};
use super::progress::Bar;
use super::{device, memory, plan, say, say_json, stopping};
use crate::error::Result;
use crate::report;
use crate::study::results::{Combined, StudyResults, TaskResults};
use crate::study::shard::{self, Shard};
use crate::study::units::Folder;
use crate::study::units::shards::{RECORD, Record, UNITS};
use crate::study::{self, Spec};

/// Run a whole study: redundancy, salient neurons, minimal sets, and how sure one can be.
///
/// SPEC is a TOML file; its data files are relative to its folder. DIR gets results.json, report.html and tables/*.csv.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve study study.toml -o out
  neurosieve study study.toml -o out --dry-run
  neurosieve study study.toml -o out --resume --device cpu
  neurosieve study study.toml -o shards --shard 2/8 --resume")]
pub(super) struct Arguments {
    /// The specification (TOML)
    spec: PathBuf,
    /// The folder for the results; created where there is none
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Where to compute: auto, cpu, gpu, all (every GPU), the index of an adapter or a part of its name, or several of these with commas between
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// Memory of each GPU that its buffers may take; what cannot do with so much runs natively [default: what the device has]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_device_memory: Option<u64>,
    /// Memory of the host that the study may take, all in all; what is planned to take more is refused. No result depends on it
    /// [default: on Linux 80 % of what is free]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_memory: Option<u64>,
    /// Compute everything natively as well and compare it by each operation's tolerance; what is further apart is taken from
    /// the native path, and the exit code is 3. Takes the native path's time beside the device's
    #[arg(long)]
    validate: bool,
    /// Go on with a run that was stopped or killed: what DIR/units holds is not computed again
    #[arg(long)]
    resume: bool,
    /// Do the i-th of n shares of the work, for `neurosieve merge`, in DIR/shard-i-of-n; what the other shards have in DIR is
    /// not computed again
    #[arg(long, value_name = "i/n")]
    shard: Option<Shard>,
    /// Show what would be done, from the headers and labels of the data: steps and fits, memory, time. Nothing is computed or
    /// written
    #[arg(long, conflicts_with = "shard")]
    dry_run: bool,
    /// Print results.json to stdout instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let spec = Spec::read(&arguments.spec)?;
    if arguments.dry_run {
        let chosen = device::choose_as(
            open,
            &arguments.device,
            arguments.validate,
            arguments.max_device_memory,
        )?;
        let limit = memory::limit(arguments.max_memory);
        return plan::show(
            &spec,
            &arguments.output,
            (chosen, limit),
            arguments.json,
            out,
        );
    }
    if let Some(shard) = arguments.shard {
        return share(&spec, shard, (arguments, open), out, err);
    }
    // Whatever can fail fails before the work starts.
    let folder = OutputFolder::open(&arguments.output)?;
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let room = memory::room(&spec, &backend, arguments.max_memory)?;
    let stopped = stopping::heed();
    let units = Folder::open(&folder.path().join(UNITS), arguments.resume, stopped)?;
    folder.tidy()?;
    let mut bar = Bar::new();
    let finished = study::resume(&spec, &backend, device, (&units, room), &mut |progress| {
        bar.show_fits(progress, units.fits());
    });
    bar.clear();
    let mut results = finished?;
    device::take_validation(&backend, &mut results.device);
    keep(&results, &folder, &units)?;
    if arguments.resume {
        let (found, all) = units.found();
        drop(writeln!(err, "{found} of {all} units were there already"));
    }
    warn_of_damage(&units, err);
    tell(
        &results,
        (folder.path(), units.fits()),
        arguments.json,
        out,
        err,
    )?;
    device::validation(&results.device, err)
}

/// Not in the results: they have the bits of a run whose units were whole.
pub(super) fn warn_of_damage(units: &Folder, err: &mut dyn Write) {
    if let damaged @ [_, ..] = &*units.damaged() {
        let (number, names) = (damaged.len(), damaged.join(", "));
        drop(writeln!(
            err,
            "warning: {number} units were damaged and computed again ({names})"
        ));
    }
}

/// Writes results, report and tables; with them the run has come to its end.
pub(super) fn keep(results: &StudyResults, folder: &OutputFolder, units: &Folder) -> Result<()> {
    let mut document = Vec::new();
    report::json::write(results, &mut document)?;
    folder.write("results.json", &document)?;
    report::write(results, folder.path())?;
    units.finish()
}

/// Says what was found.
pub(super) fn tell(
    results: &StudyResults,
    (folder, fits): (&Path, usize),
    as_json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    for warning in &results.warnings {
        // A closed stderr must not cost the results; the warnings are in them as well.
        drop(writeln!(err, "warning: {warning}"));
    }
    if as_json {
        return say_json(out, results);
    }
    say(out, &summary(results, folder, fits))
}

/// One shard's share, in a folder of its own.
fn share(
    spec: &Spec,
    shard: Shard,
    (arguments, open): (&Arguments, device::Open<'_>),
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let all = &arguments.output;
    let folder = OutputFolder::open(&all.join(shard.folder()))?;
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let room = memory::room(spec, &backend, arguments.max_memory)?;
    let stopped = stopping::heed();
    let others = shard.all().filter(|other| *other != shard);
    let others = others.map(|other| all.join(other.folder()).join(UNITS));
    let units = Folder::open(&folder.path().join(UNITS), arguments.resume, stopped)?
        .reading(others.collect());
    folder.tidy()?;
    let mut bar = Bar::new();
    let chosen = (&backend, device);
    let finished = shard::share(spec, chosen, (&units, room), shard, &mut |progress| {
        bar.show_fits(progress, units.fits());
    });
    bar.clear();
    let mut record = finished?;
    device::take_validation(&backend, &mut record.device);
    folder.write(RECORD, &report::json::document(&record)?)?;
    units.finish()?;
    warn_of_damage(&units, err);
    match arguments.json {
        true => say_json(out, &record)?,
        false => say(out, &summary_of_share(&record, folder.path(), arguments))?,
    }
    device::validation(&record.device, err)
}

fn summary_of_share(record: &Record, folder: &Path, arguments: &Arguments) -> String {
    format!(
        "{}: shard {}/{} is done, on {} ({})\n  {} units, {} of them there already\n{:.1} s\n  {}\n\
         when all shards are done: neurosieve merge {} {} -o OUT\n",
        record.spec.name,
        record.shard,
        record.of,
        record.device.kind,
        record.device.name,
        record.units,
        record.found,
        record.seconds,
        folder.display(),
        arguments.spec.display(),
        arguments.output.display(),
    )
}

/// The answer in a few lines.
fn summary(results: &StudyResults, folder: &Path, fits: usize) -> String {
    let mut text = format!(
        "{}: {} neurons, {} / {} / {} samples of train / dev / test, on {} ({})\n",
        results.name,
        results.data.neurons,
        results.data.samples.train,
        results.data.samples.dev,
        results.data.samples.test,
        results.device.kind,
        results.device.name,
    );
    for cut in &results.clusters {
        line(
            &mut text,
            format_args!(
                "  clusters at {:<4}  {:>6} of {} neurons",
                cut.threshold, cut.count, results.data.neurons
            ),
        );
    }
    for task in &results.tasks {
        summarise(&mut text, task);
    }
    let seconds: f64 = results.timings.iter().map(|t| t.seconds).sum();
    line(&mut text, format_args!("{seconds:.1} s, {fits} fits"));
    for name in ["report.html", "results.json", "tables"] {
        line(&mut text, format_args!("  {}", folder.join(name).display()));
    }
    text
}

fn summarise(text: &mut String, task: &TaskResults) {
    let oracle = &task.oracle;
    line(
        text,
        format_args!(
            "{}: {} classes, accuracy on test {} [{} to {}], majority {}",
            task.name,
            task.classes.len(),
            percent(oracle.test_accuracy),
            percent(oracle.test_interval[0]),
            percent(oracle.test_interval[1]),
            percent(task.majority_accuracy),
        ),
    );
    line(
        text,
        format_args!("  {:<30} {:>7} {:>9} {:>9}", "", "neurons", "dev", "test"),
    );
    let rows = rows(task);
    for row in &rows {
        let (dev, test) = (percent(row.dev), percent(row.test));
        let mark = if row.suffices { "" } else { "  ✗" };
        line(
            text,
            format_args!(
                "  {:<30} {:>7} {dev:>9} {test:>9}{mark}",
                row.name, row.neurons
            ),
        );
    }
    if rows.iter().any(|row| !row.suffices) {
        line(
            text,
            format_args!("  ✗ loses more on dev than was allowed: the search ended without a set"),
        );
    }
    if let Some(control) = &task.control {
        line(
            text,
            format_args!(
                "  selectivity {}{} (control tasks {})",
                percent(control.selectivity),
                control.interval.map_or_else(String::new, |[low, high]| {
                    format!(" [{}, {}]", percent(low), percent(high))
                }),
                percent(control.accuracy)
            ),
        );
    }
}

/// What was probed, with its neurons and its accuracy on dev and test.
struct Row {
    name: String,
    neurons: usize,
    dev: f64,
    test: f64,
    /// Whether dev's loss is no more than was allowed.
    suffices: bool,
}

fn rows(task: &TaskResults) -> Vec<Row> {
    let row = |name: String, neurons, [dev, test]: [f64; 2], delta| Row {
        name,
        neurons,
        dev,
        test,
        suffices: task.suffices(dev, delta),
    };
    let oracle = &task.oracle;
    let name = "oracle (neurons in use)".to_owned();
    let accuracies = [oracle.dev_accuracy, oracle.test_accuracy];
    let mut rows = vec![row(name, oracle.neurons_used, accuracies, 0.0)];
    rows.extend(task.layer_selection.iter().map(|chosen| {
        let name = format!(
            "layers up to {}, loss {}",
            chosen.layer,
            percent(chosen.delta)
        );
        let accuracies = [chosen.dev_accuracy, chosen.test_accuracy];
        row(name, chosen.neurons, accuracies, chosen.delta)
    }));
    rows.extend(task.minimal_sets.iter().map(|set| {
        let name = format!("{}, loss {}", set.ranking, percent(set.delta));
        let accuracies = [set.dev_accuracy, set.test_accuracy];
        row(name, set.size, accuracies, set.delta)
    }));
    for (at, set) in task.combined.iter().enumerate() {
        // Several losses often select the same layer.
        let same = |other: &Combined| {
            other.layer == set.layer && other.threshold.total_cmp(&set.threshold).is_eq()
        };
        if !task.combined[..at].iter().any(same) {
            let name = format!("layers up to {}, clusters at {}", set.layer, set.threshold);
            let accuracies = [set.dev_accuracy, set.test_accuracy];
            rows.push(row(name, set.size, accuracies, set.set_delta));
        }
    }
    rows
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a String cannot fail");
}
