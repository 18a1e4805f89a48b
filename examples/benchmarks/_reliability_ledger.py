"""What a part of the campaign counts: trials, outcomes by kind, and violations with a command that repeats each."""

import re
import time
from collections import Counter
from dataclasses import dataclass, field

CLEAR = (ValueError, TypeError, FloatingPointError)
SECONDS = 60.0  # a trial that takes longer counts as a hang
_INPUTS = (
    *("x", "y", "sample", "samples", "sample_weight", "sample weights", "weight", "weights", "rows", "row", "block"),
    *("input", "array", "features", "feature", "columns", "class", "classes", "label", "labels", "target", "targets"),
    *("data", "dtype", "string", "complex"),
)


@dataclass
class Ledger:
    """Counts of one part; ``repeat`` names the command that runs a single trial again."""

    part: str
    trials: int = 0
    outcomes: Counter = field(default_factory=Counter)
    violations: list = field(default_factory=list)
    details: list = field(default_factory=list)  # rows of a part's own table
    started: float = field(default_factory=time.monotonic)

    def trial(self, case, outcome, faults=()):
        """Count a trial: what came of it, and what was wrong with it."""
        self.trials += 1
        self.outcomes[outcome] += 1
        repeat = f"python examples/benchmarks/reliability.py --case {self.part}:{case}"
        self.violations += [{"part": self.part, "case": str(case), "what": fault, "repeat": repeat} for fault in faults]

    def seconds(self):
        """Since the part began."""
        return time.monotonic() - self.started

    def summary(self):
        """The part's row of the report."""
        errors = sum(count for kind, count in self.outcomes.items() if kind in {error.__name__ for error in CLEAR})
        counts = {"trials": self.trials, "violations": len(self.violations), "clear_errors": errors}
        return {"part": self.part, **counts, "seconds": round(self.seconds(), 1)}


def is_clear(error, parameters):
    """Whether the message of an error names a parameter or an input."""
    words = set(re.findall(r"[a-z_0-9]+", str(error).lower()))
    return bool(words & {*_INPUTS, *(name.lower() for name in parameters)})


def described(error):
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
