"""What other software takes for the tasks of `benches/medium.rs`, on the same data and cores. Prints one JSON document.

python benches/peers.py DATA [--saga 100]

Needs numpy, scipy, scikit-learn and safetensors. Medians of five runs; saga (the solver of scikit-learn that takes an
elastic net) runs once, for the number of iterations given, with the objective that it reaches.
"""

import argparse
import json
import os
import statistics
import time
import warnings

import numpy as np
import scipy
import sklearn
from safetensors import safe_open
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.linear_model import LogisticRegression

REPEATS = 5


def median(work):
    """Median seconds, and the last result."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def centred_product(x):
    """Correlations in f32: centre, scale, one product."""
    z = x - x.mean(0, dtype=np.float64).astype(np.float32)
    norm = np.sqrt((z.astype(np.float64) ** 2).sum(0))
    z /= np.where(norm > 0, norm, 1).astype(np.float32)
    return z.T @ z


def objective(x, y, probe, l1, l2):
    """Mean cross-entropy + l1 |W|_1 + l2 |W|_F^2 in f64."""
    w, b = probe.coef_.astype(np.float64), probe.intercept_.astype(np.float64)
    z = x.astype(np.float64) @ w.T + b
    z -= z.max(1, keepdims=True)
    loss = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y])
    return float(loss + l1 * np.abs(w).sum() + l2 * (w**2).sum())


def saga(x, y, l1, l2, iterations):
    """Elastic net by saga: C = 1 / (N (l1 + 2 l2)), l1_ratio = l1 / (l1 + 2 l2)."""
    strength = l1 + 2 * l2
    probe = LogisticRegression(
        C=1 / (len(y) * strength), l1_ratio=l1 / strength, solver="saga", max_iter=iterations, tol=0
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is what the objective says
        probe.fit(x, y)
    return time.perf_counter() - start, objective(x, y, probe, l1, l2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data")
    arguments.add_argument("--saga", type=int, default=100, help="iterations of saga")
    arguments = arguments.parse_args()
    with safe_open(f"{arguments.data}/train.safetensors", "numpy") as file:
        x = file.get_tensor("activations").astype(np.float32)
        y = file.get_tensor("labels")
    with np.errstate(invalid="ignore", divide="ignore"):
        exact_seconds, exact = median(lambda: np.corrcoef(x.T))
    product_seconds, _ = median(lambda: centred_product(x))
    r = np.nan_to_num(exact)
    r = (r + r.T) / 2
    np.fill_diagonal(r, 1)
    condensed = squareform(1 - np.abs(r), checks=False)
    linkage_seconds, tree = median(lambda: linkage(condensed, "average"))
    saga_seconds, reached = saga(x, y, 1e-3, 1e-3, arguments.saga)
    print(
        json.dumps(
            {
                "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
                "cpus": os.cpu_count(),
                "numpy_corrcoef_f64_seconds": exact_seconds,
                "numpy_centred_product_f32_seconds": product_seconds,
                "scipy_average_linkage_seconds": linkage_seconds,
                "clusters": {str(t): int(fcluster(tree, t, "distance").max()) for t in (0.3, 0.5, 0.7)},
                "saga": {"iterations": arguments.saga, "seconds": saga_seconds, "objective": reached},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
