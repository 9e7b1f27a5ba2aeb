//! The specification of a study: a TOML file whose every key but the three data files has a default.
//!
//! Paths are relative to the specification's folder. An unknown key, a value of the wrong type or one outside its range
//! is an [`crate::Error::File`] with line and column.
//!
//! | key | default | allowed | meaning |
//! |---|---|---|---|
//! | `name` | `study` | not empty | title of the report |
//! | `seed` | 0 | ≥ 0 | of every random draw |
//! | `data.train`, `.dev`, `.test` | required | a file, or `{activations, labels, words}` | the three parts |
//! | `data.tasks` | the file's primary one | names | tasks to study |
//! | `data.layers_units` | none | `7x384` | layers × units, where the file does not say |
//! | `probe.standardize` | true | | the penalty acts on standardised weights |
//! | `probe.lambda_ratios` | 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003 | 1 to 32 in (0, 1] | λ1 as shares of λ_max; dev chooses |
//! | `probe.l1`, `probe.l2` | none | ≥ 0 | one fixed λ1, λ2 instead of the ratios |
//! | `probe.l2_per_l1` | 1 | 0 to 1000 | λ2 = this · λ1 |
//! | `probe.rule` | `accuracy` | `accuracy`, `accuracy-1se`, `log-loss`, `log-loss-1se`, `lca` | how dev chooses λ |
//! | `probe.solver` | `auto` | `auto`, `newton`, `fista`, `lbfgs` | how the optimum is found |
//! | `probe.relative_gap` | 1e-3 | 1e-7 to 0.1 | duality gap ÷ objective at which a fit has converged |
//! | `probe.max_passes` | 3000 | 1 to 1000000 | passes over the activations before a fit is left unconverged |
//! | `clusters.linkage` | `average` | `average`, `complete`, `single` | of the one dendrogram |
//! | `clusters.distance` | `absolute` | `absolute`, `signed` | 1 − \|r\| or 1 − r |
//! | `clusters.precision` | `f32` | `f32`, `split-f16`, `f16` | how exact r has to be (`src/ops/correlation/precision.rs`) |
//! | `clusters.thresholds` | 0.1, 0.2 … 0.9 | 1 to 99 in [0, 2] | where the dendrogram is cut |
//! | `layers.deltas` | 0.03, 0.02, 0.01 | in [0, 1) | loss on dev that layer selection allows |
//! | `minimal_set.deltas` | 0.03, 0.02, 0.01 | in [0, 1) | loss on dev that a minimal set allows |
//! | `minimal_set.rankings` | `lca`, `probeless` | those | orderings whose prefixes are retrained |
//! | `minimal_set.search` | `ladder` | `ladder`, `bisection` | how the size is looked for, here and in `combined` |
//! | `minimal_set.ladder` | `geometric` | `geometric`, `reference`, `fine`, `max-features`, or sizes ≥ 1 | sizes to retrain (`src/analysis/minimal_set.rs`) |
//! | `minimal_set.examined_delta` | 0.01 | in [0, 1) | the δ nearest to this is the one whose sets the next keys examine |
//! | `minimal_set.disjoint` | 3 | 0 to 100 | sets without a common neuron to look for; 0: none |
//! | `minimal_set.bootstrap` | 10 | 0, or 2 to 1000 | resamples of train that rank again; 0: none |
//! | `minimal_set.equivalent` | 0.5 | in [0, 2] | clustering threshold at which neurons stand in for one another |
//! | `minimal_set.random_sets` | 20 | 0 to 10000 | random sets of the same size to compare with, which give a p of 1/(n + 1) at least; 0: none |
//! | `minimal_set.relative_gap` | 1e-3 | 1e-7 to 0.1 | as `probe.relative_gap`, of resamples and random sets |
//! | `combined.deltas` | 0.03, 0.02, 0.01 | in [0, 1) | layer selection's δ of layers → clusters → ranking |
//! | `combined.set_delta` | 0.01 | in [0, 1) | the minimal set's δ there |
//! | `combined.thresholds` | 0.3, 0.5 | in [0, 2] | clustering thresholds there |
//! | `control.draws` | 3 | 0 to 100 | control tasks (Hewitt & Liang 2019); 0: none |
//! | `control.from` | `same` | `same`, `uniform` | their classes: by train's frequencies, or all that occur there alike |
//! | `control.relative_gap` | 1e-2 | 1e-7 to 0.1 | as `probe.relative_gap`, of control tasks: only their accuracy counts |
//! | `sweep.ablation` | `mean`, `zero` | those | what a removed neuron is replaced by |
//! | `sweep.random_draws` | 5 | 0 to 1000 | random orderings to compare with |
//! | `concepts.mass` | 0.25 | (0, 1] | share of a class's weight mass that makes a neuron salient |
//! | `concepts.min_count` | 3 | ≥ 1 | occurrences in train that a top word needs |
//! | `concepts.top_words` | 8 | 1 to 1000 | words a neuron |
//! | `concepts.neurons` | 30 | 0 to 100000 | neurons that get words |
//! | `concepts.explored` | 200 | 0 to 10000 | neurons that the report shows one by one |
//!
//! What the examination of minimal sets costs, a task and ordering: `disjoint` up to n − 1 probes on what is left (for `lca`)
//! and as many searches for a size, the last of which tries the whole ladder (about four probes on all neurons); `bootstrap`
//! one probe on all neurons a resample for `lca`, all in one batch started from the oracle, and a pass over train for
//! `probeless`; `random_sets` three probes of the set's size a random set, in batches.
//!
//! λ1 = λ2 is what the LCA papers use (Dalvi et al. 2019). On the fixtures dev accuracy at λ2/λ1 = 0, 0.1, 1, 3 and 10
//! differs by less than its interval, while a smaller ratio gives sparser probes that take more passes.

mod check;
mod locate;
mod minimal_set;

pub use check::layers_units;
pub use minimal_set::{LadderSpec, MinimalSetSpec, RankingSpec, SearchSpec};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::analysis::selection::Rule;
use crate::analysis::selectivity::SampleFrom;
use crate::data::read_text;
use crate::error::{Error, Result};
use crate::ops::correlation::Precision;

/// A study's specification; the module's table lists every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Title of the report.
    #[serde(default = "default_name")]
    pub name: String,
    /// Seed of every random draw.
    #[serde(default)]
    pub seed: u64,
    /// The files.
    pub data: DataSpec,
    /// The probes.
    #[serde(default)]
    pub probe: ProbeSpec,
    /// Correlation clustering.
    #[serde(default)]
    pub clusters: ClusterSpec,
    /// Layer selection.
    #[serde(default)]
    pub layers: LayerSpec,
    /// Minimal neuron sets.
    #[serde(default)]
    pub minimal_set: MinimalSetSpec,
    /// Layer selection, then clustering, then a ranking.
    #[serde(default)]
    pub combined: CombinedSpec,
    /// Control tasks.
    #[serde(default)]
    pub control: ControlSpec,
    /// Accuracy as a function of the neurons kept.
    #[serde(default)]
    pub sweep: SweepSpec,
    /// What salient neurons fire on.
    #[serde(default)]
    pub concepts: ConceptSpec,
}

fn default_name() -> String {
    "study".to_owned()
}

/// The files of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Probes are fitted on it.
    pub train: PartSpec,
    /// Choices are made on it.
    pub dev: PartSpec,
    /// Final figures are taken on it.
    pub test: PartSpec,
    /// Tasks to study; empty: the file's primary one.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// `7x384`: layers × units, where the file does not say.
    #[serde(default)]
    pub layers_units: Option<String>,
}

/// One part: a file that holds everything, or one file for each thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartSpec {
    /// The activations.
    pub activations: PathBuf,
    /// Task → label file; empty where the activation file holds the labels.
    pub labels: BTreeMap<String, PathBuf>,
    /// The words, where the activation file does not hold them and they are known.
    pub words: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartTable {
    activations: PathBuf,
    #[serde(default)]
    labels: BTreeMap<String, PathBuf>,
    #[serde(default)]
    words: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for PartSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PartSpec;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a file name, or a table {activations = …, labels = {task = …}, words = …}",
                )
            }
            fn visit_str<E>(self, path: &str) -> std::result::Result<PartSpec, E> {
                Ok(PartSpec {
                    activations: path.into(),
                    labels: BTreeMap::new(),
                    words: None,
                })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> std::result::Result<PartSpec, A::Error> {
                let table =
                    PartTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(PartSpec {
                    activations: table.activations,
                    labels: table.labels,
                    words: table.words,
                })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// How the optimum of a probe is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SolverSpec {
    /// The fastest for each probe.
    Auto,
    /// Sampled-Hessian proximal Newton.
    Newton,
    /// Accelerated proximal gradient.
    Fista,
    /// Proximal limited-memory BFGS.
    Lbfgs,
}

/// How probes are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeSpec {
    /// Whether the penalty acts on standardised weights.
    pub standardize: bool,
    /// λ1 as shares of λ_max, strongest first.
    pub lambda_ratios: Vec<f64>,
    /// One fixed λ1 instead of the ratios.
    pub l1: Option<f64>,
    /// One fixed λ2; with `l1` only.
    pub l2: Option<f64>,
    /// λ2 = this · λ1.
    pub l2_per_l1: f64,
    /// How dev chooses λ.
    pub rule: Rule,
    /// How the optimum is found.
    pub solver: SolverSpec,
    /// Duality gap ÷ objective at which a fit has converged.
    pub relative_gap: f64,
    /// Passes over the activations before a fit is left unconverged.
    pub max_passes: usize,
}

impl Default for ProbeSpec {
    fn default() -> Self {
        Self {
            standardize: true,
            lambda_ratios: vec![0.1, 0.03, 0.01, 0.003, 0.001, 0.0003],
            l1: None,
            l2: None,
            l2_per_l1: 1.0,
            rule: Rule::Accuracy,
            solver: SolverSpec::Auto,
            relative_gap: 1e-3,
            max_passes: 3000,
        }
    }
}

/// How the distance of two clusters follows from those of their neurons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkageSpec {
    /// Mean distance.
    Average,
    /// Largest distance.
    Complete,
    /// Smallest distance.
    Single,
}

/// The distance of two neurons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistanceSpec {
    /// 1 − |r|.
    Absolute,
    /// 1 − r.
    Signed,
}

/// Correlation clustering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Linkage of the dendrogram.
    pub linkage: LinkageSpec,
    /// Distance of two neurons.
    pub distance: DistanceSpec,
    /// How exact correlations have to be.
    pub precision: Precision,
    /// Where the dendrogram is cut.
    pub thresholds: Vec<f64>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            linkage: LinkageSpec::Average,
            distance: DistanceSpec::Absolute,
            precision: Precision::F32,
            thresholds: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        }
    }
}

/// Layer selection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerSpec {
    /// Loss on dev that is allowed, as a share of the oracle's accuracy.
    pub deltas: Vec<f64>,
}

impl Default for LayerSpec {
    fn default() -> Self {
        Self {
            deltas: vec![0.03, 0.02, 0.01],
        }
    }
}

/// Layer selection, then correlation clustering, then a ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CombinedSpec {
    /// δ of the layer selection.
    pub deltas: Vec<f64>,
    /// δ of the minimal set.
    pub set_delta: f64,
    /// Clustering thresholds.
    pub thresholds: Vec<f64>,
}

impl Default for CombinedSpec {
    fn default() -> Self {
        Self {
            deltas: vec![0.03, 0.02, 0.01],
            set_delta: 0.01,
            thresholds: vec![0.3, 0.5],
        }
    }
}

/// Control tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlSpec {
    /// Number of draws; 0: none.
    pub draws: usize,
    /// Where the class of a word is drawn from.
    pub from: SampleFrom,
    /// Duality gap ÷ objective at which the fit of a draw has converged. Learning by heart is the hardest fit of a study,
    /// and only its accuracy is used: on 2,688 neurons 0.01 halves the time and moves the accuracy by 0.001.
    pub relative_gap: f64,
}

impl Default for ControlSpec {
    fn default() -> Self {
        Self {
            draws: 3,
            from: SampleFrom::Same,
            relative_gap: 1e-2,
        }
    }
}

/// What a removed neuron is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AblationSpec {
    /// Its mean over train.
    Mean,
    /// Zero.
    Zero,
}

impl AblationSpec {
    /// The name that results use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Zero => "zero",
        }
    }
}

/// Accuracy as a function of the neurons kept, without retraining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SweepSpec {
    /// What a removed neuron is replaced by.
    pub ablation: Vec<AblationSpec>,
    /// Random orderings to compare with.
    pub random_draws: usize,
}

impl Default for SweepSpec {
    fn default() -> Self {
        Self {
            ablation: vec![AblationSpec::Mean, AblationSpec::Zero],
            random_draws: 5,
        }
    }
}

/// What salient neurons fire on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConceptSpec {
    /// Share of a class's weight mass that makes a neuron salient.
    pub mass: f64,
    /// Occurrences in train that a top word needs.
    pub min_count: usize,
    /// Words a neuron.
    pub top_words: usize,
    /// Neurons that get words.
    pub neurons: usize,
    /// Neurons that the report shows one by one.
    pub explored: usize,
}

impl Default for ConceptSpec {
    fn default() -> Self {
        Self {
            mass: 0.25,
            min_count: 3,
            top_words: 8,
            neurons: 30,
            explored: 200,
        }
    }
}

/// Names of binary files end so: gigabytes need not be read to find no specification in them.
const BINARY: [&str; 5] = ["safetensors", "npy", "npz", "hdf5", "h5"];

impl Spec {
    /// Reads and checks a specification; its paths become relative to the current folder.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, has an unknown key, or a value is outside its range; with line and
    /// column.
    pub fn read(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str());
        if extension.is_some_and(|e| BINARY.contains(&e)) {
            return Err(Error::file(
                path,
                "file name",
                "by its name this is a file of activations, and no specification",
                "Give the .toml that says what to study; `neurosieve init FOLDER` writes one",
            ));
        }
        let text = read_text(path)?;
        let mut spec = Self::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let data = &mut spec.data;
        for part in [&mut data.train, &mut data.dev, &mut data.test] {
            part.activations = folder.join(&part.activations);
            for file in part.labels.values_mut().chain(part.words.as_mut()) {
                *file = folder.join(&*file);
            }
        }
        Ok(spec)
    }

    /// Parses and checks the text of a specification; `path` is named in errors, and paths stay as they are written.
    ///
    /// # Errors
    /// As [`Spec::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let spec: Self =
            toml::from_str(text).map_err(|error| locate::refused(path, text, &error))?;
        check::check(&spec).map_err(|fault| locate::out_of_range(path, text, &fault))?;
        Ok(spec)
    }
}
