//! What the page says of one task.

use serde_json::Value;

use super::{
    Page, ends, figure, hundredths, interval, just, list, number, ordering, part, percent, sets,
    text, value, words,
};
use crate::report::prose::said::{Said, joined, say};

/// The heads of columns that have a digit.
const TEST_AND_LOSS: &str = "test (95 %) | − oracle, points (95 %)";

pub(super) fn task(at: usize, results: &Value, task: &Value, page: &mut Page) {
    page.heading(at, "Task");
    page.say(say("Task #", &[text(words(&task["name"]))]));
    page.heading(at, "The answer in five points");
    for answer in super::answers::answers(results, task) {
        page.say(answer);
    }
    layers(at, task, page);
    sweeps(at, task, page);
    minimal_sets(at, task, page);
    page.heading(at, "How sure are these sets?");
    sets::certainty(task, page);
    if !list(&task["combined"]).is_empty() {
        page.heading(at, "Layer selection, clustering and ranking together");
        page.say(say(TEST_AND_LOSS, &[]));
    }
    salient(at, results, task, page);
    control(at, task, page);
    oracle(at, results, task, page);
    page.heading(at, "Classes");
    list(&task["classes"])
        .iter()
        .for_each(|class| page.row([just(words(&class["name"]))]));
    certificates(at, task, page);
}

/// The lines across a chart of accuracies on test.
fn rules(task: &Value) -> Vec<Said> {
    vec![
        say(
            "oracle #",
            &[part(percent(&task["oracle"]["test_accuracy"]))],
        ),
        say("majority #", &[part(percent(&task["majority_accuracy"]))]),
    ]
}

/// A drawing with the name of its task.
fn drawing(page: &mut Page, title: &'static str, task: &Value, names: Vec<Said>) {
    let name = title.replace('#', words(&task["name"]));
    page.drawing(say(title, &[text(words(&task["name"]))]), &name, names);
}

fn layers(at: usize, task: &Value, page: &mut Page) {
    page.heading(at, "Accuracy by layer");
    if !list(&task["layers"]["independent"]).is_empty() {
        drawing(
            page,
            "Each layer alone: accuracy of task #",
            task,
            rules(task),
        );
        page.say(say(
            "One probe for each layer. Whiskers: 95 % intervals on test; grey band: the oracle's.",
            &[],
        ));
    }
    if !list(&task["layers"]["cumulative"]).is_empty() {
        drawing(
            page,
            "Layers up to each: accuracy of task #",
            task,
            rules(task),
        );
    }
}

fn sweeps(at: usize, task: &Value, page: &mut Page) {
    page.heading(at, "Few neurons of the same probe");
    for (ablation, title, effect) in [
        (
            "mean",
            "Accuracy by neurons kept, The others replaced by their train mean, task #",
            "Replacing by the mean takes a neuron's information away and leaves the rest of the probe as it was.",
        ),
        (
            "zero",
            "Accuracy by neurons kept, The others replaced by zero, task #",
            "Zero is a value far from usual for many neurons, so part of the fall is the shift and not the loss of information.",
        ),
    ] {
        let shown = list(&task["sweeps"])
            .iter()
            .filter(|sweep| sweep["ablation"] == ablation);
        let names = shown.map(|sweep| {
            let name = if sweep["ranking"] == "random" {
                say("random (mean of #)", &[figure(&sweep["draws"])])
            } else if sweep["direction"] == "keep-bottom" {
                say("#, bottom", &[part(ordering(&sweep["ranking"]))])
            } else {
                say("#, top", &[part(ordering(&sweep["ranking"]))])
            };
            name.if_there_is_room()
        });
        let names: Vec<Said> = names.collect();
        if !names.is_empty() {
            drawing(page, title, task, [rules(task), names].concat());
            page.say(say(
                "The same probe at every number of neurons kept, not retrained: the first k of an ordering (solid) or the last \
                 k (dashed). # Grey band: 95 % interval of the oracle.",
                &[text(effect)],
            ));
        }
    }
}

fn minimal_sets(at: usize, task: &Value, page: &mut Page) {
    page.heading(at, "Minimal sets, retrained");
    let sets = list(&task["minimal_sets"]);
    if sets.iter().any(|set| !list(&set["ladder"]).is_empty()) {
        let dev = &task["oracle"]["dev_accuracy"];
        let mut names = vec![say("oracle #", &[part(percent(dev))])];
        let mut deltas: Vec<f64> = sets
            .iter()
            .map(|set| value(&set["delta"]) * 100.0)
            .collect();
        deltas.sort_by(f64::total_cmp);
        deltas.dedup();
        names.extend(
            deltas
                .into_iter()
                .map(|delta| say("− # %", &[number(delta)])),
        );
        let orderings = sets
            .iter()
            .map(|set| ordering(&set["ranking"]).if_there_is_room());
        names.extend(orderings);
        drawing(
            page,
            "Dev accuracy of retrained neuron sets, task #",
            task,
            names,
        );
    }
    page.say(say(TEST_AND_LOSS, &[]));
    sets.iter()
        .for_each(|set| page.row([ordering(&set["ranking"])]));
    let search = sets.first().map_or("", |set| words(&set["search"]));
    page.say(say(
        "The sets are chosen on dev; test is read after all choices. ✗ marks a set that stays below δ on dev: the search ended \
         without reaching it. Sizes: #. All ids are in tables/minimal_sets.csv.",
        &[text(search)],
    ));
    for set in sets {
        let ids = list(&set["neurons"]).iter().take(60);
        let ids: Vec<Said> = ids.map(|id| say("#", &[figure(id)])).collect();
        page.row([ordering(&set["ranking"]), joined(&ids, " ")]);
    }
}

fn salient(at: usize, results: &Value, task: &Value, page: &mut Page) {
    page.heading(at, "Where the salient neurons sit");
    let two = if list(&task["classes"]).len() == 2 {
        " Of two classes each has the weights of the other with the sign changed, so both have the same neurons."
    } else {
        ""
    };
    page.say(say(
        "Neurons that hold # % of the oracle’s weight mass of a class, by layer.#",
        &[hundredths(&task["salient"]["mass"]), text(two)],
    ));
    let layers = list(&results["data"]["layers"]).iter();
    page.row(layers.map(|layer| say("#", &[figure(layer)])));
    list(&task["classes"])
        .iter()
        .for_each(|class| page.row([just(words(&class["name"]))]));
    page.heading(at, "Salient neurons");
    for neuron in list(&task["salient"]["neurons"]) {
        let chip = |name: &Value, of: &Value| say("# #", &[text(words(name)), figure(of)]);
        let classes = list(&neuron["classes"]).iter();
        let classes: Vec<Said> = classes
            .map(|of| chip(&of["class"], &of["weight"]))
            .collect();
        let fired = list(&neuron["top_words"]).iter();
        let fired: Vec<Said> = fired.map(|of| chip(&of["word"], &of["z"])).collect();
        page.row([joined(&classes, " "), joined(&fired, " ")]);
    }
}

fn control(at: usize, task: &Value, page: &mut Page) {
    page.heading(at, "Control task and selectivity");
    let control = &task["control"];
    if control.is_null() {
        return;
    }
    let sure = match &control["interval"] {
        Value::Null => say("–", &[]),
        known => ends(known),
    };
    for fact in [
        say(
            "oracle, test | #",
            &[part(percent(&task["oracle"]["test_accuracy"]))],
        ),
        say("control, mean | #", &[part(percent(&control["accuracy"]))]),
        say(
            "selectivity | # points",
            &[hundredths(&control["selectivity"])],
        ),
        say("its 95 % interval | #", &[part(sure)]),
        say(
            "half-range of the draws | # points",
            &[hundredths(&control["spread"])],
        ),
        say(
            "test words seen in train | #",
            &[part(percent(&control["seen_in_train"]))],
        ),
    ] {
        page.say(fact);
    }
    let sets = list(&task["minimal_sets"]).iter();
    let selective: Vec<&Value> = sets.filter(|set| !set["selectivity"].is_null()).collect();
    if !selective.is_empty() {
        page.say(say("selectivity, points (95 %)", &[]));
        selective
            .iter()
            .for_each(|set| page.row([ordering(&set["ranking"])]));
    }
}

fn oracle(at: usize, results: &Value, task: &Value, page: &mut Page) {
    page.heading(at, "The oracle and its λ path");
    let oracle = &task["oracle"];
    let test = [
        part(percent(&oracle["test_accuracy"])),
        part(interval(&oracle["test_interval"])),
    ];
    let used = [
        figure(&oracle["neurons_used"]),
        figure(&results["data"]["neurons"]),
    ];
    for fact in [
        say("λ1 | #", &[figure(&oracle["l1"])]),
        say("λ2 | #", &[figure(&oracle["l2"])]),
        say("objective | #", &[figure(&oracle["objective"])]),
        say("train | #", &[part(percent(&oracle["train_accuracy"]))]),
        say("dev | #", &[part(percent(&oracle["dev_accuracy"]))]),
        say("test | # (#)", &test),
        say(
            "weights not zero | #",
            &[figure(&oracle["nonzero_weights"])],
        ),
        say("neurons used | # of #", &used),
    ] {
        page.say(fact);
    }
    if list(&task["lambda_path"]).is_empty() {
        return;
    }
    let names = || {
        let chosen = say("chosen on dev: #", &[figure(&oracle["l1"])]);
        vec![chosen, say("λ1 (weaker to the right)", &[])]
    };
    drawing(page, "Accuracy along the λ path of task #", task, names());
    drawing(page, "Weights that are not zero of task #", task, names());
    let caption = "The L1 penalty makes weights exactly zero; this many are left.";
    page.say(say(caption, &[]));
}

/// A fit that is named, and whether it met its stopping rule.
type Fit = (Said, bool);

fn certificates(at: usize, task: &Value, page: &mut Page) {
    page.heading(at, "Certificates");
    let fits = fits(task);
    let all = fits.len() as f64;
    let missed = fits.iter().filter(|fit| !fit.1).count() as f64;
    page.say(if missed > 0.0 {
        let counts = [number(missed), number(all)];
        say(
            "# of # fits did not meet their stopping rule; each is marked below.",
            &counts,
        )
    } else {
        say("All # fits met their stopping rule.", &[number(all)])
    });
    fits.into_iter().for_each(|fit| page.row([fit.0]));
}

fn fits(task: &Value) -> Vec<Fit> {
    let met = |of: &Value| of["converged"] == true;
    let of = |said: Said, from: &Value| (said, met(&from["certificate"]));
    let mut fits = vec![of(say("oracle", &[]), &task["oracle"])];
    for point in list(&task["lambda_path"]) {
        fits.push(of(say("path, λ1 #", &[figure(&point["l1"])]), point));
    }
    for (kind, name) in [("independent", "layer"), ("cumulative", "layers up to")] {
        for point in list(&task["layers"][kind]) {
            fits.push(of(
                say("# #", &[text(name), figure(&point["layer"])]),
                point,
            ));
        }
    }
    let set_of = |set: &Value| {
        let set = [part(ordering(&set["ranking"])), hundredths(&set["delta"])];
        say("#, δ # %", &set)
    };
    let sets = list(&task["minimal_sets"]);
    for set in sets {
        fits.push(of(say("minimal set, #", &[part(set_of(set))]), set));
    }
    for set in sets {
        for (draw, fit) in (1_u32..).zip(list(&set["selectivity"]["certificates"])) {
            let name = [number(draw), part(set_of(set))];
            fits.push((say("control task, draw #, #", &name), met(fit)));
        }
    }
    for found in list(&task["disjoint"]) {
        for (place, set) in (1_u32..).zip(list(&found["sets"])).skip(1) {
            let name = [number(place), part(set_of(found))];
            fits.push(of(say("disjoint set #, #", &name), set));
        }
    }
    for found in list(&task["combined"]) {
        let name = [
            hundredths(&found["delta"]),
            figure(&found["threshold"]),
            hundredths(&found["set_delta"]),
        ];
        fits.push(of(
            say("layers at δ # %, clusters at #, set at δ # %", &name),
            found,
        ));
    }
    for (draw, fit) in (1_u32..).zip(list(&task["control"]["certificates"])) {
        fits.push((say("control task, draw #", &[number(draw)]), met(fit)));
    }
    fits
}
