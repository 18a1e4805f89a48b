"""The benchmark of communication runs in quick mode, as a user runs it, and gives sane numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # a bound against hanging; it takes seconds on a free machine


@pytest.mark.slow
def test_quick_mode(tmp_path):
    pytest.importorskip("matplotlib")
    script = ROOT / "examples" / "benchmarks" / "communication.py"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(script), "--quick", "--json", "r.json", "--figure", "f.png"]
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    text = (tmp_path / "r.json").read_text()
    assert str(ROOT) not in text
    record = json.loads(text)
    assert {"date", "packages", "cpu", "cores"} <= record["environment"].keys()
    one, full, entropy = record["rows"]
    assert (one["workers"], full["workers"], entropy["workers"]) == (1, 2, 2)
    assert full["wire_ratio"] == full["payload_ratio"] == 1
    assert full["weight_difference"] < 1e-4
    assert entropy["wire_ratio"] > 8 and entropy["payload_ratio"] > 8
    assert abs(entropy["points"]) < 2
    assert len(record["summary"]) == 3 and "| digits | backprop | 2 | entropy |" in result.stdout
    assert (tmp_path / "f.png").stat().st_size > 10_000
