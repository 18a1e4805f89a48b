"""A computation as an ONNX model: steps by their writers, the readout, what outputs mean; and the file."""

import json
import os
import secrets
from pathlib import Path

import numpy as np
from onnx import checker, helper

from sklearn_analytic._version import __version__
from sklearn_analytic.export.computation import ROWS
from sklearn_analytic.export.onnx_continuation import continued, rows_to_continue
from sklearn_analytic.export.onnx_encodings import ENCODINGS
from sklearn_analytic.export.onnx_graph import TREES, Graph
from sklearn_analytic.export.onnx_heads import HEADS
from sklearn_analytic.export.onnx_layers import LAYERS
from sklearn_analytic.export.onnx_patches import IMAGES
from sklearn_analytic.export.onnx_tables import table_inputs
from sklearn_analytic.export.onnx_trees import FORESTS

_DOMAINS = {"": 18, TREES: 3}
_DTYPES = {"float32": np.float32, "float64": np.float64}
_WRITERS = {**ENCODINGS, **LAYERS, **FORESTS, **IMAGES}


def onnx_model(estimator, computation, dtype):
    """Return the model of what an estimator computes, checked; NotImplementedError names what has no writer."""
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}.")
    dtype, name = np.dtype(_DTYPES[dtype]), type(estimator).__name__
    graph = Graph(_input_names(estimator))
    sources, rows = table_inputs(graph, estimator._table, _input_names(estimator), dtype)
    values = {ROWS: graph.cast(rows, dtype if computation.dtype is None else computation.dtype)}
    if computation.continuation is not None:
        values[ROWS], beyond = rows_to_continue(graph, computation.continuation, values[ROWS])
    for number, step in enumerate(computation.steps):
        values[number] = _writer(step.value, name)(graph, step.value, values[step.reads])
    features = graph.concatenate([values[number] for number in computation.read])
    outputs = _readout(graph, computation, features)
    if computation.continuation is not None:
        outputs = continued(graph, outputs, beyond)
    found = HEADS[type(computation.head)](graph, computation.head, outputs, len(computation.intercept), dtype)
    model = graph.model(sources, found, _DOMAINS, **_about(name))
    helper.set_model_props(model, _properties(estimator))
    checker.check_model(model)
    return model


def write_model(model, path):
    """Write the model in one piece: a reader never sees half of it, and an error leaves an old file as it was."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_bytes(model.SerializeToString())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _writer(value, name):
    """The writer of a step."""
    kind = type(value)
    if kind not in _WRITERS:
        raise NotImplementedError(
            f"to_onnx: this {name} computes with a {kind.__name__}, which has no ONNX writer here. Choose another "
            "construction of its layers, or use pickle, joblib or skops to keep the estimator."
        )
    return _WRITERS[kind]


def _readout(graph, computation, features):
    """The linear readout, summed in float64 where the estimator does that."""
    rows = graph.cast(features, np.float64) if computation.wide else features
    return graph.op("Gemm", rows, np.asarray(computation.coef, float), np.asarray(computation.intercept, float))


def _about(name):
    """Who made the model, and its name."""
    return {"name": name, "producer_name": "sklearn_analytic", "producer_version": __version__}


def _input_names(estimator):
    """Names of the columns, or numbers."""
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{j}" for j in range(estimator.n_features_in_)] if names is None else names.tolist()


def _properties(estimator):
    """What a model tells besides its nodes: the columns that it reads, where they had names."""
    names = getattr(estimator, "feature_names_in_", None)
    told = {"estimator": type(estimator).__name__}
    return told if names is None else told | {"feature_names": json.dumps(names.tolist())}
