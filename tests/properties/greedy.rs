//! Greedy selections: no candidate was better by a naive f64 account of every set, whatever the data; degenerate neurons and
//! classes; nothing found where there is nothing.

use ndarray::{Array2, ArrayView2, Axis, array, concatenate};
use neurosieve::Backend;
use neurosieve::analysis::forward;
use neurosieve::analysis::gaussian::{self, Convention, Params, Selected};
use neurosieve::analysis::greedy::Labelled;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::{Moments, Spread, moments};
use neurosieve::ops::probe::{self, Design, Problem, Stop};
use proptest::prelude::*;
use rand::RngExt;

use crate::support::{activations, assert_close, labels, normal, random};

fn of(x: ArrayView2<'_, f32>) -> Moments {
    moments(&Backend::Cpu, x, None).unwrap()
}

fn named(ids: Vec<u32>, classes: u32) -> Labels {
    Labels::new(ids, (0..classes).map(|c| format!("class {c}")).collect()).unwrap()
}

fn run(x: &Array2<f32>, labels: &Labels, select: usize) -> Selected {
    let train = Labelled {
        x: x.view(),
        labels,
    };
    let params = Params {
        select,
        ..Params::default()
    };
    gaussian::select(train, &of(x.view()), None, &params, &mut |_| {}).unwrap()
}

fn run_forward(x: &Array2<f32>, labels: &Labels, params: &forward::Params) -> forward::Selected {
    let train = Labelled {
        x: x.view(),
        labels,
    };
    let moments = of(x.view());
    forward::select(&Backend::Cpu, train, &moments, None, params, &mut |_| {}).unwrap()
}

/// Σ ln p(y | x) over `set` of Gaussians that are rebuilt from the raw values, by elimination; structured unlike the crate.
fn naive(x: &Array2<f32>, y: &Labels, on: &Array2<f32>, truth: &Labels, set: &[usize]) -> f64 {
    let (x, on) = (x.mapv(f64::from), on.mapv(f64::from));
    let (n, k) = (x.nrows() as f64, set.len());
    let centre: Vec<f64> = set.iter().map(|&j| x.column(j).sum() / n).collect();
    let mut densities = vec![Vec::new(); truth.len()];
    for class in y.present() {
        let rows: Vec<usize> = (0..y.len()).filter(|i| y.ids()[*i] == class).collect();
        let own = rows.len() as f64;
        let mean: Vec<f64> = set
            .iter()
            .map(|&j| rows.iter().map(|i| x[(*i, j)]).sum::<f64>() / own)
            .collect();
        let mut sigma = vec![vec![0.0; k]; k];
        for a in 0..k {
            for b in 0..k {
                let each = rows
                    .iter()
                    .map(|i| (x[(*i, set[a])] - mean[a]) * (x[(*i, set[b])] - mean[b]));
                let apart = (mean[a] - centre[a]) * (mean[b] - centre[b]);
                sigma[a][b] = each.sum::<f64>() + 0.01 * own / (0.01 + own) * apart;
            }
            let column = x.column(set[a]);
            sigma[a][a] += column.iter().map(|v| (v - centre[a]).powi(2)).sum::<f64>() / n;
        }
        let divisor = own + 2.0 * k as f64 + 4.0;
        for (i, densities) in densities.iter_mut().enumerate() {
            let mut rows: Vec<Vec<f64>> = (0..k)
                .map(|a| {
                    let map = (0.01 * centre[a] + own * mean[a]) / (0.01 + own);
                    let mut row: Vec<f64> = sigma[a].iter().map(|s| s / divisor).collect();
                    row.push(on[(i, set[a])] - map);
                    row
                })
                .collect();
            let (mut square, mut log) = (0.0, 0.0);
            for a in 0..k {
                let (pivot, r) = (rows[a][a], rows[a][k]);
                square += r * r / pivot;
                log += pivot.ln();
                let above = rows[a].clone();
                for row in &mut rows[a + 1..] {
                    let factor = row[a] / pivot;
                    row.iter_mut()
                        .zip(&above)
                        .for_each(|(v, u)| *v -= factor * u);
                }
            }
            densities.push((class, (own / n).ln() - 0.5 * (square + log)));
        }
    }
    let mut sum = 0.0;
    for (densities, id) in densities.iter().zip(truth.ids()) {
        let most = densities
            .iter()
            .map(|d| d.1)
            .fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = densities.iter().map(|d| (d.1 - most).exp()).sum();
        if let Some((_, own)) = densities.iter().find(|(class, _)| class == id) {
            sum += own - most - all.ln();
        }
    }
    sum
}

/// Every step's log-likelihood is the naive one, and no other candidate's is larger.
fn no_candidate_was_better(x: &Array2<f32>, y: &Labels, on: &Array2<f32>, truth: &Labels) {
    let moments = of(x.view());
    let candidates: Vec<usize> = (0..x.ncols())
        .filter(|n| moments.spread[*n] == Spread::Varies)
        .collect();
    let train = Labelled {
        x: x.view(),
        labels: y,
    };
    let scored = Labelled {
        x: on.view(),
        labels: truth,
    };
    let params = Params {
        select: x.ncols() + 3,
        ..Params::default()
    };
    let found = gaussian::select(train, &moments, Some(scored), &params, &mut |_| {}).unwrap();
    let mut set = Vec::new();
    for step in &found.steps {
        let tolerance = |value: f64| 1e-7 * value.abs().max(1.0);
        for &other in candidates.iter().filter(|n| !set.contains(*n)) {
            let tried = naive(x, y, on, truth, &[&set[..], &[other]].concat());
            assert!(
                tried <= step.log_likelihood + tolerance(tried),
                "after {set:?} {other} has {tried}, the chosen {step:?}"
            );
        }
        set.push(step.neuron);
        let exact = naive(x, y, on, truth, &set);
        assert_close(
            "log-likelihood",
            step.log_likelihood,
            exact,
            tolerance(exact),
        );
    }
    set.sort_unstable();
    assert_eq!(
        set, candidates,
        "all candidates are selected where K is beyond them"
    );
    let mut all = found.ranking.order;
    all.sort_unstable();
    assert!(all.into_iter().eq(0..x.ncols()));
}

/// Real oddities, with some neurons shifted by the class: little at a shift of 0, certain classes at a shift of 20.
fn shifted(samples: usize, neurons: usize, classes: &Labels, shift: f32, seed: u64) -> Array2<f32> {
    let mut x = activations(samples, neurons, seed);
    let sd = of(x.view()).sd;
    for (mut row, id) in x.rows_mut().into_iter().zip(classes.ids()) {
        for (neuron, value) in row.iter_mut().enumerate().filter(|(n, _)| n % 3 == 0) {
            *value += shift * sd[neuron] as f32 * (*id as f32);
        }
    }
    x
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gaussians_never_miss_a_better_candidate(
        samples in 4..60usize, neurons in 1..14usize, classes in 2..6u32, shift in 0..3u32, seed in 0..1000u64,
    ) {
        let y = labels(samples, classes, seed);
        prop_assume!(y.present().len() > 1);
        let shift = [0.0, 1.0, 20.0][shift as usize];
        let x = shifted(samples, neurons, &y, shift, seed);
        no_candidate_was_better(&x, &y, &x, &y);
        // Other samples, whose classes need not be those of train.
        let mut random = random(seed + 1);
        let ids = (0..20).map(|i| if i == 0 { y.ids()[0] } else { random.random_range(0..classes) });
        let truth = named(ids.collect(), classes);
        no_candidate_was_better(&x, &y, &shifted(20, neurons, &truth, shift, seed + 2), &truth);
    }
}

#[test]
fn certain_classes_are_scored_as_exactly_as_others() {
    // Far more samples than eights of one class, and classes that the scoring may leave out.
    let y = labels(400, 7, 3);
    for shift in [0.3, 3.0, 30.0] {
        let x = shifted(400, 9, &y, shift, 4);
        no_candidate_was_better(&x, &y, &x, &y);
    }
}

#[test]
fn copies_constants_and_lonely_classes_are_no_trouble() {
    // Neurons 1 and 3 are copies of 0 and 2 (3 at a huge scale), 4 is constant; class 2 has one sample, class 3 none.
    let mut random = random(1);
    let ids: Vec<u32> = (0..30).map(|i| if i == 7 { 2 } else { i % 2 }).collect();
    let y = named(ids.clone(), 4);
    let x = Array2::from_shape_fn((30, 5), |(i, neuron)| match neuron {
        0 => 2.0 * ids[i] as f32 + ((i * 37) % 11) as f32 * 0.1,
        2 => normal(&mut random) as f32,
        4 => -7.25,
        _ => 0.0,
    });
    let mut x = x;
    for mut row in x.rows_mut() {
        row[1] = row[0];
        row[3] = row[2] * f32::from_bits(0x6f80_0000); // 2^96
    }
    let found = run(&x, &y, 50);
    let chosen: Vec<usize> = found.steps.iter().map(|step| step.neuron).collect();
    assert_eq!(chosen.len(), 4, "{chosen:?}");
    assert_eq!(chosen[0], 0, "of copies the first");
    let place = |neuron: usize| chosen.iter().position(|n| *n == neuron).unwrap();
    assert!(place(2) < place(3), "{chosen:?}");
    assert_eq!(found.ranking.order[4], 4);
    assert_eq!(found.ranking.scores[4], 0.0);
    assert!(
        found
            .steps
            .iter()
            .all(|step| step.log_likelihood.is_finite())
    );
    let train = Labelled {
        x: x.view(),
        labels: &y,
    };
    let published = Params {
        convention: Convention::Published,
        ..Params::default()
    };
    let refused = gaussian::select(train, &of(x.view()), None, &published, &mut |_| {});
    assert!(refused.unwrap_err().to_string().contains("class 2"));

    let found = run_forward(&x, &y, &forward::Params::default());
    let chosen: Vec<usize> = found.steps.iter().map(|step| step.neuron).collect();
    assert_eq!(chosen[0], 0, "of copies the first: {chosen:?}");
    assert_eq!(chosen.len(), 4);
    assert_eq!((found.ranking.order[4], found.ranking.scores[4]), (4, 0.0));
}

#[test]
fn nothing_is_selected_where_nothing_varies() {
    let y = named((0..30).map(|i| i % 2).collect(), 2);
    let still = Array2::from_elem((30, 3), 0.5f32);
    let found = run(&still, &y, 2);
    assert_eq!((found.steps.len(), found.ranking.order), (0, vec![0, 1, 2]));
    let found = run_forward(&still, &y, &forward::Params::default());
    assert!(found.steps.is_empty());
    assert_eq!(found.ranking.scores, [0.0; 3]);
}

#[test]
fn neither_scale_nor_place_nor_threads_choose_neurons() {
    let y = labels(150, 5, 8);
    let x = shifted(150, 40, &y, 0.8, 9);
    let found = run(&x, &y, 12);
    let single = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let five = rayon::ThreadPoolBuilder::new()
        .num_threads(5)
        .build()
        .unwrap();
    for pool in [single, five] {
        assert_eq!(pool.install(|| run(&x, &y, 12)), found);
    }
    let back: Vec<usize> = (0..40).rev().collect();
    let mut turned = x.select(Axis(1), &back);
    for (neuron, mut column) in turned.columns_mut().into_iter().enumerate() {
        // Not beyond f32, and no neuron at another size beside the others than before.
        column *= if neuron % 2 == 0 { 4.0 } else { -2.0 };
    }
    let other = run(&turned, &y, 12);
    for (a, b) in found.steps.iter().zip(&other.steps) {
        assert_eq!(a.neuron, 39 - b.neuron);
        assert_close("scaled", a.log_likelihood, b.log_likelihood, 1e-8);
    }
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    // Noise alone: train is learnt by heart, other samples are not.
    let noise = |seed: u64| {
        let mut random = random(seed);
        Array2::from_shape_simple_fn((300, 30), || normal(&mut random) as f32)
    };
    let (x, dev) = (noise(1), noise(2));
    let (y, truth) = (
        named((0..300).map(|i| i % 2).collect(), 2),
        labels(300, 2, 5),
    );
    let part = |x| Labelled { x, labels: &y };
    let train = part(x.view());
    let scored = Labelled {
        x: dev.view(),
        labels: &truth,
    };
    let params = Params {
        select: 30,
        ..Params::default()
    };
    let of_train = gaussian::select(train, &of(x.view()), None, &params, &mut |_| {}).unwrap();
    let of_dev =
        gaussian::select(train, &of(x.view()), Some(scored), &params, &mut |_| {}).unwrap();
    let last = |found: &Selected| *found.steps.last().unwrap();
    assert!(last(&of_train).bits > 0.4, "{:?}", last(&of_train));
    assert!(last(&of_dev).bits < 0.0, "{:?}", last(&of_dev));
    assert!((last(&of_dev).accuracy - 0.5).abs() < 0.1);
    // With two neurons that the class does shift both methods begin with them, and other samples profit.
    let mark = |x: &Array2<f32>, y: &Labels| {
        let mut x = x.clone();
        for (mut row, id) in x.rows_mut().into_iter().zip(y.ids()) {
            row[11] += 1.5 * *id as f32;
            row[23] -= *id as f32;
        }
        x
    };
    let (x, dev) = (mark(&x, &y), mark(&dev, &truth));
    let train = part(x.view());
    let scored = Labelled {
        x: dev.view(),
        labels: &truth,
    };
    let found = gaussian::select(train, &of(x.view()), Some(scored), &params, &mut |_| {}).unwrap();
    assert_eq!([found.steps[0].neuron, found.steps[1].neuron], [11, 23]);
    assert!(found.steps[1].bits > 0.2, "{:?}", found.steps[1]);
    let params = forward::Params {
        select: 2,
        ..forward::Params::default()
    };
    let found = forward::select(
        &Backend::Cpu,
        train,
        &of(x.view()),
        Some(scored),
        &params,
        &mut |_| {},
    )
    .unwrap();
    assert_eq!([found.steps[0].neuron, found.steps[1].neuron], [11, 23]);
    assert!(found.steps[1].log_loss < found.steps[0].log_loss);
}

#[test]
fn a_forward_selection_is_a_chain_of_optima() {
    let y = labels(60, 4, 2);
    let x = shifted(60, 90, &y, 0.7, 3); // more neurons than samples
    let train = Labelled {
        x: x.view(),
        labels: &y,
    };
    let moments = of(x.view());
    let choose = |shortlist: usize| {
        let params = forward::Params {
            select: 10,
            shortlist,
            gap: 1e-6,
            ..forward::Params::default()
        };
        forward::select(&Backend::Cpu, train, &moments, None, &params, &mut |_| {}).unwrap()
    };
    let found = choose(8);
    let mut before = found.before;
    let mut set = Vec::new();
    for step in &found.steps {
        assert!(step.objective < before, "each neuron lowers the optimum");
        assert!(step.relative_gap <= 1e-6);
        before = step.objective;
        set.push(step.neuron);
        let design = Design::new(&Backend::Cpu, x.view(), &moments, &set).unwrap();
        let params = probe::Params {
            stop: Stop::Gap(1e-7),
            ..probe::Params::default()
        };
        let problem = Problem::new(&y, 0.0, 1e-3);
        let fit = probe::fit(&Backend::Cpu, &design, &[problem], &params, &mut |_| {}).unwrap();
        assert_close("optimum", step.objective, fit[0].objective, 3e-6);
    }
    // A first step that fits every candidate is at least as good as one that fits a few, or one alone.
    let first = |shortlist: usize| choose(shortlist).steps[0].objective;
    assert!(first(90) <= first(8) + 1e-6 && first(8) <= first(1) + 1e-6);
    assert_eq!(choose(8), found, "the same again");
}

#[test]
fn what_cannot_be_selected_from_is_refused() {
    let x = array![[1.0, 2.0], [2.0, 1.0], [3.0, 5.0f32]];
    let wide = concatenate![Axis(1), x, x];
    let moments = of(x.view());
    let refuse = |train: (&[u32], u32), on: (&Array2<f32>, &[u32], u32), select, says: &str| {
        let (y, truth) = (named(train.0.to_vec(), train.1), named(on.1.to_vec(), on.2));
        let train = Labelled {
            x: x.view(),
            labels: &y,
        };
        let on = Labelled {
            x: on.0.view(),
            labels: &truth,
        };
        let params = Params {
            select,
            ..Params::default()
        };
        let error = gaussian::select(train, &moments, Some(on), &params, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let params = forward::Params {
            select,
            ..forward::Params::default()
        };
        let same = forward::select(
            &Backend::Cpu,
            train,
            &moments,
            Some(on),
            &params,
            &mut |_| {},
        );
        assert!(same.unwrap_err().to_string().contains(says));
    };
    let ids: &[u32] = &[0, 1, 0];
    refuse((ids, 2), (&x, ids, 2), 0, "0 neurons");
    refuse((&[0, 1], 2), (&x, ids, 2), 1, "3 samples and 2 labels");
    refuse((&[0, 0, 0], 2), (&x, ids, 2), 1, "1 class occurs");
    refuse((ids, 2), (&x, ids, 3), 1, "2 classes in train, 3");
    refuse((ids, 3), (&x, &[2, 2, 2], 3), 1, "no sample to score on");
    refuse((ids, 2), (&wide, ids, 2), 1, "4 in the samples");
}

#[test]
fn a_forward_selection_out_of_range_is_refused() {
    let x = array![[1.0, 2.0], [2.0, 1.0], [3.0, 5.0f32]];
    let y = named(vec![0, 1, 0], 2);
    let train = Labelled {
        x: x.view(),
        labels: &y,
    };
    let usual = forward::Params::default();
    for (bad, says) in [
        (forward::Params { l2: 0.0, ..usual }, "λ2 is 0"),
        (
            forward::Params {
                l2: f64::NAN,
                ..usual
            },
            "λ2 is NaN",
        ),
        (
            forward::Params {
                shortlist: 0,
                ..usual
            },
            "shortlist",
        ),
        (
            forward::Params {
                gap: f64::NAN,
                ..usual
            },
            "gap is NaN",
        ),
    ] {
        let tried = forward::select(&Backend::Cpu, train, &of(x.view()), None, &bad, &mut |_| {});
        assert!(tried.unwrap_err().to_string().contains(says), "{bad:?}");
    }
}
