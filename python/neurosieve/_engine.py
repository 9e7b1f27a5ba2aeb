"""The engine: operations on arrays, on one device."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from . import _arrays, _core
from ._arrays import ActivationsLike
from ._errors import InvalidInputError
from ._results import (
    Certificate,
    Clustering,
    Clusterings,
    CorrelationMatrix,
    Curve,
    DeviceInfo,
    Edges,
    Ids,
    Moments,
    Partners,
    Probe,
    Ranking,
    Study,
)

#: Called now and then with the step that runs and the share of it that is done; what it raises ends the computation.
Progress: TypeAlias = Callable[[str, float], object]

#: 2 GiB.
_MEMORY = 2 << 30


def devices() -> list[DeviceInfo]:
    """The adapters that there are; empty where there is no driver. ``Engine("cpu")`` needs none."""
    return [DeviceInfo(**adapter) for adapter in _core.devices()]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """One probe to fit: minimise mean loss + ``l1``·‖W‖₁ + ``l2``·‖W‖², biases free.

    ``labels`` are the classes of the samples, of any type that sorts; the loss is softmax cross-entropy. With
    ``regression=True`` they are numbers, and the loss is half the squared error. The mean is weighted by ``sample_weight``; a
    sample of weight 0 is not seen. ``neurons`` restricts the probe to some neurons. ``norm="frobenius"`` penalises ``l2``·‖W‖,
    not squared, as NeuroX does.
    """

    labels: Any
    l1: float
    l2: float
    sample_weight: Any = None
    neurons: Any = None
    norm: Literal["squared", "frobenius"] = "squared"
    regression: bool = False


class Engine:
    """Computes on one device.

    ``device`` is ``auto`` (the best real GPU, else the CPU), ``cpu``, ``gpu``, ``all`` (every real GPU), the index of an adapter or
    a part of its name, or several of these with commas between.

    Activations are matrices of samples x neurons: NumPy arrays, tensors on the CPU, data frames or nested sequences. float32,
    float16 and bfloat16 are read where they are, without a copy, from memory-mapped files as well; other real types are
    converted to float32 first. Do not write to them while the engine runs. Other threads of the program go on meanwhile, and
    Ctrl-C ends a computation.
    """

    def __init__(self, device: str | int = "auto") -> None:
        self._asked = str(device)
        self._device = _core.Device(self._asked)

    @property
    def kind(self) -> str:
        """``cpu`` or ``gpu``."""
        return self._device.kind

    @property
    def name(self) -> str:
        """The adapter's name, or the number of threads."""
        return self._device.name

    @property
    def reason(self) -> str:
        """Why this device was taken."""
        return self._device.reason

    def __repr__(self) -> str:
        return f"<Engine on {self.kind} ({self.name})>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self._asked,)

    @overload
    def correlation(self, x: ActivationsLike, *, memory: int = ..., progress: Progress | None = ...) -> CorrelationMatrix: ...
    @overload
    def correlation(
        self, x: ActivationsLike, *, at_least: float, memory: int = ..., progress: Progress | None = ...
    ) -> Edges: ...
    @overload
    def correlation(self, x: ActivationsLike, *, top_k: int, memory: int = ..., progress: Progress | None = ...) -> Partners: ...
    def correlation(
        self,
        x: ActivationsLike,
        *,
        at_least: float | None = None,
        top_k: int | None = None,
        memory: int = _MEMORY,
        progress: Progress | None = None,
    ) -> CorrelationMatrix | Edges | Partners:
        """Pearson's r of every pair of neurons: the matrix, or without ever holding it the pairs with |r| ≥ ``at_least``, or the
        ``top_k`` best partners of each neuron. ``memory`` are bytes for what is in flight, and at most as many for pairs.
        """
        return self._correlate(x, None, at_least, top_k, memory, progress)

    @overload
    def cross_correlation(
        self, x: ActivationsLike, y: ActivationsLike, *, memory: int = ..., progress: Progress | None = ...
    ) -> CorrelationMatrix: ...
    @overload
    def cross_correlation(
        self, x: ActivationsLike, y: ActivationsLike, *, at_least: float, memory: int = ..., progress: Progress | None = ...
    ) -> Edges: ...
    @overload
    def cross_correlation(
        self, x: ActivationsLike, y: ActivationsLike, *, top_k: int, memory: int = ..., progress: Progress | None = ...
    ) -> Partners: ...
    def cross_correlation(
        self,
        x: ActivationsLike,
        y: ActivationsLike,
        *,
        at_least: float | None = None,
        top_k: int | None = None,
        memory: int = _MEMORY,
        progress: Progress | None = None,
    ) -> CorrelationMatrix | Edges | Partners:
        """As :meth:`correlation`, of each neuron of ``x`` with each of ``y``: another model over the same samples."""
        return self._correlate(x, y, at_least, top_k, memory, progress)

    def _correlate(
        self,
        x: ActivationsLike,
        y: ActivationsLike | None,
        at_least: float | None,
        top_k: int | None,
        memory: int,
        progress: Progress | None,
    ) -> CorrelationMatrix | Edges | Partners:
        if at_least is not None and top_k is not None:
            raise InvalidInputError("at_least and top_k: both were given. Give one of them, or neither for the whole matrix")
        if top_k is not None and top_k < 1:
            raise InvalidInputError(f"top_k: it is {top_k}, allowed is 1 or more. Ask for at least one partner")
        left = _arrays.activations(x)
        right = None if y is None else _arrays.activations(y, "activations of the other model")
        asked = {
            "matrix": at_least is None and top_k is None,
            "at_least": at_least,
            "top_k": top_k or 0,
            "memory": memory,
        }
        found = _core.correlate(self._device, left, right, asked, progress)
        moments = _moments(found)
        if at_least is not None:
            i, j, r = found["edges"]
            return Edges(i, j, r, moments)
        if top_k is not None:
            neuron, r = found["partners"]
            return Partners(neuron, r, moments, None if y is None else found["partners_of_right"])
        return CorrelationMatrix(found["r"], moments)

    def clusters(
        self,
        x: ActivationsLike,
        thresholds: float | Sequence[float],
        *,
        linkage: Literal["average", "complete", "single"] = "average",
        distance: Literal["absolute", "signed"] = "absolute",
        representatives: Literal["medoid", "random"] = "medoid",
        seed: int = 0,
        memory: int = _MEMORY,
        progress: Progress | None = None,
    ) -> Clusterings:
        """Agglomerative clusters of neurons by 1 − |r| (``signed``: 1 − r), one dendrogram cut at every threshold: the same
        partitions as SciPy's ``fcluster(..., criterion="distance")``. A cluster is represented by the member that is most like
        the others, or by a random one.
        """
        if representatives not in ("medoid", "random"):
            raise InvalidInputError(f'representatives: it is {representatives!r}. Allowed are "medoid", "random"')
        cut_at = [float(threshold) for threshold in np.atleast_1d(np.asarray(thresholds, dtype=float))]
        if not all(threshold >= 0 for threshold in cut_at):
            raise InvalidInputError(f"thresholds: they are {cut_at}, allowed is 0 or more. 0.3 and 0.5 are usual")
        random = seed if representatives == "random" else None
        found = _core.clusters(self._device, _arrays.activations(x), cut_at, linkage, distance, random, memory, progress)
        cuts = zip(cut_at, found["cuts"], strict=True)
        return Clusterings(
            tuple(Clustering(threshold, labels, chosen) for threshold, (labels, chosen) in cuts),
            found["linkage"],
            _moments(found),
        )

    def fit_probes(
        self,
        x: ActivationsLike,
        problems: Problem | Sequence[Problem],
        *,
        standardize: bool = True,
        stop: Literal["screening", "certified"] | Mapping[str, float] = "screening",
        solver: Literal["auto", "newton", "fista", "lbfgs"] = "auto",
        max_passes: float = 3000,
        memory: int = 4 << 30,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[Probe]:
        """Fits a batch of probes over the same activations, each to its optimum, and returns one for each problem. Tasks,
        penalties, layers, folds and controls of one call share the passes over the activations.

        ``standardize``: the penalty is on the weights of standardised activations (NeuroX's and scikit-learn's are on raw ones).
        ``stop`` is ``screening`` (a relative duality gap of 1e-3), ``certified`` (1e-6), ``{"gap": 1e-4}`` or ``{"kkt": 1e-4}``.
        """
        batch = _Batch(x, problems)
        how = _how(standardize, stop, solver, max_passes, memory, seed)
        fits = _core.fit_probes(self._device, batch.x, batch.targets, batch.weights, batch.problems, how, progress)
        return [batch.probe(at, fit, standardize) for at, fit in enumerate(fits)]

    def lambda_max(
        self, x: ActivationsLike, problems: Problem | Sequence[Problem], *, standardize: bool = True
    ) -> npt.NDArray[np.float64]:
        """The smallest ``l1`` at which every weight of the optimum is zero, of each problem; their penalties do not matter."""
        batch = _Batch(x, problems)
        how = _how(standardize, "screening", "auto", 1, 4 << 30, 0)
        return np.array(_core.lambda_max(batch.x, batch.targets, batch.weights, batch.problems, how))

    def train_adam(
        self,
        x: ActivationsLike,
        problems: Problem | Sequence[Problem],
        *,
        starts: Sequence[tuple[npt.ArrayLike, npt.ArrayLike] | int] | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        progress: Progress | None = None,
    ) -> list[Probe]:
        """Trains probes as NeuroX does, by Adam on batches in order with ``l2``·‖W‖ not squared, on the CPU. It is no solver:
        certificates say how far from the optimum it stopped.

        ``starts`` are initial weights (C x neurons, those of ``torch.nn.Linear`` for the same weights as NeuroX) and biases, or
        a seed, of each problem; without them the problems' places are the seeds.
        """
        batch = _Batch(x, problems, norm="frobenius")
        begin = [_start(start) for start in (range(len(batch.problems)) if starts is None else starts)]
        fits = _core.train_adam(batch.x, batch.targets, batch.problems, begin, epochs, batch_size, learning_rate, progress)
        return [batch.probe(at, fit, False) for at, fit in enumerate(fits)]

    def rank(
        self,
        x: ActivationsLike,
        labels: Any,
        methods: str | Sequence[str] = (),
        *,
        probe: Probe | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> dict[str, Ranking]:
        """Orders the neurons by each method: ``lca`` and ``largest-weight`` of a ``probe``, ``probeless``, ``anova``,
        ``mean-difference``, ``information``, ``auroc``, ``average-precision``, ``accuracy``, ``random``; without methods by all
        that can be. ``borda`` is their vote, where two or more have one. Natively, whatever the device.
        """
        array = _arrays.activations(x)
        chosen = [methods] if isinstance(methods, str) else list(methods)
        weights = None
        if probe is None:
            classes = _arrays.labels(labels, len(array))
        else:
            if probe.classes is None:
                raise InvalidInputError("probe of a ranking: it predicts values, not classes. Give one of classes")
            classes = _arrays.Classes(_arrays.numbered(labels, probe.classes, len(array)), probe.classes)
            weights = np.ascontiguousarray(probe.standardised if probe.standardize else probe.weights)
        found = _core.rank(array, classes.ids, len(classes.names), chosen, weights, seed, progress)
        return {
            method: Ranking(method, order, scores, _by_class(classes.names, per_class))
            for method, (order, scores, per_class) in found.items()
        }

    def sweep(
        self,
        x: ActivationsLike,
        labels: Any,
        probe: Probe,
        orderings: Mapping[str, Any] | Ranking | npt.ArrayLike,
        *,
        ablation: Literal["mean", "zero"] | npt.ArrayLike = "mean",
        mean: npt.ArrayLike | None = None,
        by_class: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Curve]:
        """Accuracy of a probe that keeps the first k neurons of each ordering, at EVERY k, in one pass and without retraining.

        The other neurons are replaced by their ``mean`` (of these activations, or those given), by ``zero`` as NeuroX does, or
        by any value of each. ``orderings`` maps names to rankings or neuron ids.
        """
        if probe.classes is None:
            raise InvalidInputError("probe of a sweep: it predicts values, not classes. Give one of classes")
        array = _arrays.activations(x)
        named = _named_orderings(orderings)
        lists = {name: _arrays.neurons(order, array.shape[1], f"ordering {name!r}") for name, order in named.items()}
        kind, replaced = _ablation(ablation, mean, array.shape[1])
        curves = _core.ablate(
            self._device,
            array,
            _arrays.numbered(labels, probe.classes, len(array)),
            np.ascontiguousarray(probe.weights),
            np.ascontiguousarray(probe.bias),
            replaced,
            list(lists.values()),
            by_class,
            progress,
        )
        return {
            name: Curve(name, kind, curve["correct"], curve["total"], curve["by_class"])
            for name, curve in zip(lists, curves, strict=True)
        }

    def study(self, spec: str | os.PathLike[str] | Mapping[str, Any], *, progress: Progress | None = None) -> Study:
        """Runs a whole study: ``spec`` is the file of a specification (TOML; its data files are relative to it), or a mapping
        with the same keys (data files relative to the current folder).
        """
        if isinstance(spec, Mapping):
            text = json.dumps(_without_none(spec), default=os.fspath)
            return Study(_core.run_study(self._device, None, text, progress))
        return Study(_core.run_study(self._device, os.fspath(spec), None, progress))


def _moments(found: Mapping[str, Any]) -> Moments:
    return Moments(found["mean"], found["sd"], found["constant"], found["nearly_constant"])


def _by_class(names: npt.NDArray[Any], orders: Sequence[Ids]) -> dict[Any, Ids]:
    return {name: order for name, order in zip(names.tolist(), orders, strict=True) if len(order) > 0}


def _how(
    standardize: bool,
    stop: str | Mapping[str, float],
    solver: str,
    max_passes: float,
    memory: int,
    seed: int,
) -> dict[str, Any]:
    tolerance = None
    if isinstance(stop, Mapping):
        if len(stop) != 1 or not set(stop) <= {"gap", "kkt"}:
            raise InvalidInputError(f'stop: it is {dict(stop)}. Give {{"gap": 1e-4}} or {{"kkt": 1e-4}}')
        ((stop, tolerance),) = stop.items()
    elif stop not in ("screening", "certified"):
        raise InvalidInputError(f'stop: it is {stop!r}. Allowed are "screening", "certified", or a tolerance')
    return {
        "standardize": standardize,
        "stop": stop,
        "tolerance": tolerance,
        "solver": solver,
        "max_passes": max_passes,
        "memory": memory,
        "seed": seed,
    }


class _Batch:
    """Problems with what they share told apart: targets, weights, and the problems that name them by their places."""

    def __init__(self, x: ActivationsLike, problems: Problem | Sequence[Problem], norm: str | None = None) -> None:
        self.x = _arrays.activations(x)
        self.targets: list[Any] = []
        self.weights: list[npt.NDArray[np.float64]] = []
        self.problems: list[dict[str, Any]] = []
        self._classes: list[npt.NDArray[Any] | None] = []
        targets: dict[tuple[int, bool], int] = {}
        weights: dict[int, int] = {}
        samples, neurons = self.x.shape
        for problem in [problems] if isinstance(problems, Problem) else problems:
            key = (id(problem.labels), problem.regression)
            if key not in targets:
                targets[key] = len(self.targets)
                self._add_target(problem, samples)
            weight = problem.sample_weight
            if weight is not None and id(weight) not in weights:
                weights[id(weight)] = len(self.weights)
                self.weights.append(_arrays.weights(weight, samples))
            if problem.norm not in ("squared", "frobenius"):
                raise InvalidInputError(f'norm: it is {problem.norm!r}. Allowed are "squared", "frobenius"')
            seen = problem.neurons
            self.problems.append(
                {
                    "target": targets[key],
                    "weights": None if weight is None else weights[id(weight)],
                    "neurons": None if seen is None else np.sort(_arrays.neurons(seen, neurons)).tolist(),
                    "l1": float(problem.l1),
                    "l2": float(problem.l2),
                    "frobenius": (norm or problem.norm) == "frobenius",
                }
            )

    def _add_target(self, problem: Problem, samples: int) -> None:
        if problem.regression:
            self.targets.append(_arrays.values(problem.labels, samples))
            self._classes.append(None)
        else:
            classes = _arrays.labels(problem.labels, samples)
            self.targets.append((classes.ids, len(classes.names)))
            self._classes.append(classes.names)

    def probe(self, at: int, fit: dict[str, Any], standardize: bool) -> Probe:
        certificate = Certificate(**fit.pop("certificate"))
        classes = self._classes[self.problems[at]["target"]]
        return Probe(classes=classes, certificate=certificate, standardize=standardize, **fit)


def _start(start: Any) -> Any:
    if isinstance(start, int):
        return start
    weights, bias = start
    return np.asarray(weights, dtype=np.float32), np.asarray(bias, dtype=np.float32)


def _named_orderings(orderings: Any) -> dict[str, Any]:
    if isinstance(orderings, Ranking):
        return {orderings.method: orderings.order}
    if isinstance(orderings, Mapping):
        plain = {str(name): order for name, order in orderings.items()}
        return {name: order.order if isinstance(order, Ranking) else order for name, order in plain.items()}
    return {"given": orderings}


def _ablation(ablation: Any, mean: Any, neurons: int) -> tuple[str, npt.NDArray[np.float32] | None]:
    if isinstance(ablation, str):
        if ablation not in ("mean", "zero"):
            raise InvalidInputError(f'ablation: it is {ablation!r}. Allowed are "mean", "zero", or one value a neuron')
        if ablation == "zero":
            return "zero", np.zeros(neurons, dtype=np.float32)
        return "mean", None if mean is None else _arrays.values(mean, neurons, "mean")
    return "given", _arrays.values(ablation, neurons, "ablation")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
