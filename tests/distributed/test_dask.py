"""Dask collections: fits equal local ones whatever the partitions, predictions are lazy, lost workers are survived."""

import os
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from threadpoolctl import threadpool_info, threadpool_limits

import sklearn_analytic as sa
from sklearn_analytic.estimator.callbacks import CallbackSupportMixin
from sklearn_analytic.estimator.statistics_file import detached
from sklearn_analytic.estimator.targets import NumberTargets
from sklearn_analytic.io._columns import plain_columns
from sklearn_analytic.linalg import NormalEquations, TriangularFactor

dask = pytest.importorskip("dask", reason="needs the extra dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe", reason="needs pandas and pyarrow")
pd = pytest.importorskip("pandas")

from sklearn_analytic.distributed import _dask  # noqa: E402  (it imports dask)

X, LABELS = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
TARGETS = X[:, :2] @ [[1.0, -1.0], [0.5, 2.0]] + np.sin(3 * X[:, 2:4])
WEIGHTS = np.arange(len(X)) % 3 * 0.5
N_FEATURES = X.shape[1]
CHUNKS = (200, 0, 69, 300)

CLOSED_FORM = {
    "linear": (sa.BRMPRegressor(), TARGETS),
    "linear, qr": (sa.BRMPRegressor(solver="qr", alpha="gcv"), TARGETS),
    "two sampled layers": (sa.BRMPRegressor((20, 10), hidden="sampled", alpha=1e-3, random_state=0), TARGETS),
    "linear classes": (sa.BRMPClassifier(alpha=0.1, class_weight="balanced"), LABELS),
    "radial": (sa.BRMPClassifier(30, hidden="rbf", alpha=1e-3, random_state=0), LABELS),
    "correlation": (sa.CPNetClassifier(20, n_modules=2, random_state=0), LABELS),
    "closed form": (sa.ClosedFormMLP((15, 10), hidden="sampled", random_state=0), LABELS),
    "closed form, real targets": (sa.ClosedFormMLPRegressor(20, hidden="random", random_state=0), TARGETS[:, 0]),
}
AUTOMATIC = {
    "trees and candidates": (sa.ClosedFormMLP(random_state=0), LABELS),
    "trees, real targets": (sa.ClosedFormMLPRegressor(random_state=0), TARGETS[:, 0]),
}
STEPS = {"max_iter": 2, "random_state": 0}
GRADIENT = {
    "dfa": (sa.DFAClassifier((5,), **STEPS), LABELS),
    "dfa, real targets": (sa.DFARegressor((5,), **STEPS), TARGETS),
    "layerwise": (sa.LayerwiseMLP((5,), **STEPS), LABELS),
    "layerwise, real targets": (sa.LayerwiseMLPRegressor((5,), **STEPS), TARGETS),
    "decoupled": (sa.DecoupledMLPClassifier((5, 5), n_modules=2, **STEPS), LABELS),
    "decoupled, real targets": (sa.DecoupledMLPRegressor((5, 5), n_modules=2, **STEPS), TARGETS),
    "private": (sa.PrivateDFAClassifier((5,), bounds=(-5, 12), classes=[0, 1], max_iter=1), LABELS),
}
VERBS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def cluster():
    """A client of two worker processes."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the event loop and the sockets of distributed
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as workers,
            distributed.Client(workers, set_as_default=False) as client,
        ):
            yield client


def in_array(x):
    """Rows in uneven chunks, one of them empty."""
    return da.from_array(x, chunks=(CHUNKS, *((-1,) * (x.ndim - 1))))


def in_frame(x):
    """Rows in a dataframe with names, in partitions of which one is empty."""
    frame = dd.from_pandas(pd.DataFrame(x, columns=[f"column {i}" for i in range(x.shape[1])]), npartitions=3)
    return frame.map_partitions(lambda part: part[part.index >= 250], meta=frame._meta), x[250:]


COLLECTIONS = {
    "array": in_array,
    "columns in chunks": lambda x: da.from_array(x, chunks=(CHUNKS, (10, 20))),
    "unknown lengths": lambda x: in_array(x)[da.from_array(np.ones(len(x), bool), chunks=(CHUNKS,))],
    "sparse": lambda x: in_array(x).map_blocks(sparse.csr_matrix),
    "frame": lambda x: dd.from_pandas(pd.DataFrame(x), npartitions=3),
    "one partition": lambda x: da.from_array(x, chunks=-1),
}


def outputs(model, x):
    """What a model says in numbers."""
    return np.asarray(getattr(model, "decision_function", model.predict)(x))


# ---- fits ----


@pytest.mark.parametrize("name", CLOSED_FORM | AUTOMATIC)
def test_a_fit_equals_the_local_fit(name):
    model, y = (CLOSED_FORM | AUTOMATIC)[name]
    local = clone(model).fit(X, y, WEIGHTS)
    found = clone(model).fit(in_array(X), in_array(y), in_array(WEIGHTS))
    np.testing.assert_allclose(outputs(found, X), outputs(local, X), rtol=1e-8, atol=1e-8)
    assert found.n_samples_seen_ == local.n_samples_seen_
    np.testing.assert_array_equal(found.predict(X[:50]).shape, local.predict(X[:50]).shape)


@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("name", ["linear", "correlation"])
def test_any_kind_of_collection_gives_the_same(name, kind):
    model, y = CLOSED_FORM[name]
    local = clone(model).fit(X, y)
    found = clone(model).fit(COLLECTIONS[kind](X), y)  # y in memory
    np.testing.assert_allclose(outputs(found, X), outputs(local, X), rtol=1e-8, atol=1e-8)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 1), st.data())
def test_any_partition_of_any_rows_gives_the_same(sizes, data):
    n = sum(sizes)
    model = sa.BRMPRegressor(alpha=1.0, block_size=data.draw(st.integers(1, 50)))
    rows = da.from_array(X[:n], chunks=(tuple(sizes), -1))
    with dask.config.set(scheduler="synchronous"):
        found = clone(model).fit(rows, TARGETS[:n], WEIGHTS[:n] + 0.1)
    np.testing.assert_allclose(found.coef_, model.fit(X[:n], TARGETS[:n], WEIGHTS[:n] + 0.1).coef_, atol=1e-10)


def test_a_frame_gives_its_names_and_empty_partitions_count_for_nothing():
    frame, rows = in_frame(X)
    found = sa.BRMPClassifier().fit(frame, LABELS[250:])
    assert list(found.feature_names_in_) == list(frame.columns)
    local = sa.BRMPClassifier().fit(frame.compute(), LABELS[250:])
    np.testing.assert_allclose(found.coef_, local.coef_, atol=1e-10)
    assert not any(size == len(rows) for size in frame.map_partitions(len).compute())


@pytest.mark.parametrize(
    "column",
    [
        lambda y: dd.from_pandas(pd.Series(y, name="y"), npartitions=5),  # other divisions than X
        lambda y: pd.Series(y),
        lambda y: y.tolist(),
        lambda y: da.from_array(y, chunks=100),
        lambda y: da.from_array(y, chunks=70)[da.ones(len(y), dtype=bool, chunks=70)],
    ],
    ids=["series", "pandas", "list", "array", "unknown lengths"],
)
def test_targets_of_any_kind_and_partition_belong_to_rows_by_position(column):
    labels = np.array(["benign", "malignant"])[LABELS]
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    found = sa.BRMPClassifier().fit(frame, column(labels), column(WEIGHTS + 1))
    local = sa.BRMPClassifier().fit(pd.DataFrame(X), labels, WEIGHTS + 1)
    np.testing.assert_allclose(found.coef_, local.coef_, atol=1e-10)
    assert list(found.classes_) == ["benign", "malignant"]


def test_targets_as_columns_of_a_frame():
    frame = dd.from_pandas(pd.DataFrame(np.c_[X, TARGETS]).rename(columns=str), npartitions=4)
    names = list(frame.columns)
    found = sa.BRMPRegressor().fit(frame[names[:-2]], frame[names[-2:]])
    np.testing.assert_allclose(found.coef_, sa.BRMPRegressor().fit(X, TARGETS).coef_, atol=1e-10)


def test_schedulers_give_the_same_bits():
    model = sa.CPNetClassifier(20, n_modules=2, random_state=0)
    found = []
    for scheduler in ("synchronous", "threads"):
        with dask.config.set(scheduler=scheduler):
            found.append(outputs(clone(model).fit(in_array(X), LABELS), X))
    np.testing.assert_array_equal(*found)


def test_a_fitted_estimator_is_plain_and_goes_on():
    model = sa.BRMPRegressor().fit(in_array(X)[:269], TARGETS[:269])
    model.partial_fit(X[269:], TARGETS[269:])
    np.testing.assert_allclose(model.coef_, sa.BRMPRegressor().fit(X, TARGETS).coef_, atol=1e-9)
    assert not any(type(value).__module__.startswith("dask") for value in vars(model).values())


def test_rows_keep_single_precision():
    x = X.astype(np.float32)
    found = sa.BRMPRegressor(alpha=1.0).fit(in_array(x), TARGETS)
    np.testing.assert_allclose(found.coef_, sa.BRMPRegressor(alpha=1.0).fit(x, TARGETS).coef_, atol=1e-10)
    assert found.predict(in_array(x)).dtype == np.float32


def as_numbers(rows, names=None):
    """How the columns of a table of numbers are read."""
    return plain_columns(rows.shape[1], names)


def test_the_tasks_of_a_pass():
    source, y, weight = _dask.opened(in_array(X), in_array(LABELS), None, lambda example: None, as_numbers)
    assert source.shape == X.shape and weight is None
    rows = source.in_blocks(y, None, 50)
    np.testing.assert_array_equal(np.concatenate([block.x for block in rows]), X)
    np.testing.assert_array_equal(rows.map_rows(lambda x: x[:, 0]), X[:, 0])
    index = np.array([568, 3, 3, 250])
    taken, codes = rows.take(index)
    np.testing.assert_array_equal(taken, X[index])
    np.testing.assert_array_equal(codes, LABELS[index])
    assert rows.take(np.array([], dtype=int))[0].shape == (0, N_FEATURES)
    assert rows.resized(7).block_size == 7 and rows.n_blocks == 1


@pytest.mark.parametrize("statistic", [NormalEquations, TriangularFactor])
def test_dask_knows_the_size_of_a_statistic(statistic):
    found = statistic.from_rows(X, TARGETS)
    assert 8 * 30**2 < dask.sizeof.sizeof(found) < 8 * 35**2


@dataclass(frozen=True)
class ThreadsStep:
    """Notes the threads of BLAS where a block is added."""

    seen: Any

    def __call__(self, statistic, block, backend):
        self.seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return statistic


def test_workers_use_one_thread_of_blas():
    seen = []
    source, y, _ = _dask.opened(in_array(X), LABELS, None, lambda example: None, as_numbers)
    with threadpool_limits(2, user_api="blas"):
        source.in_blocks(y, None, 500).reduce(
            NormalEquations.empty(2, 1), ThreadsStep(seen), sa.backend.get_backend("cpu")
        )
    assert len(seen) >= 3 and set(seen) == {1}


# ---- predictions ----


@pytest.mark.parametrize("name", CLOSED_FORM | GRADIENT)
@pytest.mark.filterwarnings("ignore::sklearn_analytic.PrivacyLeakWarning")
def test_predictions_are_lazy_and_block_wise(name):
    model, y = (CLOSED_FORM | GRADIENT)[name]
    model = clone(model).fit(X, y)
    for verb in VERBS:
        if not callable(getattr(model, verb, None)):
            continue
        found, local = getattr(model, verb)(in_array(X)), getattr(model, verb)(X)
        assert isinstance(found, da.Array)
        assert (found.shape, found.dtype, found.chunks[0]) == (local.shape, local.dtype, CHUNKS)
        assert found._meta.dtype == local.dtype and found._meta.ndim == local.ndim
        np.testing.assert_allclose(found.compute().astype(float), local.astype(float), rtol=1e-6, atol=1e-6)


def test_every_public_estimator_is_in_the_tables():
    tested = {type(model) for model, _ in (CLOSED_FORM | GRADIENT).values()}
    public = [getattr(sa, name) for name in sa.__all__]
    assert {thing for thing in public if isinstance(thing, type) and hasattr(thing, "predict")} == tested


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_predictions_of_any_kind_of_collection(kind):
    model = sa.BRMPClassifier().fit(X, np.array(["no", "yes"])[LABELS])
    x = COLLECTIONS[kind](X)
    found = model.predict(x)
    assert found.dtype == model.classes_.dtype and found.ndim == 1
    known = kind not in ("unknown lengths", "frame")
    assert np.isnan(found.shape[0]) != known
    np.testing.assert_array_equal(found.compute(), model.predict(X))
    np.testing.assert_allclose(model.decision_function(x).compute(), model.decision_function(X), atol=1e-10)


def test_predictions_are_not_changed_by_a_later_fit():
    model = sa.BRMPRegressor().fit(X, TARGETS)
    lazy, expected = model.predict(in_array(X)), model.predict(X)
    model.fit(X, -TARGETS)
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-10)


def test_predictions_compare_names():
    frame = dd.from_pandas(pd.DataFrame(X).rename(columns=str), npartitions=3)
    model = sa.BRMPRegressor().fit(frame, TARGETS)
    model.predict(frame).compute()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])


# ---- errors ----


def spoiled(x, value):
    """Rows of which one in the last chunk holds a certain value."""
    x = x.copy()
    x[400, 3] = value
    return x


ERRORS = {
    "missing y": (lambda: (in_array(X), None), ValueError, "requires y"),
    "short y": (lambda: (in_array(X), LABELS[:-1]), ValueError, "inconsistent numbers of samples"),
    "short weights": (lambda: (in_array(X), LABELS, WEIGHTS[:5]), ValueError, "one weight per row"),
    "infinity in X": (lambda: (in_array(spoiled(X, np.inf)), LABELS), ValueError, "Partition 3 of X.*infinity"),
    "one class": (lambda: (in_array(X), np.zeros(len(X))), ValueError, "one class"),
    "no rows": (lambda: (in_array(X)[:0], LABELS[:0]), ValueError, "no rows"),
    "one dimension": (lambda: (in_array(X)[:, 0], LABELS), ValueError, "2D"),
    "a series": (lambda: (dd.from_pandas(pd.Series(LABELS), npartitions=2), LABELS), TypeError, "Series"),
    "delayed": (lambda: (dask.delayed(X), LABELS), TypeError, "Delayed"),
    "complex": (lambda: (in_array(X + 1j), LABELS), ValueError, "Complex data not supported"),
    "text": (
        lambda: (in_array(X).map_blocks(lambda x: np.full(x.shape, "a"), dtype=float, meta=np.empty((0, 0))), LABELS),
        ValueError,
        r"Partition \d of X: Column 0 of X holds 'a', and held numbers before",
    ),
    "text in the end": (
        lambda: (in_array(spoiled(X.astype(object), "a")), LABELS),
        ValueError,
        "Column 3 of X holds numbers in some rows and categories in others",
    ),
    "columns unknown": (lambda: (in_array(X).T[in_array(X)[0] > -9].T, LABELS), ValueError, "number of columns"),
    "wrong chunks": (
        lambda: (in_array(X).map_blocks(lambda part: part[:-1], dtype=float, meta=np.empty((0, 0))), LABELS),
        ValueError,
        r"Partition \d of X has shape.*announced",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_what_is_wrong_and_leave_the_estimator(name):
    given_rows, kind, message = ERRORS[name]
    model = sa.BRMPClassifier().fit(X[:, :4], LABELS)
    before = dict(vars(model))
    with pytest.raises(kind, match=f"(?s){message}"):
        model.fit(*given_rows())
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is before[key] for key in before)


def test_no_number_among_targets_is_an_error():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        sa.BRMPRegressor().fit(in_array(X), spoiled(TARGETS[:, [0, 1, 0, 1]], np.nan))


def test_the_recursion_is_refused():
    with pytest.raises(ValueError, match="solver='auto', 'qr' or 'gram'"):
        sa.BRMPRegressor(solver="recursive", alpha=1.0).fit(in_array(X), TARGETS)


@pytest.mark.parametrize("name", GRADIENT)
def test_networks_trained_by_steps_say_what_to_do(name):
    model, y = GRADIENT[name]
    with pytest.raises(TypeError, match=r"partial_fit.*fit_blocks.*data_parallel"):
        clone(model).fit(in_array(X), y)


@pytest.mark.parametrize("method", ["partial_fit", "forget"])
def test_streams_take_rows_in_memory(method):
    model = sa.BRMPRegressor().fit(X, TARGETS)
    with pytest.raises(TypeError, match=r"in memory here, got a dask Array.*partial_fit"):
        getattr(model, method)(in_array(X), TARGETS)


# ---- processes ----


@dataclass(frozen=True)
class DyingTargets(NumberTargets):
    """Targets whose process ends, once, in the middle of a pass, where a block begins with a certain one."""

    flag: Path = None
    at: float = 0.0

    def matrix(self, coded):
        if coded[0, 0] == self.at and not self.flag.exists():
            self.flag.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().matrix(coded)


class DyingRegressor(sa.BRMPRegressor):
    """A regressor whose worker dies."""

    def _targets_of(self, y, X, before=None, classes=None):
        targets, y = super()._targets_of(y, X, before, classes)
        return DyingTargets(targets.n_columns, targets.one_dimensional, flag=self._flag, at=TARGETS[200, 0]), y


class Unpicklable:
    """A callback that must stay where it is."""

    def __init__(self):
        self.lock, self.blocks = Lock(), 0

    def setup(self, *args, **kwargs):
        """Nothing."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, *args, **kwargs):
        """Count."""
        self.blocks += 1


@pytest.mark.parametrize("name", ["correlation", "closed form"])
def test_processes_give_the_local_fit(cluster, name):
    model, y = CLOSED_FORM[name]
    local = clone(model).fit(X, y, WEIGHTS)
    with cluster.as_current():
        found = clone(model).fit(in_array(X).persist(), in_array(y), WEIGHTS)
        lazy = found.predict(in_array(X)).compute()
    np.testing.assert_allclose(outputs(found, X), outputs(local, X), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(lazy, local.predict(X), rtol=1e-8, atol=1e-8)


def test_a_killed_worker_is_survived(cluster, tmp_path):
    model = DyingRegressor(solver="qr")
    model._flag = tmp_path / "died"
    before = set(cluster.run(os.getpid).values())
    with cluster.as_current():
        model.fit(da.from_array(X, chunks=(100, -1)), TARGETS)
    assert int(model._flag.read_text()) in before
    np.testing.assert_allclose(model.coef_, sa.BRMPRegressor(solver="qr").fit(X, TARGETS).coef_, atol=1e-10)
    assert model.n_samples_seen_ == len(X)


@pytest.mark.skipif(not hasattr(CallbackSupportMixin, "set_callbacks"), reason="callbacks need scikit-learn 1.9")
def test_callbacks_do_not_travel(cluster):
    callback = Unpicklable()
    model = sa.BRMPRegressor(solver="qr").set_callbacks(callback)
    with cluster.as_current():
        model.fit(in_array(X), TARGETS)
    assert callback.blocks > 0
    assert not any("callback" in key for key in vars(detached(model)))


def test_frames_of_other_known_divisions_are_refused():
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    X, y = load_diabetes(return_X_y=True)
    rows = frames.from_pandas(pandas.DataFrame(X, columns=[f"c{i}" for i in range(10)]), npartitions=3)
    targets = pandas.Series(y)
    moved = frames.from_pandas(targets.set_axis(np.arange(1000, 1000 + len(y))), npartitions=3)
    with pytest.raises(ValueError, match="rows go together by position"):
        sa.BRMPRegressor().fit(rows, moved)
    recut = frames.from_pandas(targets, npartitions=2)
    expected = sa.BRMPRegressor().fit(X, y).coef_
    np.testing.assert_allclose(sa.BRMPRegressor().fit(rows, recut).coef_, expected, rtol=1e-8)
