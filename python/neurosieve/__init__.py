"""Which neurons of a language model know what, how few of them suffice, and which repeat each other.

:class:`Engine` computes on a GPU or on the CPU::

    import numpy as np
    import neurosieve as ns

    engine = ns.Engine()
    [probe] = engine.fit_probes(x, ns.Problem(labels, l1=0.01, l2=0.01))
    ranking = engine.rank(x, labels, "lca", probe=probe)["lca"]

``neurosieve.sklearn`` has estimators of scikit-learn, ``neurosieve.neurox`` the functions of NeuroX, ``neurosieve.io`` writes what other
tools saved as the files that are read here, ``neurosieve.extract`` the hidden states of a model, and ``neurosieve.distributed``
computes on the workers of a Dask cluster.
"""

from ._arrays import bfloat16
from ._core import VERSION as __version__
from ._engine import Engine, Problem, devices
from ._errors import DeviceError, Error, FileError, InvalidInputError
from ._results import (
    Certificate,
    Clustering,
    Clusterings,
    CorrelationMatrix,
    Curve,
    DeviceInfo,
    Edges,
    Moments,
    Partners,
    Probe,
    Ranking,
    Report,
    Study,
)

__all__ = [
    "Certificate",
    "Clustering",
    "Clusterings",
    "CorrelationMatrix",
    "Curve",
    "DeviceError",
    "DeviceInfo",
    "Edges",
    "Engine",
    "Error",
    "FileError",
    "InvalidInputError",
    "Moments",
    "Partners",
    "Probe",
    "Problem",
    "Ranking",
    "Report",
    "Study",
    "__version__",
    "bfloat16",
    "devices",
]
