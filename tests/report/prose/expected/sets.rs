//! How sure the minimal sets of a task are.

use serde_json::Value;

use super::answers::{Beaten, beaten};
use super::{Page, counted, figure, list, ordering, p_is, part, percent, text, value, words};
use crate::report::prose::said::{Said, say};

pub(super) fn certainty(task: &Value, page: &mut Page) {
    let of = |field: &str| list(&task[field]).iter();
    let deltas = of("disjoint")
        .chain(of("stability"))
        .chain(of("random_sets"));
    let Some(delta) = deltas.map(|found| value(&found["delta"]) * 100.0).next() else {
        return;
    };
    page.say(say(
        "The sets within # %, examined on train and dev.",
        &[super::number(delta)],
    ));
    if of("disjoint").len() > 0 {
        of("disjoint").for_each(|found| page.say(disjoint(found)));
        page.say(say("test (95 %) | − oracle, points (95 %)", &[]));
        for found in of("disjoint") {
            let sets = list(&found["sets"]).iter();
            sets.for_each(|_| page.row([ordering(&found["ranking"])]));
        }
    }
    if of("stability").len() > 0 {
        of("stability").for_each(|found| page.say(stability(found)));
        for found in of("stability") {
            let units = [figure(&found["draws"]), text(words(&found["units"]))];
            page.row([ordering(&found["ranking"]), say("# of #", &units)]);
        }
        page.say(say(
            "Bootstrap resamples of train, each ranked anew; each selects as many neurons as the set has. In brackets: what \
             sets of random neurons give; resamples share samples, so that even what noise selects comes back more often than \
             that. By cluster: a neuron counts as found when one of its correlation cluster (threshold #) is. Neuron by \
             neuron: tables/selection_frequency.csv.",
            &[figure(&task["stability"][0]["threshold"])],
        ));
    }
    if of("random_sets").len() > 0 {
        of("random_sets").for_each(|found| page.say(random(found)));
        of("random_sets").for_each(|found| page.row([ordering(&found["ranking"])]));
        page.say(say(
            "Random sets of the same size, each with a probe of its own and the same choice of penalties. p = (1 + random sets \
             at least as good on test) ÷ (1 + random sets): on dev the set was chosen for being good.",
            &[],
        ));
    }
}

fn disjoint(found: &Value) -> Said {
    let name = part(ordering(&found["ranking"]));
    let count = list(&found["sets"]).len();
    let sets = part(counted(count as f64, "set"));
    let left = part(counted(value(&found["left"]), "neuron"));
    if count == 0 {
        return say(
            "#: no set stays within δ on dev, not even all neurons.",
            &[name],
        );
    }
    if found["exhausted"] != true {
        return say(
            "#: at least # without a common neuron; the search stopped there, with # left.",
            &[name, sets, left],
        );
    }
    if found["best_left"].is_null() {
        return say("#: exactly #: no neuron is left.", &[name, sets]);
    }
    say(
        "#: exactly #: no size of the # left that was tried stays within δ on dev (best #, # wanted).",
        &[
            name,
            sets,
            left,
            part(percent(&found["best_left"])),
            part(percent(&found["required"])),
        ],
    )
}

fn stability(found: &Value) -> Said {
    let (one, any) = (
        &found["mean_frequency"],
        &found["mean_equivalent_frequency"],
    );
    say(
        "#: a resample of train names # of the # again (# by chance), and for # one of the same cluster (# by chance).",
        &[
            part(ordering(&found["ranking"])),
            part(percent(&one["observed"])),
            part(counted(value(&found["size"]), "neuron")),
            part(percent(&one["chance"])),
            part(percent(&any["observed"])),
            part(percent(&any["chance"])),
        ],
    )
}

fn random(found: &Value) -> Said {
    let (before, after) = match beaten(found) {
        Beaten::Better => ("better than random neurons", ""),
        Beaten::AsWell => (
            "random neurons do as well",
            " Which neurons they are hardly matters: that is redundancy itself, and no finding about these neurons.",
        ),
        Beaten::Open => ("not shown to be better than random neurons", ""),
    };
    say(
        "#: #. # of # of # are at least as good on test (p #), # of them stay within δ on dev.#",
        &[
            part(ordering(&found["ranking"])),
            text(before),
            figure(&found["as_good"]),
            part(counted(value(&found["draws"]), "random set")),
            part(counted(value(&found["size"]), "neuron")),
            part(p_is(&found["p"])),
            figure(&found["sufficient"]),
            text(after),
        ],
    )
}
