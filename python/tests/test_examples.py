"""The notebooks run from top to bottom, and say what they are for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

#: Of each notebook something that it finds.
FINDINGS = {
    "correlations": ["190 samples of 336 neurons", "at a distance of 0.3", "representatives: accuracy"],
    "neurox": ["DET", "by the probe:", "0 and 1 are in one cluster: True"],
    "salient_neurons": ["'NAME': 71", "chosen: {", "lca"],
}

#: Runs the cells one after the other, in one namespace, as a notebook does.
CELLS = """
import json, sys
names = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
"""


def test_every_notebook_is_looked_at():
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == sorted(FINDINGS)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_notebook_runs(name):
    path = EXAMPLES / f"{name}.ipynb"
    line = [sys.executable, "-c", CELLS, path.name]
    done = subprocess.run(line, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for finding in FINDINGS[name]:
        assert finding in done.stdout, done.stdout


@pytest.mark.parametrize("name", FINDINGS)
def test_a_notebook_holds_no_outputs(name):
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 3 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
