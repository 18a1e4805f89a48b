"""Part "tests" of ``on_device.py``: the tests of a device in this process, counted one by one.

On ``torch:cpu`` they are the same tests with torch on the CPU (a few of one file, if quick).
"""

import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
QUICK = (str(TESTS / "backend" / "test_backends.py"), "-k", "gram")
_EVERY = 1.0  # seconds between counts
_MESSAGE = 1500  # characters of a failure


def run(settings, emit):
    """Counts of outcomes, kept up to date, and a row for every failure."""
    if not TESTS.is_dir():
        emit({"name": "all", "missing": "the tests are not beside this script: run it in a checkout"})
        return
    on_gpu = settings["device"].startswith("cuda")
    recorder = Recorder(emit, None if on_gpu else settings["device"])
    chosen = ["-m", "gpu"] if on_gpu else ["-m", "not slow and not gpu"]
    where = QUICK if settings["quick"] else (str(TESTS),)
    # no --doctest-modules, and no maximum of failures: all of them are wanted
    fixed = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-o", "addopts=", "-p", "no:cacheprovider"]
    status = pytest.main([*where, *chosen, *fixed, "-q", "--tb=short", "--maxfail=0"], plugins=[recorder])
    recorder.tell(int(status))


class Recorder:
    """A plugin that sends rows; ``device`` keeps the tests of that device alone."""

    def __init__(self, emit, device=None):
        self._emit, self._device = emit, device
        self._counts, self._selected, self._start, self._told = Counter(), None, time.perf_counter(), 0.0

    @pytest.hookimpl(trylast=True)  # after markers have chosen
    def pytest_collection_modifyitems(self, config, items):
        """Drop the tests of other devices."""
        if self._device is not None:
            kept = [item for item in items if _device_of(item) == self._device]
            config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
            items[:] = kept

    def pytest_collection_finish(self, session):
        """How many are to be run."""
        self._selected = len(session.items)
        self.tell()

    def pytest_collectreport(self, report):
        """A module that cannot be imported is a failure."""
        if report.failed:
            self._fail(report, "collection")

    def pytest_runtest_logreport(self, report):
        """Count a test once: its call, or what came before or after it and failed."""
        if report.failed:
            self._fail(report, report.when)
        elif report.when == "call" or report.skipped:
            self._counts[report.outcome] += 1
        if time.perf_counter() - self._told > _EVERY:
            self.tell()

    def _fail(self, report, when):
        self._counts["failed"] += 1
        message = str(report.longrepr)[-_MESSAGE:].replace(f"{ROOT}/", "")
        self._emit({"name": report.nodeid, "outcome": "failed", "when": when, "message": message})
        self.tell()

    def tell(self, status=None):
        """Send the counts so far."""
        self._told = time.perf_counter()
        counts = {name: self._counts[name] for name in ("passed", "failed", "skipped")}
        row = {"name": "all", "selected": self._selected, **counts, "seconds": self._told - self._start}
        self._emit(row | {"exit_status": status}, key="all")


def _device_of(item):
    """The parameter of the fixture ``device``, None where a test has none."""
    spec = getattr(item, "callspec", None)
    return None if spec is None else spec.params.get("device")
