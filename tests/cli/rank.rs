//! `neurosieve rank`: every method finds the neurons that the class shifts, and what does not fit is refused.

use serde_json::Value;

use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

/// Data of three classes, and a probe fitted on them; their paths.
fn fitted(classes: usize) -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, probe) = (path("d.safetensors"), path("p.safetensors"));
    Part::new(200, classes, 4).write(std::path::Path::new(&data));
    let output = neurosieve(&[
        "probe", &data, "-o", &probe, "--l1", "0.01", "--l2", "0.01", "--device", "cpu",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    (folder, data, probe)
}

#[test]
fn every_method_finds_the_neurons_that_the_class_shifts() {
    for classes in [2, 3] {
        let (folder, data, probe) = fitted(classes);
        let out = folder.path().join("r.json");
        let out = out.to_str().unwrap();
        let output = neurosieve(&["rank", &data, "-o", out, "--probe", &probe, "--depth", "2"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("overlap with the vote"));
        let found: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
        let rankings = found["rankings"].as_object().unwrap();
        assert_eq!(rankings.len(), 11, "ten methods and their vote");
        for (name, ranking) in rankings {
            let order: Vec<u64> = ranking["order"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_u64().unwrap())
                .collect();
            assert_eq!(order.len(), 6);
            // The class between two others has no weight on the neurons that tell these apart, so LCA adds one of its own.
            if name != "random" && !(name == "lca" && classes == 3) {
                let mut first = order[..2].to_vec();
                first.sort_unstable();
                assert_eq!(first, [0, 3], "{name}, {classes} classes");
            }
            let has_classes = !["anova", "information", "random", "borda"].contains(&name.as_str());
            let per_class = ranking["per_class"].as_object().map_or(0, |of| of.len());
            assert_eq!(per_class, if has_classes { classes } else { 0 }, "{name}");
        }
        let agreement = found["agreement"].as_array().unwrap();
        assert_eq!(agreement.len(), 11 * 10 / 2);
        let lca = agreement
            .iter()
            .find(|pair| pair["of"] == serde_json::json!(["lca", "probeless"]));
        assert!(lca.unwrap()["jaccard"].as_f64().unwrap() > 0.3);
    }
}

#[test]
fn what_a_ranking_lacks_is_named() {
    let (folder, data, probe) = fitted(3);
    let out = folder.path().join("r.json");
    let out = out.to_str().unwrap();
    let base = ["rank", &data, "-o", out];
    let refuse = |extra: &[&str], parts: &[&str]| {
        assert_fails(&neurosieve(&[&base[..], extra].concat()), parts);
    };
    refuse(&["--method", "lca"], &["ranking by lca", "--probe"]);
    refuse(&["--probe", &data], &["neurosieve probe"]);
    let other = folder.path().join("o.safetensors");
    let path = other.to_str().unwrap();
    let with_probe = ["rank", path, "-o", out, "--probe", &probe];
    Part::new(50, 4, 4).write(&other);
    assert_fails(
        &neurosieve(&with_probe),
        &["does not know the class", "class-3"],
    );
    Part::new(50, 3, 4).with_neurons(4).write(&other);
    assert_fails(&neurosieve(&with_probe), &["of 6 neurons, the data of 4"]);
    // A probe may know classes that these data lack.
    Part::new(50, 2, 4).write(&other);
    let output = neurosieve(&with_probe);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(
        found["rankings"]["lca"]["per_class"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(found["probe_weights"], "standardised");
    // Every sample a class of its own: F is not defined, and left out where it was not asked for.
    let mut own = Part::new(6, 6, 4);
    own.labels = (0..6).collect();
    own.write(&other);
    let output = neurosieve(&["rank", path, "-o", out]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let named = neurosieve(&["rank", path, "-o", out, "--method", "anova"]);
    assert_fails(&named, &["more samples than classes"]);
    let usage = neurosieve(&[&base[..], &["--method", "best"]].concat());
    assert_eq!(code(&usage), 2);
    assert!(stderr(&usage).contains("probeless, anova"));
    let without = neurosieve(&base);
    assert_eq!(code(&without), 0, "{}", stderr(&without));
    let found: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(
        found["rankings"].as_object().unwrap().len(),
        9,
        "those that need no probe"
    );
}

#[test]
fn greedy_methods_run_when_they_are_named_and_have_no_vote() {
    let (folder, data, _) = fitted(3);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (out, dev) = (path("r.json"), path("dev.safetensors"));
    Part::new(90, 3, 5).write(std::path::Path::new(&dev));
    let read = |arguments: &[&str]| -> Value {
        let output = neurosieve(&[&["rank", &data, "-o", &out], arguments].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap()
    };
    let plain = read(&["--json"]);
    assert!(plain.get("selections").is_none() && plain["rankings"].get("gaussian").is_none());
    let votes = read(&["--method", "anova,auroc"]);
    let found = read(&[
        "--method",
        "anova,auroc,gaussian,forward",
        "--dev",
        &dev,
        "--select",
        "3",
        "--json",
    ]);
    let rankings = &found["rankings"];
    assert_eq!(
        rankings["borda"], votes["rankings"]["borda"],
        "they have no vote"
    );
    for name in ["gaussian", "forward"] {
        let selection = &found["selections"][name];
        let steps = selection["steps"].as_array().unwrap();
        assert_eq!((steps.len(), &selection["scored_on"]), (3, &"dev".into()));
        assert_eq!(selection["samples"], 90);
        let order = rankings[name]["order"].as_array().unwrap();
        assert_eq!(order.len(), 6);
        for (step, neuron) in steps.iter().zip(order) {
            assert_eq!(step["neuron"], *neuron);
        }
        let mut first = [order[0].as_u64().unwrap(), order[1].as_u64().unwrap()];
        first.sort_unstable();
        assert_eq!(first, [0, 3], "{name}");
        assert!(steps[1]["accuracy"].as_f64() > steps[0]["accuracy"].as_f64());
    }
    assert_eq!(found["selections"]["gaussian"]["selected_on"], "dev");
    assert_eq!(found["selections"]["forward"]["selected_on"], "train");
    let output = neurosieve(&["rank", &data, "-o", &out, "--method", "gaussian"]);
    assert!(
        stdout(&output).contains("with 6 neurons"),
        "{}",
        stdout(&output)
    );
    Part::new(50, 3, 4)
        .with_neurons(4)
        .write(std::path::Path::new(&dev));
    let arguments = ["rank", &data, "-o", &out, "--method", "forward"];
    let other = neurosieve(&[&arguments[..], &["--dev", &dev]].concat());
    assert_fails(&other, &["dev of a ranking", "4 neurons"]);
    let unpenalised = neurosieve(&[&arguments[..], &["--l2", "0"]].concat());
    assert_fails(&unpenalised, &["forward selection", "λ2 is 0"]);
    let none = neurosieve(&[&arguments[..], &["--select", "0"]].concat());
    assert_eq!(code(&none), 2);
}
