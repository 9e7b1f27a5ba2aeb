"""NeuroX's ``linear_probe``: probes, and the orderings of neurons by their weights.

Training minimises NeuroX's objective, on raw activations and with the *norm* of the weights, not its square::

    mean loss + lambda_l1 · Σ|W| + lambda_l2 · sqrt(Σ W²)

to its optimum: ``probe.certificate`` says how near. Epochs, batch size and learning rate then do not matter. Where weights are
zero they are exactly zero. With ``solver="adam"`` the training is NeuroX's, from the weights that torch draws: the same steps in
the same order; and so it is without a penalty, where there need not be an optimum.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _arrays, _core
from ..._engine import _how
from ..._errors import InvalidInputError
from ..._results import Certificate
from .._settings import device_of, settings, solver_of
from . import metrics
from ._linear import LinearProbe, fill, logits_of, parameters_of, weights_of

__all__ = [
    "LinearProbe",
    "evaluate_probe",
    "get_bottom_neurons",
    "get_fixed_number_of_bottom_neurons",
    "get_neuron_ordering",
    "get_neuron_ordering_granular",
    "get_random_neurons",
    "get_top_neurons",
    "get_top_neurons_hard_threshold",
    "l1_penalty",
    "l2_penalty",
    "train_linear_regression_probe",
    "train_logistic_regression_probe",
]

_Ids = npt.NDArray[np.int64]
_Classes = Mapping[Any, int]

#: Samples whose logits are computed together.
_ROWS = 8192


def l1_penalty(var: Any) -> Any:
    """Σ|w|."""
    return abs(var).sum()


def l2_penalty(var: Any) -> Any:
    """The root of Σ w²."""
    return (var**2).sum() ** 0.5


def train_logistic_regression_probe(
    X_train: Any,
    y_train: Any,
    lambda_l1: float = 0,
    lambda_l2: float = 0,
    num_epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    **how: Any,
) -> LinearProbe:
    """A probe of classes, numbered from 0. A number that no sample has, which NeuroX fails at, gets no weights and is never
    predicted. ``how`` may be ``solver`` (``auto``, ``exact``, ``adam``) and ``device``.
    """
    return _train_probe(
        X_train,
        y_train,
        task_type="classification",
        lambda_l1=lambda_l1,
        lambda_l2=lambda_l2,
        num_epochs=num_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        **how,
    )


def train_linear_regression_probe(
    X_train: Any,
    y_train: Any,
    lambda_l1: float = 0,
    lambda_l2: float = 0,
    num_epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    **how: Any,
) -> LinearProbe:
    """A probe of values; the loss is the squared error. ``how`` as of :func:`train_logistic_regression_probe`."""
    return _train_probe(
        X_train,
        y_train,
        task_type="regression",
        lambda_l1=lambda_l1,
        lambda_l2=lambda_l2,
        num_epochs=num_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        **how,
    )


def _train_probe(
    X_train: Any,
    y_train: Any,
    task_type: str,
    lambda_l1: float = 0,
    lambda_l2: float = 0,
    num_epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    *,
    solver: str | None = None,
    device: str | int | None = None,
) -> LinearProbe:
    if lambda_l1 is None or lambda_l2 is None:
        raise InvalidInputError("lambda_l1 and lambda_l2: one is None. Give 0 for no penalty")
    if task_type not in ("classification", "regression"):
        raise InvalidInputError(f'task_type: it is {task_type!r}. Allowed are "classification", "regression"')
    x = _arrays.activations(X_train)
    is_regression = task_type == "regression"
    target = _arrays.values(y_train, len(x)) if is_regression else _classes(y_train, len(x))
    # Drawn as in NeuroX whatever the solver, so that what is drawn afterwards is the same too.
    probe = LinearProbe(x.shape[1], 1 if is_regression else target[1])
    # The engine's squared error is half of NeuroX's.
    is_adam = solver_of(solver, lambda_l1 > 0 or lambda_l2 > 0) == "adam"
    half = 0.5 if is_regression and not is_adam else 1.0
    penalty = {"l1": half * float(lambda_l1), "l2": half * float(lambda_l2), "frobenius": True}
    problem = {"target": 0, "weights": None, "neurons": None, **penalty}
    if is_adam:
        weights, bias = (values.copy() for values in parameters_of(probe))
        start = [(weights, bias)]
        [fit] = _core.train_adam(x, [target], [problem], start, num_epochs, batch_size, float(learning_rate), None)
    else:
        how = _how(False, {"gap": settings.gap}, "auto", 3000, 4 << 30, 0)
        [fit] = _core.fit_probes(device_of(device), x, [target], [], [problem], how, None)
    fill(probe, fit["weights"], fit["bias"])
    probe.certificate = Certificate(**fit["certificate"])
    return probe


def _classes(y: Any, samples: int) -> tuple[npt.NDArray[np.uint32], int]:
    """Class numbers, and how many there are of them."""
    labels = np.asarray(y)
    if labels.shape != (samples,):
        raise InvalidInputError(f"labels: the shape is {labels.shape}. Give one for each of the {samples} samples")
    if labels.dtype.kind not in "iub" or labels.size == 0 or labels.min() < 0:
        raise InvalidInputError(f"labels: they are {labels.dtype}, or one is below 0. Give class numbers from 0")
    if (labels == labels[0]).all():
        raise InvalidInputError("labels: all samples are of one class. Give more than one class")
    return labels.astype(np.uint32), int(labels.max()) + 1


def evaluate_probe(
    probe: Any,
    X: Any,
    y: Any,
    idx_to_class: Mapping[int, Any] | None = None,
    return_predictions: bool = False,
    source_tokens: Any = None,
    batch_size: int = 32,
    metric: str = "accuracy",
) -> Any:
    """The score of a probe, ``{"__OVERALL__": …}``, and where classes are named that of each; beside it, where they are asked for,
    predictions: ``(word or running number, predicted class, whether it is right)`` of each sample.

    A class's accuracy is of its samples; its F1 and Matthews' correlation are of the class against the rest (NeuroX takes them
    over the class's samples alone, where they mean nothing). A class without samples scores 0. Of a regression all three
    correlations work; classes have no score there. The probe stays as it is; ``batch_size`` does not matter.
    """
    x = _arrays.activations(X)
    labels = np.asarray(y)
    if labels.shape != (len(x),):
        raise InvalidInputError(f"labels: the shape is {labels.shape}. Give one for each of the {len(x)} samples")
    predicted = _predictions(probe, x)
    scores: dict[Any, Any] = {"__OVERALL__": metrics.compute_score(predicted, labels, metric)}
    if idx_to_class and predicted.dtype.kind == "i":
        scores |= {name: _class_score(predicted, labels, number, metric) for number, name in idx_to_class.items()}
    if not return_predictions:
        return scores
    words: Any = range(len(x)) if source_tokens is None else list(itertools.chain.from_iterable(source_tokens))
    if len(words) < len(x):
        raise InvalidInputError(f"source_tokens: {len(words)} words for {len(x)} samples. Give one for each")
    named = [idx_to_class[key] if idx_to_class else key for key in predicted.tolist()]
    return scores, list(zip(words, named, (predicted == labels).tolist(), strict=False))


def _predictions(probe: Any, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The number of the largest logit, the first of equal ones; of one logit its value."""
    parts = []
    for first in range(0, len(x), _ROWS):
        rows = x[first : first + _ROWS]
        if rows.dtype == np.uint16:  # bfloat16
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        logits = logits_of(probe, rows.astype(np.float32, copy=False))
        parts.append(logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1))
    return np.concatenate(parts)


def _class_score(predicted: npt.NDArray[Any], labels: npt.NDArray[Any], number: int, metric: str) -> Any:
    own = labels == number
    if not own.any():
        return 0
    if metric == "accuracy":
        return metrics.compute_score(predicted[own], labels[own], metric)
    return metrics.compute_score((predicted == number).astype(int), own.astype(int), metric)


def get_top_neurons(probe: Any, percentage: float, class_to_idx: _Classes | None = None) -> tuple[_Ids, dict[Any, _Ids]]:
    """The heaviest neurons that hold a share of each class's Σ|w|: of all classes together, ascending, and of each, heaviest first.

    The one that crosses the share is among them, so 0 gives one, and more than 1 is 1; a class without weights has none. Sums are in float64. Without
    ``class_to_idx`` the classes are the rows of the weights, as for a regression.
    """
    return _by_mass(probe, percentage, class_to_idx, True)


def get_bottom_neurons(probe: Any, percentage: float, class_to_idx: _Classes | None = None) -> tuple[_Ids, dict[Any, _Ids]]:
    """As :func:`get_top_neurons`, the lightest neurons, lightest first."""
    return _by_mass(probe, percentage, class_to_idx, False)


def _by_mass(probe: Any, share: float, class_to_idx: _Classes | None, heaviest: bool) -> tuple[_Ids, dict[Any, _Ids]]:
    names, rows = _rows(probe, class_to_idx)
    found = _core.by_mass(rows, min(float(share), 1.0), heaviest)
    return np.unique(np.concatenate(found)), dict(zip(names, found, strict=True))


def get_top_neurons_hard_threshold(
    probe: Any, fraction: float, class_to_idx: _Classes | None = None
) -> tuple[_Ids, dict[Any, _Ids]]:
    """The neurons of each class with |w| above the class's largest |w| *divided* by ``fraction``, ascending: 2 means half of it."""
    names, rows = _rows(probe, class_to_idx)
    magnitudes = np.abs(rows)
    chosen = [np.flatnonzero(row > row.max() / fraction) for row in magnitudes]
    return np.unique(np.concatenate(chosen)), dict(zip(names, chosen, strict=True))


def get_random_neurons(probe: Any, probability: float) -> _Ids:
    """Each neuron with this probability, by NumPy's global generator."""
    return np.flatnonzero(np.random.random((weights_of(probe).shape[1],)) <= probability)


def get_neuron_ordering(
    probe: Any, class_to_idx: _Classes | None = None, search_stride: int = 100
) -> tuple[list[int], list[int]]:
    """All neurons by the share of weight mass at which they enter the top neurons of some class, and how many of them have at each
    of ``search_stride`` + 1 shares from 0 to 1.

    The sets are NeuroX's at every share; inside a set the order is by the very share, then by id, where NeuroX has that of a
    Python set. No neuron is missing: those without weight, and those that NeuroX loses to rounding, come at the last share.
    """
    _, rows = _rows(probe, class_to_idx)
    order, cutoffs = _core.lca(rows, int(search_stride))
    return order.tolist(), [*cutoffs[:-1], len(order)]


def get_neuron_ordering_granular(
    probe: Any, class_to_idx: _Classes | None = None, granularity: int = 50, search_stride: int = 100
) -> tuple[list[int], list[int]]:
    """As :func:`get_neuron_ordering`, with the shares at which the neurons reach multiples of ``granularity`` as the only cutoffs,
    and all neurons as the last.
    """
    ordering, cutoffs = get_neuron_ordering(probe, class_to_idx, search_stride)
    wanted = [*range(0, len(ordering) + 1, granularity), len(ordering)]
    reached = (next(size for size in cutoffs if size >= at) for at in wanted)
    return ordering, [size for size in dict.fromkeys(reached) if size > 0]


def get_fixed_number_of_bottom_neurons(probe: Any, num_bottom_neurons: int, class_to_idx: _Classes | None = None) -> list[int]:
    """The last neurons of the ordering; none of them where none are asked for."""
    ordering, _ = get_neuron_ordering(probe, class_to_idx)
    return ordering[max(len(ordering) - num_bottom_neurons, 0) :]


def _rows(probe: Any, class_to_idx: _Classes | None) -> tuple[list[Any], npt.NDArray[np.float32]]:
    """Names of classes, and their weights."""
    weights = weights_of(probe)
    if class_to_idx is None:
        return list(range(len(weights))), weights
    return list(class_to_idx), np.ascontiguousarray(weights[list(class_to_idx.values())])
