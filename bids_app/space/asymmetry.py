"""How the two halves of the brain differ in most people, which tells a map from its mirror image.

``asymmetry.nii.gz`` holds two volumes for points of the right half of MNI152NLin2009aSym every 3 mm: a weight for the
difference between grey matter there and at the mirrored point, and the standard deviation of this difference between
people. It was made from real scans by ``tools/asymmetry.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from ..schema.units import FWHM_TO_SIGMA
from .templates import Template

WEIGHTS = Path(__file__).with_name("asymmetry.nii.gz")
EVERY_MM = 3.0
FWHM_MM = 2.0
PLANE_FWHM_MM = 8.0
PLANES_MM = np.arange(-2, 2.01, 0.25)  # a map that was flipped voxel by voxel may lie a voxel aside
MOST = 1.0  # standard deviations that one place counts: a lesion of one side must not outweigh the brain


def side_difference(gm: nib.Nifti1Image, points: np.ndarray) -> np.ndarray:
    """Grey matter at points less that at their mirror images, about the plane where the halves are most alike.

    Parameters
    ----------
    gm : Nifti1Image
        Grey-matter map in an MNI152 space.
    points : (P, 3) array
        mm, RAS.

    Returns
    -------
    (P,) array
        Of the map smoothed by 2 mm and divided by its mean over the points and their mirror images.
    """
    data, zooms = np.asarray(gm.dataobj, np.float32), np.asarray(gm.header.get_zooms()[:3], float)
    to_voxels = np.linalg.inv(gm.affine)

    def halves(smooth: np.ndarray, where: np.ndarray, plane: float) -> list[np.ndarray]:
        places = (apply_affine(to_voxels, where * [side, 1, 1] + [plane, 0, 0]) for side in (1, -1))
        return [ndimage.map_coordinates(smooth, place.T, order=1) for place in places]

    # Smooth enough that interpolation, which blurs more between voxels than on them, has no say in where the plane is.
    blurred, some = ndimage.gaussian_filter(data, PLANE_FWHM_MM * FWHM_TO_SIGMA / zooms), points[::10]
    unlike = [np.square(np.subtract(*halves(blurred, some, float(plane)))).sum() for plane in PLANES_MM]
    plane = float(PLANES_MM[int(np.argmin(unlike))])
    right, left = halves(ndimage.gaussian_filter(data, FWHM_MM * FWHM_TO_SIGMA / zooms), points, plane)
    return (right - left) * 2 / max(float((right + left).mean()), 1e-6)


def limited(difference: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Differences in standard deviations between people, none beyond 1."""
    return np.clip(difference / spread, -MOST, MOST)


def asymmetry_likeness(gm: nib.Nifti1Image) -> float:
    """How much the sides of a modulated map differ as those of most people do, -1 to 1.

    The cosine between the :func:`limited` differences and the weights. The mirror image of a map has the same value
    with the other sign; a map without any difference that people share is near 0. A map that was matched to a symmetric
    template and not modulated has lost the difference.

    Parameters
    ----------
    gm : Nifti1Image
        Modulated grey-matter map in an MNI152 space.
    """
    points, weights, spread = _weights()
    found = limited(side_difference(gm, points), spread)
    return float(found @ weights / np.sqrt(max((found @ found) * (weights @ weights), 1e-12)))


def measure_sides(gm: nib.Nifti1Image, template: Template) -> dict[str, float]:
    """``AsymmetryLikeness`` of a modulated map, where the space of the template has the coordinates for it."""
    return {"AsymmetryLikeness": round(asymmetry_likeness(gm), 4)} if template.name.startswith("MNI152") else {}


@lru_cache(maxsize=1)
def _weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (P, 3) in mm, their weights (P,), standard deviations between people (P,)."""
    image: Any = nib.load(WEIGHTS)
    weights, spread = np.moveaxis(np.asarray(image.dataobj, np.float32), -1, 0)
    where = spread > 0
    return apply_affine(image.affine, np.argwhere(where)), weights[where], spread[where]
