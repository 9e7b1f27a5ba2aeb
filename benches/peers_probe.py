"""What scikit-learn, skglm and celer take for one probe, for `benches/solver/single.rs` on the same data and cores.

python benches/peers_probe.py DATA [--saga 400] [--lbfgs] [--binary] > PEERS.json

--saga N: one full-width fit at l1 = l2 = 1e-3 on raw activations, N iterations.
--lbfgs: ridge at l2 = 1e-3 on raw activations, to its gradient tolerance of 1e-6.
--binary: one class against the rest on standardised activations, pure L1 at a tenth and a hundredth of lambda_max, by
skglm (with intercept) and celer (which has none: an easier problem) at their default tolerances.
Every answer comes with the objective it reaches, in float64: mean CE + l1 |W|_1 + l2 |W|_F^2 of the softmax; a sigmoid
column v is the softmax of (-v/2, v/2), with |v|_1 and |v|^2/2. Needs numpy, scikit-learn, skglm, celer and safetensors.
"""

import argparse
import json
import os
import sys
import time
import warnings

import celer
import numpy as np
import skglm
import sklearn
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression


def cross_entropy(z, y):
    top = z.max(1)
    return float(np.mean(np.log(np.exp(z - top[:, None]).sum(1)) + top - z[np.arange(len(y)), y]))


def multinomial(x, y, l1, l2, **options):
    """scikit-learn: C = 1 / (N (l1 + 2 l2)), l1_ratio = l1 / (l1 + 2 l2)."""
    strength = l1 + 2 * l2
    model = LogisticRegression(C=1 / (len(y) * strength), l1_ratio=l1 / strength, **options)
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(x, y)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    w, b = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    value = cross_entropy(x.astype(np.float64) @ w.T + b, y) + l1 * np.abs(w).sum() + l2 * (w**2).sum()
    return {"seconds": seconds, "cpu_seconds": cpu, "iterations": int(model.n_iter_.max()), "objective": float(value)}


def one_against_rest(z, y, ratio, name):
    """Pure L1 at `ratio` of lambda_max. celer has no intercept: its figure is another, easier problem."""
    l1 = ratio * np.abs(z.T @ (y - (y.mean() if name == "skglm" else 0.5))).max() / len(y)
    if name == "skglm":
        model = skglm.SparseLogisticRegression(alpha=l1, fit_intercept=True)
    else:
        model = celer.LogisticRegression(C=1 / (len(y) * l1), fit_intercept=False)
    model.fit(z[:200], y[:200])  # compiles
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(z, y)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    v = model.coef_[0]
    out = z @ v + (np.ravel(model.intercept_)[0] if name == "skglm" else 0.0)
    value = np.mean(np.logaddexp(0, out) - y * out) + l1 * np.abs(v).sum()
    return {
        "peer": name, "share_of_lambda_max": ratio, "l1": float(l1), "seconds": seconds, "cpu_seconds": cpu,
        "objective": float(value), "nonzero": int((v != 0).sum()),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data")
    arguments.add_argument("--saga", type=int, default=0)
    arguments.add_argument("--lbfgs", action="store_true")
    arguments.add_argument("--binary", action="store_true")
    arguments.add_argument("--class", type=int, default=0, dest="kind", help="the class against the rest")
    arguments = arguments.parse_args()
    warnings.simplefilter("ignore")  # that a peer has not converged is what its objective says
    with safe_open(f"{arguments.data}/train.safetensors", "numpy") as file:
        x = file.get_tensor("activations").astype(np.float32)
        y = file.get_tensor("labels").astype(np.int64)
    wide = x.astype(np.float64)
    sd = wide.std(0)
    kept = sd > 1e-6  # dead neurons, and one that flickers between neighbouring subnormal f16
    z = (wide[:, kept] - wide[:, kept].mean(0)) / sd[kept]
    document = {
        "software": {m.__name__: m.__version__ for m in (np, sklearn, skglm, celer)},
        "samples": len(y), "neurons": x.shape[1], "cpus": os.cpu_count(),
    }
    if arguments.saga:
        options = dict(solver="saga", max_iter=arguments.saga, tol=0, random_state=0)
        document["saga_raw"] = multinomial(x, y, 1e-3, 1e-3, **options)
    if arguments.lbfgs:
        document["lbfgs_ridge"] = multinomial(x, y, 0.0, 1e-3, solver="lbfgs", tol=1e-6, max_iter=2_000)
    if arguments.binary:
        columns = np.asfortranarray(z)
        target = (y == arguments.kind).astype(np.float64)
        document["binary_class"] = arguments.kind
        document["binary"] = [
            one_against_rest(columns, target, ratio, name) for ratio in (0.1, 0.01) for name in ("skglm", "celer")
        ]
    json.dump(document, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
