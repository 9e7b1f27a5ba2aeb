"""The type hints hold: of the package itself, and of what it says to those who use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USES = """
import numpy as np
import neurosieve as ns
from neurosieve import distributed as nd
engine = ns.Engine("cpu")
x = np.zeros((3, 2), np.float32)
a: ns.CorrelationMatrix = engine.correlation(x)
b: ns.Edges = engine.correlation(x, at_least=0.5)
c: ns.Partners = engine.cross_correlation(x, x, top_k=2)
d: list[ns.Probe] = engine.fit_probes(x, ns.Problem([0, 1, 0], 0.1, 0.1))
e: ns.Edges = nd.correlation("x.npy", at_least=0.5, client=None, resources={"GPU": 1})
f: ns.Partners = nd.cross_correlation(x, "x.npy", top_k=2)
g: list[ns.Probe] = nd.fit_probes(x, ns.Problem([0, 1, 0], 0.1, 0.1), device="cpu")
h: list[ns.Study] = nd.study(["a.toml", {"name": "b"}])
i: str = h[0].report()
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    """NumPy's own hints take most of the time, and are read once."""
    return str(tmp_path_factory.mktemp("mypy"))


def mypy(cache: str, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", cache, target]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def test_the_package_is_typed_throughout(cache):
    done = mypy(cache, "neurosieve", ROOT / "python")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("program", "fine"), [(USES, True), (USES.replace("b: ns.Edges", "b: ns.Partners"), False)])
def test_users_are_told_the_types(cache, tmp_path, program, fine):
    (tmp_path / "uses.py").write_text(program)
    done = mypy(cache, "uses.py", tmp_path)
    assert (done.returncode == 0) == fine, done.stdout
    assert fine or "Partners" in done.stdout
