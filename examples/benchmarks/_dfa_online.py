"""Suite "online" of ``dfa.py``: learning from a stream that drifts, every block predicted before it is learned.

The stream shows the bundled 8 x 8 digits upright, then turned by 90, 180 and 270 degrees; the labels stay. Blocks are
small, as in online tracking.
"""

import time

import numpy as np
from _common import mean
from _dfa_common import Suite, finished, standard_error
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from sklearn_analytic import Adam, DFAClassifier, Feedback

NETWORK, BLOCK, TURNS, NEAR = (128, 64), 16, 4, 30  # NEAR: blocks that count as just after a turn
CONTENDERS = {
    "backprop": {"scheme": "backprop"},
    "backprop, longer memory": {"scheme": "backprop", "solver": Adam(beta_1=0.9)},
    "dfa": {},
    "dfa, every 20 steps": {"feedback": Feedback(refresh_interval=20)},
    "dfa, longer memory": {"solver": Adam(beta_1=0.9)},
    "dfa, both": {"feedback": Feedback(refresh_interval=20), "solver": Adam(beta_1=0.9)},
    "signs": {"feedback": Feedback("binary", init="sign_product", refresh_interval=1)},
    "random": {"feedback": "random"},
    "binary": {"feedback": "binary"},
}
COLUMNS = {
    "contender": ("contender", "s"),
    "prequential accuracy": ("accuracy", ".4f"),
    "standard error": ("accuracy_se", ".4f"),
    f"first {NEAR} blocks after a turn": ("after_turn", ".4f"),
    f"last {NEAR} blocks before one": ("before_turn", ".4f"),
    "ms per block": ("block_ms", ".2f"),
}


def stream(seed, n_blocks):
    """Yield (X, y) of the blocks of all turns, pixels in [-1, 1]."""
    images, y = load_digits(return_X_y=True)
    images, rng = (images.reshape(-1, 8, 8) / 8 - 1).astype(np.float32), np.random.default_rng(seed)
    for turn in range(TURNS):
        turned = np.rot90(images, turn, axes=(1, 2)).reshape(len(y), -1)
        order = rng.permutation(len(y))[: n_blocks * BLOCK]
        for rows in order.reshape(-1, BLOCK):
            yield turned[rows], y[rows]


def build(contender, seed, options):
    """A model that learns by partial_fit, at one constant rate."""
    if contender == "sgd_linear":
        return SGDClassifier(loss="log_loss", random_state=seed)
    if contender == "mlp":
        return MLPClassifier(NETWORK, learning_rate_init=options.rate, alpha=0, batch_size=BLOCK, random_state=seed)
    shared = {"learning_rate_init": options.rate, "batch_size": BLOCK, "input_encoding": None, "random_state": seed}
    return DFAClassifier(NETWORK, **shared, **CONTENDERS[contender])


def jobs(options):
    return [{"seed": seed, "contender": name} for seed in options.seeds for name in options.contenders]


def run(job, options):
    """Predict, compare, learn, block by block; the first block is only learned."""
    model, hits, seconds = build(job["contender"], job["seed"], options), [], []
    n_blocks = options.blocks
    for k, (X, y) in enumerate(stream(job["seed"], n_blocks)):
        hits.append(np.mean(model.predict(X) == y) if k else np.nan)
        start = time.perf_counter()
        model.partial_fit(X, y, classes=np.arange(10))
        seconds.append(time.perf_counter() - start)
    by_turn = np.array(hits).reshape(TURNS, n_blocks)
    return [
        {
            "accuracy": float(np.nanmean(by_turn)),
            "accuracy_by_turn": by_turn.mean(axis=1, where=np.isfinite(by_turn)).tolist(),
            "after_turn": float(by_turn[1:, :NEAR].mean()),
            "before_turn": float(by_turn[:, -NEAR:].mean(where=np.isfinite(by_turn[:, -NEAR:]))),
            "block_ms": 1000 * float(np.median(seconds[1:])),
            "n_rows": by_turn.size * BLOCK,
        }
    ]


def summarise(rows):
    """Means over seeds."""
    rows = finished(rows)
    lines = []
    for name in dict.fromkeys(row["contender"] for row in rows):
        mine = [row for row in rows if row["contender"] == name]
        means = {key: mean(row[key] for row in mine) for key in ("accuracy", "after_turn", "before_turn", "block_ms")}
        lines.append({"contender": name} | means | {"accuracy_se": standard_error([r["accuracy"] for r in mine])})
    return lines


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("digits",),
    contenders=(*CONTENDERS, "mlp", "sgd_linear"),
    defaults={"blocks": 112, "rate": 3e-3},
    quick={"blocks": 40},
    note=f"Blocks of {BLOCK} rows, each predicted before it is learned; {TURNS} orientations of the bundled digits.",
)
