"""Hidden states of a Hugging Face model for a tokenised corpus, straight to the native form.

It needs torch and transformers: ``pip install 'neurosieve[extract]'``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ._errors import InvalidInputError
from .io import Writer

__all__ = ["extract"]

Aggregation: TypeAlias = Literal["first", "last", "average"]
_Sentences: TypeAlias = Sequence[Sequence[str]]

#: Sentences that are sorted by length together, in batches: padding costs little then, and memory stays bounded.
_SORTED = 64


def extract(
    model: Any,
    corpus: _Sentences | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tokenizer: Any = None,
    aggregation: Aggregation = "last",
    layers: Sequence[int] | None = None,
    labels: Mapping[str, _Sentences | str | os.PathLike[str]] | None = None,
    batch_size: int = 32,
    device: str | None = None,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> None:
    """Writes the hidden states of every word of ``corpus`` to ``path``, a ``.safetensors`` file, and the words beside it.

    ``model`` is a name or folder of a model, or a model with its ``tokenizer``, which has to be a fast one. ``corpus`` and each task
    of ``labels`` are lists of words, or files with a sentence a line and spaces between words. ``layers`` are numbers of hidden
    states, 0 for the embeddings; without them all. A word of several sub-words is its ``first``, its ``last`` or their ``average``, as
    in NeuroX; special tokens are in no word.

    Sentences run in batches of ``batch_size``, sorted by length, on ``device`` (without it on CUDA where it is there, else on the
    CPU). A sentence that is longer than the model takes, or a word that the tokenizer drops, is an error that names it.
    """
    import torch

    if aggregation not in ("first", "last", "average"):
        raise InvalidInputError(f'aggregation: it is {aggregation!r}. Allowed are "first", "last", "average"')
    if batch_size < 1:
        raise InvalidInputError(f"batch_size: it is {batch_size}, allowed is 1 or more")
    sentences = _read(corpus)
    tasks = {task: _read(given) for task, given in (labels or {}).items()}
    for task, given in tasks.items():
        _check_labels(task, sentences, given)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = _loaded(model, tokenizer)
    model = model.eval().to(device)
    states = _States(model, tokenizer, aggregation, layers, device)
    metadata = {"model": str(model.config._name_or_path), "aggregation": aggregation}
    with Writer(path, layers=states.layers, dtype=dtype, metadata=metadata) as writer:
        for first in range(0, len(sentences), _SORTED * batch_size):
            chunk = range(first, min(first + _SORTED * batch_size, len(sentences)))
            found: dict[int, npt.NDArray[np.float32]] = {}
            for batch in _by_length(chunk, sentences, batch_size):
                found |= zip(batch, states.of([list(sentences[at]) for at in batch], batch), strict=True)
            for at in sorted(found):
                words = sentences[at]
                writer.append(found[at], sentence=np.full(len(words), at), position=np.arange(len(words)), words=words)
        for task, given in tasks.items():
            writer.labels(task, [label for sentence in given for label in sentence])


def _read(given: _Sentences | str | os.PathLike[str]) -> list[list[str]]:
    if isinstance(given, str | os.PathLike):
        with open(given, encoding="utf-8") as lines:
            return [line.split() for line in lines]
    return [[str(word) for word in sentence] for sentence in given]


def _check_labels(task: str, sentences: list[list[str]], labels: list[list[str]]) -> None:
    sizes = [list(map(len, part)) for part in (sentences, labels)]
    if sizes[0] != sizes[1]:
        at = next((at for at, pair in enumerate(zip(*sizes, strict=False)) if pair[0] != pair[1]), min(map(len, sizes)))
        raise InvalidInputError(f"labels of {task}: sentence {at} has not as many labels as words. Give one label for every word")


def _loaded(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    import transformers

    if isinstance(model, str | os.PathLike):
        name = os.fspath(model)
        tokenizer = tokenizer or transformers.AutoTokenizer.from_pretrained(name, add_prefix_space=True)
        model = transformers.AutoModel.from_pretrained(name)
    if tokenizer is None or not getattr(tokenizer, "is_fast", False):
        raise InvalidInputError("tokenizer: a fast one is needed, which knows the words of sub-words. Give one with the model")
    return model, tokenizer


def _by_length(chunk: range, sentences: list[list[str]], batch_size: int) -> Iterator[list[int]]:
    order = sorted((at for at in chunk if sentences[at]), key=lambda at: len(sentences[at]))
    for first in range(0, len(order), batch_size):
        yield order[first : first + batch_size]


class _States:
    """The hidden states of words."""

    def __init__(self, model: Any, tokenizer: Any, aggregation: str, layers: Sequence[int] | None, device: str) -> None:
        self._model, self._tokenizer, self._aggregation, self._device = model, tokenizer, aggregation, device
        there = model.config.num_hidden_layers + 1
        self.layers = list(range(there)) if layers is None else [int(layer) for layer in layers]
        if not self.layers or not all(0 <= layer < there for layer in self.layers):
            raise InvalidInputError(f"layers: they are {self.layers}. The model has hidden states 0 to {there - 1}")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def of(self, sentences: list[list[str]], numbers: list[int]) -> list[npt.NDArray[np.float32]]:
        """Words x neurons of each sentence; ``numbers`` are those of the sentences in the corpus."""
        import torch

        encoded = self._tokenizer(sentences, is_split_into_words=True, padding=True, return_tensors="pt")
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest is not None and encoded["input_ids"].shape[1] > longest:
            sizes = encoded["attention_mask"].sum(dim=1)
            at = int(sizes.argmax())
            raise InvalidInputError(
                f"sentence {numbers[at]}: it has {int(sizes[at])} sub-words, the model takes {longest}. Split it, or leave it out"
            )
        spans = [_spans(encoded.word_ids(at), sentences[at], numbers[at]) for at in range(len(sentences))]
        with torch.inference_mode():
            hidden = self._model(**encoded.to(self._device), output_hidden_states=True).hidden_states
        stacked = torch.cat([hidden[layer] for layer in self.layers], dim=2).float().cpu().numpy()
        return [self._words(stacked[at], spans[at]) for at in range(len(sentences))]

    def _words(self, states: npt.NDArray[np.float32], spans: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if self._aggregation == "average":
            return np.stack([states[start:end].mean(axis=0) for start, end in spans])
        places = spans[:, 0] if self._aggregation == "first" else spans[:, 1] - 1
        return np.take(states, places, axis=0)


def _spans(words: list[int | None], sentence: list[str], number: int) -> npt.NDArray[np.int64]:
    """The first sub-word of every word, and the one behind its last."""
    spans = np.full((len(sentence), 2), -1)
    for place, word in enumerate(words):
        if word is not None:
            if spans[word, 0] < 0:
                spans[word, 0] = place
            spans[word, 1] = place + 1
    lost = np.flatnonzero(spans[:, 0] < 0)
    if len(lost) > 0:
        raise InvalidInputError(
            f"sentence {number}: the tokenizer drops word {lost[0]}, {sentence[lost[0]]!r}. Replace it, by the unknown token for one"
        )
    return spans
