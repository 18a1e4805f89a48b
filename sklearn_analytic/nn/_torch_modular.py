"""Feedback inside modules of layers and of time steps: sparse paths that are drawn, or follow the weights."""

import math
from functools import partial

import numpy as np
import torch
from torch import nn

from sklearn_analytic.nn._feedback import of_product
from sklearn_analytic.nn._kfac import is_due
from sklearn_analytic.nn._torch_feedback import MeanSlopes
from sklearn_analytic.nn._torch_stages import Watch, receptive_field, send_back

_GROUPS = 4  # most groups of a drawn convolution


class _Paths:
    """What carries errors inside modules: ``paths`` {stage: matrix or kernel}, ``times`` {stage: matrices}."""

    @property
    def linked(self):
        """Stages whose inputs collect a gradient: the first ones of modules."""
        return {m[0] for m in self.modules[1:]}

    def state(self):
        """Return all arrays."""
        return {"paths": [self.paths[k] for k in sorted(self.paths)], "times": [list(s) for s in self.times.values()]}

    def load(self, state):
        """Put the arrays back."""
        for k, value in zip(sorted(self.paths), state["paths"], strict=True):
            self.paths[k].copy_(value)
        for own, values in zip(self.times.values(), state["times"], strict=True):
            for matrix, value in zip(own, values, strict=True):
                matrix.copy_(value)


class ModularFeedback(_Paths):
    """Sparse paths from a module's output error to the stages inside it, and to the steps inside recurrent layers.

    Dense: a matrix with entries +-1/sqrt(rho n_out) at a share rho of the places. Convolution: a grouped, dilated 3x3
    convolution with entries N(0, 1 / (9 C_out / g)). A reconstruction of Han et al. 2020, whose paper prints neither.
    """

    def __init__(self, feedback, stages, modules, outputs, module_size, seed):
        self._feedback, self._stages, self._outputs = feedback, stages, [tuple(h.shape[1:]) for h in outputs]
        self._generator, self._like = np.random.default_rng(seed), outputs[-1]
        self.modules = modules
        self.paths = {k: self._path(k, m[-1]) for m in modules for k in m[:-1]}  # {stage: matrix or kernel}
        self.times = {k: self._time_path(k, module_size) for k, s in enumerate(stages) if s.kind == "recurrent"}
        for k, matrices in self.times.items():
            stages[k].layer.time_feedback, stages[k].layer.time_follows = matrices, False
        self._like = None

    def _time_path(self, k, module_size):
        """The matrices S_1, ..., S_{m-1} of a recurrent layer."""
        width = self._stages[k].layer.out_features
        return tuple(self._sparse(width, width) for _ in range(module_size - 1))

    def _path(self, k, last):
        """The path to stage ``k`` from the output of stage ``last``."""
        inner, outer = self._outputs[k], self._outputs[last]
        if not _are_images(inner, outer):
            return self._sparse(math.prod(outer), math.prod(inner))
        groups = math.gcd(inner[0], outer[0], _GROUPS)
        width = outer[0] // groups
        kernel = self._generator.standard_normal((inner[0], width, 3, 3)) / math.sqrt(9 * width)
        return torch.from_numpy(self._feedback.scale * kernel).to(self._like)

    def _sparse(self, n_out, n_in):
        """A share of entries +-1/sqrt(rho n_out), at least one in every column, zeros elsewhere."""
        density = self._feedback.density
        chosen = self._generator.random((n_out, n_in)) < density
        chosen[self._generator.integers(n_out, size=n_in), np.arange(n_in)] = True
        signs = np.where(self._generator.random((n_out, n_in)) < 0.5, -1.0, 1.0)
        matrix = np.where(chosen, signs, 0.0) * self._feedback.scale / math.sqrt(density * n_out)
        return torch.from_numpy(matrix).to(self._like)

    def spread(self, k, last, error, output):
        """Return the error of stage ``k`` from the error at the output of its module's stage ``last``."""
        path = self.paths[k]
        if path.ndim == 2:
            return (error.flatten(1).to(path.dtype) @ path).reshape(output.shape)
        dilation = max(1, (receptive_field(self._stages[k + 1 : last + 1]) - 1) // 2)
        groups = error.shape[1] // path.shape[1]
        upsampled = nn.functional.interpolate(error.to(path.dtype), size=output.shape[2:], mode="nearest")
        return nn.functional.conv2d(upsampled, path, padding=dilation, dilation=dilation, groups=groups)

    def watches(self):
        """Watch nothing."""
        return {}

    def prepare(self):
        """Change nothing."""

    def send(self, module, outputs, error):
        """Give the stages of a module their errors, from that of its output."""
        last = module[-1]
        spread = [self.spread(k, last, error, outputs[k]) for k in module[:-1]]
        send_back([outputs[k] for k in module], [*spread, error])


class FollowingFeedback(_Paths):
    """Paths inside modules that follow the weights: the largest entries of their products, renewed every some steps.

    The error of a module's output passes the activation, pooling and normalisation of its last stage exactly, which
    takes no product with weights; what the paths carry is the error D at that stage's layer. To the stage below they
    are a share of W^T; to lower ones, of the product of the weights between with mean slopes, which for convolutions is
    their composition. Through time they are the same of powers of the recurrent weights. With all entries, modules of
    two are backpropagation.

    Parameters
    ----------
    recipe : Recipe
        Its feedback says the density, and whether the entries are values or signs; its ``module_size`` is the time
        steps of a module in recurrent layers.
    stages : list of Stage
        The network.
    modules : list of lists of int
        Indices of stages.
    ranks : Ranks or Alone
        The processes that share the batch.

    Raises
    ------
    ValueError
        If a convolution inside a module has groups, or a padding other than zeros in given numbers.
    """

    def __init__(self, recipe, stages, modules, ranks):
        self._feedback, self._stages, self.modules = recipe.feedback, stages, modules
        self._slopes, self._interval, self.step = MeanSlopes(ranks), recipe.feedback.interval, 0
        self._lasts = {m[-1] for m in modules if len(m) > 1}
        for k in (k for m in modules for k in m[1:]):
            _check_followed(k, stages[k])
        self._errors = {}
        self.paths = {k: self._path(k, m[-1]) for m in modules for k in m[:-1]}
        self.times = {k: self._time_paths(k, recipe.module_size) for k, s in enumerate(stages) if s.kind == "recurrent"}
        for k, matrices in self.times.items():
            stages[k].layer.time_feedback, stages[k].layer.time_follows = matrices, True

    @property
    def linked(self):
        """Stages whose inputs collect a gradient: the first ones of modules, and frozen last ones, to be passed."""
        frozen = {k for k in self._lasts if not any(p.requires_grad for p in self._stages[k].layer.parameters())}
        return super().linked | frozen

    def watches(self):
        """Return {stage: what keeps its slopes and its layer's error}."""
        found = {k: Watch(layer=partial(self._keep_error, k)) for k in self._lasts}
        if is_due(self.step, self._interval):
            between = [k for m in self.modules for k in m[1:-1]]
            found |= {k: self._slopes.watch(k, self._stages[k].layer) for k in between}
            found |= {k: Watch(layer=partial(self._keep_time_slopes, k)) for k, s in self.times.items() if len(s) > 1}
        return found

    def _keep_error(self, k, output):
        """Have the error at a layer's output kept when it comes."""
        if output.requires_grad:
            output.register_hook(partial(self._errors.__setitem__, k))

    def _keep_time_slopes(self, k, states):
        """Keep the slopes of hidden states (n, T, h) over rows and time."""
        states = states.detach()
        weight = self._stages[k].layer.recurrent_weight
        self._slopes.keep(k, weight, (1 - states * states).flatten(0, 1))

    def prepare(self):
        """Renew the paths where that is due; count the step."""
        if is_due(self.step, self._interval):
            with torch.no_grad():
                for module in self.modules:
                    for k in module[:-1]:
                        self.paths[k].copy_(self._path(k, module[-1]))
                for k, matrices in self.times.items():
                    for matrix, new in zip(matrices, self._time_paths(k, len(matrices) + 1), strict=True):
                        matrix.copy_(new)
        self._slopes.forget()
        self.step += 1

    @torch.no_grad()
    def _path(self, k, last):
        """The path to stage ``k`` from the layer of stage ``last``: a matrix, or a transposed convolution's kernel."""
        product = _one_step(self._stages[last].layer)
        for j in range(last - 1, k, -1):
            product = _one_more(product, self._slopes.mean(j), self._stages[j].layer)
        if product.ndim == 2:
            return of_product(self._feedback, product, torch)
        from_all = product.permute(0, 2, 3, 1)  # (C_last, height, width, C_k)
        kept = of_product(self._feedback, from_all.flatten(0, 2), torch)
        return kept.reshape(from_all.shape).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def _time_paths(self, k, module_size):
        """The matrices from the last step of a module to the ones before: powers of the recurrent weights."""
        recurrent, slope = self._stages[k].layer.recurrent_weight, self._slopes.mean(k)
        products = [recurrent] if module_size > 1 else []
        for _ in range(module_size - 2):
            products.append((products[-1] * slope) @ recurrent)
        return tuple(of_product(self._feedback, product, torch) for product in products)

    def send(self, module, outputs, error):
        """Give the stages of a module their errors, from that of its output: first the last stage, then the others."""
        last = module[-1]
        send_back([outputs[last]], [error])
        if len(module) > 1 and last in self._errors:
            behind = self._errors.pop(last).detach()
            inner = module[:-1]
            send_back([outputs[k] for k in inner], [self.spread(k, last, behind, outputs[k]) for k in inner])

    def spread(self, k, last, error, output):
        """Return the error of stage ``k`` from that at the layer of its module's stage ``last``."""
        path = self.paths[k]
        error = error.to(path.dtype)
        if path.ndim == 2:
            return (error @ path).reshape(output.shape)
        stride, padding = _geometry([self._stages[j].layer for j in range(last, k, -1)])
        sides = zip(output.shape[2:], error.shape[2:], path.shape[2:], stride, padding, strict=True)
        rest = [inner - ((outer - 1) * s - 2 * p + size) for inner, outer, size, s, p in sides]
        return nn.functional.conv_transpose2d(error, path, stride=stride, padding=padding, output_padding=rest)

    def state(self):
        """Return all paths, and the step."""
        return super().state() | {"step": self.step}

    def load(self, state):
        """Put a state back."""
        super().load(state)
        self.step = state["step"]


def _check_followed(k, stage):
    """Refuse a convolution whose transpose is not composed here."""
    layer = stage.layer
    if stage.kind == "conv" and (layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        raise ValueError(
            f"layer {k + 1} is a convolution with groups, or with a padding that is not zeros in given numbers: paths "
            "that follow the weights are not made for it. Use feedback='sparse' without feedback__refresh_interval, "
            "feedback__module_size=1, or scheme='hybrid'"
        )


def _one_step(layer):
    """The map from the error at a layer's output to that at its input: (n_out, n_in), or a spread kernel."""
    weight = layer.weight.detach()
    if weight.ndim == 2:
        return weight
    impulses = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)[:, :, None, None]
    return nn.functional.conv_transpose2d(impulses, weight, dilation=layer.dilation)


def _one_more(product, slope, layer):
    """A product of weights through one layer more, behind its mean slopes."""
    weight = layer.weight.detach()
    if weight.ndim == 2:
        return (product * slope) @ weight
    slope = slope if isinstance(slope, float) else slope[:, None, None]
    return nn.functional.conv_transpose2d(product * slope, weight, stride=layer.stride, dilation=layer.dilation)


def _geometry(layers):
    """Stride and padding of convolutions as one, from the last to the first."""
    stride, padding = (1, 1), (0, 0)
    for layer in layers:
        padding = tuple(p * s + own for p, s, own in zip(padding, layer.stride, layer.padding, strict=True))
        stride = tuple(s * own for s, own in zip(stride, layer.stride, strict=True))
    return stride, padding


def _are_images(*shapes):
    """Whether all shapes are (C, H, W)."""
    return all(len(shape) == 3 for shape in shapes)
