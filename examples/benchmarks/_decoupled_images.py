"""Suite "images" of ``decoupled.py``: a small residual network with batch normalisation (torch)."""

import numpy as np
from _common import given_epochs
from _decoupled_accuracy import CONTENDERS as ALL
from _decoupled_common import BACKPROP, COLUMNS, by_set, jobs_by_counts, scored_fit, summarise
from _dfa_common import Suite, image_shape, torch_or_skip
from _layerwise_common import capped_split

from sklearn_analytic import DecoupledMLPClassifier, PipelineRule

CHANNELS, QUICK_CHANNELS = (8, 16, 32), (2, 4, 4)
CONTENDERS = {name: ALL[name] for name in (BACKPROP, "default", "fdg", "adl, M=4", "dtrp")}


def run(job, options):
    """One fit of the network, drawn by the seed; in turns."""
    torch_or_skip(options.threads[0])
    from _decoupled_residual import residual_network

    X, _, y, _ = capped_split(job, options)
    shape, channels = image_shape(X), QUICK_CHANNELS if options.quick else CHANNELS
    shape = shape if len(shape) == 3 else (1, *shape)
    model = DecoupledMLPClassifier(
        network=residual_network(shape, channels, len(np.unique(y)), job["seed"]),
        n_modules=job["n_modules"],
        batch_size=options.batch_size,
        max_iter=options.epochs,
        learning_rate_init=options.rate,
        pipeline=PipelineRule(executor="sequential"),
        random_state=job["seed"],
    ).set_params(**CONTENDERS[job["contender"]])
    row = scored_fit(given_epochs(model), job, options)
    return [row | {"modules": None if row["diverged"] else [list(part) for part in model.modules_]}]


SUITE = Suite(
    jobs=jobs_by_counts((BACKPROP,), (2, 4)),
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("cifar10_jpeg_10k", "fashion_mnist"),
    contenders=tuple(CONTENDERS),
    quick_contenders=(BACKPROP, "dtrp"),
    defaults={"epochs": 6, "batch_size": 64, "rate": 3e-3, "max_train_rows": 2000, "seeds": [0, 1, 2]},
    quick={"epochs": 2, "max_train_rows": 500, "max_test_rows": 100, "batch_size": 64},
    extra=by_set,
    note=(
        "A stem, six residual blocks of 8, 16 and 32 channels with batch normalisation, an average and the output "
        "layer: 8 stages, each block one of them. Adam, batches of 64 rows, cosine schedule, equal and few epochs; "
        "the settings have the rate. Standard errors are over seeds."
    ),
)
