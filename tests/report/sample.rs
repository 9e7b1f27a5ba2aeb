//! Results of a study that never ran, with hostile names.

use std::collections::BTreeMap;

use neurosieve::analysis::selection::Rule;
use neurosieve::analysis::selectivity::SampleFrom;
use neurosieve::study::results::*;

/// Text that would be markup if it were not escaped.
pub const HOSTILE: &str = "<script>alert('&\"')</script>";
pub const WORD: &str = "\"><img src=x onerror=alert(1)>,\n`${x}`{{ 7 * 7 }}";

fn parts<T>(train: T, dev: T, test: T) -> Parts<T> {
    Parts { train, dev, test }
}

fn certificate(converged: bool) -> CertificateRecord {
    CertificateRecord {
        kkt: 1e-6,
        kkt_relative: 1e-5,
        duality_gap: 2e-7,
        relative_gap: 4e-7,
        passes: 37.5,
        converged,
        certified_zeros: 9,
        certified_nonzeros: 3,
    }
}

pub fn paired(difference: f64, interval: [f64; 2], p: f64) -> Paired {
    Paired {
        only_oracle: 3,
        only_other: 1,
        difference,
        interval,
        p,
        p_holm: p,
    }
}

fn layer(layer: u32, accuracy: f64) -> LayerPoint {
    LayerPoint {
        layer,
        neurons: 2,
        l1: 0.01,
        dev_accuracy: accuracy,
        test_accuracy: accuracy - 0.02,
        test_interval: [accuracy - 0.1, accuracy + 0.05],
        selectivity: Some(0.3),
        certificate: certificate(true),
    }
}

fn sweep(ranking: &str, direction: &str) -> SweepResult {
    SweepResult {
        ranking: ranking.to_owned(),
        direction: direction.to_owned(),
        ablation: "mean".to_owned(),
        k: vec![0, 1, 2, 3, 4],
        correct: vec![10.0, 12.0, 20.0, 25.0, 27.0],
        accuracy: [10.0, 12.0, 20.0, 25.0, 27.0].map(|c| c / 30.0).to_vec(),
        total: 30,
        draws: 1,
    }
}

pub fn minimal(ranking: &str, delta: f64, against_oracle: Paired) -> MinimalSet {
    MinimalSet {
        ranking: ranking.to_owned(),
        delta,
        search: "geometric ladder".to_owned(),
        size: 2,
        neurons: vec![3, 0],
        dev_accuracy: 0.9,
        test_accuracy: 0.88,
        test_interval: [0.7, 0.95],
        against_oracle,
        selectivity: Some(SetSelectivity {
            accuracies: vec![0.3, 0.375],
            control_accuracy: 0.3375,
            value: 0.5425,
            interval: Some([0.2125, 0.8725]),
            spread: 0.0375,
            certificates: vec![certificate(true), certificate(true)],
        }),
        ladder: [(1, 0.5), (2, 0.9)]
            .map(|(size, dev_accuracy)| Rung { size, dev_accuracy })
            .to_vec(),
        certificate: certificate(true),
    }
}

fn salient() -> Salient {
    let word = |word: &str, z| TopWord {
        word: word.to_owned(),
        score: 1.0,
        z,
        count: 4,
    };
    Salient {
        mass: 0.5,
        per_class: vec![vec![3], vec![0]],
        by_class_layer: vec![vec![0, 1], vec![1, 0]],
        by_layer: vec![1, 1],
        neurons: vec![SalientNeuron {
            neuron: 3,
            layer: 1,
            unit: 9,
            rank: 1,
            classes: vec![ClassWeight {
                class: HOSTILE.to_owned(),
                weight: -0.5,
            }],
            top_words: vec![word(WORD, -2.0), word("plain", 1.5)],
        }],
    }
}

fn point(l1: f64, dev_accuracy: f64) -> LambdaPoint {
    LambdaPoint {
        l1,
        l2: 0.0,
        dev_accuracy,
        dev_log_loss: 0.3,
        lca_score: None,
        train_accuracy: 0.95,
        nonzero_weights: 5,
        certificate: certificate(l1 > 0.02),
    }
}

fn combined() -> Combined {
    Combined {
        delta: 0.01,
        set_delta: 0.01,
        threshold: 0.5,
        layer: 1,
        layer_neurons: 4,
        clusters: 3,
        clusters_dev_accuracy: 0.9,
        size: 2,
        neurons: vec![3, 0],
        dev_accuracy: 0.9,
        test_accuracy: 0.5,
        test_interval: [0.3, 0.7],
        against_oracle: paired(-0.4, [-0.6, -0.2], 0.0004),
        certificate: certificate(true),
    }
}

pub fn disjoint(exhausted: bool) -> DisjointSets {
    let set = |neurons: Vec<usize>| DisjointSet {
        size: neurons.len(),
        neurons,
        dev_accuracy: 0.9,
        test_accuracy: 0.88,
        test_interval: [0.7, 0.95],
        against_oracle: paired(-0.02, [-0.12, 0.08], 0.625),
        certificate: certificate(true),
    };
    DisjointSets {
        ranking: "lca".to_owned(),
        delta: 0.01,
        required: 0.896,
        sets: vec![set(vec![3, 0]), set(vec![1])],
        exhausted,
        left: 1,
        best_left: exhausted.then_some(0.61),
    }
}

fn stability() -> Stability {
    let beside = |observed, chance| Beside { observed, chance };
    Stability {
        ranking: "lca".to_owned(),
        delta: 0.01,
        size: 2,
        draws: 8,
        units: "sentences".to_owned(),
        candidates: 3,
        threshold: 0.5,
        neurons: vec![3, 0],
        frequency: vec![1.0, 0.625],
        equivalent_frequency: vec![1.0, 0.75],
        mean_frequency: beside(0.8125, 0.667),
        mean_equivalent_frequency: beside(0.875, 0.7),
        overlap: beside(0.83, 0.667),
        equivalent_overlap: beside(0.9, 0.7),
        jaccard: beside(0.71, 0.5),
    }
}

pub fn random_sets(as_good: usize, p: f64) -> RandomSets {
    let around = |mean| Distribution {
        mean,
        lowest: mean - 0.1,
        highest: mean + 0.05,
    };
    RandomSets {
        ranking: "lca".to_owned(),
        delta: 0.01,
        size: 2,
        draws: 20,
        set_dev_accuracy: 0.9,
        dev: around(0.86),
        as_good,
        sufficient: 7,
        p,
        set_test_accuracy: 0.88,
        test: around(0.84),
    }
}

fn task(name: &str) -> TaskResults {
    let class = |name: &str| ClassSummary {
        name: name.to_owned(),
        samples: parts(20, 10, 15),
        test_recall: Some(0.9),
    };
    let ranking = RankingResult {
        order: vec![3, 0, 1, 2],
        scores: vec![0.4, 0.3, 0.2, 0.9],
        per_class: BTreeMap::from([(HOSTILE.to_owned(), vec![3, 0, 1, 2])]),
    };
    TaskResults {
        name: name.to_owned(),
        classes: vec![class(HOSTILE), class("other")],
        majority_accuracy: 0.5,
        above_chance: true,
        oracle: Oracle {
            rule: Rule::Accuracy,
            l1: 0.01,
            l2: 0.001,
            train_accuracy: 0.96,
            dev_accuracy: 0.905,
            test_accuracy: 0.9,
            test_interval: [0.7432, 0.9654],
            objective: 0.3,
            nonzero_weights: 5,
            neurons_used: 4,
            certificate: certificate(true),
        },
        lambda_path: vec![point(0.1, 0.7), point(0.01, 0.905)],
        layers: LayerCurves {
            independent: vec![layer(0, 0.8), layer(1, 0.85)],
            cumulative: vec![layer(0, 0.8), layer(1, 0.905)],
        },
        layer_selection: vec![LayerSelection {
            delta: 0.01,
            layer: 1,
            neurons: 4,
            dev_accuracy: 0.905,
            test_accuracy: 0.9,
        }],
        rankings: BTreeMap::from([("lca".to_owned(), ranking)]),
        sweeps: vec![
            sweep("lca", "keep-top"),
            sweep("lca", "keep-bottom"),
            sweep("random", "keep-top"),
        ],
        minimal_sets: vec![
            minimal("lca", 0.01, paired(-0.02, [-0.12, 0.08], 0.625)),
            minimal("lca", 0.03, paired(-0.02, [-0.02, 0.0], 0.5)),
        ],
        disjoint: vec![disjoint(true)],
        stability: vec![stability()],
        random_sets: vec![random_sets(9, 0.476)],
        combined: vec![combined()],
        control: Some(Control {
            draws: 2,
            from: SampleFrom::Same,
            accuracies: vec![0.4, 0.5],
            certificates: vec![certificate(true), certificate(true)],
            accuracy: 0.45,
            selectivity: 0.45,
            interval: Some([0.1, 0.8]),
            spread: 0.05,
            seen_in_train: 0.8,
        }),
        salient: salient(),
    }
}

fn cut(threshold: f64) -> ClusterCut {
    ClusterCut {
        threshold,
        count: 3,
        labels: vec![0, 1, 1, 2],
        representatives: vec![0, 1, 3],
        size_histogram: [
            ("1", 2, 2),
            ("2", 1, 2),
            ("3-5", 0, 0),
            ("6-10", 0, 0),
            (">10", 0, 0),
        ]
        .map(|(size, clusters, neurons)| SizeBin {
            size: size.to_owned(),
            clusters,
            neurons,
        })
        .to_vec(),
        window_histogram: vec![2, 1],
    }
}

fn explored() -> Explored {
    let excerpt = |sentence, words: &[&str], z: &[f64]| ExcerptRecord {
        sentence,
        cut_before: sentence == 2,
        cut_after: false,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        z: z.to_vec(),
    };
    let neuron = |neuron: usize, layer, unit| ExploredNeuron {
        neuron,
        layer,
        unit,
        mean: 0.1 + neuron as f64,
        sd: 0.7,
        low: -1.5,
        high: 2.25,
        partners: vec![
            Correlated {
                neuron: 1,
                r: -0.93,
            },
            Correlated { neuron: 2, r: 0.0 },
        ],
        top_words: vec![TopWord {
            word: WORD.to_owned(),
            score: 1.0,
            z: -2.0,
            count: 4,
        }],
        excerpts: vec![
            excerpt(1, &[HOSTILE, "plain"], &[-3.25, 0.5]),
            excerpt(2, &[WORD], &[2.5]),
        ],
        tasks: vec![
            NeuronOfTask {
                weights: vec![0.1 - neuron as f32, -0.625],
                counts: vec![vec![1, 2, 17], vec![8, 10, 2]],
            };
            2
        ],
    };
    Explored {
        most: 200,
        wanted: 2,
        neurons: vec![neuron(3, 1, 9), neuron(0, 0, 5)],
    }
}

fn redundancy() -> Redundancy {
    let pair = |a, b, mean, largest| LayerPair {
        layers: [a, b],
        pairs: if a == b { 1 } else { 4 },
        mean,
        largest,
    };
    Redundancy {
        map: MapRecord {
            order: vec![0, 3, 1, 2],
            bounds: vec![0, 1, 2, 4],
            mean: vec![1.0, 0.62, 0.05, 1.0, 0.11, 0.48],
        },
        layers: vec![
            pair(0, 0, 0.31, 0.31),
            pair(0, 1, 0.125, 0.93),
            pair(1, 1, 0.0, 0.0),
        ],
    }
}

pub fn results() -> StudyResults {
    StudyResults {
        schema_version: SCHEMA_VERSION,
        name: format!("study of {HOSTILE}"),
        spec: None,
        neurosieve_version: "0.1.0".to_owned(),
        seed: 7,
        device: DeviceUsed {
            kind: "gpu".to_owned(),
            name: format!("adapter {HOSTILE}"),
            driver: "driver 1.2".to_owned(),
            reason: "asked for".to_owned(),
            validation: Vec::new(),
        },
        data: DataSummary {
            samples: parts(40, 20, 30),
            files: parts("a&b<c>.safetensors", "dev", "test").map_text(),
            hashes: Some(parts("0af1", "1be2", "2cd3").map_text()),
            neurons: 4,
            layers: vec![0, 1],
            layer_of: vec![0, 0, 1, 1],
            unit_of: vec![5, 8, 5, 9],
            constant: vec![2],
            nearly_constant: Vec::new(),
            dead_layers: Vec::new(),
        },
        clustering: Clustering {
            precision: None,
            linkage: "average".to_owned(),
            distance: "1 - |r|".to_owned(),
            pairs_at_least: vec![PairCount { r: 0.3, pairs: 2 }],
        },
        clusters: vec![cut(0.3), cut(0.5)],
        redundancy: Some(redundancy()),
        explored: Some(explored()),
        tasks: vec![task("fine"), task("</script><b>coarse")],
        loss_claims: LossClaims { family: 5, rows: 8 },
        test_use: TestUse {
            evaluated: vec![Evaluated {
                task: "fine".to_owned(),
                what: "layers".to_owned(),
                probes: 4,
                evaluations: 4,
            }],
            probes: 4,
            choices_after: 0,
        },
        warnings: vec!["neuron 2 is constant".to_owned(), format!("odd: {WORD}")],
        timings: vec![Timing {
            step: "λ search".to_owned(),
            seconds: 1.25,
        }],
    }
}

trait MapText {
    fn map_text(self) -> Parts<String>;
}

impl MapText for Parts<&str> {
    fn map_text(self) -> Parts<String> {
        parts(self.train.into(), self.dev.into(), self.test.into())
    }
}
