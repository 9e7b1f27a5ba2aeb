"""All-k sweeps by `neurosieve sweep` and by a loop over NeuroX, on the same data and cores. Prints one JSON document.

    pip install numpy safetensors torch
    pip install --no-deps neurox  # 1.0.9; its own pins are of 2021
    pip install imbalanced-learn h5py seaborn svgwrite tqdm
    neurosieve probe train.safetensors -o probe.safetensors
    neurosieve rank train.safetensors --probe probe.safetensors -o rankings.json
    python benches/peers_sweep.py test.safetensors probe.safetensors rankings.json target/release/neurosieve > SWEEP.json

The job: the accuracy with the k best neurons kept and with them removed, zero in place of the others, for every k from 1
to D and every one of four orderings. NeuroX has no sweep: its user loops over `zero_out_activations_keep_neurons` (or
`_remove_`) and `evaluate_probe`, at its own batch size of 32. A loop over all points would take hours, so each repetition
draws some (ordering, keep or remove, k) uniformly, times them, and multiplies their mean by the number of points; they
take turns with the whole command of neurosieve, files read and written. NeuroX runs with one torch thread and, at an eighth
of the points, with as many as there are cores; the faster one counts. Accuracies at the drawn points are compared.

Masks that do not nest: random halves of the neurons, under zero ablation, beside the best that torch can do by hand: the
masked weights of 32 masks at a time as columns of one f32 product.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
from safetensors import safe_open

np.int = int  # NeuroX 1.0.9 uses it, NumPy has dropped it
from neurox.interpretation import ablation, linear_probe  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("probe")
parser.add_argument("rankings")
parser.add_argument("binary")
parser.add_argument("--methods", default="lca,probeless,anova,auroc")
parser.add_argument("--points", type=int, default=40, help="of each repetition, and an eighth with more threads")
parser.add_argument("--masks", type=int, default=512)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()
methods = options.methods.split(",")

with safe_open(options.data, "numpy") as file:
    x = np.ascontiguousarray(file.get_tensor("activations").astype(np.float32))
    y = file.get_tensor("labels").astype(np.int64)
with safe_open(options.probe, "numpy") as file:
    weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
samples, neurons = x.shape
with open(options.rankings, encoding="utf-8") as file:
    rankings = json.load(file)["rankings"]
orders = {name: rankings[name]["order"] for name in methods}
probe = linear_probe.LinearProbe(neurons, len(bias))
with torch.no_grad():
    probe.linear.weight.copy_(torch.from_numpy(weights))
    probe.linear.bias.copy_(torch.from_numpy(bias))
total = len(methods) * 2 * neurons


def ours(folder):
    out = os.path.join(folder, "sweep.json")
    command = [options.binary, "sweep", options.data, "--probe", options.probe, "--rankings", options.rankings]
    command += ["--methods", options.methods, "--ablation", "zero", "--random-draws", "0", "--device", "cpu", "-o", out]
    seconds = run(command)
    with open(out, encoding="utf-8") as file:
        return seconds, json.load(file)


def run(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def our_masks(folder):
    file, out = os.path.join(folder, "masks.npy"), os.path.join(folder, "masks.json")
    np.save(file, masks)
    command = [options.binary, "sweep", options.data, "--probe", options.probe, "--masks", file, "--ablation", "zero"]
    seconds = run([*command, "--random-draws", "0", "--device", "cpu", "-o", out])
    with open(out, encoding="utf-8") as file:
        document = json.load(file)
    steps = {step["step"]: step["seconds"] for step in document["timings"]}
    return seconds, steps["masks"], [mask["correct"] for mask in document["probes"][0]["masks"]]


def torch_masks():
    """Products of the samples with the masked weights of 32 masks at a time."""
    start = time.perf_counter()
    samples_, weights_, bias_ = torch.from_numpy(x), torch.from_numpy(weights), torch.from_numpy(bias)
    right, labels = [], torch.from_numpy(y)[:, None]
    for some in torch.from_numpy(masks).split(32):
        masked = (weights_[None] * some[:, None]).reshape(-1, neurons)
        logits = (samples_ @ masked.T).reshape(samples, len(some), -1) + bias_
        right.extend((logits.argmax(2) == labels).sum(0).tolist())
    return time.perf_counter() - start, right


def counted(document, name, removes, k):
    """Right samples; removing the k best is keeping the others, the curve from the bottom."""
    for curve in document["probes"][0]["curves"]:
        if (curve["ranking"], curve["keep"]) == (name, "bottom" if removes else "top"):
            return curve["correct"][neurons - k if removes else k]
    raise KeyError(name)


def theirs(name, removes, k):
    mask = ablation.zero_out_activations_remove_neurons if removes else ablation.zero_out_activations_keep_neurons
    start = time.perf_counter()
    scores = linear_probe.evaluate_probe(probe, mask(x, orders[name][:k]), y)
    return time.perf_counter() - start, scores["__OVERALL__"]


random = np.random.default_rng(0)
masks = random.random((options.masks, neurons)) < 0.5
repeats, differences, mask_differences = [], [], []
with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as nowhere:
    ours(folder)
    for _ in range(options.repeats):
        seconds, document = ours(folder)
        steps = {step["step"]: step["seconds"] for step in document["timings"]}
        found = {"neurosieve": seconds, "neurosieve_sweeps_step": steps["sweeps"], "neurox_per_point": {}}
        for threads in sorted({1, os.cpu_count()}):
            torch.set_num_threads(threads)
            timed = []
            for _ in range(options.points if threads == 1 else options.points // 8):
                name, removes = methods[random.integers(len(methods))], bool(random.integers(2))
                k = int(random.integers(1, neurons + 1))
                with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                    took, accuracy = theirs(name, removes, k)
                timed.append(took)
                differences.append(abs(round(accuracy * samples) - counted(document, name, removes, k)))
            found["neurox_per_point"][f"{threads} threads"] = statistics.mean(timed)
        found["neurox_all_points"] = total * min(found["neurox_per_point"].values())
        found["times_as_long"] = found["neurox_all_points"] / seconds
        seconds, step, right = our_masks(folder)
        torch_seconds, torch_right = torch_masks()
        mask_differences.extend(abs(a - b) for a, b in zip(right, torch_right, strict=True))
        found |= {"masks": seconds, "masks_step": step, "masks_by_torch": torch_seconds}
        repeats.append(found)

print(
    json.dumps(
        {
            "samples": samples,
            "neurons": neurons,
            "classes": len(bias),
            "orderings": methods,
            "points": total,
            "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__, "neurox": "1.0.9"},
            "points_timed": {"of_each_repetition": options.points, "with_more_threads": options.points // 8, "seed": 0},
            "repeats": repeats,
            "median": {
                "neurosieve_seconds": statistics.median(r["neurosieve"] for r in repeats),
                "neurosieve_sweeps_step_seconds": statistics.median(r["neurosieve_sweeps_step"] for r in repeats),
                "neurox_seconds_extrapolated": statistics.median(r["neurox_all_points"] for r in repeats),
                "times_as_long": statistics.median(r["times_as_long"] for r in repeats),
                "times_as_long_if_neurox_ran_on_both_cores_at_once": statistics.median(r["times_as_long"] for r in repeats) / os.cpu_count(),
            },
            "least_times_as_long": min(r["times_as_long"] for r in repeats),
            "masks": {
                "number": len(masks),
                "kept": 0.5,
                "neurons_with_weight": int((weights != 0).any(axis=0).sum()),
                "neurosieve_seconds": statistics.median(r["masks"] for r in repeats),
                "neurosieve_step_seconds": statistics.median(r["masks_step"] for r in repeats),
                "torch_seconds": statistics.median(r["masks_by_torch"] for r in repeats),
                "torch_times_as_long_as_the_step": statistics.median(r["masks_by_torch"] / r["masks_step"] for r in repeats),
                "neurox_seconds_extrapolated": len(masks)
                * statistics.median(min(r["neurox_per_point"].values()) for r in repeats),
                "most_samples_apart": max(mask_differences),
            },
            "points_compared": len(differences),
            "largest_difference_in_right_samples": max(differences),
        },
        indent=1,
    )
)
