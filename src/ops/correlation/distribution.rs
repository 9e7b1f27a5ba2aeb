//! How r is distributed: counts and power sums of tiles.

use ndarray::ArrayView2;

use super::Distribution;

/// Bins of the histogram, equally wide from −1 to 1.
pub(super) const BINS: usize = 200;
/// Correlations that differ by less do not vary: f32 holds no more digits of them.
const RESOLUTION: f64 = 1e-6;

/// Counts and power sums of r.
pub(super) struct Sums {
    pub counts: Vec<u64>,
    /// Of r, r², r³ and r⁴.
    pub powers: [f64; 4],
    /// Of |r|.
    pub size: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            counts: vec![0; BINS],
            powers: [0.0; 4],
            size: 0.0,
        }
    }
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().zip(&other.counts);
        counts.for_each(|(sum, count)| *sum += count);
        let powers = self.powers.iter_mut().zip(other.powers);
        powers.for_each(|(sum, power)| *sum += power);
        self.size += other.size;
    }

    pub(super) fn distribution(self) -> Distribution {
        let pairs: u64 = self.counts.iter().sum();
        let n = pairs.max(1) as f64;
        let [mean, second, third, fourth] = self.powers.map(|power| power / n);
        let variance = (second - mean * mean).max(0.0);
        let sd = variance.sqrt();
        let standardised = |moment: f64, order: i32| {
            if sd > RESOLUTION {
                moment / sd.powi(order)
            } else {
                0.0
            }
        };
        let central3 = third - 3.0 * mean * second + 2.0 * mean.powi(3);
        let central4 =
            fourth - 4.0 * mean * third + 6.0 * mean * mean * second - 3.0 * mean.powi(4);
        Distribution {
            pairs,
            counts: self.counts,
            mean,
            mean_size: self.size / n,
            sd,
            skewness: standardised(central3, 3),
            kurtosis: standardised(central4, 4),
        }
    }
}

/// Of a tile; one on the diagonal is a square whose pairs above the diagonal count.
pub(super) fn sums(square: bool, r: ArrayView2<'_, f32>) -> Sums {
    let mut sums = Sums::default();
    for (i, row) in r.outer_iter().enumerate() {
        let first = if square { i + 1 } else { 0 };
        // A row at a time: few enough terms for their sums to stay exact to many digits.
        let mut powers = [0.0; 4];
        let mut size = 0.0;
        for &r in row.iter().skip(first) {
            let bin = ((f64::from(r) + 1.0) * (BINS as f64 / 2.0)) as usize;
            sums.counts[bin.min(BINS - 1)] += 1;
            let r = f64::from(r);
            let square = r * r;
            let terms = [r, square, square * r, square * square];
            powers.iter_mut().zip(terms).for_each(|(p, t)| *p += t);
            size += r.abs();
        }
        sums.powers
            .iter_mut()
            .zip(powers)
            .for_each(|(s, p)| *s += p);
        sums.size += size;
    }
    sums
}
