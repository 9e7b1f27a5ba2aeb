//! CKA is what its definition over samples says, and chance is drawn as it is said to be.

use ndarray::{Array2, s};
use neurosieve::activations::{LayerMap, Rows};
use neurosieve::analysis::chance::{Permuted, Rotated};
use neurosieve::analysis::similarity::linear_cka;
use neurosieve::ops::correlation::{Params, Side, Wanted, scan};
use neurosieve::ops::moments::{Moments, layer_norms, moments};
use neurosieve::{Activations, Backend};

use crate::support::{assert_close, normal, random};

/// Three layers of 3, 5 and 70 neurons, of which the second repeats some of the first; means of their own.
fn layers(samples: usize) -> (Activations, Moments) {
    let mut random = random(71);
    let mut x = Array2::from_shape_simple_fn((samples, 78), || normal(&mut random) as f32);
    for mut row in x.rows_mut() {
        row[3] = row[0] + 0.3 * row[3];
        row[4] = 2.0 * row[1] - row[2];
        row.iter_mut().enumerate().for_each(|(j, v)| *v += j as f32);
    }
    let layer = (0..78)
        .map(|j| u32::from(j >= 3) + u32::from(j >= 8))
        .collect();
    let map = LayerMap::new(layer, vec![0; 78]).unwrap();
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    (Activations::new(x, map).unwrap(), found)
}

/// The samples' kernel of a layer, centred.
fn kernel(x: &Activations, layer: u32) -> Array2<f64> {
    let columns = x.layers().columns(layer);
    let mut values = x.view().slice(s![.., columns]).mapv(f64::from);
    let mean = values.mean_axis(ndarray::Axis(0)).unwrap();
    values -= &mean;
    values.dot(&values.t())
}

/// HSIC by its definitions: the trace of the product, and Song et al.'s estimate with zero diagonals.
fn hsic(k: &Array2<f64>, l: &Array2<f64>, unbiased: bool) -> f64 {
    if !unbiased {
        return (k * l).sum();
    }
    let n = k.nrows() as f64;
    let hollow = |kernel: &Array2<f64>| {
        let mut kernel = kernel.clone();
        kernel.diag_mut().fill(0.0);
        kernel
    };
    let (k, l) = (hollow(k), hollow(l));
    let both = k.dot(&l);
    let trace = both.diag().sum();
    (trace + k.sum() * l.sum() / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * both.sum())
        / (n * (n - 3.0))
}

#[test]
fn cka_from_the_neurons_is_cka_from_the_samples() {
    for samples in [4, 40] {
        let (x, found) = layers(samples);
        let side = Side {
            rows: &x,
            moments: &found,
        };
        let wanted = Wanted {
            layers: Some([x.layers(), x.layers()]),
            ..Wanted::default()
        };
        let pairs = scan(&Backend::Cpu, side, None, &wanted, &Params::default()).unwrap();
        let norms = layer_norms(&x, &found, x.layers()).unwrap();
        let cka = linear_cka(&pairs.layers.unwrap(), &norms).unwrap();
        let kernels = [0, 1, 2].map(|layer| kernel(&x, layer));
        for (a, k) in kernels.iter().enumerate() {
            for (b, l) in kernels.iter().enumerate() {
                for (unbiased, got) in [(false, &cka.biased), (true, &cka.unbiased)] {
                    let own = hsic(k, k, unbiased) * hsic(l, l, unbiased);
                    let expected = hsic(k, l, unbiased) / own.sqrt();
                    let what = format!("{samples} samples, layers {a} and {b}, {unbiased}");
                    assert_close(&what, got[(a, b)], expected, 2e-5);
                }
            }
        }
    }
    let (few, found) = layers(3);
    let norms = layer_norms(&few, &found, few.layers()).unwrap();
    let side = Side {
        rows: &few,
        moments: &found,
    };
    let wanted = Wanted {
        layers: Some([few.layers(), few.layers()]),
        ..Wanted::default()
    };
    let pairs = scan(&Backend::Cpu, side, None, &wanted, &Params::default()).unwrap();
    let refused = linear_cka(&pairs.layers.unwrap(), &norms).unwrap_err();
    assert!(refused.to_string().contains("3 samples"), "{refused}");
}

fn all(rows: &dyn Rows) -> Array2<f32> {
    let mut values = Array2::zeros(rows.shape());
    rows.read_rows(0, values.as_slice_mut().unwrap()).unwrap();
    values
}

#[test]
fn a_rotation_keeps_what_each_layer_says_of_the_samples_and_no_neuron() {
    let (x, found) = layers(60);
    let rotated = Rotated::new(&x, x.layers(), &found.mean, 5).unwrap();
    let turned = all(&rotated);
    for layer in [0, 1, 2] {
        let after = turned
            .slice(s![.., x.layers().columns(layer)])
            .mapv(f64::from);
        let (before, after) = (kernel(&x, layer), after.dot(&after.t()));
        for (before, after) in before.iter().zip(&after) {
            assert_close("inner product of two samples", *after, *before, 1e-3);
        }
    }
    // No neuron of the wide layer is still there: each is spread over many.
    let wide = x.layers().columns(2);
    let names = |values: &Array2<f32>| values.slice(s![.., wide.clone()]).to_owned();
    let both = ndarray::concatenate![
        ndarray::Axis(1),
        names(&x.view().to_owned()),
        names(&turned)
    ];
    let both_moments = moments(&Backend::Cpu, both.view(), None).unwrap();
    let r = neurosieve::ops::correlation::correlation(&Backend::Cpu, both.view(), &both_moments);
    let r = r.unwrap();
    let kept = (0..70).map(|i| (70..140).map(|j| r.get(i, j).abs()).fold(0.0, f32::max));
    assert!(kept.fold(0.0, f32::max) < 0.9);
    // The same seed turns the same way, another one another way; pieces are those of the whole.
    assert_eq!(
        all(&Rotated::new(&x, x.layers(), &found.mean, 5).unwrap()),
        turned
    );
    assert_ne!(
        all(&Rotated::new(&x, x.layers(), &found.mean, 6).unwrap()),
        turned
    );
    let mut piece = vec![0.0; 2 * 78];
    rotated.read_rows(31, &mut piece).unwrap();
    let expected = turned.slice(s![31..33, ..]);
    let apart = piece.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-5);
}

#[test]
fn a_permutation_has_every_sample_once_in_another_order() {
    let (x, found) = layers(60);
    let permuted = Permuted::new(&x, 9);
    let shuffled = all(&permuted);
    assert_ne!(shuffled, x.view());
    let sorted = |values: ndarray::ArrayView2<'_, f32>| {
        let mut rows: Vec<Vec<f32>> = values.rows().into_iter().map(|r| r.to_vec()).collect();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        rows
    };
    assert_eq!(sorted(shuffled.view()), sorted(x.view()));
    let again = moments(&Backend::Cpu, shuffled.view(), None).unwrap();
    for (a, b) in again.mean.iter().zip(&found.mean) {
        assert_close("mean", *a, *b, 1e-12 * b.abs().max(1.0));
    }
}
