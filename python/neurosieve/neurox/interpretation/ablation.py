"""NeuroX's ``ablation``: activations of some neurons, or with some neurons zero.

Every function returns a copy and leaves its argument as it is. Where the point is accuracy for many sets,
:meth:`neurosieve.Engine.sweep` does all sizes in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "filter_activations_by_layers",
    "filter_activations_keep_neurons",
    "filter_activations_remove_neurons",
    "keep_specific_neurons",
    "zero_out_activations_keep_neurons",
    "zero_out_activations_remove_neurons",
]

_Matrix = npt.NDArray[Any]


def keep_specific_neurons(X: _Matrix, neuron_list: Any) -> _Matrix:
    """The old name of :func:`filter_activations_keep_neurons`."""
    return filter_activations_keep_neurons(X, neuron_list)


def filter_activations_keep_neurons(X: _Matrix, neurons_to_keep: Any) -> _Matrix:
    """These columns, in this order."""
    return X[:, _columns(neurons_to_keep)]


def filter_activations_remove_neurons(X: _Matrix, neurons_to_remove: Any) -> _Matrix:
    """All other columns."""
    return np.delete(X, _columns(neurons_to_remove), axis=1)


def zero_out_activations_keep_neurons(X: _Matrix, neurons_to_keep: Any) -> _Matrix:
    """All columns, zero but for these."""
    rest = np.ones(X.shape[1], dtype=bool)
    rest[_columns(neurons_to_keep)] = False
    return np.where(rest, np.zeros((), dtype=X.dtype), X)


def zero_out_activations_remove_neurons(X: _Matrix, neurons_to_remove: Any) -> _Matrix:
    """All columns, these zero."""
    gone = np.zeros(X.shape[1], dtype=bool)
    gone[_columns(neurons_to_remove)] = True
    return np.where(gone, np.zeros((), dtype=X.dtype), X)


def filter_activations_by_layers(
    X: _Matrix, layers_to_keep: Sequence[int], num_layers: int, bidirectional_filtering: str = "none"
) -> _Matrix:
    """The columns of some layers, in the order in which they are named.

    Layers are equally wide. With ``forward`` or ``backward`` every layer is a forward and a backward half, of which one is kept.
    """
    direction = bidirectional_filtering.lower()
    assert direction in ("none", "forward", "backward"), f"bidirectional_filtering is {bidirectional_filtering!r}"
    parts = 1 if direction == "none" else 2
    width = X.shape[1] // (num_layers * parts)
    half = 1 if direction == "backward" else 0
    starts = (np.asarray(layers_to_keep, dtype=np.intp) * parts + half) * width
    return filter_activations_keep_neurons(X, (starts[:, None] + np.arange(width)).reshape(-1))


def _columns(neurons: Any) -> npt.NDArray[Any]:
    """Numbers of columns, or a mask of them; no columns as well."""
    array = np.asarray(neurons)
    return array.astype(np.intp) if array.size == 0 else array
