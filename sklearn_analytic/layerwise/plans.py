"""A network in partitions: what builds their stack, what a fitted estimator keeps, how each head predicts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.layerwise.layered import Layered
from sklearn_analytic.nn import Recipe, torch_module
from sklearn_analytic.nn._mlp import raw_outputs
from sklearn_analytic.nn._plans import NetworkPlan, coefs_of, layers_of, ranks_of


@dataclass(frozen=True)
class Partitioned(NetworkPlan):
    """A way to train: partitions one after the other, or side by side, each under a head of its own."""

    form: Any
    partitions: Any  # half-open ranges of hidden layers; of torch's other networks a number, or None for one each
    rule: Any  # LocalRule
    last: int | None = None  # the partition that predicts, where training goes on

    @property
    def names(self):
        """Names of the fitted attributes that hold weights."""
        return (*self.form.names, "heads_")

    def execution(self, recipe, generator):
        """The stack as one execution."""
        layered = Layered(self._stack(recipe, generator), recipe.batch_size)
        if self.last is not None:
            layered.last = self.last
        return layered

    def _stack(self, recipe, generator):
        """The network in partitions, freshly drawn."""
        form = self.form
        if form.is_compiled:
            return DenseStack(form.sizes, form.activation, self.partitions, self.rule, recipe, generator)
        dtype = np.float64 if recipe.precision == "float64" else np.float32
        return self._torch_stack(form.network(generator, dtype), list(self.partitions), recipe, form.sizes[0])

    def _torch_stack(self, network, partitions, recipe, n_inputs):
        """A stack on a torch device, perhaps of several processes."""
        torch, device = torch_module("sklearn_analytic.layerwise.torch_stack"), self.form.device.removeprefix("torch:")
        ranks = ranks_of(self.form)
        return torch.TorchStack(network, partitions, self.rule, recipe, device, recipe.seed, ranks, n_inputs)

    def finished(self, execution):
        """What is published is the state, where it is all of it: there is no second copy of it in a fitted model."""
        if not execution.is_published:
            return super().finished(execution)
        return self.fitted(execution, _same), execution.place_alone()

    def fitted(self, execution, taken=None):
        """The layers up to the head that predicts, and the heads below it; ``taken`` says what becomes of layers."""
        execution.settle()
        taken = _copied if taken is None else taken
        stack, last = execution.stack, execution.last
        if self.form.is_compiled:
            layers, heads = taken(stack.layers), [taken(head) for head in stack.heads]
        else:
            state, read = stack.state(copy=not self.form.read_copies), self.form.read
            layers, heads = read(state["network"]), [read(head) for head in state["heads"]]
        if last < len(self.partitions) - 1:
            layers = [*layers[: self.partitions[last][1]], *heads[last]]
        return coefs_of(layers) | {"heads_": [_head(head) for head in heads[:last]], "exit_": last}

    def write(self, execution, fitted):
        """The stack takes the weights, and partitions in training take those of the stack."""
        execution.rewrite(self.rewritten(execution.stack.state(), fitted, execution.last))

    def rewritten(self, state, fitted, last):
        """Layers up to the head that predicts, that head, and those below."""
        if self.form.is_compiled:
            return self._rewritten(state, fitted, last)
        read = self.form.read
        known = {"layers": read(state["network"]), "heads": [read(head) for head in state["heads"]]}
        found = self._rewritten(known, fitted, last)
        heads = [self.form.written(*pair) for pair in zip(found["heads"], state["heads"], strict=True)]
        return {"network": self.form.written(found["layers"], state["network"]), "heads": heads}

    def _rewritten(self, state, fitted, last):
        """The same of plain layers."""
        layers, stop = layers_of(fitted), self.partitions[last][1]
        heads = [_layers(head) for head in fitted["heads_"]]
        if last == len(self.partitions) - 1:
            return state | {"layers": layers, "heads": heads}
        return {
            "layers": [*layers[:stop], *state["layers"][stop:]],
            "heads": [*heads, layers[stop:], *state["heads"][last + 1 :]],
        }

    def staged_forward(self, fitted):
        """Return the function of encoded host rows that yields the raw outputs of every head, bottom to top."""
        layers, heads = layers_of(fitted), [_layers(head) for head in fitted["heads_"]]
        activation = self.form.activation

        def staged(x):
            for (first, stop), head in zip(self.partitions, heads, strict=False):
                x = raw_outputs(layers[first:stop], activation, x, last=activation)
                yield raw_outputs(head, activation, x)
            yield raw_outputs(layers[self.partitions[len(heads)][0] :], activation, x)

        return staged


@dataclass(frozen=True)
class PartitionedSequential(Partitioned):
    """The same of any Sequential of torch, whose heads are dicts of arrays as it is."""

    n_inputs: int | None = None
    read: tuple = ("softmax", "float32")  # rule of outputs and precision of weights: what predicting needs of a recipe

    def _stack(self, recipe, generator):
        """The network, built anew."""
        return self._torch_stack(self.form.network(generator), self.partitions, recipe, self.n_inputs)

    def fitted(self, execution, taken=None):
        """Parameters and buffers of the network and of all heads."""
        execution.settle()
        state = execution.stack.state()
        return self.form.named(state["network"]) | {"heads_": state["heads"], "exit_": execution.last}

    def rewritten(self, state, fitted, last):
        """They are the state."""
        return {"network": self.form.found(fitted), "heads": fitted["heads_"]}

    def forward(self, fitted):
        """Outputs of the uppermost head."""
        staged = self.staged_forward(fitted)
        return lambda x: list(staged(x))[-1]

    def layer_units(self, fitted):
        """Return the units of all stages up to the uppermost head, its own, and its outputs."""
        network = self._loaded(fitted).up_to_head(fitted["exit_"])
        return torch_module("sklearn_analytic.nn._torch_layer_units").LayerUnits(network, self.form.device).of

    def _loaded(self, fitted):
        """The stack with fitted weights."""
        output, precision = self.read
        stack = self._stack(Recipe(output=output, precision=precision), np.random.default_rng(0))
        stack.load({"network": self.form.found(fitted), "heads": fitted["heads_"]})
        return stack

    def staged_forward(self, fitted):
        """Features of each partition through its head, in evaluation mode."""
        stack = self._loaded(fitted)

        def staged(x):
            for k in range(fitted["exit_"] + 1):
                x = stack.features(k, x)
                yield stack.exit(k, x)

        return staged


def _copied(layers):
    """Layers of their own: what is written into fitted attributes must not reach the state behind them."""
    return [(np.array(weights), bias.copy()) for weights, bias in layers]


def _same(layers):
    """Layers of a network that is not trained any further."""
    return list(layers)


def _head(layers):
    """A head as plain values."""
    return {"coefs": [weights for weights, _ in layers], "intercepts": [bias for _, bias in layers]}


def _layers(head):
    """Pairs (W, b) of a head."""
    return list(zip(head["coefs"], head["intercepts"], strict=True))
