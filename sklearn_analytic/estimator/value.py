"""Parameters that are values: settings that belong together under one name, as kernels are of Gaussian processes."""

from functools import lru_cache
from inspect import signature
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_analytic.estimator.checks import check_all


def store(owner, given):
    """Set the parameters of an estimator or a value from the ``locals()`` of its ``__init__``."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(owner, name, value)


@lru_cache(maxsize=128, typed=True)
def standing_for(kind, *given, **settings):
    """Return the value that a word, a number or None stands for: one for all, as predictions of single rows ask too."""
    return kind(*given, **settings)


class Value(BaseEstimator):
    """Settings of one parameter of an estimator: cloned, searched and printed with it, and never changed by a fit.

    ``parameter="word"`` may stand for a value whose first setting is that word, where a subclass names it (``first``).
    """

    parameter = ""  # of which it is
    first = None  # the setting that may stand for all
    checks: ClassVar = {}  # {setting: check(name, value)}
    earlier: ClassVar = {}  # {parameter of earlier versions: setting}

    def __setstate__(self, state):
        """Take state of earlier versions, too: settings of later ones have their defaults."""
        super().__setstate__(defaults_of(type(self)) | state)

    @classmethod
    def of(cls, given):
        """Return a parameter as a value of this kind; that of another parameter is refused."""
        if isinstance(given, cls):
            return given
        if isinstance(given, Value):
            raise ValueError(f"{cls.parameter} must be {cls.__name__}(...), or what stands for it, got {given!r}.")
        return standing_for(cls, given) if isinstance(given, str | int | None) else cls(given)

    @classmethod
    def of_earlier(cls, state):
        """Return the parameter as flat ones of an earlier version say it, which leave the state."""
        given = {setting: state.pop(name) for name, setting in cls.earlier.items() if name in state}
        if cls.first is not None and cls.parameter in state:
            given[cls.first] = state[cls.parameter]
        usual = defaults_of(cls)
        says_more = any(not np.array_equal(value, usual[name]) for name, value in given.items() if name != cls.first)
        return cls(**given) if says_more else given.get(cls.first)

    @classmethod
    def choices(cls):
        """Return the classes of which a value of this kind may be."""
        return [cls]

    @classmethod
    def written(cls, given, setting):
        """Return how a user writes a value with a setting, where another word or number has stood for one."""
        needed = [name for name in cls._get_param_names() if name not in {*defaults_of(cls), cls.first, setting}]
        first = [repr(given)] if cls.first is not None and given is not None else []
        return f"{cls.__name__}({', '.join([*first, *(f'{name}=...' for name in [*needed, setting])])})"

    @classmethod
    def name_of(cls, setting):
        """Return what messages, and searches, call a setting."""
        return cls.parameter if setting == cls.first else f"{cls.parameter}__{setting}"

    def check(self):
        """Refuse settings that mean nothing."""
        check_all(self.checks, self, self.name_of)


def defaults_of(kind):
    """Return the parameters of a class with the defaults of its signature."""
    given = signature(kind.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in given if parameter.default is not parameter.empty}


def advice_on(name, given, kinds):
    """Return what to write where a setting is asked of a parameter that is no value, as one of the kinds of values."""
    parameter, _, setting = name.partition("__")
    choices = [kind for asked in kinds if asked.parameter == parameter for kind in asked.choices()]
    known = sorted({known for kind in choices for known in kind._get_param_names()})
    if setting in known:
        written = [kind.written(given, setting) for kind in choices if setting in kind._get_param_names()]
        return f"give {parameter}={' or '.join(written)} first"
    return f"its settings are {known}" if known else f"{parameter} has no settings"
