//! What a neuron is shown with, and the map of all of them: beside plain definitions.

use ndarray::Array2;
use neurosieve::activations::LayerMap;
use neurosieve::analysis::correlation_map::{between_layers, correlation_map, partners};
use neurosieve::analysis::excerpts::excerpts;
use neurosieve::analysis::redundancy::{Dendrogram, Distance, Linkage, dendrogram};
use neurosieve::ops::correlation::{Correlation, Params, Side, Wanted, correlation, scan};
use neurosieve::ops::moments::moments;
use neurosieve::split::Tokens;
use neurosieve::{Activations, Backend};
use rand::RngExt;

use crate::support::{activations, assert_close, random};

fn correlated(neurons: usize, seed: u64) -> (Array2<f32>, Correlation, Dendrogram) {
    let x = activations(60, neurons, seed);
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let r = correlation(&Backend::Cpu, x.view(), &found).unwrap();
    let tree = dendrogram(&r, Linkage::Average, Distance::OneMinusAbs).unwrap();
    (x, r, tree)
}

#[test]
fn leaves_are_all_neurons_and_the_clusters_of_every_cut_stand_together() {
    for (neurons, seed) in [(1, 1), (2, 2), (3, 3), (40, 4), (97, 5)] {
        let (_, _, tree) = correlated(neurons, seed);
        let leaves = tree.leaves();
        let mut sorted = leaves.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..neurons).collect::<Vec<_>>());
        for threshold in [0.1, 0.3, 0.5, 0.7, 0.9, 1.0] {
            let clusters = tree.cut(threshold);
            let labels: Vec<u32> = leaves.iter().map(|&n| clusters.labels[n]).collect();
            let changes = labels.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert_eq!(
                changes + 1,
                clusters.count,
                "{neurons} neurons at {threshold}"
            );
        }
        let last = tree.merges().last().map(|merge| merge.clusters[0]);
        if let Some(first) = last.filter(|&cluster| cluster < neurons) {
            assert_eq!(leaves[0], first, "the first of a merge is left");
        }
    }
}

#[test]
fn the_map_has_the_mean_size_of_every_pair_of_groups() {
    for (neurons, most) in [(1, 4), (5, 5), (37, 8), (37, 100)] {
        let (_, r, tree) = correlated(neurons, 7);
        let map = correlation_map(&r, &tree, most).unwrap();
        let groups = neurons.min(most);
        assert_eq!(map.order, tree.leaves());
        assert_eq!(map.bounds.len(), groups + 1);
        let sizes: Vec<usize> = map
            .bounds
            .windows(2)
            .map(|ends| ends[1] - ends[0])
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), neurons);
        assert!(
            sizes
                .iter()
                .all(|&size| size == neurons / groups || size == neurons.div_ceil(groups))
        );
        let mut means = map.mean.iter();
        for g in 0..groups {
            for h in g..groups {
                let of = |at: usize| &map.order[map.bounds[at]..map.bounds[at + 1]];
                let pairs = of(g)
                    .iter()
                    .flat_map(|&a| of(h).iter().map(move |&b| (a, b)));
                let pairs: Vec<(usize, usize)> = pairs.filter(|(a, b)| a != b).collect();
                let sum: f64 = pairs
                    .iter()
                    .map(|&(a, b)| f64::from(r.get(a, b).abs()))
                    .sum();
                let mean = if pairs.is_empty() {
                    1.0
                } else {
                    sum / pairs.len() as f64
                };
                assert_close("mean |r|", *means.next().unwrap(), mean, 1e-12);
            }
        }
        assert!(means.next().is_none());
    }
    let (_, r, _) = correlated(5, 7);
    let (_, _, other) = correlated(6, 7);
    assert!(correlation_map(&r, &other, 4).is_err());
    assert!(
        correlation_map(
            &r,
            &dendrogram(&r, Linkage::Single, Distance::OneMinus).unwrap(),
            0
        )
        .is_err()
    );
}

#[test]
fn pairs_of_layers_are_what_a_scan_says_of_them() {
    let (x, r, _) = correlated(30, 11);
    let layer: Vec<u32> = (0..30)
        .map(|n| [2, 3, 7][usize::from(n > 0) + usize::from(n > 12)])
        .collect();
    let map = LayerMap::new(layer, (0..30).collect()).unwrap();
    let found = between_layers(&r, &map).unwrap();
    let x = Activations::new(x, map.clone()).unwrap();
    let of = moments(&Backend::Cpu, x.view(), None).unwrap();
    let side = Side {
        rows: &x,
        moments: &of,
    };
    let wanted = Wanted {
        layers: Some([&map, &map]),
        ..Wanted::default()
    };
    let scanned = scan(&Backend::Cpu, side, None, &wanted, &Params::default()).unwrap();
    let scanned = scanned.layers.unwrap();
    assert_eq!(found.pairs, scanned.pairs);
    assert_eq!(found.largest, scanned.largest);
    assert_eq!(found.pairs[(0, 0)], 0, "one neuron has no pair");
    assert!(found.mean[(1, 2)] > 0.0);
    for (ours, theirs) in found.mean.iter().zip(&scanned.mean) {
        assert_close("mean |r|", *ours, *theirs, 1e-12);
    }
    let fewer = LayerMap::uniform(1, 29).unwrap();
    assert!(between_layers(&r, &fewer).is_err());
}

#[test]
fn partners_are_the_strongest_others_in_either_direction() {
    let (_, r, _) = correlated(20, 13);
    for neuron in 0..20 {
        let found = partners(&r, neuron, 4);
        assert_eq!(found.len(), 4);
        assert!(found.windows(2).all(|p| p[0].1.abs() >= p[1].1.abs()));
        for &(other, size) in &found {
            assert_eq!(r.get(neuron, other), size);
        }
        let weakest = found[3].1.abs();
        let stronger = (0..20).filter(|&n| n != neuron && r.get(neuron, n).abs() > weakest);
        let there = |n: usize| found.iter().any(|other| other.0 == n);
        assert!(stronger.into_iter().all(there), "none is passed over");
    }
    assert_eq!(partners(&r, 0, 100).len(), 19);
    let equal = Correlation {
        neurons: 3,
        packed: vec![-0.5, 0.5, 0.1],
    };
    assert_eq!(partners(&equal, 0, 2), [(1, -0.5), (2, 0.5)], "ties by id");
}

/// Sentences of 1 to 9 words of a small vocabulary, some of them twice.
fn tokens(samples: usize, seed: u64) -> Tokens {
    let mut random = random(seed);
    let mut found = Tokens::default();
    let mut sentence = 3;
    while found.words.len() < samples {
        let length = random
            .random_range(1..=9_usize)
            .min(samples - found.words.len());
        for _ in 0..length {
            found.words.push(format!("w{}", random.random_range(0..3)));
            found.sentences.push(sentence);
        }
        sentence += 2;
    }
    found
}

#[test]
fn excerpts_are_the_sentences_of_the_largest_deviations() {
    let mut x = activations(200, 6, 17);
    x.column_mut(5).fill(0.25);
    let tokens = tokens(200, 19);
    let of = moments(&Backend::Cpu, x.view(), None).unwrap();
    let (most, window) = (5, 4);
    let found = excerpts(x.view(), &of, &tokens, &[1, 0, 5], most, window).unwrap();
    assert!(found[2].is_empty(), "it does not vary");
    for (neuron, excerpts) in [(1, &found[0]), (0, &found[1])] {
        let z: Vec<f64> = x
            .column(neuron)
            .iter()
            .map(|&v| (f64::from(v) - of.mean[neuron]) / of.sd[neuron])
            .collect();
        assert_eq!(excerpts.len(), most);
        let mut peaks = Vec::new();
        for excerpt in excerpts {
            let rows = excerpt.rows.clone();
            assert!(rows.len() <= window && excerpt.z == z[rows.clone()]);
            let whole: Vec<usize> = (0..200)
                .filter(|&row| tokens.sentences[row] == excerpt.sentence)
                .collect();
            let (first, last) = (whole[0], whole[whole.len() - 1]);
            assert_eq!(excerpt.cut, [rows.start > first, rows.end <= last]);
            assert_eq!(
                rows.len(),
                window.min(whole.len()),
                "no more is cut than has to be"
            );
            let peak = whole.iter().map(|&row| z[row].abs()).fold(0.0, f64::max);
            assert!(
                rows.into_iter().any(|row| z[row].abs() == peak),
                "the strongest is shown"
            );
            peaks.push((peak, excerpt.sentence));
        }
        assert!(peaks.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        let shown = |words: &[String]| {
            excerpts
                .iter()
                .any(|e| tokens.words[e.rows.clone()] == *words)
        };
        // Whatever is passed over is weaker, or repeats the words of one that is shown.
        for (row, z) in z.iter().enumerate() {
            let stronger = z.abs() > peaks[most - 1].0;
            let there = peaks.iter().any(|peak| peak.1 == tokens.sentences[row]);
            if stronger && !there {
                let sentence: Vec<usize> = (0..200)
                    .filter(|&r| tokens.sentences[r] == tokens.sentences[row])
                    .collect();
                let words = &tokens.words[sentence[0]..=sentence[sentence.len() - 1]];
                assert!(
                    words.windows(window.min(words.len())).any(shown),
                    "{words:?}"
                );
            }
        }
    }
}

#[test]
fn excerpts_of_other_data_are_refused() {
    let x = activations(20, 3, 23);
    let of = moments(&Backend::Cpu, x.view(), None).unwrap();
    let right = tokens(20, 29);
    assert!(excerpts(x.view(), &of, &right, &[0], 2, 4).is_ok());
    for wrong in [
        excerpts(x.view(), &of, &tokens(19, 29), &[0], 2, 4),
        excerpts(x.view(), &of, &right, &[3], 2, 4),
        excerpts(x.view(), &of, &right, &[0], 2, 0),
    ] {
        assert!(wrong.unwrap_err().to_string().contains("excerpts"));
    }
}
