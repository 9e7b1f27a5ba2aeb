//! Neurons one by one, the map of correlations, and how large a page may be.

use neurosieve::report::json;
use neurosieve::study::results::*;

use super::markup::parse;
use super::sample::{HOSTILE, WORD, results};
use super::{attributes, page};

/// The JSON that the explorer's script reads.
fn data(page: &str) -> serde_json::Value {
    let root = parse(page);
    let scripts = root.all("script").into_iter();
    let mut data = scripts.filter(|script| script.attribute("id") == Some("neurons"));
    let text = &data.next().expect("there are neurons").text;
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn the_explorer_has_its_documented_elements_and_every_neuron_in_their_order() {
    let shown = page(&results());
    let root = parse(&shown);
    let by_id = |id: &str| {
        let elements = root.walk().into_iter();
        let mut found = elements.filter(|element| element.attribute("id") == Some(id));
        let element = found.next().expect("it is there");
        assert!(found.next().is_none(), "one #{id}");
        element
    };
    assert_eq!(by_id("explorer").name, "section");
    let options = by_id("neuron").all("option");
    let values: Vec<_> = options
        .iter()
        .filter_map(|o| o.attribute("value"))
        .collect();
    assert_eq!(values, ["3", "0"]);
    assert_eq!(options[0].text, "3 · layer 1, unit 9");
    assert!(
        by_id("neuron-card").inside.is_empty(),
        "the script fills it"
    );
    let ids: Vec<_> = data(&shown)["neurons"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|neuron| neuron["id"].as_u64())
        .collect();
    assert_eq!(ids, [Some(3), Some(0)]);
}

#[test]
fn ids_in_tables_lead_to_the_explorer_where_it_has_the_neuron() {
    let mut results = results();
    let links = |page: &str| {
        let links = attributes(page, "href").into_iter();
        links.filter(|link| link.starts_with("#neuron-")).count()
    };
    // Of each of two tasks: a salient neuron and both neurons of two minimal sets.
    assert_eq!(links(&page(&results)), 2 * (1 + 2 * 2));
    let explored = results.explored.as_mut().expect("the sample has them");
    explored.neurons.truncate(1);
    assert_eq!(links(&page(&results)), 2 * (1 + 2));
    results.explored = None;
    let without = page(&results);
    assert_eq!(links(&without), 0);
    assert!(!without.contains("id=\"explorer\"") && !without.contains("id=\"neurons\""));
    assert!(!without.contains("href=\"#explorer"), "nothing leads there");
}

#[test]
fn words_in_the_explorers_data_can_end_no_element_and_stay_what_they_are() {
    let shown = page(&results());
    let data = data(&shown);
    let neuron = &data["neurons"][0];
    assert_eq!(neuron["words"][0][0], WORD);
    assert_eq!(neuron["excerpts"][0]["words"][0], HOSTILE);
    assert_eq!(data["tasks"][0]["classes"][0], HOSTILE);
    assert_eq!(data["tasks"][1]["name"], "</script><b>coarse");
    let block = shown.split("id=\"neurons\">").nth(1).expect("the data");
    let (block, _) = block.split_once("</script>").expect("they end");
    assert!(
        block.contains("\\u003cscript\\u003e"),
        "the words are in it"
    );
    for letter in ['<', '>', '&', '\u{2028}'] {
        assert!(!block.contains(letter), "{letter} is written otherwise");
    }
    // In attributes, where charts have their names.
    let mut results = results();
    let sweep = &mut results.tasks[0].sweeps[0];
    sweep.ranking = WORD.to_owned();
    sweep.accuracy[1] += 1e-9; // No longer what the counts say: points, not steps.
    let root = parse(&page(&results));
    let charts = root.all("figure").into_iter();
    let values = charts.filter_map(|figure| figure.attribute("data-values"));
    let lines = values.map(|text| serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
    let names: Vec<String> = lines
        .map(|chart| chart["lines"][0]["name"].to_string())
        .collect();
    let name = serde_json::json!(format!("{WORD}, top")).to_string();
    assert!(names.contains(&name), "{names:?}");
}

#[test]
fn a_very_long_word_is_cut_where_it_is_shown_alone() {
    let mut results = results();
    let long = "ß".repeat(5000);
    let neurons = &mut results
        .explored
        .as_mut()
        .expect("the sample has them")
        .neurons;
    neurons[0].excerpts[0].words[1].clone_from(&long);
    neurons[0].top_words[0].word.clone_from(&long);
    let data = data(&page(&results));
    let cut = format!("{}…", "ß".repeat(60));
    assert_eq!(data["neurons"][0]["excerpts"][0]["words"][1], cut);
    assert_eq!(data["neurons"][0]["words"][0][0], cut);
}

#[test]
fn results_made_before_there_was_an_explorer_are_read_and_shown() {
    let mut old = serde_json::to_value(results()).expect("results are JSON");
    let fields = old.as_object_mut().expect("a record");
    for new in ["explored", "redundancy"] {
        assert!(fields.remove(new).is_some(), "new ones have {new}");
    }
    let old = json::parse(&old.to_string()).expect("they are read");
    let shown = page(&old);
    for new in [
        "id=\"explorer\"",
        "id=\"correlation-map\"",
        "by pair of layers",
    ] {
        assert!(!shown.contains(new), "nothing is shown of {new}");
        assert!(page(&results()).contains(new));
    }
}

#[test]
fn the_map_says_in_words_what_it_shows() {
    let shown = page(&results());
    let root = parse(&shown);
    let cells = root
        .all("canvas")
        .into_iter()
        .find(|c| c.has_class("cells"));
    let cells = cells.expect("there is a map");
    let said = "Mean |r| between 3 groups of neurons in the order of the dendrogram: 0.26 between a group and the next two, – \
                between all others.";
    assert_eq!(cells.attribute("aria-label"), Some(said));
    assert_eq!(cells.attribute("width"), Some("3"));
    assert_eq!(cells.attribute("tabindex"), Some("0"), "keys reach it");
    assert!(shown.contains("A cell is 1 or 2 neurons by as many"));
}

const NEURONS: usize = 10_000;

/// Numbers that nothing predicts.
fn noise(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a study of 10,000 neurons on four tasks finds: every list as long as a study makes it, every number with all digits.
fn large() -> StudyResults {
    let mut results = results();
    let mut state = 1;
    results.data.neurons = NEURONS;
    results.data.layers = (0..13).collect();
    results.data.layer_of = (0..NEURONS).map(|n| (n / 770) as u32).collect();
    results.data.unit_of = (0..NEURONS).map(|n| (n % 770) as u32).collect();
    let mut task = results.tasks[0].clone();
    task.name = "parts of speech".into();
    let class = task.classes[0].clone();
    task.classes = (0..45)
        .map(|at| ClassSummary {
            name: format!("CLASS-{at}"),
            ..class.clone()
        })
        .collect();
    task.salient.by_class_layer = vec![vec![17; 13]; 45];
    task.salient.by_layer = vec![212; 13];
    let salient = task.salient.neurons[0].clone();
    task.salient.neurons = vec![
        SalientNeuron {
            top_words: vec![salient.top_words[1].clone(); 8],
            ..salient
        };
        30
    ];
    task.layers.independent = vec![task.layers.independent[0].clone(); 13];
    task.layers.cumulative = task.layers.independent.clone();
    let order: Vec<usize> = (0..NEURONS).collect();
    let ranking = RankingResult {
        order: order.clone(),
        scores: vec![0.5; NEURONS],
        per_class: Default::default(),
    };
    task.rankings = ["lca", "probeless"]
        .map(|name| (name.to_owned(), ranking.clone()))
        .into();
    task.sweeps = sweeps(&mut state);
    for set in &mut task.minimal_sets {
        set.neurons = (0..3000).collect();
        set.size = 3000;
    }
    results.tasks = vec![task; 4];
    results.clusters = (1..10).map(|at| cut(f64::from(at) / 10.0)).collect();
    results.redundancy = Some(redundancy(&mut state));
    let explored = explored(&results, &mut state);
    results.explored = Some(explored);
    results
}

fn sweeps(state: &mut u64) -> Vec<SweepResult> {
    let mut sweeps = Vec::new();
    for ablation in ["mean", "zero"] {
        for (name, direction, draws) in [
            ("lca", "keep-top", 1),
            ("lca", "keep-bottom", 1),
            ("probeless", "keep-top", 1),
            ("probeless", "keep-bottom", 1),
            ("random", "keep-top", 5),
        ] {
            let total = 20_000;
            let sums = (0..=NEURONS)
                .map(|k| (k as f64 * 1.7 + 30.0 * noise(state)).round() * draws as f64);
            let correct: Vec<f64> = sums.map(|sum| sum / draws as f64).collect();
            sweeps.push(SweepResult {
                ranking: name.into(),
                direction: direction.into(),
                ablation: ablation.into(),
                k: (0..=NEURONS).collect(),
                accuracy: correct.iter().map(|c| c / total as f64).collect(),
                correct,
                total,
                draws,
            });
        }
    }
    sweeps
}

fn cut(threshold: f64) -> ClusterCut {
    let mut cut = results().clusters[0].clone();
    let clusters = ((1.0 - threshold) * NEURONS as f64) as usize + 1;
    cut.threshold = threshold;
    cut.count = clusters;
    cut.labels = (0..NEURONS).map(|n| (n % clusters) as u32).collect();
    cut.representatives = (0..clusters).collect();
    cut
}

fn redundancy(state: &mut u64) -> Redundancy {
    let thousandths = |state: &mut u64| (noise(state) * 1e3).round() / 1e3;
    let pairs = (0..13).flat_map(|a| (a..13).map(move |b| [a, b]));
    Redundancy {
        map: MapRecord {
            order: (0..NEURONS).rev().collect(),
            bounds: (0..=256).map(|g| g * NEURONS / 256).collect(),
            mean: (0..256 * 257 / 2).map(|_| thousandths(state)).collect(),
        },
        layers: pairs
            .map(|layers| LayerPair {
                layers,
                pairs: 1,
                mean: noise(state),
                largest: noise(state) as f32,
            })
            .collect(),
    }
}

fn explored(results: &StudyResults, state: &mut u64) -> Explored {
    let mut neuron = |id: usize| ExploredNeuron {
        neuron: id,
        layer: (id / 770) as u32,
        unit: (id % 770) as u32,
        mean: noise(state),
        sd: noise(state),
        low: -noise(state) as f32,
        high: noise(state) as f32,
        partners: (0..8)
            .map(|at| Correlated {
                neuron: id + at + 1,
                r: noise(state) as f32,
            })
            .collect(),
        top_words: (0..8)
            .map(|at| TopWord {
                word: format!("word{at}"),
                score: noise(state),
                z: noise(state),
                count: 12,
            })
            .collect(),
        excerpts: (0..4)
            .map(|sentence| ExcerptRecord {
                sentence,
                cut_before: true,
                cut_after: true,
                words: (0..40).map(|at| format!("\"token{at}")).collect(),
                z: (0..40)
                    .map(|_| (noise(state) * 800.0).round() / 100.0 - 4.0)
                    .collect(),
            })
            .collect(),
        tasks: results
            .tasks
            .iter()
            .map(|task| NeuronOfTask {
                weights: task.classes.iter().map(|_| noise(state) as f32).collect(),
                counts: task
                    .classes
                    .iter()
                    .map(|_| (0..24).map(|_| (noise(state) * 999.0) as u32).collect())
                    .collect(),
            })
            .collect(),
    };
    Explored {
        most: 200,
        wanted: 4000,
        neurons: (0..200).map(|at| neuron(at * 49)).collect(),
    }
}

#[test]
fn the_page_of_ten_thousand_neurons_is_below_five_megabytes() {
    let results = large();
    let page = page(&results);
    let parts = ["<svg", "data-values=\"", "id=\"neurons\""].map(|part| page.contains(part));
    assert_eq!(parts, [true; 3]);
    assert_eq!(data(&page)["neurons"].as_array().map(Vec::len), Some(200));
    let megabytes = page.len() as f64 / 1e6;
    assert!(megabytes < 5.0, "{megabytes} MB");
    // It is the page that is small, not what it was made of.
    let document = serde_json::to_string(&results).expect("results are JSON");
    assert!(document.len() > page.len());
}
