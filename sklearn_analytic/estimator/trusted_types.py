"""The types that a saved estimator is made of, by name: what a skops file may ask for."""

import dataclasses
import sys

from sklearn_analytic.estimator.base import AnalyticEstimator
from sklearn_analytic.estimator.value import Value

# Where fitted state is at home.
_ESTIMATOR = ("learned", "targets", "epoch_targets", "epoch_rows", "layer_readout", "table", "equal_rows")
_ROOMS = ("features", "linalg", "closed_form", "cpnet")
_STATE = (
    *_ROOMS,
    "io._columns",
    "export.calibration",
    "export.computation",
    *(f"estimator.{name}" for name in _ESTIMATOR),
)


def trusted_types(old_names_of):
    """Return sorted names of estimators, of parameters that are values, and of values that fitted state holds.

    They are read off what is imported, so that a new layer or statistic is in the list from its first day; modules
    come by their old names, too.
    """
    found = {*_below(AnalyticEstimator), *_parameters(Value), *_values()}
    names = ((kind, module) for kind in found for module in (kind.__module__, *old_names_of(kind.__module__)))
    return sorted(f"{module}.{kind.__qualname__}" for kind, module in names)


def _below(base):
    """Classes of this package from which none of it derives: others may have derived from any."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith("sklearn_analytic."):
            yield from list(_below(kind)) or [kind]


def _parameters(kind):
    """Values of parameters, also those from which others derive."""
    for below in kind.__subclasses__():
        if below.__module__.startswith("sklearn_analytic."):
            yield from (below, *_parameters(below))


def _values():
    """Frozen dataclasses of the modules that hold fitted state."""
    for name, module in list(sys.modules.items()):
        package, _, rest = name.partition(".")
        if package == "sklearn_analytic" and f"{rest}.".startswith(tuple(f"{place}." for place in _STATE)):
            yield from (kind for kind in vars(module).values() if _is_value(kind, name))


def _is_value(kind, module):
    """Whether a frozen dataclass is at home in a module."""
    is_own = isinstance(kind, type) and kind.__module__ == module
    return is_own and dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
