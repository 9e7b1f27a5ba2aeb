"""NeuroX's ``metrics``; neither SciPy nor scikit-learn is needed.

``f1`` of more than two classes is the mean of the classes', where NeuroX raises. A correlation with values that do not vary is
NaN. An unknown metric is a ``ValueError``; NeuroX answers ``None`` and fails later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _core
from ..._errors import InvalidInputError

__all__ = [
    "accuracy",
    "accuracy_and_f1",
    "compute_score",
    "f1",
    "matthews_corrcoef",
    "pearson",
    "pearson_and_spearman",
    "spearman",
]


def accuracy(preds: Any, labels: Any) -> Any:
    """The share of right predictions."""
    preds, labels = _vectors(preds, labels)
    return (preds == labels).mean()


def f1(preds: Any, labels: Any) -> float:
    """F1 of class 1; of more than two classes the mean of the classes'."""
    table = _confusion(preds, labels)
    per_class = [2 * table[c, c] / max(table[c].sum() + table[:, c].sum(), 1) for c in range(len(table))]
    return float(per_class[1] if len(table) == 2 else np.mean(per_class))


def accuracy_and_f1(preds: Any, labels: Any) -> Any:
    """The mean of both."""
    return (accuracy(preds, labels) + f1(preds, labels)) / 2


def pearson(preds: Any, labels: Any) -> float:
    """Pearson's r."""
    return _correlations(preds, labels)[0]


def spearman(preds: Any, labels: Any) -> float:
    """Spearman's rank correlation."""
    return _correlations(preds, labels)[1]


def pearson_and_spearman(preds: Any, labels: Any) -> float:
    """The mean of both."""
    return (pearson(preds, labels) + spearman(preds, labels)) / 2


def matthews_corrcoef(preds: Any, labels: Any) -> float:
    """Matthews' correlation, of any number of classes; 0 where predictions or labels do not vary."""
    table = _confusion(preds, labels).astype(float)
    samples, support, answered = table.sum(), table.sum(axis=1), table.sum(axis=0)
    variances = (samples**2 - answered @ answered) * (samples**2 - support @ support)
    return float((samples * np.trace(table) - support @ answered) / np.sqrt(variances)) if variances > 0 else 0.0


def compute_score(preds: Any, labels: Any, metric: str) -> Any:
    """The metric of that name."""
    known = {
        "accuracy": accuracy,
        "f1": f1,
        "accuracy_and_f1": accuracy_and_f1,
        "pearson": pearson,
        "spearman": spearman,
        "pearson_and_spearman": pearson_and_spearman,
        "matthews_corrcoef": matthews_corrcoef,
    }
    if metric not in known:
        raise InvalidInputError(f"metric: it is {metric!r}. Allowed are {', '.join(known)}")
    return known[metric](preds, labels)


def _vectors(preds: Any, labels: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Both as vectors of as many; a column of predictions, as a regression probe gives it, is one."""
    preds, labels = (np.asarray(values) for values in (preds, labels))
    preds, labels = (values.reshape(-1) if values.shape[1:] == (1,) else values for values in (preds, labels))
    if preds.shape != labels.shape:
        raise InvalidInputError(f"predictions and labels: their shapes are {preds.shape} and {labels.shape}. Give one a sample")
    return preds, labels


def _confusion(preds: Any, labels: Any) -> npt.NDArray[np.int64]:
    """Labels x predictions, of at least two classes: numbers from 0."""
    preds, labels = _vectors(preds, labels)
    names, ids = np.unique(np.concatenate([labels, preds]), return_inverse=True)
    if names.dtype.kind in "iub" and 0 <= int(names[0]) and int(names[-1]) <= 1:
        names, ids = np.arange(2), np.concatenate([labels, preds]).astype(np.intp)
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(table, (ids[: len(labels)], ids[len(labels) :]), 1)
    return table


def _correlations(preds: Any, labels: Any) -> tuple[float, float]:
    preds, labels = (values.astype(np.float64) for values in _vectors(preds, labels))
    found = _core.correlations(labels, preds)
    pearson_r, spearman_r = (float("nan") if r is None else r for r in found)
    return pearson_r, spearman_r
