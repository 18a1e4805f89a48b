"""What processes sent each other, and the entropy of the weights they trained, as a figure."""

import numpy as np

from sklearn_analytic.estimator.plotting import fitted_attribute, mark_whole_epochs, pyplot_for

_ADVICE = (
    "fit sklearn_analytic.distributed.data_parallel(estimator), or the estimator itself with distributed=True on "
    "device='torch:cpu' in every process of a group (of a pipeline, give the last step)."
)
# {key of the record: label}
_BYTES = {"uncompressed_bytes": "uncompressed", "wire_bytes": "sent", "payload_bytes": "payload"}


class CommunicationDisplay:
    """Bytes that a process sent per epoch, and the entropy of every layer's weights, in two panels.

    Draw it with :meth:`from_estimator`. It needs matplotlib (``pip install "sklearn_analytic[plot]"``).

    Parameters
    ----------
    communication : dict
        The fitted attribute ``communication_`` of an estimator.
    estimator_name : str, default=None
        Name of the estimator, for the title.

    Attributes
    ----------
    communication_ : dict
        What is drawn.
    bytes_lines_ : list of matplotlib Line2D
        Bytes per epoch: what a ring would send of float gradients, what was sent, and the payload of one process.
    entropy_lines_ : list of matplotlib Line2D
        Bits per weight, bottom layer first.
    axes_ : ndarray of matplotlib Axes of shape (2,)
        Both panels.
    figure_ : matplotlib Figure
        Figure of the panels.

    See Also
    --------
    sklearn_analytic.distributed.data_parallel : Trains over processes, and records what they send.

    Examples
    --------
    >>> import matplotlib
    >>> from sklearn_analytic import CommunicationDisplay
    >>> matplotlib.use("Agg")  # draws to files, without a screen
    >>> record = {
    ...     "n_workers": 2, "compression": "entropy", "payload_bytes": [10.0, 8.0], "wire_bytes": [10.0, 8.0],
    ...     "uncompressed_bytes": [160.0, 160.0], "layers": ["0.weight"], "weight_entropy": [[6.1], [6.0]],
    ... }
    >>> display = CommunicationDisplay(record).plot()
    >>> [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    ['uncompressed', 'sent', 'payload']
    """

    def __init__(self, communication, *, estimator_name=None):
        self.communication_ = _checked(communication)
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator, *, axes=None, **line_kwargs):
        """Draw the communication of a fitted estimator.

        Parameters
        ----------
        estimator : object
            An estimator with ``communication_``. For a pipeline give its last step.
        axes : sequence of two matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.

        Returns
        -------
        display : CommunicationDisplay
            The display, drawn.
        """
        record = fitted_attribute(estimator, "communication_", _ADVICE)
        return cls(record, estimator_name=type(estimator).__name__).plot(axes, **line_kwargs)

    def plot(self, axes=None, **line_kwargs):
        """Draw both panels.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.

        Returns
        -------
        display : CommunicationDisplay
            This display, with ``axes_``, ``figure_`` and the lines.
        """
        if axes is None:
            _, axes = pyplot_for(type(self).__name__).subplots(1, 2, figsize=(10, 4), layout="constrained")
        self.axes_ = np.asarray(axes, dtype=object)
        if self.axes_.shape != (2,):
            raise ValueError(f"axes must be two matplotlib Axes, got {self.axes_.size}.")
        record, (left, right) = self.communication_, self.axes_
        shown = {label: record[key] for key, label in _BYTES.items()}
        self.bytes_lines_ = _lines(left, shown, line_kwargs)
        entropies = dict(zip(record["layers"], zip(*record["weight_entropy"], strict=True), strict=True))
        self.entropy_lines_ = _lines(right, entropies, line_kwargs)
        left.set(xlabel="epoch", ylabel="bytes per worker and epoch", title=self._title())
        for panel in (left, right):
            mark_whole_epochs(panel)
        if any(value > 0 for values in shown.values() for value in values):
            left.set_yscale("log")
        right.set(xlabel="epoch", ylabel="entropy of the weights (bits)", title="fixed grid")
        self.figure_ = left.figure
        return self

    def _title(self):
        """The estimator and how it was trained."""
        way = self.communication_["compression"] or "uncompressed"
        words = [self.estimator_name, f"{self.communication_['n_workers']} workers, {way}"]
        return ": ".join(word for word in words if word)


def _lines(ax, series, line_kwargs):
    """One line for every entry of {label: values}, and a legend."""
    lines = []
    for label, values in series.items():
        epochs = np.arange(1, len(values) + 1)
        style = {"marker": "o"} if len(epochs) == 1 else {}  # a line through one point cannot be seen
        lines += ax.plot(epochs, values, **({"label": label} | style | line_kwargs))
    ax.legend()
    return lines


def _checked(record):
    """The record, or an error that says what one is."""
    wanted = {*_BYTES, "layers", "weight_entropy", "n_workers", "compression"}
    missing = sorted(wanted - set(record)) if isinstance(record, dict) else sorted(wanted)
    if missing:
        raise ValueError(f"communication must be the dict communication_ of an estimator; it lacks {missing}.")
    if not len(record["wire_bytes"]):
        raise ValueError("communication has no epoch: fit for one at least.")
    return record
