"""A small residual network as a Sequential whose blocks are modules of their own class: one stage each."""

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, and a way around them (He et al. 2016)."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.second, self.second_norm = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        same = n_in == n_out and stride == 1
        around = (nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.around = nn.Identity() if same else nn.Sequential(*around)

    def forward(self, x):
        """Rectified sum of both ways."""
        h = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(h)) + self.around(x))


def residual_network(shape, channels, n_classes, seed):
    """A stem of stride 2, two blocks of every number of channels, an average, the output layer: 2 + 2 n stages."""
    torch.manual_seed(seed)
    n_in, blocks = channels[0], []
    for k, n_out in enumerate(channels):
        blocks += [ResidualBlock(n_in, n_out, 1 if k == 0 else 2), ResidualBlock(n_out, n_out)]
        n_in = n_out
    stem = [nn.Unflatten(1, shape), nn.Conv2d(shape[0], channels[0], 3, 2, 1, bias=False)]
    stem += [nn.BatchNorm2d(channels[0]), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, n_classes))
