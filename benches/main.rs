//! Benchmarks of the operations on synthetic data of the size of a real study: `cargo bench --bench ops [NAME]`.
//!
//! The native path always runs. A GPU runs too where there is a real one; a software adapter says nothing about GPUs and
//! is left out. Useful FLOP are counted: the triangle of a correlation, not the square. `gemm` is what the GEMM crate
//! (`matrixmultiply`) does on all threads, each with a product of its own: what shares of its rate refer to.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::{Array1, Array2, ArrayView1};
use neurosieve::Labels;
use neurosieve::analysis::dissection::{Side, Threshold, dissect};
use neurosieve::analysis::sample_sets::SampleSets;
use neurosieve::gpu::{Choice, choose};
use neurosieve::ops::ablation::{self, Masks};
use neurosieve::ops::correlation::correlation;
use neurosieve::ops::curvature::{self, Terms, curvature};
use neurosieve::ops::moments::{moments, standardise};
use neurosieve::ops::probe::{self, Design, Problem};
use neurosieve::ops::quadratic::{self, Programme};
use neurosieve::ops::sweep::{Params, sweep};
use neurosieve::ops::{Backend, product, roofs};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Samples of train and of test, neurons and classes of the study that the figures in the documents are about.
const TRAIN: usize = 4_992;
const TEST: usize = 1_196;
const NEURONS: usize = 2_688;
const CLASSES: usize = 16;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let backends = backends();
    bench_gemm(&mut criterion);
    bench_moments(&mut criterion, &backends);
    bench_correlation(&mut criterion, &backends);
    bench_products(&mut criterion);
    bench_probes(&mut criterion, &backends);
    bench_folds(&mut criterion, &backends);
    bench_sweep(&mut criterion, &backends);
    bench_ablation(&mut criterion, &backends);
    bench_curvature(&mut criterion, &backends);
    bench_quadratic(&mut criterion, &backends);
    bench_dissection(&mut criterion);
    criterion.final_summary();
}

/// The native path, and the best real GPU where there is one, with their names.
fn backends() -> Vec<(String, Backend)> {
    let native = format!("cpu, {} threads", rayon::current_num_threads());
    let mut backends = vec![(native, Backend::Cpu)];
    if let Ok(Choice::Gpu { gpu, .. }) = choose("gpu") {
        backends.push((gpu.report().name.clone(), Backend::Gpu(gpu)));
    }
    backends
}

/// Neurons that share a component, with means of both signs: what matters to speed is only their number.
fn activations(samples: usize, neurons: usize) -> Array2<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut x = Array2::zeros((samples, neurons));
    for mut row in x.rows_mut() {
        let common: f32 = random.random_range(-1.0..1.0);
        for value in &mut row {
            *value = 0.3 * common + random.random_range(-1.0f32..1.5);
        }
    }
    x
}

fn labels(samples: usize) -> Labels {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let ids = (0..samples)
        .map(|_| random.random_range(0..CLASSES as u32))
        .collect();
    let names = (0..CLASSES).map(|class| class.to_string()).collect();
    Labels::new(ids, names).expect("every id has a name")
}

fn bench_gemm(criterion: &mut Criterion) {
    const SIDE: usize = 512;
    let factors = || (activations(SIDE, SIDE), activations(SIDE, SIDE));
    let pairs: Vec<_> = (0..rayon::current_num_threads())
        .map(|_| factors())
        .collect();
    let mut group = criterion.benchmark_group("gemm");
    let flop = 2 * SIDE.pow(3) * pairs.len();
    group.throughput(Throughput::Elements(flop as u64));
    group.bench_function("512 x 512 a thread, FLOP", |bench| {
        bench.iter(|| roofs::products(black_box(&pairs)));
    });
    group.finish();
}

fn bench_moments(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    let (x, y) = (activations(TRAIN, NEURONS), labels(TRAIN));
    let mut group = criterion.benchmark_group("moments");
    group.throughput(Throughput::Bytes((TRAIN * NEURONS * 4) as u64));
    for (name, backend) in backends {
        group.bench_function(BenchmarkId::new("of classes", name), |bench| {
            bench.iter(|| moments(backend, black_box(x.view()), Some(&y)).expect("moments"));
        });
    }
    let native = Backend::Cpu;
    let known = moments(&native, x.view(), None).expect("moments");
    let columns: Vec<usize> = (0..NEURONS).collect();
    group.bench_function("standardise", |bench| {
        bench.iter(|| standardise(&native, black_box(x.view()), &known, &columns).expect("z"));
    });
    group.finish();
}

fn bench_correlation(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    let mut group = criterion.benchmark_group("correlation");
    for (samples, neurons) in [(TEST, 768), (TRAIN, NEURONS)] {
        let x = activations(samples, neurons);
        let known = moments(&Backend::Cpu, x.view(), None).expect("moments");
        group.throughput(Throughput::Elements(
            (samples * neurons * (neurons + 1)) as u64,
        ));
        for (name, backend) in backends {
            let size = format!("{samples} x {neurons}, {name}");
            group.bench_function(BenchmarkId::new("useful FLOP", size), |bench| {
                bench.iter(|| correlation(backend, black_box(x.view()), &known).expect("r"));
            });
        }
    }
    group.finish();
}

/// The two products of a pass over the activations, natively.
fn bench_products(criterion: &mut Criterion) {
    let x = activations(TRAIN, NEURONS);
    let mut group = criterion.benchmark_group("product");
    for columns in [1, 2, 4, 8, 64, 512] {
        let (w, r) = (activations(NEURONS, columns), activations(TRAIN, columns));
        let flop = 2 * TRAIN * NEURONS * columns;
        group.throughput(Throughput::Elements(flop as u64));
        group.bench_function(BenchmarkId::new("X W, FLOP", columns), |bench| {
            bench.iter(|| product::forward(black_box(x.view()), w.view()).expect("fits"));
        });
        group.bench_function(BenchmarkId::new("X' R, FLOP", columns), |bench| {
            bench.iter(|| product::backward(black_box(x.view()), r.view()).expect("fits"));
        });
    }
    group.finish();
}

/// Four penalties for each of four tasks on one layer's neurons, to a relative gap of 1e-3.
fn bench_probes(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    const LAYER: usize = 384;
    let x = activations(TRAIN, LAYER);
    let known = moments(&Backend::Cpu, x.view(), None).expect("moments");
    let columns: Vec<usize> = (0..LAYER).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &known, &columns).expect("a design");
    // What a task asks for is in some neurons, and in noise.
    let task = |first: usize| {
        let class = |row: ArrayView1<'_, f32>| {
            let of = |c: usize| row[(first + c) % LAYER] + 0.5 * row[(first + 7 * c + 1) % LAYER];
            let largest = (0..CLASSES).max_by(|&a, &b| of(a).total_cmp(&of(b)));
            largest.expect("there are classes") as u32
        };
        let names = (0..CLASSES).map(|class| class.to_string()).collect();
        Labels::new(x.rows().into_iter().map(class).collect(), names).expect("named")
    };
    let tasks: Vec<Labels> = (0..4).map(|t| task(90 * t)).collect();
    let params = probe::Params::default();
    let of_tasks: Vec<Problem<'_>> = tasks.iter().map(|t| Problem::new(t, 0.0, 0.0)).collect();
    let largest = probe::lambda_max(&design, &of_tasks, params.scale);
    let largest = largest.expect("every task has a largest penalty");
    let problems: Vec<Problem<'_>> = tasks
        .iter()
        .zip(largest)
        .flat_map(|(task, l)| [0.3, 0.1, 0.03, 0.01].map(|s| Problem::new(task, s * l, s * l)))
        .collect();
    let mut group = criterion.benchmark_group("probe");
    for (name, backend) in backends {
        group.bench_function(BenchmarkId::new("16 problems", name), |bench| {
            bench.iter(|| {
                probe::fit(backend, black_box(&design), &problems, &params, &mut |_| {})
                    .expect("fits")
            });
        });
    }
    group.finish();
}

/// A cross-validation: every penalty's probe on all samples but those of a fold, for each fold.
fn bench_folds(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    const FOLDS: usize = 5;
    const PENALTIES: i32 = 10;
    let x = activations(TRAIN, NEURONS);
    let class = |row: ArrayView1<'_, f32>| u32::from(row[0] > 0.5) + 2 * u32::from(row[1] > 0.5);
    let ids = x.rows().into_iter().map(class);
    let names = (0..4).map(|class| class.to_string()).collect();
    let y = Labels::new(ids.collect(), names).expect("every id has a name");
    let known = moments(&Backend::Cpu, x.view(), None).expect("moments");
    let columns: Vec<usize> = (0..NEURONS).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &known, &columns).expect("a design");
    let without = |fold: usize| -> Vec<f64> {
        let kept = |sample: usize| sample % FOLDS != fold;
        (0..TRAIN).map(|i| f64::from(u8::from(kept(i)))).collect()
    };
    let weights: Vec<Vec<f64>> = (0..FOLDS).map(without).collect();
    let params = probe::Params::default();
    let whole = [Problem::new(&y, 0.0, 0.0)];
    let largest = probe::lambda_max(&design, &whole, params.scale).expect("a penalty")[0];
    let of_fold = |weights| {
        let penalties = (1..=PENALTIES).map(|step| largest * 0.8f64.powi(step));
        let y = &y;
        penalties.map(move |lambda| Problem {
            weights: Some(weights),
            ..Problem::new(y, lambda, lambda)
        })
    };
    let problems: Vec<Problem<'_>> = weights.iter().flat_map(|w| of_fold(w)).collect();
    let mut group = criterion.benchmark_group("folds");
    group.throughput(Throughput::Elements(problems.len() as u64));
    for (name, backend) in backends {
        group.bench_function(BenchmarkId::new("probes", name), |bench| {
            bench.iter(|| {
                probe::fit(backend, black_box(&design), &problems, &params, &mut |_| {})
                    .expect("fits")
            });
        });
    }
    group.finish();
}

/// A hundred masks that keep a random half of the neurons.
fn bench_ablation(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    const MASKS: usize = 100;
    let (x, y) = (activations(TEST, NEURONS), labels(TEST));
    let weights = activations(CLASSES, NEURONS);
    let bias = Array1::zeros(CLASSES);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut masks = Masks::new(NEURONS);
    for _ in 0..MASKS {
        let kept: Vec<usize> = (0..NEURONS).filter(|_| random.random_bool(0.5)).collect();
        masks.push(&kept).expect("neurons that there are");
    }
    let params = ablation::Params {
        weights: weights.view(),
        bias: bias.view(),
        ablated: &[0.0; NEURONS],
        masks: &masks,
    };
    let mut group = criterion.benchmark_group("ablation");
    // Half of the terms a mask, added.
    let flop = TEST * NEURONS * CLASSES * MASKS;
    group.throughput(Throughput::Elements(flop as u64));
    for (name, backend) in backends {
        group.bench_function(BenchmarkId::new("100 masks, FLOP", name), |bench| {
            bench.iter(|| {
                ablation::ablation(backend, black_box(x.view()), &y, &params).expect("counts")
            });
        });
    }
    group.finish();
}

fn bench_sweep(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    let (x, y) = (activations(TEST, NEURONS), labels(TEST));
    let weights = activations(CLASSES, NEURONS);
    let bias = Array1::zeros(CLASSES);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let orderings: Vec<Vec<usize>> = (0..4)
        .map(|_| {
            let mut order: Vec<usize> = (0..NEURONS).collect();
            order.shuffle(&mut random);
            order
        })
        .collect();
    let params = Params {
        weights: weights.view(),
        bias: bias.view(),
        ablated: &[0.0; NEURONS],
        orderings: &orderings,
        by_class: false,
    };
    let mut group = criterion.benchmark_group("sweep");
    group.throughput(Throughput::Elements(
        (2 * TEST * NEURONS * CLASSES * orderings.len()) as u64,
    ));
    for (name, backend) in backends {
        group.bench_function(BenchmarkId::new("four orderings, FLOP", name), |bench| {
            bench.iter(|| sweep(backend, black_box(x.view()), &y, &params).expect("curves"));
        });
    }
    group.finish();
}

/// Every neuron against 500 concepts: words of bits that are compared.
fn bench_dissection(criterion: &mut Criterion) {
    const CONCEPTS: usize = 500;
    let x = activations(TRAIN, NEURONS);
    let moments = moments(&Backend::Cpu, x.view(), None).expect("moments");
    let mut concepts = SampleSets::new(TRAIN).expect("there are samples");
    for concept in 0..CONCEPTS {
        concepts.push(|sample| sample % (concept + 2) == 0);
    }
    let thresholds = [Threshold {
        quantile: 0.05,
        side: Side::Above,
    }];
    let mut group = criterion.benchmark_group("dissection");
    let words = NEURONS * CONCEPTS * TRAIN.div_ceil(64);
    group.throughput(Throughput::Elements(words as u64));
    group.bench_function("500 concepts, words", |bench| {
        bench.iter(|| {
            dissect(black_box(x.view()), &moments, &concepts, &thresholds).expect("pairs")
        });
    });
    group.finish();
}

/// A Newton step's Hessians: of one column and of sixteen classes, fourteen terms a weight. On a GPU the samples go there each time.
fn bench_curvature(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    const WEIGHTS: usize = 1_600;
    let x = activations(TRAIN, NEURONS);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut group = criterion.benchmark_group("curvature");
    for classes in [1, CLASSES] {
        let each = WEIGHTS / classes;
        let rows: Vec<Vec<usize>> = vec![(0..each).collect(); classes];
        let pairs = (0..classes).flat_map(|a| (a..classes).map(move |b| (a, b)));
        let pairs: Vec<_> = pairs.filter(|(a, b)| classes == 1 || a != b).collect();
        let count = 14 * WEIGHTS / pairs.len();
        let terms: Vec<Terms> = pairs
            .into_iter()
            .map(|(a, b)| {
                let mut samples: Vec<u32> = (0..count)
                    .map(|_| random.random_range(0..TRAIN as u32))
                    .collect();
                samples.sort_unstable();
                let weights = (0..count).map(|_| random.random_range(0.0..1.0)).collect();
                Terms {
                    a,
                    b,
                    samples,
                    weights,
                }
            })
            .collect();
        let flop = curvature::cost(&rows, &terms);
        group.throughput(Throughput::Elements(flop as u64));
        for (name, backend) in backends {
            let size = format!("{WEIGHTS} weights, {classes} columns, {name}");
            group.bench_function(BenchmarkId::new("Hessian, FLOP", size), |bench| {
                bench.iter(|| curvature(backend, x.view(), &rows, black_box(&terms)).expect("H"));
            });
        }
    }
    group.finish();
}

/// A Newton step's programmes: H of twice as many terms as entries, sixteen blocks, a third of the entries away from zero.
fn bench_quadratic(criterion: &mut Criterion, backends: &[(String, Backend)]) {
    const ENTRIES: usize = 1_600;
    let rows = activations(2 * ENTRIES, ENTRIES);
    let h = rows.t().dot(&rows) / rows.nrows() as f32;
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let g: Vec<f64> = (0..ENTRIES)
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    let h = h.as_standard_layout();
    let blocks: Vec<usize> = (0..=CLASSES).map(|c| c * ENTRIES / CLASSES).collect();
    let programme = Programme {
        h: h.as_slice().expect("a standard array"),
        g: &g,
        w: &[0.0; ENTRIES],
        l1: &[0.5; ENTRIES],
        mu: &[0.05; ENTRIES],
        scale: &[1.0; ENTRIES],
        blocks: &blocks,
        tolerance: 1e-3,
        steps: 160,
    };
    let mut group = criterion.benchmark_group("quadratic");
    for (name, backend) in backends {
        for copies in [1, 8] {
            let programmes = vec![programme.clone(); copies];
            let size = format!("{copies} x {ENTRIES} entries, {name}");
            group.bench_function(BenchmarkId::new("programmes", size), |bench| {
                bench.iter(|| quadratic::solve(backend, black_box(&programmes)).expect("u"));
            });
        }
    }
    group.finish();
}
