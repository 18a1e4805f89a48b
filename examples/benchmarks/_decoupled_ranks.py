"""One process of a synchronous pipeline (torch.distributed.pipelining, gloo): see ``_decoupled_synchronous.py``.

Started once per rank with a request as JSON; the first rank prints the answer.
"""

import json
import sys
import time
from datetime import timedelta
from itertools import pairwise

import numpy as np
import torch
import torch.distributed as dist
from _decoupled_nets import RATE, rows_of, sizes_of
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleavedZeroBubble,
    ScheduleZBVZeroBubble,
)

from sklearn_analytic.decoupled.splitting import balanced_modules, dense_costs

# {schedule: (class, stages of every one of two ranks)}
SCHEDULES = {
    "GPipe": (ScheduleGPipe, ((0,), (1,))),
    "1F1B": (Schedule1F1B, ((0,), (1,))),
    "interleaved zero bubble": (ScheduleInterleavedZeroBubble, ((0, 2), (1, 3))),
    "ZBV zero bubble": (ScheduleZBVZeroBubble, ((0, 3), (1, 2))),
}


def layers_of_torch(task):
    """Layers, each with its activation; the same weights in every process."""
    torch.manual_seed(0)
    sizes = sizes_of(task)
    pairs = list(pairwise(sizes))
    return [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairs[:-1]] + [nn.Linear(*pairs[-1])]


class Rank:
    """The stages of one process, in training."""

    def __init__(self, task):
        self.task, self.rank, self.size = task, dist.get_rank(), dist.get_world_size()
        schedule, places = SCHEDULES[task["schedule"]]
        n_stages = sum(len(own) for own in places)
        ranges = balanced_modules(dense_costs(sizes_of(task), task["batch_size"]), n_stages)
        layers = layers_of_torch(task)
        self.parts = {k: nn.Sequential(*layers[slice(*ranges[k])]) for k in places[self.rank]}
        stages = [PipelineStage(part, k, n_stages, torch.device("cpu")) for k, part in self.parts.items()]
        own = stages if len(places[0]) > 1 else stages[0]
        self.schedule = schedule(own, task["micro_batches"], loss_fn=nn.functional.cross_entropy)
        self.is_last = n_stages - 1 in self.parts
        parameters = [p for part in self.parts.values() for p in part.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True)
        rows = rows_of(task)
        self.x, self.y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)
        self.whole, self.ranges = nn.Sequential(*layers_of_torch(task)), ranges

    def pass_(self, x, y):
        """Gradients of one batch; the loss where the last stage is."""
        self.optimizer.zero_grad()
        losses = []
        arguments = (x,) if 0 in self.parts else ()
        self.schedule.step(*arguments, target=y if self.is_last else None, losses=losses, return_outputs=False)
        return torch.stack(losses).mean().item() if losses else None

    def differences(self):
        """Largest difference of a gradient, and of the loss, to those of one process."""
        x, y = (part[: self.task["batch_size"]] for part in (self.x, self.y))
        loss = nn.functional.cross_entropy(self.whole(x), y)
        loss.backward()
        found = self.pass_(x, y)
        own = [p.grad for part in self.parts.values() for p in part.parameters()]
        peers = [p.grad for k in self.parts for layer in self.whole[slice(*self.ranges[k])] for p in layer.parameters()]
        gap = max(float((a - b).abs().max()) for a, b in zip(own, peers, strict=True))
        scale = max(float(p.grad.abs().max()) for p in self.whole.parameters())
        return gap, 0.0 if found is None else abs(found - loss.item()), scale

    def seconds(self):
        """Wall seconds per batch of one epoch, from a barrier to the next."""
        m = self.task["batch_size"]
        dist.barrier()
        start = time.perf_counter()
        for x, y in zip(self.x.split(m), self.y.split(m), strict=True):
            self.pass_(x, y)
            self.optimizer.step()
        dist.barrier()
        return (time.perf_counter() - start) / self.task["batches"]


def main():
    """Check gradients, time epochs, print."""
    request = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    store = dist.FileStore(request["meeting"], 2)
    wait = timedelta(seconds=request["timeout"])
    dist.init_process_group("gloo", store=store, rank=request["rank"], world_size=2, timeout=wait)
    rank = Rank(request["task"])
    gaps = [None, None]
    dist.all_gather_object(gaps, rank.differences())
    rank.seconds()
    samples = [rank.seconds() for _ in range(request["task"]["samples"])]
    if request["rank"] == 0:
        gradient, loss, scale = (max(values) for values in zip(*gaps, strict=True))
        found = {"seconds": float(np.median(samples)), "samples": samples}
        print(json.dumps(found | {"gradient_gap": gradient, "loss_gap": loss, "largest_gradient": scale}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
