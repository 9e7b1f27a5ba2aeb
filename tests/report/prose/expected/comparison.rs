//! What the page of a comparison says.

use serde_json::Value;

use super::{
    Page, Statements, claims, counted, figure, just, list, number, ordering, part, text, value,
    warned, words,
};
use crate::report::prose::said::{Said, joined, say};

/// A task of two or more runs.
pub(super) struct Task<'a> {
    pub(super) name: &'a str,
    /// The runs that have it, by their number from 1, with what they found.
    pub(super) runs: Vec<(f64, &'a Value)>,
    /// Each two of them, with what was found.
    pub(super) pairs: Vec<(&'a Value, &'a Value)>,
}

/// Everything of the page of a comparison.
pub fn comparison(results: &Value) -> Statements {
    let mut page = Page::default();
    let tasks = tasks(results);
    head(results, &tasks, &mut page);
    for (at, task) in (1..).zip(&tasks) {
        self::task(at, results, task, &mut page);
    }
    page.heading(0, "Redundancy among the neurons");
    for pair in list(&results["pairs"]) {
        list(&pair["clusters"])
            .iter()
            .for_each(|_| page.row([numbers(pair)]));
    }
    reproduce(results, &mut page);
    page.found
}

fn tasks(results: &Value) -> Vec<Task<'_>> {
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for pair in list(&results["pairs"]) {
        for found in list(&pair["tasks"]) {
            let name = words(&found["name"]);
            match tasks.iter_mut().find(|task| task.name == name) {
                Some(task) => task.pairs.push((pair, found)),
                None => tasks.push(Task {
                    name,
                    runs: runs(results, name),
                    pairs: vec![(pair, found)],
                }),
            }
        }
    }
    tasks
}

fn runs<'a>(results: &'a Value, task: &str) -> Vec<(f64, &'a Value)> {
    let runs = (1_u32..).zip(list(&results["runs"]));
    let found = runs.filter_map(|(number, run)| {
        let own = list(&run["found"]).iter().find(|own| own["name"] == task)?;
        Some((f64::from(number), own))
    });
    found.collect()
}

/// The runs of a pair by their numbers from 1.
pub(super) fn numbers(pair: &Value) -> Said {
    let [first, second] = [0, 1].map(|at| number(value(&pair["runs"][at]) + 1.0));
    say("# and #", &[first, second])
}

fn head(results: &Value, tasks: &[Task<'_>], page: &mut Page) {
    let runs = list(&results["runs"]);
    let names: Vec<Said> = runs.iter().map(|run| just(words(&run["name"]))).collect();
    let title = joined(&names, " · ");
    page.say(say("# · neurosieve", &[part(title.clone())]));
    page.say(title);
    let counts = [
        part(counted(runs.len() as f64, "run")),
        part(counted(tasks.len() as f64, "task")),
    ];
    page.say(say("# · # that two or more have", &counts));
    page.say(say(
        "version #",
        &[text(words(&results["neurosieve_version"]))],
    ));
    page.heading(0, "The runs");
    for run in runs {
        let tasks: Vec<Said> = list(&run["tasks"])
            .iter()
            .map(|task| just(words(task)))
            .collect();
        let kind = words(&run["device"]["kind"]).to_uppercase();
        let device = say("#: #", &[text(&kind), text(words(&run["device"]["name"]))]);
        page.row([
            just(words(&run["name"])),
            joined(&tasks, ", "),
            device,
            just(words(&run["file"])),
        ]);
    }
    let mut notes: Vec<(&str, Vec<Said>)> = Vec::new();
    for pair in list(&results["pairs"]) {
        for note in list(&pair["notes"]).iter().map(words) {
            match notes.iter_mut().find(|known| known.0 == note) {
                Some(known) => known.1.push(numbers(pair)),
                None => notes.push((note, vec![numbers(pair)])),
            }
        }
    }
    if !notes.is_empty() {
        page.heading(0, "What to know before reading on");
    }
    for (note, pairs) in notes {
        page.say(say("Runs #: #.", &[part(joined(&pairs, "; ")), text(note)]));
    }
    tasks.iter().for_each(|task| page.say(just(task.name)));
}

fn task(at: usize, results: &Value, task: &Task<'_>, page: &mut Page) {
    page.heading(at, "Task");
    page.say(say("Task #", &[text(task.name)]));
    let below = task.runs.iter().filter(|run| run.1["above_chance"] != true);
    let below: Vec<Said> = below.map(|run| say("#", &[number(run.0)])).collect();
    if !below.is_empty() {
        let (s, are) = if below.len() == 1 {
            ("", "is")
        } else {
            ("s", "are")
        };
        page.say(say(
            "The oracle# of run# # # not above chance on this task. What follows is shown for completeness; nothing follows \
             from a comparison with such a run.",
            &[text(s), text(s), part(joined(&below, ", ")), text(are)],
        ));
    }
    let claims = claims::claims(results, task);
    page.heading(at, "The answer in points");
    page.say(say(
        "The answer in # points",
        &[number(claims.len() as f64)],
    ));
    claims.into_iter().for_each(|claim| page.say(claim));
    accuracy(at, results, task, page);
    depth(at, task, page);
    page.heading(at, "How much suffices");
    for (pair, found) in &task.pairs {
        let sets = list(&found["minimal_sets"]).iter();
        sets.for_each(|set| page.row([numbers(pair), ordering(&set["ranking"])]));
    }
    for (pair, found) in &task.pairs {
        list(&found["layer_selection"])
            .iter()
            .for_each(|_| page.row([numbers(pair)]));
    }
    orderings(at, task, page);
    transfers(at, results, task, page);
}

fn drawing(page: &mut Page, title: &'static str, task: &Task<'_>, names: Vec<Said>) {
    let name = title.replace('#', task.name);
    page.drawing(say(title, &[text(task.name)]), &name, names);
}

fn accuracy(at: usize, results: &Value, task: &Task<'_>, page: &mut Page) {
    page.heading(at, "Accuracy");
    page.say(say("oracle, test (95 %) | selectivity, points (95 %)", &[]));
    for (run, _) in &task.runs {
        page.row([just(words(&results["runs"][*run as usize - 1]["name"]))]);
    }
    let runs = task.runs.iter().map(|run| say("run #", &[number(run.0)]));
    drawing(
        page,
        "Test accuracy of the oracle of each run, task #",
        task,
        runs.collect(),
    );
    page.say(say(
        "A probe on all neurons of each run. Whiskers: 95 % intervals.",
        &[],
    ));
    page.say(say("accuracy, points (95 %)", &[]));
    task.pairs
        .iter()
        .for_each(|(pair, _)| page.row([numbers(pair)]));
    page.say(say(
        "The interval of a difference is Newcombe’s for independent samples: results do not say which samples were right. More \
         or less accurate: it excludes 0. It is not widened for the number of pairs. Void: an oracle is not above chance.",
        &[],
    ));
}

fn depth(at: usize, task: &Task<'_>, page: &mut Page) {
    page.heading(at, "Where the salient neurons sit");
    let mut masses: Vec<f64> = task
        .runs
        .iter()
        .map(|run| value(&run.1["mass"]) * 100.0)
        .collect();
    masses.dedup();
    let masses: Vec<Said> = masses
        .into_iter()
        .map(|mass| say("# %", &[number(mass)]))
        .collect();
    let masses = [part(joined(&masses, " or "))];
    page.say(say(
        "Neurons that hold # of an oracle’s weight mass of a class.",
        &masses,
    ));
    let salient = |run: &&(f64, &Value)| {
        list(&run.1["salient_by_layer"])
            .iter()
            .any(|n| value(n) > 0.0)
    };
    let runs = task.runs.iter().filter(salient);
    let mut names: Vec<Said> = runs
        .map(|run| say("run #", &[number(run.0)]).if_there_is_room())
        .collect();
    if !names.is_empty() {
        names.push(say(
            "relative depth: 0 is the lowest layer, 1 the highest",
            &[],
        ));
        let title = "Share of the salient neurons up to each relative depth, by run, task #";
        drawing(page, title, task, names);
    }
    task.pairs
        .iter()
        .for_each(|(pair, _)| page.row([numbers(pair)]));
    page.say(say(
        "Distance: 1-Wasserstein, how far, in depths of a model, neurons would have to move on average to make one distribution \
         the other. p: share of the draws, with neurons dealt out at random, that are as far apart. Divergence of classes: \
         Jensen–Shannon, 0 where salient neurons are of the same classes in the same shares, 1 where none is common; – where \
         classes differ.",
        &[],
    ));
    for (pair, found) in &task.pairs {
        let classes = list(&found["classes"]).iter();
        classes.for_each(|class| page.row([numbers(pair), just(words(&class["class"]))]));
    }
    page.heading(at, "Which classes they are of");
    page.row(task.runs.iter().map(|run| say("run #", &[number(run.0)])));
    let mut classes: Vec<&str> = Vec::new();
    for class in task
        .runs
        .iter()
        .flat_map(|run| list(&run.1["classes"]))
        .map(words)
    {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    for class in classes {
        let shares = task.runs.iter().map(|(_, run)| share(run, class));
        page.row([just(class)].into_iter().chain(shares.flatten()));
    }
}

/// What share of a run's salient neurons is of a class, where it has that.
fn share(run: &Value, class: &str) -> Option<Said> {
    let at = list(&run["classes"]).iter().position(|own| own == class)?;
    let counts: Vec<f64> = list(&run["salient_by_class"]).iter().map(value).collect();
    let all = counts.iter().sum::<f64>().max(1.0);
    Some(say("# %", &[number(counts[at] / all * 100.0)]))
}

fn orderings(at: usize, task: &Task<'_>, page: &mut Page) {
    if task
        .pairs
        .iter()
        .all(|(_, found)| list(&found["overlaps"]).is_empty())
    {
        return;
    }
    page.heading(at, "Do the orderings agree?");
    for (pair, found) in &task.pairs {
        let overlaps = list(&found["overlaps"]).iter();
        overlaps.for_each(|of| page.row([numbers(pair), ordering(&of["ranking"])]));
    }
    page.say(say(
        "The first neurons of the same ordering in both runs, neuron by neuron. Average overlap: mean share in common of the \
         first 1, 2, … neurons. p as above.",
        &[],
    ));
}

fn transfers(at: usize, results: &Value, task: &Task<'_>, page: &mut Page) {
    if task
        .pairs
        .iter()
        .all(|(_, found)| list(&found["transfer"]).is_empty())
    {
        return;
    }
    page.heading(at, "Do the neurons of one run carry the task in another?");
    page.say(say(
        "carried, test (95 %) | own, test (95 %) | carried − own, points (95 %) | carried − random, points (95 %)",
        &[],
    ));
    for (pair, found) in &task.pairs {
        for set in list(&found["transfer"]) {
            let [first, second] = [0, 1].map(|at| number(value(&pair["runs"][at]) + 1.0));
            page.row([say("# → #", &[first, second]), ordering(&set["ranking"])]);
        }
    }
    let sets = counted(value(&results["transfer"]["random_sets"]), "random set");
    page.say(say(
        "Minimal sets of the first run retrained on the data of the second, beside as many neurons that the second’s same \
         ordering prefers (same samples of test: Tango’s interval, McNemar’s p) and beside # of that size. Both p are corrected \
         for all carried sets (Holm). Carried over: better than random sets with a corrected p below 0.05 and an interval that \
         excludes 0.",
        &[part(sets)],
    ));
}

/// A file as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+/:=,@".contains(letter);
    if !file.is_empty() && file.chars().all(plain) {
        return file.to_owned();
    }
    format!("'{}'", file.replace('\'', "'\\''"))
}

/// Each version with the runs that it made.
fn versions(runs: &[Value]) -> Said {
    let mut versions: Vec<(&str, Vec<Said>)> = Vec::new();
    for (at, run) in (1_u32..).zip(runs) {
        let (version, at) = (words(&run["neurosieve_version"]), say("#", &[number(at)]));
        match versions.iter_mut().find(|known| known.0 == version) {
            Some(known) => known.1.push(at),
            None => versions.push((version, vec![at])),
        }
    }
    versions.sort_by_key(|known| known.0);
    let versions = versions
        .into_iter()
        .map(|(version, runs)| say("# (run #)", &[text(version), part(joined(&runs, ", "))]));
    let versions: Vec<Said> = versions.collect();
    joined(&versions, "; ")
}

fn reproduce(results: &Value, page: &mut Page) {
    page.heading(0, "How to reproduce this");
    let runs = list(&results["runs"]);
    let files: Vec<Said> = runs
        .iter()
        .map(|run| just(&quoted(words(&run["file"]))))
        .collect();
    let plan = &results["transfer"];
    let transfer = if plan.is_null() {
        Said::default()
    } else {
        let plan = [figure(&plan["delta"]), figure(&plan["random_sets"])];
        say(" --transfer --delta # --random-sets #", &plan)
    };
    page.say(say(
        "neurosieve compare ## --draws # --seed # -o compare.json",
        &[
            part(joined(&files, " ")),
            part(transfer),
            figure(&results["draws"]),
            figure(&results["seed"]),
        ],
    ));
    let versions = versions(runs);
    for fact in [
        say(
            "neurosieve | #",
            &[text(words(&results["neurosieve_version"]))],
        ),
        say("Versions that ran the studies | #", &[part(versions)]),
        say("Seed of the draws | #", &[figure(&results["seed"])]),
        say(
            "Draws behind each p of a distribution over depth | #",
            &[figure(&results["draws"])],
        ),
        say(
            "Layout of the document | #",
            &[figure(&results["schema_version"])],
        ),
    ] {
        page.say(fact);
    }
    for (at, run) in (1_u32..).zip(runs) {
        let warnings = list(&run["warnings"]);
        if warnings.is_empty() {
            continue;
        }
        let count = part(counted(warnings.len() as f64, "warning"));
        page.say(say(
            "Run #, #: #",
            &[number(at), text(words(&run["name"])), count],
        ));
        warnings
            .iter()
            .for_each(|warning| page.say(warned(warning)));
    }
}
