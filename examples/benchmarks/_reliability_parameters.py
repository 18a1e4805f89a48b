"""Values that a fuzzed parameter may take, after the documented ranges, and values outside of them.

A name with two underscores is a setting of a parameter, as in a grid: what is drawn of a parameter becomes one value. A
combination of two good values may be refused, with an error that names one of them; a bad value may go unnoticed where
the parameter is not read (``image_shape`` apart from images, say). Networks and images have their own tests.
"""

import numpy as np

import sklearn_analytic as sa

_NUMBER = (-1.0, float("nan"), float("inf"), "much", None)
_COUNT = (0, -3, 2.5, "many", True)
_FLAG = ("yes", 2, None)
_WORD = ("no such word", 3, None)
_ACTIVATIONS = ("relu", "leaky_relu", "tanh", "identity", "logistic")  # of networks trained by steps
_UNITS = ("identity", "relu", "tanh", "bump", "gaussian", "cos", "triangle")  # of closed-form networks
_ENCODINGS = ("auto", "standard", "robust", "quantile", "piecewise_linear")

# {parameter: (good values, bad values)}: shared by estimators that know a parameter of this name
COMMON = {
    "activation": (_ACTIVATIONS, ("no such word", 3)),
    "alpha": ((0.0, 1e-12, 0.1, 1, np.float32(2.5), 1e6), (-1.0, float("nan"), "much", (), (0.1, -1.0))),
    "block_size": ((None, 1, 3, 1000), (0, -3, 2.5, "many")),
    "fit_intercept": ((True, False, np.True_), _FLAG),
    "random_state": ((0, 1, 2**32 - 1), (-1, "seed")),
    "device": (("cpu",), ("no such device", 3)),
}
LINEAR = {
    "activation": (_UNITS, _WORD),
    "hidden_layer_sizes": (((), (3,), 4, (5, 2), (40,)), ((0,), -2, "many", (2.5,), None)),
    "hidden": (("random", "rbf", "sampled"), _WORD),
    "solver": (("auto", "gram", "qr", "recursive"), _WORD),
    "alpha": ((0.0, 1e-12, 0.1, 10, "gcv", (0.1, 1.0, 10.0)), (-1.0, float("nan"), "much", (), None)),
    "rcond": ((None, 0.0, 1e-10, 0.5), (-0.1, 1.0, "small")),
}
PROJECTED = {
    "hidden_layer_sizes": (("auto", (2,), 4, (3, 4, 5)), ((), (0,), "many", (1, 2, 3, 4), None)),
    "n_modules": ((1, 2, 3), _COUNT),
    "encoding": (("subclass", "class", "mask", "forward"), _WORD),
    "projection": (("correlation", "whitened", "random"), _WORD),
    "activation": (("auto", "radial", *_UNITS), _WORD),
    "skip": ((True, False), _FLAG),
    "exit": (("loo", "last", "mean"), _WORD),
    "alpha": ((0.0, 0.1, 10, "loo", "gcv"), (-1.0, float("nan"), "much", (0.1, 1.0))),
}
CLOSED = {
    "hidden_layer_sizes": ((3, (4,), (5, 2), (12, 12)), ((0,), -2, "many", (2.5,), None)),
    "hidden": (("auto", "random", "sampled", "laplace", "lpq", "leaf", "residual", "forward", "inverse"), _WORD),
    "activation": (_UNITS, _WORD),
    "input_encoding": ((*_ENCODINGS, None), ("no such word", 3)),
    "n_refits": ((0, 1, 3), (-1, 99, 1.5, True)),
    "alpha": ((0.1, 10, "loo", "gcv", (0.1, 1.0)), (-1.0, float("nan"), "much", (), (0.0, 1.0))),
    "precision": (("auto", "float32", "float64"), _WORD),
}
SOLVERS = (
    *(sa.SGD(momentum=0.0), sa.SGD(momentum=0.5, nesterovs_momentum=False), sa.SGD(warmup_fraction=0.3)),
    *(sa.Adam(beta_1=0.0), sa.Adam(beta_1=0.5, power_t=0.0), sa.AdamW(warmup_fraction=0.3)),
)
BAD_SOLVERS = [
    kind(**{name: value})
    for kind, name in ((sa.SGD, "momentum"), (sa.Adam, "beta_1"), (sa.AdamW, "warmup_fraction"))
    for value in (1.0, *_NUMBER)
]
STEPS = {
    "hidden_layer_sizes": (((), (3,), 4, (5, 2), (4, 4, 4)), ((0,), -2, "many", (2.5,), None)),
    "solver": (("sgd", "adam", "adamw", *SOLVERS), (*_WORD, *BAD_SOLVERS)),
    "learning_rate_init": ((1e-5, 1e-2, 0.5, 10.0), (0.0, *_NUMBER)),
    "learning_rate": (("constant", "cosine", "invscaling", "adaptive", "step"), _WORD),
    "alpha": ((0.0, 1e-3, 1.0), _NUMBER),
    "batch_size": (("auto", 1, 7, 1000), _COUNT),
    "max_iter": ((1, 3), (0, -3, 2.5, "many")),
    "early_stopping": ((True, False), _FLAG),
    "validation_fraction": ((0.1, 0.5), (0.0, 1.0, *_NUMBER)),
    "n_iter_no_change": ((1, 5), _COUNT),
    "input_encoding": ((*_ENCODINGS, None), ("no such word", 3)),
    "warm_start": ((True, False), _FLAG),
    "shuffle": ((True, False), _FLAG),
    "device__precision": (("float32", "float64"), _WORD),
}
FEEDBACK = {
    "scheme": (("auto", "dfa", "hybrid", "modular", "backprop"), _WORD),
    "feedback": (("random", "binary", "sparse", "product", "refresh", "dkp", "learned"), _WORD),
    "feedback__density": ((0.01, 1.0), (0.0, 2.0, *_NUMBER)),
    "feedback__scale": ((0.1, 10.0), (0.0, *_NUMBER)),
    "feedback__refresh_interval": ((1, 3), _COUNT),
    "feedback__module_size": ((1, 2), _COUNT),
    "feedback__tol_error": (("auto", 0.0, 0.1), (-1.0, float("nan"))),
    "feedback__alignment": ((True, False), _FLAG),
    "activation__bits": ((None, 4, 8), (3, "few")),
    "preconditioner": ((None, "kfac", sa.KFAC(damping=1.0)), ("no such word", 3, sa.KFAC(damping=0.0))),
}
LAYERS = {
    "order": (("sequential", "simultaneous", "laps"), _WORD),
    "partitions": ((None, 1, 2), (0, -3, 2.5, 99)),
    "partitions__n_laps": ((1, 2), _COUNT),
    "partitions__local_loss": (("pred", "sim", "predsim"), _WORD),
    "partitions__head_depth": ((0, 1), (-1, 4, 1.5)),
    "partitions__subsample": ((0.3, 1.0), (0.0, 2.0, *_NUMBER)),
    "partitions__refit_head": ((True, False), _FLAG),
    "partitions__interlayer": ((None, "window", "overparametrise", "lookahead", "transport"), ("no such word", 3)),
}
MODULES = {
    "schedule": (("auto", "backprop", "ddg", "fdg", "adl", "dtrp"), _WORD),
    "n_modules": ((1, 2), (0, -3, 2.5, 99)),
    "pipeline__shrink": ((0.5, 1.0), (0.0, 2.0, *_NUMBER)),
    "pipeline__accumulation_steps": ((1, 3), _COUNT),
    "pipeline__accumulation": (("sum", "mean"), _WORD),
    "pipeline__weight_version": (("stash", "current"), _WORD),
    "pipeline__drain": ((True, False), _FLAG),
    "pipeline__executor": (("auto", "sequential", "threads"), _WORD),
    "network__normalization": ((None, "batch", "layer"), ("no such word", 3)),
}
PRIVATE = {
    "hidden_layer_sizes": (((), (3,), 4), ((0,), -2, "many")),
    "epsilon": ((0.5, 8.0, float("inf")), (0.0, -1.0, "much")),
    "delta": ((1e-5, 0.1), (0.0, 1.0, -1.0)),
    "mechanism": (("gaussian",), _WORD),
    "accountant": (("rdp",), _WORD),
    "max_grad_norm": ((0.1, 10.0), (0.0, *_NUMBER)),
    "solver": (("sgd", "adam"), _WORD),
    "learning_rate_init": ((1e-3, 0.5), (0.0, *_NUMBER)),
    "batch_size": (("auto", 2, 7), (0, -3, 2.5)),
    "max_iter": ((1, 2), (0, -3, 2.5)),
}
_CLASSES = {"class_weight": ((None, "balanced", {0: 2.0}), ("no such word", 3, {0: -1.0}))}
_OUTPUT = _CLASSES | {"output": (("softmax", "logistic", "expgb"), _WORD)}
_SMALL = {"hidden_layer_sizes": (6,), "max_iter": 2, "random_state": 0}
_STACK = {"hidden_layer_sizes": (6, 5), "max_iter": 2, "random_state": 0}
_BOX = {"bounds": (-1e3, 1e3), "accountant": "rdp", "epsilon": 8.0}

# {parameter: the class of its values}
VALUES = {
    "activation": sa.ApproximateActivation,
    "device": sa.Device,
    "feedback": sa.Feedback,
    "network": sa.DenseNetwork,
    "partitions": sa.Partitions,
    "pipeline": sa.PipelineRule,
}

# {name: (class, small settings, ranges)}
ESTIMATORS = {
    "BRMPRegressor": (sa.BRMPRegressor, {"random_state": 0}, COMMON | LINEAR),
    "BRMPClassifier": (sa.BRMPClassifier, {"random_state": 0}, COMMON | LINEAR | _CLASSES),
    "CPNetClassifier": (
        sa.CPNetClassifier,
        {"hidden_layer_sizes": (4,), "random_state": 0},
        COMMON | PROJECTED | _CLASSES,
    ),
    "ClosedFormMLP": (sa.ClosedFormMLP, {"hidden_layer_sizes": (8,), "random_state": 0}, COMMON | CLOSED | _CLASSES),
    "ClosedFormMLPRegressor": (
        sa.ClosedFormMLPRegressor,
        {"hidden_layer_sizes": (8,), "random_state": 0},
        COMMON | CLOSED,
    ),
    "DFAClassifier": (sa.DFAClassifier, _SMALL, COMMON | STEPS | FEEDBACK | _OUTPUT),
    "DFARegressor": (sa.DFARegressor, _SMALL, COMMON | STEPS | FEEDBACK),
    "LayerwiseMLP": (sa.LayerwiseMLP, _STACK, COMMON | STEPS | LAYERS | _OUTPUT),
    "LayerwiseMLPRegressor": (sa.LayerwiseMLPRegressor, _STACK, COMMON | STEPS | LAYERS),
    "DecoupledMLPClassifier": (sa.DecoupledMLPClassifier, _STACK, COMMON | STEPS | MODULES | _OUTPUT),
    "DecoupledMLPRegressor": (sa.DecoupledMLPRegressor, _STACK, COMMON | STEPS | MODULES),
    "PrivateDFAClassifier": (sa.PrivateDFAClassifier, _SMALL | _BOX, PRIVATE),
}


def estimator_from(name, generator):
    """An estimator with up to four parameters drawn, and the names of those with a bad value."""
    kind, settings, ranges = ESTIMATORS[name]
    has = kind().get_params()
    known = [parameter for parameter in ranges if parameter.partition("__")[0] in has]
    chosen = generator.choice(known, size=min(int(generator.integers(5)), len(known)), replace=False)
    bad = {str(parameter) for parameter in chosen if generator.random() < 0.1}
    drawn = {str(p): _one_of(ranges[p][p in bad], generator) for p in chosen}
    return kind(**(settings | _joined(drawn))), bad


def _joined(drawn):
    """What is drawn, with the settings of a parameter as one value, around a word that is drawn beside them."""
    found = {name: value for name, value in drawn.items() if "__" not in name}
    for parameter in dict.fromkeys(name.partition("__")[0] for name in drawn if "__" in name):
        own = {name.partition("__")[2]: drawn[name] for name in drawn if name.startswith(f"{parameter}__")}
        word = (found[parameter],) if parameter in found else ()
        found[parameter] = VALUES[parameter](*word, **own)
    return found


def _one_of(values, generator):
    """A value as it is: ``choice`` would make an array of it."""
    return values[int(generator.integers(len(values)))]
