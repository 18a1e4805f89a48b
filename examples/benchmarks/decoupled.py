"""Decoupled training against backpropagation: accuracy, wall time, memory, simulated and synchronous pipelines.

One command runs one suite, writes one record per run and prints a Markdown table::

    python examples/benchmarks/decoupled.py --suite accuracy --data DIR --json accuracy.json
    python examples/benchmarks/decoupled.py --suite speed --json speed.json
    python examples/benchmarks/decoupled.py --quick            # bundled sets, no --data, seconds

DIR holds one .npz per data set, as for ``accuracy.py``; the environment variable SKLEARN_ANALYTIC_DATA may name it
instead. ``--resume PATH`` goes on with the runs of an interrupted file.

accuracy      modules 2, 4, 8 of plain networks: accuracy, log-loss, divergences, with Adam
accuracy_sgd  the same with SGD and momentum, where delayed gradients diverge first
images        a small residual network with batch normalisation (torch)
speed         wall time per batch with two threads, against one, two threads of BLAS, and data parallelism
memory        bytes of stashed and of recomputed activations and weights; peak memory of a fresh process
simulation    2 to 64 modules from measured costs, checked against the wall time of two
synchronous   exact-gradient pipelines of two processes (torch.distributed.pipelining)
stacked       equal modules in one batched product (torch), one thread
"""

import _decoupled_accuracy
import _decoupled_images
import _decoupled_memory
import _decoupled_simulation
import _decoupled_speed
import _decoupled_stacked
import _decoupled_synchronous
from _suites import Script, run_script

SUITES = {
    "accuracy": _decoupled_accuracy.SUITE,
    "accuracy_sgd": _decoupled_accuracy.SGD,
    "images": _decoupled_images.SUITE,
    "speed": _decoupled_speed.SUITE,
    "memory": _decoupled_memory.SUITE,
    "simulation": _decoupled_simulation.SUITE,
    "synchronous": _decoupled_synchronous.SUITE,
    "stacked": _decoupled_stacked.SUITE,
}
DEFAULTS = {"max_train_rows": 0, "max_test_rows": 0, "batch_size": 256, "rate": 1e-3, "repeats": 5, "seeds": [0]}
DEFAULTS |= {"network_us": 500.0}
QUICK = {"max_train_rows": 1000, "seeds": [0], "repeats": 1}
SETTINGS = (
    "suite",
    "quick",
    "epochs",
    "batch_size",
    "rate",
    "max_train_rows",
    "max_test_rows",
    "repeats",
    "threads",
)


def own_options(add):
    """Options that other scripts lack."""
    add("--max-test-rows", type=int, help="0: all")
    add("--network-us", type=float, help="of simulation: microseconds to hand a batch on between machines")


SCRIPT = Script(__doc__.splitlines()[0], SUITES, "accuracy", DEFAULTS, QUICK, SETTINGS, own_options)

if __name__ == "__main__":
    run_script(SCRIPT)
