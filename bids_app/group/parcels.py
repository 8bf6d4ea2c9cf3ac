"""Does it matter which regions these are? The atlas beside random parcels of exactly its regions' sizes."""

from __future__ import annotations

import numpy as np

from bids_app.stats.permutation import p_value


def random_parcels(coordinates: np.ndarray, sizes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cut voxels into compact parcels of given sizes.

    The sizes are shuffled and halved, the voxels are cut by a plane of random direction in the proportion of the
    halves, and so on within each half until one size is left.

    Parameters
    ----------
    coordinates : ndarray of shape (V, 3)
        Of the voxels of all regions, mm or voxels.
    sizes : ndarray of shape (R,), int
        Voxels of each region; their sum is V.
    seed : int

    Returns
    -------
    ndarray of shape (V,), int
        Parcel (0 to R - 1) of each voxel; parcel r has ``sizes[r]`` voxels.

    Raises
    ------
    ValueError
        The sizes do not add up to V.
    """
    sizes = np.asarray(sizes, int)
    if sizes.sum() != len(coordinates) or (sizes < 1).any():
        raise ValueError(f"sizes add up to {sizes.sum()}, there are {len(coordinates)} voxels")
    rng = np.random.default_rng(seed)
    parcel = np.empty(len(coordinates), int)
    waiting = [(np.arange(len(coordinates)), rng.permutation(len(sizes)))]
    while waiting:
        voxels, names = waiting.pop()
        if len(names) == 1:
            parcel[voxels] = names[0]
            continue
        half = len(names) // 2
        # Without the jitter, planes along a grid axis would cut whole slices in the order of their numbers.
        along = coordinates[voxels] @ rng.normal(size=3) + 1e-6 * rng.random(len(voxels))
        order, first = np.argsort(along), sizes[names[:half]].sum()
        waiting += [(voxels[order[:first]], names[:half]), (voxels[order[first:]], names[half:])]
    return parcel


def explained_by_borders(difference: np.ndarray, sizes: np.ndarray) -> float:
    """Variance of a map of differences that lies between the parcels, per voxel: ``sum n_r (d_r / n_r - d)^2 / sum n``.

    Over the total variance of the same map it is the share that the parcels' borders explain; between parcellations
    of one map that total is the same.

    Parameters
    ----------
    difference : ndarray of shape (R,)
        Sum of the differences over each parcel's voxels, ml.
    sizes : ndarray of shape (R,)
        Voxels.
    """
    density = difference / sizes
    return float((sizes * (density - difference.sum() / sizes.sum()) ** 2).sum() / sizes.sum())


def name_matters(atlas: float, parcels: np.ndarray) -> float:
    """p of the atlas's `explained_by_borders` among those (B,) of random parcels of its sizes.

    Large: any other cut of the brain shows as much, and a finding should not be put down to the region's name.
    """
    return float(p_value(atlas, parcels))
