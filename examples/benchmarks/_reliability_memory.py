"""Peak memory above the imports of fits from blocks, for growing numbers of rows, each in a fresh process.

Rows are made as they are read, so that nothing but the fit holds any. A ceiling is a constant for each estimator (code
that is compiled, a few blocks, and rows that are drawn: 30,000 in CPNet, 200,000 in closed-form networks), and bytes
per row for what is kept of all: targets, codes, weights, keys. The constants are those of an earlier look, rounded up:
they guard against growth.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from _common import MemorySampler
from _reliability_ledger import Ledger

import sklearn_analytic as sa

COLUMNS, BLOCK = 50, 5_000  # 2 MB a block
ROWS, FEW = (50_000, 200_000, 800_000), (20_000,)
CONSTANT_MB = {"brmp gram": 100, "brmp qr": 100, "cpnet": 350, "closed form": 450, "dfa": 150}
BYTES_PER_ROW = 100
ESTIMATORS = {
    "brmp gram": lambda: sa.BRMPRegressor(solver="gram"),
    "brmp qr": lambda: sa.BRMPRegressor(solver="qr"),
    "cpnet": lambda: sa.CPNetClassifier((20,), n_modules=2, random_state=0),
    "closed form": lambda: sa.ClosedFormMLP((50,), hidden="random", alpha=1.0, random_state=0),
    "dfa": lambda: sa.DFAClassifier((16,), max_iter=1, batch_size=256, random_state=0),
}


def run(seed, seconds, cases=None):
    """Every estimator with every number of rows, fewer where the campaign is short."""
    ledger = Ledger("memory")
    for n_rows in ROWS if cases is None else FEW:
        for name in ESTIMATORS:
            if ledger.seconds() < 2 * seconds:
                trial(ledger, name, n_rows)
    return ledger


def repeat(case):
    """One fit again."""
    ledger = Ledger("memory")
    name, n_rows = case.split(":")
    trial(ledger, name, int(n_rows))
    return ledger


def trial(ledger, name, n_rows):
    """One fit in a fresh process."""
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, __file__, name, str(n_rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        ledger.trial(f"{name}:{n_rows}", "failed", [done.stderr.strip()[-300:]])
        return
    row = json.loads(done.stdout.splitlines()[-1])
    ceiling = CONSTANT_MB[name] + BYTES_PER_ROW * n_rows / 1e6
    over = row["peak_hwm"] > ceiling
    ledger.details.append({"estimator": name, "rows": n_rows, "ceiling_mb": round(ceiling), **row})
    faults = [f"{row['peak_hwm']:.0f} MB of {n_rows} rows, ceiling {ceiling:.0f} MB"] if over else []
    ledger.trial(f"{name}:{n_rows}", "over" if over else "under", faults)


def made_rows(n_rows, classifier):
    """A function that makes the blocks, the same ones in every pass."""

    def read():
        for first in range(0, n_rows, BLOCK):
            generator = np.random.default_rng(first)
            X = generator.standard_normal((min(BLOCK, n_rows - first), COLUMNS))
            score = X[:, 0] - X[:, 1] ** 2
            yield X, (score > -1).astype(np.int64) if classifier else score

    return read


def measured(name, n_rows):
    """Peaks above the imports of one fit, and what the rows would take."""
    model = ESTIMATORS[name]()
    blocks = sa.Blocks.from_iterable(made_rows(n_rows, not name.startswith("brmp")))
    with MemorySampler() as sampler:
        model.fit_blocks(blocks)
    return {"peak_hwm": sampler.above_start["peak_hwm"], "data_mb": n_rows * COLUMNS * 8 / 1e6}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("n_rows", type=int)
    options = parser.parse_args()
    print(json.dumps(measured(options.name, options.n_rows)))
