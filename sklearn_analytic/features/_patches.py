"""One convolutional layer without gradients: whitened random patches, two-sided thresholds, pooling."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import dtype_name, get_backend
from sklearn_analytic.features._images import check_image_shape, pixel_range
from sklearn_analytic.features._layers import cast_like

# Longest side of a patch, its largest share of the image's side, and cells per side of the pooling grid: small
# patches are pooled finely and large ones coarsely. Measured on digits, clothes and photographs alike.
_BANKS = ((6, 0.3, 4), (8, 0.4, 3), (10, 0.5, 2))
_MOST_POSITIONS = 40  # per side; patches of larger images are taken at a stride
_SAMPLES = 20_000  # patches from which a bank is built
_COMPONENTS = 48  # principal directions of patches that filters see
_SHRINKAGE = 1.0  # of the whitening, in mean eigenvalues
CONTRAST_FLOOR = 0.001  # squared, in units of the pixels' range: fainter patches are not amplified
THRESHOLD = 0.25  # of the response of a unit filter
_CHUNK = 2**20  # numbers in flight per bank: a chunk of images stays in cache


@dataclass(frozen=True)
class PatchBank:
    r"""Filters of one patch size: :math:`\sqrt{\mathrm{mean} \max(\pm \hat p V F - t, 0)}` over patches :math:`\hat p`.

    Patches have mean zero and unit contrast; responses are averaged over each cell of a grid.

    Parameters
    ----------
    size : tuple of int
        Height and width of a patch.
    stride : tuple of int
        Steps from patch to patch, down and across.
    projection : ndarray of shape (d, q)
        V, whitened principal directions of patches.
    filters : ndarray of shape (q, k)
        F, of unit length.
    cells : ndarray of int of shape (p,)
        The pooling cell of every patch position.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import PatchBank
    >>> PatchBank((2, 2), (1, 1), np.eye(4), np.eye(4), np.zeros(9, dtype=int)).n_units
    8
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    projection: np.ndarray
    filters: np.ndarray
    cells: np.ndarray

    @property
    def n_units(self):
        """Both signs of every filter in every cell."""
        return 2 * self.filters.shape[1] * (int(self.cells.max()) + 1)

    @property
    def footprint(self):
        """Numbers in flight per image."""
        return len(self.cells) * (sum(self.projection.shape) + self.filters.shape[1])

    def apply(self, images, backend):
        """Return pooled responses (n, n_units) of images (n, C, H, W), in their dtype."""
        projection, filters = (cast_like(part, images, backend) for part in (self.projection, self.filters))
        patches = backend.unroll_patches(images, self.size, self.stride, CONTRAST_FLOOR)
        responses = backend.matmul(backend.matmul(patches, projection), filters)
        return backend.pool_responses(responses, THRESHOLD, self.cells) ** 0.5


@dataclass(frozen=True)
class PatchLayer:
    """Banks of filters side by side, applied to rows that are images.

    Parameters
    ----------
    image_shape : tuple of int
        (C, H, W).
    origin : float
        Low end of the pixels' range.
    scale : float
        Its length.
    banks : tuple of PatchBank
        One per patch size.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import PatchBank, PatchLayer
    >>> bank = PatchBank((1, 2), (1, 1), np.eye(2), np.array([[-1.0], [1.0]]) / 2**0.5, np.zeros(2, dtype=int))
    >>> layer = PatchLayer((1, 1, 3), 0.0, 1.0, (bank,))
    >>> layer.apply(np.array([[0.0, 1.0, 1.0]]), get_backend("cpu")).round(2)
    array([[0.76, 0.  ]])
    """

    image_shape: tuple[int, int, int]
    origin: float
    scale: float
    banks: tuple[PatchBank, ...]

    @property
    def n_units(self):
        """Width of the layer."""
        return sum(bank.n_units for bank in self.banks)

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``; a few images are unrolled at a time."""
        step = max(1, _CHUNK // max(bank.footprint for bank in self.banks))
        return backend.concatenate([self._chunk(x[i : i + step], backend) for i in range(0, max(1, len(x)), step)])

    def _chunk(self, x, backend):
        """The output of so few rows that their patches stay in cache."""
        images = ((x - self.origin) / self.scale).reshape(len(x), *self.image_shape)
        parts = [bank.apply(images, backend) for bank in self.banks]
        return backend.stack_columns(parts, [1.0] * len(parts), np.dtype(dtype_name(x)))


def patch_layer(rows, targets, n_units, generator, image_shape):
    """Return a convolutional layer whose filters are whitened patches of the rows at random places.

    Patches lose their mean and are divided by their contrast; an eigendecomposition of their covariance whitens
    the leading directions, with shrinkage; filters are patches drawn in those coordinates, at unit length.
    Responses of either sign beyond a threshold are averaged over the cells of a grid; features are roots of
    these means, which evens out their skewed distribution. A third of the width goes
    to each of three patch sizes: 6, 8 and 10 pixels (less in small images), pooled over 4 x 4, 3 x 3 and 2 x 2
    cells. Images of more than about 40 pixels a side are read at a stride.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight; pixels in any units.
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Width, rounded down to whole filters in every cell (at least one per size).
    generator : numpy.random.Generator
        Source of the patches.
    image_shape : tuple of int
        (H, W), or (C, H, W) with one plane per channel.

    Returns
    -------
    PatchLayer
        The layer; all its outputs are zero where every image is blank.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of the rows.

    References
    ----------
    A. Coates, H. Lee, A. Y. Ng, "An analysis of single-layer networks in unsupervised feature learning",
    AISTATS 2011; A. Coates, A. Y. Ng, "The importance of encoding versus training with sparse coding and vector
    quantization", ICML 2011 (random patches, two-sided soft threshold).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import patch_layer
    >>> rows = np.random.default_rng(0).uniform(size=(20, 64))
    >>> patch_layer(rows, None, 500, np.random.default_rng(0), (8, 8)).n_units
    482
    """
    shape = check_image_shape(rows, image_shape)
    origin, scale = pixel_range(rows)
    images = rows.reshape(len(rows), *shape)
    banks = [_bank(images, origin, scale, bank, n_units // len(_BANKS), generator) for bank in _BANKS]
    return PatchLayer(shape, origin, scale, tuple(banks))


def _bank(images, origin, scale, choice, n_units, generator):
    """A bank of one patch size from patches drawn at random places."""
    longest, share, grid = choice
    sides = images.shape[2:]
    size = tuple(min(longest, math.ceil(share * side)) for side in sides)
    stride = tuple(
        max(1, math.ceil((side - extent + 1) / _MOST_POSITIONS)) for side, extent in zip(sides, size, strict=True)
    )
    cells = _pooling_cells(sides, size, stride, grid)
    patches = (_draw_patches(images, size, generator) - origin) / scale
    cpu = get_backend("cpu")
    patches = cpu.unroll_patches(patches.astype(np.float32), size, (1, 1), CONTRAST_FLOOR)
    projection = _whitening(patches)
    filters = _draw_filters(cpu.matmul(patches, projection), max(1, n_units // (2 * (cells.max() + 1))), generator)
    return PatchBank(size, stride, projection, filters, cells)


def _draw_patches(images, size, generator):
    """Patches (N, C, a, b) of random images at random places."""
    n, _, height, width = images.shape
    index = generator.integers(n, size=_SAMPLES)
    top = generator.integers(height - size[0] + 1, size=_SAMPLES)
    left = generator.integers(width - size[1] + 1, size=_SAMPLES)
    down, across = top[:, None, None] + np.arange(size[0])[:, None], left[:, None, None] + np.arange(size[1])
    return images[index[:, None, None], :, down, across].transpose(0, 3, 1, 2)


def _whitening(patches):
    """Leading principal directions of patches, each over its deviation, which shrinkage keeps from zero."""
    values, vectors = linalg.eigh(get_backend("cpu").gram(patches) / len(patches))
    values, vectors = np.maximum(values[::-1][:_COMPONENTS], 0), vectors[:, ::-1][:, :_COMPONENTS]
    deviation = np.sqrt(values + _SHRINKAGE * np.mean(np.sum(patches**2, axis=0) / len(patches)))
    kept = values > np.finfo(np.float32).eps * values[0]
    return np.divide(vectors, deviation, out=np.zeros_like(vectors), where=kept)


def _draw_filters(whitened, n_filters, generator):
    """Patches drawn as filters (q, k) of unit length; those of little contrast are mostly noise and not drawn."""
    length = np.linalg.norm(whitened, axis=1)
    clear = np.flatnonzero(length >= length.mean() / 2)
    chosen = clear[generator.choice(len(clear), n_filters, replace=len(clear) < n_filters)]
    filters = whitened[chosen] / np.maximum(length[chosen], np.finfo(np.float32).tiny)[:, None]
    return filters.T.copy()


def _pooling_cells(sides, size, stride, grid):
    """The cell of every patch position, row by row: a grid as even as the positions allow."""
    down, across = (len(range(0, side - a + 1, s)) for side, a, s in zip(sides, size, stride, strict=True))
    rows, columns = (np.arange(n) * min(grid, n) // n for n in (down, across))
    return (rows[:, None] * min(grid, across) + columns).ravel()
