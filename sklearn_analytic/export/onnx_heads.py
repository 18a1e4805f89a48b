"""What outputs mean, as nodes of ONNX: numbers, classes with their probabilities, sets of labels."""

import numpy as np

from sklearn_analytic.export.calibration import NETWORK_FLOOR, Link
from sklearn_analytic.export.computation import Classes, LabelSet, Numbers, Rule
from sklearn_analytic.nn._losses import LINKS


def _numbers(g, head, outputs, width, dtype):
    """Predictions, always a matrix."""
    return {"variable": (g.cast(outputs, dtype), [width])}


def _classes(g, head, outputs, width, dtype):
    """The label of the largest output, and probabilities, or the outputs where there are none."""
    codes = g.op("ArgMax", outputs, axis=1, keepdims=0, dtype=np.int64)
    labels = class_labels(head.labels)
    found = {"label": (g.op("Gather", g.held(labels), codes, axis=0), [])}
    if head.link is None:
        return found | {"scores": (g.cast(outputs, dtype), [width])}
    chances = _PROBABILITIES[type(head.link)](g, head.link, outputs, width)
    return found | {"probabilities": (g.cast(chances, dtype), [width])}


def _label_set(g, head, outputs, width, dtype):
    """A 0/1 matrix of labels and the probability of each."""
    labels = g.cast(g.op("Greater", outputs, np.array(0.5), dtype=bool), np.int64)
    columns = []
    for k, link in enumerate(head.links):
        score = g.columns(outputs, k, k + 1)
        both = g.concatenate([g.op("Sub", np.array(1.0), score), score])
        columns.append(g.columns(_calibrated(g, link, both, 2), 1, 2))
    return {"label": (labels, [width]), "probabilities": (g.cast(g.concatenate(columns), dtype), [width])}


def _network(g, rule, outputs, n_classes):
    """Softmax of the logarithm of a network's outputs, over the temperature."""
    scores = outputs if rule.output == "softmax" else _log_of_link(g, LINKS[rule.output], outputs)
    return g.op("Softmax", g.op("Div", scores, np.array(float(rule.temperature))), axis=1)


def _log_of_link(g, row, outputs):
    """log o(z), up to a constant."""
    if row.onnx is not None:
        return _log_above(g, row.onnx(g, outputs), NETWORK_FLOOR)
    if row.log is None:
        raise NotImplementedError("the output rule has no nodes of ONNX: use pickle, joblib or skops.")
    return outputs


def _calibrated(g, link, scores, n_classes):
    """The calibration of a closed-form network; see :class:`Link`."""
    scores = scores if link.floor is None else _log_above(g, scores, link.floor)
    chances = g.op("Softmax", g.op("Mul", scores, np.array(float(link.slope))), axis=1)
    return g.op("Add", g.op("Mul", chances, np.array(1.0 - link.doubt)), np.array(link.doubt / n_classes))


def _log_above(g, scores, floor):
    """log(s) above the floor and its tangent below."""
    above = g.op("Log", g.op("Max", scores, np.array(float(floor))))
    below = g.op("Min", g.op("Sub", scores, np.array(float(floor))), np.array(0.0))
    return g.op("Add", above, g.op("Div", below, np.array(float(floor))))


def class_labels(labels):
    """Return class labels in a dtype of ONNX: strings, 64-bit integers, booleans or numbers."""
    plain = np.array(labels.tolist())
    if plain.dtype.kind == "U":
        return plain.astype(object)
    return plain if plain.dtype.kind in "bf" else plain.astype(np.int64)


_PROBABILITIES = {Rule: _network, Link: _calibrated}

# {class of head: its writer (graph, head, outputs, columns, dtype) -> {name: (value, further axes)}}
HEADS = {Numbers: _numbers, Classes: _classes, LabelSet: _label_set}
