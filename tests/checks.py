"""Checks of this house, beyond scikit-learn's, and the one source of tolerances.

``tolerance`` and ``assert_close`` serve all tests. Each ``check_*`` function takes an unfitted
estimator and raises AssertionError; ``HOUSE_CHECKS`` lists them for test_estimator_checks.py.
"""

import contextlib
import copy
import dataclasses
import io
import numbers
import pickle
import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone, is_classifier

# ---- tolerances ----

EPS_MULTIPLE = 1e3


def tolerance(dtype, scale=1.0):
    """The relative tolerance of a computation in ``dtype``: 1000 * scale * eps.

    A thousand roundings leave room for sums over a few thousand terms and for the order in which
    a BLAS adds them: 2.2e-13 in float64 and 1.2e-4 in float32. ``scale`` is the factor by which
    the problem itself magnifies rounding, and the test says why: 1 for a product or a sum, the
    condition number for a solution by orthogonal factors, its square for one by the normal
    equations.
    """
    return EPS_MULTIPLE * float(np.finfo(np.dtype(dtype)).eps) * scale


def to_numpy(a):
    """Arrays of any backend, sparse matrices and numbers as a NumPy array."""
    if sp.issparse(a):
        return a.toarray()
    if hasattr(a, "detach"):  # a torch tensor, without importing torch
        return a.detach().cpu().numpy()
    return np.asarray(a)


def assert_close(actual, expected, dtype, scale=1.0, *, size=None):
    """Assert that ``actual`` equals ``expected`` up to the rounding of ``dtype``.

    Entries are compared with the largest magnitude of ``expected``, not with themselves: a small
    entry of a product carries the rounding of its large ones. Where ``expected`` is a difference
    that cancels (a residual, an exact zero), give the magnitude of its terms as ``size``.
    """
    actual, expected = to_numpy(actual), to_numpy(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape}"
    if actual.size == 0:
        return
    size = float(np.max(np.abs(expected))) if size is None else float(size)
    bound = tolerance(dtype, scale) * size
    error = float(np.max(np.abs(actual.astype(np.float64) - expected.astype(np.float64))))
    assert error <= bound, (
        f"largest difference {error:.3e} exceeds {bound:.3e} "
        f"({error / size if size else np.inf:.2e} of the size {size:.3e})"
    )


# ---- data and calls shared by the checks ----

PREDICTIONS = ["predict", "decision_function", "predict_proba"]
STAGED_PREDICTIONS = [f"staged_{name}" for name in PREDICTIONS]
N_ROWS, N_FEATURES = 60, 4


def _data(estimator, seed=0):
    """Small float64 data that the estimator accepts: X, y and positive weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_ROWS, N_FEATURES))
    score = X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * rng.standard_normal(N_ROWS)
    y = np.digitize(score, [-1.0, 1.0]) if is_classifier(estimator) else score
    return X, y, rng.uniform(0.5, 2.0, size=N_ROWS)


def _seeded(estimator):
    """A clone whose random_state, where it has one, is 0."""
    seeded = clone(estimator)
    if "random_state" in seeded.get_params():
        seeded.set_params(random_state=0)
    return seeded


def _fit(estimator, X, y, sample_weight=None):
    """fit on ``estimator`` itself; warnings about tiny data are not this file's subject."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y, sample_weight=sample_weight)


def _partial_fit(estimator, X, y, sample_weight=None):
    """One call on ``estimator`` itself, with the classes where it is a classifier."""
    classes = {"classes": np.arange(3)} if is_classifier(estimator) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.partial_fit(X, y, sample_weight=sample_weight, **classes)


def predictions(estimator, X):
    """Everything a fitted estimator predicts for X: {method: array}, stages numbered."""
    found = {name: getattr(estimator, name)(X) for name in PREDICTIONS if hasattr(estimator, name)}
    for name in STAGED_PREDICTIONS:
        if hasattr(estimator, name):
            stages = enumerate(getattr(estimator, name)(X))
            found.update({f"{name}[{k}]": stage for k, stage in stages})
    return found


def _assert_same_predictions(first, second, X):
    expected, actual = predictions(first, X), predictions(second, X)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


# ---- the checks ----


def check_prints_nothing(estimator):
    """fit, partial_fit and all predictions write nothing to stdout or stderr."""
    X, y, weight = _data(estimator)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        fitted = _fit(clone(estimator), X, y, weight)
        _partial_fit(clone(estimator), X, y, weight)
        predictions(fitted, X)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def check_inputs_are_not_modified(estimator):
    """Read-only inputs work, in C and in Fortran order, and hold what they held."""
    X, y, weight = _data(estimator)
    for order in "CF":
        inputs = [np.array(X, order=order), y.copy(), weight.copy()]
        for array in inputs:
            array.flags.writeable = False
        fitted = _fit(clone(estimator), *inputs)
        _partial_fit(clone(estimator), *inputs)
        predictions(fitted, inputs[0])
        for before, after in zip([X, y, weight], inputs, strict=True):
            np.testing.assert_array_equal(before, after)


def check_parameters_are_not_modified(estimator):
    """fit and partial_fit leave every constructor parameter, and every setting of one, as it was, by identity."""
    X, y, weight = _data(estimator)
    for train in [_fit, _partial_fit]:
        trained = clone(estimator)
        before = trained.get_params()
        train(trained, X, y, weight)
        after = trained.get_params()
        assert after.keys() == before.keys()
        assert [name for name in before if after[name] is not before[name]] == []


def check_two_fits_are_equal(estimator):
    """Two clones with one seed give the same predictions, bit for bit; so does fitting twice."""
    X, y, weight = _data(estimator)
    seeded = _seeded(estimator)
    first = _fit(clone(seeded), X, y, weight)
    second = _fit(clone(seeded), X, y, weight)
    _assert_same_predictions(first, second, X)
    _assert_same_predictions(first, _fit(second, X, y, weight), X)


def check_prediction_of_a_slice(estimator):
    """Predictions of a slice equal the slice of the predictions to 1e-7."""
    X, y, _ = _data(estimator)
    fitted = _fit(clone(estimator), X, y)
    whole = predictions(fitted, X)
    for rows in [slice(0, 1), slice(7, 20), slice(None, None, 3), slice(None, None, -1)]:
        for name, part in predictions(fitted, X[rows]).items():
            np.testing.assert_allclose(part, whole[name][rows], rtol=1e-7, atol=1e-7, err_msg=f"{name} of {rows}")


def check_pickle_round_trip(estimator):
    """A pickled estimator predicts the same, bit for bit, and learns on in the same way."""
    X, y, _ = _data(estimator)
    _round_trip(estimator, X, y, lambda fitted: pickle.loads(pickle.dumps(fitted)))


def check_skops_round_trip(estimator):
    """The same through skops, trusting types of this package only; skipped without skops."""
    try:
        import skops.io
    except ImportError:
        return
    X, y, _ = _data(estimator)

    def round_trip(fitted):
        blob = skops.io.dumps(fitted)
        untrusted = skops.io.get_untrusted_types(data=blob)
        foreign = [name for name in untrusted if not name.startswith("sklearn_analytic.")]
        assert foreign == [], f"a skops file would need trust in {foreign}"
        return skops.io.loads(blob, trusted=untrusted)

    _round_trip(estimator, X, y, round_trip)


def _round_trip(estimator, X, y, through):
    fitted = _partial_fit(_seeded(estimator), X[:40], y[:40])
    loaded = through(fitted)
    _assert_same_predictions(fitted, loaded, X)
    _partial_fit(fitted, X[40:], y[40:])
    _partial_fit(loaded, X[40:], y[40:])
    _assert_same_predictions(fitted, loaded, X)


def check_fitted_attributes_are_plain(estimator):
    """Fitted state is NumPy, plain Python and values of this package: no tensors, no backends."""
    X, y, weight = _data(estimator)
    for fitted in [_fit(clone(estimator), X, y, weight), _partial_fit(clone(estimator), X, y)]:
        learned = {k: v for k, v in vars(fitted).items() if k not in fitted.get_params()}
        assert learned, "nothing was learned"
        foreign = [fault for name, value in learned.items() for fault in _foreign(value, name)]
        assert foreign == []


_PLAIN = (numbers.Number, str, bytes, bool, type(None), np.ndarray, np.generic, np.dtype)
_GENERATORS = (np.random.Generator, np.random.RandomState)


def _foreign(value, path):
    """The paths inside ``value`` that hold something which is not plain."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, _PLAIN + _GENERATORS):
        return
    parts = _parts(value)
    if parts is None:
        yield f"{path}: {type(value).__module__}.{type(value).__qualname__}"
        return
    for name, part in parts:
        yield from _foreign(part, f"{path}{name}")


def _parts(value):
    """What a container or a value of this package holds, named; None for anything else."""
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{k}]", part) for k, part in enumerate(value)]
    module = type(value).__module__
    is_ours = module.startswith("sklearn_analytic.") and ".backend." not in module
    if dataclasses.is_dataclass(value) and is_ours:
        return [(f".{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, BaseEstimator) or (is_ours and hasattr(value, "__dict__")):
        return [(f".{name}", part) for name, part in vars(value).items()]
    return None


def check_failed_partial_fit_changes_nothing(estimator):
    """A bad block raises ValueError and leaves a fresh and a trained estimator as they were."""
    X, y, weight = _data(estimator)
    for trained in [clone(estimator), _partial_fit(clone(estimator), X, y, weight)]:
        for name, block in _bad_blocks(X, y, weight, has_width=hasattr(trained, "n_features_in_")):
            before = copy.deepcopy(vars(trained))
            assert _raises_value_error(trained, block), f"no ValueError for {name}"
            difference = first_difference(before, vars(trained))
            assert difference is None, f"{name} changed {difference}"
        _partial_fit(trained, X, y, weight)


def _raises_value_error(estimator, block):
    try:
        _partial_fit(estimator, *block)
    except ValueError:
        return True
    return False


def _bad_blocks(X, y, weight, has_width):
    """Named blocks, each wrong in one way; a wrong width only where the width is known."""
    low, infinite, unweighable = X.copy(), X.copy(), weight.copy()
    low[3, 1], infinite[5, 0], unweighable[2] = -np.inf, np.inf, np.nan
    yield "-inf in X", (low, y, weight)
    yield "inf in X", (infinite, y, weight)
    yield "NaN in sample_weight", (X, y, unweighable)
    yield "too few targets", (X, y[:-1], weight)
    yield "too few weights", (X, y, weight[:-1])
    yield "no rows", (X[:0], y[:0], weight[:0])
    if np.issubdtype(y.dtype, np.floating):
        yield "NaN in y", (X, np.where(np.arange(len(y)) == 4, np.nan, y), weight)
    if has_width:
        yield "one feature too many", (np.column_stack([X, X[:, 0]]), y, weight)


def first_difference(a, b, path="self"):
    """The path of the first difference of two states, None where they are equal (NaN = NaN)."""
    if type(a) is not type(b):
        return f"{path}: {type(a).__name__} became {type(b).__name__}"
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape
        return None if same and _same_entries(a, b) else path
    if isinstance(a, _GENERATORS):
        a, b = _generator_state(a), _generator_state(b)
    parts = None if isinstance(a, _PLAIN) else _parts(a)
    if parts is None:
        return None if a is b or a == b or (a != a and b != b) else path
    others = dict(_parts(b))
    if dict(parts).keys() != others.keys():
        return f"{path}: {sorted(dict(parts).keys() ^ others.keys())} on one side only"
    differences = (first_difference(part, others[name], path + name) for name, part in parts)
    return next((found for found in differences if found is not None), None)


def _same_entries(a, b):
    return np.array_equal(a, b, equal_nan=np.issubdtype(a.dtype, np.inexact))


def _generator_state(generator):
    if isinstance(generator, np.random.RandomState):
        return list(generator.get_state(legacy=True))
    return generator.bit_generator.state


HOUSE_CHECKS = [
    check_prints_nothing,
    check_inputs_are_not_modified,
    check_parameters_are_not_modified,
    check_two_fits_are_equal,
    check_prediction_of_a_slice,
    check_pickle_round_trip,
    check_skops_round_trip,
    check_fitted_attributes_are_plain,
    check_failed_partial_fit_changes_nothing,
]


def encoded(model, X):
    """Rows as the network of an estimator trained by steps reads them."""
    return model._trained.reading.encoded(X, model._method().weight_dtype)
