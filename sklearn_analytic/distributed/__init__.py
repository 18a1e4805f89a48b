"""Estimators over several processes, on torch.distributed."""

from sklearn_analytic.distributed._data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]
