"""One process among many, or alone: the verbs that a distributed step needs."""


class Alone:
    """The single process: nothing to average, nothing to share."""

    rank = 0
    size = 1

    def mean_(self, array):
        """Return ``array``, the mean over one process."""
        return array

    def sum_(self, array):
        """Return ``array``, the sum over one process."""
        return array

    def share(self, arrays, owners):
        """Return ``arrays``; the only rank owns them all."""
        return arrays
