"""`neurosieve.neurox.interpretation`: what NeuroX's own tests pin of probes and rankings, and what it gets wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neurosieve.neurox import settings
from neurosieve.neurox.interpretation import clustering, gaussian_probe, iou_probe, linear_probe, metrics, probeless


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(settings, "device", "cpu")


class Weights:
    """As much of a probe as orderings read."""

    def __init__(self, rows):
        self._rows = np.asarray(rows, dtype=np.float32)

    def parameters(self):
        probe = linear_probe.LinearProbe(self._rows.shape[1], self._rows.shape[0])
        linear_probe.fill(probe, self._rows, np.zeros(len(self._rows), dtype=np.float32))
        return probe.parameters()


#: Two classes, five neurons: |w| of the first sums to 10, of the second to 8.
PROBE = Weights([[4, -3, 2, 1, 0], [0, 1, -1, 1, 5]])
CLASSES = {"noun": 0, "verb": 1}


@pytest.fixture
def task(sample):
    x, y = sample
    return x, np.unique(y, return_inverse=True)[1]


def objective(x, y, probe, l1, l2):
    weights, bias = linear_probe.parameters_of(probe)
    logits = x.astype(float) @ weights.astype(float).T + bias
    top = logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0] - logits[np.arange(len(y)), y]
    return loss.mean() + l1 * np.abs(weights).sum() + l2 * np.sqrt((weights.astype(float) ** 2).sum())


def test_penalties_are_the_sum_and_the_root_of_the_sum_of_squares():
    values = np.array([[3.0, -4.0], [0.0, 12.0]])
    assert linear_probe.l1_penalty(values) == 19
    assert linear_probe.l2_penalty(values) == 13


@pytest.mark.parametrize("wrong", [{"lambda_l1": None}, {"lambda_l2": None}, {"task_type": "ranking"}], ids=["l1", "l2", "task"])
def test_training_refuses_with_value_errors(task, wrong):
    with pytest.raises(ValueError, match="Give|Allowed"):
        linear_probe._train_probe(*task, **({"task_type": "classification"} | wrong))


def test_one_class_is_refused(task):
    with pytest.raises(ValueError, match="more than one class"):
        linear_probe.train_logistic_regression_probe(task[0], np.zeros(len(task[1]), dtype=int))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("solver", ["exact", "adam"])
def test_probes_are_trained_on_any_floating_type(task, dtype, solver):
    x, y = task
    probe = linear_probe.train_logistic_regression_probe(x.astype(dtype), y, 0.001, 0.001, num_epochs=3, solver=solver)
    assert probe.linear.weight.shape == (3, 24)
    assert probe.certificate.converged == (solver == "exact")


def test_an_exact_probe_is_the_optimum_of_neuroxs_objective(task):
    x, y = task
    exact = linear_probe.train_logistic_regression_probe(x, y, 0.01, 0.02)
    adam = linear_probe.train_logistic_regression_probe(x, y, 0.01, 0.02, num_epochs=300, learning_rate=0.003, solver="adam")
    best, trained = (objective(x, y, probe, 0.01, 0.02) for probe in (exact, adam))
    assert best <= trained * (1 + 1e-3)
    assert trained < 1.02 * best, "it minimises the same function"
    assert (linear_probe.weights_of(exact) == 0).any() and not (linear_probe.weights_of(adam) == 0).any()
    assert exact.certificate.relative_gap <= settings.gap


def test_without_a_penalty_it_trains_as_neurox(task):
    assert not linear_probe.train_logistic_regression_probe(*task, num_epochs=1).certificate.converged


def test_a_regression_minimises_the_squared_error(task):
    x, _ = task
    y = (x[:, 0] - 2 * x[:, 5]).astype(np.float32)
    probe = linear_probe.train_linear_regression_probe(x, y, 1e-3, 1e-3)
    weights, bias = linear_probe.parameters_of(probe)
    at = lambda w, b: ((x @ w - y + b) ** 2).mean() + 1e-3 * np.abs(w).sum() + 1e-3 * np.sqrt((w**2).sum())
    best = at(weights[0].astype(float), float(bias[0]))
    random = np.random.default_rng(0)
    assert all(best <= at(weights[0] * (1 + 0.02 * random.normal(size=24)), float(bias[0])) * 1.001 for _ in range(50))
    for metric in ("pearson", "spearman", "pearson_and_spearman"):
        assert linear_probe.evaluate_probe(probe, x, y, metric=metric)["__OVERALL__"] > 0.99


def test_a_class_without_samples_is_never_predicted(task):
    x, y = task
    gap = np.where(y == 2, 3, y)
    probe = linear_probe.train_logistic_regression_probe(x, gap, 0.001, 0.001)
    scores, predictions = linear_probe.evaluate_probe(probe, x, gap, dict(enumerate("abcd")), return_predictions=True)
    assert scores["c"] == 0 and scores["d"] > 0.5
    assert "c" not in {predicted for _, predicted, _ in predictions}
    assert len(linear_probe.get_top_neurons(probe, 0.5, {"c": 2})[0]) == 0


def test_scores_have_a_key_for_every_class_and_overall(task):
    x, y = task
    probe = linear_probe.train_logistic_regression_probe(x, y, 0.001, 0.001)
    assert set(linear_probe.evaluate_probe(probe, x, y)) == {"__OVERALL__"}
    scores = linear_probe.evaluate_probe(probe, x, y, idx_to_class={0: "a", 1: "b", 2: "c"})
    assert set(scores) == {"__OVERALL__", "a", "b", "c"}
    shares = np.bincount(y) / len(y)
    assert scores["__OVERALL__"] == pytest.approx(sum(share * scores[name] for share, name in zip(shares, "abc", strict=True)))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("with_words", [False, True])
def test_predictions_say_word_class_and_whether_it_is_right(task, named, with_words):
    x, y = task
    probe = linear_probe.train_logistic_regression_probe(x, y, 0.001, 0.001)
    names = {0: "a", 1: "b", 2: "c"} if named else None
    words = [[f"w{i}" for i in range(150)], [f"w{i}" for i in range(150, 400)]] if with_words else None
    scores, predictions = linear_probe.evaluate_probe(probe, x, y, names, return_predictions=True, source_tokens=words)
    assert len(predictions) == 400
    assert [word for word, _, _ in predictions[:2]] == (["w0", "w1"] if with_words else [0, 1])
    assert np.mean([right for _, _, right in predictions]) == scores["__OVERALL__"]
    keys = {predicted for _, predicted, _ in predictions}
    assert keys == ({"a", "b", "c"} if named else {0, 1, 2})


@pytest.mark.parametrize(
    ("share", "noun", "verb"),
    [
        (0, [0], [4]),
        (0.4, [0], [4]),
        (0.5, [0, 1], [4]),
        (0.75, [0, 1, 2], [4, 1]),
        (1, [0, 1, 2, 3], [4, 1, 2, 3]),
        (1.1, [0, 1, 2, 3], [4, 1, 2, 3]),
    ],
)
def test_top_neurons_hold_a_share_of_the_weight_mass(share, noun, verb):
    together, per_class = linear_probe.get_top_neurons(PROBE, share, CLASSES)
    assert {name: chosen.tolist() for name, chosen in per_class.items()} == {"noun": noun, "verb": verb}
    assert isinstance(together, np.ndarray) and together.tolist() == sorted({*noun, *verb})


@pytest.mark.parametrize(("share", "noun", "verb"), [(0.1, [4, 3], [0, 1]), (0.3, [4, 3, 2], [0, 1, 2, 3]), (1, 5, 5)])
def test_bottom_neurons_hold_a_share_of_the_weight_mass(share, noun, verb):
    together, per_class = linear_probe.get_bottom_neurons(PROBE, share, CLASSES)
    if share == 1:
        assert {len(chosen) for chosen in per_class.values()} == {5} and len(together) == 5
    else:
        assert [chosen.tolist() for chosen in per_class.values()] == [noun, verb]


@pytest.mark.parametrize(
    ("fraction", "noun", "verb"), [(2, [0, 1], [4]), (5, [0, 1, 2, 3], [4]), (6, [0, 1, 2, 3], [1, 2, 3, 4])]
)
def test_a_hard_threshold_is_the_largest_weight_over_a_number(fraction, noun, verb):
    together, per_class = linear_probe.get_top_neurons_hard_threshold(PROBE, fraction, CLASSES)
    assert [chosen.tolist() for chosen in per_class.values()] == [noun, verb]
    assert together.tolist() == sorted({*noun, *verb})


def test_random_neurons_are_of_numpys_global_generator(monkeypatch):
    monkeypatch.setattr(np.random, "random", lambda shape: np.array([0.1, 0.7, 0.3, 0.5, 0.9]))
    assert linear_probe.get_random_neurons(PROBE, 0.5).tolist() == [0, 2, 3]


def test_orderings_grow_by_top_neurons_at_every_share():
    random = np.random.default_rng(3)
    for classes, neurons, stride in itertools.product((1, 4), (7, 60), (10, 100)):
        probe = Weights(random.laplace(size=(classes, neurons)))
        rows = {c: c for c in range(classes)}
        ordering, cutoffs = linear_probe.get_neuron_ordering(probe, rows, search_stride=stride)
        assert sorted(ordering) == list(range(neurons)) and all(type(neuron) is int for neuron in ordering)
        assert len(cutoffs) == stride + 1 and cutoffs[-1] == neurons
        for step in range(stride):
            # One step's share, as get_top_neurons has it, where rounding does not decide.
            at = {*linear_probe.get_top_neurons(probe, step / stride, rows)[0].tolist()}
            assert {*ordering[: cutoffs[step]]} == at


def test_neurons_without_weight_are_last_and_none_is_missing():
    ordering, cutoffs = linear_probe.get_neuron_ordering(Weights([[0, 0, 2, 0, 1]]), {"a": 0})
    assert ordering == [2, 4, 0, 1, 3] and cutoffs[-2:] == [2, 5]


@pytest.mark.parametrize("granularity", [1, 2, 3, 50])
def test_a_granular_ordering_is_cut_where_multiples_are_reached(granularity):
    random = np.random.default_rng(1)
    probe = Weights(random.laplace(size=(3, 40)))
    ordering, cutoffs = linear_probe.get_neuron_ordering_granular(probe, {c: c for c in range(3)}, granularity)
    assert sorted(ordering) == list(range(40))
    assert cutoffs == sorted(set(cutoffs)) and cutoffs[-1] == 40
    whole = {*linear_probe.get_neuron_ordering(probe, {c: c for c in range(3)})[1]}
    assert {*cutoffs} <= whole
    assert all(b - a >= 1 for a, b in itertools.pairwise(cutoffs)) and len(cutoffs) <= 40 // granularity + 2


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [3]), (2, [2, 3]), (9, [0, 4, 1, 2, 3])])
def test_the_bottom_of_the_ordering(count, expected):
    assert linear_probe.get_fixed_number_of_bottom_neurons(PROBE, count, CLASSES) == expected


def test_classes_need_not_be_named():
    probe = Weights([[1, 3, 2]])
    assert linear_probe.get_neuron_ordering(probe)[0] == [1, 2, 0]
    assert linear_probe.get_top_neurons(probe, 0.5)[1][0].tolist() == [1]


def test_clusters_are_scipys_by_number():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    random = np.random.default_rng(0)
    for neurons, threshold, absolute in itertools.product((2, 3, 10, 60), (-1, 0.1, 0.3, 0.5, 1.1), (True, False)):
        hidden = random.normal(size=(300, max(2, neurons // 3)))
        x = hidden @ random.normal(size=(hidden.shape[1], neurons)) + 0.7 * random.normal(size=(300, neurons))
        x = x.astype(np.float32)
        r = np.corrcoef(x.T.astype(float))
        apart = 1 - np.abs(r) if absolute else 1 - r
        linkage = hierarchy.linkage(distance.squareform(apart, checks=False), "average")
        expected = hierarchy.fcluster(linkage, threshold, criterion="distance")
        found = clustering.create_correlation_clusters(x, absolute, threshold)
        assert found.dtype == expected.dtype and (found == expected).all()


def test_one_neuron_of_every_cluster_is_drawn(task, capsys):
    x = np.concatenate([task[0], task[0][:, :3] * -2, np.zeros((400, 1))], axis=1)
    np.random.seed(5)
    neurons, clusters = clustering.extract_independent_neurons(x, clustering_threshold=0.3)
    np.random.seed(5)
    assert neurons == [np.random.choice(np.flatnonzero(clusters == c)) for c in range(1, clusters.max() + 1)]
    assert clusters[24] == clusters[0] and (clusters == clusters[27]).sum() == 1, "a constant neuron is alone"
    signed = clustering.scikit_extract_independent_neurons(x, 0.3)[1]
    assert signed[24] != signed[0]
    clustering.print_clusters(clusters)
    assert capsys.readouterr().out.count("Cluster ") == clusters.max()
    assert clustering.create_correlation_clusters(x[:, :1]).tolist() == [1]


def test_probeless_orders_by_distances_of_raw_class_means(task):
    x, y = task
    means = np.stack([x[y == c].astype(float).mean(axis=0) for c in range(3)])
    apart = np.abs(means[:, None] - means[None]).sum(axis=1)
    assert probeless.get_neuron_ordering(x, y) == np.argsort(-apart.sum(axis=0), kind="stable").tolist()
    assert probeless.get_neuron_ordering_for_tag(x, y, {"b": 1}, "b") == np.argsort(-apart[1], kind="stable").tolist()
    overall, per_tag = probeless.get_neuron_ordering_for_all_tags(x.astype(np.float16), y, dict(enumerate("abc")))
    assert set(per_tag) == set("abc") and sorted(overall) == list(range(24)) and type(overall[0]) is int


def test_the_iou_probe_is_average_precision_above_a_threshold(task):
    ranking = pytest.importorskip("sklearn.metrics")
    x, y = task
    before = x.copy()
    order = iou_probe.get_neuron_ordering(x, y == 1, threshold=0.5)
    assert (x == before).all(), "the activations stay as they are"
    scores = [ranking.average_precision_score(y == 1, np.where(np.abs(x[:, n]) < 0.5, 0, x[:, n])) for n in range(24)]
    assert order.tolist() == np.argsort(-np.array(scores), kind="stable").tolist()
    # Neuron 0 tells the classes apart, neuron 2 the wrong way round.
    assert iou_probe.get_neuron_ordering(np.array([[9, 1, 0], [7, 1, 1], [0, 1, 8], [1, 1, 9]]), np.array([1, 1, 0, 0]))[0] == 0
    with pytest.raises(ValueError, match="0 or 1"):
        iou_probe.get_neuron_ordering(x, y)


def gaussian_log_posterior(x, y, neurons):
    """NeuroX's posterior of every class for the samples, on some neurons, as its code defines it, in float64."""
    x, columns = x.astype(float), []
    for c in range(y.max() + 1):
        own = x[y == c]
        apart = own - own.mean(axis=0)
        scatter = apart.T @ apart
        sigma = (scatter + np.diag(np.diag(scatter) / (len(own) - 1))) / (2 * x.shape[1] + 4 + len(own))
        sigma = sigma[np.ix_(neurons, neurons)]
        d = (x - own.mean(axis=0))[:, neurons]
        density = -0.5 * (np.einsum("ij,jk,ik->i", d, np.linalg.inv(sigma), d) + np.linalg.slogdet(sigma)[1])
        columns.append(density + np.log(np.mean(y == c)))
    joint = np.stack(columns, axis=1)
    top = joint.max(axis=1, keepdims=True)
    return joint - top - np.log(np.exp(joint - top).sum(axis=1, keepdims=True))


def test_the_gaussian_probe_selects_and_predicts_by_neuroxs_posterior(task):
    x, y = task
    probe = gaussian_probe.train_probe(x, y)
    chosen = []
    for _ in range(4):
        gains = {n: gaussian_log_posterior(x, y, [*chosen, n])[np.arange(400), y].mean() for n in range(24) if n not in chosen}
        chosen.append(max(gains, key=gains.get))
    assert gaussian_probe.get_neuron_ordering(probe, 4) == chosen
    for neurons in (chosen, list(range(24))):
        predictions, score = gaussian_probe.evaluate_probe(
            probe, x, y, return_predictions=True, selected_neurons=np.array(neurons)
        )
        assert (predictions == gaussian_log_posterior(x, y, neurons).argmax(axis=1)).all()
        assert score == np.mean(predictions == y)
    assert gaussian_probe.evaluate_probe(probe, x, y) == score
    with pytest.raises(ValueError, match="one sample"):
        gaussian_probe.get_neuron_ordering(gaussian_probe.train_probe(x[:3], np.array([0, 0, 1])), 1)


@pytest.mark.parametrize(("predicted", "labels", "expected"), [([1, 2, 3], [1, 2, 3], 1), ([0, 2], [1, 2], 0.5), ([0], [1], 0)])
def test_accuracy(predicted, labels, expected):
    assert metrics.accuracy(predicted, labels) == metrics.accuracy(np.array(predicted), np.array(labels)) == expected


def test_metrics_are_scikit_learns_and_scipys():
    reference = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(2)
    for _ in range(5):
        a, b = random.integers(0, 2, (2, 60))
        assert metrics.f1(a, b) == pytest.approx(reference.f1_score(b, a))
        assert metrics.accuracy_and_f1(a, b) == pytest.approx((np.mean(a == b) + reference.f1_score(b, a)) / 2)
        c, d = random.integers(0, 4, (2, 60))
        assert metrics.matthews_corrcoef(c, d) == pytest.approx(reference.matthews_corrcoef(d, c))
        assert metrics.f1(c, d) == pytest.approx(reference.f1_score(d, c, average="macro"))
        assert metrics.pearson(c, d) == pytest.approx(stats.pearsonr(c, d)[0])
        assert metrics.spearman(c, d) == pytest.approx(stats.spearmanr(c, d)[0])
        assert metrics.compute_score(c, d, "pearson_and_spearman") == pytest.approx(
            (metrics.pearson(c, d) + metrics.spearman(c, d)) / 2
        )
    assert metrics.matthews_corrcoef([1, 1], [1, 1]) == 0 and np.isnan(metrics.pearson([1, 1], [0, 1]))
    with pytest.raises(ValueError, match="metric"):
        metrics.compute_score([1], [1], "auc")
    with pytest.raises(ValueError, match="one a sample"):
        metrics.accuracy([1, 2], [1])


def test_adam_takes_torchs_steps(task):
    torch = pytest.importorskip("torch")
    x, y = task
    torch.manual_seed(11)
    reference = torch.nn.Linear(24, 3)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
    for _ in range(2):
        for first in range(0, 400, 32):
            rows, labels = torch.from_numpy(x[first : first + 32]), torch.from_numpy(y[first : first + 32])
            loss = torch.nn.functional.cross_entropy(reference(rows), labels)
            loss = loss + 1e-3 * reference.weight.abs().sum() + 1e-2 * reference.weight.norm()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    after = torch.rand(1)
    torch.manual_seed(11)
    probe = linear_probe.train_logistic_regression_probe(x, y, 1e-3, 1e-2, 2, 32, 0.01, solver="adam")
    assert isinstance(probe, torch.nn.Module)
    np.testing.assert_allclose(linear_probe.weights_of(probe), reference.weight.detach().numpy(), atol=2e-5)
    assert torch.rand(1) == after, "the generator goes on as after NeuroX's training"
    predicted = probe(torch.from_numpy(x)).argmax(dim=1).numpy()
    assert np.mean(predicted == y) == linear_probe.evaluate_probe(probe, x, y)["__OVERALL__"]
