"""Links that a code host resolves and Sphinx does not: to files of the repository outside of the documentation.

Scripts of the gallery and its folder become links to their pages.
"""

import posixpath
import re
from pathlib import PurePosixPath

# Files of the repository that the site has as pages of its own.
PAGES = {"CHANGELOG.md": "changelog.md", "README.md": "index.md", "CITATION.cff": "citing.md"}
EXAMPLE = re.compile(r"examples/(?P<name>plot_\w+)\.py$")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"^(`{3,}|~{3,})")


def rewritten(text, folder, exists):
    """The page with links out of ``docs/`` turned into links to pages, or into names of files."""
    lines, fence = [], None
    for line in text.split("\n"):
        mark = FENCE.match(line.strip())
        if fence is None:
            fence = mark and mark[0]
            line = line if fence else _outside_code(line, lambda match: _link(match, folder, exists))
        elif mark and mark[0] == fence:
            fence = None
        lines.append(line)
    return "\n".join(lines)


def _outside_code(line, replace):
    """A line with its links replaced; code that shows one stays, a link may have code in its text."""
    return re.sub(rf"{LINK.pattern}|`[^`]*`", lambda match: replace(match) if match["target"] else match[0], line)


def _link(match, folder, exists):
    """One link; those inside ``docs/`` and those to other sites stay."""
    target = match["target"]
    if "://" in target or target.startswith(("mailto:", "/")) or match["image"]:
        return match[0]
    path = posixpath.normpath(posixpath.join("docs", folder, target))
    example = EXAMPLE.match(path)
    if example or path == "examples":
        page = f"auto_examples/{example['name'] if example else 'index'}.rst"
        return f"[{match['text']}]({_relative(page, folder)})"
    if path in PAGES:
        return f"[{match['text']}]({_relative(PAGES[path], folder)})"
    if not path.startswith("docs/"):
        return match["text"]  # source files are named in the text; the site does not hold them
    if exists(f"{path}/index.md"):
        return f"[{match['text']}]({posixpath.join(target, 'index.md')})"
    return match[0]


def _relative(page, folder):
    """From a folder of ``docs/`` to a page."""
    return posixpath.relpath(page, folder or ".")


def read(app, docname, source):
    """Rewrite one page before it is parsed."""
    folder = str(PurePosixPath(docname).parent)
    folder = "" if folder == "." else folder
    source[0] = rewritten(source[0], folder, lambda path: (app.srcdir.parent / path).exists())


def setup(app):
    """Connect to the reading of pages."""
    app.connect("source-read", read, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
