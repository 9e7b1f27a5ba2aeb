"""NeuroX's ``clustering``: groups of neurons that say the same.

Correlations are of the engine, on the GPU where there is one; labels are numbered as ``scipy.cluster.hierarchy.fcluster`` does,
SciPy not needed. A constant neuron correlates with none, and one neuron is one cluster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ... import _arrays, _core
from .._settings import device_of

__all__ = [
    "create_correlation_clusters",
    "extract_independent_neurons",
    "print_clusters",
    "scikit_extract_independent_neurons",
]

_Labels = npt.NDArray[np.int32]


def create_correlation_clusters(
    X: Any,
    use_abs_correlation: bool = True,
    clustering_threshold: float = 0.5,
    method: str = "average",
    *,
    device: str | int | None = None,
) -> _Labels:
    """A cluster of every neuron, from 1 on: agglomerative by 1 − |r|, or 1 − r, cut at a distance.

    ``method`` is ``average``, ``complete`` or ``single``.
    """
    x = _arrays.activations(X)
    if x.shape[1] == 1:
        return np.ones(1, dtype=np.int32)
    distance = "absolute" if use_abs_correlation else "signed"
    threshold = float(clustering_threshold)
    # NeuroX's pipelines say "no clustering" by a negative threshold.
    found = _core.clusters(device_of(device), x, [max(threshold, 0.0)], method, distance, None, 2 << 30, None)
    return _numbered(found["linkage"], threshold)


def extract_independent_neurons(
    X: Any, use_abs_correlation: bool = True, clustering_threshold: float = 0.5, *, device: str | int | None = None
) -> tuple[list[int], _Labels]:
    """A neuron of every cluster, drawn by NumPy's global generator as in NeuroX, and the clusters.

    :meth:`neurosieve.Engine.clusters` gives the neuron that is most like the others of its cluster instead.
    """
    clusters = create_correlation_clusters(X, use_abs_correlation, clustering_threshold, device=device)
    members = (np.flatnonzero(clusters == cluster) for cluster in range(1, clusters.max() + 1))
    return [int(np.random.choice(neurons)) for neurons in members], clusters


def print_clusters(cluster_labels: Any) -> None:
    """Prints the neurons of every cluster."""
    labels = np.asarray(cluster_labels)
    for cluster in range(labels.min(), labels.max() + 1):
        members = " ".join(map(str, np.flatnonzero(labels == cluster)))
        print(f"Cluster {cluster:05d}: {members}")


def scikit_extract_independent_neurons(
    X: Any, clustering_threshold: float = 0.5, *, device: str | int | None = None
) -> tuple[list[int], _Labels]:
    """As :func:`extract_independent_neurons` by 1 − r, not 1 − |r|: that is what NeuroX's function of this name computes."""
    return extract_independent_neurons(X, False, clustering_threshold, device=device)


def _numbered(linkage: npt.NDArray[np.float64], threshold: float) -> _Labels:
    """The clusters of a dendrogram's cut, numbered in the order in which SciPy's walk from the root meets them.

    It goes down the left branch first, then the right one, and gives a number to a neuron that is alone on the way back.
    """
    neurons = len(linkage) + 1
    children = linkage[:, :2].astype(np.int64)
    distance = linkage[:, 2]
    labels = np.zeros(neurons, dtype=np.int32)
    count, inside = 0, -1
    # A node, and how many of its two branches are done.
    path = [(len(linkage) - 1, 0)]
    while path:
        node, done = path.pop()
        if done == 0 and inside < 0 and distance[node] <= threshold:
            inside, count = node, count + 1
        branches = [child for child in children[node] if child >= neurons]
        if done < len(branches):
            path += [(node, done + 1), (int(branches[done]) - neurons, 0)]
            continue
        for leaf in (child for child in children[node] if child < neurons):
            count += inside < 0
            labels[leaf] = count
        if inside == node:
            inside = -1
    return labels
