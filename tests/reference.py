"""Naive textbook versions of what the package computes fast: the oracles of its tests."""

import numpy as np
from scipy import linalg


def repeated(X, Y, weight):
    """Rows repeated by integer weights: what a weight means."""
    return np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0)


def lstsq(X, Y, fit_intercept=True, rcond=None):
    """Minimum-norm least squares by LAPACK on the centred data."""
    mx, my = (X.mean(0), Y.mean(0)) if fit_intercept else (np.zeros(X.shape[1]), np.zeros(Y.shape[1]))
    coef = linalg.lstsq(X - mx, Y - my, cond=1e-11 if rcond is None else rcond)[0]
    return coef, my - mx @ coef


def ridge(X, Y, alpha, fit_intercept=True):
    """Ridge as least squares of the data with sqrt(alpha) I stacked below."""
    mx, my = (X.mean(0), Y.mean(0)) if fit_intercept else (np.zeros(X.shape[1]), np.zeros(Y.shape[1]))
    d = X.shape[1]
    stacked = np.vstack([X - mx, np.sqrt(alpha) * np.eye(d)])
    coef = linalg.lstsq(stacked, np.vstack([Y - my, np.zeros((d, Y.shape[1]))]))[0]
    return coef, my - mx @ coef


def hat_matrix(X, alpha, fit_intercept=True):
    """The n x n matrix that maps Y to its ridge fit."""
    n = len(X)
    fits = [ridge(X, column[:, None], alpha, fit_intercept) for column in np.eye(n)]
    return np.hstack([X @ coef + intercept for coef, intercept in fits])


def gcv(X, Y, alpha, fit_intercept=True):
    """Generalised cross-validation from its definition, each target in units of its total sum of squares."""
    n, hat = len(X), hat_matrix(X, alpha, fit_intercept)
    rss = np.sum((Y - hat @ Y) ** 2, axis=0)
    total = np.sum((Y - Y.mean(0) if fit_intercept else Y) ** 2, axis=0)
    return np.sum(rss / total) / (1 - np.trace(hat) / n) ** 2


def leave_one_out(X, Y, alpha, fit_intercept=True):
    """Predict every row from a fit on all the others."""
    predictions = []
    for i in range(len(X)):
        rest = np.arange(len(X)) != i
        solve = ridge if alpha > 0 else lambda X, Y, alpha, fit: lstsq(X, Y, fit)
        coef, intercept = solve(X[rest], Y[rest], alpha, fit_intercept)
        predictions.append(X[i] @ coef + intercept)
    return np.array(predictions)


def kfold(X, Y, fold_of_row, alpha, fit_intercept=True):
    """Mean squared error of every target over held-out folds."""
    errors = np.zeros(Y.shape[1])
    for fold in np.unique(fold_of_row):
        out = fold_of_row == fold
        coef, intercept = ridge(X[~out], Y[~out], alpha, fit_intercept)
        errors += np.sum((Y[out] - X[out] @ coef - intercept) ** 2, axis=0)
    return errors / len(X)


def matrix_of_condition(rng, n, d, condition):
    """X with singular values spread logarithmically between 1 and 1/condition, times sqrt(n), and its column basis."""
    u = np.linalg.qr(rng.standard_normal((n, d)))[0]
    v = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return np.sqrt(n) * (u * np.logspace(0, -np.log10(condition), d)) @ v.T, u


def activate(name, z):
    """The activations, one line each."""
    return {
        "identity": lambda: z,
        "relu": lambda: np.maximum(z, 0),
        "tanh": lambda: np.tanh(z),
        "bump": lambda: np.exp(np.minimum(z, 0)),
        "gaussian": lambda: np.exp(-(z**2)),
        "cos": lambda: np.cos(z),
        "triangle": lambda: np.maximum(1 - np.abs(z), 0),
    }[name]()
