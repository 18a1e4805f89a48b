"""Draw ``docs/_static/choosing.svg``: questions from top to bottom, an estimator to the right of each.

Run ``python docs/make_flowchart.py`` after a change; a test compares the committed file with what this writes.
"""

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).resolve().parent / "_static" / "choosing.svg"

# (lines of the question, lines of the answer to "yes"); the last answer is where every "no" ends.
STEPS = (
    (
        ("Photographs, sound or text?",),
        ("a pretrained encoder first, then begin", "again with its embeddings as columns"),
    ),
    (("Must single rows stay private?",), ("PrivateDFAClassifier",)),
    (("Is a linear model enough?",), ("BRMPRegressor, BRMPClassifier",)),
    (
        ("Do rows come in blocks or from several", "machines, or must some leave again?"),
        ("ClosedFormMLP*, CPNetClassifier;", "BRMP* with hidden layers, also to forget"),
    ),
    (
        ("Very many rows, and rules of thresholds?",),
        ("boosted trees, which are not in this package;", "try ClosedFormMLP* beside them"),
    ),
    (
        ("A smooth function of many columns with", "many rows, or a torch network of your own?"),
        (
            "DFA*; LayerwiseMLP* where memory is short;",
            "DecoupledMLP* for deep, wide networks",
            "with cores or devices to spare",
        ),
    ),
    (("Classes, and does a fit have to be quick?",), ("CPNetClassifier",)),
)
DEFAULT = ("ClosedFormMLP, ClosedFormMLPRegressor",)

LEFT, RIGHT, WIDTH_LEFT, WIDTH_RIGHT = 10, 460, 370, 380
BOX, STEP, TOP = 66, 92, 10
# Colours that can be read on white and on black: boxes bring their own background.
QUESTION, ANSWER, LINE = ("#e8f0f7", "#41688c"), ("#fdf0d9", "#a8701c"), "#7d8b99"
INK = "#1c2733"


def drawing():
    """The whole figure as text."""
    last = TOP + len(STEPS) * STEP
    parts = []
    for number, (question, answer) in enumerate(STEPS):
        y = TOP + number * STEP
        parts += [box(LEFT, y, WIDTH_LEFT, question, QUESTION), box(RIGHT, y, WIDTH_RIGHT, answer, ANSWER)]
        parts += arrow(LEFT + WIDTH_LEFT, y + BOX / 2, RIGHT, y + BOX / 2, "yes")
        parts += arrow(LEFT + WIDTH_LEFT / 2, y + BOX, LEFT + WIDTH_LEFT / 2, y + STEP, "no")
    parts.append(box(LEFT, last, WIDTH_LEFT, DEFAULT, ANSWER))
    width, height = RIGHT + WIDTH_RIGHT + 10, last + BOX + 10
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"\n'
        f'     font-family="system-ui, sans-serif" font-size="15">\n'
        f"<title>Choosing an estimator</title>\n{body}\n</svg>\n"
    )


def box(x, y, width, lines, colours):
    """A rounded rectangle with a few centred lines."""
    fill, stroke = colours
    first, centre = y + BOX / 2 + 5.5 - 10 * (len(lines) - 1), x + width / 2
    at = f'x="{centre:g}" text-anchor="middle" fill="{INK}"'
    text = "".join(f'<text {at} y="{first + 20 * number:g}">{escape(line)}</text>' for number, line in enumerate(lines))
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{BOX}" rx="8" fill="{fill}" stroke="{stroke}"/>'
    return shape + text


def arrow(x0, y0, x1, y1, word):
    """A line with a head and a word beside it."""
    across = y0 == y1
    head = f"{x1:g},{y1:g} {x1 - 8:g},{y1 - 5:g} {x1 - 8:g},{y1 + 5:g}" if across else ""
    head = head or f"{x1:g},{y1:g} {x1 - 5:g},{y1 - 8:g} {x1 + 5:g},{y1 - 8:g}"
    at = ((x0 + x1) / 2 - 2, y0 - 6) if across else (x0 + 18, (y0 + y1) / 2 + 4)
    return [
        f'<line x1="{x0:g}" y1="{y0:g}" x2="{x1:g}" y2="{y1:g}" stroke="{LINE}" stroke-width="2"/>',
        f'<polygon points="{head}" fill="{LINE}"/>',
        f'<text x="{at[0]:g}" y="{at[1]:g}" text-anchor="middle" fill="{LINE}">{word}</text>',
    ]


if __name__ == "__main__":
    TARGET.write_text(drawing())
