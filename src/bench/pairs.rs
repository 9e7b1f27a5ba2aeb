//! Correlations of all pairs, reduced as they come: edges, partners, histogram.

use half::f16;
use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::Size;
use super::correlations::{column, exact, moments_in_f64, side};
use super::inputs::{groups, sampled};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::{largest, worse};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::correlation::{self, Findings, Params, TOLERANCE, Wanted};
use crate::ops::moments;

/// What a pair is worth telling from on, and how many partners of a neuron.
const THRESHOLD: f32 = 0.5;
const PARTNERS: usize = 10;

/// Neurons whose edges and partners are compared with f64.
const SAMPLED: usize = 8;

/// Bins of the histogram, those below r = -0.5, and those below r = 0.5.
const BINS: usize = 200;
const NEGATIVE: usize = 50;
const POSITIVE: usize = 150;

/// Neurons whose r with all others stand in memory in f64 at a time, a thread.
const BLOCK: usize = 128;

/// Samples and neurons: few samples, so that what becomes of r weighs more than r.
fn shape(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (256, 1_024),
        Size::Standard => (1_024, 8_192),
        Size::Large => (1_024, 32_768),
    }
}

pub(super) fn workload(size: Size) -> Workload {
    let (n, d) = shape(size);
    Workload {
        name: "epilogue.pairs".to_owned(),
        shape: format!("{n} samples x {d} neurons in groups of 32"),
        what: "pairs with |r| >= 0.5, 10 best partners and distribution; on a GPU those kernels alone",
        run: Box::new(run),
    }
}

fn wanted() -> Wanted<'static> {
    Wanted {
        at_least: Some(THRESHOLD),
        partners: PARTNERS,
        distribution: true,
        ..Wanted::default()
    }
}

fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = groups(n, d, 2).mapv(f16::from_f32);
    let known = moments::streamed(&x, None)?;
    let params = Params {
        memory: u64::MAX,
        ..Params::default()
    };
    let wanted = wanted();
    let tiles = |name: &str| name.starts_with("correlation_tiles/");
    let work =
        |backend: &Backend| correlation::scan(backend, side(&x, &known), None, &wanted, &params);
    let (found, measured) = bench.measure(&tiles, &work)?;
    let x = x.mapv(f16::to_f32);
    let (n, d) = (n as f64, d as f64);
    let native = matches!(bench.backend, Backend::Cpu);
    Ok(Outcome {
        error_is: "largest error of r of an edge or a best partner; bins are counted again",
        error: error(&x, &found),
        tolerance: TOLERANCE,
        // Natively r is reduced where it is made; on a GPU its tiles are read again.
        flop: native.then_some(n * d * (d + 1.0)),
        bytes: Some(if native {
            2.0 * n * d
        } else {
            2.0 * d * (d + 1.0)
        }),
        units: None,
        measured,
    })
}

/// Largest error of r; endless where something is missing, is there twice, or should not be there.
fn error(x: &Array2<f32>, found: &Findings) -> f64 {
    let d = x.ncols();
    let ends = |edge: &correlation::Edge| edge.i < edge.j && (edge.j as usize) < d;
    let complete = found.partners.len() == d
        && (found.partners.iter()).all(|partners| partners.len() == PARTNERS.min(d - 1))
        && found.edges.iter().all(ends);
    if !complete || !counts_fit(x, found) {
        return f64::INFINITY;
    }
    let mut met = 0;
    let mut error = 0.0;
    for neuron in sampled(d, SAMPLED) {
        let own = column(x, neuron);
        let others = (0..d).into_par_iter();
        let r: Vec<f64> = others.map(|other| exact(&own, &column(x, other))).collect();
        error = worse(error, of_partners(neuron, &r, found));
        let (edges, off) = of_edges(neuron, &r, found);
        error = worse(error, off);
        met += edges;
    }
    // Data without an edge would let any fault of them pass.
    if met == 0 { f64::INFINITY } else { error }
}

/// Whether a neuron's best partners have the r that they should, and are the best.
fn of_partners(neuron: usize, r: &[f64], found: &Findings) -> f64 {
    let mut sizes: Vec<f64> = (0..r.len())
        .filter(|other| *other != neuron)
        .map(|other| r[other].abs())
        .collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let mut seen = vec![false; r.len()];
    seen[neuron] = true;
    let pairs = found.partners[neuron].iter().zip(&sizes);
    largest(pairs.map(|(partner, best)| {
        let other = partner.neuron as usize;
        if seen.get(other) != Some(&false) {
            return f64::INFINITY; // itself, there twice, or no neuron
        }
        seen[other] = true;
        let told = f64::from(partner.r);
        worse((told - r[other]).abs(), (told.abs() - best).abs())
    }))
}

/// How many edges a neuron has, and whether they are those that it should have. A pair that is as close to the threshold as r
/// may be off may be either.
fn of_edges(neuron: usize, r: &[f64], found: &Findings) -> (usize, f64) {
    let mut told = vec![None; r.len()];
    let mut edges = 0;
    for edge in &found.edges {
        let (i, j) = (edge.i as usize, edge.j as usize);
        if i != neuron && j != neuron {
            continue;
        }
        let other = if i == neuron { j } else { i };
        if told[other].replace(f64::from(edge.r)).is_some() {
            return (0, f64::INFINITY);
        }
        edges += 1;
    }
    let threshold = f64::from(THRESHOLD);
    let others = (0..r.len()).filter(|other| *other != neuron);
    let off = |other: usize| match told[other] {
        Some(_) if r[other].abs() < threshold - TOLERANCE => f64::INFINITY,
        Some(told) => (told - r[other]).abs(),
        None if r[other].abs() >= threshold + TOLERANCE => f64::INFINITY,
        None => 0.0,
    };
    (edges, largest(others.map(off)))
}

/// Whether histogram and number of edges are possible with no r further off than allowed: below the end of each bin there are
/// at least as many pairs as in f64 with every r larger by that much, and at most as many as with every r smaller by it.
fn counts_fit(x: &Array2<f32>, found: &Findings) -> bool {
    let d = x.ncols();
    let pairs = (d * (d - 1) / 2) as u64;
    let Some(all) = &found.distribution else {
        return false;
    };
    if all.pairs != pairs || all.counts.len() != BINS || all.counts.iter().sum::<u64>() != pairs {
        return false;
    }
    let [least, most] = counted(x).map(|counts| below(&counts));
    let told = below(&all.counts);
    let fits = |bin: usize| (least[bin]..=most[bin]).contains(&told[bin]);
    let edges = pairs - most[POSITIVE - 1] + least[NEGATIVE - 1]
        ..=pairs - least[POSITIVE - 1] + most[NEGATIVE - 1];
    (0..BINS).all(fits) && edges.contains(&(found.edges.len() as u64))
}

fn below(counts: &[u64]) -> Vec<u64> {
    let so_far = |sum: &mut u64, count: &u64| {
        *sum += count;
        Some(*sum)
    };
    counts.iter().scan(0, so_far).collect()
}

/// All pairs in bins in f64: with every r larger by the tolerance, and with every r smaller by it.
fn counted(x: &Array2<f32>) -> [Vec<u64>; 2] {
    let (n, d) = x.dim();
    let mut z = x.mapv(f64::from);
    z.axis_iter_mut(Axis(1))
        .into_par_iter()
        .for_each(|mut column| {
            let (mean, sd) = moments_in_f64(&column.to_vec());
            column.mapv_inplace(|x| (x - mean) / (sd * (n as f64).sqrt()));
        });
    let bin = |r: f64| (((r + 1.0) * (BINS as f64 / 2.0)) as usize).min(BINS - 1);
    let block = |first: usize| {
        let last = (first + BLOCK).min(d);
        let r = z
            .slice(s![.., first..last])
            .t()
            .dot(&z.slice(s![.., first..]));
        let mut counts = [vec![0u64; BINS], vec![0u64; BINS]];
        for (i, row) in r.outer_iter().enumerate() {
            for r in row.iter().skip(i + 1) {
                counts[0][bin(r + TOLERANCE)] += 1;
                counts[1][bin(r - TOLERANCE)] += 1;
            }
        }
        counts
    };
    let add = |mut a: [Vec<u64>; 2], b: [Vec<u64>; 2]| {
        let each = a.iter_mut().flatten().zip(b.iter().flatten());
        each.for_each(|(a, b)| *a += b);
        a
    };
    let blocks: Vec<usize> = (0..d).step_by(BLOCK).collect();
    let none = || [vec![0; BINS], vec![0; BINS]];
    blocks.into_par_iter().map(block).reduce(none, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::correlation::Partner;

    fn right() -> (Array2<f32>, Findings) {
        let x = groups(256, 160, 2).mapv(f16::from_f32);
        let known = moments::streamed(&x, None).unwrap();
        let params = Params {
            memory: u64::MAX,
            ..Params::default()
        };
        let found = correlation::scan(&Backend::Cpu, side(&x, &known), None, &wanted(), &params);
        (x.mapv(f16::to_f32), found.unwrap())
    }

    /// An edge of a sampled neuron that neither end has among its best partners: nothing but the edges tells of it.
    fn edge_alone(found: &Findings) -> usize {
        let has = |i: u32, j: u32| found.partners[i as usize].iter().any(|p| p.neuron == j);
        let chosen = sampled(found.partners.len(), SAMPLED);
        let alone = |edge: &correlation::Edge| {
            let of = |neuron: u32| chosen.contains(&(neuron as usize));
            (of(edge.i) || of(edge.j)) && !has(edge.i, edge.j) && !has(edge.j, edge.i)
        };
        let place = found.edges.iter().position(alone);
        place.expect("groups are larger than partners are many")
    }

    fn refused(x: &Array2<f32>, found: &Findings) -> bool {
        !crate::bench::gate(error(x, found), TOLERANCE, ()).0
    }

    #[test]
    fn right_findings_pass_and_have_edges_of_either_sign() {
        let (x, found) = right();
        assert!(!refused(&x, &found), "{}", error(&x, &found));
        assert!(found.edges.iter().any(|edge| edge.r > 0.0));
        assert!(found.edges.iter().any(|edge| edge.r < 0.0));
    }

    /// The negative control: each fault is noticed.
    #[test]
    fn what_is_missing_or_wrong_is_noticed() {
        let (x, right) = right();
        let alone = edge_alone(&right);
        let edge = right.edges[alone];
        let not_alone = move |other: &correlation::Edge| *other != edge;
        let last = right.partners.len() - 1;
        let full = right.distribution.as_ref().unwrap().counts.iter();
        let full = full.enumerate().max_by_key(|bin| *bin.1).unwrap().0;
        type Fault = Box<dyn Fn(&mut Findings)>;
        let faults: Vec<(&str, Fault)> = vec![
            ("no partner", Box::new(|f| f.partners[0].clear())),
            (
                "a partner less",
                Box::new(move |f| f.partners[last].truncate(9)),
            ),
            (
                "of a neuron in no sample",
                Box::new(|f| f.partners[1].truncate(9)),
            ),
            (
                "a partner twice",
                Box::new(|f| f.partners[0][1] = f.partners[0][0]),
            ),
            ("not the best", Box::new(|f| f.partners[0].rotate_left(1))),
            ("no neuron", Box::new(|f| f.partners[0][9].neuron = 9_999)),
            ("another r", Box::new(|f| f.partners[0][2].r += 1e-4)),
            ("no number", Box::new(|f| f.partners[0][2].r = f32::NAN)),
            ("an edge less", Box::new(move |f| f.edges.retain(not_alone))),
            ("an edge's r", Box::new(move |f| f.edges[alone].r *= 1.001)),
            (
                "an edge that is no number",
                Box::new(move |f| f.edges[alone].r = f32::NAN),
            ),
            ("another edge", Box::new(move |f| f.edges[alone].i ^= 1)),
            (
                "an edge twice",
                Box::new(move |f| f.edges.insert(alone, f.edges[alone])),
            ),
            ("no edges", Box::new(|f| f.edges.clear())),
            ("no distribution", Box::new(|f| f.distribution = None)),
            (
                "pairs in another bin",
                Box::new(move |f| {
                    let counts = &mut f.distribution.as_mut().unwrap().counts;
                    counts[full] -= 2;
                    counts[full + 1] += 2;
                }),
            ),
        ];
        for (name, fault) in faults {
            let mut broken = right.clone();
            fault(&mut broken);
            assert!(refused(&x, &broken), "{name}");
        }
        let mut more = right;
        more.partners[0].push(Partner { neuron: 1, r: 0.0 });
        assert!(refused(&x, &more));
    }

    #[test]
    fn data_without_edges_do_not_pass() {
        let x = crate::bench::inputs::activations(256, 64, 1).mapv(f16::from_f32);
        let known = moments::streamed(&x, None).unwrap();
        let params = Params {
            memory: u64::MAX,
            ..Params::default()
        };
        let found = correlation::scan(&Backend::Cpu, side(&x, &known), None, &wanted(), &params);
        let found = found.unwrap();
        assert!(found.edges.is_empty());
        assert!(refused(&x.mapv(f16::to_f32), &found));
    }
}
