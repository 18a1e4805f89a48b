"""What fits leave behind, as values: sums of rows and what judges them, a network in training, and what predicts."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_analytic.backend import backend_for, is_tensor
from sklearn_analytic.export.computation import Rule
from sklearn_analytic.features._audit import Audit, Contents
from sklearn_analytic.features._row_sample import row_hashes
from sklearn_analytic.features._sampling import label_hashes
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._columns import CodedRows

ENOUGH = 1000  # rows of positive weight, with which layers stay
_ROUNDING = 1e-9  # of sums of weights


@dataclass(frozen=True, eq=False)
class Learned:
    """All that rows have left behind: the one state of a fit, from which it is solved and goes on."""

    targets: Any  # what y means
    network: Any = None  # layers, which stay once they are built
    statistic: Any = None  # sums of all rows; None in a shard that has seen none
    judges: Any = None  # of networks that leave-one-out chooses
    first: Any = None  # rows of a young stream, from which layers are to be built anew
    table: Any = None  # how raw rows become numbers
    priors: Any = None  # (C,) shares that classes are given at the solve


@dataclass(frozen=True, eq=False)
class Judges:
    """How the rows of a network are told apart, and those on which leave-one-out chooses."""

    seed: int
    contents: Contents
    audit: Audit | None  # None in a shard that has seen no rows
    first_audit: int  # audit rows of those that built the layers
    network_id: int  # shards of one fit share it
    shard: int = 0  # by which shards draw other copies into the audit
    n_shards: int = 0  # that were made of this one
    ledger: Any = None  # where copies of rows lie, where these are draws
    built: bool = True  # whether rows in the statistic have built the layers


@dataclass(frozen=True, eq=False)
class FirstRows:
    """Rows with labels or targets and sample weights, on the host."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    built: int  # rows of positive weight when layers were last built
    columns: Any = None  # how they were read, where some hold categories

    def without(self, x, y, weight):
        """Return these rows without others (host), the last ones that equal them; None where these are not all in."""
        mine, theirs = _hashes_of(self.x, self.y), _hashes_of(x, y)
        own = np.ones(len(self.y)) if self.weight is None else self.weight
        left = np.array(own)
        for hashed, gone in zip(theirs, np.ones(len(y)) if weight is None else weight, strict=True):
            for row in np.flatnonzero(mine == hashed)[::-1]:
                taken = min(gone, left[row])
                left[row], gone = left[row] - taken, gone - taken
            if gone > _ROUNDING * np.max(own, where=mine == hashed, initial=0.0):
                return None
        kept = np.flatnonzero(left > _ROUNDING * own)
        weight = None if self.weight is None and np.all(left[kept] == 1) else left[kept]
        return replace(self, x=self.x[kept], y=self.y[kept], weight=weight)

    def joined(self, X, y, weight):
        """Return these rows and a block as one (X, y, weights), of the kind of the block."""
        if self.weight is not None or weight is not None:
            pairs = ((self.weight, self.y), (weight, y))
            weight = np.concatenate([np.ones(len(y)) if w is None else w for w, y in pairs])
        return _below(self.x, X), np.concatenate([self.y, y]), weight


@dataclass(frozen=True, eq=False)
class Stage:
    """One linear readout of all features, and the calibration of its scores."""

    coef: np.ndarray  # (p, c)
    intercept: np.ndarray  # (c,)
    link: Any = None


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What rows of the fit are predicted without themselves: those that intervals and sets are measured on."""

    predictions: np.ndarray  # (m, c)
    targets: np.ndarray  # (m, c)
    weights: np.ndarray  # (m,) in rows
    gone: np.ndarray  # (m,) what of the weight in the statistic leaves with a row
    pulls: tuple = ()  # of the rows on the readout that predicts
    spared: float | np.ndarray = 0.0  # (c,) squared error that new rows have less


@dataclass(frozen=True, eq=False)
class Solved:
    """What predicts: the readout that was chosen, and those of all exits."""

    chosen: Stage
    stages: tuple = ()
    left_out: LeftOut | None = None
    factors: np.ndarray | None = None  # (C,) of the classes, where each has a statistic
    problem: Any = None  # what was asked for of block-wise least squares


@dataclass(frozen=True, eq=False)
class Trained:
    """All that training leaves behind: what predicts, what is published, and what goes on."""

    targets: Any  # what y means
    reading: Any  # how columns are read
    attributes: dict = field(default_factory=dict)  # fitted ones by name; weights may be written over
    shapes: dict = field(default_factory=dict)  # of the weights among them
    snapshot: Any = None  # of the network in training; None where it does not go on
    layout: Any = None  # shapes of its weights
    kind: dict = field(default_factory=dict)  # parameters that must stay
    seed: int = 0
    blocks: int = 0  # that were trained on: whole fits, or blocks of a stream
    readouts: Any = None  # of all layers, where these predict in place of the network's own outputs

    def published(self):
        """Return all fitted attributes by name."""
        return self.targets.published() | self.attributes

    def forward(self, network, fitted):
        """Return the function of encoded rows that gives outputs, from a plan and fitted weights."""
        if self.readouts is None:
            return network.forward(fitted)
        return self.readouts.forward(network.layer_units(fitted))

    def staged_forward(self, network, fitted):
        """Return the function of encoded rows that gives the outputs of every stage, bottom to top."""
        if self.readouts is None:
            return network.staged_forward(fitted)
        return self.readouts.staged_forward(network.layer_units(fitted))

    def readers(self, n_stages):
        """Return what makes probabilities of the outputs of every stage; heads below the last are as trained."""
        if self.readouts is not None:
            return [stage.link for stage in self.readouts.stages]
        return [*[Rule(self.targets.output, self.targets.temperature)] * (n_stages - 1), self.targets.reader]

    def n_layers(self):
        """Return the number of layers, the input included: those of torch are told by their matrices."""
        if "coefs_" in self.shapes:
            return len(self.shapes["coefs_"]) + 1
        matrices = {name.rpartition(".")[0] for name, shape in self.shapes["network_state_"].items() if len(shape) > 1}
        return len(matrices) + 1

    def without_weights(self):
        """Return this for an estimator that has the weights as attributes, where they may be written over."""
        kept = {name: value for name, value in self.attributes.items() if name not in self.shapes}
        return replace(self, attributes=kept)


def _hashes_of(x, y):
    """A hash of every row and its target."""
    told_by = label_hashes(labels := np.unique(y))[np.searchsorted(labels, y)] if y.ndim == 1 else y
    return row_hashes(np.column_stack([np.nan_to_num(x), np.isnan(x)]), np.reshape(told_by, (len(y), -1)))


def kept_rows(X, y, weight):
    """Return rows to keep, whose layers are to be built, or None where there are enough of them."""
    n_rows = n_used(y, weight)
    if n_rows >= ENOUGH:
        return None
    used = slice(None) if weight is None else weight > 0
    x = np.array(host(dense_rows(X, missing=True)))[used]
    columns = X.columns if isinstance(X, CodedRows) else None
    return FirstRows(x, np.array(y)[used], None if weight is None else weight[used], n_rows, columns)


def n_used(y, weight):
    """Return the number of rows of positive weight."""
    return len(y) if weight is None else int(np.sum(weight > 0))


def _below(first, X):
    """Rows of the host above rows of any kind."""
    if isinstance(X, CodedRows):
        return X.joined(first)
    if sparse.issparse(X):
        return sparse.vstack([sparse.csr_matrix(first), X], format="csr")
    if is_tensor(X):
        return backend_for(X, "cpu").concatenate([X.new_tensor(first), X])
    return np.concatenate([first, np.asarray(X)])


def layout(tree):
    """Shapes of the arrays in nested lists and dicts."""
    if isinstance(tree, dict):
        return {name: layout(value) for name, value in tree.items()}
    return [np.shape(value) for value in tree] if isinstance(tree, list) else np.shape(tree)


def shapes(tree):
    """Shapes of the arrays in nested lists and dicts, however deep."""
    if isinstance(tree, dict):
        return {name: shapes(value) for name, value in tree.items()}
    return [shapes(value) for value in tree] if isinstance(tree, list) else np.shape(tree)
