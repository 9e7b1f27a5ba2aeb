"""The extension module: what `src/python/` exports. Use the package's own functions, which check and convert."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

VERSION: str

_Matrix: TypeAlias = npt.NDArray[Any]
_Ids: TypeAlias = npt.NDArray[np.int64]
_Progress: TypeAlias = Callable[[str, float], object] | None

@final
class Device:
    def __init__(self, asked: str) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def driver(self) -> str: ...
    @property
    def reason(self) -> str: ...

def devices() -> list[dict[str, Any]]: ...
def correlate(device: Device, x: _Matrix, y: _Matrix | None, asked: Mapping[str, Any], progress: _Progress) -> dict[str, Any]: ...
def clusters(
    device: Device,
    x: _Matrix,
    thresholds: Sequence[float],
    linkage: str,
    distance: str,
    seed: int | None,
    memory: int,
    progress: _Progress,
) -> dict[str, Any]: ...
def fit_probes(
    device: Device,
    x: _Matrix,
    targets: Sequence[Any],
    weights: Sequence[npt.NDArray[np.float64]],
    problems: Sequence[Mapping[str, Any]],
    how: Mapping[str, Any],
    progress: _Progress,
) -> list[dict[str, Any]]: ...
def lambda_max(
    x: _Matrix,
    targets: Sequence[Any],
    weights: Sequence[npt.NDArray[np.float64]],
    problems: Sequence[Mapping[str, Any]],
    how: Mapping[str, Any],
) -> list[float]: ...
def train_adam(
    x: _Matrix,
    targets: Sequence[Any],
    problems: Sequence[Mapping[str, Any]],
    starts: Sequence[Any],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    progress: _Progress,
) -> list[dict[str, Any]]: ...
def is_small(samples: int, neurons: int, classes: int) -> bool: ...
def fit_exactly(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.uint32],
    classes: int,
    weights: npt.NDArray[np.float64],
    penalty: tuple[float, float],
    standardize: bool,
    intercepts: bool,
    max_steps: int,
) -> dict[str, Any]: ...
def rank(
    x: _Matrix,
    labels: npt.NDArray[np.uint32],
    classes: int,
    methods: Sequence[str],
    weights: npt.NDArray[np.float32] | None,
    seed: int,
    progress: _Progress,
) -> dict[str, tuple[_Ids, npt.NDArray[np.float64], list[_Ids]]]: ...
def ablate(
    device: Device,
    x: _Matrix,
    labels: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    ablated: npt.NDArray[np.float32] | None,
    orderings: Sequence[_Ids],
    by_class: bool,
    progress: _Progress,
) -> list[dict[str, Any]]: ...
def lca(weights: npt.NDArray[np.float32], steps: int) -> tuple[_Ids, list[int]]: ...
def by_mass(weights: npt.NDArray[np.float32], share: float, heaviest: bool) -> list[_Ids]: ...
def probeless(x: _Matrix, labels: npt.NDArray[np.uint32], classes: int) -> tuple[_Ids, list[_Ids]]: ...
def thresholded_precision(x: _Matrix, labels: npt.NDArray[np.uint32], threshold: float) -> npt.NDArray[np.float64]: ...
def gaussian_selection(x: _Matrix, labels: npt.NDArray[np.uint32], classes: int, select: int) -> _Ids: ...
def gaussian_predict(
    x: _Matrix, labels: npt.NDArray[np.uint32], classes: int, neurons: Sequence[int], asked: _Matrix
) -> npt.NDArray[np.uint32]: ...
def top_words(values: _Matrix, words: Sequence[str]) -> list[tuple[str, float]]: ...
def correlations(labels: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> list[float | None]: ...
def run_study(device: Device, path: str | os.PathLike[str] | None, text: str | None, progress: _Progress) -> str: ...
def report(results: str) -> str: ...
def write(results: str, folder: str | os.PathLike[str]) -> list[Path]: ...
def command(arguments: Sequence[str]) -> int: ...
