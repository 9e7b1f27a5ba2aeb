"""The probe as a classifier."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, _fit_context
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from .. import _core
from .._engine import Engine, Problem
from .._errors import InvalidInputError
from .._results import Certificate, Probe

#: What a probe's activations may be stored in.
DTYPES = [np.float32, np.float64, np.float16]


class _Probe(LinearClassifierMixin, BaseEstimator):
    """What the probe with given penalties and the one that chooses them have in common."""

    #: Parameters of both, with what they may be.
    _common: dict[str, list[Any]] = {
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 1e-7, 1, closed="both")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "device": [str, Integral],
        "random_state": ["random_state"],
    }

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """The probability of every class, N x C."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        scores = scores - scores.max(axis=1, keepdims=True)
        odds: npt.NDArray[np.float64] = np.exp(scores)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """The logarithm of the probability of every class, N x C."""
        return np.log(self.predict_proba(X))

    def _checked(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, npt.NDArray[np.float64]]:
        """Activations, labels and the weights of samples, those of their classes included."""
        X, y = validate_data(self, X, y, dtype=DTYPES, order=None)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InvalidInputError(
                f"y: there is one class, {self.classes_[0]!r}. A probe tells classes apart: give samples of at least 2 classes"
            )
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        return X, y, weights

    def _take(self, found: tuple[npt.NDArray[Any], npt.NDArray[Any], Certificate, bool]) -> None:
        """Becomes the probe that :func:`solve` found, and warns where it did not converge."""
        self.coef_, self.intercept_, self.certificate_, self.is_exact_ = found
        self.n_iter_ = np.array([max(1, round(self.certificate_.passes))])
        warn_unconverged(self.certificate_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def penalties(C: float, l1_ratio: float, weight: float, classes: int) -> tuple[float, float]:
    """scikit-learn's ``C`` times the sum of losses plus penalty as the engine's mean loss plus λ1·‖W‖₁ + λ2·‖W‖².

    Two classes are one column of coefficients there and two opposite ones here, of half its size: λ1 is the same, and of the
    sum of two quarters λ2 is twice what it is of one square's half.
    """
    unit = 1.0 / (C * weight)
    ridge = (1.0 - l1_ratio) * unit
    return l1_ratio * unit, ridge if classes == 2 else ridge / 2


def solve(
    X: npt.NDArray[Any],
    y: Any,
    weights: list[npt.NDArray[np.float64]],
    grid: list[tuple[int, float, float]],
    estimator: Any,
) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any], Certificate, bool]]:
    """Fits a probe for each (place of its weights, C, l1_ratio): coefficients, intercepts, certificate, and whether in f64.

    Small problems are solved in f64, to rounding; the others as one batch in f32, to ``tol``.
    """
    classes, ids = np.unique(y, return_inverse=True)
    asked = [(at, *penalties(C, ratio, weights[at].sum(), len(classes))) for at, C, ratio in grid]
    if _core.is_small(len(X), X.shape[1], len(classes)):
        x = X.astype(np.float64, copy=False)
        labels = ids.reshape(-1).astype(np.uint32)
        return [_exact(x, labels, len(classes), weights[at], l1, l2, estimator) for at, l1, l2 in asked]
    if not estimator.fit_intercept:
        raise InvalidInputError(
            f"fit_intercept: it is False, for {X.shape[0]} samples x {X.shape[1]} neurons and {len(classes)} classes. "
            "Only small problems are fitted without intercepts: fit them, or choose fewer neurons"
        )
    problems = [Problem(y, l1, l2, sample_weight=weights[at]) for at, l1, l2 in asked]
    probes = Engine(estimator.device).fit_probes(
        X,
        problems,
        standardize=False,
        stop={"gap": float(estimator.tol)},
        max_passes=estimator.max_iter,
        seed=seed_of(estimator.random_state),
    )
    return [_large(probe) for probe in probes]


def _exact(
    x: npt.NDArray[np.float64],
    labels: npt.NDArray[np.uint32],
    classes: int,
    weights: npt.NDArray[np.float64],
    l1: float,
    l2: float,
    estimator: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Certificate, bool]:
    steps = min(int(estimator.max_iter), 2**32)
    fit = _core.fit_exactly(x, labels, classes, weights, (l1, l2), False, estimator.fit_intercept, steps)
    coef, intercept = _as_scikit_learn(fit["weights"], fit["bias"])
    return coef, intercept, Certificate(**fit["certificate"]), True


def _large(probe: Probe) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Certificate, bool]:
    coef, intercept = _as_scikit_learn(probe.weights, probe.bias)
    return coef, intercept, probe.certificate, False


def _as_scikit_learn(weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Two classes have one row of coefficients, those of the second class against the first."""
    if len(bias) == 2:
        return weights[1:] - weights[:1], bias[1:] - bias[:1]
    return weights, bias


class ElasticNetProbe(_Probe):
    """Multinomial logistic regression with an elastic net, solved to a proven optimum.

    Minimises scikit-learn's objective, ``C`` · Σ wᵢ·lossᵢ + ``l1_ratio``·‖W‖₁ + (1 − ``l1_ratio``)/2·‖W‖², intercepts free:
    the same optimum as ``LogisticRegression(C=C, l1_ratio=l1_ratio)``, of any number of classes.

    Parameters
    ----------
    C : inverse strength of the penalty, more than 0.
    l1_ratio : the share of the penalty that is ‖W‖₁, 0 to 1.
    fit_intercept : whether intercepts are fitted; False for small problems alone.
    class_weight : ``"balanced"``, or a weight for each class.
    tol : relative duality gap at which a fit has converged, 1e-7 to 1. Small problems are solved to rounding whatever it is.
    max_iter : passes over the activations after which a fit is left as it is, with a warning.
    device : as :class:`neurosieve.Engine` takes it; small problems are solved on the CPU.
    random_state : seeds the solver's sampling of the Hessian: results differ within the certificate alone.

    Attributes
    ----------
    classes_ : the classes.
    coef_ : C x D, 1 x D of two classes, for activations as they are.
    intercept_ : C, or 1.
    n_iter_ : passes over the activations, as an array of one.
    certificate_ : how near to the optimum the fit provably is, a :class:`neurosieve.Certificate`.
    is_exact_ : whether the fit was in f64 to rounding; it is where the whole Hessian is small (600 coefficients, fewer with many
        samples). Otherwise activations are float32 and so are ``coef_`` and ``intercept_``.
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "C": [Interval(Real, 0, None, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        **_Probe._common,
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        class_weight: Any = None,
        tol: float = 1e-4,
        max_iter: int = 3000,
        device: str | int = "auto",
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ElasticNetProbe:
        """Fits the probe."""
        X, y, weights = self._checked(X, y, sample_weight)
        grid = [(0, float(self.C), float(self.l1_ratio))]
        [found] = solve(X, y, [weights], grid, self)
        self._take(found)
        return self


def seed_of(random_state: Any) -> int:
    """A seed of the engine: 0 where none is given, so that a fit is the same again."""
    from sklearn.utils import check_random_state

    if random_state is None:
        return 0
    return int(check_random_state(random_state).randint(2**31 - 1))


def warn_unconverged(certificate: Certificate) -> None:
    """Says that a fit was left where it was."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    if not certificate.converged:
        warnings.warn(
            f"the probe did not converge in max_iter passes: its relative duality gap is {certificate.relative_gap:.2g}. "
            "Allow more passes or a larger tol",
            ConvergenceWarning,
            stacklevel=4,
        )
