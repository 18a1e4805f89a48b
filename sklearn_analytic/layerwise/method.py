"""What the estimators of layer-wise training share: partitions and how they take turns, batches by memory, heads."""

import math
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.architecture import ArchitectureMixin, conv_blocks
from sklearn_analytic.estimator.base import (
    check_choice,
    check_flag,
    check_positive_integer,
    check_real,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic.estimator.epochs import SKIPPED_OUTPUTS, TOL_ERROR, GradientEstimator, check_device
from sklearn_analytic.estimator.written_weights import refuse_misfits
from sklearn_analytic.io._checks import host
from sklearn_analytic.layerwise.feature_cache import CACHES
from sklearn_analytic.layerwise.partitions import INTERLAYER, LOCAL_LOSSES, STARTS, LocalRule, largest_batch
from sklearn_analytic.layerwise.plans import DenseLayers, ModuleLayers, TorchDenseLayers
from sklearn_analytic.layerwise.readout import refit_readout
from sklearn_analytic.layerwise.training import LayerTurns, described, judged_rows, train_layers
from sklearn_analytic.nn import ACTIVATIONS, Recipe, torch_parts
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._plans import check_distributed

ORDERS = ("sequential", "simultaneous", "laps")
_RATE, _MOST_TIMES = 1e-3, 4  # learning_rate_init="auto": backpropagation's; so many times that at most for partitions
_LEAST_STEPS = 20  # per epoch, however large the memory budget is


class LayerwiseBase(ArchitectureMixin, GradientEstimator):
    """Layer-wise and partition-wise training of plain, convolutional and given networks."""

    _output = "identity"

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        order="sequential",
        n_laps=3,
        n_partitions=None,
        local_loss="pred",
        head_depth=0,
        head_width=None,
        layer_start="identity",
        interlayer="window",
        memory_budget=None,
        cache="memory",
        subsample=1.0,
        refit_head=False,
        activation="relu",
        solver="adam",
        learning_rate_init="auto",
        learning_rate="cosine",
        warmup_fraction=0.0,
        momentum=0.9,
        nesterovs_momentum=True,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        alpha=0.0,
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        image_shape=None,
        conv_layer_sizes=(32, 64),
        batch_norm=False,
        network=None,
        input_encoding="auto",
        warm_start=False,
        distributed=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.order = order
        self.n_laps = n_laps
        self.n_partitions = n_partitions
        self.local_loss = local_loss
        self.head_depth = head_depth
        self.head_width = head_width
        self.layer_start = layer_start
        self.interlayer = interlayer
        self.memory_budget = memory_budget
        self.cache = cache
        self.subsample = subsample
        self.refit_head = refit_head
        self.activation = activation
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.warmup_fraction = warmup_fraction
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.image_shape = image_shape
        self.conv_layer_sizes = conv_layer_sizes
        self.batch_norm = batch_norm
        self.network = network
        self.input_encoding = input_encoding
        self.warm_start = warm_start
        self.distributed = distributed
        self.random_state = random_state
        self.device = device
        self.precision = precision

    # ---- the network ----

    def _network(self, n_inputs):
        """The plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        start = self.layer_start if self.network is None else "random"  # a given network has weights of its own
        rule = LocalRule(self.local_loss, self.head_depth, self.head_width, start, self.interlayer)
        where = {"device": self.device, "distributed": self.distributed}
        if not self._is_plain():
            read = {"output": self._output, "precision": self.precision}
            return ModuleLayers(self._builder(n_inputs), n_inputs, self.n_partitions, rule, **read, **where)
        hidden = hidden_sizes(self.hidden_layer_sizes)
        sizes = (n_inputs, *hidden, self._n_outputs())
        partitions = tuple(balanced_partitions(hidden, self.n_partitions or len(hidden))) if hidden else ((0, 0),)
        needs_torch = self.device != "cpu" or self.precision == "bfloat16" or self.distributed
        if needs_torch:
            return TorchDenseLayers(sizes, self.activation, partitions, rule, **where)
        return DenseLayers(sizes, self.activation, partitions, rule)

    def _recipe(self, n_rows):
        """The parameters as values."""
        return Recipe(
            scheme="backprop",
            output=self._output,
            optimizer=self._optimizer(),
            batch_size=self._batch_size(n_rows),
            tol_error=self._tol_error(),
            precision=self.precision,
            seed=seed_of(self.random_state),
        )

    def _tol_error(self):
        """The error below which rows are skipped, which costs nothing where partitions take turns; not in backprop."""
        free = self.order != "simultaneous" and self._output in SKIPPED_OUTPUTS and self._n_partitions() > 1
        return TOL_ERROR if free else 0.0

    def _kind(self):
        """What the kept weights, heads and optimisers belong to."""
        names = ("solver", "activation", "precision", "n_partitions", "refit_head")
        taught = ("local_loss", "head_depth", "head_width", "layer_start", "interlayer")
        hidden = {"hidden_layer_sizes": hidden_sizes(self.hidden_layer_sizes)}  # all of them, however few are kept
        return {name: getattr(self, name) for name in names + taught} | hidden

    # ---- training ----

    def _train(self, layered, rows, watched, recipe, generator, tasks, after_epoch):
        """Train the partitions in their order; then the readout, where it is to be solved for."""
        self._is_solved = False
        sizes = self._batch_sizes(layered.stack, len(rows.x), recipe.batch_size)
        if self.order == "simultaneous":
            layered.batch_size = sizes[0]
            recipe = replace(recipe, batch_size=sizes[0])
            history = super()._train(layered, rows, watched, recipe, generator, tasks, after_epoch)
            history = described(history, layered, rows, watched, self._score_outputs)
        else:
            history = self._take_turns(layered, rows, watched, sizes, generator, tasks, after_epoch)
        self.batch_sizes_ = sizes
        history.where = self._place_of(layered, history.failed)
        if self.refit_head and history.failure is None:
            refit_readout(layered, rows, self._n_outputs())
            self._is_solved = True
            judged = judged_rows(rows, watched)  # the score of the head as it was is out of date
            outputs = layered.outputs(judged.x)
            history.layer_scores[layered.last] = self._score_outputs(outputs, judged.y, judged.weight)
        return history

    def _take_turns(self, layered, rows, watched, sizes, generator, tasks, after_epoch):
        """One partition after the other."""
        plans = self._plans(len(rows.x), sizes)
        tasks.begin(len(plans) * len(plans[0]))
        turns_left = ((k, plan.n_epochs) for lap in plans for k, plan in enumerate(lap))

        def told(k, epoch, history):
            if epoch == 0:  # a lap that ended early has turns that were not taken
                tasks.begin_group(f"partition {k + 1}", next(n for turn, n in turns_left if turn == k))
            return after_epoch(history)

        turns = LayerTurns(plans, self.cache, self.subsample, self.early_stopping, self.tol, fresh=not self._goes_on())
        judge = self._score_outputs
        return train_layers(layered, rows, turns, generator, judge=judge, watched=watched, after_epoch=told)

    def _train_block(self, layered, rows, plan, generator):
        """A block of a stream: all partitions side by side."""
        self._is_solved = False
        history = super()._train_block(layered, rows, plan, generator)
        self.batch_sizes_ = [plan.batch_size] * layered.stack.n_partitions
        history = described(history, layered, rows, None, self._score_outputs)
        history.where = self._place_of(layered, history.failed)
        return history

    def _plans(self, n_rows, batch_sizes):
        """Plans of all partitions for every lap, epochs shared out."""
        n_laps = self.n_laps if self.order == "laps" else 1
        epochs = self._shared_epochs(n_rows, self._batch_size(n_rows), len(batch_sizes), n_laps)
        laps = []
        for lap in range(n_laps):
            plans = []
            for k, size in enumerate(batch_sizes):
                plan = self._plan(n_rows, replace(self._recipe(n_rows), batch_size=size))
                plans.append(replace(plan, n_epochs=int(epochs[lap, k])))
            laps.append(plans)
        return laps

    def _plan(self, n_rows, recipe):
        """As many epochs as with the usual batch; the rate follows the root of a larger one."""
        usual = self._batch_size(n_rows)
        plan = super()._plan(n_rows, replace(recipe, batch_size=usual))
        return replace(plan, batch_size=recipe.batch_size, rate=plan.rate * math.sqrt(recipe.batch_size / usual))

    def _shared_epochs(self, n_rows, batch_size, n_partitions, n_laps):
        """Epochs (n_laps, n_partitions): those of backpropagation, shared out."""
        total = self._n_epochs(n_rows, batch_size)
        borders = np.arange(n_laps * n_partitions + 1) * total // (n_laps * n_partitions)
        return np.maximum(np.diff(borders), 1).reshape(n_laps, n_partitions)

    def _rate(self):
        """The learning rate: "auto" takes larger steps where partitions share the epochs."""
        if self.learning_rate_init != "auto":
            return self.learning_rate_init
        return _RATE if self.order == "simultaneous" else _RATE * min(self._n_partitions(), _MOST_TIMES)

    def _stream_rate(self):
        """That of partitions side by side."""
        return _RATE if self.learning_rate_init == "auto" else self.learning_rate_init

    def _n_partitions(self):
        """Partitions of the network."""
        if self.n_partitions is not None:
            return self.n_partitions
        sizes = hidden_sizes(self.hidden_layer_sizes)
        if self._is_plain():
            return max(len(sizes), 1)
        if self.network is not None:
            return max(torch_parts().n_stages(self.network) - 1, 1)
        return max(sum(map(len, conv_blocks(self.conv_layer_sizes))) + len(sizes), 1)

    def _batch_sizes(self, stack, n_rows, usual):
        """Rows per batch of every partition: the usual, or what ``memory_budget`` has room for."""
        n = stack.n_partitions
        if self.memory_budget is None:
            return [usual] * n
        most = max(usual, n_rows // _LEAST_STEPS)
        if self.order == "simultaneous":
            return [self._fitting_batch(lambda m: sum(stack.bytes_of(k, m) for k in range(n)), most, "all layers")] * n
        return [
            self._fitting_batch(lambda m, k=k: stack.bytes_of(k, m), most, self._name_of(stack.partitions[k]))
            for k in range(n)
        ]

    def _fitting_batch(self, bytes_of, most, name):
        """The largest batch within the budget; an error that says how much is needed where there is none."""
        found = largest_batch(bytes_of, self.memory_budget, most)
        if found == 0:
            raise ValueError(
                f"memory_budget={self.memory_budget} bytes is too small for {name}: gradients, optimiser state and "
                f"activations need {bytes_of(1)} bytes with one row per batch. Raise memory_budget, choose narrower "
                "layers or more partitions, or solver='sgd', which keeps one moment and not two."
            )
        return found

    # ---- fitted state ----

    def _load(self, network, execution):
        """The head that predicted goes on predicting."""
        execution.last = self.exit_
        super()._load(network, execution)

    def _keep(self, network, execution, history, scored):
        """Diagnostics of the layers beside the weights."""
        super()._keep(network, execution, history, scored)
        self.partitions_ = [tuple(map(int, part)) for part in execution.stack.partitions]
        self.layer_scores_ = np.array(history.layer_scores)
        self.effective_ranks_ = np.array(history.effective_ranks)
        self.layer_n_iter_ = np.asarray(history.n_epochs)
        n_trained = len(history.layer_scores)
        self.layer_seconds_, self.layer_bytes_ = (
            execution.seconds[:n_trained].copy(),
            execution.bytes[:n_trained].copy(),
        )

    def _fitted_so_far(self, network, execution, history):
        """Attributes with the weights as they are, and the head that predicts with them."""
        return super()._fitted_so_far(network, execution, history) | {"exit_": execution.last}

    def _staged_outputs(self, X):
        """Raw outputs (n, c) of every head, bottom to top, on the host."""
        check_is_fitted(self)
        network = self._network(self._encoded_width())
        refuse_misfits(self, network)
        staged = network.staged_forward(self)

        def outputs(rows, backend):
            encoded = self._encoded(rows, dtype=host(rows).dtype)
            return backend.asarray(np.hstack(list(staged(encoded))))

        found = host(self._map_blocks(X, outputs, n_features=self._encoded_width()))
        return np.split(found, found.shape[1] // self._n_outputs(), axis=1)

    def _place_of(self, layered, k):
        """Words for the partition that failed."""
        return "" if k is None else f" of {self._name_of(layered.stack.partitions[k])}"

    def _name_of(self, part):
        """Words for a partition, counted from 1."""
        first, stop = part
        return f"layer {first + 1}" if stop - first < 2 else f"layers {first + 1} to {stop}"

    # ---- parameters ----

    def _check_parameters(self):
        """Refuse parameters that mean nothing."""
        for name in ("head_width", "n_partitions", "memory_budget"):
            check_positive_integer(name, getattr(self, name), None)
        self._check_training_parameters()  # reads n_partitions
        check_device(self.device)
        choices = {
            "order": ORDERS,
            "local_loss": LOCAL_LOSSES,
            "layer_start": STARTS,
            "interlayer": (None, *INTERLAYER),
            "cache": CACHES,
            "activation": ACTIVATIONS,
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("refit_head", "batch_norm"):
            check_flag(name, getattr(self, name))
        check_positive_integer("n_laps", self.n_laps)
        is_integer = isinstance(self.head_depth, int | np.integer) and not isinstance(self.head_depth, bool)
        if not (is_integer and 0 <= self.head_depth <= 3):
            raise ValueError(f"head_depth must be 0, 1, 2 or 3, got {self.head_depth!r}.")
        check_real("subsample", self.subsample, 0, 1, "above 0 and at most 1", open_low=True)
        self._check_architecture()
        self._check_partitions()
        check_distributed(self.distributed, self.random_state)

    def _check_partitions(self):
        """Refuse more partitions than hidden layers; torch's stack counts the layers of other networks."""
        n_hidden = len(hidden_sizes(self.hidden_layer_sizes))
        if self._is_plain() and self.n_partitions is not None and self.n_partitions > max(n_hidden, 1):
            raise ValueError(
                f"n_partitions={self.n_partitions} is more than the {n_hidden} hidden layers of hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r}: give at most {max(n_hidden, 1)}, or None for one each."
            )
