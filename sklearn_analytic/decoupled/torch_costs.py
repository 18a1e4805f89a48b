"""What the stages of a torch network cost, for modules that take about the same time."""

import copy
import time
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from sklearn_analytic.decoupled.torch_cells import one_thread
from sklearn_analytic.nn._torch_execution import PRECISIONS
from sklearn_analytic.nn._torch_modes import own_modes, own_randomness, still_norms, train
from sklearn_analytic.nn._torch_stages import send_back, split

_PASSES = 64  # operations in the time that one output of an elementwise module takes, forward and backward
_UNKNOWN = 6  # operations of a weight on a row, both passes, in a stage none of whose kernels the counter knows


def stage_costs(network, n_features, n_rows=32):
    """Return the cost of every stage, forward and backward, in floating point operations: a count, not a measurement.

    Parameters
    ----------
    network : torch.nn.Sequential
        Left as it is.
    n_features : int
        Columns of a row.
    n_rows : int
        Rows of a batch.

    Returns
    -------
    list of float
        Products and convolutions as torch counts them (where it counts none, 6 operations for a weight and a row), and
        64 for each output of every module of the stage, whose memory takes time.

    Examples
    --------
    >>> from sklearn_analytic.decoupled.torch_costs import stage_costs
    >>> from sklearn_analytic.nn._torch_networks import dense_network
    >>> stage_costs(dense_network((8, 16, 3), "relu"), n_features=8, n_rows=1)
    [2560.0, 480.0]
    """
    return _over_stages(network, n_features, n_rows, "float32", "cpu", _counted)


def measured_costs(network, n_features, n_rows, precision="float32", device="cpu", repeats=5):
    """Return the seconds of every stage, forward and backward, in one thread: medians on rows of noise.

    Parameters
    ----------
    network : torch.nn.Sequential
        Left as it is.
    n_features, n_rows : int
        Columns of a row, rows of a batch.
    precision : str
        As of a recipe.
    device : str or torch.device
        Where.
    repeats : int
        Passes that count, after one that does not.

    Returns
    -------
    list of float
        Of all stages.

    Examples
    --------
    >>> from sklearn_analytic.decoupled.torch_costs import measured_costs
    >>> from sklearn_analytic.nn._torch_networks import dense_network
    >>> len(measured_costs(dense_network((8, 16, 3), "relu"), n_features=8, n_rows=4))
    2
    """
    return _over_stages(network, n_features, n_rows, precision, device, partial(_timed, repeats=repeats))


def _over_stages(network, n_features, n_rows, precision, device, cost):
    """``cost(stage, x, run)`` of every stage of a copy on the outputs of the one below."""
    device, (dtype, low) = torch.device(device), PRECISIONS[precision]
    with own_modes(device.type), own_randomness(device, 0), one_thread(True):
        still = still_norms(network)
        copied = copy.deepcopy(network).to(device, dtype)
        frozen = [b for a, b in zip(network.modules(), copied.modules(), strict=True) if a in still]
        train(copied, frozen)
        rows = np.random.default_rng(0).standard_normal((n_rows, n_features))
        x, found = torch.from_numpy(rows).to(device, dtype), []
        for stage in split(copied):
            run = partial(_both_passes, stage, low)
            found.append(float(cost(stage, x, run)))
            x = run(x).detach()
            x.requires_grad_()
    return found


def _both_passes(stage, low, x):
    """Forward and backward pass of a stage; its output."""
    with torch.autocast(x.device.type, low, enabled=low is not None):
        output = stage(x)
        send_back([output], [torch.ones_like(output)])
    return output


def _counted(stage, x, run):
    """Operations of a stage."""
    entries, handles = [], []
    for module in stage.modules:
        handles.append(module.register_forward_hook(lambda module, inputs, output: entries.append(_entries(output))))
    with FlopCounterMode(display=False) as counter:
        run(x)
    for handle in handles:
        handle.remove()
    unknown = _UNKNOWN * len(x) * sum(p.numel() for p in stage.layer.parameters() if p.ndim > 1)
    return (counter.get_total_flops() or unknown) + _PASSES * sum(entries)


def _entries(output):
    """Numbers in what a module returns, which inside a stage may be a tuple."""
    return output.numel() if isinstance(output, torch.Tensor) else sum(map(_entries, output))


def _timed(stage, x, run, repeats):
    """Median of seconds."""
    found = []
    for _ in range(repeats + 1):
        _wait(x.device)
        begin = time.perf_counter()
        run(x)
        _wait(x.device)
        found.append(time.perf_counter() - begin)
    return np.median(found[1:])


def _wait(device):
    """Until the device has done what was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
