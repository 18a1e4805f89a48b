"""Plans of networks: a form (what layers are) and a way to train it, before and after training.

A form says how layers are drawn and what fitted attributes they become; a way, here the network as a whole, says what
trains them. Layer-wise and decoupled training are further ways over the same forms.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.nn import MLPExecution, torch_module
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._mlp import raw_outputs
from sklearn_analytic.nn._ranks import Alone

# ---- forms ----


@dataclass(frozen=True)
class CompiledDense:
    """Dense layers in NumPy and compiled kernels; fitted they are ``coefs_`` and ``intercepts_``."""

    sizes: tuple
    activation: str
    distributed: Any = False
    names = ("coefs_", "intercepts_")
    reads = np.ndarray  # kinds of arrays from which it computes
    is_compiled = True

    def layers(self, generator, dtype=np.float64):
        """Return layers [(W, b), ...], freshly drawn."""
        return initial_layers(self.sizes, self.activation, generator, dtype)

    def named(self, layers):
        """Return layers as fitted attributes, under the names of scikit-learn's MLP."""
        return coefs_of(layers)

    def found(self, fitted):
        """Return the layers of fitted attributes."""
        return layers_of(fitted)

    def read(self, state):
        """Return the layers of a state in training."""
        return state

    def forward(self, fitted):
        """Return the function of encoded host rows that gives their raw outputs (n, c), in their dtype."""
        layers = layers_of(fitted)
        return lambda x: raw_outputs(layers, self.activation, x)

    def layer_units(self, fitted):
        """Return the function of encoded host rows that gives the units [(n, w), ...] of all layers, outputs last."""
        *hidden, last = layers_of(fitted)

        def units(x):
            found = []
            for layer in hidden:
                x = raw_outputs([layer], self.activation, x, last=self.activation)
                found.append(x)
            return [*found, raw_outputs([last], self.activation, x)]

        return units


@dataclass(frozen=True)
class TorchDense(CompiledDense):
    """Dense layers in torch on any device; fitted they are what the CPU's are, and need no torch."""

    device: str = "cpu"
    is_compiled = False
    read_copies = True  # whether what is read of a state shares no memory with it

    def network(self, generator, dtype=np.float64):
        """Return the network with the weights that the CPU would draw."""
        parts = torch_module("sklearn_analytic.nn._torch_networks")
        network = parts.dense_network(self.sizes, self.activation)
        arrays = self.arrays(self.layers(generator, dtype))
        parts.load_state(network, dict(zip(network.state_dict(), arrays, strict=True)))
        return network

    def read(self, state):
        """Torch keeps weights transposed."""
        arrays = list(state.values())
        return [(weights.T.copy(), bias.copy()) for weights, bias in zip(arrays[::2], arrays[1::2], strict=True)]

    def arrays(self, layers):
        """Return layers as torch's arrays, in their order."""
        return [part for weights, bias in layers for part in (weights.T, bias)]

    def written(self, layers, state):
        """Return layers as a state in training is laid out: under the names of torch's arrays."""
        return dict(zip(state, self.arrays(layers), strict=True))


@dataclass(frozen=True)
class TorchSequential:
    """Any Sequential of torch; fitted it is ``network_state_``, a dict of arrays."""

    build: Any  # function of a generator
    device: str = "cpu"
    distributed: Any = False
    names = ("network_state_",)
    reads = object  # torch makes tensors of all that hold numbers
    is_compiled = False
    read_copies = False

    def network(self, generator):
        """Return the network, built anew."""
        return self.build(generator)

    def named(self, state):
        """Return parameters and buffers as a fitted attribute."""
        return {"network_state_": state}

    def found(self, fitted):
        """Return the parameters and buffers of fitted attributes."""
        return fitted["network_state_"]

    def read(self, state):
        """They are the state."""
        return state

    def arrays(self, found):
        """Return them in their order."""
        return list(found.values())

    def written(self, found, state):
        """They are the state."""
        return found

    def forward(self, fitted):
        """A pass through a network with the fitted state, in evaluation mode."""
        parts = torch_module("sklearn_analytic.nn._torch_networks")
        return parts.Forward(self._loaded(fitted), self.device).outputs

    def layer_units(self, fitted):
        """The same of stages, maps and steps by their means."""
        parts = torch_module("sklearn_analytic.nn._torch_layer_units")
        return parts.LayerUnits(self._loaded(fitted), self.device).of

    def _loaded(self, fitted):
        """The network with the fitted state."""
        network = self.build(np.random.default_rng(0))
        torch_module("sklearn_analytic.nn._torch_networks").load_state(network, fitted["network_state_"])
        return network


def dense_form(sizes, activation, device="cpu", distributed=False, needs_torch=False):
    """Return a plain network's form: compiled on the CPU, torch's elsewhere and where it alone has the means."""
    if device == "cpu" and not needs_torch:
        return CompiledDense(sizes, activation, distributed)
    return TorchDense(sizes, activation, distributed, device)


# ---- ways ----


class NetworkPlan(ABC):
    """A network before and after training: a form, and a way to train it."""

    form: Any

    @property
    def names(self):
        """Names of the fitted attributes that hold weights."""
        return self.form.names

    @property
    def reads(self):
        """Kinds of arrays from which it computes."""
        return self.form.reads

    @abstractmethod
    def execution(self, recipe, generator):
        """Return the network, freshly drawn, ready to be trained."""

    def log_epoch(self, execution):
        """Record what processes sent in an epoch that is over, where torch counts it."""
        if not self.form.is_compiled:
            execution.log_epoch()

    def communication(self, execution):
        """Return the record of what processes sent as a fitted attribute, where one was kept."""
        record = None if self.form.is_compiled else execution.communication()
        return {} if record is None else {"communication_": record}

    def fitted(self, execution):
        """Return the fitted attributes {name: value} of an estimator: host arrays."""
        form = self.form
        return form.named(form.read(execution.layers() if form.is_compiled else execution.arrays()))

    def finished(self, execution):
        """Return the fitted attributes of a network whose training is over, and the snapshot with which it goes on."""
        return self.fitted(execution), execution.snapshot()

    def forward(self, fitted):
        """Return the function of encoded host rows that gives their raw outputs (n, c), in their dtype."""
        return self.form.forward(fitted)

    def layer_units(self, fitted):
        """Return the function of encoded host rows that gives the units [(n, w), ...] of all layers, outputs last."""
        return self.form.layer_units(fitted)

    def write(self, execution, fitted):
        """Give a network in training the weights of fitted attributes; all else of its state stays."""
        execution.restore(self.rewritten(execution.snapshot(), fitted))

    @abstractmethod
    def rewritten(self, snapshot, fitted):
        """Return a snapshot with the weights of fitted attributes."""


@dataclass(frozen=True)
class Whole(NetworkPlan):
    """The network in one piece."""

    form: Any

    def execution(self, recipe, generator):
        """Compiled layers, or a network on a torch device."""
        form, ranks = self.form, ranks_of(self.form)
        if form.is_compiled:
            return MLPExecution(form.layers(generator), form.activation, recipe, generator, ranks)
        torch = torch_module("sklearn_analytic.nn._torch_execution")
        device = form.device.removeprefix("torch:")
        return torch.TorchExecution(form.network(generator), recipe, device, recipe.seed, ranks)

    def rewritten(self, snapshot, fitted):
        """The flat parameters, or torch's arrays."""
        form = self.form
        if form.is_compiled:
            return snapshot | dict.fromkeys({"theta", "mean"} & snapshot.keys(), flat_weights(fitted))
        written = {"network": form.written(form.found(fitted), snapshot["network"])}
        if snapshot.get("mean") is not None:
            written["mean"] = snapshot["mean"] | {"network": written["network"]}
        return snapshot | written


# ---- parts ----


def check_distributed(distributed, random_state):
    """Refuse processes that would not draw the same numbers."""
    if distributed and not isinstance(random_state, int | np.integer):
        raise ValueError(
            f"device__distributed={distributed!r} needs an integer random_state: all processes draw the same numbers."
        )


def ranks_of(form):
    """Return the processes that train a network: alone, or sending gradients in full or as "entropy" says."""
    if not form.distributed:
        return Alone()
    if form.is_compiled and form.distributed == "entropy":
        raise ValueError(
            "device__distributed='entropy' compresses gradients in torch, but device='cpu' trains a plain network in "
            "compiled code: choose device='torch:cpu', or device__distributed=True."
        )
    ranks = torch_module("sklearn_analytic.nn._torch_ranks").Ranks
    return ranks(compression="entropy" if form.distributed == "entropy" else None)


def coefs_of(layers):
    """Return layers under the names of scikit-learn's MLP."""
    return {"coefs_": [w for w, _ in layers], "intercepts_": [b for _, b in layers]}


def layers_of(fitted):
    """Return pairs (W, b) of such attributes."""
    return list(zip(fitted["coefs_"], fitted["intercepts_"], strict=True))


def flat_weights(fitted):
    """Return layers as one vector, W before b."""
    return np.concatenate([part.ravel() for layer in layers_of(fitted) for part in layer])
