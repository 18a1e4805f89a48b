"""Suites "accuracy" and "accuracy_sgd" of ``decoupled.py``: delayed gradients against backpropagation, equal epochs."""

from _common import given_epochs
from _decoupled_common import BACKPROP, COLUMNS, COUNTS, by_set, jobs_by_counts, scored_fit, summarise
from _dfa_common import Suite, torch_or_skip

from sklearn_analytic import DecoupledMLPClassifier, DenseNetwork, PipelineRule

NETWORK = (128,) * 8
SETS = ("digits", "letter", "mnist", "fashion_mnist")
REFERENCES = (BACKPROP, "backprop, layer norm")
FDG, SHRUNK = {"schedule": "fdg"}, {"pipeline__shrink": 0.7}
LAYER_NORM = {"network": DenseNetwork(normalization="layer")}
# {contender: parameters of DecoupledMLPClassifier, as a grid names them}
CONTENDERS = {
    BACKPROP: {"schedule": "backprop"},
    "default": {},
    "fdg": FDG,
    "fdg, shrink .7": FDG | SHRUNK,
    "fdg, current weights": FDG | {"pipeline__weight_version": "current"},
    "ddg": {"schedule": "ddg"},
    "adl, M=2": {"schedule": "adl", "pipeline__accumulation_steps": 2},
    "adl, M=4": {"schedule": "adl", "pipeline__accumulation_steps": 4},
    "dtrp": {"schedule": "dtrp"},
    "dtr": {"schedule": "dtrp", "pipeline__predictor": None},
}
CONTENDERS_SGD = {
    BACKPROP: {"schedule": "backprop"},
    "backprop, layer norm": {"schedule": "backprop"} | LAYER_NORM,
    "default": {},
    "fdg": FDG,
    "fdg, shrink .7": FDG | SHRUNK,
    "fdg, inverse rates": FDG | {"pipeline__module_rates": "inverse"},
    "fdg, layer norm": FDG | LAYER_NORM,
}
RULES = {"adam": CONTENDERS, "sgd": CONTENDERS_SGD}


def runner(solver):
    """A function that runs a job with one optimiser: in turns in one thread, which gives the bits of threads."""

    def run(job, options):
        own = RULES[solver][job["contender"]]
        if "network" in own:
            torch_or_skip(options.threads[0])
        shared = {"batch_size": options.batch_size, "max_iter": options.epochs, "learning_rate_init": options.rate}
        shared |= {"n_modules": job["n_modules"], "pipeline": PipelineRule(executor="sequential"), "solver": solver}
        network = NETWORK if not options.quick else (32,) * len(NETWORK)
        model = DecoupledMLPClassifier(network, random_state=job["seed"], **shared).set_params(**own)
        return [scored_fit(given_epochs(model), job, options)]

    return run


_COMMON = {"epochs": 20, "max_train_rows": 4000, "max_test_rows": 4000, "seeds": [0, 1, 2]}
_NOTE = (
    "8 hidden layers of 128 units, {solver}, batches of 32 rows, cosine schedule, equal epochs. 'Default' is the "
    "estimator's own schedule: FDG for two modules, DDG with a predictor for more. Diverged runs (the loss became "
    "infinite or no number) have no score: means and differences are over the others. Standard errors are over pairs "
    "of a set and a seed. Inside a set, rows and first weights are those of backpropagation with the same seed."
)
SUITE = Suite(
    jobs=jobs_by_counts(REFERENCES, COUNTS),
    run=runner("adam"),
    summarise=summarise,
    columns=COLUMNS,
    names=SETS,
    contenders=tuple(CONTENDERS),
    quick_contenders=(BACKPROP, "fdg", "dtrp"),
    defaults=_COMMON | {"batch_size": 32},
    quick={"epochs": 2, "batch_size": 32},
    extra=by_set,
    note=_NOTE.format(solver="Adam at rate .001"),
)
SGD = Suite(
    jobs=jobs_by_counts(REFERENCES, COUNTS),
    run=runner("sgd"),
    summarise=summarise,
    columns=COLUMNS,
    names=SETS,
    contenders=tuple(CONTENDERS_SGD),
    quick_contenders=(BACKPROP, "fdg", "fdg, inverse rates"),
    defaults=_COMMON | {"batch_size": 32, "rate": 0.02},
    quick={"epochs": 2, "batch_size": 32},
    extra=by_set,
    note=_NOTE.format(solver="Nesterov momentum .9 at rate .02, not tuned"),
)
