"""Streaming least squares: statistics as values (accumulate, merge, remove, solve) and what follows from them."""

from sklearn_analytic.linalg._class_sums import ClassSums
from sklearn_analytic.linalg._columns import ColumnMoments, WithColumns
from sklearn_analytic.linalg._conformal import conformal_quantile, rows_needed
from sklearn_analytic.linalg._exits import ExitReadout, exit_influence, ridge_exits, spectral_exit
from sklearn_analytic.linalg._normal import NormalEquations
from sklearn_analytic.linalg._pseudoinverse import MoorePenroseState
from sklearn_analytic.linalg._recursion import RecursiveLeastSquares
from sklearn_analytic.linalg._ridge_path import LeaveOneOut, best_alpha, kfold_errors
from sklearn_analytic.linalg._spectral import SpectralProblem
from sklearn_analytic.linalg._triangular import TriangularFactor

__all__ = [
    "ClassSums",
    "ColumnMoments",
    "ExitReadout",
    "LeaveOneOut",
    "MoorePenroseState",
    "NormalEquations",
    "RecursiveLeastSquares",
    "SpectralProblem",
    "TriangularFactor",
    "WithColumns",
    "best_alpha",
    "conformal_quantile",
    "exit_influence",
    "kfold_errors",
    "ridge_exits",
    "rows_needed",
    "spectral_exit",
]
