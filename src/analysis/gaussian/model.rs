//! The classes' Gaussians over the selected neurons, and what each candidate would add to them.

use std::ops::Range;

use rayon::prelude::*;

use super::score::{Group, NEURONS};
use super::{Convention, Params};
use crate::analysis::greedy::{Columns, varying};
use crate::ops::moments::Moments;

/// Weight of the prior's mean, in samples.
const KAPPA: f64 = 0.01;

/// The least share of a neuron's variance that it must have inside every class where the prior comes from the class alone: what
/// is below is rounding.
const LEAST: f64 = 1e-12;

/// One class that occurs.
#[derive(Debug, Clone)]
pub(super) struct Class {
    /// Its samples among the grouped ones of train.
    members: Range<usize>,
    /// Logarithm of its share of train.
    ln_share: f64,
    /// Logarithm of the determinant of Λ over the selected neurons.
    ln_determinant: f64,
}

/// What is kept of each neuron and class, six neurons at a time, class after class.
#[derive(Debug)]
struct Six {
    /// Conditional Λ given the selected neurons: the square of the factor's next diagonal entry.
    variance: Vec<[f64; NEURONS]>,
    /// Intercept of the regression on the selected neurons.
    intercept: Vec<[f64; NEURONS]>,
    /// Rows of the factor, K a class.
    factor: Vec<[f64; NEURONS]>,
    /// Coefficients of the regression, K a class.
    slope: Vec<[f64; NEURONS]>,
    /// Which of the six are candidates still; the others' entries stand still and are not read.
    candidate: [bool; NEURONS],
}

/// Gaussians over the selected neurons, in units of each neuron's sd around its mean.
#[derive(Debug)]
pub(super) struct Gaussians<'a> {
    columns: &'a Columns,
    moments: &'a Moments,
    convention: Convention,
    /// d of the published priors.
    of: usize,
    classes: Vec<Class>,
    sixes: Vec<Six>,
    /// Neurons that can be selected, K.
    limit: usize,
    /// Neurons that are, k.
    selected: usize,
}

impl<'a> Gaussians<'a> {
    /// Of `columns`, which were taken from `of` neurons.
    pub(super) fn new(
        columns: &'a Columns,
        moments: &'a Moments,
        params: &Params,
        of: usize,
    ) -> Self {
        let grouped = columns.classes();
        let members = grouped.chunk_by(|a, b| a == b).scan(0, |from, class| {
            let range = *from..*from + class.len();
            *from = range.end;
            Some(range)
        });
        let classes: Vec<Class> = members
            .map(|members| Class {
                ln_share: (members.len() as f64 / grouped.len() as f64).ln(),
                members,
                ln_determinant: 0.0,
            })
            .collect();
        let neurons = moments.mean.len();
        let varies = varying(moments);
        let mut gaussians = Self {
            columns,
            moments,
            convention: params.convention,
            of,
            classes,
            sixes: Vec::new(),
            limit: params.select.min(neurons),
            selected: 0,
        };
        let groups = 0..neurons.div_ceil(NEURONS);
        gaussians.sixes = groups
            .into_par_iter()
            .map(|group| gaussians.six(group * NEURONS, &varies))
            .collect();
        gaussians
    }

    /// The six neurons from `first` on before anything is selected.
    fn six(&self, first: usize, varies: &[bool]) -> Six {
        let classes = self.classes.len();
        let mut six = Six {
            variance: vec![[1.0; NEURONS]; classes],
            intercept: vec![[0.0; NEURONS]; classes],
            factor: vec![[0.0; NEURONS]; classes * self.limit],
            slope: vec![[0.0; NEURONS]; classes * self.limit],
            candidate: [false; NEURONS],
        };
        for neuron in (first..varies.len()).take(NEURONS).filter(|n| varies[*n]) {
            let lane = neuron - first;
            let z = self.standardised(neuron);
            let mut varies_in_all = true;
            for (place, class) in self.classes.iter().enumerate() {
                let centre = mean(&z, class);
                let own = &z[class.members.clone()];
                let scatter: f64 = own.iter().map(|z| (z - centre).powi(2)).sum();
                let size = own.len() as f64;
                let (variance, mean) = match self.convention {
                    Convention::Whole => {
                        // The prior is 0 and the identity in these units.
                        let apart = KAPPA * size / (KAPPA + size) * centre * centre;
                        (1.0 + scatter + apart, size * centre / (KAPPA + size))
                    }
                    Convention::Published => (scatter / size + scatter, centre),
                    Convention::Neurox => (scatter / (size - 1.0) + scatter, centre),
                };
                varies_in_all &= variance > LEAST * size;
                six.variance[place][lane] = variance;
                six.intercept[place][lane] = mean;
            }
            six.candidate[lane] = varies_in_all;
        }
        six
    }

    /// A neuron's values in train in units of its sd around its mean.
    fn standardised(&self, neuron: usize) -> Vec<f64> {
        let (mean, scale) = self.scaling(neuron);
        let values = self.columns.neuron(neuron).iter();
        values.map(|x| (f64::from(*x) - mean) * scale).collect()
    }

    /// What is subtracted from a neuron's values, and what the rest is multiplied by.
    pub(super) fn scaling(&self, neuron: usize) -> (f64, f64) {
        (self.moments.mean[neuron], self.moments.scale(neuron))
    }

    /// Number of classes that occur in train.
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Number of neurons D.
    pub(super) fn neurons(&self) -> usize {
        self.moments.mean.len()
    }

    /// Number of neurons that can be selected still.
    pub(super) fn candidates(&self) -> usize {
        let of = |six: &Six| six.candidate.iter().filter(|c| **c).count();
        self.sixes.iter().map(of).sum()
    }

    /// Whether a neuron can be selected still.
    pub(super) fn is_candidate(&self, neuron: usize) -> bool {
        self.sixes[neuron / NEURONS].candidate[neuron % NEURONS]
    }

    /// What Λ is divided by to be Σ, over `size` neurons.
    fn divisor(&self, class: &Class, size: usize) -> f64 {
        let d = match self.convention {
            Convention::Whole => size,
            Convention::Published | Convention::Neurox => self.of,
        };
        (2 * d + 4 + class.members.len()) as f64
    }

    /// For each class what its log-density starts from, and what squared distances in units of Λ are multiplied by, where the
    /// set has `more` neurons than are selected. Factors that all classes share are left out.
    pub(super) fn levels(&self, more: usize) -> Vec<(f64, f64)> {
        let size = self.selected + more;
        let level = |class: &Class| {
            let divisor = self.divisor(class, size);
            let volume = 0.5 * (size as f64 * divisor.ln() - class.ln_determinant);
            (class.ln_share + volume, 0.5 * divisor)
        };
        self.classes.iter().map(level).collect()
    }

    /// The residual of a neuron inside each class: its intercept, its k slopes and its conditional Λ.
    pub(super) fn regressions(&self, neuron: usize) -> Vec<(f64, Vec<f64>, f64)> {
        let (six, lane) = (&self.sixes[neuron / NEURONS], neuron % NEURONS);
        let of = |class: usize| {
            let slopes = &six.slope[class * self.limit..][..self.selected];
            (
                six.intercept[class][lane],
                slopes.iter().map(|slope| slope[lane]).collect(),
                six.variance[class][lane],
            )
        };
        (0..self.classes.len()).map(of).collect()
    }

    /// Six neurons at a time, for scoring as candidates of a set of one more neuron; the values are those of `columns`.
    pub(super) fn groups<'b>(
        &'b self,
        columns: &'b Columns,
    ) -> impl IndexedParallelIterator<Item = Group<'b>> {
        self.sixes
            .par_iter()
            .enumerate()
            .map(move |(group, six)| self.group(columns, group * NEURONS, six))
    }

    fn group<'b>(&'b self, columns: &'b Columns, first: usize, six: &'b Six) -> Group<'b> {
        let halves = self.classes.iter();
        let halves = halves.map(|class| 0.5 * self.divisor(class, self.selected + 1));
        let last = self.moments.mean.len() - 1;
        let neurons: [usize; NEURONS] = std::array::from_fn(|lane| (first + lane).min(last));
        let known = |six: &Six, lane: usize, value: f64| {
            if six.candidate[lane] { value } else { 0.0 }
        };
        let dropped = |variance: &[f64; NEURONS]| {
            std::array::from_fn(|lane| known(six, lane, 0.5 * variance[lane].ln()))
        };
        let weight = |(variance, half): (&[f64; NEURONS], f64)| {
            std::array::from_fn(|lane| known(six, lane, half / variance[lane]))
        };
        Group {
            candidate: six.candidate,
            values: neurons.map(|neuron| columns.neuron(neuron)),
            scaling: neurons.map(|neuron| self.scaling(neuron)),
            intercept: &six.intercept,
            slope: &six.slope,
            limit: self.limit,
            selected: self.selected,
            dropped: six.variance.iter().map(dropped).collect(),
            weight: six.variance.iter().zip(halves).map(weight).collect(),
        }
    }

    /// Selects a neuron: every factor gets a row, every candidate's regression a term.
    pub(super) fn add(&mut self, neuron: usize) {
        let added = Added::of(self, neuron);
        for (class, (_, _, variance)) in self.classes.iter_mut().zip(&added.regressions) {
            class.ln_determinant += variance.ln();
        }
        let (six, lane) = (neuron / NEURONS, neuron % NEURONS);
        self.sixes[six].candidate[lane] = false;
        let mut sixes = std::mem::take(&mut self.sixes);
        sixes.par_iter_mut().enumerate().for_each(|(group, six)| {
            let candidate = six.candidate;
            for lane in (0..NEURONS).filter(|&lane| candidate[lane]) {
                let cross = self.cross(&added, group * NEURONS + lane);
                six.extend(lane, &cross, &added, self.limit, self.selected);
            }
        });
        self.sixes = sixes;
        self.selected += 1;
    }

    /// Entries of Λ of the added neuron and another one, by class.
    fn cross(&self, added: &Added, neuron: usize) -> Vec<f64> {
        let z = self.standardised(neuron);
        let of = |(class, centre): (&Class, &f64)| {
            let members = class.members.clone();
            let pairs = added.apart[members.clone()].iter().zip(&z[members]);
            let scatter: f64 = pairs.map(|(a, z)| a * z).sum();
            match self.convention {
                Convention::Whole => {
                    let size = class.members.len() as f64;
                    scatter + KAPPA * size / (KAPPA + size) * centre * mean(&z, class)
                }
                Convention::Published | Convention::Neurox => scatter,
            }
        };
        self.classes.iter().zip(&added.centres).map(of).collect()
    }
}

/// The neuron that is being selected.
struct Added {
    /// Its values less their class's mean.
    apart: Vec<f64>,
    /// Its mean in each class.
    centres: Vec<f64>,
    /// Its regression inside each class, before it is selected.
    regressions: Vec<(f64, Vec<f64>, f64)>,
    /// Its row of each class's factor.
    rows: Vec<Vec<f64>>,
}

impl Added {
    fn of(gaussians: &Gaussians<'_>, neuron: usize) -> Self {
        let mut apart = gaussians.standardised(neuron);
        let mut centres = Vec::new();
        for class in &gaussians.classes {
            let centre = mean(&apart, class);
            let own = &mut apart[class.members.clone()];
            own.iter_mut().for_each(|z| *z -= centre);
            centres.push(centre);
        }
        let (six, lane) = (&gaussians.sixes[neuron / NEURONS], neuron % NEURONS);
        let row = |class: usize| {
            let rows = &six.factor[class * gaussians.limit..][..gaussians.selected];
            rows.iter().map(|row| row[lane]).collect()
        };
        Self {
            apart,
            centres,
            regressions: gaussians.regressions(neuron),
            rows: (0..gaussians.classes.len()).map(row).collect(),
        }
    }
}

impl Six {
    /// Takes the added neuron into one neuron's factor rows and regressions; `cross` are their entries of Λ.
    fn extend(&mut self, lane: usize, cross: &[f64], added: &Added, limit: usize, selected: usize) {
        let known = added.regressions.iter().zip(&added.rows);
        for (class, (cross, ((intercept, slopes, variance), row))) in
            cross.iter().zip(known).enumerate()
        {
            let factor = &mut self.factor[class * limit..][..=selected];
            let shared: f64 = factor
                .iter()
                .zip(row)
                .map(|(own, row)| own[lane] * row)
                .sum();
            let deviation = variance.sqrt();
            let entry = (cross - shared) / deviation;
            factor[selected][lane] = entry;
            self.variance[class][lane] -= entry * entry;
            let term = entry / deviation;
            let own = &mut self.slope[class * limit..][..=selected];
            for (own, slope) in own.iter_mut().zip(slopes) {
                own[lane] -= term * slope;
            }
            own[selected][lane] = term;
            self.intercept[class][lane] -= term * intercept;
        }
        // Λ is positive definite; rounding alone could make a published prior's floor vanish.
        if self.variance.iter().any(|variance| variance[lane] <= 0.0) {
            self.candidate[lane] = false;
        }
    }
}

/// Mean of a class's values.
fn mean(z: &[f64], class: &Class) -> f64 {
    let own = &z[class.members.clone()];
    own.iter().sum::<f64>() / own.len() as f64
}
