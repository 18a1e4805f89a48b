"""Fits on blocks: the fit of the same rows, whatever holds them, whenever they are interrupted, whoever watches."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.model_selection import GridSearchCV

from sklearn_analytic import (
    Blocks,
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
)
from sklearn_analytic.io import read_state
from tests.checks import tolerance
from tests.io.storage import STORAGE

N = 240
ESTIMATORS = {
    "brmp": BRMPRegressor((8,), alpha=0.1, random_state=0),
    "brmp_auto": BRMPRegressor(),
    "brmp_qr": BRMPRegressor(solver="qr", alpha="gcv"),
    "brmp_recursive": BRMPRegressor(solver="recursive", alpha=0.5),
    "brmp_rbf": BRMPRegressor((9,), hidden="rbf", alpha=0.1, random_state=0),
    "brmp_classifier": BRMPClassifier((8,), hidden="sampled", alpha=0.1, random_state=0),
    "cpnet": CPNetClassifier((6,), n_modules=2, random_state=0),
    "closed_form": ClosedFormMLP((6, 5), hidden="random", random_state=0),
    "closed_form_regressor": ClosedFormMLPRegressor((6,), hidden="forward", random_state=0),
}
TREES = {
    "closed_form_auto": ClosedFormMLP((5, 5, 5), random_state=0),
    "closed_form_leaf": ClosedFormMLPRegressor((12,), hidden="leaf", random_state=0),
}


def made(name):
    return clone((ESTIMATORS | TREES)[name])


def data(estimator, n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4)).round(3)
    score = X[:, 0] - X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n).round(3)
    y = np.array(["no", "perhaps", "yes"])[np.digitize(score, [-0.5, 0.5])] if is_classifier(estimator) else score
    return X, y, rng.uniform(0.5, 2, n).round(3)


def outputs(estimator, X):
    """All that predictions are made of."""
    names = ("decision_function", "predict_proba") if is_classifier(estimator) else ("predict",)
    return [np.asarray(getattr(estimator, name)(X)) for name in names if hasattr(estimator, name)]


def assert_same_fit(one, two, X, bound=1e-8):
    for a, b in zip(outputs(one, X), outputs(two, X), strict=True):
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * max(1.0, np.abs(b).max()))
    assert one.n_samples_seen_ == two.n_samples_seen_
    if is_classifier(one):
        assert one.classes_.tolist() == two.classes_.tolist()
        assert (one.predict(X) == two.predict(X)).all()


def assert_same_bits(one, two, X):
    for a, b in zip(outputs(one, X), outputs(two, X), strict=True):
        np.testing.assert_array_equal(a, b)


def cut(*arrays, size=50):
    for first in range(0, arrays[0].shape[0], size):
        yield tuple(part[first : first + size] for part in arrays)


# ------------------------------------------------------------------ the law: blocks are the array


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("size", [7, 64, 1000])
def test_blocks_of_any_size_give_the_fit_of_the_array(name, size):
    estimator = made(name)
    X, y, weight = data(estimator)
    blocks = Blocks.from_arrays(X, y, weight, block_size=size)
    assert_same_fit(made(name).fit_blocks(blocks), estimator.fit(X, y, weight), X)


@pytest.mark.parametrize("name", TREES)
def test_blocks_grow_the_trees_of_the_array(name):
    X, y, _ = data(made(name))
    blocks = Blocks.from_iterable(list(cut(X, y)))
    assert_same_fit(made(name).fit_blocks(blocks), made(name).fit(X, y), X)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_any_storage_gives_the_fit_of_the_array(storage, tmp_path):
    name = "cpnet"  # text, weights and four passes
    X, y, weight = data(made(name))
    blocks = STORAGE[storage](X, y, weight, tmp_path, 64, 1)
    model, expected = made(name).fit_blocks(blocks), made(name).fit(X, y, weight)
    if hasattr(model, "feature_names_in_"):
        assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
        del model.feature_names_in_
    assert_same_fit(model, expected, X)


@pytest.mark.parametrize("name", ["brmp_classifier", "cpnet", "closed_form"])
@pytest.mark.parametrize("class_weight", ["balanced", {"no": 2.0, "yes": 0.5}])
def test_class_weights(name, class_weight):
    estimator = made(name).set_params(class_weight=class_weight)
    X, y, weight = data(estimator)
    order = np.argsort(y)  # every block has one class or two
    X, y, weight = X[order], y[order], weight[order]
    blocks = Blocks.from_arrays(X, y, weight, block_size=31)
    assert_same_fit(clone(estimator).fit_blocks(blocks), estimator.fit(X, y, weight), X)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_single_precision(name):
    X, y, _ = data(made(name))
    X = X.astype(np.float32)
    expected = made(name).fit(X, y)
    assert_same_fit(made(name).fit_blocks(Blocks.from_arrays(X, y, block_size=100)), expected, X, tolerance(np.float32))


@pytest.mark.parametrize("name", ["brmp", "brmp_auto", "closed_form_regressor"])
def test_several_targets(name):
    X, y, _ = data(made(name))
    Y = np.column_stack([y, X[:, 1] ** 2])
    blocks = Blocks.from_arrays(X, Y, block_size=100)
    assert_same_fit(made(name).fit_blocks(blocks), made(name).fit(X, Y), X)
    column = Blocks.from_arrays(X, y[:, None], block_size=100)
    assert made(name).fit_blocks(column).predict(X).shape == made(name).fit(X, y[:, None]).predict(X).shape


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_several_labels(make):
    X, _, _ = data(made("closed_form"))
    Y = (X[:, :3] > 0.5).astype(int)
    blocks = Blocks.from_iterable([(x, make(y)) for x, y in cut(X, Y)])
    model = made("closed_form").fit_blocks(blocks)
    assert_same_fit(model, made("closed_form").fit(X, Y), X)
    streamed = made("closed_form").fit_blocks(cut(X, Y))
    assert streamed.predict(X).shape == Y.shape


@pytest.mark.parametrize("name", ESTIMATORS)
def test_sparse_blocks(name):
    X, y, _ = data(made(name))
    X[np.abs(X) < 1] = 0
    blocks = Blocks.from_iterable([(sparse.csr_matrix(x), y) for x, y in cut(X, y)])
    assert_same_fit(made(name).fit_blocks(blocks), made(name).fit(sparse.csr_array(X), y), X)


@pytest.mark.parametrize("name", ["brmp", "cpnet", "closed_form"])
def test_weights_in_some_blocks_alone(name):
    X, y, weight = data(made(name))
    weight[: N // 2] = 1
    blocks = [*cut(X[: N // 2], y[: N // 2]), *cut(X[N // 2 :], y[N // 2 :], weight[N // 2 :])]
    assert_same_fit(made(name).fit_blocks(Blocks.from_iterable(blocks)), made(name).fit(X, y, weight), X)


def test_one_number_weighs_a_block():
    X, y, _ = data(made("brmp"))
    blocks = Blocks.from_iterable([(X[:100], y[:100], 2.0), (X[100:], y[100:])])
    expected = made("brmp").fit(X, y, np.r_[np.full(100, 2.0), np.ones(N - 100)])
    assert_same_fit(made("brmp").fit_blocks(blocks), expected, X)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_of_weight_zero_do_not_count(name):
    X, y, weight = data(made(name))
    weight[50:100] = 0
    blocks = Blocks.from_arrays(X, y, weight, block_size=50)
    assert_same_fit(made(name).fit_blocks(blocks), made(name).fit(X, y, weight), X)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_iterator_is_the_stream_of_its_blocks(name):
    X, y, weight = data(made(name))
    expected = made(name)
    for x, t, w in cut(X, y, weight):
        expected.partial_fit(x, t, sample_weight=w)
    for blocks in (list(cut(X, y, weight)), cut(X, y, weight), iter(Blocks.from_arrays(X, y, weight, block_size=50))):
        assert_same_fit(made(name).fit_blocks(blocks), expected, X)


@pytest.mark.parametrize("name", ["brmp", "brmp_classifier", "cpnet"])
def test_an_iterator_is_read_once(name):
    X, y, _ = data(made(name))
    blocks = iter(list(cut(X, y)))
    made(name).fit_blocks(blocks)
    assert next(blocks, None) is None


def test_names_of_columns_are_known_while_the_fit_goes_on(tmp_path):
    X, y, _ = data(made("brmp"))
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    blocks = STORAGE["parquet"](X, y, None, tmp_path, 64, 1)
    model = made("brmp").fit_blocks(blocks)
    assert_same_bits(model, made("brmp").fit_blocks(Blocks.from_arrays(frame, y, block_size=64)), frame)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    assert not hasattr(model.fit_blocks(Blocks.from_arrays(X, y)), "feature_names_in_")


# What docs/user_guide/out_of_core.md says: passes over all of X, that over the targets apart.
PASSES = {
    "brmp": 1,
    "brmp_auto": 1,
    "brmp_qr": 1,
    "brmp_recursive": 1,
    "brmp_rbf": 3,
    "brmp_classifier": 3,
    "cpnet": 4,
    "closed_form": 4,
    "closed_form_regressor": 4,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_number_of_passes(name):
    X, y, _ = data(made(name))
    read = []

    def blocks():
        for block in cut(X, y):
            read.append(1)
            yield block

    made(name).fit_blocks(Blocks.from_iterable(blocks, prefetch=0))
    assert len(read) == 1 + 5 + 5 * PASSES[name]


# ------------------------------------------------------------------ memory and threads


@pytest.mark.parametrize("name", ["brmp_auto", "brmp_qr", "brmp_rbf", "cpnet", "closed_form"])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_few_blocks_are_in_memory(name, prefetch):
    X, y, _ = data(made(name))
    alive, most = weakref.WeakSet(), []

    class Rows(np.ndarray):
        """Rows that can be counted: a set of plain arrays would compare them."""

        __hash__ = object.__hash__
        __eq__ = object.__eq__

    def blocks():
        for x, t in cut(X, y, size=12):
            held = np.array(x).view(Rows)
            alive.add(held)
            most.append(len(alive))
            yield held, t
            del held

    made(name).fit_blocks(Blocks.from_iterable(blocks, prefetch=prefetch))
    assert len(most) >= 2 * N // 12
    assert max(most) <= prefetch + 2
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_no_thread_outlives_a_failed_fit(prefetch, error):
    X, y, _ = data(made("brmp"))
    passes = []

    def blocks():
        passes.append(0)
        for number, block in enumerate(cut(X, y)):
            if len(passes) == 3 and number == 2:
                raise error("gone")
            yield block

    with pytest.raises(error, match="gone"):
        made("brmp").fit_blocks(Blocks.from_iterable(blocks, prefetch=prefetch))
    assert [thread for thread in threading.enumerate() if thread.name == "read-ahead"] == []


# ------------------------------------------------------------------ errors leave the estimator as it was


def changing(*versions):
    """A source whose passes differ: the last version stays."""
    left = list(versions)
    return Blocks.from_iterable(lambda: iter(left.pop(0) if len(left) > 1 else left[0]))


def bad_sources():
    X, y, weight = data(made("brmp"))
    good, late = list(cut(X, y)), X.copy()
    late[230, 1] = np.inf
    endless = y.copy()
    endless[230] = np.inf
    return {
        "empty": (Blocks.from_iterable([]), "no rows: the source is empty"),
        "no_rows": (Blocks.from_iterable([(X[:0], y[:0])]), "no rows: the source is empty"),
        "empty_iterator": (iter([]), "empty or already exhausted"),
        "once": (changing(good, []), "once and then none"),
        "X_longer": (Blocks.from_iterable([*good, (X[:5], y[:4])]), "Block 5 has 5 rows and 4 targets"),
        "weights": (Blocks.from_iterable([*good, (X[:5], y[:5], weight[:4])]), r"Block 5 has 5 targets and weights"),
        "negative_weights": (Blocks.from_iterable([(X, y, -weight)]), "non-negative"),
        "zero_weights": (Blocks.from_iterable([(X, y, 0 * weight)]), "weights are zero"),
        "shorter": (changing(good, good, good[:3]), "ended after 3 blocks; in the first pass it had 5"),
        "longer": (changing(good, good, [*good, good[0]]), "Block 5 had 0 rows in the first pass and has 50 now"),
        "other_sizes": (changing(good, good, list(cut(X, y, size=48))), "Block 0 had 50 rows .* and has 48 now"),
        "columns": (Blocks.from_iterable([*good, (X[:, :3], y)]), "Block 5: X has 3 features, but .* expecting 4"),
        "flat_X": (Blocks.from_iterable([(X[:, 0], y)]), "2D array"),
        "infinite_X": (Blocks.from_arrays(late, y, block_size=50), "Block 4: Input .*contains infinity"),
        "infinite_y": (Blocks.from_arrays(X, endless, block_size=50), "Input y contains infinity"),
        "mixed_shapes": (Blocks.from_iterable([*good, (X, y[:, None])]), "Block 5 has targets of shape"),
        "no_pair": (Blocks.from_iterable([*good, X]), r"Block 5 must be \(X, y\)"),
        "no_pair_in_iterator": ([*good, X], r"Block 5 must be \(X, y\)"),
        "text": (
            Blocks.from_iterable([*good, (np.full(X.shape, "a"), y)]),
            "Block 5: .*'a', and held numbers before",
        ),
    }


@pytest.mark.parametrize("case", bad_sources())
def test_a_bad_source_is_a_clear_error(case):
    blocks, message = bad_sources()[case]
    estimator = made("brmp").fit(*data(made("brmp"), seed=1)[:2])
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match=message):
        estimator.fit_blocks(blocks)
    assert pickle.dumps(estimator) == before


@pytest.mark.parametrize("name", ["brmp", "cpnet", "closed_form"])
def test_blocks_are_no_array(name):
    X, y, _ = data(made(name))
    blocks = Blocks.from_arrays(X, y)
    model = made(name).fit(X, y)
    for call in (
        lambda: made(name).fit(blocks, y),
        lambda: model.predict(blocks),
        lambda: model.partial_fit(blocks, y),
    ):
        with pytest.raises(TypeError, match="X is Blocks, which fit_blocks takes"):
            call()


def test_names_that_change_in_the_middle_are_an_error():
    pd = pytest.importorskip("pandas")
    X, y, _ = data(made("brmp"))
    frames = [pd.DataFrame(X, columns=names) for names in (list("abcd"), list("abdc"))]
    with pytest.raises(ValueError, match="Block 1: The feature names should match"):
        made("brmp").fit_blocks(Blocks.from_iterable([(frame, y) for frame in frames]))


def test_labels_that_change_kind_are_an_error():
    X, y, _ = data(made("brmp_classifier"))
    blocks = [(X, y), (X, np.arange(N) % 2)]
    with pytest.raises(ValueError, match="numbers and strings cannot be mixed"):
        made("brmp_classifier").fit_blocks(Blocks.from_iterable(blocks))
    with pytest.raises(ValueError, match="cannot be mixed"):
        made("brmp_classifier").fit_blocks(blocks)


@pytest.mark.parametrize("name", ["brmp_classifier", "cpnet", "closed_form"])
@pytest.mark.parametrize("once", [True, False])
def test_one_class_is_an_error(name, once):
    X, _, _ = data(made(name))
    blocks = list(cut(X, np.full(N, "one")))
    with pytest.raises(ValueError, match="contains one class"):
        made(name).fit_blocks(blocks if once else Blocks.from_iterable(blocks))


def test_balanced_weights_need_all_labels_before():
    X, y, _ = data(made("cpnet"))
    with pytest.raises(ValueError, match="class_weight='balanced' in fit_blocks on an iterator needs"):
        made("cpnet").set_params(class_weight="balanced").fit_blocks(cut(X, y))


# ------------------------------------------------------------------ checkpoints


class Interrupted(Exception):
    """What happens to a long job."""


def failing(blocks, fail_at):
    """A source that fails when block number ``fail_at``, of all that it has ever read, is asked for."""
    read = [0]

    def again():
        for block in blocks:
            if read[0] == fail_at:
                raise Interrupted
            read[0] += 1
            yield block

    return again


@pytest.mark.parametrize("name", [*ESTIMATORS, "closed_form_leaf"])
def test_an_interrupted_fit_goes_on_to_the_same_bits(name, tmp_path):
    """Wherever it is interrupted: in the passes before the sums, at every block of theirs, before any checkpoint."""
    X, y, weight = data(made(name))
    blocks, path = list(cut(X, y, weight, size=60)), tmp_path / "c.npz"
    blocks.insert(2, (X[:0], y[:0], weight[:0]))
    expected = made(name).fit_blocks(Blocks.from_iterable(blocks, prefetch=0))
    resumed = set()
    for fail_at in range(1000):
        model = made(name)
        try:
            source = Blocks.from_iterable(failing(blocks, fail_at), prefetch=0)
            model.fit_blocks(source, checkpoint=path, checkpoint_every=2)
            break  # it was never interrupted
        except Interrupted:
            assert not hasattr(model, "n_features_in_")
            resumed.add(read_state(path)[1]["blocks_done"] if path.exists() else 0)
            model.fit_blocks(Blocks.from_iterable(blocks, prefetch=0), checkpoint=path)
        assert_same_bits(model, expected, X)
        assert not path.exists()
    assert resumed == {0, 2}


def test_an_interrupted_second_pass_goes_on(tmp_path):
    """solver="auto" reads again where the Gram is not safe: the sums of the first pass must not be taken for it."""
    X, y, _ = data(made("brmp_auto"))
    X[:, 3] = X[:, 2] + 1e-7 * X[:, 3]
    blocks, path = list(cut(X, y)), tmp_path / "c.npz"
    expected = BRMPRegressor().fit_blocks(Blocks.from_iterable(blocks, prefetch=0))
    assert expected.solver_used_ == "qr"
    kinds = set()
    for fail_at in range(1, 16):
        model = BRMPRegressor()
        with pytest.raises(Interrupted):
            model.fit_blocks(
                Blocks.from_iterable(failing(blocks, fail_at), prefetch=0), checkpoint=path, checkpoint_every=1
            )
        if path.exists():
            kinds.add(type(read_state(path)[0]["_statistic"]).__name__)
        model.fit_blocks(Blocks.from_iterable(blocks), checkpoint=path)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        assert model.solver_used_ == "qr" and model.n_samples_seen_ == N
    assert kinds == {"NormalEquations", "TriangularFactor"}


@pytest.mark.parametrize("name", ["brmp_rbf", "brmp_classifier", "cpnet", "closed_form"])
def test_an_interrupted_stream_goes_on(name, tmp_path):
    X, y, _ = data(made(name))
    blocks, path = list(cut(X, y)), tmp_path / "c.npz"
    expected = made(name).fit_blocks(iter(blocks))
    for fail_at in range(1, 5):
        model = made(name).fit(X[:50] * 2, y[:50])  # another fit before
        with pytest.raises(Interrupted):
            model.fit_blocks(failing(blocks, fail_at)(), checkpoint=path, checkpoint_every=1)
        assert read_state(path)[1]["blocks_done"] == fail_at
        model.fit_blocks(iter(blocks), checkpoint=path)
        assert_same_bits(model, expected, X)
        assert not path.exists()


@pytest.mark.parametrize("once", [True, False])
def test_rows_without_weight_are_counted_when_a_fit_goes_on(once, tmp_path):
    X, y, weight = data(made("brmp_classifier"))
    weight[30:80] = 0
    blocks, path = list(cut(X, y, weight)), tmp_path / "c.npz"
    estimator = made("brmp_classifier").set_params(class_weight={"no": 0.0})
    kind = iter if once else Blocks.from_iterable
    expected = clone(estimator).fit_blocks(kind(blocks))
    interrupted(path, clone(estimator), blocks, 3 if once else 18, once)
    assert read_state(path)[1]["rows_done"] == 50 * read_state(path)[1]["blocks_done"]
    assert_same_bits(estimator.fit_blocks(kind(blocks), checkpoint=path), expected, X)


def test_a_seed_that_was_not_given_is_kept(tmp_path):
    X, y, _ = data(made("cpnet"))
    path, blocks = tmp_path / "c.npz", list(cut(X, y))
    model = made("cpnet").set_params(random_state=None)
    with pytest.raises(Interrupted):
        model.fit_blocks(Blocks.from_iterable(failing(blocks, 22), prefetch=0), checkpoint=path, checkpoint_every=1)
    network = read_state(path)[0]["_learned"].network
    model.fit_blocks(Blocks.from_iterable(blocks), checkpoint=path)
    x = X[:3]
    from sklearn_analytic.backend import get_backend

    np.testing.assert_array_equal(
        model._learned.network.features(x, get_backend("cpu")), network.features(x, get_backend("cpu"))
    )


def interrupted(path, estimator, blocks, fail_at, once=False):
    """A checkpoint of a fit that failed."""
    source = failing(blocks, fail_at)
    with pytest.raises(Interrupted):
        estimator.fit_blocks(
            source() if once else Blocks.from_iterable(source, prefetch=0), checkpoint=path, checkpoint_every=1
        )
    assert path.exists()


@pytest.mark.parametrize("once", [True, False])
def test_a_checkpoint_of_other_blocks_is_refused(once, tmp_path):
    X, y, _ = data(made("brmp"))
    path = tmp_path / "c.npz"
    kinds = {True: iter, False: Blocks.from_iterable}
    interrupted(path, made("brmp"), list(cut(X, y)), 3 if once else 9, once)
    kept = path.read_bytes()
    for blocks, message in [
        (cut(X, y, size=49), "other rows, targets or weights"),
        (cut(X, -y), "other rows, targets or weights"),
        (cut(X, y, 2 + 0 * y), "other rows, targets or weights"),
        (cut(X + 1, y), "other rows, targets or weights"),
        (cut(X[:100], y[:100]), "first blocks of this .* have 100" if once else "other rows, targets or weights"),
        (cut(X[:, :3], y), "other rows, targets or weights" if once else "another n_features_in_"),
    ]:
        blocks = list(blocks)
        estimator = made("brmp")
        with pytest.raises(ValueError, match=message):
            estimator.fit_blocks(kinds[once](blocks), checkpoint=path)
        assert not hasattr(estimator, "n_features_in_")
        assert path.read_bytes() == kept
    with pytest.raises(ValueError, match="is no checkpoint of a fit of"):
        made("brmp").fit_blocks(kinds[not once](list(cut(X, y))), checkpoint=path)


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    X, y, _ = data(made("brmp_classifier"))
    path = tmp_path / "c.npz"
    interrupted(path, made("brmp_classifier"), list(cut(X, y)), 18)
    other = Blocks.from_iterable(list(cut(X, np.where(y == "no", "never", y))))
    with pytest.raises(ValueError, match="another classes_: remove it to begin anew"):
        made("brmp_classifier").fit_blocks(other, checkpoint=path)


def test_a_checkpoint_of_another_estimator_is_refused(tmp_path):
    X, y, _ = data(made("brmp"))
    path, blocks = tmp_path / "c.npz", list(cut(X, y))
    interrupted(path, made("brmp"), blocks, 9)
    for estimator, message in [
        (made("closed_form_regressor"), "holds statistics of BRMPRegressor, not of ClosedFormMLPRegressor"),
        (made("brmp").set_params(activation="relu"), "activation='tanh', this estimator has activation='relu'"),
        (made("brmp").set_params(random_state=1), "random_state=0, this estimator has random_state=1"),
    ]:
        with pytest.raises(ValueError, match=message):
            estimator.fit_blocks(Blocks.from_iterable(blocks), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is no file of statistics, or is damaged"):
        made("brmp").fit_blocks(Blocks.from_iterable(blocks), checkpoint=path)


def test_saved_statistics_are_no_checkpoint(tmp_path):
    """They would be counted twice, and the file be removed."""
    X, y, _ = data(made("brmp"))
    path = tmp_path / "s.npz"
    made("brmp").fit(X, y).save_statistics(path)
    with pytest.raises(ValueError, match="Give checkpoint another name"):
        made("brmp").fit_blocks(Blocks.from_arrays(X, y), checkpoint=path)
    assert path.exists()


def test_a_checkpoint_that_cannot_be_written_is_known_at_once(tmp_path):
    X, y, _ = data(made("brmp"))
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        made("brmp").fit_blocks(Blocks.from_arrays(X, y), checkpoint=tmp_path / "nowhere" / "c.npz")
    with pytest.raises(ValueError, match="checkpoint_every must be a positive integer"):
        made("brmp").fit_blocks(Blocks.from_arrays(X, y), checkpoint=tmp_path / "c.npz", checkpoint_every=0)


def test_a_checkpoint_may_be_solved_as_it_is(tmp_path):
    """What has been learned so far."""
    X, y, _ = data(made("brmp_auto"))
    interrupted(tmp_path / "c.npz", made("brmp_auto"), list(cut(X, y)), 9)
    model = made("brmp_auto").load_statistics(tmp_path / "c.npz")
    assert_same_fit(model, made("brmp_auto").fit(X[:150], y[:150]), X)


# ------------------------------------------------------------------ statistics


@pytest.mark.parametrize("name", [*ESTIMATORS, *TREES])
@pytest.mark.parametrize("kind", ["arrays", "frame"])
def test_statistics_come_back_to_the_bit(name, kind, tmp_path):
    X, y, weight = data(made(name))
    if kind == "frame":
        X = pytest.importorskip("pandas").DataFrame(X, columns=["a", "b", "c", "d"])
        y = y.astype(object) if y.dtype.kind == "U" else y
    model = made(name).fit(X, y, weight).save_statistics(tmp_path / "s.npz")
    other = made(name).load_statistics(tmp_path / "s.npz")
    assert_same_bits(other, model, X)
    assert vars(other).keys() == vars(model).keys()
    if kind == "frame":
        assert other.feature_names_in_.dtype == object and other.feature_names_in_.tolist() == list(X.columns)
    if is_classifier(model):
        assert other.classes_.dtype == model.classes_.dtype and other.predict(X).tolist() == model.predict(X).tolist()
    more, t, w = data(made(name), 60, seed=3)
    more = type(X)(more, columns=X.columns) if kind == "frame" else more
    for part in (model, other):
        part.partial_fit(more, t, sample_weight=w)
    assert_same_bits(other, model, X)


IMAGES = {"patch": {"hidden": "patch"}, "masked": {"hidden": "masked"}}


@pytest.mark.parametrize("kind", IMAGES)
def test_statistics_of_images(kind, rng, tmp_path):
    X = rng.standard_normal((120, 64)).astype(np.float32)
    y = (X[:, 10] + X[:, 20] > 0).astype(int)
    model = ClosedFormMLP((20,), image_shape=(8, 8), random_state=0, **IMAGES[kind])
    other = clone(model)
    model.fit(X, y).save_statistics(tmp_path / "s.npz")
    assert_same_bits(other.load_statistics(tmp_path / "s.npz"), model, X)


def test_statistics_of_labels(tmp_path):
    X, _, _ = data(made("closed_form"))
    Y = (X[:, :3] > 0).astype(int)
    model = made("closed_form").fit(X, Y).save_statistics(tmp_path / "s.npz")
    other = made("closed_form").load_statistics(tmp_path / "s.npz")
    assert_same_bits(other, model, X)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["brmp", "brmp_auto", "brmp_qr", "brmp_classifier", "closed_form"])
@pytest.mark.parametrize("alpha", [3.0, 0.01, "gcv"])
def test_another_ridge_needs_no_row_again(name, alpha, tmp_path):
    X, y, _ = data(made(name))
    made(name).fit(X, y).save_statistics(tmp_path / "s.npz")
    changed = made(name).set_params(alpha=alpha)
    assert_same_fit(clone(changed).load_statistics(tmp_path / "s.npz"), changed.fit(X, y), X)


@pytest.mark.parametrize("exit", ["last", "mean", "loo"])
def test_another_exit_needs_no_row_again(exit, tmp_path):
    estimator = made("cpnet").set_params(alpha="loo")
    X, y, _ = data(estimator)
    clone(estimator).fit(X, y).save_statistics(tmp_path / "s.npz")
    changed = estimator.set_params(exit=exit)
    assert_same_fit(clone(changed).load_statistics(tmp_path / "s.npz"), changed.fit(X, y), X)


def test_the_recursion_has_its_ridge_for_good(tmp_path):
    X, y, _ = data(made("brmp_recursive"))
    made("brmp_recursive").fit(X, y).save_statistics(tmp_path / "s.npz")
    changed = made("brmp_recursive").set_params(alpha=2.0)
    with pytest.raises(ValueError, match=r"began with alpha=0\.5 and cannot change to 2\.0"):
        changed.load_statistics(tmp_path / "s.npz")
    assert not hasattr(changed, "coef_")


@pytest.mark.filterwarnings("ignore::sklearn_analytic.UnlearningWarning")
@pytest.mark.parametrize("name", ["brmp", "brmp_auto", "brmp_classifier"])
def test_loaded_statistics_merge_and_forget(name, tmp_path):
    X, y, _ = data(made(name))
    first = made(name).fit(X[:50], y[:50])
    for number, part in enumerate(cut(X, y, size=120)):
        shard = pickle.loads(pickle.dumps(first))
        shard.partial_fit(*part).forget(X[:50], y[:50]).save_statistics(tmp_path / f"{number}.npz")
    total = made(name).load_statistics(tmp_path / "0.npz").merge(made(name).load_statistics(tmp_path / "1.npz"))
    assert total.n_samples_seen_ == N
    more = pickle.loads(pickle.dumps(first)).partial_fit(X, y).forget(X[:50], y[:50])
    assert_same_fit(total, more, X)


def test_loaded_shards_merge(tmp_path):
    X, y, _ = data(made("closed_form"))
    model = made("closed_form").fit(X[:120], y[:120])
    model.shard().partial_fit(X[120:], y[120:]).save_statistics(tmp_path / "s.npz")
    loaded = made("closed_form").load_statistics(tmp_path / "s.npz")
    together = pickle.loads(pickle.dumps(model)).partial_fit(X[120:], y[120:])
    assert_same_fit(model.merge(loaded), together, X)


def test_loading_forgets_an_earlier_fit(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y, _ = data(made("brmp"))
    made("brmp").fit(X, y).save_statistics(tmp_path / "s.npz")
    model = made("brmp").fit(pd.DataFrame(X[:, :2], columns=["a", "b"]), y).load_statistics(tmp_path / "s.npz")
    assert model.n_features_in_ == 4 and not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"hidden_layer_sizes": (8,)}, [[8], np.array([8])]),
        ({"hidden_layer_sizes": 8}, [np.int64(8)]),
        ({"random_state": 0}, [np.int64(0)]),
        ({"random_state": np.random.RandomState(0)}, [np.random.RandomState(5)]),
    ],
)
def test_parameters_that_mean_the_same_are_the_same(given, same, tmp_path):
    X, y, _ = data(made("brmp"))
    made("brmp").set_params(**given).fit(X, y).save_statistics(tmp_path / "s.npz")
    (name,) = given
    for value in same:
        made("brmp").set_params(**{name: value}).load_statistics(tmp_path / "s.npz")


def test_statistics_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="has seen no rows yet: fit it before save_statistics"):
        made("brmp").save_statistics(tmp_path / "s.npz")
    from sklearn_analytic.io import write_state

    write_state(tmp_path / "other.npz", {}, {"made": "elsewhere"})
    with pytest.raises(ValueError, match="holds no statistics of an estimator"):
        made("brmp").load_statistics(tmp_path / "other.npz")


# ------------------------------------------------------------------ callbacks

callback = pytest.importorskip  # scikit-learn 1.9 and later has them


class Recorder:
    """Begins and ends of tasks, with the names of those around them."""

    def __init__(self, answer=None):
        self.events, self.answer = [], answer

    def setup(self, estimator, context):
        self.events.append(("setup",))

    def teardown(self, estimator, context):
        self.events.append(("teardown",))

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.events.append(("begin", *_path(context)))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, X=None, y=None, **kwargs):
        self.events.append(("end", *_path(context)))
        return self.answer


def _path(context):
    from sklearn.callback._callback_context import get_context_path

    return tuple((part.task_name, part.task_id, part.max_subtasks) for part in get_context_path(context))


def watched(name, blocks, *callbacks, **options):
    callback("sklearn.callback")
    estimator = made(name).set_callbacks(*callbacks)
    if isinstance(blocks, tuple):
        return estimator.fit(*blocks)
    return estimator.fit_blocks(blocks, **options)


def names_of(recorder, kind):
    return [[part[0] for part in event[1:]] for event in recorder.events if event[0] == kind]


@pytest.mark.parametrize("name", ["brmp", "brmp_auto", "cpnet", "closed_form"])
@pytest.mark.parametrize("kind", ["blocks", "iterator", "arrays"])
def test_callbacks_see_passes_and_blocks(name, kind):
    X, y, _ = data(made(name))
    recorder = Recorder()
    given = {
        "blocks": lambda: Blocks.from_arrays(X, y, block_size=50),
        "iterator": lambda: cut(X, y),
        "arrays": lambda: (X, y),
    }[kind]()
    model = watched(name, given, recorder)
    passes = ["accumulate"] if kind == "iterator" or name.startswith("brmp") else ["layers", "accumulate"]
    n_blocks = 1 if kind == "arrays" else 5
    wanted = [["fit", name] for name in passes] + [["fit", "accumulate", "block"]] * n_blocks + [["fit"]]
    for event in ("begin", "end"):
        assert sorted(names_of(recorder, event)) == sorted(wanted)
    assert recorder.events[0] == ("setup",) and recorder.events[-1] == ("teardown",)
    last = [event[-1] for event in recorder.events if event[0] == "begin" and event[-1][0] == "accumulate"]
    assert last[0][2] == (None if kind == "iterator" else n_blocks)
    assert_same_bits(model, made(name).fit(X, y) if kind == "arrays" else _again(name, kind, X, y), X)


def _again(name, kind, X, y):
    return made(name).fit_blocks(Blocks.from_arrays(X, y, block_size=50) if kind == "blocks" else cut(X, y))


def test_a_second_pass_is_another_group():
    X, y, _ = data(made("brmp_auto"))
    X[:, 3] = X[:, 2] + 1e-7 * X[:, 3]
    recorder = Recorder()
    watched("brmp_auto", Blocks.from_arrays(X, y, block_size=50), recorder)
    assert names_of(recorder, "begin").count(["fit", "accumulate"]) == 2
    assert names_of(recorder, "end").count(["fit", "accumulate", "block"]) == 10


def test_a_fit_that_goes_on_tells_of_what_is_left(tmp_path):
    X, y, _ = data(made("brmp"))
    blocks, recorder = list(cut(X, y)), Recorder()
    interrupted(tmp_path / "c.npz", made("brmp"), blocks, 9)
    watched("brmp", Blocks.from_iterable(blocks), recorder, checkpoint=tmp_path / "c.npz")
    assert names_of(recorder, "end").count(["fit", "accumulate", "block"]) == 2
    assert ("begin", ("fit", 0, None), ("accumulate", 0, 2)) in recorder.events


def test_a_failed_fit_tears_down():
    X, y, _ = data(made("brmp"))
    X[230] = np.inf
    recorder = Recorder()
    with pytest.raises(ValueError, match="infinity"):
        watched("brmp", Blocks.from_arrays(X, y, block_size=50), recorder)
    assert recorder.events[-1] == ("teardown",)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_no_thread_waits_while_an_error_is_remembered(error):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context, **kwargs):
            raise error

    X, y, _ = data(made("brmp"))
    with pytest.raises(error) as remembered:
        watched("brmp", Blocks.from_iterable(list(cut(X, y))), Failing())
    assert [thread for thread in threading.enumerate() if thread.name == "read-ahead"] == []
    del remembered


@pytest.mark.parametrize("name", ["brmp_auto", "brmp_classifier", "cpnet", "closed_form"])
@pytest.mark.parametrize("kind", ["blocks", "iterator"])
def test_a_callback_cannot_end_a_closed_form_fit(name, kind):
    """The fit is defined by all its rows."""
    X, y, _ = data(made(name))
    given = Blocks.from_arrays(X, y, block_size=50) if kind == "blocks" else cut(X, y)
    assert_same_bits(watched(name, given, Recorder(answer=True)), _again(name, kind, X, y), X)


@pytest.mark.parametrize("name", [*ESTIMATORS])
@pytest.mark.parametrize("kind", ["blocks", "iterator"])
def test_scores_by_block(name, kind):
    """The monitor's estimator is that of the rows so far; training rows are those of the first block."""
    monitor = callback("sklearn.callback").ScoringMonitor
    X, y, _ = data(made(name))
    held_out = data(made(name), 100, seed=5)

    def score(estimator, X_first, y_first):
        np.testing.assert_array_equal(X_first, X[:50])
        return {"rows": estimator.n_samples_seen_, "score": estimator.score(*held_out[:2])}

    watcher = monitor(scoring=score)
    given = Blocks.from_arrays(X, y, block_size=50) if kind == "blocks" else cut(X, y)
    model = watched(name, given, watcher)
    log = [entry for entry in watcher.get_logs().data if entry["task_name"] == "block"]
    assert [entry["rows"] for entry in log] == [50, 100, 150, 200, 240]
    assert log[-1]["score"] == pytest.approx(model.score(*held_out[:2]), abs=1e-12)
    metric = "accuracy" if is_classifier(model) else "r2"
    plain = monitor(scoring=metric)
    watched(name, Blocks.from_arrays(X, y, block_size=50), plain)
    scores = [entry[metric] for entry in plain.get_logs().data if entry["task_name"] == "block"]
    assert len(scores) == 5 and np.isfinite(scores).all()


def test_scores_of_a_fit_that_goes_on(tmp_path):
    monitor = callback("sklearn.callback").ScoringMonitor
    X, y, _ = data(made("brmp"))
    blocks = list(cut(X, y))
    for once, fail_at, kind in ((True, 3, iter), (False, 9, Blocks.from_iterable)):
        interrupted(tmp_path / "c.npz", made("brmp"), blocks, fail_at, once)
        watcher = monitor(scoring="r2")
        watched("brmp", kind(blocks), watcher, checkpoint=tmp_path / "c.npz")
        scores = [entry["r2"] for entry in watcher.get_logs().data if entry["task_name"] == "block"]
        assert len(scores) == 2 and np.isfinite(scores).all()


def test_first_blocks_smaller_than_the_columns_give_no_warning():
    monitor = callback("sklearn.callback").ScoringMonitor(scoring="r2")
    X, y, _ = data(made("brmp_auto"))
    watched("brmp_auto", Blocks.from_arrays(X, y, block_size=3), monitor)
    assert len([entry for entry in monitor.get_logs().data if entry["task_name"] == "block"]) == 80


def progress_bar(**options):
    pytest.importorskip("rich")
    return callback("sklearn.callback").ProgressBar(**options)


@pytest.mark.parametrize("name", ["brmp_auto", "cpnet", "closed_form"])
def test_progress_bars(name, capsys):
    X, y, _ = data(made(name))
    for given in ((X, y), Blocks.from_arrays(X, y, block_size=50), cut(X, y)):
        watched(name, given, progress_bar())
        output = capsys.readouterr().out
        assert type(made(name)).__name__ in output and "accumulate" in output and "100%" in output


def test_progress_bars_in_a_search(capsys):
    X, y, _ = data(made("brmp"))
    callback("sklearn.callback")
    search = GridSearchCV(made("brmp"), {"alpha": [0.1, 1.0]}, cv=2).set_callbacks(progress_bar())
    search.fit(X, y)
    output = capsys.readouterr().out
    assert "GridSearchCV" in output and "BRMPRegressor" in output
    plain = GridSearchCV(made("brmp"), {"alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), plain.predict(X))


def test_what_scikit_learn_keeps_is_not_in_the_file(tmp_path):
    X, y, _ = data(made("brmp_classifier"))
    path = tmp_path / "s.npz"
    with sklearn.config_context(enable_metadata_routing=True):
        saver = made("brmp_classifier").set_fit_request(sample_weight=True).set_output(transform="pandas")
        saver.fit(X, y).save_statistics(path)
        saver.fit_blocks(Blocks.from_arrays(X, y, block_size=50), checkpoint=tmp_path / "c.npz", checkpoint_every=1)
    plain = made("brmp_classifier").load_statistics(path)
    assert isinstance(plain.transform(X), np.ndarray)
    framed = made("brmp_classifier").set_output(transform="pandas").load_statistics(path)
    assert list(framed.transform(X).columns) == list(framed.get_feature_names_out())


def test_statistics_of_another_version_are_loaded_with_a_warning(tmp_path, monkeypatch):
    X, y, _ = data(made("brmp"))
    monkeypatch.setattr("sklearn_analytic.estimator.statistics_file.__version__", "0.0.1")
    made("brmp").fit(X, y).save_statistics(tmp_path / "s.npz")
    monkeypatch.undo()
    with pytest.warns(InconsistentVersionWarning, match=r"0\.0\.1"):
        made("brmp").load_statistics(tmp_path / "s.npz")


def test_a_block_without_weight_is_no_block_and_errors_name_theirs():
    X, y, _ = data(made("brmp"))
    zeros = [(X[:50], y[:50]), (X[50:80], y[50:80], np.zeros(30)), (X[80:], y[80:])]
    kept = np.r_[0:50, 80 : len(X)]
    expected = made("brmp").fit(X[kept], y[kept]).predict(X)
    for blocks in (iter(zeros), Blocks.from_iterable(zeros)):
        np.testing.assert_allclose(made("brmp").fit_blocks(blocks).predict(X), expected, rtol=1e-8, atol=1e-8)
    spoiled = [(X[:50], y[:50]), (np.full_like(X[:50], np.inf), y[:50])]
    for blocks in (iter(spoiled), Blocks.from_iterable(spoiled)):
        with pytest.raises(ValueError, match=r"Block 1: Input X? ?contains infinity"):
            made("brmp").fit_blocks(blocks)
