"""Regional grey matter on the model's grid, where the map and its reconstruction can be subtracted exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from bids_app.model.autoencoder import Model
from bids_app.model.grid import Grid
from bids_app.model.volumes import Volumes


def region_weights(grid: Grid, labels: np.ndarray, index: np.ndarray) -> sparse.csr_array:
    """What a voxel of the model counts for in each region.

    A map of the model is laid back on the grid of the atlas, each voxel of which takes the value of the nearest voxel
    of the model, and is summed over the labels. Voxels of the atlas outside the model's mask count for nothing.

    Parameters
    ----------
    grid : Grid
        V voxels.
    labels : ndarray of shape (X, Y, Z), int
        On the grid of the maps.
    index : ndarray of shape (R,), int
        Labels of the regions.

    Returns
    -------
    csr_array of shape (V, R)
        ml per unit of the map: ``maps (n, V) @ weights`` is (n, R) ml.
    """
    where = np.argwhere(np.isin(labels, index))
    cell = np.minimum(np.floor(where / grid.sampling.steps + 0.5).astype(int), np.array(grid.mask.shape) - 1)
    voxel = np.full(grid.mask.shape, -1)
    voxel[grid.mask] = np.arange(grid.n_voxels)
    row = voxel[tuple(cell.T)]
    order = np.argsort(index)
    column = order[np.searchsorted(np.asarray(index)[order], labels[tuple(where.T)])]
    inside = row >= 0
    ml = np.full(int(inside.sum()), np.prod(grid.sampling.voxel_sizes) / 1000)
    return sparse.coo_array((ml, (row[inside], column[inside])), shape=(grid.n_voxels, len(index))).tocsr()


def sum_regions(
    models: Sequence[Model], volumes: Volumes, fold: np.ndarray, weights: sparse.csr_array
) -> tuple[np.ndarray, np.ndarray]:
    """Regional grey matter of each map and of its held-out reconstruction.

    Parameters
    ----------
    models : sequence of Model
        One per fold, or a single one that saw nobody of the cohort.
    volumes : Volumes
    fold : ndarray of shape (N,), int
    weights : csr_array of shape (V, R)

    Returns
    -------
    observed, reconstructed : ndarray of shape (N, R)
        ml.
    """
    observed, reconstructed = np.zeros((2, len(volumes), weights.shape[1]))
    for number in np.unique(fold):
        model, scans = models[0 if len(models) == 1 else number], np.flatnonzero(fold == number)
        for places, rows in volumes.batches(scans):
            observed[scans[places]] = rows @ weights
            reconstructed[scans[places]] = model.reconstruct(rows) @ weights
    return observed, reconstructed


def region_decoder(model: Model, weights: sparse.csr_array) -> Callable[[np.ndarray], np.ndarray]:
    """From latents (m, K) to regional grey matter (m, R), ml."""
    return lambda latents: model.decode(np.asarray(latents, np.float32)) @ weights
