"""What BRMP's regressor and classifier share: rows in blocks, a statistic, a solve; fit, stream, merge and forget."""

import numbers
from dataclasses import astuple, dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic import _solvers
from sklearn_analytic._base import (
    AnalyticEstimator,
    check_activation,
    check_alpha,
    check_choice,
    check_flag,
    check_positive_integer,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic._blocks import ArrayBlocks, Block, auto_block_size
from sklearn_analytic.backend import backend_for, get_backend
from sklearn_analytic.features import HIDDEN, apply_layers, cast_like, draw_rows, row_keys

_ROWS_PER_UNIT = 4  # rows drawn per hidden unit for constructions that look at data


@dataclass(frozen=True)
class _HiddenBlocks:
    """Blocks of rows, each seen through the hidden layers as it is read."""

    rows: ArrayBlocks
    layers: tuple
    backend: object

    def __iter__(self):
        for block in self.rows:
            hidden = apply_layers(self.layers, self.backend.asarray(block.x), self.backend)
            yield Block(hidden, block.y, block.weight)

    @property
    def n_rows(self):
        """Number of rows in all blocks."""
        return self.rows.n_rows


class BlockwiseLeastSquares(AnalyticEstimator):
    """What regressor and classifier share: everything but the coding of targets."""

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        hidden="random",
        activation="tanh",
        solver="auto",
        alpha=0.0,
        fit_intercept=True,
        rcond=None,
        block_size=None,
        random_state=None,
        device="cpu",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.hidden = hidden
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.rcond = rcond
        self.block_size = block_size
        self.random_state = random_state
        self.device = device

    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows. A memmap is never copied whole; with ``solver="auto"`` it may be read twice.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, or class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies: weight 2 is the row given twice.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            X = self._read_features(X, reset=True)
            self._learn_targets(y, X, None)
            self._check_enough()
            rows, backend = self._rows(X, y, sample_weight)
            self._layers = self._build_layers(rows, backend)
            blocks = _HiddenBlocks(rows, self._layers, backend)
            d, c = self._width(), rows.y.shape[1]
            if self.solver == "auto":
                self.solver_used_, statistic = _solvers.accumulate_auto(blocks, d, c, self._problem(), backend)
            else:
                self.solver_used_ = self.solver
                start = _solvers.START[self.solver](d, c, self._problem())
                statistic = _solvers.reduce_blocks(blocks, start, backend)
            return self._store(statistic)

    def partial_fit(self, X, y, sample_weight=None):
        """Add rows; the result equals one fit on all rows so far (with the first call's hidden layers).

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows to add.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies.

        Returns
        -------
        self : object
            The estimator; unchanged when an error is raised.
        """
        return self._partial_fit(X, y, sample_weight, None)

    def fit_blocks(self, blocks):
        """Fit from scratch on an iterable of blocks, read once, and solve once at the end.

        Parameters
        ----------
        blocks : iterable of (X, y) or (X, y, sample_weight)
            Each as in :meth:`partial_fit`. Blocks without rows are passed over.

        Returns
        -------
        self : object
            The estimator; unchanged when the iterable fails or is empty.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            statistic = None
            for number, block in enumerate(blocks):
                X, y, weight = _unpacked(block, number)
                if _rows_of(X) == 0 and _rows_of(y) == 0:
                    continue
                statistic = self._absorb(statistic, X, y, weight, None)
            if statistic is None:
                raise ValueError("fit_blocks got no rows: the iterable was empty or already exhausted.")
            self._check_enough()
            return self._store(statistic)

    def forget(self, X, y, sample_weight=None):
        """Take rows out again that were fitted before: the result equals a fit on the rest.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows to take out.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets they were fitted with.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights they were fitted with.

        Returns
        -------
        self : object
            The estimator; unchanged when ValueError says that the rows cannot have been in.
        """
        check_is_fitted(self)
        with self._unchanged_on_error():
            X = self._read_features(X, reset=False)
            rows, backend = self._rows(X, y, sample_weight)
            statistic = self._statistic
            for part in _HiddenBlocks(rows, self._layers, backend):
                statistic = _solvers.remove_rows(statistic, part, backend)
            if statistic.n_rows == 0:
                raise ValueError("forget would leave no rows. Fit a new estimator instead.")
            return self._store(statistic)

    def merge(self, other):
        """Add all rows that another estimator has seen: shards fitted apart become one fit.

        Parameters
        ----------
        other : same class
            Fitted with the same parameters and the same hidden layers (an integer ``random_state``).

        Returns
        -------
        self : object
            The estimator; ``other`` is left as it was.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        with self._unchanged_on_error():
            self._check_mergeable(other)
            one, two = self._aligned(other)
            if type(one) is not type(two):  # "auto" took different roads: the Gram is what both can give
                one, two = one.as_normal(), two.as_normal()
                self.solver_used_ = "gram"
            return self._store(self._watched(one.merge(two)))

    def _partial_fit(self, X, y, sample_weight, classes):
        """One block added, solved, stored."""
        with self._unchanged_on_error():
            self._check_parameters()
            statistic = getattr(self, "_statistic", None)
            return self._store(self._watched(self._absorb(statistic, X, y, sample_weight, classes)))

    def _watched(self, statistic):
        """The statistic, with a warning where "auto" began on the Gram and should not have."""
        if self.solver == "auto":
            _solvers.warn_if_outgrown(statistic, self._problem())
        return statistic

    def _absorb(self, statistic, X, y, sample_weight, classes):
        """Return the statistic with a block added; the first block settles columns, classes and hidden layers."""
        first = statistic is None
        X = self._read_features(X, reset=first)
        statistic = self._learn_targets(y, X, classes, statistic)
        rows, backend = self._rows(X, y, sample_weight)
        if first:
            self._layers = self._build_layers(rows, backend)
            self.solver_used_ = "qr" if self.solver == "auto" else self.solver
            start = _solvers.START[self.solver_used_]
            statistic = start(self._width(), rows.y.shape[1], self._problem())
        return _solvers.reduce_blocks(_HiddenBlocks(rows, self._layers, backend), statistic, backend)

    def _rows(self, X, y, sample_weight):
        """Rows with coded targets and weights, in blocks, and the backend that they belong to."""
        block = self._block(X, y, sample_weight)
        return ArrayBlocks(block.x, block.y, block.weight, self._rows_per_block()), backend_for(X, self.device)

    def _store(self, statistic):
        """Solve and set the fitted attributes."""
        solution = _solvers.solve(statistic, self._problem())
        self._statistic = statistic
        self._coef, self._intercept = solution.coef, solution.intercept
        self.rank_ = solution.rank
        self.condition_number_ = solution.condition
        self.alpha_ = solution.alpha
        self.gcv_path_ = solution.gcv_path
        self.scenarios_ = solution.scenarios
        self.n_samples_seen_ = statistic.n_rows
        self._publish(solution)
        return self

    def _build_layers(self, rows, backend):
        """Construct the hidden layers from drawn rows; each layer sees the output of those before."""
        generator = np.random.default_rng(seed_of(self.random_state))
        layers = []
        for size in hidden_sizes(self.hidden_layer_sizes):
            sample, targets = _draw(rows, _ROWS_PER_UNIT * size, generator)
            hidden = apply_layers(layers, np.asarray(sample, dtype=np.float64), get_backend("cpu"))
            layers.append(HIDDEN[self.hidden](hidden, targets, size, self.activation, generator))
        return tuple(layers)

    def _outputs(self, X):
        """Linear outputs (n, c) of X, in its dtype, summed in float64."""
        check_is_fitted(self)

        def outputs(rows, backend):
            hidden = apply_layers(self._layers, rows, backend)
            coef, intercept = backend.asarray(self._coef), backend.asarray(self._intercept)
            outputs = backend.matmul(backend.stack_columns([hidden], [1.0]), coef) + intercept
            return cast_like(outputs, rows, backend)

        return self._map_blocks(X, outputs)

    def _problem(self):
        """What is asked for, as a value."""
        return _solvers.Problem(self.alpha, self.fit_intercept, self.rcond)

    def _width(self):
        """Number of columns that the readout sees."""
        sizes = hidden_sizes(self.hidden_layer_sizes)
        return sizes[-1] if sizes else self.n_features_in_

    def _rows_per_block(self):
        """Rows per block: as asked for, or by the widest matrix of the fit."""
        if self.block_size is not None:
            return int(self.block_size)
        return auto_block_size(max(self.n_features_in_, *hidden_sizes(self.hidden_layer_sizes), 1))

    def _check_parameters(self):
        """Refuse wrong parameters before any row is read."""
        hidden_sizes(self.hidden_layer_sizes)
        check_choice("hidden", self.hidden, HIDDEN)
        check_activation(self.activation)
        check_choice("solver", self.solver, _solvers.SOLVERS)
        check_alpha(self.alpha)
        check_flag("fit_intercept", self.fit_intercept)
        check_positive_integer("block_size", self.block_size, allow_none=True)
        if self.rcond is not None and not (isinstance(self.rcond, numbers.Real) and 0 <= self.rcond < 1):
            raise ValueError(f"rcond must be None or a number in [0, 1), got {self.rcond!r}.")

    def _check_enough(self):
        """Refuse a full fit that cannot mean anything; regression takes any number of rows."""

    def _check_mergeable(self, other):
        """Refuse another class, other columns, other targets or other hidden layers."""
        if type(other) is not type(self):
            raise TypeError(f"merge needs another {type(self).__name__}, got {type(other).__name__}.")
        if other.n_features_in_ != self.n_features_in_:
            raise ValueError(f"merge needs {self.n_features_in_} features, other has {other.n_features_in_}.")
        names, theirs = (getattr(e, "feature_names_in_", None) for e in (self, other))
        if names is not None and theirs is not None and not np.array_equal(names, theirs):
            raise ValueError(f"merge needs the same columns in the same order: {list(names)} and {list(theirs)}.")
        if getattr(other, "class_weight", None) != getattr(self, "class_weight", None):
            raise ValueError("merge needs the same class_weight in both estimators.")
        if other.fit_intercept != self.fit_intercept or (self.solver_used_ == "recursive") != (
            other.solver_used_ == "recursive"
        ):
            raise ValueError("merge needs the same fit_intercept and solver in both estimators.")
        if self.solver_used_ == "recursive" and self.alpha_ > 0:
            raise ValueError("merge with solver='recursive' needs alpha=0: each state already holds the ridge once.")
        if not _same_layers(self._layers, other._layers):
            raise ValueError(
                "merge needs the same hidden layers: use hidden='random' and the same integer random_state, "
                "or start each shard as a copy of one estimator fitted on a first block."
            )


def _draw(rows, n_draws, generator):
    """Draw rows by weight, whatever their order, with their targets."""
    direction = generator.standard_normal(rows.x.shape[1])
    keys = rows.map_rows(lambda x: row_keys(x, direction))
    return rows.take(draw_rows(keys, rows.weight, n_draws, generator))


def _unpacked(block, number):
    """X, y, weight of one item of an iterable of blocks."""
    if not isinstance(block, tuple | list) or len(block) not in (2, 3):
        raise ValueError(f"Block {number} must be (X, y) or (X, y, sample_weight), got {type(block).__name__}.")
    return (*block, None) if len(block) == 2 else tuple(block)


def _rows_of(part):
    """Number of rows of X or y, 1 for what has none (and will be refused)."""
    shape = getattr(part, "shape", None)
    return shape[0] if shape else len(part) if isinstance(part, list | tuple) else 1


def _same_layers(one, two):
    """Whether two stacks of layers are the same functions."""
    if [type(layer) for layer in one] != [type(layer) for layer in two]:
        return False
    return all(
        np.array_equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(astuple(first), astuple(second), strict=True)
    )
