"""What is optional is optional: the package imports, fits and says what to install where an extra is missing."""

import importlib.util
import subprocess
import sys

import pytest

# {extra: libraries that it brings}; torch, dask and then all of them are hidden from a fresh process.
EXTRAS = {
    "torch": ["torch"],
    "dask": ["dask", "distributed"],
    "io": ["h5py", "zarr", "pyarrow"],
    "onnx": ["onnx", "onnxruntime", "skl2onnx"],
    "plot": ["matplotlib"],
    "progress": ["rich"],
    "frames": ["pandas", "polars"],
}
EXTRAS["all"] = [library for libraries in EXTRAS.values() for library in libraries]

HIDING = """
import importlib.abc, sys, warnings
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {libraries}:
            raise ModuleNotFoundError(name + " is hidden", name=name)
sys.meta_path.insert(0, Hidden())
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*reached max_iter")  # three epochs are few
import numpy as np
from sklearn.datasets import load_iris
import sklearn_analytic as sa
X, y = load_iris(return_X_y=True)
for name in ("BRMPClassifier", "CPNetClassifier", "ClosedFormMLP", "DFAClassifier", "LayerwiseMLP"):
    more = {{}} if name in ("BRMPClassifier", "CPNetClassifier", "ClosedFormMLP") else {{"max_iter": 3}}
    model = getattr(sa, name)(random_state=0, **more).fit(X, y)
    assert model.predict(X).shape == (150,)
blocks = sa.Blocks.from_arrays(X, y, block_size=50)
assert sa.BRMPClassifier().fit_blocks(blocks).score(X, y) > 0.8
{more}
print("fitted")
"""

# {extra: (code that needs it, what the error names)}
NEEDING = {
    "torch": ("sa.BRMPClassifier(device='torch:cpu').fit(X, y)", "sklearn_analytic[torch]"),
    "io": ("sa.Blocks.from_parquet('a.parquet', X=['a'], y='b')", "sklearn_analytic[io]"),
    "onnx": ("sa.BRMPClassifier().fit(X, y).to_onnx()", "sklearn_analytic[onnx]"),
    "plot": ("sa.FeatureImportanceDisplay.from_estimator(sa.ClosedFormMLP(30).fit(X, y))", "sklearn_analytic[plot]"),
}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)  # it compiles


@pytest.mark.parametrize("extra", ["torch", "dask", "all"])
def test_the_package_works_without(extra):
    found = run(HIDING.format(libraries=EXTRAS[extra], more=""))
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "fitted"


def test_what_needs_an_extra_says_what_to_install():
    lines = "\n".join(
        f"try:\n    {code}\n    raise SystemExit('{extra}: no error')\n"
        f"except ImportError as error:\n    assert {text!r} in str(error), str(error)"
        for extra, (code, text) in NEEDING.items()
    )
    found = run(HIDING.format(libraries=EXTRAS["all"], more=lines))
    assert found.returncode == 0, found.stderr + found.stdout


def test_extras_of_this_file_are_those_of_the_project():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = set(project["optional-dependencies"]) - {"test", "docs"}
    assert declared <= set(EXTRAS)


def test_importing_the_package_imports_no_extra():
    code = (  # scikit-learn and joblib load some of them by themselves
        "import sys, joblib, numba, sklearn.callback, sklearn.utils.estimator_checks; before = set(sys.modules)\n"
        "import sklearn_analytic; print(sorted((set(sys.modules) - before) & set(sys.argv[1:])))"
    )
    pytest.importorskip("sklearn.callback")
    names = [name for name in EXTRAS["all"] if importlib.util.find_spec(name)]
    found = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[]", found.stderr


def test_minimum_versions_are_those_of_the_project():
    import tomllib
    from pathlib import Path

    root = Path(__file__).parents[2]
    lowest = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (root / "constraints-minimum.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert sorted(text.replace(">=", "==") + ".*" for text in lowest) == sorted(pinned)
