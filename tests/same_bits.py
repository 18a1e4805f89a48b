"""Whether fits have the same bits before and after a change that should alter none; run by hand, on one machine.

    python -m tests.same_bits write before.pickle      # before the first commit of a refactoring
    python -m tests.same_bits compare before.pickle    # after every commit

Bits differ between processors, so no file of them is kept in the repository.
"""

import hashlib
import pickle
import sys
import warnings

import numpy as np
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from threadpoolctl import threadpool_limits

import sklearn_analytic as sa

IRIS, KINDS = load_iris(return_X_y=True)
DIABETES, COURSE = load_diabetes(return_X_y=True)
CANCER, MALIGN = load_breast_cancer(return_X_y=True)
DIGITS, FIGURES = (part[:400] for part in load_digits(return_X_y=True))
PAIRS = np.c_[COURSE, DIABETES[:, 2]]
LABELS = np.c_[FIGURES % 2, FIGURES > 4]
CODES = np.random.default_rng(0).integers(0, 2, (300, 4)).astype(float)
PARITY = (CODES.sum(axis=1) % 2).astype(int)
WEIGHTS = np.linspace(0.5, 2, len(IRIS))
CLOCKS = ("seconds", "timeline", "utilisation", "clock", "version")  # attributes whose names hold these may differ
STEPS = {"max_iter": 4, "n_iter_no_change": np.inf, "random_state": 0}
VERBS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "staged_predict")


def closed(name, *sizes, **options):
    return getattr(sa, name)(*sizes, random_state=0, **options)


def stepwise(name, *sizes, **options):
    return getattr(sa, name)(*sizes, **(STEPS | options))


def streamed(model, X, y, **options):
    model.partial_fit(X[::3], y[::3], **options).partial_fit(X[1::3], y[1::3])
    return model.partial_fit(X[2::3], y[2::3])


def merged(model, X, y):
    model.partial_fit(X[::2], y[::2])
    return model.merge(model.shard().partial_fit(X[1::2], y[1::2]))


def again(model, X, y):
    """A fit that a second one goes on from."""
    return model.fit(X, y).fit(X, y)


def watched(model, X, y, **options):
    """A fit that is judged on rows of its own."""
    return model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2], **options)


def woken(model, X, y):
    """A stream in which a column and what follows from it move late."""
    still = X.copy()
    still[:, 2] = 1.0
    return model.partial_fit(still[::2], y[::2]).partial_fit(X[1::2], y[1::2])


def blocks(X, y, size=100):
    return sa.Blocks.from_arrays(X, y, block_size=size)


def forgotten(X, y):
    return sa.BRMPRegressor(alpha=0.1).partial_fit(X, y).forget(X[:50], y[:50])


IMAGES = {"network": sa.ImageNetwork((1, 8, 8))}
SMALL = {"network": sa.ImageNetwork((1, 8, 8), (4, 4)), "max_iter": 1}
TRAINED = sa.DenseNetwork(readout="trained")
SERIES = {"network": sa.SequenceNetwork(8, (8,)), "max_iter": 2}
SOURCE = {"X_val": CANCER[::3], "y_val": MALIGN[::3]}
FITS = {
    "BRMPRegressor": lambda: (sa.BRMPRegressor().fit(DIABETES, PAIRS), DIABETES),
    "BRMPRegressor, qr, gcv": lambda: (sa.BRMPRegressor(solver="qr", alpha="gcv").fit(DIABETES, COURSE), DIABETES),
    "BRMPRegressor, recursive": lambda: (
        streamed(sa.BRMPRegressor(solver="recursive", alpha=0.1), DIABETES, COURSE),
        DIABETES,
    ),
    "BRMPRegressor, forgotten": lambda: (forgotten(DIABETES, COURSE), DIABETES),
    "BRMPRegressor, sampled": lambda: (
        closed("BRMPRegressor", (30, 20), hidden="sampled", alpha=0.1).fit(DIABETES, COURSE),
        DIABETES,
    ),
    "BRMPRegressor, merged": lambda: (
        sa.BRMPRegressor().fit(DIABETES[::2], COURSE[::2]).merge(sa.BRMPRegressor().fit(DIABETES[1::2], COURSE[1::2])),
        DIABETES,
    ),
    "BRMPClassifier": lambda: (sa.BRMPClassifier(class_weight="balanced").fit(IRIS, KINDS, WEIGHTS), IRIS),
    "BRMPClassifier, radial, stream": lambda: (
        streamed(closed("BRMPClassifier", 30, hidden="rbf", alpha="gcv"), IRIS, KINDS),
        IRIS,
    ),
    "BRMPClassifier, sparse": lambda: (sa.BRMPClassifier(alpha=1.0).fit(sparse.csr_matrix(DIGITS), FIGURES), DIGITS),
    "CPNetClassifier": lambda: (closed("CPNetClassifier").fit(IRIS, KINDS), IRIS),
    "CPNetClassifier, weights": lambda: (closed("CPNetClassifier", n_modules=3).fit(IRIS, KINDS, WEIGHTS), IRIS),
    "CPNetClassifier, digits": lambda: (closed("CPNetClassifier").fit(DIGITS, FIGURES), DIGITS),
    "CPNetClassifier, class codes": lambda: (
        closed("CPNetClassifier", 25, encoding="class", skip=False, exit="last", alpha=0.1, activation="tanh").fit(
            CANCER, MALIGN
        ),
        CANCER,
    ),
    "CPNetClassifier, copies": lambda: (closed("CPNetClassifier").fit(CODES, PARITY), CODES),
    "CPNetClassifier, stream": lambda: (streamed(closed("CPNetClassifier"), DIGITS, FIGURES), DIGITS),
    "CPNetClassifier, blocks": lambda: (
        closed("CPNetClassifier", 40).fit_blocks(blocks(CANCER, MALIGN)),
        CANCER,
    ),
    "CPNetClassifier, torch": lambda: (closed("CPNetClassifier", device="torch:cpu").fit(CANCER, MALIGN), CANCER),
    "ClosedFormMLP": lambda: (closed("ClosedFormMLP").fit(IRIS, KINDS, WEIGHTS), IRIS),
    "ClosedFormMLP, float32": lambda: (closed("ClosedFormMLP").fit(CANCER.astype("f4"), MALIGN), CANCER.astype("f4")),
    "ClosedFormMLP, copies": lambda: (closed("ClosedFormMLP").fit(CODES, PARITY), CODES),
    "ClosedFormMLP, labels": lambda: (closed("ClosedFormMLP", 60).fit(DIGITS, LABELS), DIGITS),
    "ClosedFormMLP, images": lambda: (
        closed("ClosedFormMLP", 40, hidden="patch", image_shape=(1, 8, 8)).fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "ClosedFormMLP, balanced": lambda: (
        closed("ClosedFormMLP", (20, 20), hidden="sampled", class_weight="balanced", alpha="gcv").fit(CANCER, MALIGN),
        CANCER,
    ),
    "ClosedFormMLP, stream": lambda: (streamed(closed("ClosedFormMLP"), DIGITS, FIGURES), DIGITS),
    "ClosedFormMLP, merged": lambda: (merged(closed("ClosedFormMLP"), DIGITS, FIGURES), DIGITS),
    "ClosedFormMLP, blocks": lambda: (closed("ClosedFormMLP").fit_blocks(blocks(CANCER, MALIGN)), CANCER),
    "ClosedFormMLP, torch": lambda: (closed("ClosedFormMLP", 30, device="torch:cpu").fit(CANCER, MALIGN), CANCER),
    "ClosedFormMLPRegressor": lambda: (closed("ClosedFormMLPRegressor").fit(DIABETES, COURSE), DIABETES),
    "ClosedFormMLPRegressor, pairs": lambda: (
        closed("ClosedFormMLPRegressor", (25, 25), hidden="residual").fit(DIABETES, PAIRS),
        DIABETES,
    ),
    "ClosedFormMLPRegressor, stream": lambda: (
        streamed(closed("ClosedFormMLPRegressor"), DIABETES, COURSE),
        DIABETES,
    ),
    "DFAClassifier": lambda: (stepwise("DFAClassifier").fit(CANCER, MALIGN), CANCER),
    "DFAClassifier, images": lambda: (
        stepwise("DFAClassifier", (16,), scheme="hybrid", max_iter=1, **IMAGES).fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "DFARegressor, K-FAC": lambda: (
        stepwise("DFARegressor", (16, 16), preconditioner="kfac", activation="tanh").fit(DIABETES, COURSE),
        DIABETES,
    ),
    "DFAClassifier, stream": lambda: (
        streamed(
            stepwise("DFAClassifier", (16,), activation=sa.ApproximateActivation("relu", bits=4)),
            IRIS,
            KINDS,
            classes=[0, 1, 2],
        ),
        IRIS,
    ),
    "DFAClassifier, torch": lambda: (stepwise("DFAClassifier", (16,), device="torch:cpu").fit(IRIS, KINDS), IRIS),
    "DFAClassifier, weights": lambda: (
        stepwise("DFAClassifier", (16,), class_weight="balanced", feedback="dkp").fit(IRIS, KINDS, WEIGHTS),
        IRIS,
    ),
    "DFAClassifier, held out": lambda: (
        stepwise("DFAClassifier", (16, 16), early_stopping=True, feedback=sa.Feedback(alignment=True), max_iter=30).fit(
            CANCER, MALIGN
        ),
        CANCER,
    ),
    "DFAClassifier, watched": lambda: (
        watched(stepwise("DFAClassifier", (16,), feedback="binary", output="expgb"), CANCER, MALIGN),
        CANCER,
    ),
    "DFAClassifier, warm": lambda: (
        again(stepwise("DFAClassifier", (16,), warm_start=True, early_stopping=True), CANCER, MALIGN),
        CANCER,
    ),
    "DFAClassifier, series": lambda: (
        stepwise("DFAClassifier", (16,), scheme="modular", **SERIES).fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "DFAClassifier, blocks": lambda: (
        stepwise("DFAClassifier", (16,), early_stopping=True).fit_blocks(blocks(CANCER, MALIGN), **SOURCE),
        CANCER,
    ),
    "DFARegressor, watched": lambda: (
        watched(stepwise("DFARegressor", (16,), feedback="learned", solver="sgd"), DIABETES, PAIRS),
        DIABETES,
    ),
    "DFARegressor, woken": lambda: (
        woken(stepwise("DFARegressor", (16,), feedback="sparse"), DIABETES, PAIRS),
        DIABETES,
    ),
    "DFARegressor, torch blocks": lambda: (
        stepwise("DFARegressor", (16,), device="torch:cpu").fit_blocks(blocks(DIABETES, COURSE)),
        DIABETES,
    ),
    "LayerwiseMLP": lambda: (stepwise("LayerwiseMLP", network=TRAINED).fit(CANCER, MALIGN), CANCER),
    "LayerwiseMLP, images": lambda: (
        stepwise("LayerwiseMLP", (16,), **SMALL).set_params(network__readout="trained").fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "LayerwiseMLP, torch": lambda: (
        stepwise("LayerwiseMLP", (16, 16), device="torch:cpu", partitions=1).fit(IRIS, KINDS, WEIGHTS),
        IRIS,
    ),
    "LayerwiseMLP, readout": lambda: (
        watched(
            stepwise("LayerwiseMLP", (16, 16), partitions=sa.Partitions(refit_head=True), early_stopping=True),
            CANCER,
            MALIGN,
        ),
        CANCER,
    ),
    "LayerwiseMLP, stream": lambda: (
        streamed(stepwise("LayerwiseMLP", (16, 16)), IRIS, KINDS, classes=[0, 1, 2]),
        IRIS,
    ),
    "LayerwiseMLP, memory": lambda: (
        stepwise(
            "LayerwiseMLP",
            (16, 16),
            partitions=sa.Partitions(memory_budget=60_000, subsample=0.5, cache="float16"),
            network=TRAINED,
        ).fit(CANCER, MALIGN),
        CANCER,
    ),
    "LayerwiseMLPRegressor, blocks": lambda: (
        stepwise("LayerwiseMLPRegressor", (16, 16), network=TRAINED).fit_blocks(blocks(DIABETES, COURSE)),
        DIABETES,
    ),
    "LayerwiseMLP, simultaneous": lambda: (
        stepwise(
            "LayerwiseMLP",
            (16, 16),
            order="simultaneous",
            partitions=sa.Partitions(local_loss="predsim"),
            output="expgb",
            network=TRAINED,
        ).fit(IRIS, KINDS),
        IRIS,
    ),
    "LayerwiseMLPRegressor, laps": lambda: (
        stepwise(
            "LayerwiseMLPRegressor",
            (16, 16),
            partitions=sa.Partitions(interlayer="window"),
            order="laps",
            network=TRAINED,
        ).fit(DIABETES, PAIRS),
        DIABETES,
    ),
    "DecoupledMLPClassifier": lambda: (
        stepwise("DecoupledMLPClassifier", (16, 16), n_modules=3, schedule="dtrp").fit(CANCER, MALIGN),
        CANCER,
    ),
    "DecoupledMLPRegressor, blocks": lambda: (
        stepwise("DecoupledMLPRegressor", (16, 16), schedule="ddg").fit_blocks(blocks(DIABETES, COURSE)),
        DIABETES,
    ),
    "DecoupledMLPClassifier, images": lambda: (
        stepwise("DecoupledMLPClassifier", (16,), n_modules=2, **SMALL).fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "DecoupledMLPClassifier, torch": lambda: (
        stepwise("DecoupledMLPClassifier", (16, 16), schedule="adl", device="torch:cpu").fit(IRIS, KINDS, WEIGHTS),
        IRIS,
    ),
    "DecoupledMLPClassifier, warm": lambda: (
        again(
            stepwise("DecoupledMLPClassifier", (16, 16), warm_start=True, pipeline=sa.PipelineRule(drain=False)),
            CANCER,
            MALIGN,
        ),
        CANCER,
    ),
    "DecoupledMLPRegressor, stream": lambda: (
        streamed(
            stepwise("DecoupledMLPRegressor", (16, 16), solver="sgd", pipeline=sa.PipelineRule(accumulation_steps=2)),
            DIABETES,
            PAIRS,
        ),
        DIABETES,
    ),
    "DecoupledMLPRegressor, normalised": lambda: (
        stepwise(
            "DecoupledMLPRegressor",
            (16, 16),
            network=sa.DenseNetwork(normalization="layer"),
            pipeline=sa.PipelineRule(shrink=0.7),
        ).fit(DIABETES, PAIRS),
        DIABETES,
    ),
    "PrivateDFAClassifier, photonic": lambda: (
        sa.PrivateDFAClassifier(
            (16,),
            data_norm=64.0,
            classes=range(10),
            mechanism=sa.Photonic(1e4),
            accountant="rdp",
            epsilon=8.0,
            max_iter=2,
            random_state=0,
        ).fit(DIGITS, FIGURES),
        DIGITS,
    ),
    "PrivateDFAClassifier": lambda: (
        sa.PrivateDFAClassifier(bounds=(0, 16), classes=range(10), max_iter=1, random_state=0).fit(DIGITS, FIGURES),
        DIGITS,
    ),
}


def bits(value):
    """A value as what can be compared: hashes of arrays, words for the rest."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(key): bits(value[key]) for key in sorted(value, key=str) if _lasts(str(key))}
    if isinstance(value, list | tuple | np.ndarray):
        return [bits(part) for part in value]
    if hasattr(value, "__next__"):
        return bits(list(value))
    return repr(value) if isinstance(value, str | int | float | np.generic | None) else type(value).__name__


def _lasts(name):
    """Whether a name stands for what two runs share."""
    return not any(word in name for word in CLOCKS)


def states():
    """The fitted attributes and the answers of every fit."""
    found = {}
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, fit in FITS.items():
            model, X = fit()
            public = {key: value for key, value in vars(model).items() if key.endswith("_") and key[0] != "_"}
            found[name] = bits(public) | {verb: bits(getattr(model, verb)(X)) for verb in VERBS if hasattr(model, verb)}
            print(".", end="", flush=True)
    print()
    return found


def differences(before, after):
    """Yield what differs, as lines."""
    for name in before.keys() | after.keys():
        one, other = before.get(name, {}), after.get(name, {})
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                yield f"{name}: {key}: {one.get(key)} != {other.get(key)}"


def main(verb, path):
    """Write the states to a file, or compare them with one."""
    found = states()
    if verb == "write":
        with open(path, "wb") as file:
            pickle.dump(found, file)
        return 0
    with open(path, "rb") as file:
        lines = list(differences(pickle.load(file), found))
    print("\n".join(lines) or f"{len(found)} fits have the same bits.")
    return len(lines) > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
