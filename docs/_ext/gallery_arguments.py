"""What the examples get on their command line: a folder for the figures that they write themselves."""

from pathlib import Path

FIGURES = Path(__file__).resolve().parents[1] / "_build" / "figures"


def arguments(gallery_conf, script_vars):
    """Options of one script of the gallery."""
    return ["--out", str(FIGURES)]
