"""Estimators trained by steps behave as scikit-learn's networks do where their parameters bear the same names."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sklearn_analytic import (
    SGD,
    Adam,
    Blocks,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DenseNetwork,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
    PrivateDFAClassifier,
)
from sklearn_analytic.nn._training import LossWatch
from tests.estimator.before import of_before

CLASSIFIERS = [DFAClassifier, LayerwiseMLP, DecoupledMLPClassifier]
REGRESSORS = [DFARegressor, LayerwiseMLPRegressor, DecoupledMLPRegressor]
name = lambda cls: cls.__name__  # noqa: E731
classifiers = pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
regressors = pytest.mark.parametrize("cls", REGRESSORS, ids=name)
estimators = pytest.mark.parametrize("cls", CLASSIFIERS + REGRESSORS, ids=name)

X, Y = load_iris(return_X_y=True)
Z = X[:, 0] + X[:, 1] ** 2  # targets of regressors


def targets(cls):
    return Y if cls in CLASSIFIERS else Z


def heard(fit):
    """The fitted estimator, and whether it warned of epochs that did not suffice."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model = fit()
    assert all(issubclass(w.category, ConvergenceWarning) and w.filename == __file__ for w in found)
    return model, bool(found)


# ---- tol, n_iter_no_change, ConvergenceWarning ----


def scikit_learns_epochs(losses, patience, tol):
    """After how many epochs MLPClassifier ends, from its own code."""
    mlp = MLPClassifier(tol=tol)
    mlp.loss_curve_, mlp.best_loss_, mlp._no_improvement_count = [], np.inf, 0
    for n, loss in enumerate(losses, 1):
        mlp.loss_curve_.append(loss)
        mlp._update_no_improvement_count(False, None, None, None)
        if mlp._no_improvement_count > patience:
            return n
    return None


def test_the_loss_is_watched_by_the_rule_of_scikit_learn():
    generator = np.random.default_rng(0)
    for _ in range(200):
        losses = np.round(np.exp(-np.arange(40) / 10) + 0.1 * generator.random(40), 1)
        patience, tol = int(generator.integers(1, 6)), float(generator.choice([0.0, 0.1, 0.2]))
        watch = LossWatch(patience, tol)
        found = next((n for n, loss in enumerate(losses, 1) if watch.is_flat(loss)), None)
        assert found == scikit_learns_epochs(losses, patience, tol)


@estimators
def test_a_flat_training_loss_ends_training(cls):
    given = {"tol": 0.1, "n_iter_no_change": 3, "random_state": 0}
    model, warned = heard(lambda: cls((8,), max_iter=1000, **given).fit(X, targets(cls)))
    assert model.n_iter_ == scikit_learns_epochs(model.loss_curve_, 3, 0.1) and not warned
    assert model.n_iter_ < 50
    automatic = cls((8,), **given).fit(X, targets(cls))
    assert 160 < automatic.n_iter_ < 170  # of 200: the learning rate falls first


@estimators
def test_given_epochs_that_do_not_suffice_are_a_warning(cls):
    model, warned = heard(lambda: cls((8,), max_iter=5, random_state=0).fit(X, targets(cls)))
    assert model.n_iter_ == 5 and warned
    _, warned = heard(lambda: cls((8,), batch_size=75, n_iter_no_change=np.inf, random_state=0).fit(X, targets(cls)))
    assert not warned  # "auto" is a length
    _, warned = heard(lambda: cls((8,), max_iter=5, random_state=0).partial_fit(X, targets(cls), **known(cls)))
    assert not warned


def known(cls):
    return {"classes": [0, 1, 2]} if cls in CLASSIFIERS else {}


@estimators
@pytest.mark.parametrize("early_stopping", [False, True])
def test_infinite_patience_never_stops(cls, early_stopping):
    given = {"tol": 10.0, "random_state": 0, "early_stopping": early_stopping, "max_iter": 8}
    model, warned = heard(lambda: cls((8,), n_iter_no_change=np.inf, **given).fit(X, targets(cls)))
    assert model.n_iter_ == 8 and warned
    stopped, warned = heard(lambda: cls((8,), n_iter_no_change=2, **given).fit(X, targets(cls)))
    assert stopped.n_iter_ < 8 and not warned
    for wrong in (0, 1.5, -np.inf, np.nan, "inf", None):
        with pytest.raises(ValueError, match=f"n_iter_no_change must be a positive integer or inf, got {wrong!r}"):
            cls(n_iter_no_change=wrong).fit(X, targets(cls))


@estimators
def test_the_loss_of_blocks_is_watched_too(cls):
    blocks = Blocks.from_arrays(X, targets(cls), block_size=60)
    given = {"tol": 0.1, "n_iter_no_change": 3, "random_state": 0}
    model, warned = heard(lambda: cls((8,), max_iter=300, **given).fit_blocks(blocks))
    assert model.n_iter_ == scikit_learns_epochs(model.loss_curve_, 3, 0.1) < 50 and not warned
    model, warned = heard(lambda: cls((8,), max_iter=2, **given).fit_blocks(blocks))
    assert model.n_iter_ == 2 and warned


@estimators
def test_a_warm_up_is_no_plateau(cls):
    given = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 40, "random_state": 0}
    model = cls((8,), solver=Adam(warmup_fraction=0.5), **given).fit(X, targets(cls))
    assert model.n_iter_ == 20 + 3
    assert cls((8,), solver=Adam(warmup_fraction=0.0), **given).fit(X, targets(cls)).n_iter_ == 3


@estimators
def test_a_warm_start_counts_anew(cls):
    model = cls((8,), tol=10.0, n_iter_no_change=2, max_iter=40, warm_start=True, random_state=0)
    assert [model.fit(X, targets(cls)).n_iter_ for _ in range(2)] == [4, 4]


@pytest.mark.parametrize("cls", [LayerwiseMLP, LayerwiseMLPRegressor], ids=name)
def test_every_partition_is_watched_by_itself(cls):
    given = {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 40, "random_state": 0}
    turns = cls((8, 8), **given).fit(X, targets(cls))
    np.testing.assert_array_equal(turns.layer_n_iter_, [4, 4])
    laps = cls((8, 8), order="laps", partitions=Partitions(n_laps=2), **given).fit(X, targets(cls))
    np.testing.assert_array_equal(laps.layer_n_iter_, [8, 8])
    assert cls((8, 8), order="simultaneous", **given).fit(X, targets(cls)).n_iter_ == 4


def test_no_rule_reads_the_loss_of_private_training():
    given = {"bounds": (0, 8), "classes": [0, 1, 2], "epsilon": np.inf, "learning_rate_init": 1e-12}
    model, warned = heard(lambda: PrivateDFAClassifier((4,), max_iter=15, random_state=0, **given).fit(X, Y))
    assert model.n_iter_ == 15 and not warned  # a loss that does not move at all
    assert not {"tol", "n_iter_no_change"} & set(model.get_params())


# ---- no hidden layers ----


@estimators
def test_no_hidden_layers(cls):
    model = cls((), learning_rate_init=0.01, random_state=0).fit(X, targets(cls))
    assert [w.shape[0] for w in model.coefs_] == [4]
    assert model.score(X, targets(cls)) > 0.85
    cls((), random_state=0).partial_fit(X, targets(cls), **known(cls))


@pytest.mark.parametrize("cls", [DecoupledMLPClassifier, DecoupledMLPRegressor], ids=name)
def test_more_modules_than_the_only_layer_are_named(cls):
    assert len(cls(()).fit(X, targets(cls)).modules_) == 1
    with pytest.raises(ValueError, match="n_modules=3 is more than the 1 layers"):
        cls((), n_modules=3).fit(X, targets(cls))


# ---- classes without weight ----

WITHOUT_2 = np.where(Y == 2, 0.0, 1.0)


@classifiers
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_class_without_weight_stays(cls, early_stopping):
    given = {"learning_rate_init": 0.01, "random_state": 0, "early_stopping": early_stopping}
    model = cls((8,), **given).fit(X, Y, WITHOUT_2)
    dicts = cls((8,), class_weight={2: 0}, **given).fit(X, Y)
    balanced = cls((8,), class_weight="balanced", **given).fit(X, Y, WITHOUT_2)
    for found in (model, dicts, balanced):
        np.testing.assert_array_equal(found.classes_, [0, 1, 2])
        assert found.predict_proba(X[Y < 2])[:, 2].mean() < 0.2 and found.score(X[Y < 2], Y[Y < 2]) > 0.95
    np.testing.assert_array_equal(model.coefs_[0], dicts.coefs_[0])


@classifiers
def test_a_class_without_weight_stays_in_blocks(cls):
    given = {"learning_rate_init": 0.01, "max_iter": 60, "random_state": 0}
    order = np.random.default_rng(0).permutation(150)
    blocks = Blocks.from_arrays(X[order], Y[order], WITHOUT_2[order], block_size=50)
    model = cls((8,), **given).fit_blocks(blocks)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.predict_proba(X[Y < 2])[:, 2].max() < 0.2
    stream = cls((8,), **given).partial_fit(X, Y, classes=[0, 1, 2], sample_weight=WITHOUT_2)
    np.testing.assert_array_equal(stream.classes_, [0, 1, 2])


@classifiers
def test_one_class_with_weight_is_predicted(cls):
    model = cls((8,), learning_rate_init=0.01, random_state=0).fit(X, Y, (Y == 1).astype(float))
    np.testing.assert_array_equal(model.predict(X[Y == 1]), 1)
    with pytest.raises(ValueError, match="one class, 1"):
        cls((8,)).fit(X[Y == 1], Y[Y == 1])


# ---- the shape of targets ----


@regressors
def test_a_stream_keeps_the_first_shape_of_its_targets(cls):
    made = lambda: cls((4,), max_iter=2, random_state=0)  # noqa: E731
    first = made().partial_fit(X, Z[:, None]).partial_fit(X, Z)
    second = made().partial_fit(X, Z).partial_fit(X, Z[:, None])
    assert first.predict(X).shape == (150, 1) and second.predict(X).shape == (150,)
    np.testing.assert_array_equal(first.predict(X)[:, 0], second.predict(X))
    fitted = made().fit(X, Z[:, None]).partial_fit(X, Z)
    assert fitted.predict(X).shape == (150, 1)


@regressors
def test_a_fit_takes_the_shape_of_its_targets(cls):
    model = cls((4,), max_iter=2, random_state=0, warm_start=True).fit(X, Z)
    assert model.predict(X).shape == (150,)
    assert model.fit(X, Z[:, None]).predict(X).shape == (150, 1)
    shapes = [cls((4,), max_iter=2).fit(X, Z, X_val=X, y_val=v).predict(X).shape for v in (Z, Z[:, None])]
    assert shapes == [(150,)] * 2
    with pytest.raises(ValueError, match=r"Block 1 has targets of shape \(150, 1\)"):
        cls((4,)).fit_blocks(Blocks.from_iterable(lambda: iter([(X, Z), (X, Z[:, None])])))


# ---- dtypes of predictions ----


@regressors
def test_predictions_have_the_dtype_of_the_rows(cls):
    model = cls((8,), max_iter=3, random_state=0).fit(X, Z)
    exact = model.predict(X)
    narrow = X.astype(np.float32)
    for rows in (narrow, sparse.csr_matrix(narrow), pd.DataFrame(narrow)):
        found = model.predict(rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=1e-4)
    for rows in (
        X,
        X.astype(int),
        pd.DataFrame(X),
        sparse.csr_matrix(X),
        pd.DataFrame(narrow).assign(**{"3": X[:, 0]}),
    ):
        assert model.predict(np.asarray(rows)[:, :4] if rows.shape[1] > 4 else rows).dtype == np.float64
    if cls is LayerwiseMLPRegressor:
        assert {stage.dtype for stage in model.staged_predict(narrow)} == {np.dtype(np.float32)}
    both = cls((8,), max_iter=3, random_state=0).fit(X, np.column_stack([Z, np.ones(150)]))
    assert both.predict(narrow).dtype == np.float32


@regressors
def test_predictions_that_float32_cannot_hold_are_refused(cls):
    model = cls((8,), max_iter=3, random_state=0).fit(X, Z * 1e200)
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="X is float32, which cannot hold the predictions"):
        model.predict(X.astype(np.float32))


@regressors
def test_targets_have_a_scale_whatever_their_weights(cls):
    made = lambda: cls((4,), max_iter=2, random_state=0)  # noqa: E731
    light, ones = made().partial_fit(X, Z, np.full(150, 5e-324)), made().partial_fit(X, Z)
    np.testing.assert_allclose(light._trained.targets.scale, ones._trained.targets.scale)
    np.testing.assert_allclose(light._trained.reading.encoding.slope, ones._trained.reading.encoding.slope)
    asleep = np.c_[X[:, :3], np.ones(150)]
    late = [made().partial_fit(asleep, 0 * Z, w).partial_fit(X, Z, w) for w in (np.full(150, 5e-324), np.ones(150))]
    np.testing.assert_allclose(late[0]._trained.targets.scale, late[1]._trained.targets.scale)
    np.testing.assert_allclose(late[0]._trained.reading.encoding.slope, late[1]._trained.reading.encoding.slope)
    assert np.ptp(light.predict(X)) > 0


# ---- logarithms of probabilities ----


@pytest.mark.parametrize("cls", [*CLASSIFIERS, PrivateDFAClassifier], ids=name)
def test_log_probabilities(cls):
    private = {"bounds": (0, 8), "classes": [0, 1, 2], "epsilon": np.inf} if cls is PrivateDFAClassifier else {}
    model = cls((8,), max_iter=3, **private).fit(X, Y)
    with np.errstate(all="ignore"):
        far = model.predict_log_proba(X * 1e30)
    assert np.isfinite(far).all()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-6)
    torch = pytest.importorskip("torch")
    found = model.predict_log_proba(torch.tensor(X))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), model.predict_log_proba(X))


# ---- weights that are written ----

STILL = {"solver": SGD(momentum=0.0), "learning_rate_init": 1e-12, "max_iter": 2, "random_state": 0}
GOING_ON = {
    "stream": lambda model: model.partial_fit(X, targets(type(model))),
    "warm start": lambda model: model.set_params(warm_start=True).fit(X, targets(type(model))),
}
TRAINED = DenseNetwork(readout="trained")
WAYS = {  # parameters, and whether they need torch; weights that are written predict as they are
    "plain": ({"network": TRAINED}, False),
    "torch": ({"device": "torch:cpu", "network": TRAINED}, True),
    "images": ({"network": ImageNetwork((2, 2), (3,), readout="trained"), "hidden_layer_sizes": (4,)}, True),
}
going_on = pytest.mark.parametrize("go_on", GOING_ON.values(), ids=GOING_ON)


def begun(cls, way="plain", begin="stream", **given):
    """An estimator that has trained, with two hidden layers where it has no images."""
    parameters, needs_torch = WAYS[way]
    if needs_torch:
        pytest.importorskip("torch")
    model = cls(**{"hidden_layer_sizes": (6, 5)} | STILL | parameters | given)
    return model.partial_fit(X, targets(cls), **known(cls)) if begin == "stream" else model.fit(X, targets(cls))


def arrays_of(model):
    if hasattr(model, "network_state_"):
        return list(model.network_state_.values())
    return [*model.coefs_, *model.intercepts_]


def write(model):
    """New numbers in every array, in place or as other objects, and what they are."""
    for k, array in enumerate(arrays_of(model)):
        array[...] = np.random.default_rng(k).normal(size=array.shape)
    return [array.copy() for array in arrays_of(model)]


def raw(model):
    return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)


@estimators
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("begin", ["stream", "fit"])
@going_on
def test_training_goes_on_from_weights_that_were_written(cls, way, begin, go_on):
    model = begun(cls, way, begin)
    before = raw(model)
    written = write(model)
    seen = raw(model)
    assert not np.allclose(before, seen, atol=1e-3)
    go_on(model)
    for array, expected in zip(arrays_of(model), written, strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-6)
    np.testing.assert_allclose(raw(model), seen, atol=1e-4)


@estimators
@going_on
def test_lists_of_other_arrays_may_be_written(cls, go_on):
    model = begun(cls)
    model.coefs_ = tuple(np.full(w.shape, 0.25) for w in model.coefs_)  # float64, and no list
    frozen = np.ones(5, np.float32)
    frozen.flags.writeable = False
    model.intercepts_[1] = frozen
    go_on(model)
    np.testing.assert_allclose(model.coefs_[0], 0.25)
    np.testing.assert_allclose(model.intercepts_[1], 1.0)
    assert model.coefs_[0].dtype == np.float32


@estimators
@pytest.mark.parametrize("solver", [SGD(momentum=0.9), "adam"], ids=str)
@going_on
def test_what_was_not_written_trains_to_the_same_bits(cls, solver, go_on):
    given = {"solver": solver, "learning_rate_init": 0.01}
    plain, copied = begun(cls, **given), begun(cls, **given)
    copied.coefs_ = [w.astype(np.float64) for w in copied.coefs_]
    copied.intercepts_ = [b.copy() for b in copied.intercepts_]
    for a, b in zip(arrays_of(go_on(plain)), arrays_of(go_on(copied)), strict=True):
        np.testing.assert_array_equal(a, b)


@estimators
def test_weights_that_are_written_outlive_pickles(cls):
    model, fresh = begun(cls, solver="adam"), begun(cls, solver="adam")
    for found in (model, fresh):
        found.set_params(learning_rate_init=0.01)
        write(found)
        found.coefs_ = [w.astype(np.float32) for w in found.coefs_]
    again = pickle.loads(pickle.dumps(model))
    for a, b in zip(*(arrays_of(m.partial_fit(X, targets(cls))) for m in (again, fresh)), strict=True):
        np.testing.assert_array_equal(a, b)


@estimators
@going_on
def test_weights_that_do_not_fit_are_named(cls, go_on):
    model = begun(cls)
    kept = model.coefs_
    wrong = {
        r"coefs_\[1\] has shape \(6, 6\), but the network's has \(6, 5\)": [kept[0], np.ones((6, 6)), kept[2]],
        r"coefs_\[0\] holds NaN, infinity": [kept[0] * np.nan, *kept[1:]],
        r"coefs_\[2\] holds NaN, infinity or what float32 cannot hold": [*kept[:2], np.full(kept[2].shape, 1e300)],
        "coefs_ must be a list of 3 arrays": kept[:2],
    }
    for message, coefs in wrong.items():
        model.coefs_ = coefs
        with pytest.raises(ValueError, match=message):
            go_on(model)
        assert model.coefs_ is coefs
    model.coefs_ = kept
    go_on(model)


@pytest.mark.parametrize("cls", [LayerwiseMLP, LayerwiseMLPRegressor], ids=name)
@pytest.mark.parametrize("interlayer", [None, "overparametrise", "lookahead", "window"])
@going_on
def test_layers_and_heads_below_may_be_written(cls, interlayer, go_on):
    model = begun(cls, partitions=Partitions(interlayer=interlayer))
    written = write(model)
    head = model.heads_[0]["coefs"]
    head[-1][:] = 0.5
    go_on(model)
    for array, expected in zip(arrays_of(model), written, strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)
    np.testing.assert_allclose(model.heads_[0]["coefs"][-1], 0.5, atol=1e-6)


LISTS = {  # coefs_ that predictions cannot read
    r"coefs_\[0\] has shape \(4, 2\), but the network's has \(4, 6\)": lambda coefs: [coefs[0][:, :2], *coefs[1:]],
    r"coefs_\[0\] is a list": lambda coefs: [w.tolist() for w in coefs],
    "coefs_ must be a list of 3 arrays": lambda coefs: coefs[:1],
    r"coefs_\[1\] holds complex numbers": lambda coefs: [coefs[0], coefs[1] + 0j, coefs[2]],
}
DICTS = {  # network_state_ likewise
    r"network_state_ must be a dict of": lambda state: {},
    r"network_state_\['[\w.]+'\] has shape .* network's has": lambda state: state | {one(state): np.ones((9, 9))},
    r"network_state_\['[\w.]+'\] holds complex": lambda state: state | {one(state): state[one(state)] + 0j},
}
one = lambda state: next(iter(state))  # noqa: E731


@estimators
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("begin", ["stream", "fit"])
def test_predictions_name_weights_that_they_cannot_read(cls, way, begin):
    model = begun(cls, way, begin)
    attribute, wrong = ("network_state_", DICTS) if way == "images" else ("coefs_", LISTS)
    kept, before = getattr(model, attribute), model.predict(X)
    for message, changed in wrong.items():
        setattr(model, attribute, changed(kept))
        with pytest.raises(ValueError, match=message):
            model.predict(X)
        if "list" not in message or "arrays" in message:  # training copies lists into arrays
            with pytest.raises(ValueError, match=message):
                model.partial_fit(X, targets(cls))
    setattr(model, attribute, kept)
    np.testing.assert_array_equal(model.predict(X), before)
    again = of_before(pickle.loads(pickle.dumps(model)), "_weight_shapes")
    np.testing.assert_array_equal(again.predict(X), before)


@pytest.mark.parametrize("cls", [LayerwiseMLP, LayerwiseMLPRegressor], ids=name)
@pytest.mark.parametrize("way", WAYS)
def test_predictions_name_heads_that_they_cannot_read(cls, way):
    model = begun(cls, way)
    head = model.heads_[0]
    model.heads_ = [{}, *model.heads_[1:]]
    with pytest.raises(ValueError, match=r"heads_\[0\] must be a dict of"):
        list(model.staged_predict(X))
    model.heads_ = [head, *model.heads_[1:]]
    if way == "images":  # numbers of another kind are numbers
        before = raw(model)
        model.network_state_ = {key: value.astype(np.float64) for key, value in model.network_state_.items()}
        np.testing.assert_allclose(raw(model), before, rtol=1e-6)
