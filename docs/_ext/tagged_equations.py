r"""Equations with ``\tag``: MathJax refuses a tag inside of ``split``, which Sphinx puts around several lines."""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


class TaggedEquations(SphinxPostTransform):
    """Write such equations as ``equation*``, in which a tag is allowed."""

    default_priority = 500
    formats = ("html",)

    def run(self, **options):
        """Mark them, so that Sphinx adds nothing."""
        for node in self.document.findall(nodes.math_block):
            text = node.astext()
            if r"\tag" in text:
                body = rf"\begin{{equation*}}{text.strip()}\end{{equation*}}"
                node["nowrap"] = node["no-wrap"] = True
                node.children = [nodes.Text(body)]
                node.rawsource = body


def setup(app):
    """Register the transform."""
    app.add_post_transform(TaggedEquations)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
