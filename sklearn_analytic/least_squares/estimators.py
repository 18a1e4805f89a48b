"""Block-wise recursive Moore-Penrose learning: exact least squares over blocks, linear or behind hidden layers."""

import numpy as np
from sklearn.base import ClassifierMixin, MultiOutputMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator import reduction
from sklearn_analytic.estimator.balance import refuse_unbalanced, with_priors
from sklearn_analytic.estimator.base import in_dtype_of
from sklearn_analytic.estimator.callbacks import with_callbacks
from sklearn_analytic.estimator.interval_face import IntervalFace
from sklearn_analytic.estimator.prediction_sets import SetScores, predict_set
from sklearn_analytic.estimator.reduction import ReductionEstimator
from sklearn_analytic.estimator.targets import ClassTargets, NumberTargets
from sklearn_analytic.estimator.texts import (
    ADDING,
    CLOSED_FORM,
    FITTED_COLUMNS,
    FITTED_ROWS,
    REMOVING,
    documented,
    filled,
)
from sklearn_analytic.estimator.value import store
from sklearn_analytic.export.calibration import fit_link
from sklearn_analytic.export.computation import ROWS, Computation, chained
from sklearn_analytic.features import apply_layers, cast_like, linear_readout
from sklearn_analytic.io._checks import lazily
from sklearn_analytic.least_squares.input_shares import input_shares
from sklearn_analytic.least_squares.jackknife import left_out_rows, rows_jackknife
from sklearn_analytic.least_squares.method import BlockwiseMethod, check_mergeable, refuse_other_layers

_INSTEAD = {  # what an attribute that is not there would not have meant
    True: (
        "with hidden layers, whose units are no columns: readout_coef_ and readout_intercept_ weigh the units, "
        "feature_importances_ judges the columns."
    ),
    False: "without hidden layers: coef_ and intercept_ weigh the columns.",
}
_NO_ROWS = (
    "No row was kept to measure intervals on: fit anew with audit_rows above 0. (Merging with a fit that keeps none, "
    "and files of earlier versions, leave none either.)"
)


class BlockwiseEstimator(ReductionEstimator):
    """What regressor and classifier share: everything but what y means."""

    _more_audit_rows = "they are rows of the fit, of which at most audit_rows are kept. Fit more, or ask for less."

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor, Dask collection} of shape (n_samples, n_features)
            Rows. A memmap is never copied whole; with ``solver="auto"`` it may be read twice.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, or class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies: weight 2 is the row given twice.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_array(X, y, sample_weight)

    @filled(partial_fit=ADDING["numbers"])
    def partial_fit(self, X, y, sample_weight=None):
        """Add rows; the result equals one fit on all rows so far (with the first call's hidden layers).

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight)

    @filled(removing=REMOVING)
    def forget(self, X, y, sample_weight=None):
        """Take rows out again that were fitted before: the result equals a fit on the rest.

        The encoding of missing values and categories stays as it is, and so do hidden layers that rows have drawn.

        {removing}

        Warns
        -----
        UnlearningWarning
            If hidden layers have drawn rows, or means of targets stand for categories: these stay.
        """
        return self._forget(X, y, sample_weight)

    def merge(self, other):
        """Add all rows that another estimator has seen: shards fitted apart become one fit, of all classes of either.

        Parameters
        ----------
        other : same class
            Fitted with the same parameters and the same hidden layers (an integer ``random_state``).

        Returns
        -------
        self : object
            The estimator; ``other`` is left as it was.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        with self._unchanged_on_error():
            method = self._checked_method()
            refuse_unbalanced(method, "merge")
            check_mergeable(self, other)
            refuse_other_layers(self._learned.network, other._learned.network)
            return self._keep(method, reduction.merge(method, self._learned, other._learned))

    @property
    def coef_(self):
        """Weights of the columns; a model with hidden layers has none."""
        return self._shaped("coef_", hidden=False)[0]

    @property
    def intercept_(self):
        """Constants of a linear model."""
        return self._shaped("intercept_", hidden=False)[1]

    @property
    def readout_coef_(self):
        """Weights of the units of the last hidden layer."""
        return self._shaped("readout_coef_", hidden=True)[0]

    @property
    def readout_intercept_(self):
        """Constants of the readout of the last hidden layer."""
        return self._shaped("readout_intercept_", hidden=True)[1]

    @property
    def feature_importances_(self):
        """Share of every column in the mean squared change of the predictions where its value is drawn anew.

        Values are drawn from a normal distribution with the means and deviations of the columns: no row is kept.
        Every target counts in units of its own variance. Computed when asked for, on 16 to 256 rows per column.
        """
        self._check_has("feature_importances_", hidden=True)
        statistic = self._learned.statistic
        if getattr(statistic, "columns", None) is None:
            raise AttributeError(
                "feature_importances_ needs the deviations of the columns, which fits of earlier versions did not "
                "keep: fit anew."
            )
        coef = self._solved.chosen.coef
        table = self._table
        n_columns = self.n_features_in_ if table is None else table.n_columns
        shares = input_shares(self._learned.network, coef, statistic.columns, n_columns)
        return shares if table is None else table.by_column(shares)

    def _shaped(self, name, hidden):
        """Weights and constants of the readout as scikit-learn's linear models have them."""
        self._check_has(name, hidden)
        return self._as_published(self._solved.chosen.coef, self._solved.chosen.intercept)

    def _check_has(self, name, hidden):
        """Refuse the names of linear models where there are hidden layers, and the other way round."""
        kind = type(self).__name__
        if self._solved is None:
            raise AttributeError(f"This {kind} has no {name} before it is fitted.")
        if bool(self._learned.network) != hidden:
            raise AttributeError(f"{kind} has no {name} {_INSTEAD[bool(self._learned.network)]}")

    def _method(self):
        """What the parameters say, as a value."""
        return BlockwiseMethod.of(self)

    def _outcome(self, method, learned):
        """Everything that fitting sets, columns apart; infinite weights are refused."""
        found = super()._outcome(method, learned)
        readout = found["_solved"].chosen
        if np.isfinite(readout.coef).all() and np.isfinite(readout.intercept).all():
            return found
        raise ValueError(
            f"{type(self).__name__}: weights leave the range of float64, for y is too large beside X. Scale the "
            "columns of X up, or y down."
        )

    def _outputs(self, X):
        """Linear outputs (n, c) of X, in its dtype, summed in float64."""
        check_is_fitted(self)

        def outputs(rows, backend):
            return in_dtype_of(rows, self._scored(rows, backend), backend)

        return self._map_blocks(X, outputs)

    def _scored(self, rows, backend):
        """Outputs of checked rows."""
        return self._read_and_predicted(rows, backend)[1]

    def _read_and_predicted(self, rows, backend):
        """What the readout reads of checked rows, and its outputs."""
        hidden, readout = apply_layers(self._learned.network, rows, backend), self._solved.chosen
        return hidden, linear_readout(hidden, readout.coef, readout.intercept, backend)

    def _hidden_of(self, rows, backend):
        """The last hidden layer, in the dtype of the rows; the rows themselves where the model is linear."""
        return cast_like(apply_layers(self._learned.network, rows, backend), rows, backend)

    @property
    def _left_out_rows(self):
        """The rows that are kept without themselves, their hidden features, and how they were left out."""
        return self._read_off("left out", self._new_left_out_rows)

    def _new_left_out_rows(self):
        """The same, found."""
        problem = self._solved.problem or self._method().problem  # of a model of an earlier version
        found = left_out_rows(self._weighed, self.alpha_, self.rank_, problem)
        if found is None:
            raise ValueError(_NO_ROWS)
        return found

    @property
    def _n_features_out(self):
        """Width of :meth:`transform`, for the names of its columns."""
        layers = self._learned.network
        if layers:
            return layers[-1].n_units
        return self.n_features_in_ if self._table is None else self._table.n_columns

    def _computation(self):
        """Hidden layers in turn, and the readout of the last."""
        steps, readout, head = chained(self._learned.network), self._solved.chosen, self._learned.targets.head(None)
        return Computation(steps, (len(steps) + ROWS,), readout.coef, readout.intercept, head, wide=True)


OWN = """
hidden_layer_sizes : int or tuple of int
    Widths of the hidden layers; empty is the linear model.
hidden : {"random", "rbf", "sampled"}
    Construction of the hidden layers: Gaussian random weights, Gaussian bumps at drawn rows, or
    differences of drawn rows. "random" depends on ``random_state`` alone; the others draw rows by weight
    from all rows in :meth:`fit`, from the first block in a stream. Scale the columns first.
activation : {"tanh", "relu", "cos", "gaussian", "triangle", "bump", "identity"}
    Activation of "random" and "sampled" layers.
solver : {"auto", "qr", "gram", "recursive"}
    "qr" streams a triangular factor: error of order kappa eps. "gram" streams normal equations: about
    half the time, error of order kappa squared eps. "recursive" is the published recursion of P, N, W:
    error of order kappa squared eps, and it stops with LinAlgError where it loses all digits. "auto" uses
    the Gram where its measured condition number leaves ten digits and reads the data again for "qr"
    where not; on streams it is "qr".
alpha : float, array-like or "gcv"
    Ridge; 0 is the Moore-Penrose solution. A grid, or "gcv" for an automatic one, is scored by
    generalised cross-validation without another pass.
fit_intercept : bool
    Whether to fit b, which is not penalised.
rcond : float
    Singular values below ``rcond`` times the largest count as zero. None is ``8 max(d, 32) eps`` for
    "qr", its root for "gram", and 1e-9 of a block's norm for "recursive". With an intercept, columns that
    are constant but for rounding have coefficients of 0 whatever ``rcond`` is.
random_state : int, RandomState or None
    Seed of the hidden layers.
audit_rows : int
    How many of all rows are kept, at most, on which intervals, sets and standard deviations are measured: those with
    the smallest hashes of their content, the same ones in any blocks and order. 0 keeps none.
"""

OWN_FITTED = """
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
    The solver used.
scenarios_ : dict or None
    With "recursive", how many blocks were "inside" the row space, of "full_rank", or "mixed".
"""

FITTED = OWN_FITTED + FITTED_ROWS + FITTED_COLUMNS


@documented(parameters=CLOSED_FORM + OWN, attributes=FITTED)
class BRMPRegressor(IntervalFace, MultiOutputMixin, BlockwiseEstimator):
    r"""Exact least squares over blocks of rows, linear or behind closed-form hidden layers.

    Minimises :math:`\sum_i w_i \|y_i - W^T h(x_i) - b\|^2 + \alpha \|W\|_F^2`, with the solution of minimum
    norm for :math:`\alpha = 0`, where h is the identity or a stack of hidden layers that no gradient has
    touched. Rows are seen once, in any split and order, and the state does not grow with them.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (n_targets, d)
        W of a linear model. With hidden layers there is none: no tool shall take units for columns.
    intercept_ : float or ndarray of shape (n_targets,)
        b of a linear model.
    {attributes}

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
        categorical_features="from_dtype",
        random_state=None,
        device="cpu",
        verbose=False,
        audit_rows=1000,
        block_size=None,
    ):
        store(self, locals())

    def _predictions(self, X):
        """Predictions (n, c) by the readout."""
        return self._outputs(X)

    def _new_jackknife(self):
        """Leave-one-out residuals of the rows that are kept, and how the readout moves without them."""
        return rows_jackknife(self._weighed, *self._left_out_rows)

    def _targets_of(self, y, X, before=None, classes=None):
        """Numbers, whose values blocks check."""
        return (NumberTargets.of_first if before is None else before.of_more)(y, X)

    def _as_published(self, coef, intercept):
        """Shape weights and constants as scikit-learn's linear models do."""
        one = self._learned.targets.one_dimensional
        return (coef[:, 0], float(intercept[0])) if one else (coef.T, intercept)


@documented(parameters=CLOSED_FORM + OWN, attributes=FITTED)
class BRMPClassifier(ClassifierMixin, BlockwiseEstimator):
    r"""Least-squares classification over blocks: :class:`BRMPRegressor` on targets +1 and -1 per class.

    Minimises :math:`\sum_i w_i \|t_i - W^T h(x_i) - b\|^2 + \alpha \|W\|_F^2`, :math:`t_{ic} = \pm 1`. Classes
    may appear later in a stream: their past targets are -1, which the state already knows.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, d) or (n_classes, d)
        Weights of the columns in :meth:`decision_function` of a linear model.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Its constants.
    {attributes}

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

    predict_set, with_priors = predict_set, with_priors

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
        categorical_features="from_dtype",
        class_weight=None,
        random_state=None,
        verbose=False,
        audit_rows=1000,
        class_statistics=False,
        device="cpu",
        block_size=None,
    ):
        store(self, locals())

    @filled(partial_fit=ADDING["classes"])
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows; the result equals one fit on all rows so far (with the first call's hidden layers).

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight, classes)

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
        return self._learned.targets.labels(outputs)

    def _chances(self, outputs):
        """Probabilities of outputs, calibrated on the rows that are kept, each without itself."""
        return self._read_off("link", self._new_link).probabilities((outputs + 1) / 2)

    def _new_link(self):
        """The calibration of the outputs."""
        left_out = self._left_out_rows[0]
        return fit_link((left_out.predictions + 1) / 2, np.argmax(left_out.targets, axis=1), left_out.weights)

    def _set_scores(self):
        """What sets are measured on: the rows that are kept, left out."""
        left_out = self._left_out_rows[0]
        return SetScores.of(left_out, self._chances(left_out.predictions), self._learned.statistic.rows.x)

    def _targets_of(self, y, X, before=None, classes=None):
        """One class per row; the past targets of a class that comes later were -1, which the state already knows."""
        return ClassTargets.of_first(y, X, classes, absent=-1.0) if before is None else before.of_more(y, X, classes)

    def _as_published(self, coef, intercept):
        """Shape weights and constants as scikit-learn's linear classifiers do."""
        rows = slice(1, 2) if len(self.classes_) == 2 else slice(None)
        return coef.T[rows], intercept[rows]
