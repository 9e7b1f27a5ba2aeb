"""Code that imports ``neurox`` computes here."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

from ._settings import Settings, Solver, settings

if TYPE_CHECKING:
    from typing_extensions import Self

#: The modules of NeuroX that this package has.
MODULES = (
    "analysis",
    "analysis.corpus",
    "data",
    "data.control_task",
    "data.loader",
    "interpretation",
    "interpretation.ablation",
    "interpretation.clustering",
    "interpretation.gaussian_probe",
    "interpretation.iou_probe",
    "interpretation.linear_probe",
    "interpretation.metrics",
    "interpretation.probeless",
    "interpretation.utils",
)

_MISSING = object()


class Patch:
    """What :func:`patch` has done; as a context manager it is undone at the end of the block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        unpatch()


@dataclasses.dataclass
class _Done:
    """How to undo it."""

    #: Names in ``sys.modules`` and what stood there.
    modules: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: Objects, names of attributes, and what these were.
    attributes: list[tuple[Any, str, Any]] = dataclasses.field(default_factory=list)
    settings: Settings = dataclasses.field(default_factory=lambda: dataclasses.replace(settings))

    def set(self, owner: Any, name: str, value: Any) -> None:
        self.attributes.append((owner, name, getattr(owner, name, _MISSING)))
        setattr(owner, name, value)

    def install(self, name: str, module: types.ModuleType) -> None:
        self.modules[name] = sys.modules.get(name, _MISSING)
        sys.modules[name] = module


_done: _Done | None = None


def patch(*, solver: Solver | None = None, device: str | int | None = None, gap: float | None = None) -> Patch:
    """Lets ``neurox`` mean this package, until :func:`unpatch` or for a ``with`` block; NeuroX may be installed or not.

    Modules of NeuroX that are imported later are those of this package; in those that are imported already, and in modules that
    took functions from them with ``from neurox… import …``, the names are replaced, and a warning says where. ``solver``,
    ``device`` and ``gap`` are the :class:`settings <Settings>` to compute by. Patching twice only changes these.

    Code that knows nothing of this package gets what it got before, sooner: probes are trained as NeuroX trains them (``adam``,
    on the CPU whatever the device). ``solver="auto"`` gives probes with a penalty the optimum of NeuroX's objective instead, and
    so does a ``gap``, which says how near to it.
    """
    global _done
    if _done is None:
        _done = _Done()
        _replace(_done)
        if settings.solver == "auto":
            settings.solver = "adam"
    if gap is not None and settings.solver == "adam":
        settings.solver = "auto"
    for name, value in (("solver", solver), ("device", device), ("gap", gap)):
        if value is not None:
            setattr(settings, name, value)
    return Patch()


def unpatch() -> None:
    """Undoes :func:`patch`, its settings included. Functions that code took from ``neurox`` in the meantime stay this package's."""
    global _done
    if _done is None:
        return
    done, _done = _done, None
    for owner, name, before in reversed(done.attributes):
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
    for name, before in done.modules.items():
        if before is _MISSING:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    for field in dataclasses.fields(Settings):
        setattr(settings, field.name, getattr(done.settings, field.name))


def _replace(done: _Done) -> None:
    try:
        importlib.import_module("neurox")
    except ImportError:
        done.install("neurox", sys.modules[__package__])
    replaced: dict[int, Any] = {}
    olds: list[Any] = []  # They must live as long as their ids are compared with.
    for name in MODULES:
        ours = importlib.import_module(f"{__package__}.{name}")
        theirs = sys.modules.get(f"neurox.{name}")
        if theirs is None:
            package, _, last = f"neurox.{name}".rpartition(".")
            done.install(f"neurox.{name}", ours)
            if getattr(sys.modules[package], last, None) is not ours:
                done.set(sys.modules[package], last, ours)
            continue
        for attribute in getattr(ours, "__all__", ()):
            old, new = getattr(theirs, attribute, _MISSING), getattr(ours, attribute)
            if old is not _MISSING:
                replaced[id(old)] = new
                olds.append(old)
            done.set(theirs, attribute, new)
    _rewrite(done, replaced)


def _rewrite(done: _Done, replaced: dict[int, Any]) -> None:
    """Replaces what modules took from NeuroX before."""
    places = []
    for name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType) or name.partition(".")[0] in ("neurox", "neurosieve"):
            continue
        for attribute, value in list(vars(module).items()):
            if id(value) in replaced and callable(value):
                done.set(module, attribute, replaced[id(value)])
                places.append(f"{name}.{attribute}")
    if places:
        warnings.warn(
            f"names that were imported from neurox before patch() now are neurosieve's: {', '.join(sorted(places))}. "
            "What else holds the old functions (defaults, closures, objects) keeps them: patch first, import afterwards",
            stacklevel=4,
        )
