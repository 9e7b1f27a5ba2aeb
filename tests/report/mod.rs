//! See the map in `main.rs`.

mod comparison;
mod explorer;
pub(crate) mod figures;
mod markup;
mod policy;
pub(crate) mod prose;
pub(crate) mod sample;
mod tables;
mod warnings;

use neurosieve::report::{chart, csv, format, html, json, write};
use neurosieve::study::results::{LayerCurves, Paired, StudyResults};

use sample::{HOSTILE, WORD, disjoint, minimal, paired, random_sets, results};

fn page(results: &StudyResults) -> String {
    html::render(results).expect("the report renders")
}

/// Every value of an attribute in a document.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn a_report_is_one_file_that_names_no_other() {
    let page = page(&results());
    // Data are no markup: words may name what they like there.
    let (before, data) = page
        .split_once("id=\"neurons\">")
        .expect("the explorer's data");
    let (_, after) = data.split_once("</script>").expect("they end");
    let own = format!("{before}{after}").replace(&html_escaped(WORD), "");
    for outside in [
        "http:", "https:", "//cdn", "url(", "@import", "<link", "<iframe", "<object", " src=",
    ] {
        assert!(!own.contains(outside), "the page contains {outside}");
    }
    let links = attributes(&own, "href");
    assert!(
        links.len() >= 5,
        "task tabs and sections are linked: {links:?}"
    );
    for link in links {
        assert!(link.starts_with('#'), "{link} leaves the page");
    }
    assert!(
        page.contains("default-src 'none'"),
        "a policy forbids all else"
    );
}

/// As the template engine escapes; here only to find hostile text again.
fn html_escaped(text: &str) -> String {
    minijinja::HtmlEscape(text).to_string()
}

#[test]
fn names_and_words_from_the_data_are_escaped_everywhere() {
    let page = page(&results());
    assert_eq!(
        page.matches("<script").count(),
        2,
        "our own script, and data that no browser runs"
    );
    assert_eq!(page.matches("<script type=\"application/json\"").count(), 1);
    assert_eq!(
        page.matches("</script>").count(),
        2,
        "nothing ends them early"
    );
    assert!(!page.contains("<img"), "a word became an image");
    assert!(!page.contains("<b>coarse"), "a task name became markup");
    assert!(
        !page.contains(&format!(" {WORD}")),
        "a word was copied as it is"
    );
    for text in [HOSTILE, WORD, "a&b<c>.safetensors", "</script><b>coarse"] {
        assert!(
            page.contains(&html_escaped(text)),
            "{text} is shown, escaped"
        );
    }
    let escaped_once = page.matches("&amp;amp;").count();
    assert_eq!(escaped_once, 0, "nothing is escaped twice");
}

#[test]
fn every_task_warning_ranking_class_step_and_device_is_in_the_report() {
    let results = results();
    let page = page(&results);
    for task in &results.tasks {
        assert!(page.contains(&html_escaped(&task.name)));
        for class in &task.classes {
            assert!(page.contains(&html_escaped(&class.name)));
        }
        for ranking in task.rankings.keys() {
            assert!(page.contains(&format::ranking(ranking)));
        }
    }
    for text in results
        .warnings
        .iter()
        .chain([&results.device.name, &results.device.driver])
    {
        assert!(page.contains(&html_escaped(text)), "{text} is missing");
    }
    assert!(page.contains("2 warnings"));
    assert!(page.contains("λ search"));
    let articles = page.matches("<article").count();
    assert_eq!(articles, results.tasks.len(), "one part a task");
    // Per task: 2 layer charts, 1 sweep, 1 ladder, 2 of the λ path; and one of the clusters.
    let charts = page.matches("<svg").count();
    assert_eq!(charts, results.tasks.len() * 6 + 1);
}

#[test]
fn the_report_says_what_test_was_used_for() {
    let shown = page(&results());
    assert!(shown.contains("4\u{a0}probes evaluated, all after the last choice"));
    assert!(shown.contains("no choice followed"));
}

#[test]
fn the_answer_says_no_more_than_the_paired_test_supports() {
    let mut results = results();
    results.tasks.truncate(1);
    let page_with = |results: &mut StudyResults, against: Paired| {
        results.tasks[0].minimal_sets = vec![minimal("lca", 0.01, against)];
        results.tasks[0].combined.clear();
        page(results)
    };
    let open = page_with(&mut results, paired(-0.02, [-0.12, 0.08], 0.625));
    assert!(
        open.contains("one of up to 12.0 points is not excluded"),
        "{open}"
    );
    assert!(open.contains(">not\u{a0}decided</td>"));
    let supported = page_with(&mut results, paired(0.0, [-0.005, 0.005], 1.0));
    assert!(supported.contains("which excludes a loss above 1\u{a0}%"));
    let loss = page_with(&mut results, paired(-0.1, [-0.15, -0.05], 0.001));
    assert!(loss.contains("there is a loss"));
    for (page, others) in [
        (&open, ["excludes a loss", "there is a loss"]),
        (&loss, ["which excludes a loss", "not excluded"]),
        (&supported, ["there is a loss", "not excluded"]),
    ] {
        for other in others {
            assert!(!page.contains(&format!("{other}.")) && !page.contains(&format!("): {other}")));
        }
    }
}

#[test]
fn a_loss_is_one_after_the_correction_for_many_comparisons() {
    let mut results = results();
    results.tasks.truncate(1);
    results.tasks[0].combined.clear();
    results.tasks[0].disjoint.clear();
    let mut page_with = |p_holm: f64| {
        let against = Paired {
            p_holm,
            ..paired(-0.1, [-0.15, -0.05], 0.01)
        };
        results.tasks[0].minimal_sets = vec![minimal("lca", 0.01, against)];
        page(&results)
    };
    let (one, among_many) = (page_with(0.01), page_with(0.08));
    assert!(one.contains(">a\u{a0}loss</td>") && one.contains("there is a loss"));
    assert!(!among_many.contains(">a\u{a0}loss</td>") && !among_many.contains("there is a loss"));
    assert!(among_many.contains("Holm-corrected 0.080"));
    assert!(among_many.contains("5\u{a0}comparisons of minimal, disjoint and combined sets"));
}

#[test]
fn the_report_says_when_random_neurons_do_as_well_and_how_many_sets_there_are() {
    let mut results = results();
    results.tasks.truncate(1);
    let shown = page(&results);
    assert!(shown.contains("not shown to be better than random neurons. 9 of 20\u{a0}random sets"));
    assert!(shown.contains("not shown to be better than random sets of that size"));
    assert!(!shown.contains("do as well"));
    assert!(shown.contains("exactly 2\u{a0}sets: no size of the 1\u{a0}neuron left"));
    assert!(shown.contains("Exactly 2\u{a0}sets of this ordering"));
    assert!(
        shown.contains("names 81.2\u{a0}% of the 2\u{a0}neurons again (66.7\u{a0}% by chance)")
    );
    results.tasks[0].random_sets = vec![random_sets(0, 1.0 / 21.0)];
    results.tasks[0].disjoint = vec![disjoint(false)];
    let better = page(&results);
    assert!(better.contains("LCA: better than random neurons. 0 of 20\u{a0}random sets"));
    assert!(better.contains("random sets of that size do worse (p = 0.048)"));
    assert!(!better.contains("do as well") && !better.contains("not shown to be better"));
    assert!(better.contains("at least 2\u{a0}sets") && !better.contains("exactly 2\u{a0}sets"));
    results.tasks[0].random_sets = vec![random_sets(12, 0.619)];
    let any = page(&results);
    assert!(any.contains("LCA: random neurons do as well. 12 of 20\u{a0}random sets"));
    assert!(any.contains("Random sets of that size do as well (p = 0.62 on test)"));
    assert!(!any.contains("LCA: better than") && !any.contains("not shown to be better"));
    let task = &mut results.tasks[0];
    task.random_sets.clear();
    task.disjoint.clear();
    task.stability.clear();
    assert!(!page(&results).contains("How sure are these sets"));
}

#[test]
fn a_set_that_misses_its_delta_is_not_said_to_suffice() {
    let mut results = results();
    results.tasks.truncate(1);
    let reached = page(&results);
    assert!(reached.contains("2\u{a0}neurons (50.0\u{a0}%) suffice on dev"));
    for set in &mut results.tasks[0].minimal_sets {
        set.dev_accuracy = 0.8;
    }
    let missed = page(&results);
    assert!(!missed.contains("suffice on dev"), "0.8 is far below 0.905");
    assert!(missed.contains("No set that was tried stays within δ"));
    assert!(missed.contains("80.0\u{a0}% ✗"));
}

#[test]
fn an_oracle_at_chance_voids_every_claim_about_few_neurons() {
    let mut results = results();
    results.tasks.truncate(1);
    let sure = page(&results);
    assert!(!sure.contains("class=\"void\">The oracle is not above chance"));
    results.tasks[0].above_chance = false;
    let void = page(&results);
    assert!(void.contains("class=\"void\">The oracle is not above chance"));
    assert_eq!(void.matches("<b>void</b>").count(), 2, "neurons and layers");
    assert!(
        !void.contains(">not\u{a0}decided</td>"),
        "the tables claim nothing either"
    );
}

#[test]
fn results_survive_the_way_through_json_to_the_last_bit() {
    let mut results = results();
    results.tasks[0].oracle.objective = 0.1 + 0.2;
    results.tasks[1].control = None;
    let text = |results: &StudyResults| {
        let mut bytes = Vec::new();
        json::write(results, &mut bytes).expect("results are written");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    };
    let first = text(&results);
    let again = json::parse(&first).expect("they are read again");
    assert_eq!(
        again.tasks[0].oracle.objective.to_bits(),
        (0.1_f64 + 0.2).to_bits()
    );
    assert_eq!(text(&again), first);
    assert_eq!(page(&again), page(&results), "the report is the same");
}

#[test]
fn results_of_another_layout_or_with_broken_figures_are_refused() {
    let mut results = results();
    let text = serde_json::to_string(&results).expect("results are JSON");
    let other = text.replacen("\"schema_version\":1", "\"schema_version\":99", 1);
    let error = json::parse(&other)
        .expect_err("version 99 is not ours")
        .to_string();
    assert!(
        error.contains("99") && error.contains('1') && error.contains("run the study again"),
        "{error}"
    );
    let none = text.replacen("\"schema_version\":1,", "", 1);
    assert!(
        json::parse(&none)
            .expect_err("no version")
            .to_string()
            .contains("no schema_version")
    );
    let half = &text[..text.len() / 2];
    assert!(
        json::parse(half)
            .expect_err("cut off")
            .to_string()
            .contains("line 1")
    );
    let missing = text.replacen("\"seed\":7,", "", 1);
    assert!(
        json::parse(&missing)
            .expect_err("no seed")
            .to_string()
            .contains("seed")
    );
    results.tasks[0].oracle.objective = f64::NAN;
    let mut sink = Vec::new();
    assert!(
        json::write(&results, &mut sink).is_err(),
        "NaN is no JSON number"
    );
    assert!(sink.is_empty(), "nothing is written then");
}

#[test]
fn results_with_nothing_to_show_still_make_a_report() {
    let mut results = results();
    results.clusters.clear();
    results.warnings.clear();
    results.timings.clear();
    let task = &mut results.tasks[0];
    task.control = None;
    task.minimal_sets.clear();
    task.combined.clear();
    task.layer_selection.clear();
    task.sweeps.clear();
    task.lambda_path.clear();
    task.layers = LayerCurves {
        independent: Vec::new(),
        cumulative: Vec::new(),
    };
    // As a hand-made results.json may have it: lists of differing lengths.
    task.salient.by_class_layer = vec![vec![1, 2, 3]];
    results.data.layer_of.clear();
    results.data.constant = vec![99];
    let found = results.redundancy.as_mut().expect("the sample has it");
    found.map.mean.pop();
    let neurons = &mut results
        .explored
        .as_mut()
        .expect("the sample has them")
        .neurons;
    neurons[0].tasks.pop();
    neurons[1].tasks[0].counts.clear();
    let shown = page(&results);
    assert!(shown.contains("The words are not known"));
    assert!(shown.contains("asked for no clustering"));
    assert!(!shown.contains("warnings</h2>"));
    csv::tables(&results).expect("tables are made");
    results.tasks.clear();
    assert!(page(&results).contains("</html>"));
}

#[test]
fn writing_a_report_leaves_whole_files_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let results = results();
    for _ in 0..2 {
        let files = write(&results, folder.path()).expect("it is written");
        assert_eq!(files.len(), 37);
        assert!(files[0].ends_with("report.html"));
        let found = std::fs::read_to_string(&files[0]).expect("it is there");
        assert_eq!(found, page(&results), "the same results, the same bytes");
        let entries = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(entries, 2, "report.html and tables");
        let tables = std::fs::read_dir(folder.path().join("tables")).expect("a folder");
        assert_eq!(tables.count(), 36);
    }
    let inside = folder.path().join("report.html").join("deeper");
    let error = write(&results, &inside)
        .expect_err("a file is no folder")
        .to_string();
    assert!(error.contains("cannot create"), "{error}");
}

#[test]
fn a_single_spike_among_thousands_of_points_is_drawn() {
    let mut points: Vec<(f64, f64)> = (0..5000).map(|k| (f64::from(k), 0.5)).collect();
    let flat = drawn(&points);
    points[4321].1 = 0.9;
    let spiked = drawn(&points);
    assert!(
        flat.len() < 80_000,
        "points that nobody can tell apart are left out"
    );
    let top = |svg: &str| {
        let path = attributes(svg, "d")[0].to_owned();
        let heights = path
            .split(['M', 'L'])
            .filter_map(|p| p.split(' ').nth(1)?.parse::<f64>().ok());
        heights.fold(f64::INFINITY, f64::min)
    };
    assert!(
        top(&spiked) < top(&flat) - 50.0,
        "{} against {}",
        top(&spiked),
        top(&flat)
    );
}

fn drawn(points: &[(f64, f64)]) -> String {
    chart::Chart {
        title: "spike".to_owned(),
        width: 800.0,
        height: 400.0,
        right: 100.0,
        x: chart::Axis::neurons("k", 5000),
        y: chart::Axis::shares("accuracy", [0.0, 1.0].into_iter()),
        rules: Vec::new(),
        mark: None,
        series: vec![chart::Series {
            name: "one".to_owned(),
            style: chart::Style {
                colour: 1,
                dashed: false,
            },
            points: points.to_vec(),
            intervals: Vec::new(),
            course: chart::Course::Straight,
        }],
        naming: chart::Naming::AtEnd,
    }
    .svg()
}

#[test]
fn numbers_read_as_people_write_them() {
    assert_eq!(format::percent(0.9263), "92.6\u{a0}%");
    assert_eq!(format::points(-0.016), "−1.6");
    assert_eq!(format::points(-0.0001), "0.0");
    assert_eq!(format::points_interval([-0.043, 0.011]), "−4.3 to +1.1");
    assert_eq!(format::count(2_688), "2,688");
    assert_eq!(format::count(688), "688");
    assert_eq!(format::counted(1, "neuron"), "1\u{a0}neuron");
    assert_eq!(format::delta(0.005), "0.5\u{a0}%");
    assert_eq!(format::p_value(0.0004), "<\u{a0}0.001");
    assert_eq!(format::plain(0.1 + 0.2), "0.3");
    assert_eq!(format::seconds(3601.0), "60\u{a0}min 1\u{a0}s");
    assert_eq!(format::layers_up_to(0, 3), "layers\u{a0}0–3");
}

#[test]
fn results_made_before_sets_had_control_tasks_are_read_and_shown() {
    let mut old = serde_json::to_value(results()).expect("results are JSON");
    for task in old["tasks"].as_array_mut().expect("a list") {
        for set in task["minimal_sets"].as_array_mut().expect("a list") {
            let fields = set.as_object_mut().expect("a record");
            assert!(fields.remove("selectivity").is_some(), "new ones have it");
        }
    }
    let old = json::parse(&old.to_string()).expect("they are read");
    let with_sets = "learned from a minimal set’s neurons";
    assert!(!page(&old).contains(with_sets), "nothing is shown of it");
    assert!(page(&results()).contains(with_sets));
}

#[test]
fn samples_without_words_and_constant_neurons_are_told_of() {
    let mut results = results();
    let (words, alone) = (
        "words that it fires on",
        "1 of them neurons that do not vary",
    );
    let shown = page(&results);
    assert!(shown.contains(words) && shown.contains(alone));
    for task in &mut results.tasks {
        let neurons = task.salient.neurons.iter_mut();
        neurons.for_each(|neuron| neuron.top_words.clear());
    }
    results.data.constant.clear();
    let shown = page(&results);
    assert!(!shown.contains(words) && !shown.contains("Words: those"));
    assert!(!shown.contains(alone));
    assert!(shown.contains("both have the same neurons"), "two classes");
    let class = results.tasks[0].classes[0].clone();
    results
        .tasks
        .iter_mut()
        .for_each(|task| task.classes.push(class.clone()));
    assert!(!page(&results).contains("both have the same neurons"));
}
