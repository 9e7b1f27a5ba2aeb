"""`neurosieve.neurox.patch`: code that imports `neurox` computes here, and nothing of it is left afterwards."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

import neurosieve.neurox
from neurosieve.neurox import settings
from neurosieve.neurox.interpretation import linear_probe as ours
from neurosieve.neurox.interpretation._linear import torch

#: What a user of NeuroX writes: probe, orderings, clusters, ablation.
PIPELINE = """
import numpy as np
import neurox.interpretation.linear_probe as linear_probe
import neurox.interpretation.utils as utils
from neurox.analysis.corpus import get_top_words
from neurox.data.control_task import create_sequence_labeling_dataset
from neurox.interpretation import ablation, clustering, gaussian_probe, iou_probe, probeless

X, y, mappings = utils.create_tensors(tokens, activations, "noun")
label2idx, idx2label, _, _ = mappings
probe = linear_probe.train_logistic_regression_probe(X, y, lambda_l1=0.001, lambda_l2=0.001, num_epochs=60)
scores = linear_probe.evaluate_probe(probe, X, y, idx_to_class=idx2label)
ordering, cutoffs = linear_probe.get_neuron_ordering(probe, label2idx)
top, per_class = linear_probe.get_top_neurons(probe, 0.5, label2idx)
others = [probeless.get_neuron_ordering(X, y), iou_probe.get_neuron_ordering(X, y == 0)]
others += [gaussian_probe.get_neuron_ordering(gaussian_probe.train_probe(X, y), 3)]
independent, clusters = clustering.extract_independent_neurons(X, clustering_threshold=0.5)
kept = ablation.filter_activations_keep_neurons(X, ordering[:8])
few = linear_probe.train_logistic_regression_probe(kept, y, lambda_l1=0.001, lambda_l2=0.001, num_epochs=60)
few_scores = linear_probe.evaluate_probe(few, kept, y)
zeroed = linear_probe.evaluate_probe(probe, ablation.zero_out_activations_keep_neurons(X, ordering[:8]), y)
words = get_top_words(tokens, activations, ordering[0])
[control] = create_sequence_labeling_dataset(tokens)
"""


@pytest.fixture(autouse=True)
def unpatched():
    yield
    neurosieve.neurox.unpatch()


@pytest.fixture
def corpus(sample):
    x, y = sample
    words = [f"w{number % 50}" for number in range(400)]
    lines = [slice(first, first + 10) for first in range(0, 400, 10)]
    return {
        "tokens": {"source": [words[line] for line in lines], "target": [y[line].tolist() for line in lines]},
        "activations": [x[line] for line in lines],
    }


@pytest.fixture
def installed(monkeypatch):
    """A package `neurox` with one function in a module, imported already."""
    package, interpretation, module = (
        types.ModuleType(f"neurox{name}") for name in ("", ".interpretation", ".interpretation.linear_probe")
    )
    module.evaluate_probe = lambda probe, X, y: "theirs"
    module.something_else = lambda: "theirs"
    package.interpretation, interpretation.linear_probe = interpretation, module
    for part in (package, interpretation, module):
        monkeypatch.setitem(sys.modules, part.__name__, part)
    return module


@pytest.mark.parametrize("solver", [None, "exact"])
def test_a_pipeline_of_neurox_runs_here(corpus, solver):
    np.random.seed(0)
    with neurosieve.neurox.patch(solver=solver, device="cpu"):
        found = dict(corpus)
        exec(PIPELINE, found)
    assert isinstance(found["probe"], ours.LinearProbe)
    assert found["scores"]["__OVERALL__"] > 0.55 and set(found["scores"]) == {"__OVERALL__", "noun", "verb", "other"}
    assert sorted(found["ordering"]) == list(range(24)) and found["cutoffs"][-1] == 24
    assert found["few_scores"]["__OVERALL__"] > 0.5 and found["zeroed"]["__OVERALL__"] <= 1
    assert len(found["independent"]) == found["clusters"].max()
    assert found["words"] and len(found["control"]["target"]) == 40


def test_nothing_is_left_afterwards():
    before = {name for name in sys.modules if name.partition(".")[0] == "neurox"}
    with neurosieve.neurox.patch(solver="exact", device="cpu", gap=1e-5):
        assert importlib.import_module("neurox.interpretation.linear_probe") is ours
        assert (settings.solver, settings.device, settings.gap) == ("exact", "cpu", 1e-5)
        neurosieve.neurox.patch(gap=1e-4)
        assert settings.gap == 1e-4 and settings.solver == "exact"
    assert {name for name in sys.modules if name.partition(".")[0] == "neurox"} == before
    assert settings == type(settings)()
    neurosieve.neurox.unpatch()


def test_code_that_is_patched_is_trained_as_neurox_trains(sample):
    x, y = sample
    labels = np.unique(y, return_inverse=True)[1]

    def trained(**how):
        np.random.seed(0)
        if torch is not None:
            torch.manual_seed(0)
        probe = ours.train_logistic_regression_probe(x, labels, 0.01, 0.01, **how)
        return probe.linear.weight.detach().numpy()

    adam, exact = trained(solver="adam"), trained(solver="exact")
    assert (trained() == exact).all(), "who imports the functions gets the optimum"
    with neurosieve.neurox.patch():
        assert (trained() == adam).all() and (adam != exact).any()
    for how in ({"solver": "exact"}, {"gap": settings.gap}):
        with neurosieve.neurox.patch(**how):
            assert (trained() == exact).all()


def test_an_imported_neurox_gets_the_functions_and_gives_them_back(installed):
    theirs = installed.evaluate_probe
    neurosieve.neurox.patch()
    assert installed.evaluate_probe is ours.evaluate_probe and installed.something_else() == "theirs"
    assert installed.get_neuron_ordering is ours.get_neuron_ordering
    assert sys.modules["neurox.interpretation"].probeless.__name__ == "neurosieve.neurox.interpretation.probeless"
    neurosieve.neurox.unpatch()
    assert installed.evaluate_probe is theirs and not hasattr(installed, "get_neuron_ordering")
    assert not hasattr(sys.modules["neurox.interpretation"], "probeless")


def test_names_that_were_imported_before_are_replaced_with_a_warning(installed, monkeypatch):
    user = types.ModuleType("user")
    user.evaluate, user.own = installed.evaluate_probe, len
    monkeypatch.setitem(sys.modules, "user", user)
    with pytest.warns(UserWarning, match=r"user\.evaluate"):
        neurosieve.neurox.patch()
    assert user.evaluate is ours.evaluate_probe and user.own is len
    neurosieve.neurox.unpatch()
    assert user.evaluate(None, None, None) == "theirs"


def test_an_unknown_solver_is_refused(sample):
    x, y = sample
    with neurosieve.neurox.patch(solver="sgd"), pytest.raises(ValueError, match="solver"):
        ours.train_logistic_regression_probe(x, np.unique(y, return_inverse=True)[1], 0.1, 0.1)
