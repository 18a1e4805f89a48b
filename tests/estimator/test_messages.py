"""What wrong input is told: the input, the estimator, the first offending column, the remedy."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris

import sklearn_analytic as sa
from sklearn_analytic.io._checks import UnreadableColumnError, UnreadableValueError

X, Y = load_iris(return_X_y=True)
FRAME = pd.DataFrame(X, columns=["sl", "sw", "pl", "pw"])
NAMES = [
    name for name in sa.__all__ if name.startswith(("BRMP", "ClosedForm", "CPNet", "DFA", "Layerwise", "Decoupled"))
]
NAMES = [name for name in NAMES if hasattr(getattr(sa, name), "fit")]
SMALL = {"max_iter": 1, "n_iter_no_change": np.inf}
STEPWISE = ("DFA", "Layerwise", "Decoupled")


def made(name, **more):
    options = SMALL if name.startswith(STEPWISE) else {}
    options = options | ({"hidden": "random"} if name.startswith("ClosedForm") else {})
    return getattr(sa, name)(4, random_state=0, **options, **more)


def bad(value):
    x = X.copy()
    x[5, 2] = value
    return x


def framed(value):
    frame = FRAME.astype(object) if isinstance(value, str) else FRAME.copy()
    frame.iloc[5, 2] = value
    return frame


READ = {
    "NaN": bad(np.nan),
    "float32": bad(np.nan).astype(np.float32),
    "sparse": sparse.csr_matrix(bad(np.nan)),
    "frame": framed(np.nan),
    "pandas NA": framed(np.nan).convert_dtypes(),
    "list": bad(np.nan).tolist(),
    "text": framed("red"),
    "category": FRAME.assign(c=pd.Categorical(["u", "v"] * 75)),
    "no text": FRAME.assign(c=pd.Series([pd.NA] * 150, dtype="string")),
    "text beside sparse": FRAME.assign(pl=pd.arrays.SparseArray(FRAME["pl"], fill_value=0), c="t"),
    "array of text": np.array([["1", "2"], ["3", "b"]] * 75),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_missing_or_names_are_read(name):
    options = {} if name.endswith("Regressor") else {"classes": [0, 1, 2]}
    fitted = {False: made(name).fit(X, Y), True: made(name).fit(FRAME, Y)}
    for key, x in READ.items():
        for model in (made(name).fit(x, Y), made(name).partial_fit(x, Y, **options)):
            assert model.n_features_in_ == np.shape(x)[1] and np.isfinite(model.predict(x)).all()
        if np.shape(x)[1] == 4 and key != "text":
            assert np.isfinite(fitted[hasattr(x, "columns")].predict(x)).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_blocks_that_lack_values_are_read(name):
    blocks = sa.Blocks.from_iterable([(X, Y), (bad(np.nan), Y)])
    watched = {"X_val": bad(np.nan), "y_val": Y} if name.startswith(STEPWISE) else {}
    assert np.isfinite(made(name).fit_blocks(blocks, **watched).predict(bad(np.nan))).all()


WRONG = {
    "infinity": (bad(-np.inf), r"X contains infinity in column 2, first in row 5. {0} takes finite values.*clip"),
    "float32": (bad(np.inf).astype(np.float32), r"X contains infinity in column 2, first in row 5. {0} "),
    "sparse": (sparse.csr_matrix(bad(np.inf)), r"X contains infinity in column 2, first in row 5. {0} "),
    "frame": (framed(np.inf), r"X contains infinity in column 2 \('pl'\), first in row 5. {0} "),
    "pandas NA": (
        framed(np.inf).assign(sl=pd.Series([pd.NA, 1.0] * 75, dtype="Float64")),
        r"X contains infinity in column 2 \('pl'\), first in row 5. {0} ",
    ),
    "list": (bad(np.inf).tolist(), r"X contains infinity in column 2, first in row 5. {0} "),
    "dates": (
        FRAME.assign(c=pd.Series([pd.Period("2020")] * 150)),
        r"^Column 4 \('c'\) of X has dtype period.* and holds dates, 2020: dates .*skrub.TableVectorizer",
    ),
    "lists": (
        FRAME.assign(c=[[1]] * 150),
        r"^Column 4 \('c'\) of X has dtype object and holds a list .* not 'list'\): turn the column",
    ),
    "dicts": (
        np.array([[1.0, {"a": 1}]] * 150, dtype=object),
        r"^Column 1 of X has dtype object and holds a dict .*argument must be a string or a real number, not 'dict'\)",
    ),
    "too large": (
        FRAME.assign(c=[10**400] * 150),
        r"X contains infinity in column 4 \('c'\), .* {0} takes finite values",
    ),
}
TEXT = {  # where no column may hold categories
    "text": (
        framed("red"),
        r"^Column 2 \('pl'\) of X holds text \(could not .*'red'\): name it in categorical_features",
    ),
    "category": (FRAME.assign(c=pd.Categorical(["u", "v"] * 75)), r"^Column 4 \('c'\) of X holds text .*'u'"),
    "text beside sparse": (
        FRAME.assign(pl=pd.arrays.SparseArray(FRAME["pl"], fill_value=0), c="t"),
        r"^Column 4 \('c'\) of X holds text .*'t'",
    ),
    "array of text": (np.array([[1, 2], [3, "b"]] * 75, dtype=object), "^Column 1 of X holds text .*'b'"),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_values_that_cannot_be_read(name):
    fitted = made(name).fit(X, Y)
    models = {key: [made(name), made(name, categorical_features=None)][key in TEXT :] for key in WRONG | TEXT}
    for key, (x, message) in (WRONG | TEXT).items():
        for model in models[key]:
            with pytest.raises((ValueError, TypeError), match=message.format(name)) as caught:
                model.fit(x, Y)
            assert type(caught.value) is (UnreadableColumnError if message.startswith("^") else ValueError)
            assert not hasattr(model, "n_features_in_")
        if hasattr(x, "columns") or np.shape(x)[1] != 4:
            continue
        with pytest.raises(ValueError, match="Input X contains .* in column 2.*first in row 5. " + name):
            fitted.predict(x)
        options = {} if name.endswith("Regressor") else {"classes": [0, 1, 2]}
        with pytest.raises(ValueError, match="Input X contains .* in column 2.*first in row 5. " + name):
            made(name).partial_fit(x, Y, **options)
    framed_fit = made(name).fit(FRAME, Y)
    with pytest.raises(ValueError, match=rf"X contains infinity in column 2 \('pl'\).*{name}"):
        framed_fit.predict(framed(np.inf))
    with pytest.raises(UnreadableColumnError, match=r"^Column 2 \('pl'\) of X holds 'red', and held numbers before: "):
        framed_fit.predict(framed("red"))
    assert fitted.n_features_in_ == 4


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_cannot_be_learned(name):
    for value, word in ((np.nan, "NaN"), (np.inf, "infinity")):
        y = Y.astype(float)
        y[7] = value
        with pytest.raises(ValueError, match=f"Input y contains {word} in row 7. {name} needs a finite target"):
            made(name).fit(X, y)
    with pytest.raises(ValueError, match="y"):
        made(name).fit(X, np.array([1, "a", None] * 50, dtype=object))
    gaps = (["a", "b", None] * 50, pd.Series(["a", "b", pd.NA] * 50, dtype="string"), np.array([1, 2, None] * 50))
    for y in () if name.endswith("Regressor") else gaps:
        with pytest.raises(
            ValueError, match=f"y contains NaN in 50 rows, first in row 2. {name} needs a finite target"
        ):
            made(name).fit(X, y)
    if name.endswith("Regressor"):
        with pytest.raises(ValueError, match=r"y must hold numbers for a regressor.*'a'.*Classifiers take labels"):
            made(name).fit(X, np.array(["a", "b", "c"] * 50))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_frames_of_sparse_columns(name):
    dense = FRAME.where(FRAME > 2, 0.0)
    every = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(dense.to_numpy()), columns=dense.columns)
    some = dense.assign(pl=every["pl"])
    filled = dense.astype(pd.SparseDtype(float, fill_value=1.5))
    expected = made(name).fit(dense, Y).predict(dense)
    csr = made(name).fit(sparse.csr_matrix(dense.to_numpy()), Y).predict(dense.to_numpy())
    np.testing.assert_array_equal(made(name).fit(every, Y).predict(every), csr)
    for frame in (some, filled):
        model = made(name).fit(frame, Y)
        assert model.feature_names_in_.tolist() == list(dense.columns)
        np.testing.assert_array_equal(model.predict(frame), expected)


def test_errors_cross_processes():
    error = pickle.loads(pickle.dumps(UnreadableValueError("X", np.nan, 3, 1)))
    assert str(error) == str(UnreadableValueError("X", np.nan, 3, 1))
    assert "column 1, first in row 3" in str(error)
    error = pickle.loads(pickle.dumps(UnreadableColumnError((2, "pl"), "holds text", "name it")))
    assert str(error) == "Column 2 ('pl') of X holds text: name it."


SHAPES = {
    "None": (None, Y, "X is None. {0} takes a table of numbers"),
    "text for a table": ("abc", Y, "X is a str. {0} takes a table of shape"),
    "dict": ({"a": X}, Y, "X is a dict. {0} takes a table of shape"),
    "iterator": (iter(X), Y, "X is a .*iterator, which can be read once: make a list of it. {0} "),
    "one dimension": (X[:, 0], Y, "Expected 2D array, got 1D array"),
    "three dimensions": (X[None], Y, "Found array with dim 3, while dim <= 2 is required by {0}"),
    "ragged": ([[1, 2], [3]], [0, 1], "X has rows of different lengths"),
    "series": (FRAME["pl"], Y, "Expected .* container|Expected 2D array"),
    "no rows": (X[:0], Y[:0], r"0 sample\(s\) .* is required by {0}"),
    "no columns": (X[:, :0], Y, r"0 feature\(s\) .* is required by {0}"),
    "complex": (X + 1j, Y, "Complex data not supported"),
    "short targets": (X, Y[:9], r"inconsistent numbers of samples: \[150, 9\]"),
    "set of targets": (X, set(Y), "y is a set. .* takes one target per row"),
    "text for targets": (X, "abc", "y is a str. .* takes one target per row"),
    "targets that end": (X, iter(Y), "y is a .*iterator, which can be read once"),
    "complex targets": (X, Y + 1j, "Complex data not supported"),
}


def tensors():
    """Tensors of wrong shapes and kinds, with what is said of them."""
    torch = pytest.importorskip("torch")
    x = torch.as_tensor(X)
    return {
        "one dimension": (x[:, 0], Y, "Expected 2D array, got a 1D tensor"),
        "a number": (x[0, 0], Y, "Expected 2D array, got a 0D tensor"),
        "three dimensions": (x[None], Y, "Found array with dim 3, while dim <= 2 is required by {0}"),
        "complex": (x * (1 + 1j), Y, "Complex data not supported"),
        "sparse": (x.to_sparse(), Y, "X is a tensor of layout torch.sparse_coo"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_and_kinds(name):
    for x, y, message in (SHAPES | tensors()).values():
        model = made(name)
        with pytest.raises((ValueError, TypeError), match=message.format(name)):
            model.fit(x, y)
        assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_cannot_be_read(name):
    weights = {
        r"sample_weight contains NaN in row 3\. " + name: np.where(np.arange(150) == 3, np.nan, 1.0),
        "sample_weight must be None or one number per row: .*'balanced'": "balanced",
        r"sample_weight.shape == \(3,\), expected \(150,\)": np.ones(3),
    }
    for message, weight in weights.items():
        with pytest.raises(ValueError, match=message):
            made(name).fit(X, Y, weight)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(STEPWISE)])
def test_blocks_that_cannot_be_read(name):
    with pytest.raises(ValueError, match=r"^Block 1: Input X contains infinity in column 2, first in row 5\. " + name):
        made(name).fit_blocks([(X, Y), (bad(np.inf), Y)])
    for blocks in (None, "abc", 3):
        with pytest.raises(TypeError, match="fit_blocks takes Blocks or an iterable of"):
            made(name).fit_blocks(blocks)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("Regressor")])
def test_predictions_that_vanish_in_float32(name):
    model = made(name).fit(X, 1e-60 * (Y + 1.0))
    assert np.all(model.predict(X) != 0)
    with pytest.raises(ValueError, match="X is float32, which cannot hold the predictions: pass X as float64"):
        model.predict(X.astype(np.float32))
    if name.startswith(STEPWISE):
        constant = made(name).fit(X, np.full(150, 1e-60)).predict(X.astype(np.float32))
        np.testing.assert_array_equal(constant, np.zeros(150, np.float32))
    zeros = made(name).fit(X, 0.0 * Y).predict(X.astype(np.float32))
    np.testing.assert_array_equal(zeros, np.zeros(150, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_are_missing(name):
    for verb in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="The estimator requires y to be passed, but the target y is None"):
            getattr(made(name), verb)(X, None)


WATCHED = {
    "infinity": ({"X_val": bad(np.inf)}, r"Input X_val contains infinity in column 2, first in row 5\. {0} "),
    "frame": ({"X_val": framed(np.inf)}, r"Input X_val contains infinity in column 2 \('pl'\), first in row 5\. {0} "),
    "text": ({"X_val": framed("red")}, r"Column 2 \('pl'\) of X_val holds 'red', and held numbers before: "),
    "narrow": ({"X_val": X[:, :3]}, "X_val has 3 features, but {0} is expecting 4"),
    "one dimension": ({"X_val": X[:, 0]}, "X_val: Expected 2D array"),
    "no rows": ({"X_val": X[:0], "y_val": Y[:0]}, r"X_val: Found array with 0 sample\(s\)"),
    "dict": ({"X_val": {"a": X}}, "X_val is a dict"),
    "short": ({"y_val": Y[:9]}, r"y_val: .*inconsistent numbers of samples: \[150, 9\]"),
    "gap": ({"y_val": np.where(Y == 0, np.nan, Y)}, r"Input y_val contains NaN in 50 rows, first in row 0\. {0} "),
    "set": ({"y_val": {0, 1}}, "y_val is a set"),
    "weight": (
        {"sample_weight_val": np.where(Y == 1, np.nan, 1.0)},
        "Input sample_weight_val contains NaN in 50 rows, first in row 50",
    ),
    "weights": ({"sample_weight_val": np.ones(3)}, r"sample_weight_val\.shape == \(3,\)"),
    "no weight": ({"sample_weight_val": np.zeros(150)}, "sample_weight_val: All sample weights are zero"),
    "negative": ({"sample_weight_val": np.full(150, -1.0)}, "sample_weight_val must be non-negative"),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(STEPWISE)])
def test_rows_to_watch_are_named(name):
    for given, message in WATCHED.values():
        given = {"X_val": X, "y_val": Y} | given
        x = FRAME if hasattr(given["X_val"], "columns") else X
        model = made(name)
        with pytest.raises((ValueError, TypeError), match="^" + message.format(name)) as caught:
            model.fit(x, Y, **given)
        assert type(caught.value) in (ValueError, TypeError) and not hasattr(model, "n_features_in_")
        with pytest.raises((ValueError, TypeError), match="^" + message.format(name)):
            model.fit_blocks(sa.Blocks.from_arrays(x, Y, block_size=60), **given)
    labels = np.array(["n", "x", "y"])[Y]
    if not name.endswith("Regressor"):
        with pytest.raises(
            ValueError, match=r"^y_val contains labels that are not in classes \['n', 'x', 'y'\]: \['z'\]"
        ):
            made(name).fit(X, labels, X_val=X, y_val=np.where(labels == "y", "z", labels))
    with pytest.raises(ValueError, match=r"^X_val holds magnitudes that float32 cannot hold"):
        made(name).fit(X, Y, X_val=1e300 * X, y_val=Y)
