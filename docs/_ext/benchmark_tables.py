"""The page of benchmarks: one section per JSON file of ``docs/benchmarks``, with the command that writes it.

The page holds the line ``<!-- benchmark tables -->``; it is replaced when the page is read, so that tables cannot go
stale. Commands are those of ``docs/benchmarks/README.md``.
"""

import json
import re
from pathlib import Path

from benchmark_layouts import COLUMNS, GRIDS, HEADLINE, HIDDEN, REMARKS

MARK = "<!-- benchmark tables -->"
PAGE = "benchmarks/index"
LONGEST = 40  # rows of a table; the rest is in the file


def commands(readme):
    """{name of a JSON file: its commands} of the code blocks of the README, ``--json`` before ``--resume``."""
    found = {}
    for block in re.findall(r"^```bash\n(.*?)^```", readme, flags=re.M | re.S):
        for line in block.splitlines():
            for name in re.findall(r"--(?:json|resume) docs/benchmarks/(\w+)\.json", line):
                found.setdefault(name, []).append(line.strip())
    return found


def sections(readme):
    """{heading of the README: names of JSON files whose commands stand under it}, in its order."""
    parts = re.split(r"^## (.+)$", readme, flags=re.M)[1:]
    return {title: list(commands(body)) for title, body in zip(parts[::2], parts[1::2], strict=True)}


def page(folder):
    """Markdown of all sections; a file without a command in the README comes last and says so."""
    readme = (folder / "README.md").read_text()
    files = {path.stem: path for path in sorted(folder.glob("*.json"))}
    known, lines = commands(readme), []
    groups = {title: [name for name in names if name in files] for title, names in sections(readme).items()}
    groups["Other files"] = sorted(files.keys() - known.keys())
    for title, names in groups.items():
        if names:
            lines += [f"## {title}", ""]
        for name in names:
            lines += section(name, json.loads(files[name].read_text()), known.get(name, []))
    return "\n".join(lines)


def section(name, record, how):
    """One file: its command, where it ran, its table."""
    lines = [f"### {name}", "", f"[`{name}.json`]({name}.json){where(record)}", ""]
    if name in REMARKS:
        lines += [REMARKS[name], ""]
    lines += [*table(name, record), ""]
    code = "\n".join(how) if how else "# the command is missing in docs/benchmarks/README.md"
    return [*lines, "```bash", code, "```", ""]


def where(record):
    """The machine in one phrase."""
    machine = record.get("environment", {})
    packages = machine.get("packages", {})
    words = [machine.get("gpu"), machine.get("cpu"), f"{machine['cores']} cores" if "cores" in machine else None]
    threads = record.get("settings", {}).get("threads") if isinstance(record.get("settings"), dict) else None
    words += [f"threads: {_text(threads)}"] if threads else []
    words += [f"{key} {packages[key]}" for key in ("numpy", "scikit-learn", "torch") if packages.get(key)]
    words += [machine["date"][:10]] if machine.get("date") else []
    words = [word for word in words if isinstance(word, str) and word]
    return ": " + ", ".join(words) + "." if words else ""


# ------------------------------------------------------------------ tables


def table(name, record):
    """The headline of a file as lines of Markdown."""
    if name in GRIDS:
        return grid(record["rows"], *GRIDS[name])
    if "kappas" in record:
        return conditioning(record)
    if isinstance(record.get("summary"), dict):
        parts = [part for part in HEADLINE.get(name, record["summary"]) if _is_records(record["summary"].get(part))]
        return records([{"part": part} | row for part in parts for row in record["summary"][part]])
    rows = next((record[key] for key in ("summary", "rows") if _is_records(record.get(key))), None)
    if rows is None:
        return listing(record)
    chosen = [row for row in rows if all(row.get(key) in values for key, values in HEADLINE.get(name, {}).items())]
    lines = records(chosen[:LONGEST])
    left_out = len(rows) - len(chosen[:LONGEST])
    return [*lines, "", f"{left_out} more rows are in the file."] if left_out else lines


def records(rows):
    """One line per record, one column per scalar that any of them has."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if _is_scalar(value))
    constant = {key for key in keys if key not in COLUMNS and len(rows) > 1 and _is_constant(rows, key)}
    keys = [key for key in keys if key not in HIDDEN | constant and any(row.get(key) is not None for row in rows)]
    head = [COLUMNS.get(key, (key.replace("_", " "), None))[0] for key in keys]
    return lines_of(head, [[_cell(row.get(key), COLUMNS.get(key, ("", None))[1]) for key in keys] for row in rows])


def grid(rows, down, across, keys):
    """Means of ``keys`` by two others."""
    columns, cells = list(dict.fromkeys(row[across] for row in rows)), {}
    for row in rows:
        cells.setdefault(row[down], {}).setdefault(row[across], []).append(row)
    body = [[name, *(_means(line.get(column, []), keys) for column in columns)] for name, line in cells.items()]
    shown = ", ".join(COLUMNS[key][0] for key in keys)
    return [f"Cells: {shown}.", "", *lines_of([f"{down} / {across}", *map(str, columns)], body)]


def conditioning(record):
    """Errors of the roads by condition number."""
    head = ["system", "road", *(f"{kappa:.0e}" for kappa in record["kappas"])]
    roads = [(system, road, row) for system, rows in record["errors"].items() for road, row in rows.items()]
    return lines_of(head, [[system, road, *(_cell(error, ".0e") for error in row)] for system, road, row in roads])


def listing(record):
    """Any other file: its scalars, by path."""
    found = [(path, value) for path, value in _leaves(record) if not path.startswith(("environment", "settings"))]
    return lines_of(["what", "value"], [[path, _cell(value, None)] for path, value in found[:LONGEST]])


def lines_of(head, body):
    """A table of Markdown."""
    rule = "|" + "---|" * len(head)
    return ["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(_escaped(line)) + " |" for line in body)]


def _escaped(cells):
    """Bars would end a cell, angle brackets would begin a tag."""
    return [str(cell).replace("|", "\\|").replace("<", "&lt;") for cell in cells]


def _means(rows, keys):
    """Cells of a grid: means of the rows that have a value."""
    parts = [[row[key] for row in rows if row.get(key) is not None] for key in keys]
    means = [sum(part) / len(part) if part else None for part in parts]
    return ", ".join(_cell(value, COLUMNS[key][1]) for value, key in zip(means, keys, strict=True))


def _cell(value, form):
    """A value in its format; files of others may hold another type under a known key."""
    if value is None:
        return "–"
    try:
        return format(value, form) if form else _text(value)
    except ValueError:
        return _text(value)


def _text(value):
    """A value without a format of its own."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def _is_scalar(value):
    """Whether a table can show it."""
    return isinstance(value, (str, int, float))


def _is_constant(rows, key):
    """Whether all records have one and the same value: it says nothing in a table."""
    return len({json.dumps(row.get(key)) for row in rows}) == 1


def _is_records(value):
    """Whether it is a list of records."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _leaves(value, path=""):
    """(path, scalar) of nested dictionaries."""
    if _is_scalar(value) or value is None:
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))


# ------------------------------------------------------------------ Sphinx


def read(app, docname, source):
    """Fill in the page when Sphinx reads it."""
    if docname == PAGE:
        folder = Path(app.srcdir) / "benchmarks"
        source[0] = source[0].replace(MARK, page(folder))
        for path in (folder / "README.md", *folder.glob("*.json")):
            app.env.note_dependency(str(path))


def setup(app):
    """Connect to the reading of pages."""
    app.connect("source-read", read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
