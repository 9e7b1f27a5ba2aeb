//! The data, and designs of some of its layers.

use std::path::Path;

use ndarray::{ArrayView2, s};
use neurosieve::data::{DatasetFiles, PartFiles, ReadOptions, read_dataset};
use neurosieve::labels::Labels;
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::ops::probe::{self, Design, Fit, PenaltyScale, Problem};
use neurosieve::{Backend, Dataset, Result};

pub const BACKEND: Backend = Backend::Cpu;

pub struct Set {
    pub data: Dataset,
    pub moments: Moments,
}

impl Set {
    pub fn read(folder: &Path) -> Result<Self> {
        let part = |name: &str| PartFiles {
            activations: folder.join(format!("{name}.safetensors")),
            labels: Vec::new(),
            words: None,
        };
        let data = read_dataset(&DatasetFiles {
            train: part("train"),
            dev: part("dev"),
            test: part("test"),
            tasks: ["fine", "coarse", "control"].map(String::from).to_vec(),
            options: ReadOptions::default(),
        })?;
        let moments = moments(&BACKEND, data.train().activations.view(), None)?;
        Ok(Self { data, moments })
    }

    pub fn train(&self) -> ArrayView2<'_, f32> {
        self.data.train().activations.view()
    }

    /// The design of one layer, or of all.
    pub fn design(&self, layer: Option<u32>) -> Result<Design> {
        let map = self.data.train().activations.layers();
        let columns: Vec<usize> = match layer {
            Some(layer) => map.columns(layer).collect(),
            None => (0..map.neurons()).collect(),
        };
        Design::new(&BACKEND, self.train(), &self.moments, &columns)
    }

    pub fn labels(&self, task: &str) -> &Labels {
        let place = self.data.tasks().iter().position(|name| name == task);
        &self.data.train().labels[place.expect("the task is one of the three")]
    }

    pub fn dev_accuracy(&self, task: &str, fit: &Fit) -> f64 {
        let place = self.data.tasks().iter().position(|name| name == task);
        let labels = &self.data.dev().labels[place.expect("the task is one of the three")];
        let predicted = fit.predict(self.data.dev().activations.view().slice(s![.., ..]));
        let right = predicted.iter().zip(labels.ids()).filter(|(p, y)| p == y);
        right.count() as f64 / labels.len() as f64
    }
}

pub fn lambda_max(design: &Design, labels: &Labels) -> Result<f64> {
    let problem = Problem::new(labels, 0.0, 0.0);
    Ok(probe::lambda_max(design, &[problem], PenaltyScale::Standardised)?[0])
}
