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

/// e^x to two units in the last place, of any x: 0 below, ∞ above and denormal numbers between, as they are. Plain
/// arithmetic, as [`exp`] is.
#[inline(always)]
pub(in crate::ops) fn exp_exact(x: f64) -> f64 {
    /// Adding it leaves the nearest integer in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 as a number of few digits, which n times is exact, and the rest.
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    let power = |shifted: f64| f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let x = x.clamp(-746.0, 711.0);
    let n = x * std::f64::consts::LOG2_E + ROUND - ROUND;
    let r = (x - n * LN_2.0) - n * LN_2.1;
    let terms = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let curved = r * r * terms.into_iter().fold(0.0, |sum, term| sum * r + term);
    // Two factors: one alone could be no number.
    let half = n * 0.5 + ROUND;
    let rest = n - (half - ROUND) + ROUND;
    (1.0 + (r + curved)) * power(half) * power(rest)
}

/// ln x of a normal positive x, to two units in the last place: k ln 2 + ln m with m in [√½, √2) and ln m = 2 artanh s by its
/// series in s = (m − 1) / (m + 1). Plain arithmetic, as [`exp`] is.
#[inline(always)]
pub(in crate::ops) fn ln_exact(x: f64) -> f64 {
    /// 2⁵², below whose last bits an integer can be written.
    const INTEGER: f64 = 4_503_599_627_370_496.0;
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    const ROOT: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let above = x.to_bits().wrapping_sub(ROOT);
    // As if k were positive; 1023 is taken off as a number.
    let shifted = above.wrapping_add(1023 << 52) >> 52;
    let k = f64::from_bits(shifted | INTEGER.to_bits()) - (INTEGER + 1023.0);
    let m = f64::from_bits((above & ((1 << 52) - 1)).wrapping_add(ROOT));
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let square = s * s;
    let terms = [21, 19, 17, 15, 13, 11, 9, 7, 5, 3].map(|odd| 2.0 / f64::from(odd));
    let curved = terms.into_iter().fold(0.0, |sum, term| sum * square + term);
    // 2s is f less f·s, which is small.
    k * LN_2.0 + (f + (s * (curved * square - f) + k * LN_2.1))
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

/// Sums of rows are made in so many lanes.
const LANES: usize = 8;

/// The largest value; NaN is passed over.
#[inline(always)]
pub(in crate::ops) fn largest(row: &[f64]) -> f64 {
    let (wide, rest) = row.as_chunks::<LANES>();
    let mut most = [f64::NEG_INFINITY; LANES];
    for values in wide {
        for (most, value) in most.iter_mut().zip(values) {
            *most = most.max(*value);
        }
    }
    let all = most.iter().chain(rest);
    all.fold(f64::NEG_INFINITY, |a, b| a.max(*b))
}

/// Σ over a row, in lanes: the same order whatever the processor has.
#[inline(always)]
pub(in crate::ops) fn sum(row: &[f64]) -> f64 {
    let (wide, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for values in wide {
        sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
    }
    of_lanes(sums) + rest.iter().sum::<f64>()
}

/// Σ a·b, likewise.
#[inline(always)]
pub(in crate::ops) fn product(a: &[f64], b: &[f64]) -> f64 {
    let ((wide_a, rest_a), (wide_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in wide_a.iter().zip(wide_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| a * b);
    of_lanes(sums) + rest.sum::<f64>()
}

#[inline(always)]
fn of_lanes(sums: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
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
        let exact = |x: f64, most: i64| {
            let off = exp_exact(x).to_bits() as i64 - x.exp().to_bits() as i64;
            assert!(off.abs() <= most, "{x}: {off}");
        };
        for step in -7_460_000..7_110_000 {
            exact(f64::from(step) * 1e-4, 2);
            exact(f64::from(step) * 1e-11, 2);
        }
        for x in [f64::NEG_INFINITY, -1e9, -0.0, 0.0, 1e9, f64::INFINITY] {
            exact(x, 0);
        }
        assert!(exp_exact(f64::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_as_exact_as_they_say() {
        let exact = |x: f64| {
            let off = ln_exact(x).to_bits() as i64 - x.ln().to_bits() as i64;
            assert!(off.abs() <= 2, "{x:e}: {off}");
        };
        for step in 1..4_000_000 {
            exact(f64::from(step) * 1e-6);
            exact(1.0 + f64::from(step) * 1e-13);
            exact(1.0 - f64::from(step) * 1e-13);
            exact(f64::from_bits((1 << 52) + step as u64 * 2_300_000_000_000));
        }
        for x in [f64::MIN_POSITIVE, 1.0, f64::MAX] {
            exact(x);
        }
    }

    #[test]
    fn exponentials_beside_a_tangent_are_as_exact_as_they_say() {
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
