"""Fits over blocks that closed-form estimators share: passes, progress, checkpoints, statistics on disk."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import get_backend
from sklearn_analytic.estimator.base import AnalyticEstimator, check_positive_integer
from sklearn_analytic.estimator.callbacks import BlockTasks, CallbackSupportMixin, with_callbacks
from sklearn_analytic.estimator.classes import refuse_balanced
from sklearn_analytic.estimator.statistics_file import NOT_FITTED, fingerprint, restore_fit, save_fit, state_of
from sklearn_analytic.io import Blocks
from sklearn_analytic.io._elsewhere import is_collection, lazily, opened_collection
from sklearn_analytic.io._passes import host
from sklearn_analytic.io._readers import unpacked
from sklearn_analytic.io._sources import numbered, opened, rows_of

_SETTLED = ("n_features_in_", "feature_names_in_", "classes_")  # by the rows, before a checkpoint is read


class Unwatched:
    """Blocks of a stream: nobody watches, nothing is resumed."""

    resumed = None

    def begin_pass(self, name, n_blocks=None):
        """Tell nobody."""

    def reduce(self, rows, start, step, backend):
        """Fold a step over all rows."""
        return rows.reduce(start, step, backend)


class FitProgress(Unwatched):
    """What watches a fit: callbacks, and a checkpoint file from which an interrupted pass goes on."""

    def __init__(self, estimator, data, path=None, every=1, kind="fit of arrays"):
        self._estimator, self._path, self._every = estimator, None if path is None else Path(path), every
        if self._path is not None and not self._path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r}: the folder {str(self._path.parent)!r} does not exist.")
        self._tasks, self._kind = BlockTasks(estimator, data), kind
        self._blocks_done = self.rows_done = 0  # of the pass that accumulates
        self._rows_before = self._counted  # how many rows some blocks have
        self._shown = False
        self._first, self._fingerprint = None, None  # a block, and a number of all data: a checkpoint is of those

    def begin(self, passes):
        """Tell callbacks that a fit of so many passes (None where it is not known) begins."""
        self._tasks.begin(passes)

    def show(self, X, y):
        """Give callbacks that score on training rows a first block of them; others need not keep it in memory."""
        if self._path is not None and self._first is None:
            self._first = X
        if vars(self._estimator).get("_skl_callbacks") and not self._shown:
            self._tasks.show(host(X), host(y))
            self._shown = True

    def mark(self, y, weight):
        """Take the number by which a checkpoint knows its data: of a first block, and of targets and weights."""
        if self._path is not None:
            self._fingerprint, self._first = fingerprint(self._first, y, weight), ()

    def begin_pass(self, name, n_blocks=None):
        """Tell callbacks that a pass begins."""
        self._tasks.begin_group(name, n_blocks)

    def resume(self):
        """Restore the estimator from the checkpoint, if there is one; return its statistic and how many blocks it has.

        ``resumed`` keeps the statistic for the pass that it belongs to.
        """
        if self._path is None or not self._path.exists():
            return None, 0
        before = {name: value for name, value in vars(self._estimator).items() if name in _SETTLED}
        about = restore_fit(self._estimator, self._path, self._kind)
        for name, value in before.items():
            if not np.array_equal(value, getattr(self._estimator, name, None)):
                raise ValueError(f"{self._path} was written for rows with another {name}: remove it to begin anew.")
        self._check_data(about.get("fingerprint"))
        self._blocks_done, self.rows_done = about["blocks_done"], about["rows_done"]
        self.resumed = self._estimator.__dict__.pop("_statistic")
        return self.resumed, self._blocks_done

    def compare(self, X, y, weight):
        """Refuse a first block that is not that of the checkpoint."""
        written = self._fingerprint
        self._first = X
        self.mark(y, weight)
        self._check_data(written)

    def _check_data(self, written):
        """Refuse a checkpoint of other data; of an iterator they are known once its first block has come."""
        if self._fingerprint is None:
            self._fingerprint = written
        elif written != self._fingerprint:
            raise ValueError(
                f"{self._path} was written for other rows, targets or weights: remove it to begin anew, or give "
                "checkpoint another name."
            )

    def _counted(self, n_blocks):
        """Rows of a stream, which are counted as they come."""
        return self.rows_done

    def block_done(self, statistic, backend):
        """Tell callbacks of a block, and write the checkpoint when it is due; ``statistic`` is on the backend."""
        self._blocks_done += 1
        if statistic is None:  # blocks without rows before the first
            return
        if self._path is not None and self._blocks_done % self._every == 0:
            done = {"blocks_done": self._blocks_done, "rows_done": self._rows_before(self._blocks_done)}
            done["fingerprint"] = self._fingerprint
            save_fit(self._estimator, self._path, statistic.to_host(backend), self._kind, done)
        self._tasks.epoch(lambda: _attributes_of(self._estimator, statistic.to_host(backend)))

    def end(self):
        """Tell callbacks that the fit is over; the checkpoint has served."""
        self._tasks.end(dict)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def reduce(self, rows, start, step, backend):
        """Fold a step over the rows, or over those that a resumed statistic lacks, telling of every block."""
        self._rows_before = rows.rows_before
        if self.resumed is None:
            self._blocks_done = 0
        else:
            start, rows, self.resumed = self.resumed, rows.after(self._blocks_done, self.rows_done), None
        self.begin_pass("accumulate", rows.n_blocks)
        return rows.reduce(start, step, backend, lambda statistic: self.block_done(statistic, backend))


class ReductionEstimator(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, AnalyticEstimator, ABC
):
    """A closed-form fit: blocks become a statistic that is solved once, and goes to disk and comes back.

    A subclass says how all rows become a statistic (``_fit_rows``), how one block is added to one (``_absorb``), how it
    is solved (``_store``), and what the readout reads of a block (``_hidden_of``), as a step before another model.
    """

    @abstractmethod
    def _fit_rows(self, X, y, sample_weight, progress):
        """Return the statistic of all rows, in passes that ``progress`` is told of."""

    @abstractmethod
    def _absorb(self, statistic, X, y, sample_weight, classes=None):
        """Return a statistic, or the first one, with a block added."""

    @abstractmethod
    def _store(self, statistic):
        """Solve, set the fitted attributes, return the estimator."""

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
        Callbacks are told of every pass and every block. Those that score on training rows get the first block: not
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
        with self._unchanged_on_error():
            self._check_parameters()
            self._start_anew()
            kind = "fit of Blocks" if isinstance(blocks, Blocks) else "fit of an iterator"
            progress = FitProgress(self, {"X": None, "y": None}, checkpoint, checkpoint_every, kind)
            if not isinstance(blocks, Blocks):
                if not isinstance(blocks, Iterable) or isinstance(blocks, str | bytes | dict):
                    raise TypeError(
                        "fit_blocks takes Blocks or an iterable of (X, y) or (X, y, sample_weight), got "
                        f"{type(blocks).__name__}."
                    )
                return self._finished(self._fit_stream(blocks, progress), progress)
            X, y, weight = opened(blocks, lambda x, first: self._read_features(x, reset=first), progress.show)
            progress.mark(y, weight)
            if blocks.feature_names is not None:
                self.feature_names_in_ = blocks.feature_names
            return self._finished(self._fit_rows(X, y, weight, progress), progress)

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
        if not hasattr(self, "_statistic"):
            raise ValueError(f"{type(self).__name__} has seen no rows yet: fit it before save_statistics.")
        save_fit(self, Path(path), self._statistic, "statistics", {"blocks_done": 0, "rows_done": 0})
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
            self._check_parameters()
            for name in state_of(self):
                delattr(self, name)
            restore_fit(self, Path(path))
            return self._store(self._statistic)

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

    def _check_enough(self):
        """Refuse a whole fit that cannot mean anything; regression takes any number of rows."""

    def _start_anew(self):
        """Drop what an earlier fit has summed and frozen."""
        for name in ("_statistic", "_network", "_seed", "_first_rows", *_SETTLED):
            self.__dict__.pop(name, None)

    def _fit_array(self, X, y, sample_weight):
        """Fit on rows that are one array; unchanged on error."""
        with self._unchanged_on_error():
            self._check_parameters()
            self._start_anew()
            watched = {"X": X, "y": y}
            if is_collection(X):
                watched = {"X": None, "y": None}  # callbacks are not made to read it
                check = partial(self._read_features, reset=True)
                X, y, sample_weight = opened_collection(X, y, sample_weight, check)
            else:
                X = watched["X"] = self._read_features(X, reset=True)
            progress = FitProgress(self, watched)
            return self._finished(self._fit_rows(X, y, sample_weight, progress), progress)

    def _fit_stream(self, blocks, progress):
        """Return the statistic of blocks that are read once, in their order."""
        refuse_balanced(getattr(self, "class_weight", None), "fit_blocks on an iterator")
        progress.begin(1)
        statistic, first = progress.resume()
        progress.begin_pass("accumulate")
        stream = iter(blocks)
        _skip(stream, first, progress)
        for number, block in enumerate(stream, first):
            X, y, weight = unpacked(block, number)
            if rows_of(X) or rows_of(y):
                progress.show(X, y)
                if not progress.rows_done:
                    progress.mark(y, weight)
                progress.rows_done += rows_of(X)
                if weight is None or np.any(host(weight)):  # a block without weight is no block
                    with numbered(number):
                        statistic = self._absorb(statistic, X, y, weight)
            del block, X, y, weight  # or they would stay while the next block is made
            progress.block_done(statistic, get_backend("cpu"))
        if statistic is None:
            raise ValueError("fit_blocks got no rows: the iterable was empty or already exhausted.")
        return statistic

    def _finished(self, statistic, progress):
        """Solve, and tell those who watched."""
        self._check_enough()
        self._store(statistic)
        progress.end()
        return self


def _skip(stream, n_blocks, progress):
    """Drop the blocks that a checkpoint has already, if they are as many rows and begin as its own."""
    found, n_rows = 0, progress.rows_done
    for number, block in zip(range(n_blocks), stream, strict=False):
        X, y, weight = unpacked(block, number)
        if not found and rows_of(X):
            progress.compare(X, y, weight)
        found += rows_of(X)
    if found != n_rows:
        raise ValueError(
            f"The checkpoint has {n_rows} rows in {n_blocks} blocks; the first blocks of this iterable have "
            f"{found}. Give the same blocks in the same order, or remove the file to begin anew."
        )


def detached(estimator):
    """Return a shallow copy without sums and callbacks: what a step needs, wherever it runs."""
    other = copy.copy(estimator)
    for name in ("_statistic", *NOT_FITTED):
        other.__dict__.pop(name, None)
    return other


def _attributes_of(estimator, statistic):
    """Fitted attributes of the rows so far, for callbacks that ask; what they lack in digits is not the fit's."""
    other = detached(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        other._store(statistic)
    return state_of(other)
