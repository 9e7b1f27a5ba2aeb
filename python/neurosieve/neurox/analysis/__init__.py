"""NeuroX's ``neurox.analysis``: what neurons fire on."""
