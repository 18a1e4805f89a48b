"""Alignment of hidden layers with the true gradient as a figure."""

import numpy as np

from sklearn_analytic.estimator.plotting import checked_names, fitted_attribute, mark_whole_epochs, pyplot_for

_ADVICE = "set alignment=True and fit again (of a pipeline, give the last step)."
_MARGIN = 0.05  # beyond 0 and 1, so that lines on the border are seen


class AlignmentDisplay:
    """Lines of the cosine between what each hidden layer learned from and the true gradient, epoch by epoch.

    Draw it with :meth:`from_estimator`. It needs matplotlib (``pip install "sklearn_analytic[plot]"``).

    Parameters
    ----------
    alignment : array-like of shape (n_epochs, n_hidden)
        Mean cosines, bottom layer first: 1 is backpropagation, 0 an error that says nothing.
    layer_names : array-like of str of shape (n_hidden,), default=None
        Names for the legend; None is "layer 1", "layer 2" and so on.
    estimator_name : str, default=None
        Name of the estimator, for the title.

    Attributes
    ----------
    alignment_ : ndarray of shape (n_epochs, n_hidden)
        Cosines.
    layer_names : ndarray of shape (n_hidden,)
        Names, bottom layer first.
    lines_ : list of matplotlib Line2D
        The lines that were drawn, bottom layer first.
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    DFAClassifier : Measures the alignment of its hidden layers with ``alignment=True``.

    Examples
    --------
    >>> import matplotlib
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import DFAClassifier
    >>> from sklearn_analytic import AlignmentDisplay
    >>> matplotlib.use("Agg")  # draws to files, without a screen
    >>> model = DFAClassifier((16, 8), alignment=True, max_iter=5, random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = AlignmentDisplay.from_estimator(model)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['layer 1 (16 units)', 'layer 2 (8 units)']
    >>> len(display.lines_[0].get_xdata())
    5
    """

    def __init__(self, alignment, *, layer_names=None, estimator_name=None):
        self.alignment_ = _checked_alignment(alignment)
        plain = [f"layer {k + 1}" for k in range(self.alignment_.shape[1])]
        self.layer_names = checked_names("layer_names", layer_names, plain, "hidden layers")
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **line_kwargs):
        """Draw the alignment of a fitted estimator.

        Parameters
        ----------
        estimator : object
            An estimator with ``alignment_``: one that was fitted with ``alignment=True``. For a pipeline give its last
            step.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.

        Returns
        -------
        display : AlignmentDisplay
            The display, drawn.
        """
        alignment = _checked_alignment(fitted_attribute(estimator, "alignment_", _ADVICE))
        names = _names_of(estimator, alignment.shape[1])
        display = cls(alignment, layer_names=names, estimator_name=type(estimator).__name__)
        return display.plot(ax, **line_kwargs)

    def plot(self, ax=None, **line_kwargs):
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.

        Returns
        -------
        display : AlignmentDisplay
            This display, with ``ax_``, ``figure_`` and ``lines_``.
        """
        if ax is None:
            _, ax = pyplot_for(type(self).__name__).subplots(layout="constrained")
        epochs = np.arange(1, len(self.alignment_) + 1)
        style = {"marker": "o"} if len(epochs) == 1 else {}  # a line through one point cannot be seen
        self.lines_ = [
            ax.plot(epochs, cosines, **({"label": name} | style | line_kwargs))[0]
            for name, cosines in zip(self.layer_names, self.alignment_.T, strict=True)
        ]
        shown = np.append(self.alignment_[np.isfinite(self.alignment_)], [0.0, 1.0])
        ax.set(ylim=(shown.min() - _MARGIN, shown.max() + _MARGIN), xlabel="epoch", title=self.estimator_name)
        ax.set_ylabel("cosine to the true gradient")
        mark_whole_epochs(ax)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _names_of(estimator, n_hidden):
    """Names with widths where the weights of a plain network tell them."""
    coefs = getattr(estimator, "coefs_", None)
    if coefs is None or len(coefs) != n_hidden + 1:
        return None
    return [f"layer {k + 1} ({weights.shape[1]} units)" for k, weights in enumerate(coefs[:-1])]


def _checked_alignment(alignment):
    """Cosines as an array of two dimensions."""
    try:
        cosines = np.asarray(alignment, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"alignment must be an array of numbers of shape (n_epochs, n_hidden), got {alignment!r}."
        ) from error
    if cosines.ndim != 2 or not cosines.size:
        raise ValueError(f"alignment must have shape (n_epochs, n_hidden), neither of them 0, got {cosines.shape}.")
    return cosines
