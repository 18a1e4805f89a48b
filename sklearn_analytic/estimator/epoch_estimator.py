"""Estimators trained by steps: one fit, one stream and one source of blocks for all of them, and their answers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace

from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import backend_for
from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator import epochs
from sklearn_analytic.estimator.base import AnalyticEstimator
from sklearn_analytic.estimator.callbacks import CallbackSupportMixin, EpochTasks, tell_of_block, with_callbacks
from sklearn_analytic.estimator.checks import check_choice
from sklearn_analytic.estimator.device import Device
from sklearn_analytic.estimator.earlier import with_parameters, with_trained
from sklearn_analytic.estimator.epoch_method import interrupt
from sklearn_analytic.estimator.epoch_rows import called
from sklearn_analytic.estimator.epoch_source import fit_source
from sklearn_analytic.estimator.epoch_targets import NetworkClasses, NetworkNumbers, mean_one
from sklearn_analytic.estimator.epochs import BEFORE_FIT, LAST_GOOD
from sklearn_analytic.estimator.learned import Trained
from sklearn_analytic.estimator.targets import refuse_balanced
from sklearn_analytic.estimator.texts import TRAINING, filled
from sklearn_analytic.estimator.weights import checked_weights
from sklearn_analytic.estimator.written_weights import refuse_misfits
from sklearn_analytic.export.computation import dense_computation
from sklearn_analytic.io import Blocks
from sklearn_analytic.io._checks import dense_rows, host, lazily
from sklearn_analytic.io._columns import CodedRows, plain_columns, rows_by
from sklearn_analytic.io._passes import short_block_size
from sklearn_analytic.io._raw_columns import names_of
from sklearn_analytic.io._readers import unpacked
from sklearn_analytic.io._sources import numbered, opened
from sklearn_analytic.nn._losses import class_outputs


class EpochEstimator(CallbackSupportMixin, AnalyticEstimator, ABC):
    """A network trained by steps: what training leaves behind is one value, which goes on and predicts.

    A subclass says how (``_kind_of_method``); its face says what y means (``_kind_of_targets``).
    """

    _trained = None  # before any fit

    @property
    def _table(self):
        """How raw rows become numbers."""
        return None if self._trained is None else self._trained.reading.table

    @property
    @abstractmethod
    def _kind_of_method(self):
        """The class of values that the parameters become."""

    @property
    def _kinds_of_values(self):
        """Parameters that are values."""
        return self._kind_of_method.kinds

    def _method(self):
        """What the parameters say, as a value."""
        return self._kind_of_method.of(self)

    @property
    @abstractmethod
    def _kind_of_targets(self):
        """The class of values that y becomes."""

    def _fit_source(self, method, blocks, held_out):
        """Train on blocks and keep what is good; return the history, and the error that ended it, if one did."""
        tasks = EpochTasks(self, {"X": None, "y": None})
        # callbacks that score on training rows get a first block of them; others need not keep it in memory
        show = tasks.show if getattr(self, "_skl_callbacks", None) else lambda x, y: None
        source, y, weights = opened(blocks, self._raw_rows, self._columns_of, show)
        targets, y, weights = self._kind_of_targets.of_source(method, source, y, weights)
        weights = None if weights is None else mean_one(weights)
        held_out = self._held_out(method, targets, source.columns, *held_out)

        def outputs(trained):
            function, width = self._function(method, trained, trained.attributes)
            return host(self._mapped(held_out[0], function, width, trained.reading.table.dense))

        def encoded(trained):
            return trained.reading.table.all_dense(held_out[0]), *held_out[1:]

        judge = None if held_out is None else lambda trained: targets.score(outputs(trained), *held_out[1:])
        watched = None if held_out is None else encoded
        trained, history, error = fit_source(method, targets, source, y, weights, tasks, judge, watched)
        if error is None and history.failure:  # while rows were judged
            error = method.failure(history, LAST_GOOD if history.losses else BEFORE_FIT)
        if error is not None and not history.losses:
            raise error
        if held_out is not None and trained.readouts is None:
            trained = replace(trained, targets=trained.targets.calibrated(outputs(trained), *held_out[1:]))
        self._keep(trained)
        if blocks.feature_names is not None:
            self.feature_names_in_ = blocks.feature_names
        tasks.end(dict)
        return history, error

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """Train on a block of a stream, or on several one after the other."""
        if _is_blocks(X, y):
            return self._partial_fit_blocks(X, y, sample_weight, classes)
        method, before = self._checked_method(), self._trained
        refuse_balanced(method.class_weight, "partial_fit")
        with self._unchanged_on_error():
            X = self._read_features(X, reset=before is None)
            known = None if before is None else before.targets
            targets, X, y, weights = self._kind_of_targets.of_block(method, X, y, sample_weight, classes, known)
            written = None if before is None else self._written(before)
            table, X = epochs.in_numbers(method, targets, X, y, weights, before)
            self._keep(epochs.absorb(method, targets, X, y, weights, table, before, written))
        tell_of_block(self)
        return self

    def _partial_fit_blocks(self, blocks, y, sample_weight, classes):
        """One pass over blocks, each of which is one :meth:`partial_fit`."""
        if y is not None or sample_weight is not None:
            raise ValueError("partial_fit on blocks takes y and sample_weight from the blocks: pass the blocks alone.")
        with closing(blocks.read()) if isinstance(blocks, Blocks) else nullcontext(blocks) as stream:
            for number, block in enumerate(stream):
                X, labels, weight = unpacked(block, number)
                with numbered(number):
                    self._partial_fit(X, labels, weight, classes)
        return self

    # ---- state ----

    def _checked_method(self):
        """What the parameters say, once they are checked."""
        method = self._method()
        method.check()
        return method

    def _held_out(self, method, targets, columns, X_val, y_val, sample_weight_val):
        """Given validation rows as (X, coded, weights), or None; half a pair is an error."""
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val must be given together (and sample_weight_val with them, if at all).")
        with called("X", "X_val"), self._named_values(names_of(X_val)):
            X_val = rows_by(columns, self._raw_rows(X_val, reset=False))
            size, missing = short_block_size(X_val.shape[1]), columns is not None
            for start in range(0, X_val.shape[0], size):  # their values, while it is known which rows they are
                dense_rows(X_val[start : start + size], missing)
        with called("y", "y_val"), self._named_values():
            coded = targets.coded(targets.read(y_val, X_val), method.weight_dtype)
        with called("sample_weight", "sample_weight_val"), self._named_values():
            return X_val, coded, checked_weights(sample_weight_val, X_val.shape[0])

    def _columns_of_numbers(self, before):
        """How the columns of rows without names are read."""
        return plain_columns(self.n_features_in_) if before is None else self._known_columns

    def _keep(self, trained):
        """Take what training has left behind, and publish it."""
        published = trained.published()
        earlier = {} if self._trained is None else self._trained.published() | self._trained.shapes
        for name in earlier:
            if name not in published and hasattr(self, name):
                delattr(self, name)
        self._trained = trained.without_weights()
        for name, value in published.items():
            setattr(self, name, value)

    def _finished(self, method, history):
        """Raise what ended training early, or warn where epochs did; the estimator is already usable."""
        if history.failure is not None:
            raise method.failure(history, LAST_GOOD)
        if history.ran_out:
            _warn_of_epochs(type(self).__name__, method)
        return self

    # ---- as scikit-learn's networks say it ----

    @property
    def n_layers_(self):
        """Layers, inputs and outputs included."""
        return self._of_fitted("n_layers_").n_layers()

    @property
    def n_outputs_(self):
        """Outputs, one for each class or target."""
        return self._of_fitted("n_outputs_").targets.n_outputs

    @property
    def out_activation_(self):
        """What outputs go through: "softmax", "identity", or the name of another output rule."""
        found = self._of_fitted("out_activation_").targets.out_activation
        return "identity" if found == "linear" else found

    def _of_fitted(self, name):
        """What training left behind, or the error of an attribute that is not there."""
        if self._trained is None:
            raise AttributeError(f"This {type(self).__name__} has no {name} before it is fitted.")
        return self._trained

    def _written(self, trained):
        """The weights as they are in fitted attributes, where a user may have written others."""
        return {name: getattr(self, name) for name in trained.shapes}

    def __sklearn_is_fitted__(self):
        """Whether there is a network."""
        return self._trained is not None

    def __setstate__(self, state):
        """Take state of earlier versions, too."""
        super().__setstate__(with_trained(with_parameters(state, self._kinds_of_values, self._get_param_names())))

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- answers ----

    def _raw_outputs(self, X, forward=Trained.forward):
        """Raw outputs (n, c) of checked rows, in the kind and on the device of X."""
        check_is_fitted(self)
        trained = self._trained
        return self._outputs(X, self._method(), trained, trained.attributes | self._written(trained), forward)

    def _outputs(self, X, method, trained, fitted, forward=Trained.forward):
        """Raw outputs of rows by fitted weights."""
        return self._map_blocks(X, *self._function(method, trained, fitted, forward))

    def _function(self, method, trained, fitted, forward=Trained.forward):
        """The function of encoded rows that gives raw outputs, and the columns of what it reads."""
        network = self._network(method, trained, fitted)
        forward, reading = forward(trained, network, fitted), trained.reading

        def outputs(rows, backend):
            return backend.asarray(forward(reading.encoded(rows, host(rows).dtype)))

        return outputs, reading.width(self._encoded_width(reading.table))

    def _encoded_width(self, table):
        """Columns of rows as a table encodes them."""
        return self.n_features_in_ if table is None else table.n_columns

    def _backend_of(self, X):
        """What computes on rows: a tensor stays where it is, all else goes to ``device``, where that is a parameter."""
        return backend_for(X, Device.of(getattr(self, "device", "cpu")).name)

    def _network(self, method, trained, fitted):
        """The plan of a network whose weights can be read."""
        width = trained.reading.width(self._encoded_width(trained.reading.table))
        network = method.network_plan(width, trained.targets.n_outputs, trained)
        refuse_misfits(fitted, trained.shapes, network.reads)
        return network

    def _computation(self):
        """The encoding, hidden layers in turn, and the last layer; networks of torch are not described."""
        method, trained = self._method(), self._trained
        if "coefs_" not in trained.shapes:
            raise NotImplementedError(
                f"{type(self).__name__} holds a network of torch, which is not exported: use torch.onnx on the network "
                "itself, or pickle, joblib or skops to keep the estimator."
            )
        self._network(method, trained, self._written(trained))
        encoding = () if trained.reading.encoding is None else (trained.reading.encoding,)
        *hidden, last = zip(self.coefs_, self.intercepts_, strict=True)
        last, n_read = (last, 1) if trained.readouts is None else (trained.readouts.folded(last), len(hidden))
        last = trained.targets.in_units(*last)
        return dense_computation(encoding, hidden, method.activation, last, trained.targets.head(), n_read)


@with_callbacks
def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
    """Train on all rows.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        Rows.
    y : array-like of shape (n,) or (n, c)
        Labels of at least two classes; targets of a regressor.
    sample_weight : array-like of shape (n,) or None, default=None
        Non-negative weights. A class of weight zero stays in ``classes_``, with probabilities near zero.
    X_val, y_val, sample_weight_val : array-like, default=None
        Rows to watch: the weights of the best accuracy (of a regressor, of the least squared error) on them are
        kept, and probabilities are calibrated.

    Returns
    -------
    self : object
        The estimator.
    """
    method = self._checked_method()
    with self._unchanged_on_error():
        before = self._trained if method.warm_start else None
        X = self._read_features(X, reset=before is None)
        known = None if before is None else before.targets
        targets, X, y, weights = self._kind_of_targets.of_rows(method, X, y, sample_weight, known)
        columns = X.columns if isinstance(X, CodedRows) else self._columns_of_numbers(before)
        held_out = self._held_out(method, targets, columns, X_val, y_val, sample_weight_val)
        tasks = EpochTasks(self, {"X": X, "y": y})
        written = None if before is None else self._written(before)
        table, X = epochs.in_numbers(method, targets, X, y, weights, before)
        if held_out is not None and table is not None:
            held_out = (table.all_dense(held_out[0]), *held_out[1:])
        trained, history = epochs.fit(method, targets, X, y, weights, tasks, table, held_out, before, written)
        if history.failure and not history.losses and self._trained is not None:
            tasks.end()
            raise method.failure(history, BEFORE_FIT)
        self._keep(trained)
        tasks.end(dict)
    method.advise(trained)
    return self._finished(method, history)


@with_callbacks
def fit_blocks(self, blocks, *, X_val=None, y_val=None, sample_weight_val=None):
    """Train from scratch on blocks that are read again in every epoch.

    One pass over the targets settles classes, weights and the number of steps, one pass over drawn rows the
    input encoding; then ``max_iter`` epochs follow. Rows are shuffled within a block, blocks come in their order:
    rows that are sorted by class or time should be shuffled once on disk. Learning rates follow
    ``learning_rate`` over the whole run, as in :meth:`fit`. Partitions of layer-wise networks train side by side
    and delayed gradients end with the block, as in :meth:`partial_fit`.

    Parameters
    ----------
    blocks : Blocks
        The rows. An iterator, which can be read once only, is for :meth:`partial_fit`.
    X_val, y_val, sample_weight_val : array-like, default=None
        Rows to watch; ``early_stopping=True`` needs them. The weights of the best epoch are kept.

    Returns
    -------
    self : object
        The fitted estimator. An interrupt or a divergence leaves the weights of the last whole epoch (of the
        best one, where rows are watched), or the estimator as it was where there is none.

    Raises
    ------
    TypeError
        If ``blocks`` is not a :class:`~sklearn_analytic.Blocks`.
    ValueError
        If there are no rows, or a block's parts do not fit together.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_analytic import Blocks, DFAClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> blocks = Blocks.from_arrays(X, y, block_size=600)
    >>> model = DFAClassifier(max_iter=10, random_state=0).fit_blocks(blocks)
    >>> bool(model.score(X, y) > 0.95)
    True
    """
    method = self._checked_method()
    if not isinstance(blocks, Blocks):
        raise TypeError(
            f"fit_blocks reads its rows in every epoch and needs Blocks, got {type(blocks).__name__}: use "
            "Blocks.from_iterable on a function that makes the iterator, or partial_fit for a single pass."
        )
    if method.early_stopping and X_val is None:
        raise ValueError("early_stopping=True needs X_val and y_val in fit_blocks: it holds out no rows itself.")
    with self._unchanged_on_error(), _told(BEFORE_FIT):
        history, error = self._fit_source(method, blocks, (X_val, y_val, sample_weight_val))
    if error is not None:
        with _told(LAST_GOOD):
            raise error
    return self._finished(method, history)


class NetworkClassifier(ClassifierMixin):
    """Answers of a classifier above an :class:`EpochEstimator`."""

    _kind_of_targets = NetworkClasses

    def _checked_method(self):
        """What the parameters say, once they are checked."""
        check_choice("output", self._method().output, class_outputs())
        return super()._checked_method()

    @lazily
    def predict(self, X):
        """Return the most probable class of every row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        outputs = self._raw_outputs(X)
        return self._trained.targets.predicted(outputs)

    @lazily
    def predict_proba(self, X):
        """Return the probabilities of all classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows that sum to one, classes in the order of ``classes_``; a tensor where X is one.
        """
        outputs = self._raw_outputs(X)
        return self._trained.targets.probabilities(outputs)

    @lazily
    def predict_log_proba(self, X):
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Finite log-probabilities; a tensor where X is one.
        """
        outputs = self._raw_outputs(X)
        return self._trained.targets.log_probabilities(outputs)


class EpochClassifier(NetworkClassifier, EpochEstimator):
    """A classifier trained by steps."""

    fit, fit_blocks = fit, fit_blocks

    @filled(partial_fit=TRAINING["classes"])
    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        """Train on a block of a stream: one pass, at the constant rate ``learning_rate_init``.

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight, classes)


class EpochRegressor(RegressorMixin, EpochEstimator):
    """A regressor trained by steps."""

    _kind_of_targets = NetworkNumbers
    fit, fit_blocks = fit, fit_blocks

    @filled(partial_fit=TRAINING["numbers"])
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train on a block of a stream: one pass, at the constant rate ``learning_rate_init``.

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight)

    @lazily
    def predict(self, X):
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,) or (n, c)
            Targets, in the shape of the last ``fit`` or of the first ``partial_fit``, float32 where X is; a tensor
            where X is one.
        """
        outputs = self._raw_outputs(X)
        return self._trained.targets.predicted(outputs)

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_blocks(X, y):
    """Whether X is a source of blocks, or an iterator or a list of them, and not rows."""
    return isinstance(X, Blocks | Iterator) or (y is None and isinstance(X, list | tuple))


@contextmanager
def _told(outcome):
    """Let an interrupt while rows are read say what becomes of the estimator, as one of training does."""
    try:
        yield
    except KeyboardInterrupt as error:
        if error.args:
            raise
        raise interrupt(outcome) from error


def _warn_of_epochs(name, method):
    """Say that a given number of epochs ended training; an automatic one is a length, and no bound."""
    if method.max_iter == "auto":
        return
    watched = "validation score" if method.early_stopping else "training loss"
    warn_user(
        f"{name} reached max_iter={method.max_iter} and training has not converged: the {watched} was not flat within "
        f"tol={method.tol} for n_iter_no_change={method.n_iter_no_change} epochs. Raise max_iter or tol, or leave the "
        "number of epochs to max_iter='auto'.",
        ConvergenceWarning,
    )
