"""Rows per block: in cache reach, and small beside the matrices that a block updates."""

_BLOCK_BYTES = 16 << 20  # of float64 working copy: in cache reach, and small beside any Gram
_MIN_ROWS, _MAX_ROWS = 256, 65536


def auto_block_size(n_columns):
    """Rows per block so that a float64 working copy stays near 16 MiB, or twice the columns where they are many.

    A block then costs more than the square matrices that it updates, and memory stays of their order.

    Parameters
    ----------
    n_columns : int
        Columns of the widest matrix that is computed of a block.

    Returns
    -------
    int
        Between 256 and 65536.

    Examples
    --------
    >>> from sklearn_analytic.io import auto_block_size
    >>> auto_block_size(1000)
    2097
    """
    rows = _BLOCK_BYTES // (8 * max(n_columns, 1))
    return int(min(max(rows, min(2 * n_columns, 8192), _MIN_ROWS), _MAX_ROWS))


def short_block_size(n_columns):
    """Rows per block so that a float64 copy stays near 16 MiB: for passes that update no square matrix.

    Parameters
    ----------
    n_columns : int
        Columns of the widest matrix that is computed of a block.

    Returns
    -------
    int
        Between 256 and 65536.

    Examples
    --------
    >>> from sklearn_analytic.io import short_block_size
    >>> short_block_size(10_000)
    256
    """
    return int(min(max(_BLOCK_BYTES // (8 * max(n_columns, 1)), _MIN_ROWS), _MAX_ROWS))
