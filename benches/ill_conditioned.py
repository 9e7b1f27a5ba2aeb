"""Probes with weak penalties on the raw activations of few neurons: badly conditioned, hundreds of weights.

    python benches/ill_conditioned.py [--out FILE.json]

The fixture's first neurons, NeuroX's objective, to a relative gap of 1e-3; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import neurosieve as ns
from neurosieve.neurox.interpretation import linear_probe

FIXTURE = Path(__file__).parent.parent / "fixtures" / "python-tokens" / "train.safetensors"
CASES = [("labels", 12, 1e-6), ("labels", 24, 1e-6), ("labels", 48, 1e-5), ("labels.control", 24, 1e-6)]
CASES += [("labels.control", 48, 1e-5), ("labels.control", 48, 1e-6)]


def stored() -> dict[str, np.ndarray]:
    """The fixture's arrays."""
    data = FIXTURE.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    types = {"F16": np.float16, "I32": np.int32}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            values = np.frombuffer(data[8 + header_bytes :][first:last], types[entry["dtype"]])
            arrays[name] = values.reshape(entry["shape"])
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    arrays = stored()
    rows = []
    for task, neurons, penalty in CASES:
        x = np.ascontiguousarray(arrays["activations"][:, :neurons], dtype=np.float32)
        y = np.unique(arrays[task], return_inverse=True)[1]
        began = time.process_time()
        probe = linear_probe.train_logistic_regression_probe(
            x, y, lambda_l1=penalty, lambda_l2=penalty, solver="exact", device="cpu"
        )
        seconds = time.process_time() - began
        found = probe.certificate
        rows.append(
            {"task": task, "neurons": neurons, "penalty": penalty, "passes": found.passes}
            | {"relative_gap": found.relative_gap, "converged": found.converged, "cpu_seconds": round(seconds, 2)}
        )
        print(rows[-1], flush=True)
    if out:
        out.write_text(json.dumps({"neurosieve": ns.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
