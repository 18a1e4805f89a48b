"""Networks trained by gradients beside each other, and beside the closed form: which is worth its time on a table?

One command fits every contender to every set, writes one record per fit and prints a Markdown table::

    python examples/benchmarks/networks.py --data DIR --json networks.json
    python examples/benchmarks/networks.py --data DIR --only letter mnist --contenders dfa mlp --json few.json
    python examples/benchmarks/networks.py --data DIR --contenders layerwise --resume networks.json
    python examples/benchmarks/networks.py --quick            # bundled sets, no --data, seconds

DIR holds one .npz per data set, as for ``accuracy.py``; the environment variable SKLEARN_ANALYTIC_DATA may name it
instead. ``--resume PATH`` goes on with a file: what it lacks of ``--only``, ``--contenders`` and ``--seeds`` is run and
put beside what it has.

Protocol. Twelve tables of 569 to 20,000 rows and 2 to 26 classes, and MNIST. Every seed is another split: a random
quarter for the test, or of sets with a test part of their own (letter, MNIST) another draw of training rows. At most
4000 training rows of a table (``--max-train-rows``) and 6000 images (``--max-train-images``). One thread, seconds of
the wall and (``*_cpu_seconds``) of the processor; what is compiled is compiled before. Order rotates by data set and
seed.

Estimators have their defaults: 256 and 256 units for all of this package that are trained by gradients, 100 for
scikit-learn's, which has a row with 256 and 256 as well. Scikit-learn's and the loop in torch get standardised columns
(inside the timed fit), this package standardises by itself; pixels are divided by 255 for all. The loop has Adam at
.001, and the batches and epochs of ``DFAClassifier``.

"Tuned" is a search among the defaults and random draws of hidden layers, penalty, rate and early stopping, the same
draws for both networks (``--candidates``): by three folds up to 2000 rows, by a held-out fifth of more. Its time is
that of the search with the last fit, ``refit_cpu_seconds`` that of the last fit alone.
"""

from _accuracy_suites import CLASSIFICATION, IMAGES
from _dfa_common import Suite, datasets_by_contenders, split_of
from _networks_contenders import CONTENDERS, build, facts, warm_up
from _networks_summary import COLUMNS, by_set, summarise
from _suites import Script, run_script
from accuracy import score

SETS = (
    *("wdbc", "credit_g", "vehicle", "cnae9", "splice", "phoneme", "waveform40", "musk2", "dry_bean"),
    *("eeg_eye_state", "covertype_20k", "letter", "mnist"),
)
SUITE_DEFAULTS = {"seeds": [0, 1, 2], "max_train_rows": 4000, "max_train_images": 6000, "candidates": 6}
QUICK = {"seeds": [0], "max_train_rows": 200, "candidates": 2}
SETTINGS = ("suite", "quick", "max_train_rows", "max_train_images", "candidates", "threads")


def own_options(add):
    """Options that other scripts lack."""
    add("--max-train-images", type=int, help="--max-train-rows of images")
    add("--candidates", type=int, help="networks that a search tries")


def run(job, options):
    """One timed fit, with its scores."""
    X, X_test, y, y_test = _split(job, options)
    warm_up(job["contender"])
    model = build(job["contender"], job["dataset"] in IMAGES, len(y), job["seed"], options)
    sizes = {"n_train": len(y), "n_test": len(y_test), "n_features": X.shape[1], "n_classes": len(set(y))}
    return [sizes | score(model, CLASSIFICATION, X, X_test, y, y_test) | facts(model, X, y)]


def _split(job, options):
    """The split of a job; more rows of images than of tables."""
    if job["dataset"] in IMAGES:
        options = type(options)(**vars(options) | {"max_train_rows": options.max_train_images})
    return split_of(job["dataset"], job["seed"], options)


SUITE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=SETS,
    contenders=tuple(CONTENDERS),
    quick_contenders=("closed_form", "dfa", "mlp", "dfa, tuned"),
    extra=by_set,
    note=(
        "Means over sets. Points are those of accuracy, differences are paired by set, with standard errors over sets; "
        "in brackets the number of sets that are won. Seconds are the processor's, geometric means."
    ),
)
SCRIPT = Script(__doc__.splitlines()[0], {"tables": SUITE}, "tables", SUITE_DEFAULTS, QUICK, SETTINGS, own_options)

if __name__ == "__main__":
    run_script(SCRIPT)
