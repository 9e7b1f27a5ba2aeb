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

/// Values of which products are added in f32.
const RUN: usize = 256;

/// ⟨s, c⟩, ⟨y, s'⟩ and ⟨s, y'⟩ of a step s and its change y, and of the last ones and c, what the diagonal makes of the last step: each of
/// a pair's values is read once.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn products(
    (step, change): (&[f32], &[f32]),
    (curved, last_step, last_change): (&[f32], &[f32], &[f32]),
) -> [f64; 3] {
    let mut sums = [[0.0f64; LANES]; 3];
    let mut rest = [0.0; 3];
    for from in (0..step.len()).step_by(RUN) {
        let run = from..step.len().min(from + RUN);
        let [s, y, c, last_s, last_y] = [step, change, curved, last_step, last_change]
            .map(|all| all[run.clone()].as_chunks::<LANES>());
        let mut here = [[0.0f32; LANES]; 3];
        let wide = s.0.iter().zip(y.0).zip(c.0).zip(last_s.0).zip(last_y.0);
        for ((((s, y), c), last_s), last_y) in wide {
            for lane in 0..LANES {
                here[0][lane] += s[lane] * c[lane];
                here[1][lane] += y[lane] * last_s[lane];
                here[2][lane] += s[lane] * last_y[lane];
            }
        }
        for (sums, here) in sums.iter_mut().zip(here) {
            for lane in 0..LANES {
                sums[lane] += f64::from(here[lane]);
            }
        }
        for ((((s, y), c), last_s), last_y) in
            s.1.iter().zip(y.1).zip(c.1).zip(last_s.1).zip(last_y.1)
        {
            for (rest, term) in rest.iter_mut().zip([s * c, y * last_s, s * last_y]) {
                *rest += f64::from(term);
            }
        }
    }
    std::array::from_fn(|which| sums[which].iter().sum::<f64>() + rest[which])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_f64() {
        let noise = |n: usize, seed: usize| -> Vec<f32> {
            let value = |i: usize| ((i * 37 + seed * 101) as f32 * 0.717).sin();
            (0..n).map(value).collect()
        };
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let terms = a.iter().zip(b);
            terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        for n in [1, 8, 255, 256, 1000] {
            let [s, y, c, last_s, last_y] = std::array::from_fn(|seed| noise(n, seed));
            let found = products((&s, &y), (&c, &last_s, &last_y));
            for (found, (a, b)) in found.iter().zip([(&s, &c), (&y, &last_s), (&s, &last_y)]) {
                assert!((found - dot(a, b)).abs() < 1e-4, "{n}: {found}");
            }
            let matrix = |of: Vec<f32>| Array2::from_shape_vec((1, n), of).expect("one row");
            let g = matrix(c.clone()).mapv(f64::from);
            let (to, from) = (matrix(s.clone()), matrix(y.clone()));
            let found = along(&g, &to, &from);
            assert!(
                (found - (dot(&c, &s) - dot(&c, &y))).abs() < 1e-9,
                "{n}: {found}"
            );
            let apart = apart(&to, &from);
            assert!(
                apart
                    .iter()
                    .zip(s.iter().zip(&y))
                    .all(|(d, (s, y))| *d == s - y)
            );
        }
    }
}
