"""DFAClassifier and DFARegressor: what a fit keeps, streams, faults, networks of torch, promises of accuracy."""

import pickle
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import (
    KFAC,
    SGD,
    Adam,
    ApproximateActivation,
    Device,
    DFAClassifier,
    DFARegressor,
    Feedback,
    ImageNetwork,
    SequenceNetwork,
)
from tests.checks import assert_close

FEEDBACKS = ["refresh", "random", "binary", "sparse", "product", "dkp", "learned"]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture(scope="module")
def cancer():
    return train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)


def small(**parameters):
    return DFAClassifier(**{"hidden_layer_sizes": (64, 64), "random_state": 0, "max_iter": 20} | parameters)


# ---- accuracy ----


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_every_feedback_learns_digits(digits, feedback):
    X, X_test, y, y_test = digits
    assert small(feedback=feedback, max_iter=40).fit(X, y).score(X_test, y_test) > 0.95


@pytest.mark.parametrize("init", ["uniform", "product", "sign_product"])
@pytest.mark.parametrize("feedback", ["random", "binary"])
def test_every_first_feedback_learns_digits(digits, feedback, init):
    X, X_test, y, y_test = digits
    assert small(feedback=Feedback(feedback, init=init), max_iter=40).fit(X, y).score(X_test, y_test) > 0.95


@pytest.mark.parametrize(
    "parameters",
    [
        {"scheme": "backprop"},
        {"activation": ApproximateActivation("relu", bits=4)},
        {"activation": ApproximateActivation(bits=8), "scheme": "backprop"},
        {"feedback": "random", "preconditioner": "kfac", "solver": "sgd", "learning_rate_init": 0.1, "max_iter": 5},
        {"solver": "adamw", "alpha": 1e-2},
        {"solver": SGD(warmup_fraction=0.1), "learning_rate_init": 0.05, "learning_rate": "step"},
        {"feedback": Feedback(tol_error=0.01)},
        {"feedback": Feedback("random", shared=True), "activation": "tanh"},
        {"device": Device(precision="float64"), "activation": "leaky_relu"},
        {"input_encoding": "robust"},
        {"input_encoding": None, "activation": "logistic"},
    ],
    ids=str,
)
def test_every_road_learns_digits(digits, parameters):
    X, X_test, y, y_test = digits
    assert small(**parameters).fit(X, y).score(X_test, y_test) > 0.94


def test_refreshed_feedback_points_where_backprop_points(digits):
    X, _, y, _ = digits
    kinds = ("refresh", "random")
    found = {name: small(feedback=Feedback(name, alignment=True)).fit(X, y).alignment_ for name in kinds}
    assert found["refresh"].shape == (20, 2)
    assert np.all(found["refresh"][-1] > found["random"][-1])
    assert np.all(found["refresh"][-1] > 0.7)
    exact = small(scheme="backprop", feedback=Feedback(alignment=True), max_iter=2).fit(X, y).alignment_
    assert_close(exact, np.ones((2, 2)), "float64")


def test_kfac_needs_fewer_epochs(digits):
    X, _, y, _ = digits
    plain = {"feedback": "random", "solver": "sgd", "max_iter": 10, "learning_rate_init": 0.05}
    without = small(**plain).fit(X, y).loss_
    assert small(**plain, preconditioner="kfac").fit(X, y).loss_ < 0.5 * without


# ---- what a fit keeps ----


def test_attributes(digits):
    X, _, y, _ = digits
    model = small(max_iter=3).fit(X, y)
    assert [w.shape for w in model.coefs_] == [(64, 64), (64, 64), (64, 10)]
    assert model.n_iter_ == 3 and len(model.loss_curve_) == 3 and model.loss_ == model.loss_curve_[-1]
    assert model.loss_curve_[0] > model.loss_curve_[2]
    assert_close(model.predict_proba(X[:9]).sum(axis=1), np.ones(9), "float64")
    assert_close(np.exp(model.predict_log_proba(X[:9])), model.predict_proba(X[:9]), "float64")
    assert not hasattr(model, "alignment_") and not hasattr(model, "validation_scores_")


def test_early_stopping_keeps_the_best_weights(cancer):
    X, X_test, y, y_test = cancer
    model = small(max_iter=200, early_stopping=True, n_iter_no_change=5, validation_fraction=0.3).fit(X, y)
    assert model.n_iter_ < 200
    assert model.best_validation_score_ == max(model.validation_scores_)
    watched = small(max_iter=30).fit(X, y, X_val=X_test, y_val=y_test)
    assert watched.n_iter_ == 30
    assert watched.score(X_test, y_test) == pytest.approx(max(watched.validation_scores_))


def test_held_out_rows_calibrate_probabilities():
    X, y = make_classification(2000, 20, flip_y=0.3, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    plain = small(max_iter=60).fit(X, y)
    model = small(max_iter=60, early_stopping=True, n_iter_no_change=60).fit(X, y)
    assert model.temperature_ != 1.0 and plain.temperature_ == 1.0
    assert log_loss(y_test, model.predict_proba(X_test)) < log_loss(y_test, plain.predict_proba(X_test))


def test_warm_start_goes_on(digits):
    X, _, y, _ = digits
    model = small(max_iter=3, warm_start=True).fit(X, y)
    first = model.loss_
    assert model.fit(X, y).loss_ < first
    model.set_params(hidden_layer_sizes=(32,))
    with pytest.raises(ValueError, match="has changed since the last fit"):
        model.fit(X, y)


@pytest.mark.parametrize("scheme", ["backprop", "dfa"])
@pytest.mark.parametrize("feedback", ["refresh", "binary"])
def test_streams(digits, scheme, feedback):
    X, X_test, y, y_test = digits
    model = small(scheme=scheme, feedback=feedback, batch_size=16, learning_rate_init=3e-3)
    for start in range(0, len(X), 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100], classes=np.arange(10))
    assert model.score(X_test, y_test) > 0.85
    assert len(model.loss_curve_) == 14


def test_a_stream_may_start_with_one_row():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) * [1.0, 10.0, 0.1]
    y = (X[:, 0] > 0).astype(int)
    model = DFAClassifier((16,), learning_rate_init=0.01, random_state=0)
    model.partial_fit(X[:1], y[:1], classes=[0, 1])
    for _ in range(10):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.95


def test_weights(rng):
    X, y = make_classification(400, 5, random_state=0)
    weight = np.where(y == 1, 0.0, 1.0)
    weight[:20] = 1.0
    # rows without weight are as if they were not there
    kept = weight > 0
    a = small(max_iter=3).fit(X, y, sample_weight=weight)
    b = small(max_iter=3).fit(X[kept], y[kept], sample_weight=weight[kept])
    assert_close(a.predict_proba(X), b.predict_proba(X), "float64")
    # the scale of weights does not matter
    c = small(max_iter=3).fit(X, y, sample_weight=7 * weight)
    assert_close(a.predict_proba(X), c.predict_proba(X), "float32")
    # the scale of columns counts rows by weight, too
    encoding = small(max_iter=1).fit(X, y, sample_weight=np.where(y == 0, 3.0, 1.0))._trained.reading.encoding
    assert_close(encoding.shift, np.average(X, axis=0, weights=np.where(y == 0, 3.0, 1.0)), "float64", size=1.0)
    # in a stream weights are absolute: a light block moves less
    blocks = [small(solver="sgd").partial_fit(X, y, classes=[0, 1], sample_weight=w) for w in (1e-12, 1.0)]
    fresh = small(solver="sgd", learning_rate_init=1e-30).partial_fit(X, y, classes=[0, 1])
    moved = [np.abs(model.coefs_[0] - fresh.coefs_[0]).max() for model in blocks]
    assert moved[0] < 1e-6 < moved[1]
    # a class that weighs more is predicted more often
    noise = rng.integers(2, size=400)
    few = small(class_weight={0: 1, 1: 0.1}).fit(X, noise).predict(X).sum()
    many = small(class_weight={0: 0.1, 1: 1}).fit(X, noise).predict(X).sum()
    assert few < many
    with pytest.raises(ValueError, match="balanced"):
        small(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_kinds_of_rows(digits):
    X, _, y, _ = digits
    model = small(max_iter=3).fit(X, y)
    whole = model.predict_proba(X)
    assert_close(small(max_iter=3).fit(sparse.csr_matrix(X), y).predict_proba(X), whole, "float32")
    assert_close(model.predict_proba(sparse.csr_matrix(X)), whole, "float64")
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
    strings = np.array([f"class {label}" for label in y])
    assert small(max_iter=3).fit(X, strings).predict(X[:1])[0].startswith("class ")


def test_tensors(digits):
    torch = pytest.importorskip("torch")
    X, _, y, _ = digits
    model = small(max_iter=3).fit(torch.tensor(X), y)
    found = model.predict_proba(torch.tensor(X))
    assert isinstance(found, torch.Tensor)
    assert_close(found, model.predict_proba(X), "float64")


def test_pipeline_and_search(digits):
    X, X_test, y, y_test = digits
    pipeline = make_pipeline(StandardScaler(), small(max_iter=20))
    search = GridSearchCV(pipeline, {"dfaclassifier__feedback": ["refresh", "binary"]}, cv=2).fit(X, y)
    assert search.score(X_test, y_test) > 0.9


def test_pixels_share_a_scale(rng):
    pixels, y = rng.integers(0, 255, (200, 400)).astype(float), rng.integers(2, size=200)
    pixels[:, :50] *= 0.01  # rare pixels are not blown up
    columns = pixels * rng.uniform(0.1, 100, 400) - 50

    def n_scales(rows, **options):
        model = small(max_iter=1, **options).fit(rows, y)
        return len(np.unique(model._trained.reading.encoding.slope))

    assert n_scales(pixels) == 1
    assert n_scales(columns) > 100 and n_scales(pixels, input_encoding="standard") > 100


def test_the_same_seed_is_the_same_network(digits):
    X, _, y, _ = digits
    first, second = small(max_iter=2).fit(X, y), small(max_iter=2).fit(X, y)
    other = small(max_iter=2, random_state=1).fit(X, y)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])


def test_bytes(digits):
    X, _, y, _ = digits
    four = small(activation=ApproximateActivation(bits=4), max_iter=1).fit(X, y).activation_bytes_
    assert four["exact"] >= 6 * four["stored"]


def test_bottleneck_is_named(digits):
    X, _, y, _ = digits
    narrow = small(hidden_layer_sizes=(64, 4, 64), feedback=Feedback("random", alignment=True), max_iter=5)
    with pytest.warns(UserWarning, match="hidden layer 2 is a bottleneck: 4 units between 64 and 64"):
        narrow.fit(X, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "hidden layer")
        narrow.set_params(hidden_layer_sizes=(64, 64)).fit(X, y)


# ---- regression ----


def test_regression():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 5))
    Y = np.column_stack([1e3 + 50 * (X[:, 0] + X[:, 1] ** 2), 1e-3 * np.sin(X[:, 2])])
    for feedback in ("refresh", "random", "binary"):
        model = DFARegressor((64, 64), feedback=feedback, random_state=0).fit(X[:1000], Y[:1000])
        assert model.score(X[1000:], Y[1000:]) > 0.9
    one = DFARegressor((64,), random_state=0, early_stopping=True).fit(X, Y[:, 0])
    assert one.predict(X).shape == (1500,) and one.score(X, Y[:, 0]) > 0.9
    column = DFARegressor((8,), max_iter=1, random_state=0).fit(X, Y[:, :1])
    assert column.predict(X).shape == (1500, 1)


def test_a_constant_target():
    X = np.random.default_rng(0).standard_normal((50, 3))
    model = DFARegressor((8,), random_state=0).fit(X, np.full(50, 7.0))
    np.testing.assert_array_equal(model.predict(X), 7.0)


def test_regression_streams():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 3))
    y = X @ [1.0, -2.0, 0.5]
    model = DFARegressor((32,), learning_rate_init=0.01, random_state=0)
    for start in range(0, 1000, 50):
        model.partial_fit(X[start : start + 50], y[start : start + 50])
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="2 targets, but the network has 1"):
        model.partial_fit(X, np.column_stack([y, y]))


# ---- faults ----


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scheme": "fa"}, "scheme must be one of"),
        ({"feedback": "none"}, "feedback must be one of"),
        ({"feedback": Feedback("none")}, "feedback must be one of"),
        ({"feedback": Feedback(init="he")}, "feedback__init must be one of"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"activation": ApproximateActivation("gelu")}, "activation must be one of"),
        ({"solver": "lbfgs"}, "solver must be one of"),
        ({"learning_rate": "linear"}, "learning_rate must be one of"),
        ({"learning_rate_init": 0}, "learning_rate_init must be a number above 0"),
        ({"learning_rate_init": np.nan}, "learning_rate_init must be a number"),
        ({"activation": ApproximateActivation(bits=2)}, "activation__bits must be 4, 8 or None"),
        ({"preconditioner": "shampoo"}, "preconditioner must be 'kfac', KFAC\\(...\\) or None"),
        ({"preconditioner": "kfac", "activation": ApproximateActivation()}, "needs exact activations"),
        ({"preconditioner": KFAC(), "activation": ApproximateActivation()}, "needs exact activations"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"max_iter": 1.5}, "max_iter must be a positive integer"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a number between 0 and 1"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be a positive integer"),
        ({"hidden_layer_sizes": "64"}, "hidden_layer_sizes must be"),
        ({"input_encoding": "minmax"}, "input_encoding must be one of"),
        ({"device": Device(precision="float16")}, "device__precision must be one of"),
        ({"feedback": Feedback(tol_error=-1)}, "feedback__tol_error must be a number 0 or more"),
        ({"solver": SGD(momentum=1.0)}, "solver__momentum must be a number at least 0 and below 1"),
        ({"network": ImageNetwork((8,))}, "network__image_shape must be"),
        ({"network": ImageNetwork((8, 8), normalization="layer")}, "network__normalization must be 'batch' or None"),
        ({"network": SequenceNetwork(None, 4)}, "network__sequence_length must be a positive integer"),
        ({"network": SequenceNetwork(8, "4")}, "network__recurrent_layer_sizes must be"),
        ({"network": ImageNetwork((8, 8), (8, 0))}, "network__conv_layer_sizes must be a sequence"),
        ({"network": ImageNetwork((8, 8), 8)}, "network__conv_layer_sizes must be a sequence"),
        ({"early_stopping": "yes"}, "early_stopping must be True or False"),
        ({"feedback": Feedback("random", init="zeros")}, "would never train a hidden layer"),
        ({"feedback": Feedback("binary", refresh_interval=5)}, "would renew nothing: 'refresh' follows the weights"),
        ({"feedback": Feedback("dkp", init="product", refresh_interval=5)}, "would renew nothing"),
        ({"feedback": Feedback(refresh_interval=5), "scheme": "modular"}, "renews sparse paths alone"),
        ({"solver": Adam(beta_1="short")}, "solver__beta_1 must be a number.*'auto' is allowed"),
        ({"feedback": Feedback(refresh_interval="often")}, "feedback__refresh_interval must be"),
        ({"device": Device(distributed=True), "random_state": None}, "needs an integer random_state"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(digits, parameters, message):
    X, _, y, _ = digits
    model = small(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_a_setting_has_one_place():
    with pytest.raises(TypeError, match="dampening"):
        KFAC(dampening=1)
    with pytest.raises(TypeError, match="recurrent_layer_sizes"):
        ImageNetwork((8, 8), recurrent_layer_sizes=4)
    with pytest.raises(TypeError, match="sequence_length"):
        SequenceNetwork(recurrent_layer_sizes=4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"solver": Device()},
            r"solver must be one of \['adam', 'adamw', 'sgd'\], Adam\(...\), AdamW\(...\) or SGD\(...\), got Device",
        ),
        ({"device": SGD()}, r"device must be Device\(...\), or what stands for it, got SGD\(\)"),
        ({"feedback": KFAC()}, r"feedback must be Feedback\(...\), or what stands for it, got KFAC\(\)"),
        ({"activation": Feedback()}, r"activation must be ApproximateActivation\(...\), or what stands for it"),
        ({"network": Feedback()}, r"network must be DenseNetwork\(...\), ImageNetwork\(...\), SequenceNetwork\(...\)"),
        ({"preconditioner": SGD()}, r"preconditioner must be 'kfac', KFAC\(...\) or None, got SGD\(\)"),
    ],
    ids=str,
)
def test_the_value_of_another_parameter_is_refused(digits, parameters, message):
    X, _, y, _ = digits
    model = small(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_a_setting_of_a_word_says_which_value_has_it():
    model = small(feedback="sparse", max_iter=1)
    with pytest.raises(ValueError, match=r"feedback='sparse': give feedback=Feedback\('sparse', density=...\) first"):
        model.set_params(feedback__density=0.2)
    with pytest.raises(ValueError, match=r"solver='adam': give solver=Adam\(beta_1=...\) or AdamW\(beta_1=...\) first"):
        model.set_params(solver__beta_1=0.2)
    assert model.set_params(feedback=Feedback("sparse"), feedback__density=0.2).feedback.density == 0.2


def test_a_word_stands_for_its_value_and_keeps_all_bits(digits):
    X, _, y, _ = digits
    words = small(feedback="random", solver="sgd", preconditioner="kfac", device="cpu", max_iter=2)
    values = {"feedback": Feedback("random"), "solver": SGD(), "preconditioner": KFAC(), "device": Device()}
    values |= {"activation": ApproximateActivation("relu", bits=None)}
    again = small(**values, max_iter=2).fit(X, y)
    for one, other in zip(words.fit(X, y).coefs_, again.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)
    assert clone(again).get_params()["feedback__name"] == "random"


def test_wrong_targets_are_named(digits):
    X, X_test, y, y_test = digits
    with pytest.raises(ValueError, match="one class"):
        small().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="classes must be passed"):
        small().partial_fit(X, y)
    with pytest.raises(ValueError, match="labels that are not in classes"):
        small().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="must be given together"):
        small().fit(X, y, X_val=X_test)
    with pytest.raises(ValueError, match="labels that are not in classes"):
        small().fit(X, y, X_val=X_test, y_val=y_test + 100)
    with pytest.raises(ValueError, match=r"All sample weights are zero"):
        small().fit(X, y, sample_weight=np.zeros(len(X)))


def test_a_batch_larger_than_the_data_is_all_rows(digits):
    X, _, y, _ = digits
    with pytest.warns(UserWarning, match="batch_size=5000 is larger than the 1347 training rows"):
        model = small(batch_size=5000, max_iter=2).fit(X, y)
    assert model.n_iter_ == 2


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_divergence_keeps_the_last_good_weights(device):
    if device != "cpu":
        pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    parameters = {"solver": "sgd", "learning_rate": "constant", "random_state": 0, "device": device}
    model = DFARegressor((8, 8), learning_rate_init=1e3, max_iter=50, scheme="backprop", **parameters)
    with pytest.raises(FloatingPointError, match="Lower learning_rate_init"):
        model.fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert all(np.isfinite(w).all() for w in model.coefs_)
    with pytest.raises(FloatingPointError, match="diverged"):  # before an alignment was measured
        DFARegressor((8, 8), learning_rate_init=1e30, feedback=Feedback(alignment=True), **parameters).fit(X, y)
    stream = DFARegressor((8, 8), learning_rate_init=1e-3, scheme="backprop", **parameters).partial_fit(X, y)
    before = stream.predict(X)
    stream.set_params(learning_rate_init=1e30)
    with pytest.raises(FloatingPointError, match="diverged"):
        for _ in range(5):
            before = stream.predict(X)
            stream.partial_fit(X, y)
    np.testing.assert_array_equal(stream.predict(X), before)


def test_an_interrupt_leaves_a_usable_estimator(digits, monkeypatch):
    X, X_test, y, y_test = digits
    from sklearn_analytic.nn import MLPExecution

    epochs, real = [], MLPExecution.epoch

    def interrupted(self, placed, order, rates):
        epochs.append(1)
        if len(epochs) == 4:
            raise KeyboardInterrupt
        return real(self, placed, order, rates)

    monkeypatch.setattr(MLPExecution, "epoch", interrupted)
    model = small()
    with pytest.raises(KeyboardInterrupt, match="last good epoch"):
        model.fit(X, y)
    assert model.n_iter_ == 3 and model.score(X_test, y_test) > 0.8
    assert pickle.loads(pickle.dumps(model)).score(X_test, y_test) == model.score(X_test, y_test)


def test_a_failed_fit_leaves_the_old_one(digits):
    X, _, y, _ = digits
    model = small(max_iter=2).fit(X, y)
    before = model.predict_proba(X)
    broken = X.copy()
    broken[3, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.fit(broken, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


# ---- callbacks ----


class StopAfter:
    """Stops after some epochs; scikit-learn's protocol for callbacks."""

    def __init__(self, n_epochs):
        self.n_epochs, self.scores = n_epochs, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if context.task_name != "epoch":
            return False
        self.scores.append(fitted_estimator.score(X, y))
        return len(self.scores) == self.n_epochs

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_epochs_and_may_stop(digits):
    pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")
    X, _, y, _ = digits
    callback = StopAfter(4)
    model = small().set_callbacks(callback).fit(X, y)
    assert model.n_iter_ == 4
    assert callback.scores[-1] == model.score(X, y) > callback.scores[0]


# ---- networks of torch ----


def test_torch_is_the_compiled_network(digits):
    pytest.importorskip("torch")
    X, _, y, _ = digits
    for parameters in ({"scheme": "backprop"}, {"feedback": "random"}, {"feedback": "refresh"}):
        shared = parameters | {"max_iter": 2}
        compiled = small(**shared, device=Device(precision="float64")).fit(X, y)
        torched = small(**shared, device=Device("torch:cpu", precision="float64")).fit(X, y)
        # the same draws and the same steps: Adam magnifies rounding where gradients are small
        assert_close(torched.predict_proba(X), compiled.predict_proba(X), "float64", scale=1e6)


@pytest.mark.parametrize("scheme", ["backprop", "auto", "hybrid", "modular", "dfa"])
def test_small_images(digits, scheme):
    pytest.importorskip("torch")
    X, X_test, y, y_test = digits
    shape = {"network": ImageNetwork((8, 8), (8, 16)), "hidden_layer_sizes": (32,)}
    model = small(**shape, scheme=scheme, learning_rate_init=3e-3).fit(X, y)
    # literal feedback to every convolution is known to fail (Refinetti et al. 2021; Launay et al. 2019)
    assert model.score(X_test, y_test) > (0.5 if scheme == "dfa" else 0.9)
    assert pickle.loads(pickle.dumps(model)).score(X_test, y_test) == model.score(X_test, y_test)
    assert "0.weight" not in model.network_state_ and any("weight" in name for name in model.network_state_)


def test_modules_of_stacked_convolutions(digits):
    pytest.importorskip("torch")
    X, X_test, y, y_test = digits
    shape = {"network": ImageNetwork((8, 8), ((8, 8), (16, 16))), "hidden_layer_sizes": (32,)}
    parameters = shape | {"learning_rate_init": 3e-3, "feedback": Feedback(alignment=True)}
    aligned = {}
    for scheme in ("modular", "backprop"):
        model = small(**parameters, scheme=scheme).fit(X, y)
        assert model.score(X_test, y_test) > 0.8
        assert len([name for name in model.network_state_ if name.endswith("weight")]) == 6
        aligned[scheme] = model.alignment_[-1]
    # sparse paths reach the first convolution of each block, exact errors its border
    assert np.all(aligned["modular"][[0, 2]] < 0.999)
    assert_close(aligned["backprop"], np.ones(5), "float32")


@pytest.mark.parametrize("scheme", ["backprop", "modular"])
def test_sequences(digits, scheme):
    pytest.importorskip("torch")
    X, X_test, y, y_test = digits
    shape = {"network": SequenceNetwork(8, (48,)), "hidden_layer_sizes": (32,)}
    model = small(**shape, scheme=scheme, learning_rate_init=3e-3, max_iter=15).fit(X, y)
    assert model.score(X_test, y_test) > 0.85


def test_a_given_network(digits):
    torch = pytest.importorskip("torch")
    X, X_test, y, y_test = digits
    nn = torch.nn
    network = nn.Sequential(nn.Linear(64, 40), nn.GELU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10))
    before = network[0].weight.detach().clone()
    model = small(network=network, learning_rate_init=3e-3).fit(X, y)
    assert model.score(X_test, y_test) > 0.9
    assert torch.equal(network[0].weight, before)  # a copy was trained
    assert clone(model).get_params()["network"] is not None
    short = torch.nn.Sequential(torch.nn.Linear(64, 7))
    with pytest.raises(ValueError, match=r"expected \(2, 10\)"):
        small(network=short).fit(X, y)
    with pytest.raises(ValueError, match=r"image_shape=\(7, 9\) has 63 values, but X has 64"):
        small(network=ImageNetwork((7, 9))).fit(X, y)
    with pytest.raises(ValueError, match=r"image_shape=\(3, 5, 5\) has 75 values"):
        small(network=ImageNetwork((3, 5, 5))).fit(X, y)
    with pytest.raises(ValueError, match=r"image_shape=\(3, 5, 5\) has 75 values"):
        small(network=ImageNetwork((3, 5, 5))).partial_fit(X, y, classes=range(10))
    with pytest.raises(ValueError, match="does not divide the 64 features"):
        small(network=SequenceNetwork(7, 4)).fit(X, y)


def test_alignment_of_torch_networks(digits):
    pytest.importorskip("torch")
    X, _, y, _ = digits
    shape = {"network": ImageNetwork((8, 8), (8,)), "hidden_layer_sizes": (32, 32)}
    watched = shape | {"feedback": Feedback(alignment=True)}
    model = small(**watched, max_iter=2).fit(X, y)
    assert model.alignment_.shape == (2, 3) and np.all(np.abs(model.alignment_) <= 1)
    silent = small(**shape, max_iter=2).fit(X, y)  # to measure changes nothing
    np.testing.assert_array_equal(model.network_state_["1.weight"], silent.network_state_["1.weight"])
    exact = small(**watched, max_iter=1, scheme="backprop").fit(X, y)
    np.testing.assert_allclose(exact.alignment_, 1, rtol=1e-6)


def test_a_network_without_dense_hidden_layers_is_trained_exactly(digits):
    torch = pytest.importorskip("torch")
    X, X_test, y, y_test = digits
    model = small(hidden_layer_sizes=(), network=ImageNetwork((8, 8), (8,)), max_iter=10)
    assert model.fit(X, y).score(X_test, y_test) > 0.85
    network = torch.nn.Sequential(torch.nn.Linear(64, 10))
    assert small(network=network).fit(X, y).score(X_test, y_test) > 0.85
    with pytest.raises(ValueError, match="none: add one"):
        model.set_params(scheme="hybrid").fit(X, y)


def test_alignment_of_frozen_layers(digits):
    torch = pytest.importorskip("torch")
    X, _, y, _ = digits
    nn = torch.nn
    network = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 10))
    network[0].requires_grad_(False)
    model = small(network=network, feedback=Feedback(alignment=True), max_iter=2).fit(X, y)
    assert model.alignment_.shape == (2, 2)
    np.testing.assert_array_equal(model.network_state_["0.weight"], network[0].weight.numpy())


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"network": ImageNetwork((8, 8))}, "network=ImageNetwork\\(image_shape=\\(8, 8\\)\\)"),
        ({"device": Device(precision="bfloat16")}, "device__precision='bfloat16'"),
        ({"device": Device(distributed=True)}, "device__distributed=True"),
        ({"scheme": "modular"}, "scheme='modular'"),
    ],
)
def test_torch_is_asked_for_by_name(digits, monkeypatch, asked, named):
    X, _, y, _ = digits
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=rf"^{named} needs torch: install sklearn_analytic\[torch\]\.$"):
        small(**asked).fit(X, y)
