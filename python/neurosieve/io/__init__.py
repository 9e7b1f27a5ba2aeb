"""What other tools write, as the native form that every command and :meth:`neurosieve.Engine.study` read.

Each function writes one ``.safetensors`` file, and the words beside it where there are some, block by block: no more than a few
blocks are in memory. Labels are one a sample, of any type that sorts.

=====================  ==========================================================================
:func:`from_tensors`   a dict of tensors by hook name, as TransformerLens and nnsight give them
:func:`from_torch`     the same in a file of ``torch.save``
:func:`from_arrow`     a folder of Hugging Face ``datasets``, as SAELens caches activations
:func:`from_neurox`    NeuroX's HDF5 and JSON
:class:`Writer`        anything else
=====================  ==========================================================================
"""

from ._arrow import from_arrow
from ._neurox import from_neurox
from ._tensors import from_tensors, from_torch
from ._writer import Writer

__all__ = ["Writer", "from_arrow", "from_neurox", "from_tensors", "from_torch"]
