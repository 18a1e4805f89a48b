"""Plain networks in partitions on the CPU: each partition and its head are one compiled chain of layers."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise

import numpy as np

from sklearn_analytic.layerwise.partitions import START_NOISE
from sklearn_analytic.nn._activations import ACTIVATIONS
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._mlp import MLPExecution, raw_outputs, training_bytes
from sklearn_analytic.nn._sides import SideLoss

_HEADS, _PROJECTIONS = 2, 3  # streams of random numbers


@dataclass(frozen=True)
class Chain:
    """The layers that one partition trains: its own, each perhaps as two factors, then layers ahead and a head."""

    sizes: tuple
    activation: tuple  # of all but the last layer
    top: int  # place in ``sizes`` of the partition's output
    side: SideLoss | None


class DenseStack:
    """A :class:`~sklearn_analytic.layerwise.partitions.Stack` of dense layers; the first weights are those of backprop.

    Parameters
    ----------
    sizes : tuple of int
        (n_features, hidden units ..., n_outputs).
    activation : str
        Of all hidden layers.
    partitions : list of tuple of int
        Half-open ranges of hidden layers.
    rule : LocalRule
        How partitions below the last are taught.
    recipe : Recipe
        Optimiser, output rule, precision; the batch size is that of :meth:`begin`.
    generator : numpy.random.Generator
        Draws the network; heads are drawn from the recipe's seed.
    """

    kind = "compiled"  # of its states

    def __init__(self, sizes, activation, partitions, rule, recipe, generator):
        self.sizes, self.activation, self.partitions = tuple(sizes), activation, list(partitions)
        self.rule, self.recipe = rule, recipe
        self.layers = initial_layers(sizes, activation, generator, recipe.precision)
        # layers that a head shares with the network stay one array
        self.heads = [self._first_head(k) for k in range(self.n_partitions - 1)]

    @property
    def n_partitions(self):
        """Partitions, bottom to top."""
        return len(self.partitions)

    def begin(self, k, batch_size, together=False):
        """Partition k in training."""
        first, stop = self.partitions[k]
        chain = self._chain(k)
        recipe = self._recipe(chain, batch_size, together)
        if not self._is_last(k):
            self.heads[k] = self.exit_layers(k, training=True)
        trunk = [part for layer in self.layers[first:stop] for part in self._factors(layer)]
        generator = np.random.default_rng([self.recipe.seed, _PROJECTIONS, k])
        layers = [*trunk, *self.exit_layers(k, training=True)]
        return MLPExecution(layers, chain.activation, recipe, generator, side=chain.side, top=chain.top)

    def keep(self, k, execution):
        """Weights of the partition, of its head, and with "window" of the layers ahead."""
        stop, chain, layers = self.partitions[k][1], self._chain(k), execution.each_layer()
        if self._factored:
            trunk = [_product(*pair) for pair in _in_pairs(list(islice(layers, chain.top)))]
        else:
            trunk = islice(layers, chain.top)
        self._replace(self.partitions[k][0], trunk)
        if self._is_last(k):
            self._replace(stop, layers)
            return
        self._replace(stop, islice(layers, self._shared(k)))
        self.heads[k] = [*self.layers[stop : self._reach(k)], *layers]

    def _replace(self, first, layers):
        """Take layers from ``first`` on one by one: memory of the old ones is free as soon as can be."""
        for place, layer in enumerate(layers, first):
            self.layers[place] = layer

    def noted(self, k, execution):
        """The stack itself holds them: what trains is a copy."""
        execution.drop_buffers()  # there is room for a layer twice
        self.keep(k, execution)
        return partial(self.load, self.state())

    def units(self, k):
        """Units of the partition's last layer."""
        return self.sizes[self.partitions[k][1]]

    def widest(self, k):
        """The widest of its layers and its input."""
        first, stop = self.partitions[k]
        return max(self.sizes[first : stop + 1])

    def hand_on(self, k):
        """Start the layers that are new to partition k + 1 near the identity, under the head of partition k.

        A layer does so where its width is that of the layer below and its activation passes its own values on; the
        head is handed on where all new layers do, so that the partition begins where the one below ended.
        """
        if self.rule.start != "identity" or not ACTIVATIONS[self.activation].repeats:
            return
        known, new = self._shared(k), range(self.partitions[k][1] + self._shared(k), self._reach(k + 1))
        same = [self.sizes[layer] == self.sizes[layer + 1] for layer in new]
        for layer in (layer for layer, square in zip(new, same, strict=True) if square):
            weights, bias = self.layers[layer]
            self.layers[layer] = (START_NOISE * weights + np.eye(len(weights), dtype=weights.dtype), bias)
        head, above = self.heads[k][known:], self.exit_layers(k + 1)[self._shared(k + 1) :]
        if not all(same) or _shapes(head) != _shapes(above):
            return
        if self._is_last(k + 1):
            self.layers[-1:] = head
        else:
            self.heads[k + 1] = [*self.heads[k + 1][: self._shared(k + 1)], *head]

    def features(self, k, x):
        """Hidden layers of the partition."""
        first, stop = self.partitions[k]
        return raw_outputs(self.layers[first:stop], self.activation, x, last=self.activation)

    def exit(self, k, features):
        """The head's layers; the network's own output layer for the last partition."""
        return raw_outputs(self.exit_layers(k), self.activation, features)

    def exit_layers(self, k, training=False):
        """Layers [(W, b), ...] from the features of partition k to outputs; "window" trains the network's own."""
        stop = self.partitions[k][1]
        if self._is_last(k):
            return self.layers[stop:]
        shared = self._shared(k) if training else 0
        return [*self.layers[stop : stop + shared], *self.heads[k][shared:]]

    def readout_inputs(self, k, features):
        """What the last layer of the head reads."""
        return raw_outputs(self.exit_layers(k)[:-1], self.activation, features, last=self.activation)

    def set_readout(self, k, weights, bias):
        """Replace the last layer of the head."""
        layer = weights.astype(self.recipe.precision), bias.astype(self.recipe.precision)
        if self._is_last(k):
            self.layers[-1] = layer
        else:
            self.heads[k] = [*self.heads[k][:-1], layer]

    def put_aside(self, k, aside):
        """Weights of layers ahead are as large as those of the network."""
        self.heads[k] = aside(self.heads[k])

    def state(self):
        """All layers, none of which is ever changed in place."""
        return {"layers": list(self.layers), "heads": [list(head) for head in self.heads]}

    def load(self, state):
        """Take all layers."""
        self.layers, self.heads = list(state["layers"]), [list(head) for head in state["heads"]]

    def bytes_of(self, k, batch_size):
        """Bytes of training but the weights."""
        chain = self._chain(k)
        sizes = np.array(chain.sizes, dtype=np.int64)
        return training_bytes(sizes, self._recipe(chain, batch_size), chain.side)

    # ---- parts ----

    def _recipe(self, chain, batch_size, together=False):
        """The recipe of one partition.

        Rows are not skipped under a loss of their pairs or of their features. Batches stay whole where their rows are
        compared, or where all features of a batch are asked for.
        """
        tol_error = 0.0 if chain.side or together else self.recipe.tol_error
        whole = together or (chain.side is not None and self.rule.compares)
        micro = None if whole else self.rule.micro_rows(max(chain.sizes))
        return replace(self.recipe, batch_size=batch_size, tol_error=tol_error, micro_batch=micro)

    @property
    def _factored(self):
        """Whether layers train as two factors: not where no layer is missing, which is backpropagation."""
        return self.rule.interlayer == "overparametrise" and self.n_partitions > 1

    def _is_last(self, k):
        """Whether the partition ends in the network's own output."""
        return k == self.n_partitions - 1

    def _n_ahead(self, k):
        """Hidden layers above the partition that are trained along."""
        return min(self.rule.ahead, len(self.sizes) - 2 - self.partitions[k][1])

    def _shared(self, k):
        """How many of them are the network's own."""
        return self._n_ahead(k) if self.rule.interlayer == "window" else 0

    def _reach(self, k):
        """The first layer of the network that partition k does not train."""
        return self.partitions[k][1] + self._shared(k)

    def _chain(self, k):
        """Sizes, activations and side loss of what partition k trains."""
        first, stop = self.partitions[k]
        sizes, activation = [self.sizes[first]], []
        for n_in, n_out in pairwise(self.sizes[first : stop + 1]):
            sizes += [min(n_in, n_out), n_out] if self._factored else [n_out]
            activation += ["identity", self.activation] if self._factored else [self.activation]
        top = len(sizes) - 1
        rest = self._rest_sizes(k)
        activation += [self.activation] * (len(rest) - 1)
        return Chain((*sizes, *rest), tuple(activation), top, self._side(k, top))

    def _rest_sizes(self, k):
        """Units of all layers above the partition that are trained with it."""
        if self._is_last(k):
            return self.sizes[-1:]
        stop = self.partitions[k][1]
        ahead = self.sizes[stop + 1 : stop + 1 + self._n_ahead(k)]
        top = (self.sizes[stop], *ahead)[-1]
        return (*ahead, *self.rule.head_sizes(top, self.sizes[-1]), self.sizes[-1])

    def _side(self, k, top):
        """The loss at the partition's top; the last partition has the true error instead."""
        first, stop = self.partitions[k]
        pull = self.rule.pull if self.sizes[first] == self.sizes[stop] else 0.0
        if self._is_last(k) or (self.rule.share == 1 and not pull):
            return None
        return SideLoss(top, self.rule.share, self.rule.similarity, pull)

    def _first_head(self, k):
        """Layers ahead (copies in shape, with weights of their own) and the throw-away head, freshly drawn."""
        stop, shared = self.partitions[k][1], self._shared(k)
        sizes = (self.sizes[stop], *self._rest_sizes(k))
        generator = np.random.default_rng([self.recipe.seed, _HEADS, k])
        drawn = initial_layers(sizes, self.activation, generator, self.recipe.precision)
        return [*self.layers[stop : stop + shared], *drawn[shared:]]

    def _factors(self, layer):
        """A layer, or two whose product it is: A = U sqrt(S), B = sqrt(S) V^T of its singular value decomposition."""
        if not self._factored:
            return [layer]
        weights, bias = layer
        u, s, v = np.linalg.svd(weights, full_matrices=False)
        root = np.sqrt(s)
        return [(u * root, np.zeros(len(s), bias.dtype)), (root[:, None] * v, bias)]


def _shapes(layers):
    """Shapes of weights."""
    return [weights.shape for weights, _ in layers]


def _in_pairs(layers):
    """Factors of one layer side by side."""
    return list(zip(layers[::2], layers[1::2], strict=True))


def _product(below, above):
    """The one layer that two linear ones are."""
    (a, a_bias), (b, b_bias) = below, above
    return a @ b, a_bias @ b + b_bias
