"""What the ablations have in common: estimators that fit under changed constants, and differences between variants."""

import contextlib
from unittest import mock

import numpy as np
from _common import markdown_table, mean
from sklearn.base import BaseEstimator, clone

AS_IT_IS = "as it is"


def changed(builder, *change):
    """The builder of an estimator that fits under a change of constants."""
    return lambda task: (*builder(task)[:-1], Changed(builder(task)[-1], change))


class Changed(BaseEstimator):
    """An estimator that fits, and predicts, under changed constants."""

    def __init__(self, model, change):
        self.model = model
        self.change = change

    def fit(self, X, y):
        with self._changed():
            self.model_ = clone(self.model).fit(X, y)
        self.classes_ = getattr(self.model_, "classes_", None)
        return self

    def predict(self, X):
        with self._changed():
            return self.model_.predict(X)

    def predict_proba(self, X):
        with self._changed():
            return self.model_.predict_proba(X)

    def _changed(self):
        stack = contextlib.ExitStack()
        for module, name, value in self.change:
            stack.enter_context(mock.patch.object(module, name, value))
        return stack


def summarise(measures, rows, kind):
    """Means of every variant, and mean differences to the first with the standard errors of pairs of set and seed."""
    by_key = {(row["dataset"], row["seed"], row["contender"]): row for row in rows if row["error"] is None}
    lines = []
    for contender in dict.fromkeys(row["contender"] for row in rows):
        line = {"contender": contender}
        for measure in measures:
            pairs = [
                (row[measure], by_key[name, seed, AS_IT_IS][measure])
                for (name, seed, own), row in by_key.items()
                if own == contender and (name, seed, AS_IT_IS) in by_key and row.get(measure) is not None
            ]
            line |= _line(measure, pairs)
        lines.append(line)
    return {"variants": lines}


def _line(measure, pairs):
    gaps = [own - other for own, other in pairs]
    error = float(np.std(gaps, ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else None
    return {
        measure: mean([own for own, _ in pairs]) if pairs else None,
        f"{measure}_difference": mean(gaps) if gaps else None,
        f"{measure}_difference_se": error,
    }


def report(title, measures, record, kind):
    """Markdown: a line for each variant."""
    columns = {"variant": ("contender", "s")}
    for measure in measures:
        columns |= {measure: (measure, ".4f"), f"{measure} -": (f"{measure}_difference", "+.4f")}
        columns |= {f"{measure} se": (f"{measure}_difference_se", ".4f")}
    lines = [f"## {title}", "", markdown_table(record["summary"]["variants"], columns), ""]
    lines += [f"* {row['dataset']}, {row['contender']}: {row['error']}" for row in record["rows"] if row["error"]]
    return "\n".join(lines)
