"""Seconds of work on a device, for the parts of ``on_device.py``: a run that does not count, then medians."""

from _common import median
from _roofline_clock import Clock

MOST = 6.0


def samples_of(device, function, repeats, warm=True):
    """(result of the last call, seconds of every call); the device has finished whenever a clock is read.

    Calls that have taken ``MOST`` seconds together are not repeated.
    """
    clock, found = Clock(device), []
    if warm:
        function()
    for _ in range(repeats):
        result, seconds = clock(function)
        found.append(seconds["wall"])
        if sum(found) > MOST:
            break
    return result, found


def timed(device, function, repeats, warm=True):
    """(result of the last call, median seconds)."""
    result, found = samples_of(device, function, repeats, warm)
    return result, median(found)


def plain(device):
    """The name by which torch knows a device."""
    return device.removeprefix("torch:")
