"""Convolutional layers of whitened patches as nodes of ONNX, image by image as they are computed here."""

import numpy as np

from sklearn_analytic.features import PatchLayer
from sklearn_analytic.features._patches import CONTRAST_FLOOR, THRESHOLD


def _patches(g, layer, x):
    """All banks side by side, of pixels in units of their range."""
    pixels = g.op("Div", g.op("Sub", x, np.array(layer.origin)), np.array(layer.scale))
    n_pixels = int(np.prod(layer.image_shape))
    banks = [
        g.by_rows(pixels, n_pixels, lambda r, row, bank=bank: _pooled(r, row, bank, layer)) for bank in layer.banks
    ]
    return g.concatenate(banks)


def _pooled(r, row, bank, layer):
    """Roots of the mean thresholded responses of one image: cell by cell, the positive side first."""
    patches = r.op("Gather", row, _pixels(layer.image_shape, bank), axis=0)  # (p, C a b)
    centred = r.op("Sub", patches, r.op("ReduceMean", patches, np.array([1]), keepdims=1))
    variance = r.op("ReduceMean", r.op("Mul", centred, centred), np.array([1]), keepdims=1)
    contrast = r.op("Sqrt", r.op("Add", variance, np.array(CONTRAST_FLOOR)))
    projected = r.op("MatMul", r.op("Div", centred, contrast), np.asarray(bank.projection, float))
    responses = r.op("MatMul", projected, np.asarray(bank.filters, float))
    cells = _shares(bank.cells)  # (g, p)
    sides = []
    for side in (responses, r.op("Neg", responses)):
        above = r.op("Relu", r.op("Sub", side, np.array(THRESHOLD)))
        sides.append(r.op("Unsqueeze", r.op("MatMul", cells, above), np.array([1])))
    return r.op("Reshape", r.op("Sqrt", r.concatenate(sides)), np.array([-1]))


def _pixels(shape, bank):
    """Indices (p, C a b) of the pixels of every patch, row by row."""
    channels, height, width = shape
    (tall, wide), (down, across) = bank.size, bank.stride
    top = np.arange(0, height - tall + 1, down)[:, None, None, None, None]
    left = np.arange(0, width - wide + 1, across)[None, :, None, None, None]
    channel = np.arange(channels)[:, None, None] * height
    inside = (channel + top + np.arange(tall)[:, None]) * width + left + np.arange(wide)
    return inside.reshape(-1, channels * tall * wide)


def _shares(cells):
    """The weight (g, p) of every position in the mean of its cell."""
    member = cells == np.arange(cells.max() + 1)[:, None]
    return member / member.sum(axis=1, keepdims=True)


# {class of layer: its writer (graph, layer, input) -> output}
IMAGES = {PatchLayer: _patches}
