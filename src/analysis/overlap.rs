//! Do two sets share more than by chance, and which of many such findings are to be believed.

use rayon::prelude::*;

/// How likely two random sets share so much: the upper tail of the hypergeometric distribution, for populations up to a
/// size.
///
/// P(X ≥ k) for X the members that a set of `first` and a random set of `second` out of `population` share. The largest
/// term of the tail comes from a table of ln n! (statrs), the others by the ratio of neighbours `P(x + 1) / P(x) =
/// (first − x)(second − x) / ((x + 1)(population − first − second + x + 1))`, until they no longer count. Relative
/// error: about 1e-16 · ln(population!), 1e-10 for a million.
#[derive(Debug, Clone)]
pub struct Hypergeometric {
    population: usize,
    ln_factorial: Vec<f64>,
}

impl Hypergeometric {
    /// For sets out of `population`. Takes 8 bytes for each member.
    pub fn new(population: usize) -> Self {
        let table = (0..=population).into_par_iter();
        Self {
            population,
            ln_factorial: table
                .map(|n| statrs::function::factorial::ln_factorial(n as u64))
                .collect(),
        }
    }

    /// P(X ≥ `shared`); 1 when `shared` is no more than what must be shared, 0 when it is more than what can be.
    ///
    /// # Panics
    /// When a set is larger than the population.
    pub fn at_least(&self, shared: usize, first: usize, second: usize) -> f64 {
        let all = self.population;
        assert!(first <= all && second <= all, "sets of the population");
        let (least, most) = ((first + second).saturating_sub(all), first.min(second));
        if shared <= least {
            return 1.0;
        }
        if shared > most {
            return 0.0;
        }
        // Both tails are summed from their largest term on, so the terms only fall.
        let mode = (first + 1) * (second + 1) / (all + 2);
        if shared > mode {
            self.sum(shared, most, first, second).min(1.0)
        } else {
            (1.0 - self.sum_down(shared - 1, least, first, second)).max(0.0)
        }
    }

    /// P(X = x).
    fn term(&self, x: usize, first: usize, second: usize) -> f64 {
        let ln = |n: usize| self.ln_factorial[n];
        let choose = |n: usize, k: usize| ln(n) - ln(k) - ln(n - k);
        let all = self.population;
        (choose(first, x) + choose(all - first, second - x) - choose(all, second)).exp()
    }

    fn sum(&self, from: usize, to: usize, first: usize, second: usize) -> f64 {
        let mut term = self.term(from, first, second);
        let mut total = term;
        for x in from..to {
            let up = ((first - x) as f64) * ((second - x) as f64);
            let down = ((x + 1) as f64) * ((self.population + x + 1 - first - second) as f64);
            term *= up / down;
            total += term;
            if term < total * 1e-17 {
                break;
            }
        }
        total
    }

    fn sum_down(&self, from: usize, to: usize, first: usize, second: usize) -> f64 {
        let mut term = self.term(from, first, second);
        let mut total = term;
        for x in (to + 1..=from).rev() {
            let up = (x as f64) * ((self.population + x - first - second) as f64);
            let down = ((first - x + 1) as f64) * ((second - x + 1) as f64);
            term *= up / down;
            total += term;
            if term < total * 1e-17 {
                break;
            }
        }
        total
    }
}

/// The p's of many tests together, and what each is worth among them.
///
/// q of a p is the smallest false discovery rate at which Benjamini & Hochberg's step-up procedure (1995) still calls
/// it a finding: `min over p' ≥ p of m · p' / rank(p')`, at most 1. It holds for independent tests and for positively
/// dependent ones.
#[derive(Debug, Clone)]
pub struct FalseDiscoveries {
    sorted: Vec<f64>,
    /// q of each of `sorted`.
    q: Vec<f64>,
}

impl FalseDiscoveries {
    /// Of all tests that were made, whatever became of them. O(m·log m).
    pub fn new(mut p: Vec<f64>) -> Self {
        p.par_sort_unstable_by(f64::total_cmp);
        let tests = p.len() as f64;
        let mut q = vec![0.0; p.len()];
        let mut least = 1.0f64;
        for (place, (p, q)) in p.iter().zip(&mut q).enumerate().rev() {
            least = least.min(p * tests / (place + 1) as f64);
            *q = least;
        }
        Self { sorted: p, q }
    }

    /// Number of tests.
    pub fn tests(&self) -> usize {
        self.sorted.len()
    }

    /// q of one of the p's; 1 for a p beyond them all.
    pub fn q(&self, p: f64) -> f64 {
        let at = self.sorted.partition_point(|other| *other < p);
        self.q.get(at).copied().unwrap_or(1.0)
    }

    /// How many tests are findings at a false discovery rate.
    pub fn at(&self, rate: f64) -> usize {
        self.q.partition_point(|q| *q <= rate)
    }
}
