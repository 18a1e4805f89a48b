"""Networks that rows build and other rows judge, in closed form: what CPNet and ClosedFormMLP share.

Layers are built from some rows, and stay; all rows are then summed as the layers see them. A few audit rows build no
layer: leave-one-out predictions of these choose ridges and exits, and calibrate. In a stream the layers are built
anew from all rows each time these have doubled, up to 1000.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import get_backend
from sklearn_analytic.estimator import reduction
from sklearn_analytic.estimator.base import fresh_id, seed_of
from sklearn_analytic.estimator.callbacks import with_callbacks
from sklearn_analytic.estimator.forgetting import traces_of, without_rows
from sklearn_analytic.estimator.learned import ENOUGH, Judges, LeftOut, Solved, Stage, kept_rows, n_used
from sklearn_analytic.estimator.reduction import Method, ReductionEstimator
from sklearn_analytic.estimator.statistics_file import columns_of, take_columns
from sklearn_analytic.estimator.table import in_passes
from sklearn_analytic.estimator.texts import REMOVING, filled
from sklearn_analytic.estimator.weights import (
    label_weights,
    none_vanishing,
    refuse_extreme_weights,
    weighs_nothing,
    weights_in_range,
)
from sklearn_analytic.export.computation import Computation, pruned
from sklearn_analytic.features import N_MEMBERS, linear_readout
from sklearn_analytic.features._audit import (
    EVERY_MEMBER,
    MOST,
    Audit,
    audit_size,
    full_weights,
    judge_more,
    rows_to_build_on,
    settle,
    shares_again,
)
from sklearn_analytic.features._sampling import TrainingRows, repeat, whole_rows
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._columns import CodedRows
from sklearn_analytic.io._passes import rows_in_blocks
from sklearn_analytic.linalg import ClassSums, NormalEquations


@dataclass(frozen=True)
class Building:
    """What a network is built from."""

    rows: TrainingRows  # which construct
    audit: TrainingRows  # which judge, and construct nothing but trees
    trees: TrainingRows  # both, each in the fold of a tree that is blind to it
    total: float  # weight of all rows, in rows of mean weight
    repeats: bool  # contents are few and come often
    names: Any  # of the targets' columns; None of numbers
    judges: Audit  # rows that judge later, copies one by one where these are draws
    generator: np.random.Generator
    lacking: np.ndarray | None = None  # (q, 2) columns of numbers with that of their gaps; None of plain tables


@dataclass(frozen=True)
class AuditedRows:
    """What leave-one-out reads of audit rows."""

    features: np.ndarray  # (m, p + c0)
    targets: np.ndarray  # (m, c)
    weights: np.ndarray  # (m,) in means
    left_out: np.ndarray  # (m,) what of the weight in the statistic leaves with a row

    def left_out_by(self, predictions, readout=None):
        """Return what a readout predicts of the rows without themselves."""
        more = {name: getattr(readout, name) for name in ("pulls", "spared") if hasattr(readout, name)}
        return LeftOut(predictions, self.targets, self.weights, self.left_out, **more)


class AuditedMethod(Method):
    """How a network is built and solved; a subclass says with which layers, and what chooses among its exits."""

    passes = 2
    reads_tables = True  # whether columns of X may become several
    build_rows = 30_000  # layers are built from at most so many rows, drawn by weight
    holds_out = True  # whether audit rows build no layer
    grows_trees = False  # on all rows, each of which a tree that is blind to it scores
    reads_rows = True  # constructions do, beyond the scales of columns
    reads_targets = True  # constructions do, or only classes: indicators of many of them are large

    @abstractmethod
    def built(self, building):
        """Return the network, a frozen value with ``n_features``, ``n_scores``, ``read`` and ``steps``."""

    def exported(self, network):
        """Return what an export has to know besides steps and readout; refuse what has none."""
        return {}

    @abstractmethod
    def readouts(self, learned, audit):
        """Return a readout of all features for every exit: coef, intercept, loo, alpha, error."""

    @abstractmethod
    def chosen(self, readouts):
        """Return the number of the exit that predicts, or None for the mean of all."""

    @property
    @abstractmethod
    def all_digits(self):
        """Return whether the solve needs sums in float64: they are decomposed, or not ridged."""

    def cast(self, x, backend):
        """Return rows in the dtype of the features."""
        return backend.asarray(x)

    def host_backend(self):
        """Return what computes on the host with the same features."""
        return get_backend("cpu")

    def n_scores(self, network):
        """Return how many columns of trees' scores stand after the targets in a statistic."""
        return network.n_scores

    # The story: audit rows, network, statistic, readouts.

    def added(self, learned, X, y, copies, progress, whole):
        """Return what was learned with rows added; a young stream builds its layers anew."""
        if whole:
            return self.extended(learned, X, y, weights_in_range(copies), progress)
        first = learned.first
        if learned.network is not None and first is None:
            return self.extended(learned, X, y, copies, progress)
        if learned.network is not None:
            n_rows = n_used(first.y, first.weight) + n_used(y, copies)
            if n_rows < min(2 * first.built, ENOUGH):
                rows = X if isinstance(X, CodedRows) else host(dense_rows(X, missing=True))
                kept = kept_rows(*first.joined(rows, y, copies))
                return replace(self.extended(learned, X, y, copies, progress), first=replace(kept, built=first.built))
            dense_rows(X, missing=True)  # before kept rows stand above them: an error counts rows
            X, y, copies = first.joined(X, y, copies)
        anew = replace(learned, network=None, statistic=None, first=kept_rows(X, y, copies), table=None)
        return self.extended(anew, X, y, copies, progress)

    def extended(self, learned, X, y, copies, progress):
        """Return what was learned with rows added; rows that come before any network build it."""
        copies, building = none_vanishing(refuse_extreme_weights(copies)), learned.network is None
        if building:
            learned = replace(learned, targets=learned.targets.in_units_of(y, copies))
        weights = copies if self.class_statistics else learned.targets.weights(y, self.class_weight, copies)
        if weighs_nothing(weights, not building and learned.statistic is not None):
            return learned
        coded, backend = learned.targets.coded(y), self.backend_of(X)
        is_first = building or progress.resumed  # later rows have no part in the table
        X, table = in_passes(learned, X, coded, copies, is_first, self.reads_tables, self.grows_trees)
        learned = replace(learned, table=table)
        rows = rows_in_blocks(X, coded, weights, self.rows_per_block(X.shape[1]))
        if progress.resumed:
            contents = learned.judges.contents
            spread = contents.are_draws and self.grows_trees
            shares = shares_again(contents, rows, y, copies) if spread else None
        else:
            progress.begin_pass("layers")
            learned, shares = self._judged(learned, rows, y, copies)
        if shares is not None and self.grows_trees:
            rows = rows.reweighted(shares)
        network, n_columns = learned.network, learned.targets.n_columns
        start = learned.statistic
        if start is None:
            size = (network.n_features + network.n_scores, n_columns + network.n_scores)
            start = self.begun(NormalEquations.empty(*size), n_columns, sum(size))
        rows = rows.resized(self.rows_per_block(start.n_features))
        return replace(learned, statistic=progress.reduce(learned, rows, start, self.step(learned), backend))

    def step(self, learned):
        """Return what adds a block to the sums."""
        return AddBlock(self, learned.network, learned.targets, learned.judges.contents.are_draws)

    no_trace = "fit public rows and add all others to its shard(), use random layers"

    def removed(self, learned, X, y, copies):
        """Return what was learned without rows that were in."""
        return without_rows(self, learned, X, y, copies)

    def traces(self, learned):
        """Return what rows that are forgotten may have left in layers."""
        return traces_of(self, learned)

    def _judged(self, learned, rows, y, copies):
        """What was learned with new rows among those that judge, and the weight of every row in every fold, if any.

        Rows that build layers settle how rows are told apart.
        """
        judges = learned.judges
        if learned.network is None:
            seed = seed_of(self.random_state) if judges is None else judges.seed
            contents, judged = settle(rows, y, copies, seed)
            size = len(judged.audit.hashes)
            judges = Judges(seed, contents, judged.audit, size, fresh_id(), ledger=judged.ledger)
            building = self._building(learned.targets, *self._as_built_on(learned, judges, rows, judged, y))
            network = self.built(replace(building, lacking=learned.table.lacking))
            return replace(learned, network=network, judges=judges, table=learned.table.settled()), judged.shares
        salt = judges.shard + (0 if learned.statistic is None else learned.statistic.n_rows)
        judged = judge_more(judges.contents, rows, y, copies, salt)
        audit = judged.audit if learned.statistic is None else judges.audit.merge(judged.audit, MOST)
        ledger = judged.ledger if judges.ledger is None else judges.ledger.merge(judged.ledger)
        return replace(learned, judges=replace(judges, audit=audit, ledger=ledger)), judged.shares

    def _as_built_on(self, learned, judges, rows, judged, y):
        """Judges, rows and what they gave, with weights of classes that else come at the solve: for constructions."""
        if not self.class_statistics:
            return judges, rows, judged
        labels, per_class, codes = label_weights(y, self.class_weight, rows.weight)
        if learned.priors is not None:
            mass = np.bincount(codes, rows.weight, minlength=len(labels))
            shares = learned.priors[learned.targets.coded(labels)]
            per_class = np.divide(shares * mass.sum(), mass, out=np.zeros(len(mass)), where=mass > 0)
        factors, plain = per_class[codes], full_weights(rows.weight, rows.n_rows)
        unit = judges.contents.unit * float(factors @ plain) / float(plain.sum())
        apart = judged.apart.reweighted(per_class[np.searchsorted(labels, judged.apart.y)])
        building = None if judged.building is None else judged.building * factors
        shares = None if judged.shares is None else judged.shares * factors[:, None]
        judged = replace(judged, apart=apart, building=building, shares=shares)
        judges = replace(judges, contents=replace(judges.contents, unit=unit))
        return judges, rows.reweighted(plain * factors), judged

    def with_factors(self, learned, factors, mass):
        """Return what was learned with audit rows, and the weight of one row, by classes."""
        judges = learned.judges
        audit = judges.audit.reweighted(factors[learned.targets.coded(judges.audit.y)])
        unit = judges.contents.unit * learned.statistic.weight / mass
        contents = replace(judges.contents, unit=unit)
        return replace(
            learned, judges=replace(judges, audit=audit.taken(np.flatnonzero(audit.weights > 0)), contents=contents)
        )

    def _building(self, targets, judges, rows, judged):
        """What the network is built from: rows that are not in the audit, and for trees all of them."""
        unit, keys, shares = judges.contents.unit, judged.keys, judged.shares
        weights, generator = full_weights(rows.weight, rows.n_rows), np.random.default_rng([judges.seed, 1])
        left = judged.building if self.holds_out and judged.building is not None else weights
        spread = shares is not None and self.grows_trees  # over folds, of which every tree leaves one out
        blinds = self.grows_trees and judged.raw is not None
        contents = judged.raw[:, 0] if blinds else None
        pool = weights if spread or blinds else left
        chosen, scale = rows_to_build_on(keys, rows.y, pool, unit, self.build_rows, generator, contents)
        x, coded, blind = rows.take_blind(chosen, judged.raw[chosen]) if blinds else (*rows.take(chosen), None)
        drawn = self._training_rows(targets, x, keys[chosen], coded, whole_rows(pool[chosen] / scale))
        apart = judged.apart
        coded, own_keys = targets.coded(apart.y), judges.contents.keys.of(apart.x)
        audit = self._training_rows(targets, apart.x, own_keys, coded, whole_rows(apart.weights / unit))
        if spread or blinds:
            trees = replace(drawn, shares=shares[chosen] / scale[:, None] if spread else None, blind=blind)
            drawn = replace(drawn, weights=whole_rows(left[chosen] / scale)).used()
        elif self.grows_trees and judged.building is not None:
            trees = drawn.joined(audit)
        else:
            trees = drawn
        used = weights > 0
        repeats = judges.contents.are_draws and repeat(keys[used], weights[used] / unit)
        total = float(whole_rows(weights.sum() / unit))
        return Building(drawn, audit, trees, total, repeats, targets.names, judged.audit, generator)

    def _training_rows(self, targets, x, keys, coded, weights):
        """Rows in the dtype of the features, with targets and classes."""
        matrix = targets.matrix(coded) if self.reads_targets else None
        return TrainingRows(self.cast(x, get_backend("cpu")), keys, matrix, targets.bins(coded, matrix), weights)

    def solved(self, learned):
        """Return the readouts of all exits, calibrated, and the one that predicts."""
        audit, targets = self.audited(learned), learned.targets
        readouts = self.readouts(learned, audit)
        links = [targets.link(readout.loo, audit.targets, audit.weights) for readout in readouts]
        stages = tuple(Stage(r.coef, r.intercept, link) for r, link in zip(readouts, links, strict=True))
        chosen = self.chosen(readouts)
        attributes = {
            "exit_": chosen,
            "exit_errors_": np.array([readout.error for readout in readouts]),
            "alphas_": np.array([readout.alpha for readout in readouts]),
        }
        if chosen is not None:
            readout = readouts[chosen]
            left_out = audit.left_out_by(readout.loo, readout)
            return Solved(stages[chosen], stages, left_out), attributes | self.told(learned, readout, audit)
        loo = np.mean([readout.loo for readout in readouts], axis=0)
        link = targets.link(loo, audit.targets, audit.weights)
        coef, intercept = (sum(part / len(stages) for part in parts) for parts in _parts(stages))
        return Solved(Stage(coef, intercept, link), stages, audit.left_out_by(loo)), attributes

    def told(self, learned, readout, audit):
        """Return further fitted attributes of the readout that predicts."""
        return {}

    def audited(self, learned):
        """Return the audit rows as the readouts see them."""
        judges, targets, statistic = learned.judges, learned.targets, learned.statistic
        audit, backend = self.audit_rows(learned), self.host_backend()
        x = self.cast(backend.asarray(audit.x), backend)
        features, _ = learned.network.read(x, backend, held_out=True, folds=audit.folds)
        matrix = targets.matrix(targets.coded(audit.y))
        mean = np.ldexp(statistic.mean[statistic.n_features :][: matrix.shape[1]], statistic.exponent[1])
        weights = targets.importance(audit, matrix, mean) / judges.contents.unit
        return AuditedRows(backend.to_numpy(features), matrix, weights, audit.weights)

    def audit_rows(self, learned):
        """Return the rows on which leave-one-out chooses: a fourth of all, at most 1000."""
        judges = learned.judges
        return judges.audit.head(max(judges.first_audit, audit_size(learned.statistic.n_rows)))

    def merged(self, one, two):
        """Return what the rows of two shards of one network have left behind."""
        one = replace(one, first=None)
        if one.statistic is None:
            judges = replace(one.judges, audit=two.judges.audit, ledger=two.judges.ledger, built=two.judges.built)
            return replace(one, targets=two.targets, statistic=two.statistic, judges=judges, table=two.table)
        if one.targets.fixed and one.targets.joined(two.targets) is not one.targets:
            known, others = one.targets.classes.tolist(), two.targets.classes.tolist()
            raise ValueError(f"merge needs the same labels: {known} and {others}.")
        both, audit = super().merged(one, two), one.judges.audit.merge(two.judges.audit, MOST)
        ledgers = one.judges.ledger, two.judges.ledger
        ledger = None if None in ledgers else ledgers[0].merge(ledgers[1])
        built = one.judges.built or two.judges.built
        return replace(both, judges=replace(one.judges, audit=audit, ledger=ledger, built=built))


@dataclass(frozen=True)
class AddBlock:
    """Adds a block as the network sees it to a statistic, and the trees' scores to its targets."""

    method: AuditedMethod
    network: Any
    targets: Any
    are_draws: bool

    def __call__(self, statistic, block, backend):
        x, y, weight, folds = self.method.cast(block.x, backend), block.y, block.weight, block.folds
        used = np.ones(len(y), dtype=bool) if weight is None else weight.reshape(len(y), -1).any(axis=1)
        counted = y[used]
        if self.are_draws:
            x, y, weight, folds = _in_folds(x, y, weight)
        if len(y) == 0:  # rows of no weight are in no fold
            return statistic
        features, scores = self.network.read(x, backend, held_out=True, folds=folds)
        targets = backend.asarray(self.targets.matrix(y))
        if scores.shape[1]:
            targets = backend.stack_columns([targets, scores], [1.0, 1.0])
        digits = self.method.all_digits
        if isinstance(statistic, ClassSums):
            grown = statistic.accumulate(features, targets, y, weight, backend, widen=digits)
            return grown.counted(statistic, np.bincount(counted, minlength=len(statistic.parts)))
        grown = statistic.accumulate(features, targets, weight, backend, widen=digits)
        return replace(grown, n_rows=statistic.n_rows + len(counted))


class AuditedEstimator(ReductionEstimator):
    """What estimators of such networks share: scores of new rows, shards, and what exports read."""

    _more_audit_rows = "they are a fourth of the distinct rows, at most 1000. Fit more rows, or ask for less."

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit on all rows of X, read in blocks.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, torch.Tensor, Dask collection} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), (n_samples, n_labels) or (n_samples, n_targets)
            Class labels, a 0/1 matrix of labels where the estimator takes several per row, or targets of a regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequencies: weight 2 is the row given twice. Where columns take few values, these count as draws;
            elsewhere a common factor on all weights changes nothing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_array(X, y, sample_weight)

    @filled(removing=REMOVING)
    def forget(self, X, y, sample_weight=None):
        """Take rows out again that were fitted before: the sums are exactly those of the rows that remain.

        Rows leave with the folds and the scores of trees that they came with. Copies that were spread over folds leave
        from the end, those that came later first. Rows leave the audit rows, too, on which ridge, blend and
        calibration are chosen anew; rows that had no room among these do not come back. Layers stay, unless the stream
        is young (fewer than 1000 rows in :meth:`partial_fit`): then they are built anew from the rows that remain.

        {removing}

        Warns
        -----
        UnlearningWarning
            If rows that were there when the layers were built are in the fit: what these have left in layers, trees
            and encodings stays. There is none with ``hidden="random"`` (CPNet: ``projection="random"``) and in a
            :meth:`shard`, whose layers come from other rows. Scales of columns (means, quantiles) are not counted.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_analytic import CPNetClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> public = CPNetClassifier(20, random_state=0).fit(X[::3], y[::3])
        >>> model = public.shard().partial_fit(X[1::3], y[1::3]).partial_fit(X[2::3], y[2::3])
        >>> model.forget(X[2::3], y[2::3]).n_samples_seen_
        50
        """
        return self._forget(X, y, sample_weight)

    def shard(self):
        """Return an estimator with these layers and no rows, to be fed by ``partial_fit`` and merged.

        The layers of both stay as they are from now on, however few rows have built them.

        Returns
        -------
        estimator : object
            Of the same parameters.
        """
        check_is_fitted(self)
        mine = self._learned.judges
        mine = replace(mine, n_shards=mine.n_shards + 1)
        number = hash((mine.shard, mine.n_shards)) % (1 << 62)
        other = clone(self)
        take_columns(other, columns_of(self))
        ledger = None if mine.ledger is None else mine.ledger.emptied()
        theirs = replace(mine, audit=None, shard=number, n_shards=0, ledger=ledger, built=False)
        self._learned = replace(self._learned, first=None, judges=mine)
        table = None if self._learned.table is None else self._learned.table.of_shard()
        other._learned = replace(self._learned, statistic=None, judges=theirs, table=table)
        for name, value in self._learned.targets.published().items():
            setattr(other, name, value)
        return other

    def merge(self, other):
        """Add the rows of another estimator with the same frozen layers: the readout is exact for both.

        Parameters
        ----------
        other : object
            An estimator that came from :meth:`shard` of this one, or of the one that this came from.

        Returns
        -------
        self : object
            The estimator; unchanged when an error is raised.

        Raises
        ------
        ValueError
            If the layers or the targets differ.
        """
        if type(other) is not type(self):
            raise TypeError(f"merge needs another {type(self).__name__}, got {type(other).__name__}.")
        if self._learned is None or other._learned is None:
            raise NotFittedError(f"merge needs two fitted {type(self).__name__} instances, or shards of one.")
        if other._learned.judges.network_id != self._learned.judges.network_id:
            raise ValueError("merge needs the same hidden layers: fit one estimator and take its shard() elsewhere.")
        if other._learned.statistic is None:
            return self  # a shard without rows
        with self._unchanged_on_error():
            method = self._checked_method()
            return self._keep(method, reduction.merge(method, self._learned, other._learned))

    def _scorer(self, stages):
        """The function of checked rows that gives the scores of some stages side by side, summed in float64."""
        method, network = self._method(), self._learned.network
        coef, intercept = (np.concatenate(parts, axis=-1) for parts in _parts(stages))

        def scores(rows, backend):
            features, _ = network.read(method.cast(rows, backend), backend, held_out=False)
            return linear_readout(features, coef, intercept, backend)

        return scores

    def _scores(self, X, stages):
        """Scores of some stages side by side, on the device of X."""
        return self._map_blocks(X, self._scorer(stages), self._n_features_out)

    def _chosen_scores(self, X):
        """Scores (n, c) by the readout that predicts."""
        if self._solved is None:
            check_is_fitted(self)  # which takes longer than a row to say yes
        return self._scores(X, [self._solved.chosen])

    def _staged_scores(self, X):
        """Every stage with its scores, from one pass over X."""
        check_is_fitted(self)
        stages, width = self._solved.stages, self._learned.targets.n_columns
        scores = self._scores(X, stages)
        return [(stage, scores[:, i * width : (i + 1) * width]) for i, stage in enumerate(stages)]

    def _hidden_of(self, rows, backend):
        """The encoded input where it is carried, the hidden layers, the trees' scores."""
        return self._learned.network.read(self._method().cast(rows, backend), backend, held_out=False)[0]

    @property
    def _n_features_out(self):
        """Width of :meth:`transform`, for the names of its columns."""
        return self._learned.network.n_features + self._learned.network.n_scores

    def _computation(self):
        """The network, and the readout that predicts."""
        method, network, targets = self._method(), self._learned.network, self._learned.targets
        known, readout = method.exported(network), self._solved.chosen
        coef, intercept = targets.in_units(readout.coef, readout.intercept)
        steps, read, coef = pruned(*network.steps(), coef)
        return Computation(steps, read, coef, intercept, targets.head(readout.link), wide=True, **known)


def _parts(stages):
    """Weights of all stages, and their constants."""
    return [stage.coef for stage in stages], [stage.intercept for stage in stages]


def _in_folds(x, y, weight):
    """Rows once for every fold in which they have weight; rows that come after the trees are in none (-1)."""
    if weight is None or weight.ndim == 1:
        return x, y, weight, np.full(len(y), EVERY_MEMBER)
    index, folds = np.nonzero(weight)
    weight = weight[index, folds]
    return x[index], y[index], weight, np.where(folds < N_MEMBERS, folds, EVERY_MEMBER)
