"""Deep residual features, every block a sandwiched least-squares problem (RFRBoost)."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._hidden import sampled_layer
from sklearn_analytic.features._layers import DenseLayer, cast_like
from sklearn_analytic.linalg import NormalEquations, ridge_exits

_ALPHAS = tuple(10.0 ** np.arange(-2, 5))
_AUDIT = 4  # one row in four shapes no feature, so that its leave-one-out error can be believed
_GAIN = 1e-3  # relative gain in leave-one-out error that a block must bring


@dataclass(frozen=True)
class ResidualBlock:
    r"""One step :math:`\Phi \mapsto \Phi + [f(\Phi), g(X)] \Delta`, with :math:`\Delta = L R` of low rank.

    Parameters
    ----------
    on_state : DenseLayer
        f, units of the features so far.
    on_input : DenseLayer
        g, units of the input.
    left : ndarray of shape (p, r)
        L, the step size included.
    right : ndarray of shape (r, D)
        R; r is the number of targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import DenseLayer, ResidualBlock
    >>> same = DenseLayer(np.eye(1), np.zeros(1), "identity")
    >>> block = ResidualBlock(same, same, np.array([[0.0], [2.0]]), np.eye(1))
    >>> block.apply(np.array([[5.0]]), np.array([[1.0]]), get_backend("cpu"))
    array([[7.]])
    """

    on_state: DenseLayer
    on_input: DenseLayer
    left: np.ndarray
    right: np.ndarray

    def units(self, state, x, backend):
        """Return the block's units [f(state), g(x)] as a list of two arrays."""
        return [self.on_state.apply(state, backend), self.on_input.apply(x, backend)]

    def apply(self, state, x, backend):
        """Return the features (n, D) after this block."""
        middle = cast_like(np.zeros(self.left.shape[1]), x, backend)
        for part, rows in zip(self.units(state, x, backend), self._rows_of_left(), strict=True):
            middle = middle + backend.matmul(part, cast_like(rows, x, backend))
        return state + backend.matmul(middle, cast_like(self.right, x, backend))

    def _rows_of_left(self):
        """L cut into the rows that meet f and those that meet g."""
        return self.left[: self.on_state.n_units], self.left[self.on_state.n_units :]


@dataclass(frozen=True)
class ResidualLayer:
    """A stack of residual blocks on a first layer of features, as one layer.

    Parameters
    ----------
    first : DenseLayer
        Features of the input before any block.
    blocks : tuple of ResidualBlock
        Applied in order; each sees the input as well.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import DenseLayer, ResidualLayer
    >>> ResidualLayer(DenseLayer(np.eye(1), np.ones(1), "identity"), ()).apply(np.ones((1, 1)), get_backend("cpu"))
    array([[2.]])
    """

    first: DenseLayer
    blocks: tuple[ResidualBlock, ...]

    @property
    def n_units(self):
        """Width of the layer."""
        return self.first.n_units

    def apply(self, x, backend):
        """Return the layer's output (n, D) in the dtype of ``x``."""
        state = self.first.apply(x, backend)
        for block in self.blocks:
            state = block.apply(state, x, backend)
        return state


def residual_layer(
    rows, targets, n_units, activation, generator, inner=sampled_layer, n_blocks=5, step=1.0, ridge=1e-5
):
    r"""Return random features boosted block by block towards the residual of their own readout (RFRBoost).

    From :math:`\Phi_0 = f_0(X)`, every block takes the ridge readout W of :math:`\Phi_t` and its residual R, draws
    units :math:`F = [f(\Phi_t), g(X)]`, and adds :math:`F \Delta` (times ``step``) for the minimiser of

    .. math:: \|R - F \Delta W\|_F^2 + m \lambda \|\Delta\|_F^2 ,

    in closed form by :func:`sandwiched_least_squares`. Blocks are added while the leave-one-out error of the
    readout falls on rows that shaped no feature. R is the leave-one-out residual, where the paper takes the plain
    one: a readout of many units leaves little of that, and no block would find anything to do.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    n_units : int
        Width D of the features; a block draws half as many units.
    activation : str
        Activation of all units.
    generator : numpy.random.Generator
        Source of the units.
    inner : callable, default=sampled_layer
        Draws units: :func:`sampled_layer` (SWIM) or :func:`random_layer` (iid).
    n_blocks : int, default=5
        At most this many blocks.
    step : float, default=1.0
        Share of each block's step that is taken.
    ridge : float, default=1e-5
        :math:`\lambda` in units of the largest eigenvalue of :math:`W W^T`, which makes it free of the targets' scale.

    Returns
    -------
    ResidualLayer
        The stack, frozen.

    References
    ----------
    N. Zozoulenko, T. Cass, L. Gonon, "Random feature representation boosting", ICML 2025, arXiv 2501.18283 (greedy
    dense variant).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import residual_layer
    >>> X = np.random.default_rng(0).standard_normal((200, 2))
    >>> layer = residual_layer(X, X[:, :1] * X[:, 1:], 20, "tanh", np.random.default_rng(0))
    >>> layer.n_units, len(layer.blocks) <= 5
    (20, True)
    """
    cpu = get_backend("cpu")
    targets = np.asarray(targets, dtype=np.float64)
    shaping = slice(0, len(rows) - len(rows) // _AUDIT)
    first = inner(rows[shaping], targets[shaping], n_units, activation, generator)
    blocks, state = [], first.apply(rows, cpu)
    readout = _readout(state, targets, _ALPHAS)
    error = _audit_error(readout, targets)
    for _ in range(n_blocks):
        draws = (rows[shaping], state[shaping], targets[shaping], (targets - readout.loo)[shaping])
        block = _block(*draws, readout.coef, activation, generator, inner, step, ridge)
        state = block.apply(state, rows, cpu)
        readout = _readout(state, targets, (readout.alpha,))
        error, previous = _audit_error(readout, targets), error
        if not error < previous * (1 - _GAIN):
            break
        blocks.append(block)
    return ResidualLayer(first, tuple(blocks))


def sandwiched_least_squares(features, residual, readout, penalty):
    r"""Return L and R with :math:`\Delta = L R` the minimiser of :math:`\|R - F \Delta W\|^2 + \rho \|\Delta\|^2`.

    With :math:`F^T F = V \mathrm{diag}(s) V^T` and :math:`W W^T = U \mathrm{diag}(t) U^T`,
    :math:`\Delta = V [(V^T F^T R W^T U) / (\rho + s t^T)] U^T`. Directions of :math:`U` outside the columns of W
    carry nothing, so the rank of :math:`\Delta` is at most the number of targets.

    Parameters
    ----------
    features : ndarray of shape (m, p)
        F.
    residual : ndarray of shape (m, c)
        R.
    readout : ndarray of shape (D, c)
        W.
    penalty : float
        :math:`\rho > 0`.

    Returns
    -------
    left : ndarray of shape (p, r)
        L.
    right : ndarray of shape (r, D)
        R, orthonormal rows.

    References
    ----------
    N. Zozoulenko, T. Cass, L. Gonon, "Random feature representation boosting", arXiv 2501.18283.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import sandwiched_least_squares
    >>> left, right = sandwiched_least_squares(np.eye(2), np.array([[2.0], [4.0]]), np.array([[1.0]]), 1.0)
    >>> (left @ right).round(6)  # (F'F t + rho)^-1 F'R W' = R / 2
    array([[1.],
           [2.]])
    """
    cpu = get_backend("cpu")
    u, t, _ = linalg.svd(readout, full_matrices=False)
    kept = t > 1e-12 * max(t.max(initial=0.0), 1e-300)
    u, t = u[:, kept], t[kept]
    s, v = linalg.eigh(cpu.gram(features))
    pulled = cpu.cross(features, residual) @ (readout.T @ u)  # F^T R W^T U, (p, r)
    inner = (v.T @ pulled) / (penalty + np.maximum(s, 0)[:, None] * t**2)
    return cpu.matmul(np.ascontiguousarray(v), inner), np.ascontiguousarray(u.T)


def _readout(state, targets, alphas):
    """The ridge readout of the features, with the leave-one-out predictions of all rows."""
    state = state.astype(np.float32, copy=False)  # a ridged readout and its leverages need no more digits
    # The exact scaling of a block of zeros would overflow in float32.
    statistic = NormalEquations.from_rows(state, targets, widen=not np.any(state))
    return ridge_exits(statistic, [state.shape[1]], (state, targets, None), alphas)[0]


def _audit_error(readout, targets):
    """Leave-one-out error on the rows that shaped no feature."""
    last = slice(len(targets) - max(len(targets) // _AUDIT, 1), None)
    return float(np.sum((targets - readout.loo)[last] ** 2))


def _block(rows, state, targets, residual, coef, activation, generator, inner, step, ridge):
    """Draw a block's units and solve for its step; units are centred, for the readout has an intercept."""
    width = max(coef.shape[0] // 4, 1)
    on_state = inner(state, targets, width, activation, generator)
    on_input = inner(rows, targets, width, activation, generator)
    draft = ResidualBlock(on_state, on_input, np.zeros((2 * width, 0)), np.zeros((0, coef.shape[0])))
    features = np.hstack(draft.units(state, rows, get_backend("cpu")))
    features -= features.mean(axis=0)
    penalty = max(ridge * len(rows) * linalg.norm(coef, 2) ** 2, 1e-300)
    left, right = sandwiched_least_squares(features, residual, coef, penalty)
    return ResidualBlock(on_state, on_input, step * left, right)
