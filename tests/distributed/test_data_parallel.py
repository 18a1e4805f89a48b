"""Processes train the network that one process trains; compressed, they send less; dead, they are named."""

import pickle
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import (
    DecoupledMLPClassifier,
    Device,
    DFAClassifier,
    DFARegressor,
    Feedback,
    PrivateDFAClassifier,
)
from sklearn_analytic.distributed import DataParallel, data_parallel
from tests.checks import assert_close
from tests.distributed.estimators import (
    Battery,
    DyingClassifier,
    RaisingClassifier,
    SavingClassifier,
    StoppedClassifier,
)

torch = pytest.importorskip("torch")
if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("needs gloo", allow_module_level=True)

SECONDS = 60  # within which a dead worker must have been noticed, on a machine that does other work too
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 2, "random_state": 0, "batch_size": 40}


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """The folder in which temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def weights(model):
    return model.coefs_ + model.intercepts_


def settings(model):
    """Parameters, those of values in their place."""
    return {name: value for name, value in model.get_params().items() if not hasattr(value, "get_params")}


# ---- uncompressed ----


def test_two_processes_are_one_on_every_road():
    """Every scheme, frozen, tied and idle parameters: executions that follow each other in one group."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((41, 16)), rng.integers(3, size=41)
    one = Battery().fit(X, y)
    two = data_parallel(Battery(), 2).fit(X, y)
    assert len(one.arrays_) > 40
    assert {len(record["wire_bytes"]) for record in two.communication_.values()} == {1}  # one epoch was logged
    for name, expected in one.arrays_.items():
        assert_close(two.estimator_.arrays_[name], expected, "float64")


def test_two_processes_are_one_in_a_pipeline(digits, temporary):
    X, X_test, y, y_test = digits
    given = {"max_iter": 3, "batch_size": 40, "random_state": 0, "scheme": "dfa"}
    estimator = DFAClassifier((32, 32), device=Device(precision="float64"), **given)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(y))
    pipeline = make_pipeline(StandardScaler(), data_parallel(estimator, 2))
    pipeline.fit(X, y, dataparallel__sample_weight=weight)
    model = pipeline[-1]
    scaled = StandardScaler().fit(X)
    one = clone(estimator).set_params(device__name="torch:cpu").fit(scaled.transform(X), y, weight)
    for expected, found in zip(weights(one), weights(model.estimator_), strict=True):
        assert_close(found, expected, "float64", scale=1e4)  # Adam magnifies rounding
    # the fitted estimator is one of a single process, and the parameters are those that were given
    assert settings(model.estimator_) == settings(estimator) and settings(estimator)["device__distributed"] is False
    assert_close(pipeline.predict_proba(X_test), one.predict_proba(scaled.transform(X_test)), "float64", scale=1e4)
    assert pipeline.score(X_test, y_test) == one.score(scaled.transform(X_test), y_test)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    loaded = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(loaded.predict(X_test), pipeline.predict(X_test))
    # what was sent
    record = model.communication_
    n_bytes = 8 * sum(w.size for w in weights(one))
    steps = -(-len(X) // 40)
    assert record["compression"] is None and record["n_workers"] == 2
    assert record["payload_bytes"] == [steps * n_bytes] * 3
    assert record["wire_bytes"] == record["uncompressed_bytes"] == record["payload_bytes"]  # of two, in a ring
    assert np.shape(record["weight_entropy"]) == np.shape(record["relative_entropy"]) == (3, 3)
    assert record["layers"] == ["0.weight", "2.weight", "4.weight"]
    assert model.estimator_.communication_ == record
    assert list(temporary.iterdir()) == []


# ---- compressed ----


def test_compressed_gradients(digits, tmp_path, monkeypatch):
    X, X_test, y, y_test = digits
    monkeypatch.setenv("SAVED_WEIGHTS", str(tmp_path))
    estimator = SavingClassifier(
        (64, 64), scheme="backprop", max_iter=15, batch_size=64, random_state=0, device="torch:cpu"
    )
    model = data_parallel(estimator, 2, compression="entropy").fit(X, y)
    ranks = [np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1)]
    assert ranks[0].files
    for name in ranks[0].files:
        np.testing.assert_array_equal(ranks[0][name], ranks[1][name])
    record = model.communication_
    assert record["compression"] == "entropy"
    assert 8 * sum(record["wire_bytes"]) <= sum(record["uncompressed_bytes"])
    assert all(p <= w for p, w in zip(record["payload_bytes"], record["wire_bytes"], strict=True))
    alone = clone(estimator).fit(X, y)
    assert abs(model.score(X_test, y_test) - alone.score(X_test, y_test)) < 0.015  # 7 of 450 rows


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, "entropy"])
@pytest.mark.parametrize("scheme", ["backprop", "dfa"])
def test_four_processes(digits, scheme, compression):
    X, X_test, y, y_test = digits
    given = {"max_iter": 20, "random_state": 0, "device": "torch:cpu", "feedback": Feedback(tol_error=0.0)}
    estimator = DFAClassifier((256, 256), scheme=scheme, **given)
    alone = clone(estimator).fit(X, y)
    model = data_parallel(estimator, 4, compression=compression).fit(X, y)
    assert abs(model.score(X_test, y_test) - alone.score(X_test, y_test)) < 0.01
    record = model.communication_
    least = 8 if compression else 1
    assert least * sum(record["wire_bytes"]) <= sum(record["uncompressed_bytes"])


# ---- failures ----


def refused(model, message, X, y):
    """Seconds until the error; parameters are what they were, and nothing is fitted."""
    before = repr(model)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=message) as caught:
        model.fit(X, y)
    assert repr(model) == before
    with pytest.raises(NotFittedError):
        model.predict(X)
    return caught.value, time.monotonic() - start


def test_a_killed_worker_is_named(digits, temporary):
    X, _, y, _ = digits
    _, seconds = refused(data_parallel(DyingClassifier(**SMALL), 2), r"worker 1 of 2 died \(signal SIGKILL", X, y)
    assert seconds < SECONDS  # no hang: the others would wait for ``timeout``, 300 seconds
    assert list(temporary.iterdir()) == []


def test_a_raising_worker_is_named(digits, temporary):
    X, _, y, _ = digits
    model = data_parallel(RaisingClassifier(**SMALL), 2)
    error, seconds = refused(model, "worker 1 of 2 failed: ZeroDivisionError: the rank gave up", X, y)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "estimators.py" in error.__cause__.__notes__[0]  # the traceback of the worker
    assert seconds < SECONDS
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_stands_still_ends_at_the_timeout(digits):
    X, _, y, _ = digits
    refused(data_parallel(StoppedClassifier(**SMALL), 2, timeout=15.0), "worker 0 of 2 failed", X, y)


def test_an_interrupt_stops_the_workers(digits, temporary, monkeypatch):
    from sklearn_analytic.distributed import _launch

    started = []

    def interrupted(workers, folder):
        started.extend(workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(_launch, "_watch", interrupted)
    X, _, y, _ = digits
    with pytest.raises(KeyboardInterrupt):
        data_parallel(DFAClassifier(**SMALL), 2).fit(X, y)
    assert len(started) == 2
    assert all(worker.returncode is not None for worker in started)
    assert list(temporary.iterdir()) == []


def test_workers_of_a_killed_parent_end_and_leave_no_rows(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    script = (
        "import sys, time, pathlib\n"
        "from sklearn_analytic.distributed._worker import _end_with_parent\n"
        "_end_with_parent(pathlib.Path(sys.argv[1]))\n"
        "time.sleep(600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE)
    worker.stdin.close()  # as the system does when the parent is gone
    assert worker.wait(SECONDS) == 1
    assert not folder.exists()


def test_what_cannot_travel_is_refused(digits, temporary):
    from sklearn_analytic.distributed import _worker

    X, _, y, _ = digits
    network = torch.nn.Sequential(torch.nn.Linear(64, 10))
    network.held = lambda: 0
    with pytest.raises(TypeError, match=r"cannot be sent to workers .*: give it no lambdas"):
        data_parallel(DFAClassifier(network=network, max_iter=1, random_state=0), 2).fit(X, y)
    assert list(temporary.iterdir()) == []
    (temporary / "task.pickle").write_bytes(b"cno_such_module\nAnything\n.")
    with pytest.raises(ImportError, match=r"cannot be loaded .*no_such_module.* put its classes"):
        _worker._task(temporary)


@pytest.mark.parametrize(
    ("estimator", "changes", "error", "message"),
    [
        (DFAClassifier(), {"n_workers": 0}, ValueError, "n_workers must be a positive integer, got 0"),
        (DFAClassifier(), {"n_workers": 2.0}, ValueError, "n_workers must be a positive integer"),
        (DFAClassifier(), {"compression": "zip"}, ValueError, "compression must be None or 'entropy', got 'zip'"),
        (DFAClassifier(), {"timeout": 0}, ValueError, "timeout must be a number of seconds above 0"),
        (DFAClassifier(warm_start=True), {}, ValueError, "warm_start=True"),
        (DFAClassifier(device="cuda"), {"n_workers": 99}, ValueError, "n_workers=99 with device='cuda' needs"),
        (LogisticRegression(), {}, TypeError, "LogisticRegression cannot be trained over several processes"),
        (PrivateDFAClassifier(), {}, TypeError, "PrivateDFAClassifier .*no batch of it is shared out"),
        (DecoupledMLPClassifier(), {}, TypeError, "DecoupledMLPClassifier .*no batch of it is shared out"),
        (make_pipeline(DFAClassifier()), {}, TypeError, "in a pipeline, its last step"),
    ],
)
def test_bad_arguments_are_refused(digits, estimator, changes, error, message):
    X, _, y, _ = digits
    with pytest.raises(error, match=message):
        data_parallel(estimator, **({"n_workers": 2} | changes)).fit(X, y)


def test_the_compiled_loop_refuses_compression(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match="choose device='torch:cpu', or device__distributed=True"):
        DFAClassifier((8,), device=Device(distributed="entropy"), random_state=0).fit(X, y)
    for bad in ("gzip", 2, None):
        with pytest.raises(ValueError, match="device__distributed must be True, False or 'entropy'"):
            DFAClassifier((8,), device=Device(distributed=bad), random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="device__distributed='entropy' needs an integer random_state"):
        DFAClassifier((8,), device=Device(distributed="entropy")).fit(X, y)


# ---- as an estimator ----


def test_parameters_and_kind():
    model = data_parallel(DFAClassifier((8,)), 3, compression="entropy", timeout=9.0)
    assert isinstance(model, DataParallel)
    assert is_classifier(model) and is_regressor(data_parallel(DFARegressor()))
    copy = clone(model).set_params(estimator__max_iter=7)
    assert (copy.n_workers, copy.compression, copy.timeout, copy.estimator.max_iter) == (3, "entropy", 9.0, 7)
    assert model.estimator.max_iter == "auto"
    assert callable(model.predict_proba)
    with pytest.raises(AttributeError):
        data_parallel(DFARegressor()).predict_proba
