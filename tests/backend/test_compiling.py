"""Compiling: said where it lasts, done ahead where asked for."""

import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from sklearn_analytic import BRMPRegressor, ClosedFormMLP, warmup
from sklearn_analytic.backend import _numba_notice as notice

AHEAD = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from numba.core import event
import numpy as np
import sklearn_analytic
compiled = []
class Count(event.Listener):
    def on_start(self, event): compiled.append(event.data["dispatcher"].py_func.__module__)
    def on_end(self, event): pass
event.register("numba:compile", Count())
model = sklearn_analytic.ClosedFormMLP(random_state=0)
sklearn_analytic.warmup(model)
print(len(compiled) > 0)
compiled.clear()
X = np.random.default_rng(1).standard_normal((200, 7))
model.fit(X, X[:, 0] > 0).predict(X)
print(compiled)
"""


def test_after_a_warmup_nothing_compiles(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", AHEAD]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert found.stdout.split() == ["True", "[]"]
    assert found.stderr.count("Compiling for the first fit") == 1
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert again.stdout.split() == ["False", "[]"] and again.stderr == ""


def test_a_warmup_leaves_the_estimator_alone_and_takes_rows():
    model = ClosedFormMLP(10, random_state=0)
    assert warmup(model, BRMPRegressor(), X=np.eye(12), y=np.arange(12) % 2) is None
    assert not hasattr(model, "classes_")
    with pytest.raises(ValueError, match="at least one estimator"):
        warmup()
    warmup(ClosedFormMLP(20, hidden="patch", image_shape=(4, 4)))
    warmup(BRMPRegressor(), X=np.eye(12).tolist())  # anything that fit takes


@pytest.fixture
def start():
    """The event of a function of the package."""

    class Function:
        def py_func(self):
            """Nothing."""

    Function.py_func.__module__ = "sklearn_analytic.backend"
    return type("Event", (), {"data": {"dispatcher": Function}})


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_what_is_done_within_a_second_is_not_mentioned(seconds, start, monkeypatch, caplog):
    monkeypatch.setattr(notice, "_PATIENCE", seconds)
    listener = notice.Notice()
    with caplog.at_level(logging.INFO, "sklearn_analytic"):
        for _ in range(2):
            listener.on_start(start)
            clock = listener._thread.clock
            listener.on_start(start)  # what the outermost one needs has no clock of its own
            listener.on_end(start)
            if clock is not None and seconds == 0:
                clock.join(5)
            listener.on_end(start)
    assert [record.levelname for record in caplog.records] == ["INFO"] * (seconds == 0)


def test_many_short_compilations_are_one_long_one(start, monkeypatch, caplog):
    monkeypatch.setattr(notice, "_PATIENCE", 0.05)
    listener = notice.Notice()
    with caplog.at_level(logging.INFO, "sklearn_analytic"):
        for _ in range(20):
            listener.on_start(start)
            clock = listener._thread.clock
            time.sleep(0.005)
            listener.on_end(start)
            if clock is not None:
                clock.join(5)
    assert len(caplog.records) == 1
