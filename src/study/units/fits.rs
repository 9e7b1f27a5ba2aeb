//! Fits as bytes, and back: every bit of them, so that a run that was resumed ends as one that was not.

use ndarray::{Array1, Array2};

use crate::ops::probe::{Certificate, Fit, Step};

/// Appends fits. Neurons without any weight take no room.
pub(super) fn encode(fits: &[Fit]) -> Vec<u8> {
    let mut bytes = Vec::new();
    word(&mut bytes, fits.len() as u64);
    for fit in fits {
        let certificate = &fit.certificate;
        for value in [
            fit.l1,
            fit.l2,
            fit.objective,
            certificate.kkt,
            certificate.kkt_relative,
            certificate.duality_gap,
            certificate.relative_gap,
            certificate.passes,
            certificate.work,
        ] {
            word(&mut bytes, value.to_bits());
        }
        for count in [
            certificate.depth,
            usize::from(certificate.converged),
            certificate.certified_zeros,
            certificate.certified_nonzeros,
            fit.trace.len(),
        ] {
            word(&mut bytes, count as u64);
        }
        for step in &fit.trace {
            word(&mut bytes, step.work.to_bits());
            word(&mut bytes, step.depth as u64);
            word(&mut bytes, step.kkt.to_bits());
            word(&mut bytes, step.objective.to_bits());
        }
        let (classes, neurons) = fit.weights.dim();
        // A zero with a sign is kept as well.
        let used = |&neuron: &usize| {
            let columns = [&fit.weights, &fit.standardised].map(|w| w.column(neuron));
            columns.iter().flatten().any(|weight| weight.to_bits() != 0)
        };
        let used: Vec<usize> = (0..neurons).filter(used).collect();
        for count in [classes, neurons, fit.bias.len(), used.len()] {
            word(&mut bytes, count as u64);
        }
        used.iter().for_each(|&n| word(&mut bytes, n as u64));
        let mut floats = |value: f32| bytes.extend(value.to_le_bytes());
        fit.bias.iter().copied().for_each(&mut floats);
        for weights in [&fit.weights, &fit.standardised] {
            for &neuron in &used {
                weights.column(neuron).iter().copied().for_each(&mut floats);
            }
        }
    }
    bytes
}

fn word(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend(value.to_le_bytes());
}

/// The fits on so many neurons that [`encode`] wrote; `None` of anything else.
pub(super) fn decode(bytes: &[u8], neurons: usize) -> Option<Vec<Fit>> {
    let mut reader = Reader { bytes, neurons };
    let fits = reader.count()?;
    let found: Option<Vec<Fit>> = (0..fits).map(|_| reader.fit()).collect();
    found.filter(|_| reader.bytes.is_empty())
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Of each fit: what is made for them is bounded by what is expected, not by what a file says.
    neurons: usize,
}

impl Reader<'_> {
    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn double(&mut self) -> Option<f64> {
        self.word().map(f64::from_bits)
    }

    fn count(&mut self) -> Option<usize> {
        self.word()?.try_into().ok()
    }

    fn float(&mut self) -> Option<f32> {
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(f32::from_le_bytes(*word))
    }

    fn step(&mut self) -> Option<Step> {
        Some(Step {
            work: self.double()?,
            depth: self.count()?,
            kkt: self.double()?,
            objective: self.double()?,
        })
    }

    fn fit(&mut self) -> Option<Fit> {
        let (l1, l2, objective) = (self.double()?, self.double()?, self.double()?);
        let certificate = Certificate {
            kkt: self.double()?,
            kkt_relative: self.double()?,
            duality_gap: self.double()?,
            relative_gap: self.double()?,
            passes: self.double()?,
            work: self.double()?,
            depth: self.count()?,
            converged: self.count()? != 0,
            certified_zeros: self.count()?,
            certified_nonzeros: self.count()?,
        };
        let steps = self.count()?;
        let trace = (0..steps).map(|_| self.step()).collect::<Option<_>>()?;
        let shape = (self.count()?, self.count()?);
        let (classes, used) = (self.count()?, self.count()?);
        if shape != (classes, self.neurons) {
            return None;
        }
        let used: Vec<usize> = (0..used).map(|_| self.count()).collect::<Option<_>>()?;
        let bias = (0..classes).map(|_| self.float());
        let bias = bias.collect::<Option<Vec<f32>>>().map(Array1::from)?;
        let mut weights = || -> Option<Array2<f32>> {
            let mut weights = Array2::zeros(shape);
            for &neuron in used.iter().filter(|&&neuron| neuron < shape.1) {
                for weight in weights.column_mut(neuron) {
                    *weight = self.float()?;
                }
            }
            Some(weights)
        };
        Some(Fit {
            l1,
            l2,
            weights: weights()?,
            standardised: weights()?,
            bias,
            objective,
            certificate,
            trace,
        })
    }
}
