"""The scripts for other engines fit what one process fits; each is left out where its engine is not installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"ray_fit.py": ("ray",), "spark_fit.py": ("pyspark", "pyarrow", "pandas")}
SECONDS = 300  # a bound against hanging


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_recipe_gives_the_local_fit(script, tmp_path):
    missing = [name for name in SCRIPTS[script] if importlib.util.find_spec(name) is None]
    if missing or ("pyspark" in SCRIPTS[script] and shutil.which("java") is None):
        pytest.skip(f"needs {missing or 'Java'}")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYSPARK_PYTHON": sys.executable,
    }
    command = [sys.executable, str(ROOT / "examples" / "recipes" / script)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    differences = re.findall(r"largest difference to the local \w+ (\S+)", result.stdout)
    assert len(differences) == 2 and all(float(difference) < 1e-8 for difference in differences)
