"""A linear probe: a torch module where torch is installed, else an object with the same attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..._errors import InvalidInputError

_Floats = npt.NDArray[np.float32]


def _installed() -> Any:
    """torch, or nothing."""
    try:
        import torch
    except ImportError:
        return None
    return torch


torch = _installed()

if torch is not None:
    _Module: Any = torch.nn.Module

    class LinearProbe(_Module):
        """``linear``, a ``torch.nn.Linear`` of neurons x classes."""

        def __init__(self, input_size: int, num_classes: int) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(input_size, num_classes)

        def forward(self, x: Any) -> Any:
            """The logits."""
            return self.linear(x)

else:

    class _Parameter:
        """An array that answers as much of a tensor's as code that reads weights asks for."""

        def __init__(self, values: _Floats) -> None:
            self._values = values

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
            return np.array(self._values, dtype=dtype) if copy else np.asarray(self._values, dtype=dtype)

        @property
        def data(self) -> _Parameter:
            return self

        @property
        def shape(self) -> tuple[int, ...]:
            return self._values.shape

        def cpu(self) -> _Parameter:
            return self

        def detach(self) -> _Parameter:
            return self

        def numpy(self) -> _Floats:
            return self._values

    class _Linear:
        """Weights and biases, drawn as ``torch.nn.Linear`` draws them, but by NumPy's global generator."""

        def __init__(self, inputs: int, outputs: int) -> None:
            bound = 1 / np.sqrt(inputs)
            self.weight = _Parameter(np.random.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
            self.bias = _Parameter(np.random.uniform(-bound, bound, outputs).astype(np.float32))

    class LinearProbe:  # type: ignore[no-redef]
        """``linear`` with ``weight`` and ``bias``, as of a torch module."""

        def __init__(self, input_size: int, num_classes: int) -> None:
            self.linear = _Linear(input_size, num_classes)

        def parameters(self) -> Any:
            """Weights, then biases."""
            return iter((self.linear.weight, self.linear.bias))

        def __call__(self, x: Any) -> _Floats:
            """The logits."""
            logits: _Floats = np.asarray(x) @ self.linear.weight.numpy().T + self.linear.bias.numpy()
            return logits


def weights_of(probe: Any) -> _Floats:
    """The weights of a probe, classes x neurons: its first parameter."""
    first = next(iter(probe.parameters()))
    weights = np.asarray(first.data.cpu().numpy(), dtype=np.float32)
    if weights.ndim != 2:
        raise InvalidInputError(f"probe: its first parameter has {weights.ndim} dimensions. Give one whose first is its weights")
    return np.ascontiguousarray(weights)


def parameters_of(probe: LinearProbe) -> tuple[_Floats, _Floats]:
    """Weights and biases."""
    return weights_of(probe), np.asarray(probe.linear.bias.detach().cpu().numpy(), dtype=np.float32)


def fill(probe: LinearProbe, weights: _Floats, bias: _Floats) -> None:
    """Gives a probe its weights and biases."""
    parts = ((probe.linear.weight, weights), (probe.linear.bias, bias))
    for parameter, values in parts:
        if torch is None:
            parameter.numpy()[...] = values
        else:
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def logits_of(probe: Any, x: _Floats) -> _Floats:
    """What a probe answers; a module that is not a :class:`LinearProbe` is called."""
    if isinstance(probe, LinearProbe):
        weights, bias = parameters_of(probe)
        logits: _Floats = x @ weights.T + bias
        return logits
    if torch is None:
        return np.asarray(probe(x), dtype=np.float32)
    with torch.no_grad():
        answer: _Floats = probe(torch.from_numpy(np.ascontiguousarray(x))).detach().cpu().float().numpy()
        return answer
