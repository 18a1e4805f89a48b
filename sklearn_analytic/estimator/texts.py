"""Docstrings that several estimators share: a parameter or an attribute is described once, and filled in where it is.

A text is written as in a docstring, without its default, which the signature has::

    name : what it may be
        What it means.

:func:`documented` puts those of a signature's parameters into a class.
"""

import inspect
import re
import textwrap

# The groups in which parameters come, in docstrings after the ten that matter first, and on the pages of the API.
GROUPS = {
    "Estimator": ("random_state", "warm_start", "verbose"),
    "Layers and training": (
        "hidden_layer_sizes",
        "activation",
        "network",
        "output",
        "solver",
        "learning_rate_init",
        "learning_rate",
        "alpha",
        "batch_size",
        "max_iter",
        "shuffle",
        "tol",
        "n_iter_no_change",
        "early_stopping",
        "validation_fraction",
    ),
    "Method": (
        "hidden",
        "n_refits",
        "n_modules",
        "encoding",
        "projection",
        "skip",
        "exit",
        "scheme",
        "feedback",
        "feedback_scale",
        "refresh_interval",
        "preconditioner",
        "order",
        "partitions",
        "schedule",
        "pipeline",
        "fit_intercept",
        "rcond",
        "audit_rows",
        "max_grad_norm",
        "mechanism",
        "accountant",
    ),
    "Data": (
        "input_encoding",
        "categorical_features",
        "class_weight",
        "class_statistics",
        "image_shape",
        "epsilon",
        "delta",
        "data_norm",
        "bounds",
        "classes",
    ),
    "Computing": ("device", "precision", "block_size"),
}
N_FIRST = 10  # parameters that matter first

_EVERY = """
categorical_features : "from_dtype", None, or array-like of bool, int or str
    Columns that hold categories: those of text, objects and categories, none, or a mask, indices or names of columns.
    Categories of at most 10 levels become indicators, others means of the target (docs/user_guide/raw_tables.md).
"""

NETWORK = (
    _EVERY
    + """
hidden_layer_sizes : int or sequence of int
    Units of the dense hidden layers (of the dense head, under convolutions or recurrences); () is none.
activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}
    Activation of hidden layers.
network : None, DenseNetwork, ImageNetwork, SequenceNetwork, torch.nn.Sequential or GivenNetwork
    What lies below the dense layers. None: nothing. :class:`DenseNetwork`: nothing, and normalised layers.
    :class:`ImageNetwork`: convolutions over rows that are flattened images. :class:`SequenceNetwork`: recurrent layers
    over rows that are flattened sequences. A Sequential of torch is trained in place of all layers, from
    its own weights; it is copied. It is plain, without hooks or lazy layers, and its last layer gives raw outputs;
    Sequentials of another class inside count as one layer. ``readout`` of each of these values says what predicts: the
    trained outputs, or a ridge readout of all layers.
output : {"softmax", "linear", "expgb", "pow3gb"}
    What raw outputs z mean, and the error e that is sent back: with one-hot targets t, :math:`e = o(z) - t`, and o
    the softmax (cross-entropy), z itself ("linear", half the squared error), :math:`0.1 e^z` ("expgb") or
    :math:`0.001 z^3` ("pow3gb"). The last three are not normalised; the rules are those of Oland et al. 2017, by a
    second-hand account (docs/theory/outputs.md). "pow3gb" has outputs of the size of 10.
solver : {"adam", "adamw", "sgd"}, Adam, AdamW or SGD
    Update rule. :class:`Adam`, :class:`AdamW` and :class:`SGD` hold its constants, and a warm-up.
learning_rate_init : float > 0
    Largest learning rate; ``partial_fit`` keeps it constant.
learning_rate : {"cosine", "constant", "step", "invscaling", "adaptive"}
    Schedule of a fit. "step" divides by 10 after half and three quarters of it. The last two are scikit-learn's:
    "invscaling" divides by :math:`(1 + t)^p`, t being the rows that the fit has seen before the epoch and p the
    solver's ``power_t``; "adaptive" divides by 5 where training would end for want of progress, and ends at 1e-6.
alpha : float >= 0
    L2 penalty ``alpha / 2 ||W||^2`` of the mean loss; decoupled weight decay with "adamw". Scikit-learn's networks
    divide theirs by the rows of a batch: an ``alpha`` of theirs is ``alpha / batch_size`` here.
batch_size : int or "auto"
    Rows per step; "auto" is a fiftieth of the rows, within 16 and 128.
max_iter : int or "auto"
    Epochs; "auto" aims at 2000 steps within 30 to 200 epochs.
shuffle : bool
    Whether every epoch has an order of its own; without, batches are consecutive rows.
tol : float >= 0
    Least gain of the score, or least fall of the training loss.
n_iter_no_change : int or inf
    Patience, in epochs; infinity never stops early. With ``early_stopping`` it is patience with the score. Without,
    training ends where the training loss has not fallen by ``tol`` in more epochs than that in a row:
    scikit-learn's rule. A given ``max_iter`` is watched from the end of the warm-up; "auto" lets the learning rate
    fall to a tenth first, as larger steps keep a loss up that still falls with them.
early_stopping : bool
    Hold out ``validation_fraction`` of the rows and stop after ``n_iter_no_change`` epochs without a score better
    by ``tol``. The best weights are kept. ``X_val, y_val`` in ``fit`` are watched in any case.
validation_fraction : float in (0, 1)
    Share of the rows, of every class, that is held out.
input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None
    How columns are encoded. "auto" is "standard" for plain networks (one scale for all columns where there are
    many, non-negative and of one range, as pixels are), one scale per channel for images, one scale for sequences
    and given networks. ``partial_fit`` learns it from its first block.
class_weight : dict, "balanced" or None
    Weights of classes; "balanced" needs all rows at once (``fit``). A dict that leaves classes out (they weigh 1) has
    no other keys, one that weighs every class may have further.
device : str or Device
    "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch. :class:`Device` holds the
    precision, and whether processes share every batch.
warm_start : bool
    Whether ``fit`` goes on from the weights of the last one.
verbose : bool
    Whether a fit shows its epochs: as a progress bar of scikit-learn's callbacks (1.9 and later, with rich), else as
    messages of the logger "sklearn_analytic" (docs/user_guide/progress.md).
random_state : int, RandomState or None
    Seed of weights, feedback, heads and order.
"""
)

CLOSED_FORM = (
    _EVERY
    + """
alpha : {"loo", "gcv"}, float or sequence of float
    Ridge of the readout, per feature of unit variance: from a default grid or a given one by leave-one-out on
    the audit rows, by generalised cross-validation (a slower full decomposition), or fixed; 0 is the
    Moore-Penrose solution. Ridges other than 0 and "gcv" grow by 1e-6 of the total weight, so that float32
    products stay definite.
class_weight : dict, "balanced" or None
    Weights of classes; "balanced" needs single labels, and all rows at once (:meth:`fit`) or ``class_statistics``. A
    dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
class_statistics : bool
    Whether one statistic is kept for each class: classes are then weighed at the solve, so that streams, iterators of
    blocks, merges and :meth:`forget` may be balanced, and :meth:`with_priors` needs no data. It takes 8 bytes times
    the classes times the square of the readout's inputs (10 classes of 2000: 320 MB), which is logged before it is
    taken; what does not fit in memory is an error.
image_shape : tuple of int or None
    (H, W) or (C, H, W) of rows that are flattened images.
block_size : int or None
    Rows read at a time; None keeps a float64 block near 16 MiB.
random_state : int, RandomState or None
    Seed of all draws. Draws follow the content and weight of rows, not their order.
device : str
    "cpu" is NumPy and numba; "cuda", "torch:cpu" and the like are torch. A tensor X stays on its device.
verbose : bool
    Whether a fit shows its passes and blocks: as a progress bar of scikit-learn's callbacks (1.9 and later, with
    rich), else as messages of the logger "sklearn_analytic" (docs/user_guide/progress.md).
"""
)

FITTED_CLASSES = """
classes_ : ndarray of shape (n_classes,)
    Class labels.
temperature_ : float
    Factor that divides the log-probabilities before they are normalised (the outputs, with "softmax" and "expgb"):
    of least log-loss on held-out rows, 1 without any.
"""

FITTED_WEIGHTS = """
coefs_, intercepts_ : list of ndarray
    Weights (n_in, n_out) and biases of plain networks; training goes on from what is written into them.
network_state_ : dict of ndarray
    Parameters and buffers of all other networks.
readout_coef_, readout_intercept_ : ndarray of shape (n_units, n_outputs), ndarray of shape (n_outputs,)
    The readout of all layers, where one predicts: of their units side by side, the trained outputs last. They show it;
    what is written into them changes nothing.
readout_alpha_, readout_blend_ : float, tuple of float
    The ridge, per unit of variance 1, summed over rows; and the weights of the trained outputs and of the ridge
    regression in the readout.
"""

FITTED_TRAINING = """
n_iter_ : int
    Epochs, of the last ``fit`` and the ``partial_fit`` calls after it.
t_ : int
    Training rows times epochs, over all fits and blocks that went on from each other.
loss_, loss_curve_ : float, list of float
    Mean training loss of the last and of every epoch, with the penalty.
best_loss_ : float or None
    Least of them; None with ``early_stopping``, which looks at scores.
validation_scores_, best_validation_score_ : list of float, float
    Scores of held-out rows, where there were any.
activation_bytes_ : dict
    Bytes of hidden activations of one batch: "stored", "shared" (work buffers) and "exact" (in full precision).
n_layers_, n_outputs_ : int
    Layers, inputs and outputs included, and outputs: one for each class or target.
out_activation_ : str
    "softmax", "identity", or the name of another output rule.
"""

FITTED_ROWS = """
n_samples_seen_ : int
    Rows of positive weight in the fit.
"""

FITTED_COLUMNS = """
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of str
    Names of the features, where X had any.
"""

WARNS = """
ConvergenceWarning
    If a given ``max_iter`` is reached before ``n_iter_no_change`` and ``tol`` end training; "auto" is no bound.
"""

RAISES = """
FloatingPointError
    If the loss becomes NaN or infinite; the estimator keeps the weights of the last good epoch.
KeyboardInterrupt
    Is raised again; the estimator keeps the weights of the last whole epoch.
"""


_ADD = """
Parameters
----------
X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
    Rows to add.
y : array-like of shape (n_samples,) or (n_samples, n_columns)
    Their targets or labels.CLASSES
sample_weight : array-like of shape (n_samples,), default=None
    Frequencies.

Returns
-------
self : object
    The estimator; unchanged when an error is raised.
"""
_TRAIN = """
Partitions of layer-wise networks train side by side, and delayed gradients end with the block.

Parameters
----------
X : array-like or sparse matrix of shape (m, d), Blocks, or iterator of blocks
    Rows; or blocks (X, y) or (X, y, sample_weight), trained on one after the other. The first block settles the
    encoding of inputs and the scale of targets; a column or a target that is constant so far gets its scale when it
    first varies.
y : array-like of shape (m,) or (m, c)
    Labels, or targets; predictions keep the shape of the first block's.CLASSES
sample_weight : array-like of shape (m,) or None, default=None
    Non-negative weights.

Returns
-------
self : object
    The estimator; unchanged when an error is raised.
"""
ADDING = {  # {which estimators: what their partial_fit says}
    "numbers": _ADD.replace("CLASSES", ""),
    "classes": _ADD.replace(
        "CLASSES",
        """ Labels not seen before become new classes, unless ``classes`` was given once.
classes : array-like of shape (n_classes,), default=None
    All labels, if they are known: then a label outside them is an error.""",
    ),
}
REMOVING = """
Parameters
----------
X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
    Rows to take out.
y : array-like of shape (n_samples,) or (n_samples, n_columns)
    The targets or labels they were fitted with.
sample_weight : array-like of shape (n_samples,), default=None
    The weights they were fitted with.

Returns
-------
self : object
    The estimator; unchanged when ValueError says that the rows cannot have been in.
"""
TRAINING = {
    "numbers": _TRAIN.replace("CLASSES", ""),
    "classes": _TRAIN.replace(
        "CLASSES",
        """
classes : array-like or None, default=None
    All classes; needed in the first call.""",
    ),
}


def group_of(name):
    """Return the group of a parameter, or None."""
    return next((group for group, names in GROUPS.items() if name in names), None)


def filled(**texts):
    """Return a decorator that fills the docstring of a class or a function: text for what stands in braces."""

    def fill(thing):
        for name, text in texts.items() if thing.__doc__ is not None else ():  # none under python -OO
            margin = " " * 8 if inspect.isfunction(thing) else " " * 4
            thing.__doc__ = thing.__doc__.replace(f"{margin}{{{name}}}", textwrap.indent(text.strip("\n"), margin))
        return thing

    return fill


def documented(*, parameters="", attributes="", **others):
    """Return a decorator that fills the docstring of a class: ``{parameters}`` and ``{others}`` of its signature, too.

    ``parameters`` and ``attributes`` are texts; of a name in both of two texts the later one counts.
    """

    def fill(kind):
        own = _signature(kind, _entries(parameters)) | {"attributes": _joined(_entries(attributes))}
        return filled(**others, **own)(kind)

    return fill


def _signature(kind, entries):
    """The parameters of a class: those that matter first, and the others."""
    given = [p for p in inspect.signature(kind.__init__).parameters.values() if p.name != "self"]
    lines = [_with_default(parameter, *entries[parameter.name]) for parameter in given]
    return {"parameters": "\n".join(lines[:N_FIRST]), "others": "\n".join(lines[N_FIRST:])}


def _with_default(parameter, kind, body):
    """A parameter's lines, with the default of the signature."""
    default = str(parameter.default) if not isinstance(parameter.default, str) else f'"{parameter.default}"'
    return f"{parameter.name} : {kind}, default={default}\n{body}"


def _entries(text):
    """{name: (kind, body)} of a text."""
    found = re.findall(r"^(\S[^\n:]*?)(?: : ([^\n]*))?\n((?:    [^\n]*\n|\n(?=    ))+)", text, flags=re.M)
    return {name: (kind, body.rstrip("\n")) for name, kind, body in found}


def _joined(entries):
    """A text of entries."""
    return "\n".join(
        f"{name} : {kind}\n{body}" if kind else f"{name}\n{body}" for name, (kind, body) in entries.items()
    )
