"""Every public estimator takes tensors: X of any float dtype, y as a tensor or an array; results follow X."""

import inspect

import numpy as np
import pytest
from sklearn.base import is_classifier

import sklearn_analytic
from tests.checks import to_numpy

torch = pytest.importorskip("torch")

FAST = {
    "DFAClassifier": {"max_iter": 5},
    "DFARegressor": {"max_iter": 5},
    "PrivateDFAClassifier": {"max_iter": 2},
    "LayerwiseMLP": {"max_iter": 5},
    "LayerwiseMLPRegressor": {"max_iter": 5},
    "DecoupledMLPClassifier": {"max_iter": 5},
    "DecoupledMLPRegressor": {"max_iter": 5},
}
# Floats that follow X, as predict of regressors does.
NUMERIC = ("decision_function", "predict_proba", "predict_log_proba", "transform")


def public_estimators():
    """Names of the estimators that the package exports."""
    things = ((name, getattr(sklearn_analytic, name)) for name in sklearn_analytic.__all__)
    return [name for name, thing in things if inspect.isclass(thing) and callable(getattr(thing, "fit", None))]


def made(name, **more):
    """A small estimator with a seed."""
    cls = getattr(sklearn_analytic, name)
    known = inspect.signature(cls).parameters
    return cls(
        **{key: value for key, value in (FAST.get(name, {}) | {"random_state": 0} | more).items() if key in known}
    )


def data(name, dtype):
    """Few rows with a target that the estimator accepts."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 5)).astype(dtype)
    score = x[:, 0] - x[:, 1]
    return x, (score > 0).astype(np.int64) if is_classifier(made(name)) else score.astype(dtype)


def test_the_list_is_the_package():
    assert len(public_estimators()) >= 12


@pytest.mark.filterwarnings("ignore::sklearn_analytic.PrivacyLeakWarning")  # the test compares seeded fits
@pytest.mark.parametrize("name", public_estimators())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_give_the_results_of_arrays(name, dtype):
    x, y = data(name, dtype)
    plain = made(name).fit(x, y)
    tensor = torch.from_numpy(x)
    for target in (y, torch.from_numpy(y)):
        model = made(name).fit(tensor, target)
        for method in (*NUMERIC, "predict"):
            if not callable(getattr(model, method, None)):
                continue
            found, expected = getattr(model, method)(tensor), getattr(plain, method)(x)
            follows = method in NUMERIC or not is_classifier(model)
            assert isinstance(found, torch.Tensor) == follows, f"{method} gives {type(found).__name__}"
            if method == "predict_log_proba":  # logarithms magnify
                found, expected = np.exp(to_numpy(found)), np.exp(expected)
            # The same experiment: torch adds in another order than NumPy, steps and choices may amplify it.
            np.testing.assert_allclose(to_numpy(found), expected, rtol=0.02, atol=0.02, err_msg=method)


@pytest.mark.parametrize("name", ["BRMPRegressor", "ClosedFormMLP", "DFAClassifier"])
def test_tensors_have_no_names_of_an_earlier_frame(name):
    pandas = pytest.importorskip("pandas")
    x, y = data(name, "float64")
    model = made(name).fit(pandas.DataFrame(x, columns=list("abcde")), y)
    assert model.feature_names_in_.tolist() == list("abcde")
    assert not hasattr(model.fit(torch.from_numpy(x), y), "feature_names_in_")
