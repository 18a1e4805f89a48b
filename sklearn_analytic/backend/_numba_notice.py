"""A word where compiling takes longer than a second, as it does in the first fit of a fresh installation."""

import logging
import sys
import threading
import time

from numba.core import event

_PATIENCE = 1.0  # seconds
_TEXT = (
    "Compiling for the first fit; this is kept on disk and not done again. sklearn_analytic.warmup(estimator) does it "
    "ahead; the environment variable NUMBA_CACHE_DIR says where it is kept."
)
_LOGGER = logging.getLogger("sklearn_analytic")


class Notice(event.Listener):
    """Says once per process that it compiles, when that has taken a second in all."""

    def __init__(self):
        self._thread, self._was_said, self._spent = threading.local(), False, 0.0

    def on_start(self, event):
        """Start the clock with the outermost function, where it is one of this package."""
        depth = getattr(self._thread, "depth", 0)
        self._thread.depth = depth + 1
        if depth == 0 and not self._was_said and _is_ours(event.data["dispatcher"]):
            clock = threading.Timer(max(_PATIENCE - self._spent, 0.0), self._say)
            clock.daemon = True
            self._thread.clock, self._thread.began = clock, time.monotonic()
            clock.start()

    def on_end(self, event):
        """Stop the clock."""
        self._thread.depth -= 1
        if self._thread.depth == 0 and getattr(self._thread, "clock", None) is not None:
            self._thread.clock.cancel()
            self._thread.clock = None
            self._spent += time.monotonic() - self._thread.began

    def _say(self):
        """Tell the log, or, where nobody listens to it, whoever sits at the terminal."""
        self._was_said = True
        if _LOGGER.isEnabledFor(logging.INFO) and _LOGGER.hasHandlers():
            _LOGGER.info(_TEXT)
        elif hasattr(sys, "ps1") or sys.flags.interactive:
            print(_TEXT, file=sys.stderr)


def _is_ours(dispatcher):
    """Whether a compiled function is one of this package."""
    return dispatcher.py_func.__module__.partition(".")[0] == "sklearn_analytic"


event.register("numba:compile", Notice())
