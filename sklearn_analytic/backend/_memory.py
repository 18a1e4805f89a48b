"""Advice for a computation that ran out of memory: what took it, and the rows per block that would fit."""

_COPIES = 4  # of a block in float64 that are alive at once: rows, features, their stack, the product's operand
_SQUARES = 4  # square matrices beside them: the statistic before and after, a product, its sum


def memory_error(error, device, free, n_rows, n_columns, parameter):
    """Return a MemoryError that says what the memory went to and what to change.

    Parameters
    ----------
    error : Exception
        What the allocation raised.
    device : str
        Where it failed.
    free : int or None
        Bytes free there now, None where nobody can tell.
    n_rows, n_columns : int
        Rows of the block that was in work, and columns of what was computed from it.
    parameter : str
        What sets the rows per block, such as "block_size".

    Returns
    -------
    MemoryError
        The advice.

    Examples
    --------
    >>> from sklearn_analytic.backend._memory import memory_error
    >>> text = str(memory_error(MemoryError("no"), "cuda", 1 << 30, 65536, 1000, "block_size"))
    >>> "Set block_size=16384" in text
    True
    """
    squares, row = 8 * _SQUARES * n_columns**2, 8 * _COPIES * n_columns
    fitting = n_rows // 2 if free is None else min(n_rows // 2, (free - squares) // row)
    size = 1 << (fitting.bit_length() - 1) if fitting > 0 else 0
    needs = (
        f"A block of {n_rows} rows needs about {_mega(n_rows * row)} for {n_columns} columns, "
        f"and their square matrices {_mega(squares)}"
    )
    left = "" if free is None else f"; {_mega(free)} are free"
    advice = (
        f"Set {parameter}={size}."
        if size > 0
        else "Smaller blocks will not help: use fewer hidden units, precision='float32', or device='cpu'."
    )
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return MemoryError(f"Out of memory on device {device!r}. {needs}{left}. {advice} ({reason})")


def _mega(n_bytes):
    """Bytes as mebibytes."""
    return f"{n_bytes / 2**20:.0f} MiB"
