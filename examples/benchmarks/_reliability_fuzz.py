"""Fuzzed fits: finite predictions of the right shape, or an error that names a parameter or an input."""

import contextlib
import copy
import signal
import threading
import time
import warnings

import numpy as np
from _reliability_data import arguments, bytes_of
from _reliability_ledger import CLEAR, SECONDS, Ledger, described, is_clear
from _reliability_parameters import ESTIMATORS, estimator_from
from scipy.linalg import LinAlgWarning
from sklearn.base import is_classifier

from tests.checks import first_difference

OUTPUTS = ("predict", "predict_proba", "decision_function", "transform")


class Hang(BaseException):
    """Raised by the alarm in a trial that does not end."""


def run(seed, seconds, cases=None):
    """Trials in turn over all estimators until the time is over, or so many of each."""
    ledger, number = Ledger("fuzz"), 0
    while ledger.seconds() < seconds and (cases is None or number < cases):
        for name in ESTIMATORS:
            trial(ledger, name, seed * 1_000_000 + number)
        number += 1
    ledger.details = [{"outcome": kind, "trials": count} for kind, count in ledger.outcomes.most_common()]
    return ledger


def repeat(case):
    """One trial again, from its name."""
    ledger = Ledger("fuzz")
    name, seed = case.split(":")
    trial(ledger, name, int(seed))
    return ledger


def trial(ledger, name, seed):
    """One estimator, one seed."""
    outcome, faults = attempt(name, seed)
    ledger.trial(f"{name}:{seed}", outcome, faults)


def attempt(name, seed):
    """(outcome, faults) of one case."""
    generator = np.random.default_rng([seed, *name.encode()])
    estimator, bad = estimator_from(name, generator)
    classifier, weighted = is_classifier(estimator), name != "PrivateDFAClassifier"
    inputs, words = arguments(generator, classifier, weighted)
    estimator = _perhaps_fitted(estimator, name, generator)
    _set_classes(estimator, inputs[1])
    road = str(generator.choice(("fit", "fit", "fit", "partial_fit") if weighted else ("fit",)))
    outcome, faults = judged(estimator, road, inputs, bad)
    context = f"{road}, {words}, {_changed(estimator)}"
    return outcome, [f"{fault} [{context}]" for fault in faults]


def _set_classes(estimator, y):
    """Private estimators must be told the classes: they are no secret."""
    if "classes" in estimator.get_params():
        estimator.set_params(classes=np.unique(y))


def _changed(estimator):
    """Parameters of a case that are not the defaults."""
    default = type(estimator)().get_params()
    return ", ".join(f"{k}={v!r}" for k, v in estimator.get_params(deep=False).items() if v is not default[k])


def _perhaps_fitted(estimator, name, generator):
    """Half of the trials begin with an estimator that has been fitted to other rows with good parameters."""
    if generator.random() < 0.5:
        return estimator
    kind, settings, _ = ESTIMATORS[name]
    fitted = kind(**settings)
    X = generator.standard_normal((20, 4))
    y = (X[:, 0] > 0).astype(int) if is_classifier(fitted) else X[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _set_classes(fitted, y)
        fitted.fit(X, y)
    return fitted.set_params(**estimator.get_params(deep=False))


def judged(estimator, road, inputs, bad):
    """Fit and predict under watch: (outcome, faults)."""
    before, given = copy.deepcopy(vars(estimator)), [bytes_of(value) for value in inputs]
    parameters = estimator.get_params()
    began, faults = time.monotonic(), []
    with watched(faults):
        outcome = _outcome(estimator, road, inputs, bad, before, faults)
    if time.monotonic() - began > SECONDS:
        faults.append(f"took {time.monotonic() - began:.0f} s")
    if given != [bytes_of(value) for value in inputs]:
        faults.append("changed its input")
    now = estimator.get_params()
    faults += [f"changed its parameter {name}" for name in parameters if now[name] is not parameters[name]]
    return outcome, faults


@contextlib.contextmanager
def watched(faults):
    """Note RuntimeWarnings of the block; end it with Hang where it takes too long."""
    with warnings.catch_warnings(record=True) as seen, _alarm():
        warnings.simplefilter("always")
        yield
    seen = [warning for warning in seen if issubclass(warning.category, RuntimeWarning)]
    seen = [warning for warning in seen if warning.category is not LinAlgWarning]  # advice, and documented
    faults += sorted({f"RuntimeWarning: {warning.message} at {_place(warning)}" for warning in seen})


def _place(warning):
    """The end of the path and the line of a warning."""
    return "/".join(warning.filename.split("/")[-2:]) + f":{warning.lineno}"


@contextlib.contextmanager
def _alarm():
    """Raise Hang in the main thread after SECONDS; nothing elsewhere."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _hang(number, frame):
    raise Hang


def _outcome(estimator, road, inputs, bad, before, faults):
    """What came of a fit, in a word; what was wrong goes to ``faults``."""
    try:
        _train(estimator, road, inputs)
    except Hang:
        faults.append(f"hang: more than {SECONDS:.0f} s")
        return "hang"
    except Exception as error:
        faults += _of_error(error, estimator, before)
        return type(error).__name__
    try:
        faults += _of_predictions(estimator, inputs)
    except Hang:
        faults.append(f"hang: more than {SECONDS:.0f} s")
    except CLEAR as error:
        if not is_clear(error, estimator.get_params()):
            faults.append(f"unclear error of predict: {described(error)}")
        return "fit, predict refused"
    except Exception as error:
        faults.append(f"predict after fit: {described(error)}")
    return "fit, a bad value unread" if bad else "fit"


def _train(estimator, road, inputs):
    """Call the road with the arguments that the estimator takes."""
    X, y, weight = inputs
    options = {} if weight is None else {"sample_weight": weight}
    if road == "partial_fit" and is_classifier(estimator) and not hasattr(estimator, "classes_"):
        options["classes"] = np.unique(y)
    getattr(estimator, road)(X, y, **options)


def _of_error(error, estimator, before):
    """Faults of an error: an unclear one, or a changed estimator. Divergence keeps the last good weights."""
    faults = []
    if not isinstance(error, CLEAR) or not is_clear(error, estimator.get_params()):
        faults.append(f"unclear error: {described(error)}")
    if isinstance(error, FloatingPointError):
        return faults
    difference = first_difference(before, vars(estimator))
    return faults + ([f"changed after {described(error)}: {difference}"] if difference else [])


def _of_predictions(estimator, inputs):
    """Faults of what a fitted estimator says about its rows."""
    X, y, _ = inputs
    n, faults = np.shape(y)[0], []
    for name in OUTPUTS:
        if not hasattr(estimator, name):
            continue
        found = getattr(estimator, name)(X)
        found = np.asarray(found)
        if found.shape[0] != n:
            faults.append(f"{name} has {found.shape[0]} rows for {n}")
        if name == "predict" and found.shape != np.shape(y):
            faults.append(f"predict has the shape {found.shape} for {np.shape(y)}")
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            faults.append(f"{name} is not finite")
        if name == "predict" and is_classifier(estimator) and not np.isin(found, estimator.classes_).all():
            faults.append("predict gives labels that are no classes")
        if name == "predict_proba" and np.isfinite(found).all() and not np.allclose(found.sum(axis=1), 1, atol=1e-5):
            faults.append("probabilities do not sum to 1")
    return faults
