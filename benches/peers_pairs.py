"""All pairs of neurons by neurosieve, NumPy and PyTorch, side by side: seconds, peak memory and error, in one run.

python benches/peers_pairs.py FILE NEUROSIEVE PAIRS [--repeats 5] > RESULT.json

FILE: safetensors with `activations`. NEUROSIEVE: the built command; PAIRS: the built bench `pairs`, whose `rate` times moments
and correlations alone, on float32 that is in memory already, as the peers' calls are timed. Each contender runs in a process of its own, in turns;
seconds are medians. For NumPy and PyTorch they are those of the call alone, on float32 that is in memory already (PyTorch
gets its transposed view, NumPy makes its own float64); for neurosieve's command those of all that it does between opening
the file and closing the output: reading float16, moments, correlations, writing the square matrix, CKA. Peak memory is
the whole process's (ru_maxrss). The error is the largest |difference| from NumPy's float64, pairs with a constant neuron
left out. Needs numpy, torch and safetensors.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

CALL = """
import json, resource, sys, time
import numpy as np
from safetensors import safe_open
with safe_open(sys.argv[1], "numpy") as file:
    x = file.get_tensor("activations").astype(np.float32)
{setup}
start = time.perf_counter()
r = {call}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if len(sys.argv) > 2:
    np.save(sys.argv[2], np.asarray(r))
print(json.dumps(dict(seconds=seconds, peak_bytes=peak)))
"""
PEERS = {
    "numpy.corrcoef, float64": ("np.seterr(all='ignore')", "np.corrcoef(x.T)"),
    "torch.corrcoef, float32": ("import torch; x = torch.from_numpy(x).T", "torch.corrcoef(x)"),
}


def peer(name, file, out=None):
    setup, call = PEERS[name]
    code = CALL.format(setup=setup, call=call)
    command = [sys.executable, "-c", code, file] + ([out] if out else [])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def ours(command, file, out):
    arguments = [command, "correlate", file, "-o", out, "--device", "cpu", "--json"]
    # A child of its own for each run, so that the peak is that run's.
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True)\n"
        "steps = {s['step']: s['seconds'] for s in json.loads(done.stdout)['timings']}\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print(json.dumps(dict(seconds=sum(steps.values()), peak_bytes=peak, steps=steps)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def in_memory(bench, file):
    done = subprocess.run([bench, "rate", file], check=True, capture_output=True, text=True)
    rate = json.loads(done.stdout)
    return dict(seconds=rate["moments_seconds"] + rate["correlation_seconds"], peak_bytes=0, rate=rate)


def error(path, exact):
    import numpy as np

    r = np.load(path, mmap_mode="r")
    worst, squares, count = 0.0, 0.0, 0
    for first in range(0, len(r), 1024):
        off = np.abs(r[first : first + 1024].astype(np.float64) - exact[first : first + 1024])
        rows = np.arange(off.shape[0])
        off[rows, first + rows] = 0
        known = np.isfinite(off)
        worst = max(worst, float(off[known].max()))
        squares += float((off[known] ** 2).sum())
        count += int(known.sum())
    return dict(largest=worst, rms=(squares / count) ** 0.5)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file")
    arguments.add_argument("neurosieve")
    arguments.add_argument("pairs")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "r.npy")
        alone = "neurosieve, in memory"
        runs = {name: [] for name in [alone, "neurosieve", *PEERS]}
        for _ in range(arguments.repeats):
            runs[alone].append(in_memory(arguments.pairs, arguments.file))
            runs["neurosieve"].append(ours(arguments.neurosieve, arguments.file, out))
            for name in PEERS:
                runs[name].append(peer(name, arguments.file))
        summary = {}
        for name, all_runs in runs.items():
            middle = statistics.median(run["seconds"] for run in all_runs)
            summary[name] = dict(
                seconds=middle,
                seconds_of_each=[round(run["seconds"], 3) for run in all_runs],
                peak_bytes=max(run["peak_bytes"] for run in all_runs),
            )
        del summary[alone]["peak_bytes"]
        middle = sorted(runs[alone], key=lambda run: run["seconds"])[len(runs[alone]) // 2]
        summary[alone]["rate"] = middle["rate"]
        summary["neurosieve"]["steps"] = runs["neurosieve"][-1]["steps"]
        import numpy as np

        paths = {name: os.path.join(folder, f"{place}.npy") for place, name in enumerate(PEERS)}
        for name, path in paths.items():
            peer(name, arguments.file, path)
        exact = np.load(paths["numpy.corrcoef, float64"], mmap_mode="r")
        # NumPy has NaN where a neuron is constant; ours has 0 there.
        summary["neurosieve"]["error"] = error(out, exact)
        summary["torch.corrcoef, float32"]["error"] = error(paths["torch.corrcoef, float32"], exact)
    mine = summary["neurosieve"]
    for name in PEERS:
        summary[name]["times_as_long"] = round(summary[name]["seconds"] / summary[alone]["seconds"], 2)
        summary[name]["times_as_long_as_the_command"] = round(summary[name]["seconds"] / mine["seconds"], 2)
        summary[name]["times_the_memory"] = round(summary[name]["peak_bytes"] / mine["peak_bytes"], 2)
    import torch

    versions = dict(numpy=np.__version__, torch=torch.__version__, torch_threads=torch.get_num_threads())
    print(json.dumps(dict(file=os.path.basename(arguments.file), versions=versions, contenders=summary), indent=1))


main()
