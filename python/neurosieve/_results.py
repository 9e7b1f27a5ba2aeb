"""What the engine finds: small frozen dataclasses over NumPy arrays.

Sizes: N samples, D neurons, C classes. Neuron ids are columns of the activations.
"""

from __future__ import annotations

import dataclasses
import html
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import ActivationsLike, activations
from ._errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


def _table(columns: Mapping[Any, Any]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_pandas() needs pandas: pip install 'neurosieve[pandas]'") from error
    return pd.DataFrame(columns)


def _html_table(title: str, rows: Mapping[str, object]) -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """One adapter that the engine can compute on."""

    index: int
    name: str
    #: ``discrete``, ``integrated``, ``virtual``, ``software`` or ``other``.
    kind: str
    #: Whether it is a GPU and not a program on the processor; ``auto`` takes only such.
    is_real: bool
    backend: str
    driver: str
    driver_info: str

    def _repr_html_(self) -> str:
        driver = f"{self.driver} {self.driver_info}".strip()
        return _html_table(self.name, {"index": self.index, "kind": self.kind, "backend": self.backend, "driver": driver})


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean and population standard deviation of every neuron."""

    mean: Doubles
    sd: Doubles
    #: Neurons that do not vary.
    constant: Ids
    #: Neurons that vary a million times less than the median one.
    nearly_constant: Ids

    def to_pandas(self) -> pd.DataFrame:
        """A row a neuron."""
        return _table({"mean": self.mean, "sd": self.sd})

    def _repr_html_(self) -> str:
        kinds = {"constant": len(self.constant), "nearly constant": len(self.nearly_constant)}
        return _html_table("Moments", {"neurons": len(self.mean), **kinds})


@dataclasses.dataclass(frozen=True, eq=False)
class CorrelationMatrix:
    """Pearson's r of every pair. A constant neuron has r = 0 with every other; the diagonal is 1."""

    #: D x D, or D x D' for two models.
    r: Floats
    #: Of the left model's neurons.
    moments: Moments

    def to_pandas(self) -> pd.DataFrame:
        """The matrix, with neuron ids as index and columns."""
        return _table(dict(enumerate(self.r.T)))

    def _repr_html_(self) -> str:
        left, right = self.r.shape
        facts = {"neurons": f"{left} x {right}", "constant": len(self.moments.constant)}
        return _html_table("Correlations", facts)


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """The pairs with |r| of at least a threshold, sorted; of one model i < j."""

    i: Ids
    j: Ids
    r: Floats
    #: Of the left model's neurons.
    moments: Moments

    def __len__(self) -> int:
        return len(self.r)

    def to_pandas(self) -> pd.DataFrame:
        """A row a pair."""
        return _table({"i": self.i, "j": self.j, "r": self.r})

    def _repr_html_(self) -> str:
        return _html_table("Pairs", {"pairs": len(self), "constant neurons": len(self.moments.constant)})


@dataclasses.dataclass(frozen=True, eq=False)
class Partners:
    """For every neuron those that it correlates with most, by |r|, the strongest first."""

    #: D x k ids.
    neuron: Ids
    #: D x k.
    r: Floats
    #: Of the left model's neurons.
    moments: Moments
    #: For two models the same of each right neuron, ids and r.
    of_right: tuple[Ids, Floats] | None = None

    def to_pandas(self) -> pd.DataFrame:
        """A row a neuron and partner."""
        neurons, k = self.neuron.shape
        return _table(
            {
                "neuron": np.repeat(np.arange(neurons), k),
                "place": np.tile(np.arange(k), neurons),
                "partner": self.neuron.reshape(-1),
                "r": self.r.reshape(-1),
            }
        )

    def _repr_html_(self) -> str:
        neurons, k = self.neuron.shape
        return _html_table("Best partners", {"neurons": neurons, "partners of each": k})


@dataclasses.dataclass(frozen=True, eq=False)
class Clustering:
    """The dendrogram cut at one distance."""

    threshold: float
    #: Cluster of each neuron, from 0 by smallest member.
    labels: npt.NDArray[np.uint32]
    #: The neuron that stands for each cluster, in cluster order.
    representatives: Ids

    def __len__(self) -> int:
        return len(self.representatives)

    def to_pandas(self) -> pd.DataFrame:
        """A row a neuron."""
        neurons = np.arange(len(self.labels))
        return _table({"neuron": neurons, "cluster": self.labels, "representative": self.representatives[self.labels]})

    def _repr_html_(self) -> str:
        facts = {"clusters": len(self), "neurons": len(self.labels), "distance": self.threshold}
        return _html_table("Clusters", facts)


@dataclasses.dataclass(frozen=True, eq=False)
class Clusterings:
    """One dendrogram and its cuts."""

    cuts: tuple[Clustering, ...]
    #: (D - 1) x 4 as SciPy has it: ``scipy.cluster.hierarchy`` draws and cuts it.
    linkage: Doubles
    moments: Moments

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[Clustering]:
        return iter(self.cuts)

    def __getitem__(self, at: int) -> Clustering:
        return self.cuts[at]

    def to_pandas(self) -> pd.DataFrame:
        """A row a cut."""
        return _table({"threshold": [cut.threshold for cut in self], "clusters": [len(cut) for cut in self]})

    def _repr_html_(self) -> str:
        return _html_table("Clusters", {f"at {cut.threshold}": len(cut) for cut in self})


@dataclasses.dataclass(frozen=True)
class Certificate:
    """How near to the optimum a probe provably is."""

    #: Largest component of the smallest subgradient.
    kkt: float
    #: ``kkt`` over λ_max, the smallest λ1 at which every weight is zero.
    kkt_relative: float
    #: The objective is at most this far above the optimum; infinite without a penalty.
    duality_gap: float
    #: ``duality_gap`` over the objective.
    relative_gap: float
    #: Passes over the activations.
    passes: float
    #: Whether the stopping rule was met.
    converged: bool
    #: Weights that are provably zero at the optimum.
    certified_zeros: int
    #: Weights that are provably not.
    certified_nonzeros: int

    def _repr_html_(self) -> str:
        facts = {
            "converged": "yes" if self.converged else "no",
            "relative duality gap": f"{self.relative_gap:.2g}",
            "relative KKT residual": f"{self.kkt_relative:.2g}",
            "passes": f"{self.passes:.1f}",
            "provably zero, provably not": f"{self.certified_zeros}, {self.certified_nonzeros}",
        }
        return _html_table("Certificate", facts)


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe. Of values instead of classes it has one row and no ``classes``."""

    #: Names of the C classes, sorted.
    classes: npt.NDArray[Any] | None
    #: C x D, for raw activations. Two classes have opposite rows.
    weights: Floats
    #: C. A class without training samples has -1e30.
    bias: Floats
    #: C x D, for standardised activations.
    standardised: Floats
    #: Whether the penalty was on the weights for standardised activations: which of the two rankings order.
    standardize: bool
    l1: float
    l2: float
    #: Value of the objective, the penalty included.
    objective: float
    certificate: Certificate

    def decision_function(self, x: ActivationsLike) -> Floats:
        """Logits of samples, N x C; values, N x 1, of a regression."""
        array = activations(x)
        if array.shape[1] != self.weights.shape[1]:
            raise InvalidInputError(
                f"activations: {array.shape[1]} neurons for a probe of {self.weights.shape[1]}. Give the same neurons"
            )
        logits: Floats = _as_float32(array) @ self.weights.T + self.bias
        return logits

    def predict(self, x: ActivationsLike) -> npt.NDArray[Any]:
        """The class of every sample: the first of the largest logits; its value, of a regression."""
        logits = self.decision_function(x)
        return logits[:, 0] if self.classes is None else self.classes[logits.argmax(axis=1)]

    def neurons_used(self) -> Ids:
        """The neurons with any weight that is not zero."""
        return np.flatnonzero(self.weights.any(axis=0))

    def to_pandas(self) -> pd.DataFrame:
        """Weights for raw activations, a row a neuron and a column a class."""
        names = ["value"] if self.classes is None else self.classes
        return _table(dict(zip(names, self.weights, strict=True)))

    def _repr_html_(self) -> str:
        facts = {
            "classes": "none, it predicts values" if self.classes is None else len(self.classes),
            "neurons in use": f"{len(self.neurons_used())} of {self.weights.shape[1]}",
            "l1, l2": f"{self.l1:.3g}, {self.l2:.3g}",
            "relative duality gap": f"{self.certificate.relative_gap:.2g}",
            "converged": "yes" if self.certificate.converged else "no",
        }
        return _html_table("Probe", facts)


def _as_float32(array: npt.NDArray[Any]) -> Floats:
    """Activations as the engine reads them: 16-bit integers are bfloat16."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """All neurons, the most salient first."""

    method: str
    #: D ids.
    order: Ids
    #: Score of each neuron, by id; larger is more salient.
    scores: Doubles
    #: An order of its own for each class that the method has one of.
    per_class: Mapping[Any, Ids]

    def to_pandas(self) -> pd.DataFrame:
        """A row a neuron, in order."""
        return _table({"neuron": self.order, "score": self.scores[self.order]})

    def _repr_html_(self) -> str:
        first = ", ".join(str(neuron) for neuron in self.order[:10])
        return _html_table(f"Ranking by {self.method}", {"neurons": len(self.order), "the first": first})


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """What a probe gets right with the first k neurons of an ordering alone."""

    #: The ordering's name.
    ordering: str
    #: What the other neurons are replaced by: ``mean``, ``zero`` or ``given``.
    ablation: str
    #: Right samples at k = 0 ... D.
    correct: npt.NDArray[np.uint32]
    #: Samples in all.
    total: int
    #: The same of each class's samples, C x points, where it was asked for.
    by_class: npt.NDArray[np.uint32] | None

    @property
    def accuracy(self) -> Doubles:
        """The share of right samples at every k."""
        return self.correct / self.total

    def to_pandas(self) -> pd.DataFrame:
        """A row a k."""
        k = np.arange(len(self.correct))
        return _table({"k": k, "correct": self.correct, "accuracy": self.accuracy})

    def _repr_html_(self) -> str:
        last = len(self.correct) - 1
        points = {k: f"{self.accuracy[k]:.3f}" for k in (1, 10, 100, last) if k <= last}
        return _html_table(f"Accuracy by {self.ordering}", {f"{k} neurons": text for k, text in points.items()})


class Report(str):
    """An HTML document, which a notebook shows where it stands."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        # In a frame of its own: its styles and scripts leave the notebook's alone.
        document = html.escape(self, quote=True)
        return f'<iframe srcdoc="{document}" style="width:100%;height:40em;border:0" title="report"></iframe>'


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A finished study."""

    #: ``results.json`` as text.
    json: str

    @property
    def results(self) -> dict[str, Any]:
        """``results.json``, which `src/study/results.rs` documents."""
        parsed: dict[str, Any] = json.loads(self.json)
        return parsed

    def report(self) -> Report:
        """The report: one HTML document that needs no network. It is text; a notebook shows it as a page."""
        return Report(_core.report(self.json))

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes what `neurosieve study` does: results.json, report.html and tables/*.csv; returns the files."""
        folder = Path(folder)
        written = _core.write(self.json, folder)
        results = folder / "results.json"
        results.write_text(self.json, encoding="utf-8")
        return [results, *written]

    def to_pandas(self) -> pd.DataFrame:
        """A row a minimal set: task, ranking, allowed loss, size, accuracies."""
        rows = [
            {"task": task["name"]} | {key: found[key] for key in ("ranking", "delta", "size", "dev_accuracy", "test_accuracy")}
            for task in self.results["tasks"]
            for found in task["minimal_sets"]
        ]
        return _table({key: [row[key] for row in rows] for key in (rows[0] if rows else ())})

    def __repr__(self) -> str:
        results = self.results
        tasks = ", ".join(task["name"] for task in results["tasks"])
        return f"<Study {results['name']!r} of {tasks}>"

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()
