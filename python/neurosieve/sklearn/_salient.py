"""The neurons that a ranking puts first."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine import Engine, Problem
from .._errors import InvalidInputError
from .._results import Probe
from ._probe import DTYPES, seed_of

#: Rankings that order the weights of a probe.
OF_PROBE = {"lca", "largest-weight"}

METHODS = {
    *OF_PROBE,
    "probeless",
    "anova",
    "mean-difference",
    "information",
    "auroc",
    "average-precision",
    "accuracy",
    "random",
}


class SalientNeurons(SelectorMixin, BaseEstimator):
    """Keeps the neurons that a ranking puts first, a selector that needs labels.

    Activations are read as float32.

    Parameters
    ----------
    method : ``"lca"`` or ``"largest-weight"`` of a probe on standardised activations, ``"probeless"``, ``"anova"``,
        ``"mean-difference"``, ``"information"``, ``"auroc"``, ``"average-precision"``, ``"accuracy"`` or ``"random"``.
    n_neurons : how many are kept, a whole number (all, where there are fewer), or a share of them, at least one.
    l1, l2 : penalty of that probe, of its mean loss.
    device : as :class:`neurosieve.Engine` takes it.
    random_state : seeds the random ranking, and the probe's solver.

    Attributes
    ----------
    ranking_ : all neurons, the most salient first.
    scores_ : the score of each neuron.
    classes_ : the classes.
    certificate_ : of the probe, where there is one; else None.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "method": [StrOptions(METHODS)],
        "n_neurons": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="neither")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "device": [str, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        method: str = "lca",
        *,
        n_neurons: int | float = 0.1,
        l1: float = 0.01,
        l2: float = 0.01,
        device: str | int = "auto",
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.n_neurons = n_neurons
        self.l1 = l1
        self.l2 = l2
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> SalientNeurons:
        """Ranks the neurons."""
        X, y = validate_data(self, X, y, dtype=DTYPES)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InvalidInputError(f"y: there is one class, {self.classes_[0]!r}. Rankings compare classes: give at least 2")
        engine, seed = Engine(self.device), seed_of(self.random_state)
        probe = self._probe(engine, X, y, seed)
        ranking = engine.rank(X, y, self.method, probe=probe, seed=seed)[self.method]
        self.ranking_, self.scores_ = ranking.order, ranking.scores
        self.certificate_ = None if probe is None else probe.certificate
        return self

    def _probe(self, engine: Engine, X: Any, y: Any, seed: int) -> Probe | None:
        if self.method not in OF_PROBE:
            return None
        [probe] = engine.fit_probes(X, Problem(y, float(self.l1), float(self.l2)), seed=seed)
        return probe

    def _get_support_mask(self) -> npt.NDArray[np.bool_]:
        check_is_fitted(self)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.ranking_[: self._kept()]] = True
        return mask

    def _kept(self) -> int:
        if isinstance(self.n_neurons, Integral):
            return int(self.n_neurons)
        return max(1, round(float(self.n_neurons * self.n_features_in_)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
