//! The products of a pass of probes: every tile gives the bits of every other one, and what f64 gives.

use std::mem::size_of_val;

use ndarray::Array2;
use neurosieve::gpu::{Dispatch, Gpu, Slot};
use neurosieve::ops::probe::{KERNELS, Tile, Way};

use crate::support::{self, activations};

const TILES: [Tile; 4] = [Tile::Few, Tile::NARROW, Tile::MIDDLE, Tile::WIDE];

/// Samples, neurons and columns: whole wide tiles each way.
const SHAPE: (usize, usize, usize) = (3072, 256, 256);

/// Samples of a slice: two chunks; the last slice has one.
const SLICE: usize = 2048;

/// Of 1,024 products of one sign in one f32 sum each rounding can go the same way: 1,024 · 6e-8.
const NEAR: f64 = 6e-5;

/// X W, or X^T R in two slices, in tiles of a size.
fn product(
    gpu: &Gpu,
    backward: bool,
    x: &Array2<f32>,
    right: &Array2<f32>,
    tile: Tile,
) -> Vec<f32> {
    let ((n, d), k) = (x.dim(), right.ncols());
    let (rows, inner, slice, slices) = if backward {
        (d, n, SLICE, n.div_ceil(SLICE))
    } else {
        (n, d, 0, 1)
    };
    let way = if backward {
        Way::Backward
    } else {
        Way::Forward
    };
    let groups = tile.groups(way, (rows, k), slices);
    let (down, across) = tile.grid(way, (rows, k));
    let words = [d / 4, k / 4, inner, across, down, slice, groups, 0];
    let words = words.map(|word| word as u32);
    assert_eq!(size_of_val(&words), 32, "the kernels' parameters");
    let x = gpu.upload("samples", x.as_slice().unwrap()).unwrap();
    let right = gpu.upload("columns", right.as_slice().unwrap()).unwrap();
    let result = gpu.zeros::<f32>("result", slices * rows * k).unwrap();
    let dispatch = Dispatch {
        kernel: tile.kernel(way),
        constants: &tile.constants(),
        slots: vec![x.all(), right.all(), result.all(), Slot::params(&words)],
        groups,
    };
    gpu.submit("probe", &[dispatch]).unwrap();
    gpu.download(&result).unwrap()
}

/// The largest difference from f64, in units of the terms' sizes.
fn off(backward: bool, x: &Array2<f32>, right: &Array2<f32>, found: &[f32]) -> f64 {
    let (x, right) = (x.mapv(f64::from), right.mapv(f64::from));
    let left = if backward { x.t().to_owned() } else { x };
    let (exact, size) = (
        left.dot(&right),
        left.mapv(f64::abs).dot(&right.mapv(f64::abs)),
    );
    let sum = |at: usize| -> f64 {
        found
            .iter()
            .skip(at)
            .step_by(exact.len())
            .map(|v| f64::from(*v))
            .sum()
    };
    let each = exact.iter().zip(&size).enumerate();
    let worst = each.map(|(at, (exact, size))| (sum(at) - exact).abs() / size.max(1e-3));
    worst.fold(0.0, |worst, off| {
        if off > worst || off.is_nan() {
            off
        } else {
            worst
        }
    })
}

fn inputs(backward: bool) -> (Array2<f32>, Array2<f32>) {
    let (n, d, k) = SHAPE;
    (
        activations(n, d, 41),
        activations(if backward { n } else { d }, k, 42),
    )
}

#[test]
fn every_tile_gives_the_bits_of_every_other_one() {
    let Some(gpu) = support::gpu("every_tile_gives_the_bits_of_every_other_one") else {
        return;
    };
    for backward in [false, true] {
        let (x, right) = inputs(backward);
        let narrow = product(&gpu, backward, &x, &right, Tile::NARROW);
        let off = off(backward, &x, &right, &narrow);
        assert!(off < NEAR, "backward {backward}: {off:e}");
        for tile in TILES {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let found = product(&gpu, backward, &x, &right, tile);
            assert!(
                bits(&found) == bits(&narrow),
                "{tile:?}, backward {backward}"
            );
        }
    }
}

#[test]
fn a_tile_that_leaves_out_something_is_noticed() {
    let Some(gpu) = support::gpu("a_tile_that_leaves_out_something_is_noticed") else {
        return;
    };
    let source = KERNELS[0].source;
    let lines = [
        (
            "d6 = fma(vec4(a1.z), b1, d6);",
            "d6 = fma(vec4(a1.z), b0, d6);",
        ),
        ("u5 += d5;", "u5 = d5 * 2.0;"),
        (
            "let b1 = right_panel[k][SIDE + tx];",
            "let b1 = right_panel[k][tx];",
        ),
        ("next2.z, next3.z", "next3.z, next2.z"),
        ("c1 = fma(vec4(a0.y), b0, c1);", ""),
    ];
    let of_few = [
        ("sum = fma(vec4(a.z), few_right[i * 4u + 2u], sum);", ""),
        ("from_left += FEW_WORDS;", "from_left += 4u;"),
        ("const FEW_STRIDE: u32 = 9u;", "const FEW_STRIDE: u32 = 7u;"),
        (
            "few_right[t] = right[(k4 * 4u + t)",
            "few_right[t] = right[(k4 + t)",
        ),
        (
            "i0 < min(chunk + 1024u, end)",
            "i0 < min(chunk + 1016u, end)",
        ),
        (
            "    s2 += c2;\n    s3 += c3;\n  }\n  let to = (slice * p.neurons4",
            "    s2 += c2;\n    s3 = c3;\n  }\n  let to = (slice * p.neurons4",
        ),
        (
            "result[to + 2u * p.columns4] = s2;\n  result[to + 3u * p.columns4] = s3;\n}",
            "result[to + 3u * p.columns4] = s2;\n  result[to + 2u * p.columns4] = s3;\n}",
        ),
    ];
    let square = lines.map(|line| (line, vec![Tile::WIDE, Tile::MIDDLE]));
    let few = of_few.map(|line| (line, vec![Tile::Few]));
    for ((sound, broken), tiles) in square.into_iter().chain(few) {
        assert!(source.contains(sound), "the kernel no longer says {sound}");
        let gpu = gpu.with_shader("probe", source.replace(sound, broken));
        let noticed = |tile: Tile| {
            [false, true].iter().any(|&backward| {
                let (x, right) = inputs(backward);
                off(
                    backward,
                    &x,
                    &right,
                    &product(&gpu, backward, &x, &right, tile),
                ) > 1e-3
            })
        };
        assert!(tiles.into_iter().all(noticed), "{broken} was not noticed");
    }
}
