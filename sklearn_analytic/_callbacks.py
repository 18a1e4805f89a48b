"""scikit-learn's callbacks (1.9 and later), one task per epoch; before 1.9 estimators have none."""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """Nothing to support."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


class EpochTasks:
    """The epochs of one fit as tasks of scikit-learn's callbacks, perhaps in groups; silent where none are set."""

    def __init__(self, estimator, data):
        self._estimator, self._data = estimator, data
        self._context = self._group = None

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
        task = (self._group or self._context).subcontext(task_name="epoch")
        task.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return bool(
            task.call_on_fit_task_end(estimator=self._estimator, **self._data, reconstruction_attributes=attributes)
        )

    def end(self):
        """Tell callbacks that the fit is over."""
        self._end_group()
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._estimator, **self._data)

    def _end_group(self):
        """Close the group that is open."""
        if self._group is not None:
            self._group.call_on_fit_task_end(estimator=self._estimator, **self._data)
            self._group = None
