//! Penalties one after the other, each from the fit before it.

use neurosieve::analysis::search::hits;
use neurosieve::ops::probe::{self, Design, Problem};

use super::choices::{all, oracle, prober, target};
use crate::support;

#[test]
fn every_step_of_a_path_ends_where_it_would_from_nothing() {
    let prober = prober();
    let search = oracle();
    let design = Design::new(prober.backend, prober.train, prober.moments, &all()).unwrap();
    for tried in &search.path {
        let problem = Problem::new(target().train, tried.l1, tried.l2);
        let cold = probe::fit(
            prober.backend,
            &design,
            &[problem],
            &prober.params,
            &mut |_| {},
        );
        let cold = &cold.unwrap()[0];
        assert!(tried.certificate.converged && cold.certificate.converged);
        // Both are within 1e-4 of the same optimum: so many weights, and the accuracy, may differ a little.
        let off = tried.nonzero_weights.abs_diff(cold.nonzero_weights());
        assert!(off <= 3 + cold.nonzero_weights() / 20, "{off} weights");
        let right = hits(cold, prober.train, target().train).unwrap();
        let cold = right.iter().filter(|hit| **hit).count() as f64 / right.len() as f64;
        support::assert_close("train", tried.train_accuracy, cold, 0.005);
    }
    // The path goes from fit to fit, so its last step is cheaper than from nothing.
    let last = search.path.last().unwrap();
    let problem = Problem::new(target().train, last.l1, last.l2);
    let cold = probe::fit(
        prober.backend,
        &design,
        &[problem],
        &prober.params,
        &mut |_| {},
    );
    assert!(last.certificate.passes < cold.unwrap()[0].certificate.passes);
}
