"""Suites "images" and "sequences" of ``dfa.py``: convolutions and recurrences, trained by torch."""

from _common import mean
from _dfa_common import (
    SIGNS,
    Suite,
    datasets_by_contenders,
    finished,
    image_shape,
    in_points,
    measured_fit,
    paired_difference,
    split_of,
    standard_error,
    torch_or_skip,
)

from sklearn_analytic import DFAClassifier, Feedback, ImageNetwork, SequenceNetwork

REFERENCE = "backprop"
LARGEST = Feedback("sparse", init="product", density=0.3, refresh_interval=5)
CONTENDERS = {
    REFERENCE: {"scheme": "backprop"},
    "hybrid": {"scheme": "hybrid"},
    "hybrid+random": {"scheme": "hybrid", "feedback": "random"},
    "hybrid+binary": {"scheme": "hybrid", "feedback": "binary"},
    "hybrid+signs": {"scheme": "hybrid", "feedback": SIGNS},
    "modular": {"scheme": "modular"},
    "modular+largest": {"scheme": "modular", "feedback": LARGEST},
}
# Two convolutions before each pooling: most of the error's multiplications are inside modules.
STACKED = ((16, 16), (32, 32))
IMAGE_CONTENDERS = CONTENDERS | {
    "stacked backprop": {"scheme": "backprop", "network__conv_layer_sizes": STACKED},
    "stacked hybrid": {"scheme": "hybrid", "network__conv_layer_sizes": STACKED},
    "stacked modular": {"scheme": "modular", "network__conv_layer_sizes": STACKED},
    "stacked modular+largest": {"scheme": "modular", "feedback": LARGEST, "network__conv_layer_sizes": STACKED},
}
# Through 28 steps of time, half of the entries; fewer lose the error on the way.
HALF = Feedback("sparse", init="product", density=0.5, refresh_interval=5)
SEQUENCE_CONTENDERS = {name: CONTENDERS[name] for name in (REFERENCE, "hybrid", "modular")}
SEQUENCE_CONTENDERS |= {"modular+half": {"scheme": "modular", "feedback": HALF}}
COLUMNS = {
    "data set": ("dataset", "s"),
    "contender": ("contender", "s"),
    "accuracy": ("accuracy", ".4f"),
    "standard error": ("accuracy_se", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "log-loss": ("log_loss", ".4f"),
    "error's multiplications saved": ("saved", ".3f"),
    "seconds": ("seconds", ".1f"),
}


def fit(job, options, split, network, hidden, contenders):
    """One timed fit through torch."""
    torch_or_skip(options.threads[0])
    from _dfa_multiplications import error_multiplications

    shared = {"max_iter": options.epochs, "batch_size": options.batch_size, "learning_rate_init": options.rate}
    model = DFAClassifier(hidden, network=network, random_state=job["seed"], **shared)
    row = measured_fit(model.set_params(**contenders[job["contender"]]), split)
    own, exact = error_multiplications(model, split[0], split[2])
    return [row | {"error_multiplications": own, "error_multiplications_backprop": exact}]


def run_images(job, options):
    """Blocks of convolution and pooling, two dense hidden layers: one alone would be exact under "refresh"."""
    split = split_of(job["dataset"], job["seed"], options)
    conv = (8, 16) if options.quick else (16, 32)
    return fit(job, options, split, ImageNetwork(image_shape(split[0]), conv), (256, 128), IMAGE_CONTENDERS)


def run_sequences(job, options):
    """A row of pixels is a step."""
    split = split_of(job["dataset"], job["seed"], options)
    network = SequenceNetwork(image_shape(split[0])[0], (32,) if options.quick else (128,))
    return fit(job, options, split, network, (64, 64), SEQUENCE_CONTENDERS)


def summarise(rows):
    """One line per data set and contender."""
    rows = finished(rows)
    pairs = dict.fromkeys((row["dataset"], row["contender"]) for row in rows)
    known = list(IMAGE_CONTENDERS | SEQUENCE_CONTENDERS)
    ordered = sorted(pairs, key=lambda pair: (pair[0], known.index(pair[1])))
    return [_line(rows, *pair) for pair in ordered]


def _line(rows, dataset, contender):
    rows = [row for row in rows if row["dataset"] == dataset]
    mine = [row for row in rows if row["contender"] == contender]
    stacked = "stacked " if contender.startswith("stacked ") else ""
    reference = [row for row in rows if row["contender"] == stacked + REFERENCE]
    counts = [(row["error_multiplications"], row["error_multiplications_backprop"]) for row in mine]
    return {
        "dataset": dataset,
        "contender": contender,
        "accuracy_se": standard_error([row["accuracy"] for row in mine]),
        "difference": in_points(paired_difference(mine, reference)[0]),
        "difference_se": in_points(paired_difference(mine, reference)[1]),
        "saved": mean(1 - own / exact for own, exact in counts),
    } | {key: mean(row[key] for row in mine) for key in ("accuracy", "log_loss", "seconds")}


IMAGES = Suite(
    jobs=datasets_by_contenders,
    run=run_images,
    summarise=summarise,
    columns=COLUMNS,
    names=("fashion_mnist", "cifar10_jpeg_10k"),
    contenders=tuple(IMAGE_CONTENDERS),
    quick_contenders=tuple(CONTENDERS),
    defaults={"epochs": 8, "seeds": [0]},
    quick={"epochs": 8},
    note="3x3 convolutions (16, 32), each with a pooling ('stacked': (16, 16), (32, 32)), dense layers (256, 128).",
)
SEQUENCES = Suite(
    jobs=datasets_by_contenders,
    run=run_sequences,
    summarise=summarise,
    columns=COLUMNS,
    names=("digits", "mnist"),
    contenders=tuple(SEQUENCE_CONTENDERS),
    defaults={"epochs": 10, "seeds": [0, 1, 2]},
    quick={"epochs": 8},
    note="One recurrent tanh layer of 128 units over the rows of an image, dense layers (64, 64).",
)
