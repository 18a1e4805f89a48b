"""Readouts of all layers: ridge of stacked units, chosen on rows that no layer has seen, for all families alike."""

import pickle

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_analytic import (
    Blocks,
    DecoupledMLPClassifier,
    DenseNetwork,
    DFAClassifier,
    DFARegressor,
    GivenNetwork,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
)
from sklearn_analytic.estimator import epochs, layer_readout
from sklearn_analytic.estimator.layer_readout import n_apart, set_apart
from sklearn_analytic.estimator.readout_blend import blend_of_numbers, blend_of_scores
from sklearn_analytic.nn import Rows, _layer_units
from sklearn_analytic.nn._layer_units import Sketch, read
from tests.checks import encoded
from tests.reference import ridge

X, X_TEST, Y, Y_TEST = train_test_split(*load_digits(return_X_y=True), random_state=0)
A, A_TEST, B, B_TEST = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
ALL, TRAINED = DenseNetwork(readout="all_layers"), DenseNetwork(readout="trained")
SHORT = {"random_state": 0, "max_iter": 10}
FAMILIES = [
    LayerwiseMLP((20, 12), **SHORT),
    LayerwiseMLP((20, 12), order="simultaneous", **SHORT),
    LayerwiseMLP((20, 12, 8), partitions=2, **SHORT),
    DFAClassifier((20, 12), network=ALL, **SHORT),
    DecoupledMLPClassifier((20, 12), network=ALL, **SHORT),
]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def units(model, rows):
    """All hidden units of rows, and the outputs as trained, side by side."""
    h, found = encoded(model, rows), []
    *hidden, (weights, bias) = zip(model.coefs_, model.intercepts_, strict=True)
    for w, b in hidden:
        h = np.maximum(h @ w.astype(float) + b, 0)
        found.append(h)
    return np.hstack([*found, h @ weights.astype(float) + bias])


def oracle(model, rows):
    """Outputs of rows: ridge of standardised units of all rows, and the trained outputs, as they are blended."""
    h, wanted = units(model, X), units(model, rows)
    deviation = np.maximum(h.std(axis=0), 0.1 * h.std(axis=0).max())  # as the nested exits take it
    alive = h.std(axis=0) > 1e-6 * np.sqrt((h**2).mean(axis=0))
    coef, intercept = ridge((h / deviation)[:, alive], np.eye(10)[Y], model.readout_alpha_)
    a, b = model.readout_blend_
    return a * wanted[:, -10:] + b * ((wanted / deviation)[:, alive] @ coef + intercept)


def found(model, rows):
    """Outputs of rows by the published readout."""
    return units(model, rows) @ model.readout_coef_ + model.readout_intercept_


# ---- equal to the oracle ----


@pytest.mark.parametrize("model", FAMILIES, ids=lambda model: f"{type(model).__name__}-{model.hidden_layer_sizes}")
def test_a_readout_is_ridge_on_stacked_units(model):
    """Of standardised units of all rows, those that layers have not seen included."""
    model.fit(X, Y)
    outputs = found(model, X_TEST)
    assert np.abs(outputs - oracle(model, X_TEST)).max() < 1e-4 * np.abs(outputs).max()  # units are float32
    np.testing.assert_array_equal(outputs.argmax(axis=1), model.predict(X_TEST))
    expected = softmax(outputs / model.temperature_, axis=1)
    np.testing.assert_allclose(model.predict_proba(X_TEST), expected, atol=1e-5)


def test_weights_count_in_the_readout_and_their_scale_does_not(rng):
    weight = rng.integers(1, 4, len(Y)).astype(float)
    model = DFAClassifier((20, 12), network=ALL, **SHORT).fit(X, Y, weight)
    h, wanted = units(model, X), units(model, X_TEST)
    mean = np.average(h, axis=0, weights=weight)
    spread = np.sqrt(np.average((h - mean) ** 2, axis=0, weights=weight))
    deviation, alive = np.maximum(spread, 0.1 * spread.max()), spread > 1e-6 * np.sqrt(mean**2 + spread**2)
    relative = weight / weight.mean()
    standard = ((h - mean) / deviation)[:, alive]
    gram = (standard * relative[:, None]).T @ standard + model.readout_alpha_ * np.eye(alive.sum())
    target = np.average(np.eye(10)[Y], axis=0, weights=weight)
    coef = np.linalg.solve(gram, (standard * relative[:, None]).T @ (np.eye(10)[Y] - target))
    a, b = model.readout_blend_
    expected = a * wanted[:, -10:] + b * (((wanted - mean) / deviation)[:, alive] @ coef + target)
    assert np.abs(found(model, X_TEST) - expected).max() < 1e-3 * np.abs(expected).max()
    heavy = DFAClassifier((20, 12), network=ALL, **SHORT).fit(X, Y, 1024 * weight)
    np.testing.assert_allclose(heavy.readout_coef_, model.readout_coef_, rtol=1e-5, atol=1e-7)


def test_a_constant_target_does_not_choose():
    alone = DFARegressor((20, 12), network=ALL, **SHORT).fit(A, B)._trained.targets
    y = np.column_stack([B, np.ones(len(B))])
    both = DFARegressor((20, 12), network=ALL, **SHORT).fit(A, y)._trained.targets
    rng = np.random.default_rng(0)
    outputs, scores, y = (rng.standard_normal((50, 2)) for _ in range(3))
    one = alone.blended(outputs[:, :1], scores[:, :1], y[:, :1], None)[0]
    assert both.blended(outputs, scores, y, None)[0] == one


def test_scores_are_of_rows_that_are_left_out():
    """Each row without itself: close to what new rows show, and below what rows that were learned show."""
    model = LayerwiseMLP((64, 64), random_state=0).fit(X, Y)
    new = [np.mean(stage == Y_TEST) for stage in model.staged_predict(X_TEST)]
    assert np.abs(model.layer_scores_ - new).max() < 0.03
    assert model.layer_scores_[-1] < model.score(X, Y)


def test_it_is_as_accurate_and_sure_of_the_right_things():
    for kind in (LayerwiseMLP, DFAClassifier):
        trained = kind((128, 128), network=TRAINED, random_state=0).fit(X, Y)
        reads = kind((128, 128), network=ALL, random_state=0).fit(X, Y)
        assert reads.score(X_TEST, Y_TEST) > trained.score(X_TEST, Y_TEST) - 0.01
        losses = [log_loss(Y_TEST, model.predict_proba(X_TEST)) for model in (reads, trained)]
        assert losses[0] < 0.9 * losses[1]


def test_a_regressor_reads_all_layers():
    reads = LayerwiseMLPRegressor((32, 32), random_state=0).fit(A, B)
    trained = LayerwiseMLPRegressor((32, 32), random_state=0, network=TRAINED).fit(A, B)
    assert reads.score(A_TEST, B_TEST) > trained.score(A_TEST, B_TEST)
    assert np.isclose(sum(reads.readout_blend_), 1)
    *_, last = reads.staged_predict(A_TEST)
    np.testing.assert_array_equal(last, reads.predict(A_TEST))


# ---- projections ----


def test_coefficients_of_a_sketch_are_those_of_all_units(rng, monkeypatch):
    monkeypatch.setattr(_layer_units, "_MOST_UNITS", 20)
    monkeypatch.setattr(_layer_units, "_PROJECTED", 12)
    layers = [rng.standard_normal((7, width)) for width in (20, 10, 3)]
    sketch = Sketch.of([20, 10, 3], 0)
    assert sketch.sizes == [8, 4, 3]
    columns = sketch.columns(layers)
    coef, intercept = rng.standard_normal((15, 2)), rng.standard_normal(2)
    unfolded = sketch.unfolded(coef)
    assert unfolded.shape == (33, 2)
    np.testing.assert_allclose(read(layers, unfolded, intercept), columns @ coef + intercept, atol=1e-12)
    lowest = sketch.unfolded(coef[:8])
    np.testing.assert_allclose(read(layers, lowest, intercept), columns[:, :8] @ coef[:8] + intercept, atol=1e-12)


@pytest.mark.parametrize("rule", ["softmax", "linear", "expgb", "pow3gb"])
def test_a_blend_is_near_the_best_of_both(rng, rule):
    """Scores of which one kind is noise: the other one counts."""
    labels = rng.integers(0, 3, 2000)
    told, noise = 2.0 * np.eye(3)[labels] + rng.standard_normal((2000, 3)), rng.standard_normal((2000, 3))
    size = {"softmax": 1.0, "expgb": 1.0, "linear": 0.3, "pow3gb": 3.0}[rule]
    for outputs, scores, is_trained in ((size * told, 0.2 * noise, True), (size * noise, 0.2 * told, False)):
        (a, b), temperature = blend_of_scores(outputs, scores, labels, None, rule)
        assert (a * size > 3 * b * 0.2) == is_trained
        blend = softmax((a * outputs + b * scores) / temperature, axis=1)
        best = min(log_loss(labels, softmax(slope * told, axis=1)) for slope in np.linspace(0.5, 3, 26))
        assert log_loss(labels, blend) < best + 0.02


def test_shares_of_numbers_are_least_squares_with_a_prior(rng):
    y = rng.standard_normal((500, 2))
    outputs, scores = y + rng.standard_normal(y.shape), y + rng.standard_normal(y.shape)
    assert np.allclose(blend_of_numbers(outputs, scores, y, None), 0.5, atol=0.05)
    assert blend_of_numbers(y, scores, y, None)[0] > 0.9 and blend_of_numbers(outputs, y, y, None)[1] > 0.9
    assert blend_of_numbers(y, y, y, None) == (0.5, 0.5)


def test_a_projected_readout_is_nearly_as_good(monkeypatch):
    whole = DFAClassifier((128, 128), network=ALL, **SHORT).fit(X, Y)
    monkeypatch.setattr(_layer_units, "_MOST_UNITS", 200)
    monkeypatch.setattr(_layer_units, "_PROJECTED", 100)
    small = DFAClassifier((128, 128), network=ALL, **SHORT).fit(X, Y)
    assert small.readout_coef_.shape == whole.readout_coef_.shape
    assert abs(small.score(X_TEST, Y_TEST) - whole.score(X_TEST, Y_TEST)) < 0.025


# ---- rows that are set apart ----


def test_rows_are_moved_and_none_is_lost(rng):
    x = rng.standard_normal((400, 2)).astype(np.float32)
    y, weight = rng.integers(0, 3, 400), rng.uniform(0.5, 1.5, 400)
    rows = Rows(x.copy(), y.copy(), weight.copy())
    seen, n_seen = set_apart(rows, 0)
    assert 290 <= n_seen == len(seen.x) <= 300 and np.shares_memory(seen.x, rows.x)
    order = np.lexsort(rows.x.T)
    for moved, array in ((rows.x, x), (rows.y, y), (rows.weight, weight)):
        np.testing.assert_array_equal(moved[order], array[np.lexsort(x.T)])
    assert np.isclose(seen.weight.mean(), 1)
    shares = np.bincount(rows.y[n_seen:]) / np.bincount(y)
    assert np.ptp(shares) < 0.02


def test_few_rows_are_set_apart():
    assert [n_apart(n) for n in (10, 79, 80, 400, 2000, 10_000, 10**6)] == [0, 0, 20, 100, 100, 500, 1000]
    model = LayerwiseMLP((8, 8), **SHORT).fit(X[:60], Y[:60])
    assert not hasattr(model, "readout_coef_") and model.out_activation_ == "softmax"


def test_layers_do_not_see_them():
    """Targets of rows that are set apart reach the readout alone."""
    numbered = Rows(np.arange(len(B), dtype=np.float32)[:, None], B[:, None].copy(), None)
    _, n_seen = set_apart(numbered, 0)
    apart = numbered.x[n_seen:, 0].astype(int)
    swapped = B.copy()
    swapped[apart] = B[apart[::-1]]
    first, other = (DFARegressor((8,), network=ALL, **SHORT).fit(A, y) for y in (B, swapped))
    np.testing.assert_allclose(first.coefs_[0], other.coefs_[0], rtol=1e-4, atol=1e-6)
    assert np.abs(first.readout_coef_ - other.readout_coef_).max() > 1e-2


def test_given_rows_choose_and_are_not_solved_for():
    model = LayerwiseMLP((20, 12), **SHORT)
    first = model.fit(X, Y, X_val=X_TEST[:100], y_val=Y_TEST[:100])
    outputs = found(first, X_TEST)
    assert np.abs(outputs - oracle(first, X_TEST)).max() < 1e-4 * np.abs(outputs).max()
    assert first.layer_scores_[-1] == np.mean(first.predict(X_TEST[:100]) == Y_TEST[:100])


def test_blocks_are_read_once_more():
    whole = LayerwiseMLP((20, 12), **SHORT).fit_blocks(Blocks.from_arrays(X, Y, block_size=400))
    trained = LayerwiseMLP((20, 12), network=TRAINED, **SHORT).fit_blocks(Blocks.from_arrays(X, Y, block_size=400))
    assert whole.readout_coef_.shape == (42, 10) and whole.score(X_TEST, Y_TEST) > trained.score(X_TEST, Y_TEST) - 0.01
    given = LayerwiseMLP((20, 12), **SHORT)
    given.fit_blocks(Blocks.from_arrays(X, Y, block_size=400), X_val=X_TEST, y_val=Y_TEST)
    assert given.layer_scores_[-1] == given.score(X_TEST, Y_TEST)


def test_t_counts_what_steps_learn():
    model = LayerwiseMLP((8, 8), order="simultaneous", random_state=0, max_iter=3)
    rows = [model.fit(X, Y).t_, model.fit_blocks(Blocks.from_arrays(X, Y, block_size=400)).t_]
    assert all(3 * (len(X) - 140) < n < 3 * (len(X) - 60) for n in rows)


# ---- errors ----


def test_an_interrupt_of_the_readout_keeps_what_was_trained(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "solved", interrupted)
    for fit in (
        lambda model: model.fit(X, Y),
        lambda model: model.fit_blocks(Blocks.from_arrays(X, Y, block_size=400)),
    ):
        model = LayerwiseMLP((20, 12), **SHORT)
        with pytest.raises(KeyboardInterrupt, match="keeps the weights of the last good epoch"):
            fit(model)
        assert model.score(X_TEST, Y_TEST) > 0.5 and not hasattr(model, "readout_coef_")


def test_a_source_that_fails_in_the_last_pass_keeps_what_was_trained():
    passes = []

    def blocks():
        passes.append(1)
        if len(passes) == n_passes:
            raise OSError("gone")
        yield from ((X[i : i + 400], Y[i : i + 400]) for i in range(0, len(X), 400))

    n_passes = 0
    LayerwiseMLP((20, 12), **SHORT).fit_blocks(Blocks.from_iterable(blocks))
    n_passes, passes[:] = len(passes), []
    model = LayerwiseMLP((20, 12), **SHORT)
    with pytest.raises(OSError, match="gone"):
        model.fit_blocks(Blocks.from_iterable(blocks))
    assert model.score(X_TEST, Y_TEST) > 0.5 and not hasattr(model, "readout_coef_")


def test_units_beyond_the_range_are_read_as_trained(monkeypatch):
    def indefinite(*args, **kwargs):
        raise np.linalg.LinAlgError("too large")

    monkeypatch.setattr(layer_readout, "ridge_exits", indefinite)
    with pytest.warns(UserWarning, match="could not be solved for"):
        model = LayerwiseMLP((20, 12), **SHORT).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.5 and not hasattr(model, "readout_coef_")


# ---- stages, streams, kinds of networks ----


def test_stages_read_more_and_more_layers():
    model = LayerwiseMLP((20, 12, 8), **SHORT).fit(X, Y)
    assert [len(stage.coef) for stage in model._trained.readouts.stages] == [20, 32, 50]
    *_, last = model.staged_predict_proba(X_TEST)
    np.testing.assert_array_equal(last, model.predict_proba(X_TEST))


def test_a_stream_predicts_as_trained_and_a_fit_reads_again():
    model = LayerwiseMLP((20, 12), warm_start=True, **SHORT).fit(X, Y)
    model.partial_fit(X[:100], Y[:100])
    assert not hasattr(model, "readout_coef_") and model.temperature_ == 1
    model.fit(X, Y)
    assert model.readout_coef_.shape == (42, 10) and model.temperature_ != 1


def test_a_pickle_predicts_the_same():
    model = LayerwiseMLP((20, 12), **SHORT).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X_TEST), model.predict_proba(X_TEST))


def test_one_partition_and_a_solved_head_are_read_as_before():
    for partitions in (1, Partitions(refit_head=True)):
        assert not hasattr(LayerwiseMLP((8, 8), partitions=partitions, **SHORT).fit(X, Y), "readout_coef_")
    with pytest.raises(ValueError, match="give one of the two"):
        LayerwiseMLP(partitions=Partitions(refit_head=True), network=ALL).fit(X, Y)
    with pytest.raises(ValueError, match="network__readout"):
        DFAClassifier(network=DenseNetwork(readout="last")).fit(X, Y)


def test_no_hidden_layer_is_read_as_trained():
    model = DFAClassifier((), scheme="backprop", network=ALL, **SHORT).fit(X, Y)
    assert not hasattr(model, "readout_coef_") and model.score(X_TEST, Y_TEST) > 0.85


def test_convolutions_are_read_by_the_means_of_their_maps():
    pytest.importorskip("torch")
    given = {"network": ImageNetwork((8, 8), (6, 8)), **SHORT}
    model = LayerwiseMLP((16,), **given).fit(X, Y)
    assert model.readout_coef_.shape == (6 + 8 + 16 + 10, 10)
    assert len(model.layer_scores_) == 3 and model.score(X_TEST, Y_TEST) > 0.85
    *_, last = model.staged_predict(X_TEST)
    np.testing.assert_array_equal(last, model.predict(X_TEST))


def test_a_given_network_and_one_in_torch():
    torch = pytest.importorskip("torch")
    parts = torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    for readout, shape in (("auto", (34, 10)), ("trained", None)):
        model = LayerwiseMLP(network=GivenNetwork(torch.nn.Sequential(*parts), readout=readout), **SHORT).fit(X, Y)
        assert getattr(model, "readout_coef_", np.empty(0)).shape == (shape or (0,))
    with pytest.raises(ValueError, match=r"must be a non-empty torch\.nn\.Sequential, got str"):
        LayerwiseMLP(network=GivenNetwork("a module"), **SHORT).fit(X, Y)
    compiled, other = (
        LayerwiseMLP((20, 12), device=device, **SHORT).fit(X[:500], Y[:500]) for device in ("cpu", "torch:cpu")
    )
    assert np.mean(compiled.predict(X_TEST) == other.predict(X_TEST)) > 0.97


def test_an_early_end_is_read_up_to_its_head():
    pytest.importorskip("torch")
    for network in (None, ImageNetwork((8, 8), (4, 4))):
        model = LayerwiseMLP((16, 16, 16), network=network, early_stopping=True, random_state=0, max_iter=30, tol=0.2)
        model.fit(X, Y)
        assert model.exit_ < len(model.partitions_) - 1
        assert len(model._trained.readouts.stages) == model.exit_ + 1
        *_, last = model.staged_predict(X_TEST)
        np.testing.assert_array_equal(last, model.predict(X_TEST))
