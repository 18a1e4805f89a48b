"""CPNet as a value: what its parameters say of building and solving modules, each with an exit."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sklearn_analytic.backend import ACTIVATION_NAMES, get_backend
from sklearn_analytic.cpnet.network import build_network
from sklearn_analytic.estimator.audited import AuditedMethod
from sklearn_analytic.estimator.checks import (
    check_categorical,
    check_flag,
    check_positive_integer,
    check_verbose,
    hidden_sizes,
    one_of,
    positive_integer_or,
    ridge,
)
from sklearn_analytic.features import CODES
from sklearn_analytic.linalg import ridge_exits, spectral_exit
from sklearn_analytic.linalg._rows import embedded

PROJECTIONS = ("correlation", "whitened", "random")
EXITS = ("last", "loo", "mean")
ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # per feature of unit variance, summed over rows
_FEW_UNITS, _MANY_UNITS, _ROWS_PER_UNIT = 800, 3300, (2, 12)


@dataclass(frozen=True, eq=False)
class CPNetMethod(AuditedMethod):
    """Modules of a projection, and ridge exits of which one predicts, or their mean."""

    hidden_layer_sizes: Any
    n_modules: int
    encoding: str
    projection: str
    activation: str
    skip: bool
    exit: str
    alpha: Any
    class_weight: Any
    categorical_features: Any
    block_size: Any
    random_state: Any
    device: str
    verbose: Any
    class_statistics: bool = False

    reads_targets = False

    checks: ClassVar = {
        "hidden_layer_sizes": lambda name, value: hidden_sizes(value, auto=True),
        "encoding": one_of(CODES),
        "projection": one_of(PROJECTIONS),
        "activation": one_of(("auto", "radial"), ACTIVATION_NAMES),
        "exit": one_of(EXITS),
        "skip": check_flag,
        "n_modules": check_positive_integer,
        "block_size": positive_integer_or(None),
        "alpha": ridge("loo", "gcv", grid=False),
        "verbose": check_verbose,
        "categorical_features": check_categorical,
        "class_statistics": check_flag,
    }

    def check(self):
        """Refuse wrong parameters before any row is read."""
        super().check()
        if self.unit == "radial" and (self.encoding, self.projection) != ("subclass", "correlation"):
            raise ValueError(
                "activation='radial' needs encoding='subclass' and projection='correlation', got "
                f"{self.encoding!r} and {self.projection!r}. Use activation='auto'."
            )
        widths = hidden_sizes(self.hidden_layer_sizes, auto=True)
        if not isinstance(self.hidden_layer_sizes, str) and len(widths) not in (1, self.n_modules):
            raise ValueError(
                f"hidden_layer_sizes must be one width or one per module, got {self.hidden_layer_sizes!r} for "
                f"n_modules={self.n_modules}."
            )

    def built(self, building):
        """Return the network; with an automatic width, few contents that repeat have units of their own."""
        with_cells = building.repeats and isinstance(self.hidden_layer_sizes, str)
        return build_network(self, self._widths(building.total), building, with_cells, get_backend("cpu"))

    @property
    def holds_out(self):
        """Whether audit rows build no layer: where nothing is chosen by them, they do."""
        return self.alpha == "loo" or self.exit == "loo"

    @property
    def reads_rows(self):
        """Whether constructions read rows, beyond the scales of columns: links of a cascade are readouts of them."""
        return self.projection != "random" or not self.skip

    @property
    def all_digits(self):
        """Return whether the solve needs sums in float64: they are decomposed, or not ridged."""
        return self.alpha == "gcv" or (not isinstance(self.alpha, str) and self.alpha == 0)

    @property
    def unit(self):
        """The activation that "auto" stands for."""
        radial = self.encoding == "subclass" and self.projection == "correlation"
        return ("radial" if radial else "tanh") if self.activation == "auto" else self.activation

    def _widths(self, n_rows):
        """Units of every module."""
        if isinstance(self.hidden_layer_sizes, str):
            units = min(n_rows / _ROWS_PER_UNIT[0], max(_FEW_UNITS, min(n_rows / _ROWS_PER_UNIT[1], _MANY_UNITS)))
            return (max(2, int(units // self.n_modules)),) * self.n_modules
        sizes = hidden_sizes(self.hidden_layer_sizes)
        return sizes * self.n_modules if len(sizes) == 1 else sizes

    def readouts(self, learned, audit):
        """Return readouts of all exits: by nested factors where exits nest and the ridge is positive."""
        statistic, columns = learned.statistic, learned.network.exit_columns()
        rows, given = (audit.features, audit.targets, audit.weights), {"left_out": audit.left_out}
        if self.all_digits:
            found = [spectral_exit(statistic, c, rows, self.alpha, **given) for c in columns]
        else:
            searched = self.alpha == "loo"
            alphas = ALPHAS if searched else [float(self.alpha)]
            given["unit"] = learned.judges.contents.unit if searched else None  # a given ridge is what it says
            if self.skip:
                found = ridge_exits(statistic, [len(c) for c in columns], rows, alphas, **given)
            else:
                parts = ((statistic.select(c), [len(c)], (rows[0][:, c], *rows[1:])) for c in columns)
                found = [ridge_exits(*part, alphas, **given)[0] for part in parts]
        n_features = learned.network.n_features
        pairs = zip(found, columns, strict=True)
        return [replace(exit, coef=embedded(exit.coef, c, n_features, 0)) for exit, c in pairs]

    def chosen(self, readouts):
        """Return the exit of least leave-one-out error, the last, or None for the mean of all."""
        least = int(np.argmin([readout.error for readout in readouts]))
        return {"last": len(readouts) - 1, "loo": least, "mean": None}[self.exit]
