"""NeuroX's ``neurox.data``: activations and labels from its files, control tasks."""
