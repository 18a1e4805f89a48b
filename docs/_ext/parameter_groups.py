"""Parameters of estimators in groups: a heading above each group of "Other Parameters", and a table of all of them.

numpydoc puts "Other Parameters" below the attributes; here they follow the first ones.
"""

import re

from sklearn_analytic.estimator.texts import GROUPS, group_of

FIRST, OTHERS = ":Parameters:", ":Other Parameters:"
SECTION = re.compile(r":[A-Z][\w ]*:$|\.\. rubric::")
ENTRY = re.compile(r"    \*\*(\w+)\*\* :")


def grouped(lines):
    """The lines of a docstring, as numpydoc leaves them, with other parameters under headings and a table."""
    parts = _sections(lines)
    first, others = (next((part for part in parts if part[:1] == [title]), None) for title in (FIRST, OTHERS))
    if first is None or others is None:
        return lines
    kept = [part for part in parts if part is not others]
    place = next(k for k, part in enumerate(kept) if part is first) + 1
    kept[place:place] = [_with_headings(others), _table(_names(first) + _names(others))]
    return [line for part in kept for line in part]


def _sections(lines):
    """The lines before the first section, and those of every section."""
    parts = [[]]
    for line in lines:
        if SECTION.match(line):
            parts.append([])
        parts[-1].append(line)
    return parts


def _names(part):
    """The parameters that a section describes."""
    return [match[1] for match in map(ENTRY.match, part) if match]


def _with_headings(part):
    """A section with the name of each group above its parameters."""
    found, before = [], None
    for line in part:
        match = ENTRY.match(line)
        group = group_of(match[1]) if match else before
        if group != before:
            found += [f"    .. rubric:: {group}", ""]
        before = group
        found.append(line)
    return found


def _table(names):
    """A section with the parameters of every group."""
    rows = [(group, [name for name in members if name in names]) for group, members in GROUPS.items()]
    lines = [":Parameters by group:", "", "    .. list-table::", "       :class: parameter-groups", ""]
    for group, members in rows:
        if members:
            lines += [f"       * - {group}", f"         - {', '.join(f'``{name}``' for name in members)}"]
    return [*lines, ""]


def process(app, what, name, obj, options, lines):
    """Group the parameters of an estimator's docstring, after numpydoc."""
    if what == "class" and hasattr(obj, "fit"):
        lines[:] = grouped(lines)


def setup(app):
    """Connect to the docstrings."""
    app.connect("autodoc-process-docstring", process, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
