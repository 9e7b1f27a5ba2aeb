"""Gaussian selection by brute force in NumPy, beside neurosieve's: seconds of some candidates, extrapolated to all.

python benches/peers_greedy.py DATA GREEDY.json [--candidates 16] > RESULT.json

GREEDY.json is what `cargo bench --bench greedy -- DATA TASK K` printed. For set sizes k of 1, 2, 5, 10, 25 and K the first
k − 1 of the neurons that neurosieve selected on train, and one candidate more, are scored as the papers' code does: means and
covariances of all classes over all neurons are there already, each candidate takes submatrices, Cholesky factors, solved
triangles and a log-sum-exp, in f64 (BLAS and LAPACK on as many threads as they take). Seconds a candidate at other sizes are
interpolated; all candidates of all steps are their sum. The neuron that neurosieve selected at each of these sizes is scored
as well: `largest_difference` is that of the log-likelihoods, relative. Needs numpy, scipy and safetensors.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import scipy
from safetensors.numpy import load_file
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

KAPPA = 0.01
parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path)
parser.add_argument("ours", type=Path)
parser.add_argument("--candidates", type=int, default=16)
arguments = parser.parse_args()
ours = json.loads(arguments.ours.read_text())
run = next(row for row in ours["rows"] if row["method"] == "gaussian" and row["scored_on"] == "train")
tensors = load_file(arguments.data / "train.safetensors")
x = tensors["activations"].astype(np.float64)
y = tensors.get("labels." + ours["task"], tensors["labels"])
varies = x.std(0) > 1e-6 * np.median(x.std(0))
z = (x - x.mean(0)) / np.where(varies, x.std(0), 1)

start = time.perf_counter()
classes = []
for c in np.unique(y):
    own = z[y == c]
    n, mean = len(own), own.mean(0)
    scatter = (own - mean).T @ (own - mean) + KAPPA * n / (KAPPA + n) * np.outer(mean, mean)
    scatter[np.diag_indices_from(scatter)] += 1
    classes.append((n, n * mean / (KAPPA + n), scatter))
once = time.perf_counter() - start
truth = np.searchsorted(np.unique(y), y)


def log_likelihood(columns):
    k = len(columns)
    seen, joint = z[:, columns], np.empty((len(y), len(classes)))
    for at, (n, mean, scatter) in enumerate(classes):
        factor = np.linalg.cholesky(scatter[np.ix_(columns, columns)] / (n + 2 * k + 4))
        apart = solve_triangular(factor, (seen - mean[columns]).T, lower=True, check_finite=False)
        joint[:, at] = np.log(n / len(y)) - 0.5 * (apart**2).sum(0) - np.log(np.diag(factor)).sum()
    return float((joint[np.arange(len(y)), truth] - logsumexp(joint, 1)).sum())


random = np.random.default_rng(0)
candidates = random.choice(np.flatnonzero(varies), arguments.candidates, replace=False)
sizes = sorted({k for k in (1, 2, 5, 10, 25, ours["select"]) if k <= ours["select"]})
seconds, processor, differences = [], [], []
for k in sizes:
    before = run["neurons"][: k - 1]
    times, used = [], time.process_time()
    for j in candidates:
        start = time.perf_counter()
        log_likelihood([*before, j])
        times.append(time.perf_counter() - start)
    processor.append((time.process_time() - used) / len(candidates))
    seconds.append(statistics.median(times))
    exact = log_likelihood(run["neurons"][:k])
    differences.append(abs(run["log_likelihood"][k - 1] / exact - 1))
all_sizes = np.arange(1, ours["select"] + 1)
left = varies.sum() - (all_sizes - 1)
total = float((np.interp(all_sizes, sizes, seconds) * left).sum()) + once
total_processor = float((np.interp(all_sizes, sizes, processor) * left).sum())
print(
    json.dumps(
        dict(
            numpy=np.__version__,
            scipy=scipy.__version__,
            sizes=sizes,
            candidates=arguments.candidates,
            seconds_a_candidate=seconds,
            means_and_covariances_seconds=once,
            extrapolated_seconds=total,
            times_as_long=total / run["seconds"]["median"],
            processor_seconds_a_candidate=processor,
            extrapolated_processor_seconds=total_processor,
            times_the_processor=total_processor / run["seconds"]["processor"],
            largest_difference=max(differences),
        ),
        indent=1,
    )
)
