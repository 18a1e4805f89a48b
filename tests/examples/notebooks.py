"""Examples as notebooks: what the gallery offers for download is what runs here, in a kernel of its own."""

import asyncio
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.examples.scripts import EXAMPLES, SECONDS, search_path

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")


@dataclass(frozen=True)
class Shown:
    """What the cells of a notebook showed: their text one after the other, and the number of figures."""

    text: str
    n_figures: int
    n_cells_shown: int  # cells that showed something


def run_notebook(name, folder):
    """Run an example of the gallery as a user of Jupyter does, in quick mode and away from the checkout."""
    notebook = as_notebook(EXAMPLES / f"{name}.py")
    execute(notebook, folder)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source != "%matplotlib inline"]
    found = [output for cell in cells for output in cell.outputs]
    figures = [output for output in found if "image/png" in output.get("data", {})]
    shown = Shown(
        text="".join(_text(output) for output in found),
        n_figures=len(figures),
        n_cells_shown=sum(bool(cell.outputs) for cell in cells),
    )
    warned = "".join(output.text for output in found if output.get("name") == "stderr")
    assert "Warning" not in warned, warned
    assert shown.n_figures >= 1, "every example draws at least one figure, inline"
    assert shown.n_cells_shown >= 3, "cells show something one after the other"
    assert list(Path(folder).iterdir()) == [], "an example leaves no file behind"
    return shown


def as_notebook(script):
    """The notebook that the gallery makes of a script."""
    nbformat = pytest.importorskip("nbformat")
    py_source_parser = pytest.importorskip("sphinx_gallery.py_source_parser")
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook

    _, blocks = py_source_parser.split_code_and_text_blocks(str(script))
    made = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, str(script.parent))
    return nbformat.reads(json.dumps(made), as_version=4)


def execute(notebook, folder):
    """Run all cells; the first that fails raises with its traceback."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    changed = {"SKLEARN_ANALYTIC_QUICK": "1", "PYTHONPATH": search_path()}
    changed["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client and its event loop
        for key, value in changed.items():
            patch.setenv(key, value)
        client = nbclient.NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        asyncio.run(client.async_execute())


def _text(output):
    """What an output says, without the colours of a terminal."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    return re.sub(r"\x1b\[[\d;]*m", "", output.get("data", {}).get("text/plain", "")) + "\n"


def numbers_after(text, start, count=None):
    """The numbers of the first line that starts with some words."""
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith(start))
    return [float(number) for number in NUMBER.findall(line.removeprefix(start))[:count]]


def number_after(text, words):
    """The first number after some words."""
    return float(NUMBER.search(text, text.index(words) + len(words))[0])
