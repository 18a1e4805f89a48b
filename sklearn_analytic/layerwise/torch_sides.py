"""What a partition's top hears beside the error from above: similarity matching, and a pull towards its input.

The story and the compiled twin are in ``backend/_numba_sides.py``; convolutional features are compared by the standard
deviations of their projected maps (Nokland and Eidnes 2019).
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from sklearn_analytic.nn._torch_networks import LastStep

_LEAST_LENGTH = 1e-12  # of a centred row: a constant one has no direction
_KERNEL = 3  # of the projection of maps


@dataclass(frozen=True)
class Taught:
    """The batch that side losses speak of; means are over ``total`` rows, of all ranks together."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None
    total: int


class Tap(nn.Module):
    """Stands on a partition's top: remembers what passes in training, and adds side losses' errors on the way back.

    Parameters
    ----------
    side : SideLoss or None
        Share of the error from above and weights of the losses; None changes nothing.
    projection : Module or None
        From features to the rows that similarity matching compares.
    n_outputs : int
        Outputs of the network: of classes, how many there are.
    """

    def __init__(self, side, projection, n_outputs):
        super().__init__()
        self.side, self.projection, self.n_outputs = side, projection, n_outputs
        self.last = self._taught = self._loss = None

    def begin(self, x, y, weight, total):
        """Tell the batch that comes; without it the tap only remembers."""
        self._taught = None if self.side is None else Taught(x, y, weight, total)

    def end(self, loss):
        """Return the loss of partition and head from that of the head, and forget the batch."""
        if self._taught is None:
            return loss
        self._taught = None
        return self.side.share * loss + self._loss

    def forward(self, h):
        """Return ``h``."""
        if not self.training:
            return h
        self.last = h.detach()
        if self._taught is None:
            return h
        return _Beside.apply(self, h, *self.parameters())

    def errors(self, h):
        """Return the gradients of the side losses by h and by the projection; the loss is kept for :meth:`end`."""
        with torch.enable_grad(), torch.autocast(h.device.type, enabled=False):
            h = h.detach().to(self._taught.x.dtype).requires_grad_()
            loss = self._side_loss(h)
            self._loss = loss.detach()
            return torch.autograd.grad(loss, (h, *self.parameters()))

    def _side_loss(self, h):
        """Both losses of the batch, as shares of the mean over all ranks."""
        taught, loss = self._taught, 0.0
        if self.side.similarity > 0:
            matching = similarity_loss(self.projection(h), taught.y, taught.weight, self.n_outputs)
            loss = loss + self.side.similarity * matching * (len(h) / taught.total)
        if self.side.pull > 0:
            flat = h.flatten(1)
            squares = (flat - taught.x).square().sum(1) / flat.shape[1]
            squares = squares if taught.weight is None else taught.weight * squares
            loss = loss + 0.5 * self.side.pull * squares.sum() / taught.total
        return loss


class _Beside(torch.autograd.Function):
    """The identity, whose backward pass adds the errors of a tap's side losses."""

    @staticmethod
    def forward(ctx, tap, h, *weights):
        """Return h; the errors wait for the backward pass."""
        ctx.share = tap.side.share
        ctx.save_for_backward(*tap.errors(h))
        return h.view_as(h)

    @staticmethod
    def backward(ctx, error):
        """Return ``share error + side error``, and the projection's gradient."""
        own, *weights = ctx.saved_tensors
        return None, ctx.share * error + own.to(error.dtype), *weights


def similarity_loss(rows, y, weight, n_outputs):
    """Return ``sum_ij w_i w_j (u_i . u_j - S_ij)^2 / m^2``, u_i the centred rows over their lengths."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=1, keepdim=True)
    long = squares > _LEAST_LENGTH**2
    u = centred * torch.where(long, squares, 1).rsqrt() * long
    misses = (u @ u.T - alike(y, n_outputs, rows.dtype)).square()
    misses = misses if weight is None else misses * weight[:, None] * weight
    return misses.sum() / len(rows) ** 2


def alike(y, n_outputs, dtype):
    """Return S: cosines of centred one-hot rows, or a Gaussian of the distances of standardised targets."""
    if y.ndim == 1:
        return torch.where(y[:, None] == y, torch.ones((), dtype=dtype, device=y.device), -1.0 / (n_outputs - 1))
    return (-0.5 * (y[:, None] - y).square().sum(2)).exp()


class _MapDeviation(nn.Module):
    """(n, C, H, W) to the standard deviation over the pixels of every map; a map of one pixel is its value."""

    def forward(self, x):
        """Return (n, C); a constant map has no gradient."""
        x = x.flatten(2)
        if x.shape[2] == 1:
            return x[:, :, 0]
        variance = x.var(dim=2, correction=0)
        varies = variance > 0
        return torch.where(varies, variance, 1).sqrt() * varies


def _flat(shape):
    """A dense layer over all entries."""
    return [*([nn.Flatten()] if len(shape) > 1 else []), *_square(math.prod(shape))]


def _steps(shape):
    """A dense layer over the last step."""
    return [LastStep(), *_square(shape[1])]


def _maps(shape):
    """A convolution of all maps, then their deviations."""
    return [nn.Conv2d(shape[0], shape[0], _KERNEL, padding=_KERNEL // 2, bias=False), _MapDeviation()]


def _square(units):
    """As many units above as below."""
    return [nn.Linear(units, units, bias=False)]


# {dimensions of one row's features: modules of their projection}
_PROJECTIONS = {2: _steps, 3: _maps}


def projection_of(shape, layer, generator):
    """Return the bias-free projection of features of ``shape``, of variance 1 / fan-in, drawn on the host.

    ``layer`` is the one that the features come from.
    """
    make = _flat if isinstance(layer, nn.Conv1d) else _PROJECTIONS.get(len(shape), _flat)
    projection = nn.Sequential(*make(shape)).double()  # as the host draws
    (weight,) = projection.parameters()
    bound = math.sqrt(3 / math.prod(weight.shape[1:]))
    values = torch.from_numpy(generator.uniform(-bound, bound, tuple(weight.shape)))
    with torch.no_grad():
        weight.copy_(values.T if weight.ndim == 2 else values)  # matrices are (n_in, n_out) on the host
    return projection
