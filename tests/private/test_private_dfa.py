"""Private training as an estimator: budgets, what is public, warnings, interrupts, scikit-learn's checks."""

import math
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_analytic import SGD, Photonic, PrivacyLeakWarning, PrivateDFAClassifier
from sklearn_analytic.private import method as _private_method
from sklearn_analytic.private.accountants import prv_epsilon, rdp_epsilon
from sklearn_analytic.private.photonic import photonic_epsilon
from sklearn_analytic.private.training import PrivateExecution, photonic_bounds

N = 300


def blobs(n=N, d=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    return rng.standard_normal((n, d)) + 3 * np.eye(3, d)[y], y


# seeds are for tests; that they warn is tested below
pytestmark = pytest.mark.filterwarnings("ignore:random_state is set")


def model(hidden=(8,), **changes):
    settings = {"epsilon": 2.0, "bounds": (-4, 6), "classes": [0, 1, 2], "accountant": "rdp", "max_iter": 5}
    return PrivateDFAClassifier(hidden, **(settings | {"batch_size": 50, "random_state": 0} | changes))


PHOTONIC = {"mechanism": Photonic(1e4)}


def settings_of(estimator):
    """All parameters and their settings; a value that has some is its kind."""
    return {k: type(v) if isinstance(v, BaseEstimator) else v for k, v in estimator.get_params().items()}


# ---- the budget ----


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
@pytest.mark.parametrize("changes", [{}, {"accountant": "prv"}, {"scheme": "backprop"}, PHOTONIC], ids=str)
def test_the_budget_is_kept_and_used(changes, epsilon):
    fitted = model(epsilon=epsilon, **changes).fit(*blobs())
    assert 0.95 * epsilon < fitted.epsilon_spent_ <= epsilon
    assert fitted.delta_ == 1e-5
    assert (fitted.n_steps_, fitted.n_iter_, fitted.sample_rate_) == (30, 5, 1 / 6)


@pytest.mark.parametrize(("accountant", "spent"), [("prv", prv_epsilon), ("rdp", rdp_epsilon)])
def test_the_reported_budget_is_that_of_the_accountant(accountant, spent):
    fitted = model(accountant=accountant).fit(*blobs())
    assert fitted.epsilon_spent_ == spent(fitted.sample_rate_, fitted.noise_multiplier_, fitted.n_steps_, 1e-5)
    assert fitted.optical_noise_scale_ == 0.0


def test_the_photonic_budget_is_that_of_its_bounds():
    fitted = model(mechanism=Photonic(1e4, input_norm=2.0), activation="logistic").fit(*blobs())
    bounds = photonic_bounds((4, 8, 3), "logistic", 2.0, 0.5, 1e4)
    noise = (fitted.optical_noise_scale_, fitted.noise_multiplier_)
    assert fitted.epsilon_spent_ == photonic_epsilon(bounds, *noise, 1 / 6, 30, 1e-5)


def test_fewer_epochs_need_less_noise():
    noise = [model(max_iter=epochs).fit(*blobs()).noise_multiplier_ for epochs in (1, 5, 15)]
    assert noise[0] < noise[1] < noise[2]


def test_a_tighter_accountant_needs_less_noise():
    noise = [model(accountant=name).fit(*blobs()).noise_multiplier_ for name in ("prv", "rdp")]
    assert noise[0] < noise[1]


def test_no_budget_is_no_noise():
    fitted = model(epsilon=math.inf, max_iter=30).fit(*blobs())
    assert fitted.noise_multiplier_ == 0 and fitted.epsilon_spent_ == math.inf
    assert fitted.score(*blobs(seed=1)) > 0.9


@pytest.mark.parametrize("after", [0, 7])
def test_an_interrupted_fit_spends_the_steps_it_took(monkeypatch, after):
    step = PrivateExecution._step

    def interrupted(self, placed, rate):
        if self.n_steps == after:
            raise KeyboardInterrupt
        step(self, placed, rate)

    monkeypatch.setattr(PrivateExecution, "_step", interrupted)
    fitted = model()
    with pytest.raises(KeyboardInterrupt, match=f"after {after} steps"):
        fitted.fit(*blobs())
    assert (fitted.n_steps_, fitted.n_iter_) == (after, after // 6)
    assert fitted.epsilon_spent_ == rdp_epsilon(1 / 6, fitted.noise_multiplier_, after, 1e-5) < 2.0
    assert fitted.predict(blobs()[0]).shape == (N,)


def test_divergence_is_an_error_that_says_what_was_spent():
    fitted = model(learning_rate_init=1e42)
    with pytest.raises(FloatingPointError, match="is spent"):
        fitted.fit(*blobs())
    assert np.isfinite(fitted.coefs_[0]).all() and 0 < fitted.epsilon_spent_ < 2.0


# ---- learning ----


@pytest.mark.parametrize(
    "changes",
    [{}, {"scheme": "backprop"}, {"solver": "adam"}, PHOTONIC | {"epsilon": 100.0, "solver": "adam"}]
    + [{"feedback": name} for name in ("random", "binary", "sparse", "product")]
    + [{"hidden_layer_sizes": ()}, {"activation": "relu", "hidden_layer_sizes": (8, 8)}, {"precision": "float64"}],
    ids=str,
)
def test_it_learns_what_the_budget_allows(changes):
    changes = {"epsilon": 10.0, "max_iter": 20, "batch_size": 100, "learning_rate_init": 0.05} | changes
    fitted = model().set_params(**changes).fit(*blobs(2000))
    assert fitted.score(*blobs(1000, seed=1)) > 0.85


@pytest.mark.parametrize("name", ["dkp", "learned"])
def test_feedback_that_reads_rows_is_refused(name):
    with pytest.raises(ValueError, match="not private"):
        model(feedback=name).fit(*blobs())


def test_photonic_without_a_floor_is_refused():
    with pytest.raises(ValueError, match="has no floor, without which nothing is private"):
        model(mechanism="photonic").fit(*blobs())
    with pytest.raises(ValueError, match="mechanism__floor above 50"):
        model(mechanism=Photonic(50.0), epsilon=0.1).fit(*blobs())


# ---- what is public ----


def leaks(estimator, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    assert all(w.category is PrivacyLeakWarning for w in caught)
    return [str(w.message).split(":")[0].split(" ")[0] for w in caught]


def test_warnings_come_exactly_where_rows_are_disclosed():
    X, y = blobs()
    fresh = {"random_state": None}
    assert leaks(model(**fresh), X, y) == []
    assert leaks(model(bounds=None, data_norm=3.0, **fresh), X, y) == []
    assert leaks(model(classes=None, **fresh), X, y) == ["classes=None"]
    assert leaks(model(bounds=None, **fresh), X, y) == ["bounds=None"]
    assert leaks(model(bounds=None, classes=None, **fresh), X, y) == ["classes=None", "bounds=None"]
    assert leaks(model(delta=1 / N, **fresh), X, y) == [f"delta={1 / N}"]
    assert leaks(model(random_state=0), X, y) == ["random_state"]
    assert leaks(model(random_state=0, epsilon=np.inf), X, y) == []  # nothing is promised


def test_warnings_point_at_the_call():
    with pytest.warns(PrivacyLeakWarning) as caught:
        model(bounds=None, random_state=None).fit(*blobs())
    assert caught[0].filename == __file__


def test_bounds_clip_and_scale_columns():
    fitted = model(bounds=(0.0, [1.0, 2.0, 0.0, 4.0])).fit(*blobs())
    scaled = fitted._trained.reading.encoded(np.array([[0.5, 9.0, 7.0, -3.0]]), np.float64)
    np.testing.assert_array_equal(scaled, [[0.0, 1.0, 0.0, -1.0]])
    np.testing.assert_array_equal(fitted.bounds_[1], [1, 2, 0, 4])


def test_data_norm_clips_rows():
    fitted = model(bounds=None, data_norm=2.0).fit(*blobs())
    scaled = fitted._trained.reading.encoded(np.array([[6.0, 0, 8, 0], [1, 0, 0, 0]]), np.float64)
    np.testing.assert_allclose(scaled, [[1.2, 0, 1.6, 0], [1, 0, 0, 0]])
    assert fitted.bounds_ is None


def test_bounds_of_the_rows_are_their_range():
    X, y = blobs()
    with pytest.warns(PrivacyLeakWarning):
        fitted = model(bounds=None).fit(X, y)
    np.testing.assert_array_equal(fitted.bounds_, [X.min(axis=0), X.max(axis=0)])


def test_rows_beyond_the_bounds_weigh_no_more():
    """Nothing of the preprocessing depends on rows: an outlier changes its own encoding alone."""
    X, y = blobs()
    far = X.copy()
    far[0] = 1e30
    settings = {"epsilon": math.inf, "max_iter": 1}
    a, b = (model(**settings).fit(rows, y) for rows in (X, far))
    np.testing.assert_array_equal(
        a._trained.reading.encoded(X[1:], np.float64), b._trained.reading.encoded(far[1:], np.float64)
    )
    np.testing.assert_array_equal(b._trained.reading.encoded(far[:1], np.float64), [[1, 1, 1, 1]])


def test_labels_outside_of_classes_are_an_error():
    X, y = blobs()
    with pytest.raises(ValueError, match="not in classes"):
        model(classes=[0, 1]).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        model(classes=[1]).fit(X, np.ones(N))
    with pytest.raises(ValueError, match="cannot be mixed"):
        model(classes=["a", "b"]).fit(X, y)


def test_a_class_without_rows_is_a_class():
    fitted = model(classes=[0, 1, 2, 7]).fit(*blobs())
    assert fitted.predict_proba(blobs()[0]).shape == (N, 4)
    assert fitted.classes_.tolist() == [0, 1, 2, 7]


def test_sample_weight_is_no_parameter():
    X, y = blobs()
    with pytest.raises(TypeError, match="sample_weight"):
        model().fit(X, y, sample_weight=np.ones(N))
    assert "class_weight" not in model().get_params()
    assert not hasattr(model(), "partial_fit")


def test_nothing_of_the_training_loss_is_kept():
    fitted = model().fit(*blobs())
    assert not any("loss" in name or "score" in name for name in vars(fitted))


# ---- randomness ----


def test_fresh_entropy_by_default():
    first, second = (model(random_state=None).fit(*blobs()) for _ in range(2))
    assert np.all(first.coefs_[0] != second.coefs_[0])
    streams = {_private_method._generators(None)[1].bit_generator.seed_seq.entropy for _ in range(4)}
    assert len(streams) == 4 and min(streams) > 2**64


@pytest.mark.parametrize("seed", [0, np.random.RandomState])
def test_seeded_fits_are_equal(seed):
    seeds = [seed if isinstance(seed, int) else seed(3) for _ in range(2)]
    first, second = (model(random_state=s).fit(*blobs()) for s in seeds)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])


# ---- the contract ----

WRONG = [
    {"epsilon": 0},
    {"epsilon": -1.0},
    {"epsilon": math.nan},
    {"delta": 0.0},
    {"delta": 1.0},
    {"data_norm": 1.0},
    {"bounds": None, "data_norm": -1.0},
    {"bounds": 3.0},
    {"bounds": (1, 0)},
    {"bounds": (0, [1, 2])},
    {"bounds": (0, math.inf)},
    {"max_grad_norm": 0},
    {"mechanism": "laplace"},
    {"accountant": "gdp"},
    {"scheme": "hybrid"},
    {"feedback": "other"},
    {"feedback_scale": 0},
    {"refresh_interval": 0},
    {"activation": "softplus"},
    {"solver": "lbfgs"},
    {"learning_rate_init": 0},
    {"learning_rate": "adaptive"},
    {"learning_rate": "linear"},
    {"solver": "adamw"},
    {"solver": SGD(momentum=1.0)},
    {"batch_size": 0},
    {"max_iter": 0},
    {"precision": "float16"},
    {"hidden_layer_sizes": (0,)},
    PHOTONIC | {"scheme": "backprop"},
    PHOTONIC | {"hidden_layer_sizes": ()},
    {"mechanism": "photonic"},
    {"mechanism": Photonic(0.0)},
    {"mechanism": Photonic(1e4, input_norm=0.0)},
    {"mechanism": Photonic(1e4, error_norm=0.0)},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_parameters_that_mean_nothing_are_refused(changes):
    estimator = model().set_params(**changes)
    with pytest.raises(ValueError):
        estimator.fit(*blobs())
    with pytest.raises(NotFittedError):
        estimator.predict(blobs()[0])


def test_a_failed_fit_leaves_the_estimator_as_it_was():
    fitted = model().fit(*blobs())
    before = fitted.coefs_[0].copy()
    with pytest.raises(ValueError):
        fitted.fit(blobs()[0], np.full(N, 9))
    np.testing.assert_array_equal(fitted.coefs_[0], before)


@pytest.mark.parametrize("changes", [{}, PHOTONIC], ids=["gaussian", "photonic"])
def test_pickle_and_clone(changes):
    X, y = blobs()
    fitted = model(**changes).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.epsilon_spent_ == fitted.epsilon_spent_
    assert settings_of(clone(fitted)) == settings_of(fitted)


def test_sparse_rows_and_strings():
    X, y = blobs()
    labels = np.array(["a", "b", "c"])
    dense, sparse = (model(classes=labels).fit(rows, labels[y]) for rows in (X, sp.csr_array(X)))
    np.testing.assert_array_equal(dense.coefs_[0], sparse.coefs_[0])
    assert set(sparse.predict(sp.csr_array(X))) <= set(labels)


def test_plain_steps_look_at_none_ahead_unless_they_are_asked_to():
    given = ("sgd", SGD(momentum=0.5, nesterovs_momentum=False), SGD())
    found = [model(solver=solver)._method().recipe(N).optimizer for solver in given]
    assert [(o.momentum, o.nesterov) for o in found] == [(0.9, False), (0.5, False), (0.9, True)]


def test_automatic_sizes():
    estimator = PrivateDFAClassifier()
    assert [estimator._method().batch_size_of(n) for n in (5, 100, 2000, 60_000)] == [5, 16, 200, 512]
    assert [
        estimator._method().n_epochs_of(n, estimator._method().batch_size_of(n)) for n in (2000, 60_000, 10**6)
    ] == [100, 13, 5]


# Bounds and classes differ from check to check, so here they come from the rows. Without sampling the search for the
# noise is instant; the second row samples.
CHECKED = [
    PrivateDFAClassifier((8,), accountant="rdp", max_iter=10, batch_size=10_000),
    PrivateDFAClassifier((8,), **PHOTONIC, max_iter=2, epsilon=50.0, bounds=(-10, 10)),
]


@pytest.mark.filterwarnings("ignore::sklearn_analytic.private.estimator.PrivacyLeakWarning")
@parametrize_with_checks(CHECKED)
def test_sklearn_check(estimator, check):
    check(estimator)
