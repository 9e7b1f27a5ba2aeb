//! The answer of a task in five points.

use serde_json::Value;

use super::{
    counted, ends, figure, hundredths, interval, list, number, ordering, p_is, p_value, part,
    percent, span, text, value,
};
use crate::report::prose::said::{Said, joined, say};

/// A point: what it is about, its figure, the finding and how sure it is.
struct Point {
    about: &'static str,
    figure: Said,
    lead: Said,
    rest: Said,
}

impl Point {
    fn missing(about: &'static str, why: &'static str) -> Self {
        Self {
            about,
            figure: say("–", &[]),
            lead: say(why, &[]),
            rest: Said::default(),
        }
    }

    /// Of an oracle at chance nothing is found.
    fn guarded(self, task: &Value) -> Self {
        if task["above_chance"] == true {
            return self;
        }
        Self {
            figure: say("void", &[]),
            lead: say("No finding, since the oracle is not above chance.", &[]),
            rest: say("# #", &[part(self.lead), part(self.rest)]),
            ..self
        }
    }

    fn said(self) -> Said {
        let said = [
            text(self.about),
            part(self.figure),
            part(self.lead),
            part(self.rest),
        ];
        say("# | # | # #", &said)
    }
}

pub(super) fn answers(results: &Value, task: &Value) -> Vec<Said> {
    let points = [
        accuracy(results, task),
        fewest(results, task).guarded(task),
        layers(results, task).guarded(task),
        redundancy(results, task),
        selectivity(task),
    ];
    points.into_iter().map(Point::said).collect()
}

fn accuracy(results: &Value, task: &Value) -> Point {
    let (oracle, data) = (&task["oracle"], &results["data"]);
    let chance = if task["above_chance"] == true {
        "the oracle is above chance."
    } else {
        "the oracle is not above chance, so whatever suffices for it shows nothing about redundancy."
    };
    let rest = [
        part(interval(&oracle["test_interval"])),
        part(percent(&task["majority_accuracy"])),
        text(chance),
    ];
    Point {
        about: "Accuracy",
        figure: percent(&oracle["test_accuracy"]),
        lead: say(
            "The oracle, a probe on all #, is right for # of #.",
            &[
                part(counted(value(&data["neurons"]), "neuron")),
                part(percent(&oracle["test_accuracy"])),
                part(counted(value(&data["samples"]["test"]), "test sample")),
            ],
        ),
        rest: say(
            "95 % interval #. Always answering train's most frequent class gets #; #",
            &rest,
        ),
    }
}

/// The δ nearest to 1 %.
fn headline(task: &Value) -> Option<f64> {
    let of = |field: &str| list(&task[field]).iter().map(|of| value(&of["delta"]));
    of("minimal_sets")
        .chain(of("layer_selection"))
        .min_by(|a, b| (a - 0.01).abs().total_cmp(&(b - 0.01).abs()))
}

/// Whether what was found stays within δ of the oracle on dev.
fn within(task: &Value, found: &Value, delta: f64) -> bool {
    let bar = value(&task["oracle"]["dev_accuracy"]) * (1.0 - delta);
    value(&found["dev_accuracy"]) >= bar - 1e-9
}

/// Of those that are there the smallest; of equals the better on dev.
fn smallest<'a>(found: impl Iterator<Item = &'a Value>) -> Option<&'a Value> {
    found.reduce(|best, other| {
        let key = |of: &Value| (value(&of["size"]), -value(&of["dev_accuracy"]));
        if key(other) < key(best) { other } else { best }
    })
}

fn smallest_set(task: &Value, delta: f64) -> Option<&Value> {
    let sets = list(&task["minimal_sets"]).iter();
    let sets = sets.filter(|set| value(&set["delta"]) == delta);
    smallest(sets.filter(|set| within(task, set, delta)))
}

/// What the paired test on test says of no more than δ being lost.
fn paired(task: &Value, found: &Value, delta: f64) -> Said {
    let of = &found["against_oracle"];
    let figures = say(
        "On test they score # points against the oracle (95 % interval #, McNemar p #, Holm-corrected #)",
        &[
            hundredths(&of["difference"]),
            part(ends(&of["interval"])),
            part(p_is(&of["p"])),
            part(p_value(&of["p_holm"])),
        ],
    );
    let (figures, allowed) = (part(figures), number(delta * 100.0));
    let (low, high) = (value(&of["interval"][0]), value(&of["interval"][1]));
    if low >= -delta * value(&task["oracle"]["test_accuracy"]) {
        say("#, which excludes a loss above # %.", &[figures, allowed])
    } else if value(&of["p_holm"]) < 0.05 && value(&of["difference"]) < 0.0 {
        say("#: there is a loss.", &[figures])
    } else if high < 0.0 {
        say(
            "#: a loss by this comparison alone, but not after correction for all of the study's, so \"no loss above # %\" \
             stays unproven.",
            &[figures, allowed],
        )
    } else {
        say(
            "#: no loss is shown, but one of up to # points is not excluded, so \"no loss above # %\" stays unproven on this \
             many samples.",
            &[figures, number(-low * 100.0), allowed],
        )
    }
}

fn fewest(results: &Value, task: &Value) -> Point {
    let about = "Fewest of an ordering";
    if list(&task["minimal_sets"]).is_empty() {
        return Point::missing(about, "The study asked for no minimal sets.");
    }
    let found = headline(task).and_then(|delta| Some((delta, smallest_set(task, delta)?)));
    let Some((delta, set)) = found else {
        return Point::missing(
            about,
            "No set that was tried stays within δ of the oracle on dev.",
        );
    };
    let (size, neurons) = (value(&set["size"]), value(&results["data"]["neurons"]));
    let lead = if size < neurons {
        say(
            "# (# %) suffice on dev: retrained on the first # by #, a probe stays within # % of the oracle there.",
            &[
                part(counted(size, "neuron")),
                number(size / neurons * 100.0),
                number(size),
                part(ordering(&set["ranking"])),
                number(delta * 100.0),
            ],
        )
    } else {
        let kept = [number(delta * 100.0), part(counted(neurons, "neuron"))];
        say(
            "No smaller set stays within # % of the oracle on dev: all # are kept.",
            &kept,
        )
    };
    let parts = [
        paired(task, set, delta),
        doubts(task, set),
        others(task, delta),
    ];
    Point {
        about,
        figure: counted(size, "neuron"),
        lead,
        rest: joined(&parts, ""),
    }
}

/// The smallest sets of other losses.
fn others(task: &Value, delta: f64) -> Said {
    let mut deltas: Vec<f64> = list(&task["minimal_sets"])
        .iter()
        .map(|set| value(&set["delta"]))
        .collect();
    deltas.sort_by(f64::total_cmp);
    deltas.dedup();
    deltas.retain(|other| *other != delta);
    let found = deltas.into_iter().filter_map(|other| {
        let set = smallest_set(task, other)?;
        let slots = [
            figure(&set["size"]),
            part(ordering(&set["ranking"])),
            number(other * 100.0),
        ];
        Some(say("# by # within # %", &slots))
    });
    let found: Vec<Said> = found.collect();
    if found.is_empty() {
        return Said::default();
    }
    say(" For other losses: #.", &[part(joined(&found, ", "))])
}

/// Whether other neurons do as well.
fn doubts(task: &Value, set: &Value) -> Said {
    let same = |of: &&Value| of["ranking"] == set["ranking"] && of["delta"] == set["delta"];
    let mut said = Vec::new();
    if let Some(random) = list(&task["random_sets"]).iter().find(same) {
        let p = [part(p_is(&random["p"]))];
        said.push(match beaten(random) {
            Beaten::Better => say(" On test random sets of that size do worse (p #).", &p),
            Beaten::AsWell => say(
                " Random sets of that size do as well (p # on test): which neurons they are hardly matters.",
                &p,
            ),
            Beaten::Open => {
                say(" On test they are not shown to be better than random sets of that size (p #).", &p)
            }
        });
    }
    if let Some(disjoint) = list(&task["disjoint"]).iter().find(same) {
        let (sets, all) = (list(&disjoint["sets"]).len(), disjoint["exhausted"] == true);
        let several = [part(counted(sets as f64, "set"))];
        said.push(match (sets, all) {
            (0, _) | (1, false) => Said::default(),
            (1, true) => say(
                " No second set of this ordering without a common neuron was found.",
                &[],
            ),
            (_, true) => say(
                " Exactly # of this ordering without a common neuron suffice.",
                &several,
            ),
            (_, false) => say(
                " At least # of this ordering without a common neuron suffice.",
                &several,
            ),
        });
    }
    joined(&said, "")
}

/// What random sets of a size say of a set.
pub(super) enum Beaten {
    Better,
    AsWell,
    Open,
}

pub(super) fn beaten(random: &Value) -> Beaten {
    let of = |field: &str| value(&random[field]);
    if of("p") < 0.05 {
        Beaten::Better
    } else if of("as_good").max(of("sufficient")) >= of("draws") / 2.0 {
        Beaten::AsWell
    } else {
        Beaten::Open
    }
}

fn layers(results: &Value, task: &Value) -> Point {
    let about = "Layers";
    let choices = list(&task["layer_selection"]).iter();
    let choice = headline(task).and_then(|delta| {
        let far = |choice: &Value| (value(&choice["delta"]) - delta).abs();
        choices.min_by(|a, b| far(a).total_cmp(&far(b)))
    });
    let Some(choice) = choice else {
        return Point::missing(about, "The study asked for no layer selection.");
    };
    let span = span(results, &choice["layer"]);
    let mut points = list(&task["layers"]["cumulative"]).iter();
    let point = points.find(|point| point["layer"] == choice["layer"]);
    let sure = point.map_or_else(Said::default, |point| {
        say(
            ", 95 % interval #",
            &[part(interval(&point["test_interval"]))],
        )
    });
    let alone = list(&task["layers"]["independent"]).iter();
    let best = alone.reduce(|best, point| {
        let dev = |of: &Value| value(&of["dev_accuracy"]);
        if dev(point) > dev(best) { point } else { best }
    });
    let single = best.map_or_else(Said::default, |best| {
        say(
            " The best single layer on dev is #: # on test (#).",
            &[
                figure(&best["layer"]),
                part(percent(&best["test_accuracy"])),
                part(interval(&best["test_interval"])),
            ],
        )
    });
    let lead = [
        part(span.capital()),
        part(counted(value(&choice["neurons"]), "neuron")),
        hundredths(&choice["delta"]),
    ];
    Point {
        about,
        figure: span,
        lead: say("# (#) stay within # % of the oracle on dev.", &lead),
        rest: say(
            "They score # on test#.#",
            &[
                part(percent(&choice["test_accuracy"])),
                part(sure),
                part(single),
            ],
        ),
    }
}

/// One neuron of each cluster of the layers that suffice: of what stays within its δ the smallest, at the δ nearest to 1 %.
fn combined(results: &Value, task: &Value) -> Said {
    let all = list(&task["combined"]);
    let delta = |found: &Value| value(&found["set_delta"]);
    let reach = all.iter().filter(|found| within(task, found, delta(found)));
    let far = |found: &Value| (delta(found) - 0.01).abs();
    let least = reach.clone().map(far).fold(f64::INFINITY, f64::min);
    match smallest(reach.filter(|found| far(found) == least)) {
        None if all.is_empty() => Said::default(),
        None => say(
            "Layer selection and one neuron of each cluster together do not stay within δ of the oracle on dev at any \
             threshold that was tried.",
            &[],
        ),
        Some(found) => say(
            "Together with the task, from # and one neuron of each cluster at #, # stay within # % of the oracle on dev. #",
            &[
                part(span(results, &found["layer"])),
                figure(&found["threshold"]),
                part(counted(value(&found["size"]), "neuron")),
                hundredths(&found["set_delta"]),
                part(paired(task, found, delta(found))),
            ],
        ),
    }
}

fn redundancy(results: &Value, task: &Value) -> Point {
    let about = "Redundancy";
    let far = |cut: &Value| (value(&cut["threshold"]) - 0.5).abs();
    let cuts = list(&results["clusters"]).iter();
    let Some(cut) = cuts.min_by(|a, b| far(a).total_cmp(&far(b))) else {
        return Point::missing(about, "The study asked for no clustering.");
    };
    let data = &results["data"];
    let still = list(&data["constant"]).len() + list(&data["nearly_constant"]).len();
    let alone = match still {
        0 => Said::default(),
        _ => say(
            ", # of them neurons that do not vary, each on its own",
            &[number(still as f64)],
        ),
    };
    let (count, neurons) = (value(&cut["count"]), value(&data["neurons"]));
    let combined = combined(results, task);
    Point {
        about,
        figure: counted(count, "cluster"),
        lead: say(
            "By correlation alone, # fall into # (# %) at a threshold of ##.",
            &[
                part(counted(neurons, "neuron")),
                part(counted(count, "cluster")),
                number(count / neurons * 100.0),
                figure(&cut["threshold"]),
                part(alone),
            ],
        ),
        rest: if task["above_chance"] == true {
            combined
        } else {
            let void = "What follows is no finding, since the oracle is not above chance. #";
            say(void, &[part(combined)])
        },
    }
}

fn selectivity(task: &Value) -> Point {
    let about = "Selectivity";
    let control = &task["control"];
    if control.is_null() {
        return Point::missing(
            about,
            "The words are not known, or a sample is more than a word, so there is no control task: how much of the accuracy \
             is memory stays open.",
        );
    }
    let sure = match &control["interval"] {
        Value::Null => Said::default(),
        known => say(" (95 % interval #)", &[part(ends(known))]),
    };
    let lead = [
        part(percent(&control["accuracy"])),
        part(counted(value(&control["draws"]), "draw")),
        hundredths(&control["spread"]),
        hundredths(&control["selectivity"]),
        part(sure),
    ];
    let seen = [part(percent(&control["seen_in_train"]))];
    let rest = if value(&control["seen_in_train"]) < 0.2 {
        say(
            "Only # of the test samples are words that train has: a probe cannot memorise the others, so this figure means \
             little.",
            &seen,
        )
    } else {
        say(
            "# of the test samples are words that train has; small selectivity would mean that the probe could have memorised \
             words.",
            &seen,
        )
    };
    Point {
        about,
        figure: say("# points", &[hundredths(&control["selectivity"])]),
        lead: say(
            "Trained on random classes for words instead, probes reach # (mean of # ± # points), the oracle # points more#.",
            &lead,
        ),
        rest,
    }
}
