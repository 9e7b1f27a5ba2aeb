//! Every number that a reader finds outside of tables' cells and charts' axes is one of the document: in sentences, lists of
//! facts, captions, notes, headings, names in drawings, texts of tables. What each text has to say is put together in
//! `expected` from the fields of the document; a number of our own words is in [`OURS`] with the words around it.

mod expected;
mod fields;
mod said;
mod shown;
mod variants;

use std::collections::BTreeSet;

use neurosieve::report::html;
use neurosieve::study::compare::results::CompareResults;
use neurosieve::study::results::StudyResults;

use super::figures::document;
use super::markup::parse;
use super::page;
use expected::Statements;
use said::{Said, has_digit, number};
use shown::Texts;

/// The task, from 1 (0 for none), and the heading of the section.
pub type Place = (usize, String);

/// Numbers that are no results, with the words that they stand in.
const OURS: [&str; 24] = [
    // The report.
    "95 % interval",
    "(95 %)",
    "δ = 1 %",
    "p < 0.05 after Holm’s correction",
    "< 0.001",
    "At 100 % no two neurons were merged",
    "|r| 0 ",
    "p = (1 + random sets",
    "÷ (1 + random sets)",
    "λ1",
    "λ2",
    "The L1 penalty",
    "BLAKE3",
    // The comparison.
    "holds 0.",
    "excludes 0;",
    "excludes 0.",
    "sit at other depths (p < 0.05)",
    "the first 5 %",
    "relative depth: 0 is the lowest layer, 1 the highest",
    "1-Wasserstein",
    "0 where salient neurons are of the same classes",
    "1 where none is common",
    "the first 1, 2, … neurons",
    "a corrected p below 0.05",
];

/// What is shown and not said, or said and not shown; empty where a page agrees with what it has to say.
fn differences(shown: &Texts, said: &Statements) -> Vec<String> {
    let places: BTreeSet<&Place> = shown.keys().chain(said.keys()).collect();
    let mut wrong = Vec::new();
    for place in places {
        let shown = shown.get(place).map_or(&[][..], Vec::as_slice);
        let said = said.get(place).map_or(&[][..], Vec::as_slice);
        wrong.extend(between(place, shown, said));
    }
    wrong
}

/// The same of one place: text for text in their order; the names in a drawing stand in any.
fn between(place: &Place, shown: &[String], said: &[Said]) -> Vec<String> {
    let mut left: Vec<&Said> = said.iter().filter(|said| said.has_digit()).collect();
    let mut wrong = Vec::new();
    let any = place.1.starts_with("drawing: ");
    for text in shown {
        let within = if any { left.len() } else { left.len().min(1) };
        match left[..within].iter().position(|said| said.is_shown(text)) {
            Some(at) => {
                left.remove(at);
            }
            None => {
                let next = left.first().map(|said| format!(" for {said:?}"));
                wrong.push(format!("{place:?}: \"{text}\"{}", next.unwrap_or_default()));
                if !any && !left.is_empty() {
                    left.remove(0);
                }
            }
        }
    }
    left.retain(|said| !said.optional);
    wrong.extend(
        left.iter()
            .map(|said| format!("{place:?}: not said: {said:?}")),
    );
    wrong
}

/// What a page of results shows, and what it has to say.
fn of_report(results: &StudyResults) -> (Texts, Statements) {
    (
        shown::texts(&parse(&page(results))),
        expected::report(&document(results)),
    )
}

/// A text with its numbers changed one after another, each in its last digit.
fn changed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(|c: char| c.is_ascii_digit()) {
        let start = at + start;
        let (_, _, length) = number(&text[start..]).expect("it begins with a digit");
        let end = start + length;
        let last = text[..end]
            .rfind(|c: char| c.is_ascii_digit())
            .expect("there is one");
        let digit = (text.as_bytes()[last] - b'0' + 5) % 10;
        found.push(format!("{}{digit}{}", &text[..last], &text[last + 1..]));
        at = end;
    }
    found
}

/// Each number of the page changed where it stands: how many there are, and which nobody notices.
fn unnoticed(shown: &Texts, said: &Statements) -> (usize, Vec<String>) {
    let (mut numbers, mut missed) = (0, Vec::new());
    for (place, texts) in shown {
        let said = said.get(place).map_or(&[][..], Vec::as_slice);
        for (at, text) in texts.iter().enumerate() {
            for other in changed(text) {
                numbers += 1;
                let mut texts = texts.clone();
                texts[at].clone_from(&other);
                if between(place, &texts, said).is_empty() {
                    missed.push(format!("{place:?}: \"{other}\" for \"{text}\""));
                }
            }
        }
    }
    (numbers, missed)
}

/// Where the report of results and they themselves differ.
pub fn of_results(results: &StudyResults) -> Vec<String> {
    let (shown, said) = of_report(results);
    differences(&shown, &said)
}

/// How many numbers its prose has, and changes of one that go unnoticed.
pub fn changes_of_results(results: &StudyResults) -> (usize, Vec<String>) {
    let (shown, said) = of_report(results);
    unnoticed(&shown, &said)
}

fn of_comparison(results: &CompareResults) -> (Texts, Statements) {
    let page = html::comparison(results).expect("the page renders");
    let document = serde_json::to_string(results).expect("results are JSON");
    let document = serde_json::from_str(&document).expect("it can be read again");
    (shown::texts(&parse(&page)), expected::comparison(&document))
}

/// Every page of a variant, with what it has to say.
fn pages() -> Vec<(&'static str, Texts, Statements)> {
    let mut pages = Vec::new();
    for (name, results) in variants::reports() {
        let (shown, said) = of_report(&results);
        pages.push((name, shown, said));
    }
    for (name, results) in variants::comparisons() {
        let (shown, said) = of_comparison(&results);
        pages.push((name, shown, said));
    }
    pages
}

#[test]
fn every_number_of_a_pages_prose_is_one_of_its_document() {
    for (name, shown, said) in pages() {
        assert_eq!(differences(&shown, &said), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_changed_number_of_a_pages_prose_is_noticed() {
    let mut all = 0;
    for (name, shown, said) in pages() {
        let (numbers, missed) = unnoticed(&shown, &said);
        assert_eq!(missed, Vec::<String>::new(), "{name}");
        assert!(numbers > 100, "{name}: {numbers}");
        all += numbers;
    }
    assert!(all > 12_000, "{all}");
}

#[test]
fn numbers_of_our_own_words_are_listed_with_these() {
    let mut used = BTreeSet::new();
    for (_, _, said) in pages() {
        let said = said.values().flatten();
        for words in said
            .flat_map(|said| said.words())
            .filter(|words| has_digit(words))
        {
            let mut rest = (*words).to_owned();
            for ours in OURS {
                if rest.contains(ours) {
                    rest = rest.replace(ours, "");
                    used.insert(ours);
                }
            }
            assert!(!has_digit(&rest), "\"{rest}\" of \"{words}\"");
        }
    }
    let unused: Vec<&str> = OURS
        .into_iter()
        .filter(|ours| !used.contains(ours))
        .collect();
    assert_eq!(unused, Vec::<&str>::new(), "no page says so");
}
