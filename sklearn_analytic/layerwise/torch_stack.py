"""Any torch.nn.Sequential in partitions: each partition and its head are one small network in training."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from sklearn_analytic.layerwise.torch_factors import can_factor, collapse, factors
from sklearn_analytic.layerwise.torch_heads import (
    activation_of,
    drawn,
    fresh_copies,
    head_modules,
    hidden_outputs,
    width_of,
)
from sklearn_analytic.layerwise.torch_partition import TorchPartition, expected_bytes
from sklearn_analytic.layerwise.torch_sides import Tap, projection_of
from sklearn_analytic.layerwise.torch_starts import can_pass, start_as_identity
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._sides import SideLoss
from sklearn_analytic.nn._torch_checks import check_last, check_trainable
from sklearn_analytic.nn._torch_execution import PRECISIONS
from sklearn_analytic.nn._torch_modes import in_own_modes, kept_modes, own_randomness, still_norms
from sklearn_analytic.nn._torch_networks import BLOCK, block_of, load_state, outputs_of, state_arrays, state_views
from sklearn_analytic.nn._torch_stages import BATCH_NORMS, split

_HEADS, _PROJECTIONS = 2, 3  # streams of random numbers, those of DenseStack
_PARTITION = 0x94D049BB133111EB  # spreads the seeds of partitions


class TorchStack:
    """A :class:`~sklearn_analytic.layerwise.partitions.Stack` of the stages of a torch network.

    A stage is a layer with what follows it (normalisation, activation, pooling); the last one, the output layer, goes
    with the last partition, which is its head. Features between partitions are flat host rows.

    Parameters
    ----------
    network : torch.nn.Sequential
        Moved to the device, and changed by :meth:`keep`; give a copy where the original must stay.
    partitions : int, list of tuple of int or None
        How many partitions, of about equal activation memory; or half-open ranges of hidden stages; None is one for
        each stage. One partition is backpropagation.
    rule : LocalRule
        How partitions below the last are taught.
    recipe : Recipe
        Optimiser, output rule, precision; the scheme is always backpropagation inside a partition, and the batch size
        is that of :meth:`begin`. Heads are drawn from its seed.
    device : str or torch.device
        Where.
    generator_seed : int
        Host seed of dropout.
    ranks : Ranks or None
        See :class:`TorchExecution`. Similarity matching compares the rows of each process's share with each other only.
    n_features : int or None
        Columns of a row; None asks the first modules, Unflatten or Linear.

    Attributes
    ----------
    outputs_of_stages : list of StageOutput
        Of all hidden stages.
    partitions : list of tuple of int
        Half-open ranges of hidden stages.

    Raises
    ------
    ValueError
        If there are more partitions than hidden stages, or the ranges are not consecutive.
    """

    kind = "torch"  # of its states

    def __init__(self, network, partitions, rule, recipe, device="cpu", generator_seed=0, ranks=None, n_features=None):
        self.device, self.seed, self.ranks = torch.device(device), generator_seed, ranks
        self.rule, self.recipe = rule, replace(recipe, scheme="backprop")
        self._dtype = PRECISIONS[recipe.precision][0]
        self._build(network, partitions, n_features)

    @in_own_modes
    def _build(self, network, partitions, n_features):
        """Cut the network, and draw the heads."""
        self._stages = split(network)
        check_trainable(network)
        check_last(self._stages, self.recipe.output)
        self.network = network.to(self.device, self._dtype)
        self.n_features = _known_width(network, n_features)
        self.outputs_of_stages = hidden_outputs(network, self.n_features)
        self.partitions = _ranges(partitions, self.outputs_of_stages)
        self.n_outputs = self._count_outputs()
        self._check_ties()
        still = still_norms(network)
        self._has_moments = any(isinstance(m, BATCH_NORMS) and m not in still for m in network.modules())
        if self._has_moments and self.rule.micro_batch not in (None, "auto"):
            raise ValueError(
                f"partitions__micro_batch={self.rule.micro_batch} splits batches, but the network has batch "
                "normalisation, whose moments are those of whole batches: give None or 'auto', or LayerNorm instead"
            )
        self._bytes = {}
        with own_randomness(self.device, 0):
            self.heads = [self._first_head(k).to(self.device, self._dtype) for k in range(self.n_partitions - 1)]

    @property
    def n_partitions(self):
        """Partitions, bottom to top."""
        return len(self.partitions)

    # ---- training ----

    @in_own_modes
    def begin(self, k, batch_size, together=False):
        """Copies of partition k and its head in training."""
        with own_randomness(self.device, 0):
            modules = copy.deepcopy([*self._trunk(k), *self._rest(k)])
            trunk, rest = modules[: len(self._trunk(k))], modules[len(self._trunk(k)) :]
            parts = [_parts(module, own) for module, own in zip(trunk, self._factored(k), strict=True)]
            side, projection = self._side(k)
            tap = Tap(side, projection, self.n_outputs)
        chain = nn.Sequential(*self._entry(k), *(part for found in parts for part in found), tap, *rest)
        seed = (self.seed + _PARTITION * k) % 2**63
        tol_error = 0.0 if together or side is not None else self.recipe.tol_error
        micro = None if together else self._micro_rows(k)
        recipe = replace(self.recipe, batch_size=batch_size, tol_error=tol_error, micro_batch=micro)
        return TorchPartition(chain, tap, recipe, self.device, seed, self.ranks)

    @in_own_modes
    def keep(self, k, execution):
        """Weights and moving averages of the partition, of its head, and with "window" of the stages ahead."""
        trained = iter(list(execution.network)[len(self._entry(k)) :])
        for module, own in zip(self._trunk(k), self._factored(k), strict=True):
            if own:
                collapse(module, next(trained), next(trained))
            else:
                _copy(next(trained), module)
        next(trained)  # the tap
        rest = list(trained)
        targets = [self._rest(k)] if self._is_last(k) else [self.heads[k], self._rest(k)]
        for modules in targets:
            for source, module in zip(rest, modules, strict=True):
                _copy(source, module)

    def noted(self, k, execution):
        """A copy of the weights and moving averages in training."""
        arrays = state_arrays(execution.network)

        def put():
            load_state(execution.network, arrays)
            self.keep(k, execution)

        return put

    @in_own_modes
    def hand_on(self, k):
        """Start what is new in the next partition near the identity, as :class:`DenseStack` does."""
        if self.rule.start != "identity":
            return
        new = self._stages[self._reach(k) : self._reach(k + 1)]
        passing = [can_pass(stage) for stage in new]
        for stage in (stage for stage, can in zip(new, passing, strict=True) if can):
            start_as_identity(stage)
        head = self.heads[k][self._n_shared(k) :]
        above = self._exit(k + 1)[self._n_shared(k + 1) :]
        if all(passing) and _layout(head) == _layout(above):
            for source, module in zip(head, above, strict=True):
                _copy(source, module)

    def bytes_of(self, k, batch_size):
        """Bytes of training but the weights, from small batches of zeros."""
        if k not in self._bytes:
            execution = self.begin(k, BLOCK, together=True)  # as whole batches, by the row
            self._bytes[k] = expected_bytes(execution, math.prod(self._shape(k - 1)), self.n_outputs)
        return self._bytes[k](replace(self.recipe, batch_size=batch_size, micro_batch=self._micro_rows(k)).rows_at_once)

    # ---- inference ----

    def features(self, k, x):
        """Flat outputs of partition k in evaluation mode, in blocks."""
        return self._forward([*self._entry(k), *self._trunk(k)], x)

    def exit(self, k, features):
        """Outputs of the head in evaluation mode; of the network's own output layer for the last partition."""
        return self._forward([*_unflattened(self._shape(k)), *self._exit(k)], features)

    def readout_inputs(self, k, features):
        """What the last layer of the head reads."""
        return self._forward([*_unflattened(self._shape(k)), *self._exit(k)[:-1]], features)

    @in_own_modes
    def set_readout(self, k, weights, bias):
        """Replace the last layer of the head, which is linear."""
        last = list(self._exit(k))[-1]
        load_state(last, dict(zip(state_arrays(last), (weights.T, bias), strict=True)))
        last.to(self._dtype)

    def up_to_head(self, k):
        """Return the layers up to partition k, and its head, as one network."""
        stop = self.partitions[k][1]
        return nn.Sequential(*(module for stage in self._stages[:stop] for module in stage.modules), *self._exit(k))

    def _exit(self, k):
        """Modules of the head."""
        return self._stages[-1].modules if self._is_last(k) else self.heads[k]

    def put_aside(self, k, aside):
        """Modules stay where they are."""

    def state(self, copy=True):
        """Return {"network": arrays by name, "heads": a list of such dicts}, all on the host.

        Without a copy they may be the memory that is trained.
        """
        arrays = state_arrays if copy else state_views
        return {"network": arrays(self.network), "heads": [arrays(head) for head in self.heads]}

    def load(self, state):
        """Put a :meth:`state` back; arrays that were written in another dtype are cast."""
        load_state(self.network, state["network"])
        for head, arrays in zip(self.heads, state["heads"], strict=True):
            load_state(head, arrays)
        for module in (self.network, *self.heads):
            module.to(self._dtype)

    @in_own_modes
    def _forward(self, modules, x):
        """Flat host rows through modules in evaluation mode, in the dtype of x."""
        x, chain = np.asarray(x), nn.Sequential(*modules)
        widest = max(x.shape[1], 1, *(output.widest for output in self.outputs_of_stages))
        with kept_modes(chain):
            chain.eval()
            return outputs_of(lambda block: chain(block).flatten(1), x, self.device, self._dtype, block_of(widest))

    # ---- parts ----

    def units(self, k):
        """Entries of a row above partition k."""
        return math.prod(self._shape(k))

    def widest(self, k, ahead=0):
        """The widest output of its modules, or its input; with stages ahead of it."""
        first, stop = self.partitions[k]
        stages = self.outputs_of_stages[first : stop + ahead]
        return max([math.prod(self._shape(k - 1)), *(stage.widest for stage in stages)])

    def _micro_rows(self, k):
        """Rows of a batch that pass at once; it stays whole where its rows are seen together."""
        compared = self.rule.compares and not self._is_last(k)
        if compared or self._has_moments or (self.ranks is not None and self.ranks.size > 1):
            return None
        return self.rule.micro_rows(self.widest(k, self.rule.ahead))

    def _is_last(self, k):
        """Whether the partition ends in the network's own output."""
        return k == self.n_partitions - 1

    def _shape(self, k):
        """Shape of one row above partition k; -1 is the input."""
        stop = self.partitions[k][1] if k >= 0 else 0
        return self.outputs_of_stages[stop - 1].shape if stop else (self.n_features,)

    def _entry(self, k):
        """What gives flat rows their shape back."""
        return _unflattened(self._shape(k - 1))

    def _trunk(self, k):
        """Modules of the partition's own stages."""
        return [module for stage in self._stages[slice(*self.partitions[k])] for module in stage.modules]

    def _factored(self, k):
        """For every module of the trunk, whether it trains as two factors; a tied layer does not."""
        trunk = self._trunk(k)
        wanted = self.rule.interlayer == "overparametrise" and self.n_partitions > 1
        return [wanted and can_factor(module) and trunk.count(module) == 1 for module in trunk]

    def _ahead(self, k):
        """Modules of the stages above the partition that are trained along."""
        stop = self.partitions[k][1]
        stages = self._stages[stop : min(stop + self.rule.ahead, len(self._stages) - 1)]
        return [module for stage in stages for module in stage.modules]

    def _n_shared(self, k):
        """How many of them are the network's own."""
        return len(self._ahead(k)) if self.rule.interlayer == "window" else 0

    def _reach(self, k):
        """The first stage of the network that partition k does not train."""
        ahead = self.rule.ahead if self.rule.interlayer == "window" else 0
        return min(self.partitions[k][1] + ahead, len(self._stages) - 1)

    def _rest(self, k):
        """Modules above the tap; "window" has the network's own stages among them."""
        if self._is_last(k):
            return list(self._stages[-1].modules)
        own = self._ahead(k)[: self._n_shared(k)]
        return [*own, *self.heads[k][len(own) :]]

    def _first_head(self, k):
        """Stages ahead (copies in shape, with weights of their own) and the throw-away head, freshly drawn."""
        stop, ahead = self.partitions[k][1], self._ahead(k)
        top = min(stop + self.rule.ahead, len(self._stages) - 1) - 1  # the stage that the head reads
        below = self._stages[top::-1] if top >= 0 else []
        activation = activation_of([*below, *self._stages])
        layer, shape = self._stages[top].layer, self.outputs_of_stages[top].shape
        modules = head_modules(shape, layer, activation, self.rule, self.n_outputs)
        return drawn([*fresh_copies(ahead), *modules], np.random.default_rng([self.recipe.seed, _HEADS, k]))

    def _side(self, k):
        """(losses at the partition's top, projection); the last partition has the true error instead."""
        first, stop = self.partitions[k]
        if self._is_last(k):
            return None, None
        output = self.outputs_of_stages[stop - 1]
        pull = self.rule.pull if self.outputs_of_stages[first].reads == output.shape else 0.0
        if self.rule.share == 1 and not pull:
            return None, None
        side = SideLoss(stop, self.rule.share, self.rule.similarity, pull)
        if not side.similarity:
            return side, None
        generator = np.random.default_rng([self.recipe.seed, _PROJECTIONS, k])
        return side, projection_of(output.shape, self._stages[stop - 1].layer, generator)

    def _count_outputs(self):
        """Outputs of the network, from two zero rows."""
        return self._forward(self.network, np.zeros((2, self.n_features))).shape[1]

    def _check_ties(self):
        """Refuse a parameter of two partitions: each would train its own copy."""
        owners = {}
        for k in range(self.n_partitions):
            modules = nn.ModuleList([*self._trunk(k), *(self._stages[-1].modules if self._is_last(k) else [])])
            for parameter in modules.parameters():
                if owners.setdefault(id(parameter), k) != k:
                    raise ValueError(
                        f"partitions {owners[id(parameter)]} and {k} share a weight, and each is trained alone: give "
                        "partitions=1, or layers with weights of their own"
                    )


def _known_width(network, n_features):
    """Columns of a row, given or read off the first modules."""
    found = width_of(network) if n_features is None else n_features
    if found is None:
        raise ValueError(
            f"n_features=None, but the network's first module, {type(network[0]).__name__}, does not tell how many "
            "columns a row has: give n_features"
        )
    return found


def _ranges(partitions, outputs):
    """Half-open ranges that cover all hidden stages."""
    n = len(outputs)
    partitions = max(n, 1) if partitions is None else partitions
    if isinstance(partitions, (int, np.integer)):
        if not 1 <= partitions <= max(n, 1):
            raise ValueError(
                f"partitions={partitions}, but the network has {n} hidden stages: give a number from 1 to {max(n, 1)}"
            )
        return balanced_partitions([output.widest for output in outputs], int(partitions))
    ranges = [(int(first), int(stop)) for first, stop in partitions]
    borders = [0, *(stop for _, stop in ranges)]
    if [first for first, _ in ranges] != borders[:-1] or borders[-1] != n or (n and len(set(borders)) < len(borders)):
        raise ValueError(
            f"partitions={ranges} must be consecutive, non-empty ranges of the {n} hidden stages: start at 0, let each "
            f"begin where the one below ends, and stop at {n}"
        )
    return ranges


def _unflattened(shape):
    """A list with the module that gives flat rows their shape, where they have one."""
    return [nn.Unflatten(1, shape)] if len(shape) > 1 else []


def _layout(modules):
    """Types of modules and shapes of their weights."""
    return [(type(module), [p.shape for p in module.parameters()]) for module in modules]


def _parts(module, factored):
    """The module, or its two factors."""
    return factors(module) if factored else [module]


def _copy(source, target):
    """Put weights and moving averages of one module into another one like it."""
    target.load_state_dict(source.state_dict())
