"""What estimators trained by steps share: reading rows, held-out rows, the training loop, streams, fitted state."""

import math
from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import get_backend
from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import (
    AnalyticEstimator,
    check_choice,
    check_flag,
    check_positive_integer,
    check_real,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic.estimator.callbacks import CallbackSupportMixin, EpochTasks
from sklearn_analytic.estimator.convergence import check_patience, loss_watch, warn_of_epochs
from sklearn_analytic.estimator.epoch_blocks import BEFORE_FIT, LAST_GOOD, GradientBlocksMixin, interrupt
from sklearn_analytic.estimator.late_scales import fresh_moments, is_listening, shared_scale, with_constants, woken
from sklearn_analytic.estimator.renamed_input import called
from sklearn_analytic.estimator.weights import checked_weights, refuse_no_weight, weights_in_range
from sklearn_analytic.estimator.written_weights import layout, refuse_misfits, shapes, take_written
from sklearn_analytic.export.computation import dense_computation
from sklearn_analytic.features import ENCODINGS, fit_input_encoding, standard_encoding
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import short_block_size
from sklearn_analytic.nn import SCHEDULES, Optimizer, Plan, Rows, train

_BLOCK_ENTRIES = 2e6  # of X in a source, from which an encoding is learned: memory does not follow its rows
_ENCODED_ENTRIES = 2e7  # entries of X from which an encoding is learned; more rows than that are drawn from
_STEPS, _EPOCHS = 2000, (30, 200)  # max_iter="auto": about so many steps, in so few or many epochs
_LEAST_ROWS, _SEEN_ROWS = 50, 2000  # on which columns are found to be pixels
_SPLIT = 1  # the stream of random numbers that draws held-out rows
_LEAST_WEIGHT = 1e-4  # over the mean: of a row that is not skipped before it is learned
_LARGEST_WEIGHT = 1e30  # float32 ends at 3e38
TOL_ERROR = 0.01  # where the class of a row has a probability above .993; measured in docs/theory/dfa.md
SKIPPED_OUTPUTS = ("softmax", "identity")  # others come near their targets from both sides
BEFORE_BLOCK = "The estimator is as it was before this block."
_BATCH = (16, 128)  # batch_size="auto": a fiftieth of the rows, within these


class GradientEstimator(GradientBlocksMixin, CallbackSupportMixin, AnalyticEstimator, ABC):
    """A network trained step by step. Subclasses say what targets are, who gets which error, and how to judge.

    Parameters live in the subclasses, under the names that are read here.
    """

    # ---- what a subclass says ----

    @abstractmethod
    def _coded_targets(self, y):
        """Return y as class codes or as scaled targets (n, c)."""

    @abstractmethod
    def _n_outputs(self):
        """Return the number of outputs of the network."""

    @abstractmethod
    def _network(self, n_inputs):
        """Return the network's plan: what builds an execution and restores fitted outputs (see ``nn/_plans.py``)."""

    @abstractmethod
    def _recipe(self, n_rows):
        """Return the recipe of a fit on so many rows."""

    @abstractmethod
    def _score_outputs(self, outputs, y, weight):
        """Return the score of raw outputs for coded targets; larger is better."""

    def _check_columns(self, n_features):
        """Refuse rows that do not have the shape that parameters tell."""

    def _settle_outputs(self, outputs, y, weight):
        """Learn from the outputs of held-out rows after training (a temperature, say)."""

    def _watch(self, execution, rows):
        """Look at the network after an epoch."""

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- fits ----

    def _fit_rows(self, X, y, weights, held_out):
        """Split, encode, train, keep; return the history."""
        self._check_columns(X.shape[1])
        continued = self._goes_on()
        state = self._training_state if continued else {}
        seed = state["seed"] if continued else seed_of(self.random_state)
        generator = np.random.default_rng([seed, state["blocks"]] if continued else seed)
        watched_as = "X" if held_out is None else "X_val"
        train_part, held_out = self._split(X, self._coded_targets(y), weights, held_out, seed)
        if not continued:
            self._take_encoding(self._learned_encoding(train_part[0], train_part[2], generator))
        if continued or len(train_part[1]) > self._most_encoded(X.shape[1]):
            self._wake_columns(train_part[0], train_part[2])
        rows = self._rows(*train_part)
        self._warn_of_batch_size(len(rows.x))
        recipe = _of_lightest(replace(self._recipe(len(rows.x)), seed=seed), rows.weight)
        network = self._network(rows.x.shape[1])
        execution = network.execution(recipe, generator)
        if continued:
            self._load(network, execution)
        with called("X", watched_as):
            watched = None if held_out is None else self._rows(*held_out)
        tasks = EpochTasks(self, {"X": X, "y": y})

        def after_epoch(history):
            network.log_epoch(execution)
            self._watch(execution, rows)
            return tasks.epoch(lambda: self._fitted_so_far(network, execution, history))

        self._begin_watching()
        self.__dict__.pop("validation_scores_", None)
        self.__dict__.pop("best_validation_score_", None)
        with self._few_threads(rows.x.shape):
            history = self._train(execution, rows, watched, recipe, generator, tasks, after_epoch)
        if history.failure and not history.losses and hasattr(self, "_training_state"):
            tasks.end()
            self._raise(history, BEFORE_FIT)
        self._keep(network, execution, history, watched is not None)
        self._training_state |= {"blocks": state.get("blocks", 0) + 1, "seed": seed, "kind": self._kind()}
        if watched is not None:
            self._settle_outputs(execution.outputs(watched.x), watched.y, watched.weight)
        tasks.end(dict)
        return history

    def _train(self, execution, rows, watched, recipe, generator, tasks, after_epoch):
        """Train in place and return the history; ``after_epoch(history)`` is told of every epoch."""
        plan = self._plan(len(rows.x), recipe)
        tasks.begin(plan.n_epochs)
        score = None
        if watched is not None:
            score = lambda: self._score_outputs(execution.outputs(watched.x), watched.y, watched.weight)  # noqa: E731
        told = lambda epoch, history: after_epoch(history)  # noqa: E731
        return train(execution, rows, plan, generator, score=score, after_epoch=told)

    def _partial_fit_rows(self, X, y, weights, stretch=None, batch_size=None, seed=None, outcome=BEFORE_BLOCK):
        """The first block settles the encoding and the network; every block is one epoch.

        A block of a fit over many has a stretch of its steps; encoding, batch size and seed are then settled.
        ``outcome`` says what becomes of the estimator where the block ends early.
        """
        self._check_columns(X.shape[1])
        first = not hasattr(self, "_training_state")
        state = {} if first else self._training_state
        if seed is None:
            seed = seed_of(self.random_state) if first else state["seed"]
        blocks = state.get("blocks", 0)
        generator = np.random.default_rng([seed, blocks])
        coded = self._coded_targets(y)
        if first and stretch is None:
            self._take_encoding(self._learned_encoding(X, weights, generator))
            self._begin_watching()
            self.loss_curve_ = []
        else:
            self._wake_columns(X, weights)
        # weights of a stream are absolute: no block knows their mean
        if weights is not None and weights.max() > _LARGEST_WEIGHT:
            largest = float(weights.max())
            raise ValueError(f"sample_weight has {largest:.3g}: weights of a stream must be below {_LARGEST_WEIGHT}.")
        rows = Rows(self._encoded(X), coded, weights)
        recipe = _of_lightest(replace(self._recipe(len(rows.x)), seed=seed), rows.weight)
        network = self._network(rows.x.shape[1])
        execution = network.execution(recipe, np.random.default_rng(seed) if first else generator)
        if not first:
            self._load(network, execution)
        plan = Plan(1, min(batch_size or recipe.batch_size, len(rows.x)), self._stream_rate())
        if stretch is not None:
            plan = replace(plan, schedule=self.learning_rate, warmup=self.warmup_fraction, **vars(stretch))
        history = self._train_block(execution, rows, plan, generator)
        if history.failure:
            self._raise(history, outcome)
        network.log_epoch(execution)
        self._watch(execution, rows)
        earlier = list(self.loss_curve_)
        self._keep(network, execution, history, False)
        self.loss_curve_ = earlier + self.loss_curve_
        self.n_iter_ = len(self.loss_curve_)
        self._training_state |= {"blocks": blocks + 1, "seed": seed, "kind": self._kind()}

    def _train_block(self, execution, rows, plan, generator):
        """Train in place on one block of a stream and return the history."""
        return train(execution, rows, plan, generator)

    def _finished(self, history):
        """Raise what ended training early, or warn where epochs did; the estimator is already usable."""
        if history.failure is not None:
            self._raise(history, LAST_GOOD)
        if history.ran_out:
            warn_of_epochs(self)
        return self

    def _raise(self, history, outcome):
        """Raise an interrupt or a divergence, with what became of the estimator."""
        if history.failure == "interrupted":
            raise interrupt(outcome, history.where)
        raise FloatingPointError(
            f"training{history.where} diverged: the loss became NaN or infinite with "
            f"learning_rate_init={self._rate()}. Lower learning_rate_init (by 10, say), or scale the inputs "
            f"(input_encoding='standard'). {outcome}"
        )

    def _goes_on(self):
        """Whether fit continues from the last one."""
        return self.warm_start and hasattr(self, "_training_state")

    @abstractmethod
    def _kind(self):
        """Return a dict of the parameters that must not change while training goes on."""

    # ---- rows ----

    def _rows(self, X, coded, weights):
        """Encoded rows in the dtype of the weights, with weights of mean 1."""
        if weights is not None:
            weights = relative(weights)
            weights = weights * (len(weights) / weights.sum())
        return Rows(self._encoded(X), coded, weights)

    def _encoded(self, X, dtype=None):
        """Return the encoded rows on the host, read in checked blocks."""
        dtype = self._weight_dtype() if dtype is None else dtype
        size = short_block_size(X.shape[1])
        encoded = np.empty((X.shape[0], self._encoded_width()), dtype)
        for start in range(0, X.shape[0], size):
            rows = host(dense_rows(X[start : start + size]))
            part = rows if self._encoding is None else self._encoding.transform(rows, get_backend("cpu"))
            encoded[start : start + size] = narrowed(part, dtype, "X holds magnitudes")
        return encoded

    def _weight_dtype(self):
        """Dtype of weights on the host: bfloat16 is how products are computed, not how sums are kept."""
        return np.float64 if self.precision == "float64" else np.float32

    def _most_encoded(self, n_columns):
        """Rows from which an encoding is learned, at most."""
        return max(int(_ENCODED_ENTRIES) // n_columns, 1000)

    def _take_encoding(self, encoding):
        """Begin with an encoding: columns that it leaves at 0 are asleep."""
        self._encoding = encoding
        self._column_moments = None if encoding is None else fresh_moments(encoding)

    def _wake_columns(self, X, weights):
        """Give columns that were constant so far, and vary in these rows, a scale: a pass where there are any."""
        if self._encoding is None:
            return
        known = vars(self).get("_column_moments")  # files from before know none
        known = fresh_moments(self._encoding) if known is None else known
        if not is_listening(known):
            return
        weights = weights_in_range(weights)
        size = short_block_size(X.shape[1])
        blocks = (
            (host(dense_rows(X[start : start + size])), None if weights is None else weights[start : start + size])
            for start in range(0, X.shape[0], size)
        )
        groups = self._n_channels() if self._encoding_name() == "image" else None
        self._encoding, self._column_moments = woken(self._encoding, known, blocks, groups)

    def _learned_encoding(self, X, weights, generator):
        """Return the input encoding of the training rows, learned from a draw of them where there are very many."""
        if self._encoding_name() is None:
            return None
        n, most = X.shape[0], self._most_encoded(X.shape[1])
        index = np.arange(n) if n <= most else np.sort(generator.choice(n, most, replace=False))
        rows = np.asarray(host(dense_rows(X[index])), dtype=np.float64)
        weights = None if weights is None else weights_in_range(weights[index])
        if self._encoding_name() == "image" or (self.input_encoding == "auto" and _are_pixels(rows)):
            return shared_scale(rows, weights, self._n_channels())
        if self._encoding_name() != "quantile" and np.array_equal(rows.min(axis=0), rows.max(axis=0)):
            return with_constants(standard_encoding(rows, weights), rows)
        return with_constants(ENCODINGS[self._encoding_name()](rows, weights), rows)

    def _encoding_of_blocks(self, rows, generator):
        """The input encoding of rows in a source: learned from all of them, or from a draw where they are many."""
        if self._encoding_name() is None:  # no pass, and no rows in memory
            return None
        n, most = rows.n_rows, max(int(_BLOCK_ENTRIES) // rows.n_columns, 1000)
        index = np.arange(n) if n <= most else np.sort(generator.choice(n, most, replace=False))
        if rows.weight is not None:
            index = index[rows.weight[index] > 0]
        weights = None if rows.weight is None else rows.weight[index]
        return self._learned_encoding(rows.take(index)[0], weights, generator)

    def _encoding_name(self):
        """The encoding that "auto" means, unless the columns turn out to be pixels."""
        if self.input_encoding != "auto":
            return self.input_encoding
        return "standard"

    def _n_channels(self):
        """Groups of columns that share a scale."""
        return 1

    def _split(self, X, coded, weights, held_out, seed):
        """Return the training part (X, coded, weights) and held-out rows or None; a warm start holds out the same."""
        if held_out is not None or not self.early_stopping:
            return (X, coded, weights), held_out
        chosen = _held_out_rows(coded, self.validation_fraction, np.random.default_rng([seed, _SPLIT]))
        rest = ~chosen
        parts = [(X[mask], coded[mask], None if weights is None else weights[mask]) for mask in (rest, chosen)]
        return parts[0], parts[1]

    def _held_out(self, X_val, y_val, sample_weight_val):
        """Return given validation rows as (X, coded, weights), or None; half a pair is an error."""
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val must be given together (and sample_weight_val with them, if at all).")
        with called("X", "X_val"), self._named_values(X_val):
            X_val = self._read_features(X_val, reset=False)
            size = short_block_size(X_val.shape[1])
            for start in range(0, X_val.shape[0], size):  # their values, while it is known which rows they are
                dense_rows(X_val[start : start + size])
        with called("y", "y_val"), self._named_values():
            coded = self._coded_targets(self._read_targets(y_val, X_val))
        with called("sample_weight", "sample_weight_val"), self._named_values():
            return X_val, coded, checked_weights(sample_weight_val, X_val.shape[0])

    # ---- plan and state ----

    def _batch_size(self, n_rows):
        """Rows per step: "auto" is a fiftieth of the rows, between 16 and 128."""
        if self.batch_size == "auto":
            return int(np.clip(n_rows // 50, min(_BATCH[0], n_rows), _BATCH[1]))
        return min(self.batch_size, n_rows)

    def _warn_of_batch_size(self, n_rows):
        """Say that steps are fewer than asked for; blocks of a stream may well be small."""
        if self.batch_size != "auto" and self.batch_size > n_rows:
            warn_user(
                f"batch_size={self.batch_size} is larger than the {n_rows} training rows: every step sees all of them."
            )

    def _n_epochs(self, n_rows, batch_size):
        """Epochs: "auto" aims at 2000 steps, in 30 to 200 epochs."""
        if self.max_iter == "auto":
            return int(np.clip(math.ceil(_STEPS * batch_size / n_rows), *_EPOCHS))
        return self.max_iter

    def _plan(self, n_rows, recipe):
        """The plan of a fit."""
        return Plan(
            self._n_epochs(n_rows, recipe.batch_size),
            recipe.batch_size,
            self._rate(),
            self.learning_rate,
            self.warmup_fraction,
            self.n_iter_no_change if self.early_stopping else None,
            self.tol,
            **loss_watch(self),
        )

    def _rate(self):
        """The largest learning rate."""
        return self.learning_rate_init

    def _stream_rate(self):
        """The learning rate of a stream."""
        return self._rate()

    def _begin_watching(self):
        """Forget what an earlier fit saw."""

    def _keep(self, network, execution, history, scored):
        """Store what was learned, as host arrays."""
        self.__dict__.pop("communication_", None)
        fitted = self._fitted_so_far(network, execution, history) | network.communication(execution)
        for name, value in fitted.items():
            setattr(self, name, value)
        self._training_state = {"execution": execution.snapshot(), "layout": self._layout(network, fitted)}
        self.activation_bytes_ = execution.activation_bytes()
        if scored:
            self.validation_scores_ = list(history.scores)
            self.best_validation_score_ = history.best_score

    def _fitted_so_far(self, network, execution, history):
        """Attributes of a fitted estimator with the weights as they are."""
        loss = history.losses[-1] if history.losses else math.nan
        losses = {"loss_curve_": list(history.losses), "loss_": loss, "n_iter_": len(history.losses)}
        fitted = network.fitted(execution)
        return fitted | losses | {"_weight_shapes": {name: shapes(fitted[name]) for name in network.names}}

    def _load(self, network, execution):
        """Go on from the kept state, and from weights that were written since; other shapes are an error."""
        state = self._training_state["execution"]
        message = (
            f"the network or its optimiser has changed since the last fit: {', '.join(self._kind())} and the shape of "
            "the network must stay as they were to go on (warm_start or partial_fit), and device may not change "
            "between 'cpu' and those of torch."
        )
        if self._training_state["kind"] != self._kind():
            raise ValueError(message)
        known = self._training_state.get("layout")  # files from before have the attributes alone
        if known is None:
            known = self._layout(network, vars(self))
        if self._layout(network, network.fitted(execution)) != known:
            raise ValueError(message)
        try:
            execution.restore(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{message} ({error})") from error
        take_written(self, network, execution)

    def _layout(self, network, fitted):
        """Shapes of all weights."""
        return [layout(fitted[name]) for name in network.names]

    def _raw_outputs(self, X):
        """Raw outputs (n, c) of checked rows, in the kind and on the device of X."""
        check_is_fitted(self)
        network = self._network(self._encoded_width())
        refuse_misfits(self, network)
        forward = network.forward(self)

        def outputs(rows, backend):
            encoded = self._encoded(rows, dtype=host(rows).dtype)
            return backend.asarray(forward(encoded))

        return self._map_blocks(X, outputs, n_features=self._encoded_width())

    def _computation(self):
        """The encoding, hidden layers in turn, and the last layer; networks of torch are not described."""
        if not self._is_plain():
            raise NotImplementedError(
                f"{type(self).__name__} holds a network of torch, which is not exported: use torch.onnx on the network "
                "itself, or pickle, joblib or skops to keep the estimator."
            )
        refuse_misfits(self, self._network(self._encoded_width()))
        encoding = () if self._encoding is None else (self._encoding,)
        *hidden, last = zip(self.coefs_, self.intercepts_, strict=True)
        return dense_computation(encoding, hidden, self.activation, self._units(*last), self._head())

    def _encoded_width(self):
        """Columns after the encoding."""
        return self.n_features_in_ if self._encoding is None else self._encoding.n_columns

    def _optimizer(self):
        """The update rule as a value."""
        moments = (self.momentum, self.nesterovs_momentum, self.beta_1, self.beta_2, self.epsilon, self.alpha)
        return Optimizer(self.solver, *moments)

    def _check_training_parameters(self):
        """Refuse training parameters that mean nothing."""
        hidden_sizes(self.hidden_layer_sizes)
        check_patience(self.n_iter_no_change)
        for name in ("max_iter", "batch_size"):
            check_positive_integer(name, getattr(self, name), "auto")
        for name in ("early_stopping", "warm_start"):
            check_flag(name, getattr(self, name))
        check_real("learning_rate_init", self._rate(), 0, math.inf, "above 0", open_low=True)
        check_real("warmup_fraction", self.warmup_fraction, 0, 1, "at least 0 and below 1", open_high=True)
        check_real("validation_fraction", self.validation_fraction, 0, 1, "between 0 and 1", True, True)
        check_real("alpha", self.alpha, 0, math.inf, "0 or more")
        check_real("tol", self.tol, 0, math.inf, "0 or more")
        for name in ("momentum", "beta_1", "beta_2"):
            check_real(name, getattr(self, name), 0, 1, "at least 0 and below 1", open_high=True)
        check_real("epsilon", self.epsilon, 0, 1, "above 0", open_low=True)
        check_flag("nesterovs_momentum", self.nesterovs_momentum)
        check_choice("solver", self.solver, ("sgd", "adam", "adamw"))
        check_choice("learning_rate", self.learning_rate, SCHEDULES)
        check_choice("precision", self.precision, ("float32", "float64", "bfloat16"))
        if self.input_encoding is not None:
            check_choice("input_encoding", self.input_encoding, ENCODINGS)


def weighing_rows(X, y, weights):
    """Return the rows of positive weight: a row without weight is no row."""
    if weights is None or np.all(weights > 0):
        return X, y, weights
    kept = np.flatnonzero(refuse_no_weight(weights) > 0)
    return X[kept], y[kept], weights[kept]


def _of_lightest(recipe, weight):
    """Skip rows by the error of the lightest one: an error counts with its weight, and light rows shall be learned.

    Rows below the least weight that counts are noise beside the others, and may go unlearned.
    """
    if weight is None:
        return recipe
    return replace(recipe, tol_error=recipe.tol_error * min(1.0, max(float(weight.min()), _LEAST_WEIGHT)))


def narrowed(values, dtype, what):
    """Return values in the dtype of the weights; refuse those that it cannot hold, which no training survives."""
    with np.errstate(over="ignore"):
        found = values.astype(dtype, copy=False)
    if not np.isfinite(found).all():
        raise ValueError(
            f"{what} that {np.dtype(dtype).name} cannot hold: use precision='float64', or an input_encoding for X and "
            "a smaller unit for y."
        )
    return found


def relative(weights):
    """Return weights over the largest: sums of the largest numbers are none."""
    return None if weights is None else weights / weights.max()


def check_device(device):
    """Refuse a device that cannot be used, before anything is trained."""
    get_backend(device)
    if device.removeprefix("torch:").startswith("meta"):
        raise ValueError(f"device={device!r} holds no numbers: choose 'cpu', 'torch:cpu' or 'cuda'.")


def _held_out_rows(coded, fraction, generator):
    """A mask of held-out rows: the same share of every class, and of no class all rows."""
    n = len(coded)
    order = generator.permutation(n)
    chosen = np.zeros(n, dtype=bool)
    labels = coded if coded.ndim == 1 else np.zeros(n, dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen[members[: min(math.ceil(fraction * len(members)), len(members) - 1)]] = True
    if not chosen.any():
        raise ValueError(
            f"early_stopping=True needs rows to hold out, but {n} rows have none to spare: "
            "pass X_val and y_val, or early_stopping=False."
        )
    return chosen


def _are_pixels(rows):
    """Whether many columns are non-negative and on one scale; a few rows cannot tell."""
    return len(rows) >= _LEAST_ROWS and fit_input_encoding(rows[:_SEEN_ROWS]).on_common_scale
