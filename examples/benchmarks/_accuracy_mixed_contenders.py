"""The contenders of ``accuracy.py --suite mixed``: each takes the raw frame and either kind of target.

As in ``_accuracy_contenders.py``, a builder takes a Task and returns the last steps of a pipeline,
and peers have the settings that they have there.
"""

import importlib

import numpy as np
from _accuracy_adapters import NGramsBeside, Relabelled
from _accuracy_contenders import catboost, hist_gb, hist_gb_regressor, logistic, optional, ours, ridge
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

MOST_CATEGORIES = 255  # of a column of histogram boosting
NOMINAL = make_column_selector(dtype_include="category")
OTHERS = make_column_selector(dtype_exclude="category")


def either(classifier, regressor):
    """The builder of the kind of the target."""
    return lambda task: (classifier if task.classes else regressor)(task)


network = either(ours("ClosedFormMLP"), ours("ClosedFormMLPRegressor"))


def _target_encoded(task):
    return (_encoded(TargetEncoder(random_state=task.seed)), *network(task))


def _vectorised(task):
    """skrub's vectoriser with its defaults, but seeded; what it leaves missing is imputed as skrub does it."""
    skrub = importlib.import_module("skrub")  # optional: its absence is a listed failure
    vectoriser = skrub.TableVectorizer(high_cardinality=skrub.StringEncoder(random_state=task.seed))
    return (vectoriser, SimpleImputer(add_indicator=True), *network(task))


def _n_grams_beside(task):
    """The frame as it is, and skrub's n-grams of its wide columns of text beside them."""
    skrub = importlib.import_module("skrub")  # optional: its absence is a listed failure
    return (NGramsBeside(skrub.StringEncoder(random_state=task.seed)), *network(task))


def _linear(task):
    model = either(logistic, ridge)(task)
    return (_encoded(OneHotEncoder(handle_unknown="ignore"), StandardScaler()), *model)


def _encoded(encoder, *scaler):
    """Nominal columns encoded, the medians of the others where they are missing, and columns that say where."""
    imputer = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), *scaler)
    return ColumnTransformer([("nominal", encoder, NOMINAL), ("others", imputer, OTHERS)])


def _hist_gb(task):
    """Histogram boosting takes at most 255 categories; wider columns are numbers to it, in the order of the names."""
    (model,) = either(hist_gb, hist_gb_regressor)(task)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("wide", codes, _wide)], remainder="passthrough", verbose_feature_names_out=False)
    return columns.set_output(transform="pandas"), model.set_params(categorical_features="from_dtype")


def _wide(X):
    return [name for name in NOMINAL(X) if X[name].nunique() > MOST_CATEGORIES]


def _lightgbm(**parameters):
    """LightGBM, which takes categories by their dtype."""
    names = ("LGBMClassifier", "LGBMRegressor")
    return either(*(optional("lightgbm", name, verbosity=-1, **parameters) for name in names))


_xgboost = either(
    optional("xgboost", "XGBClassifier", wrap=Relabelled, enable_categorical=True),
    optional("xgboost", "XGBRegressor", enable_categorical=True),
)

# name: (builder, whether inputs are standardised)
MIXED_CONTENDERS = {
    "ours native": (network, False),
    "target encoder + ours": (_target_encoded, False),
    "skrub + ours": (_vectorised, False),
    "n-grams beside + ours": (_n_grams_beside, False),
    "hist_gb": (_hist_gb, False),
    "lightgbm": (_lightgbm(), False),
    "lightgbm_mcw1": (_lightgbm(min_child_weight=1.0), False),
    "xgboost": (_xgboost, False),
    "catboost": (either(catboost("CatBoostClassifier"), catboost("CatBoostRegressor")), False),
    "linear": (_linear, False),
}
