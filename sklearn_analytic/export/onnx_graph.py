"""A small builder of ONNX graphs: operations on named values, constants in the dtype of what they meet."""

import re
from dataclasses import dataclass

import numpy as np
from onnx import helper, numpy_helper

TREES = "ai.onnx.ml"  # the domain of trees


@dataclass(frozen=True)
class Value:
    """What a node computes: its name in the graph, and its dtype."""

    name: str
    dtype: np.dtype


class Graph:
    """Nodes and constants in the order in which they were added; none has a name of those that are ``taken``."""

    def __init__(self, taken=()):
        self._nodes, self._constants = [], []
        self.prefix = "_" * max(
            (len(name) - len(name.lstrip("_")) + 1 for name in taken if _is_like_ours(name)), default=0
        )

    def op(self, kind, *inputs, dtype=None, domain="", **attributes):
        """Add a node and return its value, of the dtype of the first input that is a value unless told otherwise.

        Floating arrays and numbers among the inputs become constants of that dtype, integers stay int64.
        """
        meets = next(value for value in inputs if isinstance(value, Value)).dtype
        names = [self._name(value, meets) for value in inputs]
        out = Value(f"{self.prefix}v{len(self._nodes)}", np.dtype(dtype or meets))
        self._nodes.append(helper.make_node(kind, names, [out.name], domain=domain, **attributes))
        return out

    def held(self, array):
        """Return an array as a constant of its own dtype."""
        return Value(self._constant(array), array.dtype)

    def cast(self, value, dtype):
        """Return the value in another dtype."""
        if value.dtype == np.dtype(dtype):
            return value
        code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", value, dtype=dtype, to=code)

    def concatenate(self, values, axis=1):
        """Return values side by side."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def columns(self, value, start, stop):
        """Return the columns start..stop of a matrix."""
        return self.op("Slice", value, np.array([start]), np.array([stop]), np.array([1]))

    def by_rows(self, value, n_columns, function, dtype=None):
        """Return ``function(graph, row)`` (h,) of every row (n_columns,) as a matrix; rows come one after the other.

        What has the size of rows times units times columns never stands in memory. A row of zeros goes last and its
        result is dropped: runtimes refuse a scan of nothing, and batches may be empty.
        """
        value = self.concatenate([value, self.held(np.zeros((1, n_columns), value.dtype))], axis=0)
        dtype = np.dtype(dtype or value.dtype)
        body = _Body(self)
        row = Value(f"{self.prefix}row{len(self._nodes)}", value.dtype)
        out = function(body, row)
        ends = [_info(row.name, row.dtype, [n_columns]), _info(out.name, dtype, None)]
        inner = helper.make_graph(body.nodes, "row", ends[:1], ends[1:])
        found = self.op("Scan", value, dtype=dtype, body=inner, num_scan_inputs=1)
        return self.op("Slice", found, np.array([0]), np.array([-1]), np.array([0]))

    def model(self, sources, outputs, domains, **about):
        """Return the graph as a model that reads {name: (value, columns)}; ``outputs`` are {name: (value, axes)}."""
        nodes = list(self._nodes)
        infos = []
        for name, (out, shape) in outputs.items():
            nodes.append(helper.make_node("Identity", [out.name], [name]))
            infos.append(_info(name, out.dtype, ["rows", *shape]))
        inputs = [_info(value.name, value.dtype, ["rows", n_columns]) for value, n_columns in sources.values()]
        graph = helper.make_graph(nodes, about.pop("name"), inputs, infos, self._constants)
        imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, **about)

    def _name(self, value, meets):
        """The name of a value, or of the constant that an array or a number becomes."""
        if isinstance(value, Value):
            return value.name
        array = np.asarray(value)
        array = np.ascontiguousarray(array, dtype=meets if array.dtype.kind == "f" else None).reshape(array.shape)
        return self._constant(array)

    def _constant(self, array):
        """Add a constant."""
        name = f"{self.prefix}c{len(self._constants)}"
        self._constants.append(constant(array, name))
        return name


class _Body(Graph):
    """The nodes of one row; their constants are those of the graph around them."""

    def __init__(self, around):
        super().__init__()
        self._around, self.prefix = around, around.prefix

    @property
    def nodes(self):
        """Nodes of the body, under names that the graph around does not use."""
        return self._nodes

    def op(self, kind, *inputs, **others):
        """Add a node with a name of its own."""
        out = super().op(kind, *inputs, **others)
        own = Value(f"{out.name}in{len(self._around._nodes)}", out.dtype)
        self._nodes[-1].output[0] = own.name
        return own

    def _constant(self, array):
        """Constants belong to the graph around."""
        return self._around._constant(array)


def _is_like_ours(name):
    """Whether a name could be one that a graph gives."""
    return re.fullmatch(r"_*(v|c|row)\d+(in\d+)?", name) is not None


def constant(array, name):
    """Return an array of numbers or strings as a tensor of ONNX."""
    if array.dtype.kind in "UO":
        return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(np.dtype(object)), array.shape, array.tolist())
    return numpy_helper.from_array(array, name)


def _info(name, dtype, shape):
    """A typed name."""
    kind = np.dtype(object) if dtype.kind in "UO" else dtype
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), shape)
