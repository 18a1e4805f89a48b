"""The network of CPNet as a value: an input encoding and modules of a projection and, in a cascade, a link."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.backend import dtype_name
from sklearn_analytic.export.computation import ROWS, Step
from sklearn_analytic.features import (
    CODES,
    DenseLayer,
    InputEncoding,
    RadialLayer,
    cell_layer,
    draw_rows,
    fit_input_encoding,
    projected_layer,
)
from sklearn_analytic.features._audit import judged_alone
from sklearn_analytic.features._kernels import radial_gamma, radial_units
from sklearn_analytic.features._sampling import MOST_CELLS
from sklearn_analytic.linalg import NormalEquations, ridge_exits, spectral_exit

WIDTH_FACTORS = (0.5, 1.0, 2.0)  # searched by leave-one-out on a small problem
_SEARCH_ROWS, _SEARCH_AUDIT, _SEARCH_UNITS = 2000, 500, 200
_SEARCH_COLUMNS = 300  # a wider encoded input does not enter the small network
_ENCODING_ROWS = 10_000  # quantiles of so many rows are exact enough
_BINNED_ROWS = 20  # of all classes but the largest, from which on columns are binned
_SKIP_COLUMNS = 512  # a wider encoded input does not enter the exits


@dataclass(frozen=True)
class Module:
    """Two layers: the projection H = f(A W1 + b), and the link f(H W2) that the next module of a cascade reads."""

    layer: object
    link: DenseLayer | None


@dataclass(frozen=True)
class Network:
    """What is frozen once built: everything but the exits' readouts."""

    encoding: InputEncoding
    modules: tuple
    skip: bool  # modules read the encoded input, and exits all that was computed so far
    carries_input: bool  # exits read the encoded input too
    n_scores = 0  # of trees

    def features(self, x, backend):
        """Return all exit features side by side: [A | H_1 | ... | H_L], A where it is carried."""
        a = self.encoding.transform(x, backend)
        parts = [a] if self.carries_input else []
        for module in self.modules:
            hidden = module.layer.apply(a, backend)
            parts.append(hidden)
            if not self.skip and module.link is not None:
                a = module.link.apply(hidden, backend)
        return backend.stack_columns(parts, [1.0] * len(parts), dtype_name(x))

    def read(self, x, backend, held_out=False, folds=None):
        """Return the features, and the scores of trees: there are none, and copies of rows have no folds."""
        return self.features(x, backend), backend.asarray(np.zeros((x.shape[0], 0)))

    def steps(self):
        """Return what :meth:`features` computes as steps, which of them it puts side by side, and their widths."""
        steps, a = [Step(self.encoding, ROWS)], 0
        read, sizes = ([0], [self.encoding.n_columns]) if self.carries_input else ([], [])
        for module in self.modules:
            read.append(len(steps))
            sizes.append(module.layer.n_units)
            steps.append(Step(module.layer, a))
            if not self.skip and module.link is not None:
                a = len(steps)
                steps.append(Step(module.link, read[-1]))
        return steps, read, sizes

    @property
    def n_features(self):
        """Number of columns of :meth:`features`."""
        return int(self.exit_columns()[-1][-1]) + 1

    def exit_columns(self):
        """Return for every exit the columns of :meth:`features` that it reads."""
        start = len(self.encoding.source) if self.carries_input else 0
        columns = []
        for module in self.modules:
            stop = start + module.layer.n_units
            columns.append(np.arange(0 if self.skip else start, stop))
            start = stop
        return columns


def build_network(method, widths, building, with_cells, backend):
    """Construct encoding, projections and links from rows, in one order of random draws; no gradient.

    ``with_cells`` gives the first module a unit at every distinct row too, where modules are radial.
    """
    rows, audit, n_classes, generator = building.rows, building.audit, len(building.names), building.generator
    count = np.bincount(rows.labels[np.unique(rows.keys, return_index=True)[1]])  # distinct rows
    bins = bool(count.sum() - count.max() >= _BINNED_ROWS)  # or the few rows of rare classes would be learnt by heart
    if len(rows.x) > _ENCODING_ROWS:
        few = draw_rows(rows.keys, rows.weights, _ENCODING_ROWS, generator)
        encoding = fit_input_encoding(rows.x[few], bins=bins)
    else:
        encoding = fit_input_encoding(rows.x, rows.weights, bins=bins)
    a = replace(rows, x=encoding.transform(rows.x, backend))
    carries_input = method.skip and a.x.shape[1] <= _SKIP_COLUMNS
    gamma = None
    if method.unit == "radial":
        checked = replace(audit, x=encoding.transform(audit.x, backend))
        factor = _radial_factor(a, checked, n_classes, carries_input, generator, backend)
        gamma = factor * radial_gamma(a)
    modules = []
    for number, width in enumerate(widths):
        layer, code = _layer(method, a, n_classes, width, gamma, generator)
        if with_cells and number == 0 and method.unit == "radial":
            layer = _with_cells(layer, a, encoding.transform(audit.x, backend), generator)
        last = number == len(widths) - 1
        link = None if method.skip or last else _link(method, layer, a, code, backend)
        modules.append(Module(layer, link))
        if link is not None:
            a = replace(a, x=link.apply(layer.apply(a.x, backend), backend))
    return Network(encoding, tuple(modules), method.skip, carries_input)


def _layer(method, a, n_classes, width, gamma, generator):
    """One projection layer, and the code that it was built from."""
    if method.unit == "radial":
        return radial_units(a, width, gamma, generator), None
    drawn = draw_rows(a.keys, a.weights, width, generator)
    if method.encoding == "subclass":
        drawn = drawn[np.unique(a.keys[drawn], return_index=True)[1]]  # equal rows would be equal units
    code = CODES[method.encoding](a.x, a.keys, a.labels, n_classes, drawn, generator)
    projection, activation, anchors = method.projection, method.unit, a.x[drawn]
    return projected_layer(a.x, code, a.weights, projection, activation, anchors, generator), code


def _with_cells(layer, a, audit, generator):
    """The units of a layer, and narrow ones at distinct rows."""
    few = a.x if len(a.x) <= MOST_CELLS else a.x[draw_rows(a.keys, a.weights, MOST_CELLS, generator)]
    cells = cell_layer(np.concatenate([few, audit]))
    gamma = np.concatenate([np.broadcast_to(layer.gamma, layer.n_units), cells.gamma])
    return RadialLayer(np.concatenate([layer.centres, cells.centres]), gamma)


def _link(method, layer, a, code, backend):
    """W2 of a cascade: least squares from the hidden layer to the module's code, and the same activation."""
    hidden = layer.apply(a.x, backend)
    if code is None:  # sub-classes: the link predicts the class
        code = np.eye(a.labels.max() + 1)[a.labels]
    statistic = NormalEquations.from_rows(hidden, code, a.weights, backend)
    alpha = method.alpha if not isinstance(method.alpha, str) else 1.0
    if alpha > 0:
        readout = ridge_exits(statistic, [hidden.shape[1]], (hidden[:1], code[:1], None), [alpha], unit=1.0)[0]
    else:
        readout = spectral_exit(statistic, np.arange(hidden.shape[1]), (hidden[:1], code[:1], None), 0.0)
    activation = "tanh" if method.unit == "radial" else method.unit
    return DenseLayer(readout.coef.astype(a.x.dtype), readout.intercept.astype(a.x.dtype), activation)


def _radial_factor(a, audit, n_classes, carries_input, generator, backend):
    """The factor on all radial scales, by leave-one-out of a small network on few rows."""
    few = draw_rows(a.keys, a.weights, min(_SEARCH_ROWS, a.n_draws), generator)
    small, check = a.taken(few, ones=True), audit.taken(slice(0, _SEARCH_AUDIT))
    rows = np.concatenate([check.x, small.x])
    targets = np.eye(n_classes)[np.concatenate([check.labels, small.labels])]
    weights = np.concatenate([check.weights, small.weights])
    seed, gamma = generator.integers(1 << 32), radial_gamma(small)
    carried, judges = carries_input and rows.shape[1] <= _SEARCH_COLUMNS, len(check.x)
    one_copy = np.minimum(check.weights, 1.0)  # leaves with a judge; ClosedFormMLP takes out all of them
    errors = []
    for factor in WIDTH_FACTORS:
        layer = radial_units(small, _SEARCH_UNITS, factor * gamma, np.random.default_rng(seed))
        errors.append(judged_alone(layer, rows, targets, weights, judges, carried, one_copy, backend).error)
    return WIDTH_FACTORS[int(np.argmin(errors))]
