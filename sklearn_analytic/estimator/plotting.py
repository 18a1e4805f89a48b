"""What the displays share: matplotlib on demand, fitted attributes, names."""

import numpy as np
from sklearn.utils.validation import check_is_fitted


def pyplot_for(display):
    """matplotlib, imported only here: the package does not need it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f'{display} needs matplotlib: pip install "sklearn_analytic[plot]".') from error
    return pyplot


def fitted_attribute(estimator, attribute, advice):
    """An attribute of a fitted estimator, or an error that says where it would come from."""
    check_is_fitted(estimator)
    try:
        return getattr(estimator, attribute)
    except AttributeError as error:
        raise AttributeError(f"{type(estimator).__name__} has no {attribute}: {advice}") from error


def checked_names(parameter, names, defaults, things):
    """Names as an array, one for each of the things that are drawn."""
    names = np.asarray(defaults if names is None else names, dtype=object)
    if names.shape != (len(defaults),):
        raise ValueError(f"{parameter} has shape {names.shape}, but there are {len(defaults)} {things}.")
    return names


def mark_whole_epochs(ax):
    """Ticks where epochs are: there is no half one."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
