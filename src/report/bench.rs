//! Measurements as aligned text and as Markdown: the same tables.

use std::fmt::Write as _;

use super::format::{number, percent_bare};
use crate::bench::comparison::{Change, Comparison, Verdict};
use crate::bench::results::{BenchResults, Roof, Row, System, Timing};
use crate::bench::{List, Listed};
use crate::gpu::TimeSource;

/// MAD of a roof as a share of its median, from which on it was disturbed.
const UNSTEADY: f64 = 0.05;

/// A heading, and rows of cells under titles.
struct Table {
    heading: &'static str,
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// For a terminal.
pub fn text(results: &BenchResults) -> String {
    let mut out = lines(results).join("\n");
    for table in tables(results) {
        write!(out, "\n\n{}\n", table.heading).expect("writing to a String cannot fail");
        out.push_str(&aligned(&table));
    }
    out.push('\n');
    out.push_str(&notes(results).join("\n"));
    out.push('\n');
    if let Some(comparison) = &results.comparison {
        out.push('\n');
        out.push_str(&compared(comparison));
    }
    out
}

/// For a document or a discussion.
pub fn markdown(results: &BenchResults) -> String {
    let mut lines = lines(results).into_iter();
    let mut out = format!("### {}\n\n", lines.next().unwrap_or_default());
    for line in lines {
        writeln!(out, "- {line}").expect("writing to a String cannot fail");
    }
    for table in tables(results) {
        write!(out, "\n**{}**\n\n", table.heading).expect("writing to a String cannot fail");
        let mut row = |cells: Vec<&str>| {
            let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
            writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a String cannot fail");
        };
        row(table.titles.clone());
        row(table.titles.iter().map(|_| "---").collect());
        for cells in &table.rows {
            row(cells.iter().map(String::as_str).collect());
        }
    }
    for note in notes(results) {
        write!(out, "\n{note}\n").expect("writing to a String cannot fail");
    }
    if let Some(comparison) = &results.comparison {
        out.push('\n');
        out.push_str(&compared_in_markdown(comparison));
    }
    out
}

/// The names of what would be measured, with what they are.
pub fn listed(list: &List) -> String {
    let cells = |one: &Listed| vec![one.name.clone(), one.shape.clone(), one.what.clone()];
    aligned(&Table {
        heading: "",
        titles: vec!["name", "shape", "what"],
        rows: list.rows.iter().map(cells).collect(),
    })
}

/// One run beside another.
pub fn compared(comparison: &Comparison) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&format!("old: {}", comparison.old_device));
    line(&format!("new: {}", comparison.new_device));
    if !comparison.same_device {
        line("the machines, devices or drivers differ");
    }
    let cells = |row: &Change| {
        let share = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        vec![
            row.name.clone(),
            said(row.verdict).to_owned(),
            share(row.ratio),
            share(row.noise),
        ]
    };
    out.push_str(&aligned(&Table {
        heading: "",
        titles: vec!["name", "verdict", "new / old", "noise +-"],
        rows: comparison.rows.iter().map(cells).collect(),
    }));
    let changed = |row: &&Change| !matches!(row.verdict, Verdict::NoChange | Verdict::Invalid);
    if comparison.no_change {
        out.push_str("no change\n");
    } else {
        let changed = comparison.rows.iter().filter(changed).count();
        let rows = comparison.rows.len();
        writeln!(out, "{changed} of {rows} rows differ").expect("writing to a String cannot fail");
    }
    out
}

/// As [`compared`], for a document or a discussion.
pub fn compared_in_markdown(comparison: &Comparison) -> String {
    format!("```\n{}```\n", compared(comparison))
}

fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NoChange => "no change",
        Verdict::Faster => "faster",
        Verdict::Slower => "slower",
        Verdict::OnlyNew => "only in the new run",
        Verdict::OnlyOld => "only in the old run",
        Verdict::NowInvalid => "INVALID now",
        Verdict::NowValid => "valid now",
        Verdict::Invalid => "INVALID in both",
        Verdict::Incomparable => "not comparable: another size or clock",
    }
}

/// The machine, a line each.
fn lines(results: &BenchResults) -> Vec<String> {
    let system = &results.system;
    let size = format!("{:?}", results.size).to_lowercase();
    let mut lines = vec![format!(
        "neurosieve {} bench, size {size}: {}",
        results.neurosieve_version,
        system.device_name()
    )];
    lines.extend(adapter(system));
    let memory = system.memory_bytes.map_or(String::new(), |bytes| {
        format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30))
    });
    lines.push(format!(
        "{} {}, {}, {} threads{memory}",
        system.os,
        system.arch,
        system.cpu.as_deref().unwrap_or("processor unknown"),
        system.threads
    ));
    lines
}

fn adapter(system: &System) -> Vec<String> {
    const MIB: u64 = 1 << 20;
    let Some(adapter) = &system.adapter else {
        return Vec::new();
    };
    let limits = &adapter.limits;
    let features = match system.features_used.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let mut lines = vec![
        format!(
            "ids {:#06x}:{:#06x}, driver {} {}, optional features in use: {features}",
            adapter.vendor_id, adapter.device_id, adapter.driver, adapter.driver_info
        ),
        format!(
            "bindings to {} MiB, {} KiB workgroup memory, {} threads a workgroup",
            limits.binding_bytes / MIB,
            limits.workgroup_memory_bytes / 1024,
            limits.workgroup_threads
        ),
    ];
    if !system.ranked {
        lines.push("software adapter: not ranked, its figures say nothing of GPUs".to_owned());
    }
    lines
}

fn tables(results: &BenchResults) -> [Table; 2] {
    let on_gpu = results.system.adapter.is_some();
    let mut titles = vec!["workload", "shape", "median", "min", "MAD", "n", "clock"];
    titles.extend(["GFLOP/s", "GB/s", "bound by", "% of it"]);
    if on_gpu {
        titles.extend(["end to end", "less upload", "CPU path", "speed-up"]);
    }
    titles.push("error (allowed)");
    let row = |row: &Row| workload(row, on_gpu);
    [
        Table {
            heading: "Roofs, by the fastest repetition",
            titles: vec!["roof", "", "median", "min", "MAD", "n", "clock", "what"],
            rows: results.roofs.iter().map(roof).collect(),
        },
        Table {
            heading: "Workloads",
            titles,
            rows: results.workloads.iter().map(row).collect(),
        },
    ]
}

fn roof(roof: &Roof) -> Vec<String> {
    let mut cells = vec![roof.name.clone()];
    match &roof.times {
        Some(times) => {
            cells.push(format!("{} {}", number(times.value), times.unit));
            cells.extend(timed(&times.timing));
        }
        None => cells.extend(invalid(roof.error, roof.problem.as_ref(), 6)),
    }
    cells.push(roof.what.clone());
    cells
}

fn workload(row: &Row, on_gpu: bool) -> Vec<String> {
    let mut cells = vec![row.name.clone(), row.shape.clone()];
    let Some(times) = &row.times else {
        let blank = if on_gpu { 13 } else { 9 };
        cells.extend(invalid(row.error, row.problem.as_ref(), blank));
        cells.push(error(row.error, row.tolerance));
        return cells;
    };
    let optional = |value: Option<f64>| value.map_or("-".to_owned(), number);
    cells.extend(timed(&times.timing));
    cells.push(optional(times.gflops));
    cells.push(optional(times.gbps));
    cells.push(times.bound_by.clone().unwrap_or_else(|| "-".to_owned()));
    cells.push(times.share_of_roof.map_or("-".to_owned(), percent_bare));
    if on_gpu {
        let end = times.end_to_end;
        let of = |value: Option<f64>| value.map_or("-".to_owned(), seconds);
        cells.push(of(end.map(|e| e.with_upload_s)));
        cells.push(of(end.map(|e| e.without_upload_s)));
        cells.push(of(times.cpu_median_s));
        cells.push(
            times
                .speed_up_over_cpu
                .map_or("-".to_owned(), |s| format!("{s:.2} x")),
        );
    }
    cells.push(error(row.error, row.tolerance));
    cells
}

/// In place of times; the reason goes where it has room.
fn invalid(error: Option<f64>, problem: Option<&String>, cells: usize) -> Vec<String> {
    let why = match (problem, error) {
        (Some(problem), _) => format!("INVALID: {problem}"),
        _ => "INVALID".to_owned(),
    };
    let mut row = vec![why];
    row.resize(cells, "-".to_owned());
    row
}

fn timed(timing: &Timing) -> [String; 5] {
    [
        seconds(timing.median_s),
        seconds(timing.min_s),
        seconds(timing.mad_s),
        timing.repetitions.to_string(),
        match timing.clock {
            TimeSource::Gpu => "gpu".to_owned(),
            TimeSource::Wall => "wall".to_owned(),
        },
    ]
}

fn error(error: Option<f64>, tolerance: f64) -> String {
    error.map_or("-".to_owned(), |error| {
        format!("{} ({})", number(error), number(tolerance))
    })
}

/// In the unit that leaves few digits.
fn seconds(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.2} s")
    } else if value >= 1e-3 {
        format!("{:.2} ms", 1e3 * value)
    } else {
        format!("{:.1} us", 1e6 * value)
    }
}

fn notes(results: &BenchResults) -> Vec<String> {
    let mut notes = Vec::new();
    if results.system.adapter.is_some() {
        notes.push(
            "Medians are of the kernels alone (clock gpu: timestamps of the device), but of a study, and of certificates, which \
             are native, they are of all of it. End to end is the whole call from host memory and back (of losses with samples \
             that are there); speed-up is of that over the CPU path."
                .to_owned(),
        );
    }
    let unsteady = |roof: &Roof| {
        let timing = roof.times.as_ref().map(|times| times.timing);
        timing.is_some_and(|timing| timing.mad_s > UNSTEADY * timing.median_s)
    };
    let unsteady: Vec<&str> = results
        .roofs
        .iter()
        .filter(|roof| unsteady(roof))
        .map(|roof| &*roof.name)
        .collect();
    if !unsteady.is_empty() {
        notes.push(format!(
            "Unsteady: {}. Other programs may have run beside; shares of a roof that was disturbed are too high.",
            unsteady.join(", ")
        ));
    }
    let invalid = results.workloads.iter().filter(|row| !row.valid).count()
        + results.roofs.iter().filter(|roof| !roof.valid).count();
    let rows = results.workloads.len() + results.roofs.len();
    notes.push(match invalid {
        0 => format!("{rows} rows, all valid; {:.0} s.", results.seconds),
        _ => format!(
            "{invalid} of {rows} rows INVALID; {:.0} s.",
            results.seconds
        ),
    });
    notes
}

/// Columns as wide as they have to be; the last one is not filled up.
fn aligned(table: &Table) -> String {
    let titles: Vec<String> = table
        .titles
        .iter()
        .map(|title| (*title).to_owned())
        .collect();
    let all: Vec<&Vec<String>> = std::iter::once(&titles).chain(&table.rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut out = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = width(column) - cell.chars().count();
            line.push_str(cell);
            line.push_str(&" ".repeat(gap + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
