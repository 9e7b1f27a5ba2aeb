//! Tiles of sums in registers: the inner loops of products of activations with narrow matrices, in f32 and in f64.
//!
//! Whatever vectors a processor has, each element's terms are added in the same order, with one rounding a term where there
//! are fused multiply-adds and two elsewhere.

use multiversion::{multiversion, target::target_cfg_f};

/// Rows of X (or neurons) of a tile: with two vectors of columns they fill the registers.
pub(super) const TILE: usize = 6;
/// Terms that are summed in registers before they are added to the result.
pub(in crate::ops) const RUN: usize = 256;
/// Rows that are added at a time: sums are read and written that much less often.
pub(super) const ROWS: usize = 4;

/// What the columns are made of.
pub(in crate::ops) trait Entry:
    Copy + Default + Send + Sync + Into<f64> + From<f32>
{
    /// Columns of a panel.
    const WIDTH: usize;

    /// Rows of X as such numbers; those that are made are in `made`.
    fn rows<'a>(x: &[&'a [f32]], made: &'a mut Vec<Self>) -> Vec<&'a [Self]>;

    /// Values of six neurons as such numbers.
    fn six(x: [f32; TILE]) -> [Self; TILE];

    /// A run of six rows of X times as much of a panel (rows of `WIDTH`), added to `out` (6 × `WIDTH`).
    fn times(x: [&[Self]; TILE], panel: &[Self], out: &mut [Self]);

    /// Some samples of six neurons (n × 6), transposed, times as many rows of a panel, added to `out` (6 × `WIDTH`).
    fn transposed(x: &[Self], panel: &[Self], out: &mut [f64]);

    /// Rows of X, each times its factor, added to `sums` in their order.
    fn add_rows(x: [&[f32]; ROWS], by: [Self; ROWS], sums: &mut [Self]);

    /// One row, likewise.
    fn add_row(x: &[f32], by: Self, sums: &mut [Self]);
}

fn as_they_are<'a>(x: &[&'a [f32]], _: &'a mut Vec<f32>) -> Vec<&'a [f32]> {
    x.to_vec()
}

/// A row's numbers, made once for all panels.
#[multiversion(targets("x86_64+avx2+fma"))]
fn widen(x: &[f32], to: &mut Vec<f64>) {
    to.extend(x.iter().map(|x| f64::from(*x)));
}

fn widened<'a>(x: &[&'a [f32]], made: &'a mut Vec<f64>) -> Vec<&'a [f64]> {
    made.clear();
    x.iter().for_each(|row| widen(row, made));
    let width = x.first().map_or(0, |row| row.len());
    (0..x.len())
        .map(|row| &made[row * width..(row + 1) * width])
        .collect()
}

#[inline(always)]
fn the_same(x: [f32; TILE]) -> [f32; TILE] {
    x
}

#[inline(always)]
fn six_widened(x: [f32; TILE]) -> [f64; TILE] {
    x.map(f64::from)
}

/// The tiles for one type of columns. A function of ten lines each, so that the compiler keeps all sums in registers.
macro_rules! tiles {
    ($type:ty, $width:literal, $made:ident, $six:ident, $times:ident, $transposed:ident, $rows:ident, $row:ident) => {
        impl Entry for $type {
            const WIDTH: usize = $width;

            fn rows<'a>(x: &[&'a [f32]], made: &'a mut Vec<Self>) -> Vec<&'a [Self]> {
                $made(x, made)
            }

            #[inline(always)]
            fn six(x: [f32; TILE]) -> [Self; TILE] {
                $six(x)
            }

            fn times(x: [&[Self]; TILE], panel: &[Self], out: &mut [Self]) {
                $times(x, panel, out);
            }

            fn transposed(x: &[Self], panel: &[Self], out: &mut [f64]) {
                $transposed(x, panel, out);
            }

            fn add_rows(x: [&[f32]; ROWS], by: [Self; ROWS], sums: &mut [Self]) {
                $rows(x, by, sums);
            }

            fn add_row(x: &[f32], by: Self, sums: &mut [Self]) {
                $row(x, by, sums);
            }
        }

        #[multiversion(targets("x86_64+avx2+fma"))]
        fn $rows([a, b, c, d]: [&[f32]; ROWS], by: [$type; ROWS], sums: &mut [$type]) {
            let fused = target_cfg_f!(target_feature = "fma");
            let rows = a.iter().zip(b).zip(c).zip(d);
            for (sum, (((a, b), c), d)) in sums.iter_mut().zip(rows) {
                for (x, by) in [a, b, c, d].into_iter().zip(by) {
                    let x = <$type>::from(*x);
                    *sum = if fused {
                        x.mul_add(by, *sum)
                    } else {
                        x * by + *sum
                    };
                }
            }
        }

        #[multiversion(targets("x86_64+avx2+fma"))]
        fn $row(x: &[f32], by: $type, sums: &mut [$type]) {
            let fused = target_cfg_f!(target_feature = "fma");
            for (sum, x) in sums.iter_mut().zip(x) {
                let x = <$type>::from(*x);
                *sum = if fused {
                    x.mul_add(by, *sum)
                } else {
                    x * by + *sum
                };
            }
        }

        #[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
        fn $times(x: [&[$type]; TILE], panel: &[$type], out: &mut [$type]) {
            let fused = target_cfg_f!(target_feature = "fma");
            let mut sums = [[0.0; $width]; TILE];
            let [a, b, c, d, e, f] = x;
            let rows = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
            for (w, (((((a, b), c), d), e), f)) in panel.chunks_exact($width).zip(rows) {
                let x = [a, b, c, d, e, f].map(|x| *x);
                for row in 0..TILE {
                    for k in 0..$width {
                        sums[row][k] = if fused {
                            x[row].mul_add(w[k], sums[row][k])
                        } else {
                            x[row] * w[k] + sums[row][k]
                        };
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut($width).zip(&sums) {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out += sum;
                }
            }
        }

        #[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
        fn $transposed(x: &[$type], panel: &[$type], out: &mut [f64]) {
            let fused = target_cfg_f!(target_feature = "fma");
            let mut sums = [[0.0; $width]; TILE];
            for (x, r) in x.chunks_exact(TILE).zip(panel.chunks_exact($width)) {
                let x: [$type; TILE] = x.try_into().expect("six neurons");
                for neuron in 0..TILE {
                    for k in 0..$width {
                        sums[neuron][k] = if fused {
                            x[neuron].mul_add(r[k], sums[neuron][k])
                        } else {
                            x[neuron] * r[k] + sums[neuron][k]
                        };
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut($width).zip(&sums) {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out += f64::from(*sum);
                }
            }
        }
    };
}

tiles!(
    f32,
    16,
    as_they_are,
    the_same,
    times_f32,
    transposed_f32,
    rows_f32,
    row_f32
);
tiles!(
    f64,
    8,
    widened,
    six_widened,
    times_f64,
    transposed_f64,
    rows_f64,
    row_f64
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Values whose sums depend on the order in which they are added.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 131 + seed * 7) as f32 * 0.618).sin() * 1e3;
        (0..count).map(value).collect()
    }

    /// Whatever the processor has, one term after another: the order and the roundings that are promised.
    macro_rules! in_order {
        ($test:ident, $type:ty) => {
            #[test]
            fn $test() {
                #[cfg(target_arch = "x86_64")]
                let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                #[cfg(not(target_arch = "x86_64"))]
                let fused = false;
                let added = |x: $type, w: $type, sum: $type| match fused {
                    true => x.mul_add(w, sum),
                    false => x * w + sum,
                };
                const WIDTH: usize = <$type as Entry>::WIDTH;
                let of = |values: Vec<f32>| values.into_iter().map(<$type>::from);
                for n in [1, 7, RUN] {
                    let x: Vec<$type> = of(values(n * TILE, 1)).collect();
                    let panel: Vec<$type> = of(values(n * WIDTH, 2)).map(|w| w / 3.0).collect();
                    let expected = |row: usize, k: usize| {
                        let terms = (0..n).map(|i| (x[i * TILE + row], panel[i * WIDTH + k]));
                        terms.fold(0.0, |sum, (x, w)| added(x, w, sum))
                    };
                    let mut transposed = vec![1.5; TILE * WIDTH];
                    <$type>::transposed(&x, &panel, &mut transposed);
                    let rows: [Vec<$type>; TILE] =
                        std::array::from_fn(|row| (0..n).map(|i| x[i * TILE + row]).collect());
                    let mut times = vec![1.5; TILE * WIDTH];
                    let slices = std::array::from_fn(|row| &rows[row][..]);
                    <$type>::times(slices, &panel, &mut times);
                    for (at, (transposed, times)) in transposed.iter().zip(&times).enumerate() {
                        let sum = expected(at / WIDTH, at % WIDTH);
                        assert_eq!(*transposed, 1.5 + f64::from(sum));
                        assert_eq!(*times, 1.5 + sum);
                    }
                }
            }
        };
    }
    in_order!(terms_of_f32_are_added_in_their_order, f32);
    in_order!(terms_of_f64_are_added_in_their_order, f64);
}
