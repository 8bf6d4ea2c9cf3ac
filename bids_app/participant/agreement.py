"""Do the maps agree with the scan's own intensities? Measures that rest on no prior and on no choice of a tissue model.

Both need three levels of intensity: fluid, grey matter, white matter. Between two levels a voxel's intensity tells its
shares by plain partial volume: it is their mean weighted by volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_app.participant._grid import block_mean, fine_factors
from bids_app.schema.units import FWHM_TO_SIGMA
from bids_app.space.boxes import bounding_box
from bids_app.space.distances import signed_distance

PURE = 0.9  # of a voxel: its intensity is that of the tissue
TRIM = 0.1  # of white matter less the darkest: farther from the level of grey matter is a mixel that a map calls grey
INNER_MM = 4.0  # from the mask's border, where the rim's measure reads fluid: a mask that is too large has bone there
LOCAL_MM = 20.0  # FWHM over which the levels of grey and white matter vary
RIM_MM = 2.0  # thickness of the rim, and the sharpness at which it is looked at
DEEPER_MM = (2.0, 3.0, 4.0, 5.0)
STEP = 0.1  # of white matter: a membrane is so much brighter than the fluid under it
BONE = 0.6  # of the fluid's level
MARGIN_MM = 8.0


@dataclass(frozen=True)
class Levels:
    """Intensity of fluid, and of grey and white matter (typical values and, per voxel, local ones)."""

    fluid: float
    grey: float
    white: float
    local_grey: np.ndarray
    local_white: np.ndarray


def find_levels(data: np.ndarray, inside: np.ndarray, gm: np.ndarray, wm: np.ndarray, zooms: np.ndarray) -> Levels:
    """Levels of the three tissues.

    Parameters
    ----------
    data : (X, Y, Z) array
        Bias-corrected intensities.
    inside : (X, Y, Z) bool array
        Brain mask.
    gm, wm : (X, Y, Z) arrays
        Tissue fractions: only the places of almost pure tissue are taken from them, and their outliers are left out,
        so that a map that calls mixels pure does not shift the levels along with itself.
    zooms : (3,) array
        Voxel size in mm.

    Returns
    -------
    Levels
        ``fluid`` comes from the intensities alone: the 25th percentile of what is darker than halfway from the darkest
        (1st percentile) to grey matter. The lower quarter, because the rest of these voxels are mixels.

    Raises
    ------
    ValueError
        Fewer than 100 voxels of almost pure grey or white matter, or levels that are not in the order of a T1w image.
    """
    white, grey = (wm > PURE) & inside, (gm > PURE) & inside
    if min(np.count_nonzero(white), np.count_nonzero(grey)) < 100:
        raise ValueError("there is almost no pure tissue")
    bright, darkest = float(np.median(data[white])), float(np.percentile(data[inside], 1))
    width = TRIM * (bright - darkest)
    level = float(np.median(data[grey]))
    for _ in range(10):
        near = data[grey & (np.abs(data - level) < width)]
        if not near.size:
            break
        level = float(np.median(near))
    dark = data[inside & (data < (darkest + level) / 2)]
    fluid = float(np.percentile(dark, 25)) if dark.size else darkest
    if not fluid < level < bright:
        raise ValueError("the intensities are not those of a T1w image")
    local = [
        _local(data, where & (np.abs(data - typical) < 1.5 * width), typical, zooms)
        for where, typical in ((grey, level), (white, bright))
    ]
    return Levels(fluid, level, bright, *local)


def _local(data: np.ndarray, where: np.ndarray, typical: float, zooms: np.ndarray) -> np.ndarray:
    """Mean of the intensities round about, pulled towards the typical one where there are few."""
    sigma = LOCAL_MM * FWHM_TO_SIGMA / zooms
    top, bottom = (
        ndimage.gaussian_filter(x.astype(np.float32), sigma, truncate=3, mode="constant")
        for x in (np.where(where, data - typical, 0), where)
    )
    return typical + top / (bottom + np.float32(0.02))


def physical_share(data: np.ndarray, levels: Levels) -> np.ndarray:
    """Grey matter's share of every voxel by plain partial volume, 0 to 1.

    (y - fluid) / (grey - fluid) below grey matter's level, (white - y) / (white - grey) above it.
    """
    grey, white = levels.local_grey, levels.local_white
    below = (data - levels.fluid) / np.maximum(grey - levels.fluid, 1e-6)
    above = (white - data) / np.maximum(white - grey, 1e-6)
    return np.clip(np.where(data < grey, below, above), 0, 1)


def grey_agreement(data: np.ndarray, gm: np.ndarray, inside: np.ndarray, levels: Levels) -> float:
    """Grey matter of the map over that by plain partial volume, where the map has grey matter at or beside a voxel.

    The border of ventricles and white matter, whose mixels look like grey matter, is left out by that. Parameters as in
    :func:`find_levels`.
    """
    around = inside & (ndimage.maximum_filter(gm, size=3) > 0.5)
    return float(gm[around].sum(dtype=np.float64) / physical_share(data, levels)[around].sum(dtype=np.float64))


def rim_outside(data: np.ndarray, inside: np.ndarray, csf: np.ndarray, zooms: np.ndarray, levels: Levels) -> float:
    """Share of the mask's rim that lies outside the brain's fluid: bone, or a membrane with fluid under it.

    The rim is the outermost 2 mm of the upper half of the mask (below is the base of the skull, where everything
    touches). Bone is darker than 0.6 of the fluid. A membrane (dura, arachnoid) is brighter than what lies 2 to 5 mm
    under it along the normal by a tenth of white matter, and that is more fluid than grey matter. A right mask ends in
    fluid or cortex. Parameters as in :func:`find_levels`; where the map has pure fluid (``csf``) 4 mm and more from
    the mask's border, that is the fluid's level, since bone in a mask that is too large would darken the other one.
    """
    distance = signed_distance(inside, zooms)
    rim = (distance > 0) & (distance <= max(RIM_MM, zooms.max()))
    rim[:, :, : int(ndimage.center_of_mass(inside)[2])] = False
    if not rim.any():
        return float("nan")
    pure = data[(csf > 0.98) & (distance > INNER_MM)]
    fluid = float(np.median(pure)) if pure.size >= 100 else levels.fluid
    # Scans of all voxel sizes are looked at with the sharpness of 2 mm: of finer ones noise would make membranes.
    data = ndimage.gaussian_filter(data, np.sqrt(np.maximum(RIM_MM**2 - zooms**2, 0)) * FWHM_TO_SIGMA / zooms)
    points = np.argwhere(rim)
    smooth = ndimage.gaussian_filter(distance.astype(np.float32), 1.0)
    inward = np.stack([slope[rim] for slope in np.gradient(smooth, *zooms)], axis=-1)
    inward /= np.maximum(np.linalg.norm(inward, axis=-1, keepdims=True), 1e-6)
    here = data[rim]
    under = np.min(
        [
            ndimage.map_coordinates(data, (points + inward * (mm / zooms)).T, order=1, mode="nearest")
            for mm in DEEPER_MM
        ],
        axis=0,
    )
    membrane = (here > under + STEP * levels.white) & (under < (fluid + levels.grey) / 2)
    return float(np.mean(membrane | (here < BONE * fluid)))


def measure_agreement(
    data: np.ndarray, inside: np.ndarray, gm: np.ndarray, wm: np.ndarray, zooms: np.ndarray, stripped: bool
) -> dict[str, float]:
    """``GMIntensityAgreement`` and ``RimOutsideShare`` of one scan, those that can be measured.

    Parameters
    ----------
    data, inside, gm, wm, zooms
        As in :func:`find_levels`, of the whole head.
    stripped : bool
        The scan came without a skull: its rim is an edge of another program's making, and is not looked at.
    """
    box = bounding_box(inside, np.ceil(MARGIN_MM / zooms).astype(int))
    data, inside, gm, wm = data[box], inside[box], gm[box], wm[box]
    # Distances and wide filters of a fine scan would take minutes and GBs, for a look with the sharpness of 2 mm.
    factors = fine_factors(zooms)
    if factors.max() > 1:
        data, share, gm, wm = (block_mean(part, factors) for part in (data, inside, gm, wm))
        inside, zooms = share > 0.5, zooms * factors
    try:
        levels = find_levels(data, inside, gm, wm, zooms)
    except ValueError:
        return {}
    found = {"GMIntensityAgreement": grey_agreement(data, gm, inside, levels)}
    if not stripped:
        found["RimOutsideShare"] = rim_outside(data, inside, inside - gm - wm, zooms, levels)
    return {key: round(value, 4) for key, value in found.items() if np.isfinite(value)}
