//! The points of a task of a comparison.

use serde_json::Value;

use super::comparison::{Task, numbers};
use super::{
    Slot, counted, ends, figure, hundredths, list, number, ordering, p_is, part, text, value,
};
use crate::report::prose::said::{Said, joined, say};

/// What a point is about, its figure, what is said of it.
fn point(about: &'static str, figure: Said, sentences: &[Said]) -> Said {
    say(
        "# | # | #",
        &[
            part(say(about, &[])),
            part(figure),
            part(joined(sentences, " | ")),
        ],
    )
}

pub(super) fn claims(results: &Value, task: &Task<'_>) -> Vec<Said> {
    let mut claims = vec![accuracy(task)];
    claims.extend(depth(task));
    claims.extend(neurons(task));
    if !results["transfer"].is_null() {
        claims.extend(transfer(task));
    }
    claims
}

fn p_value(of: &Value) -> Slot {
    part(say("p #", &[part(p_is(of))]))
}

fn places(pair: &Value) -> [Slot; 2] {
    [0, 1].map(|at| number(value(&pair["runs"][at]) + 1.0))
}

/// One figure, or the lowest and the highest.
fn range(values: &[f64], one: &'static str, more: &'static str) -> Said {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [only] => say(one, &[number(*only)]),
        _ => say(more, &[number(low), number(high)]),
    }
}

/// What is said of two accuracies.
fn difference(pair: &Value, oracle: &Value) -> Said {
    let [first, second] = places(pair);
    let runs = [second, first];
    let (by, sure) = (
        value(&oracle["difference"]) * 100.0,
        part(ends(&oracle["interval"])),
    );
    match sides(oracle) {
        None => say(
            "Of run # against run # nothing follows: an oracle is not above chance.",
            &runs,
        ),
        Some(0) => say(
            "No difference between run # and run # is shown: # points, and the 95 % interval # holds 0.",
            &[&runs[..], &[number(by), sure]].concat(),
        ),
        Some(side) => {
            let more = if side > 0 { "more" } else { "less" };
            let [second, first] = runs;
            say(
                "Run # is # accurate than run # by # points (95 % interval #).",
                &[second, text(more), first, number(by.abs()), sure],
            )
        }
    }
}

/// On which side of zero the interval of a difference lies; of an oracle at chance on none.
fn sides(oracle: &Value) -> Option<i8> {
    let [low, high] = [0, 1].map(|at| value(&oracle["interval"][at]));
    let sure = list(&oracle["above_chance"])
        .iter()
        .all(|above| above == true);
    sure.then_some(i8::from(low > 0.0) - i8::from(high < 0.0))
}

fn accuracy(task: &Task<'_>) -> Said {
    let pairs = task.pairs.iter();
    let mut sentences: Vec<Said> = pairs
        .map(|(pair, found)| difference(pair, &found["oracle"]))
        .collect();
    if sentences.len() > 3 {
        let apart = task
            .pairs
            .iter()
            .filter(|(_, found)| sides(&found["oracle"]).is_some_and(|side| side != 0));
        let counts = [
            number(apart.count() as f64),
            number(task.pairs.len() as f64),
        ];
        sentences = vec![say(
            "# of # pairs of runs have an interval of the difference that excludes 0; the table below has each.",
            &counts,
        )];
    }
    if let [(_, only)] = &task.pairs[..] {
        let points = say("# points", &[hundredths(&only["oracle"]["difference"])]);
        return point("Accuracy, second minus first", points, &sentences);
    }
    let all = task
        .runs
        .iter()
        .map(|(_, run)| value(&run["test_accuracy"]) * 100.0);
    let all: Vec<f64> = all.collect();
    point(
        "Accuracy of the runs",
        range(&all, "# %", "#–# %"),
        &sentences,
    )
}

fn depth(task: &Task<'_>) -> Option<Said> {
    let found = task
        .pairs
        .iter()
        .filter(|(_, found)| !found["depth"].is_null());
    let found: Vec<(&Value, &Value)> = found
        .map(|(pair, found)| (*pair, &found["depth"]))
        .collect();
    if found.is_empty() {
        return None;
    }
    let each = |(pair, depth): &(&Value, &Value)| {
        let ([first, second], [from, to]) =
            (places(pair), [0, 1].map(|at| figure(&depth["mean"][at])));
        let (distance, p) = (figure(&depth["distance"]), p_value(&depth["p"]));
        if value(&depth["p"]) < 0.05 {
            say(
                "Salient neurons of run # sit elsewhere than those of run #: mean depth #, there # (distance #, #).",
                &[second, first, to, from, distance, p],
            )
        } else {
            say(
                "That salient neurons of runs # and # sit at other depths is not shown: mean depth # and # (distance #, #).",
                &[first, second, from, to, distance, p],
            )
        }
    };
    let mut sentences: Vec<Said> = found.iter().map(each).collect();
    if found.len() > 3 {
        let apart = found.iter().filter(|(_, depth)| value(&depth["p"]) < 0.05);
        let counts = [number(apart.count() as f64), number(found.len() as f64)];
        sentences = vec![say(
            "In # of # pairs of runs salient neurons sit at other depths (p < 0.05); the table below has each.",
            &counts,
        )];
    }
    let distances: Vec<f64> = found
        .iter()
        .map(|(_, depth)| value(&depth["distance"]))
        .collect();
    let about = "Depth, distance of the distributions";
    Some(point(about, range(&distances, "#", "#–#"), &sentences))
}

fn neurons(task: &Task<'_>) -> Option<Said> {
    let (mut sentences, mut shares) = (Vec::new(), Vec::new());
    for (pair, found) in &task.pairs {
        for overlap in list(&found["overlaps"])
            .iter()
            .filter(|of| of["share"] == 0.05)
        {
            let (shared, first) = (value(&overlap["shared"]), value(&overlap["k"]));
            shares.push(shared / first * 100.0);
            sentences.push(say(
                "# of the first # by # are in both of runs #; # would be by chance (#).",
                &[
                    number(shared),
                    part(counted(first, "neuron")),
                    part(ordering(&overlap["ranking"])),
                    part(numbers(pair)),
                    figure(&overlap["expected"]),
                    p_value(&overlap["p"]),
                ],
            ));
        }
    }
    if sentences.len() > 6 {
        let count = [number(sentences.len() as f64)];
        sentences = vec![say(
            "Shared neurons of the first 5 % of # orderings of pairs; the table below has each.",
            &count,
        )];
    }
    let shares = range(&shares, "# %", "#–# %");
    let about = "Neurons in both, of the first 5 %";
    (!sentences.is_empty()).then(|| point(about, shares, &sentences))
}

/// Whether a set does better than random ones in another run.
fn carried(set: &Value) -> bool {
    let random = &set["random"];
    let above = random["interval"].is_null() || value(&random["interval"][0]) > 0.0;
    value(&random["p_holm"]) < 0.05 && value(&random["difference"]) > 0.0 && above
}

fn transfer(task: &Task<'_>) -> Option<Said> {
    let sets = |(pair, found): &(&'_ Value, &'_ Value)| -> Vec<(Value, Value)> {
        let sets = list(&found["transfer"]).iter();
        sets.map(|set| ((*pair).clone(), set.clone())).collect()
    };
    let all: Vec<(Value, Value)> = task.pairs.iter().flat_map(sets).collect();
    if all.is_empty() {
        return None;
    }
    let good = all.iter().filter(|(_, set)| carried(set)).count() as f64;
    let sentences = if all.len() > 6 {
        let each = "A set carries the task where it does better than random neurons; the table below has each.";
        vec![say(each, &[])]
    } else {
        all.iter()
            .map(|(pair, set)| carried_over(pair, set))
            .collect()
    };
    let counts = say("# of #", &[number(good), number(all.len() as f64)]);
    Some(point("Sets that carry the task over", counts, &sentences))
}

fn carried_over(pair: &Value, set: &Value) -> Said {
    let ([first, second], random, own) = (places(pair), &set["random"], &set["against_own"]);
    let neurons = say(
        "# of run # by #, retrained on run #,",
        &[
            part(counted(value(&set["size"]), "neuron")),
            first,
            part(ordering(&set["ranking"])),
            second.clone(),
        ],
    );
    let beside = say(
        "# points against random ones, # after Holm’s correction",
        &[
            hundredths(&random["difference"]),
            p_value(&random["p_holm"]),
        ],
    );
    let points = say(
        "# points, #",
        &[hundredths(&own["difference"]), part(ends(&own["interval"]))],
    );
    let (found, worse) = (
        value(&own["p_holm"]) < 0.05,
        value(&own["difference"]) < 0.0,
    );
    let rest = [second, part(points)];
    let rest = match (found, worse) {
        (true, true) => say("run #’s own do better (#)", &rest),
        (true, false) => say("they do better than run #’s own (#)", &rest),
        (false, _) => say("no difference from run #’s own is shown (#)", &rest),
    };
    let said = [part(neurons), part(beside), part(rest)];
    if carried(set) {
        say("# carry the task: #; #.", &said)
    } else {
        say("That # do more than random ones is not shown: #; #.", &said)
    }
}
