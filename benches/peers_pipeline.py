"""The redundancy pipeline of Dalvi et al. 2020 with NeuroX and with neurosieve, step for step on the same cores.

python benches/peers_pipeline.py DATA NEUROSIEVE [--lambdas 1e-3,1e-4,1e-5] > RESULT.json

A probe on all neurons (the oracle), on every layer alone and on all layers up to each; for a loss of 3, 2 and 1 % the lowest
layer that suffices; correlation clusters of its layers' neurons (distance 0.3), one neuron of each, a probe on those, their
ordering by weight mass, and the smallest prefix that loses at most 1 % when it is retrained. Every choice is made on dev.

NeuroX trains 10 epochs of Adam on raw activations (its defaults, batch 32) with one torch thread, which is faster here than
two at that batch size; NumPy and SciPy take what they want. With several lambdas each probe is the best of them on dev, as in
the papers' searches and in ours. neurosieve solves every probe to its default rule along its default path of six lambdas.
DATA holds train, dev and test.safetensors; the task is `labels`, which the environment's TASK names for neurosieve (`fine`).
EXTRA is added to neurosieve's specification: as many lambdas as NeuroX gets, say. Needs neurox 1.0.9 (pip install --no-deps neurox), torch,
scipy, scikit-learn, h5py, safetensors.
"""

import contextlib
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from safetensors import safe_open

np.int = int  # NeuroX 1.0.9 says np.int, which NumPy no longer has
from neurox.interpretation import clustering, linear_probe  # noqa: E402

torch.set_num_threads(1)
DATA, NEUROSIEVE = sys.argv[1:3]
LAMBDAS = [float(v) for v in (sys.argv[4] if len(sys.argv) > 4 else "1e-5").split(",")]
DELTAS, THRESHOLD, SET_DELTA, UNITS = (0.03, 0.02, 0.01), 0.3, 0.01, 384


def load(split):
    with safe_open(f"{DATA}/{split}.safetensors", "numpy") as file:
        return file.get_tensor("activations").astype(np.float32), file.get_tensor("labels").astype(np.int64)


def quietly(call, *arguments, **named):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return call(*arguments, **named)


class NeuroX:
    def __init__(self):
        (self.x, self.y), (self.dev, self.dev_y), (self.test, self.test_y) = map(load, ("train", "dev", "test"))
        self.fits = 0

    def accuracy(self, probe, x, y):
        return float(quietly(linear_probe.evaluate_probe, probe, x, y)["__OVERALL__"])

    def probe(self, columns):
        """The best of the lambdas on dev: its probe and dev accuracy."""
        x, dev = (np.ascontiguousarray(part[:, columns]) for part in (self.x, self.dev))
        best = None
        for value in LAMBDAS:
            torch.manual_seed(0)
            self.fits += 1
            probe = quietly(
                linear_probe.train_logistic_regression_probe,
                x, self.y, lambda_l1=value, lambda_l2=value, num_epochs=10, batch_size=32, learning_rate=0.001,
            )
            accuracy = self.accuracy(probe, dev, self.dev_y)
            if best is None or accuracy > best[1]:
                best = (probe, accuracy)
        return best

    def run(self):
        seconds, start = {}, time.perf_counter()

        def lap(step):
            nonlocal start
            now = time.perf_counter()
            seconds[step] = round(now - start, 3)
            start = now

        neurons = self.x.shape[1]
        layers = neurons // UNITS
        oracle, oracle_dev = self.probe(np.arange(neurons))
        lap("oracle")
        alone = [self.probe(np.arange(at * UNITS, (at + 1) * UNITS))[1] for at in range(layers)]
        lap("layers alone")
        upto = [self.probe(np.arange((at + 1) * UNITS))[1] for at in range(layers - 1)] + [oracle_dev]
        lap("layers up to each")
        sets, known = [], {}
        for delta in DELTAS:
            layer = next((at for at, dev in enumerate(upto) if dev > oracle_dev * (1 - delta)), layers - 1)
            if layer not in known:
                known[layer] = self.minimal_set(np.arange((layer + 1) * UNITS))
            sets.append({"delta": delta, "layer": layer, **known[layer]})
        lap("clusters and minimal sets")
        return {
            "seconds": seconds, "total": round(sum(seconds.values()), 3), "fits": self.fits,
            "oracle_dev": oracle_dev, "oracle_test": self.accuracy(oracle, self.test, self.test_y),
            "layers_alone_dev": alone, "layers_up_to_each_dev": upto, "sets": sets,
        }

    def minimal_set(self, columns):
        np.random.seed(0)
        part = np.ascontiguousarray(self.x[:, columns])
        kept, _ = quietly(clustering.extract_independent_neurons, part, clustering_threshold=THRESHOLD)
        kept = columns[np.asarray(kept)]
        probe, base = self.probe(kept)
        classes = {str(c): c for c in range(int(self.y.max()) + 1)}
        order, _ = quietly(linear_probe.get_neuron_ordering, probe, classes, search_stride=1000)
        order = kept[np.asarray([int(at) for at in order])]
        shares = [v / 1000 for v in range(1, 6)] + [v / 100 for v in range(1, 11)]
        shares += [v / 100 for v in range(15, 51, 5)] + [v / 100 for v in range(60, 91, 10)]
        for share in shares:
            size = math.floor(share * len(order))
            if size == 0:
                continue
            columns = np.sort(order[:size])
            probe, dev = self.probe(columns)
            if dev > base * (1 - SET_DELTA):
                break
        else:
            size, dev = len(order), base
            columns = kept
        test = self.accuracy(probe, np.ascontiguousarray(self.test[:, columns]), self.test_y)
        return {"clusters": len(kept), "size": size, "dev": dev, "test": test}


SPEC = """
name = "pipeline"
[data]
train = "{data}/train.safetensors"
dev = "{data}/dev.safetensors"
test = "{data}/test.safetensors"
tasks = ["{task}"]
[clusters]
thresholds = [0.3]
[layers]
deltas = [0.03, 0.02, 0.01]
[minimal_set]
deltas = []
[combined]
deltas = [0.03, 0.02, 0.01]
set_delta = 0.01
thresholds = [0.3]
[control]
draws = 0
[sweep]
ablation = []
random_draws = 0
"""


def neurosieve(task):
    with tempfile.TemporaryDirectory() as folder:
        spec = f"{folder}/study.toml"
        with open(spec, "w", encoding="utf-8") as file:
            file.write(SPEC.format(data=os.path.abspath(DATA), task=task) + EXTRA)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([NEUROSIEVE, "study", spec, "-o", f"{folder}/out"], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(f"{folder}/out/results.json", encoding="utf-8") as file:
            results = json.load(file)
    found = results["tasks"][0]
    return {
        "total": round(seconds, 3),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "seconds": {t["step"]: round(t["seconds"], 3) for t in results["timings"]},
        "oracle_dev": found["oracle"]["dev_accuracy"],
        "oracle_test": found["oracle"]["test_accuracy"], "oracle_interval": found["oracle"]["test_interval"],
        "layers_alone_dev": [p["dev_accuracy"] for p in found["layers"]["independent"]],
        "layers_up_to_each_dev": [p["dev_accuracy"] for p in found["layers"]["cumulative"]],
        "sets": [
            {key: s[key] for key in ("delta", "layer", "clusters", "size", "dev_accuracy", "test_accuracy", "test_interval")}
            for s in found["combined"]
        ],
    }


TASK = os.environ.get("TASK", "fine")
EXTRA = os.environ.get("EXTRA", "")
first = neurosieve(TASK)
cpu = time.process_time()
peer = NeuroX().run()
peer["cpu"] = round(time.process_time() - cpu, 3)
second = neurosieve(TASK)
fastest = min(first["total"], second["total"])
json.dump(
    {
        "lambdas": LAMBDAS, "neurox": peer, "neurosieve": [first, second],
        "ratio": round(peer["total"] / fastest, 2),
        "ratio_of_cpu_seconds": round(peer["cpu"] / min(first["cpu"], second["cpu"]), 2),
    },
    sys.stdout, indent=1,
)
