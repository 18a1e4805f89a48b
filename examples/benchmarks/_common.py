"""Shared parts of the benchmark scripts: environment record, memory, data, output.

Every number in ``docs/benchmarks`` comes from a script in this folder, and every JSON file
carries the record made by :func:`environment`, so that a reader can judge the numbers.
scikit-learn is imported where it is used: most measurements are fresh processes.
"""

import importlib.metadata
import json
import math
import os
import platform
import resource
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

PACKAGES = (
    "sklearn_analytic",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "pandas",
    "torch",
    "lightgbm",
    "xgboost",
    "catboost",
    "skrub",
    "xrfm",
    "mapie",
)
DATA_VARIABLE = "SKLEARN_ANALYTIC_DATA"


# ------------------------------------------------------------------ environment and output


def environment():
    """What the numbers depend on: versions, processor, thread pools, load and date."""
    pools = threadpool_info()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "thread_pools": [
            {key: pool.get(key) for key in ("user_api", "internal_api", "version", "num_threads")} for pool in pools
        ],
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(name), "__version__", None)


def _cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_json(path, record):
    """Write atomically: an interrupted run leaves the last complete file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(_finite(record), indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def _finite(value):
    """NumPy scalars to Python's, and not-a-number or infinity to null (JSON has neither)."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown_table(rows, columns):
    """`columns` maps a heading to (key, format); a missing value prints as a dash."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [_cell(row.get(key), form) for key, form in columns.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


CONTENDER = {"contender": ("contender", "s")}


def table_by_set(lines, key="accuracy_by_set", form=".4f", columns=None):
    """A further table: what every contender has on every set, from a dict by set in each line."""
    sets = dict.fromkeys(name for line in lines for name in line[key])
    columns = (CONTENDER if columns is None else columns) | {name: (name, form) for name in sets}
    return markdown_table([line | line[key] for line in lines], columns)


def _cell(value, form):
    return "-" if value is None else format(value, form)


def mean(values):
    """Mean of the values that exist, or None."""
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def median(values):
    """Median of the values that exist, or None."""
    values = [value for value in values if value is not None]
    return float(np.median(values)) if values else None


def geometric_mean(values):
    """Geometric mean of the positive values that exist, or None."""
    values = [value for value in values if value]
    return float(np.exp(np.mean(np.log(values)))) if values else None


# ------------------------------------------------------------------ memory


def memory_mb():
    """Resident memory now, split where the kernel tells it: total, anonymous, file pages."""
    status = _status()
    if not status:
        return {"rss": peak_rss_mb(), "anon": None, "file": None}
    return {"rss": status["VmRSS"], "anon": status["RssAnon"], "file": status["RssFile"]}


def peak_rss_mb():
    """Largest resident memory so far (VmHWM, or ru_maxrss where there is no /proc)."""
    status = _status()
    if status:
        return status["VmHWM"]
    unit = 1.0 if sys.platform == "darwin" else 1024.0  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak():
    """Start VmHWM afresh, so that a peak during the imports hides nothing; False: refused."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status():
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith(("VmHWM", "VmRSS", "Rss")))
    return {key: int(text.split()[0]) * 1024 / 1e6 for key, text in pairs}


class MemorySampler:
    """Peaks above the start of the ``with`` block, in MB (10^6 bytes).

    A thread samples total, anonymous and file-backed resident memory; the kernel's own
    high-water mark (``peak_hwm``) misses nothing but cannot tell the two kinds apart.
    """

    def __init__(self, interval=0.005):
        self.interval = interval
        self.above_start = {}

    def __enter__(self):
        reset_peak()
        self._start, self._peak = memory_mb(), memory_mb()
        self._start_hwm = peak_rss_mb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        while not self._stop.wait(self.interval):
            self._take()

    def _take(self):
        now = memory_mb()
        self._peak = {k: v if v is None else max(v, now[k]) for k, v in self._peak.items()}

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()
        self._take()
        self.above_start = {
            f"peak_{key}": None if value is None else value - self._start[key] for key, value in self._peak.items()
        } | {"peak_hwm": peak_rss_mb() - self._start_hwm}


# ------------------------------------------------------------------ data


def data_folder(option):
    """The folder of .npz files: the option, else the environment variable."""
    folder = option or os.environ.get(DATA_VARIABLE)
    if not folder:
        raise SystemExit(f"No data folder: give --data DIR or set {DATA_VARIABLE}, or use --quick.")
    if not Path(folder).is_dir():
        raise SystemExit(f"The data folder {folder!r} does not exist.")
    return Path(folder)


def load(name, folder=None, seed=0, split=0):
    """X_train, X_test, y_train, y_test of one set: its own split, else a seeded quarter.

    ``folder=None`` takes the sets bundled with scikit-learn.
    """
    if folder is None:
        from sklearn import datasets

        return _quarter(*getattr(datasets, f"load_{name}")(return_X_y=True), seed)
    with np.load(Path(folder) / f"{name}.npz") as file:
        if "X_train" in file:
            return tuple(file[key] for key in ("X_train", "X_test", "y_train", "y_test"))
        X, y = file["X"], file["y"]
        if "test_masks" in file:
            test = file["test_masks"][split]
            return X[~test], X[test], y[~test], y[test]
    if name == "covertype_20k":  # the rest is another part of the official split
        X, y = X[:15120], y[:15120]
    return _quarter(X, y, seed)


def _quarter(X, y, seed):
    from sklearn.model_selection import train_test_split

    stratify = y if y.dtype.kind == "i" and np.bincount(y).min() > 1 else None
    return train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify)


def is_classification(path):
    """Whether a file's targets are int64 classes; only the target is read."""
    with np.load(path) as file:
        return file["y" if "y" in file else "y_train"].dtype == np.int64


# ------------------------------------------------------------------ training


def given_epochs(model):
    """Let an estimator take the epochs that it is given: they are the protocol, and no bound on convergence."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    return model.set_params(n_iter_no_change=math.inf)
