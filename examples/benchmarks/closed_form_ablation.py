"""Every construction and every choice of ClosedFormMLP on every set: what each of them is worth.

A run of ``accuracy.py`` whose contenders are the variants of one estimator; options, protocol and
JSON are the same, but for fewer rows and two seeds unless said otherwise::

    python examples/benchmarks/closed_form_ablation.py --suite tabular --data DIR --json tabular.json
    python examples/benchmarks/closed_form_ablation.py --suite regression --data DIR --json regression.json
    python examples/benchmarks/closed_form_ablation.py --quick

Named constructions have 1000 units in one layer, standardised as the estimator does by itself.
"""

import sys

import accuracy
from _accuracy_contenders import CONTENDERS, ours

UNITS = 1000
CONSTRUCTIONS = (
    "random",
    "sampled",
    "laplace",
    "lpq",
    "leaf",
    "residual",
    "forward",
    "inverse",
    "hyperplane",
    "gated",
)
CHOICES = {
    "auto": {},
    "auto, standard": {"input_encoding": "standard"},
    "auto, robust": {"input_encoding": "robust"},
    "auto, quantile": {"input_encoding": "quantile"},
    "auto, piecewise_linear": {"input_encoding": "piecewise_linear"},
    "auto, 0 refits": {"n_refits": 0},
    "auto, 1 refit": {"n_refits": 1},
}
DEFAULTS = {"--max-train-rows": ["3000"], "--seeds": ["0", "1"]}
QUICK = ("auto", "random", "leaf")
ESTIMATORS = {"classification": "ClosedFormMLP", "regression": "ClosedFormMLPRegressor"}


def main():
    for kind, estimator in ESTIMATORS.items():
        CONTENDERS[kind].clear()
        CONTENDERS[kind].update(variants(estimator))
    sys.argv += [part for option, values in DEFAULTS.items() if option not in sys.argv for part in (option, *values)]
    if "--quick" in sys.argv and "--contenders" not in sys.argv:
        sys.argv += ["--contenders", *QUICK]
    accuracy.main()


def variants(estimator):
    """{name: (builder, False)}: the estimator encodes its own input."""
    named = {name: {"hidden": name, "hidden_layer_sizes": UNITS} for name in CONSTRUCTIONS}
    return {name: (ours(estimator, **parameters), False) for name, parameters in (CHOICES | named).items()}


if __name__ == "__main__":
    main()
