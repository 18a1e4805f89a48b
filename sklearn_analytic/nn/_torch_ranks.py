"""Processes of torch.distributed behind the verbs of :class:`sklearn_analytic.nn._ranks.Alone`."""

import torch
import torch.distributed as dist


class Ranks:
    """The processes of a group that the caller has initialised; every rank calls every verb in the same order."""

    def __init__(self, group=None):
        if not dist.is_initialized():
            raise ValueError("Ranks needs a process group: call torch.distributed.init_process_group first")
        self._group = group
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
        self._travel(array, lambda t: dist.all_reduce(t, group=self._group))
        return array

    def share(self, arrays, owners):
        """Overwrite each array by that of its owner (a rank of the group), in place; return them."""
        for array, owner in zip(arrays, owners, strict=True):
            source = dist.get_global_rank(self._group or dist.group.WORLD, owner)
            self._travel(array, lambda t, source=source: dist.broadcast(t, source, group=self._group))
        return arrays

    def _travel(self, array, verb):
        """Run ``verb`` on a contiguous copy where the array itself cannot travel; NumPy memory is shared."""
        own = torch.as_tensor(array)
        moved = own.to(self._device or own.device).contiguous()
        verb(moved)
        if moved is not own:
            own.copy_(moved)
