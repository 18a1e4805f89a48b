"""
How much of a file does a model need, and what if the job is killed?
====================================================================

A closed-form fit reads a file block by block and keeps sums. At every block it can be asked how good
the model is by now, and its sums can be saved to disk. When the job is killed, the next one goes on
from there and ends with the same model, bit for bit.

Here 40,000 rows lie in two ``.npy`` files of 20 blocks. The first job dies before block 13; the second finds
the checkpoint and reads the last eight blocks alone. See :doc:`/user_guide/out_of_core` for other files,
for memory and for speed. Scores on the way need scikit-learn 1.9 or later.
"""

# %%
# Rows in files
# -------------
# A fifth of the rows is held out and stays in memory, to score on. The others go to two files.
# ``Blocks`` reads them in blocks of 2,000 rows, one at a time, however many there are.

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ScoringMonitor
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from sklearn_analytic import Blocks, BRMPClassifier

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data, for tests
N_ROWS, N_BLOCKS, DIES_AT = 8_000 if QUICK else 40_000, 20, 13

X, y = make_classification(
    N_ROWS * 5 // 4,
    30,
    n_informative=12,
    n_classes=5,
    n_clusters_per_class=4,
    random_state=0,
)
X, X_test, y, y_test = train_test_split(X.astype(np.float32), y, test_size=0.2, random_state=0)
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
np.save(folder / "X.npy", X)
np.save(folder / "y.npy", y)
blocks = Blocks.from_npy(folder / "X.npy", folder / "y.npy", block_size=N_ROWS // N_BLOCKS)
print({path.name: f"{path.stat().st_size / 1e6:.1f} MB" for path in folder.iterdir()})

# %%
# The job that is killed
# ----------------------
# ``fit_blocks`` takes the blocks, or any iterable of them. A generator that fails stands for the lost
# connection. ``checkpoint_every=1`` saves the sums after every block. ``ScoringMonitor`` calls its
# score after every block with a model that is solved on the rows so far; this score reads the rows
# that were held out, not those of the fit. The second column grows fast, then slowly.


def score_so_far(model, X, y):
    """What the monitor notes: rows so far, and accuracy on rows that were held out."""
    return {"rows": model.n_samples_seen_, "accuracy": model.score(X_test, y_test)}


def until_the_connection_is_lost():
    """The blocks before the one that never arrives."""
    for number, block in enumerate(blocks, start=1):
        if number == DIES_AT:
            raise ConnectionError("the file system is gone")
        yield block


def curve_of(monitor):
    """Rows and accuracy after every block."""
    entries = [entry for entry in monitor.get_logs().data if entry["task_name"] == "block"]
    return [(entry["rows"], entry["accuracy"]) for entry in entries]


checkpoint = folder / "checkpoint.npz"
monitor = ScoringMonitor(scoring=score_so_far)
model = BRMPClassifier((300,), alpha="gcv", random_state=0).set_callbacks(monitor)
try:
    model.fit_blocks(until_the_connection_is_lost(), checkpoint=checkpoint, checkpoint_every=1)
except ConnectionError as error:
    print("killed:", error)
first = curve_of(monitor)
for rows, accuracy in first:
    print(f"first   {rows:5d}  {accuracy:.4f}")

# %%
# The job that goes on
# --------------------
# The same call with the same file of sums. It skips the blocks that are in them, and its first score
# is at block 13.

monitor = ScoringMonitor(scoring=score_so_far)
model = BRMPClassifier((300,), alpha="gcv", random_state=0).set_callbacks(monitor)
model.fit_blocks(iter(blocks), checkpoint=checkpoint, checkpoint_every=1)
second = curve_of(monitor)
for rows, accuracy in second:
    print(f"second  {rows:5d}  {accuracy:.4f}")

# %%
# A third model reads all blocks at once. It is the same: the interruption has cost neither a row nor a
# bit. The checkpoint has served and is gone.

whole = BRMPClassifier((300,), alpha="gcv", random_state=0).fit_blocks(iter(blocks))
is_same = np.array_equal(model.readout_coef_, whole.readout_coef_)
print("the same coefficients as without the interruption:", is_same)
print("checkpoint left behind:", checkpoint.exists())

# %%
# Both jobs
# ---------
# The first quarter of the file brings five of the six percentage points by which the curve rises.
# Whoever needs no more than that may stop reading there.

figure, axis = plt.subplots(figsize=(7.2, 4), layout="constrained")
final = whole.score(X_test, y_test)
axis.axhline(final, color="0.6", linestyle="--")
axis.plot(*zip(*first, strict=True), "o-", color="#0072B2")
axis.plot(*zip(*second, strict=True), "s-", color="#D55E00")
beside = {"textcoords": "offset points"}
axis.annotate("first job", first[len(first) // 2], (0, -22), color="#0072B2", **beside)
axis.annotate("killed", first[-1], (0, -45), ha="center", arrowprops={"arrowstyle": "->"}, **beside)
axis.annotate("second job", second[len(second) // 2], (0, -22), color="#D55E00", **beside)
axis.annotate("all rows, never interrupted", (first[0][0], final), (0, -14), **beside)
axis.set(xlabel="rows read", ylabel="accuracy on held-out rows", title="BRMPClassifier, block by block")
axis.grid(alpha=0.3)
plt.show()

# %%
# The files go with the folder.

temporary.cleanup()
