"""NeuroX's ``iou_probe``: neurons by their average precision for one class against the rest.

The activations stay as they are; NeuroX's function writes zeros into them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _arrays, _core
from ..._errors import InvalidInputError

__all__ = ["get_neuron_ordering"]


def get_neuron_ordering(X_train: Any, y_train: Any, threshold: float = 0.05) -> npt.NDArray[np.int64]:
    """All neurons by the average precision with which larger values tell label 1 from label 0, the best first, ties by id.

    Values nearer to 0 than ``threshold`` count as 0. Of more than two classes make one label each: ``y == c``.
    """
    array = _arrays.activations(X_train)
    labels = np.asarray(y_train)
    if labels.shape != (len(array),) or not np.isin(labels, (0, 1)).all():
        raise InvalidInputError("labels of an IoU probe: give 0 or 1 for every sample, 1 for those of the class")
    scores = _core.thresholded_precision(array, labels.astype(np.uint32), float(threshold))
    return np.argsort(-scores, kind="stable")
