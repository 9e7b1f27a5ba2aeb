//! Inner loops of the native paths, compiled for wide vector units as well: sums of products, and exponentials.

use multiversion::{multiversion, target::target_cfg_f};

/// Σ a·b in f32 over short runs, the runs added in f64.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(in crate::ops) fn dot(a: &[f32], b: &[f32]) -> f64 {
    const RUN: usize = 256;
    const LANES: usize = 32;
    let fused = target_cfg_f!(target_feature = "fma");
    let mut total = 0.0;
    for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
        let mut lanes = [0.0f32; LANES];
        let (wide_a, wide_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest = wide_a.remainder().iter().zip(wide_b.remainder());
        let rest: f32 = rest.map(|(a, b)| a * b).sum();
        for (a, b) in wide_a.zip(wide_b) {
            for lane in 0..LANES {
                lanes[lane] = if fused {
                    a[lane].mul_add(b[lane], lanes[lane])
                } else {
                    a[lane] * b[lane] + lanes[lane]
                };
            }
        }
        let half: [f32; LANES / 2] = std::array::from_fn(|k| lanes[k] + lanes[k + LANES / 2]);
        total += f64::from(half.iter().sum::<f32>() + rest);
    }
    total
}

/// y += a·x.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(in crate::ops) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// e^x of an x in [−700, 700] (nearer values stand for what is beyond), to a relative 1e-11.
///
/// 2ⁿ·e^r with n the nearest integer to x / ln 2, and e^r by its series: plain arithmetic that a compiler turns into vector
/// instructions, with the same result wherever it runs.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    /// Adding it leaves the nearest integer in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let r = x - (shifted - ROUND) * std::f64::consts::LN_2;
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let terms = [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    scale * terms.into_iter().fold(0.0, |sum, term| sum * r + term)
}

/// e^x − 1 − x of an x in [−87, 88], in f32 and exact to second order: near 0 it is x²·(e^x − 1 − x)/x² by its series,
/// where the difference would be rounding.
#[inline(always)]
pub(in crate::ops) fn exp_above_tangent(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 as a number of few digits, which n times is exact, and the rest.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2.0 - n * LN_2.1;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let terms = [
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let curved = r * r * terms.into_iter().fold(0.0, |sum, term| sum * r + term);
    let far = scale * (r + curved) + (scale - 1.0) - x;
    if n == 0.0 { curved } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_as_exact_as_they_say() {
        for step in -70_000..70_000 {
            let x = f64::from(step) * 1e-2;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-11, "{x}");
        }
        for step in -80_000..80_000 {
            let x = step as f32 * 1e-3 + 1e-5;
            let wide = f64::from(x);
            let exact = if wide.abs() < 1e-3 {
                wide * wide * (0.5 + wide / 6.0)
            } else {
                wide.exp_m1() - wide
            };
            let off = f64::from(exp_above_tangent(x)) / exact - 1.0;
            assert!(off.abs() < 2e-6, "{x}: {off:e}");
        }
    }

    #[test]
    fn sums_of_products_lose_little() {
        let a: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.71).cos()).collect();
        let pairs = a.iter().zip(&b);
        let exact: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((dot(&a, &b) - exact).abs() < 1e-4);
        let mut y = b.clone();
        add_scaled(&mut y, 2.0, &a);
        assert!(
            y.iter()
                .zip(a.iter().zip(&b))
                .all(|(y, (a, b))| *y == b + 2.0 * a)
        );
    }
}
