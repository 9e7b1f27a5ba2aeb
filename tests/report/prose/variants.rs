//! Results that make the page say something else: every sentence is on the page of one of them.

use neurosieve::study::compare::results::{CompareResults, TransferPlan, TransferResult};
use neurosieve::study::results::{PairCount, Paired, StudyResults, SweepResult, TaskResults};

use crate::report::comparison::{carried_over, compared, three, two};
use crate::report::sample::{disjoint, minimal, paired, random_sets, results};

type Variant = (&'static str, fn(&mut StudyResults));

/// What is changed of the sample.
const REPORTS: [Variant; 24] = [
    ("the sample", |_| {}),
    ("a set without a loss", |of| {
        sets(of, paired(0.0, [-0.005, 0.005], 1.0));
    }),
    ("a set with a loss", |of| {
        sets(of, paired(-0.1, [-0.15, -0.05], 0.0004));
    }),
    ("a loss before the correction", |of| {
        let mut against = paired(-0.1, [-0.15, -0.05], 0.01);
        against.p_holm = 0.08;
        sets(of, against);
    }),
    ("an oracle at chance", |of| {
        each(of, |task| task.above_chance = false);
    }),
    ("no control task", |of| each(of, |task| task.control = None)),
    ("one draw, few words seen", |of| {
        each(of, |task| {
            let control = task.control.as_mut().expect("the sample has one");
            (control.draws, control.interval, control.seen_in_train) = (1, None, 0.125);
        });
    }),
    ("sets better than random", |of| {
        each(of, |task| {
            task.random_sets = vec![random_sets(0, 1.0 / 2001.0)];
            task.disjoint = vec![disjoint(false)];
        });
    }),
    ("random sets as good", |of| {
        each(of, |task| {
            task.random_sets = vec![random_sets(12, 0.619)];
            task.disjoint[0].best_left = None;
        });
    }),
    ("one set of its kind", |of| {
        each(of, |task| task.disjoint[0].sets.truncate(1));
    }),
    ("one set so far", |of| {
        each(of, |task| {
            task.disjoint = vec![disjoint(false)];
            task.disjoint[0].sets.truncate(1);
        });
    }),
    ("no set without a common neuron", |of| {
        each(of, |task| {
            task.disjoint[0].sets.clear();
            task.random_sets.clear();
        });
    }),
    ("nothing examined", |of| {
        each(of, |task| {
            (task.disjoint, task.stability, task.random_sets) = Default::default();
        });
    }),
    ("sets that miss their δ", |of| {
        each(of, |task| {
            task.minimal_sets
                .iter_mut()
                .for_each(|set| set.dev_accuracy = 0.8);
            task.combined[0].dev_accuracy = 0.8;
            task.combined[0].against_oracle = paired(0.02, [-0.03, 0.07], 0.7);
        });
    }),
    ("all neurons", |of| {
        each(of, |task| {
            task.minimal_sets.truncate(1);
            task.minimal_sets[0].size = 4;
            task.minimal_sets[0].neurons = vec![3, 0, 2, 1];
        });
    }),
    ("no sets, no ladder", |of| {
        each(of, |task| {
            task.minimal_sets.clear();
            task.combined.clear();
        });
    }),
    ("one layer", |of| {
        each(of, |task| {
            task.layer_selection[0].layer = 0;
            task.layer_selection[0].neurons = 1;
            task.combined[0].layer = 0;
            task.layers.cumulative.clear();
        });
    }),
    ("no layers", |of| {
        each(of, |task| {
            task.layer_selection.clear();
            task.layers.independent.clear();
            task.lambda_path.clear();
        });
    }),
    ("no clusters, no map, no explorer", |of| {
        of.clusters.clear();
        of.clustering.pairs_at_least.clear();
        (of.redundancy, of.explored) = (None, None);
    }),
    ("the first of many neurons", |of| explored(of, 12_345)),
    ("few neurons that matter", |of| explored(of, 1)),
    ("names with digits", names),
    ("many and few", many),
    ("clusters of many layers", layers),
];

fn each(of: &mut StudyResults, change: fn(&mut TaskResults)) {
    of.tasks.iter_mut().for_each(change);
}

fn sets(of: &mut StudyResults, against: Paired) {
    for task in &mut of.tasks {
        task.minimal_sets = vec![minimal("lca", 0.005, against.clone())];
        task.combined[0].against_oracle = against.clone();
    }
}

fn explored(of: &mut StudyResults, wanted: usize) {
    let found = of.explored.as_mut().expect("the sample has them");
    found.wanted = wanted;
}

/// Names that a study is given: a number in them is none of the results.
fn names(of: &mut StudyResults) {
    of.name = "run 17 of 2026".into();
    of.device.name = "RTX 4090, 24 GB".into();
    of.device.reason = "the largest of 2".into();
    of.test_use.evaluated[0].what = "layers 0 and 1".into();
    of.timings[0].step = "task 1 of 2: λ search".into();
    for (at, task) in of.tasks.iter_mut().enumerate() {
        task.name = format!("task {at}\n of 2");
        task.classes[1].name = format!("VB{at}");
        task.salient.neurons[0].classes[0].class = "CD 12".into();
        task.salient.neurons[0].top_words[1].word = "1,984.5".into();
        let renamed = |ranking: &mut String| *ranking = "top_10-best".into();
        task.minimal_sets
            .iter_mut()
            .for_each(|set| renamed(&mut set.ranking));
        task.disjoint
            .iter_mut()
            .for_each(|found| renamed(&mut found.ranking));
        task.stability
            .iter_mut()
            .for_each(|found| renamed(&mut found.ranking));
        task.random_sets
            .iter_mut()
            .for_each(|found| renamed(&mut found.ranking));
        task.sweeps
            .iter_mut()
            .take(2)
            .for_each(|sweep| renamed(&mut sweep.ranking));
        let zero = |sweep: &SweepResult| SweepResult {
            ablation: "zero".into(),
            ..sweep.clone()
        };
        task.sweeps.extend(task.sweeps.clone().iter().map(zero));
        for set in &mut task.minimal_sets {
            set.search = "11 sizes from 1 to 4".into();
        }
    }
}

/// Numbers of other sizes: long lists, one of a thing, thousands, minutes.
fn many(of: &mut StudyResults) {
    let data = &mut of.data;
    data.neurons = 2688;
    data.layer_of = (0..2688).map(|n| n / 1344).collect();
    data.unit_of = (0..2688).map(|n| n % 1344).collect();
    data.constant = (100..113).collect();
    data.nearly_constant = vec![2000];
    data.dead_layers = vec![1];
    data.hashes = None;
    (data.samples.train, data.samples.test) = (12_345, 1);
    of.device.driver.clear();
    of.warnings = vec!["`probe.rule` took 3 fits, `control.draws = 0` none.".to_owned()];
    of.test_use.choices_after = 2;
    of.test_use.probes = 1;
    of.loss_claims.family = 1;
    of.clustering.pairs_at_least.push(PairCount {
        r: 0.9,
        pairs: 1_234_567,
    });
    of.timings.extend([0.04, 61.7, 200.4].map(|seconds| {
        let mut timing = of.timings[0].clone();
        timing.seconds = seconds;
        timing
    }));
    of.tasks.truncate(1);
    let task = &mut of.tasks[0];
    task.minimal_sets[0].size = 70;
    task.minimal_sets[0].neurons = (900..970).collect();
    task.oracle.l1 = 1.234e-5;
    task.oracle.l2 = 123_456.0;
    task.oracle.nonzero_weights = 12_345;
    task.oracle.certificate.converged = true;
    task.lambda_path
        .iter_mut()
        .for_each(|point| point.certificate.converged = true);
    let map = &mut of.redundancy.as_mut().expect("the sample has one").map;
    map.order = (0..12).collect();
    map.bounds = (0..=4).map(|at| at * 3).collect();
    map.mean = (0_u32..10).map(|at| f64::from(at) / 16.0).collect();
}

fn layers(of: &mut StudyResults) {
    for cut in &mut of.clusters {
        cut.count = 1202;
        cut.window_histogram = vec![1000, 150, 30, 10, 4, 6, 2];
        cut.size_histogram[0].clusters = 900;
        cut.size_histogram[0].neurons = 900;
        cut.size_histogram[3].clusters = 302;
        cut.size_histogram[3].neurons = 2400;
    }
}

/// Every variant with its name.
pub fn reports() -> Vec<(&'static str, StudyResults)> {
    let of = |(name, change): Variant| {
        let mut results = results();
        change(&mut results);
        (name, results)
    };
    REPORTS.map(of).into()
}

fn with_transfers(mut found: CompareResults, sets: Vec<TransferResult>) -> CompareResults {
    found.transfer = Some(TransferPlan {
        delta: 0.01,
        random_sets: 40,
    });
    found.pairs[0].tasks[0].transfer = Some(sets);
    found
}

/// A set that does otherwise than the second run's own.
fn otherwise(difference: f64) -> TransferResult {
    let mut set = carried_over(0.2, 0.0004);
    (set.against_own.difference, set.against_own.p_holm) = (difference, 0.01);
    set
}

/// The same of comparisons.
pub fn comparisons() -> Vec<(&'static str, CompareResults)> {
    let sample = || (results(), results());
    let mut more = results();
    more.tasks[0].oracle.test_accuracy = 0.97;
    let mut chance = two();
    chance.pairs[0].tasks[0].oracle.above_chance[0] = false;
    chance.runs[0].found[0].above_chance = false;
    let mut both = chance.clone();
    both.runs[1].found[0].above_chance = false;
    both.runs[0].found[0].mass = 0.25;
    both.runs[1].neurosieve_version = "0.0.9".into();
    let mut apart = two();
    for task in &mut apart.pairs[0].tasks {
        (task.oracle.difference, task.oracle.interval) = (0.02, [0.01, 0.05]);
        task.depth.as_mut().expect("there is one").p = 0.04;
    }
    let (first, second) = sample();
    vec![
        ("two", two()),
        ("three", three()),
        ("the same twice", compared(vec![first, second])),
        ("a run at chance", chance),
        ("two runs at chance", both),
        ("one more accurate, elsewhere", apart),
        ("many runs", many_runs(more)),
        (
            "carried over",
            with_transfers(
                two(),
                vec![carried_over(0.2, 0.024), carried_over(0.02, 0.6)],
            ),
        ),
        (
            "better and worse",
            with_transfers(three(), vec![otherwise(-0.1), otherwise(0.1)]),
        ),
        (
            "many carried over",
            with_transfers(two(), vec![carried_over(0.2, 0.024); 7]),
        ),
    ]
}

fn many_runs(more: StudyResults) -> CompareResults {
    let mut runs = vec![results(); 5];
    runs[2] = more;
    for (at, run) in runs.iter_mut().enumerate() {
        run.name = format!("seed {at}");
        run.tasks[0].name = "task 0".into();
    }
    let mut found = compared(runs);
    for pair in &mut found.pairs {
        pair.tasks[0].depth.as_mut().expect("there is one").p = 0.03;
    }
    found
}
