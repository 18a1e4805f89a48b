"""Every hidden-layer construction by its name: how the layers of a closed-form network can be drawn."""

from sklearn_analytic.features._forward import forward_layer
from sklearn_analytic.features._gated import gated_layer
from sklearn_analytic.features._hidden import random_layer, sampled_layer
from sklearn_analytic.features._hyperplane import hyperplane_layer
from sklearn_analytic.features._images import masked_layer
from sklearn_analytic.features._inverse import inverse_layer
from sklearn_analytic.features._kernels import laplace_layer
from sklearn_analytic.features._leaf import leaf_layer
from sklearn_analytic.features._lpq import lpq_layer
from sklearn_analytic.features._patches import patch_layer
from sklearn_analytic.features._residual import residual_layer

CONSTRUCTIONS = {
    "random": random_layer,
    "sampled": sampled_layer,
    "laplace": laplace_layer,
    "lpq": lpq_layer,
    "leaf": leaf_layer,
    "residual": residual_layer,
    "forward": forward_layer,
    "inverse": inverse_layer,  # a reconstruction
    "hyperplane": hyperplane_layer,  # a reconstruction
    "gated": gated_layer,
}


def _patches(rows, targets, n_units, activation, generator, image_shape):
    """The patch layer under the signature of the others; it brings its own activation."""
    return patch_layer(rows, targets, n_units, generator, image_shape)


IMAGE_CONSTRUCTIONS = {"masked": masked_layer, "patch": _patches}
