"""Plans of networks in partitions: what builds their stack, what a fitted estimator keeps, how each head predicts."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.layerwise.layered import Layered
from sklearn_analytic.nn import Recipe, torch_module, torch_parts
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._mlp import raw_outputs
from sklearn_analytic.nn._plans import NetworkPlan, coefs_of, communication_of, layers_of, ranks_of, torch_named


class LayerPlan(NetworkPlan):
    """A :class:`NetworkPlan` with an output at every partition."""

    def execution(self, recipe, generator):
        """The stack as one execution."""
        return Layered(self.stack(recipe, generator), recipe.batch_size)

    @abstractmethod
    def stack(self, recipe, generator):
        """Return the network in partitions, freshly drawn."""

    def write(self, execution, fitted):
        """The stack takes the weights, and partitions in training take those of the stack."""
        execution.rewrite(self.rewritten(execution.stack.state(), fitted, execution.last))

    @abstractmethod
    def staged_forward(self, estimator):
        """Return the function of encoded host rows that yields the raw outputs of every head, bottom to top."""

    def forward(self, estimator):
        """Outputs of the uppermost head."""
        staged = self.staged_forward(estimator)
        return lambda x: list(staged(x))[-1]


@dataclass(frozen=True)
class DenseLayers(LayerPlan):
    """Dense layers trained in compiled code; fitted they are ``coefs_``, ``intercepts_`` and ``heads_``."""

    sizes: tuple
    activation: str
    partitions: tuple
    rule: Any  # LocalRule
    names = ("coefs_", "intercepts_", "heads_")
    reads = np.ndarray

    def stack(self, recipe, generator):
        """Layers drawn on the host."""
        return DenseStack(self.sizes, self.activation, self.partitions, self.rule, recipe, generator)

    def fitted(self, execution):
        """The layers up to the head that predicts, and the heads below it."""
        execution.settle()
        stack, last = execution.stack, execution.last
        layers = [*stack.layers[: self.partitions[last][1]], *stack.exit_layers(last)]
        return coefs_of(_copied(layers)) | {"heads_": [_head(_copied(head)) for head in stack.heads[:last]]}

    def rewritten(self, state, fitted, last):
        """Layers up to the head that predicts, that head, and those below."""
        layers, stop = layers_of(fitted), self.partitions[last][1]
        heads = [_layers(head["coefs"], head["intercepts"]) for head in fitted["heads_"]]
        if last == len(self.partitions) - 1:
            return state | {"layers": layers, "heads": heads}
        return {
            "layers": [*layers[:stop], *state["layers"][stop:]],
            "heads": [*heads, layers[stop:], *state["heads"][last + 1 :]],
        }

    def forward(self, estimator):
        """A pass through the layers up to the head that predicts."""
        layers = _layers(estimator.coefs_, estimator.intercepts_)
        return lambda x: raw_outputs(layers, self.activation, x)

    def staged_forward(self, estimator):
        """Features of each partition through its head."""
        layers = _layers(estimator.coefs_, estimator.intercepts_)
        heads = [_layers(head["coefs"], head["intercepts"]) for head in estimator.heads_]

        def staged(x):
            for (first, stop), head in zip(self.partitions, heads, strict=False):
                x = raw_outputs(layers[first:stop], self.activation, x, last=self.activation)
                yield raw_outputs(head, self.activation, x)
            yield raw_outputs(layers[self.partitions[len(heads)][0] :], self.activation, x)

        return staged


@dataclass(frozen=True)
class TorchDenseLayers(DenseLayers):
    """The same trained by torch on any device: fitted it is what the CPU's is, and needs no torch."""

    device: str = "cpu"
    distributed: Any = False

    def stack(self, recipe, generator):
        """The same draws as on the CPU."""
        parts = torch_parts()
        network = parts.dense_network(self.sizes, self.activation)
        dtype = np.float64 if recipe.precision == "float64" else np.float32
        layers = initial_layers(self.sizes, self.activation, generator, dtype)
        arrays = [array for weights, bias in layers for array in (weights.T, bias)]
        parts.load_state(network, dict(zip(parts.state_arrays(network), arrays, strict=True)))
        return _torch_stack(self, network, list(self.partitions), recipe, self.sizes[0])

    def log_epoch(self, execution):
        """What processes sent."""
        execution.log_epoch()

    def communication(self, execution):
        """As torch's executions recorded it."""
        return communication_of(execution)

    def fitted(self, execution):
        """Torch keeps weights transposed."""
        execution.settle()
        state, last = execution.stack.state(), execution.last
        layers, heads = _transposed(state["network"]), [_transposed(head) for head in state["heads"]]
        if last < len(self.partitions) - 1:
            layers = [*layers[: self.partitions[last][1]], *heads[last]]
        return coefs_of(layers) | {"heads_": [_head(head) for head in heads[:last]]}

    def rewritten(self, state, fitted, last):
        """The same under the names of torch."""
        as_layers = {"layers": _transposed(state["network"]), "heads": [_transposed(head) for head in state["heads"]]}
        found = super().rewritten(as_layers, fitted, last)
        heads = [torch_named(*pair) for pair in zip(state["heads"], found["heads"], strict=True)]
        return {"network": torch_named(state["network"], found["layers"]), "heads": heads}


@dataclass(frozen=True)
class ModuleLayers(LayerPlan):
    """Any Sequential of torch in partitions; fitted it is ``network_state_`` and ``heads_``, dicts of arrays."""

    build: Any  # function of a generator
    n_inputs: int
    partitions: Any  # a number, or None for one per hidden stage
    rule: Any
    output: str  # the rule by which outputs are read, and
    precision: str  # that of the weights: what predicting needs of a recipe
    device: str = "cpu"
    distributed: Any = False
    names = ("network_state_", "heads_")

    def stack(self, recipe, generator):
        """The network, built anew."""
        return _torch_stack(self, self.build(generator), self.partitions, recipe, self.n_inputs)

    def log_epoch(self, execution):
        """What processes sent."""
        execution.log_epoch()

    def communication(self, execution):
        """As torch's executions recorded it."""
        return communication_of(execution)

    def fitted(self, execution):
        """Parameters and buffers of the network and of all heads."""
        execution.settle()
        state = execution.stack.state()
        return {"network_state_": state["network"], "heads_": state["heads"]}

    def rewritten(self, state, fitted, last):
        """They are the state."""
        return {"network": fitted["network_state_"], "heads": fitted["heads_"]}

    def staged_forward(self, estimator):
        """Features of each partition through its head, in evaluation mode."""
        recipe = Recipe(output=self.output, precision=self.precision)
        stack = self.stack(recipe, np.random.default_rng(0))
        stack.load({"network": estimator.network_state_, "heads": estimator.heads_})

        def staged(x):
            for k in range(estimator.exit_ + 1):
                x = stack.features(k, x)
                yield stack.exit(k, x)

        return staged


def _torch_stack(plan, network, partitions, recipe, n_inputs):
    """A stack on a torch device, perhaps of several processes."""
    device = plan.device.removeprefix("torch:")
    return torch_module("sklearn_analytic.layerwise.torch_stack").TorchStack(
        network, partitions, plan.rule, recipe, device, recipe.seed, ranks_of(plan.distributed), n_inputs
    )


def _transposed(state):
    """Layers [(W, b), ...] of torch's arrays by name, in their order."""
    arrays = list(state.values())
    return [(weights.T.copy(), bias) for weights, bias in zip(arrays[::2], arrays[1::2], strict=True)]


def _copied(layers):
    """Layers of their own: what is written into fitted attributes must not reach the state behind them."""
    return [(weights.copy(), bias.copy()) for weights, bias in layers]


def _head(layers):
    """A head as plain values."""
    return {"coefs": [weights for weights, _ in layers], "intercepts": [bias for _, bias in layers]}


def _layers(coefs, intercepts):
    """Pairs (W, b)."""
    return list(zip(coefs, intercepts, strict=True))
