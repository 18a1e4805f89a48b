"""Layer-wise training as a value: partitions and how they take turns, batches by memory, heads."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sklearn_analytic.estimator.checks import one_of
from sklearn_analytic.estimator.epoch_method import SKIPPED_OUTPUTS, TOL_ERROR, GradientMethod
from sklearn_analytic.layerwise.partitions import largest_batch
from sklearn_analytic.layerwise.plans import Partitioned, PartitionedSequential
from sklearn_analytic.layerwise.readout import refit_readout
from sklearn_analytic.layerwise.training import LayerTurns, described, judged_rows, train_layers
from sklearn_analytic.layerwise.values import Partitions
from sklearn_analytic.nn import Recipe
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._plans import TorchSequential, check_distributed, dense_form

ORDERS = ("sequential", "simultaneous", "laps")
_RATE, _MOST_TIMES = 1e-3, 4  # learning_rate_init="auto": backpropagation's; so many times that at most for partitions
_LEAST_STEPS = 20  # per epoch, however large the memory budget is


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerwiseTraining(GradientMethod):
    """Layer-wise and partition-wise training of plain, convolutional and given networks."""

    order: str
    partitions: Partitions

    in_processes = True
    kinds = (*GradientMethod.kinds, Partitions)
    checks: ClassVar = GradientMethod.checks | {"order": one_of(ORDERS)}

    # ---- the network ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        rule, n_partitions = self.partitions.rule(self.network.is_given), self.partitions.n_partitions
        last = None if before is None else before.attributes.get("exit_")  # it goes on predicting
        where = {"device": self.device.name, "distributed": self.device.distributed}
        if self.network.torch_for is not None:
            form = TorchSequential(self.builder(n_inputs, n_outputs), **where)
            read = self.output, self.device.precision
            return PartitionedSequential(form, n_partitions, rule, last, n_inputs, read)
        hidden = self.hidden
        needs_torch = self.device.precision == "bfloat16" or bool(self.device.distributed)
        form = dense_form((n_inputs, *hidden, n_outputs), self.activation, **where, needs_torch=needs_torch)
        partitions = balanced_partitions(hidden, n_partitions or len(hidden)) if hidden else [(0, 0)]
        return Partitioned(form, tuple(partitions), rule, last)

    def recipe(self, n_rows):
        """Return the parameters as values."""
        return Recipe(
            scheme="backprop",
            output=self.output,
            optimizer=self.optimizer,
            batch_size=self.batch_size_of(n_rows),
            tol_error=self._skipped_below(),
            precision=self.device.precision,
        )

    def _skipped_below(self):
        """The error below which rows are skipped, which costs nothing where partitions take turns; not in backprop."""
        free = self.order != "simultaneous" and self.output in SKIPPED_OUTPUTS and self._n_partitions() > 1
        return TOL_ERROR if free else 0.0

    def kind(self):
        """Return what the kept weights, heads and optimisers belong to; outputs keep their meaning."""
        names = ("n_partitions", "refit_head", "local_loss", "head_depth", "head_width", "layer_start", "interlayer")
        parts = {self.partitions.name_of(name): getattr(self.partitions, name) for name in names}
        found = {"solver": self.solver.name, "activation": self.activation, "device__precision": self.device.precision}
        hidden = {"hidden_layer_sizes": self.hidden}  # all of them, however few are kept
        return found | parts | hidden | self.kind_of_output

    # ---- training ----

    def train(self, layered, rows, run):
        """Train the partitions in their order; then the readout, where it is to be solved for."""
        sizes = self._batch_sizes(layered.stack, len(rows.x), run.recipe.batch_size)
        if self.order == "simultaneous":
            layered.batch_size = sizes[0]
            together = replace(run, recipe=replace(run.recipe, batch_size=sizes[0]))
            history = super().train(layered, rows, together)
            history = described(history, layered, rows, run.watched, run.judge)
        else:
            history = self._take_turns(layered, rows, run, sizes)
        history.batch_sizes = sizes
        history.where = _place_of(layered, history.failed)
        if self.partitions.refit_head and history.failure is None:
            refit_readout(layered, rows, run.n_outputs)
            history.is_solved = True
            judged = judged_rows(rows, run.watched)  # the score of the head as it was is out of date
            history.layer_scores[layered.last] = run.judge(layered.outputs(judged.x), judged.y, judged.weight)
        return history

    def _take_turns(self, layered, rows, run, sizes):
        """One partition after the other."""
        plans = self._plans(len(rows.x), sizes)
        run.tasks.begin(len(plans) * len(plans[0]))
        turns_left = ((k, plan.n_epochs) for lap in plans for k, plan in enumerate(lap))

        def told(k, epoch, history):
            if epoch == 0:  # a lap that ended early has turns that were not taken
                run.tasks.begin_group(f"partition {k + 1}", next(n for turn, n in turns_left if turn == k))
            return run.after_epoch(history)

        turns = LayerTurns(
            plans,
            self.partitions.cache,
            self.partitions.subsample,
            self.early_stopping,
            self.tol,
            fresh=not run.goes_on,
        )
        told_of = {"judge": run.judge, "watched": run.watched, "after_epoch": told}
        return train_layers(layered, rows, turns, run.generator, **told_of)

    def train_block(self, layered, rows, plan, run):
        """Train on a block of a stream: all partitions side by side."""
        history = super().train_block(layered, rows, plan, run)
        history = described(history, layered, rows, None, run.judge)
        history.batch_sizes = [plan.batch_size] * layered.stack.n_partitions
        history.where = _place_of(layered, history.failed)
        return history

    @property
    def reads_layers(self):
        """Whether a readout of all layers predicts: "auto" is so where no partition sees the error of all layers."""
        if self.network.readout != "auto":
            return super().reads_layers
        return self._n_partitions() > 1 and not self.partitions.refit_head

    def exits(self, attributes, n_layers):
        """Return how many layers each partition ends after; the uppermost readout reads the outputs, too."""
        tops = [stop for _, stop in attributes["partitions_"][: attributes["exit_"]]]
        return [*tops, n_layers]

    def with_readouts(self, readouts):
        """Return the scores of all readouts, too, on rows that layers have not seen."""
        return super().with_readouts(readouts) | {"layer_scores_": np.array(readouts.scores)}

    def link(self, history):
        """Return how outputs are read: a solved readout is linear, whatever it was trained for."""
        return "linear" if history.is_solved else None

    def outcome(self, layered, history):
        """Return diagnostics of the layers."""
        n_trained = len(history.layer_scores)
        return super().outcome(layered, history) | {
            "partitions_": [tuple(map(int, part)) for part in layered.stack.partitions],
            "layer_scores_": np.array(history.layer_scores),
            "effective_ranks_": np.array(history.effective_ranks),
            "layer_n_iter_": np.asarray(history.n_epochs),
            "layer_seconds_": layered.seconds[:n_trained].copy(),
            "layer_bytes_": layered.bytes[:n_trained].copy(),
            "batch_sizes_": history.batch_sizes,
        }

    def _plans(self, n_rows, batch_sizes):
        """Plans of all partitions for every lap, epochs shared out."""
        n_laps = self.partitions.n_laps if self.order == "laps" else 1
        epochs = self._shared_epochs(n_rows, self.batch_size_of(n_rows), len(batch_sizes), n_laps)
        laps = []
        for lap in range(n_laps):
            plans = []
            for k, size in enumerate(batch_sizes):
                plan = self.plan(n_rows, replace(self.recipe(n_rows), batch_size=size))
                plans.append(replace(plan, n_epochs=int(epochs[lap, k])))
            laps.append(plans)
        return laps

    def plan(self, n_rows, recipe):
        """Return a plan of as many epochs as with the usual batch; the rate follows the root of a larger one."""
        usual = self.batch_size_of(n_rows)
        plan = super().plan(n_rows, replace(recipe, batch_size=usual))
        return replace(plan, batch_size=recipe.batch_size, rate=plan.rate * math.sqrt(recipe.batch_size / usual))

    def _shared_epochs(self, n_rows, batch_size, n_partitions, n_laps):
        """Epochs (n_laps, n_partitions): those of backpropagation, shared out."""
        total = self.n_epochs_of(n_rows, batch_size)
        borders = np.arange(n_laps * n_partitions + 1) * total // (n_laps * n_partitions)
        return np.maximum(np.diff(borders), 1).reshape(n_laps, n_partitions)

    @property
    def rate(self):
        """The learning rate: "auto" takes larger steps where partitions share the epochs."""
        if not self._has_automatic_rate:
            return self.learning_rate_init
        return _RATE if self.order == "simultaneous" else _RATE * min(self._n_partitions(), _MOST_TIMES)

    @property
    def stream_rate(self):
        """That of partitions side by side."""
        return _RATE if self._has_automatic_rate else self.learning_rate_init

    @property
    def _has_automatic_rate(self):
        """Whether the partitions settle the learning rate."""
        return isinstance(self.learning_rate_init, str) and self.learning_rate_init == "auto"

    def _n_partitions(self):
        """Partitions of the network."""
        if self.partitions.n_partitions is not None:
            return self.partitions.n_partitions
        return max(self.network.n_layers(self.hidden), 1)

    def _batch_sizes(self, stack, n_rows, usual):
        """Rows per batch of every partition: the usual, or what ``memory_budget`` has room for."""
        n = stack.n_partitions
        if self.partitions.memory_budget is None:
            return [usual] * n
        most = max(usual, n_rows // _LEAST_STEPS)
        if self.order == "simultaneous":
            return [self._fitting_batch(lambda m: sum(stack.bytes_of(k, m) for k in range(n)), most, "all layers")] * n
        return [
            self._fitting_batch(lambda m, k=k: stack.bytes_of(k, m), most, _name_of(stack.partitions[k]))
            for k in range(n)
        ]

    def _fitting_batch(self, bytes_of, most, name):
        """The largest batch within the budget; an error that says how much is needed where there is none."""
        found = largest_batch(bytes_of, self.partitions.memory_budget, most)
        if found == 0:
            raise ValueError(
                f"partitions__memory_budget={self.partitions.memory_budget} bytes is too small for {name}: gradients, "
                f"optimiser state and activations need {bytes_of(1)} bytes with one row per batch. Raise it, choose "
                "narrower layers or more partitions, or solver='sgd', which keeps one moment and not two."
            )
        return found

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        self._check_partitions()
        self._check_readout()
        self._check_micro_batch()
        check_distributed(self.device.distributed, self.random_state)

    def _check_readout(self):
        """Refuse two readouts."""
        if self.partitions.refit_head and self.network.readout == "all_layers":
            raise ValueError(
                "partitions__refit_head=True solves for the last layer, network__readout='all_layers' for all of them: "
                "give one of the two."
            )

    def _check_micro_batch(self):
        """Refuse to split batches whose rows are seen together; "auto" does not."""
        given = self.partitions.micro_batch
        reasons = {
            f"local_loss={self.partitions.local_loss!r}": self.partitions.rule(self.network.is_given).compares,
            "device__distributed": bool(self.device.distributed),
            'order="simultaneous"': self.order == "simultaneous",
        }
        for name in (name for name, sees in reasons.items() if sees and given not in (None, "auto")):
            raise ValueError(
                f"partitions__micro_batch={given} splits batches, but {name} sees the rows of a batch together: give "
                "None or 'auto'."
            )

    def _check_partitions(self):
        """Refuse more partitions than hidden layers; torch's stack counts the layers of other networks."""
        n_partitions, n_hidden = self.partitions.n_partitions, len(self.hidden)
        if self.network.is_plain and n_partitions is not None and n_partitions > max(n_hidden, 1):
            raise ValueError(
                f"partitions={n_partitions} is more than the {n_hidden} hidden layers of hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r}: give at most {max(n_hidden, 1)}, or None for one each."
            )


def _place_of(layered, k):
    """Words for the partition that failed."""
    return "" if k is None else f" of {_name_of(layered.stack.partitions[k])}"


def _name_of(part):
    """Words for a partition, counted from 1."""
    first, stop = part
    return f"layer {first + 1}" if stop - first < 2 else f"layers {first + 1} to {stop}"
