"""Processes of torch.distributed behind the verbs of :class:`sklearn_analytic.nn._ranks.Alone`."""

import torch
import torch.distributed as dist

from sklearn_analytic.nn._communication import Traffic, ring_bytes


class Ranks:
    """The processes of a group that the caller has initialised; every rank calls every verb in the same order.

    Parameters
    ----------
    group : ProcessGroup or None
        The group; None is the default one.
    compression : {"entropy"} or None
        How gradients travel. Nothing else is compressed.

    Attributes
    ----------
    traffic : Traffic
        Bytes sent, counted by verb.
    """

    def __init__(self, group=None, compression=None):
        if not dist.is_initialized():
            raise ValueError("Ranks needs a process group: call torch.distributed.init_process_group first")
        self.group, self.compression, self.traffic = group, compression, Traffic()
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        nccl = dist.get_backend(group) == "nccl"  # which moves tensors of the GPU only
        self._device = torch.device("cuda", torch.cuda.current_device()) if nccl else None

    def mean_(self, array):
        """Replace a tensor or a NumPy array by its mean over ranks, in place; return it."""
        self.sum_(array)
        array /= self.size
        return array

    def sum_(self, array):
        """Replace a tensor or a NumPy array by its sum over ranks, in place; return it."""
        self.traffic.other += ring_bytes(array.nbytes, self.size)
        self._travel(array, lambda t: dist.all_reduce(t, group=self.group))
        return array

    def share(self, arrays, owners):
        """Overwrite each array by that of its owner (a rank of the group), in place; return them."""
        for array, owner in zip(arrays, owners, strict=True):
            source = dist.get_global_rank(self.group or dist.group.WORLD, owner)
            self.traffic.other += (self.size - 1) / self.size * array.nbytes
            self._travel(array, lambda t, source=source: dist.broadcast(t, source, group=self.group))
        return arrays

    def gather(self, payload):
        """Return the byte strings of all ranks, in their order; the longest sets how many bytes each of them sends."""
        sizes = [torch.zeros(1, dtype=torch.int64, device=self._device) for _ in range(self.size)]
        own = torch.tensor([len(payload)], device=self._device)
        dist.all_gather(sizes, own, group=self.group)
        sizes = [int(n) for n in sizes]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(payload)] = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        padded = padded.to(self._device or "cpu")
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        self.traffic.payload += sum(sizes) / self.size
        self.traffic.wire += (self.size - 1) * (max(sizes) + own.nbytes)
        return [part.cpu().numpy()[:n].tobytes() for part, n in zip(parts, sizes, strict=True)]

    def _travel(self, array, verb):
        """Run ``verb`` on a contiguous copy where the array itself cannot travel; NumPy memory is shared."""
        own = torch.as_tensor(array)
        moved = own.to(self._device or own.device).contiguous()
        verb(moved)
        if moved is not own:
            own.copy_(moved)


def check_gpus(n_workers):
    """Refuse more processes than GPUs: NCCL gives each process one of its own."""
    found = torch.cuda.device_count()
    if n_workers > found:
        raise ValueError(
            f"n_workers={n_workers} with device='cuda' needs as many GPUs, but there are {found}: lower n_workers, or "
            "choose device='cpu'."
        )
