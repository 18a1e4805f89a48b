"""Part "roofline" of ``on_device.py``: features and Gram over the device's own product, as ``roofline.py`` counts them.

First as a fit does it, in its own blocks and in large ones; then with the Gram in longer chunks and wider panels than
the package takes, which says what its constants cost on this device. The driver tells its clocks under this load.
"""

from contextlib import contextmanager

from _common import median
from _on_device_machine import clocks
from _roofline_path import Path, peak
from roofline import SHAPES, qr

from sklearn_analytic.backend import _torch
from sklearn_analytic.io._passes import auto_block_size

AIM = 0.6
LARGE = 65536  # rows of a large block
PRECISIONS = ("float32", "tf32", "bfloat16")
VARIANTS = ((4096, 512), (8192, 1024), (16384, 1 << 20))  # rows of a chunk of the Gram, rows of its panels
FULL = {"peak_size": 8192, "repeats": 3, "operations": 5e12, "qr": ((65536, 256), (65536, 512), (65536, 1024))}
QUICK = {"peak_size": 64, "repeats": 1, "operations": 1e6, "qr": ((64, 8),)}


def run(settings, emit):
    """The widest network first; in quick mode a narrow one alone."""
    device, quick = settings["device"], settings["quick"]
    sizes = QUICK if quick else FULL
    shapes = ((16, 32),) if quick else tuple(reversed(SHAPES))
    for shape in shapes:
        for rows in (256,) if quick else (LARGE, auto_block_size(shape[1] + 1)):
            for precision in PRECISIONS:
                emit(measure(device, precision, *shape, rows, sizes))
        if shape == shapes[0]:
            emit({"what": "clocks under load"} | clocks())
            for precision in PRECISIONS:
                for variant in VARIANTS[: 1 if quick else None]:
                    with constants(*variant):
                        emit(measure(device, precision, *shape, 256 if quick else LARGE, sizes))
    for rows, columns in sizes["qr"]:
        emit({"what": "roads to R"} | qr(device, rows, columns, sizes["repeats"]))


def measure(device, precision, features, width, rows, sizes):
    """Medians over repeats of peak and path, one right after the other."""
    one = rows * (2.0 * features * width + width * (width + 1.0))
    path = Path(device, precision, features, width, rows, max(1, min(64, int(sizes["operations"] / one))))
    path.run()  # loads the libraries' kernels
    runs = []
    for _ in range(sizes["repeats"]):
        top, parts = peak(device, precision, sizes["peak_size"])["wall"], path.run()
        seconds = sum(part["wall"] for part in parts.values())
        achieved = path.operations / seconds
        shares = {"of_peak": achieved / top, "feature_share": parts["features"]["wall"] / seconds}
        runs.append({"peak_tflops": top / 1e12, "tflops": achieved / 1e12} | shares)
    row = {"what": "features + Gram", "precision": precision, "features": features, "width": width, "block_rows": rows}
    row |= {"blocks": path.n_blocks, "chunk": max(_torch._CHUNK, width), "panel": min(_torch._PANEL, width)}
    row |= {key: median([run[key] for run in runs]) for key in runs[0]}
    row["of_peak_range"] = [min(run["of_peak"] for run in runs), max(run["of_peak"] for run in runs)]
    return row | {"aim": AIM, "reached": row["of_peak"] >= AIM}


@contextmanager
def constants(chunk, panel):
    """Let the backend sum a Gram in other pieces."""
    before = _torch._CHUNK, _torch._PANEL
    _torch._CHUNK, _torch._PANEL = chunk, panel
    try:
        yield
    finally:
        _torch._CHUNK, _torch._PANEL = before
