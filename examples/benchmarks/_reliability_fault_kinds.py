"""The kinds of faults, one function each: it takes a generator and a folder, and returns what was wrong."""

import copy
import importlib.util
import os
import warnings

import numpy as np
from _reliability_workers import KilledClassifier, KilledRegressor, RaisingClassifier
from sklearn.base import clone, is_classifier

import sklearn_analytic as sa
from tests.checks import first_difference, predictions

ROWS, SIZE = 120, 20
CLOSED = {
    "brmp": lambda: sa.BRMPRegressor((5,), alpha=0.1, random_state=0),
    "brmp qr": lambda: sa.BRMPRegressor(solver="qr"),
    "brmp classifier": lambda: sa.BRMPClassifier((5,), hidden="rbf", alpha=0.1, random_state=0),
    "cpnet": lambda: sa.CPNetClassifier((4,), n_modules=2, random_state=0),
    "closed form": lambda: sa.ClosedFormMLP((6,), hidden="random", random_state=0),
}
STEPS = {"hidden_layer_sizes": (6, 5), "max_iter": 3, "random_state": 0}
GRADIENT = {
    "dfa": lambda: sa.DFAClassifier(**STEPS),
    "layerwise": lambda: sa.LayerwiseMLPRegressor(**STEPS),
    "decoupled": lambda: sa.DecoupledMLPClassifier(**STEPS),
}
ERRORS = (OSError, ValueError, MemoryError, KeyboardInterrupt, RuntimeError)


def rows(model, seed=0):
    """X, y and weights that an estimator takes."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((ROWS, 4))
    score = X[:, 0] - X[:, 1] ** 2
    y = np.array(["a", "b", "c"])[np.digitize(score, [-1.0, 0.2])] if is_classifier(model) else score
    return X, y, generator.uniform(0.5, 2, ROWS)


def cut(X, y, weight):
    """A list of blocks."""
    return [(X[i : i + SIZE], y[i : i + SIZE], weight[i : i + SIZE]) for i in range(0, ROWS, SIZE)]


def drawn(choices, generator):
    """One of several, as it is."""
    choices = list(choices)
    return choices[int(generator.integers(len(choices)))]


def begun(makers, generator):
    """A new or an already fitted estimator of a random kind."""
    model = drawn(makers.values(), generator)()
    X, y, weight = rows(model, seed=7)
    return model.fit(X, y, weight) if generator.random() < 0.5 else model


def raised(call, *errors):
    """Whether a call raises one of the errors; anything else goes on its way up."""
    try:
        call()
    except errors:
        return True
    return False


def unchanged(model, before, why):
    """A fault where the state is another one."""
    difference = first_difference(before, vars(model))
    return [f"{type(model).__name__} changed after {why}: {difference}"] if difference else []


# ------------------------------------------------------------------ readers


def failing(blocks, at, error):
    """A source that raises when so many blocks have been read, over all passes."""
    left = [at]

    def read():
        for block in blocks:
            if left[0] == 0:
                raise error("the reader failed")
            left[0] -= 1
            yield block

    return read


def reader_fails(generator, folder):
    """A reader raises at a random block: closed-form estimators are as they were."""
    model, error, at = begun(CLOSED, generator), drawn(ERRORS, generator), int(generator.integers(13))
    read, before = failing(cut(*rows(model)), at, error), copy.deepcopy(vars(model))
    source = sa.Blocks.from_iterable(read, prefetch=int(generator.integers(3))) if generator.random() < 0.7 else read()
    if raised(lambda: model.fit_blocks(source), error):
        return unchanged(model, before, f"{error.__name__} at block {at}")
    return [] if at >= ROWS // SIZE else [f"{error.__name__} of the reader was lost"]


def reader_fails_between_steps(generator, folder):
    """The same for networks trained by steps: as they were, or at the end of the last whole epoch."""
    model, error, at = begun(GRADIENT, generator), drawn(ERRORS, generator), int(generator.integers(31))
    blocks, before = cut(*rows(model)), copy.deepcopy(vars(model))
    source = sa.Blocks.from_iterable(failing(blocks, at, error), prefetch=int(generator.integers(3)))
    if not raised(lambda: model.fit_blocks(source), error):
        return []
    if first_difference(before, vars(model)) is None:
        return []
    X = blocks[0][0]
    one = clone(model).set_params(learning_rate="constant", max_iter=1)
    found = model.n_iter_ >= 1 and all(_finite(value) for value in predictions(model, X).values())
    sane = predictions(one.fit_blocks(sa.Blocks.from_iterable(blocks)), X).keys() == predictions(model, X).keys()
    return [] if found and sane else [f"{type(model).__name__} half changed after {error.__name__} at block {at}"]


def _finite(values):
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _spoiled(block, kind):
    X, y, weight = block
    return {
        "too few targets": lambda: (X, y[:-1], weight),
        "too few weights": lambda: (X, y, weight[:-1]),
        "too few columns": lambda: (X[:, :-1], y, weight),
        "an infinite number": lambda: (np.where(np.arange(4) == 2, np.inf, X), y, weight),
        "words": lambda: (np.full(X.shape, "word"), y, weight),
        "three axes": lambda: (X[:, :, None], y, weight),
        "negative weights": lambda: (X, y, -weight),
        "no pair": lambda: X,
    }[kind]()


SPOILS = (
    *("too few targets", "too few weights", "too few columns", "an infinite number", "words", "three axes"),
    *("negative weights", "no pair"),
)


def bad_block(generator, folder):
    """One block of a source is not what it should be: ValueError or TypeError, and nothing has changed."""
    model, kind = begun(CLOSED | GRADIENT, generator), drawn(SPOILS, generator)
    blocks, before = cut(*rows(model)), copy.deepcopy(vars(model))
    at = int(generator.integers(1, len(blocks)))  # the first one says what the others must be
    blocks[at] = _spoiled(blocks[at], kind)
    source = sa.Blocks.from_iterable(blocks, prefetch=int(generator.integers(3)))
    if not raised(lambda: model.fit_blocks(source), ValueError, TypeError):
        return [f"{type(model).__name__} took a block with {kind}"]
    return unchanged(model, before, f"a block with {kind}")


def short_file(generator, folder):
    """A .npy file that ends too early: an error, and nothing has changed."""
    model = begun(CLOSED | GRADIENT, generator)
    X, y, _ = rows(model)
    for name, part in (("X", X), ("y", y)):
        np.save(folder / f"{name}.npy", part)
    os.truncate(folder / "X.npy", int(generator.integers(X.nbytes)))
    before = copy.deepcopy(vars(model))
    call = lambda: model.fit_blocks(sa.Blocks.from_npy(folder / "X.npy", folder / "y.npy", block_size=SIZE))  # noqa: E731
    if not raised(call, ValueError, OSError, EOFError):
        return ["a short file was taken"]
    return unchanged(model, before, "a short file")


# ------------------------------------------------------------------ checkpoints and files


def interrupted_checkpoint(generator, folder):
    """A pass that stops at a random block goes on from its file: bit for bit the fit without a stop."""
    maker, at = drawn(CLOSED.values(), generator), int(generator.integers(1, 30))
    blocks = cut(*rows(maker()))
    options = {"checkpoint": folder / "pass.npz", "checkpoint_every": int(generator.integers(1, 4))}
    whole, model = maker().fit_blocks(sa.Blocks.from_iterable(blocks)), maker()
    stopped = sa.Blocks.from_iterable(failing(blocks, at, drawn((OSError, KeyboardInterrupt), generator)))
    raised(lambda: model.fit_blocks(stopped, **options), OSError, KeyboardInterrupt)
    model.fit_blocks(sa.Blocks.from_iterable(blocks), **options)
    faults = _same_bits(whole, model, blocks[0][0], f"a stop at block {at}")
    return faults + (["the checkpoint stayed"] if options["checkpoint"].exists() else [])


def _same_bits(one, two, X, why):
    first, second = predictions(one, X), predictions(two, X)
    different = [name for name in first if not np.array_equal(first[name], second[name])]
    return [f"{type(one).__name__} differs in {different} after {why}"] if different else []


def damaged_file(generator, folder):
    """A statistic with bytes lost or changed: an error, and nothing has changed."""
    model, path = begun(CLOSED, generator), folder / "sums.npz"
    other = clone(model)
    other.fit(*rows(model)).save_statistics(path)
    blob = bytearray(path.read_bytes())
    if generator.random() < 0.5:
        blob = blob[: int(generator.integers(len(blob)))]
    else:
        first = int(generator.integers(len(blob)))
        blob[first : first + 50] = bytes(50)
    damaged = bytes(blob) != path.read_bytes()
    path.write_bytes(bytes(blob))
    before = copy.deepcopy(vars(model))
    if raised(lambda: model.load_statistics(path), ValueError, OSError):
        return unchanged(model, before, "a damaged file")
    same = _same_bits(other, model, rows(model)[0], "damage that was not seen")
    return same if damaged else []


def interrupted_writing(generator, folder):
    """A file that cannot be replaced leaves the old one as it was, and no part of a new one."""
    model = drawn(CLOSED.values(), generator)()
    X, y, weight = rows(model)
    path = folder / "sums.npz"
    model.fit(X, y, weight).save_statistics(path)
    old, replace = path.read_bytes(), os.replace
    error = drawn((OSError, KeyboardInterrupt), generator)

    def refuse(*args, **kwargs):
        raise error("interrupted")

    os.replace = refuse
    try:
        model.partial_fit(X, y, sample_weight=weight)
        stopped = raised(lambda: model.save_statistics(path), error)
    finally:
        os.replace = replace
    left = [p.name for p in folder.iterdir() if p.name not in ("sums.npz", "temporary")]
    faults = [f"parts of a file stayed: {left}"] if left else []
    faults += ["the old file changed"] if path.read_bytes() != old else []
    return faults + ([] if stopped else ["files are not replaced by os.replace"])


# ------------------------------------------------------------------ callbacks


class Raising:
    """A callback that raises at the end of a certain task."""

    def __init__(self, at, error):
        self.left, self.error = at, error

    def setup(self, estimator, context):
        """Nothing."""

    teardown = setup

    def on_fit_task_begin(self, estimator, context, **data):
        """Nothing."""

    def on_fit_task_end(self, estimator, context, **data):
        """Raise, when it is time."""
        self.left -= 1
        if self.left == 0:
            raise self.error("the callback failed")


def callback_raises(generator, folder):
    """An error of a callback comes through; closed-form estimators are as they were, others can predict."""
    makers = CLOSED if generator.random() < 0.6 else GRADIENT
    model, error = begun(makers, generator), drawn((ValueError, KeyboardInterrupt), generator)
    if not hasattr(model, "set_callbacks") or importlib.util.find_spec("sklearn.callback") is None:
        return []
    X, y, weight = rows(model)
    model.set_callbacks(Raising(int(generator.integers(1, 4)), error))
    before = _fitted(model)
    given = cut(X, y, weight)
    blocks = generator.random() < 0.5
    call = lambda: model.fit_blocks(sa.Blocks.from_iterable(given)) if blocks else model.fit(X, y, weight)  # noqa: E731
    if not raised(call, error):
        return []
    if makers is CLOSED:
        difference = first_difference(before, _fitted(model))
        return [f"{type(model).__name__} changed after a callback's error: {difference}"] if difference else []
    if hasattr(model, "coefs_") and not all(_finite(value) for value in predictions(model, X).values()):
        return [f"{type(model).__name__} predicts no numbers after a callback's error"]
    return []


def _fitted(model):
    """A copy of all attributes but those of scikit-learn's callbacks, which scikit-learn itself puts away."""
    return copy.deepcopy({name: value for name, value in vars(model).items() if "callback" not in name})


# ------------------------------------------------------------------ workers


def killed_worker(generator, folder):
    """A worker of data_parallel is killed: an error that names it, nothing fitted."""
    return _worker_fails(KilledClassifier, "worker 1 of 2 died")


def raising_worker(generator, folder):
    """A worker of data_parallel raises: its error comes through."""
    return _worker_fails(RaisingClassifier, "worker 1 of 2 failed: ZeroDivisionError")


def _worker_fails(kind, words):
    data_parallel = importlib.import_module("sklearn_analytic.distributed").data_parallel
    model = data_parallel(kind(**STEPS), 2)
    X, y, _ = rows(kind())
    try:
        model.fit(X, y)
    except RuntimeError as error:
        faults = [] if words in str(error) else [f"the error says {error}"]
        return faults + (["something was fitted"] if hasattr(model, "estimator_") else [])
    return ["a dead worker was not noticed"]


def dask_worker_killed(generator, folder):
    """A worker of a Dask cluster is killed in a pass: the sums are those of all rows."""
    array, distributed = importlib.import_module("dask.array"), importlib.import_module("distributed")
    X, y, _ = rows(sa.BRMPRegressor())
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options, local_directory=str(folder)) as cluster, distributed.Client(cluster):
        model = KilledRegressor(solver="qr")
        model._flag, model._target = folder / "killed", float(y[60])
        model.fit(array.from_array(X, chunks=(20, -1)), y)
    expected = sa.BRMPRegressor(solver="qr").fit(X, y)
    faults = [] if (folder / "killed").exists() else ["no worker was killed"]
    error = np.abs(model.coef_ - expected.coef_).max()
    return faults + ([f"coefficients differ by {error:.1e}"] if error > 1e-10 else [])


FAULTS = {
    function.__name__.replace("_", " "): function
    for function in (
        *(reader_fails, reader_fails_between_steps, bad_block, short_file, interrupted_checkpoint, damaged_file),
        *(interrupted_writing, callback_raises),
    )
}
SLOW = {
    function.__name__.replace("_", " "): function
    for function, needs in (
        *((killed_worker, "torch"), (raising_worker, "torch")),
        (dask_worker_killed, "distributed"),
    )
    if importlib.util.find_spec(needs) is not None
}
ROOMS = ("dask worker killed",)  # a client keeps threads of its own
warnings.filterwarnings("ignore", module="distributed")
