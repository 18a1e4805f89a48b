"""Verbs that classifiers in closed form share: labels, scores and calibrated probabilities, of every exit too."""

from sklearn.base import ClassifierMixin

from sklearn_analytic.estimator.balance import with_priors
from sklearn_analytic.estimator.prediction_sets import SetScores, predict_set
from sklearn_analytic.estimator.targets import ClassTargets
from sklearn_analytic.estimator.texts import ADDING, filled
from sklearn_analytic.io._checks import lazily


class ClassifierFace(ClassifierMixin):
    """A classifier whose scores an estimator below gives (``_chosen_scores``, ``_staged_scores``)."""

    predict_set, with_priors = predict_set, with_priors

    @filled(partial_fit=ADDING["classes"])
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows. The readout is exact for all rows so far, given the layers.

        Below 1000 rows these are kept, and layers are built anew from all of them each time they have doubled; after
        that they stay, and the kept rows are dropped. Let the first thousand stand for the rest. Classes that
        appear later get an exact readout of the frozen features.

        {partial_fit}
        """
        return self._partial_fit(X, y, sample_weight, classes)

    @lazily
    def decision_function(self, X):
        """Return scores: near 1 for a class, near 0 for the others; for labels their excess over one half.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Scores; for two classes that of the second less that of the first.
        """
        scores = self._chosen_scores(X)
        return self._learned.targets.decision(scores)

    @lazily
    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The class of the highest score, or the 0/1 matrix of labels.
        """
        scores = self._chosen_scores(X)
        return self._learned.targets.labels(scores)

    @lazily
    def predict_proba(self, X):
        """Predict probabilities, calibrated on leave-one-out scores of the audit rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes) or (n_samples, n_labels)
            A tensor where X is one. Rows sum to one; for multilabel y the probability of every label.
        """
        scores = self._chosen_scores(X)
        return self._learned.targets.probabilities(scores, self._solved.chosen.link)

    @lazily
    def predict_log_proba(self, X):
        """Predict the logarithms of :meth:`predict_proba`; all are finite.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_classes) or (n_samples, n_labels)
            A tensor where X is one; for multilabel y the logarithm of the probability of every label.
        """
        scores = self._chosen_scores(X)
        return self._learned.targets.log_probabilities(scores, self._solved.chosen.link)

    def staged_decision_function(self, X):
        """Yield :meth:`decision_function` of every exit, first to last.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        array of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Scores of the exit.
        """
        for _, scores in self._staged_scores(X):
            yield self._learned.targets.decision(scores)

    def staged_predict(self, X):
        """Yield :meth:`predict` of every exit, first to last.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels by the exit.
        """
        for _, scores in self._staged_scores(X):
            yield self._learned.targets.labels(scores)

    def staged_predict_proba(self, X):
        """Yield :meth:`predict_proba` of every exit, first to last, each with its own calibration.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities by the exit.
        """
        for stage, scores in self._staged_scores(X):
            yield self._learned.targets.probabilities(scores, stage.link)

    def _scored(self, rows, backend):
        """Scores of rows by the readout that predicts."""
        return self._scorer([self._solved.chosen])(rows, backend)

    def _chances(self, scores):
        """Probabilities of scores."""
        return self._learned.targets.probabilities(scores, self._solved.chosen.link)

    def _set_scores(self):
        """What sets are measured on: the audit rows, left out."""
        learned, solved = self._weighed, self._solved
        if not isinstance(learned.targets, ClassTargets):
            raise ValueError("predict_set needs one class per row; y was a matrix of labels. Use predict_proba.")
        if solved.left_out is None:  # of a model of an earlier version
            solved = self._method().solved(learned)[0]
        left_out, audit = solved.left_out, self._method().audit_rows(learned)
        return SetScores.of(left_out, self._chances(left_out.predictions), audit.x)
