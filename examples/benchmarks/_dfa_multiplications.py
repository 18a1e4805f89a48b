"""Multiplications by which the error of one row comes down through a torch network, under its scheme and exactly.

Forward pass and weights' gradients are the same under all schemes. Products with slopes, additions and signs do not
count, and neither do refreshes, which every batch shares: one of a network with modules of two multiplies nothing.
"""

import math

import torch
from _dfa_common import execution_of

from sklearn_analytic.nn._torch_modular import ModularFeedback
from sklearn_analytic.nn._torch_stages import Watch, run_segments


def error_multiplications(model, X, y):
    """(count of the scheme, count of backpropagation) of a fitted estimator, per row."""
    execution, rows = execution_of(model, X[:2], y[:2])
    placed = execution.place(rows)
    stages = execution.stages
    shapes = [[] for _ in stages]
    with torch.no_grad():
        x = placed[0]
        for stage, seen in zip(stages, shapes, strict=True):
            x = stage(x, Watch(layer=lambda h, seen=seen: seen.append(tuple(h.shape[1:]))))
    shapes = [seen[0] for seen in shapes]
    exact = sum(_downward(stage, shape) for stage, shape in zip(stages[1:], shapes[1:], strict=True))
    exact += sum(_through_time(stage, shape) for stage, shape in zip(stages, shapes, strict=True))
    count = {"backprop": lambda *_: exact, "hybrid": _hybrid, "dfa": _hybrid, "modular": _modular}[model.scheme]
    return count(execution, model, placed, stages, shapes), exact


def _downward(stage, shape):
    """From a layer's output to its input: every weight once per place, or per step of time."""
    places = math.prod(shape) // (shape[0] if stage.kind == "conv" else shape[-1])
    return stage.layer.weight.numel() * places


def _through_time(stage, shape):
    """The recurrent weights, once per step but the last."""
    return stage.layer.recurrent_weight.numel() * (shape[0] - 1) if stage.kind == "recurrent" else 0


def _hybrid(execution, model, placed, stages, shapes):
    """Exact inside segments; their outputs get products with the output error, which signs do not multiply."""
    matrices, first, total = execution.feedback.matrices, 0, 0
    for k, segment in enumerate(execution.segments):
        last = first + len(segment.stages)
        total += sum(_downward(stages[j], shapes[j]) for j in range(first + 1, last))
        total += sum(_through_time(stages[j], shapes[j]) for j in range(first, last))
        if k < len(matrices) and model._method().feedback.name != "binary":
            total += int(torch.count_nonzero(matrices[k]))
        first = last
    return total


def _modular(execution, model, placed, stages, shapes):
    """Exact between modules; inside them the entries of paths that are not zero, per place of what they map from."""
    feedback, total = execution.feedback, 0
    _, outputs = run_segments(execution.segments, placed[0])
    for module in feedback.modules:
        if module[0] > 0:
            total += _downward(stages[module[0]], shapes[module[0]])
        for k in module[:-1]:
            path, outer = feedback.paths[k], shapes[module[-1]]
            is_drawn = isinstance(feedback, ModularFeedback)  # its kernel is convolved with the error, enlarged
            places = math.prod(tuple(outputs[k].shape[2:]) if is_drawn else outer[1:]) if path.ndim == 4 else 1
            total += int(torch.count_nonzero(path)) * places
    for k, matrices in feedback.times.items():
        size, steps = len(matrices) + 1, shapes[k][0]
        recurrent = stages[k].layer.recurrent_weight.numel()
        for back in range(1, steps):
            inner = back % size
            total += int(torch.count_nonzero(matrices[inner - 1])) if inner else recurrent
    return total
