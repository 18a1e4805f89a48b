"""Streams with a small first block: layers are built anew while rows double, up to 1000, and then stay."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier

MODELS = [ClosedFormMLP, CPNetClassifier]


def stream(model, X, y, size):
    for start in range(0, len(y), size):
        model.partial_fit(X[start : start + size], y[start : start + size])
    return model


@pytest.mark.parametrize("make", MODELS)
def test_a_stream_of_small_blocks_ends_where_a_fit_does(make):
    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0, stratify=None)
    model = stream(make(random_state=0).partial_fit(X[:50], y[:50]), X[50:], y[50:], 100)
    assert model.n_samples_seen_ == len(X)
    assert model.score(X_test, y_test) > make(random_state=0).fit(X, y).score(X_test, y_test) - 0.01


@pytest.mark.parametrize("make", [*MODELS, ClosedFormMLPRegressor])
def test_after_each_doubling_a_stream_is_a_fit(make, rng):
    X, y = rng.standard_normal((96, 3)), rng.integers(0, 3, 96)
    scores = "predict" if make is ClosedFormMLPRegressor else "decision_function"
    model = make(30, random_state=0)
    for stop, built in ((20, 20), (40, 40), (60, 40), (80, 80), (96, 80)):
        model.partial_fit(X[stop - 20 if stop < 96 else 80 : stop], y[stop - 20 if stop < 96 else 80 : stop])
        assert model._learned.first.built == built
        assert len(model._learned.first.y) == stop
        if stop == built:
            whole = make(30, random_state=0).fit(X[:stop], y[:stop])
            np.testing.assert_allclose(getattr(model, scores)(X), getattr(whole, scores)(X), atol=1e-8)


@pytest.mark.parametrize("make", MODELS)
def test_kept_rows_are_dropped_at_a_thousand_and_layers_stay(make, rng):
    X, y = rng.standard_normal((2600, 2)), rng.integers(0, 2, 2600)
    model = make(20, random_state=0).partial_fit(X[:600], y[:600])
    assert len(model._learned.first.x) == 600
    model.partial_fit(X[600:1100], y[600:1100])
    assert model._learned.first is None
    network = model._learned.network
    model.partial_fit(X[1100:], y[1100:])
    assert model._learned.network is network
    assert make(20, random_state=0).partial_fit(X[:1000], y[:1000])._learned.first is None
    assert make(20, random_state=0).fit(X[:100], y[:100])._learned.first is None  # what fit is given, it takes for all


def test_rows_of_no_weight_do_not_count(rng):
    X, y, w = rng.standard_normal((60, 2)), rng.integers(0, 2, 60), np.tile([1.0, 0.0], 30)
    model = ClosedFormMLP(10, random_state=0).partial_fit(X, y, sample_weight=w)
    assert model._learned.first.built == len(model._learned.first.x) == 30


@pytest.mark.parametrize("make", MODELS)
def test_predictions_do_not_change_the_estimator(make, rng):
    X, y = rng.standard_normal((90, 2)), rng.integers(0, 2, 90)
    model = make(10, random_state=0).partial_fit(X, y)
    before = pickle.dumps(model)
    model.predict(X), model.predict_proba(X), model.transform(X)
    assert pickle.dumps(model) == before


def test_a_shard_freezes_the_layers_of_both(rng):
    X, y = rng.standard_normal((120, 2)), rng.integers(0, 2, 120)
    model = ClosedFormMLP(10, random_state=0).partial_fit(X[:30], y[:30])
    shard, network = model.shard(), model._learned.network
    shard.partial_fit(X[30:100], y[30:100])
    model.partial_fit(X[100:], y[100:]).merge(shard)
    assert model._learned.network is network
    assert model.n_samples_seen_ == 120


def test_a_merged_stream_goes_on_with_its_layers(rng):
    X, y = rng.standard_normal((120, 2)), rng.integers(0, 2, 120)
    model = ClosedFormMLP(10, random_state=0).partial_fit(X[:30], y[:30])
    model.merge(copy.deepcopy(model))
    network = model._learned.network
    assert model.partial_fit(X[30:], y[30:])._learned.network is network


@pytest.mark.parametrize("make", [*MODELS, ClosedFormMLPRegressor])
def test_a_failed_block_changes_nothing(make, rng):
    X, y = rng.standard_normal((40, 2)), rng.integers(0, 2, 40)
    model = make(10, random_state=0).partial_fit(X[:20], y[:20])
    before = pickle.dumps(model)
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(np.full((20, 2), np.inf), y[20:])
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("make", MODELS)
def test_any_kind_of_rows_is_kept(make, rng):
    X, y = rng.integers(0, 3, (80, 3)).astype(float), rng.integers(0, 2, 80)
    expected = stream(make(10, random_state=0), X, y, 20).decision_function(X)
    rows = stream(make(10, random_state=0), sparse.csr_array(X), y, 20)
    np.testing.assert_allclose(rows.decision_function(X), expected, atol=1e-8)
    torch = pytest.importorskip("torch")
    tensors = stream(make(10, random_state=0), torch.tensor(X), y, 20)
    np.testing.assert_allclose(np.asarray(tensors.decision_function(torch.tensor(X))), expected, atol=1e-8)


def test_words_multilabels_and_late_classes_are_kept(rng):
    X, y = load_wine(return_X_y=True)
    names = np.array(["barbera", "grignolino", "barolo"])[y]  # sorted rows: classes come late
    model = stream(ClosedFormMLP(random_state=0), X, names, 20)
    assert model.score(X, names) > 0.95
    labels = np.column_stack([y > 0, y < 2]).astype(int)
    order = rng.permutation(len(X))
    assert stream(ClosedFormMLP(random_state=0), X[order], labels[order], 20).score(X, labels) > 0.9


@pytest.mark.parametrize("kind", ["numbers", "bits"])
@pytest.mark.parametrize("make", [*MODELS, ClosedFormMLPRegressor])
def test_blocks_of_one_row(make, kind, rng):
    X = rng.standard_normal((40, 2)) if kind == "numbers" else rng.integers(0, 2, (40, 2)).astype(float)
    y = (X[:, 0] > 0.5).astype(int)
    model = stream(make(10, random_state=0), X, y, 1)
    assert model.n_samples_seen_ == 40
    assert model.score(X, y) > 0.8


def test_statistics_of_a_young_stream_come_back(tmp_path, rng):
    X, y = rng.standard_normal((120, 2)), rng.integers(0, 2, 120)
    model = ClosedFormMLP(10, random_state=0).partial_fit(X[:50], y[:50])
    model.save_statistics(tmp_path / "young.npz")
    loaded = ClosedFormMLP(10, random_state=0).load_statistics(tmp_path / "young.npz")
    model.partial_fit(X[50:], y[50:])
    loaded.partial_fit(X[50:], y[50:])
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
