"""The probe that chooses its penalty by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context, is_classifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import Interval, StrOptions

from .._errors import InvalidInputError
from ._probe import ElasticNetProbe, _Probe, solve


class ElasticNetProbeCV(_Probe):
    """:class:`ElasticNetProbe` with ``C`` and ``l1_ratio`` chosen by cross-validation.

    The probes of every ``C``, ``l1_ratio`` and fold are one batch over the same activations, of which each reads only its own
    fold's; the best penalty is fitted again to all samples.

    Parameters
    ----------
    Cs : inverse strengths of the penalty, or how many of them from 1e-4 to 1e4.
    l1_ratios : shares of the penalty that are ‖W‖₁.
    cv : folds, as scikit-learn takes them: stratified ones by number, a splitter, or pairs of indices.
    scoring : the name of a score, or a scorer; accuracy without one.
    fit_intercept, class_weight, tol, max_iter, device, random_state : as :class:`ElasticNetProbe`.

    Attributes
    ----------
    classes_, coef_, intercept_, n_iter_, certificate_, is_exact_ : as :class:`ElasticNetProbe`.
    C_, l1_ratio_ : the penalty with the best mean score over the folds; of equals the strongest, that is the smallest ``C``,
        and then the largest ``l1_ratio``.
    Cs_, l1_ratios_ : what was tried, ascending.
    scores_ : the score of every fold, ``l1_ratio`` and ``C``.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratios": ["array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        **_Probe._common,
    }

    def __init__(
        self,
        *,
        Cs: int | npt.ArrayLike = 10,
        l1_ratios: npt.ArrayLike = (0.5,),
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        fit_intercept: bool = True,
        class_weight: Any = None,
        tol: float = 1e-4,
        max_iter: int = 3000,
        device: str | int = "auto",
        random_state: Any = None,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> ElasticNetProbeCV:
        """Chooses the penalty and fits the probe; ``groups`` are handed to ``cv``."""
        X, y, weights = self._checked(X, y, sample_weight)
        self.Cs_, self.l1_ratios_ = self._grid()
        folds = list(check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y, groups))
        self.scores_ = self._scores(X, y, weights, sample_weight is not None, folds)
        ratio, place = self._best(self.scores_.mean(axis=0))
        self.C_, self.l1_ratio_ = float(self.Cs_[place]), float(self.l1_ratios_[ratio])
        [found] = solve(X, y, [weights], [(0, self.C_, self.l1_ratio_)], self)
        self._take(found)
        return self

    def _grid(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if isinstance(self.Cs, (int, np.integer)):
            grid = np.logspace(-4, 4, int(self.Cs))
        else:
            grid = np.unique(np.asarray(self.Cs, dtype=float))
        ratios = np.unique(np.asarray(self.l1_ratios, dtype=float))
        if len(grid) == 0 or not (np.isfinite(grid) & (grid > 0)).all():
            raise InvalidInputError(f"Cs: they are {grid}, allowed is more than 0. Give at least one")
        if len(ratios) == 0 or not ((ratios >= 0) & (ratios <= 1)).all():
            raise InvalidInputError(f"l1_ratios: they are {ratios}, allowed is 0 to 1. Give at least one")
        return grid, ratios

    def _scores(
        self, X: Any, y: Any, weights: npt.NDArray[np.float64], weighted: bool, folds: list[Any]
    ) -> npt.NDArray[np.float64]:
        """Folds x l1_ratios x Cs."""
        shape = (len(folds), len(self.l1_ratios_), len(self.Cs_))
        inside = []
        for train, _ in folds:
            seen = np.zeros_like(weights)
            seen[train] = weights[train]
            inside.append(seen)
        grid = [(at, C, ratio) for at in range(len(folds)) for ratio in self.l1_ratios_ for C in self.Cs_]
        scores = []
        for (at, _, _), (coef, intercept, _, _) in zip(grid, solve(X, y, inside, grid, self), strict=True):
            test = folds[at][1]
            probe = ElasticNetProbe()
            probe.classes_, probe.coef_, probe.intercept_ = self.classes_, coef, intercept
            probe.n_features_in_ = X.shape[1]
            scores.append(self._score(probe, _safe_indexing(X, test), y[test], weights[test] if weighted else None))
        return np.reshape(scores, shape)

    def _score(self, probe: ElasticNetProbe, X: Any, y: Any, weights: Any) -> float:
        if self.scoring is None:
            return float(probe.score(X, y, weights))
        scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        return float(scorer(probe, X, y) if weights is None else scorer(probe, X, y, sample_weight=weights))

    def _best(self, mean: npt.NDArray[np.float64]) -> tuple[int, int]:
        """The place of the largest mean score: by C ascending, then by l1_ratio descending."""
        turned = mean[::-1].T
        place, ratio = np.unravel_index(int(np.argmax(turned)), turned.shape)
        return len(self.l1_ratios_) - 1 - int(ratio), int(place)
