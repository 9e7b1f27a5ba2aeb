"""Studies, and the command line of the package beside the package's own functions."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import neurosieve as ns

QUICK = {
    "name": "quick",
    "probe": {"lambda_ratios": [0.1, 0.03], "relative_gap": 1e-2},
    "clusters": {"thresholds": [0.3]},
    "layers": {"deltas": [0.03]},
    "minimal_set": {"deltas": [0.03], "rankings": ["probeless"], "bootstrap": 0, "random_sets": 0, "disjoint": 0},
    "combined": {"thresholds": [0.3], "deltas": [0.03]},
    "control": {"draws": 0},
}


def specification(tokens: Path) -> dict:
    parts = {part: tokens / f"{part}.safetensors" for part in ("train", "dev", "test")}
    return QUICK | {"data": parts | {"tasks": ["coarse"]}, "seed": None}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "neurosieve", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def study(engine, tokens) -> ns.Study:
    heard = []
    study = engine.study(specification(tokens), progress=lambda step, share: heard.append((step, share)))
    assert len({step for step, _ in heard}) > 3 and all(0 <= share <= 1 for _, share in heard)
    return study


def test_a_study_finds_what_the_command_line_finds(study, tokens, tmp_path):
    toml = ['name = "quick"', "[data]", *(f'{p} = "{tokens / p}.safetensors"' for p in ("train", "dev", "test"))]
    toml += ['tasks = ["coarse"]']
    for table, keys in QUICK.items():
        if isinstance(keys, dict):
            toml += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (tmp_path / "study.toml").write_text("\n".join(toml))
    done = command("study", tmp_path / "study.toml", "-o", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    theirs = json.loads((tmp_path / "out/results.json").read_text())
    assert theirs["tasks"] == study.results["tasks"]
    files = study.save(tmp_path / "ours")
    names = {file.relative_to(tmp_path / "ours") for file in files}
    assert {Path("results.json"), Path("report.html"), Path("tables/tasks.csv")} <= names or len(names) > 5
    assert all(file.stat().st_size > 0 for file in files)


def test_a_study_shows_its_report(study):
    report = study.report()
    assert isinstance(report, str) and report.lower().startswith("<!doctype html>")
    shown = report._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and "<script" not in shown, "escaped into the attribute"
    assert html.unescape(shown.split('"')[1]) == report, "the whole document, in a frame of its own"
    assert study._repr_html_() == shown
    assert "quick" in repr(study)
    assert set(study.to_pandas()["ranking"]) == {"probeless"}


def test_a_wrong_specification_is_refused_by_its_key(engine, tokens, tmp_path):
    with pytest.raises(ns.InvalidInputError, match="lambda_ratio"):
        engine.study(specification(tokens) | {"probe": {"lambda_ratio": [0.1]}})
    with pytest.raises(ns.FileError, match=r"nothing\.toml") as absent:
        engine.study(tmp_path / "nothing.toml")
    assert isinstance(absent.value, OSError) and absent.value.errno == 2
    assert Path(absent.value.filename).name == "nothing.toml"


def test_the_command_line_is_there(tokens, tmp_path):
    assert command("--version").stdout.strip() == f"neurosieve {ns.__version__}"
    assert command("no-such-command").returncode == 2
    assert command("inspect", tmp_path / "absent.npy").returncode == 1
    shown = json.loads(command("inspect", tokens / "train.safetensors", "--json").stdout)
    assert shown["neurons"] == 336


def test_probes_and_clusters_equal_those_of_the_command_line(engine, tokens, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    held = safetensors.load_file(tokens / "train.safetensors")
    out = tmp_path / "probe.safetensors"
    done = command(
        "probe", tokens / "train.safetensors", "--task", "coarse", "--l1", 0.01, "--l2", 0.01, "--device", "cpu", "-o", out
    )
    assert done.returncode == 0, done.stderr
    theirs = safetensors.load_file(out)
    [probe] = engine.fit_probes(held["activations"], ns.Problem(held["labels.coarse"], 0.01, 0.01))
    np.testing.assert_array_equal(theirs["weights"], probe.weights)
    clusters = tmp_path / "clusters.json"
    done = command("cluster", tokens / "train.safetensors", "--threshold", "0.4", "--device", "cpu", "-o", clusters)
    assert done.returncode == 0, done.stderr
    [theirs] = json.loads(clusters.read_text())["thresholds"]
    ours = engine.clusters(held["activations"], 0.4)[0]
    assert theirs["labels"] == ours.labels.tolist()
    assert theirs["representatives"] == ours.representatives.tolist()


def test_an_engine_serves_several_threads(engine, sample):
    x, y = sample
    alone = engine.fit_probes(x, ns.Problem(y, 0.01, 0.01))[0]
    found: list[ns.Probe] = []
    fit = lambda: found.extend(engine.fit_probes(x, ns.Problem(y, 0.01, 0.01)))  # noqa: E731
    threads = [threading.Thread(target=fit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(probe.weights, alone.weights) for probe in found)
