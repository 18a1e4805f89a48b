"""Networks trained by steps on blocks: epochs over a source are what the same passes by hand are."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris

from sklearn_analytic import (
    Adam,
    Blocks,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DenseNetwork,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
)

CLASSIFIERS = [DFAClassifier, LayerwiseMLP, DecoupledMLPClassifier]
REGRESSORS = [DFARegressor, LayerwiseMLPRegressor, DecoupledMLPRegressor]
TRAINED = DenseNetwork(readout="trained")  # of all layers: test_layer_readout.py
SMALL = {"hidden_layer_sizes": (16, 16), "max_iter": 3, "random_state": 0, "network": TRAINED}
name = lambda cls: cls.__name__  # noqa: E731


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def cut(X, y, weight=None, size=170):
    return Blocks.from_arrays(X, y, weight, block_size=size)


def weights_of(model):
    return [*model.coefs_, *model.intercepts_]


def assert_same_bits(one, two):
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
def test_epochs_are_passes_of_partial_fit(cls, digits):
    X, y = digits
    same = {"input_encoding": None, "batch_size": 32, "learning_rate": "constant", "learning_rate_init": 1e-3}
    same |= {"solver": Adam(beta_1=0.9, warmup_fraction=0.0)}  # a stream has a rate and a momentum of its own
    model = cls(**SMALL, **same).fit_blocks(cut(X, y))
    by_hand = cls(**SMALL, **same)
    for _, (x, labels, _) in itertools.product(range(3), cut(X, y)):
        by_hand.partial_fit(x, labels, classes=np.arange(10))
    assert_same_bits(model, by_hand)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert len(by_hand.loss_curve_) == 3 * 4


@pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
def test_partial_fit_takes_blocks(cls, digits):
    X, y = digits
    by_hand = cls(**SMALL)
    for x, labels, _ in cut(X, y):
        by_hand.partial_fit(x, labels, classes=np.arange(10))
    assert_same_bits(cls(**SMALL).partial_fit(cut(X, y), classes=np.arange(10)), by_hand)
    iterator = ((x, labels) for x, labels, _ in cut(X, y))
    assert_same_bits(cls(**SMALL).partial_fit(iterator, classes=np.arange(10)), by_hand)


@pytest.mark.parametrize("cls", REGRESSORS, ids=name)
def test_regressors_take_blocks(cls):
    X, y = load_diabetes(return_X_y=True)
    Y = np.column_stack([y, -y])
    model = cls(**SMALL | {"max_iter": 40}).fit_blocks(cut(X, Y))
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.5
    assert cls(**SMALL).partial_fit(cut(X, y)).predict(X).shape == y.shape


@pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
def test_labels_weights_and_sparse_blocks(cls):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)
    X, labels = X[order], np.array(["a", "b", "c"])[y[order]]
    weight = np.random.default_rng(1).uniform(0.5, 2, 150)
    weight[:20] = 0
    options = SMALL | {"class_weight": "balanced"}
    model = cls(**options).fit_blocks(cut(sparse.csr_array(X), labels, weight, 60))
    again = cls(**options).fit_blocks(cut(X, labels, 1e6 * weight, 60))
    for a, b in zip(weights_of(model), weights_of(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)  # float32 weights, scaled otherwise
    assert list(model.classes_) == ["a", "b", "c"]


def test_rows_without_weight_are_no_rows(digits):
    X, y = digits
    weight = np.ones(len(X))
    weight[170:340] = 0  # a whole block of them
    full = DFAClassifier(**SMALL, batch_size=32).fit_blocks(cut(X, y, weight))
    kept = weight > 0
    less = DFAClassifier(**SMALL, batch_size=32).fit_blocks(cut(X[kept], y[kept]))
    assert full.n_iter_ == less.n_iter_
    assert abs(full.score(X, y) - less.score(X, y)) < 0.05  # the rates of the empty block's steps are passed over


@pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
def test_the_best_epoch_is_kept_and_calibrated(cls, digits):
    X, y = digits
    options = SMALL | {"max_iter": 30, "early_stopping": True, "n_iter_no_change": 2}
    model = cls(**options).fit_blocks(cut(X[:500], y[:500]), X_val=X[500:], y_val=y[500:])
    assert model.best_validation_score_ == max(model.validation_scores_) == model.score(X[500:], y[500:])
    assert len(model.validation_scores_) == model.n_iter_ == len(model.loss_curve_)
    assert model.temperature_ != 1.0


def test_rates_follow_the_schedule_of_the_whole_run(digits, monkeypatch):
    from sklearn_analytic.nn import _training

    seen = []
    rates = _training.rates
    monkeypatch.setattr(_training, "rates", lambda *args: seen.append(rates(*args)) or seen[-1])
    X, y = digits
    options = SMALL | {"batch_size": 10, "learning_rate": "cosine", "solver": Adam(warmup_fraction=0.1)}
    DFAClassifier(**options).fit_blocks(cut(X, y, size=200))
    expected = rates("cosine", 1e-3, 0, 180, 180, 18)
    np.testing.assert_allclose(np.concatenate(seen), expected / expected.max() * np.concatenate(seen).max())


class Breaking:
    """Blocks that fail at one block of one pass."""

    def __init__(self, blocks, at, error):
        self.blocks, self.left, self.error = blocks, at, error

    def __call__(self):
        for block in self.blocks:
            if self.left == 0:
                raise self.error
            self.left -= 1
            yield block


def test_an_error_in_the_first_epoch_changes_nothing(digits):
    X, y = digits
    model = DFAClassifier(**SMALL).fit(X, y)
    before = dict(vars(model))
    # one look at the columns, a pass over targets and one over drawn rows come first
    source = Breaking(cut(X, y), at=1 + 4 + 4 + 2, error=OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        model.fit_blocks(Blocks.from_iterable(source, prefetch=0))
    assert vars(model) == before


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_error_later_keeps_the_last_whole_epoch(digits, error):
    X, y = digits
    source = Breaking(cut(X, y), at=1 + 4 + 4 + 4 + 2, error=error)
    model = DFAClassifier(**SMALL, learning_rate="constant", solver=Adam(warmup_fraction=0.0))
    with pytest.raises(type(error)):
        model.fit_blocks(Blocks.from_iterable(source, prefetch=0))
    assert model.n_iter_ == 1
    one = clone(model).set_params(max_iter=1).fit_blocks(cut(X, y))
    assert_same_bits(model, one)


FAILING = {  # what fails in a chosen epoch, and what is raised
    "reading": (KeyboardInterrupt, "^training was interrupted"),
    "interrupt": (KeyboardInterrupt, "^training(?: of layers? [0-9 to]+)? was interrupted"),
    "divergence": (FloatingPointError, "^training.* diverged.*learning_rate_init"),
    "judging": (KeyboardInterrupt, "^training was interrupted"),
}


def failing(monkeypatch, cls, what, epoch, blocks):
    """Blocks that are read, trained on or judged in an epoch in which that fails."""
    if what == "reading":
        return Blocks.from_iterable(
            Breaking(blocks, at=1 + 4 + 4 + 4 * epoch + 2, error=KeyboardInterrupt()), prefetch=0
        )
    calls = itertools.count()
    method, targets = type(cls()._method()), cls._kind_of_targets
    train, score = method.train_block, targets.score

    def trained(self, execution, rows, plan, run):
        history = train(self, execution, rows, plan, run)
        failure = {"interrupt": "interrupted", "divergence": "diverged"}.get(what)
        history.failure = failure if next(calls) == 4 * epoch + 2 else None
        return history

    def judged(self, outputs, y, weight):
        if what == "judging" and len(outputs) == 50 and next(calls) == epoch:
            raise KeyboardInterrupt
        return score(self, outputs, y, weight)

    if what == "judging":
        monkeypatch.setattr(targets, "score", judged)
    else:
        monkeypatch.setattr(method, "train_block", trained)
    return blocks


@pytest.mark.parametrize("cls", CLASSIFIERS + REGRESSORS, ids=name)
@pytest.mark.parametrize("what", FAILING)
def test_what_ends_blocks_early_leaves_what_it_leaves_of_rows(cls, what, digits, monkeypatch):
    X, y = digits
    error, words = FAILING[what]
    options = SMALL | {"max_iter": 6, "learning_rate": "constant", "n_iter_no_change": np.inf}
    options |= {"solver": Adam(warmup_fraction=0.0)}
    watched = {"X_val": X[550:], "y_val": y[550:]}
    expected = cls(**options | {"max_iter": 2}).fit_blocks(cut(X[:550], y[:550], size=150), **watched)
    model = cls(**options).fit(X, y)
    before = dict(vars(model))
    with monkeypatch.context() as patched:
        source = failing(patched, cls, what, 0, cut(X[:550], y[:550], size=150))
        with pytest.raises(error, match=words + r".* The estimator is as it was before this fit\.$"):
            model.fit_blocks(source, **watched)
    assert vars(model) == before
    with monkeypatch.context() as patched:
        source = failing(patched, cls, what, 2, cut(X[:550], y[:550], size=150))
        with pytest.raises(error, match=words + r".* The estimator keeps the weights of the last good epoch\.$"):
            model.fit_blocks(source, **watched)
    assert_same_bits(model, expected)
    assert model.validation_scores_ == expected.validation_scores_ and model.loss_curve_ == expected.loss_curve_
    assert model.best_validation_score_ == expected.best_validation_score_
    assert getattr(model, "temperature_", None) == getattr(expected, "temperature_", None)
    assert model.predict(X).shape == y.shape


def test_scores_of_an_earlier_fit_are_forgotten(digits):
    X, y = digits
    model = DFAClassifier(**SMALL).fit(X, y, X_val=X, y_val=y).fit_blocks(cut(X, y))
    assert not hasattr(model, "validation_scores_") and not hasattr(model, "best_validation_score_")


def test_divergence_is_told(digits):
    X, y = digits
    model = DFAClassifier(**SMALL | {"max_iter": 5}, solver="sgd", learning_rate_init=1e6, learning_rate="constant")
    with pytest.raises(FloatingPointError, match="learning_rate_init"):
        model.fit_blocks(cut(X, y))


def test_wrong_use_is_told(digits):
    X, y = digits
    with pytest.raises(TypeError, match="partial_fit for a single pass"):
        DFAClassifier().fit_blocks(iter([(X, y)]))
    with pytest.raises(ValueError, match="needs X_val"):
        DFAClassifier(early_stopping=True).fit_blocks(cut(X, y))
    with pytest.raises(ValueError, match="pass the blocks alone"):
        DFAClassifier().partial_fit(cut(X, y), y)
    with pytest.raises(ValueError, match="one class"):
        DFAClassifier().fit_blocks(cut(X, np.zeros(len(X))))
    with pytest.raises(ValueError, match="no rows"):
        DFAClassifier().fit_blocks(Blocks.from_iterable([]))


class Recording:
    """A callback that notes the names of the tasks that end, and stops where it is told."""

    def __init__(self, last=None):
        self.ended, self.last = [], last

    def setup(self, estimator, context):
        """Begin."""

    def teardown(self, estimator, context):
        """End."""
        self.ended.append("teardown")

    def on_fit_task_begin(self, estimator, context, **data):
        """Nothing to note."""

    def on_fit_task_end(self, estimator, context, **data):
        """Note the task."""
        self.ended.append(context.task_name)
        return len(self.ended) == self.last


@pytest.mark.parametrize("last", [None, 2])
def test_callbacks_see_epochs_and_may_stop(digits, last):
    pytest.importorskip("sklearn.callback")
    seen = Recording(last)
    model = DFAClassifier(**SMALL).set_callbacks(seen).fit_blocks(cut(*digits))
    assert seen.ended == ["epoch"] * (last or 3) + ["fit", "teardown"]
    assert model.n_iter_ == (last or 3)


def test_scoring_monitor_scores_a_first_block(digits):
    callback = pytest.importorskip("sklearn.callback")
    log = callback.ScoringMonitor(scoring="accuracy")
    X, y = digits
    model = DFAClassifier(**SMALL).set_callbacks(log).fit_blocks(cut(X, y))
    scores = [row["accuracy"] for row in log.get_logs().data]
    assert len(scores) == 3 + 1  # epochs, and the fit
    assert scores[0] == scores[-1] == model.score(X[:170], y[:170])
