"""Closed-form networks: every weight is a draw, a quantile, a mean, a leaf or a solve, chosen by leave-one-out."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.closed_form.importance import rank_importances
from sklearn_analytic.closed_form.jackknife import network_jackknife
from sklearn_analytic.closed_form.method import ClosedFormMethod
from sklearn_analytic.estimator.audited import AuditedEstimator
from sklearn_analytic.estimator.base import beside, in_dtype_of
from sklearn_analytic.estimator.faces import ClassifierFace
from sklearn_analytic.estimator.interval_face import IntervalFace
from sklearn_analytic.estimator.targets import ClassTargets, LabelTargets, NumberTargets, is_multilabel
from sklearn_analytic.estimator.texts import ADDING, CLOSED_FORM, FITTED_COLUMNS, FITTED_ROWS, documented, filled
from sklearn_analytic.estimator.value import store
from sklearn_analytic.features import linear_readout
from sklearn_analytic.io._checks import refuse_gaps

OWN = """
hidden_layer_sizes : int, sequence of int or "auto"
    Units of each layer. With ``hidden="auto"`` layers lie side by side, all reading the encoded input; the layers
    of a named construction each read the one before. The readout reads all of them and the encoded input (where
    that has at most 512 columns). "auto" is ``min(n / 2, max(600, min(n / 12, 2000)))`` units (up to 3300 where
    columns are on one scale), shared by three layers with ``hidden="auto"``, in one layer otherwise; as
    many as rows, 500 to 8000, with ``image_shape``. With "auto", tables of few distinct rows that repeat have a
    first layer with a unit at each of them.
hidden : str
    How layers are built: "random", "sampled", "laplace", "lpq", "leaf", "residual", "forward", "inverse",
    "hyperplane", "gated" (see ``sklearn_analytic.features``), with ``image_shape`` also "patch" and "masked".
    "auto" picks Gaussian or Laplace units and their width by leave-one-out on few rows, and adds the scores of
    trees, each row scored by trees that have not seen it; with ``image_shape`` it is "patch".
activation : {"relu", "tanh", "cos", "gaussian", "triangle", "bump", "identity"}
    Activation of the constructions that take one.
input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"}
    How columns are encoded: "auto" is piecewise-linear bins beside clipped robust z-scores, binary steps, and
    Hellinger rows for many columns on one scale.
n_refits : int
    With ``hidden="auto"``, how often at most (0..5) inputs are re-weighted by their share in the gradient of a
    small network (the diagonal of the average gradient outer product) and the network is solved again, as long
    as the leave-one-out error falls by 1 %.
device : str
    "cpu" is NumPy and numba; "cuda", "torch:cpu" and the like are torch. A tensor X stays on its device. Trees
    grow and score on the host.
precision : {"auto", "float32", "float64", "tf32", "bfloat16"}
    Dtype of the features; "auto" is that of X. "tf32" is float32 with products in TF32 where the device has it,
    which no other value uses. "bfloat16" needs torch (``device`` or a tensor X): hidden products of bfloat16
    operands, features rounded to bfloat16, their sums in float32 and float64.
"""

OWN_FITTED = """
candidates_ : list of dict
    What the automatic choice tried ("hidden", "scale", "refits") and its leave-one-out "error" on few rows.
exit_ : int
    Index of the layer up to which the readout reads.
alphas_ : ndarray of shape (n_layers,)
    Ridge of every readout.
blend_ : ndarray
    Weights of the network, the trees, the network on the trees' errors, and the joint ridge.
"""

FITTED = OWN_FITTED + FITTED_ROWS + FITTED_COLUMNS


@documented(parameters=CLOSED_FORM + OWN, attributes=FITTED)
class ClosedFormMLP(ClassifierFace, AuditedEstimator):
    r"""Closed-form multi-layer perceptron: a classifier without a gradient step, chosen by leave-one-out.

    Layers come from draws, quantiles, class means and trees; their readout is one ridge regression,

    .. math:: B = \arg\min_B \sum_i w_i \| y_i - [A, H_1, \dots, H_L](x_i) B \|^2 + \alpha \| B \|^2 .

    By default the network is blended with boosted trees: with held-out tree scores L it is solved for y and for
    y - L, and non-negative weights of least leave-one-out error blend the network, the trees, and both together.
    Ridge, layer type, blend, exit and probabilities are all chosen on leave-one-out predictions of at most 1000 audit
    rows, which build no layer but take part in every solve. There is no validation split. Data are read in blocks.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; the indices of the labels for multilabel y.
    loo_score_ : float
        Leave-one-out accuracy on the audit rows, every class with its share of all rows (of all labels of a row, for
        multilabel y).
    exit_errors_ : ndarray of shape (n_layers,)
        Leave-one-out mean squared error of the readout up to every layer.
    feature_importances_ : ndarray of shape (n_features,)
        Share of every input in the mean squared slope of the scores over the ranks of its column: the diagonal of the
        average outer product of finite differences.
    {attributes}

    Notes
    -----
    Øland's construction (see References) is not public. ``hidden="inverse"`` (targets propagated back through
    pseudo-inverses) and ``hidden="hyperplane"`` (one unit per pair of class Gaussians) are reconstructions of a
    literal closed-form network; the default is the best that we measured (docs/theory/closed_form.md).

    References
    ----------
    A. Øland, PhD thesis, Carnegie Mellon University (abstract). G.-B. Huang et al., "Extreme learning machine",
    Neurocomputing 70, 2006. D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import ClosedFormMLP
    >>> X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    >>> model = ClosedFormMLP(random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.95)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        hidden="auto",
        activation="tanh",
        alpha="loo",
        n_refits=3,
        input_encoding="auto",
        categorical_features="from_dtype",
        class_weight=None,
        image_shape=None,
        device="cpu",
        random_state=None,
        verbose=False,
        class_statistics=False,
        precision="auto",
        block_size=None,
    ):
        store(self, locals())

    @property
    def feature_importances_(self):
        """Share of every input in the mean squared slope of the scores over the ranks of its column.

        Computed when asked for.
        """
        return _importances(self)

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _method(self):
        """What the parameters say, as a value."""
        return ClosedFormMethod.of(self)

    def _targets_of(self, y, X, before=None, classes=None):
        """Classes, or labels where y is a matrix of them."""
        several = is_multilabel(y)
        if before is None:
            return LabelTargets.of_first(y, X) if several else ClassTargets.of_first(y, X, classes)
        if several and isinstance(before, ClassTargets):
            y = LabelTargets.of_first(y, X)[1]
            raise ValueError(f"y has shape {y.shape}, but the first call had {len(before.classes)} classes or labels.")
        return before.of_more(y, X, classes)


@documented(parameters=CLOSED_FORM + OWN, attributes=FITTED)
class ClosedFormMLPRegressor(IntervalFace, AuditedEstimator):
    r"""Closed-form multi-layer perceptron: a regressor without a gradient step, chosen by leave-one-out.

    The network of :class:`ClosedFormMLP` for real targets, one or several, each in units of its deviation:

    .. math:: B = \arg\min_B \sum_i w_i \| y_i - [A, H_1, \dots, H_L](x_i) B \|^2 + \alpha \| B \|^2 .

    Where a construction speaks of classes, bins of the targets stand for them.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    loo_score_ : float
        Leave-one-out R2 on the audit rows, the mean over targets.
    exit_errors_ : ndarray of shape (n_layers,)
        Leave-one-out mean squared error of the readout up to every layer, in units of the targets' variance.
    feature_importances_ : ndarray of shape (n_features,)
        Share of every input in the mean squared slope of the predictions over the ranks of its column: the diagonal
        of the average outer product of finite differences.
    {attributes}

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
        alpha="loo",
        n_refits=3,
        input_encoding="auto",
        categorical_features="from_dtype",
        image_shape=None,
        device="cpu",
        random_state=None,
        verbose=False,
        precision="auto",
        block_size=None,
    ):
        store(self, locals())

    @filled(partial_fit=ADDING["numbers"])
    def partial_fit(self, X, y, sample_weight=None):
        """Add rows. The readout is exact for all rows so far, given the layers.

        Below 1000 rows these are kept, and layers are built anew from all of them each time they have doubled; after
        that they stay, and the kept rows are dropped. Let the first thousand stand for the rest.

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight)

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
        for _, scores in self._staged_scores(X):
            yield self._learned.targets.in_shape(scores)

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def feature_importances_(self):
        """Share of every input in the mean squared slope of the predictions over the ranks of its column.

        Computed when asked for.
        """
        return _importances(self)

    def _method(self):
        """What the parameters say, as a value."""
        return ClosedFormMethod.of(self)

    def _targets_of(self, y, X, before=None, classes=None):
        """Numbers, all of which are held: their mean and deviation are units of the fit."""
        targets, y = (NumberTargets.of_first if before is None else before.of_more)(y, X)
        refuse_gaps(y, "y")
        return targets, np.asarray(y, dtype=np.float64)

    def _predictions(self, X):
        """Predictions (n, c) by the readout that predicts."""
        return self._chosen_scores(X)

    def _read_and_predicted(self, rows, backend):
        """All features of rows, and predictions in the units of the fit."""
        features, readout = self._hidden_of(rows, backend), self._solved.chosen
        return features, linear_readout(features, readout.coef, readout.intercept, backend)

    def _new_jackknife(self):
        """Leave-one-out residuals of the audit rows, and how the readout moves without them."""
        return network_jackknife(self._method(), self._learned, self._solved)

    def _scores(self, X, stages):
        """Predictions of some stages side by side, in the units of y and the dtype of X."""
        scorer, targets = self._scorer(stages), self._learned.targets
        unit, level = np.tile(targets.unit, len(stages)), np.tile(targets.level, len(stages))

        def predictions(rows, backend):
            scores = scorer(rows, backend)
            return in_dtype_of(rows, scores * beside(unit, scores) + beside(level, scores), backend)

        return self._map_blocks(X, predictions, self._n_features_out)


def _importances(estimator):
    """Importances of the inputs of a fitted network, by the slopes of its scores or predictions."""
    check_is_fitted(estimator)
    learned, method = estimator._learned, estimator._method()
    score = estimator._scorer([estimator._solved.chosen])
    shares = rank_importances(learned.judges.audit.x, score, method.host_backend())
    return shares if learned.table is None else learned.table.by_column(shares)
