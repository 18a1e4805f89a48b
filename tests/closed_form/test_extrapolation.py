"""Beyond the range of the rows: numbers go on with the local trend, reach an end, and do so in exports too."""

import copy

import numpy as np
import pytest

from sklearn_analytic import ClosedFormMLPRegressor
from tests.checks import assert_close

TRENDS = {
    "line": lambda t: t,
    "parabola": lambda t: t + 2 * t**2,
    "growth": lambda t: np.exp(2 * t),
    "root": np.sqrt,
    "logarithm": lambda t: np.log(0.1 + t),
    "fall and rise": lambda t: (t - 0.4) ** 2,
}
AHEAD = 6


def trend(name, n, sign=1.0, noise=0.0):
    """n equidistant steps and six more, in units of the deviation."""
    t = np.arange(n + AHEAD) / (n - 1)
    y = sign * TRENDS[name](t)
    y = y / y[:n].std()
    return 1960 + np.arange(n + AHEAD)[:, None], y + noise * np.random.default_rng(0).standard_normal(len(y)), y


@pytest.mark.parametrize("name", TRENDS)
@pytest.mark.parametrize(("sign", "left", "seed"), [(1, False, 0), (-1, False, 1), (1, True, 2), (-1, True, 3)])
def test_forecasts_follow_the_local_trend(name, sign, left, seed):
    X, y, _ = trend(name, 53, sign)
    X = 4000 - X if left else X
    forecast = ClosedFormMLPRegressor(random_state=seed).fit(X[:-AHEAD], y[:-AHEAD]).predict(X[-AHEAD:])
    local = y[-AHEAD - 1] - y[-AHEAD - 2]
    assert np.all(np.sign(np.diff(forecast)) == np.sign(local))
    assert abs(forecast[0] - y[-AHEAD]) < 0.25  # no jump


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_noise_does_not_turn_a_trend(noise):
    X, y, clean = trend("parabola", 80, noise=noise)
    forecast = ClosedFormMLPRegressor(random_state=0).fit(X[:-AHEAD], y[:-AHEAD]).predict(X[-AHEAD:])
    assert np.all(np.diff(forecast) > 0)
    assert abs(forecast[0] - clean[-AHEAD]) < 0.5


def test_a_season_in_further_columns_leaves_the_trend():
    X, y, _ = trend("line", 100)
    phase = 2 * np.pi * np.arange(len(X)) / 12
    X, y = np.column_stack([X, np.sin(phase), np.cos(phase)]), y + 0.4 * np.sin(phase)
    forecast = ClosedFormMLPRegressor(random_state=0).fit(X[:-AHEAD], y[:-AHEAD]).predict(X[-AHEAD:])
    assert np.max(np.abs(forecast - y[-AHEAD:])) < 0.2


def test_many_rows_with_several_targets(rng):
    """Trees and the joint ridge take part."""
    X = rng.uniform(0, 1, (2500, 3))
    Y = np.column_stack([3 * X[:, 0] + X[:, 1], -np.exp(X[:, 0])])
    model = ClosedFormMLPRegressor(random_state=0).fit(X, Y)
    steps = np.full((4, 3), 0.5)
    steps[:, 0] = [1.0, 1.03, 1.06, 1.1]
    rise = np.diff(model.predict(steps), axis=0)
    assert np.all(rise[:, 0] > 0)
    assert np.all(rise[:, 1] < 0)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 3))
    return X, ClosedFormMLPRegressor(random_state=0).fit(X, 2 * X[:, 0] + np.sin(3 * X[:, 1]))


def test_far_outside_is_level_and_bounded(fitted):
    X, model = fitted
    inside = model.predict(X)
    far = np.array([[2.0, 0.0, 0.0], [1e9, 0.0, 0.0], [1e300, -1e300, 1e300]])
    values = model.predict(far)
    assert values[0] == values[1]
    assert np.max(np.abs(values)) < 3 * np.max(np.abs(inside))


def test_rows_beside_one_outside_stay(fitted):
    X, model = fitted
    together = model.predict(np.concatenate([X, [[9.0, 9.0, 9.0]]]))
    assert_close(together[:-1], model.predict(X), np.float64, scale=10)


def test_a_stream_beyond_the_first_rows_equals_its_parts():
    X = np.linspace(0, 1, 300)[:, None]
    y = 3 * X[:, 0]
    first = ClosedFormMLPRegressor(alpha=1.0, random_state=0).fit(X[:250], y[:250])
    shard = first.shard().partial_fit(X[250:], y[250:])
    stream = copy.deepcopy(first).partial_fit(X[250:], y[250:])
    assert_close(first.merge(shard).predict(X), stream.predict(X), np.float64, scale=1e4)
    assert np.max(np.abs(stream.predict(X) - y)) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", ["auto", "sampled"])
def test_onnx_goes_on_too(rng, dtype, hidden):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = rng.uniform(-1, 1, (120, 3)).astype(dtype)
    model = ClosedFormMLPRegressor(30, hidden=hidden, random_state=0).fit(X, X[:, 0] + X[:, 1] ** 2)
    session = onnxruntime.InferenceSession(model.to_onnx(dtype=dtype).SerializeToString())
    for rows in (X, np.concatenate([X[:3], 2 * X[:20], np.array([[1e30, -1e30, 0]], dtype)])):
        assert_close(session.run(None, {"X": rows})[0][:, 0], model.predict(rows), np.float32, scale=10, size=3.0)


def test_plain_networks_of_z_scores_stay_expressible(rng):
    X = rng.standard_normal((60, 2))
    plain = {"hidden": "random", "activation": "relu", "input_encoding": "standard", "random_state": 0}
    model = ClosedFormMLPRegressor(10, **plain).fit(X, X[:, 0])
    assert_close(model.to_sklearn().predict(3 * X), model.predict(3 * X), np.float64, scale=1e3, size=5.0)
    with pytest.raises(NotImplementedError, match="continuation"):
        ClosedFormMLPRegressor(10, hidden="random", activation="relu", input_encoding="robust").fit(
            rng.integers(0, 2, (60, 2)), X[:, 0]
        ).to_sklearn()
