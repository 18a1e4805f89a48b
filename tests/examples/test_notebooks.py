"""Every example of the gallery is run as a notebook by one test, and is what a notebook can be."""

import ast
import re

import pytest

from tests.examples.notebooks import EXAMPLES

SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))
TESTS = sorted((EXAMPLES.parent / "tests" / "examples").glob("test_*.py"))


def test_every_example_is_run_once():
    run = [name for path in TESTS for name in re.findall(r'run_notebook\(\s*"(\w+)"', path.read_text())]
    assert sorted(run) == [path.stem for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_ask_a_question_in_flat_cells(script):
    text = script.read_text()
    tree = ast.parse(text)
    title = ast.get_docstring(tree).splitlines()[0]
    assert title.endswith("?") or script.stem == "plot_00_messy_csv"
    assert "argparse" not in text and "sys.argv" not in text and "__main__" not in text
    assert len(re.findall(r"^# %%", text, flags=re.M)) >= 3
    assert "SKLEARN_ANALYTIC_QUICK" in text and "plt.show()" in text
