"""NeuroX's ``interpretation.utils``: activations and labels as arrays, balanced classes, printed results, saved probes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._errors import InvalidInputError
from ._linear import LinearProbe, fill, parameters_of, weights_of

__all__ = [
    "balance_binary_class_data",
    "balance_multi_class_data",
    "batch_generator",
    "count_target_words",
    "create_tensors",
    "get_progress_bar",
    "idx2tok",
    "isnotebook",
    "load_probe",
    "print_machine_stats",
    "print_overall_stats",
    "save_probe",
    "tok2idx",
]

_Array = npt.NDArray[Any]


def isnotebook() -> bool:
    """Whether this runs in a Jupyter notebook."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


def get_progress_bar() -> Any:
    """The progress bar of tqdm, which has to be installed, that fits."""
    import tqdm

    return tqdm.tqdm_notebook if isnotebook() else tqdm.tqdm


def batch_generator(X: Any, y: Any, batch_size: int = 32) -> Iterator[tuple[Any, Any]]:
    """Samples and labels in order, so many at a time."""
    for first in range(0, X.shape[0], batch_size):
        yield X[first : first + batch_size], y[first : first + batch_size]


def tok2idx(tokens: Sequence[Sequence[Any]]) -> dict[Any, int]:
    """A number from 0 for every word type, in their sorted order: the same in every process, where NeuroX's are not."""
    types = {token for sentence in tokens for token in sentence}
    try:
        ordered = sorted(types)
    except TypeError:  # of several kinds
        ordered = sorted(types, key=lambda token: (type(token).__name__, str(token)))
    return {token: number for number, token in enumerate(ordered)}


def idx2tok(srcidx: Mapping[Any, int]) -> dict[int, Any]:
    """The same backwards."""
    return {number: token for token, number in srcidx.items()}


def count_target_words(tokens: Mapping[str, Sequence[Sequence[Any]]]) -> int:
    """How many labels there are."""
    return sum(map(len, tokens["target"]))


def create_tensors(
    tokens: Mapping[str, Sequence[Sequence[Any]]],
    activations: Sequence[Any],
    task_specific_tag: Any,
    mappings: Any = None,
    task_type: str = "classification",
    binarized_tag: Any = None,
    balance_data: bool = False,
    dtype: Any = None,
) -> tuple[_Array, _Array, tuple[dict[Any, Any], ...]]:
    """Activations (tokens x neurons), labels, and the mappings ``(label2idx, idx2label, src2idx, idx2src)``; of a regression
    labels in float32 and ``(src2idx, idx2src)``, which NeuroX fails at.

    A label that given mappings lack counts as ``task_specific_tag``. ``binarized_tag`` makes it 1, all others 0.
    """
    assert task_type in ("classification", "regression"), "task_type: give classification or regression"
    source, target = tokens["source"], tokens["target"]
    is_regression = task_type == "regression"
    if mappings is None:
        src2idx = tok2idx(source)
        mappings = (src2idx, idx2tok(src2idx))
        if not is_regression:
            label2idx = {binarized_tag: 1, "OTHER": 0} if binarized_tag else tok2idx(target)
            mappings = (label2idx, idx2tok(label2idx), *mappings)
    sentences = [np.asarray(sentence)[: len(labels)] for sentence, labels in zip(activations, target, strict=False)]
    short = [at for at, (sentence, labels) in enumerate(zip(sentences, target, strict=False)) if len(sentence) < len(labels)]
    if len(sentences) < len(target) or short:
        where = f"sentence {short[0]}" if short else f"{len(activations)} sentences of activations for {len(target)} of labels"
        raise InvalidInputError(f"activations: {where} has fewer tokens than labels. Load both of the same text")
    X = np.concatenate(sentences).astype(sentences[0].dtype if dtype is None else dtype, copy=False)
    flat = [label for labels in target for label in labels]
    if is_regression:
        y: _Array = np.array([float(label) for label in flat], dtype=np.float32)
    else:
        y = _numbered(flat, mappings[0], task_specific_tag, binarized_tag)
    if balance_data:
        X, y = balance_binary_class_data(X, y) if binarized_tag else balance_multi_class_data(X, y)
    return X, y, tuple(mappings)


def _numbered(labels: list[Any], label2idx: Mapping[Any, int], fallback: Any, binarized_tag: Any) -> npt.NDArray[np.int64]:
    if binarized_tag:
        labels = [label if label == binarized_tag else "OTHER" for label in labels]
    numbers = [label2idx[label if label in label2idx else fallback] for label in labels]
    return np.array(numbers, dtype=np.int64)


def balance_binary_class_data(X: _Array, y: _Array) -> tuple[_Array, _Array]:
    """As many samples of each class as the rarest has, drawn by NumPy's global generator.

    They stay in the order in which they were. NeuroX sorts them by class, and its training, which takes batches in order, then sees
    one class after the other.
    """
    return balance_multi_class_data(X, y)


def balance_multi_class_data(X: _Array, y: _Array, num_required_instances: int | None = None) -> tuple[_Array, _Array]:
    """As :func:`balance_binary_class_data`; with a number of samples in all, classes keep their shares, rounded up."""
    X, y = np.asarray(X), np.asarray(y)
    names, counts = np.unique(y, return_counts=True)
    if num_required_instances:
        wanted = [math.ceil(count / len(y) * num_required_instances) for count in counts]
    else:
        wanted = [counts.min()] * len(names)
    if any(want > count for want, count in zip(wanted, counts, strict=True)):
        raise InvalidInputError(f"num_required_instances: it is {num_required_instances}, there are {len(y)}. Ask for fewer")
    kept = [np.random.choice(np.flatnonzero(y == name), want, replace=False) for name, want in zip(names, wanted, strict=True)]
    rows = np.sort(np.concatenate(kept))
    return X[rows], y[rows]


#: The parts of what :func:`print_overall_stats` and :func:`print_machine_stats` take.
_SHARES = ("10%", "15%", "20%")
_SETS = ("top", "random", "bottom")


def print_overall_stats(all_results: Mapping[str, Any]) -> None:
    """Prints accuracies with the top, random and bottom neurons alone, and the top neurons of every class."""
    neurons = weights_of(all_results["probe"]).shape[1]
    found, local = all_results["global_results"], all_results["local_results"]
    print(f"Overall accuracy: {100 * all_results['original_accs']['__OVERALL__']:.2f}%")
    print("\nGlobal results")
    for share in _SHARES:
        print(f"{share} Neurons")
        for which in _SETS:
            print(f"\tKeep {which.title()} accuracy: {100 * found[share][f'keep_{which}_accs']['__OVERALL__']:.2f}%")
    print(f"\nFull order of neurons:\n{found['ordering']}\n" + "-" * 20)
    print("\nLocal results")
    for share, (_, top, per_tag) in zip(local["percentages"], local.get("local_top_neurons", ()), strict=False):
        print(f"Weight Mass percentage: {100 * share:.0f}%")
        print(f"Percentage of all neurons: {100 * len(top) / neurons:.0f}%")
        print("Top Neurons:", sorted(top))
        print("\nTop neurons per tag:")
        for tag, chosen in per_tag.items():
            print(f"\t{tag}: {sorted(chosen)}\n")


def print_machine_stats(all_results: Mapping[str, Any]) -> None:
    """Prints the same as lines of fields that tabs separate."""
    neurons = weights_of(all_results["probe"]).shape[1]
    found, local = all_results["global_results"], all_results["local_results"]
    for title, kind in (("Filtering out:", "keep"), ("\nZero out:", "zero_out")):
        accuracies = [all_results["original_accs"]]
        accuracies += [found[share][f"{kind}_{which}_accs"] for share in _SHARES for which in _SETS]
        fields = [f"{100 * scores['__OVERALL__']:.2f}" for scores in accuracies]
        print(title)
        print("\t".join(fields + ([str(found["ordering"][:300])] if kind == "keep" else [])))
    for share, (_, top, per_tag) in zip(local["percentages"], local.get("local_top_neurons", ()), strict=False):
        print(f"\nLocal {100 * share:.0f}%:")
        lists = {tag: list(chosen) for tag, chosen in per_tag.items()}
        print(f"{100 * len(top) / neurons:.2f}%\t{sorted(top)}\t{lists}")


def save_probe(probe_path: Any, probe: LinearProbe, mappings: Any) -> None:
    """Writes a probe and the mappings of :func:`create_tensors` to a ``.npz`` file; NeuroX's function does nothing."""
    weights, bias = parameters_of(probe)
    pairs = json.dumps([[[_plain(key), _plain(value)] for key, value in mapping.items()] for mapping in mappings or ()])
    with open(probe_path, "wb") as file:
        np.savez(file, weights=weights, bias=bias, mappings=pairs)


def load_probe(probe_path: Any) -> tuple[LinearProbe, tuple[dict[Any, Any], ...]]:
    """The probe and the mappings of a file of :func:`save_probe`; NeuroX's function does nothing."""
    with np.load(probe_path, allow_pickle=False) as saved:
        weights, bias, pairs = saved["weights"], saved["bias"], json.loads(str(saved["mappings"]))
    probe = LinearProbe(weights.shape[1], weights.shape[0])
    fill(probe, weights, bias)
    return probe, tuple(dict(map(tuple, mapping)) for mapping in pairs)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
