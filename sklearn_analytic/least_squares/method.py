"""Block-wise least squares as a value: what the parameters of BRMP say of layers, sums and their solution."""

import numbers
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sklearn_analytic.backend import ACTIVATION_NAMES, get_backend
from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.estimator.checks import (
    check_categorical,
    check_flag,
    check_sizes,
    check_verbose,
    hidden_sizes,
    one_of,
    positive_integer_or,
    ridge,
)
from sklearn_analytic.estimator.learned import Solved, Stage
from sklearn_analytic.estimator.reduction import Method
from sklearn_analytic.estimator.table import in_passes, leaving
from sklearn_analytic.estimator.unlearning import traces_in_table
from sklearn_analytic.estimator.weights import NO_WEIGHT, refuse_extreme_weights
from sklearn_analytic.features import HIDDEN, RowSample, apply_layers, draw_rows, row_keys
from sklearn_analytic.features._audit import NEVER_IN
from sklearn_analytic.features._sampling import label_hashes
from sklearn_analytic.io._passes import rows_in_blocks
from sklearn_analytic.linalg import ClassSums, ColumnMoments, WithColumns, _solvers
from sklearn_analytic.linalg._columns import with_columns
from sklearn_analytic.linalg._rows import unit_of
from sklearn_analytic.linalg._solvers import without_columns

_ROWS_PER_UNIT = 4  # rows drawn per hidden unit for constructions that look at data
_BLIND = ("random",)  # constructions that do not: a file need not be read for them


def _check_tolerance(name, value):
    """Refuse what is no share of the largest singular value."""
    if value is not None and not (isinstance(value, numbers.Real) and 0 <= value < 1):
        raise ValueError(f"{name} must be None or a number in [0, 1), got {value!r}.")


def _check_audit_rows(name, value):
    """Refuse what is no number of rows."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name} must be a non-negative integer, got {value!r}.")


@dataclass(frozen=True, eq=False)
class BlockwiseMethod(Method):
    """Layers that no row changes once they are drawn, and a statistic of what the last one shows of every row."""

    hidden_layer_sizes: Any
    hidden: str
    activation: str
    solver: str
    alpha: Any
    fit_intercept: bool
    rcond: Any
    block_size: Any
    random_state: Any
    device: str
    verbose: Any
    class_weight: Any = None
    categorical_features: Any = "from_dtype"
    audit_rows: int = 1000
    class_statistics: bool = False

    checks: ClassVar = {
        "hidden_layer_sizes": check_sizes,
        "hidden": one_of(HIDDEN),
        "activation": one_of(ACTIVATION_NAMES),
        "solver": one_of(_solvers.SOLVERS),
        "alpha": ridge("gcv"),
        "fit_intercept": check_flag,
        "rcond": _check_tolerance,
        "block_size": positive_integer_or(None),
        "verbose": check_verbose,
        "categorical_features": check_categorical,
        "audit_rows": _check_audit_rows,
        "class_statistics": check_flag,
    }

    def check(self):
        """Refuse wrong parameters before any row is read."""
        super().check()
        if self.class_statistics and self.solver == "recursive":
            raise ValueError("class_statistics=True needs solver='auto', 'qr' or 'gram': a recursion is one for all.")

    @property
    def passes(self):
        """Passes over the rows of a whole fit; "auto" may need a second one."""
        return None if self.solver == "auto" else 1

    @property
    def problem(self):
        """Return what is asked for, as opposed to what has been seen."""
        return _solvers.Problem(self.alpha, self.fit_intercept, self.rcond)

    def added(self, learned, X, y, copies, progress, whole):
        """Return what was learned with rows added: all by the algorithm that ``solver`` names, or one block."""
        backend, sizes = self.backend_of(X), hidden_sizes(self.hidden_layer_sizes)
        is_first = learned.network is None or progress.resumed  # later rows have no part in the table
        X, table = in_passes(learned, X, learned.targets.coded(y), copies, is_first)
        learned = replace(learned, table=table)
        rows = self._coded(learned.targets, X, y, copies)
        if learned.network is None:
            drawn = rows
            if self.class_statistics:  # layers draw rows by the weights that these else get at the solve
                drawn = rows.reweighted(learned.targets.weights(y, self.class_weight, copies))
            learned = replace(learned, network=self._layers(drawn, sizes, learned.targets))
        step = HiddenStep(learned.network, learned.targets, int(self.audit_rows))
        shape = (sizes[-1] if sizes else rows.n_columns, learned.targets.n_columns)

        def begun(start):
            return step.begun(self.begun(start, learned.targets.n_columns, sum(shape)), rows.n_columns)

        if not whole:
            start = learned.statistic
            if start is None:
                chosen = "qr" if self.solver == "auto" else self.solver
                start = begun(_solvers.ALGORITHMS[chosen].start(*shape, self.problem))
            return self._watched(replace(learned, statistic=rows.reduce(start, step, backend)))

        def reduce(start):
            return progress.reduce(learned, rows, begun(start), step, backend)

        def weighed(statistic):
            return self._one_statistic(replace(learned, statistic=statistic))

        solver = _solvers.resumed_solver(self.solver, without_columns(learned.statistic))
        statistic = _solvers.accumulated(solver, reduce, rows.n_rows, *shape, self.problem, weighed)
        if statistic.n_rows == 0:
            raise ValueError(NO_WEIGHT)
        return replace(learned, statistic=statistic)

    def _coded(self, targets, X, y, copies):
        """Rows with coded targets and weights, in blocks."""
        weights = refuse_extreme_weights(copies)
        if not self.class_statistics:
            weights = targets.weights(y, self.class_weight, weights)
        widest = max(X.shape[1], *hidden_sizes(self.hidden_layer_sizes), 1)
        return rows_in_blocks(X, targets.coded(y), weights, self.rows_per_block(widest))

    def _layers(self, rows, sizes, targets):
        """Construct the hidden layers from drawn rows; each layer sees the output of those before."""
        generator = np.random.default_rng(seed_of(self.random_state))
        layers = []
        for size in sizes:
            sample, coded = _DRAWS[self.hidden in _BLIND](rows, _ROWS_PER_UNIT * size, generator)
            hidden = apply_layers(layers, np.asarray(sample, dtype=np.float64), get_backend("cpu"))
            layers.append(HIDDEN[self.hidden](hidden, targets.matrix(coded), size, self.activation, generator))
        return tuple(layers)

    def _watched(self, learned):
        """What was learned, with a warning where "auto" began on the Gram and should not have."""
        if self.solver == "auto":
            _solvers.warn_if_outgrown(self._one_statistic(learned), self.problem)
        return learned

    def _one_statistic(self, learned):
        """The statistic that is solved."""
        return without_columns(self.weighed(learned, self.factors(learned)).statistic)

    no_trace = "use hidden='random' and columns of numbers"

    def traces(self, learned):
        """Return what rows that are forgotten may have left in layers and encodings."""
        drawn = bool(learned.network) and self.hidden not in _BLIND
        return traces_in_table(learned.table) + (["hidden layers that drew rows"] if drawn else [])

    def removed(self, learned, X, y, copies):
        """Return what was learned without rows that were in."""
        step, backend, both = HiddenStep(learned.network, learned.targets), self.backend_of(X), learned.statistic
        X, table = leaving(learned, X, learned.targets.coded(y), copies)
        for block in self._coded(learned.targets, X, y, copies):
            both = step.removed(both, block, backend)
        if both.n_rows == 0:
            raise ValueError("forget would leave no rows. Fit a new estimator instead.")
        return replace(learned, statistic=both, table=table)

    def merged(self, one, two):
        """Return what the rows of two fits have left behind; moments of columns where both have them."""
        parts = [one.statistic, two.statistic]
        beside = [[getattr(part, name, None) is not None for part in parts] for name in ("columns", "rows")]
        if not any(all(both) for both in beside):  # what either lacks, both lack
            parts = [without_columns(part) for part in parts]
        if len({_solvers.name_of(without_columns(part)) for part in parts}) > 1:
            parts = [_as_normal(part) for part in parts]  # "auto" took different ones: both can give the Gram
        pair = (replace(of, statistic=part) for of, part in zip((one, two), parts, strict=True))
        return self._watched(super().merged(*pair))

    def with_factors(self, learned, factors, mass):
        """Return what was learned with the rows that are kept weighed by classes."""
        rows = getattr(learned.statistic, "rows", None)
        if rows is None:
            return learned
        weights = rows.weights * factors[np.argmax(rows.y, axis=1)]
        return replace(learned, statistic=replace(learned.statistic, rows=replace(rows, weights=weights)))

    def solved(self, learned):
        """Return the readout, and how it was found."""
        statistic = without_columns(learned.statistic)
        with np.errstate(over="ignore", invalid="ignore"):
            solution = _solvers.solve(statistic, self.problem)
        return Solved(Stage(solution.coef, solution.intercept), problem=self.problem), {
            "rank_": solution.rank,
            "condition_number_": solution.condition,
            "alpha_": solution.alpha,
            "gcv_path_": solution.gcv_path,
            "scenarios_": solution.scenarios,
            "solver_used_": _solvers.name_of(statistic),
        }


@dataclass(frozen=True)
class HiddenStep:
    """Adds a block, seen through the hidden layers, to a statistic, and takes one away."""

    layers: tuple
    targets: Any
    audit_rows: int = 0  # to keep, at most

    def __call__(self, statistic, block, backend):
        if not isinstance(statistic, WithColumns):
            hidden, targets = self.hidden(block, backend), self.targets.matrix(block.y)
            if isinstance(statistic, ClassSums):
                return statistic.accumulate(hidden, targets, block.y, block.weight, backend)
            return statistic.accumulate(hidden, targets, block.weight, backend)
        columns, rows = statistic.columns, statistic.rows
        columns = None if columns is None else columns.merge(self.moments(block, backend))
        rows = None if rows is None else rows.accumulate(*self.told(block, backend), block.weight)
        return WithColumns(self(statistic.statistic, block, backend), columns, rows)

    def removed(self, statistic, block, backend):
        """Return a statistic without a block that was added."""
        part = replace(block, x=self.hidden(block, backend), y=self.targets.matrix(block.y))
        found = _solvers.remove_rows(without_columns(statistic), part, backend)
        if not isinstance(statistic, WithColumns):
            return found
        columns, rows = statistic.columns, statistic.rows
        columns = None if columns is None else columns.remove(self.moments(block, backend))
        if rows is not None:
            x, _, told_by = self.told(block, backend)
            rows, strange = rows.remove(x, told_by, block.weight)
            if np.any(strange):
                raise ValueError(NEVER_IN.format(int(strange.sum())))
        return WithColumns(found, columns, rows)

    def begun(self, statistic, n_columns):
        """Return a statistic of no rows, with a sample of them and the moments of columns of hidden layers."""
        n_targets, moments = self.targets.n_columns, None
        if self.layers:
            moments = ColumnMoments.empty(n_columns + (n_targets if self.targets.names is None else 0))
        rows = RowSample.empty(self.audit_rows, n_columns, n_targets) if self.audit_rows else None
        return with_columns(statistic, moments, rows)

    def told(self, block, backend):
        """Return rows, targets, and what tells targets apart: numbers, or hashes of labels, whose codes may change."""
        targets = self.targets.matrix(block.y)
        names = self.targets.names
        return backend.to_numpy(block.x), targets, targets if names is None else label_hashes(names)[block.y][:, None]

    def moments(self, block, backend):
        """Return moments of the columns that the layers read, and of targets that have units."""
        columns = ColumnMoments.of(backend.to_numpy(block.x), block.weight)
        if self.targets.names is not None:
            return columns
        return columns.beside(ColumnMoments.of(block.y, block.weight))

    def hidden(self, block, backend):
        """Return what the readout sees of a block; equal rows look equal, which products of many do not promise."""
        x = backend.asarray(block.x)
        if not self.layers:
            return x
        if len(x) > 1 and _all_equal(x):
            return apply_layers(self.layers, x[:1], backend)[np.zeros(len(x), dtype=int)]
        return apply_layers(self.layers, x, backend)


def check_mergeable(one, two):
    """Refuse another class, other columns or other hidden layers, and solvers that cannot be joined."""
    if type(two) is not type(one):
        raise TypeError(f"merge needs another {type(one).__name__}, got {type(two).__name__}.")
    if two.n_features_in_ != one.n_features_in_:
        raise ValueError(f"merge needs {one.n_features_in_} features, other has {two.n_features_in_}.")
    names, theirs = (getattr(e, "feature_names_in_", None) for e in (one, two))
    if names is not None and theirs is not None and not np.array_equal(names, theirs):
        raise ValueError(f"merge needs the same columns in the same order: {list(names)} and {list(theirs)}.")
    if getattr(two, "class_weight", None) != getattr(one, "class_weight", None):
        raise ValueError("merge needs the same class_weight in both estimators.")
    if not _same_encoding(one._table, two._table):
        raise ValueError(
            "merge needs the same encoding of categories and missing values in both estimators: start each shard as a "
            "copy of one estimator fitted on a first block."
        )
    recursive = [part.solver_used_ == "recursive" for part in (one, two)]
    if two.fit_intercept != one.fit_intercept or recursive[0] != recursive[1]:
        raise ValueError("merge needs the same fit_intercept and solver in both estimators.")
    if recursive[0] and one.alpha_ > 0:
        raise ValueError("merge with solver='recursive' needs alpha=0: each state already holds the ridge once.")


def _same_encoding(one, two):
    """Whether rows of two fits became the same numbers; medians of what none of them lacked do not count."""
    if one is two or None in (one, two):
        return True
    if one.is_plain and two.is_plain:
        return True
    return two.columns.levels == one.columns.levels and one.encoding.same_as(two.encoding)


def refuse_other_layers(one, two):
    """Refuse stacks of layers that are not the same functions."""
    same = [type(layer) for layer in one] == [type(layer) for layer in two] and all(
        np.array_equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(astuple(first), astuple(second), strict=True)
    )
    if not same:
        raise ValueError(
            "merge needs the same hidden layers: use hidden='random' and the same integer random_state, "
            "or start each shard as a copy of one estimator fitted on a first block."
        )


def _as_normal(statistic):
    """Normal equations of the same rows."""
    if isinstance(statistic, WithColumns):
        return replace(statistic, statistic=statistic.statistic.as_normal())
    return statistic.as_normal()


def _all_equal(x):
    """Whether all rows are the first but for its rounding; two rows tell of most blocks that they are not."""
    limit = abs(x[:1]) * (2 * unit_of(x))
    return not bool((abs(x[-1:] - x[:1]) > limit).any()) and not bool((abs(x - x[:1]) > limit).any())


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
