"""Raw tables: missing values and categories, read by every estimator from every kind of table, block and stream."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import get_tags
from sklearn.utils.fixes import parse_version

import sklearn_analytic
from sklearn_analytic import (
    Blocks,
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    PrivacyLeakWarning,
    PrivateDFAClassifier,
)
from sklearn_analytic.io._columns import rows_by

pd = pytest.importorskip("pandas")
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn_analytic.PrivacyLeakWarning"),
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names"),
]

N = 240
SHORT = {"hidden_layer_sizes": (8,), "max_iter": 20, "n_iter_no_change": float("inf"), "random_state": 0}
CLOSED_FORM = {
    "linear": BRMPRegressor(),
    "hidden": BRMPClassifier((12,), alpha=0.1, random_state=0),
    "cpnet": CPNetClassifier((8,), random_state=0),
    "closed_form": ClosedFormMLP((8, 8, 8), random_state=0),
    "closed_form_regressor": ClosedFormMLPRegressor((8, 8, 8), random_state=0),
}
BY_STEPS = {
    "dfa": DFAClassifier(**SHORT),
    "dfa_regressor": DFARegressor(**SHORT),
    "layerwise": LayerwiseMLP(**SHORT),
    "layerwise_regressor": LayerwiseMLPRegressor(**SHORT),
    "decoupled": DecoupledMLPClassifier(**SHORT),
    "decoupled_regressor": DecoupledMLPRegressor(**SHORT),
}
PRIVATE = {"private": PrivateDFAClassifier((8,), epsilon=np.inf, max_iter=3, random_state=0)}
ALL = CLOSED_FORM | BY_STEPS | PRIVATE
every = pytest.mark.parametrize("name", ALL)
every_closed_form = pytest.mark.parametrize("name", CLOSED_FORM)


def table(n=N, seed=0):
    """A number with gaps, a whole one, a flag, names with gaps, and a wide column of categories."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.standard_normal(n).round(3),
            "size": rng.standard_normal(n).round(3),
            "flag": rng.random(n) < 0.5,
            "kind": rng.choice(["red", "green", "blue"], n).astype(object),
            "town": np.array([f"town {k}" for k in rng.integers(0, 14, n)], dtype=object),
        }
    )
    score = frame["age"] + 2 * (frame["kind"] == "red") - (frame["town"].str[-1] == "1") + frame["size"] * frame["flag"]
    frame.loc[rng.random(n) < 0.2, "age"] = np.nan
    frame.loc[rng.random(n) < 0.1, "kind"] = None
    return frame, score.to_numpy()


X, SCORE = table()
NEW = table(60, seed=1)[0]


def made(name):
    return clone(ALL[name])


def target(name, score=SCORE):
    return np.where(score > 0.5, "high", "low") if is_classifier(ALL[name]) else score


def answers(model, rows=NEW):
    """All that predictions are made of."""
    verbs = [verb for verb in ("predict_proba", "decision_function") if hasattr(model, verb)]
    return [np.asarray(getattr(model, verb)(rows)) for verb in verbs or ["predict"]]


def assert_same(one, two, bound=1e-7, rows=NEW):
    for a, b in zip(answers(one, rows), answers(two, rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


# ---- every kind of table is the same table ----


def with_polars(frame, **columns):
    return pytest.importorskip("polars").from_pandas(frame).with_columns(**columns)


def polars_enum(frame):
    polars = pytest.importorskip("polars")
    return with_polars(frame, town=polars.col("town").cast(polars.Categorical))


def arrow(frame):
    table = pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)
    place = table.schema.get_field_index("town")
    return table.set_column(place, "town", table["town"].dictionary_encode())


KINDS = {
    "category": lambda frame: frame.astype({"kind": "category", "town": "category"}),
    "text": lambda frame: frame.astype({"kind": "string", "town": "str"}),
    "nullable": lambda frame: frame.convert_dtypes(),
    "arrow dtypes": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "polars": with_polars,
    "polars categories": polars_enum,
    "arrow": arrow,
    "objects": lambda frame: frame.to_numpy(object),
    "lists": lambda frame: [[None if v is pd.NA else v for v in row] for row in frame.to_numpy(object).tolist()],
}


@every
def test_every_kind_of_table_gives_the_same_fit(name):
    whole = made(name).fit(X, target(name))
    kinds = KINDS if name in ("linear", "closed_form", "dfa") else {"category": KINDS["category"]}
    for convert in kinds.values():
        if name == "private" and convert is KINDS["category"]:
            continue  # categories disclose nothing, text does: not the same fit
        other = made(name).fit(convert(X), target(name))
        assert_same(other, whole, rows=convert(NEW))
        for a, b in zip(answers(whole), answers(whole, convert(NEW)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="scikit-learn reads no names")
def test_columns_of_polars_and_arrow_have_names():
    for kind in ("polars", "arrow"):
        assert made("linear").fit(KINDS[kind](X), SCORE).feature_names_in_.tolist() == X.columns.tolist()


@every
def test_gaps_in_arrays_of_numbers_are_read(name):
    rng = np.random.default_rng(0)
    rows = X[["age", "size", "flag"]].to_numpy(float)
    rows[rng.random(N) < 0.2, 1] = np.nan
    y = target(name)
    model = made(name).fit(rows, y)
    assert_same(model, made(name).fit(pd.DataFrame(rows).convert_dtypes().to_numpy(object), y), rows=rows)
    assert_same(model, made(name).fit(rows.astype(object), y), rows=rows)
    assert model.n_features_in_ == 3 and get_tags(model).input_tags.allow_nan
    for a in answers(model, np.full((2, 3), np.nan)):
        assert np.isfinite(a).all()
    rows[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"infinity in column 2, first in row 3"):
        made(name).fit(rows, y)
    with pytest.raises(ValueError, match=r"infinity in column 2, first in row 3"):
        model.predict(rows)


@every
def test_a_table_of_numbers_is_what_it_was(name):
    rows, y = X[["size", "flag"]].to_numpy(float), target(name)
    model = made(name).fit(rows, y)
    gaps = rows[:5].copy()
    gaps[:, 0] = np.nan
    filled = gaps.copy()
    filled[:, 0] = np.median(rows[:, 0]) if name != "private" else (rows[:, 0].min() + rows[:, 0].max()) / 2
    for a, b in zip(answers(model, gaps), answers(model, filled), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- against encoders of scikit-learn ----


def test_narrow_columns_and_gaps_are_those_of_scikit_learn():
    narrow = X.drop(columns="town")
    encoders = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), ["age", "size"]),
        ("passthrough", ["flag"]),
        (OneHotEncoder(), ["kind"]),
    )
    plain = make_pipeline(encoders, BRMPRegressor()).fit(narrow, SCORE)
    new = NEW.drop(columns="town")
    np.testing.assert_allclose(BRMPRegressor().fit(narrow, SCORE).predict(new), plain.predict(new), atol=1e-9)


@pytest.mark.parametrize("name", CLOSED_FORM | BY_STEPS)
def test_names_say_more_than_no_names(name):
    y, model = target(name), made(name)
    if name in BY_STEPS:
        model.set_params(max_iter=100, learning_rate_init=0.01)
    with_names, without = (clone(model).fit(part, y).score(part, y) for part in (X, X[["age", "size", "flag"]]))
    assert with_names > without + 0.05


# ---- levels ----


@every
def test_levels_are_known_by_value_and_others_are_the_rest(name):
    model = made(name).fit(KINDS["category"](X), target(name))
    rows = NEW.copy()
    rows["kind"] = pd.Categorical(rows["kind"], categories=["violet", "red", "blue", "green"])
    for a, b in zip(answers(model), answers(model, rows), strict=True):
        np.testing.assert_array_equal(a, b)
    one, two = (NEW.assign(kind=level, town=town) for level, town in (("violet", "elsewhere"), ("grey", "nowhere")))
    for a, b in zip(answers(model, one), answers(model, two), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


def test_unused_levels_and_levels_without_weight_change_nothing():
    y = target("closed_form")
    weight = np.where(X["kind"] == "red", 0.0, 1.0)
    kept = weight > 0
    one = made("closed_form").fit(X, y, sample_weight=weight)
    assert_same(one, made("closed_form").fit(X[kept], y[kept]))
    listed = X.astype({"kind": pd.CategoricalDtype(["black", "blue", "green", "red", "white"])})
    assert_same(made("closed_form").fit(X, y), made("closed_form").fit(listed, y))


def test_levels_of_mixed_types():
    rows = X.assign(kind=[1, "1", 2.5, None, "x"] * (N // 5))
    model = made("linear").fit(rows, SCORE)
    moved = [model.predict(rows[:1].assign(kind=[level]))[0] for level in (1, "1", 2.5, "x", "new")]
    assert len(set(np.round(moved, 12))) == 5


def test_very_many_levels():
    n = 30_000
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"number": rng.standard_normal(n), "name": [f"id {k}" for k in range(n)]})
    model = BRMPRegressor().fit(rows, rows["number"] + rng.standard_normal(n))
    assert model.coef_.shape == (1,) and abs(model.coef_[0] - 1) < 0.05  # names that never come again say nothing


# ---- which columns hold categories ----


def test_columns_are_named_by_mask_index_or_name():
    codes = X.assign(kind=X["kind"].map({"red": 7, "green": 3, "blue": 5}), town=X["town"].str[5:].astype(int))
    due = [made("linear").set_params(categorical_features=["kind", "town"]).fit(codes, SCORE)]
    for given in ([3, 4], [-2, -1], [False, False, False, True, True], np.array([3, 4]), ("kind", "town")):
        due.append(made("linear").set_params(categorical_features=given).fit(codes, SCORE))
    rows = codes[:20]
    for model in due[1:]:
        np.testing.assert_array_equal(model.predict(rows), due[0].predict(rows))
    numbers = made("linear").fit(codes, SCORE)  # codes are not guessed to be names
    assert numbers.coef_.shape == (7,)  # five columns, and the gaps of two


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("auto", "must be 'from_dtype', None, or a mask"),
        ([True], "a mask of 1 columns, but X has 5"),
        ([9], "has 9, but X has 5 columns"),
        (["colour"], r"'colour', but the columns of X are \['age'"),
        ([1.5], "has 1.5"),
        (None, r"Column 3 \('kind'\) of X holds text \(could not convert string to float: '"),
        (["kind"], r"Column 4 \('town'\) of X holds text"),
    ],
)
def test_wrong_names_of_columns(given, words):
    with pytest.raises(ValueError, match=words):
        BRMPRegressor(categorical_features=given).fit(X, SCORE)


# ---- passes, streams, weights ----


@every_closed_form
def test_blocks_order_and_weights_are_no_matter(name, tmp_path):
    y = target(name)
    whole = made(name).fit(X, y)
    assert_same(made(name).fit_blocks(Blocks.from_arrays(X, y, block_size=70)), whole)
    assert_same(made(name).fit_blocks(Blocks.from_arrays(KINDS["category"](X), y, block_size=70)), whole)
    parts = [(KINDS[kind](X[s]), y[s]) for kind, s in (("text", slice(0, 50)), ("category", slice(50, N)))]
    assert_same(made(name).fit_blocks(Blocks.from_iterable(parts)), whole)
    assert_same(made(name).fit(X[::-1], y[::-1]), whole)
    weight = np.random.default_rng(0).integers(0, 3, N)
    again = np.repeat(np.arange(N), weight)
    if name != "closed_form_regressor":  # whose draws on repeated rows differ, of numbers, too
        assert_same(made(name).fit(X, y, sample_weight=weight * 1.0), made(name).fit(X.iloc[again], y[again]))
    if name in ("linear", "closed_form"):
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow(X.assign(t=y)), tmp_path / "t.parquet")
        X.assign(t=y).to_csv(tmp_path / "t.csv", index=False)
        for format in ("parquet", "csv"):
            blocks = Blocks.from_parquet(tmp_path / f"t.{format}", list(X), "t", format=format, block_size=90)
            assert_same(made(name).fit_blocks(blocks), whole)


@every_closed_form
def test_an_iterator_of_frames_is_read_by_the_columns_of_its_first_blocks(name):
    y, parts = target(name), [slice(0, 100), slice(100, 170), slice(170, N)]
    blocks = [(X[part], y[part]) for part in parts]
    other = made(name).fit(X.drop(columns="town"), y)  # a fit before it is no matter
    stream = made(name)
    for block, labels in blocks:
        classes = {"classes": np.unique(y)} if is_classifier(stream) else {}
        stream.partial_fit(block, labels, **classes)
    for model in (made(name), other):
        assert_same(model.fit_blocks(iter(blocks)), stream)


@every_closed_form
def test_a_source_that_lacks_values_late_is_read_anew(name):
    y, rows = target(name), X[["size", "age"]].fillna(0.0)
    rows.loc[200:, "age"] = np.nan
    made_of = made(name).fit_blocks(Blocks.from_arrays(rows, y, block_size=60))
    assert_same(made_of, made(name).fit(rows, y), rows=rows)


@every_closed_form
def test_rows_are_read_alike_whatever_their_block_holds(name):
    rows = X.sort_values("age", na_position="first", ignore_index=True)  # all gaps of numbers are in the first block
    y = target(name, SCORE[X.sort_values("age", na_position="first").index])
    whole = made(name).fit(rows, y)
    assert_same(made(name).fit_blocks(Blocks.from_arrays(rows, y, block_size=60)), whole)
    parts = [rows[:60], rows[60:120].astype({"size": "float32"}).astype({"size": float}), rows[120:]]
    labels = [y[:60], y[60:120], y[120:]]
    narrow = [parts[0], parts[1].assign(size=parts[1]["size"].astype("float32")), parts[2]]
    one, two = (made(name).fit_blocks(Blocks.from_iterable(list(zip(p, labels, strict=True)))) for p in (parts, narrow))
    assert_same(two, one)


@pytest.mark.filterwarnings("ignore::sklearn_analytic.UnlearningWarning")
@pytest.mark.parametrize("wide", [False, True], ids=["numbers apart", "categories alone"])
def test_forget_and_merge_are_exact(wide):
    rows = X[["town", "flag"]] if wide else X
    first = BRMPRegressor().partial_fit(rows[:100], SCORE[:100])
    both = copy.deepcopy(first).partial_fit(rows[100:], SCORE[100:])
    assert_same(copy.deepcopy(both).forget(rows[100:], SCORE[100:]), first, rows=rows)
    other = copy.deepcopy(first).partial_fit(rows[100:150], SCORE[100:150])
    if not wide:  # rows that the encoding was learned from are encoded as later ones are
        rest = copy.deepcopy(first).partial_fit(rows[150:], SCORE[150:]).forget(rows[:100], SCORE[:100])
        assert_same(other.merge(rest), both, rows=rows)
    with pytest.raises(ValueError, match="the same encoding"):
        first.merge(BRMPRegressor().fit(rows[100:], SCORE[100:]))


@pytest.mark.parametrize("name", CLOSED_FORM | BY_STEPS)
def test_streams_keep_their_encoding(name):
    y = target(name)
    first = {"classes": np.unique(y)} if is_classifier(ALL[name]) else {}
    model = made(name)
    for start in range(0, N, 40):
        part = slice(start, start + 40)
        model.partial_fit(X[part], y[part], **(first if start == 0 else {}))
    late = X[:40].assign(kind="violet", size=np.nan)  # a level that comes later, and a gap where there was none
    model.partial_fit(late, y[:40])
    assert model.n_features_in_ == 5 and all(np.isfinite(a).all() for a in answers(model))
    if name in CLOSED_FORM and hasattr(model, "shard"):
        shard = model.shard().partial_fit(X, y)
        assert_same(copy.deepcopy(model).partial_fit(X, y), model.merge(shard))


def test_a_young_stream_learns_levels_with_its_layers():
    y = target("closed_form")
    model = made("closed_form").partial_fit(X[:30], y[:30])
    assert_same(model.partial_fit(X[30:], y[30:]), made("closed_form").fit(X, y), bound=1e-5)


@pytest.mark.parametrize("name", BY_STEPS)
def test_networks_trained_by_steps_read_blocks(name):
    y = target(name)
    whole = made(name).fit_blocks(Blocks.from_arrays(X, y, block_size=N))
    parts = made(name).fit_blocks(Blocks.from_arrays(KINDS["category"](X), y, block_size=N))
    assert_same(whole, parts)
    watched = made(name).fit(X, y, X_val=NEW.assign(kind="violet"), y_val=y[:60])
    assert len(watched.validation_scores_) == watched.n_iter_
    held = (
        made(name)
        .set_params(early_stopping=True)
        .fit_blocks(Blocks.from_arrays(X, y, block_size=100), X_val=NEW, y_val=y[:60])
    )
    assert all(np.isfinite(a).all() for a in answers(held))


@pytest.mark.parametrize("name", ["linear", "closed_form"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_dask_frames(name, known):
    dask = pytest.importorskip("dask.dataframe")
    y, whole = target(name), made(name).fit(X, target(name))
    rows = dask.from_pandas(KINDS["category"](X), npartitions=3)
    rows = rows if known else rows.assign(town=rows["town"].cat.as_unknown())
    model = made(name).fit(rows, y)
    assert_same(model, whole)
    np.testing.assert_array_equal(model.predict(rows).compute(), model.predict(X))


# ---- what comes out ----


@every
def test_models_are_kept_copied_and_searched(name, tmp_path):
    y = target(name)
    model = made(name).fit(X, y)
    for a, b in zip(answers(model), answers(pickle.loads(pickle.dumps(model))), strict=True):
        np.testing.assert_array_equal(a, b)
    skops = pytest.importorskip("skops.io")
    again = skops.loads(skops.dumps(model), trusted=list(sklearn_analytic.SKOPS_TRUSTED_TYPES))
    for a, b in zip(answers(model), answers(again), strict=True):
        np.testing.assert_array_equal(a, b)
    if hasattr(model, "save_statistics"):
        loaded = made(name).load_statistics(model.save_statistics(tmp_path / "s.npz") and tmp_path / "s.npz")
        assert_same(loaded, model)
    if name in ("linear", "dfa"):
        grid = {"categorical_features": ["from_dtype", ["kind", "town"]]}
        assert GridSearchCV(made(name), grid, cv=2, error_score="raise").fit(X, y).best_score_ > 0


@pytest.mark.parametrize("name", ["linear", "cpnet", "closed_form", "closed_form_regressor", "dfa", "dfa_regressor"])
def test_onnx_reads_names_and_gaps(name):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    rows = X.assign(code=np.random.default_rng(0).choice([3.0, 5.0, np.nan], N))
    model = made(name).set_params(categorical_features=["kind", "town", "code"]).fit(rows, target(name))
    session = runtime.InferenceSession(model.to_onnx(dtype="float64").SerializeToString())
    new = NEW.assign(code=3.0, kind=NEW["kind"].replace("red", "violet"), size=np.nan)
    new.loc[::2, "code"] = np.nan
    given = {}
    for source in session.get_inputs():
        column = new[source.name]
        text = "string" in source.type
        given[source.name] = (column.fillna("").to_numpy(object) if text else column.to_numpy(float))[:, None]
    found = session.run(None, given)
    if is_classifier(model):
        np.testing.assert_array_equal(found[0], model.predict(new))
        np.testing.assert_allclose(found[1], model.predict_proba(new), atol=1e-5)
    else:
        np.testing.assert_allclose(found[0][:, 0], model.predict(new), atol=1e-5)
    with pytest.raises(NotImplementedError, match="reads categories or missing values"):
        model.to_sklearn()


def test_importances_are_those_of_columns():
    for name in ("hidden", "closed_form", "closed_form_regressor"):
        model = made(name).fit(X, target(name))
        assert model.feature_importances_.shape == (5,) and np.isclose(model.feature_importances_.sum(), 1)
    model.set_output(transform="pandas")
    assert list(model.transform(NEW).columns) == list(model.get_feature_names_out())


# ---- what is private ----


def test_private_training_reads_what_is_listed():
    y, listed = target("private"), KINDS["category"](X)
    private = PrivateDFAClassifier((8,), bounds=(-4, 4), classes=["high", "low"], max_iter=2)
    with pytest.warns(PrivacyLeakWarning, match=r"Column 3 \('kind'\) has no dtype that lists its levels"):
        clone(private).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrivacyLeakWarning)
        model, other = (clone(private).fit(rows, labels) for rows, labels in ((listed, y), (listed[:-9], y[:-9])))
    assert model.coefs_[0].shape[0] == 3 + (3 + 1) + (14 + 1)  # three numbers, and levels with what is missing
    assert_same_table(model, other, listed)  # nine rows less change no number of another row


def assert_same_table(one, two, rows):
    coded = rows_by(one._table.columns, rows)
    np.testing.assert_array_equal(one._table.all_dense(coded), two._table.all_dense(coded))


# ---- what is refused ----


def dated(values, dtype=None):
    return X.assign(when=pd.Series(values, dtype=dtype))


@every
@pytest.mark.parametrize(
    "values",
    [pd.date_range("2020", periods=N), pd.to_timedelta(np.arange(N), "D"), [pd.Timestamp("2020").date()] * N],
    ids=["dates", "times", "objects"],
)
def test_dates_are_refused_by_name(name, values):
    with pytest.raises(TypeError, match=r"Column 5 \('when'\) of X has dtype .*skrub.TableVectorizer"):
        made(name).fit(dated(values), target(name))
    model = made(name)
    assert not hasattr(model, "n_features_in_")


@every
@pytest.mark.parametrize(("value", "found"), [([1, 2], "a list"), ({"a": 1}, "a dict")])
def test_what_is_neither_number_nor_name_is_refused(name, value, found):
    with pytest.raises(TypeError, match=rf"Column 5 \('odd'\) of X has dtype object and holds {found}"):
        made(name).fit(X.assign(odd=[value] * N), target(name))


@every
def test_a_column_that_changes_its_kind_is_refused(name):
    model = made(name).fit(X, target(name))
    before = answers(model)
    with pytest.raises(ValueError, match=r"Column 4 \('town'\) of X holds 1.0, and held text before: .*astype\(str\)"):
        model.predict(NEW.assign(town=1.0))
    with pytest.raises(ValueError, match=r"Column 1 \('size'\) of X holds 'big', and held numbers before: .*coerce"):
        model.predict(NEW.assign(size="big"))
    if hasattr(model, "partial_fit"):
        with pytest.raises(ValueError, match=r"Column 1 \('size'\) of X holds 'big', and held numbers before"):
            model.partial_fit(X.assign(size="big"), target(name))
    for a, b in zip(before, answers(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["linear", "closed_form", "dfa"])
def test_blocks_whose_columns_change_their_kind_are_refused(name):
    y, numbers = target(name), X.assign(town=np.arange(N) * 1.0)
    for one, two in ((X, numbers), (numbers, X)):
        parts = [(one[:100], y[:100]), (two[100:], y[100:])]
        with pytest.raises(ValueError, match=r"Block 1: Column 4 \('town'\) of X holds"):
            made(name).fit_blocks(Blocks.from_iterable(parts))


@every
def test_missing_targets_are_counted(name):
    y = target(name).astype(object)
    y[[3, 7, 9]] = None if is_classifier(ALL[name]) else np.nan
    y = y if is_classifier(ALL[name]) else y.astype(float)
    with pytest.raises(ValueError, match="Input y contains NaN in 3 rows, first in row 3"):
        made(name).fit(X, y)
    with pytest.raises(ValueError, match="Input y contains NaN in 240 rows, first in row 0"):
        made(name).fit(X, np.full(N, np.nan if not is_classifier(ALL[name]) else None))


@every
def test_a_column_that_is_missing_is_ignored(name):
    y = target(name)
    nothing = X.assign(empty=np.nan, none=None)
    model = made(name).fit(nothing, y)
    rows = [NEW.assign(empty=empty, none=none) for empty, none in ((np.nan, None), (5.0, None), (np.nan, "text"))]
    if name != "private":  # where a column of bounds is known to be one
        for a, b, c in zip(*(answers(model, part) for part in rows), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    alone = made(name).fit(nothing[["empty", "none"]], y)
    assert all(np.isfinite(a).all() for a in answers(alone, nothing[["empty", "none"]]))


def test_images_read_gaps_and_no_names():
    rows = np.random.default_rng(0).random((N, 16))
    rows[::7, 3] = np.nan
    y = target("closed_form")
    assert ClosedFormMLP((8,), image_shape=(4, 4), random_state=0).fit(rows, y).n_features_in_ == 16
    pytest.importorskip("torch")
    network = ImageNetwork((1, 4, 4), (4,))
    assert DFAClassifier(**SHORT | {"network": network}).fit(rows, y).n_features_in_ == 16
    with pytest.raises(ValueError, match=r"Column 3 \('kind'\) holds categories, but images"):
        DFAClassifier(**SHORT | {"network": network}).fit(X, y)


def test_tensors_with_gaps_stay_tensors():
    torch = pytest.importorskip("torch")
    rows, y = X[["age", "size"]].to_numpy(), target("closed_form")
    for name in ("closed_form", "dfa", "hidden"):
        model = made(name).fit(torch.tensor(rows), y)
        found = (
            model.predict_proba(torch.tensor(rows)) if name != "hidden" else model.decision_function(torch.tensor(rows))
        )
        assert isinstance(found, torch.Tensor)
        assert_same(model, made(name).fit(rows, y), rows=rows, bound=1e-3)


# ---- noise, blocks that lack a column, levels that change ----


@pytest.mark.parametrize("n_levels", [30, 300])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside numbers"])
def test_noise_is_not_learned_from_categories(n_levels, beside):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"id": [f"id {k}" for k in rng.integers(0, n_levels, 2000)]})
    rows = rows.assign(x=rng.standard_normal(2000)) if beside else rows
    model = ClosedFormMLP((20, 20, 20), random_state=0).fit(rows, rng.integers(0, 2, 2000))
    assert 0.4 < model.loo_score_ < 0.6


@pytest.mark.parametrize("name", ["classes", "targets that add up"])
def test_columns_of_means_are_not_collinear(name):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"id": [f"id {k}" for k in rng.integers(0, 60, 900)], "x": rng.standard_normal(900)})
    if name == "classes":
        found = BRMPClassifier().fit(rows, rng.integers(0, 3, 900)).decision_function(rows)
    else:
        y = rng.standard_normal((900, 2))
        found = BRMPRegressor().fit(rows, np.column_stack([y, -y.sum(axis=1)])).predict(rows)
    assert np.abs(found).max() < 5


@pytest.mark.parametrize("name", ["linear", "closed_form", "dfa"])
def test_a_block_in_which_a_column_is_missing_holds_any_kind(name):
    y, nothing = target(name), X.assign(kind=np.nan, size=np.nan)
    whole = pd.concat([nothing[:80], X[80:]])
    for parts in ([nothing[:80], X[80:]], [X[80:], nothing[:80]]):
        labels = [y[part.index] for part in parts]
        blocks = Blocks.from_iterable(list(zip(parts, labels, strict=True)))
        model = made(name).fit_blocks(blocks)
        if name != "dfa":
            assert_same(model, made(name).fit(whole, y))
        classes = {"classes": np.unique(y)} if is_classifier(model) else {}
        stream = made(name).partial_fit(parts[0], labels[0], **classes).partial_fit(parts[1], labels[1])
        assert all(np.isfinite(a).all() for a in answers(stream))


@pytest.mark.parametrize(("first", "second"), [(int, str), (str, int)])
def test_levels_that_were_numbers_are_not_text_later(first, second):
    codes = np.arange(N) % 5
    one, two = (X.assign(kind=pd.Categorical(codes.astype(kind).tolist())) for kind in (first, second))
    model = made("linear").fit(one, SCORE)
    words = r"Column 3 \('kind'\) of X holds .*, and held (text|numbers) before"
    for change in (lambda: model.predict(two), lambda: model.partial_fit(two, SCORE)):
        with pytest.raises(ValueError, match=words):
            change()
    with pytest.raises(ValueError, match=words):
        made("linear").fit_blocks(Blocks.from_iterable([(one, SCORE), (two, SCORE)]))


def test_whole_numbers_of_any_size_are_levels():
    rows = X.to_numpy(object)
    rows[:, 3] = np.array([10**400, "a"] * (N // 2), dtype=object)
    assert made("linear").fit(rows, SCORE).predict(rows).shape == (N,)


def test_objects_without_rows_and_columns_are_refused_as_such():
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        made("linear").fit(np.array(["a", "b"], dtype=object), [0, 1])


def test_names_of_columns_are_names_of_inputs():
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    rows = X.set_axis(["label", "label_in", "", "v0", "c1"], axis=1)
    model = made("closed_form").fit(rows, target("closed_form"))
    session = runtime.InferenceSession(model.to_onnx(dtype="float64").SerializeToString())
    names = [source.name for source in session.get_inputs()]
    assert len(set(names)) == 5
    given = {}
    for j, name in enumerate(names):
        column = rows.iloc[:, [j]]
        given[name] = column.fillna("").to_numpy(object) if j > 2 else column.to_numpy(float)
    np.testing.assert_allclose(session.run(["probabilities"], given)[0], model.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_lack_all_are_learned_too(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(1200)
    lacks = rng.random(1200) < 0.5
    y = np.where(lacks, 3.0, x) + 0.1 * rng.standard_normal(1200)
    rows = np.where(lacks, np.nan, x)[:, None]
    model = ClosedFormMLPRegressor((10, 10, 10), random_state=0).fit(rows[:800], y[:800])
    assert min(model.score(rows[800:], y[800:]), model.loo_score_) > 0.98


@pytest.mark.parametrize("name", ["linear", "closed_form", "dfa"])
def test_gaps_in_rows_without_weight_are_no_matter(name):
    rows, y, weight = X[["size", "flag"]].to_numpy(float), target(name), np.ones(N)
    weight[200:] = 0.0
    gaps = rows.copy()
    gaps[220:, 0] = np.nan
    found = []
    for held in (rows, gaps):
        in_blocks = made(name).fit_blocks(Blocks.from_arrays(held, y, weight, block_size=60))
        at_once = made(name).fit(held, y, sample_weight=weight)
        found.append(answers(in_blocks, rows) + answers(at_once, rows))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@every_closed_form
def test_targets_that_are_all_the_same(name):
    if is_classifier(ALL[name]):
        return
    rows = X[["size", "age"]]
    for table in (X, rows, rows.to_numpy()):
        model = made(name).fit(table, np.ones((N, 2)))
        np.testing.assert_allclose(model.predict(table), 1.0, atol=1e-6)
