//! Warnings are written for a terminal, where what is to be typed stands between backticks; a page sets it as code.

use neurosieve::report::html;

use super::comparison::compared;
use super::markup::{Element, parse};
use super::page;
use super::sample::results;

/// A warning of ours, one with names of the data that have backticks of their own, and markup.
const WARNINGS: [&str; 4] = [
    "fine: leave out the weakest of `probe.lambda_ratios`; `control.draws = 0` says that none are expected.",
    "fine: train has no sample of ``, '', `; every probe gets those wrong. Set `--seed`.",
    "fine: dev has no sample of `, b, `${x}`, ` `, so its accuracy says nothing about that.",
    "fine: no part has a sample of `<b>`, <code>x</code>.",
];

/// What of each is code.
const CODE: [&[&str]; 4] = [
    &["probe.lambda_ratios", "control.draws = 0"],
    &["--seed"],
    &[],
    &[],
];

fn codes(element: &Element) -> Vec<&str> {
    let found = element.all("code").into_iter();
    found.map(|code| &*code.text).collect()
}

fn are_set(items: &[&Element]) {
    assert_eq!(items.len(), WARNINGS.len());
    for ((item, warning), code) in items.iter().zip(WARNINGS).zip(CODE) {
        assert_eq!(codes(item), code, "{warning}");
        // Every word is there, and no backtick is lost but those around code.
        let plain = code.iter().fold(warning.to_owned(), |text, code| {
            text.replace(&format!("`{code}`"), code)
        });
        assert_eq!(item.text, plain);
    }
}

#[test]
fn what_a_warning_says_to_type_is_code_on_the_page_and_names_of_the_data_stay() {
    let mut results = results();
    results.warnings = WARNINGS.map(str::to_owned).to_vec();
    let report = parse(&page(&results));
    let all = report.walk();
    let aside = all.iter().find(|element| element.has_class("warnings"));
    are_set(&aside.expect("there are warnings").all("li"));

    let mut silent = results.clone();
    silent.warnings.clear();
    let comparison = html::comparison(&compared(vec![results, silent])).expect("it renders");
    let comparison = parse(&comparison);
    let notes = comparison.all("details").into_iter();
    let mut of_runs = notes.filter(|part| part.all("summary")[0].text.contains("4 warnings"));
    are_set(&of_runs.next().expect("one run warned").all("li"));
}
