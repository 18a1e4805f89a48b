"""Values that derive more from their parts, once, when it is asked for."""

from functools import cached_property


class WithDerived:
    """An object whose cached properties follow from the rest: copies and pickles leave them out, and find their own."""

    def __getstate__(self):
        """Return what is no cached property."""
        kind = type(self)
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(kind, name, None), cached_property)
        }
