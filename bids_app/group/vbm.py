"""Voxel-based morphometry: the t test at each voxel of the smoothed maps, as a yardstick for everything regional."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage, stats

from bids_app.group.rows import Rows
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows
from bids_app.model.volumes import Volumes
from bids_app.schema.methods import TFCE_PERMUTATIONS
from bids_app.stats.association import associate, permuted_correlations
from bids_app.stats.permutation import p_value

_CHUNK = 16384  # voxels at a time
_APART = 8.0  # mm between the peaks of a cluster


@dataclass(frozen=True)
class VoxelTest:
    """The t test of one contrast at V voxels.

    Attributes
    ----------
    contrast : str
    slug : str
        The same for file names.
    t : ndarray of shape (V,)
    p_fwe : ndarray of shape (V,)
        Two-sided, against the largest |t| over the voxels.
    df, n : int
    """

    contrast: str
    slug: str
    t: np.ndarray
    p_fwe: np.ndarray
    df: int
    n: int


def vbm(
    study: Study, settings: AnalysisSettings, volumes: Volumes, progress: Callable[[int, int], None] | None = None
) -> list[VoxelTest]:
    """t test of every contrast at every voxel, covariates removed, family-wise by the largest |t|.

    Residuals are permuted (Freedman & Lane 1983) as in `stats.association.associate`; voxels pass through in chunks
    with the same permutations, so that memory holds a chunk of all maps and nothing depends on the chunk.

    Parameters
    ----------
    study : Study
        N scans.
    settings : AnalysisSettings
    volumes : Volumes
        Their maps (N, V).
    progress : callable, optional
        Called with (chunks done, chunks in all).

    Returns
    -------
    list of VoxelTest
        None of them for contrasts that cannot be tested.
    """
    found, starts = [], range(0, volumes.grid.n_voxels, _CHUNK)
    total, done = len(starts) * len(study.contrasts), 0
    for number, contrast in enumerate(study.contrasts):
        rows = contrast_rows(study, contrast, study.covariates.complete, settings)
        if rows is None:
            continue
        y, c = rows.take(contrast.y)[:, None], rows.mean(study.covariates.matrix)
        options: dict[str, Any] = {"n_permutations": settings.n_permutations, "seed": settings.seed + 501 + number}
        options["blocks"] = rows.take(study.blocks)
        parts, null = [], np.zeros(settings.n_permutations)
        for start in starts:
            maps = rows.mean(np.asarray(volumes.data[:, start : start + _CHUNK], np.float32))
            one = associate(maps, y, c, **options)
            parts.append(one.rho[:, 0])
            null = np.maximum(null, one.null_max)
            done += 1
            if progress:
                progress(done, total)
        rho = np.concatenate(parts)
        t = rho * np.sqrt(one.df / np.maximum(1 - rho**2, 1e-12))
        found.append(VoxelTest(contrast.name, contrast.slug, t, p_value(np.abs(rho), null), one.df, len(rows)))
    return found


def find_peaks(test: VoxelTest, volumes: Volumes, names: np.ndarray, alpha: float = 0.05) -> pd.DataFrame:
    """Peaks of the clusters of significant voxels, at least 8 mm apart within a cluster.

    Parameters
    ----------
    test : VoxelTest
    volumes : Volumes
    names : ndarray of shape (V,) of str
        Region of each voxel, "" for none.
    alpha : float
        Family-wise level that makes a voxel significant.

    Returns
    -------
    DataFrame
        ``contrast, cluster, cluster_ml, x, y, z, t, p_fwe, region, n``; x, y, z in mm.
    """
    from nilearn.reporting import get_clusters_table

    columns = ["contrast", "cluster", "cluster_ml", "x", "y", "z", "t", "p_fwe", "region", "n"]
    if not (test.p_fwe <= alpha).any():
        return pd.DataFrame(columns=columns)
    image = volumes.grid.to_image(test.t)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No clusters found")  # of one sign
        table = get_clusters_table(image, 0.9999 * threshold(test, alpha), two_sided=True, min_distance=_APART)
    place = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), table[["X", "Y", "Z"]])).astype(int)
    number = np.full(volumes.grid.mask.shape, -1)
    number[volumes.grid.mask] = np.arange(len(test.t))
    voxel = number[tuple(place.T)]
    cluster = table["Cluster ID"].astype(str).str.extract(r"(\d+)")[0].astype(int)
    size = pd.to_numeric(table["Cluster Size (mm3)"], errors="coerce").ffill() / 1000
    found = {"contrast": test.contrast, "cluster": cluster, "cluster_ml": size}
    found |= {axis.lower(): table[axis] for axis in "XYZ"}
    found |= {"t": test.t[voxel], "p_fwe": test.p_fwe[voxel], "region": names[voxel], "n": test.n}
    return pd.DataFrame(found)[columns]


def tfce(
    study: Study,
    settings: AnalysisSettings,
    volumes: Volumes,
    n_permutations: int = TFCE_PERMUTATIONS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Threshold-free cluster enhancement: family-wise p (V,) of every contrast that can be tested.

    The maps of t and their permutations are those of `vbm`, within sites where there are any; nilearn enhances them,
    with clusters of both signs. nilearn's own permutations know no sites.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
        ``n_threads`` processes.
    volumes : Volumes
        Coarse maps: one enhancement of a 1.5 mm map takes seconds. Memory holds the permuted maps of t of one contrast,
        in single precision, and a chunk of all maps.
    n_permutations : int
    progress : callable, optional
        Called with (maps enhanced, maps in all).

    References
    ----------
    Smith SM, Nichols TE (2009). Threshold-free cluster enhancement. NeuroImage 44, 83-98.
    """
    # Half of the field of view is empty, and every enhancement goes through all of it a hundred times.
    whole = volumes.grid.mask.astype(np.uint8)
    mask = nib.Nifti1Image(whole[ndimage.find_objects(whole)[0]], volumes.grid.affine)
    rows_by = [contrast_rows(study, contrast, study.covariates.complete, settings) for contrast in study.contrasts]
    total = n_permutations * sum(rows is not None for rows in rows_by)
    found, done = {}, 0
    for number, (contrast, rows) in enumerate(zip(study.contrasts, rows_by, strict=True)):
        if rows is None:
            continue
        t = _permuted_t(rows, contrast.y, study, volumes, n_permutations, settings.seed + 501 + number)
        observed, null = enhance(t[0], mask), np.zeros(n_permutations)
        # Processes of the standard library: they end here, and leave no folder of shared memory behind.
        with ProcessPoolExecutor(settings.n_threads, mp_context=get_context("spawn")) as pool:
            each = pool.map if settings.n_threads > 1 else map
            for place, value in enumerate(each(_largest, t[1:], repeat(mask))):
                null[place] = value
                done += 1
                if progress:
                    progress(done, total)
        found[contrast.name] = p_value(np.abs(observed), null)
    return found


def _permuted_t(
    rows: Rows, y: np.ndarray, study: Study, volumes: Volumes, n_permutations: int, seed: int
) -> np.ndarray:
    """The map of t and those of its permutations (1 + B, V), chunk by chunk of voxels."""
    y, c = rows.take(y), rows.mean(study.covariates.matrix)
    options: dict[str, Any] = {"seed": seed, "blocks": rows.take(study.blocks)}
    t = np.empty((1 + n_permutations, volumes.grid.n_voxels), np.float32)
    for start in range(0, volumes.grid.n_voxels, _CHUNK):
        part = slice(start, start + _CHUNK)
        maps = rows.mean(np.asarray(volumes.data[:, part], np.float32))
        one = associate(maps, y[:, None], c, n_permutations=1, **options)
        t[0, part] = one.rho[:, 0]
        t[1:, part] = permuted_correlations(maps, y, c, n_permutations=n_permutations, **options)
        t[:, part] *= np.sqrt(one.df / np.maximum(1 - t[:, part] ** 2, 1e-12))
    return t


def enhance(t: np.ndarray, mask: nib.Nifti1Image) -> np.ndarray:
    """Threshold-free cluster enhancement of a map of t, by nilearn.

    nilearn enhances only what it has fitted itself. It is given two observations of each voxel, (t, 1) up to a factor,
    and the regressor (1, 0): on the one degree of freedom that is left, the t of this regression is that of the map.

    Parameters
    ----------
    t : ndarray of shape (V,)
    mask : Nifti1Image
        With V voxels.

    Returns
    -------
    ndarray of shape (V,)
        Negative where t is.
    """
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    t = np.asarray(t, float)
    pair = np.stack([t, np.ones_like(t)]) / np.sqrt(1 + t**2)
    options: dict[str, Any] = {"model_intercept": False, "n_perm": 0, "output_type": "dict", "verbose": 0}
    result = permuted_ols(np.array([[1.0], [0.0]]), pair, masker=NiftiMasker(mask).fit(), tfce=True, **options)
    return np.asarray(result["tfce"][0])


def _largest(t: np.ndarray, mask: nib.Nifti1Image) -> float:
    """What `enhance` makes of a map, at its largest: a function of its own, for other processes."""
    return float(np.abs(enhance(t, mask)).max())


def threshold(test: VoxelTest, alpha: float = 0.05) -> float:
    """Least |t| that is significant, or that of the uncorrected .001 where none is: where a picture gets its colour."""
    significant = np.abs(test.t[test.p_fwe <= alpha])
    return float(significant.min()) if len(significant) else float(stats.t.isf(0.0005, test.df))
