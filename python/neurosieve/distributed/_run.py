"""Units of work, on the workers of a Dask cluster or one after the other in this process.

A unit is a function of this package, what all units share, and the arguments of its own. It depends on nothing else, so that one
whose worker died is computed again elsewhere, to the same bits.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .._engine import Engine, Progress
from .._errors import DeviceError, InvalidInputError

if TYPE_CHECKING:
    from distributed import Client

#: The environment variable that says which device a worker computes on, where the call does not.
DEVICE = "NEUROSIEVE_DEVICE"

#: How often what is shared is handed out again when every worker that had it died before a single unit was done.
_AGAIN = 5

#: Results, each with the place of its call.
Pairs: TypeAlias = Generator[tuple[int, Any], None, None]


class Where(NamedTuple):
    """Who computes, and who hears of it."""

    client: Client | None
    resources: Mapping[str, float] | None
    progress: Progress | None


@functools.lru_cache(maxsize=8)
def engine(device: str | int | None) -> Engine:
    """The engine of this process: a GPU is opened once, not by every unit."""
    return Engine(os.environ.get(DEVICE) or "auto" if device is None else device)


def run(where: Where, step: str, unit: Callable[..., Any], shared: Any, calls: Sequence[tuple[Any, ...]]) -> Pairs:
    """``unit(shared, *call)`` of every call, with the call's place, in the order in which they end.

    Raises what a unit raises; the units that have not begun are not computed then, nor when the caller stops to ask.
    """
    client = _client(where.client)
    found = _here(unit, shared, calls) if client is None else _there(client, where.resources, unit, shared, calls)
    with contextlib.closing(found):
        for done, pair in enumerate(found, 1):
            yield pair
            if where.progress is not None:
                where.progress(step, done / len(calls))


def _client(given: Client | None) -> Client | None:
    """The client that was given, else Dask's own default one: where nobody imported Dask there is none."""
    client = given
    if client is None:
        if "distributed" not in sys.modules:
            return None
        import distributed

        try:
            client = distributed.Client.current()
        except ValueError:
            return None
    if not all(hasattr(client, name) for name in ("scatter", "submit", "cancel")):
        raise InvalidInputError(f"client: it is {client!r}. Give a distributed.Client, or None")
    if client.asynchronous:
        raise InvalidInputError("client: it is asynchronous. Give one that is not, from a thread of its own")
    return client


def _here(unit: Callable[..., Any], shared: Any, calls: Sequence[tuple[Any, ...]]) -> Pairs:
    for at, call in enumerate(calls):
        yield at, unit(shared, *call)


def _there(
    client: Client,
    resources: Mapping[str, float] | None,
    unit: Callable[..., Any],
    shared: Any,
    calls: Sequence[tuple[Any, ...]],
) -> Pairs:
    left = dict(enumerate(calls))
    fruitless = 0
    while left and fruitless <= _AGAIN:
        fruitless += 1
        # Every worker has a copy, so that the death of one loses nothing but the units that it was at.
        [handed] = client.scatter([shared], broadcast=True, hash=False)
        futures = {client.submit(unit, handed, *call, resources=resources, pure=False): at for at, call in left.items()}
        with contextlib.closing(_finished(client, futures)) as finished:
            for at, result in finished:
                del left[at]
                fruitless = 0
                yield at, result
    if left:
        raise DeviceError(
            f"workers: all that had the data died, {fruitless} times. See their logs; fewer processes a machine need less memory"
        )


def _finished(client: Client, futures: Mapping[Any, int]) -> Pairs:
    """The results as they come. It ends early where what the units share is lost: Dask cancels those that need it."""
    from distributed import as_completed

    try:
        for future in as_completed(futures, loop=client.loop):
            try:
                result = future.result()
            except CancelledError:
                continue
            # What was taken need not stay on its worker.
            future.release()
            yield futures[future], result
    finally:
        client.cancel(list(futures))
