"""What the closed-form classifier and regressor share: build once, accumulate blocks, solve, blend, score."""

import copy
import numbers
from dataclasses import replace

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import ACTIVATION_NAMES, backend_for, dtype_name, get_backend
from sklearn_analytic.closed_form.network import Settings, build_network
from sklearn_analytic.closed_form.readout import AuditedRows, best_readout, solve_readouts
from sklearn_analytic.estimator.base import (
    check_alpha,
    check_choice,
    check_positive_integer,
    hidden_sizes,
)
from sklearn_analytic.estimator.extreme_weights import none_vanishing, refuse_extreme_weights, weighs_nothing
from sklearn_analytic.estimator.first_rows import FirstRowsMixin
from sklearn_analytic.estimator.reduction import ReductionEstimator, detached
from sklearn_analytic.export.computation import Computation, pruned
from sklearn_analytic.features import (
    CONSTRUCTIONS,
    ENCODINGS,
    IMAGE_CONSTRUCTIONS,
    linear_readout,
)
from sklearn_analytic.features._audit import (
    EVERY_MEMBER,
    MOST,
    audit_size,
    full_weights,
    rows_to_build_on,
    shares_again,
)
from sklearn_analytic.features._training_rows import TrainingRows
from sklearn_analytic.io._passes import auto_block_size, rows_in_blocks
from sklearn_analytic.linalg import NormalEquations

_BUILD_ROWS = 200_000  # trees are grown on at most so many rows, drawn by weight
_DTYPES = dict.fromkeys(("float32", "tf32", "bfloat16"), np.float32) | {"auto": None, "float64": np.float64}
_PRODUCTS = {"tf32": "tf32", "bfloat16": "bfloat16"}  # float32 products that are not plain
_MOST_FLOAT32 = float(np.finfo(np.float32).max)
_MOST_REFITS = 5
_STEP = 0.1  # of the ranks of a column, by which importances move a value
_IMPORTANCE_ROWS, _LEAST_ROWS, _IMPORTANCE_MOVES = 256, 16, 50_000  # rows moved: most, least, times columns


class ClosedFormBase(FirstRowsMixin, ReductionEstimator):
    """One network, frozen once built, and a statistic of its features from which everything else is solved."""

    _n_shards = 0

    # The story: audit rows, network, statistic, readout.

    def _add_rows(self, X, y, copies, statistic, progress):
        """Return the statistic with rows added; rows that come before any network build it."""
        backend = self._backend_of(X)
        building = not hasattr(self, "_network")
        copies = none_vanishing(refuse_extreme_weights(copies))
        if building:
            self._learn_units(y, copies)
        else:
            self._know_contents(X.shape[1])
        weights = self._with_class_weights(y, copies)
        if weighs_nothing(weights, not building and statistic is not None):
            return statistic
        rows = rows_in_blocks(X, self._coded(y), weights, self._rows_per_block(X.shape[1]))
        if progress.resumed is None:
            progress.begin_pass("layers")
            judged = self._judge(rows, y, copies, statistic, building)
            shares = judged.shares
            if building:
                self._network, self.candidates_ = self._build(rows, judged)
                if self.precision == "bfloat16":
                    x, host = self._audit.x, get_backend("cpu")
                    self._network = self._network.centred(self._cast(x, host), self._audit.weights, host)
                self._network_id = int(np.random.SeedSequence().entropy % (1 << 62))  # shards carry it
        else:
            shares = shares_again(self._contents, rows, y, copies) if self._contents.are_draws else None
        if statistic is None:
            width = self._network.exit_sizes()[-1]
            statistic = NormalEquations.empty(width + self._n_scores(), self._n_targets() + self._n_scores())
        rows = rows if shares is None else replace(rows, weight=shares)
        step = detached(self)._add_block
        return progress.reduce(rows.resized(self._rows_per_block(statistic.n_features)), statistic, step, backend)

    def _add_block(self, statistic, block, backend):
        """Return the statistic with the features of a block, and the trees' scores among its targets."""
        x, y, weight, folds = self._cast(block.x, backend), block.y, block.weight, None
        n_rows = statistic.n_rows + (len(y) if weight is None else int(np.sum(weight.reshape(len(y), -1).any(axis=1))))
        if self._contents.are_draws:
            x, y, weight, folds = _in_folds(x, y, weight)
        if len(y) == 0:  # rows of no weight are in no fold
            return statistic
        features, scores = self._read(x, backend, held_out=True, folds=folds)
        targets = backend.stack_columns([backend.asarray(self._targets(y)), scores], [1.0, 1.0])
        grown = statistic.accumulate(features, targets, weight, backend, widen=self._needs_all_digits())
        return replace(grown, n_rows=n_rows)

    def _build(self, rows, judged):
        """Build the network from rows that are not in the audit, and trees from all, each blind to its fold."""
        unit, keys, shares = self._contents.unit, judged.keys, judged.shares
        weights = full_weights(rows.weight, rows.n_rows)
        building = weights if judged.building is None else judged.building
        generator = np.random.default_rng([self._seed, 1])
        pool = building if shares is None else weights
        chosen, scale = rows_to_build_on(keys, rows.y, pool, unit, _BUILD_ROWS, generator)
        x, coded = rows.take(chosen)
        drawn = self._training_rows(x, keys[chosen], coded, pool[chosen] / scale)
        audit = judged.apart
        audit_rows = self._training_rows(
            audit.x, self._contents.keys.of(audit.x), self._coded(audit.y), audit.weights / unit
        )
        if shares is not None:  # trees are grown on all copies, each member without its fold
            trees = replace(drawn, shares=shares[chosen] / scale[:, None])
            drawn = replace(drawn, weights=building[chosen] / scale).used()
        else:
            trees = drawn if judged.building is None else drawn.joined(audit_rows)
        settings = Settings(
            self.hidden, self._widths(), self.activation, self.input_encoding, self.n_refits, self._shape()
        )
        total = float(weights.sum()) / unit
        labels = self._score_labels()
        return build_network(settings, drawn, audit_rows, trees, total, labels, generator, get_backend("cpu"))

    def _training_rows(self, x, keys, coded, weights):
        """Rows in the dtype of the features, with targets and classes."""
        targets = self._targets(coded)
        return TrainingRows(self._cast(x, get_backend("cpu")), keys, targets, self._bins(coded, targets), weights)

    def _store(self, statistic):
        """Solve, blend and choose; keep the statistic for further rows."""
        backend, unit = self._host_backend(), 1.0 if self._contents is None else self._contents.unit
        audit = self._audit.head(max(self._first_audit, audit_size(statistic.n_rows)))
        x = self._cast(backend.asarray(audit.x), backend)
        features, _ = self._read(x, backend, held_out=True, folds=audit.folds)
        targets = self._targets(self._coded(audit.y))
        mean = np.ldexp(statistic.mean[statistic.n_features :][: targets.shape[1]], statistic.exponent[1])
        weights = self._importance(audit, targets, mean) / unit
        readouts = solve_readouts(
            statistic,
            self._network.exit_sizes(),
            AuditedRows(backend.to_numpy(features), targets, weights, audit.weights),
            self.alpha,
            self._placed(),
            unit,
            self._network.labels is None,
        )
        self._statistic, self._readouts = statistic, readouts
        self.exit_errors_ = np.array([readout.error for readout in readouts])
        self.exit_ = best_readout(readouts)
        self.alphas_ = np.array([readout.alpha for readout in readouts])
        self.blend_ = readouts[self.exit_].shares
        self.n_samples_seen_ = statistic.n_rows
        self.loo_score_ = self._settle(readouts, targets, weights)
        return self

    def _read(self, x, backend, held_out, folds=None):
        """Return the features with the trees' scores beside them, and the scores alone."""
        scores = self._network.tree_scores(x, backend, held_out, folds)
        features = backend.as_features(self._network.features(x, backend))
        if scores.shape[1] == 0:
            return features, scores
        dtype = dtype_name(x)  # scores keep the digits of the rows
        return backend.stack_columns([features, backend.asarray(scores, dtype)], [1.0, 1.0], dtype), scores

    # Scores of new rows.

    def _scores(self, X, stages):
        """Scores (n, c) of some stages side by side, on the device of X."""
        check_is_fitted(self)
        return self._map_blocks(X, self._scorer(stages), self._n_features_out)

    def _scorer(self, stages):
        """The function of checked rows that gives the scores of some stages, summed in float64."""
        coef = np.hstack([self._readouts[stage].coef for stage in stages])
        intercept = np.concatenate([self._readouts[stage].intercept for stage in stages])

        def scores(rows, backend):
            features, _ = self._read(self._cast(rows, backend), backend, held_out=False)
            return linear_readout(features, coef, intercept, backend)

        return scores

    def _staged_scores(self, X):
        """Scores of every stage from one pass over X."""
        check_is_fitted(self)
        scores = self._scores(X, range(len(self._readouts)))
        width = scores.shape[1] // len(self._readouts)
        return [scores[:, i * width : (i + 1) * width] for i in range(len(self._readouts))]

    def _computation(self):
        """The network, and the readout of the chosen stage."""
        if self.precision == "bfloat16":
            raise ValueError("precision='bfloat16' has no export: others would compute other features. Use 'float32'.")
        readout = self._readouts[self.exit_]
        coef, intercept = self._units(readout.coef, readout.intercept)
        steps, read, coef = pruned(*self._network.steps(), coef)
        told = {"wide": True, "dtype": self._dtype(), "continuation": self._network.continuation}
        return Computation(steps, read, coef, intercept, self._head(), **told)

    def _hidden_of(self, rows, backend):
        """The encoded input, the hidden layers, the trees' scores."""
        return self._read(self._cast(rows, backend), backend, held_out=False)[0]

    @property
    def _n_features_out(self):
        """Width of :meth:`transform`, for the names of its columns."""
        return self._network.exit_sizes()[-1] + self._n_scores()

    @property
    def feature_importances_(self):
        """Share of every input in the mean squared slope of the scores over the ranks of its column.

        The diagonal of the average outer product of finite differences: every value is moved by a tenth of its
        column's ranks either way, and the change of the scores divided by that of the rank. Computed when asked for.
        """
        check_is_fitted(self)
        n_columns = self._audit.x.shape[1]
        x = self._audit.x[: max(_LEAST_ROWS, min(_IMPORTANCE_ROWS, _IMPORTANCE_MOVES // n_columns))]
        score = self._scorer([self.exit_])
        together = max(1, auto_block_size(n_columns) // (2 * len(x)))
        backend = self._host_backend()
        parts = [
            _rank_slopes(x, range(start, min(start + together, n_columns)), score, backend)
            for start in range(0, n_columns, together)
        ]
        energy = np.concatenate(parts)
        return energy / energy.sum() if energy.sum() > 0 else energy

    # Streams and shards.

    def shard(self):
        """Return an estimator with these layers and no rows, to be fed by ``partial_fit`` and merged.

        The layers of both stay as they are from now on, however few rows have built them.

        Returns
        -------
        estimator : object
            A copy.
        """
        check_is_fitted(self)
        self._first_rows = None  # what a shard learns belongs to these layers
        self._n_shards += 1
        other = copy.copy(self)
        other._shard, other._n_shards = hash((self._shard, self._n_shards)) % (1 << 62), 0
        fitted = ("_statistic", "_readouts", "_audit", "exit_errors_", "exit_", "alphas_", "blend_", "loo_score_")
        for name in (*fitted, "n_samples_seen_"):
            delattr(other, name)
        return copy.deepcopy(other)

    def merge(self, other):
        """Add the rows of another estimator with the same frozen layers: the readout is exact for both.

        Parameters
        ----------
        other : object
            An estimator that came from :meth:`shard` of this one, or of the one that this came from.

        Returns
        -------
        self : object
            The estimator; unchanged when an error is raised.

        Raises
        ------
        ValueError
            If the layers or the targets differ.
        """
        if type(other) is not type(self):
            raise TypeError(f"merge needs another {type(self).__name__}, got {type(other).__name__}.")
        for part in (self, other):
            if not hasattr(part, "_network"):
                raise NotFittedError(f"merge needs two fitted {type(self).__name__} instances, or shards of one.")
        if other._network_id != self._network_id:
            raise ValueError("merge needs the same hidden layers: fit one estimator and take its shard() elsewhere.")
        if not hasattr(other, "_statistic"):
            return self  # a shard without rows
        with self._unchanged_on_error():
            self._first_rows = None
            if not hasattr(self, "_statistic"):
                self._adopt(other)
                return self._store(other._statistic)
            mine, theirs = self._aligned(other)
            self._audit = self._audit.merge(other._audit, MOST)
            return self._store(mine.merge(theirs))

    def _adopt(self, other):
        """Take over the audit rows of another, for a shard that has none of its own."""
        self._audit = other._audit

    # Parameters.

    def _backend_of(self, X):
        """What computes on rows, multiplying as ``precision`` says."""
        return backend_for(X, self.device, _PRODUCTS.get(self.precision, "float32"))

    def _host_backend(self):
        """What computes on the host with the same features: NumPy, or torch where they are bfloat16."""
        return get_backend("torch:cpu", "bfloat16") if self.precision == "bfloat16" else get_backend("cpu")

    def _n_scores(self):
        """Columns of the trees' scores."""
        scores = self._network.leaf_scores
        return 0 if scores is None else scores.values.shape[1]

    def _placed(self):
        """Where the trees' scores belong among the targets: an indicator (c0, c)."""
        if self._network.leaf_scores is None:
            return np.zeros((0, self._n_targets()))
        return np.eye(self._n_targets())

    def _widths(self):
        """Units of every layer, or None where the rows decide."""
        if not isinstance(self.hidden_layer_sizes, str):
            return hidden_sizes(self.hidden_layer_sizes)
        return None

    def _shape(self):
        """image_shape as a tuple, or None."""
        return None if self.image_shape is None else tuple(self.image_shape)

    def _dtype(self):
        """Dtype of the features; None is that of X."""
        return _DTYPES[self.precision]

    def _cast(self, x, backend):
        """Rows in the dtype of the features; values that float32 cannot hold are an error, not infinity."""
        dtype = self._dtype()
        if dtype == np.float32 and dtype_name(x) == "float64" and float(abs(x).max()) > _MOST_FLOAT32:
            raise ValueError("X has values beyond the range of float32: use precision='float64', or rescale them.")
        return backend.asarray(x, dtype)

    def _needs_all_digits(self):
        """Whether the solve needs the Gram in float64: it is decomposed, or not ridged."""
        return self.alpha == "gcv" if isinstance(self.alpha, str) else not np.all(np.asarray(self.alpha) > 0)

    def _rows_per_block(self, n_columns):
        """Rows per block: as asked for, or by the width of what is computed."""
        return int(self.block_size) if self.block_size is not None else auto_block_size(n_columns)

    def _check_parameters(self):
        """Refuse wrong parameters before any row is read."""
        check_choice("hidden", self.hidden, ("auto", *CONSTRUCTIONS, *IMAGE_CONSTRUCTIONS))
        _check_image_shape(self.image_shape, self.hidden)
        check_choice("activation", self.activation, ACTIVATION_NAMES)
        check_choice("input_encoding", self.input_encoding, ENCODINGS)
        check_choice("precision", self.precision, _DTYPES)
        check_positive_integer("block_size", self.block_size, None)
        check_alpha(self.alpha, words=("loo", "gcv"))
        if np.ndim(self.alpha) > 0 and not np.all(np.asarray(self.alpha) > 0):
            raise ValueError(f"A grid of alpha must be positive, got {self.alpha!r}.")
        if isinstance(self.n_refits, bool) or self.n_refits not in range(_MOST_REFITS + 1):
            raise ValueError(f"n_refits must be an integer from 0 to {_MOST_REFITS}, got {self.n_refits!r}.")
        hidden_sizes(self.hidden_layer_sizes, auto=True)

    def __sklearn_is_fitted__(self):
        """A shard has layers, but is not fitted before it has seen rows."""
        return hasattr(self, "_readouts")

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _check_image_shape(shape, hidden):
    """Refuse a shape that is none, one that is missing, and one that would not be read."""
    if shape is None:
        if hidden in IMAGE_CONSTRUCTIONS:
            raise ValueError(f"hidden={hidden!r} needs image_shape=(H, W) or (C, H, W).")
        return
    sides = shape if isinstance(shape, tuple | list) else ()
    valid = len(sides) in (2, 3) and all(isinstance(s, numbers.Integral) and s > 0 for s in sides)
    if not valid:
        raise ValueError(f"image_shape must be (H, W) or (C, H, W), channels first, got {shape!r}.")
    if hidden not in ("auto", *IMAGE_CONSTRUCTIONS):
        raise ValueError(
            f"hidden={hidden!r} does not read image_shape: use 'auto', 'patch' or 'masked', or leave it out."
        )


def _rank_slopes(x, columns, score, backend):
    """Mean over rows of the squared change of the scores over that of the rank, for some columns moved in turn."""
    moved, spans = [], []
    for k in columns:
        for values in _neighbours(x[:, k]):
            part = np.array(x)
            part[:, k] = values
            moved.append(part)
        spans.append(_mid_ranks(x[:, k], moved[-1][:, k]) - _mid_ranks(x[:, k], moved[-2][:, k]))
    scores = backend.to_numpy(score(backend.asarray(np.concatenate(moved)), backend)).reshape(len(spans), 2, len(x), -1)
    change = np.sum((scores[:, 1] - scores[:, 0]) ** 2, axis=2)  # (columns, rows)
    spans = np.array(spans)
    return np.mean(np.divide(change, spans**2, out=np.zeros_like(change), where=spans > 0), axis=1)


def _neighbours(column):
    """Values a step of the ranks below and above every value."""
    ordered = np.sort(column)
    reach = max(1, int(np.ceil(_STEP * len(column))))
    low = ordered[np.maximum(np.searchsorted(ordered, column, side="left") - reach, 0)]
    high = ordered[np.minimum(np.searchsorted(ordered, column, side="right") - 1 + reach, len(column) - 1)]
    return low, high


def _mid_ranks(column, values):
    """Mean rank of values of a column, in 0..1; a binary column's two values are half apart."""
    ordered = np.sort(column)
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + upto) / (2 * len(column))


def _in_folds(x, y, weight):
    """Rows once for every fold in which they have weight; rows that come after the trees are in none (-1)."""
    if weight is None or weight.ndim == 1:
        return x, y, weight, np.full(len(y), EVERY_MEMBER)
    index, folds = np.nonzero(weight)
    return x[index], y[index], weight[index, folds], folds
