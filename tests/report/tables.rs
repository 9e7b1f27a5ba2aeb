//! The tables: complete and unchanged.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use neurosieve::report::csv;
use neurosieve::study::results::StudyResults;

use super::page;
use super::sample::{WORD, results};

/// The rows of a table, each as wide as its header.
fn rows(results: &StudyResults, name: &str) -> Vec<BTreeMap<String, String>> {
    let tables = csv::tables(results).expect("tables are made");
    let bytes = &tables
        .iter()
        .find(|t| t.0 == name)
        .expect("the table is there")
        .1;
    let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().expect("a header").clone();
    let named = |record: ::csv::StringRecord| {
        let cells = header.iter().zip(&record);
        cells.map(|(h, c)| (h.to_owned(), c.to_owned())).collect()
    };
    reader
        .records()
        .map(|r| named(r.expect("as wide as the header")))
        .collect()
}

#[test]
fn every_table_has_a_row_for_each_figure() {
    let results = results();
    for (name, expected) in [
        ("oracle.csv", 2),
        ("classes.csv", 4),
        ("lambda_path.csv", 4),
        ("layers.csv", 8),
        ("layer_selection.csv", 2),
        ("rankings.csv", 8),
        ("class_rankings.csv", 8),
        ("sweeps.csv", 30),
        ("minimal_sets.csv", 4),
        ("ladders.csv", 8),
        ("disjoint_sets.csv", 4),
        ("stability.csv", 2),
        ("selection_frequency.csv", 4),
        ("random_sets.csv", 2),
        ("combined.csv", 2),
        ("control.csv", 4),
        ("set_selectivity.csv", 4),
        ("salient_layers.csv", 8),
        ("salient_neurons.csv", 2),
        ("top_words.csv", 4),
        ("certificates.csv", 34),
        ("clusters.csv", 2),
        ("cluster_sizes.csv", 10),
        ("cluster_windows.csv", 4),
        ("cluster_labels.csv", 8),
        ("layer_redundancy.csv", 3),
        ("correlation_map.csv", 6),
        ("dendrogram_order.csv", 4),
        ("neurons.csv", 2),
        ("neuron_partners.csv", 4),
        ("neuron_words.csv", 2),
        ("neuron_weights.csv", 8),
        ("neuron_histograms.csv", 24),
        ("neuron_excerpts.csv", 6),
        ("test_use.csv", 1),
        ("timings.csv", 1),
    ] {
        assert_eq!(rows(&results, name).len(), expected, "{name}");
    }
    assert_eq!(
        csv::tables(&results).expect("tables").len(),
        36,
        "all of them are counted here"
    );
}

#[test]
fn tables_keep_words_and_numbers_as_they_are() {
    let results = results();
    let words = rows(&results, "top_words.csv");
    assert_eq!(
        words[0]["word"], WORD,
        "quotes, commas and line feeds included"
    );
    assert_eq!(words[0]["z"], "-2.0");
    let sets = rows(&results, "minimal_sets.csv");
    assert_eq!(sets[0]["neurons"], "3 0");
    assert_eq!(sets[0]["difference_low"], "-0.12");
    assert_eq!(sets[0]["p"], "0.625");
    assert_eq!(sets[0]["p_holm"], "0.625");
    let selective = &rows(&results, "set_selectivity.csv")[0];
    assert_eq!(
        [
            &selective["draws"],
            &selective["control_accuracy"],
            &selective["selectivity"],
            &selective["selectivity_high"],
            &selective["spread"]
        ],
        ["2", "0.3375", "0.5425", "0.8725", "0.0375"]
    );
    let disjoint = rows(&results, "disjoint_sets.csv");
    assert_eq!(
        [
            &disjoint[1]["set"],
            &disjoint[1]["neurons"],
            &disjoint[1]["exhausted"]
        ],
        ["2", "1", "true"]
    );
    let often = rows(&results, "selection_frequency.csv");
    assert_eq!(
        [
            &often[1]["neuron"],
            &often[1]["frequency"],
            &often[1]["equivalent_frequency"]
        ],
        ["0", "0.625", "0.75"]
    );
    assert_eq!(rows(&results, "random_sets.csv")[0]["as_good"], "9");
    assert_eq!(
        rows(&results, "stability.csv")[0]["jaccard_by_chance"],
        "0.5"
    );
    let ranked = rows(&results, "rankings.csv");
    assert_eq!(
        [
            &ranked[0]["rank"],
            &ranked[0]["neuron"],
            &ranked[0]["layer"],
            &ranked[0]["unit"],
            &ranked[0]["score"]
        ],
        ["1", "3", "1", "9", "0.9"]
    );
    let bits: f64 = rows(&results, "oracle.csv")[0]["test_low"]
        .parse()
        .expect("a number");
    assert_eq!(bits.to_bits(), 0.7432_f64.to_bits());
}

/// Texts that a spreadsheet would run, and texts that stay as they are. `python/tests/browser` has them go through the page.
fn formulas_and_others() -> [Vec<String>; 2] {
    let texts: Value = serde_json::from_str(include_str!("formulas.json")).expect("it is JSON");
    ["formulas", "others"].map(|kind| {
        let texts = texts[kind].as_array().expect("a list");
        let text = |of: &Value| of.as_str().expect("a text").to_owned();
        texts.iter().map(text).collect()
    })
}

#[test]
fn a_text_that_a_spreadsheet_would_run_has_an_apostrophe_before_it_and_a_number_has_none() {
    for (before, texts) in ["'", ""].into_iter().zip(formulas_and_others()) {
        for word in texts {
            let mut results = results();
            let task = &mut results.tasks[0];
            task.name.clone_from(&word);
            task.classes[0].name.clone_from(&word);
            task.salient.neurons[0].top_words[0].word.clone_from(&word);
            let written = &*format!("{before}{word}");
            let top = &rows(&results, "top_words.csv")[0];
            assert_eq!(
                [&*top["task"], &*top["word"], &*top["z"]],
                [written, written, "-2.0"]
            );
            let class = &rows(&results, "classes.csv")[0];
            assert_eq!([&*class["class"], &*class["train"]], [written, "20"]);
            let sets = &rows(&results, "minimal_sets.csv")[0];
            assert_eq!(sets["difference_low"], "-0.12");
        }
    }
}

/// A pattern of the page's script. What it is written with means the same to a browser and here, but for the flag `u`, which
/// is always on here.
fn pattern(page: &str, name: &str) -> Regex {
    let (_, after) = page
        .split_once(&format!("{name} = /"))
        .expect("it is in the script");
    let (pattern, rest) = after.split_once('/').expect("it ends");
    let ignores_case = rest.starts_with('i');
    RegexBuilder::new(pattern)
        .case_insensitive(ignores_case)
        .build()
        .expect("a pattern")
}

#[test]
fn the_page_takes_the_same_texts_for_formulas_as_the_tables() {
    let page = page(&results());
    let rule = "BEGINS.test(value) && SAYS.test(value) && !NUMBER.test(value)";
    assert!(page.contains(rule), "it is put together as here");
    let [begins, says, number] = ["BEGINS", "SAYS", "NUMBER"].map(|name| pattern(&page, name));
    let formula =
        |text: &str| begins.is_match(text) && says.is_match(text) && !number.is_match(text);
    let [formulas, others] = formulas_and_others();
    assert!(formulas.len() > 10 && others.len() > 10);
    for text in formulas {
        assert!(formula(&text), "{text:?}");
    }
    for text in others {
        assert!(!formula(&text), "{text:?}");
    }
}

#[test]
fn tables_of_single_neurons_keep_words_and_numbers_too() {
    let results = results();
    let token = &rows(&results, "neuron_excerpts.csv")[2];
    assert_eq!(
        [
            &token["neuron"],
            &token["excerpt"],
            &token["word"],
            &token["z"]
        ],
        ["3", "2", WORD, "2.5"]
    );
    let bin = &rows(&results, "neuron_histograms.csv")[2];
    assert_eq!(
        [&bin["from"], &bin["to"], &bin["samples"]],
        ["1.0", "2.25", "17"]
    );
    let places = rows(&results, "dendrogram_order.csv");
    let groups: Vec<&str> = places.iter().map(|row| &*row["group"]).collect();
    assert_eq!(groups, ["0", "1", "2", "2"]);
}
