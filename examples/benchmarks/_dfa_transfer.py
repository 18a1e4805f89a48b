"""Suite "transfer" of ``dfa.py``: dense layers on convolutions that other classes have trained, few images of the rest.

Half of the classes, drawn by the seed, train a small convolutional network by backpropagation; its convolutions stay
as they are, and dense layers learn the other half from a few images, with the output error as each contender sends it.
"""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
from _common import mean
from _dfa_common import (
    SIGNS,
    Suite,
    finished,
    in_points,
    measured_fit,
    paired_difference,
    rotated,
    split_of,
    torch_or_skip,
)

from sklearn_analytic import DFAClassifier, Feedback

DENSE, CHANNELS = (256, 128), (16, 32)
SHAPES = {"fashion_mnist": (1, 28, 28), "cifar10_jpeg_10k": (3, 32, 32), "digits": (1, 8, 8)}
REFERENCE = "backprop"
CONTENDERS = {
    REFERENCE: {"scheme": "backprop"},
    "refresh": {},
    "random": {"feedback": "random"},
    "binary": {"feedback": "binary"},
    "signs at the start": {"feedback": Feedback("binary", init="sign_product")},
    "signs": {"feedback": SIGNS},
}
COLUMNS = {
    "data set": ("dataset", "s"),
    "images": ("n_train", "d"),
    "contender": ("contender", "s"),
    "accuracy": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "log-loss": ("log_loss", ".4f"),
}


def convolutions(shape):
    """Modules of two blocks, and their number of outputs."""
    from torch import nn

    channels, height, width = shape
    modules = [nn.Unflatten(1, shape)]
    for n_in, n_out in zip((channels, *CHANNELS), CHANNELS, strict=False):
        modules += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return [*modules, nn.Flatten()], CHANNELS[-1] * (height // 4) * (width // 4)


@lru_cache(maxsize=1)
def features(name, seed, data, epochs, max_rows):
    """(X, X_test, y, y_test) of the classes that did not train the convolutions, as these see them."""
    import torch
    from torch import nn

    X, X_test, y, y_test = split_of(name, seed, SimpleNamespace(data=data, max_train_rows=max_rows))
    classes = np.random.default_rng(seed).permutation(np.unique(y))
    first = np.isin(y, classes[: len(classes) // 2])
    blocks, n_units = convolutions(SHAPES[name])
    dense = [nn.Linear(n_units, DENSE[0]), nn.ReLU(), nn.Linear(DENSE[0], len(np.unique(y[first])))]
    network = nn.Sequential(*blocks, *dense)
    shared = {"scheme": "backprop", "input_encoding": None, "max_iter": epochs, "batch_size": 128}
    trained = DFAClassifier(network=network, random_state=seed, **shared).fit(X[first], y[first])
    network.load_state_dict({key: torch.from_numpy(array) for key, array in trained.network_state_.items()})
    rest, rest_test = ~first, np.isin(y_test, classes[len(classes) // 2 :])
    with torch.no_grad():
        seen = [
            np.concatenate(
                [network[: len(blocks)](torch.from_numpy(part)).numpy() for part in np.array_split(rows, 20)]
            )
            for rows in (X[rest], X_test[rest_test])
        ]
    return *seen, y[rest], y_test[rest_test]


def jobs(options):
    """One job per set, seed, number of images and contender; a seed's convolutions are trained once."""
    for name in options.only:
        for seed in options.seeds:
            for n_rows in options.rows:
                place = {"dataset": name, "seed": seed, "rows": n_rows}
                yield from rotated([place | {"contender": contender} for contender in options.contenders], seed)


def run(job, options):
    """Dense layers on the features of a few images."""
    torch_or_skip(options.threads[0])
    X, X_test, y, y_test = features(job["dataset"], job["seed"], options.data, options.epochs, options.max_train_rows)
    chosen = np.random.default_rng(job["seed"]).permutation(len(y))[: job["rows"]]
    model = DFAClassifier(DENSE, random_state=job["seed"], **CONTENDERS[job["contender"]])
    return [measured_fit(model, (X[chosen], X_test, y[chosen], y_test))]


def summarise(rows):
    """One line per set, number of images and contender, paired with backpropagation."""
    rows, lines = finished(rows), []
    for place in dict.fromkeys((row["dataset"], row["rows"], row["contender"]) for row in rows):
        mine = [row for row in rows if (row["dataset"], row["rows"], row["contender"]) == place]
        same = [row for row in rows if (row["dataset"], row["rows"]) == place[:2] and row["contender"] == REFERENCE]
        difference, error = paired_difference(mine, same)
        line = {"dataset": place[0], "n_train": place[1], "contender": place[2]}
        line |= {key: mean(row[key] for row in mine) for key in ("accuracy", "log_loss")}
        lines.append(line | {"difference": in_points(difference), "difference_se": in_points(error)})
    known = list(CONTENDERS)
    return sorted(lines, key=lambda line: (line["dataset"], line["n_train"], known.index(line["contender"])))


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("fashion_mnist", "cifar10_jpeg_10k"),
    contenders=tuple(CONTENDERS),
    quick_contenders=(REFERENCE, "binary", "signs"),
    defaults={"epochs": 5, "rows": [200, 500, 1000, 2000]},
    quick={"epochs": 2, "rows": [200]},
    note="Convolutions (16, 32) of half of the classes, drawn by the seed; dense layers (256, 128) for the other half.",
)
