"""Private steps against per-row loops, the law of their sensitivity, and the noise that they add."""

import math

import numpy as np
import pytest

from sklearn_analytic.nn import Execution, FeedbackRecipe, KFACRecipe, MLPExecution, Optimizer, Recipe, Rows
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.private.training import (
    GaussianMechanism,
    PhotonicMechanism,
    PrivateExecution,
    clip_factors,
    forward,
    layer_errors,
    photonic_bounds,
    row_norms,
)
from tests.checks import assert_close, tolerance

SIZES = (5, 8, 7, 3)
HUGE = 1e12  # nothing is clipped
FEEDBACKS = ["random", "binary", "sparse", "product", "refresh"]


def rows(n=40, seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    return Rows(rng.standard_normal((n, sizes[0])) * rng.uniform(0, 3, (n, 1)), rng.integers(sizes[-1], size=n))


def recipe(**changes):
    settings = {"scheme": "dfa", "optimizer": Optimizer("sgd", momentum=0.9, nesterov=False), "batch_size": 10}
    settings |= {"feedback": FeedbackRecipe("random", interval=2), "precision": "float64", "seed": 3}
    return Recipe(**(settings | changes))


def layers_of(sizes=SIZES, activation="tanh", seed=1):
    layers = initial_layers(sizes, activation, np.random.default_rng(seed))
    return [(w, b + 0.1) for w, b in layers]


def execution(mechanism=None, sample_rate=1.0, seed=2, sizes=SIZES, activation="tanh", **changes):
    mechanism = GaussianMechanism(1.0, 1.0) if mechanism is None else mechanism
    generator = np.random.default_rng(seed)
    return PrivateExecution(
        layers_of(sizes, activation), activation, recipe(**changes), mechanism, sample_rate, generator
    )


def photonic(sizes=SIZES, noise_scale=0.0, floor=100.0, activation="tanh"):
    return PhotonicMechanism(photonic_bounds(sizes, activation, 1.0, 0.1, floor), noise_scale, 1.0, 0.0)


# ---- clipping ----


def naive_sum(run, data, chosen, max_norm):
    """Form the gradient of every row by itself, clip it as one long vector, add."""
    layers, total = run.layers(), 0.0
    for i in chosen:
        inputs, outputs = forward(layers, run.activation, data.x[i : i + 1])
        p = np.exp(outputs[0] - outputs[0].max())
        error = (p / p.sum() - np.eye(len(p))[data.y[i]])[None]
        slopes = [1 - h**2 if run.activation == "tanh" else (h > 0) * 1.0 for h in inputs[1:]]
        errors = [error]
        for k in range(len(layers) - 2, -1, -1):
            feedback = run.feedback_matrices()
            sent = errors[0] @ layers[k + 1][0].T if feedback is None else error @ feedback[k]
            errors.insert(0, sent * slopes[k])
        parts = [np.outer(np.append(h[0], 1.0), d[0]).ravel() for h, d in zip(inputs, errors, strict=True)]
        gradient = np.concatenate(parts)
        total = total + gradient * min(1.0, max_norm / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("scheme", ["dfa", "backprop"])
@pytest.mark.parametrize("max_norm", [0.01, 0.5, 2.0, HUGE])
def test_clipped_sum_is_that_of_the_loop_over_rows(scheme, max_norm, activation):
    run = execution(GaussianMechanism(max_norm, 0.0), scheme=scheme, activation=activation)
    data, chosen = rows(), np.arange(3, 31, 2)
    assert_close(run.row_sum(data, chosen), naive_sum(run, data, chosen, max_norm), np.float64, scale=10)


def test_sum_in_chunks_is_the_sum(monkeypatch):
    run, data = execution(), rows()
    whole = run.row_sum(data, np.arange(40))
    monkeypatch.setattr("sklearn_analytic.private.training._CHUNK_ENTRIES", 7 * 8)
    assert_close(run.row_sum(data, np.arange(40)), whole, np.float64)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("scheme", ["dfa", "backprop"])
def test_one_row_moves_the_sum_by_no_more_than_the_bound(scheme, precision):
    data = rows(60, seed=5)
    for trial in range(20):
        run = execution(GaussianMechanism(0.3, 0.0), scheme=scheme, precision=precision, seed=trial)
        run._model.theta[:] *= 1 + trial
        chosen = np.random.default_rng(trial).permutation(60)[:20]
        moved = np.linalg.norm((run.row_sum(data, chosen) - run.row_sum(data, chosen[1:])).astype(np.float64))
        slack = {"float32": 1e-5, "float64": 0.0}[precision]  # rounding of the two sums themselves
        assert moved <= 0.3 + slack
        assert np.linalg.norm(run.row_sum(data, chosen[:1])) <= 0.3


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_wide_rows_are_clipped_in_spite_of_rounding(precision):
    sizes, rng = (3000, 400, 4), np.random.default_rng(0)
    run = execution(GaussianMechanism(1.0, 0.0), sizes=sizes, precision=precision)
    data = Rows(rng.uniform(-9, 9, (8, 3000)), rng.integers(4, size=8))
    for i in range(8):
        assert np.linalg.norm(run.row_sum(data, np.array([i])).astype(np.float64)) <= 1.0


def test_factors_of_no_gradient_at_all():
    np.testing.assert_array_equal(clip_factors(np.array([0.0, 0.5]), 1.0), [[1.0], [1.0]])


def test_rows_that_overflow_are_left_out():
    data = rows(6)
    data.x[2] = 1e308
    run = execution(GaussianMechanism(1.0, 0.0), activation="relu")
    with np.errstate(over="ignore", invalid="ignore"):
        total = run.row_sum(data, np.arange(6))
    assert_close(total, run.row_sum(data, np.array([0, 1, 3, 4, 5])), np.float64)


def test_slopes_are_bounds():
    from sklearn_analytic.nn import ACTIVATIONS

    z = np.linspace(-4, 4, 2001)
    for row in ACTIVATIONS.values():
        assert np.abs(row.slope(row.value(z))).max() <= row.steepest


# ---- steps ----


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(("scheme", "feedback"), [("backprop", "refresh"), *(("dfa", name) for name in FEEDBACKS[:4])])
def test_without_noise_and_clipping_it_is_an_ordinary_step(scheme, feedback, solver):
    optimizer = Optimizer(solver, nesterov=False, epsilon=1e-3)  # a small one magnifies rounding of small gradients
    changes = {"scheme": scheme, "feedback": FeedbackRecipe(feedback), "optimizer": optimizer}
    data, rates = rows(), np.array([0.3, 0.2, 0.1])
    private = execution(GaussianMechanism(HUGE, 0.0), **changes)
    ordinary = MLPExecution(layers_of(), "tanh", recipe(**changes), np.random.default_rng(0))
    placed = ordinary.place(data)
    assert private.epoch(private.place(data), np.arange(40), rates) == 0.0
    for rate in rates:
        ordinary.epoch(placed, np.arange(40), np.array([rate]))
    for ours, theirs in zip(private.layers(), ordinary.layers(), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, np.float64, scale=100)


def test_noise_has_the_deviation_of_the_mechanism():
    mechanism = GaussianMechanism(0.5, 3.0)
    noise = execution(mechanism, sizes=(300, 200, 3)).noise()
    assert abs(noise.std() / 1.5 - 1) < 4 / math.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 4 * 1.5 / math.sqrt(noise.size)


def test_steps_without_rows_are_noise_over_the_expected_size():
    data = Rows(np.zeros((2000, 300)), np.zeros(2000, dtype=np.int64))
    sizes = (300, 200, 2)
    run = execution(GaussianMechanism(0.5, 3.0), sample_rate=0.05, sizes=sizes)
    run.sampled = lambda n: np.zeros(0, dtype=np.int64)
    before = run.snapshot()["theta"]
    run.epoch(data, np.arange(2000), np.array([1.0]))
    moved = run.snapshot()["theta"] - before
    assert moved.std() == pytest.approx(1.5 / (0.05 * 2000), rel=0.02)
    assert run.n_steps == 1


def test_divisor_is_the_expected_size_and_not_the_drawn_one():
    data = rows(100)
    run = execution(GaussianMechanism(HUGE, 0.0), sample_rate=0.2)
    run.sampled = lambda n: np.arange(37)
    total, before = run.row_sum(data, np.arange(37)), run._model.theta.copy()
    run.epoch(data, np.arange(100), np.array([0.5]))
    assert_close(run._model.theta, before - 0.5 * total / 20, np.float64)


def test_batches_are_poisson_samples():
    run = execution(sample_rate=0.1)
    drawn = [run.sampled(500) for _ in range(400)]
    sizes = np.array([len(batch) for batch in drawn])
    assert abs(sizes.mean() - 50) < 4 * math.sqrt(45 / 400)
    assert 0.8 < sizes.var() / 45 < 1.25
    hits = np.bincount(np.concatenate(drawn), minlength=500) / 400
    assert np.abs(hits - 0.1).max() < 5 * math.sqrt(0.09 / 400)


def test_everything_is_drawn_at_rate_one():
    np.testing.assert_array_equal(execution(sample_rate=1.0).sampled(50), np.arange(50))


@pytest.mark.parametrize("scheme", ["dfa", "backprop"])
def test_empty_batches_are_steps(scheme):
    run = execution(sample_rate=1e-9, scheme=scheme)
    before = run.snapshot()["theta"]
    assert run.epoch(rows(4), np.arange(4), np.full(3, 1e-9)) == 0.0
    assert run.n_steps == 3
    assert np.all(run.snapshot()["theta"] != before)


# ---- feedback ----


def test_refreshed_feedback_is_a_function_of_the_weights():
    runs = [execution(sample_rate=0.5, feedback=FeedbackRecipe("refresh", interval=1, scale=0.7)) for _ in range(2)]
    state = runs[0].snapshot()
    for run, seed in zip(runs, (0, 9), strict=True):
        run.restore(state)
        run.epoch(rows(seed=seed), np.arange(40), np.array([1e-3]))
    for run, seed in zip(runs, (5, 6), strict=True):  # the same weights, other rows before and now
        run._model.theta[:] = state["theta"]
        run.epoch(rows(seed=seed), np.arange(40), np.array([0.0]))
    first, second = (run.feedback_matrices() for run in runs)
    w2, w3 = (w for w, _ in layers_of()[1:])
    for a, b, product in zip(first, second, [(w2 @ w3).T, w3.T], strict=True):
        np.testing.assert_array_equal(a, b)
        assert_close(a, 0.7 * product, np.float64)


def test_refresh_waits_for_its_interval():
    run = execution(feedback=FeedbackRecipe("refresh", interval=3))
    first, seen = run.feedback_matrices(), []
    for _ in range(4):
        run.epoch(rows(), np.arange(40), np.array([0.1]))
        seen.append(np.array_equal(run.feedback_matrices()[0], first[0]))
    assert seen == [True, True, True, False]


def test_one_hidden_layer_refreshed_every_step_is_backpropagation():
    settings = [{"scheme": "backprop"}, {"feedback": FeedbackRecipe("refresh", interval=1)}]
    runs = [execution(sizes=(5, 8, 3), sample_rate=0.5, **changes) for changes in settings]
    for run in runs:
        run.epoch(rows(), np.arange(40), np.full(5, 0.1))
    assert_close(runs[0]._model.theta, runs[1]._model.theta, np.float64, scale=10)


@pytest.mark.parametrize("name", ["dkp", "learned"])
def test_feedback_that_reads_rows_is_refused(name):
    with pytest.raises(ValueError, match="not private"):
        execution(feedback=FeedbackRecipe(name))


REFUSED = [
    {"scheme": "hybrid"},
    {"kfac": KFACRecipe()},
    {"activation_bits": 8},
    {"tol_error": 0.1},
    {"sample_rate": 0.0},
]


@pytest.mark.parametrize("changes", REFUSED)
def test_what_is_not_private_is_refused(changes):
    with pytest.raises(ValueError):
        execution(**changes)


def test_weights_of_rows_are_refused():
    data = rows()
    with pytest.raises(ValueError, match="weights are not supported"):
        execution().place(Rows(data.x, data.y, np.ones(40)))


# ---- the protocol ----


def test_it_has_the_verbs_of_an_execution():
    wanted = {name for name in vars(Execution) if not name.startswith("_")}
    assert wanted <= set(dir(PrivateExecution))


def test_snapshot_and_restore_do_not_rewind_noise_or_count():
    run = execution(sample_rate=0.5, feedback=FeedbackRecipe("refresh", interval=1), optimizer=Optimizer("adam"))
    state, data = run.snapshot(), rows()
    run.epoch(data, np.arange(40), np.full(3, 0.01))
    after = run.layers()
    run.restore(state)
    assert all(np.array_equal(value, run.snapshot()[name]) for name, value in state.items())
    run.epoch(data, np.arange(40), np.full(3, 0.01))
    assert not np.allclose(run.layers()[0][0], after[0][0], atol=1e-6)
    assert run.n_steps == 6


def test_divergence_ends_an_epoch():
    run = execution(precision="float32")
    assert math.isnan(run.epoch(rows(), np.arange(40), np.full(5, 1e42)))
    assert not run.is_finite()
    assert run.n_steps < 5


def test_alignment_of_the_true_gradient_is_one():
    data = rows()
    assert execution(scheme="backprop").alignment(data.x, data.y) == pytest.approx([1, 1])
    assert max(execution().alignment(data.x, data.y)) < 0.99
    assert execution().activation_bytes()["stored"] == 10 * 15 * 8
    assert execution().outputs(data.x.astype(np.float32)).dtype == np.float32


# ---- photonic ----


def naive_photonic(run, data, chosen):
    """The bounded gradients of every row by themselves, without noise."""
    layers, total = run.layers(), 0.0
    for i in chosen:
        inputs, outputs = forward(layers, run.activation, data.x[i : i + 1])
        p = np.exp(outputs[0] - outputs[0].max())
        error, parts = p / p.sum() - np.eye(len(p))[data.y[i]], []
        for k, b in enumerate(run.feedback_matrices()):
            s, v = error @ b, np.append(inputs[k][0], 1.0)
            s, v = s * min(1, 0.1 / np.linalg.norm(s)), v * min(1, 1 / np.linalg.norm(v))
            parts.append(np.outer(v, s * (1 - inputs[k + 1][0] ** 2)).ravel())
        last = np.outer(np.append(inputs[-1][0], 1.0), error)
        parts.append((last * min(1, 1 / np.linalg.norm(last))).ravel())
        total = total + np.concatenate(parts)
    return total


def test_photonic_sum_is_that_of_the_loop_over_rows():
    run, data = execution(photonic()), rows()
    assert_close(run.row_sum(data, np.arange(20)), naive_photonic(run, data, np.arange(20)), np.float64, scale=10)


def test_photonic_noise_has_the_covariance_of_the_derivation():
    """Equation (13): the gradient of a unit has covariance s^2 (floor I + sum v v^T)."""
    sizes, data = (2, 3, 2), rows(4, sizes=(2, 3, 2))
    run = execution(photonic(sizes, noise_scale=0.5, floor=2.0), sizes=sizes)
    chosen = np.arange(4)
    draws = np.array([(run.row_sum(data, chosen) + run.noise())[:9].reshape(3, 3) for _ in range(4000)])
    inputs, _ = forward(run.layers(), "tanh", data.x)
    v = np.column_stack([data.x, np.ones(4)])
    v = v * np.minimum(1, 1 / np.linalg.norm(v, axis=1))[:, None]
    for j in range(3):
        w = v * (1 - inputs[1][:, j] ** 2)[:, None]
        expected = 0.25 * (2.0 * np.eye(3) + w.T @ w)
        np.testing.assert_allclose(np.cov(draws[:, :, j].T), expected, atol=0.1 * expected.max())


def test_photonic_deviations():
    mechanism = PhotonicMechanism(photonic_bounds(SIZES, "tanh", 1.0, 0.1, 400.0), 0.3, 2.0, 5.0)
    assert mechanism.deviations(3) == pytest.approx([6.0, 6.0, 10.0])


def test_photonic_within_a_budget():
    bounds = photonic_bounds(SIZES, "logistic", 1.0, 0.5, 1e4)
    mechanism = PhotonicMechanism.within(2.0, 1e-5, 0.1, 100, 1.0, bounds)
    assert 1.9 < mechanism.epsilon(1e-5, 0.1, 100) <= 2.0
    assert mechanism.epsilon(1e-5, 0.1, 50) < mechanism.epsilon(1e-5, 0.1, 100)
    shift = 0.5 * math.sqrt(bounds.ratio[0]) / mechanism.noise_scale  # a of a hidden layer, 1 / sigma of the last
    assert 1 / mechanism.output_noise_multiplier == pytest.approx(shift)
    assert bounds.slope == (0.25, 0.25) and bounds.n_units == (8, 7)
    assert PhotonicMechanism.within(math.inf, 1e-5, 0.1, 100, 1.0, bounds).noise_scale == 0


def test_photonic_needs_a_floor_and_feedback():
    with pytest.raises(ValueError, match="not private"):
        photonic_bounds(SIZES, "tanh", 1.0, 1.0, 0.0)
    for changes in ({"scheme": "backprop"}, {"sizes": (5, 3)}):
        with pytest.raises(ValueError, match="hidden layer"):
            execution(photonic(), **changes)


# ---- budgets ----


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_gaussian_within_a_budget(accountant):
    mechanism = GaussianMechanism.within(2.0, 1e-5, 0.05, 200, 0.7, accountant)
    assert 1.95 < mechanism.epsilon(1e-5, 0.05, 200, accountant) <= 2.0
    assert mechanism.max_norm == 0.7
    assert GaussianMechanism.within(math.inf, 1e-5, 0.05, 200, 0.7).noise_multiplier == 0


def test_norms_of_rows_follow_from_two_norms():
    data, layers = rows(), layers_of()
    inputs, outputs = forward(layers, "tanh", data.x)
    errors = layer_errors(layers, "tanh", inputs, outputs, None)
    wide = [np.column_stack([h, np.ones(40)]) for h in inputs]
    gradients = [np.einsum("ia,ib->iab", h, d) for h, d in zip(wide, errors, strict=True)]
    squares = sum((g**2).sum(axis=(1, 2)) for g in gradients)
    np.testing.assert_allclose(row_norms(inputs, errors), np.sqrt(squares), rtol=tolerance(np.float64))
