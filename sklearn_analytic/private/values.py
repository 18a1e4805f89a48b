"""Values of private training: the noise of an optical co-processor, and update rules as it reads them."""

from typing import ClassVar

from sklearn_analytic.estimator.checks import POSITIVE
from sklearn_analytic.estimator.solvers import SGD, Adam, AdamW, Solver
from sklearn_analytic.estimator.value import Value, defaults_of, standing_for, store


class Photonic(Value):
    """A simulation of an optical co-processor, for ``mechanism``: projected errors carry Gaussian noise, an electronic
    floor is added to the sums, and the output layer gets Gaussian noise. Our derivation after Ohana et al.

    Parameters
    ----------
    floor : float > 0
        Variance of the electronic noise over that of the optical noise; without one nothing is private. 10,000 leaves
        room for most budgets.
    input_norm, error_norm : float > 0, default=1.0, 0.5
        Norms to which what a layer reads (with the 1 of the bias) and projected errors are clipped.

    References
    ----------
    R. Ohana et al., "Photonic differential privacy with direct feedback alignment", NeurIPS 2021, arXiv 2106.03645.

    Examples
    --------
    >>> from sklearn_analytic import Photonic, PrivateDFAClassifier
    >>> PrivateDFAClassifier(mechanism=Photonic(1e4)).get_params()["mechanism__floor"]
    10000.0
    """

    parameter = "mechanism"
    checks: ClassVar = {"floor": POSITIVE, "input_norm": POSITIVE, "error_norm": POSITIVE}
    earlier: ClassVar = {
        "optical_floor": "floor",
        "optical_input_norm": "input_norm",
        "optical_error_norm": "error_norm",
    }

    def __init__(self, floor, *, input_norm=1.0, error_norm=0.5):
        store(self, locals())

    @classmethod
    def of(cls, given):
        """Return ``mechanism`` as a value, or None for the Gaussian one."""
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given == "gaussian":
            return None
        if isinstance(given, str) and given == "photonic":
            raise ValueError(
                "mechanism='photonic' has no floor, without which nothing is private: write "
                "mechanism=Photonic(floor=1e4), or what the electronics of the processor have."
            )
        raise ValueError(f"mechanism must be 'gaussian' or Photonic(floor=...), got {given!r}.")

    @classmethod
    def of_earlier(cls, state):
        """Return ``mechanism`` as an earlier version says it."""
        given = {setting: state.pop(name) for name, setting in cls.earlier.items() if name in state}
        return cls(**given) if state["mechanism"] == "photonic" and "floor" in given else state["mechanism"]


class PrivateSolver(Solver):
    """The rules that take noised gradients; a word for one stands for what the published methods do."""

    earlier: ClassVar = {"momentum": "momentum"}

    @classmethod
    def of(cls, given):
        """Return ``solver`` as a value: "sgd" looks at no step ahead."""
        if isinstance(given, str) and given == "sgd":
            return standing_for(SGD, nesterovs_momentum=False)
        is_word = isinstance(given, str) and given == "adam"
        if not (is_word or (isinstance(given, SGD | Adam) and not isinstance(given, AdamW))):
            raise ValueError(f"solver must be 'sgd', 'adam', SGD(...) or Adam(...), got {given!r}.")
        return Solver.of(given)

    @classmethod
    def of_earlier(cls, state):
        """Return ``solver`` as an earlier version says it, with the momentum beside."""
        momentum, usual = state.pop("momentum"), defaults_of(SGD)["momentum"]
        is_usual = state["solver"] != "sgd" or momentum == usual
        return state["solver"] if is_usual else SGD(momentum=momentum, nesterovs_momentum=False)

    @classmethod
    def choices(cls):
        """Return the rules that take noise."""
        return [Adam, SGD]
