//! What a device's pairs left, beside the samples: edges and partners.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

use super::columns::Columns;
use super::distribution::BINS;
use super::{Distribution, Edge, Findings, Partner, Wanted};

/// Left neurons whose r with all right ones is computed again.
const WITNESSES: usize = 8;
/// Edges, and partners, that are.
const PAIRS: usize = 1024;

/// What is computed again for pairs that were kept.
pub(super) struct Again {
    /// Left columns, and their r with all right ones.
    witnesses: Vec<usize>,
    rows: Array2<f64>,
    /// Pairs of columns, what was kept of them, and Σ of products.
    pairs: Vec<(usize, usize, f32)>,
    products: Vec<f64>,
    /// Samples that were added.
    samples: usize,
}

/// What is wrong with pairs that were kept, as far as that can be seen without the samples.
pub(super) fn of_kept(
    wanted: &Wanted<'_>,
    findings: &Findings,
    columns: &Columns<'_>,
) -> Option<String> {
    let [left, right] = columns.sides();
    if let Some(found) = &findings.distribution {
        let (n, m) = (left.len() as u64, right.len() as u64);
        let all = if columns.is_cross() {
            n * m
        } else {
            n * (n - 1) / 2
        };
        if found.pairs != all {
            return Some(format!(
                "{} of {all} pairs are in the histogram",
                found.pairs
            ));
        }
    }
    let of_edges = |least| of_edges(&findings.edges, least, findings.distribution.as_ref());
    if let Some(problem) = wanted.at_least.and_then(of_edges) {
        return Some(problem);
    }
    let same = usize::from(!columns.is_cross());
    let of_side = |lists: &[Vec<Partner>], others: usize| {
        let most = wanted.partners.min(others - same);
        let wrong = |list: &Vec<Partner>| {
            let mut ids: Vec<u32> = list.iter().map(|partner| partner.neuron).collect();
            ids.sort_unstable();
            ids.dedup();
            let finite = list.iter().all(|partner| partner.r.abs() <= 1.0);
            list.len() != most || ids.len() != most || !finite
        };
        let neuron = lists.iter().position(wrong)?;
        Some(format!(
            "the partners of neuron {neuron} are not {most} others"
        ))
    };
    of_side(&findings.partners, right.len())
        .or_else(|| of_side(&findings.partners_of_right, left.len()))
}

/// What is wrong with a list of edges, by itself and by the histogram.
fn of_edges(edges: &[Edge], least: f32, found: Option<&Distribution>) -> Option<String> {
    let wild = edges
        .iter()
        .find(|edge| !(least..=1.0).contains(&edge.r.abs()));
    let twice = edges
        .windows(2)
        .find(|e| (e[0].i, e[0].j) >= (e[1].i, e[1].j));
    if let Some(edge) = wild.or(twice.map(|twice| &twice[1])) {
        return Some(format!("{edge:?} is listed twice, or is none"));
    }
    let counts = &found?.counts;
    let bin = |r: f64| ((r + 1.0) * BINS as f64 / 2.0) as usize;
    let (top, bottom) = (bin(f64::from(least)), bin(-f64::from(least)));
    let all = |strong: &dyn Fn(usize) -> bool| -> u64 {
        let counts = counts.iter().enumerate();
        counts
            .filter(|(at, _)| strong(*at))
            .map(|(_, count)| count)
            .sum()
    };
    // The threshold may lie anywhere in its bin, and roundings at the edge of one.
    let narrow = all(&|at| at >= top + 2 || at + 2 <= bottom);
    let wide = all(&|at| at + 1 >= top || at <= bottom + 1);
    let edges = edges.len() as u64;
    let fits = (narrow..=wide).contains(&edges);
    (!fits).then(|| format!("{edges} pairs, by the histogram {narrow} to {wide}"))
}

impl Again {
    pub(super) fn new(columns: &Columns<'_>, wanted: &Wanted<'_>, findings: &Findings) -> Self {
        let [left, right] = columns.sides();
        let kept = wanted.at_least.is_some() || wanted.partners > 0;
        let witnesses: Vec<usize> = match kept {
            true => spread(left.len(), WITNESSES)
                .map(|at| left.start + at)
                .collect(),
            false => Vec::new(),
        };
        let edges = spread(findings.edges.len(), PAIRS).map(|at| {
            let edge = &findings.edges[at];
            (edge.i as usize, right.start + edge.j as usize, edge.r)
        });
        let mut pairs: Vec<(usize, usize, f32)> = edges.collect();
        let sides = [
            (&findings.partners, left.start, right.start),
            (&findings.partners_of_right, right.start, left.start),
        ];
        for (lists, own, others) in sides {
            let some = spread(lists.len(), PAIRS).enumerate();
            pairs.extend(some.filter_map(|(turn, at)| {
                let list = &lists[at];
                let partner = list.get(turn % list.len().max(1))?;
                Some((own + at, others + partner.neuron as usize, partner.r))
            }));
        }
        Self {
            rows: Array2::zeros((witnesses.len(), right.len())),
            witnesses,
            products: vec![0.0; pairs.len()],
            pairs,
            samples: 0,
        }
    }

    /// Adds the products of a block of samples.
    pub(super) fn add(&mut self, z: ArrayView2<'_, f32>, right: &Range<usize>) {
        let of_right = z.slice(s![.., right.clone()]);
        let rows = self.rows.axis_iter_mut(Axis(0)).into_par_iter();
        rows.zip(&self.witnesses).for_each(|(mut sums, &witness)| {
            for (z, own) in of_right.rows().into_iter().zip(z.column(witness)) {
                let own = f64::from(*own);
                sums.zip_mut_with(&z, |sum, z| *sum += own * f64::from(*z));
            }
        });
        let products = self.products.par_iter_mut().zip(&self.pairs);
        products.for_each(|(sum, &(i, j, _))| {
            let terms = z.column(i).into_iter().zip(z.column(j));
            *sum += terms
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum::<f64>();
        });
        self.samples += z.nrows();
    }

    /// What is wrong with what was kept, where r may be off by so much; `right` is the first right column.
    pub(super) fn wrong(
        &self,
        wanted: &Wanted<'_>,
        findings: &Findings,
        right: usize,
        tolerance: f64,
    ) -> Option<String> {
        let n = self.samples as f64;
        let near = |kept: f32, product: f64| (f64::from(kept) - product / n).abs() <= tolerance;
        let pairs = self.pairs.iter().zip(&self.products);
        if let Some(((i, j, r), product)) = pairs.into_iter().find(|((_, _, r), p)| !near(*r, **p))
        {
            let native = product / n;
            return Some(format!(
                "r of columns {i} and {j} is {r} instead of {native}"
            ));
        }
        let lacks = |witness: &usize, j: usize, r: f64| {
            format!("columns {witness} and {} are missing, r = {r}", right + j)
        };
        for (witness, products) in self.witnesses.iter().zip(self.rows.rows()) {
            let others = || products.iter().map(|product| product / n).enumerate();
            let itself = |j: usize| right + j == *witness;
            if let Some(least) = wanted.at_least {
                let strong = |r: f64| r.abs() > f64::from(least) + tolerance;
                let kept = |j: usize| {
                    let pair = match right {
                        0 => (*witness.min(&j), *witness.max(&j)),
                        _ => (*witness, j),
                    };
                    let ends = |edge: &Edge| (edge.i as usize, edge.j as usize);
                    findings.edges.binary_search_by_key(&pair, ends).is_ok()
                };
                let missing = others().find(|&(j, r)| strong(r) && !itself(j) && !kept(j));
                if let Some((j, r)) = missing {
                    return Some(lacks(witness, j, r));
                }
            }
            let Some(list) = findings
                .partners
                .get(*witness)
                .filter(|list| !list.is_empty())
            else {
                continue;
            };
            let floor = f64::from(list[list.len() - 1].r.abs()) + tolerance;
            let kept = |j: usize| list.iter().any(|partner| partner.neuron as usize == j);
            let missing = others().find(|&(j, r)| r.abs() > floor && !itself(j) && !kept(j));
            if let Some((j, r)) = missing {
                return Some(lacks(witness, j, r));
            }
        }
        None
    }
}

/// At most so many numbers below `of`, evenly spread.
fn spread(of: usize, most: usize) -> impl Iterator<Item = usize> {
    let many = of.min(most);
    (0..many).map(move |at| (2 * at + 1) * of / (2 * many))
}
