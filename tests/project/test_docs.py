"""The documentation: its code runs, its links lead somewhere, its lists are complete, its figures come from files.

Marks in the pages, as comments on the line before a block: ``<!-- not run: reason -->`` leaves a block out,
``<!-- slow -->`` keeps it for ``pytest -m slow``, and ``<!-- slow page -->`` does so for all blocks of a page. A page
with ``<!-- needs: module -->`` is skipped where that is not installed.
"""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import sklearn_analytic

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

sys.path.insert(0, str(DOCS))

import benchmark_tables  # noqa: E402
import host_links  # noqa: E402
import make_figures  # noqa: E402
import make_flowchart  # noqa: E402
import mathml  # noqa: E402
import parameter_groups  # noqa: E402
import public_names  # noqa: E402
import read_on  # noqa: E402

FOLDERS = ("", "api", "user_guide", "theory", "benchmarks")
PAGES = sorted(page for folder in FOLDERS for page in (DOCS / folder).glob("*.md"))
LINKED = [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"]
RUN = [page for page in PAGES if page.parent.name == "user_guide" or page.parent == DOCS]
FLOORS = (
    "sklearn_analytic",
    *(f"sklearn_analytic.{floor}" for floor in ("backend", "distributed", "features", "io", "linalg", "nn")),
)

BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>slow|not run)[^\n]*-->\n)?```python\n(?P<code>.*?)^```",
    flags=re.M | re.S,
)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(page):
    """(first line, mark, code) of the Python blocks of a page."""
    text = page.read_text()
    common = "slow" if re.search("^<!-- slow page -->", text, flags=re.M) else None
    for match in BLOCK.finditer(text):
        yield text[: match.start()].count("\n") + 2, match["mark"] or common, match["code"]


def has_code(page, slow):
    """Whether a page has something to run in this lane."""
    marks = [mark for _, mark, _ in blocks(page)]
    return "slow" in marks if slow else any(mark is None for mark in marks)


def run_page(page, skipped):
    """Run the blocks of a page in order, in one namespace."""
    for module in re.findall(r"^<!-- needs: ([\w.]+) -->$", page.read_text(), flags=re.M):
        pytest.importorskip(module)
    namespace = {"__name__": "__main__"}
    for line, mark, code in blocks(page):
        if mark not in skipped:
            exec(compile("\n" * line + code, name_of(page), "exec"), namespace)


@pytest.fixture(autouse=True)
def _figures_stay_in_memory(monkeypatch, tmp_path):
    """Pages may draw and write: not on a screen and not in the checkout."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.mark.parametrize("page", [page for page in RUN if has_code(page, slow=False)], ids=name_of)
def test_blocks_run(page):
    run_page(page, skipped=("slow", "not run"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if has_code(page, slow=True)], ids=name_of)
def test_slow_blocks_run(page):
    run_page(page, skipped=("not run",))


# ------------------------------------------------------------------ links


def without_code(text):
    """The page without fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "`", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S))


def anchors(page):
    """The anchors that code hosts and MyST make of headings."""
    found = {}
    for title in re.findall(
        r"^#{1,6} (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), flags=re.M
    ):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return {slug if number == 0 else f"{slug}-{number}" for slug, count in found.items() for number in range(count)}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page):
    missing = []
    for match in LINK.finditer(without_code(page.read_text())):
        target, _, anchor = match["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(match["target"])
    assert not missing


def test_links_to_the_gallery_lead_to_its_pages():
    text = "[a](../../examples/plot_08_dfa.py) [b](../../examples/) [c](../../examples/benchmarks/dfa.py)"
    found = host_links.rewritten(text, "user_guide", lambda path: True)
    assert found == "[a](../auto_examples/plot_08_dfa.rst) [b](../auto_examples/index.rst) c"
    for code in ("`[a](../../examples/)`", "````\n```\n[a](../../examples/)\n```\n````"):
        assert host_links.rewritten(code, "user_guide", lambda path: True) == code
    assert host_links.rewritten("[`a`](../../b.py)", "theory", lambda path: True) == "`a`"


def test_links_out_of_the_documentation_become_text_on_the_site():
    text = "[code](../../sklearn_analytic/private/training.py) [log](../../CHANGELOG.md) [here](dfa.md#measured)"
    assert (
        host_links.rewritten(text, "theory", lambda path: False)
        == "code [log](../changelog.md) [here](dfa.md#measured)"
    )
    assert host_links.rewritten("[t](theory/)", "", lambda path: True) == "[t](theory/index.md)"
    assert host_links.rewritten("```\n[a](../b.py)\n```", "theory", lambda path: True) == "```\n[a](../b.py)\n```"


@pytest.mark.parametrize("page", [*LINKED, *sorted((DOCS / "_ext").glob("*.py")), DOCS / "conf.py"], ids=name_of)
def test_no_machine_is_named(page):
    forbidden = r"(?<![\w.])/(?:tmp|home|root|opt|mnt)/"
    assert re.findall(forbidden, page.read_text()) == []


# ------------------------------------------------------------------ completeness


@pytest.mark.parametrize("module", FLOORS)
def test_the_api_page_lists_every_public_name(module):
    text = "".join(page.read_text() for page in (DOCS / "api.md", *sorted((DOCS / "api").glob("*.md"))))
    names = importlib.import_module(module).__all__
    listed = set(re.findall(r"^   (\w+)$", text, flags=re.M)) | set(re.findall(r"`(?:sklearn_analytic\.)?(\w+)`", text))
    assert sorted(set(names) - listed) == []


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text[: text.index("## Read on")].splitlines()) <= 90


def test_the_choice_names_every_estimator():
    text = (DOCS / "choosing.md").read_text()
    estimators = [name for name in sklearn_analytic.__all__ if hasattr(getattr(sklearn_analytic, name), "fit")]
    stems = {re.sub(r"(Classifier|Regressor)$", "", name) for name in estimators}
    assert len(stems) >= 7 and [stem for stem in sorted(stems) if stem not in text] == []


def test_the_charts_of_choices_are_up_to_date():
    for path, text in make_flowchart.drawings().items():
        assert path.read_text() == text


def test_the_charts_of_choices_lead_to_pages():
    sources = {"auto_examples": (ROOT / "examples", ".py"), "user_guide": (DOCS / "user_guide", ".md")}
    sources["theory"] = (DOCS / "theory", ".md")
    for page in make_flowchart.links():
        folder, _, name = page.rpartition("/")
        if folder == "generated":
            assert name.removeprefix("sklearn_analytic.") in sklearn_analytic.__all__
        else:
            place, end = sources[folder]
            assert (place / f"{name}{end}").is_file()


def _estimators():
    """The public estimators."""
    return [kind for name in sklearn_analytic.__all__ if hasattr(kind := getattr(sklearn_analytic, name), "fit")]


def test_every_estimator_and_value_has_a_guide():
    named = {re.sub(r"(Classifier|Regressor)$", "", name) for name in sklearn_analytic.__all__}
    assert read_on.PAGES.keys() - {"data_parallel"} <= named
    assert [kind.__name__ for kind in _estimators() if read_on.line_of(kind.__name__) is None] == []
    for guide, *theory in read_on.PAGES.values():
        assert (DOCS / "user_guide" / f"{guide}.md").is_file()
        assert all((DOCS / "theory" / f"{page}.md").is_file() for page in theory)


@pytest.mark.parametrize("estimator", _estimators(), ids=lambda kind: kind.__name__)
def test_every_parameter_is_in_a_group(estimator):
    names = estimator._get_param_names()
    assert [name for name in names if parameter_groups.group_of(name) is None] == []


def test_other_parameters_have_headings_and_follow_the_first_ones():
    entry = "    **{}** : float, default=1\n        What **tol** : is no entry.\n"
    first, shuffle, device, fitted = map(entry.format, ("alpha", "shuffle", "device", "coef_"))
    page = f"Text.\n\n:Parameters:\n\n{first}\n:Attributes:\n\n{fitted}\n:Other Parameters:\n\n{shuffle}\n{device}"
    found = "\n".join(parameter_groups.grouped(page.split("\n")))
    heading = "    .. rubric:: {}\n\n".format
    others = f"{heading('Layers and training')}{shuffle}\n{heading('Computing')}{device}"
    assert found.startswith(f"Text.\n\n:Parameters:\n\n{first}\n:Other Parameters:\n\n{others}")
    assert "* - Layers and training\n         - ``alpha``, ``shuffle``\n" in found
    assert found.endswith(f":Attributes:\n\n{fitted}") and "rubric:: Method" not in found
    assert parameter_groups.grouped(["Text.", "", ":Parameters:"]) == ["Text.", "", ":Parameters:"]


def test_names_in_code_font_are_found():
    found = {text: public_names.NAME.match(text) for text in ("Blocks.from_npy", "KFAC()", "DFA*", "a b")}
    assert {text: match and match["name"] for text, match in found.items()} == {
        "Blocks.from_npy": "Blocks",
        "KFAC()": "KFAC",
        "DFA*": "DFA",
        "a b": None,
    }
    lines = ["See docs/theory/dfa.md, `docs/theory/dfa.md` and docs/design.md."]
    public_names.link_pages(None, "class", "", None, None, lines)
    assert lines == ["See :doc:`/theory/dfa`, `docs/theory/dfa.md` and docs/design.md."]


def test_what_is_called_exact_names_tests_that_exist():
    named = set(re.findall(r"`(\w+/test_\w+)(?:\.py)?`", (DOCS / "user_guide" / "exactness.md").read_text()))
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / "tests" / f"{name}.py").is_file()) == []


def test_the_tables_of_old_names_are_one():
    table = re.compile(r"^\| Before \| Now \|\n(?:\|.*\n)+", flags=re.M)
    found = [table.findall((ROOT / page).read_text()) for page in ("docs/migration.md", "CHANGELOG.md")]
    assert len(found[0]) == 1 and found[0] == found[1]


# ------------------------------------------------------------------ figures

DRAWN = make_figures.registered()
IMAGE = re.compile(r"!\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def figures_of(page):
    """The figures that a page shows, with the words for those who cannot see them."""
    found = IMAGE.finditer(without_code(page.read_text()))
    return {(page.parent / match["target"]).resolve(): match["words"] for match in found}


def test_every_figure_is_drawn_by_a_function_and_shown_by_a_page():
    shown = {path for page in LINKED for path in figures_of(page)}
    files = {path.resolve() for path in make_figures.TARGETS.glob("*")}
    assert {path.name for path in files} == {f"{name}.svg" for name in DRAWN}
    assert sorted(path.name for path in files - shown) == []


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_figures_are_as_new_as_their_data(name):
    """Else run python docs/make_figures.py, and look at what the page says beside."""
    found = make_figures.DIGEST.search((make_figures.TARGETS / f"{name}.svg").read_text())
    assert (found and found[1]) == (make_figures.digest(DRAWN[name].data) if DRAWN[name].data else None)


@pytest.mark.parametrize("page", [page for page in RUN if page.parent != DOCS and page.stem != "index"], ids=name_of)
def test_every_guide_shows_a_figure_and_says_what_is_seen(page):
    words = figures_of(page).values()
    assert words and all(len(text.split()) >= 3 for text in words)


# ------------------------------------------------------------------ equations


def test_equations_become_mathml():
    """Pandoc's page is read formula by formula; the thin space after a name that browsers leave out is put in."""
    name = '<mi mathvariant="normal">ln</mi>'
    log = f'<math display="inline"><mrow>{name}<mo>&#8289;</mo></mrow>{{}}</math>'
    of_x, of_bracket = log.format("<mi>x</mi>"), log.format('<mo stretchy="false">(</mo><mi>x</mi>')
    page = f"<p>{of_x}</p>\n<p>{of_bracket}</p>"
    found = mathml.formulas_of(page, "", 2)
    assert found == [of_x.replace("<mo>&#8289;</mo></mrow>", '</mrow><mspace width="0.17em"></mspace>'), of_bracket]
    for complaints, n_formulas in (("unexpected control sequence", 2), ("", 3)):
        with pytest.raises(mathml.ExtensionError, match="could not convert"):
            mathml.formulas_of(page, complaints, n_formulas)


# ------------------------------------------------------------------ benchmarks

FILES = sorted((DOCS / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_benchmark_has_a_place_and_a_command(path):
    text = (DOCS / "benchmarks" / "index.md").read_text()
    assert text.count(f"<!-- table: {path.stem} -->") == 1, "write a section of docs/benchmarks/index.md"
    assert f"]({path.name}" in text  # a code host shows no table
    how = benchmark_tables.commands((DOCS / "benchmarks" / "README.md").read_text()).get(path.stem, [])
    assert how, f"write the command that makes {path.name} into a bash block of docs/benchmarks/README.md"
    scripts = [word for line in how for word in line.split() if word.endswith(".py")]
    assert scripts and all((ROOT / script).is_file() for script in scripts)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_tables_of_benchmarks_have_names_for_keys_and_few_columns(path):
    lines = benchmark_tables.section(path.stem, json.loads(path.read_text()), [])
    table = [line for line in lines if line.startswith("|")]
    assert len(table) > 2 and max(line.count(" | ") for line in table) < 6
    assert re.findall(r"\w*_\w*", re.sub(r"`[^`]*`", "", "\n".join(table))) == []


def test_a_key_without_a_name_is_an_error():
    assert benchmark_tables.named({"model": "mlp"}, {"model": {"mlp": "an MLP"}}) == {"model": "an MLP"}
    with pytest.raises(KeyError):
        benchmark_tables.named({"model": "other"}, {"model": {"mlp": "an MLP"}})


def test_the_page_of_benchmarks_is_whole():
    text = (DOCS / "benchmarks" / "index.md").read_text()
    assert "<!-- table" not in benchmark_tables.filled(text, DOCS / "benchmarks")
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    assert [part.split("\n")[0] for part in sections if "](../figures/" not in part] == []


def test_cells_of_the_benchmark_tables():
    row = {"a": -0.001, "b": None, "c": 0.25}
    assert benchmark_tables.cell("{a:+.2f}", row) == "0.00"
    assert benchmark_tables.cell("{b:.2f}", row) == benchmark_tables.NOTHING
    assert benchmark_tables.cell("{c:+.2f} ± {c:.2f}", row).split() == ["+0.25", "±", "0.25"]
    with pytest.raises(KeyError):
        benchmark_tables.cell("{absent}", row)


# (file, what identifies a row, key, format) and the page that quotes it
QUOTED = [
    ("choosing.md", "accuracy_large", {"contender": "lightgbm_mcw1"}, "mean_accuracy", ".4f"),
    ("choosing.md", "accuracy_large", {"contender": "lightgbm_mcw1"}, "fit_cpu_seconds", ".1f"),
    ("choosing.md", "accuracy_large", {"contender": "closed_form"}, "mean_accuracy", ".4f"),
    ("choosing.md", "accuracy_large", {"contender": "closed_form"}, "fit_cpu_seconds", ".1f"),
    ("choosing.md", "accuracy_large", {"contender": "catboost"}, "mean_accuracy", ".4f"),
    ("choosing.md", "accuracy_large", {"contender": "catboost"}, "fit_cpu_seconds", ".1f"),
    ("choosing.md", "accuracy_boosting_tabular", {"dataset": "madelon", "contender": "catboost"}, "accuracy", ".3f"),
    ("choosing.md", "accuracy_boosting_tabular", {"dataset": "madelon", "contender": "closed_form"}, "accuracy", ".3f"),
    ("choosing.md", "accuracy_boosting_regression", {"dataset": "geo_music", "contender": "catboost"}, "r2", ".3f"),
    ("choosing.md", "accuracy_boosting_regression", {"dataset": "geo_music", "contender": "closed_form"}, "r2", ".3f"),
    ("choosing.md", "accuracy_regression", {"dataset": "kin40k", "contender": "mlp"}, "r2", ".3f"),
    ("choosing.md", "accuracy_regression", {"dataset": "kin40k", "contender": "closed_form"}, "r2", ".3f"),
    ("choosing.md", "decoupled_speed", {"network": "8 x 64, batch 32", "contender": "backprop, 1 thread"}, "ms", ".2f"),
    ("choosing.md", "decoupled_speed", {"network": "8 x 64, batch 32", "contender": "fdg"}, "ms", ".2f"),
    ("benchmarks/index.md", "accuracy_large", {"dataset": "connect4", "contender": "closed_form"}, "accuracy", ".3f"),
    ("benchmarks/index.md", "accuracy_regression", {"dataset": "kin40k", "contender": "closed_form"}, "r2", ".3f"),
    ("benchmarks/index.md", "dfa_accuracy_default", {"contender": "dfa"}, "time_ratio", ".1f"),
    ("benchmarks/index.md", "layerwise_accuracy", {"contender": "sequential"}, "time_ratio", ".2f"),
    ("benchmarks/index.md", "decoupled_speed", {"network": "8 x 512, batch 256", "contender": "fdg"}, "to_two", ".2f"),
    ("benchmarks/index.md", "streaming_least_squares", {"rows": 2000000, "contender": "brmp_auto"}, "peak_hwm", ".0f"),
    *(
        ("../README.md", "accuracy_boosting_tabular", {"contender": contender}, key, form)
        for contender in ("closed_form", "catboost", "xgboost", "lightgbm_mcw1")
        for key, form in (("mean_accuracy", ".4f"), ("mean_log_loss", ".3f"))
    ),
    ("user_guide/privacy.md", "dfa_privacy", {"method": "dp_sgd", "epsilon": "3"}, "accuracy", ".3f"),
    ("user_guide/privacy.md", "dfa_privacy", {"method": "dfa_refresh", "epsilon": "1"}, "accuracy", ".3f"),
    ("user_guide/privacy.md", "dfa_privacy", {"method": "photonic", "epsilon": "8"}, "accuracy", ".3f"),
]


@pytest.mark.parametrize(("page", "name", "row", "key", "form"), QUOTED)
def test_quoted_figures_are_those_of_the_files(page, name, row, key, form):
    record = json.loads((DOCS / "benchmarks" / f"{name}.json").read_text())
    rows = [line for part in ("summary", "rows") for line in record.get(part, []) if row.items() <= line.items()]
    found = [line for line in rows if key in line][: None if "summary" not in record or "dataset" in row else 1]
    value = sum(line[key] for line in found) / len(found)
    shown = re.escape(format(value, form).removeprefix("0"))
    assert re.search(rf"(?<![\d.])0?{shown}(?!\d)", (DOCS / page).read_text())
