//! Acceptance on a full-size data set: correlations, clusters, the objective and the oracle against the figures of other
//! people's software, with times.
//!
//! `cargo bench --bench medium -- DATA REFERENCES`
//!
//! DATA holds `train.safetensors`, `dev.safetensors` and `test.safetensors` of MiniLM activations of Python tokens
//! (4,992 × 2,688, 16 classes); REFERENCES holds `corr_code_medium.json` (SciPy's cluster labels) and
//! `ref_code_medium.json` (the optimum by FISTA in f64). Prints one JSON document; exits 1 when a check fails.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array2, ArrayView2, Axis};
use neurosieve::analysis::redundancy::{self, Clusters, Distance, Linkage};
use neurosieve::analysis::search::{Penalties, Prober, Target, accuracy, hits};
use neurosieve::analysis::selection::Rule;
use neurosieve::data::{DatasetFiles, PartFiles, ReadOptions, read_dataset};
use neurosieve::ops::correlation::{Correlation, correlation};
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::ops::probe::{self, Design, Params, PenaltyScale, Problem, Stop};
use neurosieve::{Backend, Dataset, Result};
use serde_json::{Value, json};

const REPEATS: usize = 5;
const BACKEND: Backend = Backend::Cpu;

fn main() {
    let paths: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let [data, references] = paths.as_slice() else {
        let _ = writeln!(
            std::io::stderr(),
            "medium: nothing to do; give the folders: cargo bench --bench medium -- DATA REFERENCES"
        );
        return;
    };
    let report = run(data, references).expect("the data can be read and solved");
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(&report).expect("a JSON value prints")
    );
    if report["checks"]
        .as_object()
        .is_none_or(|checks| checks.values().any(|held| held != true))
    {
        std::process::exit(1);
    }
}

fn run(data: &Path, references: &Path) -> Result<Value> {
    let part = |name: &str| PartFiles {
        activations: data.join(format!("{name}.safetensors")),
        labels: Vec::new(),
        words: None,
    };
    let files = DatasetFiles {
        train: part("train"),
        dev: part("dev"),
        test: part("test"),
        tasks: Vec::new(),
        options: ReadOptions::default(),
    };
    let (read, set) = timed(|| read_dataset(&files));
    let set = set?;
    let x = set.train().activations.view();
    let (moment_time, found) = median(|| moments(&BACKEND, x, Some(&set.train().labels[0])))?;
    let mut checks = BTreeMap::new();
    let mut figures = serde_json::Map::new();
    figures.insert("samples".into(), json!(x.nrows()));
    figures.insert("neurons".into(), json!(x.ncols()));
    figures.insert("threads".into(), json!(rayon::current_num_threads()));
    figures.insert("read_seconds".into(), json!(read));
    figures.insert("moments_seconds".into(), json!(moment_time));
    redundant(x, &found, references, &mut checks, &mut figures)?;
    objective(&set, &found, references, &mut checks, &mut figures)?;
    oracle(&set, &found, &mut checks, &mut figures)?;
    Ok(json!({ "schema_version": 1, "bench": "medium", "checks": checks, "figures": figures }))
}

type Checks = BTreeMap<&'static str, bool>;
type Figures = serde_json::Map<String, Value>;

fn redundant(
    x: ArrayView2<'_, f32>,
    found: &Moments,
    references: &Path,
    checks: &mut Checks,
    figures: &mut Figures,
) -> Result<()> {
    let (time, matrix) = median(|| correlation(&BACKEND, x, found))?;
    figures.insert("correlation_seconds".into(), json!(time));
    let error = largest_error(x, &matrix);
    figures.insert("correlation_largest_error".into(), json!(error));
    checks.insert("correlations are within 5e-6 of f64", error <= 5e-6);

    let (time, tree) =
        median(|| redundancy::dendrogram(&matrix, Linkage::Average, Distance::OneMinusAbs))?;
    figures.insert("average_linkage_seconds".into(), json!(time));
    let scipy: Value = read_json(&references.join("corr_code_medium.json"));
    let mut same_counts = true;
    for (threshold, count) in scipy["clusters_average"].as_object().expect("an object") {
        let cut = tree.cut(threshold.parse().expect("a number"));
        same_counts &= cut.count as u64 == count.as_u64().expect("a count");
    }
    checks.insert("cluster counts equal SciPy's at 0.1 … 0.9", same_counts);
    let mut same = true;
    let mut counts = serde_json::Map::new();
    for (threshold, labels) in scipy["cluster_labels_average"]
        .as_object()
        .expect("an object")
    {
        let cut = tree.cut(threshold.parse().expect("a number"));
        counts.insert(threshold.clone(), json!(cut.count));
        same &= same_partition(&cut, labels.as_array().expect("a list"));
    }
    figures.insert("clusters".into(), Value::Object(counts));
    checks.insert("partitions equal SciPy's at 0.3, 0.5, 0.7", same);
    Ok(())
}

fn objective(
    set: &Dataset,
    found: &Moments,
    references: &Path,
    checks: &mut Checks,
    figures: &mut Figures,
) -> Result<()> {
    let x = set.train().activations.view();
    let labels = &set.train().labels[0];
    let all: Vec<usize> = (0..x.ncols()).collect();
    let params = Params {
        scale: PenaltyScale::Raw,
        ..Params::default()
    };
    let problem = Problem::new(labels, 1e-3, 1e-3);
    let (time, fits) = median(|| {
        let design = Design::new(&BACKEND, x, found, &all)?;
        probe::fit(&BACKEND, &design, &[problem], &params, &mut |_| {})
    })?;
    let fit = &fits[0];
    let reference = read_json(&references.join("ref_code_medium.json"))["runs"][0]["primal"]
        .as_f64()
        .expect("the first run has l1 = l2 = 1e-3");
    figures.insert("objective".into(), json!(fit.objective));
    figures.insert("objective_reference".into(), json!(reference));
    figures.insert("relative_gap".into(), json!(fit.certificate.relative_gap));
    figures.insert("passes".into(), json!(fit.certificate.passes));
    figures.insert("fit_seconds".into(), json!(time));
    checks.insert(
        "the objective at l1 = l2 = 1e-3 (raw scale) is the reference's within 1e-5",
        (fit.objective - reference).abs() <= 1e-5 * reference,
    );
    checks.insert(
        "a duality gap of at most 1e-5 proves it",
        fit.certificate.converged && fit.certificate.relative_gap <= 1e-5,
    );
    Ok(())
}

fn oracle(
    set: &Dataset,
    found: &Moments,
    checks: &mut Checks,
    figures: &mut Figures,
) -> Result<()> {
    let all: Vec<usize> = (0..set.train().activations.neurons()).collect();
    let prober = Prober {
        backend: &BACKEND,
        moments: found,
        train: set.train().activations.view(),
        dev: set.dev().activations.view(),
        params: Params {
            stop: Stop::Gap(1e-4),
            ..Params::default()
        },
        rule: Rule::Accuracy,
        dev_sentences: None,
        keeper: None,
        streamed: None,
    };
    let penalties = Penalties::Path {
        ratios: vec![0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001],
        l2_per_l1: 1.0,
    };
    let target = Target {
        train: &set.train().labels[0],
        dev: &set.dev().labels[0],
    };
    let (time, search) = timed(|| prober.search(&all, target, &penalties, &mut |_| {}));
    let search = search?;
    let test = accuracy(&hits(
        &search.fit,
        set.test().activations.view(),
        &set.test().labels[0],
    )?);
    figures.insert("penalties".into(), json!(search.path.len()));
    figures.insert("search_seconds".into(), json!(time));
    figures.insert("oracle_dev_accuracy".into(), json!(search.dev_accuracy));
    figures.insert("oracle_test_accuracy".into(), json!(test));
    checks.insert(
        "the oracle's dev accuracy is at least 0.930",
        search.dev_accuracy >= 0.930,
    );
    checks.insert(
        "the oracle's test accuracy is at least 0.915",
        test >= 0.915,
    );
    checks.insert(
        "every penalty of the search converged",
        search
            .path
            .iter()
            .all(|candidate| candidate.certificate.converged),
    );
    Ok(())
}

/// Largest |Δr| over all pairs against the textbook formula in f64; a neuron whose variance is 0 has r = 0.
fn largest_error(x: ArrayView2<'_, f32>, found: &Correlation) -> f64 {
    let mut z: Array2<f64> = x.mapv(f64::from);
    for mut column in z.axis_iter_mut(Axis(1)) {
        let mean = column.sum() / column.len() as f64;
        column -= mean;
        let norm = column.dot(&column).sqrt();
        if norm > 0.0 {
            column /= norm;
        }
    }
    let exact = z.t().dot(&z);
    let mut worst = 0.0f64;
    for i in 0..found.neurons {
        for j in i + 1..found.neurons {
            worst = worst.max((f64::from(found.get(i, j)) - exact[(i, j)]).abs());
        }
    }
    worst
}

/// Whether the two label vectors group the neurons alike, whatever the numbers.
fn same_partition(ours: &Clusters, theirs: &[Value]) -> bool {
    let theirs = theirs.iter().map(|label| label.as_u64().expect("a label"));
    let (mut there, mut back) = (BTreeMap::new(), BTreeMap::new());
    ours.labels
        .iter()
        .zip(theirs)
        .all(|(&a, b)| *there.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a)
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the reference file is there");
    serde_json::from_str(&text).expect("it is JSON")
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

/// Median seconds of [`REPEATS`] runs, and the last result.
fn median<T>(work: impl Fn() -> Result<T>) -> Result<(f64, T)> {
    let mut times = Vec::new();
    loop {
        let (time, result) = timed(&work);
        let result = result?;
        times.push(time);
        if times.len() == REPEATS {
            times.sort_by(f64::total_cmp);
            return Ok((times[REPEATS / 2], result));
        }
    }
}
