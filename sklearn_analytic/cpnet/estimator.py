"""Correlation projection network: modules of a projection and a least-squares exit, no gradient anywhere."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import ACTIVATION_NAMES, backend_for, get_backend
from sklearn_analytic.cpnet.network import Network, Rows, Settings, build_network
from sklearn_analytic.estimator.base import (
    check_alpha,
    check_choice,
    check_class_weight,
    check_flag,
    check_positive_integer,
    checked_weights,
    class_labels,
    hidden_sizes,
)
from sklearn_analytic.estimator.callbacks import with_callbacks
from sklearn_analytic.estimator.classes import ClassStreamMixin, refuse_balanced
from sklearn_analytic.estimator.extreme_weights import (
    none_vanishing,
    refuse_extreme_weights,
    weighs_nothing,
    weights_in_range,
)
from sklearn_analytic.estimator.first_rows import FirstRowsMixin
from sklearn_analytic.estimator.reduction import ReductionEstimator, Unwatched
from sklearn_analytic.estimator.targets import ClassTargets
from sklearn_analytic.export.computation import Computation, pruned
from sklearn_analytic.features import CODES, linear_readout
from sklearn_analytic.features._audit import (
    audit_size,
    full_weights,
    rows_to_build_on,
)
from sklearn_analytic.features._training_rows import repeat
from sklearn_analytic.io._elsewhere import lazily
from sklearn_analytic.io._passes import auto_block_size, rows_in_blocks
from sklearn_analytic.linalg import NormalEquations, ridge_exits, spectral_exit

PROJECTIONS = ("correlation", "whitened", "random")
EXITS = ("last", "loo", "mean")
ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # per feature of unit variance, summed over rows
_BUILD_ROWS = 30_000  # projections are built from at most so many rows, drawn by weight
_FEW_UNITS, _MANY_UNITS, _ROWS_PER_UNIT = 800, 3300, (2, 12)


@dataclass(frozen=True)
class _FeatureStep:
    """Adds the exits' features of a block, with indicators of its classes, to a statistic."""

    network: Network
    n_classes: int
    all_digits: bool

    def __call__(self, statistic, block, backend):
        features = self.network.features(backend.asarray(block.x), backend)
        targets = np.eye(self.n_classes)[block.y]
        return statistic.accumulate(features, targets, block.weight, backend, widen=self.all_digits)


class CPNetClassifier(ClassStreamMixin, ClassifierMixin, FirstRowsMixin, ReductionEstimator):
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
    hidden_layer_sizes : int, sequence of int or "auto", default="auto"
        Units of each module; one integer is the width of every module. "auto" shares
        ``min(n / 2, max(800, min(n / 12, 3300)))`` units among the modules; the first has units at the distinct rows
        too, where those are few and repeat.
    n_modules : int, default=3
        Number of modules, each with an exit.
    encoding : {"subclass", "class", "mask", "forward"}, default="subclass"
        The code T: indicators of sub-classes about drawn rows (full rank); a random code of the class (the
        published kind, of rank at most the number of classes); that code times random signs per row; or
        signs of a random projection of the row plus signs of the class code (forward projection).
    projection : {"correlation", "whitened", "random"}, default="correlation"
        :math:`A^T T`, :math:`(A^T A + \lambda I)^{-1} A^T T`, or Gaussian directions.
    activation : {"auto", "radial", "tanh", "relu", "cos", "gaussian", "triangle", "bump", "identity"}, default="auto"
        f. "radial" is :math:`\exp(-\gamma \|a - c\|^2)` about sub-class means c, a projection of the row
        lifted by its norm; it needs ``encoding="subclass"`` and ``projection="correlation"``, where "auto"
        chooses it; "auto" is tanh elsewhere.
    skip : bool, default=True
        Whether modules read the encoded input itself and exits read it and all hidden layers so far. False
        is the published cascade: a module reads the fitted codes of the module before, and its exit its own
        hidden layer.
    exit : {"loo", "last", "mean"}, default="loo"
        Which exit predicts: that of the least leave-one-out error, the last, or the mean of all.
    alpha : {"loo", "gcv"} or float, default="loo"
        Ridge of the exits, per feature of unit variance: by leave-one-out on the audit rows, by generalised
        cross-validation (a slower full decomposition), or fixed; 0 is the Moore-Penrose solution. Ridges of
        "loo" and fixed ones grow by 1e-6 of the total weight, so that float32 products stay definite.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes; "balanced" needs all rows at once (:meth:`fit`).
        A dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
    block_size : int, default=None
        Rows read at a time; None keeps a float64 block near 16 MiB.
    random_state : int, RandomState or None, default=None
        Seed of all draws. Draws follow the content and weight of rows, not their order.
    device : str, default="cpu"
        "cpu" is NumPy and numba; "cuda", "torch:cpu" and the like are torch. A tensor X stays on its device.

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
    n_samples_seen_ : int
        Rows of positive weight in the fit.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

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

    _absent = 0.0  # targets are 0 and 1
    _contents, _first_audit = None, 0  # of models from before there were contents

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
        class_weight=None,
        block_size=None,
        random_state=None,
        device="cpu",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_modules = n_modules
        self.encoding = encoding
        self.projection = projection
        self.activation = activation
        self.skip = skip
        self.exit = exit
        self.alpha = alpha
        self.class_weight = class_weight
        self.block_size = block_size
        self.random_state = random_state
        self.device = device

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor, Dask collection} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies: weight 2 is the row given twice. Where columns take few values, these count as draws;
            elsewhere a common factor on all weights changes nothing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_array(X, y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows. The readout is exact for all rows so far, given the layers.

        Below 1000 rows these are kept, and projections are built anew from all of them each time they have doubled;
        after that they stay, and the kept rows are dropped. Let the first thousand stand for the rest. Classes that
        appear later get an exact readout of the frozen features.

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
            self._check_parameters()
            statistic = self._absorb(getattr(self, "_statistic", None), X, y, sample_weight, classes)
            check_class_weight(self.class_weight, self.classes_)
            return self._store(statistic)

    @lazily
    def decision_function(self, X):
        """Return scores of the classes: near 1 for the class, near 0 for the others.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_classes)
            Scores; for two classes that of the second less that of the first.
        """
        scores = self._scores(X)
        return self._meaning().decision(scores)

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
            The class of the highest score.
        """
        scores = self._scores(X)
        return self._meaning().labels(scores)

    @lazily
    def predict_proba(self, X):
        """Predict class probabilities, calibrated on leave-one-out scores of the audit rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Rows sum to one; a tensor where X is one.
        """
        scores = self._scores(X)
        return self._meaning().probabilities(scores, self._link)

    @lazily
    def predict_log_proba(self, X):
        """Predict the logarithms of :meth:`predict_proba`; all are finite.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes)
            A tensor where X is one.
        """
        scores = self._scores(X)
        return self._meaning().log_probabilities(scores, self._link)

    def staged_decision_function(self, X):
        """Yield :meth:`decision_function` of every exit, first to last.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        array of shape (n_samples,) or (n_samples, n_classes)
            Scores of the exit.
        """
        for scores in self._staged_scores(X):
            yield self._meaning().decision(scores)

    def staged_predict(self, X):
        """Yield :meth:`predict` of every exit, first to last.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples,)
            Labels by the exit.
        """
        for scores in self._staged_scores(X):
            yield self._meaning().labels(scores)

    def staged_predict_proba(self, X):
        """Yield :meth:`predict_proba` of every exit, first to last, each with its own calibration.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            Probabilities by the exit.
        """
        for scores, link in zip(self._staged_scores(X), self._links, strict=True):
            yield self._meaning().probabilities(scores, link)

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _meaning(self):
        """What y means, as a value."""
        return ClassTargets(self.classes_)

    # One block of the story: audit rows, network, features, statistic.

    def _fit_rows(self, X, y, sample_weight, progress):
        """The statistic of all rows, in passes: keys, drawn rows, sums."""
        y = class_labels(y, X)
        self._settle_classes(y)
        weights = weights_in_range(checked_weights(sample_weight, X.shape[0]))
        progress.begin(2)
        return self._add_rows(X, y, weights, progress.resume()[0], progress)

    def _absorb(self, statistic, X, y, sample_weight, classes=None):
        """The statistic with a block added; the first block settles columns and classes, the first rows projections."""
        X = self._read_features(X, reset=statistic is None)
        y = class_labels(y, X)
        statistic = self._meet_classes(y, classes, statistic)
        return self._stream_rows(X, y, checked_weights(sample_weight, X.shape[0]), statistic, Unwatched())

    def _add_rows(self, X, y, copies, statistic, progress):
        """Return the statistic of the exits' features with rows added; rows before any network build it."""
        backend = backend_for(X, self.device)
        copies, meaning = none_vanishing(refuse_extreme_weights(copies)), self._meaning()
        weights = meaning.weights(y, self.class_weight, copies)
        if weighs_nothing(weights, hasattr(self, "_network") and statistic is not None):
            return statistic
        rows = rows_in_blocks(X, meaning.coded(y), weights, self._rows_per_block(X.shape[1]))
        if progress.resumed is None:
            progress.begin_pass("layers")
            building = not hasattr(self, "_network")
            judged = self._judge(rows, y, copies, statistic, building)
            if building:
                self._network = self._build(rows, judged)
        if statistic is None:
            statistic = NormalEquations.empty(self._network.n_features, len(self.classes_))
        step = _FeatureStep(self._network, len(self.classes_), self._needs_all_digits())
        return progress.reduce(rows.resized(self._rows_per_block(statistic.n_features)), statistic, step, backend)

    def _build(self, rows, judged):
        """Build the network from rows that are not in the audit, or from all where nothing is chosen by it."""
        unit = self._contents.unit
        weights = full_weights(rows.weight, rows.n_rows)
        holds_out = self.alpha == "loo" or self.exit == "loo"
        usable = judged.building if holds_out and judged.building is not None else weights
        generator = np.random.default_rng([self._seed, 1])
        settings = Settings(
            self._widths(float(weights.sum()) / unit),
            self.encoding,
            self.projection,
            self._activation(),
            self.skip,
            self.alpha,
        )
        apart = judged.apart
        audit = Rows(apart.x, apart.hashes, self._meaning().coded(apart.y), apart.weights / unit)
        chosen, scale = rows_to_build_on(judged.keys, rows.y, usable, unit, _BUILD_ROWS, generator)
        x, labels = rows.take(chosen)
        build = Rows(x, judged.keys[chosen], labels, usable[chosen] / scale)
        draws = self._contents.are_draws and isinstance(self.hidden_layer_sizes, str)
        with_cells = draws and repeat(judged.keys[weights > 0], weights[weights > 0] / unit)
        return build_network(settings, build, audit, len(self.classes_), with_cells, generator, get_backend("cpu"))

    def _store(self, statistic):
        """Solve all exits, choose among them, calibrate."""
        unit = 1.0 if self._contents is None else self._contents.unit
        audit = self._audit.head(max(self._first_audit, audit_size(statistic.n_rows)))
        meaning = self._meaning()
        targets = meaning.matrix(meaning.coded(audit.y))
        mean = np.ldexp(statistic.mean[statistic.n_features :], statistic.exponent[1])
        weights = meaning.importance(audit, targets, mean) / unit
        features = self._network.features(audit.x, get_backend("cpu"))
        exits = self._solve_exits(statistic, (features, targets, weights), audit.weights, unit)
        self._statistic = statistic
        self._exits = [(readout.coef, readout.intercept) for readout in exits]
        self._links = [meaning.link(readout.loo, targets, weights) for readout in exits]
        self.exit_errors_ = np.array([readout.error for readout in exits])
        self.alphas_ = np.array([readout.alpha for readout in exits])
        self.n_samples_seen_ = statistic.n_rows
        chosen = {"last": len(exits) - 1, "loo": int(np.argmin(self.exit_errors_)), "mean": None}[self.exit]
        self.exit_ = chosen
        if chosen is None:
            self._link = meaning.link(np.mean([readout.loo for readout in exits], axis=0), targets, weights)
        else:
            self._link = self._links[chosen]
        self._readout = self._combined(range(len(exits)) if chosen is None else [chosen])
        return self

    def _solve_exits(self, statistic, audit, left_out, unit):
        """Readouts of all exits: nested factors where exits nest and the ridge is positive."""
        columns = self._network.exit_columns()
        if self._needs_all_digits():
            return [spectral_exit(statistic, c, audit, self.alpha, left_out=left_out) for c in columns]
        searched = self.alpha == "loo"
        alphas, given = (ALPHAS if searched else [float(self.alpha)]), {"left_out": left_out}
        given["unit"] = unit if searched else None  # a given ridge is what it says
        if self.skip:
            return ridge_exits(statistic, [len(c) for c in columns], audit, alphas, **given)
        features, targets, weights = audit
        return [
            ridge_exits(statistic.select(c), [len(c)], (features[:, c], targets, weights), alphas, **given)[0]
            for c in columns
        ]

    def _combined(self, chosen):
        """Mean of some exits as one readout of all features."""
        coef = np.zeros((self._network.n_features, len(self.classes_)))
        intercept = np.zeros(len(self.classes_))
        for index in chosen:
            columns = self._network.exit_columns()[index]
            coef[columns] += self._exits[index][0] / len(chosen)
            intercept += self._exits[index][1] / len(chosen)
        return coef, intercept

    # Scores, and what is read off them.

    def _scores(self, X):
        """Scores (n, C) of the chosen exit or of their mean, on the device of X."""
        check_is_fitted(self)
        return self._map_blocks(X, self._scorer([self._readout]), self._network.n_features)

    def _staged_scores(self, X):
        """Scores of all exits from one pass over X."""
        check_is_fitted(self)
        readouts = [self._combined([index]) for index in range(len(self._exits))]
        scores = self._map_blocks(X, self._scorer(readouts), self._network.n_features)
        n_classes = len(self.classes_)
        return [scores[:, i * n_classes : (i + 1) * n_classes] for i in range(len(readouts))]

    def _scorer(self, readouts):
        """The function of rows that gives the scores of readouts side by side, summed in float64."""
        coef = np.hstack([coef for coef, _ in readouts])
        intercept = np.concatenate([intercept for _, intercept in readouts])

        def scores(rows, backend):
            return linear_readout(self._network.features(rows, backend), coef, intercept, backend)

        return scores

    def _hidden_of(self, rows, backend):
        """What all exits read: the encoded input where it is carried, and the hidden layers of all modules."""
        return self._network.features(rows, backend)

    @property
    def _n_features_out(self):
        """Width of :meth:`transform`, for the names of its columns."""
        return self._network.n_features

    def _computation(self):
        """The network, and the readout of the exits that predict."""
        coef, intercept = self._readout
        steps, read, coef = pruned(*self._network.steps(), coef)
        return Computation(steps, read, coef, intercept, self._meaning().head(self._link), wide=True)

    # Parameters.

    def _widths(self, n_rows):
        """Units of every module."""
        if isinstance(self.hidden_layer_sizes, str):
            units = min(n_rows / _ROWS_PER_UNIT[0], max(_FEW_UNITS, min(n_rows / _ROWS_PER_UNIT[1], _MANY_UNITS)))
            return (max(2, int(units // self.n_modules)),) * self.n_modules
        sizes = hidden_sizes(self.hidden_layer_sizes)
        return sizes * self.n_modules if len(sizes) == 1 else sizes

    def _activation(self):
        """The activation that "auto" stands for."""
        radial = self.encoding == "subclass" and self.projection == "correlation"
        return ("radial" if radial else "tanh") if self.activation == "auto" else self.activation

    def _needs_all_digits(self):
        """Whether the solve needs the Gram in float64: it is decomposed, or not ridged."""
        return self.alpha == "gcv" or (not isinstance(self.alpha, str) and self.alpha == 0)

    def _rows_per_block(self, n_columns):
        """Rows per block: as asked for, or by the width of what is computed."""
        return int(self.block_size) if self.block_size is not None else auto_block_size(n_columns)

    def _check_parameters(self):
        """Refuse wrong parameters before any row is read."""
        check_choice("encoding", self.encoding, CODES)
        check_choice("projection", self.projection, PROJECTIONS)
        check_choice("activation", self.activation, ("auto", "radial", *ACTIVATION_NAMES))
        check_choice("exit", self.exit, EXITS)
        check_flag("skip", self.skip)
        check_positive_integer("n_modules", self.n_modules)
        check_positive_integer("block_size", self.block_size, None)
        check_alpha(self.alpha, words=("loo", "gcv"), grid=False)
        if self._activation() == "radial" and (self.encoding, self.projection) != ("subclass", "correlation"):
            raise ValueError(
                "activation='radial' needs encoding='subclass' and projection='correlation', got "
                f"{self.encoding!r} and {self.projection!r}. Use activation='auto'."
            )
        widths = hidden_sizes(self.hidden_layer_sizes, auto=True)
        if not isinstance(self.hidden_layer_sizes, str) and len(widths) not in (1, self.n_modules):
            raise ValueError(
                f"hidden_layer_sizes must be one width or one per module, got {self.hidden_layer_sizes!r} for "
                f"n_modules={self.n_modules}."
            )
