"""Probes, a problem or a few a unit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import ActivationsLike
from .._engine import Problem, Progress, _Batch, _how
from .._errors import InvalidInputError
from .._results import Probe
from . import _data, _run

if TYPE_CHECKING:
    from distributed import Client


class _Shared(NamedTuple):
    """What every unit needs: activations, and the targets and weights that problems name by their places."""

    x: _data.Handed
    targets: list[Any]
    weights: list[npt.NDArray[np.float64]]
    how: dict[str, Any]
    device: str | int | None


def fit_probes(
    x: ActivationsLike | str | os.PathLike[str],
    problems: Problem | Sequence[Problem],
    *,
    standardize: bool = True,
    stop: Literal["screening", "certified"] | Mapping[str, float] = "screening",
    solver: Literal["auto", "newton", "fista", "lbfgs"] = "auto",
    max_passes: float = 3000,
    memory: int = 4 << 30,
    seed: int = 0,
    at_once: int = 1,
    device: str | int | None = None,
    client: Client | None = None,
    resources: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> list[Probe]:
    """:meth:`neurosieve.Engine.fit_probes`, a unit for every ``at_once`` problems; one probe for each, in their order.

    ``x`` is N x D. What a probe is depends on its own problem alone, so on CPUs it has the bits that one engine finds. Problems
    of a unit share the passes over the activations, which a GPU gains most by: give it a few dozen at once. ``memory`` are
    bytes that a unit may take. Raises :class:`neurosieve.InvalidInputError` as the engine does, and where ``at_once`` is
    under 1.
    """
    if at_once < 1:
        raise InvalidInputError(f"at_once: it is {at_once}, allowed is 1 or more. Give a unit at least one problem")
    array = _data.opened(x)
    batch = _Batch(_data.columns(array, slice(None)), problems)
    how = _how(standardize, stop, solver, max_passes, memory, seed)
    shared = _Shared(_data.handed(array), batch.targets, batch.weights, how, device)
    starts = range(0, len(batch.problems), at_once)
    calls = [(batch.problems[start : start + at_once],) for start in starts]
    probes: dict[int, Probe] = {}
    for place, fits in _run.run(_run.Where(client, resources, progress), "probes", _fit, shared, calls):
        for at, fit in enumerate(fits, starts[place]):
            probes[at] = batch.probe(at, fit, standardize)
    return [probes[at] for at in sorted(probes)]


def _fit(shared: _Shared, problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A unit: some of the problems, with what they alone need of targets and weights."""
    targets = sorted({problem["target"] for problem in problems})
    weights = sorted({problem["weights"] for problem in problems} - {None})
    own = [
        problem
        | {
            "target": targets.index(problem["target"]),
            "weights": None if problem["weights"] is None else weights.index(problem["weights"]),
        }
        for problem in problems
    ]
    return _core.fit_probes(
        _run.engine(shared.device)._device,
        shared.x.open(),
        [_aligned(shared.targets[at]) for at in targets],
        [_data.aligned(shared.weights[at]) for at in weights],
        own,
        shared.how,
        None,
    )


def _aligned(target: Any) -> Any:
    """Classes, which are numbers and how many there are, or values."""
    if isinstance(target, tuple):
        ids, classes = target
        return _data.aligned(ids), classes
    return _data.aligned(target)
