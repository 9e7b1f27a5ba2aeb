"""The Python of the README and of the pages under docs, to the letter.

A block of ``python`` is run. One of ``py`` needs what is not here (a model, say), and has to be Python.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[Any]:
    """The blocks of this language, each named by its page and its place there."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        name = page.relative_to(ROOT).as_posix()
        found += [pytest.param(text, id=f"{name} {number}") for number, text in enumerate(texts, 1)]
    return found


def test_there_are_examples():
    assert len(blocks("python")) >= 5
    assert len(blocks("py")) >= 1


@pytest.mark.parametrize("example", blocks("python"))
def test_an_example_runs(example, tmp_path):
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("example", blocks("py"))
def test_what_cannot_be_run_here_is_python(example):
    compile(example, "example", "exec")
