"""Folders that Hugging Face ``datasets`` saved; SAELens caches activations so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import InvalidInputError
from ._tensors import _chosen
from ._writer import Writer


def from_arrow(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | str | None = None,
    labels: Mapping[str, Any] | None = None,
    dtype: str | None = None,
) -> None:
    """Writes the columns of ``Dataset.save_to_disk`` that hold activations: each row a context of (positions, units) or a sample of
    (units,). pyarrow is needed, ``datasets`` is not.

    ``names`` as of :func:`~neurosieve.io.from_tensors`; without it all columns of floating point are taken. Record batches are
    mapped and written one after the other. A column ``token_ids`` becomes the words. ``labels`` are one a sample.
    """
    files = _files(Path(folder))
    columns: list[str] | None = None
    writer: Writer | None = None
    contexts = 0
    try:
        for batch in _batches(files):
            if columns is None or writer is None:
                floats = [name for name in batch.schema.names if _is_float(batch.schema.field(name).type)]
                columns = _chosen(floats, names)
                writer = Writer(path, layers=range(len(columns)), dtype=dtype, metadata={"hooks": "\n".join(columns)})
            contexts += _append(writer, batch, columns, contexts)
        if writer is None:
            raise InvalidInputError(f"{os.fspath(folder)}: it has no rows")
        for task, values in (labels or {}).items():
            writer.labels(task, values)
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    writer.close()


def _files(folder: Path) -> list[Path]:
    state = folder / "state.json"
    if not state.is_file():
        raise InvalidInputError(f"{folder}: there is no state.json. Give a folder of Dataset.save_to_disk, of one split")
    listed = json.loads(state.read_text(encoding="utf-8"))
    if listed.get("_indices_data_files"):
        raise InvalidInputError(f"{folder}: the data set was filtered or shuffled. Save it after flatten_indices()")
    return [folder / Path(file["filename"]).name for file in listed["_data_files"]]


def _batches(files: list[Path]) -> Iterator[Any]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError("from_arrow() needs pyarrow: pip install 'neurosieve[arrow]'") from error
    for file in files:
        with pa.memory_map(os.fspath(file)) as source, pa.ipc.open_stream(source) as stream:
            yield from (batch for batch in stream if batch.num_rows > 0)


def _storage(kind: Any) -> Any:
    """What an extension type such as ``Array2D`` is stored as."""
    return getattr(kind, "storage_type", kind)


def _is_float(kind: Any) -> bool:
    kind = _storage(kind)
    if not hasattr(kind, "value_type"):
        return False
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    return str(kind) in ("halffloat", "float", "double")


def _append(writer: Writer, batch: Any, columns: list[str], contexts: int) -> int:
    """Adds the samples of a record batch; returns how many contexts or samples it had."""
    blocks = []
    positions = 1
    for name in columns:
        values, shape = _values(batch.column(name), batch.num_rows, name)
        blocks.append(values)
        positions = shape
    rows = len(blocks[0])
    if any(len(block) != rows for block in blocks):
        raise InvalidInputError(f"columns {', '.join(columns)}: they have other numbers of positions. Name those of one shape")
    words = None
    if "token_ids" in batch.schema.names:
        ids = batch.column("token_ids")
        ids = getattr(ids, "storage", ids)
        words = [str(token) for token in (ids.flatten() if hasattr(ids, "flatten") else ids).to_pylist()]
    sentence = contexts + np.arange(rows) // positions
    writer.append(np.concatenate(blocks, axis=1), sentence=sentence, position=np.arange(rows) % positions, words=words)
    return int(batch.num_rows)


def _values(column: Any, rows: int, name: str) -> tuple[npt.NDArray[Any], int]:
    """A column as samples x units, without a copy, and how many samples a row is."""
    array = getattr(column, "storage", column)
    sizes = []
    while hasattr(array, "flatten") and hasattr(array.type, "value_type"):
        if array.null_count > 0:
            raise InvalidInputError(f"column {name}: a value is missing")
        inner = array.flatten()
        sizes.append(len(inner) // max(len(array), 1))
        if len(array) * sizes[-1] != len(inner):
            raise InvalidInputError(f"column {name}: its rows have other lengths. Give rows of one shape")
        array = inner
    if len(sizes) not in (1, 2):
        raise InvalidInputError(f"column {name}: its rows have {len(sizes)} dimensions. Give (positions, units) or (units,)")
    values = array.to_numpy(zero_copy_only=array.null_count == 0)
    positions = sizes[0] if len(sizes) == 2 else 1
    return values.reshape(rows * positions, sizes[-1]), positions
