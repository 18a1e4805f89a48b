"""A torch network cut into the modules of a pipeline."""

import contextlib
import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from sklearn_analytic.decoupled.torch_cell import Role, TorchCell
from sklearn_analytic.decoupled.torch_devices import placements
from sklearn_analytic.decoupled.torch_draws import Draws
from sklearn_analytic.nn._torch_activations import packed
from sklearn_analytic.nn._torch_execution import PRECISIONS, TorchExecution
from sklearn_analytic.nn._torch_modes import in_own_modes, one_thread, own_modes, still_norms, train
from sklearn_analytic.nn._torch_networks import outputs_of, state_arrays
from sklearn_analytic.nn._torch_stages import BATCH_NORMS, split


class _Whole(TorchExecution):
    """The network in one piece: its checks, the rows where it reads them, its loss."""

    def __init__(self, network, recipe, device, seed):
        super().__init__(network, replace(recipe, scheme="backprop", kfac=None), device, seed)

    def error_of(self, y, weight, total, logits):
        """(loss, e): the mean loss over ``total`` rows, and its gradient."""
        return self._error_of(y, weight, total, logits)


class TorchCells:
    """A :class:`~sklearn_analytic.decoupled.pipeline.CellStack` of the stages of a torch network, trained in place.

    A stage is a layer with what follows it (normalisation, activation, pooling); the output layer is the last one.

    What autograd keeps of a batch and what is made from weights count as activations: low copies of weights
    ("bfloat16") and parametrised weights are those of the forward pass, with ``stash=False``, too.

    Parameters
    ----------
    network : torch.nn.Sequential
        Moved to its devices; give a copy where the original must stay. Batch normalisations that come frozen and in
        evaluation mode stay so.
    ranges : list of tuple of int
        Half-open ranges of stages that cover them all, output layer included: one for each module.
    recipe : Recipe
        Optimiser, output rule, precision, low-bit activations. The scheme is backpropagation, without K-FAC.
    device : str or torch.device
        Where; several modules on one GPU launch on a stream each.
    seed : int
        Host seed of dropout.
    devices : sequence of str or torch.device, or None
        One for each module, in place of ``device``; see :func:`devices_of`.
    alone : bool
        Whether each operation is to use one thread, as modules run beside each other.

    Attributes
    ----------
    network : torch.nn.Sequential
        The live weights: those of all modules.
    cells : list of TorchCell
        Bottom to top.

    Raises
    ------
    ValueError
        If the ranges do not cover the stages, or two modules share a weight; and as :class:`TorchExecution` does.

    Examples
    --------
    >>> from sklearn_analytic.decoupled.torch_cells import TorchCells
    >>> from sklearn_analytic.nn import Recipe
    >>> from sklearn_analytic.nn._torch_networks import dense_network
    >>> network = dense_network((4, 8, 8, 3), "relu")
    >>> stack = TorchCells(network, [(0, 1), (1, 3)], Recipe(scheme="backprop"))
    >>> [len(cell.tensors()) for cell in stack.cells]
    [2, 4]
    """

    def __init__(self, network, ranges, recipe, device="cpu", seed=0, devices=None, alone=True):
        stages = split(network)
        _check_ranges(ranges, len(stages))
        self.recipe, self._alone = recipe, alone
        self._devices = _devices(device, devices, len(ranges))
        self.device = self._devices[0]
        self._build(network, [stages[first:stop] for first, stop in ranges], seed)

    @in_own_modes
    def _build(self, network, groups, seed):
        """Check the whole, then cut it."""
        self.network, self._dtype, self._still = network, PRECISIONS[self.recipe.precision][0], still_norms(network)
        chains = [nn.Sequential(*(module for stage in group for module in stage.modules)) for group in groups]
        _check_ties(chains)
        self._whole = self._placer = _Whole(network, self.recipe, self.device, seed)
        if len(set(self._devices)) > 1:  # rows are checked against a network in one place
            self._placer = _Whole(copy.deepcopy(network), self.recipe, "cpu", seed)
        places = placements(self._devices)
        self.cells = [self._cell(k, chain.to(places[k].device), places, seed) for k, chain in enumerate(chains)]

    def _cell(self, k, chain, places, seed):
        """Module k in training."""
        last = len(places) - 1
        error_of = self._whole.error_of if k == last else None
        role = Role(k == 0, error_of, PRECISIONS[self.recipe.precision][1], last == 0, self._alone)
        return TorchCell(chain, self.recipe, role, places[k], Draws(chain, places[k].device, seed, k))

    @in_own_modes
    def place(self, rows):
        """Return (x, y, weight): rows with the first module, targets with the last; see :class:`TorchExecution`."""
        placed = self._placer.place(rows)
        ends = self._devices[0], self._devices[-1], self._devices[-1]
        return tuple(None if t is None else t.to(end) for t, end in zip(placed, ends, strict=True))

    @in_own_modes
    def rows(self, indices):
        """Row numbers on the first device."""
        return torch.as_tensor(np.ascontiguousarray(indices), device=self.device)

    @contextlib.contextmanager
    def training(self, epoch, least):
        """Training mode, own modes of the calling thread, one thread for each module; all of it ends with the block."""
        self._check_norms(least)
        bits = self.recipe.activation_bits
        with own_modes(self.device.type), one_thread(self._alone), packed(self.network, bits):
            train(self.network, self._still)
            for cell in self.cells:
                cell.draws.epoch = epoch
                cell.placement.after_caller()
            try:
                yield
            finally:
                for cell in self.cells:
                    cell.placement.before_caller()

    @in_own_modes
    def outputs(self, x):
        """Raw outputs (n, c) of host rows in evaluation mode, in their dtype, computed in blocks."""
        self.network.eval()

        def through(block):
            for cell in self.cells:
                block = cell.network(block.to(cell.placement.device))
            return block

        return outputs_of(through, x, self.device, self._dtype)

    def arrays(self):
        """Return parameters and buffers of the whole network by name, as host arrays."""
        return state_arrays(self.network)

    def _check_norms(self, least):
        """Refuse a batch whose moments do not exist."""
        norms = [m for m in self.network.modules() if isinstance(m, BATCH_NORMS) and m not in self._still]
        if least < 2 and norms:
            raise ValueError(
                f"batch_size={self.recipe.batch_size} leaves a batch of one row, and batch normalisation needs two: "
                "choose a batch_size that leaves more, or a network without batch normalisation"
            )


def _devices(device, devices, n_modules):
    """A device for each module."""
    devices = [device] * n_modules if devices is None else devices
    if len(devices) != n_modules:
        raise ValueError(f"devices has {len(devices)} entries for {n_modules} modules: give one for each, or None")
    return [torch.device(d) for d in devices]


def _check_ranges(ranges, n_stages):
    """Refuse ranges that leave a stage out, or have one twice."""
    stops = [int(stop) for _, stop in ranges]
    firsts = [int(first) for first, _ in ranges]
    borders = [0, *stops]
    if not stops or firsts != borders[:-1] or borders[-1] != n_stages or len(set(borders)) < len(borders):
        raise ValueError(
            f"ranges={list(ranges)} must be consecutive, non-empty ranges of the network's {n_stages} stages (layers "
            f"with weights): start at 0, let each begin where the one below ends, and stop at {n_stages}"
        )


def _check_ties(chains):
    """Refuse a weight or a running statistic of two modules: each has its own optimiser, its own time."""
    owners = {}
    for k, chain in enumerate(chains):
        for tensor in (*chain.parameters(), *chain.buffers()):
            if owners.setdefault(id(tensor), k) != k:
                raise ValueError(
                    f"modules {owners[id(tensor)] + 1} and {k + 1} share a weight, and each trains its own at its own "
                    "time: cut the network so that one module holds both layers, or give layers weights of their own"
                )
