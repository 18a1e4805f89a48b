"""Modules that work on different batches at once, in plain NumPy with all of the past kept: the oracle of pipelines.

Everything is a dict by (module, batch), and every version of the weights stays in a list. Modules are numbered from the
bottom, k = 0 .. n-1; batches from the beginning of the pipeline.
"""

from itertools import pairwise

import numpy as np

from tests.reference import SLOPES, optimiser_step, output_error, output_loss, weight_penalty

# {schedule: ticks at which module k of n forwards batch 0 and sends it back}; batch b follows b ticks later
TICKS = {
    "backprop": lambda k, n: (0, 0),
    "ddg": lambda k, n: (0, n - 1 - k),  # the forward pass is not decoupled
    "fdg": lambda k, n: (k, 2 * (n - 1) - k),
}
SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "alpha": 0.0}


class Modules:
    """A network [[(W, b), ...], ...] with all versions of its weights.

    ``backward_at``: weights of a backward pass: "stash", those of its forward pass; "current", those of now with
    activations of then; "recompute", all of now. ``predict`` is None or (kind, regulator); ``rate_factors`` has one per
    module; ``beta`` shrinks the error at every border.
    """

    def __init__(
        self,
        modules,
        activation,
        schedule="fdg",
        forward_first=False,
        backward_at="stash",
        M=1,
        average=False,
        beta=1.0,
        predict=None,
        rate_factors=None,
        optimiser=SGD,
    ):
        n = len(modules)
        self.versions = [[list(layers)] for layers in modules]
        self.states = [[({}, {}) for _ in layers] for layers in modules]
        self.ticks = [TICKS[schedule](k, n) for k in range(n)]
        self.activation, self.forward_first, self.backward_at = activation, forward_first, backward_at
        self.M, self.average, self.beta, self.predict = M, average, beta, predict
        self.rate_factors, self.optimiser = rate_factors or [1.0] * n, optimiser
        self.n_backward = [0] * n

    def run(self, batches, drain=True):
        """Work on batches [(X, y, weight, rate), ...] from an empty pipeline on; return the sum of losses of each.

        Every row pays for the weights that each module has where the batch comes by on its way up.
        """
        n = len(self.versions)
        self.batches, self.drain, self.losses = batches, drain, [0.0] * len(batches)
        self.inputs, self.errors, self.seen, self.staleness = {}, {}, {}, {}
        self.waiting = [[] for _ in range(n)]
        for b, batch in enumerate(batches):
            self.inputs[0, b] = batch[0]
        for tick in range(len(batches) + 2 * n):
            for k, (first_forward, first_backward) in enumerate(self.ticks):
                if not self.forward_first and first_backward > first_forward:
                    self._backward(k, tick - first_backward)
                self._forward(k, tick - first_forward)
            for k, (first_forward, first_backward) in reversed(list(enumerate(self.ticks))):
                if self.forward_first or first_backward == first_forward:
                    self._backward(k, tick - first_backward)
        for k in range(n):
            if drain and self.waiting[k]:
                self._step(k)
        return self.losses

    def layers(self):
        """The newest weights of all modules."""
        return [layer for versions in self.versions for layer in versions[-1]]

    def delay(self, k):
        """Ticks between the two passes of a batch."""
        return self.ticks[k][1] - self.ticks[k][0]

    def _forward(self, k, b):
        if not 0 <= b < len(self.batches):
            return
        self.losses[b] += len(self.batches[b][0]) * self._penalty(k)
        layers = self._guess(k, b)
        values = self._values(k, layers, self.inputs[k, b])
        self.seen[k, b] = (layers, values, len(self.versions[k]))
        if k < len(self.versions) - 1:
            self.inputs[k + 1, b] = SLOPES[self.activation][0](values[-1][1])
        else:
            loss, self.errors[k, b] = _loss_and_error(values[-1][1], *self.batches[b][1:3])
            self.losses[b] += loss

    def _backward(self, k, b):
        n_back = len(self.batches) - (0 if self.drain else self.delay(k))
        if not 0 <= b < n_back:
            return
        layers, values, version = self.seen[k, b]
        if self.backward_at != "stash" and self.delay(k) > 0:
            layers = self.versions[k][-1]
        if self.backward_at == "recompute" and self.delay(k) > 0:
            values = self._values(k, layers, self.inputs[k, b])
        is_top = k == len(self.versions) - 1
        d = self.errors[k, b] if is_top else self.beta * self.errors[k, b]
        gradient = []
        for (W, _), (h, z), top in reversed(list(zip(layers, values, _is_output(k, self.versions), strict=True))):
            d = d if top else d * SLOPES[self.activation][1](z)
            gradient.insert(0, (h.T @ d, d.sum(axis=0)))
            d = d @ W.T
        self.errors[k - 1, b] = d
        self.staleness[k, b] = len(self.versions[k]) - version
        self.waiting[k].append((gradient, self.batches[b][3]))
        if len(self.waiting[k]) == self.M:
            self._step(k)

    def _step(self, k):
        """One update from all gradients that wait, at the rate of the last batch among them."""
        gradients, rate = [gradient for gradient, _ in self.waiting[k]], self.waiting[k][-1][1]
        scale, t, constants = 1 / len(gradients) if self.average else 1.0, len(self.versions[k]), dict(self.optimiser)
        name, alpha = constants.pop("name"), constants.pop("alpha")
        new = []
        for l, layer in enumerate(self.versions[k][-1]):
            arrays = []
            for part, decay in ((0, alpha), (1, 0.0)):  # biases carry no penalty
                total = scale * sum(gradient[l][part] for gradient in gradients)
                rest = (rate * self.rate_factors[k], t, *constants.values(), decay)
                arrays.append(optimiser_step(name, self.states[k][l][part], layer[part], total, *rest))
            new.append(tuple(arrays))
        self.versions[k].append(new)
        self.waiting[k] = []

    def _penalty(self, k):
        """The penalty of the newest weights of a module; decoupled decay is none."""
        decay = 0.0 if self.optimiser["name"] == "adamw" else self.optimiser["alpha"]
        return weight_penalty(self.versions[k][-1], decay)

    def _guess(self, k, b):
        """The weights of a forward pass: the newest, or what they will be ``lag / M`` updates later."""
        lag = max(self.delay(k) - (0 if self.forward_first else 1), 0)
        newest, t = self.versions[k][-1], len(self.versions[k]) - 1
        if self.predict is None or lag == 0 or t == 0:
            return newest
        kind, regulator = self.predict
        horizon, rate = regulator * lag / self.M, self.batches[b][3] * self.rate_factors[k]
        return [
            tuple(layer[part] + horizon * self._motion(kind, k, l, part, rate, t) for part in (0, 1))
            for l, layer in enumerate(newest)
        ]

    def _motion(self, kind, k, l, part, rate, t):
        """What an array is thought to move by in one update."""
        state, past = self.states[k][l][part], [version[l][part] for version in self.versions[k]]
        if kind == "velocity":
            return -rate * state["u"]
        if kind == "adam":
            m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
            return -rate * m / (np.sqrt(v) + 1e-8)
        weights = 0.9 ** np.arange(t)[::-1]  # a running mean of all moves, the last one most
        moves = [after - before for before, after in pairwise(past)]
        return sum(w * move for w, move in zip(weights, moves, strict=True)) / weights.sum()

    def _values(self, k, layers, x):
        """[(what a layer reads, its pre-activations), ...]."""
        found = []
        for (W, bias), top in zip(layers, _is_output(k, self.versions), strict=True):
            z = x @ W + bias
            found.append((x, z))
            x = z if top else SLOPES[self.activation][0](z)
        return found


def _is_output(k, versions):
    """Whether each layer of module k is the network's last one."""
    n = len(versions[k][0])
    return [k == len(versions) - 1 and l == n - 1 for l in range(n)]


def _loss_and_error(z, y, weight):
    """Sum of the rows' losses, and the derivative of their mean: classes (n,) or numbers (n, c)."""
    if y.ndim == 1:
        losses = np.array([output_loss("softmax", row, c) for row, c in zip(z, y, strict=True)])
        errors = np.array([output_error("softmax", row, c) for row, c in zip(z, y, strict=True)])
    else:
        losses, errors = 0.5 * np.sum((z - y) ** 2, axis=1), z - y
    return np.sum(weight * losses), weight[:, None] * errors / len(z)
