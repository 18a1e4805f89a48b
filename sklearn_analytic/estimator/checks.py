"""What a parameter may be: each check names the parameter, its value, and what was expected.

A table {parameter: check(name, value)} stands beside every group of parameters, and :func:`check_all` asks it.
"""

import math
import numbers
from collections.abc import Iterable

import numpy as np


def check_all(table, owner, name_of=str):
    """Ask the checks of a table of the attributes of an owner; ``name_of`` is how a message calls one."""
    for name, check in table.items():
        check(name_of(name), getattr(owner, name))


def check_choice(name, value, choices):
    """Refuse what is not one of the words, or None where None is among them."""
    words = [choice for choice in choices if choice is not None]
    if (value is None and len(words) < len(choices)) or (isinstance(value, str) and value in words):
        return
    none = " or None" if len(words) < len(choices) else ""
    raise ValueError(f"{name} must be one of {sorted(words)}{none}, got {value!r}.")


def one_of(*parts):
    """Return the check of a choice among words and rows of tables, which are read when it is asked: more may come."""
    return lambda name, value: check_choice(name, value, [word for part in parts for word in part])


def check_positive_integer(name, value, *others):
    """Refuse what is neither a positive integer nor one of the other values: None, a word."""
    if value is None or isinstance(value, str):
        valid = value in others
    else:
        valid = isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 1
    if not valid:
        raise ValueError(f"{name} must be {' or '.join(['a positive integer', *map(repr, others)])}, got {value!r}.")


def positive_integer_or(*others):
    """Return the check of a positive integer that may be something else."""
    return lambda name, value: check_positive_integer(name, value, *others)


def check_real(name, value, low, high, words, open_low=False, open_high=False):
    """Refuse what is not a finite real number within bounds."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    inside = number and math.isfinite(value) and low <= value <= high
    if not inside or (open_low and value == low) or (open_high and value == high):
        raise ValueError(f"{name} must be a number {words}, got {value!r}.")


def real(low, high, words, open_low=False, open_high=False):
    """Return the check of a finite number within bounds."""
    return lambda name, value: check_real(name, value, low, high, words, open_low, open_high)


POSITIVE = real(0, math.inf, "above 0", open_low=True)
NOT_NEGATIVE = real(0, math.inf, "0 or more")
SHARE = real(0, 1, "above 0 and at most 1", open_low=True)
FACTOR = real(0, 1, "at least 0 and below 1", open_high=True)


def or_word(check, word):
    """Return a check that lets a word, or None, pass, and says so where it does not."""

    def checked(name, value):
        if isinstance(value, type(word)) and value == word:
            return
        try:
            check(name, value)
        except ValueError as error:
            raise ValueError(f"{str(error).removesuffix('.')}; {word!r} is allowed, too.") from None

    return checked


def check_flag(name, value):
    """Refuse what is not a boolean."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_verbose(name, value):
    """Refuse what is neither a boolean nor a number of at least 0, as some know it from boosters."""
    if isinstance(value, bool | np.bool_ | numbers.Integral) and not value < 0:
        return
    raise ValueError(f"{name} must be True or False, or an integer of at least 0, got {value!r}.")


def ridge(*words, grid=True):
    """Return the check of a ridge: a word of ``words``, a non-negative number, or (with ``grid``) several."""

    def check(name, value):
        if isinstance(value, str):
            valid = value in words
        elif isinstance(value, numbers.Real) and not isinstance(value, bool):
            valid = 0 <= value < math.inf
        else:
            values = np.asarray(value, dtype=object).ravel()
            valid = grid and len(values) > 0 and all(isinstance(a, numbers.Real) and 0 <= a < math.inf for a in values)
        if not valid:
            several = " a grid of them," if grid else ""
            due = f"a non-negative number,{several} or one of {sorted(words)}"
            raise ValueError(f"{name} must be {due}, got {value!r}.")

    return check


def hidden_sizes(value, auto=False, name="hidden_layer_sizes"):
    """Return widths of layers as a tuple of positive integers; one integer is one layer, "auto" none that is known.

    The word is refused unless ``auto`` says that the caller chooses sizes itself.
    """
    if auto and isinstance(value, str) and value == "auto":
        return ()
    sizes = (value,) if isinstance(value, numbers.Integral) else value
    try:
        sizes = tuple(None if isinstance(sizes, str) else sizes)
    except TypeError:
        due = "an integer, a sequence of integers or 'auto'" if auto else "an integer or a sequence of integers"
        raise ValueError(f"{name} must be {due}, got {value!r}.") from None
    for size in sizes:
        check_positive_integer(name, size)
    return sizes


def check_sizes(name, value):
    """Refuse what is no widths of layers."""
    hidden_sizes(value, name=name)


def check_categorical(name, value):
    """Refuse what names no columns."""
    if value is None or (isinstance(value, str) and value == "from_dtype"):
        return
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{name} must be 'from_dtype', None, or a mask, indices or names of columns, got {value!r}.")
