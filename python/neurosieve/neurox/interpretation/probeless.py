"""NeuroX's ``probeless``: neurons by the distances of class means (Antverg & Belinkov 2022).

Means are of raw activations, summed in float64, whatever type the activations have. Neurons of the same score stand by id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import _arrays, _core

__all__ = ["get_neuron_ordering", "get_neuron_ordering_for_all_tags", "get_neuron_ordering_for_tag"]


def get_neuron_ordering(X_train: Any, y_train: Any) -> list[int]:
    """All neurons by the sum over pairs of classes of the distance of their means, the largest first."""
    return _orderings(X_train, y_train)[0]


def get_neuron_ordering_for_tag(X_train: Any, y_train: Any, label2idx: Mapping[Any, int], tag: Any) -> list[int]:
    """All neurons by the sum of the distances of one class's mean from the others'."""
    return _orderings(X_train, y_train)[1][label2idx[tag]]


def get_neuron_ordering_for_all_tags(
    X_train: Any, y_train: Any, idx2label: Mapping[int, Any]
) -> tuple[list[int], dict[Any, list[int]]]:
    """The ordering over all classes, and that of every class that occurs."""
    overall, per_class = _orderings(X_train, y_train)
    return overall, {idx2label[label]: order for label, order in per_class.items()}


def _orderings(x: Any, y: Any) -> tuple[list[int], dict[Any, list[int]]]:
    array = _arrays.activations(x)
    classes = _arrays.labels(np.asarray(y), len(array))
    overall, per_class = _core.probeless(array, classes.ids, len(classes.names))
    return overall.tolist(), {name: order.tolist() for name, order in zip(classes.names.tolist(), per_class, strict=True)}
