//! What the page says of all tasks together.

use serde_json::Value;

use super::{Page, counted, figure, just, list, number, part, text, value, warned, words};
use crate::report::prose::said::{Said, joined, say};

fn device(results: &Value) -> Said {
    let device = &results["device"];
    let driver = match words(&device["driver"]) {
        "" => String::new(),
        driver => format!(", {driver}"),
    };
    let kind = words(&device["kind"]).to_uppercase();
    say(
        "#: ##",
        &[text(&kind), text(words(&device["name"])), text(&driver)],
    )
}

fn family(results: &Value) -> Said {
    counted(value(&results["loss_claims"]["family"]), "comparison")
}

pub(super) fn head(results: &Value, page: &mut Page) {
    let (name, data) = (words(&results["name"]), &results["data"]);
    let (samples, tasks) = (&data["samples"], list(&results["tasks"]));
    page.say(say("# · neurosieve", &[text(name)]));
    page.say(just(name));
    page.say(say(
        "# of # · # train, # dev, # test samples · #",
        &[
            part(counted(value(&data["neurons"]), "neuron")),
            part(counted(list(&data["layers"]).len() as f64, "layer")),
            figure(&samples["train"]),
            figure(&samples["dev"]),
            figure(&samples["test"]),
            part(counted(tasks.len() as f64, "task")),
        ],
    ));
    let version = text(words(&results["neurosieve_version"]));
    page.say(say("# · version #", &[part(device(results)), version]));
    let warnings = list(&results["warnings"]);
    if !warnings.is_empty() {
        page.heading(
            0,
            if warnings.len() == 1 {
                "warning"
            } else {
                "warnings"
            },
        );
        page.say(counted(warnings.len() as f64, "warning"));
        warnings
            .iter()
            .for_each(|warning| page.say(warned(warning)));
    }
    page.heading(0, "At a glance");
    page.say(say("95 % interval", &[]));
    tasks
        .iter()
        .for_each(|task| page.row([just(words(&task["name"]))]));
    page.say(say(
        "Fewest neurons of an ordering, and layers: within δ = 1 % (or the nearest δ asked for) of the dev accuracy of the \
         oracle, a probe on all neurons. “No loss on test?” is supported when the 95 % interval of the paired difference \
         excludes a loss above δ; a loss when the exact paired test (McNemar) finds one, with p < 0.05 after Holm’s correction \
         for the # of minimal, disjoint and combined sets with their oracles in this study; otherwise not decided: the test \
         set is too small. Void: the oracle is not above chance, so nothing can be lost.",
        &[part(family(results))],
    ));
    tasks
        .iter()
        .for_each(|task| page.say(just(words(&task["name"]))));
}

pub(super) fn foot(results: &Value, page: &mut Page) {
    explorer(results, page);
    clusters(results, page);
    map(results, page);
    data(results, page);
    reproduce(results, page);
}

fn explorer(results: &Value, page: &mut Page) {
    let found = &results["explored"];
    let neurons = list(&found["neurons"]);
    if neurons.is_empty() {
        return;
    }
    page.heading(0, "Neurons one by one");
    let (shown, wanted) = (neurons.len() as f64, value(&found["wanted"]));
    let which = if wanted > shown {
        say(
            ", the first of # that are among the most salient of any task, as listed there, or in a set",
            &[number(wanted)],
        )
    } else if wanted < shown {
        say(
            ": # that are among the most salient of any task, as listed there, or in a set, then representatives of the \
             largest clusters",
            &[number(wanted)],
        )
    } else {
        say(
            ": those that are among the most salient of any task, as listed there, or in a set",
            &[],
        )
    };
    page.say(say(
        "# neurons#. What is shown of them is of train. Also: the arrow keys ← and →, a click on a neuron’s number in any \
         table, or #neuron- and the number at the end of the address.",
        &[number(shown), part(which), text("#")],
    ));
    for neuron in neurons {
        let place = ["neuron", "layer", "unit"].map(|field| figure(&neuron[field]));
        page.say(say("# · layer #, unit #", &place));
    }
}

/// A row of bars: parts with what each stands for, of which only those that are there are drawn.
fn bars(page: &mut Page, cut: &Value, parts: &[(f64, f64)], clusters: f64) {
    let whole: f64 = parts.iter().map(|part| part.0).sum();
    let mut cells = vec![say("#", &[figure(&cut["threshold"])])];
    for (size, count) in parts.iter().filter(|part| part.0 > 0.0) {
        let percent = number(size / whole * 100.0);
        cells.push(say(
            "#%, #",
            &[percent.clone(), part(counted(*count, "cluster"))],
        ));
        if size / whole >= 0.07 {
            cells.push(say("#%", &[percent]));
        }
    }
    cells.push(counted(clusters, "cluster"));
    page.row(cells);
}

/// A range of sizes as it is shown.
fn sizes(of: &Value) -> Said {
    just(&words(of).replace('-', "–"))
}

fn clusters(results: &Value, page: &mut Page) {
    page.heading(0, "Redundancy among the neurons");
    let (about, cuts) = (&results["clustering"], list(&results["clusters"]));
    let linkage = just(words(&about["linkage"])).capital();
    let distance = text(words(&about["distance"]));
    page.say(say(
        "# linkage on #; the same for every task.",
        &[part(linkage), distance],
    ));
    let neurons = value(&results["data"]["neurons"]);
    for found in list(&about["pairs_at_least"]) {
        let pairs = value(&found["pairs"]);
        let share = pairs / (neurons * (neurons - 1.0) / 2.0) * 100.0;
        let slots = [figure(&found["r"]), number(pairs), number(share)];
        page.say(say("pairs with |r| ≥ # | # (# %)", &slots));
    }
    let Some(first) = cuts.first() else {
        return;
    };
    let title = "Number of clusters as a share of the neurons, by threshold";
    page.drawing(say(title, &[]), title, []);
    page.say(say(
        "One dendrogram, cut at every threshold. At 100 % no two neurons were merged.",
        &[],
    ));
    let bins = |cut: &Value| list(&cut["size_histogram"]).to_vec();
    let names: Vec<Said> = bins(first).iter().map(|bin| sizes(&bin["size"])).collect();
    page.say(joined(&names, " | "));
    for cut in cuts {
        let bins = bins(cut);
        let parts = bins
            .iter()
            .map(|bin| (value(&bin["neurons"]), value(&bin["clusters"])));
        bars(page, cut, &parts.collect::<Vec<_>>(), value(&cut["count"]));
    }
    windows(cuts, page);
    for cut in cuts {
        let bins = bins(cut);
        let largest = bins.iter().rev().find(|bin| value(&bin["clusters"]) > 0.0);
        page.row(largest.map(|bin| sizes(&bin["size"])));
    }
}

/// Clusters of two or more neurons by the layers that they span, five or more together.
fn windows(cuts: &[Value], page: &mut Page) {
    let spans = |cut: &Value| list(&cut["window_histogram"]).len();
    let most = cuts.iter().map(spans).max().unwrap_or(0);
    let names = (1..=most.min(5)).map(|span| {
        let number = [number(span as f64)];
        if span == 5 && most > 5 {
            say("# or more", &number)
        } else {
            say("#", &number)
        }
    });
    page.say(joined(&names.collect::<Vec<_>>(), " | "));
    for cut in cuts {
        let mut counts = vec![0.0; most.min(5)];
        for (at, count) in list(&cut["window_histogram"]).iter().enumerate() {
            counts[at.min(4)] += value(count);
        }
        let mut bins = list(&cut["size_histogram"]).iter();
        let single = bins.find(|bin| bin["size"] == "1");
        if let Some(first) = counts.first_mut() {
            *first -= single.map_or(0.0, |bin| value(&bin["clusters"]));
        }
        let parts: Vec<(f64, f64)> = counts.iter().map(|count| (*count, *count)).collect();
        bars(page, cut, &parts, counts.iter().sum());
    }
}

fn map(results: &Value, page: &mut Page) {
    let map = &results["redundancy"]["map"];
    let groups = list(&map["bounds"]).len().saturating_sub(1);
    if groups == 0 {
        return;
    }
    page.heading(0, "Correlations of all neurons");
    let mut means = list(&map["mean"]).iter().map(value);
    let (mut most, mut near, mut far) = (0.0_f64, Vec::new(), Vec::new());
    for g in 0..groups {
        for h in g..groups {
            let mean = means.next().unwrap_or(f64::NAN);
            if g != h {
                most = most.max(mean);
                if h - g <= 2 {
                    near.push(mean);
                } else {
                    far.push(mean);
                }
            }
        }
    }
    page.say(say("|r| 0 # | layer: first last", &[number(most)]));
    let mean = |of: &[f64]| match of {
        [] => say("–", &[]),
        _ => say("#", &[number(of.iter().sum::<f64>() / of.len() as f64)]),
    };
    let said = say(
        "Mean |r| between # groups of neurons in the order of the dendrogram: # between a group and the next two, # between \
         all others.",
        &[number(groups as f64), part(mean(&near)), part(mean(&far))],
    );
    page.say(said.clone());
    let bounds: Vec<f64> = list(&map["bounds"]).iter().map(value).collect();
    let sizes = bounds.windows(2).map(|ends| ends[1] - ends[0]);
    let (least, largest) = (
        sizes.clone().fold(f64::INFINITY, f64::min),
        sizes.fold(0.0, f64::max),
    );
    let cell = if least == largest {
        counted(largest, "neuron")
    } else {
        say("# or # neurons", &[number(least), number(largest)])
    };
    page.say(say(
        "# A cell is # by as many; blocks along the diagonal are neurons that say the same. The strip above: the mean layer of \
         a column’s neurons. Arrow keys or pointer read a cell out.",
        &[part(said), part(cell)],
    ));
    let layers: Vec<Said> = list(&results["data"]["layers"])
        .iter()
        .map(|l| say("#", &[figure(l)]))
        .collect();
    for _table in ["mean", "largest"] {
        page.row(layers.clone());
        layers.iter().for_each(|layer| page.row([layer.clone()]));
    }
}

/// Neurons with their places.
fn named(data: &Value, ids: &Value) -> Said {
    let ids = list(ids);
    if ids.is_empty() {
        return say("none", &[]);
    }
    let place = |id: &Value| {
        let at = value(id) as usize;
        let place = [
            figure(id),
            figure(&data["layer_of"][at]),
            figure(&data["unit_of"][at]),
        ];
        say("# (layer #, unit #)", &place)
    };
    let mut said: Vec<Said> = ids.iter().take(12).map(place).collect();
    if ids.len() > 12 {
        said.push(say("and # more", &[number((ids.len() - 12) as f64)]));
    }
    joined(&said, ", ")
}

fn layers(of: &Value) -> Said {
    let layers: Vec<Said> = list(of)
        .iter()
        .map(|layer| say("#", &[figure(layer)]))
        .collect();
    if layers.is_empty() {
        say("none", &[])
    } else {
        joined(&layers, ", ")
    }
}

fn data(results: &Value, page: &mut Page) {
    page.heading(0, "Data and device");
    let data = &results["data"];
    for (name, field) in [("Train", "train"), ("Dev", "dev"), ("Test", "test")] {
        let samples = counted(value(&data["samples"][field]), "sample");
        let file = text(words(&data["files"][field]));
        page.say(say("# | # · #", &[text(name), part(samples), file]));
    }
    for fact in [
        say("Neurons | #", &[figure(&data["neurons"])]),
        say("Layers | #", &[part(layers(&data["layers"]))]),
        say(
            "Constant neurons | #",
            &[part(named(data, &data["constant"]))],
        ),
        say(
            "Nearly constant neurons | #",
            &[part(named(data, &data["nearly_constant"]))],
        ),
        say(
            "Layers without a varying neuron | #",
            &[part(layers(&data["dead_layers"]))],
        ),
        say("Device | #", &[part(device(results))]),
        say(
            "Why this device | #",
            &[text(words(&results["device"]["reason"]))],
        ),
    ] {
        page.say(fact);
    }
    let used = &results["test_use"];
    let after = match value(&used["choices_after"]) {
        0.0 => say("no choice", &[]),
        some => say("# choices", &[number(some)]),
    };
    page.say(say(
        "# evaluated, all after the last choice of the study was made; # followed. What chooses penalties, layers, sizes and \
         neurons has train and dev alone.",
        &[part(counted(value(&used["probes"]), "probe")), part(after)],
    ));
    for used in list(&used["evaluated"]) {
        page.row([just(words(&used["task"])), just(words(&used["what"]))]);
    }
}

/// Seconds; from two minutes on with the minutes apart.
fn seconds(of: &Value) -> Said {
    let seconds = value(of);
    if seconds < 120.0 {
        return say("# s", &[number(seconds)]);
    }
    let whole = seconds.round();
    say(
        "# min # s",
        &[number((whole / 60.0).floor()), number(whole % 60.0)],
    )
}

fn reproduce(results: &Value, page: &mut Page) {
    page.heading(0, "How to reproduce this");
    let files = &results["data"]["files"];
    let of = |field: &Value| text(words(field));
    for fact in [
        say("Study | #", &[of(&results["name"])]),
        say("neurosieve | #", &[of(&results["neurosieve_version"])]),
        say("Seed | #", &[figure(&results["seed"])]),
        say("Device | #", &[part(device(results))]),
        say("Train | #", &[of(&files["train"])]),
        say("Dev | #", &[of(&files["dev"])]),
        say("Test | #", &[of(&files["test"])]),
        say(
            "Layout of results.json | #",
            &[figure(&results["schema_version"])],
        ),
    ] {
        page.say(fact);
    }
    let hashes = &results["data"]["hashes"];
    for field in ["train", "dev", "test"] {
        if let Some(hash) = hashes[field].as_str() {
            let begin: String = hash.chars().take(16).collect();
            page.say(say("BLAKE3 of # begins | #", &[text(field), text(&begin)]));
        }
    }
    for timing in list(&results["timings"]) {
        let seconds = part(seconds(&timing["seconds"]));
        page.say(say("# | #", &[of(&timing["step"]), seconds]));
    }
}
