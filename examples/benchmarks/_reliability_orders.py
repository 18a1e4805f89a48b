"""Random orders of partial_fit, forget, merge, shard, files and pickles against one fit of the rows that remain."""

import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _reliability_ledger import Ledger, described
from sklearn.base import clone, is_classifier

import sklearn_analytic as sa
from tests.checks import tolerance

ROWS, COLUMNS, STEPS = 60, 4, 8
MAGNIFIED = 1e6  # what a small ridge and rows taken out again do to rounding, as in tests/estimator/test_equivalence.py
FREE = {"random_state": 0, "alpha": 0.1}
FROZEN = 1000  # rows of the first block with which the layers of networks stay
# {name: (estimator, whether its layers look at rows: then the first block stays the first)}
ESTIMATORS = {
    "brmp gram": (sa.BRMPRegressor(solver="gram", alpha=0.1), False),
    "brmp qr": (sa.BRMPRegressor(solver="qr", alpha=0.1), False),
    "brmp random": (sa.BRMPRegressor((7,), **FREE), False),
    "brmp rbf": (sa.BRMPRegressor((5,), hidden="rbf", **FREE), True),
    "brmp classifier": (sa.BRMPClassifier((7,), **FREE), False),
    # audit rows, on which exits are chosen, are drawn as blocks come: the law is about sums
    "cpnet": (sa.CPNetClassifier((4,), n_modules=2, exit="last", **FREE), True),
    "closed form": (sa.ClosedFormMLP((6,), hidden="random", **FREE), True),
    "closed form regressor": (sa.ClosedFormMLPRegressor((6,), hidden="forward", **FREE), True),
}


def run(seed, seconds, cases=None):
    """Sequences in turn over all estimators."""
    ledger, number = Ledger("orders"), 0
    while ledger.seconds() < seconds and (cases is None or number < cases):
        for name in ESTIMATORS:
            trial(ledger, name, seed * 1_000_000 + number)
        number += 1
    ledger.details = [{"outcome": kind, "trials": count} for kind, count in ledger.outcomes.most_common()]
    return ledger


def repeat(case):
    """One sequence again."""
    ledger = Ledger("orders")
    name, seed = case.split(":")
    trial(ledger, name, int(seed))
    return ledger


def trial(ledger, name, seed):
    """One sequence of one estimator."""
    history = []
    try:
        faults = sequence(name, seed, history)
    except Exception as error:
        faults = [described(error)]
    ledger.trial(f"{name}:{seed}", "equal" if not faults else "not equal", [f"{f} after {history}" for f in faults])


def sequence(name, seed, history):
    """Faults of one random sequence; its steps go to ``history``."""
    generator = np.random.default_rng([seed, *name.encode()])
    template, looks = ESTIMATORS[name]
    first = FROZEN if hasattr(template, "n_refits") or hasattr(template, "n_modules") else 0
    X, y, weight = _rows(generator, is_classifier(template), ROWS + first)
    blocks = np.array_split(generator.permutation(ROWS), STEPS)
    # a first block that layers can be built from
    blocks = [np.concatenate([np.arange(ROWS, ROWS + first), *blocks[:2]]), *blocks[2:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_ = _Run(clone(template), X, y, weight, blocks.pop(0))
        while blocks:
            known = [verb for verb in VERBS if verb not in ("forget", "merge") or hasattr(template, verb)]
            verb = str(generator.choice(known))
            history.append(verb)
            VERBS[verb](run_, blocks, generator)
        return run_.against(_reference(template, run_, looks))


class _Run:
    """An estimator under way: what it has seen, in order."""

    def __init__(self, estimator, X, y, weight, first):
        self.data, self.classes = (X, y, weight), np.unique(y) if is_classifier(estimator) else None
        self.model, self.first, self.rest = estimator, first, []
        self.learn(self.model, first)

    def learn(self, model, rows):
        """partial_fit of some rows."""
        X, y, weight = self.data
        options = {} if self.classes is None or hasattr(model, "classes_") else {"classes": self.classes}
        model.partial_fit(X[rows], y[rows], sample_weight=weight[rows], **options)

    def against(self, other):
        """Faults beside an estimator that has seen the net rows at once."""
        X = self.data[0]
        one, two = (_outputs(model, X) for model in (self.model, other))
        error, bound = np.abs(one - two).max(), tolerance(np.float64, MAGNIFIED) * max(1.0, np.abs(two).max())
        faults = [] if error <= bound else [f"outputs differ by {error:.1e}, more than {bound:.1e}"]
        if self.model.n_samples_seen_ != other.n_samples_seen_:
            faults.append(f"{self.model.n_samples_seen_} rows seen, not {other.n_samples_seen_}")
        return faults


def _rows(generator, classifier, n_rows):
    """Rows, targets, and weights for all of them."""
    X = generator.standard_normal((n_rows, COLUMNS))
    score = X[:, 0] - X[:, 1] ** 2 + 0.1 * generator.standard_normal(n_rows)
    y = np.array(["a", "b", "c"])[np.digitize(score, [-1.0, 0.2])] if classifier else score
    return X, y, generator.uniform(0.5, 2, n_rows)


def _outputs(model, X):
    verb = next((v for v in ("decision_function", "predict_proba") if hasattr(model, v)), "predict")
    return np.asarray(getattr(model, verb)(X))


def _reference(template, run_, looks):
    """One fit of the net rows; where layers look at rows, the first block comes first, and the rest at once."""
    rest = np.concatenate(run_.rest) if run_.rest else np.zeros(0, int)
    if looks:
        model = clone(template)
        run_.learn(model, run_.first)
        if len(rest):
            run_.learn(model, rest)
        return model
    X, y, weight = run_.data
    rows = np.concatenate([run_.first, rest])
    if run_.classes is None:
        return clone(template).fit(X[rows], y[rows], weight[rows])
    return clone(template).partial_fit(X[rows], y[rows], run_.classes, weight[rows])


# ------------------------------------------------------------------ verbs


def _partial_fit(run_, blocks, generator):
    rows = blocks.pop()
    run_.learn(run_.model, rows)
    run_.rest.append(rows)


def _forget(run_, blocks, generator):
    """Take a block out that came after the first; without one, learn one."""
    if not run_.rest:
        return _partial_fit(run_, blocks, generator)
    X, y, weight = run_.data
    rows = run_.rest.pop(int(generator.integers(len(run_.rest))))
    run_.model.forget(X[rows], y[rows], sample_weight=weight[rows])
    blocks[:] = blocks[1:]  # sequences end


def _merge(run_, blocks, generator):
    """Rows learned by another estimator: a shard where layers look at rows, a new one elsewhere."""
    rows = blocks.pop()
    shards = hasattr(run_.model, "shard")
    other = run_.model.shard() if shards else pickle.loads(pickle.dumps(run_.model))
    run_.learn(other, rows)
    if not shards:  # a copy has the same hidden layers; what it had seen is taken out again
        X, y, weight = run_.data
        seen = np.concatenate([run_.first, *run_.rest])
        other.forget(X[seen], y[seen], sample_weight=weight[seen])
    run_.model.merge(other)
    run_.rest.append(rows)


def _file(run_, blocks, generator):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.npz"
        run_.model.save_statistics(path)
        run_.model = clone(run_.model).load_statistics(path)


def _pickle(run_, blocks, generator):
    run_.model = pickle.loads(pickle.dumps(run_.model))


VERBS = {
    "partial_fit": _partial_fit,
    "forget": _forget,
    "merge": _merge,
    "save and load": _file,
    "pickle": _pickle,
}
