//! `neurosieve concepts`: words, concepts and classes of neurons, and what is refused.

use serde_json::Value;

use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

fn fixture(name: &str) -> String {
    format!(
        "{}/fixtures/python-tokens/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn run(arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("c.json");
    let data = fixture("train.safetensors");
    let base = [
        "concepts",
        &data,
        "-o",
        out.to_str().unwrap(),
        "--task",
        "fine",
    ];
    let output = neurosieve(&[&base[..], arguments].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let document = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    (document, stdout(&output))
}

fn concept<'a>(found: &'a Value, kind: &str, name: &str) -> &'a Value {
    let mut all = found["concepts"].as_array().unwrap().iter();
    let of = |c: &&Value| c["kind"] == kind && c["name"] == name;
    all.find(of).unwrap_or_else(|| panic!("{kind} {name}"))
}

#[test]
fn words_classes_and_patterns_have_their_neurons() {
    let (found, said) = run(&[
        "--neurons",
        "5,0-1",
        "--concept",
        "number=[0-9]+",
        "--concept",
        "nothing=[0-9]{40}",
        "--both-sides",
        "--quantile",
        "0.02,0.05",
    ]);
    assert_eq!(found["schema_version"], 1);
    assert_eq!(found["thresholds"].as_array().unwrap().len(), 4);
    let described = found["described"].as_array().unwrap();
    let ids: Vec<u64> = described
        .iter()
        .map(|n| n["neuron"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [0, 1, 5]);
    for neuron in described {
        let histogram = neuron["histogram"]["counts"].as_object().unwrap();
        let counted = histogram.values().flat_map(|row| row.as_array().unwrap());
        assert_eq!(counted.map(|n| n.as_u64().unwrap()).sum::<u64>(), 800);
        for list in ["top_words", "high_words", "low_words"] {
            let words = neuron[list].as_array().unwrap();
            assert_eq!(words.len(), 8, "{list}");
            assert!(
                words
                    .iter()
                    .all(|word| word["count"].as_u64().unwrap() >= 3)
            );
            assert_eq!(words[0]["score"], 1.0);
        }
        let z = |list: &str| neuron[list][0]["z"].as_f64().unwrap();
        assert!(z("high_words") > 0.0 && z("low_words") < 0.0);
    }
    // The embedding layer knows one token from another, so some neuron there is nearly of numbers alone.
    let number = concept(&found, "pattern", "number");
    assert_eq!(
        (&number["samples"], &number["pattern"]),
        (&15.into(), &"[0-9]+".into())
    );
    let best = &number["neurons"][0];
    assert!(
        best["iou"].as_f64().unwrap() > 0.2 && best["q"].as_f64().unwrap() < 1e-6,
        "{best}"
    );
    let (precision, recall) = (
        best["precision"].as_f64().unwrap(),
        best["recall"].as_f64().unwrap(),
    );
    let iou = best["shared"].as_f64().unwrap()
        / (15.0 + best["fires"].as_f64().unwrap() - best["shared"].as_f64().unwrap());
    assert_eq!(best["iou"].as_f64().unwrap(), iou);
    assert!(precision > 0.0 && recall > 0.0);
    assert_eq!(concept(&found, "pattern", "nothing")["samples"], 0);
    assert!(said.contains("no word is a \"nothing\""), "{said}");
    concept(&found, "class", "KEYWORD");
    concept(&found, "word", "self");
    assert!(
        said.contains("number ") && said.contains("fires on"),
        "{said}"
    );
    assert!(
        !said.contains("\n  self "),
        "words are in the document alone: {said}"
    );
}

#[test]
fn a_probe_says_which_classes_are_focused_and_orders_the_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, probe) = (fixture("train.safetensors"), path("p.safetensors"));
    let fitted = neurosieve(&[
        "probe", &data, "-o", &probe, "--task", "fine", "--l1", "0.003", "--l2", "0.003",
        "--device", "cpu",
    ]);
    assert_eq!(code(&fitted), 0, "{}", stderr(&fitted));
    let (found, said) = run(&["--probe", &probe, "--top", "7"]);
    assert_eq!(
        (&found["method"], &found["class_of_neurons_by"]),
        (&"lca".into(), &"weight".into())
    );
    let ranks = found["described"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["rank"].as_u64().unwrap());
    assert_eq!(ranks.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert!(said.contains("from focused to distributed"), "{said}");
    for class in found["focus"]["classes"].as_array().unwrap() {
        let neurons = class["neurons"].as_array().unwrap().len();
        let layers = class["by_layer"].as_array().unwrap();
        assert_eq!(
            layers
                .iter()
                .map(|n| n.as_u64().unwrap() as usize)
                .sum::<usize>(),
            neurons
        );
        assert_eq!(class["share"].as_f64().unwrap(), neurons as f64 / 336.0);
    }
    for ordering in found["orderings"].as_array().unwrap() {
        let classes = ordering["classes"].as_object().unwrap().values();
        let counted: u64 = classes
            .map(|class| class["neurons"].as_u64().unwrap())
            .sum();
        assert_eq!(
            counted + ordering["of_none"].as_u64().unwrap(),
            ordering["k"].as_u64().unwrap()
        );
    }
    let out = path("c.json");
    let base = ["concepts", &data, "-o", &out, "--task", "fine"];
    let none = neurosieve(&[&base[..], &["--probe", &probe, "--mass", "0"]].concat());
    assert_fails(&none, &["weight mass", "it is 0"]);
}

#[test]
fn an_ordering_of_a_file_says_which_neurons_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, rankings) = (fixture("train.safetensors"), path("r.json"));
    let ranked = neurosieve(&[
        "rank",
        &data,
        "-o",
        &rankings,
        "--task",
        "fine",
        "--method",
        "probeless,anova",
    ]);
    assert_eq!(code(&ranked), 0, "{}", stderr(&ranked));
    let (by_file, _) = run(&["--rankings", &rankings, "--method", "anova", "--top", "2"]);
    let orders: Value = serde_json::from_slice(&std::fs::read(&rankings).unwrap()).unwrap();
    let first = |n: usize| &by_file["described"][n]["neuron"];
    assert_eq!(
        [first(0), first(1)],
        [0, 1].map(|n| &orders["rankings"]["anova"]["order"][n])
    );
    assert_eq!(by_file["class_of_neurons_by"], "mean-difference");
    assert!(by_file["focus"].is_null());
    let refuse = |extra: &[&str], parts: &[&str]| {
        let out = path("c.json");
        let base = ["concepts", &data, "-o", &out, "--task", "fine"];
        assert_fails(&neurosieve(&[&base[..], extra].concat()), parts);
    };
    refuse(&["--rankings", &rankings], &["several orderings", "anova"]);
    refuse(
        &["--rankings", &rankings, "--method", "best"],
        &["there is no \"best\"", "probeless"],
    );
    refuse(
        &["--rankings", &rankings, "--method", "anovas"],
        &["Did you mean \"anova\"?"],
    );
    refuse(&["--top", "3"], &["there is no ordering", "--rankings"]);
    refuse(&["--neurons", "335-336"], &["no neuron 336", "0 to 335"]);
    refuse(&["--quantile", "1.5"], &["quantile of 1.5"]);
    refuse(&["--rankings", &data], &["train.safetensors"]);
}

#[test]
fn data_without_words_have_classes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d.safetensors");
    Part::new(100, 2, 4).write(&data);
    let out = folder.path().join("c.json");
    let base = [
        "concepts",
        data.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
    ];
    let output = neurosieve(&base);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("warning: there are no words"));
    let found: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(
        found["described"].as_array().unwrap().len(),
        6,
        "all neurons"
    );
    assert!(found["described"][0]["top_words"].is_null());
    // The class shifts neurons 0 and 3 upwards.
    let best = &concept(&found, "class", "class-1")["neurons"];
    let mut ids = [&best[0]["neuron"], &best[1]["neuron"]].map(|id| id.as_u64().unwrap());
    ids.sort_unstable();
    assert_eq!(ids, [0, 3]);
    let pattern = neurosieve(&[&base[..], &["--concept", "number=[0-9]+"]].concat());
    assert_fails(&pattern, &["concept \"number\"", "--words"]);
    for wrong in ["number", "=x", "n=[", "n=a)(b"] {
        let output = neurosieve(&[&base[..], &["--concept", wrong]].concat());
        assert_eq!(code(&output), 2, "{wrong}");
    }
    let over = ["concepts", data.to_str().unwrap(), "-o", "d.csv"];
    assert_fails(&neurosieve(&over), &["d.csv"]);
}
