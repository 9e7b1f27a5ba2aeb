//! `study --dry-run`: what it announces is what a run does, and it does nothing itself.

use std::path::Path;

use serde_json::Value;

use super::kill::specification;
use super::{Part, Study, assert_fails, code, neurosieve, stderr, stdout, text};

fn planned(spec: &Path, out: &Path) -> Value {
    let typed = [
        "study",
        text(spec),
        "-o",
        text(out),
        "--device",
        "cpu",
        "--dry-run",
        "--json",
    ];
    let output = neurosieve(&typed);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON document")
}

/// Fits that a run reports.
fn fitted(spec: &Path, out: &Path) -> u64 {
    let typed = ["study", text(spec), "-o", text(out), "--device", "cpu"];
    let output = neurosieve(&typed);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    let line = said.lines().find_map(|line| line.strip_suffix(" fits"));
    let (_, fits) = line
        .and_then(|line| line.rsplit_once(' '))
        .expect("a number of fits");
    fits.parse().expect("a number")
}

/// Fits of the steps whose number is exact.
fn exact(plan: &Value) -> u64 {
    let steps = plan["steps"].as_array().unwrap().iter();
    let exact = steps.filter(|step| step["exact"] == true);
    exact.map(|step| step["fits"].as_u64().unwrap()).sum()
}

#[test]
fn where_no_choice_decides_the_fits_are_those_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let some = std::fs::read_to_string(&spec).unwrap();
    let none = some.replace(
        "[minimal_set]\n",
        "[combined]\ndeltas = []\n[minimal_set]\ndeltas = []\n",
    );
    let none = none
        .replace("[\"coarse\"]", "[\"coarse\", \"fine\"]")
        .replace("draws = 1", "draws = 2");
    assert_ne!(some, none);
    std::fs::write(&spec, none).unwrap();
    let out = folder.path().join("out");
    let plan = planned(&spec, &out);
    assert!(!out.exists(), "nothing is written");
    assert_eq!(plan["schema_version"], 1);
    assert_eq!(
        (&plan["exact"], &plan["neurons"]),
        (&true.into(), &336.into())
    );
    // Two tasks: two penalties and two draws on all neurons, on 7 layers alone, and two on layers up to 5 of them.
    assert_eq!(plan["fits"], 2 * (2 + 2 + 7 * (2 + 2) + 5 * 2));
    assert_eq!(plan["fits"], fitted(&spec, &out));
    assert_eq!(exact(&plan), plan["fits"].as_u64().unwrap());
}

#[test]
fn where_dev_decides_they_are_the_most_that_there_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let ladder = std::fs::read_to_string(&spec).unwrap();
    let bisection = ladder.replace(
        "ladder = [4, 16, 64]",
        "search = \"bisection\"\nrandom_sets = 3",
    );
    assert_ne!(ladder, bisection);
    for (name, specification) in [("ladder", ladder), ("bisection", bisection)] {
        std::fs::write(&spec, specification).unwrap();
        let out = folder.path().join(name);
        let plan = planned(&spec, &out);
        assert_eq!(plan["exact"], false);
        let (most, fits) = (plan["fits"].as_u64().unwrap(), fitted(&spec, &out));
        assert!(
            exact(&plan) < fits && fits <= most,
            "{name}: {fits} of at most {most}"
        );
        // An upper bound says something: here it is no more than four times what dev decides on.
        assert!(most <= 4 * fits, "{name}: {fits} of at most {most}");
        // Of what was done it knows.
        let again = planned(&spec, &out);
        assert!(again["units_there"].as_u64().unwrap() > 20, "{again}");
        assert!(again["earlier_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(
            (&plan["units_there"], &plan["earlier_seconds"]),
            (&0.into(), &Value::Null)
        );
    }
}

#[test]
fn a_warning_of_fits_that_did_not_converge_counts_every_fit_once() {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let some = std::fs::read_to_string(&spec).unwrap();
    let few = some
        .replace(
            "[probe]\n",
            "[probe]\nmax_passes = 6\nrelative_gap = 1e-6\n",
        )
        .replace(
            "[minimal_set]\n",
            "[combined]\nthresholds = [0.3]\nset_delta = 0.0\n[minimal_set]\nrandom_sets = 2\n",
        );
    std::fs::write(&spec, few).unwrap();
    let out = folder.path().join("out");
    let fits = fitted(&spec, &out);
    let results = std::fs::read_to_string(out.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    // There are layers after the first, and sizes after the first in the search for a combined set.
    assert!(results["data"]["layers"].as_array().unwrap().len() > 1);
    let combined = &results["tasks"][0]["combined"][0];
    assert!(combined["size"].as_u64() > Some(4), "{combined}");
    let warnings = results["warnings"].as_array().unwrap().iter();
    let mut said = warnings.filter_map(|warning| {
        let (count, _) = warning.as_str()?.split_once(" fits did not reach")?;
        count.split_once(" of ")
    });
    let (unconverged, all) = said.next().expect("some did not converge");
    assert!(unconverged.parse::<u64>().unwrap() > 1);
    assert_eq!(all.parse::<u64>().unwrap(), fits);
}

#[test]
fn people_read_steps_memory_and_time_and_bad_data_are_found_before_the_run() {
    let study = Study::new(&Study::usual(), "");
    let output = study.run(&["--dry-run"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    for part in [
        "small: nothing is computed",
        "6 neurons in 2 layers; 60 / 30 / 30 samples",
        "colour (2 classes); words are not known: no control tasks",
        "probes on all neurons",
        "at most",
        "memory: about",
        "with nothing side by side at most",
        "an estimate",
    ] {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    assert!(!study.path("out").exists());
    let mut parts = Study::usual();
    parts[1] = parts[1].with_neurons(4);
    let other = Study::new(&parts, "");
    assert_fails(
        &other.run(&["--dry-run"]),
        &["dev", "4 neurons, train has 6"],
    );
    let mut parts = Study::usual();
    parts[0] = Part::new(20, 1, 4);
    let one = Study::new(&parts, "");
    assert_fails(&one.run(&["--dry-run"]), &["one class"]);
}
