"""Scripts of the examples and benchmarks, run away from the repository as a user runs them."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"
SECONDS = 300  # a bound against hanging; scripts and cells take seconds on a free machine


def search_path():
    """PYTHONPATH with this checkout first."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def run_script(script, *options, cwd, quick=True, fresh=False):
    """Run a script away from the repository; its standard output.

    A fresh process is what a user runs; one for each folder of scripts shows that nothing is taken for granted. The
    others run here, where everything is imported already.
    """
    command = [str(script), *("--quick",) * quick, *map(str, options)]
    if not fresh:
        return run_here(script, command, cwd)
    environment = os.environ | {"PYTHONPATH": search_path(), "MPLBACKEND": "Agg"}
    command = [sys.executable, *command]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def run_here(script, command, cwd):
    """Run a script as the main program of this process, and leave the process as it was; its standard output."""
    printed = io.StringIO()
    with (
        patch.dict(os.environ, MPLBACKEND="Agg"),
        patch.object(sys, "argv", command),
        patch.object(sys, "path", [str(Path(script).parent), *sys.path]),
        imported_anew(Path(script).parent),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a user's process prints them, and goes on
        runpy.run_path(str(script), run_name="__main__")
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    return printed.getvalue()


@contextlib.contextmanager
def imported_anew(folder):
    """Scripts change modules beside them: what one has changed, no other one sees."""
    names = {path.stem for path in folder.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    try:
        yield
    finally:
        for name in names & set(sys.modules):
            del sys.modules[name]
        sys.modules.update(before)
