"""How the functions of this package compute, where a call does not say."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, TypeAlias

from .. import _core
from .._errors import InvalidInputError

Solver: TypeAlias = Literal["auto", "exact", "adam"]


@dataclasses.dataclass
class Settings:
    """What is taken where a call does not say; :func:`neurosieve.neurox.patch` sets it for code that knows nothing of it, the
    solver to ``adam`` unless it is told another."""

    #: ``exact``: to the optimum. ``adam``: trained as NeuroX does. ``auto``: exact with a penalty, ``adam`` without one, since
    #: there is no optimum without a penalty where the neurons tell the classes apart.
    solver: Solver = "auto"
    #: As of :class:`neurosieve.Engine`.
    device: str | int = "auto"
    #: Relative duality gap at which an exact fit is done.
    gap: float = 1e-3


#: The settings in force.
settings = Settings()


def solver_of(asked: str | None, penalised: bool) -> str:
    """``exact`` or ``adam``."""
    solver = settings.solver if asked is None else asked
    if solver not in ("auto", "exact", "adam"):
        raise InvalidInputError(f'solver: it is {solver!r}. Allowed are "auto", "exact", "adam"')
    if solver == "auto":
        return "exact" if penalised else "adam"
    return solver


def device_of(asked: str | int | None) -> Any:
    """The device to compute on."""
    return _opened(str(settings.device if asked is None else asked))


@functools.cache
def _opened(device: str) -> Any:
    return _core.Device(device)
