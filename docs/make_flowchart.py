"""Draw the questions of ``docs/choosing.md`` as a chart: ``docs/_static/choosing.svg``, and one for narrow screens.

Questions stand below each other, and to the right of each the answer to "yes" (below it on narrow screens). Names of
estimators link to their API page, the words "Read: ..." to a guide. Run ``python docs/make_flowchart.py`` after a
change; tests compare the committed files with what this writes, and look for the pages behind the links.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

STATIC = Path(__file__).resolve().parent / "_static"
TARGET, NARROW = STATIC / "choosing.svg", STATIC / "choosing_narrow.svg"

GUIDES = {
    "a probe on embeddings": "auto_examples/plot_02_streaming_probe",
    "privacy": "user_guide/privacy",
    "streaming": "user_guide/streaming",
    "later classes": "user_guide/class_incremental",
    "forgetting": "user_guide/forgetting",
    "when trees win": "user_guide/closed_form",
    "direct feedback": "user_guide/dfa",
    "layer-wise": "user_guide/layerwise",
    "modules": "user_guide/decoupled",
    "CPNet": "theory/cpnet",
    "closed-form networks": "user_guide/closed_form",
}
# A star stands for the classifier and the regressor; the link goes to the first of the two.
STARS = {
    "ClosedFormMLP*": "ClosedFormMLP",
    "BRMP*": "BRMPClassifier",
    "DFA*": "DFAClassifier",
    "LayerwiseMLP*": "LayerwiseMLP",
    "DecoupledMLP*": "DecoupledMLPClassifier",
}


@dataclass(frozen=True)
class Step:
    """A question, the answer to "yes" with names in backquotes, and the guides to read."""

    question: tuple
    answer: tuple
    guides: tuple


STEPS = (
    Step(
        ("Photographs, sound or text?",),
        ("a pretrained encoder first, then begin", "again with its embeddings as columns"),
        ("a probe on embeddings",),
    ),
    Step(("Must single rows stay private?",), ("`PrivateDFAClassifier`",), ("privacy",)),
    Step(("Is a linear model enough?",), ("`BRMPRegressor`, `BRMPClassifier`",), ("streaming",)),
    Step(
        ("Do rows come in blocks or from several", "machines, or must some leave again?"),
        ("`ClosedFormMLP*`, `CPNetClassifier`;", "a shard of public rows leaves no trace"),
        ("streaming", "later classes", "forgetting"),
    ),
    Step(
        ("More than 100,000 rows, and only", "a few seconds for a fit?"),
        ("boosted trees, which are not in this package;", "try `ClosedFormMLP*` beside them"),
        ("when trees win",),
    ),
    Step(
        ("A smooth function of many columns with", "many rows, or a torch network of your own?"),
        ("`DFA*`; `LayerwiseMLP*` where memory is short;", "`DecoupledMLP*` for deep, wide networks"),
        ("direct feedback", "layer-wise", "modules"),
    ),
    Step(("Classes, and a fit has to be quick?",), ("`CPNetClassifier`",), ("CPNet",)),
)
DEFAULT = Step((), ("`ClosedFormMLP`, `ClosedFormMLPRegressor`",), ("closed-form networks",))

# Boxes bring their own background, and lines are grey, so that all can be read on white and on black.
QUESTION, ANSWER, LINE = ("#e8f0f7", "#41688c"), ("#fdf0d9", "#a8701c"), "#7d8b99"
INK, LINK = "#1c2733", "#0b57a4"
NAME = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Layout:
    """Where boxes stand: the corner and width of answers beside or below the questions, and the steps between."""

    question_width: int
    answer_left: int
    answer_top: int
    answer_width: int
    step: int
    box: int = 66
    answer_box: int = 80


WIDE = Layout(question_width=360, answer_left=450, answer_top=-7, answer_width=380, step=104)
COMPACT = Layout(question_width=400, answer_left=40, answer_top=80, answer_width=362, step=184, box=54)
EDGE = 10


def drawing(layout=WIDE):
    """The whole chart as text."""
    parts = [part for number, step in enumerate(STEPS) for part in row(layout, EDGE + number * layout.step, step)]
    last = EDGE + len(STEPS) * layout.step
    parts.append(answer(EDGE, last, layout.question_width, layout.answer_box, DEFAULT))
    width = max(EDGE + layout.question_width, layout.answer_left + layout.answer_width) + EDGE
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {last + layout.answer_box + EDGE}" role="img"\n'
        f'     font-family="system-ui, sans-serif" font-size="15">\n'
        f"<title>Choosing an estimator</title>\n{body}\n</svg>\n"
    )


def row(layout, y, step):
    """One question, its answer, and the arrows from it."""
    middle, beside = EDGE + layout.question_width / 2, layout.answer_top < layout.box
    top = y + layout.answer_top
    reply = answer(layout.answer_left, top, layout.answer_width, layout.answer_box, step)
    if beside:
        yes = arrow(EDGE + layout.question_width, y + layout.box / 2, layout.answer_left, y + layout.box / 2, "yes")
    else:
        yes = arrow(middle, y + layout.box, middle, top, "yes")
        middle = EDGE + 12  # "no" passes the answer on its left
    no = arrow(middle, y + layout.box, middle, y + layout.step, "no")
    lines = [escape(line) for line in step.question]
    return [box(EDGE, y, layout.question_width, layout.box, lines, QUESTION), reply, *yes, *no]


def answer(x, y, width, height, step):
    """A box with an answer and the guides to it."""
    lines = [NAME.sub(lambda match: link(api_page(match[1]), match[1]), escape(line)) for line in step.answer]
    guides = ", ".join(link(GUIDES[name], name) for name in step.guides)
    return box(x, y, width, height, [*lines, f"Read: {guides}"], ANSWER)


def api_page(name):
    """The page of an estimator, without its ending."""
    return f"generated/sklearn_analytic.{STARS.get(name, name)}"


def link(page, words):
    """Words that lead to a page of the site; paths are relative to the folder of the chart."""
    return f'<a href="../{page}.html" target="_top" fill="{LINK}" text-decoration="underline">{words}</a>'


def box(x, y, width, height, lines, colours):
    """A rounded rectangle with a few centred lines."""
    fill, stroke = colours
    first, centre = y + height / 2 + 5.5 - 11 * (len(lines) - 1), x + width / 2
    at = f'x="{centre:g}" text-anchor="middle" fill="{INK}"'
    text = "".join(f'<text {at} y="{first + 22 * number:g}">{line}</text>' for number, line in enumerate(lines))
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{stroke}"/>'
    return shape + text


def arrow(x0, y0, x1, y1, word):
    """A line with a head, and a word beside its beginning."""
    across = y0 == y1
    head = f"{x1:g},{y1:g} {x1 - 8:g},{y1 - 5:g} {x1 - 8:g},{y1 + 5:g}" if across else ""
    head = head or f"{x1:g},{y1:g} {x1 - 5:g},{y1 - 8:g} {x1 + 5:g},{y1 - 8:g}"
    at = ((x0 + x1) / 2 - 2, y0 - 6) if across else (x0 + 20, y0 + 15)
    return [
        f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{LINE}" stroke-width="2"/>',
        f'<polygon points="{head}" fill="{LINE}"/>',
        f'<text x="{at[0]:g}" y="{at[1]:g}" text-anchor="middle" fill="{LINE}">{word}</text>',
    ]


def links():
    """Every page that the chart leads to, as a path below ``docs/`` without its ending."""
    steps = (*STEPS, DEFAULT)
    names = [name for step in steps for line in step.answer for name in NAME.findall(line)]
    return sorted({api_page(name) for name in names} | {GUIDES[guide] for step in steps for guide in step.guides})


def drawings():
    """{file: its text} of both charts."""
    return {TARGET: drawing(WIDE), NARROW: drawing(COMPACT)}


if __name__ == "__main__":
    for path, text in drawings().items():
        path.write_text(text)
