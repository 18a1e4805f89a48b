"""State of layer-wise training: going on, callbacks, reproducible numbers; no failure takes what was learned."""

import errno
import os
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import SGD, Device, DFAClassifier, ImageNetwork, LayerDiagnosticsDisplay, Partitions
from sklearn_analytic.layerwise.dense_stack import DenseStack
from tests.checks import assert_close
from tests.layerwise.test_layerwise import (
    X_TEST,
    Y_TEST,
    A,
    B,
    X,
    Y,
    assert_same_weights,
    classifier,
    differ,
    regressor,
)

# ---- going on ----


@pytest.mark.parametrize("order", ["sequential", "simultaneous", "laps"])
def test_a_warm_start_goes_on(order):
    model = classifier(order=order, warm_start=True).fit(X, Y)
    first = model.loss_
    assert model.fit(X, Y).loss_ < first
    assert len(model.loss_curve_) == model.n_iter_


def test_a_warm_start_puts_no_layer_back_to_the_identity():
    model = classifier(warm_start=True, learning_rate_init=0.01).fit(X, Y)
    before = model.coefs_[1]
    model.set_params(learning_rate_init=1e-9).fit(X, Y)
    assert_close(model.coefs_[1], before, "float32")


@pytest.mark.parametrize("hidden", [(16,), (16, 16, 16), (16, 20)])
@pytest.mark.parametrize("cut", [False, True])
def test_another_network_is_no_warm_start(hidden, cut):
    early = {"early_stopping": True, "tol": 1.0} if cut else {}  # tol: no layer gains that much
    model = classifier(hidden_layer_sizes=(16, 16), warm_start=True, **early).fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"has changed since the last fit.*hidden_layer_sizes"):
        model.set_params(hidden_layer_sizes=hidden).fit(X, Y)
    model.set_params(hidden_layer_sizes=[16, 16])
    np.testing.assert_array_equal(model.predict_proba(X), before)
    model.fit(X, Y)


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "sgd"},
        {"activation": "tanh"},
        {"device": Device(precision="float64")},
        {"partitions__n_partitions": 1},
        {"partitions__local_loss": "sim"},
        {"partitions__head_depth": 1},
        {"partitions__head_width": 3},
        {"partitions__layer_start": "random"},
        {"partitions__interlayer": "window"},
        {"output": "linear"},
    ],
    ids=str,
)
def test_what_training_stands_on_may_not_change(change):
    model = classifier(warm_start=True, max_iter=2).fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="has changed since the last fit"):
        model.set_params(**change).partial_fit(X, Y)
    model.set_params(**classifier().get_params())
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_a_device_of_the_other_kind_is_no_warm_start():
    pytest.importorskip("torch")
    model = classifier(warm_start=True, max_iter=1).fit(X, Y).set_params(device="torch:cpu")
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="device may not change between 'cpu' and those of torch"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_the_order_may_change():
    model = classifier(order="simultaneous", warm_start=True).fit(X, Y)
    first = model.score(X, Y)
    for order in ("sequential", "laps", "simultaneous"):
        model.set_params(order=order).fit(X, Y)
    assert model.score(X, Y) > first


def test_a_stream():
    model = classifier(learning_rate_init=0.01)
    for start in list(range(0, 300, 50)) * 4:
        model.partial_fit(X[start : start + 50], Y[start : start + 50], classes=np.arange(10))
    assert model.score(X_TEST, Y_TEST) > 0.7
    assert len(model.loss_curve_) == model.n_iter_ == 24 and model.exit_ == 1
    assert len(list(model.staged_predict(X))) == 2
    again = classifier(learning_rate_init=0.01)
    for start in list(range(0, 300, 50)) * 4:
        again.partial_fit(X[start : start + 50], Y[start : start + 50], classes=np.arange(10))
    assert_same_weights(model, again)


def test_a_stream_after_a_fit():
    model = classifier(max_iter=10).fit(X, Y)
    score, n_iter = model.score(X, Y), model.n_iter_
    for _ in range(10):
        model.partial_fit(X, Y)
    assert model.score(X, Y) > score and model.n_iter_ == n_iter + 10 == len(model.loss_curve_)


def test_a_stream_after_an_early_end():
    """The head that predicted goes on predicting, and its loss is the one that is told."""
    model = classifier(hidden_layer_sizes=(24, 1, 24), early_stopping=True, max_iter=60, learning_rate_init=0.01)
    model.fit(X, Y)
    score = model.score(X, Y)
    for _ in range(3):
        model.partial_fit(X, Y)
    assert model.exit_ == 0 and len(model.coefs_) == 2 and model.score(X, Y) > score - 0.05
    assert model.loss_curve_[-1] < 1.0  # one unit above stays near log(10)
    assert pickle.loads(pickle.dumps(model)).partial_fit(X, Y).exit_ == 0


def test_regression_streams():
    model = regressor(learning_rate_init=0.01)
    for _ in range(40):
        model.partial_fit(A, B)
    assert model.score(A, B) > 0.4
    with pytest.raises(ValueError, match="2 targets, but the network has 1"):
        model.partial_fit(A, np.column_stack([B, B]))


# ---- callbacks ----


class Recorder:
    """Notes the tasks of a fit; may stop or fail in some epoch."""

    def __init__(self, at=None, error=None):
        self.at, self.error, self.seen, self.scores = at, error, [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.seen.append((context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if context.task_name != "epoch":
            self.seen.append("end")
            return False
        self.scores.append(fitted_estimator.score(X, y))
        assert np.isfinite(fitted_estimator.predict_proba(X)).all()
        if len(self.scores) != self.at:
            return False
        if self.error is not None:
            raise self.error
        return True


@pytest.fixture
def needs_callbacks():
    pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")


def groups(names_and_epochs):
    """What a recorder sees of partitions and their epochs."""
    seen = []
    for name, n_epochs in names_and_epochs:
        seen += [(name, n_epochs), *[("epoch", 0)] * n_epochs, "end"]
    return [("fit", len(names_and_epochs)), *seen, "end"]


@pytest.mark.usefixtures("needs_callbacks")
def test_callbacks_see_a_group_for_every_partition():
    recorder = Recorder()
    model = classifier(max_iter=5).set_callbacks(recorder).fit(X, Y)
    assert recorder.seen == groups([("partition 1", 2), ("partition 2", 3)])
    assert recorder.scores[-1] == model.score(X, Y)


@pytest.mark.usefixtures("needs_callbacks")
def test_callbacks_see_laps_of_different_lengths():
    recorder = Recorder()
    model = classifier(order="laps", partitions__n_laps=2, max_iter=7, partitions__refit_head=True)
    model.set_callbacks(recorder).fit(X, Y)
    numbers = [1, 2, 2, 2]
    assert recorder.seen == groups([(f"partition {1 + k % 2}", n) for k, n in enumerate(numbers)])


@pytest.mark.usefixtures("needs_callbacks")
def test_callbacks_see_laps_that_end_early():
    recorder = Recorder()
    early = {"early_stopping": True, "tol": 1.0, "hidden_layer_sizes": (8, 8, 8)}
    classifier(order="laps", partitions__n_laps=2, max_iter=12, **early).set_callbacks(recorder).fit(X, Y)
    names = [entry[0] for entry in recorder.seen if entry[0].startswith("partition")]
    assert names == ["partition 1", "partition 2"] * 2


@pytest.mark.usefixtures("needs_callbacks")
def test_callbacks_of_partitions_side_by_side_see_epochs_and_may_stop():
    recorder = Recorder(at=3)
    model = classifier(order="simultaneous").set_callbacks(recorder).fit(X, Y)
    assert model.n_iter_ == 3 and recorder.seen == [("fit", 6), *[("epoch", 0)] * 3, "end"]


@pytest.mark.usefixtures("needs_callbacks")
def test_a_callback_ends_its_partition():
    model = classifier().set_callbacks(Recorder(at=2)).fit(X, Y)
    np.testing.assert_array_equal(model.layer_n_iter_, [2, 3])


# ---- the same numbers ----


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_a_seed_gives_the_same_bits_and_leaves_the_global_state(order):
    parameters = {
        "order": order,
        "partitions__local_loss": "predsim",
        "partitions__head_depth": 1,
        "partitions__subsample": 0.7,
    }
    np.random.seed(7)  # noqa: NPY002 - the global state is what must not move
    first, again = (classifier(**parameters).fit(X, Y) for _ in range(2))
    assert_same_weights(first, again)
    assert first.loss_curve_ == again.loss_curve_
    found = np.random.uniform()  # noqa: NPY002
    assert found == np.random.RandomState(7).uniform()
    other = clone(first).set_params(random_state=1).fit(X, Y)
    assert differ(first, other)


def test_double_precision():
    model = classifier(device=Device(precision="float64")).fit(X, Y)
    assert {w.dtype for w in model.coefs_ + model.heads_[0]["coefs"]} == {np.dtype("float64")}
    assert {w.dtype for w in classifier().fit(X, Y).coefs_} == {np.dtype("float32")}


def settings_of(model):
    """All parameters and their settings; a value that has some is its kind."""
    return {k: type(v) if isinstance(v, BaseEstimator) else v for k, v in model.get_params().items()}


def test_pickles_pipelines_and_searches():
    pipeline = make_pipeline(StandardScaler(), classifier(max_iter=2))
    search = GridSearchCV(pipeline, {"layerwisemlp__partitions__head_depth": [0, 1]}, cv=2).fit(X, Y)
    best = search.best_estimator_
    copy = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(copy.predict_proba(X), best.predict_proba(X))
    assert settings_of(clone(best[-1])) == settings_of(best[-1])


def test_diagnostics_are_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    early = {"early_stopping": True, "tol": 1.0, "hidden_layer_sizes": (8, 8, 8)}
    for model in (classifier(**early).fit(X, Y), regressor(partitions__n_partitions=1).fit(A, B)):
        display = LayerDiagnosticsDisplay.from_estimator(model)
        np.testing.assert_array_equal(display.scores_, model.layer_scores_)
        assert len(display.layer_names) == len(model.layer_scores_)
        plt.close(display.figure_)


def test_diagnostics_have_an_entry_for_every_partition():
    for order in ("sequential", "simultaneous", "laps"):
        model = classifier(order=order).fit(X, Y)
        for name in ("layer_scores_", "effective_ranks_", "layer_seconds_", "layer_bytes_", "layer_n_iter_"):
            assert getattr(model, name).shape == (2,) and np.all(getattr(model, name) > 0)
        assert np.all(model.effective_ranks_ <= 16) and len(model.batch_sizes_) == 2
        assert model.activation_bytes_["stored"] > 0


# ---- faults ----

WRONG = [
    ({"order": "random"}, "order must be one of"),
    ({"partitions": Partitions(n_laps=0)}, "partitions__n_laps must be a positive integer"),
    ({"partitions": 0}, "partitions must be a positive integer or None"),
    ({"partitions": Partitions("2")}, "partitions must be a positive integer or None"),
    ({"partitions": 3}, "partitions=3 is more than the 2 hidden layers"),
    ({"partitions": Partitions(local_loss="hsic")}, "partitions__local_loss must be one of"),
    ({"partitions": Partitions(head_depth=4)}, "partitions__head_depth must be 0, 1, 2 or 3"),
    ({"partitions": Partitions(head_depth=0.5)}, "partitions__head_depth must be 0, 1, 2 or 3"),
    ({"partitions": Partitions(head_depth=True)}, "partitions__head_depth must be 0, 1, 2 or 3"),
    ({"partitions": Partitions(subsample=np.nan)}, "partitions__subsample must be a number above 0"),
    ({"partitions": Partitions(head_width=0)}, "partitions__head_width must be a positive integer"),
    ({"partitions": Partitions(layer_start="zeros")}, "partitions__layer_start must be one of"),
    ({"partitions": Partitions(interlayer="ridge")}, "partitions__interlayer must be one of"),
    ({"partitions": Partitions(memory_budget=0)}, "partitions__memory_budget must be a positive integer"),
    ({"partitions": Partitions(memory_budget=1e6)}, "partitions__memory_budget must be a positive integer"),
    ({"partitions": Partitions(cache="disk")}, "partitions__cache must be one of"),
    ({"partitions": Partitions(subsample=0)}, "partitions__subsample must be a number above 0"),
    ({"partitions": Partitions(subsample=1.5)}, "partitions__subsample must be a number above 0"),
    ({"partitions": Partitions(refit_head=1)}, "partitions__refit_head must be True or False"),
    ({"output": "sigmoid"}, "output must be one of"),
    ({"activation": "gelu"}, "activation must be one of"),
    ({"solver": "lbfgs"}, "solver must be one of"),
    ({"solver": SGD(momentum=1.0)}, "solver__momentum must be a number"),
    ({"learning_rate_init": 0}, "learning_rate_init must be a number above 0"),
    ({"learning_rate_init": "fast"}, "learning_rate_init must be"),
    ({"batch_size": 0}, "batch_size must be a positive integer"),
    ({"max_iter": 0}, "max_iter must be a positive integer"),
    ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be"),
    ({"hidden_layer_sizes": "8"}, "hidden_layer_sizes must be"),
    ({"network": ImageNetwork((8,))}, "network__image_shape must be"),
    ({"network": ImageNetwork((8, 8), 8)}, "network__conv_layer_sizes must be a sequence"),
    ({"network": 3}, "network"),
    ({"input_encoding": "minmax"}, "input_encoding must be one of"),
    ({"device": Device(precision="float16")}, "device__precision must be one of"),
    ({"early_stopping": 1}, "early_stopping must be True or False"),
    ({"device": Device(distributed=True), "random_state": None}, "needs an integer random_state"),
    ({"device": "meta"}, "device='meta'"),
]


@pytest.mark.parametrize(("parameters", "message"), WRONG, ids=str)
def test_wrong_parameters_are_named(parameters, message):
    model = classifier(**parameters)
    for fit in (lambda: model.fit(X, Y), lambda: model.partial_fit(X, Y, classes=np.arange(10))):
        with pytest.raises((ValueError, TypeError), match=message):
            fit()
    assert not hasattr(model, "coefs_") and not hasattr(model, "classes_")


@pytest.mark.parametrize("hidden", [(), 16, (16,)])
@pytest.mark.parametrize("order", ["sequential", "simultaneous", "laps"])
def test_few_layers(hidden, order):
    parameters = {"hidden_layer_sizes": hidden, "order": order, "max_iter": 3}
    model = classifier(
        **parameters, partitions__refit_head=True, partitions__local_loss="predsim", partitions__head_depth=1
    ).fit(X, Y)
    assert model.partitions_ == [(0, 0) if hidden == () else (0, 1)] and model.exit_ == 0
    (stage,) = model.staged_predict(X)
    np.testing.assert_array_equal(stage, model.predict(X))
    exact = DFAClassifier(hidden, scheme="backprop", learning_rate_init=1e-3, max_iter=3, random_state=0).fit(X, Y)
    if order != "laps" and hidden != ():
        np.testing.assert_array_equal(model.coefs_[0], exact.coefs_[0])
    with pytest.raises(ValueError, match="partitions=2 is more than"):
        classifier(**parameters, partitions__n_partitions=2).fit(X, Y)


@pytest.mark.parametrize("order", ["sequential", "simultaneous", "laps"])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_divergence_names_the_layer_and_leaves_a_usable_estimator(order):
    model = classifier(order=order, solver="sgd", learning_rate_init=1e30)
    with pytest.raises(FloatingPointError, match=r"training of layer 1 diverged.*keeps the weights"):
        model.fit(X, Y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert len(model.layer_scores_) == model.exit_ + 1
    stream = classifier(order=order, solver="sgd", learning_rate_init=1e30)
    with pytest.raises(FloatingPointError, match=r"of layer 1 diverged.*as it was before this block"):
        stream.partial_fit(X, Y, classes=np.arange(10))
    assert not hasattr(stream, "classes_")
    good = classifier(order=order, solver="sgd", learning_rate_init=0.01).fit(X, Y)
    before = good.predict_proba(X)
    with pytest.raises(FloatingPointError, match="as it was before this fit"):
        good.set_params(learning_rate_init=1e30).fit(X, Y)
    np.testing.assert_array_equal(good.predict_proba(X), before)


def failing(monkeypatch, k, result):
    """Let partition k fail in its second epoch."""
    real = DenseStack.begin

    def begin(self, j, batch_size):
        execution = real(self, j, batch_size)
        if j == k:
            step, seen = execution.epoch, []

            def epoch(placed, order, rates):
                seen.append(1)
                return step(placed, order, rates) if len(seen) < 2 else result()

            execution.epoch = epoch
        return execution

    monkeypatch.setattr(DenseStack, "begin", begin)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("result", [lambda: np.nan, interrupt], ids=["diverged", "interrupted"])
def test_a_failure_in_the_second_layer_keeps_the_first(monkeypatch, result):
    whole = classifier(hidden_layer_sizes=(16, 16, 16), max_iter=9).fit(X, Y)
    with monkeypatch.context() as patch:
        failing(patch, 1, result)
        model = classifier(hidden_layer_sizes=(16, 16, 16), max_iter=9)
        with pytest.raises((FloatingPointError, KeyboardInterrupt), match=r"training of layer 2 .* last good epoch"):
            model.fit(X, Y)
    np.testing.assert_array_equal(model.layer_n_iter_, [3, 1, 0])
    np.testing.assert_array_equal(model.coefs_[0], whole.coefs_[0])
    assert model.exit_ == 1 and [w.shape for w in model.coefs_] == [(64, 16), (16, 16), (16, 10)]
    assert len(model.layer_scores_) == len(model.layer_bytes_) == len(list(model.staged_predict(X))) == 2
    assert model.layer_scores_[-1] == model.score(X, Y)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert model.fit(X, Y).exit_ == 2


def test_partitions_are_named_by_their_layers(monkeypatch):
    failing(monkeypatch, 1, lambda: np.nan)
    with pytest.raises(FloatingPointError, match="training of layers 3 to 4 diverged"):
        classifier(hidden_layer_sizes=(8, 8, 8, 8), partitions__n_partitions=2).fit(X, Y)


@pytest.mark.usefixtures("needs_callbacks")
def test_an_interrupt_by_a_callback():
    model = classifier(max_iter=8).set_callbacks(Recorder(at=6, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt, match="training of layer 2 was interrupted"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.layer_n_iter_, [4, 2])
    assert model.exit_ == 1 and model.score(X, Y) > 0.2


def test_an_interrupt_between_layers_keeps_those_that_are_done(monkeypatch):
    monkeypatch.setattr(DenseStack, "hand_on", lambda self, k: interrupt())
    model = classifier()
    with pytest.raises(KeyboardInterrupt, match="layer 1 was interrupted"):
        model.fit(X, Y)
    assert model.exit_ == 0 and np.array_equal(model.layer_n_iter_, [3, 0]) and len(model.layer_scores_) == 1


def test_a_full_disk_changes_nothing(monkeypatch, tmp_path):
    class Full:
        def __init__(self, handle, mode):
            os.close(handle)

        def __enter__(self):
            return self

        def __exit__(self, *details):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fresh, fitted = classifier(partitions__cache="memmap"), classifier(partitions__cache="memmap").fit(X, Y)
    before = fitted.predict_proba(X)
    state = sorted(vars(fitted))
    monkeypatch.setattr(os, "fdopen", Full)
    for model in (fresh, fitted):
        with pytest.raises(OSError, match="TMPDIR") as caught:
            model.fit(X[:200], Y[:200])
        assert caught.value.errno == errno.ENOSPC and os.listdir(tmp_path) == []
    assert not hasattr(fresh, "coefs_") and sorted(vars(fitted)) == state
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_bad_rows_leave_the_old_fit():
    model = classifier(max_iter=2).fit(X, Y)
    before = model.predict_proba(X)
    broken = X.copy()
    broken[3, 3] = np.inf
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="infinity"):
            call(broken, Y)
    with pytest.raises(ValueError, match="infinity"):
        list(model.staged_predict(broken))
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_very_few_rows(order):
    rows = np.array([0, 1, 10, 11])
    model = classifier(order=order, partitions__local_loss="predsim", batch_size=1, partitions__subsample=0.5).fit(
        X[rows], Y[rows]
    )
    assert np.isfinite(model.predict_proba(X)).all()
    assert regressor(order=order, partitions__local_loss="sim").fit(A[:3], B[:3]).predict(A[:2]).shape == (2,)
