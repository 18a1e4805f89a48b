"""Steps of plain networks equal the textbook, scheme by scheme, optimiser by optimiser."""

import copy
import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from sklearn_analytic.backend import training
from sklearn_analytic.nn import ACTIVATIONS as ACTIVATIONS_TABLE
from sklearn_analytic.nn import LINKS, FeedbackRecipe, KFACRecipe, MLPExecution, Optimizer, Recipe, Rows
from sklearn_analytic.nn._activations import Activation
from sklearn_analytic.nn._feedback import draw_feedback, of_product
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._kfac import adjusted, damped, share_kept, upper_factor
from tests import reference
from tests.checks import assert_close

SIZES = (5, 9, 12, 7, 3)
ACTIVATIONS = ["identity", "relu", "leaky_relu", "tanh", "logistic"]


def problem(rng, n=20, output="softmax", sizes=SIZES):
    x = rng.standard_normal((n, sizes[0]))
    y = rng.integers(sizes[-1], size=n) if output == "softmax" else rng.standard_normal((n, sizes[-1]))
    return Rows(x, y, rng.uniform(0.5, 2, n))


def execution(rng, activation="relu", precision="float64", sizes=SIZES, **recipe):
    return MLPExecution(
        _with_biases(initial_layers(sizes, activation, rng), rng),
        activation,
        Recipe(precision=precision, **recipe),
        np.random.default_rng(3),
    )


def _with_biases(layers, rng):
    return [(w, rng.normal(0, 0.3, b.shape)) for w, b in layers]


def gradient(ex, rows, refresh=False):
    """Loss and gradient [(dW, db), ...] of one batch with all rows."""
    n = len(rows.x)
    loss = ex._gradient(ex.place(rows), np.arange(n), refresh)
    return loss / n, [(layer.d_weights.copy(), layer.d_bias.copy()) for layer in ex._model.layers]


def assert_same_gradient(found, expected, dtype):
    size = max(np.abs(w).max() for w, _ in expected)
    for (dw, db), (ew, eb) in zip(found, expected, strict=True):
        assert_close(dw, ew, dtype, size=size)
        assert_close(db, eb, dtype, size=size)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "identity"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backprop_is_the_textbook_gradient(rng, activation, output, precision):
    rows = problem(rng, output=output)
    ex = execution(rng, activation, precision, scheme="backprop", output=output)
    loss, found = gradient(ex, rows)
    layers = [(w.astype(float), b.astype(float)) for w, b in ex.layers()]
    assert_close(loss, reference.network_loss(layers, activation, rows.x, rows.y, rows.weight), precision)
    expected = reference.network_gradient(layers, activation, rows.x, rows.y, rows.weight)
    assert_same_gradient(found, expected, precision)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_backprop_is_autograd(rng, output):
    torch = pytest.importorskip("torch")
    rows = problem(rng, output=output)
    ex = execution(rng, "tanh", scheme="backprop", output=output)
    _, found = gradient(ex, rows)
    layers = [(torch.tensor(w, requires_grad=True), torch.tensor(b, requires_grad=True)) for w, b in ex.layers()]
    h = torch.tensor(rows.x)
    for w, b in layers[:-1]:
        h = torch.tanh(h @ w + b)
    f, y, weight = h @ layers[-1][0] + layers[-1][1], torch.tensor(rows.y), torch.tensor(rows.weight)
    if output == "softmax":
        losses = torch.nn.functional.cross_entropy(f, y, reduction="none")
    else:
        losses = 0.5 * ((f - y) ** 2).sum(dim=1)
    (losses * weight).mean().backward()
    assert_same_gradient(found, [(w.grad.numpy(), b.grad.numpy()) for w, b in layers], "float64")


def test_backprop_is_the_slope_of_the_loss(rng):
    rows = problem(rng)
    ex = execution(rng, "logistic", scheme="backprop")
    _, found = gradient(ex, rows)
    layers, step = ex.layers(), 1e-6
    for k, (w, _) in enumerate(layers):
        i, j = rng.integers(w.shape[0]), rng.integers(w.shape[1])
        losses = []
        for sign in (1, -1):
            moved = [(v.copy(), b) for v, b in layers]
            moved[k][0][i, j] += sign * step
            losses.append(reference.network_loss(moved, "logistic", rows.x, rows.y, rows.weight))
        # central differences lose half of the digits, and step^2 of the rest
        assert abs((losses[0] - losses[1]) / (2 * step) - found[k][0][i, j]) < 1e-8


@pytest.mark.parametrize("name", ["random", "binary", "sparse", "product", "refresh", "dkp", "learned"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_projected_errors_are_the_textbook_ones(rng, name, activation):
    rows = problem(rng)
    ex = execution(rng, activation, feedback=FeedbackRecipe(name))
    _, found = gradient(ex, rows)
    matrices = [np.asarray(b, dtype=float) for b in ex.feedback_matrices()]
    assert [b.shape for b in matrices] == [(3, 9), (3, 12), (3, 7)]
    expected = reference.network_gradient(ex.layers(), activation, rows.x, rows.y, rows.weight, matrices)
    assert_same_gradient(found, expected, "float64")


def test_binary_feedback_is_bits_of_the_seed(rng):
    first = execution(rng, feedback=FeedbackRecipe("binary"), seed=5)
    again = execution(np.random.default_rng(9), feedback=FeedbackRecipe("binary"), seed=5)
    assert first._feedback.signs.dtype == np.uint8
    assert first._feedback.signs.nbytes == 3 * (2 + 2 + 1)
    np.testing.assert_array_equal(first._feedback.signs, again._feedback.signs)
    assert all("signs" not in name for name in first.snapshot())
    for b in first.feedback_matrices():
        np.testing.assert_allclose(np.abs(b), 1 / np.sqrt(3))


@pytest.mark.parametrize("init", ["product", "sign_product"])
def test_feedback_may_start_from_the_weights(rng, init):
    ex = execution(rng, feedback=FeedbackRecipe("random", init=init))
    layers = ex.layers()
    product = (layers[1][0] @ layers[2][0] @ layers[3][0]).T
    expected = product if init == "product" else np.sign(product) / np.sqrt(3)
    assert_close(ex.feedback_matrices()[0], expected, "float64")
    sparse = execution(rng, feedback=FeedbackRecipe("sparse", init=init)).feedback_matrices()
    assert all(0 < np.mean(b != 0) < 0.7 for b in sparse)
    signs = execution(rng, feedback=FeedbackRecipe("binary", init="product")).feedback_matrices()
    assert all(np.allclose(np.abs(b), 1 / np.sqrt(3)) for b in signs)


def test_drawn_feedback(rng):
    sizes = [40, 200, 30]
    normal = draw_feedback(FeedbackRecipe("random"), sizes, 10, rng)
    assert [b.shape for b in normal] == [(10, n) for n in sizes]
    for b, n in zip(normal, sizes, strict=True):  # Launay: the norm follows the layer
        assert np.linalg.norm(b) == pytest.approx(1, rel=5 / np.sqrt(10 * n))
    shared = draw_feedback(FeedbackRecipe("random", shared=True), sizes, 10, rng)
    assert_close(shared[0] / shared[0][0, 0], shared[1][:, :40] / shared[1][0, 0], "float64", scale=10)
    sparse = draw_feedback(FeedbackRecipe("sparse", density=0.1), [500], 10, rng)[0]
    assert 0.08 < np.mean(sparse != 0) < 0.25 and np.all((sparse != 0).any(axis=0))
    uniform = draw_feedback(FeedbackRecipe("random", init="uniform"), [400], 10, rng)[0]
    assert np.abs(uniform).max() <= 1 / 20


def test_refresh_is_the_mean_field_product(rng):
    rows = problem(rng)
    ex = execution(rng, "tanh", feedback=FeedbackRecipe("refresh", interval=1))
    gradient(ex, rows, refresh=True)
    layers, h, slopes = ex.layers(), rows.x, []
    for w, b in layers[:-1]:
        h = np.tanh(h @ w + b)
        slopes.append((1 - h**2).mean(axis=0))
    expected = [layers[3][0].T]
    expected.insert(0, expected[0] * slopes[2] @ layers[2][0].T)
    expected.insert(0, expected[0] * slopes[1] @ layers[1][0].T)
    for found, matrix in zip(ex.feedback_matrices(), expected, strict=True):
        assert_close(found, matrix, "float64")


FOLLOWING = {
    "signs": (FeedbackRecipe("binary", init="sign_product", interval=2), {"signs": True}),
    "signs of the product": (FeedbackRecipe("binary", init="product", interval=2), {"signs": True}),
    "largest": (FeedbackRecipe("sparse", init="product", density=0.2, interval=2), {"density": 0.2}),
    "one each": (FeedbackRecipe("sparse", init="product", density=1e-9, interval=2), {"density": 1e-9}),
    "signs of the largest": (
        FeedbackRecipe("sparse", init="sign_product", density=0.3, interval=2),
        {"density": 0.3, "signs": True},
    ),
    "all": (FeedbackRecipe("random", init="product", interval=2), {}),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_drawn_kinds_follow_the_weights(rng, name):
    """Every two steps they are what is kept of the products, between them what they were."""
    feedback, kept = FOLLOWING[name]
    rows, steps = problem(rng, n=24), []
    ex = execution(rng, "tanh", feedback=feedback, batch_size=24)
    placed = ex.place(rows)
    for _ in range(4):
        layers, h, slopes = ex.layers(), rows.x, []
        for w, b in layers[:-1]:
            h = np.tanh(h @ w + b)
            slopes.append((1 - h**2).mean(axis=0))
        ex.epoch(placed, np.arange(24), [0.01])
        due = [reference.followed(b, **kept) for b in reference.mean_field_products(layers, slopes)]
        steps.append((due, [np.array(b) for b in ex.feedback_matrices()]))
    for k in (0, 2):
        for expected, found, later in zip(*steps[k], steps[k + 1][1], strict=True):
            assert_close(found, expected, "float64")
            np.testing.assert_array_equal(later, found)
    assert not np.array_equal(steps[0][1][0], steps[2][1][0])


def test_what_refreshed_feedback_keeps_does_not_depend_on_its_first_matrices(rng):
    product = rng.standard_normal((3, 5))
    for init in ("normal", "product", "sign_product"):
        np.testing.assert_array_equal(of_product(FeedbackRecipe("refresh", init=init, interval=1), product), product)


def test_entries_of_zero_are_not_among_the_largest():
    product = np.zeros((2, 4))
    product[0, 0] = -2.0
    for init in ("product", "sign_product"):
        feedback = FeedbackRecipe("sparse", init=init, density=0.5, interval=1)
        np.testing.assert_array_equal(of_product(feedback, product), product)


def test_signs_that_follow_the_weights_are_bits(rng):
    feedback = execution(rng, feedback=FeedbackRecipe("binary", init="sign_product", interval=2))._feedback
    assert feedback.signs.dtype == np.uint8 and feedback.signs.nbytes == 3 * (2 + 2 + 1)


def test_without_an_interval_drawn_kinds_stay(rng):
    ex = execution(rng, feedback=FeedbackRecipe("binary", init="sign_product"), batch_size=20)
    before = [b.copy() for b in ex.feedback_matrices()]
    ex.epoch(ex.place(problem(rng)), np.arange(20), [0.1])
    for found, matrix in zip(ex.feedback_matrices(), before, strict=True):
        np.testing.assert_array_equal(found, matrix)


def test_refresh_of_a_linear_network_is_backprop(rng):
    rows = problem(rng)
    ex = execution(rng, "identity", feedback=FeedbackRecipe("refresh"))
    _, found = gradient(ex, rows, refresh=True)
    expected = reference.network_gradient(ex.layers(), "identity", rows.x, rows.y, rows.weight)
    assert_same_gradient(found, expected, "float64")


OPTIMIZERS = [
    Optimizer("sgd", nesterov=False, alpha=0.1),
    Optimizer("sgd", momentum=0.5, nesterov=True),
    Optimizer("sgd", momentum=0.0, nesterov=False),
    Optimizer("adam", alpha=0.1),
    Optimizer("adamw", alpha=0.1, beta_1=0.8),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}-{o.momentum}-{o.nesterov}")
@pytest.mark.parametrize("scheme", ["backprop", "dfa"])
def test_epochs_are_the_textbook_loop(rng, optimizer, scheme):
    rows, rates = problem(rng, n=23), [0.01, 0.02, 0.005]
    ex = execution(rng, "tanh", scheme=scheme, feedback=FeedbackRecipe("random"), optimizer=optimizer, batch_size=8)
    layers, placed = ex.layers(), ex.place(rows)
    feedback = None if scheme == "backprop" else [np.asarray(b, float) for b in ex.feedback_matrices()]
    states = [({}, {}) for _ in layers]
    constants = (optimizer.momentum, optimizer.nesterov, optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)
    penalty = 0.0 if optimizer.name == "adamw" else optimizer.alpha  # decoupled decay is no part of the loss
    for epoch in range(2):
        order = rng.permutation(23)
        losses = []
        for k, rate in enumerate(rates):
            part = order[k * 23 // 3 : (k + 1) * 23 // 3]
            x, y, w = rows.x[part], rows.y[part], rows.weight[part]
            losses.append(len(part) * reference.network_loss(layers, "tanh", x, y, w, alpha=penalty))
            grads = reference.network_gradient(layers, "tanh", x, y, w, feedback)
            t = 3 * epoch + k + 1
            layers = [
                tuple(
                    reference.optimiser_step(optimizer.name, state, theta, grad, rate, t, *constants, alpha)
                    for state, theta, grad, alpha in zip(pair, layer, delta, (optimizer.alpha, 0.0), strict=True)
                )
                for pair, layer, delta in zip(states, layers, grads, strict=True)
            ]
        assert_close(ex.epoch(placed, order, rates), np.sum(losses) / 23, "float64", scale=10)
    for (w, b), (ew, eb) in zip(ex.layers(), layers, strict=True):
        # Adam divides by the root of a square: small gradients magnify rounding
        assert_close(w, ew, "float64", scale=100)
        assert_close(b, eb, "float64", scale=100)


STATES = [("refresh", "normal"), ("binary", "normal"), ("binary", "sign_product"), ("sparse", "product")]


@pytest.mark.parametrize(("name", "init"), [*STATES, ("dkp", "normal"), ("learned", "normal")])
@pytest.mark.parametrize("split", [1, 2])
def test_a_snapshot_goes_on_bit_for_bit(rng, name, init, split):
    rows = problem(rng, n=40)
    recipe = {"feedback": FeedbackRecipe(name, init=init, interval=3), "batch_size": 8}
    recipe["optimizer"] = Optimizer(ema_decay=0.9)
    ex = execution(np.random.default_rng(0), "relu", **recipe)
    placed, rates = ex.place(rows), [0.01] * 5
    for _ in range(split):
        ex.epoch(placed, np.arange(40), rates)
    state = ex.snapshot()
    noise = ex._generator.bit_generator.state
    ex.epoch(placed, np.arange(40), rates)
    expected = ex.layers()
    twin = execution(np.random.default_rng(0), "relu", **recipe)
    twin._generator.bit_generator.state = noise
    twin.restore(state)
    twin.epoch(twin.place(rows), np.arange(40), rates)
    for (w, b), (ew, eb) in zip(twin.layers(), expected, strict=True):
        np.testing.assert_array_equal(w, ew)
        np.testing.assert_array_equal(b, eb)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda ex: pickle.loads(pickle.dumps(ex))], ids=["copy", "pickle"])
@pytest.mark.parametrize(("name", "init"), [*STATES, ("random", "normal")])
def test_a_copy_goes_on_as_the_original(rng, name, init, copied):
    """Views of flat vectors are not copied beside them."""
    rows = problem(rng, n=40)
    ex = execution(np.random.default_rng(0), feedback=FeedbackRecipe(name, init=init, interval=3), batch_size=8)
    placed, rates = ex.place(rows), [0.01] * 5
    ex.epoch(placed, np.arange(40), rates)
    twin = copied(ex)
    for _ in range(2):
        assert twin.epoch(placed, np.arange(40), rates) == ex.epoch(placed, np.arange(40), rates)
    for (w, _), (other, _) in zip(ex.layers(), twin.layers(), strict=True):
        np.testing.assert_array_equal(w, other)


@pytest.mark.parametrize("optimizer", [Optimizer("sgd", ema_decay=0.8), Optimizer(ema_decay=0.8)], ids=lambda o: o.name)
def test_weights_that_predict_are_the_mean_of_all_steps(rng, optimizer):
    """The exponential mean of what an execution without one has after every step, its weights summing to one."""
    rows = problem(rng, n=24)
    averaged = execution(np.random.default_rng(0), optimizer=optimizer, batch_size=8)
    plain = execution(np.random.default_rng(0), optimizer=replace(optimizer, ema_decay=0.0), batch_size=24)
    placed, seen = averaged.place(rows), []
    for _ in range(3):
        order = rng.permutation(24)
        averaged.epoch(placed, order, [0.1] * 3)
        for k in range(3):
            plain.epoch(placed, order[8 * k : 8 * k + 8], [0.1])
            seen.append(plain.layers())
    shares = 0.8 ** np.arange(len(seen))[::-1]
    for k, (w, b) in enumerate(averaged.layers()):
        assert_close(w, np.average([layers[k][0] for layers in seen], axis=0, weights=shares), "float64")
        assert_close(b, np.average([layers[k][1] for layers in seen], axis=0, weights=shares), "float64")
    *hidden, (w, b) = averaged.layers()
    h = rows.x
    for below, bias in hidden:
        h = np.maximum(h @ below + bias, 0)
    assert_close(averaged.outputs(rows.x), h @ w + b, "float64")


def test_rows_of_small_error_are_left_out(rng):
    rows = problem(rng)
    ex = execution(rng, "relu", feedback=FeedbackRecipe("random"))
    error = np.exp(ex.outputs(rows.x))
    error = error / error.sum(axis=1, keepdims=True)
    error[np.arange(20), rows.y] -= 1
    norms = np.linalg.norm(error, axis=1) * rows.weight
    bound = np.median(norms)
    thinned = Rows(rows.x, rows.y, np.where(norms < bound, 0.0, rows.weight))
    _, expected = gradient(ex, thinned)
    skipping = execution(rng, "relu", feedback=FeedbackRecipe("random"), tol_error=bound)
    skipping.restore(ex.snapshot())
    assert_same_gradient(gradient(skipping, rows)[1], expected, "float64")
    nothing = execution(rng, "relu", tol_error=1e9)
    assert all(not np.any(dw) for dw, _ in gradient(nothing, rows)[1])


@pytest.mark.parametrize(
    "recipe",
    [{"activation_bits": 4}, {"activation_bits": 8}, {"kfac": KFACRecipe()}, {"feedback": FeedbackRecipe("dkp")}],
    ids=str,
)
def test_rows_that_cannot_be_moved_are_cleared(rng, recipe):
    """With packed copies, factors or learned feedback a small row counts nothing, and disturbs nothing."""
    rows = problem(rng)
    ex = execution(rng, "relu", **{"feedback": FeedbackRecipe("random")} | recipe)
    _, errors = gradient(ex, rows)[0], ex.outputs(rows.x)
    p = np.exp(errors) / np.exp(errors).sum(axis=1, keepdims=True)
    p[np.arange(20), rows.y] -= 1
    norms = np.linalg.norm(p, axis=1) * rows.weight
    bound = np.median(norms)
    thinned = Rows(rows.x, rows.y, np.where(norms < bound, 0.0, rows.weight))
    _, expected = gradient(ex, thinned)
    skipping = execution(rng, "relu", **{"feedback": FeedbackRecipe("random")} | recipe, tol_error=bound)
    skipping.restore(ex.snapshot())
    assert_same_gradient(gradient(skipping, rows)[1], expected, "float64")


# ---- approximate activations ----


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 8)])
def test_packing(rng, bits, signed, shape):
    h = rng.standard_normal(shape)
    h = h if signed else np.maximum(h, 0)
    packed, out = np.zeros(h.size, np.uint8), np.empty_like(h)
    step = training.quantise(h, bits, signed, packed)
    training.restore(packed, bits, signed, step, out)
    assert np.abs(out - h).max() <= step / 2 * (1 + 1e-12)
    np.testing.assert_array_equal(out > 0, h > 0)
    assert np.all(out[h == 0] == 0) or signed
    assert step == pytest.approx(np.abs(h).max() / (2 ** (bits - 1) if signed else 2**bits - 1)) or not h.any()


@pytest.mark.parametrize("scheme", ["backprop", "dfa"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_low_bits_touch_the_weight_gradient_alone(rng, scheme, activation):
    """Errors are exact: with exact masks, biases' gradients and that of the first layer do not change."""
    rows = problem(rng)
    exact = execution(rng, activation, scheme=scheme, feedback=FeedbackRecipe("random"))
    packed = execution(rng, activation, scheme=scheme, feedback=FeedbackRecipe("random"), activation_bits=4)
    packed.restore(exact.snapshot())
    (loss, expected), (same_loss, found) = gradient(exact, rows), gradient(packed, rows)
    assert loss == same_loss
    for (_, db), (_, eb) in zip(found, expected, strict=True):
        assert_close(db, eb, "float64", size=1.0)
    assert_close(found[0][0], expected[0][0], "float64", size=1.0)
    for (dw, _), (ew, eb) in zip(found[1:], expected[1:], strict=True):
        assert 0 < np.abs(dw - ew).max() < 0.2 * np.abs(ew).max() + np.abs(eb).max()


def test_bytes_of_activations(rng):
    sizes = (784, 256, 256, 256, 10)
    exact = execution(rng, precision="float32", sizes=sizes, batch_size=200).activation_bytes()
    four = execution(rng, precision="float32", sizes=sizes, batch_size=200, activation_bits=4)
    assert exact["stored"] == exact["exact"] == 4 * 200 * 3 * 256
    found = four.activation_bytes()
    assert exact["stored"] >= 6 * found["stored"]
    work = four._work_space(200)  # the report is what is really kept
    assert abs(work.packed.nbytes - found["stored"]) < 100
    assert work.hidden.nbytes == found["shared"]


# ---- learned feedback ----


def test_dkp_follows_the_kolen_pollack_rule(rng):
    rows = problem(rng, n=8)
    ex = execution(rng, "relu", feedback=FeedbackRecipe("dkp", rate=0.1, decay=0.5))
    before = [np.array(b) for b in ex.feedback_matrices()]
    layers = ex.layers()
    ex.epoch(ex.place(rows), np.arange(8), [0.0])
    h, hidden = rows.x, []
    for w, b in layers[:-1]:
        h = np.maximum(h @ w + b, 0)
        hidden.append(h)
    p = np.exp(h @ layers[-1][0] + layers[-1][1])
    e = p / p.sum(axis=1, keepdims=True)
    e[np.arange(8), rows.y] -= 1
    e *= rows.weight[:, None] / 8
    for b, old, h in zip(ex.feedback_matrices(), before, hidden, strict=True):
        pull = e.T @ h + 0.5 * old  # Adam's first step is the sign, up to epsilon
        assert_close(b, old - 0.1 * pull / (np.abs(pull) + 1e-8), "float64", scale=10)


def test_learned_feedback_tends_to_the_mean_jacobian(rng):
    sizes = (4, 6, 5, 3)
    rows = problem(rng, n=400, sizes=sizes)
    learned = FeedbackRecipe("learned", init="zeros", rate=0.002)
    ex = execution(rng, "tanh", sizes=sizes, feedback=learned, batch_size=400)
    placed = ex.place(rows)
    for _ in range(3000):
        ex.epoch(placed, np.arange(400), [0.0])
    layers, h, slopes = ex.layers(), rows.x, []
    for w, b in layers[:-1]:
        h = np.tanh(h @ w + b)
        slopes.append(1 - h**2)
    jacobian = np.mean([(layers[1][0] * s) @ layers[2][0] for s in slopes[1]], axis=0).T
    found = ex.feedback_matrices()[0]
    cosine = np.sum(found * jacobian) / np.linalg.norm(found) / np.linalg.norm(jacobian)
    assert cosine > 0.98


# ---- K-FAC ----


def kronecker_step(layers, rows, activation, damping):
    """The preconditioned gradient by the dense Kronecker matrices, one row at a time."""
    n, hs, ds = len(rows.x), [], []
    for x, y, w in zip(rows.x, rows.y, rows.weight, strict=True):
        one = reference.network_gradient(layers, activation, x[None], np.array([y]), np.array([w]))
        h = x
        for k, (weights, bias) in enumerate(layers):
            hs.append((k, np.append(h, 1)))
            ds.append((k, one[k][1]))
            h = reference.SLOPES[activation][0](h @ weights + bias)
    total = reference.network_gradient(layers, activation, rows.x, rows.y, rows.weight)
    steps = []
    for k, (dw, db) in enumerate(total):
        a = sum(np.outer(h, h) for j, h in hs if j == k) / n
        g = sum(np.outer(d, d) for j, d in ds if j == k) / n
        grad = np.vstack([dw, db])
        dense = np.kron(a, g) + damping * np.eye(grad.size)
        steps.append((np.linalg.solve(dense, grad.ravel()).reshape(grad.shape), grad))
    return steps


@pytest.mark.parametrize("clip", [1e9, 1e-4])
def test_kfac_solves_the_kronecker_system(rng, clip):
    sizes, rate = (3, 4, 3), 0.1
    rows = problem(rng, n=30, sizes=sizes)
    options = KFACRecipe(damping=0.01, kl_clip=clip, factor_decay=0.0)
    optimizer = Optimizer("sgd", momentum=0.0, nesterov=False)
    ex = execution(rng, "tanh", sizes=sizes, scheme="backprop", kfac=options, optimizer=optimizer, batch_size=30)
    before = ex.layers()
    ex.epoch(ex.place(rows), np.arange(30), [rate])
    steps = kronecker_step(before, rows, "tanh", 0.01)
    total = rate**2 * sum(np.sum(step * grad) for step, grad in steps)
    scale = min(1, np.sqrt(clip / total))
    assert (scale < 1) == (clip < 1)
    for (w, b), (ew, eb), (step, _) in zip(ex.layers(), before, steps, strict=True):
        moved = np.vstack([ew, eb]) - rate * scale * step
        assert_close(np.vstack([w, b]), moved, "float64", scale=100)  # condition 1 / damping


def test_kfac_renews_at_its_intervals(rng):
    options = KFACRecipe(factor_interval=2, eigen_interval=4, milestones=(1,), interval_growth=2, damping_decay=0.5)
    rows = problem(rng, n=40)
    ex = execution(rng, "relu", kfac=options, feedback=FeedbackRecipe("random"), batch_size=8)
    placed, factors, bases = ex.place(rows), [], []
    for _ in range(8):
        # one step per call would count as an epoch: milestones are tested through five steps per epoch
        ex.epoch(placed, np.arange(40), [0.001] * 5)
        factors.append(ex._kfac.factors[0][0].copy())
        bases.append(ex._kfac.bases[0][0].copy())
    assert ex._kfac.steps == 40 and ex._kfac.epochs == 8
    assert not np.array_equal(factors[0], factors[1]) and not np.array_equal(bases[0], bases[-1])
    grads = [np.ones((n_in + 1, n_out)) for n_in, n_out in pairwise(SIZES)]
    batch = (ex._batch.inputs, [*ex._batch.errors, ex._batch.outputs[-1]])
    at_40 = ex._kfac
    at_41 = at_40.step(*batch, 8, grads, 0.1, ex._ranks)
    at_42 = at_41.step(*batch, 8, grads, 0.1, ex._ranks)
    # both intervals have doubled at epoch 1: factors every 4 steps, eigenbases every 8; 40 is due, 41 is not
    assert at_41.factors is not at_40.factors and at_41.bases is not at_40.bases
    assert at_42.factors is at_41.factors and at_42.bases is at_41.bases


OURS = KFACRecipe(damping=0.05, kl_clip=0.005, eigen_interval=10, solver="cholesky", start="mean")
JUDGED = replace(OURS, damping_rule="levenberg_marquardt")


@pytest.mark.parametrize("clip", [1e9, 1e-4])
def test_kfac_at_intervals_of_one_is_the_literal_one_bit_for_bit(rng, clip):
    rows, seed = problem(rng, n=40), int(rng.integers(100))
    options = KFACRecipe(damping=0.02, kl_clip=clip, factor_interval=1, eigen_interval=1)
    found, literal = (
        execution(np.random.default_rng(seed), "relu", kfac=options, scheme="backprop", batch_size=8) for _ in range(2)
    )
    literal._kfac = reference.LiteralKFAC(SIZES, 0.02, clip, 0.95)
    for ex in (found, literal):
        for _ in range(3):
            ex.epoch(ex.place(rows), np.arange(40), [0.1] * 5)
    for layer, expected in zip(found.layers(), literal.layers(), strict=True):
        for array, other in zip(layer, expected, strict=True):
            np.testing.assert_array_equal(array, other)


def test_kfac_by_cholesky_solves_the_system_of_damped_factors(rng):
    rows, rate = problem(rng, n=30), 0.1
    optimizer = Optimizer("sgd", momentum=0.0, nesterov=False)
    options = replace(OURS, kl_clip=1e9)
    ex = execution(rng, "tanh", scheme="backprop", kfac=options, optimizer=optimizer, batch_size=30)
    before = ex.layers()
    ex.epoch(ex.place(rows), np.arange(30), [rate])
    gradients = reference.network_gradient(before, "tanh", rows.x, rows.y, rows.weight)
    layers = zip(ex.layers(), before, gradients, ex._kfac.factors, strict=True)
    for (w, b), (ew, eb), (dw, db), pair in layers:
        step = reference.split_damping_step(np.vstack([dw, db]).T, *pair, 0.05).T
        assert_close(np.vstack([w, b]), np.vstack([ew, eb]) - rate * step, "float64", scale=100)


def test_factors_that_start_from_the_mean_are_means_at_first(rng):
    rows = problem(rng, n=24)
    options = replace(OURS, factor_interval=1, factor_decay=0.9)
    ex = execution(rng, kfac=options, scheme="backprop", batch_size=8)
    ex.epoch(ex.place(rows), np.arange(24), [0.1] * 3)
    inputs = np.column_stack([rows.x, np.ones(24)])
    assert_close(ex._kfac.factors[0][0], inputs.T @ inputs / 24, "float64")
    assert share_kept(11, options) == 0.9 and share_kept(1, KFACRecipe()) == 0.95


def test_a_matrix_that_is_not_positive_definite_is_taken_by_its_diagonal():
    indefinite = np.array([[4.0, 9.0], [9.0, 1.0]])
    np.testing.assert_array_equal(upper_factor(indefinite.copy()), [[2, 0], [0, 1]])
    upper = upper_factor(np.array([[4.0, 1.0], [1.0, 3.0]]))
    np.testing.assert_allclose(upper.T @ upper, [[4, 1], [1, 3]])
    empty = damped(np.eye(2), np.zeros((3, 3)), 0.04)
    np.testing.assert_allclose(empty[1], 0.2 * np.eye(3))


def test_the_damping_follows_what_the_full_step_does():
    step = 0.95**5
    falls = {0.8: step, 0.5: 1.0, 0.2: 1 / step, -1.0: 1 / step, np.nan: 1 / step}
    assert {fall: adjusted(1.0, fall, 1.0) for fall in falls} == pytest.approx(falls, nan_ok=True)
    assert adjusted(1.0, 0.0, 0.0) == step and adjusted(1e3, 0.0, 1.0) == 1e3 and adjusted(1e-3, 1.0, 1.0) == 1e-3


def test_a_trial_moves_the_damping_alone(rng):
    rows, seed = problem(rng, n=40), int(rng.integers(100))
    found = []
    for options in (OURS, JUDGED):
        ex = execution(np.random.default_rng(seed), "relu", kfac=options, scheme="backprop", batch_size=8)
        ex.epoch(ex.place(rows), np.arange(40), [0.1] * 5)  # judged at the first step, decomposed there before
        found.append(ex)
    for (w, _), (ew, _) in zip(*(ex.layers() for ex in found), strict=True):
        np.testing.assert_array_equal(w, ew)
    assert [ex._kfac.factor != 1 for ex in found] == [False, True]


@pytest.mark.parametrize("options", [KFACRecipe(), OURS, JUDGED], ids=["published", "cholesky", "judged"])
def test_kfac_state_survives_a_snapshot(rng, options):
    rows = problem(rng, n=40)
    ex = execution(rng, "relu", kfac=options, feedback=FeedbackRecipe("random"), batch_size=8)
    placed, rates = ex.place(rows), [0.01] * 5
    ex.epoch(placed, np.arange(40), rates)
    state = ex.snapshot()
    ex.epoch(placed, np.arange(40), rates)
    expected = ex.layers()
    ex.restore(state)
    ex.epoch(placed, np.arange(40), rates)
    for (w, _), (ew, _) in zip(ex.layers(), expected, strict=True):
        np.testing.assert_array_equal(w, ew)


@pytest.mark.parametrize("before, after", [(KFACRecipe(), OURS), (OURS, KFACRecipe())], ids=["eigen", "cholesky"])
def test_kfac_goes_on_from_the_state_of_another_solver(rng, before, after):
    rows = problem(rng, n=40)
    one, two = (execution(rng, kfac=options, scheme="backprop", batch_size=8) for options in (before, after))
    one.epoch(one.place(rows), np.arange(40), [0.01] * 5)
    state = one.snapshot()
    state["kfac_counts"] = state["kfac_counts"][:2]  # as earlier versions wrote it
    del state["kfac_factor"]
    two.restore(state)
    np.testing.assert_array_equal(two._kfac.factors[0][0], one._kfac.factors[0][0])
    assert two._kfac.renewals == one._kfac.renewals == 1
    assert np.isfinite(two.epoch(two.place(rows), np.arange(40), [0.01] * 5))


# ---- faults ----


def test_a_loss_that_is_not_finite_ends_the_epoch(rng):
    rows = problem(rng, n=16, output="identity")
    rows.y[9] = np.inf
    ex = execution(rng, scheme="backprop", output="identity", batch_size=8)
    placed = ex.place(rows)
    before = ex.layers()
    ex.epoch(placed, np.arange(8), [0.1])
    after_good = ex.layers()
    assert not np.array_equal(before[0][0], after_good[0][0])
    assert not np.isfinite(ex.epoch(placed, np.arange(8, 16), [0.1]))
    np.testing.assert_array_equal(ex.layers()[0][0], after_good[0][0])


def test_a_layer_alone_is_logistic_regression(rng):
    rows = problem(rng, sizes=(5, 3))
    ex = execution(rng, sizes=(5, 3))
    _, found = gradient(ex, rows)
    assert_same_gradient(found, reference.network_gradient(ex.layers(), "relu", rows.x, rows.y, rows.weight), "float64")


# ---- rows of the tables without compiled kernels ----


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("weighted", [True, False])
def test_rows_without_kernels_give_the_gradients_of_those_with_them(monkeypatch, bits, weighted):
    monkeypatch.setitem(ACTIVATIONS_TABLE, "other", ACTIVATIONS_TABLE["tanh"])
    monkeypatch.setitem(LINKS, "another", LINKS["expgb"])
    rows, found = problem(np.random.default_rng(0)), []
    rows = rows if weighted else Rows(rows.x, rows.y)
    for activation, output in (("tanh", "expgb"), ("other", "another")):
        ex = execution(np.random.default_rng(1), activation, scheme="dfa", output=output, activation_bits=bits)
        found.append(gradient(ex, rows, refresh=True))
        assert_close(ex.outputs(rows.x), execution(np.random.default_rng(1), "tanh").outputs(rows.x), "float64")
    assert_close(found[1][0], found[0][0], "float64")
    assert_same_gradient(found[1][1], found[0][1], "float64")


def test_what_a_row_does_not_say_is_refused(monkeypatch):
    from sklearn_analytic import DFAClassifier, PrivateDFAClassifier

    pytest.importorskip("onnx")
    monkeypatch.setitem(ACTIVATIONS_TABLE, "bare", Activation(np.tanh, lambda h: 1 - h * h))
    monkeypatch.setitem(LINKS, "unread", LINKS["linear"]._replace(onnx=None))
    X, y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 2
    shared = {"max_iter": 9, "n_iter_no_change": 1, "tol": 9.0, "random_state": 0}
    with pytest.raises(NotImplementedError, match="activation='bare' has no operator of ONNX"):
        DFAClassifier((4,), activation="bare", **shared).fit(X, y).to_onnx()
    with pytest.raises(NotImplementedError, match="output rule has no nodes of ONNX"):
        DFAClassifier((4,), output="unread", **shared).fit(X, y).to_onnx()
    with pytest.raises(ValueError, match="activation='bare' is unknown: choose one of identity, relu"):
        DFAClassifier((4,), activation="bare", device="torch:cpu", **shared).fit(X, y)
    with pytest.raises(ValueError, match="activation must be one of"):
        PrivateDFAClassifier(activation="bare").fit(X, y)
