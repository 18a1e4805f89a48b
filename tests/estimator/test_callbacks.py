"""scikit-learn's callbacks on every estimator: a tree of tasks, scores on the way, progress, stops, failures."""

import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import LinAlgWarning
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_analytic as sa

callbacks = pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")

N, BLOCK = 240, 80
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 4))
LABELS = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
TARGETS = X @ np.arange(4.0) + 0.1 * RNG.standard_normal(N)

BLOCKS = [("block", [])] * (N // BLOCK)
LEAST_SQUARES = [("accumulate", BLOCKS)]
NETWORK = [("layers", []), ("accumulate", BLOCKS)]
EPOCHS = [("epoch", [])]
STEPS = {"max_iter": 4, "random_state": 0}
PARTITIONS = [("partition 1", EPOCHS * 2), ("partition 2", EPOCHS * 2)]
PRIVATE = {"classes": [0, 1], "bounds": (-4.0, 4.0), "epsilon": np.inf, "max_iter": 3, "random_state": 0}

# One row for every estimator, and more where a parameter changes the tasks: (estimator, tasks below that of the fit).
TREES = [
    (sa.BRMPRegressor(block_size=BLOCK), LEAST_SQUARES),
    (sa.BRMPRegressor(20, block_size=BLOCK, solver="qr", random_state=0), LEAST_SQUARES),
    (sa.BRMPClassifier(block_size=BLOCK, solver="recursive"), LEAST_SQUARES),
    (sa.CPNetClassifier(6, block_size=BLOCK, random_state=0), NETWORK),
    (sa.ClosedFormMLP(10, hidden="random", block_size=BLOCK, random_state=0), NETWORK),
    (sa.ClosedFormMLPRegressor(10, hidden="random", block_size=BLOCK, random_state=0), NETWORK),
    (sa.DFAClassifier((8,), **STEPS), EPOCHS * 4),
    (sa.DFARegressor((8,), **STEPS), EPOCHS * 4),
    (sa.DecoupledMLPClassifier((8,), **STEPS), EPOCHS * 4),
    (sa.DecoupledMLPRegressor((8,), pipeline=sa.PipelineRule(executor="threads"), **STEPS), EPOCHS * 4),
    (sa.LayerwiseMLP((8, 8), **STEPS), PARTITIONS),
    (sa.LayerwiseMLP((8, 8), order="simultaneous", **STEPS), EPOCHS * 4),
    (sa.LayerwiseMLPRegressor((8, 8), **STEPS), PARTITIONS),
    (sa.PrivateDFAClassifier((8,), **PRIVATE), EPOCHS * 3),
]


def names(value):
    return type(value).__name__ if hasattr(value, "fit") else None


every_tree = pytest.mark.parametrize(("estimator", "tasks"), TREES, ids=names)


def targets_of(estimator):
    return LABELS if is_classifier(estimator) else TARGETS


def fitted(estimator, *given):
    """A fitted clone with callbacks."""
    return clone(estimator).set_callbacks(*given).fit(X, targets_of(estimator))


def count(tasks):
    """Tasks without subtasks."""
    return sum(count(below) if below else 1 for _, below in tasks)


@dataclass
class Node:
    """One task as it was seen."""

    name: str
    most: int | None
    children: list


class Recorder:
    """Builds the tree of tasks as they begin and end, and refuses one that is not well nested."""

    max_propagation_depth = None

    def __init__(self, stop_at=None, fail_at=None):
        self.stop_at, self.fail_at = stop_at, fail_at
        self.roots, self.open, self.n_setups, self.n_teardowns, self.n_leaves = [], [], 0, 0, 0

    def setup(self, estimator, context):
        self.n_setups += 1

    def teardown(self, estimator, context):
        self.n_teardowns += 1

    def on_fit_task_begin(self, estimator, context):
        path, node = path_of(context), Node(context.task_name, context.max_subtasks, [])
        above = self.open[-1][1].children if self.open else self.roots
        assert path[:-1] == (self.open[-1][0] if self.open else ()), "a task begins outside of its parent"
        assert len(above) == context.task_id or not self.open, "tasks are numbered in their order"
        above.append(node)
        self.open.append((path, node))

    def on_fit_task_end(self, estimator, context):
        path, node = self.open.pop()
        assert path == path_of(context), "tasks end in another order than they began"
        assert node.most is None or len(node.children) <= node.most
        if context.max_subtasks == 0:
            self.n_leaves += 1
        if self.n_leaves == self.fail_at:
            raise KeyError("the callback fails")
        return self.n_leaves == self.stop_at

    def tree(self):
        """All tasks as nested (name, subtasks), once all have ended."""
        assert not self.open
        return [as_tree(root) for root in self.roots]


def path_of(context):
    return () if context is None else (*path_of(context.parent), context.task_id)


def as_tree(node):
    return node.name, [as_tree(child) for child in node.children]


def below(tree, name):
    """All subtrees of the tasks of a name."""
    found = [children for task, children in tree if task == name]
    return found + [match for _, children in tree for match in below(children, name)]


def is_estimator_class(value):
    is_parametrised = isinstance(value, type) and issubclass(value, BaseEstimator)
    return is_parametrised and hasattr(value, "fit")  # parameters that are values have none


# ---- the tree of tasks ----


def test_every_public_estimator_is_in_the_table():
    public = [getattr(sa, name) for name in sa.__all__ if name != "__version__"]
    assert {type(estimator) for estimator, _ in TREES} == set(filter(is_estimator_class, public))


@every_tree
def test_callbacks_see_a_well_nested_tree(estimator, tasks):
    recorder = Recorder()
    model = fitted(estimator, recorder)
    assert recorder.tree() == [("fit", tasks)]
    root = recorder.roots[0]
    assert root.most in (None, len(root.children))  # None: "auto" may read the rows twice
    assert recorder.n_setups == recorder.n_teardowns == 1
    assert not [name for name in vars(model) if name in ("_callback_fit_ctx", "_skl_callbacks_to_teardown")]
    np.testing.assert_array_equal(model.predict(X), fitted(estimator).predict(X))


def test_the_second_pass_of_auto_is_a_task_of_its_own():
    recorder = Recorder()
    wide = np.column_stack([X, X[:, 0] + 1e-9 * X[:, 1]])
    model = sa.BRMPRegressor(block_size=BLOCK).set_callbacks(recorder).fit(wide, TARGETS)
    assert model.solver_used_ == "qr" and recorder.tree() == [("fit", 2 * LEAST_SQUARES)]


def test_blocks_of_a_source_and_of_an_iterator_are_tasks():
    parts = [(X[i : i + BLOCK], TARGETS[i : i + BLOCK]) for i in range(0, N, BLOCK)]
    for blocks in (sa.Blocks.from_arrays(X, TARGETS, block_size=BLOCK), iter(parts)):
        recorder = Recorder()
        sa.BRMPRegressor(solver="gram").set_callbacks(recorder).fit_blocks(blocks)
        assert recorder.tree() == [("fit", LEAST_SQUARES)]


@every_tree
def test_trees_hang_in_those_of_pipelines_and_searches(estimator, tasks):
    recorder, name = Recorder(), type(estimator).__name__.lower()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), clone(estimator)),
        {f"{name}__{'alpha' if 'alpha' in estimator.get_params() else 'learning_rate_init'}": [0.01, 0.1]},
        cv=2,
    )
    search.set_callbacks(recorder).fit(X, targets_of(estimator))
    found = below(recorder.tree(), "fit")
    own = [tree for tree in found if [task for task, _ in tree] == [task for task, _ in tasks]]
    assert len(own) == 2 * 2 + 1 and recorder.n_setups == recorder.n_teardowns == 1
    assert own[-1] == tasks  # the last fit is on all rows; folds have fewer blocks


def test_several_passes_and_epochs_of_a_cloned_estimator_begin_anew():
    recorder = Recorder()
    model = sa.DFAClassifier((8,), **STEPS).set_callbacks(recorder)
    model.fit(X, LABELS).fit(X, LABELS)
    assert recorder.tree() == [("fit", EPOCHS * 4)] * 2 and recorder.n_setups == recorder.n_teardowns == 2


# ---- scores on the way ----


def monitored(estimator, X, y, **given):
    """The fitted estimator, and the scores of its whole fit and of its tasks, in their order."""
    scoring = "accuracy" if is_classifier(estimator) else "r2"
    monitor = callbacks.ScoringMonitor(scoring=scoring)
    model = clone(estimator).set_callbacks(monitor).fit(X, y, **given)
    rows = monitor.get_logs().data
    return model, rows[0], [row[scoring] for row in rows[1:]], scoring


@every_tree
def test_scoring_monitor_logs_every_task_and_the_fit(estimator, tasks):
    frame, y = pd.DataFrame(X, columns=list("abcd")), targets_of(estimator)
    model, whole, scores, scoring = monitored(estimator, frame, y)
    assert whole["task_name"] == "fit" and whole[scoring] == model.score(frame, y)
    assert len(scores) == count([task for task in tasks if task[0] != "layers"])
    if not hasattr(model, "readout_coef_"):  # which is solved for after the last epoch
        assert scores[-1] == model.score(frame, y)  # the last block, or epoch, has all of the fit


@pytest.mark.parametrize("estimator", [sa.BRMPRegressor(block_size=BLOCK), sa.DFARegressor((8,), **STEPS)], ids=names)
def test_scoring_monitor_scores_with_the_weights_of_the_fit(estimator):
    weight = RNG.integers(0, 3, N).astype(float)  # rows without weight are not fitted, and do not count
    model, whole, scores, _ = monitored(estimator, X, TARGETS, sample_weight=weight)
    assert whole["r2"] == scores[-1] == model.score(X, TARGETS, weight) != model.score(X, TARGETS)


def test_the_score_of_the_fit_is_that_of_the_weights_that_are_kept():
    estimator = sa.DFAClassifier((8,), early_stopping=True, max_iter=30, random_state=0, learning_rate_init=0.05)
    model, whole, scores, _ = monitored(estimator, X, LABELS)
    assert whole["accuracy"] == model.score(X, LABELS) and len(scores) == model.n_iter_


def test_scores_of_few_rows_warn_of_nothing():
    dependent = np.column_stack([X, X[:, 0]])
    model, _, scores, _ = monitored(sa.BRMPRegressor(block_size=BLOCK), dependent, TARGETS)
    assert model.solver_used_ == "qr" and len(scores) == 2 * len(BLOCKS)
    with pytest.warns(LinAlgWarning):  # what the road that is not taken would have said
        sa.BRMPRegressor(block_size=BLOCK, solver="gram").fit(dependent, TARGETS)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scores_come_from_inside_a_search(n_jobs):
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    model = sa.ClosedFormMLP(10, hidden="random", alpha=1.0, random_state=0).set_callbacks(monitor)
    GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=n_jobs).fit(X, LABELS)
    logs = [row for log in monitor.get_logs(select="all") for row in log.data]
    assert sum(row["task_name"] == "block" for row in logs) == 2 * 2 + 1
    assert all(0.5 < row["accuracy"] <= 1 for row in logs if row["estimator_name"] == "ClosedFormMLP")


# ---- progress ----


@pytest.mark.parametrize(("estimator", "bars"), [(TREES[4][0], "accumulate"), (TREES[10][0], "partition 2")], ids=names)
def test_progress_bar_shows_passes_and_partitions(estimator, bars, capsys):
    pytest.importorskip("rich")
    search = GridSearchCV(clone(estimator), {"alpha": [0.1]}, cv=2)
    search.set_callbacks(callbacks.ProgressBar(max_propagation_depth=None)).fit(X, LABELS)
    shown = capsys.readouterr().out
    assert f"{type(estimator).__name__} - {bars}" in shown and "GridSearchCV - fit" in shown
    assert "100%" in shown


@pytest.mark.parametrize("has_widgets", [False, True])
def test_verbose_shows_messages_in_a_notebook_that_draws_no_bar(has_widgets, monkeypatch, caplog):
    console = pytest.importorskip("rich.console")
    from sklearn_analytic.estimator import callbacks as ours

    monkeypatch.setattr(console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(ours, "find_spec", lambda name: name if has_widgets else None)
    assert (ours._progress_bar(sa.DFAClassifier()) is not None) == has_widgets
    if not has_widgets:
        sa.DFAClassifier((8,), verbose=True, **STEPS).fit(X, LABELS)
        assert len([record for record in caplog.records if record.name == "sklearn_analytic"]) == 4


# ---- stops, failures, copies ----


@every_tree
def test_a_callback_may_stop_training_but_no_solve(estimator, tasks):
    recorder, y = Recorder(stop_at=1), targets_of(estimator)
    model = clone(estimator).set_callbacks(recorder).fit(X, y)
    assert recorder.n_setups == recorder.n_teardowns == 1 and np.all(np.isfinite(model.predict(X)))
    if tasks == EPOCHS * len(tasks):
        assert recorder.tree() == [("fit", EPOCHS)] and model.n_iter_ == 1
    elif tasks == PARTITIONS:
        assert recorder.tree() == [("fit", [("partition 1", EPOCHS), PARTITIONS[1]])]
    else:  # a pass over the rows does not converge: its result needs all of them
        assert recorder.tree() == [("fit", tasks)]
        np.testing.assert_array_equal(model.predict(X), clone(estimator).fit(X, y).predict(X))


@every_tree
def test_a_fit_that_fails_tears_down(estimator, tasks):
    recorder, y = Recorder(fail_at=1), targets_of(estimator)
    model = clone(estimator).set_callbacks(recorder)
    with pytest.raises(KeyError, match="the callback fails"):
        model.fit(X, y)
    assert recorder.n_setups == recorder.n_teardowns == 1
    recorder.open = []  # tasks that were running never end
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.where(X > 2, np.inf, X), y)
    assert recorder.n_setups == recorder.n_teardowns  # whether or not the fit came as far as a task
    recorder.fail_at, recorder.open = None, []
    assert model.fit(X, y).score(X, y) == clone(estimator).fit(X, y).score(X, y)
    assert recorder.tree()[-1] == ("fit", tasks) and recorder.n_setups == recorder.n_teardowns


def test_training_that_diverges_ends_its_tasks():
    recorder = Recorder()
    model = sa.DFARegressor((8,), solver="sgd", learning_rate_init=1e12, max_iter=5, random_state=0)
    with pytest.raises(FloatingPointError, match="diverged"):
        model.set_callbacks(recorder).fit(X, TARGETS)
    assert recorder.n_setups == recorder.n_teardowns == 1 and recorder.tree()[0][0] == "fit"


@every_tree
def test_clones_and_pickles_keep_callbacks(estimator, tasks):
    model = fitted(estimator, Recorder())
    same_as = clone(LogisticRegression().set_callbacks(Recorder()))  # what scikit-learn does with its own
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert len(copy._skl_callbacks) == len(same_as._skl_callbacks) == 1
        copy.fit(X, targets_of(estimator))
        assert copy._skl_callbacks[0].tree()[-1] == ("fit", tasks)


def test_only_callbacks_are_taken():
    with pytest.raises(TypeError, match="FitCallback"):
        sa.BRMPRegressor().set_callbacks(print)
