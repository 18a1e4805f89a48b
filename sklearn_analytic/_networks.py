"""Plans of networks: what builds an execution, what a fitted estimator keeps of it, and how it computes outputs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.nn import Alone, MLPExecution, initial_layers, raw_outputs, torch_parts


class NetworkPlan(ABC):
    """One kind of network, before and after training; ``names`` are those of its fitted attributes."""

    names = ()

    @abstractmethod
    def execution(self, recipe, generator):
        """Return the network, freshly drawn, ready to be trained."""

    @abstractmethod
    def fitted(self, execution):
        """Return the fitted attributes {name: value} of an estimator: host arrays."""

    @abstractmethod
    def outputs(self, estimator, x):
        """Return the raw outputs (n, c) of encoded host rows, in their dtype."""


@dataclass(frozen=True)
class DenseNetwork(NetworkPlan):
    """Dense layers trained by the compiled loop of the CPU; fitted they are ``coefs_`` and ``intercepts_``."""

    sizes: tuple
    activation: str
    distributed: bool = False
    names = ("coefs_", "intercepts_")

    def execution(self, recipe, generator):
        """Layers drawn on the host."""
        layers = initial_layers(self.sizes, self.activation, generator)
        return MLPExecution(layers, self.activation, recipe, generator, ranks_of(self.distributed))

    def fitted(self, execution):
        """Weights as scikit-learn's MLP keeps them."""
        return _coefs(execution.layers())

    def outputs(self, estimator, x):
        """A forward pass."""
        return raw_outputs(list(zip(estimator.coefs_, estimator.intercepts_, strict=True)), self.activation, x)


@dataclass(frozen=True)
class TorchDenseNetwork(DenseNetwork):
    """Dense layers trained by torch on any device; fitted they are what the CPU's are, and need no torch."""

    device: str = "cpu"

    def execution(self, recipe, generator):
        """The same draws as on the CPU."""
        parts = torch_parts()
        layers = initial_layers(self.sizes, self.activation, generator)
        network = parts.dense_network(self.sizes, self.activation)
        arrays = [array for weights, bias in layers for array in (weights.T, bias)]
        parts.load_state(network, dict(zip(parts.state_arrays(network), arrays, strict=True)))
        return _torch_execution(network, recipe, self.device, self.distributed)

    def fitted(self, execution):
        """Torch keeps weights transposed."""
        arrays = list(parts_of(execution).values())
        return _coefs([(w.T.copy(), b) for w, b in zip(arrays[::2], arrays[1::2], strict=True)])


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

    def fitted(self, execution):
        """Parameters and buffers."""
        return {"network_state_": parts_of(execution)}

    def outputs(self, estimator, x):
        """A forward pass in evaluation mode."""
        return self._loaded(estimator).outputs(x)

    def _loaded(self, estimator):
        """A network with the fitted state."""
        parts = torch_parts()
        network = self.build(np.random.default_rng(0))
        parts.load_state(network, estimator.network_state_)
        return parts.Forward(network, self.device)


def dense_plan(sizes, activation, device, distributed, needs_torch):
    """Return the plan of a plain network: compiled on the CPU, torch's elsewhere and where it alone has the means."""
    if device == "cpu" and not needs_torch:
        return DenseNetwork(sizes, activation, distributed)
    return TorchDenseNetwork(sizes, activation, distributed, device)


def ranks_of(distributed):
    """The processes that train together."""
    return torch_parts().Ranks() if distributed else Alone()


def parts_of(execution):
    """Host arrays of a torch network."""
    return torch_parts().state_arrays(execution.network)


def _torch_execution(network, recipe, device, distributed):
    """An execution on a torch device."""
    parts = torch_parts()
    return parts.TorchExecution(network, recipe, device.removeprefix("torch:"), recipe.seed, ranks_of(distributed))


def _coefs(layers):
    """Layers under the names of scikit-learn's MLP."""
    return {"coefs_": [w for w, _ in layers], "intercepts_": [b for _, b in layers]}
