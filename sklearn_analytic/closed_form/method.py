"""ClosedFormMLP as a value: what its parameters say of building, summing and solving one network."""

import numbers
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sklearn_analytic.backend import ACTIVATION_NAMES, backend_for, dtype_name, get_backend
from sklearn_analytic.closed_form.network import build_network
from sklearn_analytic.closed_form.readout import PlacedScores, best_readout, solve_readouts
from sklearn_analytic.estimator.audited import AuditedMethod
from sklearn_analytic.estimator.checks import (
    check_categorical,
    check_flag,
    check_verbose,
    hidden_sizes,
    one_of,
    positive_integer_or,
    ridge,
)
from sklearn_analytic.features import CONSTRUCTIONS, ENCODINGS, IMAGE_CONSTRUCTIONS

_DTYPES = dict.fromkeys(("float32", "tf32", "bfloat16"), np.float32) | {"auto": None, "float64": np.float64}
_PRODUCTS = {"tf32": "tf32", "bfloat16": "bfloat16"}  # float32 products that are not plain
_MOST_FLOAT32 = float(np.finfo(np.float32).max)
_MOST_REFITS = 5


def _check_refits(name, value):
    """Refuse more refits than pay."""
    if isinstance(value, bool) or value not in range(_MOST_REFITS + 1):
        raise ValueError(f"{name} must be an integer from 0 to {_MOST_REFITS}, got {value!r}.")


@dataclass(frozen=True, eq=False)
class ClosedFormMethod(AuditedMethod):
    """One network, frozen once built, with trees beside it, and a blend of ridge solutions."""

    hidden_layer_sizes: Any
    hidden: str
    activation: str
    input_encoding: str
    n_refits: int
    alpha: Any
    image_shape: Any
    block_size: Any
    random_state: Any
    device: str
    precision: str
    verbose: Any
    class_weight: Any = None
    categorical_features: Any = "from_dtype"
    class_statistics: bool = False

    build_rows = 200_000  # trees learn from more rows than layers do
    grows_trees = True

    checks: ClassVar = {
        "hidden_layer_sizes": lambda name, value: hidden_sizes(value, auto=True),
        "hidden": one_of(("auto",), CONSTRUCTIONS, IMAGE_CONSTRUCTIONS),
        "activation": one_of(ACTIVATION_NAMES),
        "input_encoding": one_of(ENCODINGS),
        "n_refits": _check_refits,
        "alpha": ridge("loo", "gcv"),
        "block_size": positive_integer_or(None),
        "precision": one_of(_DTYPES),
        "verbose": check_verbose,
        "categorical_features": check_categorical,
        "class_statistics": check_flag,
    }

    def check(self):
        """Refuse wrong parameters before any row is read."""
        super().check()
        _check_image_shape(self.image_shape, self.hidden)
        if np.ndim(self.alpha) > 0 and not np.all(np.asarray(self.alpha) > 0):
            raise ValueError(f"A grid of alpha must be positive, got {self.alpha!r}.")

    def built(self, building):
        """Return the network; bfloat16 spends its digits on deviations of the features."""
        host = get_backend("cpu")
        network = build_network(self, building, host)
        if self.precision != "bfloat16":
            return network
        return network.centred(self.cast(building.judges.x, host), building.judges.weights, host)

    def readouts(self, learned, audit):
        """Return a blended readout for every layer."""
        network, targets, unit = learned.network, learned.targets, learned.judges.contents.unit
        trees = None
        if network.n_scores > 0:
            trees = PlacedScores(targets.placed(network.labels), network.leaf_scores.averaged_out)
        numbers = network.labels is None
        return solve_readouts(learned.statistic, network.exit_sizes(), audit, self.alpha, trees, unit, numbers)

    def chosen(self, readouts):
        """Return the first readout that no later one beats by a worthwhile gain."""
        return best_readout(readouts)

    def told(self, learned, readout, audit):
        """Return the blend, its score, and what was tried."""
        score = learned.targets.score(readout.loo, audit.targets, audit.weights)
        return {"blend_": readout.shares, "loo_score_": score, "candidates_": list(learned.network.candidates)}

    @property
    def all_digits(self):
        """Return whether the solve needs sums in float64: they are decomposed, or not ridged."""
        return self.alpha == "gcv" if isinstance(self.alpha, str) else not np.all(np.asarray(self.alpha) > 0)

    @property
    def reads_rows(self):
        """Whether constructions read rows, beyond the scales of columns."""
        return self.hidden != "random"

    @property
    def reads_tables(self):
        """Whether columns of X may become several: not where they are pixels."""
        return self.image_shape is None

    @property
    def widths(self):
        """Units of every layer, or None where the rows decide."""
        return None if isinstance(self.hidden_layer_sizes, str) else hidden_sizes(self.hidden_layer_sizes)

    def backend_of(self, X):
        """Return what computes on rows, multiplying as ``precision`` says."""
        return backend_for(X, self.device, _PRODUCTS.get(self.precision, "float32"))

    def host_backend(self):
        """Return NumPy, or torch where features are bfloat16."""
        return get_backend("torch:cpu", "bfloat16") if self.precision == "bfloat16" else get_backend("cpu")

    def cast(self, x, backend):
        """Return rows in the dtype of the features; values beyond float32 are an error, not infinity."""
        dtype = _DTYPES[self.precision]
        if dtype == np.float32 and dtype_name(x) == "float64" and float(abs(x).max()) > _MOST_FLOAT32:
            raise ValueError("X has values beyond the range of float32: use precision='float64', or rescale them.")
        return backend.asarray(x, dtype)

    def exported(self, network):
        """Return the dtype of the features, and how they go on beyond the range of the rows."""
        if self.precision == "bfloat16":
            raise ValueError("precision='bfloat16' has no export: others would compute other features. Use 'float32'.")
        return {"dtype": _DTYPES[self.precision], "continuation": network.continuation}


def _check_image_shape(shape, hidden):
    """Refuse a shape that is none, one that is missing, and one that would not be read."""
    if shape is None:
        if hidden in IMAGE_CONSTRUCTIONS:
            raise ValueError(f"hidden={hidden!r} needs image_shape=(H, W) or (C, H, W).")
        return
    sides = shape if isinstance(shape, tuple | list) else ()
    valid = len(sides) in (2, 3) and all(isinstance(s, numbers.Integral) and s > 0 for s in sides)
    if not valid:
        raise ValueError(f"image_shape must be (H, W) or (C, H, W), channels first, got {shape!r}.")
    if hidden not in ("auto", *IMAGE_CONSTRUCTIONS):
        raise ValueError(
            f"hidden={hidden!r} does not read image_shape: use 'auto', 'patch' or 'masked', or leave it out."
        )
