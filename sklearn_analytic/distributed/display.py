"""What processes sent each other, and the entropy of the weights they trained, as a figure."""

import numpy as np

from sklearn_analytic.estimator.plotting import EstimatorDisplay, epoch_lines

# {key of the record: label}
_BYTES = {"uncompressed_bytes": "uncompressed", "wire_bytes": "sent", "payload_bytes": "payload"}


class CommunicationDisplay(EstimatorDisplay):
    """Bytes that a process sent per epoch, and the entropy of every layer's weights, in two panels.

    :meth:`from_estimator` draws those of an estimator that ``sklearn_analytic.distributed.data_parallel`` trained.

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
    axes_, figure_ : ndarray of matplotlib Axes of shape (2,), matplotlib Figure
        Where they are.

    Examples
    --------
    >>> from sklearn_analytic import CommunicationDisplay
    >>> record = {
    ...     "n_workers": 2, "compression": "entropy", "payload_bytes": [10.0, 8.0], "wire_bytes": [10.0, 8.0],
    ...     "uncompressed_bytes": [160.0, 160.0], "layers": ["0.weight"], "weight_entropy": [[6.1], [6.0]],
    ... }
    >>> [line.get_label() for line in CommunicationDisplay(record).plot().bytes_lines_]
    ['uncompressed', 'sent', 'payload']
    """

    _advice = (
        "fit sklearn_analytic.distributed.data_parallel(estimator), or the estimator itself with "
        "device=Device('torch:cpu', distributed=True) in every process of a group (of a pipeline, give the last step)."
    )

    def __init__(self, communication, *, estimator_name=None):
        wanted = {*_BYTES, "layers", "weight_entropy", "n_workers", "compression"}
        missing = sorted(wanted.difference(communication if isinstance(communication, dict) else ()))
        if missing:
            raise ValueError(f"communication must be the dict communication_ of an estimator; it lacks {missing}.")
        if not len(communication["wire_bytes"]):
            raise ValueError("communication has no epoch: fit for one at least.")
        self.communication_, self.estimator_name = communication, estimator_name

    @classmethod
    def _measured(cls, estimator):
        """The record."""
        record = cls._fitted(estimator, "communication_")
        return {"communication": record, "estimator_name": type(estimator).__name__}

    def plot(self, axes=None, **line_kwargs):
        """Draw both panels; return the display.

        Parameters
        ----------
        axes : array-like of two matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **line_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot``, for every line.
        """
        record = self.communication_
        sent, entropies = [record[key] for key in _BYTES], zip(*record["weight_entropy"], strict=True)
        words = [self.estimator_name, f"{record['n_workers']} workers, {record['compression'] or 'uncompressed'}"]
        self.axes_ = left, right = self._axes(axes, 1, 2, figsize=(10, 4))
        self.bytes_lines_ = epoch_lines(left, _BYTES.values(), sent, line_kwargs)
        self.entropy_lines_ = epoch_lines(right, record["layers"], entropies, line_kwargs)
        left.set(ylabel="bytes per worker and epoch", title=": ".join(filter(None, words)))
        left.set_yscale("log" if np.any(sent) else "linear")  # of nothing there is no logarithm
        right.set(ylabel="entropy of the weights (bits)", title="fixed grid")
        return self
