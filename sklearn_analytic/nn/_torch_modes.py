"""Modes of torch outside of networks and in their modules: what a caller left on must not change what is computed."""

import contextlib
import threading
from functools import wraps

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_analytic.backend import is_job

_EPOCH = 0x9E3779B9  # spreads the seeds of epochs
_RANK = 0xBF58476D1CE4E5B9  # spreads the seeds of ranks
_LOCK, _HELD = threading.Lock(), []  # threads before the first context, contexts
_DRAWING = threading.RLock()  # torch's random state is that of the process: fits in several threads draw in turns


@contextlib.contextmanager
def own_modes(device_type="cpu"):
    """Record gradients and compute in a network's precision, inside a caller's no_grad, inference_mode or autocast.

    Jobs of joblib's that are threads compute with one thread each.
    """
    ambient = torch.is_autocast_enabled(device_type)
    exact = torch.autocast(device_type, enabled=False) if ambient else contextlib.nullcontext()
    crowded = is_job() and torch.get_num_threads() > 1
    # inference mode ends first: tensors made under it can never be trained
    with torch.inference_mode(False), torch.enable_grad(), exact, one_thread(crowded):
        yield


@contextlib.contextmanager
def one_thread(alone):
    """Have this thread, and threads that are started meanwhile, compute with one thread each.

    What a thread sets is what later threads start from: of contexts that overlap, in threads of the caller's, the last
    one out restores what was before the first one.
    """
    if not alone:
        yield
        return
    with _LOCK:
        if not _HELD:
            _HELD.extend([torch.get_num_threads(), 0])
        _HELD[1] += 1
        own = torch.get_num_threads() if torch.get_num_threads() > 1 else _HELD[0]  # one may come from such a context
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            _HELD[1] -= 1
            torch.set_num_threads(own if _HELD[1] else _HELD[0])
            if not _HELD[1]:
                _HELD.clear()


def in_own_modes(method):
    """Decorate a method of an object with a ``device`` to run in :func:`own_modes`."""

    @wraps(method)
    def run(self, *args, **kwargs):
        with own_modes(self.device.type):
            return method(self, *args, **kwargs)

    return run


@contextlib.contextmanager
def own_randomness(device, seed):
    """Draw torch's random numbers from ``seed``, one thread at a time, and leave the global states alone."""
    with _DRAWING, torch.random.fork_rng([device] if device.type == "cuda" else []):
        _seed(device, seed)
        yield


def _seed(device, seed):
    """Seed the host and a GPU: ``torch.manual_seed`` looks at all kinds of device, longer than a small batch takes."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        place = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[place].manual_seed(seed)


@contextlib.contextmanager
def kept_modes(network):
    """Give every module its own training flag back, which is not always that of the whole."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def still_norms(network):
    """Return the batch normalisations that a caller froze for good: all parameters, and the moments by ``eval()``."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and not m.training and _is_frozen(m)]


def train(network, still):
    """Put a network into training mode, except for the modules in ``still``."""
    network.train()
    for module in still:
        module.eval()


def dropout_seed(seed, epoch, rank):
    """Return torch's seed of one epoch on one rank: shares of a batch must not get the same masks."""
    return (seed + _EPOCH * epoch + _RANK * rank) % 2**63


def _is_frozen(module):
    """Whether a module has parameters, none of which trains."""
    flags = [p.requires_grad for p in module.parameters()]
    return bool(flags) and not any(flags)
