"""A ridge readout of all layers of a trained network, chosen and calibrated on rows that its layers have not seen.

Layers that have learned a row separate it better than a new one, and a readout of such rows alone is too sure of
itself. So some rows are set apart from training; the readout is solved for with them, and leaving one of them out is
one product (``ridge_exits``): their predictions choose the ridge, how much the outputs as trained count beside it, and
the temperature.
"""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.epoch_rows import held_out_rows
from sklearn_analytic.estimator.learned import Stage
from sklearn_analytic.io._passes import short_block_size
from sklearn_analytic.linalg import NormalEquations, ridge_exits
from sklearn_analytic.nn import Rows
from sklearn_analytic.nn._layer_units import Sketch, read

ALPHAS = tuple(10.0 ** np.arange(-4, 8, 0.5))  # per feature of unit variance, summed over rows
_SHARE, _LEAST, _MOST = 0.05, 100, 1000  # rows that are set apart: measured in docs/theory/layerwise.md
_PART, _FEWEST = 4, 20  # no more than one in so many, and none where they are fewer
_APART, _SKETCH = 4, 5  # streams of random numbers


@dataclass(frozen=True, eq=False)
class LayerReadouts:
    """Linear readouts of more and more layers, of which the last one reads all, and predicts."""

    stages: tuple  # of Stage
    scores: tuple  # of theirs, on the rows that chose them
    alpha: float  # the ridge of the last, per unit of variance 1
    blend: tuple  # weights of the trained outputs and of the ridge readout in the last

    def published(self):
        """Return the readout that predicts as fitted attributes: copies, as what predicts is here."""
        last = self.stages[-1]
        found = {"readout_coef_": last.coef.copy(), "readout_intercept_": last.intercept.copy()}
        return found | {"readout_alpha_": self.alpha, "readout_blend_": self.blend}

    def forward(self, units):
        """Return the function of encoded rows that gives outputs (n, c), from that of the units of all layers."""
        return lambda x: read(units(x), self.stages[-1].coef, self.stages[-1].intercept)

    def staged_forward(self, units):
        """Return the same of all readouts, as a list."""

        def staged(x):
            layers = units(x)
            return [read(layers, stage.coef, stage.intercept) for stage in self.stages]

        return staged

    def folded(self, last):
        """Return the readout that predicts as (coef, intercept) of hidden layers, whose last layer (W, b) it reads."""
        (weights, bias), stage = last, self.stages[-1]
        n = len(stage.coef) - weights.shape[1]
        coef, of_outputs = stage.coef[:n].copy(), stage.coef[n:]
        coef[n - len(weights) :] += weights @ of_outputs
        return coef, stage.intercept + bias @ of_outputs


# ---- rows that layers do not see ----


def n_apart(n_rows):
    """Return how many of so many rows are set apart: 0 where they are too few to tell anything."""
    wanted = int(min(max(_SHARE * n_rows, _LEAST), n_rows // _PART, _MOST))
    return wanted if wanted >= _FEWEST else 0


def set_apart(rows, seed):
    """Return the rows that layers learn, and how many of all ``rows`` they are: the others are moved to their end.

    What is set apart is drawn, the same share of every class.
    """
    n = len(rows.x)
    wanted = n_apart(n)
    if wanted == 0:
        return rows, n
    chosen = held_out_rows(rows.y, wanted / n, np.random.default_rng([seed, _APART]))
    n_seen = n - int(chosen.sum())
    here, there = np.flatnonzero(chosen[:n_seen]), n_seen + np.flatnonzero(~chosen[n_seen:])
    for array in (part for part in (rows.x, rows.y, rows.weight) if part is not None):
        array[here], array[there] = array[there], array[here]  # in place: rows may be most of the memory
    weight = None if rows.weight is None else rows.weight[:n_seen] / rows.weight[:n_seen].mean()
    return Rows(rows.x[:n_seen], rows.y[:n_seen], weight), n_seen


def apart_in_block(seed, number, n_rows, share):
    """Return a mask of rows of a block of a source that are set apart, the same in every epoch."""
    return np.random.default_rng([seed, _APART, number]).random(n_rows) < share


def judging(n_rows):
    """Return a mask of rows that choose, of so many that layers have not seen: not more than are ever set apart."""
    chosen = np.zeros(n_rows, dtype=bool)
    chosen[np.linspace(0, n_rows - 1, min(n_rows, _MOST)).astype(np.int64)] = True
    return chosen


# ---- the readout ----


def solved(targets, units, exits_of, blocks, seed, watched=None):
    """Return the readouts, and the targets as they read them; None where no row tells which ridge is good.

    Parameters
    ----------
    targets : NetworkClasses or NetworkNumbers
        What outputs mean.
    units : callable
        Encoded rows to the units of all layers.
    exits_of : callable
        A number of layers, the outputs among them, to how many of them each readout reads; the last reads all.
    blocks : iterable of (Rows, ndarray of bool)
        Encoded rows that are solved for, and which of them the layers have not seen.
    seed : int
        Of the projections of wide layers.
    watched : Rows or None
        Further rows that choose, and are not solved for.
    """
    sums = _Sums(targets, units, seed)
    for rows, unseen in blocks:
        sums.add(rows, unseen)
    judges = sums.judges() if watched is None else sums.judges_of(watched)
    if judges is None or len(sums.sketch.widths) == 1:  # without hidden layers there is nothing more to read
        return None
    features, coded, y, weight, left_out = judges
    if len(features) < _FEWEST:
        return None
    sizes = np.cumsum(sums.sketch.sizes)[np.array(exits_of(len(sums.sketch.widths))) - 1]
    try:
        rows, unit = (features, coded, weight), sums.statistic.weight / sums.statistic.n_rows
        found = ridge_exits(sums.statistic, sizes, rows, ALPHAS, left_out=left_out, unit=unit)
    except (np.linalg.LinAlgError, MemoryError) as error:
        warn_user(f"a readout of all layers could not be solved for ({error}): predictions are those of the network.")
        return None
    lower = [_stage(sums.sketch, exit_, targets.read_linearly(exit_.loo, y, weight).reader) for exit_ in found[:-1]]
    outputs, ridge = features[:, -targets.n_outputs :].astype(np.float64), found[-1]
    blend, read = targets.blended(outputs, ridge.loo, y, weight)
    stages = (*lower, _blended(_stage(sums.sketch, ridge, read.reader), blend))
    loo = [*(exit_.loo for exit_ in found[:-1]), blend[0] * outputs + blend[1] * ridge.loo]
    scores = tuple(targets.score(predictions, y, weight) for predictions in loo)
    return LayerReadouts(stages, scores, ridge.alpha, blend), read


def _stage(sketch, exit_, reader):
    """A readout of columns as one of units."""
    return Stage(sketch.unfolded(exit_.coef), exit_.intercept, reader)


def _blended(stage, blend):
    """A readout, and the trained outputs, the last units that it reads, each with its weight."""
    coef, n_outputs = blend[1] * stage.coef, len(stage.intercept)
    coef[-n_outputs:] += blend[0] * np.eye(n_outputs)
    return Stage(coef, blend[1] * stage.intercept, stage.link)


class _Sums:
    """Sums of rows over blocks, and the rows among them that layers have not seen."""

    def __init__(self, targets, units, seed):
        self._n_outputs, self._units, self._seed = targets.n_outputs, units, seed
        self.sketch, self.statistic, self._unseen = None, None, []

    def add(self, rows, unseen):
        """Take rows, and a mask of those that layers have not seen: as few at once as all their units are many."""
        if self.sketch is None:
            widths = [h.shape[1] for h in self._units(rows.x[:1])]
            self.sketch = Sketch.of(widths, [self._seed, _SKETCH])
            self.statistic = NormalEquations.empty(sum(self.sketch.sizes), self._n_outputs)
        size = short_block_size(sum(self.sketch.widths))
        for start in range(0, len(rows.x), size):
            part = slice(start, start + size)
            weight = None if rows.weight is None else rows.weight[part]
            self._add(Rows(rows.x[part], rows.y[part], weight), unseen[part])

    def _add(self, rows, unseen):
        """Take few rows."""
        features, coded = self._read(rows)
        if unseen.any():
            weight = np.ones(unseen.sum()) if rows.weight is None else rows.weight[unseen]
            self._unseen.append((features[unseen], coded[unseen], rows.y[unseen], weight))
        self.statistic = self.statistic.accumulate(features, coded, rows.weight, widen=False)

    def judges(self):
        """Features, targets, y, weights and what leaves with them, of rows of blocks; None where there are none."""
        if not self._unseen:
            return None
        features, coded, y, weight = (np.concatenate(parts) for parts in zip(*self._unseen, strict=True))
        return features, coded, y, weight, weight

    def judges_of(self, rows):
        """The same of rows that are in no block."""
        chosen = judging(len(rows.x))
        rows = Rows(rows.x[chosen], rows.y[chosen], None if rows.weight is None else rows.weight[chosen])
        return *self._read(rows), rows.y, rows.weight, np.zeros(len(rows.x))

    def _read(self, rows):
        """Columns of all layers, and targets as numbers."""
        coded = np.eye(self._n_outputs)[rows.y] if rows.y.ndim == 1 else rows.y.astype(np.float64)
        return self.sketch.columns(self._units(rows.x)), coded
