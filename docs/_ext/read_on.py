"""A line below the first paragraph of a class: its guide and the page that derives it."""

GUIDE, THEORY = "/user_guide/", "/theory/"
PAGES = {  # name without "Classifier" or "Regressor": its guide and its theory
    "BRMP": ("streaming", "least_squares", "brmp"),
    "CPNet": ("closed_form", "cpnet"),
    "ClosedFormMLP": ("closed_form", "closed_form"),
    "DFA": ("dfa", "dfa"),
    "PrivateDFA": ("privacy", "privacy"),
    "LayerwiseMLP": ("layerwise", "layerwise"),
    "DecoupledMLP": ("decoupled", "decoupled"),
    "Feedback": ("dfa", "dfa"),
    "KFAC": ("dfa", "kfac"),
    "ApproximateActivation": ("dfa", "approximate_activations"),
    "Partitions": ("layerwise", "layerwise"),
    "PipelineRule": ("decoupled", "decoupled"),
    "Photonic": ("privacy", "privacy"),
    "Device": ("gpu",),
    "Blocks": ("out_of_core",),
    "warmup": ("getting_started",),
    "FeatureImportanceDisplay": ("ecosystem",),
    "IntervalDisplay": ("intervals", "intervals"),
    "AlignmentDisplay": ("dfa", "dfa"),
    "LayerDiagnosticsDisplay": ("layerwise", "layerwise"),
    "TimelineDisplay": ("decoupled", "decoupled"),
    "CommunicationDisplay": ("layerwise", "communication"),
    "data_parallel": ("layerwise", "communication"),
    "PrivacyLeakWarning": ("privacy",),
    "UnlearningWarning": ("forgetting", "closed_form"),
}


def line_of(name):
    """Links to the guide and to the theory of a public name, or None."""
    pages = PAGES.get(name.removesuffix("Classifier").removesuffix("Regressor"))
    if pages is None:
        return None
    guide, *theory = pages
    links = ", ".join(f":doc:`{THEORY}{page}`" for page in theory)
    return f"*Guide:* :doc:`{GUIDE}{guide}`." + (f" *Theory:* {links}." if theory else "")


def process(app, what, name, obj, options, lines):
    """Put the line below the first paragraph of a docstring."""
    line = line_of(name.rpartition(".")[2]) if what in ("class", "function", "exception") else None
    if line and hasattr(obj, "set_callbacks"):
        line += f" *Progress bars:* :doc:`{GUIDE}progress`."
    if line:
        start = next((k for k, text in enumerate(lines) if text), 0)
        end = next((k for k in range(start, len(lines)) if not lines[k]), len(lines))
        lines[end:end] = ["", line]


def setup(app):
    """Connect to the docstrings, after numpydoc."""
    app.connect("autodoc-process-docstring", process, priority=700)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
