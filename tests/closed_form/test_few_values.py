"""Tables of few distinct rows: copies of a row are draws there, and an interaction is learnt, not mirrored."""

import itertools

import numpy as np
import pytest

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier
from sklearn_analytic.features import are_draws, lay_copies
from sklearn_analytic.features._audit import settle
from sklearn_analytic.io._passes import ArrayBlocks
from tests import reference

MODELS = [ClosedFormMLP, CPNetClassifier]


def bits(n_bits, n, rng, noise=0.0):
    """Rows of bits, their parity, and the parity with some labels flipped."""
    X = rng.integers(0, 2, (n, n_bits)).astype(float)
    parity = X.sum(axis=1).astype(int) % 2
    return X, parity, np.where(rng.random(n) < noise, 1 - parity, parity)


# ---- which tables have few values ----


def one_hot(codes, n_levels):
    return np.hstack([np.eye(n_levels)[column] for column in codes.T])


def few():
    rng = np.random.default_rng(0)
    yield "bits", rng.integers(0, 2, (2000, 8))
    yield "a part of 8 bits", rng.integers(0, 2, (120, 8))
    yield "codes", rng.integers(0, 6, (2000, 3))
    yield "one-hot", one_hot(rng.integers(0, 5, (2000, 3)), 5)
    yield "one-hot without the first level", one_hot(rng.integers(0, 10, (900, 2)), 10)[:, 1:]
    yield "one factor", np.eye(26)
    yield "constant", np.ones((5, 3))
    yield "columns given twice", np.tile(rng.integers(0, 2, (2000, 7)), 2)
    yield "bits beside what they are not", np.column_stack([B := rng.integers(0, 2, (2000, 7)), 1 - B])
    yield "columns that follow from others", np.column_stack([B, B.sum(axis=1), B[:, 0] != B[:, 1]])
    yield "few rows of many bits", rng.integers(0, 2, (50, 30))
    yield "one column of codes", np.arange(8.0)[:, None] * 3 + 1


def many():
    rng = np.random.default_rng(0)
    yield "numbers", rng.standard_normal((300, 2))
    yield "one column of numbers", rng.standard_normal((300, 1))
    yield "bits beside a number", np.column_stack([rng.integers(0, 2, (300, 3)), rng.standard_normal(300)])
    yield "images of few shades", rng.integers(0, 16, (500, 40))
    yield "many bits", rng.integers(0, 2, (2000, 40))
    yield "few numbers", rng.standard_normal((20, 1))
    yield "few rows of numbers", rng.standard_normal((20, 3))


@pytest.mark.parametrize("kind, X", [(True, X) for _, X in few()] + [(False, X) for _, X in many()])
def test_few_values_are_told_by_the_distinct_rows(kind, X):
    X = np.unique(np.asarray(X, dtype=float), axis=0)
    assert are_draws(X, np.random.default_rng(1).standard_normal(X.shape[1])) == kind


@pytest.mark.parametrize("weights", [None, "heavy", "drawn"])
def test_neither_weights_nor_counts_decide(weights, rng):
    for kind, X in ((True, rng.integers(0, 2, (200, 3)).astype(float)), (False, rng.standard_normal((200, 3)))):
        X = X[rng.integers(0, 200, 400)] if weights == "drawn" else X
        w = rng.uniform(0, 30, len(X)) if weights == "heavy" else None
        y = rng.integers(0, 2, len(X))
        contents, _ = settle(ArrayBlocks(X, y, w, 100), y, w, 0)
        assert contents.are_draws == kind


# ---- how copies are laid ----


def test_shares_equal_the_naive_walk_along_the_copies(rng):
    hashes = rng.integers(0, 5, 60).astype(np.uint64)
    targets, lengths = rng.integers(0, 3, 60), rng.choice([0.0, 0.25, 1.0, 2.5, 7.0], 60)
    copies = lay_copies(hashes, targets, lengths, 0.5, 4)
    expected = reference.fold_shares(hashes, targets, lengths, 0.5, 4, copies._offsets()[np.argsort(copies.rows)])
    np.testing.assert_allclose(copies.shares(lengths), expected, atol=1e-12)


@pytest.mark.parametrize("heavy, light", [(1e9, 1e-9), (1e18, 1e-3), (1e300, 1.0)])
def test_the_lightest_copies_beside_the_heaviest_are_in_one_fold(heavy, light, rng):
    lengths, targets = rng.choice([heavy, light], 40), rng.integers(0, 2, 40)
    copies = lay_copies(rng.integers(0, 3, 40).astype(np.uint64), targets, lengths, 1.0, 4)
    np.testing.assert_allclose(copies.shares(lengths).sum(axis=1), lengths)
    index, share, _, _ = copies.drawn(10, None, 0, np.arange(40, dtype=np.uint64), np.uint64(0))
    assert len(index) >= 10
    assert np.all((share >= 0) & (share <= 1))


@pytest.mark.parametrize("unit", [1.0, 0.25])
def test_a_weight_is_so_many_copies_in_any_order(unit, rng):
    hashes, targets = rng.integers(0, 6, 50).astype(np.uint64), rng.integers(0, 2, 50)
    weight = rng.integers(0, 9, 50) * unit
    order = rng.permutation(np.repeat(np.arange(50), (weight / unit).astype(int)))

    def by_content(rows, w):
        shares = lay_copies(hashes[rows], targets[rows], w, unit, 4).shares(w)
        return np.array([shares[(hashes[rows] == h) & (targets[rows] == t)].sum(0) for h in range(6) for t in (0, 1)])

    np.testing.assert_allclose(by_content(np.arange(50), weight), by_content(order, np.full(len(order), unit)))


def test_folds_of_a_content_are_even_and_see_all_targets(rng):
    hashes, targets = np.zeros(80, dtype=np.uint64), np.repeat([0, 1], 40)
    shares = lay_copies(hashes, targets, np.ones(80), 1.0, 4).shares(np.ones(80))
    np.testing.assert_array_equal([shares[targets == t].sum(axis=0) for t in (0, 1)], np.full((2, 4), 10.0))


def test_drawn_units_have_the_shares_of_classes_and_hashes_of_a_fair_sample(rng):
    hashes, labels = rng.integers(0, 9, 4000).astype(np.uint64), (rng.random(4000) < 0.25).astype(int)
    copies = lay_copies(hashes, labels, np.ones(4000), 1.0, 4)
    row, share, fold, order = copies.drawn(400, labels, 5, hashes, np.uint64(7))
    assert 380 <= len(row) <= 402
    assert np.all(share == 1)
    assert np.mean(labels[row]) == pytest.approx(labels.mean(), abs=0.02)
    np.testing.assert_array_less(60, np.bincount(fold, minlength=4))
    assert order.max() < 2.0**64 / 9.9
    assert order.mean() == pytest.approx(2.0**64 / 20, rel=0.15)


# ---- what is learnt ----


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("n_bits, n, noise", [(2, 100, 0.0), (4, 400, 0.01), (6, 2000, 0.0), (8, 2000, 0.05)])
def test_parity_is_learnt(make, n_bits, n, noise, rng):
    X, _, y = bits(n_bits, n, rng, noise)
    new, parity, _ = bits(n_bits, 1000, rng)
    model = make(random_state=0).fit(X, y)
    assert model.score(new, parity) > 0.99
    if make is ClosedFormMLP:
        assert model.loo_score_ == pytest.approx(1 - noise, abs=0.05)


def test_noisy_parity_is_as_good_as_the_majority_of_every_cell(rng):
    X, _, y = bits(5, 2000, rng, 0.2)
    new, parity, _ = bits(5, 1000, rng)
    cell = (X @ 2.0 ** np.arange(5)).astype(int)
    majority = np.bincount(cell, y) > np.bincount(cell) / 2
    best = np.mean(majority[(new @ 2.0 ** np.arange(5)).astype(int)] == parity)
    model = ClosedFormMLP(random_state=0).fit(X, y)
    assert model.score(new, parity) >= best - 0.01
    assert model.loo_score_ == pytest.approx(0.8, abs=0.05)


def test_the_four_rows_of_xor(rng):
    X = np.tile([[0.0, 0], [0, 1], [1, 0], [1, 1]], (25, 1))
    y = X.sum(axis=1).astype(int) % 2
    for make in MODELS:
        assert np.all(make(random_state=0).fit(X, y).predict_proba(X)[np.arange(100), y] > 0.9)
    assert ClosedFormMLPRegressor(random_state=0).fit(X, y).score(X, y) > 0.95


@pytest.mark.parametrize("hot", [False, True])
def test_a_table_of_codes_is_looked_up(hot, rng):
    rule = np.random.default_rng(3).standard_normal((6, 6))
    codes, new = rng.integers(0, 6, (1000, 2)), rng.integers(0, 6, (500, 2))
    y, expected = rule[tuple(codes.T)] + 0.1 * rng.standard_normal(1000), rule[tuple(new.T)]
    X, new = (one_hot(codes, 6), one_hot(new, 6)) if hot else (codes.astype(float), new.astype(float))
    model = ClosedFormMLPRegressor(random_state=0).fit(X, y)
    assert model.score(new, expected) > 0.98
    assert model.loo_score_ == pytest.approx(1 - 0.01 / y.var(), abs=0.05)


@pytest.mark.parametrize("estimator", [ClosedFormMLP(), ClosedFormMLPRegressor(), CPNetClassifier()], ids=repr)
def test_weights_are_copies(estimator, rng):
    X, _, y = bits(4, 600, rng, 0.1)
    distinct, weight = np.unique(np.column_stack([X, y]), axis=0, return_counts=True)
    order = rng.permutation(600)
    scores = "predict" if isinstance(estimator, ClosedFormMLPRegressor) else "decision_function"

    def fitted(X, y, w=None):
        return getattr(type(estimator)(random_state=0).fit(X, y, sample_weight=w), scores)(X[:16])

    one = fitted(distinct[:, :4], distinct[:, 4].astype(int), weight.astype(float))
    model = type(estimator)(random_state=0).fit(X[order], y[order])
    np.testing.assert_allclose(one, getattr(model, scores)(distinct[:16, :4]), atol=1e-8)


def test_class_weights_are_no_copies(rng):
    X, _, y = bits(3, 300, rng, 0.2)
    plain, weighed = (ClosedFormMLP(random_state=0, class_weight=w).fit(X, y) for w in (None, {0: 1e4, 1: 1e4}))
    np.testing.assert_allclose(plain.predict_proba(X), weighed.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("make", MODELS)
def test_streams_learn_parity_too(make, rng):
    X, _, y = bits(4, 1600, rng, 0.05)
    new, parity, _ = bits(4, 500, rng)
    model = make(random_state=0)
    for start in range(0, 1600, 160):
        model.partial_fit(X[start : start + 160], y[start : start + 160], classes=[0, 1])
    assert model.score(new, parity) > 0.99
    assert model.n_samples_seen_ == 1600


def test_a_stream_of_copies_has_a_fair_audit(rng):
    X, _, y = bits(3, 3000, rng, 0.1)
    model = ClosedFormMLP(random_state=0)
    for start in range(0, 3000, 300):
        model.partial_fit(X[start : start + 300], y[start : start + 300])
    cells, counts = np.unique(model._learned.judges.audit.x, axis=0, return_counts=True)
    assert len(cells) == 8
    assert counts.min() > 60  # of 1000 in 8 cells
    assert np.all(model._learned.judges.audit.folds[-1:] >= -1)
    assert model.loo_score_ == pytest.approx(0.9, abs=0.03)


def test_shards_draw_copies_of_their_own(rng):
    X, _, y = bits(3, 3000, rng, 0.1)
    model = ClosedFormMLP(random_state=0).fit(X[:1000], y[:1000])
    shards = [model.shard().partial_fit(X[part], y[part]) for part in (slice(1000, 2000), slice(2000, 3000))]
    for shard in shards:
        model.merge(shard)
    assert model.n_samples_seen_ == 3000
    np.testing.assert_array_equal(model._learned.judges.audit.weights, 1.0)
    assert np.mean(model._learned.judges.audit.folds == -1) == pytest.approx(2 / 3, abs=0.05)


def test_a_checkpoint_of_copies_goes_on(tmp_path, rng):
    from sklearn_analytic import Blocks

    X, _, y = bits(4, 600, rng, 0.1)
    whole = ClosedFormMLP(random_state=0).fit(X, y)
    path, served = tmp_path / "fit.npz", itertools.count()

    def blocks(fail):
        for start in range(0, 600, 100):
            if fail and next(served) == 1 + 6 + 4 * 6 + 3:  # in the pass that accumulates, the fifth over X
                raise KeyboardInterrupt
            yield X[start : start + 100], y[start : start + 100]

    model = ClosedFormMLP(random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit_blocks(Blocks.from_iterable(lambda: blocks(True), prefetch=0), checkpoint=path, checkpoint_every=1)
    assert path.exists()
    resumed = ClosedFormMLP(random_state=0).fit_blocks(
        Blocks.from_iterable(lambda: blocks(False)), checkpoint=path, checkpoint_every=1
    )
    np.testing.assert_allclose(resumed.decision_function(X), whole.decision_function(X), atol=1e-8)


def test_no_tree_score_counts_against_its_own_target(rng):
    X, _, y = bits(4, 2400, rng, 0.05)
    model = ClosedFormMLP(60, random_state=0).fit(X + 1e-3 * rng.standard_normal(X.shape), y)  # copies in all but name
    assert np.all(np.diag(model._solved.chosen.coef[-2:]) >= 0)
