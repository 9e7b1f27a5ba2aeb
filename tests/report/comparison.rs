//! The page of `neurosieve compare`: every text escaped, every figure the document's, no claim beyond its evidence.

use serde_json::{Value, json};

use neurosieve::report::{format, html};
use neurosieve::study::compare::results::{
    AboveRandom, AgainstOwn, CompareResults, SetAccuracy, TransferPlan, TransferResult,
};
use neurosieve::study::compare::{Studied, compare};
use neurosieve::study::results::{Distribution, StudyResults};

use super::figures::shows;
use super::markup::parse;
use super::sample::{HOSTILE, WORD, results};
use super::{attributes, html_escaped};

const HOSTILE_FILE: &str = "it's <b>/results.json";

pub(super) fn compared(studies: Vec<StudyResults>) -> CompareResults {
    let files = ["a/results.json", HOSTILE_FILE, "c/results.json"];
    let others = (4..).map(|at| format!("{at}/results.json"));
    let studies: Vec<Studied> = studies
        .into_iter()
        .zip(files.map(str::to_owned).into_iter().chain(others))
        .map(|(results, file)| Studied { file, results })
        .collect();
    compare(&studies, 200, 3).expect("they can be compared")
}

/// The sample beside one with other accuracies and neurons of another place.
pub(super) fn two() -> CompareResults {
    let mut other = results();
    other.name = "other".to_owned();
    for task in &mut other.tasks {
        task.oracle.test_accuracy = 0.2;
        task.oracle.test_interval = [0.0951, 0.3731];
        task.salient.by_layer = vec![4, 0];
        task.salient.by_class_layer = vec![vec![3, 0], vec![2, 0]];
    }
    compared(vec![results(), other])
}

/// And a third of a model with another number of layers, which has one of the tasks.
pub(super) fn three() -> CompareResults {
    let mut small = results();
    small.name = "small".to_owned();
    small.data.layers = vec![0, 1, 2];
    small.data.layer_of = vec![0, 0, 1, 2];
    small.tasks.truncate(1);
    small.tasks[0].classes[1].name = "third".to_owned();
    small.tasks[0].salient.by_layer = vec![0, 1, 2];
    small.tasks[0].salient.by_class_layer = vec![vec![0, 1, 2], vec![0, 1, 0]];
    let mut other = results();
    other.tasks[0].oracle.test_accuracy = 0.85;
    compared(vec![results(), other, small])
}

pub(super) fn carried_over(difference: f64, p_holm: f64) -> TransferResult {
    let set = |test_accuracy| SetAccuracy {
        dev_accuracy: 0.8,
        test_accuracy,
        test_interval: [test_accuracy - 0.07, test_accuracy + 0.05],
    };
    let around = |mean| Distribution {
        mean,
        lowest: mean - 0.1,
        highest: mean + 0.05,
    };
    TransferResult {
        ranking: "lca".to_owned(),
        delta: 0.01,
        size: 2,
        constant: 0,
        shared: 1,
        first_test_accuracy: 0.88,
        carried: set(0.81),
        own: set(0.83),
        against_own: AgainstOwn {
            only_own: 3,
            only_carried: 2,
            difference: -0.02,
            interval: [-0.09, 0.06],
            p: 0.7,
            p_holm: 0.9,
        },
        random: AboveRandom {
            draws: 40,
            dev: around(0.6),
            test: around(0.61),
            as_good: 1,
            difference,
            interval: Some([difference - 0.05, difference + 0.05]),
            p: p_holm / 2.0,
            p_holm,
        },
    }
}

fn page(results: &CompareResults) -> String {
    html::comparison(results).expect("the page renders")
}

#[test]
fn names_classes_files_and_notes_are_escaped_and_no_other_file_is_named() {
    for found in [two(), three()] {
        let page = page(&found);
        assert_eq!(page.matches("<script").count(), 1, "only our own script");
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(!page.contains("<img") && !page.contains("<b>coarse") && !page.contains("<b>/"));
        for text in [HOSTILE, WORD, HOSTILE_FILE] {
            assert!(
                page.contains(&html_escaped(text)),
                "{text} is shown, escaped"
            );
        }
        assert_eq!(
            page.matches("&amp;amp;").count(),
            0,
            "nothing is escaped twice"
        );
        let own = page.replace(&html_escaped(WORD), "");
        for outside in ["http:", "https:", "url(", "@import", "<link", " src="] {
            assert!(!own.contains(outside), "the page contains {outside}");
        }
        for link in attributes(&own, "href") {
            assert!(link.starts_with('#'), "{link} leaves the page");
        }
        // As a shell takes it.
        let command = format!("'{}'", HOSTILE_FILE.replace('\'', "'\\''"));
        assert!(page.contains(&html_escaped(&command)), "{command}");
    }
}

fn numbers(value: &Value, all: &mut Vec<f64>) {
    match value {
        Value::Number(number) => all.extend(number.as_f64()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, all)),
        Value::Object(values) => values.values().for_each(|value| numbers(value, all)),
        _ => {}
    }
}

#[test]
fn every_figure_of_a_table_is_one_of_the_document() {
    let mut found = three();
    found.transfer = Some(TransferPlan {
        delta: 0.01,
        random_sets: 40,
    });
    found.pairs[0].tasks[0].transfer = Some(vec![carried_over(0.2, 0.024)]);
    let document = serde_json::to_value(&found).expect("it serialises");
    let mut known = Vec::new();
    numbers(&document, &mut known);
    // Numbers of runs, and the order of verdicts.
    known.extend([0.0, 1.0, 2.0, 3.0]);
    let page = page(&found);
    let keys = attributes(&page, "data-sort");
    assert!(keys.len() > 150, "{}", keys.len());
    for cell in parse(&page)
        .all("td")
        .into_iter()
        .filter(|cell| cell.has_class("n"))
    {
        let more = cell.attribute("data-more").unwrap_or_default();
        let exact = cell
            .attribute("data-sort")
            .into_iter()
            .chain(more.split_whitespace());
        let exact: Vec<f64> = exact.map(|key| key.parse().expect("a number")).collect();
        assert!(
            shows(&cell.text, &exact),
            "\"{}\" is shown for {exact:?}",
            cell.text
        );
        assert!(
            exact.iter().all(|number| known.contains(number)),
            "{exact:?}"
        );
    }
    for key in &keys {
        let value: f64 = key.parse().expect("a number");
        assert!(known.contains(&value), "{key} is not in the document");
    }
    // The control: figures of another comparison are not all among them.
    let other = super::page(&results());
    let stray = |key: &&&str| !known.contains(&key.parse().expect("a number"));
    assert!(attributes(&other, "data-sort").iter().filter(stray).count() > 10);
}

#[test]
fn what_the_document_says_of_a_pair_is_shown() {
    let found = two();
    let page = page(&found);
    let shown = |text: String| assert!(page.contains(&text), "{text} is missing");
    for (run, number) in found.runs.iter().zip(1..) {
        shown(format!(">{number}</td>"));
        shown(html_escaped(&run.name));
        for task in &run.found {
            let accuracy = format::percent(task.test_accuracy);
            shown(format!(
                "{accuracy} ({})",
                format::interval(task.test_interval)
            ));
        }
    }
    let pair = &found.pairs[0];
    for task in &pair.tasks {
        let oracle = &task.oracle;
        let ends = format::points_interval(oracle.interval);
        shown(format!(">{} ({ends})<", format::points(oracle.difference)));
        let depth = task.depth.as_ref().expect("both have salient neurons");
        shown(format!(">{:.3}<", depth.distance));
        shown(format!(">{}<", format::p_value(depth.p)));
        for overlap in task.overlaps.iter().flatten() {
            shown(format!(">{:.3}<", overlap.average_overlap));
        }
        for set in &task.minimal_sets {
            shown(format!(
                ">{} ({})<",
                set.size[0],
                format::percent(set.share[0])
            ));
        }
    }
    for note in &pair.notes {
        shown(format!("Runs 1\u{a0}and\u{a0}2: {}.", html_escaped(note)));
    }
    assert_eq!(page.matches("<article").count(), 2, "one part a task");
    assert_eq!(
        page.matches("<svg").count(),
        2 * 2,
        "accuracy and depth of each"
    );
    let shares = attributes(&page, "style");
    assert_eq!(shares.len(), 2 * 2 * 2, "classes × runs of each task");
    // Of five salient neurons three are of the first class.
    shown(">60.0\u{a0}%</td>".to_owned());
}

#[test]
fn of_three_runs_each_two_are_shown_and_what_they_do_not_share_is_left_out() {
    let found = three();
    let page = page(&found);
    let row = |runs: &str| format!("<td class=\"\">{}</td>", runs.replace(' ', "\u{a0}"));
    for runs in ["1 and 2", "1 and 3", "2 and 3"] {
        assert!(page.contains(&row(runs)), "{runs}");
    }
    assert!(page.contains(
        "Runs 1\u{a0}and\u{a0}3; 2\u{a0}and\u{a0}3: overlaps of orderings and sets are not compared"
    ));
    let parts: Vec<&str> = page.split("<article").collect();
    assert!(
        parts[2].contains(&row("1 and 2"))
            && !parts[2]
                .split("</article>")
                .next()
                .unwrap()
                .contains(&row("1 and 3"))
    );
    // A class that a run has not is no share of zero.
    assert!(parts[1].contains(">third</th>") && parts[1].contains(">–</td>"));
    let (overlaps, _) = parts[1]
        .split_once("Do the orderings agree?")
        .expect("two runs have the same neurons");
    assert!(overlaps.contains("run 3</th>"));
}

#[test]
fn runs_without_anything_in_common_but_a_task_are_shown() {
    let mut bare = results();
    bare.tasks.truncate(1);
    bare.clustering.linkage = "complete".to_owned();
    bare.data.unit_of = vec![0, 1, 2, 3];
    let task = &mut bare.tasks[0];
    for class in &mut task.classes {
        class.name = format!("not {}", class.name);
    }
    task.salient.by_layer = vec![0, 0];
    task.salient.by_class_layer = vec![vec![0, 0], vec![0, 0]];
    task.minimal_sets.clear();
    task.layer_selection.clear();
    task.control = None;
    let page = page(&compared(vec![results(), bare]));
    assert!(page.contains("no two runs have clusters of the same kind"));
    for absent in [
        "Do the orderings agree?",
        "Minimal sets",
        "Class by class",
        "carry the task in another",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("the runs have other classes."));
    assert!(page.contains("only the first run has this task."));
    // One run's salient neurons are drawn, and nothing is said of a distance.
    assert!(!page.contains("sit elsewhere") && page.contains("data-name=\"run 1\""));
    assert!(!page.contains("NaN"));
}

#[test]
fn the_chart_of_depths_has_one_point_a_layer_and_level_lines_between() {
    let found = three();
    let root = parse(&page(&found));
    let figures = root.all("figure").into_iter();
    let figure =
        figures.filter(|figure| figure.text.starts_with("Salient neurons up to each depth"));
    let figure = figure.into_iter().next().expect("the first task has one");
    let values = figure.attribute("data-values").expect("its figures");
    let values: Value = serde_json::from_str(values).expect("they are JSON");
    let lines = values["lines"].as_array().expect("lines");
    assert_eq!(lines.len(), found.runs.len());
    for (line, run) in lines.iter().zip(&found.runs) {
        let counts = &run.found[0].salient_by_layer;
        let all = counts.iter().sum::<usize>() as f64;
        let last = counts.len() as f64 - 1.0;
        let depths: Vec<f64> = (0..counts.len()).map(|layer| layer as f64 / last).collect();
        let shares: Vec<f64> = (1..=counts.len())
            .map(|layers| counts[..layers].iter().sum::<usize>() as f64 / all)
            .collect();
        assert_eq!((&line["x"], &line["y"]), (&json!(depths), &json!(shares)));
        assert_eq!(line["held"], true, "a value holds up to the next layer");
    }
    // Two points a layer: where its level begins and where it ends; the last ends where the axis does.
    for path in figure
        .all("path")
        .into_iter()
        .filter(|path| path.has_class("line"))
    {
        let turns = path
            .attribute("d")
            .expect("it is drawn")
            .replace(['M', 'L'], "|");
        let turns: Vec<&str> = turns.split('|').skip(1).collect();
        let heights: Vec<&str> = turns
            .iter()
            .filter_map(|turn| turn.split(' ').nth(1))
            .collect();
        assert!(turns.len() >= 4, "{turns:?}");
        assert!(
            heights.chunks(2).all(|level| level[0] == level[1]),
            "{turns:?}"
        );
    }
}

#[test]
fn a_claim_says_no_more_than_its_interval_and_p() {
    let mut found = two();
    assert!(page(&found).contains("Run 2 is less accurate than run 1 by 70.0 points"));
    let oracle = &mut found.pairs[0].tasks[0].oracle;
    (oracle.difference, oracle.interval) = (0.02, [-0.01, 0.05]);
    let open = page(&found);
    assert!(open.contains("No difference between run 2 and run 1 is shown: +2.0 points"));
    assert!(open.contains(">no\u{a0}difference\u{a0}shown</td>"));
    found.pairs[0].tasks[0].oracle.interval = [0.01, 0.05];
    assert!(page(&found).contains("Run 2 is more accurate than run 1 by 2.0 points"));
    found.pairs[0].tasks[0].oracle.above_chance[0] = false;
    found.runs[0].found[0].above_chance = false;
    let void = page(&found);
    assert!(void.contains("Of run 2 against run 1 nothing follows") && void.contains(">void</td>"));
    assert!(void.contains("The oracle of run 1 is not above chance"));
    let depth = found.pairs[0].tasks[0]
        .depth
        .as_mut()
        .expect("there is one");
    depth.p = 0.04;
    let apart = page(&found);
    assert_eq!(
        apart.matches("sit elsewhere than").count(),
        1,
        "one of two tasks"
    );
}

#[test]
fn a_set_is_carried_over_where_it_beats_random_ones_after_the_correction() {
    let mut found = two();
    assert!(!page(&found).contains("carry the task"));
    found.transfer = Some(TransferPlan {
        delta: 0.01,
        random_sets: 40,
    });
    let mut with = |difference, p_holm| {
        found.pairs[0].tasks[0].transfer = Some(vec![carried_over(difference, p_holm)]);
        page(&found)
    };
    let good = with(0.2, 0.024);
    assert!(
        good.contains("carry the task: +20.0 points against random ones")
            && good.contains("<b>1 of 1</b>")
    );
    assert!(good.contains("no difference from run 2’s own is shown (−2.0 points"));
    assert!(good.contains("beside 40\u{a0}random sets of that size"));
    assert!(good.contains("--transfer --delta 0.01 --random-sets 40"));
    for (difference, p_holm) in [(0.2, 0.06), (0.02, 0.024), (-0.2, 0.024)] {
        let open = with(difference, p_holm);
        assert!(
            open.contains("do more than random ones is not shown")
                && open.contains("<b>0 of 1</b>")
        );
        assert!(!open.contains("carry the task: "));
    }
}
