"""What the tests share: small activations of known structure, and the repository's fixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import neurosieve as ns

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture(scope="session")
def engine() -> ns.Engine:
    return ns.Engine("cpu")


@pytest.fixture(scope="session")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """400 x 24 in float32 of correlated neurons, and three classes that some of them tell apart."""
    random = np.random.default_rng(7)
    y = random.integers(0, 3, 400)
    hidden = random.normal(size=(400, 8)) + 0.8 * np.eye(3, 8)[y]
    x = hidden @ random.normal(size=(8, 24)) + 0.5 * random.normal(size=(400, 24)) + random.normal(size=24)
    return x.astype(np.float32), np.array(["noun", "verb", "other"])[y]


@pytest.fixture(scope="session")
def tokens() -> Path:
    return FIXTURES / "python-tokens"
