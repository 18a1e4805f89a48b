"""The plain torch loop of ``on_device.py``: what a user would write for rows that are on the device."""

from itertools import pairwise

import torch
from torch import nn

RATE = 1e-3


def network_of(sizes, seed=0):
    """Dense layers with rectifiers, drawn on the host: the same on every device."""
    torch.manual_seed(seed)
    layers = [part for a, b in pairwise(sizes[:-1]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


class Loop:
    """Slices of tensors, fused Adam; the loss is read once for an epoch, so that nothing waits."""

    def __init__(self, network, x, y, batch_size, device):
        self.network = network.to(device)
        self.x, self.y, self.batch_size = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), batch_size
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)

    def epoch(self, order):
        """One pass in an order of the host; the mean loss of its rows."""
        total = torch.zeros((), device=self.x.device)
        for rows in torch.as_tensor(order).to(self.x.device).split(self.batch_size):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(self.x[rows]), self.y[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(order)
