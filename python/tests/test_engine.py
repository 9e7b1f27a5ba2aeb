"""The engine's operations from Python, beside NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

import neurosieve as ns


def test_correlations_equal_numpys_and_a_constant_neuron_has_none(engine, sample):
    x = sample[0].copy()
    x[:, 3] = 2.5
    found = engine.correlation(x)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(x.astype(float), rowvar=False))
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(found.r, expected, atol=5e-6)
    assert found.moments.constant.tolist() == [3]
    np.testing.assert_allclose(found.moments.mean, x.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.moments.sd, x.astype(float).std(axis=0), rtol=1e-9, atol=1e-12)


def test_edges_and_partners_are_those_of_the_matrix(engine, sample):
    r = engine.correlation(sample[0]).r
    edges = engine.correlation(sample[0], at_least=0.4)
    i, j = np.nonzero(np.triu(np.abs(r) >= 0.4, 1))
    assert 0 < len(edges) < r.size / 2
    np.testing.assert_array_equal(np.stack([edges.i, edges.j]), np.stack([i, j]))
    np.testing.assert_array_equal(edges.r, r[i, j])
    partners = engine.correlation(sample[0], top_k=3)
    away = np.abs(r) - 2 * np.eye(len(r))
    np.testing.assert_array_equal(partners.neuron, np.argsort(-away, axis=1, kind="stable")[:, :3])
    assert partners.to_pandas().shape == (3 * len(r), 4)
    with pytest.raises(ns.InvalidInputError, match="both were given"):
        engine.correlation(sample[0], at_least=0.4, top_k=3)


def test_two_models_are_correlated_across(engine, sample):
    x, y = sample[0], sample[0][:, ::-2] ** 2
    both = np.corrcoef(np.hstack([x, y]).astype(float), rowvar=False)
    expected = both[: x.shape[1], x.shape[1] :]
    np.testing.assert_allclose(engine.cross_correlation(x, y).r, expected, atol=5e-6)
    partners = engine.cross_correlation(x, y, top_k=2)
    assert partners.neuron.shape == (24, 2) and partners.of_right[0].shape == (12, 2)
    np.testing.assert_array_equal(partners.neuron[:, 0], np.abs(expected).argmax(axis=1))
    np.testing.assert_array_equal(partners.of_right[0][:, 0], np.abs(expected).argmax(axis=0))
    with pytest.raises(ns.InvalidInputError, match="same samples"):
        engine.cross_correlation(x, y[:-1])


@pytest.mark.parametrize("method", ["average", "complete", "single"])
def test_clusters_equal_scipys(engine, sample, method):
    found = engine.clusters(sample[0], [0.2, 0.5, 0.8], linkage=method)
    distance = 1 - np.abs(engine.correlation(sample[0]).r.astype(float))
    np.fill_diagonal(distance, 0)
    merges = linkage(squareform(distance, checks=False), method)
    np.testing.assert_allclose(found.linkage[:, 2], merges[:, 2], atol=1e-6)
    np.testing.assert_array_equal(found.linkage[:, 3], merges[:, 3])
    for cut in found:
        same = fcluster(merges, cut.threshold, "distance")
        pairs = {(int(a), int(b)) for a, b in zip(cut.labels, same, strict=True)}
        assert len(pairs) == len(cut) == len(set(same)), "a bijection of the cluster numbers"
        assert (cut.labels[cut.representatives] == np.arange(len(cut))).all()
        assert (fcluster(found.linkage, cut.threshold, "distance").max()) == len(cut)
    assert len(found[0]) > len(found[1]) > len(found[2])


def test_random_representatives_follow_the_seed(engine, sample):
    chosen = [
        engine.clusters(sample[0], 0.8, representatives="random", seed=seed)[0].representatives.tolist()
        for seed in (1, 1, 2, 3, 4)
    ]
    assert chosen[0] == chosen[1]
    assert len({tuple(c) for c in chosen}) > 1


def softmax_objective(x, y, probe):
    logits = x.astype(float) @ probe.weights.T.astype(float) + probe.bias
    logits -= logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), np.searchsorted(probe.classes, y)]
    w = probe.weights.astype(float)
    return loss.mean() + probe.l1 * np.abs(w).sum() + probe.l2 * (w**2).sum()


def test_a_batch_of_probes_has_the_optima_of_scikit_learn(engine, sample):
    from sklearn.linear_model import LogisticRegression

    x, y = sample
    problems = [ns.Problem(y, l1=l1, l2=l1) for l1 in (0.003, 0.01, 0.03)]
    probes = engine.fit_probes(x, problems, standardize=False, stop="certified")
    for problem, probe in zip(problems, probes, strict=True):
        n = len(y)
        total = (problem.l1 + 2 * problem.l2) * n
        reference = LogisticRegression(
            C=1 / total, l1_ratio=problem.l1 * n / total, solver="saga", max_iter=20_000, tol=1e-8
        ).fit(x.astype(float), y)
        theirs = dataclasses.replace(probe, weights=reference.coef_, bias=reference.intercept_)
        assert softmax_objective(x, y, probe) <= softmax_objective(x, y, theirs) * (1 + 1e-6)
        assert abs(softmax_objective(x, y, probe) - probe.objective) < 1e-6
        np.testing.assert_allclose(probe.weights, reference.coef_, atol=2e-3)
        assert (probe.predict(x) == reference.predict(x)).mean() > 0.995
        assert probe.certificate.converged and probe.certificate.relative_gap <= 1e-6


def test_neurons_weights_and_lambda_max_restrict_a_probe(engine, sample):
    x, y = sample
    few = engine.fit_probes(x, ns.Problem(y, l1=0.001, l2=0.001, neurons=[7, 2, 11]))[0]
    assert set(few.neurons_used()) <= {2, 7, 11} and len(few.neurons_used()) > 0
    half = np.arange(len(y)) % 2 == 0
    weighted = engine.fit_probes(x, ns.Problem(y, 0.01, 0.01, sample_weight=half), standardize=False, stop="certified")[0]
    alone = engine.fit_probes(x[half], ns.Problem(y[half], 0.01, 0.01), standardize=False, stop="certified")[0]
    np.testing.assert_allclose(weighted.weights, alone.weights, atol=1e-3)
    [largest] = engine.lambda_max(x, ns.Problem(y, 0, 0))
    above, below = engine.fit_probes(x, [ns.Problem(y, largest * f, 0) for f in (1.001, 0.9)])
    assert len(above.neurons_used()) == 0 < len(below.neurons_used())


def test_probes_of_values_are_ridge(engine, sample):
    x = sample[0]
    y = x[:, :5].sum(axis=1) + 1
    [probe] = engine.fit_probes(x, ns.Problem(y, 0, 0.05, regression=True), standardize=False, stop={"gap": 1e-7})
    centred = x.astype(float) - x.astype(float).mean(axis=0)
    gram = centred.T @ centred / len(y) + 2 * 0.05 * np.eye(x.shape[1])
    expected = np.linalg.solve(gram, centred.T @ y / len(y))
    np.testing.assert_allclose(probe.weights[0], expected, atol=2e-4)
    assert probe.classes is None and np.corrcoef(probe.predict(x), y)[0, 1] > 0.99


def test_adam_starts_where_it_is_told(engine, sample):
    x, y = sample
    rng = np.random.default_rng(0)
    start = rng.uniform(-0.2, 0.2, (3, 24)).astype(np.float32), np.zeros(3, np.float32)
    problem = ns.Problem(y, 1e-3, 1e-3)
    first, again, other = engine.train_adam(x, [problem] * 3, starts=[start, start, 5], epochs=3)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert not np.array_equal(first.weights, other.weights)
    assert np.abs(first.weights - start[0]).max() < 0.1, "39 steps of 1e-3"
    assert not first.certificate.converged


def test_rankings_equal_their_definitions(engine, sample):
    from sklearn.feature_selection import f_classif

    x, y = sample
    [probe] = engine.fit_probes(x, ns.Problem(y, 0.01, 0.01))
    found = engine.rank(x, y, probe=probe)
    assert {"lca", "largest-weight", "probeless", "anova", "auroc", "random", "borda"} <= set(found)
    np.testing.assert_allclose(found["anova"].scores, f_classif(x.astype(float), y)[0], rtol=1e-6)
    for ranking in found.values():
        assert sorted(ranking.order) == list(range(24))
    largest = np.abs(probe.standardised).max(axis=0)
    np.testing.assert_allclose(found["largest-weight"].scores, largest, rtol=1e-6)
    [raw] = engine.fit_probes(x, ns.Problem(y, 0.01, 0.01), standardize=False)
    of_raw = engine.rank(x, y, "largest-weight", probe=raw)["largest-weight"]
    np.testing.assert_allclose(of_raw.scores, np.abs(raw.weights).max(axis=0), rtol=1e-6)
    assert set(found["lca"].per_class) == {"noun", "verb", "other"}
    assert list(engine.rank(x, y, "anova")) == ["anova"]
    with pytest.raises(ns.InvalidInputError, match="needs a probe|orders the weights of a probe"):
        engine.rank(x, y, "lca")
    with pytest.raises(ns.InvalidInputError, match='method: it is "nonsense".*"anova"'):
        engine.rank(x, y, "nonsense")


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_a_sweep_counts_what_a_loop_counts(engine, sample, ablation):
    x, y = sample
    [probe] = engine.fit_probes(x, ns.Problem(y, 0.003, 0.003))
    orders = engine.rank(x, y, ["anova", "random"])
    curves = engine.sweep(x, y, probe, orders, ablation=ablation, by_class=True)
    stand_in = x.astype(float).mean(axis=0) if ablation == "mean" else np.zeros(24)
    for name in ("anova", "random"):
        for k in (0, 1, 5, 23, 24):
            masked = np.tile(stand_in, (len(x), 1))
            kept = orders[name].order[:k]
            masked[:, kept] = x[:, kept]
            right = probe.predict(masked) == y
            assert abs(int(curves[name].correct[k]) - right.sum()) <= 1, (name, k)
        assert curves[name].by_class.sum(axis=0).tolist() == curves[name].correct.tolist()
    assert curves["anova"].accuracy[-1] == (probe.predict(x) == y).mean()


def test_float16_predictions_are_those_of_the_values(engine, sample):
    x, y = sample
    [probe] = engine.fit_probes(x.astype(np.float16), ns.Problem(y, 0.003, 0.003))
    np.testing.assert_array_equal(probe.predict(x.astype(np.float16)), probe.predict(x.astype(np.float16).astype(np.float32)))


def test_labels_that_the_probe_does_not_know_are_named(engine, sample):
    x, y = sample
    [probe] = engine.fit_probes(x, ns.Problem(y, 0.003, 0.003))
    strange = y.astype(object)
    strange[9] = "zebra"
    with pytest.raises(ns.InvalidInputError, match="row 9 is 'zebra'"):
        engine.sweep(x, strange, probe, np.arange(24))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y, -1, 0)), "l1: it is -1"),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y[:-1], 1, 0)), "one for each of the 400 samples"),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y, 1, 0), stop="soon"), "stop: it is 'soon'"),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y, 1, 0), stop={"gap": 2}), "allowed is 1e-7 to 1"),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y, 1, 0), solver="magic"), 'solver: it is "magic"'),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(["a"] * 400, 1, 0)), "one class"),
        (lambda e, x, y: e.fit_probes(x, ns.Problem(y, 1, 0, neurons=[99])), "from 0 to 23"),
        (lambda e, x, y: e.clusters(x, -0.1), "allowed is 0 or more"),
        (lambda e, x, y: e.clusters(x, 0.5, linkage="ward"), 'linkage: it is "ward"'),
        (lambda e, x, y: e.correlation(x, at_least=1.5), "not from 0 to 1"),
        (lambda e, x, y: e.correlation(x, top_k=0), "allowed is 1 or more"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(engine, sample, call, message):
    with pytest.raises(ns.InvalidInputError, match=message):
        call(engine, *sample)


def test_an_engine_pickles_and_says_where_it_is(engine):
    again = pickle.loads(pickle.dumps(engine))
    assert again.kind == "cpu" and "cpu" in repr(again) and again.reason
    with pytest.raises(ns.DeviceError, match="no-such-gpu") as refused:
        ns.Engine("no-such-gpu")
    assert isinstance(refused.value, RuntimeError)
    for device in ns.devices():
        assert device.index >= 0 and device.name


def test_results_show_themselves_in_notebooks(engine, sample):
    x, y = sample
    [probe] = engine.fit_probes(x, ns.Problem(y, 0.01, 0.01))
    results = [
        engine.correlation(x),
        engine.correlation(x, at_least=0.5),
        engine.correlation(x, top_k=2),
        engine.clusters(x, [0.3, 0.6]),
        engine.clusters(x, [0.3])[0],
        probe,
        engine.rank(x, y, "anova")["anova"],
        engine.sweep(x, y, probe, {"<b>": np.arange(24)})["<b>"],
        engine.correlation(x).moments,
    ]
    for result in results:
        shown = result._repr_html_()
        assert shown.startswith("<table>") and "<b>" not in shown
        assert len(result.to_pandas()) > 0
    assert f"{probe.certificate.relative_gap:.2g}" in probe.certificate._repr_html_()
    device = ns.DeviceInfo(0, "A <b>", "discrete", True, "vulkan", "driver", "1.2")
    assert "<caption>A &lt;b&gt;</caption>" in device._repr_html_() and "driver 1.2" in device._repr_html_()
