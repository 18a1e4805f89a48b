"""Image layers: what a unit is, shapes that do not fit, splits, backends, and accuracy on small digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import masked_layer, patch_layer, pixel_range
from sklearn_analytic.linalg import NormalEquations, ridge_exits
from tests import reference
from tests.checks import assert_close

CPU = get_backend("cpu")


def _images(rng, n=30, shape=(3, 9, 12)):
    return rng.uniform(0, 255, (n, int(np.prod(shape)))), np.eye(3)[np.arange(n) % 3]


def _patches(rows, targets, generator, image_shape):
    return patch_layer(rows, targets, 300, generator, image_shape)


def _masked(rows, targets, generator, image_shape):
    return masked_layer(rows, targets, 40, "tanh", generator, image_shape)


LAYERS = pytest.mark.parametrize("build", [_patches, _masked])


@pytest.mark.parametrize("shape", [(3, 9, 12), (1, 8, 8), (1, 1, 20), (2, 1, 1), (1, 50, 6)])
def test_patch_layer_is_the_naive_loop(shape, dtype, rng):
    X, _ = _images(rng, 5, shape)
    layer = patch_layer(X, None, 300, np.random.default_rng(0), shape)
    found = layer.apply(X.astype(dtype), CPU)
    assert found.shape == (5, layer.n_units) and found.dtype == dtype
    # A root of what is near the threshold magnifies rounding.
    assert_close(found**2, reference.patch_units(X.astype(dtype).astype(float), layer) ** 2, dtype, 10)


@LAYERS
def test_layers_agree_across_backends_and_splits(build, backend, dtype, rng):
    X, Y = _images(rng)
    layer = build(X, Y, np.random.default_rng(0), (3, 9, 12))
    expected = layer.apply(X, CPU)
    rows = backend.asarray(X.astype(dtype))
    found = backend.to_numpy(layer.apply(rows, backend))
    assert found.dtype == dtype
    assert_close(found**2, expected**2, dtype, 10)
    parts = [backend.to_numpy(layer.apply(part, backend)) for part in (rows[:7], rows[7:], rows[:0])]
    assert_close(np.concatenate(parts) ** 2, found**2, dtype)


@LAYERS
def test_layers_are_drawn_by_the_generator_alone(build, rng):
    X, Y = _images(rng)
    one, two = (build(X, Y, np.random.default_rng(3), (3, 9, 12)).apply(X, CPU) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@LAYERS
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_layers_do_not_see_the_units_of_pixels(build, scale, rng):
    X, Y = _images(rng)
    one = build(X, Y, np.random.default_rng(0), (3, 9, 12)).apply(X, CPU)
    two = build(scale * X, Y, np.random.default_rng(0), (3, 9, 12)).apply(scale * X, CPU)
    assert_close(two**2, one**2, np.float32)


@LAYERS
@pytest.mark.parametrize("shape", [(9, 12), (3, 324), (324,), (3, 9, 12, 1), (-9, -36), (9, 12, 3, 0)])
def test_shapes_that_do_not_fit_are_refused(build, shape, rng):
    X, Y = _images(rng)
    with pytest.raises(ValueError, match="image_shape="):
        build(X, Y, rng, shape)


@LAYERS
@pytest.mark.parametrize("n", [1, 4])
def test_blank_images_give_finite_layers(build, n, rng):
    X = np.full((n, 64), 7.0)
    layer = build(X, np.ones((n, 1)), rng, (8, 8))
    assert not np.any(layer.apply(X, CPU))


def test_masked_units_are_rectangles_between_classes(rng):
    X, Y = _images(rng, 12)
    layer = masked_layer(X, Y, 200, "identity", rng, (3, 9, 12))
    _, length = pixel_range(X)
    weights = layer.weights.T.reshape(200, 3, 9, 12) * length
    assert_close(np.linalg.norm(layer.weights, axis=0) * length, np.ones(200), np.float64)
    for unit in np.any(weights != 0, axis=1):
        down, across = np.flatnonzero(unit.any(axis=1)), np.flatnonzero(unit.any(axis=0))
        inside = unit[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
        assert inside.all() and min(inside.shape) >= 4
    # At one pair of rows of different classes a unit is plus and minus the same.
    outputs = layer.apply(X, CPU)
    unlike = Y.argmax(axis=1)[:, None] != Y.argmax(axis=1)
    mirrored = np.isclose(outputs[:, None] + outputs[None], 0, atol=1e-9) & unlike[:, :, None]
    assert np.all(mirrored.any(axis=(0, 1)))


def test_digits_are_read_better_than_from_plain_pixels():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    layer = patch_layer(X[:900], None, 1000, np.random.default_rng(0), (8, 8))
    plain, convolved = (_accuracy(features, y) for features in (X, layer.apply(X, CPU)))
    assert convolved > 0.97 > plain + 0.03


def _accuracy(features, y, n_train=900):
    train, targets = features[:n_train], np.eye(10)[y[:n_train]]
    readout = ridge_exits(
        NormalEquations.from_rows(train, targets), [train.shape[1]], (train, targets, None), [0.1, 1.0, 10.0, 100.0]
    )[0]
    return np.mean((features[n_train:] @ readout.coef + readout.intercept).argmax(axis=1) == y[n_train:])
