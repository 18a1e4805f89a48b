"""The house in figures, and the rules that a parser can check; docs/design.md says why.

    python -m tests.house       # rooms, floors, arrows, lines, what one fit runs through

A room is a folder of the package or a file beside them. The rules are functions of a source tree, so that the tests
can break each one on a small tree of their own.
"""

import ast
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "sklearn_analytic"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

FAMILIES = ("least_squares", "cpnet", "closed_form", "feedback", "private", "layerwise", "decoupled", "distributed")
FLOORS = [  # what stands on one may import what stands below, and no neighbour
    ("_version", "_renamed"),
    ("backend",),
    ("linalg", "io", "nn"),
    ("features",),
    ("export",),
    ("estimator",),
    FAMILIES,
    ("__init__",),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OPENED_BY_NAME = {("io/_checks.py", f"{PACKAGE}.distributed._dask")}  # where rows live elsewhere: one place, on call

# Which modules may import a third-party package, as a pattern of the path inside the package.
ONLY_IN = {
    "numba": r"backend/_numba\w*\.py",
    "torch": r"\w+/_?torch_?\w*\.py|distributed/_worker\.py",
    "dask": r"distributed/.*",
    "onnx": r"export/onnx_\w*\.py|export/verbs\.py",
    "h5py": r"io/.*",
    "zarr": r"io/.*",
    "pyarrow": r"io/.*",
    "distributed": r"distributed/.*",
    "matplotlib": r"\w+/(display|plotting)\.py",
    "sklearn": rf"(export|estimator|{'|'.join(FAMILIES)})/.*|io/_checks\.py",
}
SKLEARN_PRIVATE_ONLY_IN = "estimator/base.py"


@dataclass(frozen=True)
class Import:
    """One imported thing: ``target`` is absolute and dotted, as deep as the source names it."""

    path: str  # of the importing file, relative to the package, with forward slashes
    line: int
    target: str

    def __str__(self):
        return f"{self.path}:{self.line} imports {self.target}"


def imports_of(root):
    """Every import of every module of the package at ``root``: lazy ones, and modules that a string names."""
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in _targets(node, path, root):
                if (path, target) not in OPENED_BY_NAME:
                    yield Import(path, node.lineno, target)


def _targets(node, path, root):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        prefix = _absolute(node, path)
        return [f"{prefix}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call):
        return _dynamic_targets(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _names_a_module(node.value, root):
        return [node.value]
    return []


def _absolute(node, path):
    if node.level == 0:
        return node.module
    here = [PACKAGE, *path.split("/")[:-1]]
    base = here[: len(here) - (node.level - 1)]
    return ".".join(base + ([node.module] if node.module else []))


def _dynamic_targets(call):
    """importlib.import_module("x"), import_module("x") and __import__("x") of what is not in the package."""
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    first = call.args[0] if call.args else None
    is_import = name in {"import_module", "__import__"}
    if is_import and isinstance(first, ast.Constant) and isinstance(first.value, str) and not is_inside(first.value):
        return [first.value]
    return []


def _names_a_module(text, root):
    """Whether a string is the dotted name of a module of the package."""
    if not re.fullmatch(rf"{PACKAGE}(\.\w+)+", text):
        return False
    path = root.joinpath(*text.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def is_inside(target):
    return target.split(".")[0] == PACKAGE


def room_of_path(path):
    return path.split("/")[0].removesuffix(".py")


def room_of_target(target):
    """The room that an import inside the package leads to."""
    second = (target.split(".") + [""])[1]
    return second if second in FLOOR_OF else "__init__"


def upward_imports(root):
    """Imports that do not point down, and rooms that have no floor."""
    for imp in imports_of(root):
        room = room_of_path(imp.path)
        if room not in FLOOR_OF:
            yield f"{imp.path} is on no known floor: give {room} a place in FLOORS"
        elif is_inside(imp.target):
            target = room_of_target(imp.target)
            if target != room and FLOOR_OF[target] >= FLOOR_OF[room]:
                yield f"{imp}: {room} may import only what stands below floor {FLOOR_OF[room]}"


def misplaced_third_parties(root):
    for imp in imports_of(root):
        allowed = ONLY_IN.get(imp.target.split(".")[0])
        if allowed is not None and not re.fullmatch(allowed, imp.path):
            yield f"{imp}: allowed only in {allowed}"


def misplaced_private_names(root):
    """Private names of scikit-learn outside the one file that answers for them."""
    for imp in imports_of(root):
        parts = imp.target.split(".")
        is_private = parts[0] == "sklearn" and any(p.startswith("_") and not p.startswith("__") for p in parts)
        if is_private and imp.path != SKLEARN_PRIVATE_ONLY_IN:
            yield f"{imp}: private names of scikit-learn belong in {SKLEARN_PRIVATE_ONLY_IN}"


RULES = [upward_imports, misplaced_third_parties, misplaced_private_names]


# ---- figures ----


def arrows(root):
    """Pairs of rooms of which the first imports from the second."""
    found = {(room_of_path(i.path), room_of_target(i.target)) for i in imports_of(root) if is_inside(i.target)}
    return {(one, other) for one, other in found if one != other}


def rooms(root):
    """Folders and files of the package."""
    return {room_of_path(path.relative_to(root).as_posix()) for path in root.rglob("*.py")}


def height(root):
    """Rooms on the longest way down, the files of the root apart from ``__init__`` not counted."""
    below = {}
    for one, other in arrows(root):
        if not (root / f"{other}.py").is_file() or other == "__init__":
            below.setdefault(one, set()).add(other)

    def depth(room):
        return 1 + max(map(depth, below.get(room, ())), default=0)

    return max(map(depth, rooms(root)))


def own_classes(kind):
    """Classes of the package in the method resolution order."""
    return [cls for cls in kind.__mro__ if cls.__module__.startswith(f"{PACKAGE}.")]


def files_of(act):
    """Files of the package that a call runs through."""
    found = set()

    def watch(frame, event, arg):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(ROOT)):
            found.add(Path(name).relative_to(ROOT).as_posix())

    sys.setprofile(watch)
    try:
        act()
    finally:
        sys.setprofile(None)
    return found


def fits():
    """Calls of ``fit`` on a small set, by name."""
    from sklearn.datasets import load_iris

    import sklearn_analytic as sa

    X, y = load_iris(return_X_y=True)
    steps = {"max_iter": 2, "n_iter_no_change": float("inf"), "random_state": 0}
    kinds = {
        sa.ClosedFormMLP: {"random_state": 0},
        sa.CPNetClassifier: {"random_state": 0},
        sa.BRMPClassifier: {},
        sa.DFAClassifier: steps,
        sa.LayerwiseMLP: steps,
        sa.DecoupledMLPClassifier: steps,
    }
    return {kind: lambda kind=kind, options=options: kind(**options).fit(X, y) for kind, options in kinds.items()}


def lines(root):
    """Lines of the package."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in root.rglob("*.py"))


def main():
    """Print the figures."""
    print("rooms", len(rooms(ROOT)))
    print("floors", height(ROOT))
    print("arrows", len(arrows(ROOT)))
    print("arrows that do not point down", len(list(upward_imports(ROOT))))
    print("files in the root", len(list(ROOT.glob("*.py"))))
    print("lines", lines(ROOT))
    warnings.simplefilter("ignore")  # few epochs are meant
    for kind, fit in fits().items():
        fit()
        print(kind.__name__, "own classes", len(own_classes(kind)), "files of a fit", len(files_of(fit)))


if __name__ == "__main__":
    main()
