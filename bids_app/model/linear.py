"""Principal components of a cohort of maps: the model to beat, and the autoencoder's linear path.

Two solvers, chosen by the number of maps and never holding more than a block of them in memory: the eigenvectors of
the Gram matrix (N maps are far fewer than V voxels), or subspace iteration over blocks for very large cohorts
(Halko, Martinsson & Tropp 2011, SIAM Rev. 53:217).

A cohort can be joined by its own left-right mirror images with a weight a: the components are then those of the second
moment C + a M C M, where M mirrors a map. Brains are nearly symmetric, so this doubles a small cohort.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_app.model.grid import Grid
from bids_app.model.volumes import Volumes

GRAM_LIMIT = 3000  # maps, mirrored ones counted; the Gram matrix is decomposed in full
BLOCK = 8192  # voxels at a time


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
    """

    kind = "linear"

    def __init__(self, grid: Grid, mean: np.ndarray, components: np.ndarray, scale: np.ndarray):
        self.grid = grid
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
    volumes: Volumes, index: np.ndarray, latent_dim: int, *, mirror_weight: float = 0.0, seed: int = 0
) -> LinearModel:
    """Principal components of the maps ``index``.

    Parameters
    ----------
    volumes : Volumes
    index : (n,) int array
        Rows to fit; the mean map is theirs.
    latent_dim : int
        Components, K; fewer come back where the maps span fewer dimensions.
    mirror_weight : float
        Weight of the mirror images, 0 (ordinary PCA) to 1.
    seed : int
        Of the starting vectors of subspace iteration.

    Returns
    -------
    LinearModel
    """
    index = np.asarray(index, int)
    mean = volumes.mean(index)
    if len(index) * (2 if mirror_weight else 1) <= GRAM_LIMIT:
        components = _by_gram(volumes, index, mean, latent_dim, mirror_weight)
    else:
        components = _by_subspace_iteration(volumes, index, mean, latent_dim, mirror_weight, seed)
    # A component's sign is arbitrary: make its largest loading positive, so that runs agree.
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    model = LinearModel(volumes.grid, mean, components, np.ones(len(components)))
    scores = np.concatenate([model.encode(rows) for _, rows in volumes.batches(index)])
    model.scale = scores.std(0).astype(np.float32)
    return model


def gram(volumes: Volumes, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner products of maps, centred on their mean, with each other and with each other's mirror images.

    Returns
    -------
    plain, mirrored : (n, n) float64 arrays
        ``A A'`` and ``A (A M)'`` for the centred maps A and the mirror M.
    """
    index, mirror = np.asarray(index, int), volumes.grid.mirror
    plain, mirrored = np.zeros((2, len(index), len(index)))
    mean = volumes.mean(index)
    for start in range(0, len(mean), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(mean)))
        A = _columns(volumes, index, block) - mean[block]
        plain += A @ A.T
        mirrored += A @ (_columns(volumes, index, mirror[block]) - mean[mirror[block]]).T
    return plain, (mirrored + mirrored.T) / 2


def held_out_explained(
    plain: np.ndarray, mirrored: np.ndarray, train: np.ndarray, test: np.ndarray, latent_dim: int, weight: float
) -> np.ndarray:
    """Explained variance of held-out maps, from inner products alone.

    Parameters
    ----------
    plain, mirrored : (n, n) arrays
        From ``gram``.
    train, test : int arrays
        Rows the components are fitted to, and rows they are tried on.
    latent_dim : int
    weight : float
        Weight of the mirror images.

    Returns
    -------
    (len(test),) array
        1 - (squared error) / (squared distance to the training mean map), a map at a time.
    """
    centre = np.eye(len(plain))
    centre[:, train] -= 1 / len(train)
    plain, mirrored = centre @ plain @ centre.T, centre @ mirrored @ centre.T
    values, vectors = _top(_joined(plain[np.ix_(train, train)], mirrored[np.ix_(train, train)], weight), latent_dim)
    cross = plain[np.ix_(test, train)]
    if weight:
        cross = np.hstack([cross, np.sqrt(weight) * mirrored[np.ix_(test, train)]])
    return ((cross @ vectors) ** 2 / values).sum(1) / np.diag(plain)[test]


def choose_mirror_weight(
    volumes: Volumes,
    index: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    latent_dim: int,
    weights: Sequence[float] = (0.0, 0.25, 0.5, 1.0),
) -> tuple[float, dict[float, float]]:
    """Find how much the mirror images should count, on held-out participants.

    Parameters
    ----------
    volumes : Volumes
    index : (n,) int array
        Rows that may be looked at.
    splits : sequence of (train, test)
        Places in ``index``.
    latent_dim : int
    weights : sequence of float
        Candidates; the first is kept unless another explains more.

    Returns
    -------
    weight : float
    explained : dict
        Mean held-out explained variance of each candidate; empty where the cohort is too large to need mirrors.
    """
    if 2 * len(index) > GRAM_LIMIT:
        return weights[0], {}
    plain, mirrored = gram(volumes, index)
    explained = {
        w: float(np.mean(np.concatenate([held_out_explained(plain, mirrored, *s, latent_dim, w) for s in splits])))
        for w in weights
    }
    return max(weights, key=lambda w: (explained[w], -w)), explained


def _columns(volumes: Volumes, index: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    return np.asarray(volumes.data[np.ix_(index, voxels)], np.float32)


def _joined(plain: np.ndarray, mirrored: np.ndarray, weight: float) -> np.ndarray:
    """Gram matrix of the maps followed by their mirror images times sqrt(weight)."""
    if not weight:
        return plain
    side = np.sqrt(weight) * mirrored
    return np.block([[plain, side], [side.T, weight * plain]])


def _top(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues (descending) and their eigenvectors, numerically zero ones left out."""
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    real = values > max(values[0], 0) * 1e-7
    return values[real], vectors[:, real]


def _by_gram(volumes, index, mean, k, weight):
    plain, mirrored = gram(volumes, index)
    values, vectors = _top(_joined(plain, mirrored, weight), k)
    vectors = vectors / np.sqrt(values)
    direct = np.zeros((vectors.shape[1], len(mean)))
    through_mirror = np.zeros_like(direct) if weight else None
    for places, rows in volumes.batches(index):
        rows -= mean
        direct += vectors[places].T @ rows
        if weight:
            through_mirror += vectors[len(index) :][places].T @ rows
    if weight:
        direct += np.sqrt(weight) * through_mirror[:, volumes.grid.mirror]
    return direct


def _by_subspace_iteration(volumes, index, mean, k, weight, seed, extra=16, rounds=6):
    mirror = volumes.grid.mirror
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((len(mean), k + extra), dtype=np.float32))[0]
    for _ in range(rounds):
        image = np.zeros_like(basis)
        for _, rows in volumes.batches(index, 256):
            rows -= mean
            image += rows.T @ (rows @ basis)
            if weight:
                image += weight * (rows.T @ (rows @ basis[mirror]))[mirror]
        basis, upper = np.linalg.qr(image)
    # The last product, C times an orthonormal basis, holds the eigenvectors: its left singular vectors.
    left, values, _ = np.linalg.svd(upper)
    keep = values[:k] > values[0] * 1e-7
    return (basis @ left[:, :k][:, keep]).T.astype(np.float64)
