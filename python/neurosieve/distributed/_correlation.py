"""Correlations, cut into pairs of blocks of neurons."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from .._arrays import ActivationsLike
from .._engine import Progress
from .._errors import InvalidInputError
from .._results import CorrelationMatrix, Edges, Ids, Moments, Partners
from . import _data, _run

if TYPE_CHECKING:
    from distributed import Client

#: Neurons of a block.
_BLOCK = 2048

#: 2 GiB.
_MEMORY = 2 << 30

#: Bytes of a pair, as the engine counts them.
_PAIR = 12


class _Shared(NamedTuple):
    """What every unit needs."""

    left: _data.Handed
    #: None: the left one's neurons with each other.
    right: _data.Handed | None
    at_least: float | None
    top_k: int | None
    memory: int
    device: str | int | None

    def sides(self) -> tuple[_data.Array, _data.Array]:
        left = self.left.open()
        return left, left if self.right is None else self.right.open()

    def wanted(self) -> dict[str, Any]:
        given = {"at_least": self.at_least, "top_k": self.top_k}
        return {name: value for name, value in given.items() if value is not None}


@overload
def correlation(
    x: ActivationsLike | str | os.PathLike[str],
    *,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> CorrelationMatrix: ...
@overload
def correlation(
    x: ActivationsLike | str | os.PathLike[str],
    *,
    at_least: float,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> Edges: ...
@overload
def correlation(
    x: ActivationsLike | str | os.PathLike[str],
    *,
    top_k: int,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> Partners: ...
def correlation(
    x: ActivationsLike | str | os.PathLike[str],
    *,
    at_least: float | None = None,
    top_k: int | None = None,
    block: int = _BLOCK,
    memory: int = _MEMORY,
    device: str | int | None = None,
    client: Client | None = None,
    resources: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> CorrelationMatrix | Edges | Partners:
    """:meth:`neurosieve.Engine.correlation`, a unit for every pair of blocks of ``block`` neurons.

    ``x`` is N x D; the result is D x D, or the pairs with |r| ≥ ``at_least``, or the ``top_k`` partners of each neuron.
    ``memory`` are bytes that a unit may take, and for all pairs together. Raises :class:`neurosieve.InvalidInputError` as the
    engine does, and where ``block`` is under 1.
    """
    shared = _shared(x, None, at_least, top_k, memory, device)
    return _correlate(shared, block, _run.Where(client, resources, progress))


@overload
def cross_correlation(
    x: ActivationsLike | str | os.PathLike[str],
    y: ActivationsLike | str | os.PathLike[str],
    *,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> CorrelationMatrix: ...
@overload
def cross_correlation(
    x: ActivationsLike | str | os.PathLike[str],
    y: ActivationsLike | str | os.PathLike[str],
    *,
    at_least: float,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> Edges: ...
@overload
def cross_correlation(
    x: ActivationsLike | str | os.PathLike[str],
    y: ActivationsLike | str | os.PathLike[str],
    *,
    top_k: int,
    block: int = ...,
    memory: int = ...,
    device: str | int | None = ...,
    client: Client | None = ...,
    resources: Mapping[str, float] | None = ...,
    progress: Progress | None = ...,
) -> Partners: ...
def cross_correlation(
    x: ActivationsLike | str | os.PathLike[str],
    y: ActivationsLike | str | os.PathLike[str],
    *,
    at_least: float | None = None,
    top_k: int | None = None,
    block: int = _BLOCK,
    memory: int = _MEMORY,
    device: str | int | None = None,
    client: Client | None = None,
    resources: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> CorrelationMatrix | Edges | Partners:
    """As :func:`correlation`, of each neuron of ``x`` (N x D) with each of ``y`` (N x D'), another model over the same samples."""
    shared = _shared(x, y, at_least, top_k, memory, device)
    return _correlate(shared, block, _run.Where(client, resources, progress))


def _shared(
    x: ActivationsLike,
    y: ActivationsLike | None,
    at_least: float | None,
    top_k: int | None,
    memory: int,
    device: str | int | None,
) -> _Shared:
    if at_least is not None and top_k is not None:
        raise InvalidInputError("at_least and top_k: both were given. Give one of them, or neither for the whole matrix")
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k: it is {top_k}, allowed is 1 or more. Ask for at least one partner")
    left = _data.opened(x)
    right = None if y is None else _data.opened(y, "activations of the other model")
    if right is not None and len(right) != len(left):
        raise InvalidInputError(
            f"correlation of two models: one has {len(left)} samples and the other {len(right)}. "
            "Give activations of the same samples, in the same order"
        )
    return _Shared(_data.handed(left), None if right is None else _data.handed(right), at_least, top_k, memory, device)


def _correlate(shared: _Shared, block: int, where: _run.Where) -> CorrelationMatrix | Edges | Partners:
    if block < 1:
        raise InvalidInputError(f"block: it is {block}, allowed is 1 or more. 2048 is usual")
    sizes = [side.shape[1] for side in (shared.left, shared.right) if side is not None]
    # Of whole rows, as one engine takes them: nearly constant is a neuron beside all others. And what is not finite is named
    # by its place among all neurons.
    [moments, *_] = _in_order(_run.run(where, "moments", _moments, shared, [(at,) for at in range(len(sizes))]))
    left, right = (_blocks(size, block) for size in (sizes[0], sizes[-1]))
    pairs = [(a, b) for a, b in itertools.product(left, right) if shared.right is not None or a.start < b.start]
    if shared.right is None:
        # Those on the diagonal, which are half the work, come last: they even out what the workers have to do.
        pairs += [(a, a) for a in left]
    with contextlib.closing(_run.run(where, "correlations", _block, shared, pairs)) as found:
        results = ((pairs[at], result) for at, result in found)
        if shared.at_least is not None:
            return _edges(results, shared.memory, shared.at_least, moments)
        if shared.top_k is not None:
            return _partners(results, shared.top_k, shared.right is not None, moments)
        return _matrix(results, shared.right is None, (sizes[0], sizes[-1]), moments)


def _in_order(found: Any) -> list[Any]:
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def _blocks(neurons: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, neurons)) for start in range(0, neurons, block)]


def _moments(shared: _Shared, at: int) -> Moments:
    """A unit: the moments of a whole side, which come with its correlations with its first neuron."""
    x = shared.sides()[at]
    whole, first = (_data.columns(x, slice(0, end)) for end in (x.shape[1], 1))
    return _run.engine(shared.device).cross_correlation(whole, first, memory=shared.memory).moments


def _block(shared: _Shared, rows: slice, columns: slice) -> Any:
    """A unit: the correlations of some left neurons with some right ones, numbered by their places in the blocks."""
    x, y = shared.sides()
    engine, left = _run.engine(shared.device), _data.columns(x, rows)
    found: Any
    if shared.right is None and rows == columns:
        found = engine.correlation(left, memory=shared.memory, **shared.wanted())
    else:
        found = engine.cross_correlation(left, _data.columns(y, columns), memory=shared.memory, **shared.wanted())
    if isinstance(found, Edges):
        return found.i, found.j, found.r
    if isinstance(found, Partners):
        return (found.neuron, found.r), found.of_right
    return found.r


def _matrix(results: Any, symmetric: bool, shape: tuple[int, int], moments: Moments) -> CorrelationMatrix:
    r = np.empty(shape, dtype=np.float32)
    for (rows, columns), part in results:
        if symmetric:
            if rows == columns:
                part = np.where(np.tri(len(part), k=-1, dtype=bool), part.T, part)
            r[columns, rows] = part.T
        r[rows, columns] = part
    return CorrelationMatrix(r, moments)


def _edges(results: Any, memory: int, at_least: float, moments: Moments) -> Edges:
    parts = []
    found = 0
    for (rows, columns), (i, j, r) in results:
        parts.append((i + rows.start, j + columns.start, r))
        found += len(r)
        if found > memory // _PAIR:
            raise InvalidInputError(
                f"pairs with |r| of at least {at_least}: there are more than {memory // _PAIR}, which is as many as memory is "
                "planned for. Ask for stronger pairs only (a larger |r|), or allow more memory"
            )
    i, j, r = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((j, i))
    return Edges(i[order], j[order], r[order], moments)


class _Candidates:
    """The best partners of each neuron of a side in every block of others."""

    def __init__(self) -> None:
        self._parts: dict[int, list[tuple[Ids, npt.NDArray[np.float32]]]] = {}

    def add(self, of: slice, others: slice, best: tuple[Ids, npt.NDArray[np.float32]]) -> None:
        ids, r = best
        self._parts.setdefault(of.start, []).append((ids + others.start, r))

    def best(self, most: int) -> tuple[Ids, npt.NDArray[np.float32]]:
        """The strongest of all, ties by id."""
        chosen = []
        for _, parts in sorted(self._parts.items()):
            ids, r = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
            order = np.lexsort((ids, -np.abs(r)), axis=1)[:, :most]
            chosen.append((np.take_along_axis(ids, order, 1), np.take_along_axis(r, order, 1)))
        ids, r = (np.concatenate(column) for column in zip(*chosen, strict=True))
        return ids, r


def _partners(results: Any, most: int, cross: bool, moments: Moments) -> Partners:
    of_left, of_right = _Candidates(), _Candidates()
    for (rows, columns), (left, right) in results:
        of_left.add(rows, columns, left)
        if right is not None:
            (of_right if cross else of_left).add(columns, rows, right)
    neuron, r = of_left.best(most)
    return Partners(neuron, r, moments, of_right.best(most) if cross else None)
