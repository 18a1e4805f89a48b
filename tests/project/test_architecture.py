"""The rules of the house that a parser can check; docs/design.md states them, tests/house.py holds them.

The second half of this file breaks each rule on a small temporary tree and asserts that it is noticed.
"""

import ast
import importlib
import inspect
import re
import subprocess
import sys

import pytest

from tests.house import (
    PACKAGE,
    ROOT,
    RULES,
    files_of,
    fits,
    height,
    imports_of,
    misplaced_private_names,
    misplaced_third_parties,
    own_classes,
    rooms,
    upward_imports,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule):
    assert list(rule(ROOT)) == []


def test_the_rules_see_the_package():
    paths = {imp.path for imp in imports_of(ROOT)}
    assert {"__init__.py", "estimator/base.py", "backend/_numpy.py", "backend/_torch.py"} <= paths
    named = {imp.target for imp in imports_of(ROOT) if imp.path == "layerwise/plans.py"}
    assert "sklearn_analytic.layerwise.torch_stack" in named


# Ceilings: a change that needs a higher one says why in the docstring of what needs it.
MOST_ROOMS, MOST_FLOORS, MOST_FILES_IN_ROOT = 22, 7, 4


def test_the_house_is_small():
    assert len(rooms(ROOT)) <= MOST_ROOMS
    assert height(ROOT) <= MOST_FLOORS
    assert len(list(ROOT.glob("*.py"))) <= MOST_FILES_IN_ROOT


# Own classes in the method resolution order, and files that a fit runs through: what they are, and may not exceed.
# The aims were 22, 14 and 11 files, and 16, 20 and 20 for networks trained by steps. Parameters that are values take
# two of them (estimator/checks.py, estimator/value.py), and four more in networks trained by steps: devices, networks,
# solvers, and the values of the family. Raw tables take three: how columns are read, encoded, and kept with the layers.
# Weights of classes at the solve take one (estimator/balance.py), the sample of rows of BRMP three, memory that modules
# lend to batches on their way one (decoupled/dense_space.py), the readout of all layers six: how it is solved for and
# blended, what it sees, and the nested exits of linalg; the judging of layers in blocks one (layerwise/judging.py).
MOST_CLASSES = {"ClosedFormMLP": 5, "CPNetClassifier": 5, "BRMPClassifier": 4}
MOST_CLASSES |= {"DFAClassifier": 5, "LayerwiseMLP": 5, "DecoupledMLPClassifier": 5}
MOST_FILES = {"ClosedFormMLP": 38, "CPNetClassifier": 31, "BRMPClassifier": 25}
MOST_FILES |= {"DFAClassifier": 44, "LayerwiseMLP": 57, "DecoupledMLPClassifier": 51}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_stand_on_few_classes_and_files():
    calls = {kind.__name__: (kind, fit) for kind, fit in fits().items()}
    for name, most in MOST_CLASSES.items():
        kind, fit = calls[name]
        assert len(own_classes(kind)) <= most
        fit()  # what is compiled or cached in the first fit is no part of its road
        assert len(files_of(fit)) <= MOST_FILES[name]


# ---- the rules notice what they forbid ----


def _tree(folder, files):
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(source, encoding="utf-8")
    return folder


LAWFUL = {
    "__init__.py": "from .least_squares.estimators import BRMPRegressor\nfrom ._version import __version__\n",
    "_version.py": "__version__ = '1'\n",
    "estimator/base.py": "from sklearn.utils._tags import Tags\nfrom ..backend import f\nfrom .._version import g\n",
    "least_squares/estimators.py": "import sklearn.base\nfrom .. import linalg\nfrom ..estimator.base import f\n",
    "cpnet/estimator.py": "from ..features import codes\nfrom .network import f\n",
    "export/onnx_model.py": "import onnx\nfrom ..features import codes\n",
    "features/_codes.py": "from ..linalg import solve\nfrom ._other import f\n",
    "io/_checks.py": "OPENERS = {'dask': 'sklearn_analytic.distributed._dask'}\n",
    "layerwise/plans.py": "open_by_name('sklearn_analytic.layerwise.torch_stack')\n",
    "layerwise/torch_stack.py": "import torch.nn.functional as F\n",
    "linalg/_normal.py": "import numpy as np\nfrom scipy.linalg import lapack\n",
    "backend/_numba.py": "from numba import njit\n",
    "backend/_torch.py": "import torch.nn.functional as F\n",
    "distributed/_dask.py": "import dask.array\nfrom ..estimator.base import f\n",
}

UNLAWFUL = [
    (upward_imports, "backend/_x.py", "from ..linalg import solve"),
    (upward_imports, "linalg/_x.py", "from ..features._codes import f"),
    (upward_imports, "linalg/_x.py", "from .. import features"),
    (upward_imports, "linalg/_x.py", "from .. import BRMPRegressor"),
    (upward_imports, "linalg/_x.py", "import sklearn_analytic.features._codes"),
    (upward_imports, "linalg/_x.py", "import sklearn_analytic"),
    (upward_imports, "linalg/_x.py", "from ..io import f"),
    (upward_imports, "features/_x.py", "def f():\n    from ..estimator.base import g"),
    (upward_imports, "features/deep/_x.py", "from ...estimator.base import g"),
    (upward_imports, "nn/_x.py", "from ..features import f"),
    (upward_imports, "estimator/x.py", "from ..distributed import f"),
    (upward_imports, "estimator/x.py", "OPENERS = {'dask': 'sklearn_analytic.distributed._dask'}"),
    (upward_imports, "io/_x.py", "import_module('sklearn_analytic.distributed._dask')"),
    (upward_imports, "cpnet/x.py", "from ..least_squares.estimators import BRMPRegressor"),
    (upward_imports, "cpnet/x.py", "import sklearn_analytic.layerwise.torch_stack as b"),
    (upward_imports, "attic/_x.py", "import numpy"),
    (upward_imports, "_x.py", "import numpy"),
    (misplaced_third_parties, "linalg/_x.py", "import numba"),
    (misplaced_third_parties, "backend/_numpy.py", "from numba import njit"),
    (misplaced_third_parties, "estimator/x.py", "def f():\n    import torch"),
    (misplaced_third_parties, "estimator/x.py", "import importlib\nimportlib.import_module('torch')"),
    (misplaced_third_parties, "estimator/x.py", "__import__('torch.cuda')"),
    (misplaced_third_parties, "estimator/x.py", "from dask import array"),
    (misplaced_third_parties, "estimator/x.py", "import onnx"),
    (misplaced_third_parties, "linalg/_x.py", "from sklearn.base import clone"),
    (misplaced_third_parties, "backend/_x.py", "import sklearn.utils as u"),
    (misplaced_private_names, "estimator/x.py", "from sklearn.utils._param_validation import Interval"),
    (misplaced_private_names, "cpnet/x.py", "from sklearn.utils.validation import _check_y"),
    (misplaced_private_names, "export/x.py", "import sklearn._config"),
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
print(*sorted({"sklearn", "scipy", "numba", "torch", "dask"} & set(sys.modules)))
assert set(sklearn_analytic.__all__) <= set(dir(sklearn_analytic)) and not hasattr(sklearn_analytic, "never")
sklearn_analytic.BRMPRegressor, sklearn_analytic.linalg.NormalEquations
print(*sorted({"torch", "dask", "sklearn_analytic.decoupled", "sklearn_analytic.closed_form"} & set(sys.modules)))
from sklearn_analytic import *
LayerwiseMLP, TimelineDisplay, Blocks
print(*sorted({"torch", "dask"} & set(sys.modules)))
"""


def test_imports_load_what_is_asked_for():
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


def test_tools_read_the_names_that_are_imported_when_asked_for():
    source = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    told = next(node for node in source.body if isinstance(node, ast.If))
    read = {(node.module, name.name) for node in told.body if isinstance(node, ast.ImportFrom) for name in node.names}
    package = importlib.import_module(PACKAGE)
    assert read == {(home, name) for home, names in package._HOMES.items() for name in names}
    assert {name for _, name in read} | {"SKOPS_TRUSTED_TYPES", "__version__"} == set(package.__all__)


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
    """What a docstring lacks: parameters are under "Parameters", where there are many also under "Other Parameters"."""
    found = sections(thing.__doc__)
    if thing.__doc__ is None or not thing.__doc__.strip():
        yield "no docstring"
        return
    given = _parameters(thing)
    if given and "Parameters" not in found:
        yield "no Parameters section"
    listed = [entry for title in PARAMETERS for entry in _entries(found.get(title, ""))]
    names = [name for name, _ in listed]
    for name in given if "Parameters" in found else ():
        if name not in names:
            yield f"parameter {name} is not documented"
    for name in sorted(set(names)):
        if name not in given:
            yield f"{name} is documented, but no parameter"
        if names.count(name) > 1:
            yield f"parameter {name} is documented twice"
    for name, default in listed:
        if default is not None and name in given and not _is_written(given[name], default):
            yield f"parameter {name} is {given[name]!r}, and not {default}"
    for title in PARAMETERS[1:]:
        if not found.get(title, "something").strip():
            yield f"{title} is empty"
    if re.search(r"^\s*{\w+}\s*$", thing.__doc__, flags=re.MULTILINE):
        yield "a placeholder was not filled"
    if ">>>" not in found.get("Examples", ""):
        yield "no Examples section with a runnable example"


PARAMETERS = ("Parameters", "Other Parameters")


def _parameters(thing):
    """{name: default} of a signature."""
    if inspect.isclass(thing) and issubclass(thing, Warning):
        return {}
    return {name: p.default for name, p in inspect.signature(thing).parameters.items() if name != "self"}


def _entries(section):
    """Names of the unindented lines ``a, b : type, default=1, 2``, each with its default as it is written, or None."""
    for line in section.splitlines():
        if line and not line[0].isspace():
            names = [name.strip().lstrip("*") for name in line.split(" :")[0].split(",")]
            _, says, text = line.partition(", default=")
            several = text.split(", ") if len(names) > 1 and text.count(", ") == len(names) - 1 else [text] * len(names)
            yield from ((name, default if says else None) for name, default in zip(names, several, strict=True))


def _is_written(default, text):
    """Whether a text is a default, of the same type."""
    try:
        written = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return getattr(default, "__name__", str(default)) == text
    return type(written) is type(default) and written == default


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

    def many(a, b=1, *, c="x", d=()):
        """Add.

        Parameters
        ----------
        a : float
            A number.
        b, c : float, str, default=1, "x"
            Two more.

        Other Parameters
        ----------------
        d : tuple, default=()
            More.

        Examples
        --------
        >>> 1 + 1
        2
        """

    def wrong(a, b=1, *, c="x", d=()):
        """Add.

        Parameters
        ----------
        a : float
            A number.
        b, c : float, str, default=1.0, "y"
            Two more.

        Other Parameters
        ----------------
        {others}
        b : float
            Again.
        e : float
            No parameter.

        Examples
        --------
        >>> 1 + 1
        2
        """

    def hollow(a):
        """Add.

        Parameters
        ----------
        a : float
            A number.

        Other Parameters
        ----------------

        Examples
        --------
        >>> 1 + 1
        2
        """

    assert list(documentation_faults(good)) == list(documentation_faults(many)) == []
    assert list(documentation_faults(bad)) == [
        "parameter b is not documented",
        "no Examples section with a runnable example",
    ]
    assert list(documentation_faults(worst)) == ["no docstring"]
    assert list(documentation_faults(wrong)) == [
        "parameter d is not documented",
        "parameter b is documented twice",
        "e is documented, but no parameter",
        "{others} is documented, but no parameter",
        "parameter b is 1, and not 1.0",
        "parameter c is 'x', and not \"y\"",
        "a placeholder was not filled",
    ]
    assert list(documentation_faults(hollow)) == ["Other Parameters is empty"]


# ---- parameters of estimators ----

MOST_PARAMETERS = 25
PACKAGE_NAMES = [getattr(importlib.import_module(PACKAGE), name) for name in importlib.import_module(PACKAGE).__all__]
PARAMETRISED = [kind for kind in PACKAGE_NAMES if inspect.isclass(kind) and hasattr(kind, "get_params")]
ESTIMATORS = [kind for kind in PARAMETRISED if hasattr(kind, "fit")]
estimators = pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)


def _texts():
    return importlib.import_module(f"{PACKAGE}.estimator.texts")


@estimators
def test_an_estimator_has_few_parameters_in_known_groups(kind):
    names = list(_parameters(kind))
    assert names and len(names) <= MOST_PARAMETERS
    grouped = [name for group in _texts().GROUPS.values() for name in group]
    assert set(names) <= set(grouped)
    assert [name for name in names if grouped.count(name) != 1] == []


def test_groups_hold_parameters_alone():
    grouped = {name for group in _texts().GROUPS.values() for name in group}
    assert grouped == {name for kind in ESTIMATORS for name in _parameters(kind)}


@estimators
def test_parameters_that_matter_first_are_documented_first_with_their_defaults(kind):
    found, given = sections(kind.__doc__), _parameters(kind)
    first, others = (list(_entries(found.get(title, ""))) for title in PARAMETERS)
    assert [name for name, _ in first + others] == list(given)
    assert len(first) == min(_texts().N_FIRST, len(given))
    assert [name for name, default in first + others if default is None] == []


@estimators
def test_other_parameters_come_in_their_groups(kind):
    groups, names = list(_texts().GROUPS), list(_parameters(kind))[_texts().N_FIRST :]
    places = [groups.index(_texts().group_of(name)) for name in names]
    assert places == sorted(places)


def test_all_values_of_parameters_are_public():
    below, values = [importlib.import_module(f"{PACKAGE}.estimator.value").Value], set()
    for kind in below:
        below += kind.__subclasses__()
        values |= {kind} if _parameters(kind) and kind.__module__.startswith(f"{PACKAGE}.") else set()
    assert values == set(PARAMETRISED) - set(ESTIMATORS)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_all_names_exist_and_are_unique(module):
    namespace = importlib.import_module(module)
    assert len(set(namespace.__all__)) == len(namespace.__all__)
    assert [name for name in namespace.__all__ if not hasattr(namespace, name)] == []
