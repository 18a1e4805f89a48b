"""Examples of closed-form networks run as notebooks, and what they say is what they show."""

import numpy as np
import pytest

from tests.examples.notebooks import run_notebook


def numbers_after(text, name, count=None):
    """The numbers that follow a name in the first line that starts with it."""
    line = next(line for line in text.splitlines() if line.strip().startswith(name))
    return [float(cell.strip("()")) for cell in line.strip().removeprefix(name).split()[:count]]


def test_feature_importances_example(tmp_path):
    """Both measures put the same columns first, and both show less of a column that is there twice."""
    text = run_notebook("plot_06_feature_importances", tmp_path).text
    rows = text.split("column  importance")[1].splitlines()[1:11]
    assert {row.split()[0] for row in rows[:2]} == {"bmi", "s5"}
    assert numbers_after(text, "rank correlation:")[0] > 0.3
    once, both = (numbers_after(text, name) for name in ("bmi alone", "sum of the two"))
    assert both[0] < once[0]
    assert both[1] / once[1] < both[0] / once[0]  # permutation importance loses more


def test_images_example(tmp_path):
    """A network that knows that rows are images errs less at every size, and more once pixels are shuffled."""
    text = run_notebook("plot_07_images", tmp_path).text
    flat, patch = (np.array(numbers_after(text, name, 3)) for name in ("flat, sampled pairs", "patch"))
    assert (patch < flat).all()
    after = text.split("shuffled")[1]
    assert numbers_after(after, "patch")[0] == pytest.approx(patch[-1])
    shuffled = {name: numbers_after(after, name)[1] for name in ("flat, sampled pairs", "patch")}
    assert shuffled["patch"] > shuffled["flat, sampled pairs"]
