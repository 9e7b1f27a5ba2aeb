"""What studies take of the host's memory, beside what `--dry-run` says that they take.

    python benches/memory_of_studies.py BINARY SPEC.toml... [--free SPEC.toml...] > FILE.json

Runs every study twice: with the memory it likes, and with no more than the least that it can do with; those behind `--free` only
with the memory they like. The peak is that of the process (`ru_maxrss`: pages of program, threads and mapped files are in it).
Results must be the same. Linux.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GIB = 1 << 30


def plan(command, *extra):
    done = subprocess.run([*command, *extra, "--dry-run", "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def run(command, *extra):
    begun = time.monotonic()
    process = subprocess.Popen([*command, *extra], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return 1024 * usage.ru_maxrss, time.monotonic() - begun


def found(out):
    results = json.loads((out / "results.json").read_text())
    del results["timings"]
    return results


def study(binary, spec, folder, both):
    def command(name):
        return [binary, "study", spec, "-o", str(folder / name), "--device", "cpu"]

    free = plan(command("free"))
    peak, seconds = run(command("free"))
    return {
        "name": free["name"],
        "samples": free["samples"],
        "neurons": free["neurons"],
        "tasks": free["tasks"],
        "planned_at_most_bytes": free["host"]["most"],
        "planned_about_bytes": free["host"]["expected"],
        "of_which_data_decide_bytes": free["host"]["decided"],
        "peak_bytes": peak,
        "peak_over_about": peak / free["host"]["expected"],
        "peak_over_most": peak / free["host"]["most"],
        "seconds": seconds,
        **(tight(command, free, folder) if both else {"tight": None, "same_results": None}),
    }


def tight(command, free, folder):
    # A process takes a little more or less at each start.
    limit = f"{free['host']['least'] / GIB * 1.01 + 0.004:.4f}"
    host = plan(command("tight"), "--max-memory", limit)["host"]
    peak, seconds = run(command("tight"), "--max-memory", limit)
    return {
        "tight": {
            "max_memory_gib": float(limit),
            "allowed_bytes": host["allowed"],
            "planned_at_most_bytes": host["most"],
            "planned_about_bytes": host["expected"],
            "standardised_again": host["standardised"] == 0,
            "peak_bytes": peak,
            "peak_over_allowed": peak / host["allowed"],
            "seconds": seconds,
        },
        "same_results": found(folder / "free") == found(folder / "tight"),
    }


def main():
    binary, *specs = sys.argv[1:]
    limited = specs.index("--free") if "--free" in specs else len(specs)
    studies = []
    for at, spec in enumerate(specs):
        if at == limited:
            continue
        with tempfile.TemporaryDirectory() as folder:
            studies.append(study(str(Path(binary).resolve()), spec, Path(folder), at < limited))
            print(json.dumps(studies[-1]), file=sys.stderr)
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    document = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "version": version,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": len(os.sched_getaffinity(0)),
        "command": "python benches/memory_of_studies.py BINARY SPEC.toml... --free SPEC.toml...",
        "studies": studies,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
