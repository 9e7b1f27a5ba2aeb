"""NeuroX's files, a sentence at a time."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import InvalidInputError
from ._writer import Writer

_Sentence = tuple[npt.NDArray[Any], int]


def from_neurox(
    file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    labels: dict[str, str | os.PathLike[str]] | None = None,
    dtype: str | None = None,
) -> None:
    """Writes what NeuroX's extractor wrote, ``.hdf5`` (h5py is needed) or ``.json``.

    ``source`` is the text, ``labels`` maps tasks to files, both with a sentence a line and separated by spaces; a line with another
    number of words than there are activations is refused. The engine reads NeuroX's files as they are, too: writing them anew
    makes them smaller and faster to open.
    """
    kind = Path(file).suffix
    readers = {".hdf5": _hdf5, ".h5": _hdf5, ".json": _json_lines, ".jsonl": _json_lines}
    if kind not in readers:
        raise InvalidInputError(f"{os.fspath(file)}: the extension is {kind!r}. Allowed are {', '.join(readers)}")
    texts = None if source is None else _lines(source)
    tasks = {task: _lines(name) for task, name in (labels or {}).items()}
    sizes: list[int] = []
    sentences = readers[kind](os.fspath(file))
    first = next(sentences, None)
    if first is None:
        raise InvalidInputError(f"{os.fspath(file)}: it has no sentences")
    with Writer(path, layers=range(first[1]), dtype=dtype) as writer:
        for number, (rows, _) in enumerate(itertools.chain([first], sentences)):
            words = None if texts is None else _line(texts, number, len(rows), os.fspath(source or ""))
            if len(rows) > 0:
                writer.append(rows, sentence=np.full(len(rows), number), position=np.arange(len(rows)), words=words)
            sizes.append(len(rows))
        for task, lines in tasks.items():
            named = (_line(lines, at, size, f"labels of {task}") for at, size in enumerate(sizes))
            writer.labels(task, list(itertools.chain.from_iterable(named)))


def _hdf5(file: str) -> Iterator[_Sentence]:
    import h5py

    with h5py.File(file, "r") as stored:
        if "sentence_to_index" in stored:
            names = json.loads(stored["sentence_to_index"][0]).values()
        else:
            names = sorted(stored, key=int)
        for name in names:
            values = stored[name][()]
            layers, tokens, units = values.shape
            yield values.transpose(1, 0, 2).reshape(tokens, layers * units), layers


def _json_lines(file: str) -> Iterator[_Sentence]:
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            tokens = [[layer["values"] for layer in token["layers"]] for token in json.loads(line)["features"]]
            yield np.array(tokens, dtype=np.float32).reshape(len(tokens), -1), len(tokens[0]) if tokens else 0


def _lines(path: str | os.PathLike[str]) -> list[list[str]]:
    with open(path, encoding="utf-8") as lines:
        return [line.split() for line in lines]


def _line(lines: list[list[str]], number: int, tokens: int, what: str) -> list[str]:
    found = lines[number] if number < len(lines) else []
    if len(found) != tokens:
        raise InvalidInputError(
            f"{what}: line {number + 1} has {len(found)} tokens, the activations have {tokens}. Give the same text"
        )
    return found
