"""Where the activations of a unit are: in a file that every worker maps, or in an array that was handed out."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .. import _arrays
from .._arrays import ActivationsLike, Bfloat16
from .._errors import FileError, InvalidInputError

#: Activations as the engine reads them; of ``uint16`` they are bfloat16.
Array: TypeAlias = npt.NDArray[Any]

#: A header of safetensors is no longer than this.
_LONGEST_HEADER = 100 << 20

#: The types of a native file's activations.
_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


class Mapped(NamedTuple):
    """An array in a file, by its place there: what goes to the workers instead of the numbers."""

    path: str
    #: Bytes of the whole file: another one under the same name is no mistake to go unnoticed.
    size: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    def open(self) -> Array:
        """Maps the array, to be read alone.

        Raises a :class:`FileError` where there is no such file, an :class:`InvalidInputError` where it has another length.
        """
        try:
            there = os.path.getsize(self.path)
            if there != self.size:
                raise InvalidInputError(
                    f"{self.path}: it has {there} bytes on this worker and {self.size} where it was named. "
                    "Give a file that is the same on every machine"
                )
            bytes_of_file = np.memmap(self.path, dtype=np.uint8, mode="r")
        except OSError as error:
            raise FileError(error.errno, f"{error.strerror} (on a worker)", self.path) from error
        return np.ndarray(self.shape, self.dtype, buffer=bytes_of_file, offset=self.offset, strides=self.strides)


class Sent:
    """An array that goes to the workers itself.

    Dask hands out arrays as they lie in its messages, at any byte. The engine reads aligned ones: they are copied once for each
    worker, when they come, and not by every unit.
    """

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def open(self) -> Array:
        """The array."""
        return self.array

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.array,)


def _received(array: Array) -> Sent:
    return Sent(aligned(array))


def aligned(array: Array) -> Array:
    """The array itself, or a copy where it lies at an odd byte."""
    return np.require(array, requirements="A")


#: What goes to the workers.
Handed: TypeAlias = Mapped | Sent


def opened(x: ActivationsLike | str | os.PathLike[str], what: str = "activations") -> Array:
    """The activations here: those of a file are mapped, not read."""
    if isinstance(x, str | os.PathLike):
        path = Path(x)
        try:
            x = _of_file(path)
        except OSError as error:
            raise FileError(error.errno, error.strerror, str(path)) from error
    return _arrays.activations(x, what)


def handed(array: Array) -> Handed:
    """Where the array is, if it is a part of a file that is mapped to be read alone; else the array itself.

    What was mapped to be written as well may differ from its file.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
        owner = owner.base
    if not isinstance(owner, np.memmap) or owner.mode != "r" or owner.filename is None:
        return Sent(array)
    path, file = os.path.abspath(owner.filename), cast(mmap.mmap, owner.base)
    offset = owner.offset + array.ctypes.data - owner.ctypes.data
    return Mapped(path, file.size(), offset, array.shape, array.strides, array.dtype.str)


def columns(array: Array, span: slice) -> ActivationsLike:
    """Some columns, as :class:`neurosieve.Engine` takes them."""
    part = array[:, span]
    return Bfloat16(part) if part.dtype == np.uint16 else part


def _of_file(path: Path) -> ActivationsLike:
    if path.suffix == ".npy":
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise InvalidInputError(f"{path}: {error}. Give a matrix that NumPy wrote") from error
    if path.suffix == ".safetensors":
        return _of_native_file(path)
    raise InvalidInputError(f"{path}: it cannot be mapped. Give a .npy or .safetensors file, or an array")


def _of_native_file(path: Path) -> ActivationsLike:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise InvalidInputError(f"{path}: its header would have {length} bytes. Give a file of safetensors")
        header = file.read(length)
    try:
        tensor = json.loads(header)["activations"]
        dtype, shape, (start, _) = _DTYPES[tensor["dtype"]], tuple(tensor["shape"]), tensor["data_offsets"]
        x = np.memmap(path, dtype=dtype, mode="r", offset=8 + length + start, shape=shape)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{path}: there is no tensor of activations in it that can be mapped ({error}). Give a native file"
        ) from error
    return Bfloat16(x) if tensor["dtype"] == "BF16" else x
