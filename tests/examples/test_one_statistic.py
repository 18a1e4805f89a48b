"""The benchmark of balanced streams and of rows that leave runs in quick mode, and gives sane numbers."""

import json

from tests.examples.scripts import BENCHMARKS, ROOT, run_script


def test_one_statistic(tmp_path):
    text = run_script(BENCHMARKS / "one_statistic.py", "--json", "r.json", cwd=tmp_path)
    written = (tmp_path / "r.json").read_text()
    assert str(ROOT) not in written
    record = json.loads(written)
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
    balance, forget = record["summary"]["balance"], record["summary"]["forget"]
    assert {line["contender"] for line in balance} == {"ClosedFormMLP", "CPNetClassifier", "BRMPClassifier"}
    for line in balance:
        assert line["difference"] < 1e-9 and line["priors_difference"] < 1e-9
        assert line["bytes"] > 1.9 * line["plain_bytes"]
        assert line["cpu_seconds"] > 0 and line["refit_cpu_seconds"] > 0
    assert len(forget) == 2 * (3 + 2)
    for line in forget:
        assert line["sums"] < 1e-9 and line["cpu_seconds"] > 0
        if line["rows"] == "later":
            assert line["same_audit"] < 1e-8 and line["bytes_before"] > line["bytes_after"] == 0
    assert "| refit over forget |" in text
