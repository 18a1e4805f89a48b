"""Pairs of columns and counts of levels in a whole fit: passes, streams, exports; and what noise may not do."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import sklearn_analytic
from sklearn_analytic import Blocks, ClosedFormMLP, ClosedFormMLPRegressor
from sklearn_analytic.closed_form.method import ClosedFormMethod
from sklearn_analytic.estimator import table as tables
from sklearn_analytic.features import Factor, LevelMeans, PairMeans
from sklearn_analytic.features._level_sums import LevelSums

pd = pytest.importorskip("pandas")
N = 1500
SMALL = {"hidden_layer_sizes": (20, 20, 20), "random_state": 0}
MODELS = {"classifier": ClosedFormMLP(**SMALL), "regressor": ClosedFormMLPRegressor(**SMALL)}
every = pytest.mark.parametrize("name", MODELS)


def table(n=N, seed=0):
    """A pair of categories and a pair of a category and a number that tell together what they do not tell alone."""
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(0)
    first, second = effect.standard_normal((15, 12)), effect.standard_normal((15, 9))
    first, second = (part - part.mean(axis=0) - part.mean(axis=1, keepdims=True) for part in (first, second))
    town, kind, size = rng.integers(0, 15, n), rng.integers(0, 12, n), rng.integers(1, 10, n)
    z = rng.standard_normal(n)
    score = first[town, kind] + second[town, size - 1] + 0.3 * z + 0.3 * rng.standard_normal(n)
    frame = pd.DataFrame({"z": z, "town": town, "kind": kind, "size": size / 4})
    return frame.assign(town=frame["town"].map("town {}".format), kind=frame["kind"].map("kind {}".format)), score


X, SCORE = table()
NEW = table(100, seed=1)[0]
NEW.loc[::7, "town"] = "another town"
NEW.loc[3::11, "size"] = np.nan
NEW.loc[4::11, "size"] = 0.3


def made(name):
    return clone(MODELS[name])


def target(name, score=SCORE):
    return np.where(score > 0, "high", "low") if name == "classifier" else score


def answers(model, rows=NEW):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


def parts(model):
    return model._learned.table.encoding.categories


@pytest.fixture(scope="module", params=list(MODELS))
def fitted(request):
    return request.param, made(request.param).fit(X, target(request.param))


def test_pairs_and_counts_are_read(fitted):
    name, model = fitted
    pairs = {part.columns for part in parts(model) if isinstance(part, PairMeans)}
    assert pairs == {(1, 2), (1, 3)}
    assert all(part.counted for part in parts(model) if isinstance(part, LevelMeans))
    assert model._learned.table.blind is None  # sums are not kept
    rows, score = table(2000, seed=2)
    without = made(name).fit(X.drop(columns="kind"), target(name)).score(rows.drop(columns="kind"), target(name, score))
    assert model.score(rows, target(name, score)) > without + 0.1


def test_blocks_order_and_weights_are_no_matter(fitted):
    name, model = fitted
    y = target(name)
    blocks = made(name).fit_blocks(Blocks.from_arrays(X, y, block_size=400))
    np.testing.assert_allclose(answers(blocks), answers(model), atol=1e-7)
    np.testing.assert_allclose(answers(made(name).fit(X[::-1], y[::-1])), answers(model), atol=1e-7)
    twice = made(name).fit(pd.concat([X, X]), np.concatenate([y, y]))
    np.testing.assert_allclose(answers(made(name).fit(X, y, np.full(N, 2.0))), answers(twice), atol=1e-7)


def test_dask_adds_up_pairs(fitted):
    dask = pytest.importorskip("dask.dataframe")
    name, model = fitted
    frame = dask.from_pandas(X.astype({"town": "category", "kind": "category"}), npartitions=3)
    np.testing.assert_allclose(answers(made(name).fit(frame, target(name))), answers(model), atol=1e-7)


@every
def test_streams_keep_their_pairs(name):
    more, score = table(600, seed=3)
    y, later = target(name), target(name, score)
    first = made(name).partial_fit(X, y, **({"classes": ["high", "low"]} if name == "classifier" else {}))
    shard = first.shard()
    whole = pickle.loads(pickle.dumps(first)).partial_fit(more, later)
    apart = first.merge(shard.partial_fit(more[:200], later[:200]).partial_fit(more[200:], later[200:]))
    np.testing.assert_allclose(answers(apart), answers(whole), atol=1e-7)
    assert any(isinstance(part, PairMeans) for part in parts(whole))


def test_models_are_kept(fitted, tmp_path):
    name, model = fitted
    np.testing.assert_array_equal(answers(pickle.loads(pickle.dumps(model))), answers(model))
    skops = pytest.importorskip("skops.io")
    again = skops.loads(skops.dumps(model), trusted=list(sklearn_analytic.SKOPS_TRUSTED_TYPES))
    np.testing.assert_array_equal(answers(again), answers(model))
    model.save_statistics(tmp_path / "s.npz")
    np.testing.assert_allclose(answers(made(name).load_statistics(tmp_path / "s.npz")), answers(model), atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pairs_are_in_the_graph(fitted, dtype):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    _, model = fitted
    session = runtime.InferenceSession(model.to_onnx(dtype=dtype).SerializeToString())
    given = {
        source.name: NEW[[source.name]].to_numpy(object if "string" in source.type else dtype)
        for source in session.get_inputs()
    }
    found = session.run(None, given)
    tolerance = 1e-5 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(np.reshape(found[-1], answers(model).shape), answers(model), atol=tolerance)


def test_a_pair_is_half_of_either_column(fitted):
    _, model = fitted
    shares = model.feature_importances_
    assert shares.shape == (4,) and np.isclose(shares.sum(), 1)
    encoding = model._learned.table.encoding
    ones = np.arange(1.0, encoding.n_columns + 1)
    by_hand, place = np.zeros(4), len(encoding.numbers) + len(encoding.lacking)
    by_hand[encoding.numbers] += ones[: len(encoding.numbers)]
    for part in encoding.categories:
        own = ones[place : place + part.n_columns].sum()
        np.add.at(by_hand, list(part.columns), own / len(part.columns))
        place += part.n_columns
    np.testing.assert_allclose(encoding.by_column(ones), by_hand)


def alike(n, seed=0):
    """Rows of which a quarter read alike, being levels of their own, in all folds."""
    rng = np.random.default_rng(seed)
    kind, z = rng.integers(0, 12, n), rng.integers(0, 40, n)
    town, alone = np.array([f"town {k}" for k in kind], dtype=object), rng.random(n) < 0.25
    town[alone] = [f"farm {k}" for k in range(alone.sum())]
    chance = np.where(alone, 0.3 + 0.4 * (np.sin(z) > 0), np.where(kind % 2 == 0, 0.03, 0.97))
    return pd.DataFrame({"town": town, "z": z}), np.where(rng.random(n) < chance, 1.0, 0.0)


@every
@pytest.mark.parametrize("most", [None, 400], ids=["all rows", "drawn rows"])
def test_rows_that_read_alike_are_told_apart(name, most, monkeypatch):
    if most:
        monkeypatch.setattr(ClosedFormMethod, "build_rows", most)
    rows, y = alike(1200)
    y = y.astype(int) if name == "classifier" else y
    order = np.random.default_rng(0).permutation(len(y))
    one, two = made(name).fit(rows, y), made(name).fit(rows.iloc[order], y[order])
    assert one._learned.judges.audit.of_rows
    np.testing.assert_allclose(answers(two, rows), answers(one, rows), atol=1e-9)
    assert abs(one.loo_score_ - two.loo_score_) < 1e-9


@every
@pytest.mark.parametrize("n", [1000, 1200])
def test_sums_of_weights_may_be_rounded(name, n):
    rows, y = X[:n], target(name)[:n]
    weights = np.random.default_rng(0).random(n)
    one = made(name).fit(rows, y, weights)
    order = np.random.default_rng(1).permutation(n)
    np.testing.assert_allclose(
        answers(made(name).fit(rows.iloc[order], y[order], weights[order])), answers(one), atol=1e-7
    )
    plain = made(name).fit(rows, y)
    np.testing.assert_allclose(answers(made(name).fit(rows, y, np.full(n, 0.3))), answers(plain), atol=1e-7)
    numbers = np.array(rows[["z", "size"]])
    numbers[:20], y = numbers[20:40], np.concatenate([y[20:40], y[20:]])  # some come twice
    plain, again = made(name).fit(numbers, y), made(name).fit(numbers, y, np.full(n, 0.1))
    np.testing.assert_allclose(answers(again, numbers), answers(plain, numbers), atol=1e-7)


def test_copies_that_are_draws_keep_their_folds():
    """What is a draw is asked twice, of the table and of what is read of it: trees go by the second."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        k, n = rng.integers(0, 4, 300), 300
        kind = np.array([f"kind {i}" for i in k], dtype=object)
        kind[rng.choice(n, 15, replace=False)] = [f"rare {i}" for i in range(15)]
        rows = pd.DataFrame(rng.integers(0, 2, (n, 6)), columns=list("abcdef")).assign(kind=kind)
        for name in ("name", "ticket"):  # which say nothing, and are not read
            rows[name] = [f"{name} {i}" for i in rng.integers(0, n // 2, n)]
        model = ClosedFormMLP(**SMALL).fit(rows, rng.random(n) < 0.2 * (k + 1))
        draws = model._learned.judges.contents.are_draws
        assert model._learned.network.leaf_scores.n_members == (4 if draws else 5)
        found = model._learned.table.encoding.blinds and draws
        if found:
            return
    raise AssertionError("no table was of both kinds")


def test_other_estimators_read_columns_one_by_one():
    model = sklearn_analytic.BRMPRegressor().fit(X, SCORE)
    assert not any(isinstance(part, PairMeans) or getattr(part, "counted", False) for part in parts(model))


@pytest.mark.parametrize("forced", [False, True], ids=["as it is", "forced"])
def test_noise_is_chance(forced, monkeypatch):
    """Levels of three rows, columns that determine each other, pairs: targets that are noise stay noise."""
    n, found = 3000, []
    if forced:  # or nothing of it would be read
        monkeypatch.setattr(LevelSums, "tell", lambda self, unit: True)
        pairs = [(Factor(0, n // 3), Factor(1, n // 3)), (Factor(0, n // 3), Factor(2, 2, np.float32([0, 1])))]
        monkeypatch.setattr(tables, "chosen_pairs", lambda survey, encoding: pairs)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        level, y, new = np.arange(n) // 3, rng.permutation(n) % 2, rng.permutation(n) % 2
        rows = {"a": level, "b": rng.permutation(n // 3)[level], "c": rng.integers(0, 2, n), "d": rng.random(n)}
        rows = pd.DataFrame(rows).astype({"a": "str", "b": "str"})
        model = ClosedFormMLP((20, 20, 20), random_state=seed).fit(rows, y)
        later = rows.assign(c=rng.integers(0, 2, n), d=rng.random(n))
        found.append([model.score(later, new), model.loo_score_])
    accuracy, judged = np.mean(found, axis=0)
    assert abs(accuracy - 0.5) < 0.015
    assert abs(judged - accuracy) < 0.02
