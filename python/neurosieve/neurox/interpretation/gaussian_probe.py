"""NeuroX's ``gaussian_probe``: Gaussians of the classes (Torroba Hennigen et al. 2020).

It needs no torch function that is gone by now. Classes need not be numbered without gaps, but each needs two samples: of one, the
covariance that NeuroX takes for the prior is not defined. Neurons that do not vary inside a class take no part. All candidates
of a step are scored at once, so that selecting is possible among thousands of neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _arrays, _core
from ..._errors import InvalidInputError
from . import metrics

__all__ = ["GaussianProbe", "evaluate_probe", "get_neuron_ordering", "train_probe"]


class GaussianProbe:
    """Activations and labels, of which the engine makes Gaussians over the neurons that are asked for."""

    def __init__(self, X: Any, y: Any) -> None:
        self._x = _arrays.activations(X)
        labels = np.asarray(y)
        if labels.dtype.kind not in "iu" or labels.size == 0 or labels.min() < 0:
            raise InvalidInputError("labels of a Gaussian probe: give class numbers from 0")
        if labels.shape != (len(self._x),):
            raise InvalidInputError(f"labels: the shape is {labels.shape}. Give one for each of the {len(self._x)} samples")
        self._ids = labels.astype(np.uint32)
        self._classes = int(labels.max()) + 1


def train_probe(X: Any, y: Any) -> GaussianProbe:
    """A probe of activations (samples x neurons) and class numbers."""
    return GaussianProbe(X, y)


def evaluate_probe(
    probe: GaussianProbe,
    X_test: Any,
    y_test: Any,
    metric: str = "accuracy",
    return_predictions: bool = False,
    selected_neurons: Any = None,
) -> Any:
    """The score on all neurons or on some; ``(predictions, score)`` where predictions are asked for."""
    asked = _arrays.activations(X_test)
    neurons = range(asked.shape[1]) if selected_neurons is None else selected_neurons
    chosen = _arrays.neurons(np.asarray(neurons, dtype=np.int64), probe._x.shape[1])
    if asked.shape[1] != probe._x.shape[1]:
        raise InvalidInputError(
            f"activations: {asked.shape[1]} neurons for a probe of {probe._x.shape[1]}. Give the same neurons"
        )
    found = _core.gaussian_predict(probe._x, probe._ids, probe._classes, chosen.tolist(), asked)
    predictions: npt.NDArray[np.int64] = found.astype(np.int64)
    score = metrics.compute_score(predictions, np.asarray(y_test), metric)
    return (predictions, score) if return_predictions else score


def get_neuron_ordering(probe: GaussianProbe, num_of_neurons: int) -> list[int]:
    """The first neurons that a greedy selection takes, each for the mutual information that it adds on the training samples.

    Fewer than were asked for where no more of them vary.
    """
    chosen = _core.gaussian_selection(probe._x, probe._ids, probe._classes, int(num_of_neurons))
    return [int(neuron) for neuron in chosen]
