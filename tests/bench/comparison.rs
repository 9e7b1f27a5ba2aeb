//! One run beside another.

use neurosieve::bench::comparison::{Change, Comparison, Verdict, compare, parse};
use neurosieve::bench::results::{BenchResults, Timing};
use neurosieve::gpu::TimeSource;
use neurosieve::report::bench::{compared, markdown, text};

use super::native;

fn timing(run: &mut BenchResults, row: usize) -> &mut Timing {
    let times = run.workloads[row].times.as_mut();
    &mut times.expect("natively every row is valid").timing
}

/// A run whose noise is known: medians of 10 ms that deviate by 0.1 ms.
fn steady() -> BenchResults {
    let mut run = native().clone();
    for row in 0..run.workloads.len() {
        let timing = timing(&mut run, row);
        (timing.median_s, timing.min_s, timing.mad_s) = (10e-3, 9.8e-3, 0.1e-3);
    }
    run
}

fn verdict(comparison: &Comparison, name: &str) -> Verdict {
    let row = comparison.rows.iter().find(|row| row.name == name);
    row.expect("the row is there").verdict
}

#[test]
fn a_run_beside_itself_has_not_changed() {
    let run = native();
    let again = parse(&serde_json::to_string(run).unwrap(), "run.json").unwrap();
    assert_eq!(again, *run, "a document loses nothing");
    let comparison = compare(run, &again, &[]);
    assert!(comparison.no_change && comparison.same_device);
    assert_eq!(comparison.rows.len(), run.roofs.len() + run.workloads.len());
    let said = compared(&comparison);
    assert!(said.ends_with("\nno change\n"), "{said}");
    assert!(!said.contains("differ"), "{said}");
}

#[test]
fn what_exceeds_the_noise_of_both_is_told() {
    // Three standard deviations of both are 0.63 ms.
    let old = steady();
    for (median, expected) in [
        (10.6e-3, Verdict::NoChange),
        (9.4e-3, Verdict::NoChange),
        (10.7e-3, Verdict::Slower),
        (9.3e-3, Verdict::Faster),
    ] {
        let mut new = old.clone();
        timing(&mut new, 1).median_s = median;
        let comparison = compare(&old, &new, &[]);
        assert_eq!(verdict(&comparison, &old.workloads[1].name), expected);
        assert_eq!(comparison.no_change, expected == Verdict::NoChange);
        let said = compared(&comparison);
        assert_eq!(
            said.contains("1 of "),
            expected != Verdict::NoChange,
            "{said}"
        );
    }
    // Without any deviation 2 % are noise.
    let (mut old, mut new) = (old.clone(), old);
    timing(&mut old, 0).mad_s = 0.0;
    timing(&mut new, 0).mad_s = 0.0;
    let name = old.workloads[0].name.clone();
    timing(&mut new, 0).median_s = 10.15e-3;
    assert_eq!(verdict(&compare(&old, &new, &[]), &name), Verdict::NoChange);
    timing(&mut new, 0).median_s = 10.25e-3;
    assert_eq!(verdict(&compare(&old, &new, &[]), &name), Verdict::Slower);
}

#[test]
fn what_cannot_be_compared_is_told() {
    let old = steady();
    let mut new = old.clone();
    new.system.threads += 1;
    new.workloads[0].shape.push_str(", larger");
    timing(&mut new, 1).clock = TimeSource::Gpu;
    new.workloads[2].times = None;
    new.workloads[2].valid = false;
    new.workloads[3].name = "another".to_owned();
    let comparison = compare(&old, &new, &[]);
    assert!(!comparison.same_device && !comparison.no_change);
    assert!(compared(&comparison).contains("the machines, devices or drivers differ"));
    for (name, expected) in [
        (&*old.workloads[0].name, Verdict::Incomparable),
        (&*old.workloads[1].name, Verdict::Incomparable),
        (&*old.workloads[2].name, Verdict::NowInvalid),
        (&*old.workloads[3].name, Verdict::OnlyOld),
        ("another", Verdict::OnlyNew),
    ] {
        assert_eq!(verdict(&comparison, name), expected, "{name}");
    }
    let back = compare(&new, &old, &[]);
    assert_eq!(verdict(&back, &old.workloads[2].name), Verdict::NowValid);
    assert_eq!(
        verdict(&compare(&new, &new, &[]), &old.workloads[2].name),
        Verdict::Invalid
    );
    assert!(compare(&new, &new, &[]).no_change);
}

#[test]
fn what_was_not_asked_for_is_left_out() {
    let old = native();
    let mut new = old.clone();
    new.workloads.retain(|row| row.name == "moments");
    let rows = |only: &[&str]| {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        compare(old, &new, &only).rows
    };
    let gone = |rows: &[Change]| {
        rows.iter()
            .filter(|r| r.verdict == Verdict::OnlyOld)
            .count()
    };
    // Without a word on it they are gone.
    assert_eq!(gone(&rows(&[])), old.workloads.len() - 1);
    let asked = rows(&["moments"]);
    assert_eq!((asked.len(), gone(&asked)), (old.roofs.len() + 1, 0));
    // What was asked for and is not there is told.
    assert_eq!(gone(&rows(&["moments", "study"])), 1);
}

#[test]
fn memory_makes_no_other_device() {
    let old = native();
    let mut new = old.clone();
    new.system.memory_bytes = Some(12_345);
    assert!(compare(old, &new, &[]).same_device);
    new.system.cpu = Some("another".to_owned());
    assert!(!compare(old, &new, &[]).same_device);
}

#[test]
fn roofs_that_were_measured_by_more_work_are_compared_by_their_rate() {
    let old = native().clone();
    let mut new = old.clone();
    let times = new.roofs[0].times.as_mut().unwrap();
    times.work *= 4.0;
    times.timing.median_s *= 4.0;
    times.timing.min_s *= 4.0;
    times.timing.mad_s *= 4.0;
    assert!(compare(&old, &new, &[]).no_change);
}

#[test]
fn another_version_and_another_document_are_refused() {
    let text = serde_json::to_string(native()).unwrap();
    let other = text.replacen("\"schema_version\":1", "\"schema_version\":7", 1);
    for (broken, says) in [
        (&*other, "schema_version is 7"),
        ("{}", "no schema_version"),
        ("{\"schema_version\":1}", "neurosieve_version"),
        ("oops", "line 1"),
    ] {
        let refused = parse(broken, "old.json").unwrap_err().to_string();
        assert!(
            refused.contains("old.json") && refused.contains(says),
            "{refused}"
        );
    }
}

#[test]
fn a_roof_that_was_disturbed_is_named() {
    let mut run = native().clone();
    for roof in &mut run.roofs {
        let timing = &mut roof.times.as_mut().unwrap().timing;
        timing.mad_s = 0.04 * timing.median_s;
    }
    assert!(!text(&run).contains("Unsteady"));
    let timing = &mut run.roofs[1].times.as_mut().unwrap().timing;
    timing.mad_s = 0.06 * timing.median_s;
    assert!(
        text(&run).contains("Unsteady: roof.memory."),
        "{}",
        text(&run)
    );
}

#[test]
fn text_and_markdown_have_every_row() {
    let mut run = native().clone();
    run.comparison = Some(compare(&run, &run, &[]));
    let (text, markdown) = (text(&run), markdown(&run));
    for name in run.workloads.iter().map(|row| &row.name) {
        assert!(text.lines().any(|line| line.starts_with(&**name)), "{name}");
        let cell = format!("| {name} |");
        assert!(
            markdown.lines().any(|line| line.starts_with(&cell)),
            "{name}"
        );
    }
    assert!(text.contains("no change") && markdown.contains("no change"));
    // Every row of a table has as many cells; a bar inside a cell is none.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let rows: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    let wide = rows.iter().filter(|line| cells(line) == 13).count();
    assert_eq!(wide, run.workloads.len() + 2, "{markdown}");
    assert_eq!(rows.len() - wide, run.roofs.len() + 2);
}
