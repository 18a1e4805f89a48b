"""What closed-form networks compute before their readout, as scikit-learn's transformers give it."""

from abc import ABC, abstractmethod

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.io._elsewhere import lazily


class HiddenFeaturesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ABC):
    """A fitted network as a step before another model, with names of its columns and ``set_output``.

    A subclass says what the readout reads of a block (``_hidden_of``), and how wide that is (``_n_features_out``).
    """

    @property
    @abstractmethod
    def _n_features_out(self):
        """Return the width of :meth:`transform`; scikit-learn names its columns by it."""

    @abstractmethod
    def _hidden_of(self, rows, backend):
        """Return what the readout reads of checked rows on the backend."""

    @lazily
    def transform(self, X):
        """Return the features that the readout reads, the hidden layers and what stands beside them.

        A linear readout of these columns is what the estimator predicts with, so that they are a step before any
        other model in a pipeline. They are dense, also where X is sparse.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Features in the dtype of X, unless ``precision`` says otherwise; a frame after ``set_output``.
        """
        check_is_fitted(self)
        return self._map_blocks(X, self._hidden_of, self._n_features_out)
