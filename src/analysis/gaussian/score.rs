//! The log-likelihood of the scored samples' classes: of the selected neurons, and with any one candidate more.

use std::array::from_fn;

use multiversion::{multiversion, target::target_cfg_f};
use rayon::prelude::*;

use super::model::Gaussians;
use crate::analysis::greedy::Columns;
use crate::ops::vector::exp;

/// Candidates of a tile: with two vectors of samples their sums fill the registers.
pub(super) const NEURONS: usize = 6;
/// Samples of a tile.
pub(super) const SAMPLES: usize = 8;
/// A class's density is nothing beside one that is larger by e to this: less than rounding, 10,000 classes together.
const NOTHING: f64 = 40.0;

/// Log-densities, squared distances or sums of a tile.
type Tile = [[f64; SAMPLES]; NEURONS];

/// Six candidates as the scoring needs them; entries by class, all of the same place in memory order.
pub(super) struct Group<'a> {
    pub candidate: [bool; NEURONS],
    /// Values of the scored samples.
    pub values: [&'a [f32]; NEURONS],
    /// Mean, and 1/sd.
    pub scaling: [(f64, f64); NEURONS],
    pub intercept: &'a [[f64; NEURONS]],
    /// K a class, of which the first k count.
    pub slope: &'a [[f64; NEURONS]],
    pub limit: usize,
    pub selected: usize,
    /// What the candidate takes from every log-density of the class: ½ ln of its conditional Λ. 0 for no candidate.
    pub dropped: Vec<[f64; NEURONS]>,
    /// What a squared residual takes from it. 0 for no candidate.
    pub weight: Vec<[f64; NEURONS]>,
}

/// The samples that neurons are scored on, eight at a time.
pub(super) struct Scored<'a> {
    columns: &'a Columns,
    classes: usize,
    limit: usize,
    selected: usize,
    /// Standardised values of the selected neurons, K rows for each eight samples.
    values: Vec<[f64; SAMPLES]>,
    /// Squared distances from each class in units of Λ, C rows for each eight samples.
    distance: Vec<[f64; SAMPLES]>,
    /// Log-densities of the selected neurons at the size of the next set, likewise.
    density: Vec<[f64; SAMPLES]>,
}

impl<'a> Scored<'a> {
    /// Of samples that are filled up to a multiple of [`SAMPLES`]; up to `limit` neurons can be selected.
    pub(super) fn new(columns: &'a Columns, classes: usize, limit: usize) -> Self {
        let eights = columns.classes().len().div_ceil(SAMPLES);
        Self {
            columns,
            classes,
            limit,
            selected: 0,
            values: vec![[0.0; SAMPLES]; eights * limit],
            distance: vec![[0.0; SAMPLES]; eights * classes],
            density: vec![[0.0; SAMPLES]; eights * classes],
        }
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        self.columns.classes().len()
    }

    /// Log-likelihood with each neuron of the D added; −∞ for those that are no candidates.
    pub(super) fn candidates(&mut self, gaussians: &Gaussians<'_>) -> Vec<f64> {
        let levels = gaussians.levels(1);
        let eights = self.density.chunks_exact_mut(self.classes);
        for (density, distance) in eights.zip(self.distance.chunks_exact(self.classes)) {
            for ((density, distance), (start, half)) in
                density.iter_mut().zip(distance).zip(&levels)
            {
                *density = distance.map(|d| start - half * d);
            }
        }
        let scored: Vec<[f64; NEURONS]> = gaussians
            .groups(self.columns)
            .map(|group| match group.candidate.contains(&true) {
                true => self.group(&group),
                false => [f64::NEG_INFINITY; NEURONS],
            })
            .collect();
        let neurons = gaussians.neurons();
        scored.into_iter().flatten().take(neurons).collect()
    }

    fn group(&self, group: &Group<'_>) -> [f64; NEURONS] {
        let mut total = [0.0; NEURONS];
        let mut tiles = Tiles::new(self.classes);
        for (eight, classes) in self.columns.classes().chunks(SAMPLES).enumerate() {
            self.tiles(group, eight, classes, &mut tiles);
            let found = log_likelihoods(&tiles, classes.len());
            for (total, found) in total.iter_mut().zip(found) {
                *total += found;
            }
        }
        from_fn(|lane| match group.candidate[lane] {
            true => total[lane],
            false => f64::NEG_INFINITY,
        })
    }

    /// Log-densities of eight samples, of every class that can matter.
    fn tiles(&self, group: &Group<'_>, eight: usize, classes: &[usize], tiles: &mut Tiles) {
        let from = eight * SAMPLES;
        let standardised = from_fn(|lane| {
            let (mean, scale) = group.scaling[lane];
            let eight: &[f32; SAMPLES] = group.values[lane][from..from + SAMPLES]
                .try_into()
                .expect("values are filled up");
            eight.map(|x| (f64::from(x) - mean) * scale)
        });
        let values = &self.values[eight * self.limit..][..group.selected];
        let densities = &self.density[eight * self.classes..][..self.classes];
        let density = |class: usize| {
            let slope = &group.slope[class * group.limit..][..group.selected];
            let mut tile = standardised;
            residuals(&mut tile, &group.intercept[class], slope, values);
            let taken = (&group.dropped[class], &group.weight[class]);
            lower(&mut tile, &densities[class], taken);
            tile
        };
        tiles.found.clear();
        let alike = classes.iter().all(|class| *class == classes[0]);
        if !alike {
            tiles.found.extend((0..self.classes).map(density));
            let found = &tiles.found;
            tiles.own = from_fn(|lane| {
                from_fn(|sample| found[classes.get(sample).map_or(0, |c| *c)][lane][sample])
            });
            return;
        }
        let own = density(classes[0]);
        tiles.own = own;
        tiles.found.push(own);
        for class in (0..self.classes).filter(|class| *class != classes[0]) {
            if matters(&densities[class], &group.dropped[class], &own) {
                tiles.found.push(density(class));
            }
        }
    }

    /// Log-likelihood of the selected neurons, and the number of samples whose class is the most probable one.
    pub(super) fn log_likelihood(&self, gaussians: &Gaussians<'_>) -> (f64, usize) {
        let levels = gaussians.levels(0);
        let (mut sum, mut right) = (0.0, 0);
        for (sample, own) in self.columns.classes().iter().enumerate() {
            let density = |class: usize| self.log_density(&levels, sample, class);
            let first = self.largest(&density);
            let most = density(first);
            let all: f64 = (0..self.classes)
                .map(|class| (density(class) - most).exp())
                .sum();
            sum += density(*own) - most - all.ln();
            right += usize::from(first == *own);
        }
        (sum, right)
    }

    /// The most probable class of each sample.
    pub(super) fn most_probable(&self, gaussians: &Gaussians<'_>) -> Vec<usize> {
        let levels = gaussians.levels(0);
        (0..self.samples())
            .map(|sample| self.largest(&|class| self.log_density(&levels, sample, class)))
            .collect()
    }

    /// Of the selected neurons' values of a sample in a class.
    fn log_density(&self, levels: &[(f64, f64)], sample: usize, class: usize) -> f64 {
        let (eight, lane) = (sample / SAMPLES, sample % SAMPLES);
        let (start, half) = levels[class];
        start - half * self.distance[eight * self.classes + class][lane]
    }

    /// The class of the largest density, of equal ones the first.
    fn largest(&self, density: &impl Fn(usize) -> f64) -> usize {
        (1..self.classes).fold(0, |first, class| {
            if density(class) > density(first) {
                class
            } else {
                first
            }
        })
    }

    /// Takes a neuron into the set, before the Gaussians do.
    pub(super) fn add(&mut self, gaussians: &Gaussians<'_>, neuron: usize) {
        let (mean, scale) = gaussians.scaling(neuron);
        let regressions = gaussians.regressions(neuron);
        let values = self.columns.neuron(neuron).par_chunks_exact(SAMPLES);
        self.values
            .par_chunks_exact_mut(self.limit)
            .zip(self.distance.par_chunks_exact_mut(self.classes))
            .zip(values)
            .for_each(|((selected, distance), values)| {
                let z: [f64; SAMPLES] = from_fn(|s| (f64::from(values[s]) - mean) * scale);
                for (distance, (intercept, slopes, variance)) in
                    distance.iter_mut().zip(&regressions)
                {
                    for (sample, distance) in distance.iter_mut().enumerate() {
                        let known = slopes.iter().zip(selected.iter());
                        let known: f64 = known.map(|(slope, z)| slope * z[sample]).sum();
                        *distance += (z[sample] - intercept - known).powi(2) / variance;
                    }
                }
                selected[self.selected] = z;
            });
        self.selected += 1;
    }
}

/// Log-densities of eight samples for six candidates.
struct Tiles {
    /// Those of each sample's own class.
    own: Tile,
    /// Those of the classes that can matter, its own among them.
    found: Vec<Tile>,
}

impl Tiles {
    fn new(classes: usize) -> Self {
        Self {
            own: [[0.0; SAMPLES]; NEURONS],
            found: Vec::with_capacity(classes),
        }
    }
}

/// Whether a class can have more than nothing of any sample, whatever the residuals, beside the own class.
#[multiversion(targets("x86_64+avx2+fma"))]
fn matters(density: &[f64; SAMPLES], dropped: &[f64; NEURONS], own: &Tile) -> bool {
    let mut most = f64::NEG_INFINITY;
    for (own, dropped) in own.iter().zip(dropped) {
        for (own, density) in own.iter().zip(density) {
            most = most.max(density - dropped - own);
        }
    }
    most > -NOTHING
}

/// Residuals of six candidates inside a class: standardised values less intercept and regression on the selected neurons.
#[multiversion(targets("x86_64+avx2+fma"))]
fn residuals(
    tile: &mut Tile,
    intercept: &[f64; NEURONS],
    slope: &[[f64; NEURONS]],
    values: &[[f64; SAMPLES]],
) {
    let fused = target_cfg_f!(target_feature = "fma");
    let mut sums = [[0.0; SAMPLES]; NEURONS];
    for (slope, values) in slope.iter().zip(values) {
        for lane in 0..NEURONS {
            for sample in 0..SAMPLES {
                sums[lane][sample] = if fused {
                    slope[lane].mul_add(values[sample], sums[lane][sample])
                } else {
                    slope[lane] * values[sample] + sums[lane][sample]
                };
            }
        }
    }
    for lane in 0..NEURONS {
        for sample in 0..SAMPLES {
            tile[lane][sample] = tile[lane][sample] - intercept[lane] - sums[lane][sample];
        }
    }
}

/// Log-densities of a class from residuals: those without the candidate, less what it takes from all and from far samples.
#[multiversion(targets("x86_64+avx2+fma"))]
fn lower(
    tile: &mut Tile,
    density: &[f64; SAMPLES],
    (dropped, weight): (&[f64; NEURONS], &[f64; NEURONS]),
) {
    for lane in 0..NEURONS {
        for sample in 0..SAMPLES {
            let residual = tile[lane][sample];
            tile[lane][sample] =
                density[sample] - (dropped[lane] + weight[lane] * residual * residual);
        }
    }
}

/// Σ ln p of the first `count` samples' own classes, for each candidate.
#[multiversion(targets("x86_64+avx2+fma"))]
fn log_likelihoods(tiles: &Tiles, count: usize) -> [f64; NEURONS] {
    let mut most = tiles.own;
    for tile in &tiles.found {
        for (most, tile) in most.iter_mut().zip(tile) {
            for (most, density) in most.iter_mut().zip(tile) {
                *most = most.max(*density);
            }
        }
    }
    let mut sums = [[0.0; SAMPLES]; NEURONS];
    for tile in &tiles.found {
        for ((sums, tile), most) in sums.iter_mut().zip(tile).zip(&most) {
            for ((sum, density), most) in sums.iter_mut().zip(tile).zip(most) {
                *sum += exp(density - most);
            }
        }
    }
    let mut found = [0.0; NEURONS];
    for (((found, sums), most), own) in found.iter_mut().zip(&sums).zip(&most).zip(&tiles.own) {
        // One logarithm of a product: each sum is from 1 to the number of classes.
        let product: f64 = sums[..count].iter().product();
        let each = own[..count].iter().zip(&most[..count]);
        *found = each.map(|(own, most)| own - most).sum::<f64>() - product.ln();
    }
    found
}
