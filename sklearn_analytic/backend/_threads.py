"""Threads of BLAS, told to compiled loops that call it for products of any size."""

from functools import lru_cache

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _controller():
    """Finding the loaded libraries takes milliseconds, so they are found once."""
    return ThreadpoolController()


def blas_threads(limit):
    """Return a context in which BLAS uses at most ``limit`` threads; None leaves it alone."""
    return _controller().limit(limits=limit, user_api="blas")
