"""Block-wise recursive Moore-Penrose learning: exact least squares over blocks, linear or behind hidden layers."""

import numpy as np
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin

from sklearn_analytic.estimator.base import (
    check_class_weight,
    checked_weights,
    class_labels,
    regression_targets,
)
from sklearn_analytic.estimator.classes import ClassStreamMixin, refuse_balanced
from sklearn_analytic.estimator.extreme_weights import class_weighted, refuse_extreme_weights
from sklearn_analytic.export.computation import Classes, Numbers
from sklearn_analytic.io._elsewhere import lazily
from sklearn_analytic.io._passes import host
from sklearn_analytic.least_squares.method import BlockwiseLeastSquares


class BRMPRegressor(MultiOutputMixin, RegressorMixin, BlockwiseLeastSquares):
    r"""Exact least squares over blocks of rows, linear or behind closed-form hidden layers.

    Minimises :math:`\sum_i w_i \|y_i - W^T h(x_i) - b\|^2 + \alpha \|W\|_F^2`, with the solution of minimum
    norm for :math:`\alpha = 0`, where h is the identity or a stack of hidden layers that no gradient has
    touched. Rows are seen once, in any split and order, and the state does not grow with them.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=()
        Widths of the hidden layers; empty is the linear model.
    hidden : {"random", "rbf", "sampled"}, default="random"
        Construction of the hidden layers: Gaussian random weights, Gaussian bumps at drawn rows, or
        differences of drawn rows. "random" depends on ``random_state`` alone; the others draw rows by weight
        from all rows in :meth:`fit`, from the first block in a stream. Scale the columns first.
    activation : {"tanh", "relu", "cos", "gaussian", "triangle", "bump", "identity"}, default="tanh"
        Activation of "random" and "sampled" layers.
    solver : {"auto", "qr", "gram", "recursive"}, default="auto"
        "qr" streams a triangular factor: error of order kappa eps. "gram" streams normal equations: about
        half the time, error of order kappa squared eps. "recursive" is the published recursion of P, N, W:
        error of order kappa squared eps, and it stops with LinAlgError where it loses all digits. "auto" uses
        the Gram where its measured condition number leaves ten digits and reads the data again for "qr"
        where not; on streams it is "qr".
    alpha : float, array-like or "gcv", default=0.0
        Ridge; 0 is the Moore-Penrose solution. A grid, or "gcv" for an automatic one, is scored by
        generalised cross-validation without another pass.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    rcond : float, default=None
        Singular values below ``rcond`` times the largest count as zero. None is ``8 max(d, 32) eps`` for
        "qr", its root for "gram", and 1e-9 of a block's norm for "recursive". With an intercept, columns that
        are constant but for rounding have coefficients of 0 whatever ``rcond`` is.
    block_size : int, default=None
        Rows read at a time; None keeps a float64 block near 16 MiB.
    random_state : int, RandomState or None, default=None
        Seed of the hidden layers.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "torch:cpu" and the like are torch. A tensor X stays on its device.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (n_targets, d)
        W of a linear model. With hidden layers there is none: no tool shall take units for columns.
    intercept_ : float or ndarray of shape (n_targets,)
        b of a linear model.
    readout_coef_ : ndarray of shape (h,) or (n_targets, h)
        W of the units of the last hidden layer, where there is one.
    readout_intercept_ : float or ndarray of shape (n_targets,)
        b, where there is a hidden layer.
    feature_importances_ : ndarray of shape (d,)
        With hidden layers, the share of every column in the mean squared slope of the predictions, times the column's
        variance. The mean is over a normal distribution with the means and deviations of the columns, which the fit
        sums beside the rest.
    rank_ : int
        Numerical rank of the (centred) inputs of the readout; 0 where all are constant.
    condition_number_ : float
        Largest over smallest singular value kept; 1 where none is.
    alpha_ : float
        The ridge used.
    gcv_path_ : dict or None
        "alpha" and "gcv" when the ridge was chosen.
    solver_used_ : str
        The road taken.
    scenarios_ : dict or None
        With "recursive", how many blocks were "inside" the row space, of "full_rank", or "mixed".
    n_samples_seen_ : int
        Rows of positive weight in the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    References
    ----------
    H. Zhuang, Z. Lin, K.-A. Toh, "Blockwise recursive Moore-Penrose inverse for network learning", IEEE
    Trans. Systems, Man, and Cybernetics: Systems 52(5), 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_analytic import BRMPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> blocks = ((X[i : i + 100], y[i : i + 100]) for i in range(0, len(X), 100))
    >>> model = BRMPRegressor(alpha="gcv").fit_blocks(blocks)
    >>> round(model.score(X, y), 2), model.solver_used_
    (0.52, 'qr')
    """

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
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one_dimensional else outputs

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _learn_targets(self, y, X, classes, statistic=None):
        """Note the shape of y at the first block; refuse another number of targets later."""
        targets, one_dimensional = regression_targets(y, X)
        if statistic is None:
            self._one_dimensional, self._n_targets = one_dimensional, targets.shape[1]
        elif targets.shape[1] != self._n_targets:
            raise ValueError(f"y has {targets.shape[1]} targets, the fit so far has {self._n_targets}.")
        return statistic

    def _coded(self, X, y, sample_weight):
        """Targets as a matrix, and weights."""
        return regression_targets(y, X)[0], refuse_extreme_weights(checked_weights(sample_weight, X.shape[0]))

    def _n_columns(self):
        """Number of targets."""
        return self._n_targets

    def _n_classes(self):
        """Targets are their own codes."""
        return None

    def _aligned(self, other):
        """Both statistics, once their targets agree."""
        if self._n_targets != other._n_targets:
            raise ValueError(f"merge needs {self._n_targets} targets, other has {other._n_targets}.")
        return self._statistic, other._statistic

    def _head(self):
        """Outputs are predictions."""
        return Numbers(self._one_dimensional)

    def _as_published(self, coef, intercept):
        """Shape weights and constants as scikit-learn's linear models do."""
        return (coef[:, 0], float(intercept[0])) if self._one_dimensional else (coef.T, intercept)


class BRMPClassifier(ClassStreamMixin, ClassifierMixin, BlockwiseLeastSquares):
    r"""Least-squares classification over blocks: :class:`BRMPRegressor` on targets +1 and -1 per class.

    Minimises :math:`\sum_i w_i \|t_i - W^T h(x_i) - b\|^2 + \alpha \|W\|_F^2`, :math:`t_{ic} = \pm 1`. Classes
    may appear later in a stream: their past targets are -1, which the state already knows.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=()
        Widths of the hidden layers; empty is the linear model.
    hidden : {"random", "rbf", "sampled"}, default="random"
        Construction of the hidden layers, as in :class:`BRMPRegressor`.
    activation : str, default="tanh"
        Activation of "random" and "sampled" layers.
    solver : {"auto", "qr", "gram", "recursive"}, default="auto"
        As in :class:`BRMPRegressor`.
    alpha : float, array-like or "gcv", default=0.0
        Ridge, or how it is chosen.
    fit_intercept : bool, default=True
        Whether to fit b, which is not penalised.
    rcond : float, default=None
        Rank tolerance, as in :class:`BRMPRegressor`.
    block_size : int, default=None
        Rows read at a time.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes; "balanced" needs all rows at once (:meth:`fit`).
        A dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
    random_state : int, RandomState or None, default=None
        Seed of the hidden layers.
    device : str, default="cpu"
        What computes, as in :class:`BRMPRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, d) or (n_classes, d)
        Weights of the columns in :meth:`decision_function` of a linear model.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Its constants.
    readout_coef_, readout_intercept_, feature_importances_
        With hidden layers, in place of the two, as in :class:`BRMPRegressor`.
    rank_, condition_number_, alpha_, gcv_path_, solver_used_, scenarios_, n_samples_seen_
        As in :class:`BRMPRegressor`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    References
    ----------
    H. Zhuang, Z. Lin, K.-A. Toh, "Blockwise recursive Moore-Penrose inverse for network learning", IEEE
    Trans. Systems, Man, and Cybernetics: Systems 52(5), 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import BRMPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = BRMPClassifier(hidden_layer_sizes=50, hidden="rbf", alpha="gcv", random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        hidden="random",
        activation="tanh",
        solver="auto",
        alpha=0.0,
        fit_intercept=True,
        rcond=None,
        block_size=None,
        class_weight=None,
        random_state=None,
        device="cpu",
    ):
        super().__init__(
            hidden_layer_sizes,
            hidden=hidden,
            activation=activation,
            solver=solver,
            alpha=alpha,
            fit_intercept=fit_intercept,
            rcond=rcond,
            block_size=block_size,
            random_state=random_state,
            device=device,
        )
        self.class_weight = class_weight

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows; the result equals one fit on all rows so far (with the first call's hidden layers).

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows to add.
        y : array-like of shape (n_samples,)
            Their labels. Labels not seen before become new classes, unless ``classes`` was given once.
        classes : array-like of shape (n_classes,), default=None
            All labels, if they are known: then a label outside them is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies.

        Returns
        -------
        self : object
            The estimator; unchanged when an error is raised.
        """
        refuse_balanced(self.class_weight, "partial_fit")
        with self._unchanged_on_error():
            self._partial_fit(X, y, sample_weight, classes)
            check_class_weight(self.class_weight, self.classes_)
        return self

    def forget(self, X, y, sample_weight=None):
        """Take rows out again that were fitted before: the result equals a fit on the rest.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows to take out.
        y : array-like of shape (n_samples,)
            The labels they were fitted with.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights they were fitted with.

        Returns
        -------
        self : object
            The estimator; unchanged when ValueError says that the rows cannot have been in.
        """
        refuse_balanced(self.class_weight, "forget")
        return super().forget(X, y, sample_weight)

    def merge(self, other):
        """Add all rows that another estimator has seen; classes of either are classes of the result.

        Parameters
        ----------
        other : BRMPClassifier
            Fitted with the same parameters and the same hidden layers (an integer ``random_state``).

        Returns
        -------
        self : object
            The estimator; ``other`` is left as it was.
        """
        refuse_balanced(self.class_weight, "merge")
        return super().merge(other)

    @lazily
    def decision_function(self, X):
        """Return the readout's outputs: near +1 for the class, near -1 for the others.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_classes)
            Outputs; for two classes that of the second.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] if len(self.classes_) == 2 else outputs

    @lazily
    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            The class of the largest output.
        """
        outputs = self._outputs(X)
        return self.classes_[np.argmax(host(outputs), axis=1)]

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _learn_targets(self, y, X, classes, statistic=None):
        """Settle the classes; open columns for new ones, whose past targets were -1."""
        return self._meet_classes(class_labels(y, X), classes, statistic)

    def _coded(self, X, y, sample_weight):
        """Class indices, and class-weighted weights; a step makes targets of +1 and -1."""
        codes = self._codes(y, X)
        weights = refuse_extreme_weights(checked_weights(sample_weight, X.shape[0]))
        return codes, class_weighted(self.classes_[codes], self.class_weight, weights)

    def _n_columns(self):
        """One target per class."""
        return len(self.classes_)

    def _n_classes(self):
        """As many as there are now."""
        return len(self.classes_)

    def _aligned(self, other):
        """Both statistics over the union of the classes."""
        union = np.union1d(self.classes_, other.classes_)
        mine = self._widened(self._statistic, self.classes_, union)
        theirs = self._widened(other._statistic, other.classes_, union)
        self.classes_ = union
        return mine, theirs

    def _head(self):
        """The largest output names the class; there are no probabilities."""
        return Classes(self.classes_, None)

    def _as_published(self, coef, intercept):
        """Shape weights and constants as scikit-learn's linear classifiers do."""
        rows = slice(1, 2) if len(self.classes_) == 2 else slice(None)
        return coef.T[rows], intercept[rows]
