"""What processes send each other, counted: bytes per epoch, and the entropy of the weights they train."""

from dataclasses import astuple, dataclass

import numpy as np

from sklearn_analytic.nn._compression import weight_entropy

_SUMMED = ("payload_bytes", "wire_bytes", "uncompressed_bytes", "other_bytes")
_LAYERED = ("weight_entropy", "relative_entropy")
_STEPS = 32  # per RMS of a layer's weights, in the grid on which their entropy is taken


@dataclass
class Traffic:
    """Bytes that a process sent since the last :meth:`take`, as the mean over processes."""

    payload: float = 0.0  # gradients, coded or not, before any collective multiplies them
    wire: float = 0.0  # ... as the collective sends them
    uncompressed: float = 0.0  # what ``wire`` is without compression
    other: float = 0.0  # losses, moments, factors: never compressed

    def take(self):
        """Return (payload, wire, uncompressed, other), and begin anew."""
        counts = astuple(self)
        self.payload = self.wire = self.uncompressed = self.other = 0.0
        return counts


def ring_bytes(n_bytes, size):
    """Return the bytes that each of ``size`` processes sends to sum a tensor in a ring."""
    return 2 * (size - 1) / size * n_bytes


class CommunicationLog:
    """The record of a training run, an entry per epoch.

    Parameters
    ----------
    ranks : Ranks
        The processes.
    names : list of str
        Names of the layers' weights.
    """

    def __init__(self, ranks, names):
        self._ranks, self._names = ranks, list(names)
        self._bytes, self._entropies, self._relative = [], [], []
        self._grids = None

    def epoch(self, weights):
        """Record what was sent since the last epoch, and the entropy of the layers' weights as they are."""
        weights = [np.asarray(w, np.float64) for w in weights]
        grids = [float(np.sqrt(np.mean(w**2))) / _STEPS for w in weights]
        self._grids = self._grids or grids  # fixed: on a grid that moved, entropies could not be compared
        self._bytes.append(self._ranks.traffic.take())
        self._entropies.append([weight_entropy(w, step) for w, step in zip(weights, self._grids, strict=True)])
        self._relative.append([weight_entropy(w, step) for w, step in zip(weights, grids, strict=True)])

    def record(self):
        """Return the record as a dict of plain numbers and lists."""
        columns = [[entry[k] for entry in self._bytes] for k in range(4)]
        payload, wire, uncompressed, other = columns
        return {
            "n_workers": self._ranks.size,
            "compression": self._ranks.compression,
            "payload_bytes": payload,
            "wire_bytes": wire,
            "uncompressed_bytes": uncompressed,
            "other_bytes": other,
            "layers": list(self._names),
            "entropy_steps": list(self._grids or []),
            "weight_entropy": [list(row) for row in self._entropies],
            "relative_entropy": [list(row) for row in self._relative],
        }


def joined(segments):
    """Return one record of networks that were trained in parts, or None where nothing was recorded.

    ``segments`` are lists of (name of a part, its record) that were trained at once, in the order of training. Bytes of
    one segment are summed, entropies of layers that were not in training are NaN.
    """
    segments = [[part for part in segment if part[1] is not None] for segment in segments]
    segments = [segment for segment in segments if segment]
    if not segments:
        return None
    first = segments[0][0][1]
    found = {"n_workers": first["n_workers"], "compression": first["compression"]}
    for column in _SUMMED:
        rows = (np.sum([record[column] for _, record in segment], axis=0).tolist() for segment in segments)
        found[column] = [value for row in rows for value in row]
    parts = {(name, layer): None for segment in segments for name, record in segment for layer in record["layers"]}
    found["layers"] = [f"{name}: {layer}" for name, layer in parts]
    for column in _LAYERED:
        found[column] = [row for segment in segments for row in _spread(segment, column, list(parts))]
    steps = {
        (name, layer): step
        for segment in reversed(segments)
        for name, record in segment
        for layer, step in zip(record["layers"], record["entropy_steps"], strict=True)
    }
    return found | {"entropy_steps": [steps[part] for part in parts]}


def _spread(segment, column, parts):
    """Rows of one segment with an entry for every layer of all."""
    n_epochs = len(segment[0][1][column])
    rows = np.full((n_epochs, len(parts)), np.nan)
    for name, record in segment:
        places = [parts.index((name, layer)) for layer in record["layers"]]
        rows[:, places] = record[column]
    return rows.tolist()
