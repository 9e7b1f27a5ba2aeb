"""Past one machine: correlations, probes and studies on the workers of a `Dask <https://distributed.dask.org>`_ cluster.

Needs the extra ``dask``. ::

    from dask.distributed import Client
    from neurosieve.distributed import fit_probes

    client = Client("tcp://scheduler:8786")  # or LocalCluster, SLURMCluster, ...
    probes = fit_probes("train.activations.npy", problems)

Work is cut into units that depend on nothing but their input. One whose worker died is computed again elsewhere, and results do
not depend on how many workers there are: on CPUs with the same instructions they have the bits of one
:class:`neurosieve.Engine` (of a correlation r of the neurons i < j; r of j and i is the same number), on GPUs they differ by no
more than two runs on different GPUs do. What a unit raises is raised here; one that kills worker after worker ends in
``distributed.KilledWorker``.

``client`` is a ``distributed.Client``; without one Dask's current client is taken, and where there is none the same units run in
this process, one after the other, for which Dask need not be installed. ``progress`` is called here, with the step and the share
of its units that are done; what it raises ends the computation, as Ctrl-C does: units that run come to their end, others do not
begin.

Activations in a file go as its path, and every worker maps it: that is a ``.npy`` file, or the tensor ``activations`` of a
``.safetensors`` file, by name, and any part of an array that ``numpy.load(path, mmap_mode="r")`` or ``numpy.memmap`` opened to
be read alone. It must be there under the same path on every worker. Everything else is handed out once, a copy to each worker.

``device`` is that of :class:`neurosieve.Engine` on every worker; without it a worker takes the one that its environment variable
``NEUROSIEVE_DEVICE`` names, else ``auto``. So several GPUs of a machine get a process each, with one thread, and a resource by
which units find them::

    NEUROSIEVE_DEVICE=0 dask worker tcp://scheduler:8786 --nworkers 1 --nthreads 1 --resources GPU=1
    NEUROSIEVE_DEVICE=1 dask worker tcp://scheduler:8786 --nworkers 1 --nthreads 1 --resources GPU=1

    fit_probes(x, problems, at_once=32, resources={"GPU": 1})

On CPUs a process takes all cores: one a machine with one thread is enough, or ``RAYON_NUM_THREADS`` says how many it may take.
"""

from ._correlation import correlation, cross_correlation
from ._probes import fit_probes
from ._study import study

__all__ = ["correlation", "cross_correlation", "fit_probes", "study"]
