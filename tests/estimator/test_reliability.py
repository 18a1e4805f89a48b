"""Laws of reliability on random cases: a right fit or a clear error, any order of the same rows, no drift.

The cases are those of ``examples/benchmarks/reliability.py``, which runs many more of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_analytic import Blocks, BRMPClassifier, BRMPRegressor, ClosedFormMLP, DFAClassifier, DFARegressor

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "examples" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import _reliability_faults as faults  # noqa: E402
import _reliability_fuzz as fuzz  # noqa: E402
import _reliability_orders as orders  # noqa: E402
import _reliability_soak as soak  # noqa: E402
from _reliability_ledger import Ledger, is_clear  # noqa: E402
from _reliability_parameters import ESTIMATORS  # noqa: E402

SEEDS = st.integers(0, 2**32 - 1)
# Few examples in the default lane: one estimator of each kind of training, more with ``-m slow``.
SAMPLE = ["BRMPRegressor", "CPNetClassifier", "ClosedFormMLP", "DFAClassifier", "LayerwiseMLPRegressor"]


# ---- fuzzed fits ----


@settings(max_examples=12)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", SAMPLE)
def test_a_right_fit_or_a_clear_error(name, seed):
    _, found = fuzz.attempt(name, seed)
    assert found == []


@pytest.mark.slow
@settings(max_examples=100)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_right_fit_or_a_clear_error_of_every_estimator(name, seed):
    _, found = fuzz.attempt(name, seed)
    assert found == []


def test_a_case_is_its_seed():
    assert fuzz.attempt("ClosedFormMLP", 5) == fuzz.attempt("ClosedFormMLP", 5)
    outcomes = {fuzz.attempt("BRMPClassifier", seed)[0] for seed in range(12)}
    assert {"fit", "ValueError"} <= outcomes  # both sides of the law are met


class Careless:
    """An estimator with a vice: what the campaign must notice."""

    def __init__(self, vice):
        self.vice = vice

    def get_params(self, deep=True):
        return {"vice": self.vice}

    def __sklearn_tags__(self):
        return BRMPRegressor().__sklearn_tags__()

    def fit(self, X, y):
        VICES[self.vice](self, X)
        return self

    def predict(self, X):
        return np.full(len(X), np.nan if self.vice == "no number" else 1.0)


def _unclear(model, X):
    raise ValueError("no")


def _foreign(model, X):
    raise KeyError("X")


def _marked(model, X):
    model.seen_ = 1
    raise ValueError("X is wrong")


def _overflowing(model, X):
    np.float32(1e30) * np.float32(1e30)


VICES = {
    "unclear": _unclear,
    "foreign": _foreign,
    "marked": _marked,
    "overflowing": _overflowing,
    "no number": lambda model, X: None,
    "writing": lambda model, X: X.fill(0),
    "reformed": lambda model, X: setattr(model, "vice", "no vice"),
}


@pytest.mark.parametrize("vice", VICES)
def test_the_campaign_notices(vice):
    inputs = (np.ones((4, 2)), np.zeros(4), None)
    _, found = fuzz.judged(Careless(vice), "fit", inputs, set())
    assert len(found) == 1


@pytest.mark.parametrize(("message", "clear"), [("alpha must be positive", True), ("X has NaN", True), ("no", False)])
def test_a_clear_error_names_something(message, clear):
    assert is_clear(ValueError(message), ["alpha"]) is clear


# ---- orders ----


@settings(max_examples=4)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", ["brmp qr", "brmp rbf", "cpnet", "closed form"])
def test_any_order_is_a_fit_of_the_rows_that_remain(name, seed):
    history = []
    assert orders.sequence(name, seed, history) == [], history


@pytest.mark.slow
@settings(max_examples=40)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", orders.ESTIMATORS)
def test_any_order_of_every_closed_form_estimator(name, seed):
    history = []
    assert orders.sequence(name, seed, history) == [], history


# ---- faults ----


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", faults.FAULTS)
def test_faults_from_outside(name, seed):
    ledger = Ledger("faults")
    faults.trial(ledger, name, seed)
    assert ledger.violations == []


# ---- soak ----


@pytest.mark.parametrize("name", ["brmp gram", "brmp qr", "dfa"])
def test_three_hundred_calls_do_not_drift(name):
    row, found = soak.soaked(name, 0, 300)
    assert found == [] and row["calls"] == 300


# ---- the script ----


def run_script(folder, *options):
    """The record of a run in a fresh process."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(BENCHMARKS / "reliability.py"), "--json", "r.json", *options]
    environment = os.environ | {"PYTHONPATH": path}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads((folder / "r.json").read_text())


@pytest.mark.slow
def test_the_campaign(tmp_path):
    record = run_script(tmp_path, "--quick")
    assert [row["part"] for row in record["summary"]] == [*record["details"]]
    assert all(row["trials"] > 0 and row["seconds"] >= 0 for row in record["summary"])
    assert record["violations"] == []
    kept = {row["part"]: row["trials"] for row in record["summary"]}
    again = run_script(tmp_path, "--quick", "--resume", "--parts", "pickles")
    assert {row["part"]: row["trials"] for row in again["summary"]} == kept


# ---- what the campaign found ----


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_a_column_of_zeros_has_no_coefficient(device):
    if device != "cpu":
        pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((60, 2)), np.zeros(60)])
    y = X[:, 0] + rng.standard_normal(60)
    whole = BRMPRegressor(solver="gram", device=device, alpha=1e-9).fit(X, y)
    cut = BRMPRegressor(solver="qr", block_size=5, device=device).fit(X, y)
    stream = BRMPRegressor(device=device)
    for rows in np.split(np.arange(60), 12):
        stream.partial_fit(X[rows], y[rows])
    for model in (cut, stream):
        assert model.coef_[2] == 0
        np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-7)
    stream.partial_fit(np.column_stack([X[:5, :2], X[:5, 0] ** 2]), y[:5])  # the column wakes up
    together = np.vstack([X, np.column_stack([X[:5, :2], X[:5, 0] ** 2])]), np.concatenate([y, y[:5]])
    np.testing.assert_allclose(stream.coef_, BRMPRegressor(solver="qr").fit(*together).coef_, rtol=1e-8)


def test_what_single_precision_cannot_hold_is_refused():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    with pytest.raises(ValueError, match="X is float32, which cannot hold the predictions"):
        BRMPRegressor().fit(X.astype(np.float32), 1e100 * y).predict(X.astype(np.float32))
    assert np.isfinite(BRMPRegressor().fit(X, 1e100 * y).predict(X)).all()
    steps = {"hidden_layer_sizes": (4,), "max_iter": 1, "random_state": 0}
    with pytest.raises(ValueError, match="X holds magnitudes that float32 cannot hold"):
        DFARegressor(**steps, input_encoding=None).fit(1e100 * X, y)
    stream = DFARegressor(**steps).partial_fit(X, y)
    with pytest.raises(ValueError, match="y holds distances from the first targets that float32 cannot hold"):
        stream.partial_fit(X, 1e100 * y)


@pytest.mark.parametrize("kind", [BRMPClassifier, ClosedFormMLP, DFAClassifier])
def test_a_wrong_seed_names_the_parameter(kind):
    with pytest.raises(ValueError, match=r"random_state must be .*, got 'seed'"):
        kind(5, random_state="seed").fit(np.eye(6), [0, 1] * 3)


def test_infinities_of_both_signs_give_an_error_alone():
    X = np.array([[np.inf, 1], [-np.inf, 2]], dtype=np.float32)  # warnings are errors here
    with pytest.raises(ValueError, match=r"Input X contains infinity in column 0, first in row 0\. BRMPClassifier"):
        BRMPClassifier().fit(X, [0, 1])


def test_no_rows_are_read_for_no_encoding():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), np.arange(20) % 2
    passes = {}
    for encoding in (None, "standard"):
        read = []
        source = Blocks.from_iterable(lambda read=read: read.append(1) or iter([(X, y)]), prefetch=0)
        DFAClassifier(4, max_iter=1, random_state=0, input_encoding=encoding).fit_blocks(source)
        passes[encoding] = len(read)
    assert passes[None] == passes["standard"] - 1


# ---- the page ----


def test_the_page_shows_the_counts_of_the_file():
    record = json.loads((ROOT / "docs" / "benchmarks" / "reliability.json").read_text())
    page = (ROOT / "docs" / "user_guide" / "reliability.md").read_text()
    for row in record["summary"]:
        cells = [row["part"], *(f"{row[key]:,}" for key in ("trials", "violations", "clear_errors"))]
        assert f"| {' | '.join(cells)} |" in page
