"""Every warning of the package points at the line of the user, whatever lies between."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from scipy.linalg import LinAlgWarning
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_analytic as sa

X, Y = load_iris(return_X_y=True)
NARROW = (32, 2, 32)
STEPWISE = [
    sa.DFAClassifier,
    sa.DFARegressor,
    sa.LayerwiseMLP,
    sa.LayerwiseMLPRegressor,
    sa.DecoupledMLPClassifier,
    sa.DecoupledMLPRegressor,
]


def heard(category, words, act):
    """The warnings of a kind whose words match, of all that an act gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        act()
    return [w for w in found if issubclass(w.category, category) and words in str(w.message)]


def assert_here(category, words, act, line=None):
    found = heard(category, words, act)
    assert found, words
    assert {w.filename for w in found} == {__file__}
    if line is not None:
        assert {w.lineno for w in found} == {line}


@pytest.mark.parametrize("kind", STEPWISE)
def test_lengths_of_training(kind):
    model = kind((4,), max_iter=1, batch_size=1000, random_state=0)
    acts = {
        "fit": lambda: model.fit(X, Y),
        "pipeline": lambda: make_pipeline(StandardScaler(), model).fit(X, Y),
        "search": lambda: GridSearchCV(model, {"alpha": [0.1]}, cv=2).fit(X, Y),
    }
    for act in acts.values():
        assert_here(ConvergenceWarning, "reached max_iter=1", act)
        assert_here(UserWarning, "batch_size=1000 is larger than", act)
    blocks = sa.Blocks.from_arrays(X, Y, block_size=50)
    assert_here(ConvergenceWarning, "reached max_iter=1", lambda: model.fit_blocks(blocks))


def test_the_line_is_that_of_the_call():
    model = sa.DFAClassifier((4,), max_iter=1, random_state=0)

    def act():
        return model.fit(X, Y)

    assert_here(ConvergenceWarning, "reached max_iter=1", act, act.__code__.co_firstlineno + 1)


def test_lost_digits():
    x = np.random.default_rng(0).standard_normal((60, 3))
    x = np.c_[x, x[:, 0] + 1e-9 * x[:, 1]]
    y = x[:, 1]
    model = sa.BRMPRegressor(solver="gram")
    assert_here(LinAlgWarning, "solver='qr'", lambda: model.fit(x, y))
    assert_here(LinAlgWarning, "solver='qr'", lambda: sa.BRMPRegressor(solver="gram").partial_fit(x, y))
    assert_here(LinAlgWarning, "solver='qr'", lambda: model.fit_blocks(iter([(x, y)])))
    assert_here(LinAlgWarning, "solver='qr'", lambda: cross_val_score(model, x, y, cv=2))


def test_narrow_layers():
    model = sa.DFAClassifier(
        NARROW, feedback=sa.Feedback("random", alignment=True), max_iter=2, learning_rate_init=1e-4, random_state=0
    )
    assert_here(UserWarning, "is a bottleneck", lambda: model.fit(np.tile(X, (2, 6)), np.tile(Y, 2)))


def test_privacy():
    model = sa.PrivateDFAClassifier((4,), max_iter=1, random_state=0)
    assert_here(sa.PrivacyLeakWarning, "the reported budget", lambda: model.fit(X, Y))


def test_exports():
    model = sa.DFAClassifier((4,), output="linear", max_iter=1, random_state=0).fit(X, Y)
    assert_here(UserWarning, "to_sklearn: labels", lambda: model.to_sklearn())


def test_versions(tmp_path, monkeypatch):
    model = sa.BRMPClassifier().fit(X, Y).save_statistics(tmp_path / "s.npz")
    blob = pickle.dumps(model)
    joblib.dump(model, tmp_path / "m.joblib")
    monkeypatch.setattr("sklearn_analytic.estimator.version_stamp.__version__", "99.0")
    for act in (
        lambda: pickle.loads(blob),
        lambda: joblib.load(tmp_path / "m.joblib"),
        lambda: sa.BRMPClassifier().load_statistics(tmp_path / "s.npz"),
    ):
        assert_here(InconsistentVersionWarning, "by sklearn_analytic 99.0", act)


def test_processes():
    pytest.importorskip("torch")
    from sklearn_analytic.distributed import data_parallel

    model = sa.DFAClassifier((4,), max_iter=1, random_state=0)
    assert_here(ConvergenceWarning, "reached max_iter=1", lambda: data_parallel(model, n_workers=1).fit(X, Y))
