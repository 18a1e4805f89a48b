"""scikit-learn's callbacks (1.9 and later), one task per epoch or block; before 1.9 estimators have none."""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import signature

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _managed
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """Nothing to support."""

    def _managed(method):
        """Return the method as it is."""
        return method


_GIVEN = ContextVar("given", default=None)  # what the caller of the fit that runs has passed


def with_callbacks(method):
    """Decorate a fit: callbacks are torn down however it ends, and see the rows as the caller gave them.

    A fit goes on with checked rows, which have lost their column names and the rows of weight zero: a callback that
    scores on those would be warned of the one and misled by the other.
    """
    parameters, managed = signature(method), _managed(method)

    @wraps(method)
    def fit(estimator, *args, **kwargs):
        with _remembered(parameters.bind(estimator, *args, **kwargs).arguments):
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


class EpochTasks:
    """The epochs of one fit as tasks of scikit-learn's callbacks, perhaps in groups; silent where none are set.

    A closed-form fit has one group for each pass over the rows, and a task for each block.
    """

    _task_name = "epoch"

    def __init__(self, estimator, data):
        self._estimator, self._data = estimator, data | (_GIVEN.get() or {})
        self._context = self._group = None

    def show(self, X, y):
        """Give callbacks that score on training rows these: not all are in memory."""
        self._data = self._data | {"X": X, "y": y}

    def begin(self, n_tasks):
        """Tell callbacks that a fit of so many epochs, or groups of epochs, begins."""
        start = getattr(self._estimator, "_init_callback_context", None)
        self._context = None if start is None else start(max_subtasks=n_tasks)
        if self._context is not None:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_group(self, name, n_epochs):
        """Tell callbacks that the last group is over, if there was one, and that another begins."""
        self._end_group()
        if self._context is not None:
            self._group = self._context.subcontext(task_name=name, max_subtasks=n_epochs)
            self._group.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def epoch(self, attributes):
        """Tell callbacks that an epoch is over; ``attributes()`` are the fitted attributes so far. True stops."""
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

    def _end_group(self):
        """Close the group that is open."""
        if self._group is not None:
            self._group.call_on_fit_task_end(estimator=self._estimator, **self._data)
            self._group = None


class BlockTasks(EpochTasks):
    """The blocks of a closed-form fit as tasks, in a group for each pass."""

    _task_name = "block"
