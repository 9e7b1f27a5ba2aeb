//! Sums over all coefficients, and differences of them.

use multiversion::multiversion;
use ndarray::Array2;

/// Values that are added side by side: the same order whatever the processor has.
const LANES: usize = 8;

/// ⟨g, to − from⟩.
pub(super) fn along(g: &Array2<f64>, to: &Array2<f32>, from: &Array2<f32>) -> f64 {
    sum(values(g), values(to), values(from))
}

/// What two matrices differ by, row by row.
pub(super) fn apart<T>(to: &Array2<T>, from: &Array2<T>) -> Vec<f32>
where
    T: Copy + std::ops::Sub<Output = T>,
    f64: From<T>,
{
    let each = values(to).iter().zip(values(from));
    each.map(|(to, from)| f64::from(*to - *from) as f32)
        .collect()
}

fn values<T>(of: &Array2<T>) -> &[T] {
    of.as_slice().expect("it is contiguous")
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn sum(g: &[f64], to: &[f32], from: &[f32]) -> f64 {
    let term = |g: f64, to: f32, from: f32| g * (f64::from(to) - f64::from(from));
    let (wide, rest) = g.as_chunks::<LANES>();
    let (to, from) = (to.as_chunks::<LANES>(), from.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for ((g, to), from) in wide.iter().zip(to.0).zip(from.0) {
        for lane in 0..LANES {
            sums[lane] += term(g[lane], to[lane], from[lane]);
        }
    }
    let rest = rest.iter().zip(to.1).zip(from.1);
    let rest: f64 = rest.map(|((g, to), from)| term(*g, *to, *from)).sum();
    sums.iter().sum::<f64>() + rest
}
