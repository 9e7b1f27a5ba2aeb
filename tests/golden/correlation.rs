//! Correlations as `numpy.corrcoef` computes them in f64.

use neurosieve::Backend;
use neurosieve::ops::correlation::correlation;
use neurosieve::ops::moments::moments;

use super::{fixture, tensor};
use crate::support::assert_close;

#[test]
fn correlations_of_real_neurons_are_numpys() {
    let x = fixture().train().activations.view();
    let taken = moments(&Backend::Cpu, x, None).expect("the fixture is finite");
    let got = correlation(&Backend::Cpu, x, &taken).expect("of the same neurons");
    let expected = tensor("correlation.safetensors", "packed");
    assert_eq!(got.packed.len(), expected.len());
    let mut pair = 0;
    for i in 0..got.neurons {
        for j in i + 1..got.neurons {
            let r = f64::from(got.packed[pair]);
            assert_close(
                &format!("r of neurons {i} and {j}"),
                r,
                expected[(0, pair)],
                5e-6,
            );
            pair += 1;
        }
    }
}

#[test]
fn dead_neurons_correlate_with_none_where_numpy_divides_by_zero() {
    let x = fixture().train().activations.view();
    let taken = moments(&Backend::Cpu, x, None).expect("the fixture is finite");
    let got = correlation(&Backend::Cpu, x, &taken).expect("of the same neurons");
    for dead in [310, 320] {
        let others = (0..got.neurons).filter(|&n| n != dead);
        assert!(others.into_iter().all(|n| got.get(dead, n) == 0.0));
    }
}
