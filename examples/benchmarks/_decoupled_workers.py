"""Measurements of ``decoupled.py`` that need a process of their own."""

from _dfa_workers import answer


def speed(task, threads):
    """Wall seconds per batch of every contender: see ``_decoupled_speed.py``."""
    from _decoupled_contenders import timed

    return timed(task)


def peak(task, threads):
    """Counted bytes and peak memory of an epoch: see ``_decoupled_memory.py``."""
    from _decoupled_peak import measured

    return measured(task)


def costs(task, threads):
    """Seconds of modules in turns and side by side: see ``_decoupled_simulation.py``."""
    from _decoupled_costs import measured

    return measured(task)


def stacked(task, threads):
    """Seconds of equal modules in one product: see ``_decoupled_stacked.py``."""
    from _decoupled_stack import timed

    return timed(task)


def peer(task, threads):
    """Seconds of one process: see ``_decoupled_synchronous.py``."""
    from _decoupled_peers import timed

    return timed(task)


if __name__ == "__main__":
    answer({"speed": speed, "peak": peak, "costs": costs, "stacked": stacked, "peer": peer})
