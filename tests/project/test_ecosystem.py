"""The estimators among scikit-learn's own tools: hidden features, metadata, meta-estimators, searches, threads."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import PartialDependenceDisplay, partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LearningCurveDisplay,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import sklearn_analytic as sa
from sklearn_analytic.backend import is_job, n_threads

IRIS, SPECIES = load_iris(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
STEPS = {"max_iter": 5, "random_state": 0}
PRIVATE = {"classes": [0, 1, 2], "bounds": (0.0, 8.0), "epsilon": np.inf, **STEPS}

# One small row for every public estimator.
SMALL = [
    sa.BRMPRegressor(12, alpha=0.1, random_state=0),
    sa.BRMPClassifier(12, alpha=0.1, random_state=0),
    sa.CPNetClassifier(6, random_state=0),
    sa.ClosedFormMLP(20, random_state=0, n_refits=0),
    sa.ClosedFormMLPRegressor(20, hidden="random", random_state=0),
    sa.DFAClassifier((8,), **STEPS),
    sa.DFARegressor((8,), **STEPS),
    sa.LayerwiseMLP((8, 8), **STEPS),
    sa.LayerwiseMLPRegressor((8, 8), **STEPS),
    sa.DecoupledMLPClassifier((8, 8), pipeline=sa.PipelineRule(executor="threads"), **STEPS),
    sa.DecoupledMLPRegressor((8, 8), **STEPS),
    sa.PrivateDFAClassifier((8,), **PRIVATE),
]
EVERY = pytest.mark.parametrize("estimator", SMALL, ids=lambda e: type(e).__name__)
WEIGHTED = [estimator for estimator in SMALL if not isinstance(estimator, sa.PrivateDFAClassifier)]
WATCHING = [estimator for estimator in WEIGHTED if not isinstance(estimator, TransformerMixin)]
HIDDEN = [estimator for estimator in SMALL if isinstance(estimator, TransformerMixin)]
NAMED = {"ids": lambda e: type(e).__name__}


def data_of(estimator):
    return (IRIS, SPECIES) if is_classifier(estimator) else (DIABETES, PROGRESS)


def test_every_public_estimator_is_in_the_table():
    public = [getattr(sa, name) for name in sa.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, BaseEstimator)}
    assert {type(e) for e in SMALL} == {kind for kind in kinds if hasattr(kind, "fit")}  # values have none


# ---- hidden features ----


def readout_of(model):
    """The linear readout of what transform returns, in the units of y."""
    readout, targets = model._solved.chosen, model._learned.targets
    return targets.in_units(readout.coef, readout.intercept)


@pytest.mark.parametrize("estimator", HIDDEN, **NAMED)
def test_the_prediction_is_linear_in_the_hidden_features(estimator):
    X, y = data_of(estimator)
    model = clone(estimator).fit(X, y)
    coef, intercept = readout_of(model)
    outputs = model.transform(X) @ coef + intercept
    expected = model.classes_[outputs.argmax(axis=1)] if is_classifier(model) else outputs[:, 0]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-9)


@pytest.mark.parametrize("estimator", HIDDEN, **NAMED)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_hidden_features_have_names_and_frames(estimator, library):
    pytest.importorskip(library)
    X, y = data_of(estimator)
    model = clone(estimator).set_output(transform=library).fit(X, y)
    names = model.get_feature_names_out()
    assert names[0] == f"{type(model).__name__.lower()}0" and len(set(names)) == len(names)
    frame = model.transform(X)
    assert type(frame).__module__.split(".")[0] == library and list(frame.columns) == list(names)
    np.testing.assert_array_equal(frame.to_numpy(), model.set_output(transform="default").transform(X))


@pytest.mark.parametrize("estimator", HIDDEN, **NAMED)
def test_hidden_features_of_sparse_and_narrow_rows(estimator):
    X, y = data_of(estimator)
    model = clone(estimator).fit(X, y)
    dense = model.transform(X)
    assert dense.dtype == np.float64 and model.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(model.transform(sparse.csr_array(X)), dense, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.transform(X[5:9]), dense[5:9], rtol=1e-7, atol=1e-7)
    dense[:] = 0  # it is the caller's: nothing of the estimator, and not X itself
    assert np.any(model.transform(X)) and np.any(X)


def test_hidden_features_of_a_linear_model_are_the_rows():
    np.testing.assert_array_equal(sa.BRMPRegressor().fit(DIABETES, PROGRESS).transform(DIABETES), DIABETES)


def test_hidden_features_follow_the_fit_and_not_later_parameters():
    model = sa.BRMPRegressor(12, random_state=0).fit(DIABETES, PROGRESS).set_params(hidden_layer_sizes=3)
    assert model.transform(DIABETES).shape[1] == len(model.get_feature_names_out()) == 12


def test_hidden_features_have_the_skip_columns_of_all_exits():
    model = sa.CPNetClassifier((4, 6), n_modules=2, exit="last", alpha=1.0, random_state=0).fit(IRIS, SPECIES)
    assert model.transform(IRIS).shape[1] == model._learned.network.exit_columns()[-1][-1] + 1
    cascade = sa.CPNetClassifier((4, 6), n_modules=2, skip=False, alpha=1.0, random_state=0).fit(IRIS, SPECIES)
    assert cascade.transform(IRIS).shape[1] == sum(map(len, cascade._learned.network.exit_columns()))


@pytest.mark.parametrize("estimator", HIDDEN, **NAMED)
def test_hidden_features_are_a_step_before_another_model(estimator):
    X, y = data_of(estimator)
    last = LogisticRegression(max_iter=3000) if is_classifier(estimator) else Ridge()
    pipeline = make_pipeline(StandardScaler(), clone(estimator), StandardScaler(), last).fit(X, y)
    assert pipeline.score(X, y) > (0.95 if is_classifier(estimator) else 0.45)
    names = pipeline[:-1].get_feature_names_out()
    assert len(names) == pipeline[-1].n_features_in_


# ---- metadata routing ----

REQUESTS = {"fit": {"sample_weight"}, "partial_fit": {"sample_weight"}, "score": {"sample_weight"}}
VALIDATION = {"X_val", "y_val", "sample_weight_val"}


@EVERY
def test_requests_are_those_of_the_signatures_and_none_by_default(estimator):
    requests = clone(estimator).get_metadata_routing()
    weighted, watching = estimator in WEIGHTED, estimator in WATCHING
    wanted = {
        "fit": (REQUESTS["fit"] if weighted else set()) | (VALIDATION if watching else set()),
        "partial_fit": (REQUESTS["partial_fit"] if weighted else set())
        | ({"classes"} if weighted and is_classifier(estimator) else set()),
        "score": REQUESTS["score"],
    }
    for method, names in wanted.items():
        found = getattr(requests, method).requests
        assert set(found) == names and set(found.values()) <= {None}, method
        if names:
            with config_context(enable_metadata_routing=True):
                asked = getattr(clone(estimator), f"set_{method}_request")(**dict.fromkeys(names, True))
            assert getattr(asked.get_metadata_routing(), method).requests == dict.fromkeys(names, True)


@pytest.mark.parametrize("estimator", WEIGHTED, **NAMED)
def test_weights_reach_the_estimator_in_a_pipeline(estimator):
    X, y = data_of(estimator)
    weight = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    scaled = StandardScaler().fit_transform(X)
    expected = clone(estimator).fit(scaled, y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        last = clone(estimator).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, last).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(pipeline.predict(X), expected.predict(scaled))
        assert pipeline.score(X, y, sample_weight=weight) == expected.score(scaled, y, weight)
    with config_context(enable_metadata_routing=True), pytest.raises(ValueError, match="not explicitly set"):
        make_pipeline(StandardScaler(), clone(estimator)).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("estimator", WEIGHTED, **NAMED)
def test_weights_reach_the_folds_of_a_search(estimator):
    X, y = data_of(estimator)
    weight = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    folds = [(np.arange(0, len(y), 2), np.arange(1, len(y), 2))]
    train, test = folds[0]
    model = clone(estimator).fit(X[train], y[train], sample_weight=weight[train])
    expected = model.score(X[test], y[test], weight[test])
    with config_context(enable_metadata_routing=True):
        asked = clone(estimator).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_validate(asked, X, y, cv=folds, params={"sample_weight": weight})["test_score"]
        search = GridSearchCV(asked, {"alpha": [estimator.alpha]}, cv=folds, refit=False)
        search.fit(X, y, sample_weight=weight)
    assert scores[0] == search.cv_results_["mean_test_score"][0] == expected


@pytest.mark.parametrize("estimator", WATCHING, **NAMED)
def test_validation_rows_go_through_the_steps_of_a_pipeline(estimator):
    X, y = data_of(estimator)
    rows, watched = slice(0, None, 2), slice(1, 100, 2)  # fewer: rows as many as X would be split with it
    scaler = MinMaxScaler().fit(X[rows])
    weight = np.ones(50)
    given = {"X_val": X[watched], "y_val": y[watched], "sample_weight_val": weight}
    transformed = given | {"X_val": scaler.transform(X[watched])}
    expected = clone(estimator).fit(scaler.transform(X[rows]), y[rows], **transformed)
    with config_context(enable_metadata_routing=True):
        asked = clone(estimator).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(MinMaxScaler(), asked, transform_input=["X_val"]).fit(X[rows], y[rows], **given)
        search = GridSearchCV(pipeline, {f"{pipeline.steps[-1][0]}__alpha": [estimator.alpha]}, cv=2)
        search.fit(X[rows], y[rows], **given)
    np.testing.assert_array_equal(pipeline.predict(X), expected.predict(scaler.transform(X)))
    assert pipeline[-1].validation_scores_ == expected.validation_scores_ and len(expected.validation_scores_) > 0
    np.testing.assert_array_equal(search.predict(X), pipeline.predict(X))


# ---- meta-estimators: one closed-form and one gradient classifier, one regressor ----

CLASSIFIERS = pytest.mark.parametrize(
    "model",
    [
        sa.ClosedFormMLP(20, hidden="random", alpha=1.0, random_state=0),
        sa.DFAClassifier((32,), learning_rate_init=0.01, max_iter=60, random_state=0),
    ],
    **NAMED,
)
REGRESSOR = sa.ClosedFormMLPRegressor(20, hidden="random", random_state=0)


@CLASSIFIERS
def test_calibration_and_votes(model):
    calibrated = CalibratedClassifierCV(model, cv=2).fit(IRIS, SPECIES)
    probabilities = calibrated.predict_proba(IRIS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert calibrated.score(IRIS, SPECIES) > 0.9
    vote = VotingClassifier([("a", model), ("b", clone(model))], voting="soft").fit(IRIS, SPECIES)
    alone = clone(model).fit(IRIS, SPECIES)
    np.testing.assert_allclose(vote.predict_proba(IRIS), alone.predict_proba(IRIS))


@CLASSIFIERS
def test_stacks(model):
    stack = StackingClassifier([("net", model)], LogisticRegression(max_iter=1000), cv=3, passthrough=True)
    assert stack.fit(IRIS, SPECIES).score(IRIS, SPECIES) > 0.93
    held_out = cross_val_predict(model, IRIS, SPECIES, cv=3, method="predict_proba")
    np.testing.assert_allclose(stack.named_estimators_["net"].predict_proba(IRIS), stack.transform(IRIS)[:, :3])
    assert np.mean(held_out.argmax(axis=1) == SPECIES) > 0.85


@CLASSIFIERS
def test_several_outputs_and_one_against_the_rest(model):
    both = np.column_stack([SPECIES, SPECIES == 1])
    several = MultiOutputClassifier(model).fit(IRIS, both)
    for k, labels in enumerate(both.T):
        np.testing.assert_array_equal(several.predict(IRIS)[:, k], clone(model).fit(IRIS, labels).predict(IRIS))
    rest = OneVsRestClassifier(model).fit(IRIS, SPECIES)
    assert len(rest.estimators_) == 3 and rest.score(IRIS, SPECIES) > 0.75
    alone = clone(model).fit(IRIS, (SPECIES == 0).astype(int))
    np.testing.assert_allclose(rest.predict_proba(IRIS).sum(axis=1), 1)
    np.testing.assert_array_equal(rest.estimators_[0].predict(IRIS), alone.predict(IRIS))


@CLASSIFIERS
def test_bags_and_boosts_pass_weights_on(model):
    bag = BaggingClassifier(model, n_estimators=3, random_state=0).fit(IRIS, SPECIES)
    assert bag.score(IRIS, SPECIES) > 0.9
    same = BaggingClassifier(model, n_estimators=1, bootstrap=False, random_state=0).fit(IRIS, SPECIES)
    assert same.estimators_[0].get_params()["random_state"] != 0  # a seed of its own
    boost = AdaBoostClassifier(model, n_estimators=3, random_state=0).fit(IRIS, SPECIES)
    assert boost.score(IRIS, SPECIES) > 0.9 and len(boost.estimators_) >= 1
    seed = boost.estimators_[0].random_state
    first = clone(model).set_params(random_state=seed).fit(IRIS, SPECIES, sample_weight=np.full(150, 1 / 150))
    np.testing.assert_array_equal(boost.estimators_[0].predict(IRIS), first.predict(IRIS))


def test_regressors_in_meta_estimators():
    X, y, model = DIABETES, PROGRESS, REGRESSOR
    alone = clone(model).fit(X, y)
    logs = TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp).fit(X, y)
    np.testing.assert_allclose(logs.predict(X), np.exp(clone(model).fit(X, np.log(y)).predict(X)))
    both = MultiOutputRegressor(model).fit(X, np.column_stack([y, -y])).predict(X)
    np.testing.assert_allclose(both[:, 0], alone.predict(X))
    np.testing.assert_allclose(both[:, 1], clone(model).fit(X, -y).predict(X))
    vote = VotingRegressor([("a", model), ("b", clone(model))]).fit(X, y)
    np.testing.assert_allclose(vote.predict(X), alone.predict(X))
    for meta in (
        StackingRegressor([("net", model)], Ridge(1e-3), cv=3),
        BaggingRegressor(model, n_estimators=3, random_state=0),
        AdaBoostRegressor(model, n_estimators=3, random_state=0),
    ):
        assert meta.fit(X, y).score(X, y) > 0.4


@CLASSIFIERS
def test_inspection_finds_what_decides(model):
    noise = np.random.default_rng(0).standard_normal((150, 1))
    X = np.hstack([IRIS[:, 2:], noise])
    fitted = clone(model).fit(X, SPECIES)
    importances = permutation_importance(fitted, X, SPECIES, n_repeats=5, random_state=0).importances_mean
    assert importances[:2].min() > importances[2] and importances[:2].max() > 0.1
    curve = partial_dependence(fitted, X, [1], grid_resolution=20)["average"]
    assert curve.shape == (3, 20) and curve[2, -1] > curve[2, 0] + 0.2 and curve[0, 0] > curve[0, -1]


def test_curves_and_displays():
    pytest.importorskip("matplotlib").use("Agg")
    model = sa.ClosedFormMLP(20, hidden="random", random_state=0)
    sizes, train, test = learning_curve(model, IRIS, SPECIES, train_sizes=[30, 90], cv=3, shuffle=True, random_state=0)
    assert list(sizes) == [30, 90] and test[1].mean() > 0.9 and train.shape == (2, 3)
    display = LearningCurveDisplay.from_estimator(
        model, IRIS, SPECIES, train_sizes=[30, 90], cv=3, shuffle=True, random_state=0
    )
    np.testing.assert_allclose(display.test_scores, test)
    fitted = clone(model).fit(IRIS, SPECIES)
    shown = PartialDependenceDisplay.from_estimator(fitted, IRIS, [2], target=2, grid_resolution=10)
    assert shown.lines_[0, 0].get_ydata()[-1] > shown.lines_[0, 0].get_ydata()[0]


# ---- searches ----


@pytest.mark.parametrize(
    ("model", "resource", "most", "grid"),
    [
        (sa.ClosedFormMLP(20, hidden="random", random_state=0), "n_samples", 150, {"alpha": [1e-3, 1.0, 1e3, 1e5]}),
        (sa.ClosedFormMLP(hidden="random", random_state=0), "hidden_layer_sizes", 40, {"alpha": [1e-3, 1.0, 1e3, 1e5]}),
        (sa.DFAClassifier((16,), random_state=0), "max_iter", 40, {"learning_rate_init": [1e-2, 1e-3, 1e-5, 1e-6]}),
    ],
    ids=["rows", "width", "epochs"],
)
def test_halving_spends_the_resource_on_the_best(model, resource, most, grid):
    search = HalvingGridSearchCV(model, grid, resource=resource, max_resources=most, factor=2, cv=3, random_state=0)
    search.set_params(min_resources="exhaust").fit(IRIS, SPECIES)
    assert search.n_candidates_[0] == 4 and search.n_candidates_[-1] <= 2 and search.n_resources_[-1] <= most
    if resource != "n_samples":
        assert search.best_estimator_.get_params()[resource] == search.n_resources_[-1]
    assert search.best_score_ > 0.8 and search.best_params_ != {name: values[-1] for name, values in grid.items()}


def test_random_search_draws_widths_and_words():
    space = {"hidden_layer_sizes": [10, 20, 40], "hidden": ["random", "sampled"], "alpha": ["loo", 1.0]}
    search = RandomizedSearchCV(sa.ClosedFormMLP(random_state=0), space, n_iter=4, cv=3, random_state=0)
    assert search.fit(IRIS, SPECIES).best_score_ > 0.93
    assert len(search.cv_results_["params"]) == 4


def test_searches_go_into_the_settings_of_values():
    model = sa.DFAClassifier((16,), feedback=sa.Feedback("sparse"), solver=sa.Adam(), **STEPS)
    grid = {"feedback__density": [0.2, 0.8], "solver__beta_1": [0.5, 0.95]}
    search = GridSearchCV(model, grid, cv=2).fit(IRIS, SPECIES)
    found, best = search.cv_results_, search.best_estimator_
    assert len(found["params"]) == 4
    assert {name: best.get_params()[name] for name in grid} == search.best_params_
    assert (model.feedback.density, model.solver.beta_1) == (0.1, "auto")  # each candidate has values of its own
    by_hand = [
        sa.DFAClassifier((16,), feedback=sa.Feedback("sparse", density=d), solver=sa.Adam(beta_1=b), **STEPS)
        for d, b in ((given["feedback__density"], given["solver__beta_1"]) for given in found["params"])
    ]
    scores = [cross_validate(one, IRIS, SPECIES, cv=2)["test_score"].mean() for one in by_hand]
    np.testing.assert_array_equal(found["mean_test_score"], scores)
    pipeline = make_pipeline(StandardScaler(), clone(model))
    inner = GridSearchCV(pipeline, {f"dfaclassifier__{name}": values for name, values in grid.items()}, cv=2)
    assert inner.fit(IRIS, SPECIES).best_estimator_[-1].feedback.density in grid["feedback__density"]
    whole = GridSearchCV(model, {"solver": ["adam", sa.SGD(momentum=0.5), sa.AdamW()]}, cv=2).fit(IRIS, SPECIES)
    assert len(whole.cv_results_["params"]) == 3


# ---- threads ----


def together(function, arguments, n_threads=4):
    """Results of a function called at once in several threads."""
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, arguments))


def outputs_of(model, X):
    """Everything that a model says of rows."""
    names = ("predict", "predict_proba", "decision_function", "transform")
    return [getattr(model, name)(X) for name in names if hasattr(model, name)]


def assert_same(first, second):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


@EVERY
def test_fits_of_several_estimators_at_once_are_those_in_turn(estimator):
    X, y = data_of(estimator)
    folds = [np.random.default_rng(seed).permutation(len(y))[:120] for seed in range(4)]

    def fit(rows):
        return outputs_of(clone(estimator).fit(X[rows], y[rows]), X)

    for found, expected in zip(together(fit, folds), map(fit, folds), strict=True):
        assert_same(found, expected)


@EVERY
def test_one_fitted_estimator_answers_several_threads(estimator):
    X, y = data_of(estimator)
    model = clone(estimator).fit(X, y)
    before, parts = pickle.dumps(model.get_params()), [X, X[:7], X[50:], X] * 4
    for found, part in zip(together(lambda rows: outputs_of(model, rows), parts), parts, strict=True):
        assert_same(found, outputs_of(model, part))
    assert pickle.dumps(model.get_params()) == before


@EVERY
def test_a_search_in_threads_gives_the_scores_of_one_in_turn(estimator):
    X, y = data_of(estimator)
    name = "alpha" if "alpha" in estimator.get_params() else "learning_rate_init"
    searches = [GridSearchCV(clone(estimator), {name: [0.01, 0.1]}, cv=2, n_jobs=n, refit=False) for n in (None, 4)]
    with joblib.parallel_config("threading"):
        one, several = (search.fit(X, y).cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(one, several)


def threads_of_a_job(number=0):
    """Whether this is a thread among others, and the threads that the package and torch would use."""
    return is_job(), n_threads(), *torch_threads()


def torch_threads():
    try:
        import torch

        from sklearn_analytic.nn._torch_modes import own_modes
    except ImportError:
        return ()
    with own_modes():
        return (torch.get_num_threads(),)


def test_jobs_in_threads_keep_to_one_each_and_leave_no_trace():
    before = threads_of_a_job()
    with joblib.parallel_config("threading"):
        found = joblib.Parallel(3)(joblib.delayed(threads_of_a_job)(i) for i in range(6))
    assert set(found) == {(True, *[1] * (len(before) - 1))}
    assert threads_of_a_job() == before and before[0] is False
    assert together(threads_of_a_job, range(4)) == [before] * 4  # threads of the caller's own are left alone


def test_jobs_in_processes_share_the_cores():
    found = joblib.Parallel(2, backend="loky")(joblib.delayed(threads_of_a_job)(i) for i in range(4))
    most = max(1, joblib.cpu_count() // 2)
    assert all(job is False and max(counts) <= most for job, *counts in found)


def test_torch_gets_its_threads_back_after_jobs_that_are_threads():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch_threads() == (3,)
        model = sa.DFAClassifier((8,), device="torch:cpu", **STEPS)
        search = GridSearchCV(model, {"alpha": [0.0, 0.1]}, cv=2, n_jobs=4, refit=False)
        with joblib.parallel_config("threading"):
            scores = search.fit(IRIS, SPECIES).cv_results_["mean_test_score"]
        assert torch.get_num_threads() == 3 and torch_threads() == (3,)
        alone = search.set_params(n_jobs=None).fit(IRIS, SPECIES).cv_results_["mean_test_score"]
        np.testing.assert_allclose(scores, alone, atol=0.02)  # sums of other numbers of threads
    finally:
        torch.set_num_threads(before)
