"""What studies take of the host's memory, beside what `--dry-run` says that they take.

    python benches/memory_of_studies.py BINARY SPEC.toml... > FILE.json

Runs every study twice: with the memory it likes, and with no more than the least that it can do with. The peak is that of the
process (`ru_maxrss`: pages of program, threads and mapped files are in it). Results must be the same. Linux.
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


def study(binary, spec, folder):
    def command(name):
        return [binary, "study", spec, "-o", str(folder / name), "--device", "cpu"]

    free = plan(command("free"))
    peak, seconds = run(command("free"))
    # A process takes a little more or less at each start.
    limit = f"{free['host']['least'] / GIB * 1.01 + 0.004:.4f}"
    tight = plan(command("tight"), "--max-memory", limit)
    tight_peak, tight_seconds = run(command("tight"), "--max-memory", limit)
    return {
        "name": free["name"],
        "samples": free["samples"],
        "neurons": free["neurons"],
        "tasks": free["tasks"],
        "planned_at_most_bytes": free["host"]["most"],
        "planned_about_bytes": free["host"]["expected"],
        "peak_bytes": peak,
        "peak_over_about": peak / free["host"]["expected"],
        "peak_over_most": peak / free["host"]["most"],
        "seconds": seconds,
        "tight": {
            "max_memory_gib": float(limit),
            "allowed_bytes": tight["host"]["allowed"],
            "planned_at_most_bytes": tight["host"]["most"],
            "planned_about_bytes": tight["host"]["expected"],
            "standardised_again": tight["host"]["standardised"] == 0,
            "peak_bytes": tight_peak,
            "peak_over_allowed": tight_peak / tight["host"]["allowed"],
            "seconds": tight_seconds,
        },
        "same_results": found(folder / "free") == found(folder / "tight"),
    }


def main():
    binary, *specs = sys.argv[1:]
    studies = []
    for spec in specs:
        with tempfile.TemporaryDirectory() as folder:
            studies.append(study(str(Path(binary).resolve()), spec, Path(folder)))
            print(json.dumps(studies[-1]), file=sys.stderr)
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    document = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "version": version,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": len(os.sched_getaffinity(0)),
        "command": "python benches/memory_of_studies.py BINARY SPEC.toml...",
        "studies": studies,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
