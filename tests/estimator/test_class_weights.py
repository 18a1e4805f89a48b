"""Weights of classes and the list of all classes: scikit-learn's rules in every classifier."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import RidgeClassifier
from sklearn.utils.class_weight import compute_class_weight

import sklearn_analytic as sa

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["no", "perhaps", "yes"])[Y]
CLOSED = ("ClosedFormMLP", "CPNetClassifier", "BRMPClassifier")
STEPWISE = ("DFAClassifier", "LayerwiseMLP", "DecoupledMLPClassifier")
SMALL = {"ClosedFormMLP": {"hidden": "random", "hidden_layer_sizes": 5}, "CPNetClassifier": {"hidden_layer_sizes": 5}}


def made(name, **options):
    small = SMALL.get(name, {}) if name in CLOSED else {"hidden_layer_sizes": 4}
    small |= {} if name in CLOSED else {"max_iter": 1, "n_iter_no_change": np.inf}
    seed = {} if name == "BRMPClassifier" else {"random_state": 0}
    return getattr(sa, name)(**small, **seed, **options)


KEYS = ("no", "perhaps", "yes", "Yes", 1)
DICTS = [dict.fromkeys(keys, 2.0) for n in range(5) for keys in itertools.combinations(KEYS, n)]


@pytest.mark.parametrize("weights", DICTS, ids=lambda weights: str(list(weights)))
def test_a_dictionary_is_refused_where_scikit_learn_refuses_it(weights):
    from sklearn_analytic.estimator.weights import check_class_weight

    classes = np.unique(NAMES)
    try:
        compute_class_weight(weights, classes=classes, y=NAMES)
    except ValueError:
        with pytest.raises(ValueError, match=r"class_weight has the keys"):
            check_class_weight(weights, classes)
    else:
        check_class_weight(weights, classes)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CLOSED + STEPWISE)
def test_keys_that_are_no_classes(name):
    for weights in ({"Yes": 50}, {1: 50}, {"no": 1.0, "Yes": 50.0}):
        key = list(weights)[-1]
        with pytest.raises(ValueError, match=rf"keys \[{key!r}\].*among the classes \['no', 'perhaps', 'yes'\]"):
            made(name, class_weight=weights).fit(X, NAMES)
        model = made(name, class_weight=weights)
        with pytest.raises(ValueError, match=r"class_weight has the keys"):
            model.partial_fit(X, NAMES, classes=set(NAMES))
        assert not hasattr(model, "classes_")
    rare = {"no": 1.0, "perhaps": 2.0, "yes": 3.0}
    made(name, class_weight=rare).fit(X[:100], NAMES[:100])  # a fold without "yes"


def test_streams_without_a_list_of_classes_judge_the_keys_at_the_end():
    blocks = [(X[k == Y], NAMES[k == Y]) for k in range(3)]
    model = sa.BRMPClassifier(class_weight={"yes": 5.0}).fit_blocks(iter(blocks))
    np.testing.assert_allclose(model.coef_, sa.BRMPClassifier(class_weight={"yes": 5.0}).fit(X, NAMES).coef_)
    with pytest.raises(ValueError, match="class_weight has the keys"):
        sa.BRMPClassifier(class_weight={"Yes": 5.0}).fit_blocks(iter(blocks))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CLOSED + STEPWISE)
@pytest.mark.parametrize("given", [set, list, frozenset, pd.Series, np.array, dict.fromkeys], ids=lambda g: g.__name__)
def test_any_collection_lists_the_classes(name, given):
    labels = ["yes", "no", "perhaps"]
    model = made(name).partial_fit(X, NAMES, classes=given(labels))
    assert model.classes_.tolist() == sorted(labels)
    model.partial_fit(X, NAMES, classes=given(labels[::-1]))


@pytest.mark.parametrize("name", CLOSED + STEPWISE)
@pytest.mark.parametrize("given", ["yes", 3, [], [1, "yes"], [None, "yes"], [np.nan, 1.0], [["a"], ["b"]]], ids=str)
def test_what_lists_no_classes(name, given):
    with pytest.raises(ValueError, match="classes"):
        made(name).partial_fit(X, NAMES, classes=given)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CLOSED + STEPWISE)
def test_a_class_whose_rows_weigh_nothing_stays(name):
    weight = np.where(Y == 2, 0.0, 1.0)
    for model in (
        made(name).fit(X, NAMES, sample_weight=weight),
        made(name, class_weight={"yes": 0.0}).fit(X, NAMES),
        made(name, class_weight="balanced").fit(X, NAMES, sample_weight=weight),
        made(name).partial_fit(X, NAMES, classes=NAMES, sample_weight=weight),
        made(name).fit_blocks(sa.Blocks.from_arrays(X, NAMES, weight, block_size=40)),
    ):
        assert model.classes_.tolist() == ["no", "perhaps", "yes"]
        scores = model.predict_proba(X) if name != "BRMPClassifier" else model.decision_function(X)
        assert scores.shape == (150, 3)
        assert np.isfinite(scores).all()
        if name in CLOSED:
            assert "yes" not in model.predict(X)


def test_balanced_is_that_of_ridge_classifier_and_follows_weights_as_repeated_rows_do():
    rows = np.r_[0:50, 50:70, 100:135]
    x, y, weight = X[rows], NAMES[rows], np.linspace(1, 9, len(rows)).round()
    ours = sa.BRMPClassifier(alpha=1.0, class_weight="balanced")
    peer = RidgeClassifier(alpha=1.0, class_weight="balanced").fit(x, y)
    np.testing.assert_allclose(ours.fit(x, y).coef_, peer.coef_, rtol=1e-9, atol=1e-11)
    copies = np.repeat(np.arange(len(rows)), weight.astype(int))
    repeated = RidgeClassifier(alpha=1.0, class_weight="balanced").fit(x[copies], y[copies])
    np.testing.assert_allclose(ours.fit(x, y, weight).coef_, repeated.coef_, rtol=1e-9, atol=1e-11)
    balance = compute_class_weight("balanced", classes=np.unique(y), y=y, sample_weight=weight)
    given = RidgeClassifier(alpha=1.0, class_weight=dict(zip(np.unique(y), balance, strict=True))).fit(x, y, weight)
    np.testing.assert_allclose(ours.coef_, given.coef_, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", STEPWISE)
def test_balance_at_the_end_of_the_range(name):
    order = np.random.default_rng(0).permutation(150)
    x, y = X[order], Y[order]
    for weight, factor in itertools.product((np.ones(150), np.where(y == 0, 2.0, 1.0)), (2.0**1021, 2.0**-1021)):
        balanced = made(name, class_weight="balanced")
        expected = clone(balanced).fit(x, y, weight)
        found = clone(balanced).fit(x, y, weight * factor)
        np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
        expected = clone(balanced).fit_blocks(sa.Blocks.from_arrays(x, y, weight, block_size=50))
        found = clone(balanced).fit_blocks(sa.Blocks.from_arrays(x, y, weight * factor, block_size=50))
        np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    even, apart = made(name, class_weight="balanced"), np.where(Y == 0, 1.7e308, 1.0)
    np.testing.assert_allclose(even.fit(X, Y, apart).coefs_[0], made(name).fit(X, Y).coefs_[0], rtol=1e-6)
    tens = made(name, class_weight=dict.fromkeys(range(3), 10.0))
    expected = tens.fit(X, Y).coefs_[0]
    np.testing.assert_allclose(tens.fit(X, Y, np.full(150, 1e308)).coefs_[0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", STEPWISE)
def test_products_that_are_no_numbers_are_refused(name):
    words = "sample_weight times class_weight reaches inf.*Divide them by a common factor"
    huge = dict.fromkeys(range(3), 1e308)
    with pytest.raises(ValueError, match=words):
        made(name, class_weight=huge).fit(X, Y, np.full(150, 1e308))
    with pytest.raises(ValueError, match=words):
        made(name, class_weight=huge).partial_fit(X, Y, classes=[0, 1, 2], sample_weight=np.full(150, 10.0))
    with pytest.raises(ValueError, match=words):
        made(name, class_weight="balanced").fit(X, Y, np.where(Y == 0, 1e-320, 1.0))


@pytest.mark.parametrize("name", CLOSED + STEPWISE)
def test_classes_none_of_which_weighs_anything(name):
    none = made(name, class_weight=dict.fromkeys(range(3), 0))
    ways = [
        lambda model: model.fit(X, Y),
        lambda model: model.fit_blocks(sa.Blocks.from_arrays(X, Y, block_size=50)),
        lambda model: model.partial_fit(X, Y, classes=[0, 1, 2]),
    ]
    ways += [lambda model: model.partial_fit(X, Y), lambda model: model.fit_blocks(iter([(X, Y)]))] * (name in CLOSED)
    for way in ways:
        model = clone(none)
        with pytest.raises(ValueError, match="All rows have weight 0: sample_weight and class_weight"):
            way(model)
        assert not hasattr(model, "classes_")
    with pytest.raises(ValueError, match="All rows have weight 0"):
        made(name, class_weight=dict.fromkeys(range(3), 0) | {3: 1.0}).fit(X, Y)  # a class that is not there


def test_blocks_of_a_class_without_weight_are_blocks():
    blocks = [(X[k == Y], Y[k == Y]) for k in range(3)]
    for weights in ({0: 0.0}, {0: 0.0, 1: 1.0, 2: 1.0}):
        expected = sa.BRMPClassifier(class_weight=weights).fit(X, Y).coef_
        model = sa.BRMPClassifier(class_weight=weights)
        for block in blocks:
            model.partial_fit(*block)
        np.testing.assert_allclose(model.coef_, expected, rtol=1e-9, atol=1e-11)
        known = sa.BRMPClassifier(class_weight=weights).partial_fit(*blocks[0], classes=[0, 1, 2])
        np.testing.assert_allclose(known.partial_fit(X[50:], Y[50:]).coef_, expected, rtol=1e-9, atol=1e-11)


NO_NUMBERS = {"text": "a", "text of a number": "1", "list": [1, 2], "huge": 10**400, "none": None, "complex": 1j}
NO_DICTS = {"series": pd.Series([1.0, 2.0, 3.0]), "array": np.ones(3), "list": [1, 2, 3], "word": "Balanced"}


@pytest.mark.parametrize("name", CLOSED + STEPWISE)
def test_what_is_no_class_weight(name):
    wrong = {f"hold finite, non-negative numbers, got {{0: {v!r}}}"[:60]: {0: v} for v in NO_NUMBERS.values()}
    wrong |= {f"be a dict, 'balanced' or None, got {v!r}"[:60]: v for v in NO_DICTS.values()}
    for words, weights in wrong.items():
        with pytest.raises(ValueError, match=re.escape(f"class_weight must {words}")):
            made(name, class_weight=weights).fit(X, Y)
        with pytest.raises(ValueError, match=re.escape(f"class_weight must {words}")):
            made(name, class_weight=weights).partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize("name", ["BRMPClassifier", "CPNetClassifier", "ClosedFormMLP"])
def test_rows_without_weight_change_nothing_and_teach_nothing(name):
    X, y = load_iris(return_X_y=True)
    model = getattr(sa, name)(class_weight={0: 0, 1: 1, 2: 1}, random_state=0)
    with pytest.raises(ValueError, match="All rows have weight 0: sample_weight and class_weight"):
        clone(model).fit(X, y, 1.0 * (y == 0))
    before = clone(model).partial_fit(X, y)
    after = clone(model).partial_fit(X, y).partial_fit(X[y == 0], y[y == 0])
    np.testing.assert_array_equal(after.predict(X), before.predict(X))
    assert after.n_samples_seen_ == before.n_samples_seen_ == 100
    if name != "BRMPClassifier":  # whose layers, if any, need no weight
        with pytest.raises(ValueError, match="All rows have weight 0"):
            clone(model).partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
