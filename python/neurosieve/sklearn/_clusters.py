"""One neuron of each cluster."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine import Engine
from ._probe import DTYPES, seed_of


class CorrelationClusters(SelectorMixin, BaseEstimator):
    """Keeps one neuron of each cluster of correlated neurons (Dalvi et al. 2020), a transformer that needs no labels.

    Correlations are of activations in float32, within 5e-6.

    Parameters
    ----------
    threshold : distance at which the dendrogram is cut, 0 or more.
    linkage : ``"average"``, ``"complete"`` or ``"single"``.
    distance : ``"absolute"`` for 1 − \\|r\\|, ``"signed"`` for 1 − r.
    representatives : ``"medoid"``, the member that is most like the others, or ``"random"``, as NeuroX keeps.
    device : as :class:`neurosieve.Engine` takes it.
    random_state : seeds random representatives.

    Attributes
    ----------
    labels_ : the cluster of each neuron.
    representatives_ : the neuron that is kept of each cluster, in cluster order; :meth:`transform` keeps the neurons' order.
    n_clusters_ : their number.
    linkage_ : the dendrogram, as SciPy has it.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "threshold": [Interval(Real, 0, None, closed="left")],
        "linkage": [StrOptions({"average", "complete", "single"})],
        "distance": [StrOptions({"absolute", "signed"})],
        "representatives": [StrOptions({"medoid", "random"})],
        "device": [str, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        threshold: float = 0.3,
        *,
        linkage: str = "average",
        distance: str = "absolute",
        representatives: str = "medoid",
        device: str | int = "auto",
        random_state: Any = None,
    ) -> None:
        self.threshold = threshold
        self.linkage = linkage
        self.distance = distance
        self.representatives = representatives
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> CorrelationClusters:
        """Clusters the neurons; ``y`` is not looked at."""
        X = validate_data(self, X, dtype=DTYPES, ensure_min_samples=2)
        found = Engine(self.device).clusters(
            X,
            float(self.threshold),
            linkage=self.linkage,  # type: ignore[arg-type]
            distance=self.distance,  # type: ignore[arg-type]
            representatives=self.representatives,  # type: ignore[arg-type]
            seed=seed_of(self.random_state),
        )
        [cut] = found
        self.labels_ = cut.labels.astype(np.int64)
        self.representatives_ = cut.representatives
        self.n_clusters_ = len(cut)
        self.linkage_ = found.linkage
        return self

    def _get_support_mask(self) -> npt.NDArray[np.bool_]:
        check_is_fitted(self)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.representatives_] = True
        return mask
