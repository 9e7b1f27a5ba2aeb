"""The estimators: scikit-learn's own checks, its objective, and its pipelines, searches and data frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import neurosieve as ns
from neurosieve.sklearn import CorrelationClusters, ElasticNetProbe, ElasticNetProbeCV, SalientNeurons

ESTIMATORS = [
    ElasticNetProbe(device="cpu"),
    ElasticNetProbeCV(Cs=3, l1_ratios=[0.2, 0.8], cv=2, device="cpu"),
    CorrelationClusters(device="cpu"),
    SalientNeurons(device="cpu"),
    SalientNeurons("anova", n_neurons=2, device="cpu"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def objective(probe, x, y, weights, C, l1_ratio) -> float:
    """scikit-learn's, of any probe's coefficients."""
    scores = x @ probe.coef_.T.astype(float) + probe.intercept_
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    top = scores.max(axis=1)
    own = scores[np.arange(len(y)), np.searchsorted(probe.classes_, y)]
    losses = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - own
    w = probe.coef_.astype(float)
    return C * (weights * losses).sum() + l1_ratio * np.abs(w).sum() + (1 - l1_ratio) / 2 * (w**2).sum()


def problem(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    y = random.integers(0, classes, 300)
    x = (random.normal(size=(300, 8)) + np.eye(classes, 8)[y]) * np.geomspace(0.5, 2, 8) + 0.3
    return x, y, random.integers(0, 4, 300).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_optimum_is_that_of_logistic_regression(classes, l1_ratio, weighted):
    x, y, weights = problem(classes)
    weights = weights if weighted else np.ones(len(y))
    for C in (0.05, 1.0):
        probe = ElasticNetProbe(C=C, l1_ratio=l1_ratio, device="cpu").fit(x, y, weights)
        theirs = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=20_000)
        theirs.fit(x, y, weights)
        ours, reached = (objective(p, x, y, weights, C, l1_ratio) for p in (probe, theirs))
        assert ours <= reached * (1 + 1e-12)
        np.testing.assert_allclose(probe.predict_proba(x), theirs.predict_proba(x), atol=1e-4)
        if l1_ratio < 1:  # of a pure lasso of three classes or more the coefficients are not unique
            np.testing.assert_allclose(probe.coef_, theirs.coef_, atol=2e-4)
        assert probe.certificate_.relative_gap < 1e-9 and probe.is_exact_
        assert probe.coef_.shape == theirs.coef_.shape and probe.coef_.dtype == np.float64


@pytest.mark.parametrize("classes", [2, 3])
def test_ridge_is_that_of_lbfgs_to_many_digits_without_intercepts_too(classes):
    x, y, _ = problem(classes)
    x = StandardScaler().fit_transform(x)
    for fit_intercept in (True, False):
        probe = ElasticNetProbe(C=0.5, l1_ratio=0, fit_intercept=fit_intercept, device="cpu").fit(x, y)
        theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000, fit_intercept=fit_intercept).fit(x, y)
        np.testing.assert_allclose(probe.coef_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(probe.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
        np.testing.assert_allclose(probe.decision_function(x), theirs.decision_function(x), atol=2e-6)
        assert fit_intercept or not probe.intercept_.any()


def test_zeros_are_exact_and_follow_l1():
    x, y, _ = problem(3)
    counts = [np.count_nonzero(ElasticNetProbe(C=C, l1_ratio=1.0, device="cpu").fit(x, y).coef_) for C in (0.03, 0.1, 1)]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_class_weights_are_sample_weights():
    x, y = load_iris(return_X_y=True)
    y = np.minimum(y, 1)
    balanced = ElasticNetProbe(class_weight="balanced", device="cpu").fit(x, y)
    by_hand = ElasticNetProbe(device="cpu").fit(x, y, np.where(y == 0, 150 / 100, 150 / 200))
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-9)
    named = ElasticNetProbe(class_weight={0: 3.0, 1: 1.0}, device="cpu").fit(x, y)
    theirs = LogisticRegression(class_weight={0: 3.0, 1: 1.0}, l1_ratio=0.5, solver="saga", tol=1e-9, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(named.coef_, theirs.coef_, atol=1e-3)


def large() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    y = random.integers(0, 4, 3000)
    x = random.normal(size=(3000, 300)) + 1.5 * np.eye(4, 300)[y]
    return x.astype(np.float32), y


def test_large_problems_are_solved_in_f32_to_the_gap_asked_for():
    x, y = large()
    probe = ElasticNetProbe(C=0.02, tol=1e-5, device="cpu").fit(x, y)
    assert not probe.is_exact_ and probe.certificate_.converged and probe.certificate_.relative_gap <= 1e-5
    theirs = LogisticRegression(C=0.02, l1_ratio=0.5, solver="saga", tol=1e-6, max_iter=3000).fit(x, y)
    weights = np.ones(len(y))
    ours, reached = (objective(p, x.astype(float), y, weights, 0.02, 0.5) for p in (probe, theirs))
    assert ours <= reached * (1 + 1e-5) and reached - ours <= 1e-3 * reached
    np.testing.assert_allclose(probe.coef_, theirs.coef_, atol=5e-3)
    assert probe.coef_.dtype == np.float32
    with pytest.warns(ConvergenceWarning, match="relative duality gap"):
        ElasticNetProbe(C=1.0, tol=1e-7, max_iter=2, device="cpu").fit(x, y)
    with pytest.raises(ns.InvalidInputError, match="fit_intercept"):
        ElasticNetProbe(fit_intercept=False, device="cpu").fit(x, y)


@pytest.mark.parametrize("data", ["small", "large"])
def test_cross_validation_tries_what_a_loop_tries(data):
    x, y = load_iris(return_X_y=True) if data == "small" else large()
    x, y = (x, y) if data == "small" else (x[:1200], y[:1200])
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    grid = {"C": [1e-3, 1e-2, 0.1], "l1_ratio": [0.3, 1.0]}
    chosen = ElasticNetProbeCV(Cs=grid["C"], l1_ratios=grid["l1_ratio"], cv=folds, tol=1e-6, device="cpu").fit(x, y)
    assert chosen.scores_.shape == (3, 2, 3)
    for place, ratio in enumerate(grid["l1_ratio"]):
        for at, C in enumerate(grid["C"]):
            alone = ElasticNetProbe(C=C, l1_ratio=ratio, tol=1e-6, device="cpu")
            by_hand = cross_val_score(alone, x, y, cv=folds)
            np.testing.assert_allclose(chosen.scores_[:, place, at], by_hand, atol=1e-12 if data == "small" else 0.003)
    mean = chosen.scores_.mean(axis=0)
    best = np.argwhere(mean == mean.max())
    at = min(c for _, c in best)
    assert grid["C"][at] == chosen.C_
    assert chosen.l1_ratio_ == max(grid["l1_ratio"][r] for r, c in best if c == at)
    again = ElasticNetProbe(C=chosen.C_, l1_ratio=chosen.l1_ratio_, tol=1e-6, device="cpu").fit(x, y)
    np.testing.assert_array_equal(again.coef_, chosen.coef_)
    loss = ElasticNetProbeCV(Cs=[0.1, 1], cv=3, scoring="neg_log_loss", device="cpu").fit(*load_iris(return_X_y=True))
    assert (loss.scores_ < 0).all()


def test_a_grid_that_is_none_is_refused():
    x, y = load_iris(return_X_y=True)
    for wrong, message in [({"Cs": [0.0]}, "Cs"), ({"l1_ratios": [1.5]}, "l1_ratios"), ({"Cs": []}, "Cs")]:
        with pytest.raises(ns.InvalidInputError, match=message):
            ElasticNetProbeCV(**wrong, device="cpu").fit(x, y)


def test_clusters_keep_their_representatives():
    x, _ = load_breast_cancer(return_X_y=True)
    keeper = CorrelationClusters(0.2, device="cpu").fit(x)
    kept = keeper.transform(x)
    np.testing.assert_array_equal(kept, x[:, np.sort(keeper.representatives_)])
    assert 1 < keeper.n_clusters_ < 30 and kept.shape[1] == keeper.n_clusters_
    r = np.abs(np.corrcoef(kept, rowvar=False) - np.eye(kept.shape[1]))
    assert r.max() < 0.95, "what nearly repeats another is gone"
    random = CorrelationClusters(0.5, representatives="random", random_state=3, device="cpu")
    np.testing.assert_array_equal(clone(random).fit(x).representatives_, clone(random).fit(x).representatives_)


def test_salient_neurons_are_the_first_of_the_ranking():
    x, y = load_breast_cancer(return_X_y=True)
    anova = SalientNeurons("anova", n_neurons=5, device="cpu").fit(x, y)
    best = np.argsort(-f_classif(x.astype(np.float32), y)[0])[:5]
    assert set(anova.get_support(indices=True)) == set(best)
    share = SalientNeurons("lca", n_neurons=0.1, device="cpu").fit(x, y)
    assert share.transform(x).shape[1] == 3 and share.certificate_.converged
    assert SalientNeurons("random", n_neurons=99, device="cpu").fit(x, y).transform(x).shape == x.shape


def test_pipelines_searches_and_the_names_of_data_frames():
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(
        StandardScaler(),
        CorrelationClusters(0.3, device="cpu"),
        SalientNeurons("probeless", n_neurons=6, device="cpu"),
        ElasticNetProbe(device="cpu"),
    ).set_output(transform="pandas")
    search = GridSearchCV(pipeline, {"elasticnetprobe__C": [1e-4, 0.1], "correlationclusters__threshold": [0.1, 0.3]}, cv=3)
    search.fit(frame, y)
    assert search.best_score_ > 0.93 and search.best_params_["elasticnetprobe__C"] == 0.1
    best = search.best_estimator_
    names = best[:-1].get_feature_names_out()
    assert len(names) == 6 and set(names) <= set(frame.columns)
    assert list(best[-1].feature_names_in_) == list(names)
    assert isinstance(best[:-1].transform(frame), pd.DataFrame)


def test_labels_of_any_type_come_back():
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    probe = ElasticNetProbe(device="cpu").fit(x, names)
    assert set(probe.predict(x)) <= set(names) and probe.score(x, names) > 0.95
    np.testing.assert_allclose(probe.predict_proba(x).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(probe.predict_log_proba(x)), probe.predict_proba(x), rtol=1e-12)
