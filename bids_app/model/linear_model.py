"""Principal components of a cohort of maps: the model to beat, and the autoencoder's linear path.

Two solvers, chosen by the number of maps: the eigenvectors of the Gram matrix (N maps are far fewer than V voxels), or
subspace iteration over blocks for very large cohorts (Halko, Martinsson & Tropp 2011, SIAM Rev. 53:217). Neither holds
the cohort in memory, except that a small cohort's smoothed maps are kept (half precision) while they are needed.

The components of few maps describe these maps' noise, too. Two priors on what brains share help, and ``Prior`` says how
much of each:

- left and right are nearly alike: the cohort is joined by its own mirror images with a weight a, so that the second
  moment C becomes C + a M C M (M mirrors a map);
- neighbours vary together: the components are those of smoothed maps (smoothed functional principal components;
  Silverman 1996, Ann. Stat. 24:1), though encoding and error always concern the maps as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from bids_app.model.grid import Grid
from bids_app.model.volumes import Volumes

GRAM_LIMIT = 3000  # maps, mirrored ones counted; the Gram matrix is decomposed in full
BLOCK = 8192  # voxels at a time
MIRROR_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
SMOOTHING = (0.0, 4.0, 8.0, 12.0)  # mm


class Prior(NamedTuple):
    """What the components assume of brains; both zero is ordinary PCA.

    Attributes
    ----------
    mirror_weight : float
        Weight of the mirror images, 0 to 1.
    smoothing : float
        Full width at half maximum, mm, of the Gaussian that the maps are smoothed with to find the components.
    """

    mirror_weight: float = 0.0
    smoothing: float = 0.0


ORDINARY = Prior()


class LinearModel:
    """Maps described by their coordinates on K orthonormal components.

    Parameters
    ----------
    grid : Grid
        Where the V voxels lie.
    mean : (V,) array
        Mean map of the training cohort.
    components : (K, V) array
        Orthonormal rows.
    scale : (K,) array
        Standard deviation of each coordinate in the training cohort.
    prior : Prior
        What the components assume.
    """

    kind = description = "linear"

    def __init__(
        self, grid: Grid, mean: np.ndarray, components: np.ndarray, scale: np.ndarray, prior: Prior = ORDINARY
    ):
        self.grid, self.prior = grid, prior
        self.card: dict[str, Any] = {}
        self.mean = np.asarray(mean, np.float32)
        self.components = np.asarray(components, np.float32)
        self.scale = np.asarray(scale, np.float32)

    @property
    def latent_dim(self) -> int:
        """Number of components, K."""
        return len(self.components)

    @property
    def mask(self) -> np.ndarray:
        """Brain mask on the model grid, bool."""
        return self.grid.mask

    def encode(self, X: np.ndarray) -> np.ndarray:
        """Coordinates (n, K) of maps (n, V)."""
        return (np.asarray(X, np.float32) - self.mean) @ self.components.T

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Maps (n, V) of coordinates (n, K)."""
        return np.asarray(Z, np.float32) @ self.components + self.mean

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Maps (n, V) as the components see them."""
        return self.decode(self.encode(X))


def fit_linear(
    volumes: Volumes, index: np.ndarray, latent_dim: int, *, prior: Prior = ORDINARY, seed: int = 0
) -> LinearModel:
    """Principal components of the maps ``index``.

    Parameters
    ----------
    volumes : Volumes
    index : (n,) int array
        Rows to fit; the mean map is theirs.
    latent_dim : int
        Components, K; zeros fill up where the maps span fewer dimensions, so that all folds have K.
    prior : Prior
        Ordinary PCA by default. Cohorts too large for the Gram matrix need no prior, and get none.
    seed : int
        Of the starting vectors of subspace iteration.

    Returns
    -------
    LinearModel
    """
    index = np.asarray(index, int)
    mean = volumes.mean(index)
    prior = prior if 2 * len(index) <= GRAM_LIMIT else ORDINARY
    if len(index) <= GRAM_LIMIT:
        components = _by_gram(_Maps(volumes, index, prior.smoothing), latent_dim, prior.mirror_weight)
    else:
        components = _by_subspace_iteration(volumes, index, mean, latent_dim, seed)
    # A component's sign is arbitrary: make its largest loading positive, so that runs agree.
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    components = np.pad(components, ((0, latent_dim - len(components)), (0, 0)))
    model = LinearModel(volumes.grid, mean, components, np.ones(latent_dim), prior)
    scores = np.concatenate([model.encode(rows) for _, rows in volumes.batches(index)])
    model.scale = scores.std(0).astype(np.float32)
    return model


class Products(NamedTuple):
    """Inner products of n centred maps A and the smoothed ones B, each (n, n); M mirrors a map."""

    AA: np.ndarray
    AB: np.ndarray
    AMB: np.ndarray
    BB: np.ndarray
    BMB: np.ndarray

    def centred_on(self, rows: np.ndarray) -> Products:
        """The same with maps centred on the mean of some ``rows``."""
        centre = np.eye(len(self.AA))
        centre[:, rows] -= 1 / len(rows)
        return Products(*(centre @ product @ centre.T for product in self))


def held_out_explained(
    products: Products, train: np.ndarray, test: np.ndarray, latent_dim: int, mirror_weight: float
) -> np.ndarray:
    """Explained variance of held-out maps, from inner products alone.

    Parameters
    ----------
    products : Products
        Of all maps, for one smoothing.
    train, test : int arrays
        Rows the components are fitted to, and rows they are tried on.
    latent_dim : int
    mirror_weight : float

    Returns
    -------
    (len(test),) array
        1 - (squared error) / (squared distance to the training mean map), a map at a time.
    """
    p = products.centred_on(train)
    pairs = np.ix_(train, train)
    values, vectors = _top(_joined(p.BB[pairs], p.BMB[pairs], mirror_weight), latent_dim)
    cross = p.AB[np.ix_(test, train)]
    if mirror_weight:
        cross = np.hstack([cross, np.sqrt(mirror_weight) * p.AMB[np.ix_(test, train)]])
    return ((cross @ vectors) ** 2 / values).sum(1) / np.diag(p.AA)[test]


def choose_prior(
    volumes: Volumes, index: np.ndarray, splits: Sequence[tuple[np.ndarray, np.ndarray]], latent_dim: int
) -> tuple[Prior, dict[Prior, float]]:
    """Find the prior under which components explain most of held-out participants' maps.

    Parameters
    ----------
    volumes : Volumes
    index : (n,) int array
        Rows that may be looked at.
    splits : sequence of (train, test)
        Places in ``index``.
    latent_dim : int

    Returns
    -------
    prior : Prior
        First the smoothing is chosen among ``SMOOTHING``, then the weight among ``MIRROR_WEIGHTS``.
    explained : dict
        Mean held-out explained variance of each prior tried; empty where the cohort is too large to need one.
    """
    explained: dict[Prior, float] = {}
    if 2 * len(index) > GRAM_LIMIT:
        return ORDINARY, explained

    def attempt(products: Products, prior: Prior) -> None:
        parts = [held_out_explained(products, *split, latent_dim, prior.mirror_weight) for split in splits]
        explained[prior] = float(np.mean(np.concatenate(parts)))

    products = {fwhm: _Maps(volumes, index, fwhm).products() for fwhm in SMOOTHING}
    for fwhm in SMOOTHING:
        attempt(products[fwhm], Prior(0.0, fwhm))
    smoothing = max(explained, key=explained.__getitem__).smoothing
    for weight in MIRROR_WEIGHTS[1:]:
        attempt(products[smoothing], Prior(weight, smoothing))
    return max(explained, key=explained.__getitem__), explained


class _Maps:
    """Centred maps, and smoothed ones, by blocks of rows or of voxels."""

    def __init__(self, volumes: Volumes, index: np.ndarray, smoothing: float):
        self.volumes, self.index = volumes, index
        self.mean = volumes.mean(index)
        self.smoothed = None
        if smoothing:
            self.smoothed = np.empty((len(index), len(self.mean)), np.float16)
            for places, rows in volumes.batches(index):
                self.smoothed[places] = volumes.grid.smooth(rows - self.mean, smoothing)

    def rows(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield places and smoothed maps."""
        for places, rows in self.volumes.batches(self.index):
            yield places, rows - self.mean if self.smoothed is None else self.smoothed[places].astype(np.float32)

    def raw_columns(self, voxels: np.ndarray) -> np.ndarray:
        return self.volumes.data[np.ix_(self.index, voxels)].astype(np.float32) - self.mean[voxels]

    def columns(self, voxels: np.ndarray) -> np.ndarray:
        return self.raw_columns(voxels) if self.smoothed is None else self.smoothed[:, voxels].astype(np.float32)

    def gram(self) -> tuple[np.ndarray, np.ndarray]:
        """``B B'`` and ``B M B'``, (n, n) float64 each."""
        products = self.products(raw=False)
        return products.BB, products.BMB

    def products(self, raw: bool = True) -> Products:
        n, mirror = len(self.index), self.volumes.grid.mirror
        AA, AB, AMB, BB, BMB = np.zeros((5, n, n))
        for start in range(0, len(mirror), BLOCK):
            block = np.arange(start, min(start + BLOCK, len(mirror)))
            B, MB = self.columns(block), self.columns(mirror[block])
            BB += B @ B.T
            BMB += B @ MB.T
            if raw and self.smoothed is not None:
                A = self.raw_columns(block)
                AA += A @ A.T
                AB += A @ B.T
                AMB += A @ MB.T
        BMB = (BMB + BMB.T) / 2
        return Products(BB, BB, BMB, BB, BMB) if self.smoothed is None else Products(AA, AB, AMB, BB, BMB)


def _joined(plain: np.ndarray, mirrored: np.ndarray, weight: float) -> np.ndarray:
    """Gram matrix of the maps followed by their mirror images times sqrt(weight)."""
    if not weight:
        return plain
    side = np.sqrt(weight) * mirrored
    return np.block([[plain, side], [side.T, weight * plain]])


def _top(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues (descending) and their eigenvectors, numerically zero ones left out."""
    n = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=(max(0, n - k), n - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    real = values > max(values[0], 1e-12) * 1e-7
    return values[real], vectors[:, real]


def _by_gram(maps: _Maps, k: int, weight: float) -> np.ndarray:
    n, mirror = len(maps.index), maps.volumes.grid.mirror
    values, vectors = _top(_joined(*maps.gram(), weight), k)
    vectors = vectors / np.sqrt(values)
    direct, mirrored = np.zeros((2, len(values), len(mirror)))
    for places, rows in maps.rows():
        direct += vectors[:n][places].T @ rows
        if weight:
            mirrored += vectors[n:][places].T @ rows
    # Half-precision storage and float32 products leave the rows orthonormal to about 1e-4: make it exact.
    components = direct + np.sqrt(weight) * mirrored[:, mirror] if weight else direct
    return _orthonormal(components)


def _by_subspace_iteration(
    volumes: Volumes, index: np.ndarray, mean: np.ndarray, k: int, seed: int, extra: int = 16, rounds: int = 6
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((len(mean), k + extra), dtype=np.float32))[0]
    for _ in range(rounds):
        image = np.zeros_like(basis)
        for _, rows in volumes.batches(index, 256):
            rows -= mean
            image += rows.T @ (rows @ basis)
        basis, upper = np.linalg.qr(image)
    # The last product, the second moment times an orthonormal basis, has the eigenvectors as left singular vectors.
    left, values, _ = np.linalg.svd(upper)
    keep = values[:k] > values[0] * 1e-7
    return _orthonormal((basis @ left[:, :k][:, keep]).T.astype(np.float64))


def _orthonormal(components: np.ndarray) -> np.ndarray:
    """The orthonormal rows nearest to nearly orthonormal ones (one Newton step of the polar decomposition)."""
    return 1.5 * components - 0.5 * (components @ components.T) @ components
