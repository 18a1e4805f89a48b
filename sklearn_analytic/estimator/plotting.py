"""What the displays share: matplotlib on demand, fitted attributes, names, and labels that do not overlap."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

_TICK_SIZE, _VALUE_SIZE = 8, 7  # points
_CHARACTER = 0.62  # width of a character of the standard fonts over its size
_TURNED = 45  # degrees
_TURNED_STYLE = {"rotation": _TURNED, "ha": "right", "rotation_mode": "anchor"}

# Where the text of a point does not touch the line: (is the left neighbour higher, is the right one) -> place.
_FREE_PLACES = {
    (False, False): {"ha": "center", "va": "bottom", "xytext": (0, 4)},
    (True, True): {"ha": "center", "va": "top", "xytext": (0, -5)},
    (False, True): {"ha": "right", "va": "bottom", "xytext": (-1, 3)},
    (True, False): {"ha": "left", "va": "bottom", "xytext": (1, 3)},
}


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


def label_ticks(ax, names):
    """Names under the places 0, 1, ... of axes with limits: turned where they are long, thinned where they are many."""
    names, room = np.array([str(name) for name in names], dtype=object), _points_per_place(ax)
    flat = max(map(len, names)) * _CHARACTER * _TICK_SIZE < room
    needed = 0.0 if flat else 1.2 * _TICK_SIZE / np.sin(np.deg2rad(_TURNED))  # between the lines of turned text
    places = np.arange(len(names) - 1, -1, -_step(needed, room))[::-1]  # the last one always has its name
    ax.set_xticks(places, names[places], fontsize=_TICK_SIZE, **({} if flat else _TURNED_STYLE))


def label_values(ax, line, texts):
    """The values of a line at the places 0, 1, ...: thinned where they are many, the last one always there."""
    values = np.asarray(line.get_ydata(), dtype=np.float64)
    step = _step(max(map(len, texts)) * _CHARACTER * _VALUE_SIZE, _points_per_place(ax))
    around = np.pad(values, 1, mode="reflect")  # both ends are peaks or valleys: their text is centred, within the axes
    style = {"textcoords": "offset points", "fontsize": _VALUE_SIZE, "color": line.get_color()} | _halo(ax)
    return [
        ax.annotate(texts[k], (k, values[k]), **style, **_FREE_PLACES[around[k] > values[k], around[k + 2] > values[k]])
        for k in range(len(values))
        if np.isfinite(values[k]) and (len(values) - 1 - k) % step == 0
    ]


def _halo(ax):
    """Text in front of other lines, such as a limit that the values come close to."""
    from matplotlib.patheffects import withStroke

    return {"path_effects": [withStroke(linewidth=2, foreground=ax.get_facecolor())]}


def _points_per_place(ax):
    """Room for one text: points from one place to the next."""
    low, high = ax.get_xlim()
    return ax.get_window_extent().width * 72 / ax.get_figure().dpi / abs(high - low)


def _step(needed, room):
    """Of how many places one gets its text, so that each has the points that it needs."""
    return max(1, int(np.ceil(needed / room)))
