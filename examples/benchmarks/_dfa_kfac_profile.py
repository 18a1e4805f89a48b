"""Where the seconds of a fit with K-FAC go: factors, decompositions, solves, the clip, and all the rest."""

import importlib
import time
from contextlib import contextmanager

PARTS = ("factors", "decompositions", "solves", "clip")


@contextmanager
def profiled(network):
    """A dict of seconds by part that fills while a network is trained; "mlp" is compiled, "cnn" torch's."""
    spent = dict.fromkeys(PARTS, 0.0)
    undo = []

    def put(owner, name, part):
        own = getattr(owner, name)
        undo.append((owner, name, own))
        setattr(owner, name, timed(own, part))

    def timed(function, part):
        def call(*given):
            start = time.process_time()
            try:
                return function(*given)
            finally:
                spent[part] += time.process_time() - start

        return call

    kind = "_preconditioner" if network == "mlp" else "_torch_kfac"
    module = importlib.import_module(f"sklearn_analytic.nn.{kind}")
    put(module, "inner_product", "clip")
    put(module, "kl_scale", "clip")
    table = module.SOLVERS if network == "mlp" else module._SOLVERS
    before = dict(table)
    if network == "mlp":
        put(module, "_renewed", "factors")
        own = {"decomposed": "decompositions", "step": "solves"}
        for name, solver in before.items():
            table[name] = solver._replace(**{key: timed(getattr(solver, key), part) for key, part in own.items()})
    else:
        put(module.TorchKFAC, "_read", "factors")
        put(module.TorchKFAC, "_update_factors", "factors")
        for name, (decomposed, solved) in before.items():
            table[name] = timed(decomposed, "decompositions"), timed(solved, "solves")
    try:
        yield spent
    finally:
        table.update(before)
        for owner, name, own in undo:
            setattr(owner, name, own)
