"""Estimators that do themselves harm in a worker process; they have a file of their own for workers to import."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn_analytic as sa
from sklearn_analytic.feedback.method import DirectFeedback


def _rank():
    """Number of this process in its group; 0 outside of one."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_initialized() else 0


class _Killed(DirectFeedback):
    def watch(self, execution, rows):
        if _rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().watch(execution, rows)


class _Raising(DirectFeedback):
    def watch(self, execution, rows):
        if _rank() == 1:
            raise ZeroDivisionError("rank 1 gave up")
        return super().watch(execution, rows)


class KilledClassifier(sa.DFAClassifier):
    """Rank 1 is killed after an epoch."""

    _kind_of_method = _Killed


class RaisingClassifier(sa.DFAClassifier):
    """Rank 1 raises after an epoch."""

    _kind_of_method = _Raising


@dataclass(frozen=True)
class KilledStep:
    """A step of a reduction that kills its process once, at the block that begins with a certain target."""

    step: Any
    flag: Path
    target: float

    def __call__(self, statistic, block, backend):
        if float(block.y[0, 0]) == self.target and not self.flag.exists():
            self.flag.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.step(statistic, block, backend)


class KilledRegressor(sa.BRMPRegressor):
    """A regressor whose worker on a cluster dies once."""

    def _step(self):
        return KilledStep(super()._step(), self._flag, self._target)
