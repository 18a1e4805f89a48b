"""The network of ClosedFormMLP as a value: an input encoding, hidden layers, and scores of trees; and its search.

The automatic choice of a layer scores candidates and scales by exact leave-one-out on few rows.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sklearn_analytic.backend import dtype_name, get_backend
from sklearn_analytic.export.computation import ROWS, Standardised, Step
from sklearn_analytic.features import (
    CONSTRUCTIONS,
    ENCODINGS,
    IMAGE_CONSTRUCTIONS,
    Continuation,
    LeafScores,
    WeightedEncoding,
    cast_like,
    cell_layer,
    diagonal_agop,
    draw_rows,
    fit_continuation,
    fit_leaf_scores,
    inverse_layers,
    laplace_layer,
    smooth_encoding,
    weighted_mean,
)
from sklearn_analytic.features._audit import judged_alone
from sklearn_analytic.features._kernels import radial_gamma, radial_units
from sklearn_analytic.features._sampling import MOST_CELLS, TrainingRows

_ENCODING_ROWS = 10_000  # quantiles of so many rows are exact enough
_SKIP_COLUMNS = 512  # a wider encoded input does not enter the readout
_LAYER_ROWS = 30_000  # layers are built from at most so many rows, drawn by weight
_FEW_UNITS, _ROWS_PER_UNIT = 600, (2, 12)
_MANY_UNITS = {False: 2000, True: 3300}  # more where columns are on one scale, and no trees help
_UNITS_BESIDE_TREES = 1000  # of classes, whose chances trees know better
_PATCH_UNITS = (500, 8000)
_MODULES = 3  # layers that an automatic width is shared by
_FLAT = 1e-9  # a unit of less deviation does not move
READS_RAW = ("leaf", "patch", "masked")  # constructions that read X itself
# Of the search:
_ROWS, _AUDIT, _UNITS, _INPUT_COLUMNS = 1500, 500, 200, 150
_WORTHWHILE = 0.01  # relative gain in leave-one-out error for which a re-weighting is kept
_LEAST_JUDGES = 200  # audit rows, below which such a gain is chance
_LEAST_FACTOR = 0.01
_ENERGY_ROWS = 250  # over which the gradient is averaged
_FIRST = 1.0


@dataclass(frozen=True)
class HiddenLayer:
    """One layer and what it reads: X itself, the encoded input, or the standardised layer before."""

    layer: object
    source: str  # "raw", "encoded" or "previous"
    shift: np.ndarray | None = None  # of its own output, for the layer that reads it
    slope: np.ndarray | None = None

    def standardised(self, hidden, backend):
        """The output as columns of unit variance."""
        return (hidden - cast_like(self.shift, hidden, backend)) * cast_like(self.slope, hidden, backend)


@dataclass(frozen=True)
class ClosedFormNetwork:
    """What is frozen once built: everything but the readout."""

    encoding: object
    layers: tuple
    carries_input: bool  # the readout reads the encoded input too
    leaf_scores: LeafScores | None
    labels: np.ndarray | None  # classes of the columns of the scores; None where targets are numbers
    shift: np.ndarray | None = None  # taken off the features: bfloat16 spends its eight bits on deviations
    continuation: Continuation | None = None  # of features and scores, beyond the range of the rows
    candidates: tuple = ()  # what the search tried

    @property
    def n_features(self):
        """Columns of :meth:`features`."""
        return self.encoding.n_columns * self.carries_input + sum(hidden.layer.n_units for hidden in self.layers)

    @property
    def n_scores(self):
        """Columns of the trees' scores."""
        return 0 if self.leaf_scores is None else self.leaf_scores.values.shape[1]

    def read(self, x, backend, held_out=False, folds=None):
        """Return the features with the trees' scores beside them, and the scores alone."""
        scores = self.tree_scores(x, backend, held_out, folds)
        features = backend.as_features(self.features(x, backend))
        if scores.shape[1] == 0:
            return features, scores
        dtype = dtype_name(x)  # scores keep the digits of the rows
        return backend.stack_columns([features, backend.asarray(scores, dtype)], [1.0, 1.0], dtype), scores

    def features(self, x, backend):
        """Return all features side by side, [A | H_1 | ... | H_L], A where it is carried."""
        return self._continued(lambda rows: self._features(rows, backend), x, backend)

    def _continued(self, function, x, backend, folds=None):
        """A function of rows and their folds, if any, straight on beyond their range."""
        if self.continuation is not None:
            return self.continuation.apply(function, x, backend, folds)
        return function(x) if folds is None else function(x, folds)

    def _features(self, x, backend):
        """All features of rows as they are."""
        a = self.encoding.transform(x, backend)
        parts, previous = ([a] if self.carries_input else []), a
        for hidden in self.layers:
            output = hidden.layer.apply({"raw": x, "encoded": a, "previous": previous}[hidden.source], backend)
            parts.append(output)
            if hidden.slope is not None:
                previous = hidden.standardised(output, backend)
        features = backend.stack_columns(parts, [1.0] * len(parts), dtype_name(x))
        if self.shift is not None:
            features -= cast_like(self.shift, features, backend)
        return features

    def centred(self, x, weights, backend):
        """Return the network with features that are deviations from their means over some rows."""
        return replace(self, shift=weighted_mean(self.features(x, backend), weights))

    def steps(self):
        """Return features and scores of trees as steps, which of them stand side by side, and their widths."""
        steps, previous = [Step(self.encoding, ROWS)], 0
        read, sizes = ([0], [self.encoding.n_columns]) if self.carries_input else ([], [])
        for hidden in self.layers:
            read.append(len(steps))
            sizes.append(hidden.layer.n_units)
            steps.append(Step(hidden.layer, {"raw": ROWS, "encoded": 0, "previous": previous}[hidden.source]))
            if hidden.slope is not None:
                previous = len(steps)
                steps.append(Step(Standardised(hidden.shift, hidden.slope), read[-1]))
        if self.leaf_scores is not None:
            read.append(len(steps))
            sizes.append(self.leaf_scores.values.shape[1])
            steps.append(Step(self.leaf_scores, ROWS))
        return steps, read, sizes

    def tree_scores(self, x, backend, held_out=False, folds=None):
        """Return the scores (n, c) of the trees, of the blind member each if ``held_out``; (n, 0) without trees."""
        if self.leaf_scores is None:
            return backend.asarray(np.zeros((x.shape[0], 0)))
        x, host, trees = backend.to_numpy(x), get_backend("cpu"), self.leaf_scores
        if not held_out:
            return backend.asarray(self._continued(trees.scores, x, host))
        return backend.asarray(self._continued(trees.held_out, x, host, folds))

    def exit_sizes(self):
        """Return for every layer the number of features that the readout up to it reads."""
        start = self.encoding.n_columns if self.carries_input else 0
        return [int(size) for size in start + np.cumsum([hidden.layer.n_units for hidden in self.layers])]


def build_network(method, building, backend):
    """Construct encoding, layers and trees, in one order of random draws; no gradient."""
    rows, tree_rows, generator = building.rows, building.trees, building.generator
    beside_trees = method.hidden == "auto" and method.input_encoding == "auto"
    fit_encoding = smooth_encoding if beside_trees else ENCODINGS[method.input_encoding]
    few = rows.drawn(_ENCODING_ROWS, generator)
    encoding = fit_encoding(few.x, few.weights)
    drawn = rows.drawn(_LAYER_ROWS, generator)
    most = _MANY_UNITS[encoding.on_common_scale]
    if method.hidden == "auto" and building.names is not None and not encoding.on_common_scale:
        most = _UNITS_BESIDE_TREES
    widths = method.widths or _widths(method, building.total, most)
    carries_input = encoding.n_columns <= _SKIP_COLUMNS and method.image_shape is None
    continues = building.names is None and _levels_off(method, encoding)
    continuation = fit_continuation(tree_rows.x, few.weights, few.x) if continues else None
    rest = {"labels": building.names, "continuation": continuation}
    if method.hidden != "auto" or method.image_shape is not None:
        layers = _stack(method, widths, encoding, drawn, generator, backend)
        return ClosedFormNetwork(encoding, layers, carries_input, None, **rest)
    encoding, build, candidates = search_layer(
        encoding, drawn, building.audit, carries_input, method.n_refits, generator, backend
    )
    a = replace(drawn, x=encoding.transform(drawn.x, backend))
    layers = tuple(HiddenLayer(build(a, width, generator), "encoded") for width in widths)
    if method.widths is None and building.repeats:
        contents = tree_rows.distinct(MOST_CELLS, generator)
        layers = (HiddenLayer(cell_layer(encoding.transform(contents.x, backend)), "encoded"), *layers)
    # Trees are grown on all rows, the audit's too: every row's score comes from a member that is blind to it.
    grown = (tree_rows.x, tree_rows.targets, tree_rows.weights, generator)
    sides = {
        "shares": tree_rows.shares,
        "lacking": building.lacking,
        "blind": tree_rows.blind,
        "classes": building.names is not None,
    }
    scores = None if encoding.on_common_scale else fit_leaf_scores(*grown, **sides)
    return ClosedFormNetwork(encoding, layers, carries_input, scores, candidates=tuple(candidates), **rest)


def _levels_off(method, encoding):
    """Whether features of columns with a range each flatten or vanish beyond it; dense layers of z-scores go on."""
    plain = method.input_encoding == "standard" and method.hidden != "auto"
    return method.image_shape is None and not encoding.on_common_scale and not plain


def _widths(method, n_rows, most):
    """Units of every layer by the number (weight) of rows."""
    if method.image_shape is not None:
        return (int(np.clip(n_rows, *_PATCH_UNITS)),)
    units = min(n_rows / _ROWS_PER_UNIT[1], most)
    units = min(n_rows / _ROWS_PER_UNIT[0], max(_FEW_UNITS, units))
    return (max(2, int(units // _MODULES)),) * _MODULES if method.hidden == "auto" else (max(2, int(units)),)


def _stack(method, widths, encoding, rows, generator, backend):
    """Layers of one construction, each built from the standardised output of the one before."""
    name = method.hidden if method.hidden != "auto" else "patch"
    # Constructions know no weights: a row of weight 2 is given twice.
    few = draw_rows(rows.keys, rows.weights, int(np.clip(rows.n_draws, 2, _LAYER_ROWS)), generator)
    x, targets = rows.x[few], rows.targets[few]
    a = encoding.transform(x, backend)
    if name == "inverse":
        return _propagated(method, widths, a, targets, generator)
    layers, previous = [], a
    for number, width in enumerate(widths):
        source = "raw" if number == 0 and name in READS_RAW else "encoded" if number == 0 else "previous"
        given = x if source == "raw" else previous
        layer = _constructed(method, name, given, targets, width, number, generator)
        output = layer.apply(given, backend)
        hidden = HiddenLayer(layer, source, *_standardisation(output))
        layers.append(hidden)
        previous = hidden.standardised(output, backend)
    return tuple(layers)


def _standardisation(output):
    """Mean and one over the deviation of every unit, 0 where it does not move."""
    ones = np.ones(len(output))
    mean = weighted_mean(output, ones)
    deviation = np.sqrt(weighted_mean((output - mean) ** 2, ones))
    return mean, np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > _FLAT)


def _propagated(method, widths, rows, targets, generator):
    """The whole stack of the analytic target propagation: its layers read each other as they are."""
    stack = inverse_layers(rows, targets - targets.mean(axis=0), widths, method.activation, generator)
    sources = ["encoded", *["previous"] * (len(stack) - 1)]
    return tuple(
        HiddenLayer(layer, source, np.zeros(layer.n_units), np.ones(layer.n_units))
        for layer, source in zip(stack, sources, strict=True)
    )


def _constructed(method, name, rows, targets, width, number, generator):
    """One layer by its name; only the first sees an image."""
    if name == "residual":
        targets = targets - targets.mean(axis=0)
    if name in IMAGE_CONSTRUCTIONS and number == 0:
        return IMAGE_CONSTRUCTIONS[name](
            rows, targets, width, method.activation, generator, image_shape=tuple(method.image_shape)
        )
    name = "random" if name in IMAGE_CONSTRUCTIONS else name
    return CONSTRUCTIONS[name](rows, targets, width, method.activation, generator)


def _radial_units(a, width, generator, factor):
    """Sub-class means as Gaussian units, ``factor`` on their inverse squared widths."""
    return radial_units(a, width, factor * radial_gamma(a), generator)


def _laplace_units(a, width, generator, factor):
    """Laplace units at drawn rows, ``factor`` on their widths."""
    drawn = draw_rows(a.keys, a.weights, width, generator)
    return laplace_layer(a.x[drawn], None, width, "bump", generator, scales=(factor,))


CANDIDATES = {  # construction, scales around 1, and a layer of scale 1 at another one
    "radial": (_radial_units, (0.5, 1.0, 2.0), lambda layer, factor: replace(layer, gamma=factor * layer.gamma)),
    "laplace": (
        _laplace_units,
        (0.5, 1.0),
        lambda layer, factor: replace(layer, inverse_width=layer.inverse_width / factor),
    ),
}


def search_layer(encoding, rows, audit, carries_input, n_refits, generator, backend):
    """Return (encoding, build, tried): the best candidate on a small problem, inputs re-weighted if that helps.

    Every candidate is one small network, [A | H], solved for all ridges from one statistic; its error is the
    leave-one-out error of audit rows, which build no layer. ``build(a, width, generator)`` makes a layer of the
    winner from encoded rows.
    """
    few = draw_rows(rows.keys, rows.weights, min(_ROWS, rows.n_draws), generator)
    small, check = rows.taken(few, ones=True), audit.taken(slice(0, _AUDIT))
    seed = generator.integers(1 << 32)
    problem_of = partial(_Problem.of, small, check, seed=seed, carries_input=carries_input, backend=backend)
    problem = problem_of(encoding)
    solutions = {(name, _FIRST): problem.solved(problem.built(CANDIDATES[name][0], _FIRST)) for name in CANDIDATES}
    name, _ = min(solutions, key=lambda key: solutions[key].error)
    construct, scales, rescaled = CANDIDATES[name]
    for scale in scales:  # other scales of the better kind alone, powers of two: what would be built anew, to the bit
        if scale != _FIRST:
            solutions[name, scale] = problem.solved(rescaled(solutions[name, _FIRST].layer, scale))
    name, factor = min(solutions, key=lambda key: solutions[key].error)
    solution = solutions[name, factor]
    records = [{"hidden": n, "scale": f, "refits": 0, "error": s.error} for (n, f), s in solutions.items()]
    few_judges = len(check.x) < _LEAST_JUDGES
    for refit in range(1, 0 if few_judges else n_refits + 1):
        candidate = _reweighted(encoding, solution)
        problem = problem_of(candidate)
        again = problem.solved(problem.built(construct, factor))
        records.append({"hidden": name, "scale": factor, "refits": refit, "error": again.error})
        if again.error > solution.error * (1 - _WORTHWHILE):
            break
        encoding, solution = candidate, again
    return encoding, partial(construct, factor=factor), records


class _Solution:
    """A small network that was solved: its error, and the mean squared derivative per encoded column."""

    def __init__(self, error, layer, coef, rows, direct):
        self.error, self.layer, self._coef, self._rows, self._direct = error, layer, coef, rows, direct

    def energy(self):
        """Diagonal of the average gradient outer product with respect to the encoded columns."""
        return diagonal_agop(self.layer, self._rows, self._coef) + self._direct


@dataclass(frozen=True)
class _Problem:
    """Rows that build small networks below those that judge them, encoded."""

    small: TrainingRows  # which build
    rows: np.ndarray  # the judges and these
    targets: np.ndarray
    weights: np.ndarray
    n_carried: int  # columns that the readout reads too
    seed: int
    backend: Any

    @classmethod
    def of(cls, small, check, encoding, *, seed, carries_input, backend):
        """Return the problem of some rows in one encoding."""
        small = replace(small, x=encoding.transform(small.x, backend))
        rows = np.concatenate([encoding.transform(check.x, backend), small.x])
        targets, weights = (np.concatenate(p) for p in ((check.targets, small.targets), (check.weights, small.weights)))
        n_carried = rows.shape[1] if carries_input and rows.shape[1] <= _INPUT_COLUMNS else 0
        return cls(small, rows, targets, weights, n_carried, seed, backend)

    def built(self, construct, factor):
        """Return the layer of one small candidate."""
        return construct(self.small, _UNITS, np.random.default_rng(self.seed), factor)

    def solved(self, layer):
        """Solve one small candidate."""
        judges, carried = len(self.rows) - len(self.small.x), self.n_carried
        left_out, data = self.weights[:judges], (self.rows, self.targets, self.weights)
        readout = judged_alone(layer, *data, judges, carried > 0, left_out, self.backend)
        direct = np.zeros(self.rows.shape[1])
        direct[:carried] = np.sum(readout.coef[:carried] ** 2, axis=1)
        return _Solution(readout.error, layer, readout.coef[carried:], self.small.x[:_ENERGY_ROWS], direct)


def _reweighted(encoding, solution):
    """The encoding with columns scaled by the root of their share in the readout's gradient."""
    energy = np.sqrt(np.maximum(solution.energy(), 0))
    factors = np.maximum(energy / max(energy.max(initial=0.0), 1e-300), _LEAST_FACTOR)
    return WeightedEncoding(encoding, factors * np.sqrt(len(factors) / np.sum(factors**2)))
