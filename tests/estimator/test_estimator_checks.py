"""scikit-learn's checks, strict and counted, and the checks of this house, for every estimator."""

import importlib.util
import inspect
import os

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone, is_classifier
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted

import sklearn_analytic
from sklearn_analytic import (
    KFAC,
    ApproximateActivation,
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    Feedback,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
    PipelineRule,
)
from tests import checks
from tests.checks import HOUSE_CHECKS

SKLEARN = parse_version(sklearn.__version__)

# Training that is long enough for what the checks ask, and no longer: tests of learning give it what it needs.
SHORT = {"learning_rate_init": 0.01, "max_iter": 20}

# A new estimator, or a new road through one, is one row here. The first row of a class has all checks.
ESTIMATORS = [
    BRMPRegressor(),
    BRMPRegressor(hidden_layer_sizes=(20,), alpha="gcv"),
    BRMPRegressor(hidden_layer_sizes=(20,), hidden="sampled", alpha=0.01),
    BRMPRegressor(solver="recursive"),
    BRMPClassifier(),
    BRMPClassifier(hidden_layer_sizes=(30,), hidden="rbf", alpha="gcv"),
    CPNetClassifier(),
    CPNetClassifier(encoding="class", skip=False, exit="last", alpha=0.0, activation="tanh"),
    ClosedFormMLP(),
    ClosedFormMLP(20, hidden="sampled", alpha=0.1),
    ClosedFormMLPRegressor(),
    ClosedFormMLPRegressor((20, 20), hidden="random", input_encoding="standard"),
    DecoupledMLPClassifier(max_iter=20),
    DecoupledMLPClassifier(
        (16, 16), schedule="dtrp", n_modules=3, pipeline=PipelineRule(accumulation_steps=2), max_iter=20
    ),
    DecoupledMLPRegressor(max_iter=30),
    DecoupledMLPRegressor(
        (16, 16),
        schedule="ddg",
        pipeline=PipelineRule(weight_version="current", drain=False, executor="threads"),
        max_iter=30,
    ),
    DFAClassifier(max_iter=30),
    DFAClassifier((16, 16), feedback="binary", activation=ApproximateActivation("relu", bits=4), **SHORT),
    DFAClassifier((16, 16), output="expgb", **SHORT),
    DFARegressor(max_iter=30),
    DFARegressor((16, 16), feedback=Feedback("learned"), activation="tanh", preconditioner=KFAC(), **SHORT),
    LayerwiseMLP(max_iter=30),
    LayerwiseMLP((16, 16), order="simultaneous", partitions=Partitions(local_loss="predsim"), **SHORT),
    LayerwiseMLPRegressor(max_iter=30),
    LayerwiseMLPRegressor((16, 16), partitions=Partitions(interlayer="window"), order="laps", **SHORT),
]

if os.environ.get("SCIPY_ARRAY_API") == "1":  # a second lane: one row of each class is enough there
    ESTIMATORS = list({type(estimator): estimator for estimator in reversed(ESTIMATORS)}.values())[::-1]

# {(class name, alpha): {check: reason}}, at most two each. They are strict: an entry that passes fails.
_MINI_BATCHES = {
    f"check_sample_weight_equivalence_on_{kind}_data": "copies of a row fall into several batches, a heavy row into one"
    for kind in ("dense", "sparse")
}
EXPECTED_FAILED_CHECKS = {
    ("DecoupledMLPClassifier", 0.0): _MINI_BATCHES,
    ("DecoupledMLPRegressor", 0.0): _MINI_BATCHES,
    ("DFAClassifier", 0.0): _MINI_BATCHES,
    ("DFARegressor", 0.0): _MINI_BATCHES,
    ("LayerwiseMLP", 0.0): _MINI_BATCHES,
    ("LayerwiseMLPRegressor", 0.0): _MINI_BATCHES,
}

# Checks that scikit-learn >= 1.9 collects for an estimator with sample_weight and partial_fit that reads NaN.
# Wrong tags remove checks silently, so a smaller number is an error.
KNOWN_COUNTS = {"classifier": 63, "regressor": 60}
FEWER_BEFORE_1_9 = 5
OF_TRANSFORMERS = 6  # closed-form networks give their hidden features: the checks of transform are theirs, too


def expected_failed_checks(estimator):
    return EXPECTED_FAILED_CHECKS.get((type(estimator).__name__, estimator.alpha), {})


# xfail_strict exists since scikit-learn 1.8; before, pytest's own xfail_strict does the same.
STRICT = {"xfail_strict": True} if parse_version("1.8") <= SKLEARN else {}


# What these look at no parameter changes: constructors, copies, tags, names, and errors of an estimator without a fit.
OF_CLASSES = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_transformers_unfitted",
    "check_valid_tag_types",
}


def function_of(check):
    """The function below whatever arguments and wrappers."""
    while hasattr(check, "func") or hasattr(check, "__wrapped__"):
        check = getattr(check, "func", None) or check.__wrapped__
    return check


def is_needed(estimator, check):
    """Whether a row has a check that the first row of its class does not have already."""
    first = next(row for row in ESTIMATORS if type(row) is type(estimator))
    return estimator is first or function_of(check).__name__ not in OF_CLASSES


def sklearn_checks():
    """scikit-learn's mark, with its reasons and names, less what would be run again."""
    mark = parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks, **STRICT)
    names, cases = mark.args
    return pytest.mark.parametrize(
        names, [case for case in cases if is_needed(*getattr(case, "values", case))], **mark.kwargs
    )


@sklearn_checks()
def test_sklearn_check(estimator, check):
    check(estimator)


def test_every_class_has_the_checks_of_classes():
    found = [function_of(check).__name__ for _, check in estimator_checks_generator(ESTIMATORS[0])]
    assert set(found) >= OF_CLASSES


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_no_check_has_vanished(estimator):
    known = KNOWN_COUNTS["classifier" if is_classifier(estimator) else "regressor"]
    wanted = known - (FEWER_BEFORE_1_9 if parse_version("1.9") > SKLEARN else 0)
    wanted += OF_TRANSFORMERS if isinstance(estimator, TransformerMixin) else 0
    collected = list(estimator_checks_generator(estimator))
    assert len(collected) >= wanted


def test_expected_failures_are_few_and_reasoned():
    assert {name for name, _ in EXPECTED_FAILED_CHECKS} <= set(sklearn_analytic.__all__)
    for name, failures in EXPECTED_FAILED_CHECKS.items():
        assert len(failures) <= 2, name
        assert all(len(reason.split()) >= 4 for reason in failures.values()), name


def test_every_public_estimator_is_in_the_table():
    public = {
        name
        for name in sklearn_analytic.__all__
        if inspect.isclass(getattr(sklearn_analytic, name))
        and issubclass(getattr(sklearn_analytic, name), BaseEstimator)
        and hasattr(getattr(sklearn_analytic, name), "fit")  # parameters that are values have none
    }
    # it has neither weights nor streams, which the table's checks need; its own file runs scikit-learn's checks
    assert {type(estimator).__name__ for estimator in ESTIMATORS} == public - {"PrivateDFAClassifier"}


@pytest.mark.parametrize("check", HOUSE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_house_check(estimator, check):
    if check is checks.check_skops_round_trip and importlib.util.find_spec("skops") is None:
        pytest.skip("needs skops")
    check(clone(estimator))


# ---- the house checks notice what they forbid ----


class NearestMean(ClassifierMixin, BaseEstimator):
    """A lawful small classifier whose vices are switched on one at a time."""

    def __init__(self, vice=None):
        self.vice = vice

    def fit(self, X, y, sample_weight=None):
        self.means_ = {}
        return self.partial_fit(X, y, sample_weight=sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        if self.vice == "prints":
            print("epoch 1")
        if self.vice == "writes":
            X -= X.mean(axis=0)
        if self.vice == "changes a parameter":
            self.vice = "reformed"
        if self.vice == "marks before it checks":
            self.n_features_in_ = X.shape[1]
        self._validate(X, y, sample_weight)
        self.means_ = {**getattr(self, "means_", {}), **self._class_means(X, y)}
        self.n_features_in_ = X.shape[1]
        if self.vice == "keeps a function":
            self.rule_ = self._class_means
        return self

    def _validate(self, X, y, sample_weight):
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        width = getattr(self, "n_features_in_", X.shape[1])
        good = [len(X) > 0, len(X) == len(y) == len(weight), X.shape[1] == width]
        good += [np.isfinite(X).all(), np.isfinite(weight).all()]
        if not all(good) and self.vice != "accepts anything":
            raise ValueError("bad block")

    def _class_means(self, X, y):
        noise = np.random.default_rng().normal(0, 1) if self.vice == "unseeded" else 0.0
        return {int(c): X[y == c].mean(axis=0) + noise for c in np.unique(y)}

    def decision_function(self, X):
        check_is_fitted(self)
        shift = X.mean(axis=0) if self.vice == "looks at the batch" else 0.0
        means = list(self.means_.values())
        return np.column_stack([-((X - shift - mean) ** 2).sum(axis=1) for mean in means])

    def predict(self, X):
        return np.asarray(list(self.means_))[self.decision_function(X).argmax(axis=1)]

    def __getstate__(self):
        state = super().__getstate__()
        if self.vice == "forgets":
            state = {**state, "means_": {c: 0 * m for c, m in state["means_"].items()}}
        return state


VICES = [
    (checks.check_prints_nothing, "prints"),
    (checks.check_inputs_are_not_modified, "writes"),
    (checks.check_parameters_are_not_modified, "changes a parameter"),
    (checks.check_two_fits_are_equal, "unseeded"),
    (checks.check_prediction_of_a_slice, "looks at the batch"),
    (checks.check_pickle_round_trip, "forgets"),
    (checks.check_fitted_attributes_are_plain, "keeps a function"),
    (checks.check_failed_partial_fit_changes_nothing, "marks before it checks"),
    (checks.check_failed_partial_fit_changes_nothing, "accepts anything"),
]


@pytest.mark.parametrize("check", [c for c in HOUSE_CHECKS if c is not checks.check_skops_round_trip])
def test_house_check_accepts_a_lawful_estimator(check):
    check(NearestMean())


@pytest.mark.parametrize(("check", "vice"), VICES)
def test_house_check_notices(check, vice):
    with pytest.raises((AssertionError, ValueError)):
        check(NearestMean(vice=vice))


def test_tolerance_follows_the_dtype():
    assert checks.tolerance(np.float32) == pytest.approx(1e3 * 2.0**-23)
    assert checks.tolerance(np.float64, scale=10) == pytest.approx(1e4 * 2.0**-52)


def test_assert_close():
    checks.assert_close(np.array([1.0, 1e-13]), np.array([1.0, 0.0]), np.float64)
    checks.assert_close(np.array([1e-16]), np.array([0.0]), np.float64, size=1.0)
    for wrong in [np.array([1.0, 1e-12]), np.array([[1.0, 0.0]]), np.array([1.0, np.nan])]:
        with pytest.raises(AssertionError):
            checks.assert_close(wrong, np.array([1.0, 0.0]), np.float64)
