"""The driver of closed-form fits: rows become one value, in one pass or many calls, and the value is solved.

:func:`fit`, :func:`absorb`, :func:`merge` and :func:`solve` are the whole story; a :class:`Method` says how.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import backend_for
from sklearn_analytic.estimator.balance import (
    check_class_statistics,
    check_memory,
    class_factors,
    class_sums_of,
    refuse_other_priors,
    refuse_other_sums,
    refuse_unbalanced,
)
from sklearn_analytic.estimator.base import AnalyticEstimator, FromParameters
from sklearn_analytic.estimator.callbacks import CallbackSupportMixin, FitProgress, Unwatched, with_callbacks
from sklearn_analytic.estimator.checks import check_positive_integer
from sklearn_analytic.estimator.earlier import with_values
from sklearn_analytic.estimator.learned import Learned
from sklearn_analytic.estimator.statistics_file import columns_of, read_fit, save_fit, take_columns
from sklearn_analytic.estimator.unlearning import warn_of_traces
from sklearn_analytic.estimator.weights import NO_WEIGHT, checked_weights
from sklearn_analytic.io import Blocks, auto_block_size
from sklearn_analytic.io._checks import (
    RowSource,
    UnreadableValueError,
    host,
    is_collection,
    lazily,
    opened_collection,
)
from sklearn_analytic.io._columns import rows_by
from sklearn_analytic.io._raw_columns import names_of
from sklearn_analytic.io._readers import unpacked
from sklearn_analytic.io._sources import numbered, opened, rows_of
from sklearn_analytic.linalg import ClassSums, WithColumns


class Method(FromParameters, ABC):
    """How a closed-form fit is done: a frozen value with a field for each parameter of its estimators."""

    passes = 1  # over the rows of a whole fit; None where these decide
    class_statistics = False  # a parameter of classifiers

    @abstractmethod
    def added(self, learned, X, y, copies, progress, whole):
        """Return what was learned with rows added: the sums of ``learned``, or layers and the first sums.

        What is ``whole`` has all rows that there will be, and may read them again; ``progress`` is notified of passes.
        """

    @abstractmethod
    def solved(self, learned):
        """Return what predicts, and the fitted attributes that say how it was found, by name."""

    def merged(self, one, two):
        """Return what the rows of two fits have left behind that can become one."""
        targets = one.targets.joined(two.targets)
        sums = [targets.widened(part.statistic, part.targets, self.n_scores(one.network)) for part in (one, two)]
        table = None if one.table is None else one.table.merged(two.table)
        return replace(one, targets=targets, statistic=sums[0].merge(sums[1]), table=table)

    def factors(self, learned):
        """Return what the rows of every class are multiplied by at the solve; None where there is one statistic."""
        sums = class_sums_of(learned)
        if sums is None:
            return None
        found = class_factors(sums, learned.targets, self.class_weight, learned.priors)
        if not np.any((found > 0) & (sums.masses > 0)):
            raise ValueError(NO_WEIGHT)
        return found

    def weighed(self, learned, factors):
        """Return what was learned with one statistic, that of the classes times their factors."""
        if factors is None:
            return learned
        sums = class_sums_of(learned)
        statistic = sums.weighted(factors)
        if isinstance(learned.statistic, WithColumns):
            statistic = replace(learned.statistic, statistic=statistic)
        return self.with_factors(replace(learned, statistic=statistic), factors, float(sums.masses.sum()))

    def with_factors(self, learned, factors, mass):
        """Return what was learned with rows that are kept weighed by classes; all weighed ``mass`` before."""
        return learned

    def begun(self, empty, n_classes, n_columns):
        """Return a statistic of no rows, or one for each class."""
        if not self.class_statistics:
            return empty
        check_memory(n_classes, n_columns)
        return ClassSums.begun(empty, n_classes)

    def n_scores(self, network):
        """Return how many columns of trees' scores stand after the targets in a statistic."""
        return 0

    def backend_of(self, X):
        """Return what computes on rows: a tensor stays where it is, all else goes to ``device``."""
        return backend_for(X, self.device)

    def rows_per_block(self, n_columns):
        """Return rows per block: as asked for, or by the width of what is computed."""
        return auto_block_size(n_columns) if self.block_size is None else int(self.block_size)


def fit(method, targets, X, y, copies, progress):
    """Return what all rows leave behind, in passes of which ``progress`` is notified, and which it may have begun."""
    targets.check_weights(method.class_weight, whole=True)
    check_class_statistics(method, targets)
    progress.begin(None if isinstance(X, RowSource) else method.passes)  # values that are missing are found late
    learned = progress.resume(targets) or Learned(targets)
    try:
        return method.added(learned, X, y, copies, progress, whole=True)
    except UnreadableValueError as gap:
        if not gap.is_gap or not isinstance(X, RowSource) or X.lacks:
            raise
    progress.resumed = False  # values are missing, and the first block has not shown it: a table is to be learned
    return method.added(Learned(targets), replace(X, lacks=True), y, copies, progress, whole=True)


def absorb(method, learned, targets, X, y, copies):
    """Return what was learned with a block added; the first one (``learned`` is None) settles columns and layers."""
    targets.check_weights(method.class_weight)
    check_class_statistics(method, targets)
    if learned is None:
        learned = Learned(targets)
    elif learned.statistic is not None:
        refuse_other_sums(method, learned)
        if class_sums_of(learned) is not None and targets.n_columns > learned.targets.n_columns:
            check_memory(targets.n_columns, learned.statistic.n_features + targets.n_columns)
        n_scores = method.n_scores(learned.network)
        learned = replace(learned, statistic=targets.widened(learned.statistic, learned.targets, n_scores))
    return method.added(replace(learned, targets=targets), X, y, copies, Unwatched(), whole=False)


def merge(method, one, two):
    """Return what the rows of two fits have left behind, as if they had been one."""
    refuse_other_sums(method, one, two)
    refuse_other_priors(one.priors, two.priors)
    return method.merged(one, two)


def solve(method, learned):
    """Return what predicts, and all fitted attributes by name."""
    factors = method.factors(learned)
    learned = method.weighed(learned, factors)
    solved, attributes = method.solved(learned)
    solved = replace(solved, factors=factors)
    counted = {"n_samples_seen_": learned.statistic.n_rows}
    return solved, counted | learned.targets.published() | attributes


class ReductionEstimator(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, AnalyticEstimator, ABC
):
    """A closed-form fit: what its rows leave behind is one value, which goes to disk and comes back.

    A subclass says how (``_method``), what y means (``_targets_of``), and what the readout reads of a block
    (``_hidden_of``), as a step before another model.
    """

    _learned = _solved = None  # before any row

    @property
    def _table(self):
        """How raw rows become numbers."""
        return None if self._learned is None else self._learned.table

    @abstractmethod
    def _method(self):
        """What the parameters say, as a value."""

    @abstractmethod
    def _targets_of(self, y, X, before=None, classes=None):
        """Return what y means, given what it has meant ``before``, and its checked values."""

    @property
    @abstractmethod
    def _n_features_out(self):
        """Return the width of :meth:`transform`; scikit-learn names its columns by it."""

    @abstractmethod
    def _hidden_of(self, rows, backend):
        """Return what the readout reads of checked rows on the backend."""

    @with_callbacks
    def fit_blocks(self, blocks, *, checkpoint=None, checkpoint_every=100):
        """Fit from scratch on blocks, and solve once at the end.

        :class:`~sklearn_analytic.Blocks` are read again where the method needs it, and give the fit of the same
        rows in one array. Any other iterable is read once: what :meth:`fit` learns from all rows before it sums
        (drawn rows, encodings, projections) is then learned from the first block.

        Parameters
        ----------
        blocks : Blocks or iterable of (X, y) or (X, y, sample_weight)
            The rows, a block at a time. Blocks without rows are passed over.
        checkpoint : path, default=None
            File that keeps the sums of the pass while it goes on. Where it exists, the fit goes on from it: its
            blocks are not computed again. It is removed once the fit is complete. The same blocks must come in the
            same order.
        checkpoint_every : int, default=100
            Blocks between two writings of the file.

        Notes
        -----
        Callbacks are notified of every pass and every block. Those that score on training rows get the first block: not
        all rows are in memory. A closed-form fit is that of all its rows, so that a callback cannot end it early.

        Returns
        -------
        self : object
            The fitted estimator; unchanged when an error is raised, the checkpoint apart.

        Raises
        ------
        ValueError
            If there are no rows, a block's parts do not fit together, a source gives other blocks in a later pass, or
            the checkpoint is of another estimator.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_analytic import BRMPRegressor, Blocks
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = BRMPRegressor().fit_blocks(Blocks.from_arrays(X, y, block_size=100))
        >>> model.n_samples_seen_
        442
        """
        check_positive_integer("checkpoint_every", checkpoint_every)
        kind = "fit of Blocks" if isinstance(blocks, Blocks) else "fit of an iterator"
        with self._unchanged_on_error():
            method = self._checked_method()
            watched = {"X": None, "y": None}
            so_far = partial(self._so_far, method)
            progress = FitProgress(self, so_far, watched, checkpoint, checkpoint_every, kind)
            if not isinstance(blocks, Blocks):
                if not isinstance(blocks, Iterable) or isinstance(blocks, str | bytes | dict):
                    raise TypeError(
                        "fit_blocks takes Blocks or an iterable of (X, y) or (X, y, sample_weight), got "
                        f"{type(blocks).__name__}."
                    )
                return self._finished(method, self._fit_stream(method, blocks, progress), progress)
            X, y, weight = opened(blocks, self._raw_rows, self._columns_of, progress.show)
            progress.mark(y, weight)
            if blocks.feature_names is not None:
                self.feature_names_in_ = blocks.feature_names
            return self._fit_whole(method, X, y, weight, progress)

    def save_statistics(self, path):
        """Write everything that the fit has summed to a file, from which any machine can go on.

        The file is a NumPy ``.npz`` archive without pickled objects (:func:`sklearn_analytic.io.write_state` says
        how it is laid out); it replaces an old one only once it is complete.

        Parameters
        ----------
        path : path
            The file.

        Returns
        -------
        self : object
            The estimator.

        Examples
        --------
        >>> import tempfile
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_analytic import BRMPRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = BRMPRegressor().fit(X[:200], y[:200]).save_statistics(f"{folder}/first.npz")
        ...     model = BRMPRegressor().load_statistics(f"{folder}/first.npz").partial_fit(X[200:], y[200:])
        >>> model.n_samples_seen_
        442
        """
        if self._learned is None or self._learned.statistic is None:
            raise ValueError(f"{type(self).__name__} has seen no rows yet: fit it before save_statistics.")
        save_fit(self, Path(path), self._learned, "statistics", {"blocks_done": 0, "rows_done": 0})
        return self

    def load_statistics(self, path):
        """Take over what :meth:`save_statistics` wrote, and solve with the parameters of this estimator.

        Parameters of the solve (``alpha``, ``rcond``, ``exit``) may differ from those of the estimator that wrote:
        another ridge needs no row again. All others must be the same.

        Parameters
        ----------
        path : path
            The file.

        Returns
        -------
        self : object
            The fitted estimator; unchanged when an error is raised.

        Raises
        ------
        ValueError
            If the file is damaged, or of another class or of other parameters.

        Examples
        --------
        See :meth:`save_statistics`.
        """
        with self._unchanged_on_error():
            method = self._checked_method()
            learned, columns, _ = read_fit(self, Path(path))
            take_columns(self, columns)
            return self._keep(method, learned)

    @lazily
    def transform(self, X):
        """Return the features that the readout reads, the hidden layers and what stands beside them.

        A linear readout of these columns is what the estimator predicts with, so that they are a step before any
        other model in a pipeline. They are dense, also where X is sparse.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Features in the dtype of X, unless ``precision`` says otherwise; a frame after ``set_output``.
        """
        check_is_fitted(self)
        return self._map_blocks(X, self._hidden_of, self._n_features_out)

    def _checked_method(self):
        """What the parameters say, once they are checked."""
        method = self._method()
        method.check()
        return method

    def _fit_array(self, X, y, sample_weight):
        """Fit on rows that are one array; unchanged on error."""
        with self._unchanged_on_error():
            method = self._checked_method()
            watched = {"X": X, "y": y}
            if is_collection(X):
                watched = {"X": None, "y": None}  # callbacks are not made to read it
                check = partial(self._raw_rows, reset=True)
                X, y, sample_weight = opened_collection(X, y, sample_weight, check, self._columns_of)
            else:
                X = watched["X"] = self._read_features(X, reset=True)
            progress = FitProgress(self, partial(self._so_far, method), watched)
            return self._fit_whole(method, X, y, sample_weight, progress)

    def _fit_whole(self, method, X, y, sample_weight, progress):
        """Fit on all rows, whose columns are known."""
        targets, y = self._targets_of(y, X)
        with self._few_threads(X.shape):
            learned = fit(method, targets, X, y, checked_weights(sample_weight, X.shape[0]), progress)
            return self._finished(method, learned, progress)

    def _fit_stream(self, method, blocks, progress):
        """Return what blocks leave behind that are read once, in their order."""
        refuse_unbalanced(method, "fit_blocks on an iterator")
        progress.begin(1)
        learned, stream = progress.resume(), iter(blocks)
        first = progress.blocks_done
        progress.begin_pass("accumulate")
        progress.skip(stream, first)
        for number, block in enumerate(stream, first):
            X, y, weight = unpacked(block, number)
            if rows_of(X) or rows_of(y):
                progress.show(X, y)
                if not progress.rows_done:
                    progress.mark(y, weight)
                progress.rows_done += rows_of(X)
                if weight is None or np.any(host(weight)):  # a block without weight is no block
                    with numbered(number):
                        learned = self._with_rows(method, learned, X, y, weight)
            del block, X, y, weight  # or they would stay while the next block is made
            progress.block_done(None if learned is None else partial(_itself, learned))
        if learned is None:
            raise ValueError("fit_blocks got no rows: the iterable was empty or already exhausted.")
        learned.targets.check_weights(method.class_weight, whole=True)
        return learned

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """Add a block and solve; unchanged on error."""
        with self._unchanged_on_error():
            method = self._checked_method()
            refuse_unbalanced(method, "partial_fit")
            learned = self._with_rows(method, self._learned, X, y, sample_weight, classes)
            learned.targets.check_keys(method.class_weight)
            with self._few_threads((learned.statistic.n_rows, self.n_features_in_)):
                return self._keep(method, learned)

    def _forget(self, X, y, sample_weight):
        """Take rows out and solve, by a method that knows how (``removed``) and what stays (``traces``)."""
        check_is_fitted(self)
        with self._unchanged_on_error():
            method, learned = self._checked_method(), self._learned
            refuse_unbalanced(method, "forget")
            refuse_other_sums(method, learned)
            X = self._rows_of_stream(X, learned)
            copies = checked_weights(sample_weight, X.shape[0])
            targets, y = self._targets_of(y, X, learned.targets)
            if targets.n_columns > learned.targets.n_columns:
                learned.targets.coded(y)  # says which label no row can have had
            with self._few_threads(X.shape):
                self._keep(method, method.removed(learned, X, y, copies))
            warn_of_traces(type(self).__name__, method.traces(learned), method.no_trace)
        return self

    def _with_rows(self, method, learned, X, y, sample_weight, classes=None):
        """What was learned with a block added."""
        X = self._rows_of_stream(X, learned)
        targets, y = self._targets_of(y, X, None if learned is None else learned.targets, classes)
        with self._few_threads(X.shape):
            return absorb(method, learned, targets, X, y, checked_weights(sample_weight, X.shape[0]))

    def _rows_of_stream(self, X, learned):
        """A block with levels numbered as those before; a young stream may have more of them."""
        if learned is None:
            return self._read_features(X, reset=True)
        names, X = names_of(X), self._raw_rows(X, reset=False)
        if learned.first is not None and learned.first.columns is not None:
            return rows_by(learned.first.columns.merged(self._columns_of(X, names)), X)
        with self._named_values(names):
            return rows_by(None if learned.table is None else learned.table.columns, X)

    def _finished(self, method, learned, progress):
        """Solve, and tell those who watched."""
        self._keep(method, learned)
        progress.end()
        return self

    def _keep(self, method, learned):
        """Solve and set the fitted attributes."""
        for name, value in self._outcome(method, learned).items():
            setattr(self, name, value)
        return self

    def _outcome(self, method, learned):
        """Everything that fitting sets, columns apart."""
        solved, attributes = solve(method, learned)
        return {"_learned": learned, "_solved": solved} | attributes

    def _so_far(self, method, learned):
        """Fitted attributes of the rows so far, for callbacks that ask; what they lack in digits is not the fit's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)
            return columns_of(self) | self._outcome(method, learned)

    def _read_off(self, name, read):
        """What ``read()`` finds in the fit: made once, when it is first asked for."""
        solved, found = self.__dict__.get("_readings", (None, {}))
        if solved is not self._solved:
            found = {}
        if name not in found:
            found[name] = read()
            self._readings = (self._solved, found)
        return found[name]

    def __getstate__(self):
        """Leave out what is read off the sums, as long as they are there."""
        state = super().__getstate__()
        if self._learned is not None and self._learned.statistic is not None:
            state.pop("_readings", None)
        return state

    @property
    def _weighed(self):
        """What was learned, with classes weighing what they do in the readout."""
        return self._method().weighed(self._learned, self._solved.factors)

    def _backend_of(self, X):
        """What computes on rows."""
        return self._method().backend_of(X)

    def __sklearn_is_fitted__(self):
        """A shard has layers, but is not fitted before it has seen rows."""
        return self._solved is not None

    def __setstate__(self, state):
        """Take state of earlier versions, too."""
        super().__setstate__(with_values(state))

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _itself(value):
    """A value that is at hand."""
    return value
