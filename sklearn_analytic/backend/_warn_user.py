"""Warnings that point at the user's line, whatever lies between it and the code that warns."""

import sys
import warnings

# Whose frames are not the user's: this package, who calls it for users, and how the standard library passes calls on.
_BETWEEN = {"sklearn_analytic", "sklearn", "joblib", "dask", "distributed"}
_BETWEEN |= {"contextlib", "functools", "concurrent", "threading", "multiprocessing", "pickle", "copy"}


def warn_user(message, category=UserWarning):
    """Warn at the first line outside of this package and of what calls it; where there is none, at the outermost."""
    frame = sys._getframe(1)
    while _is_between(frame) and frame.f_back is not None:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    name = frame.f_globals.get("__name__", "<unknown>")
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, name, registry)


def _is_between(frame):
    """Whether a frame lies between a user and the code that warns."""
    return frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN
