"""The page of benchmarks: tables of the JSON files of ``docs/benchmarks``, with the commands that write them.

A line ``<!-- table: NAME -->`` of the page is replaced, when the page is read, by the tables of ``NAME.json``, so that
they cannot go stale, and by a folded block: the machine, and the commands of ``docs/benchmarks/README.md``.
"""

import json
import math
import re
import string
from pathlib import Path

from benchmark_layouts import LAYOUTS

MARK = re.compile(r"^<!-- table: (\w+) -->$", flags=re.M)
PAGE = "benchmarks/index"
NOTHING = "–"


def commands(readme):
    """{name of a JSON file: its commands} of the code blocks of the README, ``--json`` before ``--resume``."""
    found = {}
    for block in re.findall(r"^```bash\n(.*?)^```", readme, flags=re.M | re.S):
        for line in block.splitlines():
            for name in re.findall(r"--(?:json|resume) docs/benchmarks/(\w+)\.json", line):
                found.setdefault(name, []).append(line.strip())
    return found


def filled(text, folder):
    """The page with its marks replaced."""
    known = commands((folder / "README.md").read_text())

    def section_of(match):
        """The section of one mark."""
        name = match[1]
        return "\n".join(section(name, json.loads((folder / f"{name}.json").read_text()), known.get(name, [])))

    return MARK.sub(section_of, text)


def section(name, record, how):
    """One file: its tables, and below them what few readers need."""
    tables = [[*_caption(layout), *tabulated(record, layout), ""] for layout in LAYOUTS[name]]
    return [*(line for lines in tables for line in lines), *fold(record, how)]


def _caption(layout):
    """The line above a table."""
    return [layout.caption, ""] if layout.caption else []


def fold(record, how):
    """A block that readers open: machine and commands."""
    code = ["```bash", *how, "```"] if how else ["The command is missing in `docs/benchmarks/README.md`."]
    return [":::{dropdown} Machine and command", where(record), "", *code, ":::"]


def where(record):
    """The machine in one phrase."""
    machine = record.get("environment", {})
    packages = machine.get("packages", {})
    words = [machine.get("gpu"), machine.get("cpu"), _count(machine.get("cores"), "core"), _threads(record)]
    words += [f"{key} {packages[key]}" for key in ("numpy", "scikit-learn", "torch") if packages.get(key)]
    words += [machine.get("date", "")[:10]]
    found = ", ".join(word for word in words if word)
    return f"{found}." if found else "The file does not name its machine."


def _count(number, noun):
    """A number of things, or nothing."""
    return f"{number} {noun}{'s' * (number != 1)}" if number else ""


def _threads(record):
    """The numbers of threads of the measurements, or those that were set."""
    found = [row["threads"] for row in record.get("rows", []) if row.get("threads")]
    numbers = sorted({str(number) for number in found or _listed(record.get("settings", {}).get("threads"))})
    return f"{' and '.join(numbers)} thread{'s' * (numbers != ['1'])}" if numbers else ""


def _listed(value):
    """One value or several as a list."""
    return value if isinstance(value, list) else [value] if value else []


# ------------------------------------------------------------------ tables


def tabulated(record, layout):
    """One table as lines of Markdown."""
    rows = [flat(row) for row in layout.records(record)]
    rows = [row for row in rows if all(row.get(key) in values for key, values in layout.keep.items())]
    if layout.order:
        rows.sort(key=lambda row: -row[layout.order])
    rows = [named(row, layout.names) for row in evened(rows)]
    return grid(rows, layout) if layout.across else listing(rows, layout)


def flat(row):
    """A record with the entries of its dictionaries beside its own."""
    inner = {f"{key}_{k}": v for key, value in row.items() if isinstance(value, dict) for k, v in value.items()}
    return row | inner


def evened(rows):
    """Records with the same keys: what a record lacks is None, so that a key that none has stays an error."""
    every = dict.fromkeys(key for row in rows for key in row)
    return [every | row for row in rows]


def named(row, names):
    """A record with its keys replaced by the names that readers know; one that has no name is an error."""
    return row | {key: known[row[key]] for key, known in names.items() if row.get(key) is not None}


def listing(rows, layout):
    """A line for each record."""
    return lines_of(list(layout.columns), [[cell(form, row) for form in layout.columns.values()] for row in rows])


def grid(rows, layout):
    """Lines by the columns of the layout, columns by what it spreads, cells with means."""
    first = list(layout.columns.values())
    heads = list(dict.fromkeys(cell(layout.across, row) for row in rows))
    places = {}
    for row in rows:
        line = places.setdefault(tuple(cell(form, row) for form in first), {})
        line.setdefault(cell(layout.across, row), []).append(row)
    body = [
        [*names, *(cell(layout.cell, mean_row(line[head])) if head in line else NOTHING for head in heads)]
        for names, line in places.items()
    ]
    return lines_of([*layout.columns, *heads], body)


def mean_row(rows):
    """The means of the numbers of records."""
    keys = [key for key in rows[0] if all(isinstance(row.get(key), (int, float, type(None))) for row in rows)]
    found = {key: [row[key] for row in rows if row.get(key) is not None] for key in keys}
    return {key: sum(values) / len(values) if values else None for key, values in found.items()}


class _Formatter(string.Formatter):
    """Python's formats, and ``short``: two or three digits, without exponent."""

    def format_field(self, value, form):
        """A value by a format of Python's, or by that which is short for it."""
        return super().format_field(value, _short(abs(value)) if form == "short" else form)


def _short(size):
    """The format of a number of this size; that of small ones counts the noughts, as .2g would take an exponent."""
    if 0 < size < 1e-4:
        return f".{1 - math.floor(math.log10(size))}f"
    return ",.0f" if size >= 100 else ".3g" if size >= 1 else ".2g"


FORMATTER = _Formatter()


def cell(template, row):
    """A template filled in; a dash where a value is None, and nought for a difference to itself."""
    keys = [key for _, key, _, _ in FORMATTER.parse(template) if key]
    if any(row[key] is None for key in keys):
        return NOTHING
    text = FORMATTER.vformat(template, (), row).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    if text == "-":
        return NOTHING
    if re.fullmatch(r"\+0\.0+(\s±\s0\.0+)?( \(\+0\.0+\))?", text):
        return "0"
    return re.sub(r"(?<![\w.])[-+](?=0\.?0*(?![\d.]))", "", text)


def lines_of(head, body):
    """A table of Markdown, numbers to the right."""
    right = [all(_is_number(line[k]) for line in body) for k in range(len(head))]
    rule = "|" + "|".join("---:" if one else "---" for one in right) + "|"
    return ["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(_escaped(line)) + " |" for line in body)]


def _is_number(text):
    """Whether a cell begins as a number does; sizes of networks are names."""
    return text == NOTHING or re.match(r"[-+]?[\d.](?!\d* x )", text) is not None


def _escaped(cells):
    """Bars would end a cell, angle brackets would begin a tag; a minus is no hyphen."""
    return [re.sub(r"(?<![\w.])-(?=[\d.])", "−", cell).replace("|", "\\|").replace("<", "&lt;") for cell in cells]


# ------------------------------------------------------------------ Sphinx


def read(app, docname, source):
    """Fill in the page when Sphinx reads it."""
    if docname == PAGE:
        folder = Path(app.srcdir) / "benchmarks"
        source[0] = filled(source[0], folder)
        for path in (folder / "README.md", *folder.glob("*.json")):
            app.env.note_dependency(str(path))


def setup(app):
    """Connect to the reading of pages."""
    app.connect("source-read", read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
