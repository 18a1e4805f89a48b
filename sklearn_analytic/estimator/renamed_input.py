"""Errors about rows to watch name the arguments that these came in: they are read as X, y and weights are."""

import re
from contextlib import contextmanager


@contextmanager
def called(was, name):
    """Let an error about the input ``was`` speak of the argument ``name``."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if was == name:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(_renamed(str(error), was, name)) from error


def _renamed(text, was, name):
    """Return the words with the input's name in place of the first of the other; labels in quotes are no names."""
    if re.search(rf"\b{name}\b", text):
        return text
    found, n = re.subn(rf"(?<!['\"])\b{was}\b(?!['\"])", name, text, count=1)
    return found if n else f"{name}: {text}"
