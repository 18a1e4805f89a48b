"""Sphinx configuration: Markdown pages, a gallery of the examples, an API reference. Nothing is downloaded.

``SPHINX_GALLERY_PLOT=0`` builds the gallery without running the examples, ``SKLEARN_ANALYTIC_QUICK=1`` runs them on
small data, as continuous integration does; what they say holds for the full data.
"""

import os
import re
import sys
from pathlib import Path

import sklearn_analytic

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "sklearn_analytic"
author = "The sklearn_analytic developers"
copyright = author
version = release = sklearn_analytic.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "benchmark_tables",
    "mathml",
    "host_links",
    "public_names",
    "read_on",
    "parameter_groups",
]
exclude_patterns = ["_build", "_ext", "_figures", "_templates", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
templates_path = ["_templates"]
nitpicky = False  # the API of scikit-learn and NumPy is named in docstrings, and no inventory is downloaded

# ------------------------------------------------------------------ Markdown

myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 4  # the anchors of code hosts: links such as page.md#measured work in both places
myst_dmath_double_inline = True

# ------------------------------------------------------------------ API

autosummary_generate = True
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # numpydoc sections have the types
numpydoc_show_class_members = False  # the template lists methods itself

toc_object_entries_show_parents = "hide"  # "fit()", which fits beside the page, not "ClosedFormMLP.fit()"
viewcode_follow_imported_members = True

# What scikit-learn adds to every estimator, with links into a site of its own.
INHERITED = ("get_metadata_routing", "set_output")


def skip_member(app, what, name, obj, skip, options):
    """Leave out what scikit-learn generates: request setters and routing of its own documentation."""
    return True if name in INHERITED or (name.startswith("set_") and name.endswith("_request")) else skip


def plain_references(app, what, name, obj, options, lines):
    """Turn references to labels of scikit-learn's own site, in docstrings that are inherited, into plain words."""
    lines[:] = [re.sub(r":ref:`([^<`]*?)\s*(<[^>]*>)?`", r"\1", line) for line in lines]


QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))
SMALL = "\n\n.. note:: These results are of small data and few epochs; the text speaks of the full run.\n"


def say_how_much(app, docname, source):
    """Say on the pages of examples that were run in quick mode that they were, below the title."""
    if QUICK and docname.startswith("auto_examples/plot_"):
        source[0] = re.sub(r"\n[^\n]+\n={3,}\n", lambda title: title[0] + SMALL, source[0], count=1)


def setup(app):
    """Connect the filters of members and of docstrings, and the note of quick runs."""
    app.connect("source-read", say_how_much)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", plain_references)


# ------------------------------------------------------------------ gallery

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_\d+_",
    "ignore_pattern": r"benchmarks|recipes|__init__",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": os.environ.get("SPHINX_GALLERY_PLOT", "1") != "0",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_analytic",),
    "inspect_global_variables": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "nested_sections": False,
}

# ------------------------------------------------------------------ HTML

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_analytic"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "sklearn_analytic"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "show_nav_level": 2,
}
ALONE = ("choosing", "install", "migration", "glossary", "changelog", "contributing", "design", "citing")
html_sidebars = {page: [] for page in ALONE}  # pages without others below them
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
