"""Plans of networks: what builds an execution, what a fitted estimator keeps of it, and how it computes outputs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.nn import MLPExecution, torch_parts
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._mlp import raw_outputs
from sklearn_analytic.nn._ranks import Alone


class NetworkPlan(ABC):
    """One kind of network, before and after training; ``names`` are those of its fitted attributes."""

    names = ()
    reads = object  # kinds of arrays from which it computes: torch makes tensors of all that hold numbers

    @abstractmethod
    def execution(self, recipe, generator):
        """Return the network, freshly drawn, ready to be trained."""

    def log_epoch(self, execution):
        """Record what processes sent in an epoch that is over, where that is counted."""
        return None

    def communication(self, execution):
        """Return the record of what processes sent as a fitted attribute, where one was kept."""
        return {}

    @abstractmethod
    def fitted(self, execution):
        """Return the fitted attributes {name: value} of an estimator: host arrays."""

    @abstractmethod
    def forward(self, estimator):
        """Return the function of encoded host rows that gives their raw outputs (n, c), in their dtype."""

    def write(self, execution, fitted):
        """Give a network in training the weights of fitted attributes; all else of its state stays."""
        execution.restore(self.rewritten(execution.snapshot(), fitted))

    @abstractmethod
    def rewritten(self, snapshot, fitted):
        """Return a snapshot with the weights of fitted attributes."""


@dataclass(frozen=True)
class DenseNetwork(NetworkPlan):
    """Dense layers trained with NumPy and compiled kernels; fitted they are ``coefs_`` and ``intercepts_``."""

    sizes: tuple
    activation: str
    distributed: bool = False
    names = ("coefs_", "intercepts_")
    reads = np.ndarray

    def execution(self, recipe, generator):
        """Layers drawn on the host."""
        if self.distributed == "entropy":
            raise ValueError(
                "distributed='entropy' compresses gradients in torch, but device='cpu' trains a plain network in "
                "compiled code: choose device='torch:cpu', or distributed=True."
            )
        layers = initial_layers(self.sizes, self.activation, generator)
        return MLPExecution(layers, self.activation, recipe, generator, ranks_of(self.distributed))

    def fitted(self, execution):
        """Weights as scikit-learn's MLP keeps them."""
        return coefs_of(execution.layers())

    def rewritten(self, snapshot, fitted):
        """The flat parameters."""
        return snapshot | {"theta": flat_weights(fitted)}

    def forward(self, estimator):
        """A pass through the layers."""
        layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
        return lambda x: raw_outputs(layers, self.activation, x)


@dataclass(frozen=True)
class TorchDenseNetwork(DenseNetwork):
    """Dense layers trained by torch on any device; fitted they are what the CPU's are, and need no torch."""

    device: str = "cpu"

    def execution(self, recipe, generator):
        """The same draws as on the CPU."""
        return _torch_execution(self._drawn(generator), recipe, self.device, self.distributed)

    def _drawn(self, generator):
        """The network with the weights that the CPU would draw."""
        parts = torch_parts()
        layers = initial_layers(self.sizes, self.activation, generator)
        network = parts.dense_network(self.sizes, self.activation)
        arrays = [array for weights, bias in layers for array in (weights.T, bias)]
        parts.load_state(network, dict(zip(parts.state_arrays(network), arrays, strict=True)))
        return network

    def log_epoch(self, execution):
        """Torch's execution counts."""
        execution.log_epoch()

    def communication(self, execution):
        """As torch's execution recorded it."""
        return communication_of(execution)

    def fitted(self, execution):
        """Torch keeps weights transposed."""
        arrays = list(parts_of(execution).values())
        return coefs_of([(w.T.copy(), b) for w, b in zip(arrays[::2], arrays[1::2], strict=True)])

    def rewritten(self, snapshot, fitted):
        """Under the names of torch."""
        return snapshot | {"network": torch_named(snapshot["network"], layers_of(fitted))}


@dataclass(frozen=True)
class ModuleNetwork(NetworkPlan):
    """Any Sequential of torch; fitted it is ``network_state_``, a dict of arrays."""

    build: Any  # function of a generator
    device: str = "cpu"
    distributed: bool = False
    names = ("network_state_",)

    def execution(self, recipe, generator):
        """The network, built anew."""
        return _torch_execution(self.build(generator), recipe, self.device, self.distributed)

    def log_epoch(self, execution):
        """Torch's execution counts."""
        execution.log_epoch()

    def communication(self, execution):
        """As torch's execution recorded it."""
        return communication_of(execution)

    def fitted(self, execution):
        """Parameters and buffers."""
        return {"network_state_": parts_of(execution)}

    def rewritten(self, snapshot, fitted):
        """They are the state."""
        return snapshot | {"network": fitted["network_state_"]}

    def forward(self, estimator):
        """A pass through a network with the fitted state, in evaluation mode."""
        parts = torch_parts()
        network = self.build(np.random.default_rng(0))
        parts.load_state(network, estimator.network_state_)
        return parts.Forward(network, self.device).outputs


def dense_plan(sizes, activation, device, distributed, needs_torch):
    """Return the plan of a plain network: compiled on the CPU, torch's elsewhere and where it alone has the means."""
    if device == "cpu" and not needs_torch:
        return DenseNetwork(sizes, activation, distributed)
    return TorchDenseNetwork(sizes, activation, distributed, device)


def check_distributed(distributed, random_state):
    """Refuse what is no way to train together, and processes that would not draw the same numbers."""
    if distributed != "entropy" and not isinstance(distributed, bool | np.bool_):
        raise ValueError(f"distributed must be True, False or 'entropy', got {distributed!r}.")
    if distributed and not isinstance(random_state, int | np.integer):
        raise ValueError(
            f"distributed={distributed!r} needs an integer random_state: all processes draw the same numbers."
        )


def ranks_of(distributed):
    """The processes that train together: alone (False), sending gradients in full (True), or as "entropy" says."""
    if not distributed:
        return Alone()
    return torch_parts().Ranks(compression="entropy" if distributed == "entropy" else None)


def parts_of(execution):
    """Host arrays of a torch network."""
    return torch_parts().state_arrays(execution.network)


def _torch_execution(network, recipe, device, distributed):
    """An execution on a torch device."""
    parts = torch_parts()
    return parts.TorchExecution(network, recipe, device.removeprefix("torch:"), recipe.seed, ranks_of(distributed))


def communication_of(execution):
    """The record under its name."""
    record = execution.communication()
    return {} if record is None else {"communication_": record}


def coefs_of(layers):
    """Layers under the names of scikit-learn's MLP."""
    return {"coefs_": [w for w, _ in layers], "intercepts_": [b for _, b in layers]}


def layers_of(fitted):
    """Pairs (W, b) of such attributes."""
    return list(zip(fitted["coefs_"], fitted["intercepts_"], strict=True))


def flat_weights(fitted):
    """Layers as one vector, W before b."""
    return np.concatenate([part.ravel() for layer in layers_of(fitted) for part in layer])


def torch_weights(layers):
    """Layers [(W, b), ...] as torch's arrays, in their order."""
    return [part for weights, bias in layers for part in (weights.T, bias)]


def torch_named(state, layers):
    """Layers under the names that torch's arrays have in a state."""
    return dict(zip(state, torch_weights(layers), strict=True))
