"""Learning rates over a run: a factor per step, as a function of the share of the run that is done."""

import numpy as np

STEP_FRACTIONS, STEP_FACTOR = (0.5, 0.75), 0.1


def _cosine(done):
    return 0.5 * (1 + np.cos(np.pi * np.minimum(done, 1)))


def _step(done):
    return STEP_FACTOR ** np.searchsorted(STEP_FRACTIONS, done, side="right")


# {name: factor of the rate where a share ``done`` (0..1) of the run is over}
SCHEDULES = {"constant": np.ones_like, "cosine": _cosine, "step": _step}

# {name: share of the run after which the rate has at most a tenth of itself to fall}
COOLED = {"constant": 0.0, "cosine": 0.8, "step": STEP_FRACTIONS[-1]}


def rates(name, rate, first, n_steps, total, warmup=0):
    """Return the rates of steps ``first .. first + n_steps`` out of ``total``, after ``warmup`` linear steps."""
    steps = np.arange(first, first + n_steps, dtype=np.float64)
    done = (steps - warmup) / max(total - warmup, 1)
    factors = SCHEDULES[name](np.clip(done, 0.0, 1.0))
    rising = np.minimum((steps + 1) / max(warmup, 1), 1.0)
    return rate * np.where(steps < warmup, rising, factors)
