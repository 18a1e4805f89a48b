"""Feedback matrices: what carries the output error straight to every hidden layer.

``B_l`` is (C, n_l). The fixed ones are drawn on the host; those made from the weights are products of them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sklearn_analytic.nn._activations import ACTIVATIONS


class FeedbackKind(NamedTuple):
    """What is known of a kind of feedback."""

    changes: str = "fixed"  # what happens to the matrices during training: "fixed", "refreshed" or "learned"
    drawn: Callable | None = None  # of (feedback, n_outputs, n, generator), a matrix; None: by the init
    from_weights: bool = False  # whether first matrices are products of the weights


FROM_WEIGHTS = ("product", "sign_product")
INITS = ("normal", "uniform", "zeros", *FROM_WEIGHTS)
_LEAST_INTERVAL, _LARGEST_COST = 2, 0.2  # of automatic refreshes; the cost over backpropagation's error


def draw_feedback(feedback, sizes, n_outputs, generator):
    """Return fixed random matrices (C, n_l) for hidden layers of ``sizes``, by ``feedback.name`` and ``.init``."""
    if feedback.shared:
        widest = max(sizes, default=0)
        whole = _draw(feedback, n_outputs, widest, generator)
        if feedback.name != "random":  # signs have the same size in every layer
            return [whole[:, :n] for n in sizes]
        return [whole[:, :n] * np.sqrt(widest / n) for n in sizes]  # Launay et al. 2019: the norm follows the layer
    return [_draw(feedback, n_outputs, n, generator) for n in sizes]


def _draw(feedback, n_outputs, n, generator):
    """One matrix, as its kind says."""
    drawn = FEEDBACKS[feedback.name].drawn or _by_init
    return feedback.scale * drawn(feedback, n_outputs, n, generator)


def _by_init(feedback, n_outputs, n, generator):
    """Entries of variance 1 / (C n), or as the init says."""
    if feedback.init == "uniform":  # Nokland 2016
        return generator.uniform(-1, 1, (n_outputs, n)) / np.sqrt(n)
    if feedback.init == "zeros":  # of learned feedback as published
        return np.zeros((n_outputs, n))
    return generator.standard_normal((n_outputs, n)) / np.sqrt(n_outputs * n)


def _signs_alone(feedback, n_outputs, n, generator):
    """Signs over sqrt(C)."""
    return np.sign(generator.standard_normal((n_outputs, n))) / np.sqrt(n_outputs)


def _few_signs(feedback, n_outputs, n, generator):
    """Few signs of the same column norm."""
    return _sparse_signs(n_outputs, n, feedback.density, generator)


def _sparse_signs(n_outputs, n, density, generator):
    """Signs in a share of the entries, at least one in every column: no hidden unit is left without an error."""
    chosen = generator.random((n_outputs, n)) < density
    empty = np.flatnonzero(~chosen.any(axis=0))
    chosen[generator.integers(n_outputs, size=len(empty)), empty] = True
    signs = np.where(generator.random((n_outputs, n)) < 0.5, -1.0, 1.0)
    return np.where(chosen, signs, 0.0) / np.sqrt(np.maximum(chosen.sum(axis=0), 1))


FEEDBACKS = {
    "random": FeedbackKind(),
    "binary": FeedbackKind(drawn=_signs_alone),
    "sparse": FeedbackKind(drawn=_few_signs),
    "product": FeedbackKind(from_weights=True),
    "refresh": FeedbackKind("refreshed", from_weights=True),
    "dkp": FeedbackKind("learned"),
    "learned": FeedbackKind("learned"),
}


def can_follow(name, init):
    """Whether matrices of a kind may be made anew from the weights."""
    kind = FEEDBACKS[name]
    return kind.changes == "refreshed" or (kind.changes == "fixed" and not kind.from_weights and init in FROM_WEIGHTS)


def follows_weights(feedback):
    """Whether a drawn kind is made anew from the weights: where that is possible, and an interval is given."""
    is_drawn = FEEDBACKS[feedback.name].changes == "fixed"
    return is_drawn and bool(feedback.interval) and can_follow(feedback.name, feedback.init)


def interval_of(feedback, n_outputs, batch_size):
    """Return the steps between refreshes, 0 for never.

    A refresh is C / N of the products of backpropagation's error; an automatic interval keeps that at a fifth.
    """
    if FEEDBACKS[feedback.name].changes == "refreshed":
        cheap = max(_LEAST_INTERVAL, math.ceil(n_outputs / (_LARGEST_COST * batch_size)))
        automatic = cheap if feedback.most_steps is None else min(cheap, feedback.most_steps)
        return automatic if feedback.interval is None else feedback.interval
    return feedback.interval if follows_weights(feedback) else 0


def of_product(feedback, product, xp=np):
    """Return what a refresh keeps of a product of weights (C, n): all of it, its largest entries, or signs of either.

    Signs have the mean size of what is kept of their unit.
    """
    if not follows_weights(feedback):
        return product
    sizes = abs(product)
    kept = _largest(sizes, feedback.density, xp) if feedback.name == "sparse" else None
    if is_signed(feedback):
        size = sizes.mean(0) if kept is None else (sizes * kept).sum(0) / _at_least_one(kept.sum(0))
        product = xp.where(product < 0, -size, size)
    return product if kept is None else xp.where(kept, product, xp.zeros_like(product))


def is_signed(feedback):
    """Whether only the signs of weights are sent."""
    return feedback.init == "sign_product" or feedback.name == "binary"


def _largest(sizes, density, xp):
    """Where the largest entries are: a share of all, and that of every column, so that no unit is without an error."""
    flat, n = sizes.ravel(), math.prod(sizes.shape)
    below = min(n - round(density * n), n - 1)
    bound = np.partition(flat, below)[below] if xp is np else xp.kthvalue(flat, below + 1).values
    return ((sizes >= bound) | (sizes == xp.amax(sizes, 0))) & (sizes > 0)


def _at_least_one(counts):
    """Counts that may be divided by."""
    return counts + (counts == 0)


def product_feedback(layers):
    """Return ``B_l = (W_{l+1} ... W_L)^T`` of every hidden layer: the error of a linear network."""
    return mean_field_feedback(layers, [np.ones(bias.shape) for _, bias in layers[:-1]])


def mean_field_feedback(layers, slopes):
    """Return ``B_{L-1} = W_L^T``, ``B_l = (B_{l+1} diag(slope_{l+1})) W_{l+1}^T``, slopes being means over rows."""
    below, matrices = None, []
    for k in range(len(layers) - 1, 0, -1):
        weights = layers[k][0]
        below = weights.T if below is None else (below * slopes[k]) @ weights.T
        matrices.insert(0, below)
    return matrices


def first_feedback(feedback, layers, generator):
    """Return the matrices before the first step, for dense layers [(W, b), ...].

    Weights enter where the name or the init asks for it: "product", "refresh", and the inits "product" and
    "sign_product" (a reconstruction of Han & Yoo's initialisation from the forward weights). What will be refreshed
    begins as a refresh would leave it, and what stays as it is with fixed sizes and places.
    """
    n_outputs = layers[-1][0].shape[1]
    sizes = [bias.shape[0] for _, bias in layers[:-1]]
    if not FEEDBACKS[feedback.name].from_weights and feedback.init not in FROM_WEIGHTS:
        return draw_feedback(feedback, sizes, n_outputs, generator)
    products = product_feedback(layers)
    if follows_weights(feedback):
        return [of_product(feedback, b) for b in products]
    made = [feedback.scale * b for b in products]
    if is_signed(feedback):
        made = [_signs(b, feedback.scale / np.sqrt(n_outputs)) for b in made]
    if feedback.name == "sparse":
        drawn = draw_feedback(feedback, sizes, n_outputs, generator)
        return [np.where(mask != 0, b, 0.0) for mask, b in zip(drawn, made, strict=True)]
    return made


def _signs(matrix, size):
    """Signs of a matrix, zero counted as positive."""
    return np.where(matrix < 0, -size, size)


def pack_signs(matrices):
    """Return the signs of matrices as bits, row by row, in one flat uint8 array: 1 bit of memory per entry."""
    return np.concatenate([np.packbits(b > 0, axis=1).ravel() for b in matrices] or [np.zeros(0, np.uint8)])


def tangent_feedback(layers, activation, x, generator):
    """Return, for every hidden layer, ``mean_i jv_i u_i^T``: an unbiased estimate of its mean Jacobian, transposed.

    Forward-mode differentiation (Bacho & Chu 2024): noise u_l ~ N(0, I) is added to the activations of every layer,
    and its effect jv on the outputs follows in the same pass.
    """
    f, slope = ACTIVATIONS[activation][:2]
    h, tangent, noises = x, None, []
    for weights, bias in layers[:-1]:
        h = f(h @ weights + bias)
        noise = generator.standard_normal(h.shape).astype(h.dtype)
        tangent = noise if tangent is None else (tangent @ weights) * slope(h) + noise
        noises.append(noise)
    jv = tangent @ layers[-1][0]
    return [jv.T @ noise / len(x) for noise in noises]
