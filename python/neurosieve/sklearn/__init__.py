"""Estimators for scikit-learn: probes, clusters of neurons, and the most salient neurons, in pipelines and searches.

==========================  ==============================================================================================
:class:`ElasticNetProbe`    multinomial logistic regression with an elastic net, to a proven optimum
:class:`ElasticNetProbeCV`  the same with ``C`` and ``l1_ratio`` by cross-validation, the whole grid as one batch
:class:`CorrelationClusters`  keeps one neuron of each cluster of correlated neurons
:class:`SalientNeurons`     keeps the neurons that a ranking puts first
==========================  ==============================================================================================

Needs scikit-learn: ``pip install 'neurosieve[sklearn]'``.
"""

from ._clusters import CorrelationClusters
from ._probe import ElasticNetProbe
from ._probe_cv import ElasticNetProbeCV
from ._salient import SalientNeurons

__all__ = ["CorrelationClusters", "ElasticNetProbe", "ElasticNetProbeCV", "SalientNeurons"]
