"""Correlation projection network: modules of a projection and a least-squares exit, no gradient anywhere."""

from sklearn_analytic.cpnet.method import CPNetMethod
from sklearn_analytic.estimator.audited import AuditedEstimator
from sklearn_analytic.estimator.faces import ClassifierFace
from sklearn_analytic.estimator.targets import ClassTargets
from sklearn_analytic.estimator.texts import CLOSED_FORM, FITTED_COLUMNS, FITTED_ROWS, documented
from sklearn_analytic.estimator.value import store

OWN = r"""
hidden_layer_sizes : int, sequence of int or "auto"
    Units of each module; one integer is the width of every module. "auto" shares
    ``min(n / 2, max(800, min(n / 12, 3300)))`` units among the modules; the first has units at the distinct rows
    too, where those are few and repeat.
n_modules : int
    Number of modules, each with an exit.
encoding : {"subclass", "class", "mask", "forward"}
    The code T: indicators of sub-classes about drawn rows (full rank); a random code of the class (the
    published kind, of rank at most the number of classes); that code times random signs per row; or
    signs of a random projection of the row plus signs of the class code (forward projection).
projection : {"correlation", "whitened", "random"}
    :math:`A^T T`, :math:`(A^T A + \lambda I)^{-1} A^T T`, or Gaussian directions.
activation : {"auto", "radial", "tanh", "relu", "cos", "gaussian", "triangle", "bump", "identity"}
    f. "radial" is :math:`\exp(-\gamma \|a - c\|^2)` about sub-class means c, a projection of the row
    lifted by its norm; it needs ``encoding="subclass"`` and ``projection="correlation"``, where "auto"
    chooses it; "auto" is tanh elsewhere.
skip : bool
    Whether modules read the encoded input itself and exits read it and all hidden layers so far. False
    is the published cascade: a module reads the fitted codes of the module before, and its exit its own
    hidden layer.
exit : {"loo", "last", "mean"}
    Which exit predicts: that of the least leave-one-out error, the last, or the mean of all.
alpha : {"loo", "gcv"} or float
    Ridge of the exits, per feature of unit variance: by leave-one-out on the audit rows, by generalised
    cross-validation (a slower full decomposition), or fixed; 0 is the Moore-Penrose solution. Ridges of
    "loo" and fixed ones grow by 1e-6 of the total weight, so that float32 products stay definite.
"""


@documented(parameters=CLOSED_FORM + OWN, attributes=FITTED_ROWS + FITTED_COLUMNS)
class CPNetClassifier(ClassifierFace, AuditedEstimator):
    r"""Correlation projection network: a multi-exit classifier in which every weight is a sum or a solve.

    Each module encodes the labels as a code T, projects its input by correlation with it,
    :math:`H = f(A W_1 + b)`, :math:`W_1 = A^T T`, and reads the labels out by ridge regression: its exit.
    The encoded input A passes unlabelled columns on (piecewise-linear bins, clipped z-scores); exit t reads
    A and the hidden layers of modules 1..t. Ridge, exit, unit width and probabilities are chosen on exact
    leave-one-out predictions of at most 1000 audit rows, which take part in every solve but (unless both
    ``alpha`` and ``exit`` are set to something other than "loo") in no construction. Data are read in blocks,
    three times; memory is that of one Gram matrix of the features.

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
    exit_ : int or None
        Index of the exit that predicts; None for their mean.
    exit_errors_ : ndarray of shape (n_modules,)
        Leave-one-out mean squared error of every exit on the audit rows.
    alphas_ : ndarray of shape (n_modules,)
        Ridge of every exit.
    {attributes}

    Notes
    -----
    The paper's full text is not public; the method is reconstructed from its abstract. The reconstruction of
    the published network is ``CPNetClassifier(encoding="class", skip=False, exit="last", alpha=0.0,
    activation="tanh")``; the default is the best that we measured (docs/theory/cpnet.md has both scores).
    The Gram of float32 rows is summed from float32 products unless ``alpha`` is 0 or "gcv"; float64 rows are
    float64 throughout.

    References
    ----------
    H. Zhuang, Z. Lin, K.-A. Toh, "Correlation projection for analytic learning of a classification network",
    Neural Processing Letters 53(6), 2021, doi 10.1007/s11063-021-10570-2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import CPNetClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> model = CPNetClassifier(random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.97)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        n_modules=3,
        encoding="subclass",
        projection="correlation",
        activation="auto",
        skip=True,
        exit="loo",
        alpha="loo",
        categorical_features="from_dtype",
        class_weight=None,
        random_state=None,
        verbose=False,
        class_statistics=False,
        device="cpu",
        block_size=None,
    ):
        store(self, locals())

    def _method(self):
        """What the parameters say, as a value."""
        return CPNetMethod.of(self)

    def _targets_of(self, y, X, before=None, classes=None):
        """One class per row."""
        return ClassTargets.of_first(y, X, classes) if before is None else before.of_more(y, X, classes)
