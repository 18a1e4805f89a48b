"""Data-parallel training of one estimator over the processes of this machine."""

import math

from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.distributed._launch import Task, run_task
from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.estimator.checks import check_positive_integer, check_real
from sklearn_analytic.estimator.device import Device
from sklearn_analytic.nn import torch_module

# {compression: what the estimator's parameter ``distributed`` becomes}
COMPRESSIONS = {None: True, "entropy": "entropy"}


def data_parallel(estimator, n_workers=2, *, compression=None, timeout=300.0):
    r"""Return an estimator that trains ``estimator`` over several processes of this machine.

    Every process holds the network and takes its share of each mini-batch; gradients are added by
    torch.distributed (gloo on the CPU, NCCL on GPUs) through DistributedDataParallel and its communication hook. So
    ``batch_size`` is that of all processes together, and without compression the result is that of one process, up to
    the order of sums. Batch normalisation, dropout and similarity matching are exceptions: each process has its own
    moments, masks and pairs of rows.

    Parameters
    ----------
    estimator : estimator
        A gradient estimator whose batches can be shared out: :class:`~sklearn_analytic.DFAClassifier`,
        :class:`~sklearn_analytic.LayerwiseMLP` or a regressor of theirs. It is cloned, and never changed.
        ``device="cpu"`` trains with torch ("torch:cpu"); with ``device="cuda"`` the process of rank r uses GPU r.
    n_workers : int, default=2
        Processes; each gets its share of the cores.
    compression : {"entropy"} or None, default=None
        None sends float gradients. "entropy" (Oland & Raj 2015, reconstruction) sends symbols of few bits, more for
        tensors of a larger root mean square, entropy-coded; what the quantiser leaves out is added to the next
        gradient. The theory is in docs/theory/communication.md.
    timeout : float, default=300.0
        Seconds that a process may wait for the others before all give up.

    Returns
    -------
    DataParallel
        Unfitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import DFAClassifier
    >>> from sklearn_analytic.distributed import data_parallel
    >>> X, y = load_iris(return_X_y=True)
    >>> model = data_parallel(DFAClassifier((16,), max_iter=5, random_state=0), n_workers=2, compression="entropy")
    >>> model = model.fit(X, y)
    >>> len(model.communication_["payload_bytes"])  # one number for each epoch
    5
    """
    return DataParallel(estimator, n_workers, compression=compression, timeout=timeout)


class DataParallel(BaseEstimator):
    """Trains an estimator over several processes; made by :func:`data_parallel`, which documents the parameters.

    Processes are fresh interpreters, which run nothing of the caller's script: it needs no ``if __name__ ==
    "__main__"``. Classes of the caller's own (modules of a ``network``, say) must live in a file that can be imported.

    Parameters
    ----------
    estimator : estimator
        What is trained.
    n_workers : int, default=2
        Processes.
    compression : {"entropy"} or None, default=None
        How gradients travel.
    timeout : float, default=300.0
        Seconds that a process may wait for the others.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator, with the parameters of ``estimator``: it predicts and is pickled without processes.
    communication_ : dict
        Per epoch: "payload_bytes" (coded gradients of a process), "wire_bytes" (what the collective sends of them),
        "uncompressed_bytes" (what a ring would send of float gradients), "other_bytes" (losses and, with K-FAC,
        factors), as means over processes; "weight_entropy" (bits per weight, for each of "layers", on a grid that is
        fixed in the first epoch: "entropy_steps") and "relative_entropy" (on a grid that follows the weights). And
        "n_workers" and "compression".

    Raises
    ------
    RuntimeError
        If a process raises or dies: the error names its rank, the others are stopped, nothing is changed.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier
    >>> from sklearn_analytic.distributed import DataParallel
    >>> DataParallel(DFAClassifier((16,)), n_workers=4).get_params(deep=False)["n_workers"]
    4
    """

    def __init__(self, estimator, n_workers=2, *, compression=None, timeout=300.0):
        self.estimator = estimator
        self.n_workers = n_workers
        self.compression = compression
        self.timeout = timeout

    def fit(self, X, y, sample_weight=None, **fit_params):
        """Train on all rows, as ``estimator.fit`` does.

        Parameters
        ----------
        X : array-like, sparse matrix or frame of shape (n, d)
            Rows; memory-mapped by all processes.
        y : array-like
            Labels or targets.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights.
        **fit_params : dict
            Further arguments of the estimator's ``fit``: ``X_val`` and so on.

        Returns
        -------
        DataParallel
            Itself.
        """
        task = self._task()
        result = run_task(task, (X, y, sample_weight, fit_params))
        fitted = clone(self.estimator)
        own = fitted.get_params(deep=False)
        fitted.__setstate__(result.state)
        self.estimator_ = fitted.set_params(**own)
        self.communication_ = vars(self.estimator_).get("communication_")
        for category, text in result.warnings:
            warn_user(text, category)
        return self

    def _task(self):
        """What workers are told; parameters that mean nothing are refused first."""
        check_positive_integer("n_workers", self.n_workers)
        check_real("timeout", self.timeout, 0, math.inf, "of seconds above 0", open_low=True)
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression must be None or 'entropy', got {self.compression!r}.")
        _check_estimator(self.estimator)
        ranks = torch_module("sklearn_analytic.nn._torch_ranks", "data_parallel")
        given = Device.of(self.estimator.device)
        device = "torch:cpu" if given.name == "cpu" else given.name
        on_gpu = device.removeprefix("torch:").startswith("cuda")
        if on_gpu:
            ranks.check_gpus(self.n_workers)
            device = "cuda"  # the current one, which is that of the rank
        device = Device(device, precision=given.precision, distributed=COMPRESSIONS[self.compression])
        worker = clone(self.estimator).set_params(device=device, random_state=seed_of(self.estimator.random_state))
        return Task(worker, self.n_workers, "nccl" if on_gpu else "gloo", self.timeout)

    # ---- the fitted estimator's own ----

    def predict(self, X):
        """Return ``estimator_.predict(X)``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray
            Predictions.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def score(self, X, y, sample_weight=None):
        """Return ``estimator_.score(X, y, sample_weight)``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.
        y : array-like
            Labels or targets.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights.

        Returns
        -------
        float
            Accuracy, or R2.
        """
        check_is_fitted(self)
        return self.estimator_.score(X, y, sample_weight)

    @property
    def classes_(self):
        """Class labels of a classifier."""
        return self.estimator_.classes_

    @property
    def n_features_in_(self):
        """Number of features."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the features, where X had any."""
        return self.estimator_.feature_names_in_

    def __sklearn_tags__(self):
        """What the estimator accepts and is."""
        return get_tags(self.estimator)


def _delegated(name):
    """A method of one argument that exists where the estimator's does."""

    def method(self, X):
        check_is_fitted(self)
        return getattr(self.estimator_, name)(X)

    method.__name__, method.__doc__ = name, f"Return ``estimator_.{name}(X)``."
    return available_if(lambda self: getattr(self.estimator, name) is not None)(method)


for _name in ("predict_proba", "predict_log_proba", "staged_predict", "staged_predict_proba"):
    setattr(DataParallel, _name, _delegated(_name))


def _check_estimator(estimator):
    """Refuse what cannot be trained by several processes."""
    if not getattr(getattr(estimator, "_kind_of_method", None), "in_processes", False):
        raise TypeError(
            f"{type(estimator).__name__} cannot be trained over several processes: no batch of it is shared out. Give "
            "a gradient estimator, such as DFAClassifier (in a pipeline, its last step)."
        )
    if estimator.warm_start:
        raise ValueError("warm_start=True goes on from an earlier fit, which processes do not have: set it to False.")
