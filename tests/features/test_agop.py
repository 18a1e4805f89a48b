"""Gradient energies equal finite differences."""

import numpy as np
import pytest

from sklearn_analytic.backend import ACTIVATION_NAMES, get_backend
from sklearn_analytic.features import DenseLayer, GatedLayer, LaplaceLayer, RadialLayer, diagonal_agop
from tests import reference

CPU = get_backend("cpu")


def layers(rng):
    weights, bias = rng.standard_normal((4, 6)), rng.standard_normal(6)
    centres, widths = rng.standard_normal((6, 4)), rng.uniform(0.2, 0.6, 6)
    dense = {name: DenseLayer(weights, bias, name) for name in ACTIVATION_NAMES}
    return dense | {
        "radial": RadialLayer(centres, widths),
        "radial, one width": RadialLayer(centres + 100, 0.3),
        "laplace": LaplaceLayer(centres, widths),
        "laplace, one width": LaplaceLayer(centres, 0.5),
        "laplace, weighted": LaplaceLayer(centres, widths, np.array([1.0, 0.0, 2.0, 0.5])),
        "gated": GatedLayer(weights, bias),
    }


@pytest.mark.parametrize("name", list(layers(np.random.default_rng(0))))
def test_energy_is_the_mean_squared_gradient(name, dtype, rng):
    layer = layers(rng)[name]
    X = rng.standard_normal((30, 4)) + (100 if name == "radial, one width" else 0)
    coef = rng.standard_normal((layer.n_units, 3))
    expected = reference.gradient_energy(lambda x: layer.apply(x, CPU) @ coef, X)
    found = diagonal_agop(layer, X.astype(dtype), coef)
    assert found.dtype == np.float64
    tolerance = {"float64": 1e-6, "float32": 1e-3}[dtype.name]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * expected.max())


def test_a_row_that_is_a_centre_says_nothing_through_itself(rng):
    centre = rng.standard_normal((1, 4))
    layer = LaplaceLayer(centre, 1.0)
    np.testing.assert_array_equal(diagonal_agop(layer, centre, np.ones((1, 1))), np.zeros(4))


def test_unused_columns_have_no_energy(rng):
    layer = DenseLayer(np.vstack([rng.standard_normal((2, 5)), np.zeros((1, 5))]), np.zeros(5), "tanh")
    energy = diagonal_agop(layer, rng.standard_normal((40, 3)).astype(np.float32), rng.standard_normal((5, 1)))
    assert energy[2] == 0 and np.all(energy[:2] > 0)
