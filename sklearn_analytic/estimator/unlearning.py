"""What is left of rows that were forgotten, said where anything is."""

from sklearn_analytic.backend._warn_user import warn_user


class UnlearningWarning(UserWarning):
    """Forgotten rows have left the readout, and may have left traces in layers that they helped to build.

    Examples
    --------
    >>> import warnings
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import CPNetClassifier, UnlearningWarning
    >>> X, y = load_iris(return_X_y=True)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", UnlearningWarning)
    ...     _ = CPNetClassifier(20, random_state=0).fit(X, y).forget(X[:9], y[:9])
    >>> [entry.category.__name__ for entry in caught]
    ['UnlearningWarning']
    """


def warn_of_traces(estimator, traces, instead):
    """Say what remains of forgotten rows, parts that rows of the fit have built, and what would leave none."""
    if traces:
        warn_user(
            f"{estimator}.forget: the readout, its ridge and calibration are those of the rows that remain. Rows that "
            "were there when these were built have left traces in them, which stay: "
            f"{', '.join(traces)}. To leave none, {instead}, or fit anew.",
            UnlearningWarning,
        )


def traces_in_table(table):
    """Return what of rows an encoding of a raw table holds, besides scales of columns."""
    if table is None or not table.columns.has_categories:
        return []
    return ["levels of categories"] + (["means of targets that stand for them"] if table.encoding.folds else [])
