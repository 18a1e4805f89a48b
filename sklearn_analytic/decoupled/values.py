"""How the modules of a decoupled network work together, as a value."""

from typing import ClassVar

import numpy as np

from sklearn_analytic.decoupled.pipeline import ORDERS, RATE_RULES, published_schedule
from sklearn_analytic.decoupled.predictors import PREDICTORS
from sklearn_analytic.estimator.checks import SHARE, check_flag, check_positive_integer, one_of, or_word, real
from sklearn_analytic.estimator.value import Value, standing_for, store

EXECUTORS = ("auto", "sequential", "threads", "cuda")
_PREDICTORS = {"adam": "adam", "adamw": "adam", "sgd": "velocity"}


def _check_layers(name, value):
    """Refuse modules that are no numbers of layers."""
    found = value if isinstance(value, list | tuple | np.ndarray) else ()
    numbers = [isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in found]
    if value is not None and (not numbers or not all(numbers)):
        raise ValueError(
            f"{name} must be a sequence of positive integers, layers of every module, or None, got {value!r}."
        )


class PipelineRule(Value):
    """How modules are cut, how gradients wait for each other, and who computes.

    Parameters
    ----------
    module_layers : sequence of int or None, default=None
        Layers of every module, bottom to top, in place of ``n_modules``; None balances the modules' costs.
    balance : {"counted", "measured"}, default="counted"
        Costs of layers: operations, which are the same on every machine, or seconds measured before training, whose cut
        (``modules_``) may differ from run to run.
    operation_order : {"auto", "backward_first", "forward_first"}, default="auto"
        What a module with a delay does first in a step; "auto" is "forward_first" for "ddg" and else
        "backward_first", which saves one update of staleness. Backward first, "ddg" leaves no work to overlap.
    shrink : float in (0, 1], default=1.0
        Factor beta of the error at every border between modules; it is applied to the learning rate under Adam, which
        no factor on a gradient changes.
    accumulation_steps : int, default=1
        Backward passes M per update: gradients are then at most ceil(delay / M) updates old.
    accumulation : {"sum", "mean"}, default="sum"
        Of the M gradients; the sum is as published. The penalty ``alpha`` counts once per update in either case.
    weight_version : {"stash", "current"}, default="stash"
        Weights of the backward pass: a copy of those that the batch's forward pass saw (the published formula), or
        those of now with the old activations (what the authors' code did).
    recompute : bool or "auto", default="auto"
        Whether a module with a delay keeps the inputs of batches on their way and runs forward again before it sends
        one back, at its weights of then; "auto" is True for "dtrp".
    predictor : {"auto", "velocity", "difference", "adam"} or None, default="auto"
        Weights that forward passes read: those expected when the batch comes back, by the optimiser's momentum, by the
        mean of past updates, or by Adam's step. "auto" is "velocity" with "sgd" and else "adam" for the schedules that
        predict ("dtrp", and "auto" above two modules), and None for all others.
    regulator : float in [0, 1], default=1.0
        Share of that horizon.
    batch_compensation : {"batch", "split"} or None, default=None
        What makes up for the second forward pass (reconstruction): batches a third larger, or fewer layers in the
        modules that run twice.
    module_rates : {"equal", "root", "inverse", "stability"}, default="equal"
        Factor of a module's learning rate whose gradients are s updates old in the mean: 1, 1 / sqrt(1 + s),
        1 / (1 + s), or the share of the stable rates that is left, sin(pi / (2 (2 s + 1))).
    drain : bool, default=True
        Whether the pipeline is emptied at the end of every epoch; as published it is not, and the last gradients of a
        fit are dropped. Blocks of a stream are always drained.
    executor : {"auto", "sequential", "threads", "cuda"}, default="auto"
        One thread in turns, a thread for each module, or one with a stream or a GPU of its own. Turns and threads give
        the same bits; "auto" takes threads where BLAS may use several and modules have work enough for them (all of
        torch do).

    Examples
    --------
    >>> from sklearn_analytic import DecoupledMLPClassifier, PipelineRule
    >>> DecoupledMLPClassifier(n_modules=3, pipeline=PipelineRule(shrink=0.7)).pipeline
    PipelineRule(shrink=0.7)
    """

    parameter = "pipeline"
    checks: ClassVar = {
        "module_layers": _check_layers,
        "balance": one_of(("counted", "measured")),
        "operation_order": one_of(ORDERS),
        "shrink": SHARE,
        "accumulation_steps": check_positive_integer,
        "accumulation": one_of(("sum", "mean")),
        "weight_version": one_of(("stash", "current")),
        "recompute": or_word(check_flag, "auto"),
        "predictor": one_of(("auto", None), PREDICTORS),
        "regulator": real(0, 1, "at least 0 and at most 1"),
        "batch_compensation": one_of((None, "batch", "split")),
        "module_rates": one_of(RATE_RULES),
        "drain": check_flag,
        "executor": one_of(EXECUTORS),
    }
    earlier: ClassVar = {name: name for name in checks}

    def __init__(
        self,
        *,
        module_layers=None,
        balance="counted",
        operation_order="auto",
        shrink=1.0,
        accumulation_steps=1,
        accumulation="sum",
        weight_version="stash",
        recompute="auto",
        predictor="auto",
        regulator=1.0,
        batch_compensation=None,
        module_rates="equal",
        drain=True,
        executor="auto",
    ):
        store(self, locals())

    @classmethod
    def of(cls, given):
        """Return ``pipeline`` as a value; None is that of the defaults."""
        if given is None:
            return standing_for(cls)
        if isinstance(given, cls):
            return given
        raise ValueError(f"pipeline must be PipelineRule(...) or None, got {given!r}.")

    @property
    def layers(self):
        """Layers of every module, or None."""
        return None if self.module_layers is None else tuple(int(n) for n in self.module_layers)

    def schedule(self, name, solver, n_modules):
        """Return the schedule of that name under these settings; "auto" is the best that we measured."""
        schedule = "ddg" if name == "auto" else name  # for two modules, "fdg" is the same program
        predicts = schedule == "dtrp" or (name == "auto" and n_modules > 2)
        predictor = self.predictor
        if predictor == "auto":
            predictor = _PREDICTORS[solver] if predicts else None
        return published_schedule(
            schedule,
            self.operation_order,
            self.recompute,
            shrink=float(self.shrink),
            accumulation=self.accumulation_steps,
            average=self.accumulation == "mean",
            stash=self.weight_version == "stash",
            predictor=predictor,
            regulator=float(self.regulator),
            rate_rule=self.module_rates,
            drain=bool(self.drain),
        )
