"""NeuroX's ``control_task``: labels without meaning, a random one for every word (Hewitt & Liang 2019).

:meth:`neurosieve.Engine.study` and ``neurosieve probe --control`` fit control tasks beside the probe itself, several draws at
once, and give selectivity its interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["create_sequence_labeling_dataset"]

_Sentences = Sequence[Sequence[Any]]


def create_sequence_labeling_dataset(
    train_tokens: Mapping[str, _Sentences],
    dev_source: _Sentences | None = None,
    test_source: _Sentences | None = None,
    case_sensitive: bool = True,
    sample_from: str = "same",
) -> list[dict[str, Any]]:
    """Control tasks of the given sets, ``{"source", "target"}`` each; a word has the same label in all of them.

    Labels are numbers from 0, as many as the training labels, drawn by NumPy's global generator: with the training labels'
    frequencies (``same``), or alike (``uniform``). A frequency may leave a label to no word: number them anew, or train with this
    package, which leaves such a class out.
    """
    counts = Counter(label for sentence in train_tokens["target"] for label in sentence)
    total = sum(counts.values())
    if sample_from == "uniform":
        shares = [1 / len(counts)] * len(counts)
    else:
        shares = [count / total for count in counts.values()]
    drawn: dict[Any, int] = {}

    def label_of(word: Any) -> int:
        word = word if case_sensitive else word.lower()
        if word not in drawn:
            drawn[word] = int(np.random.choice(len(shares), p=shares))
        return drawn[word]

    sets = [source for source in (train_tokens["source"], dev_source, test_source) if source is not None]
    return [{"source": source, "target": [[label_of(word) for word in sentence] for sentence in source]} for source in sets]
