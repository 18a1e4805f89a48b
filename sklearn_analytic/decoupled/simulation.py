"""A discrete-event model of modules at work: when each operation begins and ends, from what each of them costs."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.decoupled.pipeline import BACKWARD, FORWARD, UPDATE

TIMELINE_FIELDS = [
    ("module", "i4"),
    ("kind", "U8"),
    ("batch", "i8"),
    ("begin", "f8"),
    ("end", "f8"),
    ("version", "i8"),
]


@dataclass(frozen=True)
class ModuleCosts:
    """Seconds of one module's operations on one batch, and of handing a batch on to a neighbour."""

    forward: float
    backward: float
    update: float = 0.0
    transfer: float = 0.0


def simulate(rule, costs, n_batches, one_machine=False):
    """Return the timeline of one epoch, as :meth:`Pipeline.record` would.

    Parameters
    ----------
    rule : PipelineSchedule
        Schedule; a module that recomputes runs forward once more before it sends a batch back.
    costs : sequence of ModuleCosts
        Of all modules, bottom to top; each has a processor of its own.
    n_batches : int
        Batches of the epoch.
    one_machine : bool
        Whether all modules share one processor, as in the sequential executor.

    Returns
    -------
    structured ndarray
        Module, kind, batch, begin, end, version; in the order of beginnings.

    Examples
    --------
    >>> from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
    >>> from sklearn_analytic.decoupled.pipeline import PipelineSchedule
    >>> timeline = simulate(PipelineSchedule("fdg"), [ModuleCosts(1, 2)] * 2, 100)
    >>> float(timeline["end"].max())  # backpropagation would take 600
    303.0
    """
    n_modules = len(costs)
    modules = [_Module(rule, n_modules - 1 - k, cost, n_batches) for k, cost in enumerate(costs)]
    ready = {}  # (module, kind, batch): when its input is there
    done, processors = [], np.zeros(1 if one_machine else n_modules)
    waiting = set(range(n_modules))
    while waiting:
        moved = False
        for k in sorted(waiting):
            module, processor = modules[k], 0 if one_machine else k
            while module.next is not None and (at := module.input_time(k, n_modules, ready)) is not None:
                operations = module.take(max(at, processors[processor]))
                processors[processor] = operations[-1][3]
                done += [(k, *operation) for operation in operations]
                _hand_on(k, operations[0], module.costs.transfer, ready)
                moved = True
            if module.next is None:
                waiting.discard(k)
        if not moved:
            raise RuntimeError("the modules wait for each other: their programs do not fit together")
    found = np.array(done, dtype=TIMELINE_FIELDS)
    return found[np.argsort(found["begin"], kind="stable")]


class _Module:
    """One module's place in its program."""

    def __init__(self, rule, above, costs, n_batches):
        self.rule, self.above, self.costs = rule, above, costs
        self._program = iter(rule.program(above, 0, 0, n_batches))
        self._last = n_batches - 1 if rule.drain else None
        self._waiting = self._version = 0
        self.next = next(self._program, None)

    def input_time(self, k, n_modules, ready):
        """When the next operation could begin; None while its input is not known."""
        kind, batch = self.next
        alone = (kind == FORWARD and k == 0) or (kind == BACKWARD and k == n_modules - 1)
        return 0.0 if alone else ready.get((k, kind, batch))

    def take(self, begin):
        """Take the next operation, and the update that follows; [(kind, batch, begin, end, version), ...]."""
        kind, batch = self.next
        again = self.costs.forward if kind == BACKWARD and self.rule.recomputes(self.above) else 0.0
        end = begin + again + {FORWARD: self.costs.forward, BACKWARD: self.costs.backward}[kind]
        found = [(kind, batch, begin, end, self._version)]
        self._waiting += kind == BACKWARD
        if kind == BACKWARD and (self._waiting == self.rule.accumulation or batch == self._last):
            self._waiting, self._version = 0, self._version + 1
            found.append((UPDATE, batch, end, end + self.costs.update, self._version))
        self.next = next(self._program, None)
        return found


def _hand_on(k, operation, transfer, ready):
    """Tell the neighbour when its input is there."""
    kind, batch, _, end, _ = operation
    neighbour = k + 1 if kind == FORWARD else k - 1
    ready[neighbour, kind, batch] = end + transfer
