"""Links from public names in the text to their pages, and from docstrings to the pages of the theory.

Pages and docstrings write names as code (``ClosedFormMLP()``, ``Blocks.from_parquet``, ``DFA*`` for a classifier and
its regressor). A name that the site documents becomes a link wherever it stands alone in its code font, headings and
links aside.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

import sklearn_analytic

PACKAGE = sklearn_analytic.__name__
PUBLIC = {PACKAGE: sklearn_analytic.__all__, f"{PACKAGE}.distributed": sklearn_analytic.distributed.__all__}
NAME = re.compile(rf"(?:{PACKAGE}\.)?(?P<name>\w+)(?P<attribute>(?:\.\w+)*)(?:\(.*\)|\*)?$", flags=re.S)
PAGE = re.compile(r"(?<![\w/`])docs/((?:theory|user_guide)/\w+)\.md")
WITHIN = (nodes.title, nodes.reference, addnodes.pending_xref, addnodes.desc_signature)


class PublicNames(SphinxPostTransform):
    """Turn names in code font into links."""

    default_priority = 5  # before references are resolved

    def run(self, **options):
        """Wrap the literals of one page."""
        if self.env.docname.startswith("auto_examples/"):
            return  # the gallery links the names of its code by itself
        for node in list(self.document.findall(nodes.literal)):
            target = self._documented(node)
            if target and not any(isinstance(parent, WITHIN) for parent in _parents(node)):
                page, anchor = target
                link = nodes.reference("", "", internal=True)
                link["refuri"] = self.app.builder.get_relative_uri(self.env.docname, page) + f"#{anchor}"
                node.replace_self(link)
                link += node

    def _documented(self, node):
        """(page, anchor) of what a literal names, where another page describes it."""
        match = NAME.match(node.astext())
        if not match:
            return None
        objects = self.env.domains.python_domain.objects
        public = match["name"] + ("Classifier" if f"{match['name']}Classifier" in PUBLIC[PACKAGE] else "")
        homes = [home for home, names in PUBLIC.items() if public in names]
        for name in [f"{home}.{public}{end}" for home in homes for end in (match["attribute"], "")]:
            entry = objects.get(name)
            if entry is not None and entry.docname != self.env.docname:
                return entry.docname, entry.node_id
        return None


def _parents(node):
    """All that a node stands in."""
    while node.parent is not None:
        node = node.parent
        yield node


def link_pages(app, what, name, obj, options, lines):
    """Turn the names of pages in a docstring into links."""
    lines[:] = [PAGE.sub(r":doc:`/\1`", line) for line in lines]


def setup(app):
    """Register the transform, and connect to the docstrings."""
    app.add_post_transform(PublicNames)
    app.connect("autodoc-process-docstring", link_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
