"""Direct feedback alignment against backpropagation: accuracy, speed, memory, images, sequences, streams.

One command runs one suite, writes one record per run and prints a Markdown table::

    python examples/benchmarks/dfa.py --suite accuracy --data DIR --seeds 0 1 2 3 4 --json accuracy.json
    python examples/benchmarks/dfa.py --suite speed --json speed.json
    python examples/benchmarks/dfa.py --quick            # bundled sets, no --data, seconds

DIR holds one .npz per data set, as for ``accuracy.py``; the environment variable SKLEARN_ANALYTIC_DATA may name it
instead. ``--resume PATH`` goes on with the runs of an interrupted file.

Protocol. Within a suite all contenders have the same network, rows, batches, epochs and schedule, and the same
optimiser (Adam; K-FAC stands in front of SGD with momentum, at --kfac-rate). Order rotates by data set and seed. Code
is compiled before anything is timed. Tables are standardised by the estimator itself, pixels are divided by 255.

accuracy   every feedback, low-bit activations and K-FAC: accuracy, log-loss, seconds, cosine to the true gradient
default    the default against backpropagation and MLPClassifier at equal epochs, and what of it does how much
speed      epoch and fit times against MLPClassifier and a plain torch loop, a fresh process per number of threads
memory     bytes of stored activations and the accuracy they cost; peak memory of a fresh process
images     a small convolutional network: backprop, hybrid, modular, with drawn feedback or that of the weights (torch)
sequences  a recurrent network over rows of pixels: backprop, hybrid, modular (torch)
transfer   dense layers for few images, on convolutions that other classes have trained (torch)
online     ``partial_fit`` on a drifting stream, every block predicted before it is learned
kfac       time until K-FAC has the accuracy with which Adam and SGD end, and what of it does how much
skipping   rows of small output error left out of the backward products (``feedback__tol_error``)
"""

import _dfa_accuracy
import _dfa_default
import _dfa_kfac
import _dfa_memory
import _dfa_online
import _dfa_skipping
import _dfa_speed
import _dfa_torch_suites
import _dfa_transfer
from _suites import Script, run_script

SUITES = {
    "accuracy": _dfa_accuracy.SUITE,
    "default": _dfa_default.SUITE,
    "speed": _dfa_speed.SUITE,
    "memory": _dfa_memory.SUITE,
    "images": _dfa_torch_suites.IMAGES,
    "sequences": _dfa_torch_suites.SEQUENCES,
    "transfer": _dfa_transfer.SUITE,
    "online": _dfa_online.SUITE,
    "kfac": _dfa_kfac.SUITE,
    "skipping": _dfa_skipping.SUITE,
}
DEFAULTS = {"epochs": 20, "max_train_rows": 0, "batch_size": 128, "seeds": [0, 1, 2, 3, 4], "repeats": 5, "rate": 1e-3}
QUICK = {"epochs": 3, "max_train_rows": 1000, "batch_size": 32, "seeds": [0], "repeats": 1, "threads": [1]}
SETTINGS = ("suite", "quick", "epochs", "batch_size", "rate", "kfac_rate", "max_train_rows", "repeats", "threads")


def own_options(add):
    """The one option that other scripts lack."""
    add("--kfac-rate", type=float, default=3e-2, help="--rate, of SGD behind K-FAC")


SCRIPT = Script(__doc__.splitlines()[0], SUITES, "accuracy", DEFAULTS, QUICK, SETTINGS, own_options)

if __name__ == "__main__":
    run_script(SCRIPT)
