"""Targets as values: what classes, labels and numbers mean in streams and merges, and methods made of parameters."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

import sklearn_analytic as sa
from sklearn_analytic.estimator.targets import ClassTargets, LabelTargets, NumberTargets
from sklearn_analytic.linalg import NormalEquations

X, Y = load_iris(return_X_y=True)
FEW, PAIR = X[:100], Y[:100]
CLASSIFIERS = [sa.BRMPClassifier(), sa.CPNetClassifier(10, random_state=0), sa.ClosedFormMLP(10, random_state=0)]
NAMED = {"ids": lambda model: type(model).__name__}


def fresh(model, **parameters):
    return type(model)(**model.get_params() | parameters)


@pytest.mark.parametrize("model", CLASSIFIERS, **NAMED)
@pytest.mark.parametrize("dtype", ["f8", "u8", "i4", "?"])
def test_labels_of_another_dtype_leave_the_classes_as_they_are(model, dtype):
    model = fresh(model).partial_fit(FEW, PAIR.astype("i8")).partial_fit(FEW, PAIR.astype(dtype))
    assert model.classes_.dtype == np.int64 and model.predict(FEW).dtype == np.int64


def test_labels_that_no_float_holds_stay_themselves():
    large = np.array([2**53 + 1, 2**53 + 3])
    model = sa.BRMPClassifier().partial_fit(FEW, large[PAIR]).partial_fit(FEW, large[PAIR].astype(np.uint64))
    assert model.classes_.tolist() == large.tolist()


@pytest.mark.parametrize(("absent", "n_scores"), [(0.0, 0), (-1.0, 0), (0.0, 2)])
def test_columns_of_classes_that_come_later_are_those_of_a_fit_that_knew_them(rng, absent, n_scores):
    x, labels, scores = rng.standard_normal((40, 3)), rng.choice([2, 5], 40), rng.standard_normal((40, n_scores))
    old = ClassTargets(np.array([2, 5]), absent=absent)
    new = old.with_classes(np.array([1, 4, 9]))
    summed = [
        NormalEquations.from_rows(x, np.hstack([targets.matrix(targets.coded(labels)), scores]))
        for targets in (old, new)
    ]
    widened = new.widened(summed[0], old, n_scores)
    np.testing.assert_allclose(widened.mean, summed[1].mean, atol=1e-13)
    np.testing.assert_allclose(widened.scatter, summed[1].scatter, atol=1e-12)


def test_numbers_come_back_from_their_units(rng):
    y = 1e6 + 1e3 * rng.standard_normal((50, 2))
    targets = NumberTargets(2, False).in_units_of(y, None)
    matrix = targets.matrix(y)
    np.testing.assert_allclose(matrix.std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(targets.in_units(matrix, np.zeros(2))[0] + targets.level, y, rtol=1e-12)


def test_what_never_becomes_one_fit_is_not_merged():
    words, numbers = ClassTargets(np.array(["a", "b"])), ClassTargets(np.array([0, 1]))
    with pytest.raises(ValueError, match="cannot be mixed"):
        numbers.joined(words)
    with pytest.raises(ValueError, match="same labels"):
        LabelTargets(np.arange(2)).joined(numbers)
    with pytest.raises(ValueError, match="needs 1 targets, other has 2"):
        NumberTargets(1, True).joined(NumberTargets(2, False))


def test_labels_after_classes_are_refused_however_they_come():
    model = sa.ClosedFormMLP(6, random_state=0).partial_fit(FEW, PAIR)
    for labels in (np.c_[PAIR, 1 - PAIR], np.c_[PAIR, 1 - PAIR].tolist()):
        with pytest.raises(ValueError, match=r"y has shape \(100, 2\), but the first call had 2 classes"):
            model.partial_fit(FEW, labels)


@pytest.mark.parametrize("kind", [sa.BRMPClassifier, sa.CPNetClassifier, sa.ClosedFormMLP], ids=lambda k: k.__name__)
def test_a_subclass_may_settle_parameters(kind):
    class Settled(kind):
        def __init__(self, extra=1):
            super().__init__(8, random_state=0)
            self.extra = extra

    model = Settled().fit(FEW, PAIR).partial_fit(FEW, PAIR)
    expected = kind(8, random_state=0).fit(FEW, PAIR).partial_fit(FEW, PAIR)
    np.testing.assert_array_equal(model.decision_function(FEW), expected.decision_function(FEW))
