"""Tensors by name, from memory or from a file of torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _arrays
from .._errors import InvalidInputError
from ._writer import Writer

#: Samples of a block.
_ROWS = 4096


def from_tensors(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | str | None = None,
    mask: Any = None,
    labels: Mapping[str, Any] | None = None,
    words: Sequence[str] | None = None,
    dtype: str | None = None,
) -> None:
    """Writes tensors of one width, one a layer, side by side.

    Each has the shape (samples, units), or (sentences, positions, units) as of TransformerLens' ``ActivationCache`` and saved nnsight
    proxies. ``names`` are those to take, in the order of the layers, or a regular expression that their whole names match
    (``r"blocks\\.\\d+\\.hook_resid_post"``), ordered by the numbers in them; without it all are taken so. ``mask`` says which
    positions of which sentences are samples: padding is not. ``labels`` (task to labels) and ``words`` are one a sample.
    """
    chosen = _chosen(list(tensors), names)
    parts = [_rows(tensors[name], name) for name in chosen]
    shape = parts[0].shape
    for name, part in zip(chosen, parts, strict=True):
        if part.shape != shape:
            raise InvalidInputError(
                f"tensor {name}: the shape is {part.shape}, that of {chosen[0]} is {shape}. Give layers of one width"
            )
    sentences, positions, _ = shape
    kept = np.ones((sentences, positions), dtype=bool) if mask is None else np.asarray(_plain(mask)).astype(bool)
    if kept.shape != (sentences, positions):
        raise InvalidInputError(f"mask: the shape is {kept.shape}. Give one for each of {sentences} x {positions} positions")
    where = np.argwhere(kept)
    has_sentences = parts[0].has_sentences
    with Writer(path, layers=range(len(chosen)), dtype=dtype, metadata={"hooks": "\n".join(chosen)}) as writer:
        for first in range(0, len(where), _ROWS):
            rows = where[first : first + _ROWS]
            block = [part.take(rows) for part in parts]
            place = {"sentence": rows[:, 0], "position": rows[:, 1]} if has_sentences else {}
            named = None if words is None else list(words[first : first + _ROWS])
            writer.append(_beside(block), words=named, **place)
        for task, values in (labels or {}).items():
            writer.labels(task, values)


def from_torch(file: str | os.PathLike[str], path: str | os.PathLike[str], **how: Any) -> None:
    """As :func:`from_tensors`, of a file of ``torch.save`` that holds a dict of tensors or one tensor.

    It is loaded with ``weights_only=True``, so that nothing in it can run, and mapped: tensors are read as they are written.
    """
    import torch

    loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(loaded, torch.Tensor):
        loaded = {"tensor": loaded}
    if not isinstance(loaded, Mapping):
        raise InvalidInputError(f"{os.fspath(file)}: it holds a {type(loaded).__name__}. Save a dict of tensors, or one tensor")
    from_tensors(loaded, path, **how)


class _Part:
    """A tensor as sentences x positions x units, of which rows are taken as they are needed."""

    def __init__(self, values: npt.NDArray[Any], is_bfloat16: bool) -> None:
        self.has_sentences = values.ndim == 3
        self._values = values if values.ndim == 3 else values[:, None, :]
        self._is_bfloat16 = is_bfloat16

    @property
    def shape(self) -> tuple[int, int, int]:
        sentences, positions, units = self._values.shape
        return sentences, positions, units

    def take(self, rows: npt.NDArray[np.int64]) -> Any:
        """These (sentence, position) rows."""
        taken = self._values[rows[:, 0], rows[:, 1]]
        return _arrays.bfloat16(taken) if self._is_bfloat16 else taken


def _rows(tensor: Any, name: str) -> _Part:
    values = _plain(tensor)
    is_bfloat16 = isinstance(values, _arrays.Bfloat16)
    array = values.bits if is_bfloat16 else np.asarray(values)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.dtype.kind != "f" and not is_bfloat16):
        raise InvalidInputError(
            f"tensor {name}: {array.dtype} of shape {array.shape}. "
            "Give floating point of (samples, units) or (sentences, positions, units), and name the tensors to take with names="
        )
    return _Part(array, is_bfloat16)


def _plain(tensor: Any) -> Any:
    """What NumPy reads; nnsight's proxies hold their tensor in ``value``."""
    value = getattr(tensor, "value", None)
    return _arrays._from_tensor(value if hasattr(value, "__dlpack_device__") else tensor, "tensor")


def _beside(blocks: list[Any]) -> Any:
    """Blocks of one type side by side."""
    if all(isinstance(block, _arrays.Bfloat16) for block in blocks):
        return _arrays.bfloat16(np.concatenate([block.bits for block in blocks], axis=1))
    if any(isinstance(block, _arrays.Bfloat16) for block in blocks):
        raise InvalidInputError("tensors: some are bfloat16, some are not. Convert them to one type")
    return np.concatenate(blocks, axis=1)


def _chosen(there: list[str], names: Sequence[str] | str | None) -> list[str]:
    if names is None or isinstance(names, str):
        pattern = re.compile(".*" if names is None else names, re.DOTALL)
        found = sorted((name for name in there if pattern.fullmatch(name)), key=_natural)
    else:
        found = list(names)
    missing = [name for name in found if name not in there]
    if missing or not found:
        raise InvalidInputError(f"names: {missing or names!r} is not there. There are {', '.join(there[:20])}")
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers in names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
