"""What the displays share: matplotlib on demand, what fitted estimators measured, checked arrays and names, lines."""

import inspect

import numpy as np
from sklearn.utils.validation import check_is_fitted


class EstimatorDisplay:
    """A figure of what a fitted estimator measured: ``_measured`` makes arguments of the constructor of it."""

    _advice = ""  # where a fitted attribute would come from

    @classmethod
    def from_estimator(cls, estimator, **kwargs):
        """Return the display of a fitted estimator, drawn.

        Parameters
        ----------
        estimator : object
            A fitted estimator; for a pipeline give its last step.
        **kwargs : dict
            Arguments of the display, in place of what the estimator says, and of :meth:`plot`.
        """
        return cls._drawn(cls._measured(estimator), **kwargs)

    @classmethod
    def _drawn(cls, measured, **kwargs):
        """The display of what was measured, drawn; ``kwargs`` are arguments of it, which come first, and of plot."""
        given = {name: kwargs.pop(name) for name in inspect.signature(cls).parameters.keys() & kwargs.keys()}
        given = {name: value for name, value in given.items() if value is not None}
        return cls(**measured | given).plot(**kwargs)

    @classmethod
    def _fitted(cls, estimator, attribute):
        """An attribute of a fitted estimator, or an error that says where it would come from."""
        check_is_fitted(estimator)
        try:
            return getattr(estimator, attribute)
        except AttributeError as error:
            raise AttributeError(f"{type(estimator).__name__} has no {attribute}: {cls._advice}") from error

    @classmethod
    def _pyplot(cls):
        """Return matplotlib.pyplot, or raise an error that says how to install it."""
        try:
            from matplotlib import pyplot
        except ImportError as error:
            needs = f'{cls.__name__} needs matplotlib: pip install "sklearn_analytic[plot]".'
            raise ImportError(needs) from error
        return pyplot

    @classmethod
    def _check_axes(cls, given, n_rows=1, n_columns=1):
        """Refuse what :meth:`_axes` would refuse, before a long computation."""
        if given is None:
            cls._pyplot()
        else:
            _row_of_axes(given, n_rows, n_columns)

    def _axes(self, given, n_rows=1, n_columns=1, **figure):
        """The given axes in a row, or those of a new figure; matplotlib is imported for them alone."""
        if given is None:
            given = self._pyplot().subplots(n_rows, n_columns, layout="constrained", **figure)[1]
        axes = _row_of_axes(given, n_rows, n_columns)
        self.figure_ = axes[0].figure
        return axes


def _row_of_axes(given, n_rows, n_columns):
    """Given axes as a flat array, refused where a figure cannot be drawn on them."""
    axes = np.ravel(np.asarray(given, dtype=object))
    if len(axes) != n_rows * n_columns:
        how = f"those of pyplot.subplots({n_rows}, {n_columns}), or None for a new figure"
        raise ValueError(f"axes must be {n_rows * n_columns} matplotlib Axes, got {len(axes)}: give {how}.")
    if not all(hasattr(ax, "get_xlabel") for ax in axes):
        raise TypeError(f"axes must be matplotlib Axes, got {given!r}.")
    return axes


def hidden_widths(estimator, n_hidden):
    """Units of so many hidden layers where the weights of a plain network show them, or None."""
    coefs = getattr(estimator, "coefs_", ())
    return [weights.shape[1] for weights in coefs[:-1]] if len(coefs) == n_hidden + 1 else None


def numbers_of(name, values, *axes):
    """Values as an array with named axes, none of them of length 0."""
    shape = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers of shape {shape}, got {values!r}.") from error
    if array.ndim != len(axes) or not array.size:
        raise ValueError(f"{name} must have shape {shape}, none of them 0, got {array.shape}.")
    return array


def names_of(parameter, names, defaults, things):
    """Names as an array, one for each of the things that are drawn."""
    names = np.asarray(defaults if names is None else names, dtype=object)
    check_count(parameter, names, len(defaults), things)
    return names


def check_count(parameter, array, n_things, things):
    """Refuse an array that has not one entry for each of the things that are drawn."""
    if array.shape != (n_things,):
        raise ValueError(f"{parameter} has shape {array.shape}, but there are {n_things} {things}.")


def epoch_lines(ax, labels, columns, style):
    """Lines against the epoch, and their legend; a single point is seen by its marker alone."""
    from matplotlib.ticker import MaxNLocator

    lines = []
    for label, values in zip(labels, columns, strict=True):
        look = {"label": label, "marker": "o" if len(values) == 1 else None} | style
        lines += ax.plot(np.arange(1, len(values) + 1), values, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.legend()
    return lines
