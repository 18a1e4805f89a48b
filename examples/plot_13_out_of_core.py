"""
How much of a file does a model need, and what if the job is killed?
====================================================================

A closed-form fit reads a file block by block and keeps sums. It can be asked at every block how good it is by now, and
what it has summed can be kept on disk: when the job is killed, the next one goes on from there and ends with the same
model, bit for bit.

Here 40,000 rows lie in two ``.npy`` files. The first job dies while it reads block 13 of 20; the second finds the
checkpoint and reads the last blocks alone. ``ScoringMonitor`` of scikit-learn (1.9 or later) scores rows that were held
out after every block. The figure ``out_of_core.png`` shows both jobs.

Run ``python examples/plot_13_out_of_core.py`` (seconds) with ``--out DIR`` for the folder of the figure and ``--quick``
for fewer rows.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.callback import ScoringMonitor
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from sklearn_analytic import Blocks, BRMPClassifier

N_BLOCKS, DIES_AT = 20, 13

# %%
# The rows in files, a fifth of them held out.


def write_files(folder, n_rows):
    X, y = make_classification(
        n_rows * 5 // 4, 30, n_informative=12, n_classes=5, n_clusters_per_class=4, random_state=0
    )
    X, X_test, y, y_test = train_test_split(X.astype(np.float32), y, test_size=0.2, random_state=0)
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return X_test, y_test


# %%
# One job: ``Blocks`` of the files, and a monitor that notes accuracy on the held-out rows after every block. The first
# job reads its blocks through a function that fails, as a lost connection would.


class LostConnection(Exception):
    """What happens to long jobs."""


def blocks_of(folder, size, dies=False):
    """The files in blocks; or, for the job that dies, the blocks of a pass that ends too early."""
    blocks = Blocks.from_npy(folder / "X.npy", folder / "y.npy", block_size=size)
    return _until(blocks, DIES_AT - 1) if dies else iter(blocks)


def _until(blocks, last):
    for number, block in enumerate(blocks):
        if number == last:
            raise LostConnection
        yield block


def new_model():
    return BRMPClassifier((300,), alpha="gcv", random_state=0)


def run_job(blocks, held_out, checkpoint):
    """The model (or None, where the job died), and accuracy by the number of rows."""

    def score(model, X, y):
        return {"rows": model.n_samples_seen_, "accuracy": model.score(*held_out)}

    monitor = ScoringMonitor(scoring=score)
    model = new_model().set_callbacks(monitor)
    try:
        model.fit_blocks(blocks, checkpoint=checkpoint, checkpoint_every=1)
    except LostConnection:
        model = None
    log = [entry for entry in monitor.get_logs().data if entry["task_name"] == "block"]
    return model, [(entry["rows"], entry["accuracy"]) for entry in log]


def compare(n_rows):
    """The curves of the job that died, of the one that went on, and the model of one that was left alone."""
    with tempfile.TemporaryDirectory() as name:
        folder, size = Path(name), n_rows // N_BLOCKS
        held_out = write_files(folder, n_rows)
        path = folder / "checkpoint.npz"
        _, first = run_job(blocks_of(folder, size, dies=True), held_out, path)
        resumed, second = run_job(blocks_of(folder, size), held_out, path)
        whole = new_model().fit_blocks(blocks_of(folder, size))
    return first, second, bool(np.array_equal(resumed.readout_coef_, whole.readout_coef_)), whole.score(*held_out)


# %%
# Most is learned from the first quarter of the file. The second job begins where the first one stopped.


def draw(pyplot, path, first, second, final):
    figure, axis = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    axis.axhline(final, color="0.6", linestyle="--", label="all rows, never interrupted")
    axis.plot(*zip(*first, strict=True), "C0o-", label="first job")
    axis.plot(*zip(*second, strict=True), "C1s-", label="second job, from the checkpoint")
    rows, accuracy = first[-1]
    axis.annotate(
        "killed", (rows, accuracy), (0, -42), textcoords="offset points", ha="center", arrowprops={"arrowstyle": "->"}
    )
    axis.set(xlabel="rows read", ylabel="accuracy on held-out rows", title="BRMPClassifier on a file, block by block")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description="How much of a file does a model need?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="fewer rows")
    options = parser.parse_args()
    first, second, same, final = compare(8_000 if options.quick else 40_000)
    print("job     rows   accuracy")
    for name, curve in (("first", first), ("second", second)):
        for rows, accuracy in curve:
            print(f"{name:6s}  {rows:5d}  {accuracy:.4f}")
    print(f"the same coefficients as without the interruption: {same}")
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    draw(pyplot, options.out / "out_of_core.png", first, second, final)


if __name__ == "__main__":
    main()
