"""Alignment of hidden layers with the true gradient as a figure."""

from sklearn_analytic.estimator.plotting import EstimatorDisplay, epoch_lines, hidden_widths, names_of, numbers_of

_AXES = ("n_epochs", "n_hidden")


class AlignmentDisplay(EstimatorDisplay):
    """Lines of the cosine between what each hidden layer learned from and the true gradient, epoch by epoch.

    :meth:`from_estimator` draws those of a :class:`DFAClassifier` or another estimator with ``alignment_``.

    Parameters
    ----------
    alignment : array-like of shape (n_epochs, n_hidden)
        Mean cosines, bottom layer first: 1 is backpropagation, 0 an error that says nothing.
    layer_names : array-like of str of shape (n_hidden,), default=None
        Names for the legend; None is "layer 1", "layer 2" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title.

    Attributes
    ----------
    alignment_, layer_names : ndarray of shape (n_epochs, n_hidden), ndarray of shape (n_hidden,)
        Cosines, and names of the layers.
    lines_ : list of matplotlib Line2D
        A line for each layer.
    ax_, figure_ : matplotlib Axes, matplotlib Figure
        Where they are.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import AlignmentDisplay, DFAClassifier, Feedback
    >>> model = DFAClassifier((16, 8), feedback=Feedback(alignment=True), max_iter=5, random_state=0)
    >>> model = model.fit(*load_iris(return_X_y=True))
    >>> display = AlignmentDisplay.from_estimator(model)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['layer 1 (16 units)', 'layer 2 (8 units)']
    """

    _advice = "set feedback=Feedback(alignment=True) and fit again (of a pipeline, give the last step)."

    def __init__(self, alignment, *, layer_names=None, estimator_name=None):
        self.alignment_ = numbers_of("alignment", alignment, *_AXES)
        plain = [f"layer {k + 1}" for k in range(self.alignment_.shape[1])]
        self.layer_names = names_of("layer_names", layer_names, plain, "hidden layers")
        self.estimator_name = estimator_name

    @classmethod
    def _measured(cls, estimator):
        """Cosines, and names with the widths of layers."""
        alignment = numbers_of("alignment", cls._fitted(estimator, "alignment_"), *_AXES)
        widths = hidden_widths(estimator, alignment.shape[1])
        names = widths and [f"layer {k} ({width} units)" for k, width in enumerate(widths, start=1)]
        return {"alignment": alignment, "layer_names": names, "estimator_name": type(estimator).__name__}

    def plot(self, ax=None, **line_kwargs):
        """Draw the lines; return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.
        """
        (self.ax_,) = self._axes(ax)
        self.lines_ = epoch_lines(self.ax_, self.layer_names, self.alignment_.T, line_kwargs)
        self.ax_.set(ylabel="cosine to the true gradient", title=self.estimator_name)
        self.ax_.update_datalim([(1, 0), (1, 1)])  # both are seen, whatever the cosines
        self.ax_.autoscale_view()
        return self
