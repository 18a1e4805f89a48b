"""What watches a fit: scikit-learn's callbacks (1.9 and later), a task per epoch or block, and checkpoint files."""

import logging
import numbers
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from threading import Lock

import numpy as np

from sklearn_analytic.estimator.statistics_file import columns_of, fingerprint, read_fit, save_fit, take_columns
from sklearn_analytic.io._checks import host
from sklearn_analytic.io._readers import unpacked
from sklearn_analytic.io._sources import rows_of

try:
    from sklearn.callback import CallbackSupportMixin, ProgressBar
    from sklearn.callback import with_callbacks as _managed
except ImportError:  # scikit-learn < 1.9
    ProgressBar = None

    class CallbackSupportMixin:
        """Nothing to support."""

    def _managed(method):
        """Return the method as it is."""
        return method


_GIVEN = ContextVar("given", default=None)  # what the caller of the fit that runs has passed
_LOGGER = logging.getLogger("sklearn_analytic")


def with_callbacks(method):
    """Decorate a fit: callbacks are torn down however it ends, and see the rows as the caller gave them.

    A fit goes on with checked rows, which have lost their column names and the rows of weight zero: a callback that
    scores on those would be warned of the one and misled by the other.
    """
    parameters, managed = signature(method), _managed(method)

    @wraps(method)
    def fit(estimator, *args, **kwargs):
        with _remembered(parameters.bind(estimator, *args, **kwargs).arguments), _shown(estimator):
            return managed(estimator, *args, **kwargs)

    return fit


@contextmanager
def _remembered(arguments):
    """Keep what callbacks see of the arguments of a fit while it runs, in this thread."""
    weight = arguments.get("sample_weight")
    metadata = {} if weight is None else {"metadata": {"sample_weight": weight}}
    token = _GIVEN.set({name: arguments[name] for name in ("X", "y") if name in arguments} | metadata)
    try:
        yield
    finally:
        _GIVEN.reset(token)


@contextmanager
def _shown(estimator):
    """Show a fit that is ``verbose``: by a progress bar, where none is set, or by messages that are seen."""
    if not _is_verbose(estimator):
        yield
        return
    bar = _progress_bar(estimator)
    with _MESSAGES if bar is None else _with_bar(estimator, bar):
        yield


def _is_verbose(estimator):
    """Whether an estimator tells of its fit; what is neither a flag nor a level is refused by the fit."""
    verbose = getattr(estimator, "verbose", False)
    return isinstance(verbose, bool | np.bool_ | numbers.Integral) and verbose > 0


def _progress_bar(estimator):
    """A progress bar, or None where there is one, where a caller has those of its parts, or where none is at hand."""
    if ProgressBar is None or hasattr(estimator, "_parent_callback_ctx"):
        return None
    try:
        return ProgressBar() if _bars_are_seen() else None
    except ImportError:  # of rich
        return None


def _bars_are_seen():
    """Whether rich draws here: in a notebook it asks for ipywidgets, and shows nothing without."""
    from rich.console import Console

    return not Console().is_jupyter or find_spec("ipywidgets") is not None


@contextmanager
def _with_bar(estimator, bar):
    """Watch a fit by one more callback, unless the caller has set a bar."""
    callbacks = getattr(estimator, "_skl_callbacks", [])
    if any(isinstance(callback, ProgressBar) for callback in callbacks):
        yield
        return
    estimator.set_callbacks(*callbacks, bar)
    try:
        yield
    finally:
        estimator.set_callbacks(*callbacks)


class _Messages:
    """Lets messages pass while verbose fits run, in any thread, to where the caller sends them or to standard error."""

    def __init__(self):
        self._lock, self._n_fits, self._level, self._handler = Lock(), 0, None, None

    def __enter__(self):
        """The first fit opens the way."""
        with self._lock:
            if self._n_fits == 0:
                self._level, self._handler = _LOGGER.level, None if _LOGGER.hasHandlers() else logging.StreamHandler()
                if self._handler is not None:
                    _LOGGER.addHandler(self._handler)
                _LOGGER.setLevel(logging.INFO)
            self._n_fits += 1

    def __exit__(self, *error):
        """The last one leaves it as it was."""
        with self._lock:
            self._n_fits -= 1
            if self._n_fits == 0:
                _LOGGER.setLevel(self._level)
                if self._handler is not None:
                    _LOGGER.removeHandler(self._handler)


_MESSAGES = _Messages()


def tell_of_block(estimator):
    """Say in a message that a verbose estimator has trained on a block of a stream, and its loss."""
    if _is_verbose(estimator):
        with _MESSAGES:
            name, n_blocks, loss = type(estimator).__name__, estimator.n_iter_, estimator.loss_
            _LOGGER.info("%s: block %d, loss %.6g", name, n_blocks, loss)


class EpochTasks:
    """The epochs of one fit as tasks of scikit-learn's callbacks, perhaps in groups; silent where none are set.

    A closed-form fit has one group for each pass over the rows, and a task for each block.
    """

    _task_name, _has_losses = "epoch", True

    def __init__(self, estimator, data):
        self._estimator, self._data = estimator, data | (_GIVEN.get() or {})
        self._context = self._group = None
        self._counted = "", 0, None  # group, tasks so far and in all, for messages
        self.begun = False

    def show(self, X, y):
        """Give callbacks that score on training rows these: not all are in memory."""
        self._data = self._data | {"X": X, "y": y}

    def begin(self, n_tasks):
        """Tell callbacks that a fit of so many epochs, or groups of epochs, begins."""
        self._counted, self.begun = ("", 0, n_tasks), True
        start = getattr(self._estimator, "_init_callback_context", None)
        self._context = None if start is None else start(max_subtasks=n_tasks)
        if self._context is not None:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_group(self, name, n_epochs):
        """Tell callbacks that the last group is over, if there was one, and that another begins."""
        self._end_group()
        self._counted = f"{name}, ", 0, n_epochs
        if self._context is not None:
            self._group = self._context.subcontext(task_name=name, max_subtasks=n_epochs)
            self._group.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def epoch(self, attributes):
        """Tell callbacks that an epoch is over; ``attributes()`` are the fitted attributes so far. True stops."""
        self._log(attributes)
        if self._context is None:
            return False
        task = (self._group or self._context).subcontext(task_name=self._task_name)
        task.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return bool(
            task.call_on_fit_task_end(estimator=self._estimator, **self._data, reconstruction_attributes=attributes)
        )

    def end(self, attributes=None):
        """Tell callbacks that the fit is over; with ``attributes=dict`` the estimator is ready to predict."""
        self._end_group()
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator, **self._data, reconstruction_attributes=attributes
            )

    def _log(self, attributes):
        """Say in a message what a progress bar would show, and the loss."""
        group, before, in_all = self._counted
        self._counted = group, before + 1, in_all
        if not _is_verbose(self._estimator) or not _LOGGER.isEnabledFor(logging.INFO):
            return
        place = f"{before + 1}" if in_all is None else f"{before + 1} of {in_all}"
        parts = [f"{type(self._estimator).__name__}: {group}{self._task_name} {place}"]
        found = attributes() if self._has_losses else {}
        parts += [f"loss {found['loss_']:.6g}"] if "loss_" in found else []
        parts += [f"validation score {found['validation_scores_'][-1]:.6g}"] if found.get("validation_scores_") else []
        _LOGGER.info(", ".join(parts))

    def _end_group(self):
        """Close the group that is open."""
        if self._group is not None:
            self._group.call_on_fit_task_end(estimator=self._estimator, **self._data)
            self._group = None


class BlockTasks(EpochTasks):
    """The blocks of a closed-form fit as tasks, in a group for each pass."""

    _task_name, _has_losses = "block", False  # what blocks have so far costs a solve


class Unwatched:
    """Blocks of a stream: nobody watches, nothing is resumed."""

    resumed = False

    def begin_pass(self, name, n_blocks=None):
        """Tell nobody."""

    def reduce(self, learned, rows, start, step, backend):
        """Fold a step over all rows."""
        return rows.reduce(start, step, backend)


class FitProgress(Unwatched):
    """What watches a fit: callbacks, and a checkpoint file from which an interrupted pass goes on.

    ``so_far(learned)`` are the fitted attributes that callbacks ask for.
    """

    def __init__(self, estimator, so_far, data, path=None, every=1, kind="fit of arrays"):
        self._estimator, self._so_far = estimator, so_far
        self._path, self._every = None if path is None else Path(path), every
        if self._path is not None and not self._path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r}: the folder {str(self._path.parent)!r} does not exist.")
        self._tasks, self._kind = BlockTasks(estimator, data), kind
        self.blocks_done = self.rows_done = 0  # of the pass that accumulates
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
        if getattr(self._estimator, "_skl_callbacks", None) and not self._shown:
            self._tasks.show(host(X), host(y))
            self._shown = True

    def mark(self, y, weight):
        """Take the number by which a checkpoint knows its data: of a first block, and of targets and weights."""
        if self._path is not None:
            self._fingerprint, self._first = fingerprint(self._first, y, weight), ()

    def begin_pass(self, name, n_blocks=None):
        """Tell callbacks that a pass begins."""
        self._tasks.begin_group(name, n_blocks)

    def resume(self, targets=None):
        """Return what the rows of the checkpoint have left behind, or None; :meth:`reduce` then goes on from there.

        Columns and ``targets`` have to be those of the checkpoint; a stream (None) has shown none yet, and takes them.
        """
        if self._path is None or not self._path.exists():
            return None
        learned, columns, about = read_fit(self._estimator, self._path, self._kind)
        if targets is None:
            take_columns(self._estimator, columns)
        else:
            found = columns | learned.targets.published()
            for name, value in (columns_of(self._estimator) | targets.published()).items():
                if name in found and not np.array_equal(value, found[name]):
                    raise ValueError(f"{self._path} was written for rows with another {name}: remove it to begin anew.")
        self._check_data(about.get("fingerprint"))
        self.blocks_done, self.rows_done, self.resumed = about["blocks_done"], about["rows_done"], True
        return learned

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

    def skip(self, blocks, n_blocks):
        """Drop the blocks of a stream that the checkpoint has, if they are as many rows and begin as its own."""
        found = 0
        for number, block in zip(range(n_blocks), blocks, strict=False):
            X, y, weight = unpacked(block, number)
            if not found and rows_of(X):
                self.compare(X, y, weight)
            found += rows_of(X)
        if found != self.rows_done:
            raise ValueError(
                f"The checkpoint has {self.rows_done} rows in {n_blocks} blocks; the first blocks of this iterable "
                f"have {found}. Give the same blocks in the same order, or remove the file to begin anew."
            )

    def _counted(self, n_blocks):
        """Rows of a stream, which are counted as they come."""
        return self.rows_done

    def block_done(self, learned=None):
        """Tell callbacks of a block, and write the checkpoint when it is due.

        ``learned()`` is what all rows so far have left behind; None before the first rows.
        """
        self.blocks_done += 1
        if learned is None:
            return
        if self._path is not None and self.blocks_done % self._every == 0:
            done = {"blocks_done": self.blocks_done, "rows_done": self._rows_before(self.blocks_done)}
            done["fingerprint"] = self._fingerprint
            save_fit(self._estimator, self._path, learned(), self._kind, done)
        self._tasks.epoch(lambda: self._so_far(learned()))

    def end(self):
        """Tell callbacks that the fit is over; the checkpoint has served."""
        self._tasks.end(dict)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def reduce(self, learned, rows, start, step, backend):
        """Fold a step over the rows, or over those that what was resumed lacks, telling of every block."""
        self._rows_before = rows.rows_before
        if self.resumed:
            start, rows = learned.statistic, rows.after(self.blocks_done, self.rows_done)
            self.resumed = False
        else:
            self.blocks_done = 0
        learned = replace(learned, statistic=None)  # or what a pass begins with would stay while it goes on

        def tell(statistic):
            self.block_done(lambda: replace(learned, statistic=statistic.to_host(backend)))

        self.begin_pass("accumulate", rows.n_blocks)
        return rows.reduce(start, step, backend, tell)
