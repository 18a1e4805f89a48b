"""The rules of the house that a parser can check; docs/design.md states them.

The rules are pure functions of a source tree, so the second half of this file breaks each one on a
small temporary tree and asserts that it is noticed.
"""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "sklearn_analytic"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

# What each floor may import of the package, apart from itself. "estimators" are the top-level
# modules. features and nn stand side by side; features may use linalg.
FLOORS_BELOW = {
    "backend": set(),
    "io": set(),
    "linalg": {"backend"},
    "features": {"backend", "linalg"},
    "nn": {"backend"},
    "estimators": {"backend", "io", "linalg", "features", "nn"},
    "distributed": {"backend", "io", "linalg", "features", "nn", "estimators"},
}

# Which modules may import a third-party package, as a pattern of the path inside the package.
ONLY_IN = {
    "numba": r"backend/_numba\w*\.py",
    "torch": r"(backend|nn)/_torch\w*\.py|distributed/.*",
    "dask": r"distributed/.*",
    "onnx": r"_onnx\w*\.py|_export\.py",
    "h5py": r"io/.*",
    "zarr": r"io/.*",
    "pyarrow": r"io/.*",
    "distributed": r"distributed/.*",
    "sklearn": r"[^/]+\.py|distributed/.*",
}
SKLEARN_PRIVATE_ONLY_IN = "_base.py"


@dataclass(frozen=True)
class Import:
    """One imported thing: ``target`` is absolute and dotted, as deep as the source names it."""

    path: str  # of the importing file, relative to the package, with forward slashes
    line: int
    target: str

    def __str__(self):
        return f"{self.path}:{self.line} imports {self.target}"


def imports_of(root):
    """Every import of every module of the package at ``root``, lazy ones included."""
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in _targets(node, path):
                yield Import(path, node.lineno, target)


def _targets(node, path):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        prefix = _absolute(node, path)
        return [f"{prefix}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call):
        return _dynamic_targets(node)
    return []


def _absolute(node, path):
    if node.level == 0:
        return node.module
    here = [PACKAGE, *path.split("/")[:-1]]
    base = here[: len(here) - (node.level - 1)]
    return ".".join(base + ([node.module] if node.module else []))


def _dynamic_targets(call):
    """importlib.import_module("x"), import_module("x") and __import__("x")."""
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    first = call.args[0] if call.args else None
    is_import = name in {"import_module", "__import__"}
    if is_import and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return [first.value]
    return []


def floor_of_path(path):
    return path.split("/")[0] if "/" in path else "estimators"


def floor_of_target(target):
    """The floor that an import inside the package leads to."""
    second = (target.split(".") + [""])[1]
    return second if second in FLOORS_BELOW else "estimators"


def is_inside(target):
    return target.split(".")[0] == PACKAGE


def upward_imports(root):
    """Imports that do not point down, and folders that have no floor."""
    for imp in imports_of(root):
        floor = floor_of_path(imp.path)
        if floor not in FLOORS_BELOW:
            yield f"{imp.path} is on no known floor: give {floor}/ a row in FLOORS_BELOW"
        elif is_inside(imp.target):
            target = floor_of_target(imp.target)
            if target != floor and target not in FLOORS_BELOW[floor]:
                yield f"{imp}: {floor} may import only {sorted(FLOORS_BELOW[floor])}"


def misplaced_third_parties(root):
    for imp in imports_of(root):
        allowed = ONLY_IN.get(imp.target.split(".")[0])
        if allowed is not None and not re.fullmatch(allowed, imp.path):
            yield f"{imp}: allowed only in {allowed}"


def misplaced_private_names(root):
    """Private names of scikit-learn outside the one file that answers for them."""
    for imp in imports_of(root):
        parts = imp.target.split(".")
        is_private = parts[0] == "sklearn" and any(_is_private(part) for part in parts)
        if is_private and imp.path != SKLEARN_PRIVATE_ONLY_IN:
            yield f"{imp}: private names of scikit-learn belong in {SKLEARN_PRIVATE_ONLY_IN}"


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def estimator_modules(root):
    """The top-level modules from which the package takes its public names."""
    taken = [imp.target for imp in imports_of(root) if imp.path == "__init__.py"]
    return {
        target.split(".")[1]
        for target in taken
        if is_inside(target) and floor_of_target(target) == "estimators" and target.count(".") >= 2
    } - {"_version"}


def estimators_importing_each_other(root):
    """Estimator modules are leaves: what two of them share belongs on a floor or in a helper."""
    estimators = estimator_modules(root)
    for imp in imports_of(root):
        if imp.path == "__init__.py" or floor_of_path(imp.path) != "estimators":
            continue
        if is_inside(imp.target):
            module = (imp.target.split(".") + [""])[1]
            if module in estimators and f"{module}.py" != imp.path:
                yield f"{imp}: it is an estimator module"


RULES = [
    upward_imports,
    misplaced_third_parties,
    misplaced_private_names,
    estimators_importing_each_other,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule):
    assert list(rule(ROOT)) == []


def test_the_rules_see_the_package():
    paths = {imp.path for imp in imports_of(ROOT)}
    assert {"__init__.py", "_base.py", "backend/_numpy.py", "backend/_torch.py"} <= paths
    assert {"_brmp", "_cpnet"} <= estimator_modules(ROOT)


# ---- the rules notice what they forbid ----


def _tree(folder, files):
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(source, encoding="utf-8")
    return folder


LAWFUL = {
    "__init__.py": "from ._brmp import BRMPRegressor\nfrom ._cpnet import CPNetClassifier\n",
    "_base.py": "from sklearn.utils._tags import Tags\nfrom .backend import get_backend\n",
    "_brmp.py": "import sklearn.base\nfrom . import linalg\nfrom ._base import f\n",
    "_cpnet.py": "from .features import codes\n",
    "features/_codes.py": "from ..linalg import solve\nfrom ._other import f\n",
    "linalg/_normal.py": "import numpy as np\nfrom scipy.linalg import lapack\n",
    "backend/_numba.py": "from numba import njit\n",
    "backend/_torch.py": "import torch.nn.functional as F\n",
    "distributed/_dask.py": "import dask.array\nfrom .._brmp import BRMPRegressor\n",
}

UNLAWFUL = [
    (upward_imports, "backend/_x.py", "from ..linalg import solve"),
    (upward_imports, "linalg/_x.py", "from ..features._codes import f"),
    (upward_imports, "linalg/_x.py", "from .. import features"),
    (upward_imports, "linalg/_x.py", "from .. import __version__"),
    (upward_imports, "linalg/_x.py", "import sklearn_analytic.features._codes"),
    (upward_imports, "linalg/_x.py", "import sklearn_analytic"),
    (upward_imports, "features/_x.py", "def f():\n    from .._base import g"),
    (upward_imports, "features/deep/_x.py", "from ..._base import g"),
    (upward_imports, "nn/_x.py", "from ..features import f"),
    (upward_imports, "features/_x.py", "from ..nn import f"),
    (upward_imports, "_x.py", "from .distributed import f"),
    (upward_imports, "attic/_x.py", "import numpy"),
    (misplaced_third_parties, "linalg/_x.py", "import numba"),
    (misplaced_third_parties, "backend/_numpy.py", "from numba import njit"),
    (misplaced_third_parties, "_x.py", "def f():\n    import torch"),
    (misplaced_third_parties, "_x.py", "import importlib\nimportlib.import_module('torch')"),
    (misplaced_third_parties, "_x.py", "__import__('torch.cuda')"),
    (misplaced_third_parties, "_x.py", "from dask import array"),
    (misplaced_third_parties, "linalg/_x.py", "from sklearn.base import clone"),
    (misplaced_third_parties, "backend/_x.py", "import sklearn.utils as u"),
    (misplaced_private_names, "_x.py", "from sklearn.utils._param_validation import Interval"),
    (misplaced_private_names, "_x.py", "from sklearn.utils.validation import _check_y"),
    (misplaced_private_names, "_x.py", "import sklearn._config"),
    (estimators_importing_each_other, "_cpnet.py", "from ._brmp import BRMPRegressor"),
    (estimators_importing_each_other, "_cpnet.py", "from . import _brmp"),
    (estimators_importing_each_other, "_x.py", "import sklearn_analytic._brmp as b"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_accepts_a_lawful_tree(tmp_path, rule):
    assert list(rule(_tree(tmp_path, LAWFUL))) == []


@pytest.mark.parametrize(("rule", "path", "source"), UNLAWFUL)
def test_rule_notices(tmp_path, rule, path, source):
    found = list(rule(_tree(tmp_path, {**LAWFUL, path: source})))
    assert len(found) == 1 and found[0].startswith(path), found


# ---- importing stays light ----

LIGHT = """
import sys
import sklearn_analytic
print(*sorted({"torch", "dask"} & set(sys.modules)))
"""


def test_import_loads_neither_torch_nor_dask():
    result = subprocess.run(
        [sys.executable, "-c", LIGHT],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


# ---- backends implement the protocol ----

BACKENDS = [("_numpy", "NumpyBackend", None), ("_torch", "TorchBackend", "torch")]


def verbs(cls):
    """Public functions of a class, its bases included (static and class methods too)."""
    return {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))}


def parameters(function):
    """Names, kinds and defaults; annotations and ``self`` do not matter."""
    listed = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, p.default) for p in listed if p.name != "self"]


def backend_mismatches(cls, protocol):
    wanted, found = verbs(protocol), verbs(cls)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in wanted:
            yield f"{cls.__name__}.{name} is public but no verb of the protocol"
        elif name not in found or found[name] is wanted[name]:
            yield f"{cls.__name__} lacks {name}"
        elif parameters(found[name]) != parameters(wanted[name]):
            yield (
                f"{cls.__name__}.{name}{inspect.signature(found[name])} differs from "
                f"the protocol's {inspect.signature(wanted[name])}"
            )


def _protocol():
    return importlib.import_module(f"{PACKAGE}.backend._protocol").Backend


@pytest.mark.parametrize(("module", "name", "needs"), BACKENDS)
def test_backend_implements_every_verb(module, name, needs):
    if needs is not None:
        pytest.importorskip(needs)
    cls = getattr(importlib.import_module(f"{PACKAGE}.backend.{module}"), name)
    assert list(backend_mismatches(cls, _protocol())) == []


def test_every_verb_is_documented():
    undocumented = [name for name, verb in verbs(_protocol()).items() if not verb.__doc__]
    assert undocumented == []
    assert len(verbs(_protocol())) >= 3


def test_backend_mismatches_are_noticed():
    class Protocol:
        def matmul(self, a, b): ...
        def gram(self, a, *, weight=None): ...
        def rows(self, a): ...

    class Good:
        def matmul(self, a: int, b: int): ...
        def gram(self, a, *, weight=None): ...
        def rows(self, a): ...
        def _private(self): ...

    class Bad(Protocol):
        def matmul(self, a, c): ...
        def gram(self, a, *, weight=1): ...
        def extra(self): ...

    assert list(backend_mismatches(Good, Protocol)) == []
    messages = " | ".join(backend_mismatches(Bad, Protocol))
    assert messages.count("|") == 3
    for part in ["Bad.matmul", "Bad.gram", "Bad.extra is public", "Bad lacks rows"]:
        assert part in messages


# ---- public names are documented ----

PUBLIC_MODULES = [PACKAGE, f"{PACKAGE}.linalg", f"{PACKAGE}.features", f"{PACKAGE}.distributed"]


def public_objects():
    for module in PUBLIC_MODULES:
        namespace = importlib.import_module(module)
        for name in namespace.__all__:
            thing = getattr(namespace, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                yield pytest.param(thing, id=f"{module.removeprefix(PACKAGE + '.')}.{name}")


def sections(docstring):
    """The numpydoc sections of a docstring as {title: body}."""
    text = inspect.cleandoc(docstring or "")
    heads = list(re.finditer(r"^(\S[^\n]*)\n-{3,}\s*$", text, flags=re.MULTILINE))
    bodies = re.split(r"^\S[^\n]*\n-{3,}\s*$", text, flags=re.MULTILINE)[1:]
    return {head.group(1).strip(): body for head, body in zip(heads, bodies, strict=True)}


def documentation_faults(thing):
    found = sections(thing.__doc__)
    if thing.__doc__ is None or not thing.__doc__.strip():
        yield "no docstring"
        return
    names = [p.lstrip("*") for p in _parameter_names(thing)]
    if names and "Parameters" not in found:
        yield "no Parameters section"
    listed = _listed_names(found.get("Parameters", ""))
    for name in names:
        if name not in listed and "Parameters" in found:
            yield f"parameter {name} is not documented"
    if ">>>" not in found.get("Examples", ""):
        yield "no Examples section with a runnable example"


def _parameter_names(thing):
    if inspect.isclass(thing) and issubclass(thing, Warning):
        return []
    return [name for name in inspect.signature(thing).parameters if name != "self"]


def _listed_names(section):
    """Names before the colon of the unindented lines ``a, b : type``."""
    lines = [line for line in section.splitlines() if line and not line[0].isspace()]
    names = [name for line in lines for name in line.split(" :")[0].split(",")]
    return {name.strip().lstrip("*") for name in names}


@pytest.mark.parametrize("thing", list(public_objects()))
def test_public_name_is_documented(thing):
    assert list(documentation_faults(thing)) == []


def test_documentation_faults_are_noticed():
    def good(a, b, *, c=1):
        """Add.

        Parameters
        ----------
        a, b : float
            Numbers.
        c : float, default=1
            Another.

        Examples
        --------
        >>> 1 + 1
        2
        """

    def bad(a, b):
        """Add.

        Parameters
        ----------
        a : float
            A number.
        """

    def worst(a): ...

    assert list(documentation_faults(good)) == []
    assert list(documentation_faults(bad)) == [
        "parameter b is not documented",
        "no Examples section with a runnable example",
    ]
    assert list(documentation_faults(worst)) == ["no docstring"]


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_all_names_exist_and_are_unique(module):
    namespace = importlib.import_module(module)
    assert len(set(namespace.__all__)) == len(namespace.__all__)
    assert [name for name in namespace.__all__ if not hasattr(namespace, name)] == []
