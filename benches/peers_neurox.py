"""NeuroX's training of a study's probes, for `benches/solver/batch.rs` on the same data and cores. Prints one JSON document.

python benches/peers_neurox.py DATA [EVERY] > PEERS.json

7 layers x 10 lambdas x (fine, coarse, 3 draws of a control task), each probe trained as
`neurox.interpretation.linear_probe` (git HEAD a9ac7cd) trains it: raw activations, torch.nn.Linear, Adam at 1e-3, batches
of 32 in the order of the data, 10 epochs, mean cross-entropy + l1 sum|W| + l2 sqrt(sum W^2). One process a core, one
thread each (more threads are slower at this batch size). With EVERY only each so many-th probe
is trained: enough for its time, not for the comparison of objectives. Needs numpy, safetensors and torch.
"""

import json
import multiprocessing
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from safetensors import safe_open

LAMBDAS = [float(v) for v in np.logspace(-2, -5, 10)]
LAYERS, UNITS, EPOCHS, BATCH = 7, 384, 10, 32


def load(split):
    with safe_open(f"{DATA}/{split}.safetensors", "numpy") as file:
        names = {"fine": "labels", "coarse": "labels.coarse"}
        labels = {task: file.get_tensor(key).astype(np.int64) for task, key in names.items()}
        x = file.get_tensor("activations").astype(np.float32)
    words = []
    with open(f"{DATA}/{split}.word", encoding="utf-8") as file:
        for line in file:
            words.extend(line.rstrip("\n").split(" "))
    return x, labels, words


def controls(words, labels, draws=3):
    """Every word type gets a random class, by the classes' shares in train (Hewitt & Liang 2019)."""
    classes = int(labels["train"].max()) + 1
    share = np.bincount(labels["train"], minlength=classes) / len(labels["train"])
    out = []
    for draw in range(draws):
        random = np.random.default_rng(draw)
        types = sorted(set(words["train"]) | set(words["dev"]))
        of = dict(zip(types, random.choice(classes, len(types), p=share)))
        out.append({s: np.array([of[w] for w in words[s]], dtype=np.int64) for s in words})
    return out


def train(job):
    layer, task, l = job
    torch.manual_seed(0)
    columns = slice(layer * UNITS, (layer + 1) * UNITS)
    x, y = torch.from_numpy(np.ascontiguousarray(X["train"][:, columns])), torch.from_numpy(Y[task]["train"])
    probe = torch.nn.Linear(UNITS, int(y.max()) + 1)
    adam = torch.optim.Adam(probe.parameters(), lr=0.001)
    loss_of = torch.nn.CrossEntropyLoss()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for at in range(0, len(y), BATCH):
            adam.zero_grad()
            loss = loss_of(probe(x[at : at + BATCH]), y[at : at + BATCH])
            w = probe.weight
            loss = loss + l * w.abs().sum() + l * torch.sqrt(torch.pow(w, 2).sum())
            loss.backward()
            adam.step()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        w, b = probe.weight.double(), probe.bias.double()
        objective = torch.nn.functional.cross_entropy(x.double() @ w.T + b, y)
        objective = float(objective + l * w.abs().sum() + l * w.pow(2).sum().sqrt())
        dev = torch.from_numpy(np.ascontiguousarray(X["dev"][:, columns])).double() @ w.T + b
        accuracy = float((dev.argmax(1).numpy() == Y[task]["dev"]).mean())
    return {"layer": layer, "task": task, "lambda": l, "objective": objective, "dev_accuracy": accuracy, "seconds": seconds}


DATA = sys.argv[1]
X, Y, WORDS = {}, {"fine": {}, "coarse": {}}, {}
for split in ("train", "dev"):
    X[split], found, WORDS[split] = load(split)
    for task in found:
        Y[task][split] = found[task]
for draw, labels in enumerate(controls(WORDS, Y["fine"])):
    # A class that the draw leaves empty in train would not be contiguous, which NeuroX cannot train.
    classes = np.unique(labels["train"])
    assert (classes == np.arange(len(classes))).all()
    Y[f"control {draw}"] = labels

if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = [(layer, task, l) for task in Y for layer in range(LAYERS) for l in LAMBDAS]
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    trained = jobs[::every]
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        probes = pool.map(train, trained, chunksize=1)
    document = {
        "software": {"torch": torch.__version__, "numpy": np.__version__},
        "processes": os.cpu_count(),
        "every": every,
        "seconds": (time.perf_counter() - start) * len(jobs) / len(trained),
        "seconds_summed": sum(p["seconds"] for p in probes),
        "probes": probes,
        "controls": [
            {s: Y[t][s].tolist() for s in Y[t]} for t in Y if t.startswith("control")
        ],
    }
    json.dump(document, sys.stdout)
