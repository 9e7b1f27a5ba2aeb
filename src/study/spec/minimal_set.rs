//! Minimal neuron sets: how they are looked for, and how sure one wants to be of them.

use serde::{Deserialize, Deserializer, Serialize};

/// A neuron ordering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankingSpec {
    /// Linguistic correlation analysis: cumulative weight mass of the oracle (Dalvi et al. 2019).
    Lca,
    /// Differences of the class means, no probe (Antverg & Belinkov 2022).
    Probeless,
}

impl RankingSpec {
    /// The name that results use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lca => "lca",
            Self::Probeless => "probeless",
        }
    }
}

/// How the size of a set is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchSpec {
    /// Up the ladder.
    Ladder,
    /// Between a size that does not suffice and one that does.
    Bisection,
}

/// The sizes of a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LadderSpec {
    /// One of [`LadderSpec::NAMES`].
    Named(String),
    /// These.
    Sizes(Vec<usize>),
}

impl LadderSpec {
    /// The ladders that have a name.
    pub const NAMES: [&'static str; 4] = ["geometric", "reference", "fine", "max-features"];

    /// The largest size that it names.
    pub(in crate::study) fn largest(&self) -> usize {
        match self {
            Self::Named(_) => usize::MAX,
            Self::Sizes(sizes) => sizes.iter().copied().max().unwrap_or(0),
        }
    }
}

impl<'de> Deserialize<'de> for LadderSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = LadderSpec;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a ladder, or a list of sizes")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LadderSpec, E> {
                if LadderSpec::NAMES.contains(&name) {
                    Ok(LadderSpec::Named(name.to_owned()))
                } else {
                    Err(E::unknown_variant(name, &LadderSpec::NAMES))
                }
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                list: A,
            ) -> Result<LadderSpec, A::Error> {
                let sizes = serde::de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(sizes).map(LadderSpec::Sizes)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Minimal neuron sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinimalSetSpec {
    /// Loss on dev that is allowed, as a share of the oracle's accuracy.
    pub deltas: Vec<f64>,
    /// Orderings whose prefixes are retrained.
    pub rankings: Vec<RankingSpec>,
    /// How the size is looked for, here and in `combined`.
    pub search: SearchSpec,
    /// The sizes of a ladder.
    pub ladder: LadderSpec,
    /// The δ nearest to this is the one whose sets are examined: disjoint sets, resamples, random sets.
    pub examined_delta: f64,
    /// Sets without a common neuron to look for, the minimal set included; 0: none.
    pub disjoint: usize,
    /// Bootstrap resamples of train that rank again; 0: none.
    pub bootstrap: usize,
    /// Clustering threshold at which neurons stand in for one another.
    pub equivalent: f64,
    /// Random sets of the same size to compare with; 0: none.
    pub random_sets: usize,
    /// Duality gap ÷ objective at which probes of resamples and random sets have converged: what differs between them is
    /// far larger.
    pub relative_gap: f64,
}

impl Default for MinimalSetSpec {
    fn default() -> Self {
        Self {
            deltas: vec![0.03, 0.02, 0.01],
            rankings: vec![RankingSpec::Lca, RankingSpec::Probeless],
            search: SearchSpec::Ladder,
            ladder: LadderSpec::Named("geometric".to_owned()),
            examined_delta: 0.01,
            disjoint: 3,
            bootstrap: 10,
            equivalent: 0.5,
            random_sets: 20,
            relative_gap: 1e-3,
        }
    }
}
