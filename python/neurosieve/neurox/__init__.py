"""Instead of NeuroX: its functions, under its names, computed by the engine.

``neurosieve.neurox`` has the modules of `NeuroX <https://github.com/fdalvi/NeuroX>`_ that compute, with the names, parameters,
results and exceptions of its last commit. NeuroX need not be installed; torch is needed only for what is a torch object there,
and without it probes are objects with the same attributes. Either import from here::

    from neurosieve.neurox.interpretation import linear_probe

or leave code that imports ``neurox`` as it is, and say once::

    import neurosieve.neurox

    neurosieve.neurox.patch()

What is not as in NeuroX, and why, is in the documentation of each function. The largest difference: with the functions imported
from here a probe with a penalty is the optimum of NeuroX's own objective, with a certificate, not where ten epochs of Adam happen
to stand. ``solver="adam"`` trains as NeuroX does, and so does code that is only patched; ``patch(solver="auto")`` gives it optima.
"""

from ._patching import Patch, patch, unpatch
from ._settings import settings

__all__ = ["Patch", "patch", "settings", "unpatch"]
