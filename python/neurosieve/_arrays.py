"""Whatever holds numbers, as NumPy arrays that the engine reads.

Activations in float32, float16 or bfloat16 are read where they are, in any layout: strided, reversed, mapped from a file. A copy
is made of arrays that are not aligned or of foreign byte order, and of other real types, which become float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ._errors import InvalidInputError

#: What activations may be: a NumPy array, a tensor on the CPU, a data frame, :func:`bfloat16`, or nested sequences.
ActivationsLike: TypeAlias = Any

#: DLPack's number of the CPU.
_DLPACK_CPU = 1


class Bfloat16(NamedTuple):
    """Values in bfloat16, which NumPy does not know, as the unsigned integers of the same bits."""

    bits: npt.NDArray[np.uint16]


def bfloat16(bits: npt.ArrayLike) -> Bfloat16:
    """Says that an array of ``uint16`` holds the bits of bfloat16 values.

    Torch tensors of bfloat16 and ``ml_dtypes`` arrays are recognised and need not be wrapped.
    """
    array = np.asarray(bits)
    if array.dtype != np.uint16:
        raise InvalidInputError(
            f"bits of bfloat16: they are {array.dtype}. Give uint16, as `tensor.view(torch.uint16).numpy()` makes them"
        )
    return Bfloat16(array)


def activations(x: ActivationsLike, what: str = "activations") -> npt.NDArray[Any]:
    """A matrix of float32, float16 or (as uint16) bfloat16, aligned and of native byte order: ``x`` itself where it can be."""
    if not isinstance(x, Bfloat16):
        x = _from_tensor(x, what)
    is_bfloat16 = isinstance(x, Bfloat16)
    array = x.bits if is_bfloat16 else np.asarray(x)
    if array.dtype.name == "bfloat16":  # of ml_dtypes
        array, is_bfloat16 = array.view(np.uint16), True
    if not is_bfloat16:
        array = _as_float(array, what)
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidInputError(
            f"{what}: the shape is {array.shape}. Give a matrix of samples x neurons with at least one of each"
        )
    native = array.dtype.newbyteorder("=")
    return np.require(array, dtype=native, requirements="A")


def _as_float(array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    if array.dtype.newbyteorder("=") in (np.float32, np.float16):
        return array
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{what}: the type is {array.dtype}. Give real numbers")
    if array.dtype == np.uint16:
        raise InvalidInputError(
            f"{what}: the type is uint16, which may be numbers or the bits of bfloat16. "
            "Wrap the bits in neurosieve.bfloat16(), or convert numbers to float32"
        )
    with np.errstate(over="ignore"):  # What does not fit becomes infinite, and the engine says where it is.
        return array.astype(np.float32)


def _from_tensor(x: Any, what: str) -> Any:
    """A tensor of another library as what NumPy reads without a copy; anything else as it is."""
    if isinstance(x, np.ndarray) or not hasattr(x, "__dlpack_device__"):
        return x
    kind = int(x.__dlpack_device__()[0])
    if kind != _DLPACK_CPU:
        raise InvalidInputError(
            f"{what}: the tensor is on a device that only its own library reads ({_device_of(x, kind)}). "
            "Move it to the CPU first, with tensor.cpu(): neurosieve's GPU path is not CUDA and cannot share its memory"
        )
    if getattr(x, "requires_grad", False):
        x = x.detach()
    if str(getattr(x, "dtype", "")) == "torch.bfloat16":
        import torch

        return Bfloat16(x.view(torch.uint16).numpy())
    return np.from_dlpack(x)


def _device_of(x: Any, kind: int) -> str:
    return str(getattr(x, "device", f"DLPack device type {kind}"))


class Classes(NamedTuple):
    """Labels as numbers from 0, and what each number stands for."""

    ids: npt.NDArray[np.uint32]
    names: npt.NDArray[Any]


def labels(y: Any, samples: int, what: str = "labels") -> Classes:
    """Numbers the classes of ``y`` in sorted order."""
    array = _vector(y, samples, what)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInputError(f"{what}: one is not finite. Give a class to every sample")
    names, ids = np.unique(array, return_inverse=True)
    return Classes(ids.reshape(-1).astype(np.uint32), names)


def numbered(y: Any, names: npt.NDArray[Any], samples: int, what: str = "labels") -> npt.NDArray[np.uint32]:
    """Numbers ``y`` by classes that are known."""
    array = _vector(y, samples, what)
    order = np.argsort(names)
    at = np.searchsorted(names, array, sorter=order)
    ids = order[np.minimum(at, len(names) - 1)]
    strangers = np.flatnonzero(names[ids] != array)
    if len(strangers) > 0:
        raise InvalidInputError(
            f"{what}: row {strangers[0]} is {array[strangers[0]]!r}, which is none of the {len(names)} classes of the probe. "
            "Give samples of these classes alone"
        )
    return ids.astype(np.uint32)


def values(y: Any, samples: int, what: str = "values") -> npt.NDArray[np.float32]:
    """Finite numbers, one a sample."""
    array = _vector(y, samples, what)
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{what}: the type is {array.dtype}. Give real numbers")
    return array.astype(np.float32)


def weights(w: Any, samples: int, what: str = "sample_weight") -> npt.NDArray[np.float64]:
    """A weight of every sample."""
    array = _vector(w, samples, what)
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{what}: the type is {array.dtype}. Give real numbers")
    return array.astype(np.float64)


def neurons(ids: Any, of: int, what: str = "neurons") -> npt.NDArray[np.int64]:
    """Neuron ids, each once."""
    array = np.asarray(ids)
    if array.dtype == bool and array.shape == (of,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInputError(f"{what}: {array.dtype} of shape {array.shape}. Give a list of neuron ids, or a mask of {of}")
    if len(array) > 0 and (array.min() < 0 or array.max() >= of or len(np.unique(array)) != len(array)):
        raise InvalidInputError(f"{what}: one is named twice or is not from 0 to {of - 1}. Name each neuron once")
    return array.astype(np.int64)


def _vector(y: Any, samples: int, what: str) -> npt.NDArray[Any]:
    array = np.asarray(_from_tensor(y, what))
    if array.shape != (samples,):
        raise InvalidInputError(f"{what}: the shape is {array.shape}. Give one for each of the {samples} samples")
    return array
