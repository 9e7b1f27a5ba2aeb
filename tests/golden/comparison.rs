//! Differences of shares and distances of distributions as published, and as SciPy has them.

use neurosieve::analysis::comparison::{depths, jensen_shannon, newcombe};
use serde::Deserialize;

use super::json;
use crate::support::assert_close;

/// Two counts by layer, two means, distance, exact p.
type DepthCase = (Vec<usize>, Vec<usize>, f64, f64, f64, f64);

#[derive(Deserialize)]
struct Golden {
    /// Right, of, right, of; the ends of the first share minus the second.
    published: Vec<(usize, usize, usize, usize, f64, f64)>,
    /// Right, of, right, of; the second share minus the first and the ends of its interval.
    newcombe: Vec<(usize, usize, usize, usize, f64, f64, f64)>,
    depths: Vec<DepthCase>,
    divergences: Vec<(Vec<usize>, Vec<usize>, f64)>,
}

#[test]
fn intervals_of_differences_are_newcombes() {
    let golden: Golden = json("comparison.json");
    for (a, m, b, n, low, high) in golden.published {
        // Printed is the first minus the second.
        let [l, u] = newcombe((b, n), (a, m)).unwrap().interval;
        assert_close("lower end as printed", l, low, 5.1e-5);
        assert_close("upper end as printed", u, high, 5.1e-5);
    }
    for (a, m, b, n, difference, low, high) in golden.newcombe {
        let found = newcombe((a, m), (b, n)).unwrap();
        assert_close("difference", found.difference, difference, 1e-15);
        assert_close("lower end", found.interval[0], low, 1e-12);
        assert_close("upper end", found.interval[1], high, 1e-12);
    }
}

#[test]
fn distances_over_depth_are_scipys_and_p_is_near_the_exact_one() {
    let golden: Golden = json("comparison.json");
    for (first, second, a, b, distance, p) in golden.depths {
        let draws = 20_000;
        let found = depths(&first, &second, draws, 3).unwrap();
        assert_close("mean of the first", found.mean[0], a, 1e-12);
        assert_close("mean of the second", found.mean[1], b, 1e-12);
        assert_close("distance", found.distance, distance, 1e-12);
        // Five standard errors of a share of so many draws, and the found one among them.
        let error = 5.0 * (p * (1.0 - p) / draws as f64).sqrt() + 1.0 / draws as f64;
        assert_close("p", found.p, p, error);
    }
}

#[test]
fn divergences_are_scipys() {
    let golden: Golden = json("comparison.json");
    for (first, second, divergence) in golden.divergences {
        let found = jensen_shannon(&first, &second).unwrap().unwrap();
        assert_close("divergence", found, divergence, 1e-12);
    }
}
