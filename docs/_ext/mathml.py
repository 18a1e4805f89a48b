r"""Equations as MathML, rendered when the pages are built: a reader needs neither a network nor JavaScript.

Pandoc converts all formulas of a page in one call. A ``\tag`` becomes a number at the right. The pages bring a font
with the tables that browsers need to stretch brackets and roots: STIX Two Math (SIL Open Font License), cut down to
the characters of mathematics.
"""

import re
import subprocess
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

TAG = re.compile(r"\\tag\{([^{}]*)\}")
FORMULA = re.compile(r"<math .*?</math>", flags=re.S)
# The thin space of "ln a" and "max a", which browsers leave out; none before a bracket.
NAME = re.compile(
    r"(?:<mo>&#8289;</mo>(</mrow>)|(<munder><mi mathvariant=\"normal\">[a-z]+</mi>(?:(?!</?munder).)*</munder>))"
    r"(?!<mo[^>]*>[(\[{])"
)
RANGES = [(0x20, 0x7E), (0xA0, 0xFF), (0x300, 0x338), (0x391, 0x3F6), (0x2000, 0x2057), (0x2100, 0x214F)]
RANGES += [(0x2190, 0x21AF), (0x21D0, 0x21D4), (0x2200, 0x22FF), (0x2308, 0x230B), (0x239B, 0x23B7), (0x27E6, 0x27EB)]
RANGES += [(0x1D400, 0x1D467), (0x1D49C, 0x1D4CF), (0x1D538, 0x1D56B), (0x1D6A4, 0x1D755)]  # italic, bold, script


def converted(formulas):
    """MathML of (TeX, whether it stands by itself), in their order."""
    import pypandoc

    lines = [(" ".join(tex.split()), "$$" if block else "$") for tex, block in formulas]
    source = "\n\n".join(f"{mark}{tex}{mark}" for tex, mark in lines)
    command = [pypandoc.get_pandoc_path(), "--from=markdown", "--to=html", "--mathml", "--wrap=none"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, encoding="utf-8")
    return formulas_of(done.stdout, done.stderr, len(formulas))


def formulas_of(page, complaints, n_formulas):
    """The formulas of pandoc's page; an error where it could not read one."""
    found = FORMULA.findall(page)
    if complaints or len(found) != n_formulas:
        raise ExtensionError(f"pandoc could not convert {n_formulas - len(found)} formulas: {complaints}")
    return [NAME.sub(r'\1\2<mspace width="0.17em"></mspace>', text) for text in found]


class RenderedEquations(SphinxPostTransform):
    """Convert the formulas of a page."""

    default_priority = 500
    formats = ("html",)

    def run(self, **options):
        """Keep MathML, and the number of the equation, in every node."""
        found = [*self.document.findall(nodes.math), *self.document.findall(nodes.math_block)]
        formulas = [(TAG.sub("", node.astext()), isinstance(node, nodes.math_block)) for node in found]
        if not found:
            return
        for node, text in zip(found, converted(formulas), strict=True):
            tag = TAG.search(node.astext())
            node["mathml"], node["tag"] = text, tag[1] if tag else None


def visit_inline(writer, node):
    """A formula within a line."""
    writer.body.append(node["mathml"])
    raise nodes.SkipNode


def visit_block(writer, node):
    """A formula by itself, with its number."""
    number = f'<span class="equation-number">({escape(node["tag"])})</span>' if node["tag"] else ""
    writer.body.append(f'<div class="equation">{node["mathml"]}{number}</div>\n')
    raise nodes.SkipNode


def write_font(app, exception):
    """Put the font of formulas beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    import ziamath
    from fontTools import subset

    features = ["ssty", "dtls", "flac", "ccmp", "kern"]  # of the table for mathematics
    options = subset.Options(flavor="woff", notdef_outline=True, layout_features=features)
    font = subset.load_font(str(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[code for low, high in RANGES for code in range(low, high + 1)])
    cutter.subset(font)
    subset.save_font(font, str(Path(app.outdir) / "_static" / "math.woff"), options)


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.add_css_file("math.css")
    app.add_post_transform(RenderedEquations)
    app.connect("build-finished", write_font)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
