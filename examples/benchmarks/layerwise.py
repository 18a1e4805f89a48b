"""Layer-wise training against backpropagation: accuracy, memory, partitions, output rules, rows left out.

One command runs one suite, writes one record per run and prints a Markdown table::

    python examples/benchmarks/layerwise.py --suite accuracy --data DIR --json accuracy.json
    python examples/benchmarks/layerwise.py --suite memory --json memory.json
    python examples/benchmarks/layerwise.py --quick            # bundled sets, no --data, seconds

DIR holds one .npz per data set, as for ``accuracy.py``; the environment variable SKLEARN_ANALYTIC_DATA may name it
instead. ``--resume PATH`` goes on with the runs of an interrupted file.

Protocol. Within a suite all contenders have the same network, rows, batches and optimiser (Adam, cosine schedule over
the epochs of each partition). Order rotates by data set and seed. Code is compiled before anything is timed. Times are
seconds of the processor under one thread, as the machine may have other work; wall seconds are in the file. Looking at
held-out rows after every epoch is not timed, and nothing is chosen by them.

accuracy    orders, partitions, a solved readout: accuracy, log-loss, seconds, time to backprop's accuracy
ablation    what teaches a layer while those above are not there, at equal epochs and at equal time
memory      bytes of training and peak memory of a fresh process, against backprop and checkpoints
partitions  1, 2, 4 and 8 partitions of 8 layers, and the batches that the same memory holds
outputs     epochs and seconds of every output rule to softmax's accuracy
subsample   the share of its rows that a partition hands to the next one
"""

import _layerwise_ablation
import _layerwise_accuracy
import _layerwise_memory
import _layerwise_outputs
import _layerwise_partitions
from _suites import Script, run_script

SUITES = {
    "accuracy": _layerwise_accuracy.SUITE,
    "ablation": _layerwise_ablation.SUITE,
    "memory": _layerwise_memory.SUITE,
    "partitions": _layerwise_partitions.SUITE,
    "outputs": _layerwise_outputs.SUITE,
    "subsample": _layerwise_accuracy.SUBSAMPLE,
}
DEFAULTS = {"max_train_rows": 5000, "max_test_rows": 5000, "batch_size": 128, "rate": 1e-3, "repeats": 1}
QUICK = {"max_train_rows": 1000, "batch_size": 32, "seeds": [0]}
SETTINGS = ("suite", "quick", "epochs", "batch_size", "rate", "max_train_rows", "max_test_rows", "device", "threads")


def own_options(add):
    """Options that other scripts lack."""
    add("--max-test-rows", type=int, help="0: all")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="of the suite memory")


SCRIPT = Script(__doc__.splitlines()[0], SUITES, "accuracy", DEFAULTS, QUICK, SETTINGS, own_options)

if __name__ == "__main__":
    run_script(SCRIPT)
