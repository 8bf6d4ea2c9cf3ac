"""Does it matter which regions these are? The atlas beside random parcels of exactly its regions' sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows
from bids_app.model.volumes import Volumes
from bids_app.schema.region_tables import PARCELS
from bids_app.stats.linear import residualise
from bids_app.stats.permutation import p_value

_CUTS = 199


def compare_parcels(
    study: Study, settings: AnalysisSettings, volumes: Volumes, member: np.ndarray, *, cuts: int = _CUTS
) -> pd.DataFrame:
    """How much of a contrast's pattern lies between the regions of the atlas, beside random parcels of their sizes.

    The pattern is the difference of the maps at each voxel of the model, covariates removed: ``u'M / u'u``, with u the
    contrast given the covariates.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
    volumes : Volumes
        N maps of V voxels.
    member : ndarray of shape (V,), int
        Region (0 to R - 1) of each voxel, -1 for none.
    cuts : int
        Random parcellations.

    Returns
    -------
    DataFrame
        Columns of ``schema.region_tables.PARCELS``, one row per contrast.
    """
    inside = np.flatnonzero(member >= 0)
    present, region = np.unique(member[inside], return_inverse=True)
    sizes, coordinates = np.bincount(region), np.argwhere(volumes.grid.mask)[inside].astype(float)
    random = [random_parcels(coordinates, sizes, settings.seed + cut) for cut in range(cuts)]
    complete, table = study.covariates.complete & np.isfinite(study.observed).all(axis=1), []
    for contrast in study.contrasts:
        rows = contrast_rows(study, contrast, complete, settings)
        if rows is None:
            continue
        u = residualise(rows.take(contrast.y), rows.mean(study.covariates.matrix))
        weight = np.zeros(len(volumes))
        weight[rows.scans] = (u / (u @ u) / np.bincount(rows.row))[rows.row]
        pattern = volumes.weighted_sum(weight)[inside]
        total = pattern.var()

        def between(parcel: np.ndarray, pattern: np.ndarray = pattern, total: float = total) -> float:
            return explained_by_borders(np.bincount(parcel, pattern, len(sizes)), sizes) / max(total, 1e-300)

        atlas, others = between(region), np.array([between(parcel) for parcel in random])
        row = (contrast.name, atlas, np.median(others), name_matters(atlas, others), cuts, len(present), len(rows))
        table.append(row)
    return pd.DataFrame(table, columns=[column.name for column in PARCELS.columns])


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

    Large: any other cut of the brain shows as much, and a finding should not be attributed to the region's name.
    """
    return float(p_value(atlas, parcels))
