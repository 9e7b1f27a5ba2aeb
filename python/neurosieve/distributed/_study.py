"""Studies, a specification a unit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .._engine import Progress
from .._results import Study
from . import _run

if TYPE_CHECKING:
    from distributed import Client

#: The file of a specification, or a mapping with its keys.
Specification: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]


def study(
    specs: Specification | Sequence[Specification],
    *,
    device: str | int | None = None,
    client: Client | None = None,
    resources: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> list[Study]:
    """:meth:`neurosieve.Engine.study` of every specification, a unit each; one study for each, in their order.

    Specifications and the data that they name are files which every worker reads under the same path; paths are made absolute
    here. On CPUs the results are those of one engine but for the times that were taken. Raises as the engine does.
    """
    several = [specs] if isinstance(specs, str | os.PathLike | Mapping) else list(specs)
    calls = [(_located(spec),) for spec in several]
    studies: dict[int, Study] = {}
    for at, text in _run.run(_run.Where(client, resources, progress), "studies", _study, device, calls):
        studies[at] = Study(text)
    return [studies[at] for at in range(len(calls))]


def _study(device: str | int | None, spec: str | Mapping[str, Any]) -> str:
    """A unit: ``results.json`` of a specification."""
    return _run.engine(device).study(spec).json


def _located(spec: Specification) -> str | dict[str, Any]:
    """The specification, of whose paths none depends on the folder that a worker runs in."""
    if not isinstance(spec, Mapping):
        return os.path.abspath(spec)
    data = spec.get("data")
    if not isinstance(data, Mapping):
        return dict(spec)
    parts = {part: _absolute(data[part]) for part in ("train", "dev", "test") if part in data}
    return {**spec, "data": {**data, **parts}}


def _absolute(part: Any) -> Any:
    """A part of the data: a path, or a table with nothing but paths in it."""
    if isinstance(part, str | os.PathLike):
        return os.path.abspath(part)
    if isinstance(part, Mapping):
        return {key: _absolute(value) for key, value in part.items()}
    return part
