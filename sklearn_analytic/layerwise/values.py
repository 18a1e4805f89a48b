"""Partitions of layer-wise training as a value."""

from typing import ClassVar

import numpy as np

from sklearn_analytic.estimator.checks import SHARE, check_flag, check_positive_integer, one_of, positive_integer_or
from sklearn_analytic.estimator.value import Value, store
from sklearn_analytic.layerwise.feature_cache import CACHES
from sklearn_analytic.layerwise.partitions import INTERLAYER, LOCAL_LOSSES, STARTS, LocalRule


def _check_depth(name, value):
    """Refuse heads that are networks of their own."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_integer and 0 <= value <= 3):
        raise ValueError(f"{name} must be 0, 1, 2 or 3, got {value!r}.")


class Partitions(Value):
    """Which layers train together, and how they are taught: ``partitions=4`` stands for ``Partitions(4)``.

    Parameters
    ----------
    n_partitions : int or None, default=None
        Groups of consecutive hidden layers, balanced by their activations, each trained by backpropagation under a
        head of its own; None is one for every layer, 1 is backpropagation. The output layer belongs to the last one.
    n_laps : int, default=3
        Rounds of ``order="laps"``.
    local_loss : {"pred", "sim", "predsim"}, default="pred"
        What teaches a partition below the last (Nokland & Eidnes 2019). "pred": the prediction error of its head.
        "sim": similarities of its features should be those of the targets. "predsim": .01 of the first, .99 of the
        second.
    head_depth : int, default=0
        Hidden layers of the heads of partitions below the last, 0 to 3 (Belilovsky et al. 2019). Heads serve
        ``staged_predict`` and are otherwise thrown away.
    head_width : int or None, default=None
        Their units; None is an eighth of the units below, at least 32.
    layer_start : {"identity", "random"}, default="identity"
        First weights of a layer above the first partition: near the identity where its width is that of the layer
        below, so that it begins where that one ended, and under its head where that has the same shape; or random.
        A given ``network`` keeps its own weights.
    interlayer : {None, "overparametrise", "lookahead", "transport", "window"}, default="window"
        What stands for the layers above while they are not there: candidates for the thesis's simulated interlayer
        regularisation (reconstruction). "overparametrise": each layer trains as two linear factors and is multiplied
        out afterwards. "lookahead": the head begins with a copy of the next layer, which is thrown away. "window": the
        next layer itself is trained along and goes on from there. "transport": features pay for their distance from
        the partition's input, where widths agree. "window" scored best and takes the memory of one layer more; None
        and "transport" take the least. With ``order="simultaneous"`` and in ``partial_fit``, "window" is "lookahead".
    memory_budget : int or None, default=None
        Bytes for gradients, optimiser state and activations of the partition in training (weights, rows and cached
        features are not counted): each partition takes the largest batch that fits, at most a twentieth of the rows,
        and its learning rate grows with the root of the batch. ``partial_fit`` does not look at it.
    micro_batch : int, "auto" or None, default="auto"
        Rows of a batch that a partition passes at once: gradients of the parts are added up, and each batch is one
        step as before, up to the order of sums. Features, activations and errors of a part alone are in memory. "auto"
        is 256 rows, more where layers are narrow (2^18 entries of the widest) and fewer, down to 16, where rows have
        more than 2^14 entries; None passes whole batches, and so does "auto" where rows of a batch are seen together:
        ``local_loss`` "sim" and "predsim", batch normalisation, several processes. ``order="simultaneous"`` and
        ``partial_fit`` do not split batches. Dropout draws other masks for parts.
    cache : {"memory", "float16", "memmap"} or None, default="memory"
        Where features of all rows wait between partitions: in memory, in half precision, in a file in the folder for
        temporary files (TMPDIR), or nowhere: then every batch passes the layers below again. "memmap" has heads of
        partitions that are done wait in files, too, in compiled code.
    subsample : float in (0, 1], default=1.0
        Share of its rows that a partition hands to the next one: rows of large output error first, weighted so that
        sums over all rows stay unbiased (ours, after the thesis's data filtering). 1 hands on all, as
        ``order="simultaneous"`` and ``partial_fit`` always do.
    refit_head : bool, default=False
        Solve the last layer by ridge regression on the last features, the ridge by generalised cross-validation.

    Examples
    --------
    >>> from sklearn_analytic import LayerwiseMLP, Partitions
    >>> LayerwiseMLP((64,) * 8, partitions=Partitions(4, local_loss="predsim")).partitions
    Partitions(local_loss='predsim', n_partitions=4)
    """

    parameter, first = "partitions", "n_partitions"
    checks: ClassVar = {
        "n_partitions": positive_integer_or(None),
        "n_laps": check_positive_integer,
        "local_loss": one_of(LOCAL_LOSSES),
        "head_depth": _check_depth,
        "head_width": positive_integer_or(None),
        "layer_start": one_of(STARTS),
        "interlayer": one_of((None,), INTERLAYER),
        "memory_budget": positive_integer_or(None),
        "micro_batch": positive_integer_or("auto", None),
        "cache": one_of(CACHES),
        "subsample": SHARE,
        "refit_head": check_flag,
    }
    earlier: ClassVar = {name: name for name in checks if name != "micro_batch"}

    def __init__(
        self,
        n_partitions=None,
        *,
        n_laps=3,
        local_loss="pred",
        head_depth=0,
        head_width=None,
        layer_start="identity",
        interlayer="window",
        memory_budget=None,
        micro_batch="auto",
        cache="memory",
        subsample=1.0,
        refit_head=False,
    ):
        store(self, locals())

    def rule(self, is_given):
        """Return how a partition is taught; a given network has weights of its own."""
        start = "random" if is_given else self.layer_start
        return LocalRule(self.local_loss, self.head_depth, self.head_width, start, self.interlayer, self.micro_batch)
