"""Files of earlier versions load and predict what they predicted."""

import pickle
import warnings
from pathlib import Path

import numpy as np
from _reliability_ledger import Ledger, described

from tests.golden import make as golden


def run(seed, seconds, cases=None):
    """All files."""
    ledger = Ledger("pickles")
    for path in sorted(Path(golden.__file__).parent.glob("*/*.pickle")):
        trial(ledger, path)
    return ledger


def repeat(case):
    """One file again."""
    ledger = Ledger("pickles")
    trial(ledger, Path(golden.__file__).parent / case)
    return ledger


def trial(ledger, path):
    """One file."""
    try:
        faults = _of_file(path)
    except Exception as error:
        faults = [described(error)]
    case = f"{path.parent.name}/{path.name}"
    ledger.details.append({"version": path.parent.name, "file": path.name, "bytes": path.stat().st_size})
    ledger.trial(case, "loaded", faults)


def _of_file(path):
    """Predictions that are not those that were written beside the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pickle.loads(path.read_bytes())
    found = golden.predictions(model, golden.targets(model)[0])
    expected = np.load(path.parent / "expected.npz", allow_pickle=False)
    return [method for method, value in found.items() if not _same(value, expected[f"{path.stem}.{method}"])]


def _same(value, wanted):
    """Equal labels; numbers to the rounding of another processor."""
    if wanted.dtype.kind == "f":
        return np.allclose(value, wanted, rtol=1e-6, atol=1e-9)
    return np.array_equal(value, wanted)
