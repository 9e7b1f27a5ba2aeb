"""NeuroX's ``corpus``: the words that a neuron fires on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ... import _arrays, _core

__all__ = ["get_top_words"]


def get_top_words(
    tokens: Mapping[str, Sequence[Sequence[str]]],
    activations: Sequence[Any],
    neuron: int,
    num_tokens: int = 0,
    min_threshold: float | None = None,
) -> list[tuple[str, float]]:
    """Word types by their mean |z|, as shares of the largest, the largest first: those above ``min_threshold`` (0.1), and of
    these at most ``num_tokens`` where it is not 0. A neuron that does not vary has none.
    """
    if num_tokens != 0 and min_threshold is not None:
        raise ValueError("num_tokens and min_threshold: both were given. Give one of them")
    threshold = 0.1 if min_threshold is None else min_threshold
    values = np.concatenate([np.asarray(sentence)[:, neuron] for sentence in activations])
    words = [str(word) for sentence in tokens["source"] for word in sentence]
    found = _core.top_words(_arrays.activations(values[:, None]), words)
    kept = [(word, score) for word, score in found if score > threshold]
    return kept[:num_tokens] if num_tokens > 0 else kept
