"""What BRMP's regressor and classifier share: rows in blocks, a statistic, a solve; fit, stream, merge and forget."""

import numbers
from dataclasses import astuple, replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import backend_for, get_backend
from sklearn_analytic.estimator.base import (
    NO_WEIGHT,
    check_activation,
    check_alpha,
    check_choice,
    check_flag,
    check_positive_integer,
    hidden_sizes,
    in_dtype_of,
    seed_of,
)
from sklearn_analytic.estimator.callbacks import with_callbacks
from sklearn_analytic.estimator.reduction import ReductionEstimator
from sklearn_analytic.export.computation import ROWS, Computation, chained
from sklearn_analytic.features import HIDDEN, apply_layers, cast_like, draw_rows, linear_readout, row_keys
from sklearn_analytic.io._passes import auto_block_size, rows_in_blocks
from sklearn_analytic.least_squares.hidden_step import HiddenStep
from sklearn_analytic.least_squares.readout_attributes import ReadoutAttributesMixin
from sklearn_analytic.linalg import ColumnMoments, WithColumns, _roads

_ROWS_PER_UNIT = 4  # rows drawn per hidden unit for constructions that look at data
_BLIND = ("random",)  # constructions that do not: a file need not be read for them


class BlockwiseLeastSquares(ReadoutAttributesMixin, ReductionEstimator):
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

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor, Dask collection} of shape (n_samples, n_features)
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
        return self._fit_array(X, y, sample_weight)

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
            statistic, step = self._statistic, self._step()
            for block in rows:
                part = replace(block, x=step.hidden(block, backend), y=step.targets(block.y))
                statistic = _roads.remove_rows(statistic, part, backend)
                if self._columns is not None:
                    self._columns = self._columns.remove(step.moments(block, backend))
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
            known = self._columns is not None and other._columns is not None
            self._columns = self._columns.merge(other._columns) if known else None
            return self._store(self._watched(one.merge(two)))

    def _fit_rows(self, X, y, sample_weight, progress):
        """All rows as a statistic, by the road that ``solver`` says."""
        self._learn_targets(y, X, None)
        self._check_enough()
        rows, backend = self._rows(X, y, sample_weight)
        progress.begin(None if self.solver == "auto" else 1)
        resumed, _ = progress.resume()
        if resumed is None:
            self._layers = self._build_layers(rows)

        def reduce(start):
            self._columns = None
            return self._unpacked(progress.reduce(rows, self._begun(start), self._step(), backend))

        resumed = resumed.statistic if isinstance(resumed, WithColumns) else resumed
        solver = _roads.road_of(self.solver, resumed)
        self.solver_used_, statistic = _roads.accumulated(
            solver, reduce, rows.n_rows, self._width(), self._n_columns(), self._problem()
        )
        if statistic.n_rows == 0:
            raise ValueError(NO_WEIGHT)
        return statistic

    def _partial_fit(self, X, y, sample_weight, classes):
        """One block added, solved, stored."""
        with self._unchanged_on_error():
            self._check_parameters()
            statistic = getattr(self, "_statistic", None)
            return self._store(self._watched(self._absorb(statistic, X, y, sample_weight, classes)))

    def _watched(self, statistic):
        """The statistic, with a warning where "auto" began on the Gram and should not have."""
        if self.solver == "auto":
            _roads.warn_if_outgrown(statistic, self._problem())
        return statistic

    def _absorb(self, statistic, X, y, sample_weight, classes=None):
        """Return the statistic with a block added; the first block settles columns, classes and hidden layers."""
        first = statistic is None
        X = self._read_features(X, reset=first)
        statistic = self._learn_targets(y, X, classes, statistic)
        rows, backend = self._rows(X, y, sample_weight)
        if first:
            self._layers = self._build_layers(rows)
            self.solver_used_ = "qr" if self.solver == "auto" else self.solver
            start = _roads.ROADS[self.solver_used_].start
            self._columns = None
            statistic = self._begun(start(self._width(), self._n_columns(), self._problem()))
        elif self._columns is not None:
            statistic = WithColumns(statistic, self._columns)
        return self._unpacked(rows.reduce(statistic, self._step(), backend))

    def _begun(self, statistic):
        """A statistic of no rows, beside hidden layers with that of the columns that they read."""
        if not self._layers:
            return statistic
        n_columns = self.n_features_in_ + (self._n_columns() if self._n_classes() is None else 0)
        return WithColumns(statistic, ColumnMoments.empty(n_columns))

    def _unpacked(self, statistic):
        """The statistic of what the readout sees; that of the columns is kept apart."""
        if not isinstance(statistic, WithColumns):
            return statistic
        self._columns = statistic.columns
        return statistic.statistic

    def _rows(self, X, y, sample_weight):
        """Rows with coded targets and weights, in blocks, and the backend that they belong to."""
        coded, weights = self._coded(X, y, sample_weight)
        return rows_in_blocks(X, coded, weights, self._rows_per_block()), backend_for(X, self.device)

    def _store(self, statistic):
        """Solve and set the fitted attributes."""
        statistic = self._unpacked(statistic)
        with np.errstate(over="ignore", invalid="ignore"):
            solution = _roads.solve(statistic, self._problem())
        if not (np.isfinite(solution.coef).all() and np.isfinite(solution.intercept).all()):
            raise ValueError(
                f"{type(self).__name__}: weights leave the range of float64, for y is too large beside X. Scale the "
                "columns of X up, or y down."
            )
        self._statistic = statistic
        self._coef, self._intercept = solution.coef, solution.intercept
        self.rank_ = solution.rank
        self.condition_number_ = solution.condition
        self.alpha_ = solution.alpha
        self.gcv_path_ = solution.gcv_path
        self.scenarios_ = solution.scenarios
        self.n_samples_seen_ = statistic.n_rows
        self._drop_old_names()
        return self

    def _build_layers(self, rows):
        """Construct the hidden layers from drawn rows; each layer sees the output of those before."""
        generator = np.random.default_rng(seed_of(self.random_state))
        layers = []
        for size in hidden_sizes(self.hidden_layer_sizes):
            sample, coded = _DRAWS[self.hidden in _BLIND](rows, _ROWS_PER_UNIT * size, generator)
            hidden = apply_layers(layers, np.asarray(sample, dtype=np.float64), get_backend("cpu"))
            targets = self._step().targets(coded)
            layers.append(HIDDEN[self.hidden](hidden, targets, size, self.activation, generator))
        return tuple(layers)

    def _outputs(self, X):
        """Linear outputs (n, c) of X, in its dtype, summed in float64."""
        check_is_fitted(self)

        def outputs(rows, backend):
            hidden = apply_layers(self._layers, rows, backend)
            outputs = linear_readout(hidden, self._coef, self._intercept, backend)
            return in_dtype_of(rows, outputs, backend)

        return self._map_blocks(X, outputs)

    def _hidden_of(self, rows, backend):
        """The last hidden layer, in the dtype of the rows; the rows themselves where the model is linear."""
        return cast_like(apply_layers(self._layers, rows, backend), rows, backend)

    @property
    def _n_features_out(self):
        """Width of :meth:`transform`, for the names of its columns."""
        return self._layers[-1].n_units if self._layers else self.n_features_in_

    def _computation(self):
        """Hidden layers in turn, and the readout of the last."""
        steps = chained(self._layers)
        return Computation(steps, (len(steps) + ROWS,), self._coef, self._intercept, self._head(), wide=True)

    def _step(self):
        """What adds a block to a statistic."""
        return HiddenStep(getattr(self, "_layers", ()), self._n_classes())

    def _problem(self):
        """What is asked for, as a value."""
        return _roads.Problem(self.alpha, self.fit_intercept, self.rcond)

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
        check_choice("solver", self.solver, _roads.SOLVERS)
        check_alpha(self.alpha)
        check_flag("fit_intercept", self.fit_intercept)
        check_positive_integer("block_size", self.block_size, None)
        if self.rcond is not None and not (isinstance(self.rcond, numbers.Real) and 0 <= self.rcond < 1):
            raise ValueError(f"rcond must be None or a number in [0, 1), got {self.rcond!r}.")

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
    direction = generator.standard_normal(rows.n_columns)
    keys = rows.map_rows(lambda x: row_keys(x, direction))
    return rows.take(draw_rows(keys, rows.weight, n_draws, generator))


def _undrawn(rows, n_draws, generator):
    """A row of zeros for constructions that read none; as many random numbers are spent as on drawn rows."""
    generator.standard_normal(rows.n_columns)
    generator.permutation(n_draws)
    generator.uniform(size=n_draws)
    return np.zeros((1, rows.n_columns)), rows.y[:1]


_DRAWS = {False: _draw, True: _undrawn}


def _same_layers(one, two):
    """Whether two stacks of layers are the same functions."""
    if [type(layer) for layer in one] != [type(layer) for layer in two]:
        return False
    return all(
        np.array_equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(astuple(first), astuple(second), strict=True)
    )
