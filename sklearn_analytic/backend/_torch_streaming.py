"""Blocks on their way to a CUDA device: pinned host buffers, the next block's copy beside the work on this one."""

from dataclasses import replace

import numpy as np
import torch

_N_BUFFERS = 2  # one is being copied to the device while the other is filled


class CudaRuntime:
    """What streaming needs of CUDA, so that a test can put something else in its place."""

    def __init__(self, device):
        self._device, self._side = device, torch.cuda.Stream(device)

    def pinned(self, size, dtype):
        """Return ``size`` numbers of page-locked memory."""
        return torch.empty(size, dtype=dtype, pin_memory=True)

    def copy_to_device(self, rows):
        """Begin to copy pinned rows on the side stream; return the rows there, and an event for the end."""
        with torch.cuda.stream(self._side):
            moved = rows.to(self._device, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._side)
        return moved, done

    def receive(self, moved, done):
        """Let what is computed from now on wait for the copy; keep its memory until that work has run."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(done)
        moved.record_stream(current)


def stream_blocks(blocks, device, runtime=None):
    """Yield blocks with ``x`` on a CUDA device, each copied while the one before it is computed on.

    Parameters
    ----------
    blocks : iterable of dataclass
        Each has a field ``x``, an ndarray or a tensor; the other fields are passed on as they are.
    device : torch.device
        Where ``x`` goes. A tensor that is not on the host is passed on as it is.
    runtime : object, default=None
        Stands in for :class:`CudaRuntime`.

    Yields
    ------
    dataclass
        The blocks in order. An error of the iterable is raised after the blocks that came before it.
    """
    buffers = _Buffers(runtime or CudaRuntime(device))
    waiting = None
    source = iter(blocks)
    while True:
        try:
            following = buffers.send(next(source))
        except BaseException as error:  # StopIteration too: what was sent before it is still to be given out
            if waiting is not None:
                yield buffers.receive(waiting)
            if isinstance(error, StopIteration):
                return
            raise
        if waiting is not None:
            yield buffers.receive(waiting)
        waiting, following = following, None


class _Buffers:
    """Pinned buffers taken in turn; one is filled again only after its last copy has ended."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._buffers, self._copied = [None] * _N_BUFFERS, [None] * _N_BUFFERS
        self._next = 0

    def send(self, block):
        """Begin to copy a block's rows; return what :meth:`receive` needs."""
        rows = _on_host(block.x)
        if rows is None:
            return block, None
        slot, self._next = self._next, (self._next + 1) % _N_BUFFERS
        if self._copied[slot] is not None:
            self._copied[slot].synchronize()
        moved, done = self._runtime.copy_to_device(self._filled(slot, rows))
        self._copied[slot] = done
        return replace(block, x=moved), done  # rows of the host may go now

    def receive(self, sent):
        """The block with its rows on the device, for the stream that computes."""
        block, done = sent
        if done is not None:
            self._runtime.receive(block.x, done)
        return block

    def _filled(self, slot, rows):
        """The rows in a pinned buffer, which grows where it must."""
        buffer = self._buffers[slot]
        if buffer is None or buffer.dtype != rows.dtype or len(buffer) < rows.numel():
            buffer = self._buffers[slot] = self._runtime.pinned(rows.numel(), rows.dtype)
        part = buffer[: rows.numel()].view(rows.shape)
        part.copy_(rows)
        return part


def _on_host(x):
    """Rows as a tensor of the host, or None where they are elsewhere."""
    if isinstance(x, torch.Tensor):
        return x if x.device.type == "cpu" else None
    x = np.ascontiguousarray(x)
    return torch.from_numpy(x if x.flags.writeable else x.copy())
