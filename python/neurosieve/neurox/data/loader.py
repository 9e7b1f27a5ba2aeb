"""NeuroX's ``loader``: its files of activations and labels.

HDF5 needs h5py (``pip install 'neurosieve[neurox]'``). Files that can run code when they are loaded (``.t7``, ``.acts``) are refused.
The engine itself reads HDF5 and JSON natively and need not hold a file in memory: name it in a study, or as a file of a command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableSequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "filter_activations_by_layers",
    "load_activations",
    "load_aux_data",
    "load_data",
    "load_sentence_data",
]

_Sentences = list[npt.NDArray[Any]]
_Tokens = dict[str, list[list[str]]]

#: Sentences that may not fit before the files are taken for the wrong ones.
_MISMATCHES = 100


def load_activations(
    activations_path: Any, num_neurons_per_layer: int | None = None, is_brnn: bool = False, dtype: Any = None
) -> tuple[_Sentences, int]:
    """The activations of every sentence (tokens x neurons, neuron = layer · units + unit), and the number of layers."""
    path = os.fspath(activations_path)
    kind = path.rpartition(".")[2]
    readers = {"hdf5": _hdf5, "json": _json_lines}
    if kind in readers:
        sentences = list(readers[kind](path, dtype))
        assert sentences, f"{path} has no sentences"
        layers = sentences[0][1]
        return [sentence for sentence, _ in sentences], layers
    assert kind == "pt", f"{path}: activations must be .hdf5, .json or .pt; .t7 and .acts can run code when they are loaded"
    assert num_neurons_per_layer is not None, ".pt activations need num_neurons_per_layer"
    loaded = _torch_lists(path)
    return loaded, loaded[0].shape[1] // num_neurons_per_layer


def _hdf5(path: str, dtype: Any) -> Iterator[tuple[npt.NDArray[Any], int]]:
    import h5py

    with h5py.File(path, "r") as file:
        index = json.loads(file["sentence_to_index"][0])
        for name in index.values():
            values = file[name][()]
            layers, tokens, units = values.shape
            rows = values.transpose(1, 0, 2).reshape(tokens, layers * units)
            yield rows if dtype is None else rows.astype(dtype), layers


def _json_lines(path: str, dtype: Any) -> Iterator[tuple[npt.NDArray[Any], int]]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            tokens = json.loads(line)["features"]
            rows = [[layer["values"] for layer in token["layers"]] for token in tokens]
            values = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
            yield values.astype("float32" if dtype is None else dtype), len(rows[0])


def _torch_lists(path: str) -> _Sentences:
    import torch

    sentences = torch.load(path, map_location="cpu", weights_only=True)
    return [torch.stack([torch.cat(list(token)) for token in sentence]).numpy() for sentence in sentences]


def filter_activations_by_layers(
    train_activations: _Sentences,
    test_activations: _Sentences,
    filter_layers: str,
    rnn_size: int,
    num_layers: int,
    is_brnn: bool,
) -> tuple[_Sentences, _Sentences]:
    """The columns of ``"f1,b1"``: forward and backward layers numbered from 1, all forward layers before all backward ones."""
    asked = set(filter_layers.split(","))
    names = [f"{half}{layer + 1}" for half in ("fb" if is_brnn else "f") for layer in range(num_layers)]
    kept = [at for at, name in enumerate(names) if name in asked]
    columns = (np.array(kept, dtype=np.intp)[:, None] * rnn_size + np.arange(rnn_size)).reshape(-1)
    train, test = ([sentence[:, columns] for sentence in part] for part in (train_activations, test_activations))
    return train, test


def load_data(
    source_path: Any,
    labels_path: Any,
    activations: MutableSequence[Any],
    max_sent_l: int,
    ignore_start_token: bool = False,
    sentence_classification: bool = False,
) -> _Tokens:
    """Words and labels, ``{"source", "target"}``, of two files with a sentence a line.

    Sentences of more than ``max_sent_l`` words, and those with other numbers of words, labels and activations (100 are too many), are
    left out, of ``activations`` too, which are changed in place. NeuroX fails where a sentence is too long.
    """
    tokens = {"source": _lines(source_path), "target": _lines(labels_path)}
    _leave_out_long(tokens, activations, max_sent_l)
    if ignore_start_token:
        _without_first(tokens, activations)
    labelled = [] if sentence_classification else ["target"]
    _leave_out_misfits(
        tokens, activations, lambda at: all(_fits(tokens, activations, at, name) for name in ["source", *labelled])
    )
    return tokens


def load_aux_data(
    source_path: Any,
    labels_path: Any,
    source_aux_path: Any,
    activations: MutableSequence[Any],
    max_sent_l: int,
    ignore_start_token: bool = False,
) -> _Tokens:
    """As :func:`load_data`, with a third file whose words the activations are of: ``{"source_aux", "source", "target"}``."""
    tokens = {"source_aux": _lines(source_aux_path), "source": _lines(source_path), "target": _lines(labels_path)}
    _leave_out_long(tokens, activations, max_sent_l)
    if ignore_start_token:
        _without_first(tokens, activations)

    def fits(at: int) -> bool:
        return _fits(tokens, activations, at, "source_aux") and len(tokens["source"][at]) == len(tokens["target"][at])

    _leave_out_misfits(tokens, activations, fits)
    return tokens


def load_sentence_data(source_path: Any, labels_path: Any, activations: Any) -> _Tokens:
    """Labels of whole sentences, which have one row of activations each; the words are ``sentence_0`` and so on."""
    tokens = {"source": [[f"sentence_{at}"] for at in range(len(_lines(source_path)))], "target": _lines(labels_path)}
    _check_lengths(tokens, activations)
    assert all(len(sentence) == 1 for sentence in activations), "a sentence has more than one row of activations"
    return tokens


def _lines(path: Any) -> list[list[str]]:
    with open(path, encoding="utf-8") as lines:
        return [line.split() for line in lines]


def _check_lengths(tokens: _Tokens, activations: Any) -> None:
    sizes = {name: len(lines) for name, lines in tokens.items()} | {"activations": len(activations)}
    assert len(set(sizes.values())) == 1, f"Number of lines do not match ({sizes})!"


def _leave_out(tokens: _Tokens, activations: MutableSequence[Any], sentences: list[int]) -> None:
    for at in reversed(sentences):
        for lines in (*tokens.values(), activations):
            del lines[at]


def _leave_out_long(tokens: _Tokens, activations: MutableSequence[Any], longest: int) -> None:
    _check_lengths(tokens, activations)
    long = [at for at in range(len(activations)) if any(len(lines[at]) > longest for lines in tokens.values())]
    _leave_out(tokens, activations, long)


def _without_first(tokens: _Tokens, activations: MutableSequence[Any]) -> None:
    for lines in (*tokens.values(), activations):
        lines[:] = [line[1:] for line in lines]


def _fits(tokens: _Tokens, activations: Any, at: int, name: str) -> bool:
    return len(activations[at]) == len(tokens[name][at])


def _leave_out_misfits(tokens: _Tokens, activations: MutableSequence[Any], fits: Any) -> None:
    misfits = [at for at in range(len(activations)) if not fits(at)]
    assert len(misfits) < _MISMATCHES, (
        f"Too many mismatches ({len(misfits)}): words, labels and activations have other numbers of tokens. Check the paths"
    )
    _leave_out(tokens, activations, misfits)
