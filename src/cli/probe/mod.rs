//! `neurosieve probe`: one probe, its weights and how good they are.

mod summary;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::list::NumberList;
use super::output::{Destination, gibibytes};
use super::progress::Bar;
use super::{device, memory, parse_layers_units, part, say};
use crate::analysis::search::Penalties;
use crate::analysis::selection::Rule;
use crate::analysis::selectivity::SampleFrom;
use crate::data::ReadOptions;
use crate::error::{Error, Result};
use crate::ops::probe::{Norm, Params, PenaltyScale, Solver, Stop, adam};
use crate::report;
use crate::study::probe::{Chosen, Control, Job, run as run_job};

/// Ratios that are tried where no penalty is given.
const RATIOS: &str = "0.1,0.03,0.01,0.003,0.001,0.0003";

/// Folds of a cross-validation where no number is given.
const FOLDS: usize = 5;

/// Fit one probe to its optimum, and say how near it provably is and how good.
///
/// FILE.safetensors gets weights (classes × neurons, on the raw scale), bias, mean and scale; FILE.json beside it metrics
/// with 95 % intervals, the certificate and the penalties that were tried. Dev chooses the penalty, without dev
/// cross-validation does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve probe train.safetensors --dev dev.safetensors -o probe.safetensors
  neurosieve probe train.npy --labels train.label --folds 5 -o probe.safetensors
  neurosieve probe train.safetensors --l1 0.001 --l2 0.001 --layers 0,3-5 -o probe.safetensors")]
pub(super) struct Arguments {
    /// Activations to fit on: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// The file for the weights; the metrics go to the same name with .json
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
    #[command(flatten)]
    parts: PartArguments,
    #[command(flatten)]
    penalty: PenaltyArguments,
    #[command(flatten)]
    fit: FitArguments,
    #[command(flatten)]
    beyond: BeyondArguments,
    /// Where to compute: auto, cpu, gpu, all (every GPU), the index of an adapter or a part of its name, or several of these with commas between
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// Memory of each GPU that its buffers may take; what cannot do with so much runs natively [default: what the device has]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_device_memory: Option<u64>,
    /// Memory of the host that may be taken, all in all; what is planned to take more is refused. No result depends on it
    /// [default: on Linux 80 % of what is free]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_memory: Option<u64>,
    /// Compute everything natively as well and compare it by each operation's tolerance; what is further apart is taken from
    /// the native path, and the exit code is 3. Takes the native path's time beside the device's
    #[arg(long)]
    validate: bool,
    /// Print the JSON document to stdout instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Data")]
struct PartArguments {
    /// Labels of DATA, where the file holds none: .label, .txt, .tsv or .npy
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The task: one that the file holds (default: its primary one), or a column of a .tsv
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Labels are numbers: fit a linear regression
    #[arg(long, requires = "labels")]
    regression: bool,
    /// Activations that choose the penalty
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Labels of dev
    #[arg(long, value_name = "FILE", requires = "dev", requires = "labels")]
    dev_labels: Option<PathBuf>,
    /// Activations to judge the probe on
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Labels of test
    #[arg(long, value_name = "FILE", requires = "test", requires = "labels")]
    test_labels: Option<PathBuf>,
    /// Layers × units, such as 7x384, where the files do not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Only neurons of these layers, such as 0,3-5
    #[arg(long, value_name = "LIST", value_parser = NumberList::parse, conflicts_with = "neurons")]
    layers: Option<NumberList>,
    /// Only these neurons (columns), such as 0,3-5
    #[arg(long, value_name = "LIST", value_parser = NumberList::parse)]
    neurons: Option<NumberList>,
    /// Give every class the same weight in training
    #[arg(long, value_name = "HOW", conflicts_with = "regression")]
    class_weight: Option<ClassWeight>,
    /// A file with the weight of every sample of DATA: .npy, .txt or .tsv (column weight)
    #[arg(long, value_name = "FILE")]
    sample_weights: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Penalty")]
struct PenaltyArguments {
    /// λ1 of one probe, instead of --ratios
    #[arg(long, value_name = "λ1", requires = "l2", conflicts_with_all = ["ratios", "l2_per_l1", "select"])]
    l1: Option<f64>,
    /// λ2 of one probe
    #[arg(long, value_name = "λ2", requires = "l1")]
    l2: Option<f64>,
    /// Try λ1 = these shares of the smallest λ1 that makes every weight zero
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = RATIOS)]
    ratios: Vec<f64>,
    /// λ2 = this · λ1 (for continuous labels divided by their standard deviation, whose unit λ1 has)
    #[arg(long, value_name = "RATIO", default_value_t = 1.0)]
    l2_per_l1: f64,
    /// What λ2 multiplies: the squared norm of the weights, or the norm itself as NeuroX's code
    #[arg(long, value_name = "NAME", default_value = "elastic-net")]
    penalty: PenaltyName,
    /// Penalise the weights of raw activations instead of standardised ones
    #[arg(long)]
    no_standardize: bool,
    /// How dev or the folds choose: accuracy, accuracy-1se, log-loss, log-loss-1se or lca. The losses are squared errors
    /// with --regression, whose default is log-loss; otherwise it is accuracy
    #[arg(long, value_name = "RULE", value_parser = parse_rule)]
    select: Option<Rule>,
    /// Number of folds of the cross-validation, where there is no dev [default: 5 where penalties are to be compared]
    #[arg(long, value_name = "K", conflicts_with = "dev")]
    folds: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Solver")]
struct FitArguments {
    /// How the optimum is found
    #[arg(long, value_name = "NAME", default_value = "auto")]
    solver: SolverName,
    /// When a fit is good enough: screening, certified, gap=G (relative duality gap) or kkt=K (share of λ_max)
    /// [default: screening]
    #[arg(long, value_name = "RULE", value_parser = parse_stop)]
    stop: Option<Stop>,
    /// Leave a fit unconverged after so many passes over the activations [default: 3000]
    #[arg(long, value_name = "N")]
    max_passes: Option<u32>,
    /// With --solver adam: sweeps over the samples [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// With --solver adam: samples of a step [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// With --solver adam: its step size [default: 0.001]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Seed of the solver, the folds and the intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "More than memory?")]
struct BeyondArguments {
    /// Fit the probe to so many control tasks as well, a random class for every word: selectivity. Needs words, and --test
    /// or --dev
    #[arg(long, value_name = "N", conflicts_with = "regression", value_parser = clap::value_parser!(u32).range(1..=1000))]
    control: Option<u32>,
    /// Where the class of a word is drawn from [default: same]
    #[arg(long, value_name = "HOW", requires = "control")]
    control_from: Option<ControlFrom>,
    /// Fit the probe to so many shuffles of train's labels: is it better than that? Needs --test or --dev
    #[arg(long, value_name = "N", conflicts_with = "regression", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    label_shuffles: Option<u32>,
    /// In how few bits can train's labels be sent to somebody who has the activations (online code); of control tasks too
    #[arg(long, conflicts_with_all = ["regression", "class_weight", "sample_weights"])]
    description_length: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ControlFrom {
    /// Train's class frequencies
    Same,
    /// All classes that occur in train alike
    Uniform,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClassWeight {
    /// Inversely proportional to the class's samples
    Balanced,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PenaltyName {
    /// λ1·‖W‖₁ + λ2·‖W‖²
    ElasticNet,
    /// λ1·‖W‖₁ + λ2·‖W‖
    Neurox,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SolverName {
    /// The fastest one; also called exact
    #[value(alias = "exact")]
    Auto,
    /// Sampled-Hessian proximal Newton
    Newton,
    /// Accelerated proximal gradient
    Fista,
    /// Proximal limited-memory BFGS
    Lbfgs,
    /// No solver: NeuroX's training reproduced, on the CPU (needs --penalty neurox --no-standardize)
    Adam,
}

fn parse_rule(text: &str) -> std::result::Result<Rule, String> {
    let names = Rule::ALL.map(Rule::name).join(", ");
    let mut all = Rule::ALL.into_iter();
    all.find(|rule| rule.name() == text)
        .ok_or_else(|| format!("the rules are {names}"))
}

fn parse_stop(text: &str) -> std::result::Result<Stop, String> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("\"{text}\" is not a number"))
    };
    match text.split_once('=') {
        None if text == "screening" => Ok(Stop::Screening),
        None if text == "certified" => Ok(Stop::Certified),
        Some(("gap", value)) => Ok(Stop::Gap(number(value)?)),
        Some(("kkt", value)) => Ok(Stop::Kkt(number(value)?)),
        _ => Err("write screening, certified, gap=1e-4 or kkt=1e-3".to_owned()),
    }
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let job = job(arguments)?;
    // Whatever can fail fails before the work starts.
    let file = Destination::new(&arguments.output, &["safetensors"])?;
    file.spare(&inputs(&job))?;
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let job = Job {
        memory: memory::allowed(arguments.max_memory),
        ..job
    };
    let mut bar = Bar::new();
    let finished = run_job(&job, &backend, device, &mut |progress| bar.show(progress));
    bar.clear();
    let mut probed = finished?;
    device::take_validation(&backend, &mut probed.results.device);
    let document = report::json::document(&probed.results)?;
    let weights = report::probe::safetensors(&probed)?;
    file.write(&weights)?;
    file.write_beside("json", &document)?;
    for warning in &probed.results.warnings {
        // A closed stderr must not cost the results; the warnings are in them as well.
        drop(writeln!(err, "warning: {warning}"));
    }
    match arguments.json {
        true => say(out, &String::from_utf8_lossy(&document))?,
        false => say(out, &summary::summary(&probed.results))?,
    }
    device::validation(&probed.results.device, err)
}

/// The files that are read.
fn inputs(job: &Job) -> Vec<&PathBuf> {
    let parts = [Some(&job.train), job.dev.as_ref(), job.test.as_ref()];
    let files = parts.into_iter().flatten().flat_map(|part| {
        std::iter::once(&part.activations).chain(part.labels.iter().map(|(_, file)| file))
    });
    files.chain(&job.sample_weights).collect()
}

fn job(arguments: &Arguments) -> Result<Job> {
    let (parts, penalty, fit) = (&arguments.parts, &arguments.penalty, &arguments.fit);
    let beyond = &arguments.beyond;
    let files = |activations: &PathBuf, labels: &Option<PathBuf>| {
        part(activations, labels.as_ref(), parts.task.as_ref())
    };
    let penalties = match (penalty.l1, penalty.l2) {
        (Some(l1), Some(l2)) => Penalties::Fixed { l1, l2 },
        _ => Penalties::Path {
            ratios: penalty.ratios.clone(),
            l2_per_l1: penalty.l2_per_l1,
        },
    };
    let several = penalty.l1.is_none() && penalty.ratios.len() > 1;
    let default_rule = if parts.regression {
        Rule::LogLoss
    } else {
        Rule::Accuracy
    };
    Ok(Job {
        train: files(&arguments.data, &parts.labels),
        dev: parts.dev.as_ref().map(|dev| files(dev, &parts.dev_labels)),
        test: parts
            .test
            .as_ref()
            .map(|test| files(test, &parts.test_labels)),
        task: parts.task.clone(),
        continuous: parts.regression,
        options: ReadOptions {
            layers_units: parts.layers_units,
        },
        chosen: match (&parts.layers, &parts.neurons) {
            (Some(layers), _) => Chosen::Layers(layers.0.iter().map(|&l| l as u32).collect()),
            (None, Some(neurons)) => Chosen::These(neurons.0.clone()),
            (None, None) => Chosen::All,
        },
        penalties,
        norm: match penalty.penalty {
            PenaltyName::ElasticNet => Norm::Squared,
            PenaltyName::Neurox => Norm::Frobenius,
        },
        params: params(fit, penalty.no_standardize),
        adam: adam_params(fit)?,
        rule: penalty.select.unwrap_or(default_rule),
        folds: match (&parts.dev, penalty.folds) {
            (Some(_), _) => None,
            (None, Some(folds)) => Some(folds),
            (None, None) => several.then_some(FOLDS),
        },
        balanced: parts.class_weight.is_some(),
        sample_weights: parts.sample_weights.clone(),
        control: Control {
            draws: beyond.control.map_or(0, |draws| draws as usize),
            from: match beyond.control_from {
                None | Some(ControlFrom::Same) => SampleFrom::Same,
                Some(ControlFrom::Uniform) => SampleFrom::Uniform,
            },
        },
        label_shuffles: beyond.label_shuffles.map_or(0, |number| number as usize),
        description_length: beyond.description_length,
        memory: None,
    })
}

/// How NeuroX's training goes, where it is asked for.
fn adam_params(fit: &FitArguments) -> Result<Option<adam::Params>> {
    let usual = adam::Params::default();
    let is_adam = matches!(fit.solver, SolverName::Adam);
    let foreign = if is_adam {
        [
            ("--stop", fit.stop.is_some()),
            ("--max-passes", fit.max_passes.is_some()),
        ]
        .to_vec()
    } else {
        let given = [
            fit.epochs.is_some(),
            fit.batch_size.is_some(),
            fit.learning_rate.is_some(),
        ];
        ["--epochs", "--batch-size", "--learning-rate"]
            .into_iter()
            .zip(given)
            .collect()
    };
    if let Some((flag, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(
            *flag,
            "it means nothing to this solver",
            "--stop and --max-passes go with auto, newton, fista and lbfgs, --epochs, --batch-size and --learning-rate with adam",
        ));
    }
    Ok(is_adam.then(|| adam::Params {
        epochs: fit.epochs.unwrap_or(usual.epochs),
        batch: fit.batch_size.unwrap_or(usual.batch),
        learning_rate: fit.learning_rate.unwrap_or(usual.learning_rate),
    }))
}

fn params(fit: &FitArguments, raw: bool) -> Params {
    let usual = Params::default();
    Params {
        solver: match fit.solver {
            SolverName::Auto | SolverName::Adam => Solver::Auto,
            SolverName::Newton => Solver::Newton,
            SolverName::Fista => Solver::Fista,
            SolverName::Lbfgs => Solver::Lbfgs,
        },
        scale: if raw {
            PenaltyScale::Raw
        } else {
            PenaltyScale::Standardised
        },
        stop: fit.stop.unwrap_or(usual.stop),
        max_passes: fit.max_passes.map_or(usual.max_passes, f64::from),
        seed: fit.seed,
        ..usual
    }
}
