"""The native form, written block by block: safetensors, whose header is filled in at the end."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _arrays
from .._errors import InvalidInputError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Types that activations are stored in, by the names that safetensors has for them.
DTYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}

#: Room for the sizes that are known at the end.
_SLACK = 4096


class Writer:
    """Writes activations to ``path`` as blocks of samples x neurons come; the file is there when the writer is closed.

    As a context manager it is closed at the end of the block, and after an exception leaves nothing. ``layers`` are the numbers of
    the layers that the columns are of, all equally wide: neuron = place of the layer · width + unit. ``metadata`` are further
    strings to keep. ``dtype`` is ``float16``, ``bfloat16`` or ``float32``; without it that of the first block.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        layers: Sequence[int] = (0,),
        dtype: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise InvalidInputError(f"dtype: it is {dtype!r}. Allowed are {', '.join(DTYPES)}")
        self._path = Path(path)
        if self._path.suffix != ".safetensors":
            raise InvalidInputError(f"{self._path}: give a name that ends in .safetensors")
        self._layers = [int(layer) for layer in layers]
        self._dtype = dtype
        self._metadata = dict(metadata or {})
        self._columns: dict[str, list[npt.NDArray[np.int32]]] = {}
        self._classes: dict[str, list[str]] = {}
        self._words: list[tuple[int, int, str]] = []
        self._neurons = 0
        self._samples = 0
        self._partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._file = self._partial.open("wb")
        # Layers and metadata are known, names of classes come with the labels: the header is written behind the room it needs.
        self._room = -(-(_SLACK + len(json.dumps([self._metadata, self._layers]))) // 8) * 8
        self._file.write(b" " * (8 + self._room))

    def append(
        self,
        x: Any,
        *,
        sentence: npt.ArrayLike | None = None,
        position: npt.ArrayLike | None = None,
        words: Sequence[str] | None = None,
    ) -> None:
        """Adds samples: activations, and of each the number of its sentence, its place there and its word. All blocks have the same."""
        block = _arrays.activations(x, f"{self._path.name}: block of activations")
        is_bfloat16 = block.dtype == np.uint16
        if self._dtype is None:
            self._dtype = "bfloat16" if is_bfloat16 else block.dtype.name
        if self._samples == 0:
            self._neurons = block.shape[1]
        if block.shape[1] != self._neurons or self._neurons % len(self._layers) != 0:
            raise InvalidInputError(
                f"{self._path.name}: a block of {block.shape[1]} neurons, after {self._neurons}, of {len(self._layers)} layers. "
                "Give the same neurons in every block, as many of each layer"
            )
        samples = len(block)
        for name, values in (("sentence", sentence), ("position", position)):
            if values is not None:
                self._add(name, np.asarray(values, dtype=np.int32), samples)
        if words is not None:
            self._add_words(words, samples)
        self._file.write(np.ascontiguousarray(_stored(block, self._dtype, is_bfloat16)).tobytes())
        self._samples += samples

    def labels(self, task: str, labels: Any) -> None:
        """Gives a class to every sample, once all are there; the first task is the primary one."""
        classes = _arrays.labels(labels, self._samples, f"labels of {task}")
        self._classes[task] = [str(name) for name in classes.names.tolist()]
        self._columns[f"labels.{task}"] = [classes.ids.astype(np.int32)]

    def close(self) -> None:
        """Writes what is left, and puts the file in its place."""
        if self._file.closed:
            return
        if self._samples == 0:
            self.abandon()
            raise InvalidInputError(f"{self._path.name}: there are no samples. Append some first")
        try:
            self._finish()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leaves nothing behind."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _add(self, name: str, values: npt.NDArray[np.int32], samples: int) -> None:
        parts = self._columns.setdefault(name, [])
        if values.shape != (samples,) or sum(map(len, parts)) != self._samples:
            raise InvalidInputError(
                f"{name}: the shape is {values.shape}. Give one for each of {samples} samples, in every block"
            )
        parts.append(values)

    def _add_words(self, words: Sequence[str], samples: int) -> None:
        if len(words) != samples or len(self._words) != self._samples:
            raise InvalidInputError(f"words: there are {len(words)}. Give one for each of {samples} samples, in every block")
        places = [self._columns[name][-1] if name in self._columns else None for name in ("sentence", "position")]
        for at, word in enumerate(words):
            sentence, position = (at + self._samples if place is None else int(place[at]) for place in places)
            # What separates columns and lines must not be in a word.
            self._words.append((sentence, position, "".join("␣" if letter.isspace() else letter for letter in str(word))))

    def _finish(self) -> None:
        assert self._dtype is not None
        size = self._samples * self._neurons * (4 if self._dtype == "float32" else 2)
        tensors = {"activations": (DTYPES[self._dtype], [self._samples, self._neurons], 0, size)}
        primary = next(iter(self._classes), None)
        for name, parts in self._columns.items():
            values = np.concatenate(parts)
            self._file.write(values.astype("<i4").tobytes())
            tensors["labels" if name == f"labels.{primary}" else name] = ("I32", [self._samples], size, size + 4 * len(values))
            size += 4 * len(values)
        metadata = {
            "layers": json.dumps(self._layers),
            "n_layers": str(len(self._layers)),
            "hidden": str(self._neurons // len(self._layers)),
            "units": "all",
            **self._metadata,
        }
        if primary is not None:
            metadata |= {"classes": json.dumps(self._classes), "primary": primary}
        header: dict[str, Any] = {"__metadata__": metadata}
        for name, (dtype, shape, start, end) in tensors.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        self._put_header(json.dumps(header).encode())
        self._file.close()
        if self._words:
            self._write_words()
        os.replace(self._partial, self._path)

    def _put_header(self, header: bytes) -> None:
        """At the beginning; where its room is too small, in front of the data that are moved back."""
        if len(header) > self._room:
            data, self._partial = self._partial, self._partial.with_name(self._partial.name + ".header")
            self._file.close()
            length = -(-len(header) // 8) * 8
            with data.open("rb") as old, self._partial.open("wb") as new:
                new.write(struct.pack("<Q", length) + header.ljust(length))
                old.seek(8 + self._room)
                while block := old.read(1 << 24):
                    new.write(block)
            data.unlink()
            return
        self._file.seek(0)
        self._file.write(struct.pack("<Q", self._room) + header.ljust(self._room))

    def _write_words(self) -> None:
        path = self._path.with_name(f"{self._path.stem}.tokens.tsv")
        lines = (f"{sentence}\t{position}\t{word}\n" for sentence, position, word in self._words)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write("sentence\tposition\ttoken\n")
            file.writelines(lines)


def _stored(block: npt.NDArray[Any], dtype: str, is_bfloat16: bool) -> npt.NDArray[Any]:
    """The block in the type that it is stored in."""
    if dtype == "bfloat16":
        return block if is_bfloat16 else _rounded(block.astype(np.float32))
    if is_bfloat16:
        block = (block.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        stored = block.astype(f"<{np.dtype(dtype).str[1:]}", copy=False)
    if dtype == "float16" and not np.isfinite(stored).all() and np.isfinite(block).all():
        raise InvalidInputError("activations: one is beyond ±65504, the range of float16. Give dtype='bfloat16' or 'float32'")
    return stored


def _rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """To the nearest bfloat16, of two as near the even one; NaN stays NaN."""
    bits = values.view(np.uint32)
    nearest = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.where(np.isnan(values), 0x7FC0, nearest).astype(np.uint16)
