"""NeuroX's ``neurox.interpretation``: probes, rankings, clusters, ablations."""
