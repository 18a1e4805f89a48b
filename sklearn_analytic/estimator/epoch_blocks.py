"""Networks trained by steps on sources of blocks: epochs over files, one block in memory at a time."""

import math
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.estimator.callbacks import EpochTasks, with_callbacks
from sklearn_analytic.estimator.convergence import loss_watch, warn_of_epochs
from sklearn_analytic.estimator.statistics_file import NOT_FITTED
from sklearn_analytic.io import Blocks
from sklearn_analytic.io._checks import host
from sklearn_analytic.io._passes import rows_in_blocks
from sklearn_analytic.io._readers import unpacked
from sklearn_analytic.io._sources import numbered, opened
from sklearn_analytic.nn._training import LossWatch

BEFORE_FIT = "The estimator is as it was before this fit."
LAST_GOOD = "The estimator keeps the weights of the last good epoch."


@dataclass(frozen=True)
class Stretch:
    """Which of all steps of a run a block is trained in: what its learning rates follow."""

    first: int
    total: int


class GradientBlocksMixin:
    """Epochs over blocks; a subclass trains on one block (``_partial_fit_rows``) and reads targets."""

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
        self._check_parameters()
        if not isinstance(blocks, Blocks):
            raise TypeError(
                f"fit_blocks reads its rows in every epoch and needs Blocks, got {type(blocks).__name__}: use "
                "Blocks.from_iterable on a function that makes the iterator, or partial_fit for a single pass."
            )
        if self.early_stopping and X_val is None:
            raise ValueError("early_stopping=True needs X_val and y_val in fit_blocks: it holds out no rows itself.")
        run = _Run(self, blocks)
        try:
            with self._unchanged_on_error():
                run.prepare((X_val, y_val, sample_weight_val))
                run.epoch(0)
            for epoch in range(1, run.n_epochs):
                if run.stops:
                    break
                with self._unchanged_on_error():
                    run.epoch(epoch)
        except (KeyboardInterrupt, FloatingPointError) as error:
            if run.seen.losses:
                run.finish()
            if isinstance(error, KeyboardInterrupt) and not error.args:  # while rows were read or judged
                raise interrupt(run.outcome()) from error
            raise
        run.finish()
        if not run.stops:
            warn_of_epochs(self)
        return self

    def _partial_fit_blocks(self, blocks, y, classes=None, sample_weight=None):
        """One pass over blocks, each of which is one :meth:`partial_fit`."""
        if y is not None or sample_weight is not None:
            raise ValueError("partial_fit on blocks takes y and sample_weight from the blocks: pass the blocks alone.")
        options = {} if classes is None else {"classes": classes}
        with closing(blocks.read()) if isinstance(blocks, Blocks) else nullcontext(blocks) as stream:
            for number, block in enumerate(stream):
                X, labels, weight = unpacked(block, number)
                with numbered(number):
                    self.partial_fit(X, labels, sample_weight=weight, **options)
        return self


def is_blocks(X, y):
    """Whether X is a source of blocks, or an iterator or a list of them, and not rows."""
    return isinstance(X, Blocks | Iterator) or (y is None and isinstance(X, list | tuple))


def interrupt(outcome, where=""):
    """Return an interrupt of training that says what becomes of the estimator."""
    return KeyboardInterrupt(f"training{where} was interrupted. {outcome}")


@dataclass(frozen=True)
class _Seen:
    """What the whole epochs of a run were: one that is broken off leaves no trace."""

    losses: tuple = ()
    scores: tuple = ()
    best_score: float = -math.inf
    best: dict | None = None  # fitted attributes
    stale: int = 0  # epochs since the score has risen by tol

    def judged(self, score, tol, attributes):
        """Return this with the score of one more epoch, whose attributes are kept where it is the best."""
        gained = score - self.best_score
        found = replace(self, scores=(*self.scores, score), stale=0 if gained > tol else self.stale + 1)
        return replace(found, best_score=score, best=attributes()) if gained > 0 else found


class _Run:
    """One fit over blocks: what is settled before it, and what is watched while it goes on."""

    def __init__(self, estimator, blocks):
        self._estimator, self._blocks = estimator, blocks
        self._tasks = EpochTasks(estimator, {"X": None, "y": None})
        self.seen = _Seen()
        watch = loss_watch(estimator)
        self._watch = LossWatch(watch["loss_patience"], estimator.tol, watch["watch_after"])
        self.stops = False  # whether something ends training before its last epoch

    def prepare(self, held_out):
        """Read all targets and some rows; settle classes, scales, weights, encoding and the number of steps."""
        estimator = self._estimator
        vars(estimator).pop("feature_names_in_", None)
        for name in ("_training_state", "validation_scores_", "best_validation_score_"):
            vars(estimator).pop(name, None)
        rows, y, weights = opened(
            self._blocks, lambda x, first: estimator._read_features(x, reset=first), self._show_callbacks
        )
        estimator._check_columns(rows.n_columns)
        y, weights = estimator._read_all_targets(y, weights, rows)
        if weights is not None:
            weights = weights / weights.max()
            weights = weights * (np.sum(weights > 0) / weights.sum())
        self._rows = rows_in_blocks(rows, y, weights, max(rows.sizes))
        n = rows.shape[0] if weights is None else int(np.sum(weights > 0))
        estimator._settle_all(y, weights)
        self._held_out = estimator._held_out(*held_out)
        self._seed = seed_of(estimator.random_state)
        estimator._take_encoding(estimator._encoding_of_blocks(self._rows, np.random.default_rng(self._seed)))
        estimator._begin_watching()
        estimator.loss_curve_ = []
        batch_size = estimator._batch_size(n)
        self._batch_size, self.n_epochs = batch_size, estimator._n_epochs(n, batch_size)
        self._steps = [-(-size // batch_size) for size in rows.sizes if size]
        self._tasks.begin(self.n_epochs)

    def _show_callbacks(self, x, y):
        """Give callbacks that score on training rows a first block of them; others need not keep it in memory."""
        if vars(self._estimator).get("_skl_callbacks"):
            self._tasks.show(x, y)

    def epoch(self, number):
        """Train on every block once, and see whether to stop."""
        estimator, loss, weight = self._estimator, 0.0, 0.0
        per_epoch = sum(self._steps)
        first, total = number * per_epoch, self.n_epochs * per_epoch
        with closing(iter(self._rows)) as blocks:
            for k, block in enumerate(blocks):
                x, y, w = _weighing(block)
                if len(x):
                    settled = (Stretch(first, total), self._batch_size, self._seed)
                    estimator._partial_fit_rows(x, y, w, *settled, self.outcome())
                    share = len(x) if w is None else w.sum()
                    loss, weight = loss + share * estimator.loss_, weight + share
                first += self._steps[k]
                del block, x, y, w  # or they would stay while the next ones are read
        seen = replace(self.seen, losses=(*self.seen.losses, loss / weight))
        estimator.loss_curve_, estimator.loss_ = list(seen.losses), seen.losses[-1]
        estimator.n_iter_ = len(seen.losses)
        seen = self._judged(seen)
        told = self._tasks.epoch(self._fitted)
        flat = self._watch.is_flat(seen.losses[-1], number + 1, self.n_epochs)
        self.stops = told or flat or (estimator.early_stopping and seen.stale >= estimator.n_iter_no_change)
        self.seen = seen

    def outcome(self):
        """What becomes of the estimator where the epoch ends early, in the words of a fit on rows."""
        return LAST_GOOD if self.seen.losses else BEFORE_FIT

    def finish(self):
        """Keep the best weights, calibrate on the rows that were watched, tell callbacks."""
        estimator, seen = self._estimator, self.seen
        if seen.best is not None:
            curve = {"loss_curve_": list(seen.losses), "n_iter_": len(seen.losses)}
            vars(estimator).update(seen.best | curve)
            estimator.validation_scores_, estimator.best_validation_score_ = list(seen.scores), seen.best_score
            outputs = host(estimator._raw_outputs(self._held_out[0]))
            estimator._settle_outputs(outputs, self._held_out[1], self._held_out[2])
        if self._blocks.feature_names is not None:
            estimator.feature_names_in_ = self._blocks.feature_names
        self._tasks.end(dict)

    def _judged(self, seen):
        """Return what was seen with the score of the rows that are watched."""
        if self._held_out is None:
            return seen
        estimator, (x, y, weight) = self._estimator, self._held_out
        score = estimator._score_outputs(host(estimator._raw_outputs(x)), y, weight)
        return seen.judged(score, estimator.tol, self._fitted)

    def _fitted(self):
        """Fitted attributes as they are."""
        return {name: vars(self._estimator)[name] for name in _fitted_names(self._estimator)}


def _weighing(block):
    """Rows of a block that weigh something."""
    if block.weight is None or np.all(block.weight > 0):
        return block.x, block.y, block.weight
    kept = block.weight > 0
    return block.x[kept], block.y[kept], block.weight[kept]


def _fitted_names(estimator):
    """Attributes that are no parameters."""
    parameters = estimator.get_params(deep=False)
    return [name for name in vars(estimator) if name not in parameters and name not in NOT_FITTED]
