"""Closed-form networks for real targets: the regressor of the family."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic._base import beside, checked_weights, finite_targets, in_dtype_of
from sklearn_analytic._block_fit import Unwatched
from sklearn_analytic._callbacks import with_callbacks
from sklearn_analytic._closed_form_base import ClosedFormBase
from sklearn_analytic._collections import lazily
from sklearn_analytic._computation import Numbers
from sklearn_analytic._extreme_weights import weights_in_range
from sklearn_analytic.features import target_classes, weighted_mean

_DIGITS = 24  # binary digits of a target's level and unit


class ClosedFormMLPRegressor(RegressorMixin, ClosedFormBase):
    r"""Closed-form multi-layer perceptron: a regressor without a gradient step, chosen by leave-one-out.

    The network of :class:`ClosedFormMLP` for real targets, one or several, each in units of its deviation:

    .. math:: B = \arg\min_B \sum_i w_i \| y_i - [A, H_1, \dots, H_L](x_i) B \|^2 + \alpha \| B \|^2 .

    Where a construction speaks of classes, bins of the targets stand for them.

    Parameters
    ----------
    hidden_layer_sizes : int, sequence of int or "auto", default="auto"
        Units of each layer. With ``hidden="auto"`` layers lie side by side, all reading the encoded input; the layers
        of a named construction each read the one before. The readout reads all of them and the encoded input (where
        that has at most 512 columns). "auto" is ``min(n / 2, max(600, min(n / 12, 2000)))`` units (up to 3300 where
        columns are on one scale), shared by three layers with ``hidden="auto"``, in one layer otherwise; as
        many as rows, 500 to 8000, with ``image_shape``. With "auto", tables of few distinct rows that repeat have a
        first layer with a unit at each of them.
    hidden : str, default="auto"
        How layers are built: "random", "sampled", "laplace", "lpq", "leaf", "residual", "forward", "inverse",
        "hyperplane", "gated" (see ``sklearn_analytic.features``), with ``image_shape`` also "patch" and "masked".
        "auto" picks Gaussian or Laplace units and their width by leave-one-out on few rows, and adds the scores of
        trees, each row scored by trees that have not seen it; with ``image_shape`` it is "patch".
    activation : {"relu", "tanh", "cos", "gaussian", "triangle", "bump", "identity"}, default="tanh"
        Activation of the constructions that take one.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"}, default="auto"
        How columns are restated: "auto" is piecewise-linear bins beside clipped robust z-scores, binary steps, and
        Hellinger rows for many columns on one scale.
    n_refits : int, default=3
        With ``hidden="auto"``, how often at most (0..5) inputs are re-weighted by their share in the gradient of a
        small network (the diagonal of the average gradient outer product) and the network is solved again, as long
        as the leave-one-out error falls by 1 %.
    alpha : {"loo", "gcv"}, float or sequence of float, default="loo"
        Ridge of the readout, per feature of unit variance: from a default grid or a given one by leave-one-out on
        the audit rows, by generalised cross-validation (a slower full decomposition), or fixed; 0 is the
        Moore-Penrose solution. Ridges other than 0 and "gcv" grow by 1e-6 of the total weight, so that float32
        products stay definite.
    image_shape : tuple of int or None, default=None
        (H, W) or (C, H, W) of rows that are flattened images.
    block_size : int, default=None
        Rows read at a time; None keeps a float64 block near 16 MiB.
    random_state : int, RandomState or None, default=None
        Seed of all draws. Draws follow the content and weight of rows, not their order.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "torch:cpu" and the like are torch. A tensor X stays on its device. Trees
        grow and score on the host.
    precision : {"auto", "float32", "float64", "tf32", "bfloat16"}, default="auto"
        Dtype of the features; "auto" is that of X. "tf32" is float32 with products in TF32 where the device has it,
        which no other value uses. "bfloat16" needs torch (``device`` or a tensor X): hidden products of bfloat16
        operands, features rounded to bfloat16, their sums in float32 and float64.

    Attributes
    ----------
    loo_score_ : float
        Leave-one-out R2 on the audit rows, the mean over targets.
    candidates_ : list of dict
        What the automatic choice tried ("hidden", "scale", "refits") and its leave-one-out "error" on few rows.
    exit_ : int
        Index of the layer up to which the readout reads.
    exit_errors_ : ndarray of shape (n_layers,)
        Leave-one-out mean squared error of the readout up to every layer, in units of the targets' variance.
    alphas_ : ndarray of shape (n_layers,)
        Ridge of every readout.
    blend_ : ndarray
        Weights of the network, the trees, the network on the trees' errors, and the joint ridge.
    feature_importances_ : ndarray of shape (n_features,)
        Share of every input in the mean squared slope of the predictions over the ranks of its column: the diagonal
        of the average outer product of finite differences.
    n_samples_seen_ : int
        Rows of positive weight in the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    References
    ----------
    See :class:`ClosedFormMLP`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import ClosedFormMLPRegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = ClosedFormMLPRegressor(random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.3)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        hidden="auto",
        activation="tanh",
        input_encoding="auto",
        n_refits=3,
        alpha="loo",
        image_shape=None,
        block_size=None,
        random_state=None,
        device="cpu",
        precision="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.hidden = hidden
        self.activation = activation
        self.input_encoding = input_encoding
        self.n_refits = n_refits
        self.alpha = alpha
        self.image_shape = image_shape
        self.block_size = block_size
        self.random_state = random_state
        self.device = device
        self.precision = precision

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor, Dask collection} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies: weight 2 is the row given twice. Where columns take few values, these count as draws;
            elsewhere a common factor on all weights changes nothing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_array(X, y, sample_weight)

    def partial_fit(self, X, y, sample_weight=None):
        """Add rows. The readout is exact for all rows so far, given the layers.

        Below 1000 rows these are kept, and layers are built anew from all of them each time they have doubled; after
        that they stay, and the kept rows are dropped. Let the first thousand stand for the rest.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows to add.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies.

        Returns
        -------
        self : object
            The estimator; unchanged when an error is raised.
        """
        with self._unchanged_on_error():
            self._check_parameters()
            return self._store(self._absorb(getattr(self, "_statistic", None), X, y, sample_weight))

    @lazily
    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the kind, dtype and device of X.
        """
        check_is_fitted(self)
        return self._in_shape(self._scores(X, [self.exit_]))

    def staged_predict(self, X):
        """Yield :meth:`predict` of the readouts up to every layer.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        array of shape (n_samples,) or (n_samples, n_targets)
            Predictions by the readout.
        """
        for scores in self._staged_scores(X):
            yield self._in_shape(scores)

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # Targets.

    _level = 0.0  # of models from before targets were centred

    def _fit_rows(self, X, y, sample_weight, progress):
        """The statistic of all rows."""
        progress.begin(2)
        y, self._flat, weights = self._checked_targets(X, y, sample_weight)
        return self._add_rows(X, y, weights_in_range(weights), progress.resume()[0], progress)

    def _absorb(self, statistic, X, y, sample_weight):
        """The statistic with a block added; the first block settles columns, the first rows layers."""
        started = hasattr(self, "_network")
        X = self._read_features(X, reset=not started)
        y, flat, weights = self._checked_targets(X, y, sample_weight)
        if not started:
            self._flat = flat
        elif y.shape[1] != len(self._unit):
            raise ValueError(f"y has {y.shape[1]} targets, but the first call had {len(self._unit)}.")
        return self._stream_rows(X, y, weights, statistic, Unwatched())

    def _checked_targets(self, X, y, sample_weight):
        """Targets (n, c), whether they came as one column, and weights."""
        weights = checked_weights(sample_weight, X.shape[0])
        return *finite_targets(y, X), weights

    def _learn_units(self, y, weights):
        """Take units from the rows that build layers."""
        self._level, self._unit = _units(y, weights)

    def _with_class_weights(self, y, copies):
        """Numbers have no classes."""
        return copies

    def _coded(self, y):
        """Targets are their own codes."""
        return y

    def _targets(self, coded):
        """Targets about their level, in units of their deviation."""
        return (np.asarray(coded) - self._level) / self._unit

    def _bins(self, coded, targets):
        """Bins of the targets, for constructions that speak of classes."""
        return target_classes(targets)

    def _n_targets(self):
        """Number of targets."""
        return len(self._unit)

    def _score_labels(self):
        """Scores of trees are in the order of the targets."""
        return None

    def _aligned(self, other):
        """Both statistics, of the same targets."""
        return self._statistic, other._statistic

    def _importance(self, audit, targets, mean):
        """Weights of audit rows in means."""
        return audit.weights

    def _settle(self, readouts, targets, weights):
        """Return the leave-one-out R2 of the chosen stage."""
        loo = readouts[self.exit_].loo
        spread = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        missed = np.average((targets - loo) ** 2, axis=0, weights=weights)
        explained = 1 - np.divide(missed, spread, out=np.zeros_like(missed), where=spread > 0)
        return float(np.mean(np.where(spread > 0, explained, missed <= 0)))

    def _units(self, coef, intercept):
        """A readout in the units of y."""
        return coef * self._unit, intercept * self._unit + self._level

    def _head(self):
        """Outputs are predictions."""
        return Numbers(self._flat)

    def _scores(self, X, stages):
        """Predictions of some stages side by side, in the units of y and the dtype of X."""
        check_is_fitted(self)
        scorer = self._scorer(stages)
        unit, level = np.tile(self._unit, len(stages)), np.tile(self._level + 0 * self._unit, len(stages))

        def predictions(rows, backend):
            scores = scorer(rows, backend)
            return in_dtype_of(rows, scores * beside(unit, scores) + beside(level, scores), backend)

        return self._map_blocks(X, predictions, self._n_features_out)

    def _in_shape(self, predictions):
        """Predictions in the shape of y."""
        return predictions[:, 0] if self._flat else predictions


def _units(y, weights):
    """Mean and deviation of every target; the deviation is 1 where it is constant, and the mean its value."""
    used = y if weights is None else y[weights > 0]
    weights = np.ones(len(used)) if weights is None else weights[weights > 0]
    size = np.max(np.abs(used), axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)  # squares of 1e200 are no numbers
    mean = weighted_mean(used / size, weights)
    deviation = np.sqrt(weighted_mean((used / size - mean) ** 2, weights))
    # Few digits of both: how weights are written, which decides the last one, must not decide splits of trees.
    unit = np.where(deviation > 1e-12, deviation, 1.0)
    unit = np.ldexp(np.round(np.ldexp(unit, _DIGITS - np.frexp(unit)[1])), np.frexp(unit)[1] - _DIGITS)
    mean = np.round(mean / unit * 2.0**_DIGITS) / 2.0**_DIGITS * unit
    constant = np.all(used == used[:1], axis=0)
    return np.where(constant, used[0], mean * size), unit * size
