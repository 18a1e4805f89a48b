"""State of decoupled training: going on, streams, callbacks, searches; no failure takes what was learned."""

import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import SGD, DecoupledMLPClassifier, DenseNetwork, Device, ImageNetwork, PipelineRule
from sklearn_analytic.decoupled.dense_cells import DenseCell, DenseCells
from tests.decoupled.test_decoupled import A, B, X, Y, assert_same_weights, classifier, regressor
from tests.layerwise.test_layerwise_state import Recorder

EXECUTORS = ["sequential", "threads"]


# ---- going on ----


@pytest.mark.parametrize("drain", [True, False])
def test_a_warm_start_goes_on(drain):
    model = classifier(n_modules=3, warm_start=True, pipeline=PipelineRule(drain=drain)).fit(X, Y)
    first = model.loss_
    assert model.fit(X, Y).loss_ < first
    assert len(model.loss_curve_) == model.n_iter_


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "sgd"},
        {"activation": "tanh"},
        {"device": Device(precision="float64")},
        {"n_modules": 3},
        {"pipeline": PipelineRule(module_layers=(1, 3))},
        {"pipeline": PipelineRule(balance="measured")},
        {"network": DenseNetwork(normalization="layer")},
        {"output": "linear"},
        {"hidden_layer_sizes": (16, 16)},
    ],
    ids=str,
)
def test_what_training_stands_on_may_not_change(change):
    pytest.importorskip("torch")
    model = classifier(warm_start=True, max_iter=2).fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="has changed since the last fit"):
        model.set_params(**change).partial_fit(X, Y)
    model.set_params(**classifier().get_params())
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_measured_modules_are_kept_while_training_goes_on_and_no_longer():
    model = classifier(pipeline=PipelineRule(balance="measured"), max_iter=1).fit(X, Y)
    first = model.modules_
    assert model.partial_fit(X, Y).modules_ == first
    model.set_params(n_modules=3).fit(X, Y)
    assert len(model.modules_) == 3
    model.set_params(hidden_layer_sizes=(16, 16)).fit(X, Y)
    assert model.modules_ == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_a_short_block_moves_no_border(device):
    """Counted costs depend on the rows of a batch, and with them the best cut."""
    if device != "cpu":
        pytest.importorskip("torch")
    rows, labels = np.random.default_rng(0).standard_normal((6400, 10)), np.arange(6400) % 2
    given = {"hidden_layer_sizes": (32, 16, 16), "device": device, "random_state": 0}
    model = DecoupledMLPClassifier(**given, max_iter=1).partial_fit(rows, labels, classes=[0, 1])
    assert model.modules_ == [(0, 2), (2, 4)]
    assert model.partial_fit(rows[:100], labels[:100]).modules_ == [(0, 2), (2, 4)]
    assert model.set_params(warm_start=True).fit(rows[:100], labels[:100]).modules_ == [(0, 2), (2, 4)]
    assert model.set_params(warm_start=False).fit(rows[:100], labels[:100]).modules_ == [(0, 1), (1, 4)]


def test_one_module_is_cut_without_a_trial():
    """Stages are tried one by one for their costs; a layer that changes its input in place cannot be."""
    torch = pytest.importorskip("torch")

    class InPlace(torch.nn.Linear):
        def forward(self, x):
            x += 1
            return super().forward(x)

    network = torch.nn.Sequential(torch.nn.Linear(64, 8), InPlace(8, 10))
    parameters = {"network": network, "max_iter": 8, "random_state": 0, "learning_rate_init": 0.01}
    model = DecoupledMLPClassifier(n_modules=1, **parameters).fit(X, Y)
    assert model.modules_ == [(0, 2)] and model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_equal_module_layers_of_another_kind_are_no_change(kind):
    model = classifier(pipeline=PipelineRule(module_layers=np.array([1, 3]))).partial_fit(X, Y, classes=np.arange(10))
    model.set_params(pipeline__module_layers=kind([1, 3])).partial_fit(X, Y)
    assert model.modules_ == [(0, 1), (1, 4)] and model.n_iter_ == 2


def test_the_schedule_may_change():
    model = classifier(n_modules=3, warm_start=True, learning_rate_init=0.01).fit(X, Y)
    first = model.score(X, Y)
    for schedule in ("ddg", "dtrp", "adl", "backprop"):
        model.set_params(schedule=schedule, pipeline=PipelineRule(executor="threads")).fit(X, Y)
    assert model.score(X, Y) > first


@pytest.mark.parametrize("drain", [True, False])
def test_a_stream_loses_nothing(drain):
    model = classifier(n_modules=3, learning_rate_init=0.01, pipeline=PipelineRule(drain=drain))
    for start in list(range(0, 300, 50)) * 6:
        model.partial_fit(X[start : start + 50], Y[start : start + 50], classes=np.arange(10))
    assert model.score(X, Y) > 0.8 and model.n_iter_ == 36
    for module in range(3):  # of the last block, every batch came back
        own = model.timeline_[model.timeline_["module"] == module]
        assert np.sum(own["kind"] == "forward") == np.sum(own["kind"] == "backward")


def test_a_stream_of_numbers():
    model = regressor(learning_rate_init=0.01)
    for _ in range(30):
        model.partial_fit(A, B)
    assert model.score(A, B) > 0.4
    with pytest.raises(ValueError, match="2 targets, but the network has 1"):
        model.partial_fit(A, np.column_stack([B, B]))


def test_pickles_pipelines_and_searches():
    pipeline = make_pipeline(StandardScaler(), classifier(max_iter=2))
    grid = {"decoupledmlpclassifier__schedule": ["fdg", "dtrp"], "decoupledmlpclassifier__n_modules": [1, 3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    best = search.best_estimator_
    copy = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(copy.predict_proba(X), best.predict_proba(X))
    assert clone(best[-1]).get_params() == best[-1].get_params()


def test_fits_in_several_threads_at_once():
    alone = classifier(n_modules=3, pipeline=PipelineRule(executor="threads")).fit(X, Y)
    models = [classifier(n_modules=3, pipeline=PipelineRule(executor="threads")) for _ in range(3)]
    threads = [threading.Thread(target=model.fit, args=(X, Y)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for model in models:
        assert_same_weights(model, alone)


# ---- callbacks and validation rows ----


@pytest.fixture
def needs_callbacks():
    pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")


@pytest.mark.usefixtures("needs_callbacks")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_callbacks_see_epochs_and_may_stop(executor):
    recorder = Recorder(at=3)
    model = classifier(pipeline=PipelineRule(executor=executor)).set_callbacks(recorder).fit(X, Y)
    assert model.n_iter_ == 3 and recorder.seen == [("fit", 6), *[("epoch", 0)] * 3, "end"]
    assert recorder.scores[-1] == model.score(X, Y)


def test_early_stopping_and_validation_rows():
    given = {"n_modules": 3, "learning_rate_init": 0.01, "max_iter": 60}
    model = classifier(early_stopping=True, n_iter_no_change=3, **given).fit(X, Y)
    assert model.n_iter_ < 60 and model.best_validation_score_ == max(model.validation_scores_)
    watched = classifier(**given).fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert watched.best_validation_score_ == pytest.approx(watched.score(X[200:], Y[200:]))
    assert watched.temperature_ != 1


# ---- faults ----

WRONG = [
    ({"schedule": "gpipe"}, "schedule must be one of"),
    ({"n_modules": 0}, "n_modules must be a positive integer"),
    ({"n_modules": 2.0}, "n_modules must be a positive integer"),
    ({"n_modules": 5}, "n_modules=5 is more than the 4 layers"),
    (
        {"pipeline": PipelineRule(module_layers=(2, 3))},
        r"pipeline__module_layers=\(2, 3\) covers 5 layers, but the network has 4",
    ),
    *(
        (
            {"pipeline": PipelineRule(module_layers=layers)},
            "pipeline__module_layers must be a sequence of positive integers",
        )
        for layers in ((2, 0, 2), 2, (True, 3), ())
    ),
    ({"pipeline": PipelineRule(balance="even")}, "pipeline__balance must be one of"),
    ({"pipeline": PipelineRule(operation_order="both")}, "pipeline__operation_order must be one of"),
    ({"pipeline": PipelineRule(shrink=0)}, "pipeline__shrink must be a number above 0"),
    ({"pipeline": PipelineRule(shrink=1.1)}, "pipeline__shrink must be a number above 0"),
    ({"pipeline": PipelineRule(accumulation_steps=0)}, "pipeline__accumulation_steps must be a positive integer"),
    ({"pipeline": PipelineRule(accumulation="median")}, "pipeline__accumulation must be one of"),
    ({"pipeline": PipelineRule(weight_version="old")}, "pipeline__weight_version must be one of"),
    ({"pipeline": PipelineRule(recompute=1)}, "pipeline__recompute must be True or False"),
    ({"pipeline": PipelineRule(predictor="oracle")}, "pipeline__predictor must be one of"),
    (
        {"pipeline": PipelineRule(predictor="adam"), "solver": "sgd"},
        "pipeline__predictor='adam' reads Adam's moments",
    ),
    ({"pipeline": PipelineRule(regulator=2)}, "pipeline__regulator must be a number at least 0"),
    ({"pipeline": PipelineRule(batch_compensation="rows")}, "pipeline__batch_compensation must be one of"),
    (
        {"pipeline": PipelineRule(batch_compensation="split")},
        "pipeline__batch_compensation='split' makes up for the second forward pass",
    ),
    ({"pipeline": PipelineRule(module_rates="fast")}, "pipeline__module_rates must be one of"),
    ({"pipeline": PipelineRule(drain=1)}, "pipeline__drain must be True or False"),
    ({"pipeline": PipelineRule(executor="processes")}, "pipeline__executor must be one of"),
    ({"pipeline": PipelineRule(executor="cuda")}, "pipeline__executor='cuda' needs device='cuda'"),
    ({"pipeline": "drained"}, r"pipeline must be PipelineRule\(\.\.\.\) or None, got 'drained'"),
    ({"network": DenseNetwork(normalization="group")}, "network__normalization must be one of"),
    (
        {"network": ImageNetwork((8, 8), normalization="layer")},
        "network__normalization must be 'batch' or None over convolutions, got 'layer'",
    ),
    ({"output": "sigmoid"}, "output must be one of"),
    ({"activation": "gelu"}, "activation must be one of"),
    ({"solver": "lbfgs"}, "solver must be one of"),
    ({"solver": SGD(momentum=1.0)}, "solver__momentum must be a number"),
    ({"learning_rate_init": 0}, "learning_rate_init must be a number above 0"),
    ({"batch_size": 0}, "batch_size must be a positive integer"),
    ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be"),
    ({"network": 3}, "network"),
    ({"device": Device(precision="float16")}, "device__precision must be one of"),
    ({"device": Device("torch:cpu", distributed=True)}, "device__distributed=True shares mini-batches out"),
    ({"device": "meta"}, "device='meta'"),
    ({"device": PipelineRule()}, r"device must be Device\(\.\.\.\)"),
]


@pytest.mark.parametrize(("parameters", "message"), WRONG, ids=str)
def test_wrong_parameters_are_named(parameters, message):
    pytest.importorskip("torch")
    model = classifier(**parameters)
    for fit in (lambda: model.fit(X, Y), lambda: model.partial_fit(X, Y, classes=np.arange(10))):
        with pytest.raises((ValueError, TypeError), match=message):
            fit()
    assert not hasattr(model, "coefs_") and not hasattr(model, "classes_")


def test_pieces_that_do_not_compose():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    wrong = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(9, 10))
    with pytest.raises(ValueError, match="does not accept rows of n_features=64"):
        classifier(network=wrong).fit(X, Y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tied = nn.Linear(16, 16)
        shared = nn.Sequential(nn.Linear(64, 16), tied, nn.ReLU(), tied, nn.Linear(16, 10))
    with pytest.raises(ValueError, match="share a weight"):
        classifier(network=shared, pipeline=PipelineRule(module_layers=(2, 2))).fit(X, Y)
    together = classifier(network=shared, pipeline=PipelineRule(module_layers=(3, 1)))
    assert together.fit(X, Y).score(X, Y) > 0.3
    with pytest.raises(ValueError, match="n_modules=5 is more than the 4 layers"):
        classifier(network=shared, n_modules=5).fit(X, Y)
    with pytest.raises(ValueError, match="network__normalization cannot be set"):  # it is of networks built here
        classifier(network=shared).set_params(network__normalization="batch")


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("operation", ["forward", "backward", "update"])
def test_a_module_that_fails_is_named_and_nothing_is_lost(monkeypatch, executor, operation):
    model = classifier(n_modules=3, pipeline=PipelineRule(executor=executor)).fit(X, Y)
    before, n_threads = dict(vars(model)), threading.active_count()
    make, own = DenseCells.__init__, getattr(DenseCell, operation)

    def marked(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self.cells[1].is_bad = True

    def failing(self, *args, **kwargs):
        if getattr(self, "is_bad", False) and self.n_updates > 3:
            raise OSError("the bus is gone")
        return own(self, *args, **kwargs)

    monkeypatch.setattr(DenseCells, "__init__", marked)
    monkeypatch.setattr(DenseCell, operation, failing)
    with pytest.raises(RuntimeError, match=r"module 2 of 3 failed, and the others were stopped: OSError: the bus"):
        model.fit(X, Y)
    assert vars(model).keys() == before.keys() and all(vars(model)[name] is before[name] for name in before)
    monkeypatch.undo()
    assert_same_weights(model.fit(X, Y), classifier(n_modules=3).fit(X, Y))
    assert threading.active_count() <= n_threads + 3


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_divergence_names_what_to_change_and_leaves_a_usable_estimator(executor):
    steep = {"solver": "sgd", "learning_rate_init": 1e30, "pipeline": PipelineRule(executor=executor)}
    model = classifier(n_modules=3, **steep)
    message = (
        r"diverged.*schedule='fdg'.*pipeline__module_rates='equal'.*up to 3 updates old, choose "
        r"pipeline__module_rates='inverse', pipeline__shrink=0\.7, a smaller solver__momentum.*keeps the weights"
    )
    with pytest.raises(FloatingPointError, match=message):
        model.fit(X, Y)
    assert np.isfinite(model.predict_proba(X)).all()
    exact = classifier(solver="sgd", learning_rate_init=1e30, schedule="backprop")
    with pytest.raises(FloatingPointError, match=r"Lower learning_rate_init \(by 10, say\), or scale"):
        exact.fit(X, Y)
    stream = classifier(**steep)
    with pytest.raises(FloatingPointError, match="as it was before this block"):
        stream.partial_fit(X, Y, classes=np.arange(10))
    assert not hasattr(stream, "coefs_")


@pytest.mark.usefixtures("needs_callbacks")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_interrupt_keeps_the_last_epoch(executor):
    model = classifier(pipeline=PipelineRule(executor=executor))
    model.set_callbacks(Recorder(at=4, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt, match="training was interrupted"):
        model.fit(X, Y)
    assert model.n_iter_ == 4 and np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("n_rows", "batch_size"), [(300, 300), (300, 299), (31, 30), (12, 5), (3, 1)])
def test_few_and_uneven_batches(executor, n_rows, batch_size):
    rows, labels = X[:n_rows], np.arange(n_rows) % 2
    for schedule in ("fdg", "ddg", "dtrp"):
        given = {"schedule": schedule, "pipeline": PipelineRule(executor=executor)}
        model = classifier(n_modules=4, batch_size=batch_size, **given).fit(rows, labels)
        assert np.isfinite(model.loss_curve_).all() and model.predict(rows).shape == (n_rows,)
        assert model.timeline_["batch"].max() + 1 == 6 * -(-n_rows // batch_size)


@pytest.mark.parametrize("hidden", [(), 16])
def test_few_layers(hidden):
    model = classifier(hidden_layer_sizes=hidden, n_modules=1).fit(X, Y)
    assert model.modules_ == [(0, 1 if hidden == () else 2)]
    with pytest.raises(ValueError, match="is more than the"):
        classifier(hidden_layer_sizes=hidden, n_modules=3).fit(X, Y)


def test_bad_rows_leave_the_old_fit():
    model = classifier(warm_start=True).fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.where(X == 1, np.inf, X), Y)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :-1], Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_a_batch_of_one_row_has_no_statistics():
    pytest.importorskip("torch")
    model = classifier(network=DenseNetwork(normalization="batch"), batch_size=1, max_iter=1)
    with pytest.raises(ValueError, match="batch normalisation needs two"):
        model.fit(X[:30], Y[:30])
