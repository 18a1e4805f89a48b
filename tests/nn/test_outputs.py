"""Output rules: each error is the slope of a convex loss, everywhere the same, and its outputs are probabilities."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_analytic import Device, DFAClassifier, Feedback, PrivateDFAClassifier
from sklearn_analytic.backend import training
from sklearn_analytic.backend import training as kernels
from sklearn_analytic.export.calibration import log_outputs
from sklearn_analytic.nn import LINKS, FeedbackRecipe, Recipe, Rows
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._losses import EXP_TOP, class_outputs, mean_loss, output_code, rule_of
from sklearn_analytic.private.training import GaussianMechanism, PrivateExecution
from tests import reference
from tests.checks import assert_close, tolerance
from tests.nn.test_mlp import assert_same_gradient, execution, gradient, problem

RULES = sorted(LINKS)
EDGES = np.array([[0.0, EXP_TOP, -30.0], [EXP_TOP + 4, EXP_TOP - 1e-3, 12.0], [EXP_TOP + 1e-3, 2.0, -1.0]])
TARGETS = np.array([0, 2, 1])


def raw_rows(rng, n=30, scale=4.0):
    """Raw outputs (n + 3, 3) and codes, the last rows around the guard of the exponential."""
    outputs = np.concatenate([scale * rng.standard_normal((n, 3)), EDGES])
    return outputs, np.concatenate([rng.integers(3, size=n), TARGETS])


# ---- losses and errors ----


@pytest.mark.parametrize("rule", class_outputs())
def test_the_error_is_the_slope_of_the_loss(rng, rule):
    outputs, codes = raw_rows(rng)
    loss, error = rule_of(rule)
    found, step = error(outputs, codes), 1e-5
    for c, unit in enumerate(np.eye(3)):
        slopes = (loss(outputs + step * unit, codes) - loss(outputs - step * unit, codes)) / (2 * step)
        # a difference loses what the loss rounds over the step, and step^2 of the third derivative
        bound = 4 * np.finfo(float).eps * np.abs(loss(outputs, codes)) / step + 10 * step**2 * (1 + np.abs(found[:, c]))
        assert np.all(np.abs(slopes - found[:, c]) <= bound + 1e-8)


@pytest.mark.parametrize("rule", class_outputs())
def test_losses_and_errors_are_the_textbook_ones(rng, rule):
    outputs, codes = 2 * rng.standard_normal((20, 4)), rng.integers(4, size=20)
    loss, error = rule_of(rule)
    expected = [reference.output_loss(rule, z, k) for z, k in zip(outputs, codes, strict=True)]
    assert_close(loss(outputs, codes), np.array(expected), "float64")
    expected = [reference.output_error(rule, z, k) for z, k in zip(outputs, codes, strict=True)]
    assert_close(error(outputs, codes), np.array(expected), "float64")


@pytest.mark.parametrize("rule", RULES)
def test_losses_are_convex_and_zero_at_the_target(rng, rule):
    link, _, one = LINKS[rule][:3]
    z = np.linspace(-12, 12, 4001)
    assert np.all(np.diff(link(z)) >= 0) and np.all(np.diff(link(z[z > 0])) > 0)
    assert link(np.array(one)) == pytest.approx(1)
    nothing = -800.0 if rule == "expgb" else 0.0
    outputs = np.where(np.eye(3) == 1, one, nothing)
    np.testing.assert_allclose(rule_of(rule)[0](outputs, np.arange(3)), 0, atol=1e-14)
    outputs, codes = raw_rows(rng)
    assert np.all(rule_of(rule)[0](outputs, codes) >= 0)


def test_above_the_guard_the_exponential_is_its_tangent():
    link = LINKS["expgb"][0]
    z = EXP_TOP + np.arange(5.0)
    top = 0.1 * np.exp(EXP_TOP)
    np.testing.assert_allclose(link(z), top * (1 + np.arange(5.0)), rtol=1e-14)
    huge = np.full((1, 3), 1e6, np.float32)
    assert np.isfinite(rule_of("expgb")[1](huge, np.array([0]))).all()
    assert np.isfinite(rule_of("expgb")[0](huge.astype(float), np.array([0]))).all()


@pytest.mark.parametrize("rule", class_outputs())
def test_the_minimiser_of_the_expected_loss_is_the_distribution(rule):
    chances = np.array([0.55, 0.3, 0.1, 0.05])
    loss, error = rule_of(rule)

    def expected(z):
        repeated = np.tile(z, (4, 1))
        slope = chances @ np.stack([error(z[None], np.array([k]))[0] for k in range(4)])
        return chances @ loss(repeated, np.arange(4)), slope

    found = minimize(expected, np.full(4, 0.5), jac=True, method="BFGS", options={"gtol": 1e-10})
    scores = log_outputs(found.x[None], rule)[0]
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(), chances, atol=1e-6)
    if rule in LINKS:
        np.testing.assert_allclose(LINKS[rule][0](found.x), chances, atol=1e-6)


# ---- compiled and torch ----


def test_codes_of_the_kernels_are_those_of_the_table():
    codes = {name.upper(): output_code(name) for name in class_outputs()}
    assert codes == {name: getattr(training, name) for name in codes}
    assert output_code("identity") == training.SQUARED


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_compiled_errors_are_the_naive_ones(rng, rule, precision):
    outputs, codes = raw_rows(rng)
    weight, rows = rng.uniform(0.5, 2, 40), rng.permutation(40)[: len(outputs)]
    spread = np.zeros(40, dtype=np.int64)
    spread[rows] = codes
    f = outputs.astype(precision)
    exact = f.astype(float)
    loss = kernels.link_error(f, spread, rows, weight.astype(precision), True, output_code(rule))
    w = weight.astype(precision)[rows].astype(float)
    expected = w[:, None] * rule_of(rule)[1](exact, codes) / len(rows)
    assert_close(f, expected, precision)
    assert_close(loss, np.sum(w * rule_of(rule)[0](exact, codes)), "float64")
    again = outputs.astype(precision)
    unweighted = kernels.link_error(again, spread, rows, weight[:0].astype(precision), False, output_code(rule))
    assert_close(unweighted, np.sum(rule_of(rule)[0](exact, codes)), "float64")


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_autograd_gives_the_naive_errors(rng, rule, precision):
    torch = pytest.importorskip("torch")
    from sklearn_analytic.nn._torch_execution import losses_of

    outputs, codes = raw_rows(rng)
    outputs = outputs.astype(precision)
    z = torch.tensor(outputs, requires_grad=True)
    losses = losses_of(rule, z, torch.tensor(codes))
    (error,) = torch.autograd.grad(losses.sum(), z)
    assert_close(losses, rule_of(rule)[0](outputs.astype(float), codes), precision)
    assert_close(error, rule_of(rule)[1](outputs.astype(float), codes), precision)


@pytest.mark.parametrize("rule", RULES)
def test_networks_get_the_textbook_gradient(rng, rule):
    rows = problem(rng)
    for choices in ({"scheme": "backprop"}, {"feedback": FeedbackRecipe("random")}):
        ex = execution(rng, "tanh", output=rule, **choices)
        loss, found = gradient(ex, rows)
        matrices = None if "scheme" in choices else [b.astype(float) for b in ex.feedback_matrices()]
        expected = reference.network_gradient(ex.layers(), "tanh", rows.x, rows.y, rows.weight, matrices, rule)
        assert_same_gradient(found, expected, "float64")
        assert_close(loss, reference.network_loss(ex.layers(), "tanh", rows.x, rows.y, rows.weight, rule), "float64")


@pytest.mark.parametrize("rule", RULES)
def test_mean_loss_weighs_rows(rng, rule):
    outputs, codes = raw_rows(rng)
    weight = rng.integers(1, 4, len(codes))
    repeated = Rows(np.repeat(outputs, weight, axis=0), np.repeat(codes, weight))
    found = mean_loss(outputs, Rows(outputs, codes, weight.astype(float)), rule)
    assert found == pytest.approx(mean_loss(repeated.x, repeated, rule), rel=tolerance("float64"))


# ---- first weights ----


@pytest.mark.parametrize("rule", RULES)
def test_first_outputs_are_far_from_the_guard(rng, rule):
    (w, _), (v, _) = initial_layers((20, 256, 10), "relu", rng)
    z = np.maximum(rng.standard_normal((500, 20)) @ w, 0) @ v
    assert np.abs(z).max() < EXP_TOP / 2
    error = rule_of(rule)[1](z, rng.integers(10, size=500))
    assert 0.5 < np.linalg.norm(error, axis=1).mean() < 3


# ---- probabilities ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", class_outputs())
def test_log_outputs_keep_the_order(rule, dtype):
    z = np.linspace(-12, 12, 241).astype(dtype)
    scores = log_outputs(z[None], rule)[0]
    assert scores.dtype == dtype and np.isfinite(scores).all()
    # a cube is flat at zero: neighbours there may round to one score
    assert np.all(np.diff(scores) >= 0) and np.all(np.diff(scores[np.abs(z) > 0.5]) > 0)


@pytest.mark.parametrize("rule", RULES)
def test_log_outputs_are_those_of_the_link(rule):
    link, _, one = LINKS[rule][:3]
    z = one * np.array([[0.3, 0.6, 0.9]])
    assert np.all(link(z) > 0.01)
    scores = log_outputs(z, rule)
    np.testing.assert_allclose(np.exp(scores - scores.max()), link(z) / link(z).max(), rtol=1e-12)


# ---- estimators ----


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


def classifier(rule, **choices):
    return DFAClassifier((64, 64), output=rule, max_iter=30, learning_rate_init=3e-3, random_state=0, **choices)


@pytest.fixture(scope="module")
def fitted(digits):
    """{rule: a classifier with held-out rows}."""
    X, _, y, _ = digits
    return {rule: classifier(rule, early_stopping=True).fit(X, y) for rule in class_outputs()}


@pytest.mark.parametrize("rule", class_outputs())
def test_digits_are_learned(fitted, digits, rule):
    _, X_test, _, y_test = digits
    model = fitted[rule]
    assert model.score(X_test, y_test) >= 0.95
    p = model.predict_proba(X_test)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X_test))
    np.testing.assert_allclose(
        np.log(np.maximum(p, 1e-30)), np.maximum(model.predict_log_proba(X_test), np.log(1e-30)), rtol=1e-4, atol=1e-5
    )
    assert np.isfinite(model.predict_log_proba(1e3 * X_test)).all()
    assert log_loss(y_test, p) < 0.3
    assert model.temperature_ != 1


@pytest.mark.parametrize("rule", class_outputs())
def test_the_temperature_lowers_the_log_loss_of_held_out_rows(digits, rule):
    X, X_test, y, y_test = digits
    model = classifier(rule).set_params(max_iter=5).fit(X, y, X_val=X_test, y_val=y_test)
    calibrated = log_loss(y_test, model.predict_proba(X_test))
    model.temperature_ = 1.0
    assert calibrated <= log_loss(y_test, model.predict_proba(X_test))


@pytest.mark.parametrize("rule", RULES)
def test_devices_agree(digits, rule):
    pytest.importorskip("torch")
    X, X_test, y, _ = digits
    first, second = (
        classifier(rule, device=Device(device, precision="float64")).set_params(max_iter=3).fit(X, y)
        for device in ("cpu", "torch:cpu")
    )
    # a few dozen steps of Adam magnify rounding
    assert_close(second._raw_outputs(X_test), first._raw_outputs(X_test), "float64", scale=1e3)
    np.testing.assert_allclose(second.loss_curve_, first.loss_curve_, rtol=tolerance("float64", 1e3))


@pytest.mark.parametrize("rule", class_outputs())
def test_probabilities_of_tensors_are_tensors(fitted, digits, rule):
    torch = pytest.importorskip("torch")
    rows = digits[1][:20]
    p = fitted[rule].predict_proba(torch.tensor(rows))
    assert p.dtype == torch.float64
    assert_close(p, fitted[rule].predict_proba(rows), "float64")


@pytest.mark.parametrize("rule", RULES)
def test_pickles(fitted, digits, rule):
    again = pickle.loads(pickle.dumps(fitted[rule]))
    np.testing.assert_array_equal(again.predict_proba(digits[1]), fitted[rule].predict_proba(digits[1]))


@pytest.mark.parametrize("rule", RULES)
def test_sample_weights_and_streams(digits, rule):
    X, X_test, y, y_test = digits
    model = classifier(rule)
    for start in range(0, len(X), 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100], classes=np.unique(y))
    weighted = classifier(rule).fit(X, y, sample_weight=np.where(y < 5, 1.0, 1e-6))
    assert np.mean(weighted.predict(X_test) < 5) > 0.7
    assert model.score(X_test, y_test) > 0.6


def test_an_unknown_rule_is_refused(digits):
    X, _, y, _ = digits
    for rule in ("identity", "exp", None):
        with pytest.raises(ValueError, match="output"):
            DFAClassifier(output=rule).fit(X, y)
        with pytest.raises(ValueError, match="output"):
            PrivateDFAClassifier(output=rule).fit(X, y)


def test_a_warm_start_keeps_the_rule(digits):
    X, _, y, _ = digits
    model = classifier("expgb", warm_start=True).set_params(max_iter=1).fit(X, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match="output"):
        model.set_params(output="softmax").fit(X, y)
    with pytest.raises(ValueError, match="output"):
        model.set_params(output="linear").partial_fit(X, y)


def test_automatic_skipping_is_of_softmax_alone():
    def skipped_below(**options):
        return DFAClassifier(**options)._method().recipe(100).tol_error

    assert skipped_below() > 0
    assert [skipped_below(output=rule) for rule in RULES] == [0, 0, 0]
    assert skipped_below(output="expgb", feedback=Feedback(tol_error=0.05)) == 0.05


@pytest.mark.parametrize("rule", RULES)
def test_networks_that_end_in_probabilities_are_refused(digits, rule):
    torch = pytest.importorskip("torch")
    X, _, y, _ = digits
    for last in (torch.nn.Softmax(1), torch.nn.LogSoftmax(1)):
        network = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10), last)
        with pytest.raises(ValueError, match=f"output='{rule}' is a rule of outputs that are not normalised"):
            DFAClassifier(network=network, output=rule, max_iter=1).fit(X, y)


# ---- private training ----


@pytest.mark.parametrize("rule", RULES)
def test_clipping_bounds_a_row_under_every_rule(rng, rule):
    layers = [(20 * w, b) for w, b in initial_layers((5, 8, 3), "relu", rng)]
    recipe = Recipe(output=rule, precision="float64")
    private = PrivateExecution(layers, "relu", recipe, GaussianMechanism(0.3, 0.0), 0.5, rng)
    rows = Rows(10 * rng.standard_normal((30, 5)), rng.integers(3, size=30))
    norms = [np.linalg.norm(private.row_sum(rows, np.array([i]))) for i in range(30)]
    assert max(norms) <= 0.3
    assert max(norms) == pytest.approx(0.3, rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_private_training_learns(digits, rule):
    X, X_test, y, y_test = digits
    shared = {"bounds": (0, 16), "classes": range(10), "accountant": "rdp", "max_iter": 20, "random_state": 0}
    model = PrivateDFAClassifier(epsilon=np.inf, output=rule, **shared).fit(X, y)
    assert model.score(X_test, y_test) > 0.8
    assert model.temperature_ == 1
