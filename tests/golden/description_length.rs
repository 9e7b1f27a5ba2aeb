//! Online codes as scikit-learn's probes give them, and intervals of selectivity as SciPy does
//! (`fixtures/generate_description_length.py`).

use ndarray::{Array2, Axis};
use neurosieve::analysis::bootstrap::Units;
use neurosieve::analysis::description_length::{DescriptionLength, OnlineCode, Portions};
use neurosieve::analysis::search::Penalties;
use neurosieve::analysis::selectivity::Selectivity;
use neurosieve::data::{DatasetFiles, PartFiles, read_dataset};
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{Norm, Params, Stop};
use neurosieve::{Backend, Error};
use serde::Deserialize;

use super::{fixture, folder, json};
use crate::support::assert_close;

/// Largest relative difference of bits from those of scikit-learn's probes. (2.1e-6 was measured: activations are f32, and a
/// solver stops at a KKT residual of 1e-7 λ_max.)
const BITS: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    lengths: Vec<Case>,
    intervals: Vec<Interval>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    folder: String,
    rows: Vec<usize>,
    columns: Vec<usize>,
    labels: Vec<u32>,
    portions: Vec<Vec<usize>>,
    fixed: Option<(f64, f64)>,
    ratios: Option<Vec<f64>>,
    l2_per_l1: Option<f64>,
    bits: Vec<f64>,
    l1: Vec<Option<f64>>,
    frequency_bits: f64,
}

#[derive(Deserialize)]
struct Interval {
    sentences: Vec<u32>,
    own: Vec<bool>,
    hits: Vec<Vec<bool>>,
    value: f64,
    low: f64,
    high: f64,
}

fn activations(name: &str) -> Array2<f32> {
    if name == "python-tokens" {
        return fixture().train().activations.view().to_owned();
    }
    let part = |part: &str| PartFiles {
        activations: folder(name).join(format!("{part}.safetensors")),
        ..PartFiles::default()
    };
    let files = DatasetFiles {
        train: part("train"),
        dev: part("dev"),
        test: part("test"),
        ..DatasetFiles::default()
    };
    let set = read_dataset(&files).expect("the fixture is a valid data set");
    set.train().activations.view().to_owned()
}

impl Case {
    fn penalties(&self) -> Penalties {
        match (self.fixed, &self.ratios, self.l2_per_l1) {
            (Some((l1, l2)), ..) => Penalties::Fixed { l1, l2 },
            (None, Some(ratios), Some(l2_per_l1)) => Penalties::Path {
                ratios: ratios.clone(),
                l2_per_l1,
            },
            _ => panic!("{} has no penalties", self.name),
        }
    }

    fn labels(&self) -> Labels {
        let classes = self.labels.iter().max().map_or(0, |&c| c + 1);
        let names = (0..classes).map(|c| c.to_string()).collect();
        Labels::new(self.labels.clone(), names).expect("every class has a name")
    }

    fn code(&self, penalties: &Penalties, portions: Vec<Vec<usize>>) -> DescriptionLength {
        let x = activations(&self.folder).select(Axis(0), &self.rows);
        let taken = moments(&Backend::Cpu, x.view(), None).expect("finite");
        let code = OnlineCode {
            backend: &Backend::Cpu,
            moments: &taken,
            train: x.view(),
            columns: &self.columns,
            penalties,
            norm: Norm::Squared,
            params: &Params {
                stop: Stop::Kkt(1e-7),
                ..Params::default()
            },
            portions: &Portions::new(portions, self.rows.len()).expect("they hold every row"),
        };
        code.lengths(&[&self.labels()], &mut |_| {})
            .expect("it can be coded")
            .remove(0)
    }
}

/// Largest relative difference of a portion's bits.
fn worst(got: &DescriptionLength, case: &Case) -> f64 {
    let portions = got.portions.iter().zip(&case.bits);
    portions
        .map(|(portion, bits)| (portion.bits - bits).abs() / bits.max(1.0))
        .fold(0.0, f64::max)
}

#[test]
fn every_portion_takes_the_bits_of_scikit_learns_probe() {
    let cases = json::<Golden>("description_length.json").lengths;
    assert_eq!(cases.len(), 5);
    let mut without_probe = 0;
    for case in &cases {
        let got = case.code(&case.penalties(), case.portions.clone());
        assert_eq!(got.portions.len(), case.bits.len(), "{}", case.name);
        for (at, (portion, &bits)) in got.portions.iter().zip(&case.bits).enumerate() {
            let what = format!("{}, portion {at}", case.name);
            assert_eq!(portion.samples, case.portions[at].len(), "{what}");
            assert_close(&what, portion.bits, bits, BITS * bits.max(1.0));
            match (portion.probe, case.l1[at]) {
                (Some((l1, _, _)), Some(theirs)) => assert_close(&what, l1, theirs, 1e-5 * theirs),
                (None, None) => without_probe += 1,
                (ours, theirs) => panic!("{what}: {ours:?} where theirs is {theirs:?}"),
            }
        }
        let total: f64 = case.bits.iter().sum();
        assert_close(&case.name, got.bits, total, BITS * total);
        assert_close(
            &case.name,
            got.compression * got.bits,
            got.uniform_bits,
            1e-6,
        );
        assert_close("frequencies", got.frequency_bits, case.frequency_bits, 1e-8);
    }
    assert!(
        without_probe > cases.len(),
        "a prefix of one class is among the cases"
    );
}

#[test]
fn another_penalty_or_another_order_is_noticed() {
    let far = |penalties: &Penalties, portions: Vec<Vec<usize>>, case: &Case| {
        let got = case.code(penalties, portions);
        let apart = worst(&got, case);
        assert!(apart > 50.0 * BITS, "{}: only {apart:e} apart", case.name);
    };
    for case in &json::<Golden>("description_length.json").lengths {
        let stronger = match case.penalties() {
            Penalties::Fixed { l1, l2 } => Penalties::Fixed {
                l1: 1.05 * l1,
                l2: 1.05 * l2,
            },
            Penalties::Path { ratios, l2_per_l1 } => Penalties::Path {
                ratios: ratios.iter().map(|r| 0.95 * r).collect(),
                l2_per_l1,
            },
        };
        far(&stronger, case.portions.clone(), case);
        let mut swapped = case.portions.clone();
        let last = swapped.len() - 1;
        swapped.swap(last, last - 1);
        far(&case.penalties(), swapped, case);
    }
}

#[test]
fn intervals_of_selectivity_are_scipys() -> Result<(), Error> {
    let cases = json::<Golden>("description_length.json").intervals;
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let hits: Vec<&[bool]> = case.hits.iter().map(Vec::as_slice).collect();
        let found = Selectivity::of(&case.own, &hits, &Units::sentences(&case.sentences)?)?;
        assert_close("selectivity", found.value, case.value, 1e-12);
        let [low, high] = found
            .interval
            .expect("there are several draws and sentences");
        assert_close("lower end", low, case.low, 1e-9);
        assert_close("upper end", high, case.high, 1e-9);
    }
    Ok(())
}
