"""Dark spots of white matter, given back to it.

Damaged white matter (hyperintense on FLAIR) is as dark as grey matter on T1w, and by its intensity alone it is read as
grey matter or as a mixel of fluid and white matter. What tells it apart is its place: such fluid has no fluid beside it
to share a voxel with, and such grey matter has no tie to the cortex or to deep grey matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bids_app.schema.units import FWHM_TO_SIGMA

CSF, GM, WM = range(3)
# Constants were set with hyperintensities found on FLAIR and with labelled cortex, deep grey matter and ventricles in
# view (docs/methods.md), none by a volume of tissue.
# Within some 10 mm (FWHM) the template has mostly white matter; 0.6 rather than 0.5 as a margin for registration, which
# leaves thin gyri out.
TERRITORY, TERRITORY_MM = 0.6, 10.0
PLACE = 0.5  # the template has grey matter here, more likely than not
DEEP = 0.3  # less for deep grey matter, so that the caudate's border, where caps lie, is left alone
TIE_MM = 6.0  # cortex goes on for so far beyond the template's: the depth of a sulcus that registration missed
SHARED_MM = 2.0  # fluid reaches so far into the tissue beside it, by partial volume and the scanner's blur
# Spots are larger than noise: within some 5 mm (FWHM) there are at least 7 mm3, half a ball of 3 mm across.
EVIDENCE, EVIDENCE_MM = 0.05, 5.0
# Grey matter so near to a spot is its rim, unless the template has grey matter there; of a spot of twice that evidence,
# because the tip of a fold can be as dark as the smallest.
RIM_EVIDENCE, RIM_MM = 0.1, 3.0
QUARTER = 0.25  # share of a voxel from which it counts as part of a spot: the smallest of a mixel


def give_back(
    fractions: np.ndarray,
    data: np.ndarray,
    inside: np.ndarray,
    priors: np.ndarray | Sequence[np.ndarray],
    deep: np.ndarray,
    zooms: np.ndarray,
    means: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the grey matter and the fluid of dark spots in white matter into white matter.

    Fluid that is as dark as fluid stays what it is, be it a ventricle where the template has none or a cavity.

    Parameters
    ----------
    fractions : (3, X, Y, Z) array
        CSF, GM, WM; they sum to one in the mask.
    data : (X, Y, Z) array
        Intensities, in the units of ``means``.
    inside : (X, Y, Z) bool array
        Brain mask.
    priors : (3, X, Y, Z) array, or three of (X, Y, Z)
        CSF, GM and WM priors of the template, on the scan's grid.
    deep : (X, Y, Z) array
        Its prior of deep grey matter.
    zooms : (3,) array
        Voxel size in mm.
    means : (3,) array
        Mean intensities of CSF, GM and WM.

    Returns
    -------
    fractions : (3, X, Y, Z) float32 array
        With the spots as white matter; the sum is what it was.
    spots : (X, Y, Z) bool array
        Voxels of which at least a quarter was given back, and the white matter beside them that is darker than halfway
        to grey matter.
    """
    csf, gm, wm = fractions
    white = _territory(priors, deep, inside, zooms)
    place = (priors[GM] > PLACE * np.maximum(sum(priors), 1e-3)) | (deep > DEEP)
    fluid = inside & (data < (means[CSF] + means[GM]) / 2)
    beside_fluid, tied = _grown(fluid, SHARED_MM, zooms), _tied(gm, place, zooms)
    from_csf = np.where(white & ~beside_fluid, csf, 0)
    from_gm = np.where(white & ~tied, gm, 0)
    dim = white & (data < (means[GM] + means[WM]) / 2)
    # White matter's local mean follows a large spot, which is then white matter already.
    dark = dim & ~beside_fluid & ~tied & (wm > 1 - QUARTER)
    evidence = _smooth(from_csf + from_gm + dark, EVIDENCE_MM, zooms)
    from_csf, from_gm = (np.where(evidence > EVIDENCE, part, 0) for part in (from_csf, from_gm))
    rim = _grown(evidence > RIM_EVIDENCE, RIM_MM, zooms) & white & ~place
    from_gm = np.where(rim, gm, from_gm)
    found = np.stack([csf - from_csf, gm - from_gm, wm + from_csf + from_gm]).astype(np.float32)
    spots = (from_csf + from_gm >= QUARTER) | (dark & (evidence > EVIDENCE))
    return found, spots | (dim & (found[WM] > 1 - QUARTER) & _grown(spots, SHARED_MM, zooms))


def _territory(
    priors: np.ndarray | Sequence[np.ndarray], deep: np.ndarray, inside: np.ndarray, zooms: np.ndarray
) -> np.ndarray:
    """Where the template has mostly white matter, well away from grey matter and ventricles of its own."""
    around = _smooth(priors[WM] * inside, TERRITORY_MM, zooms)
    whole = _smooth(sum(priors) * inside, TERRITORY_MM, zooms)
    return inside & (around > TERRITORY * np.maximum(whole, 1e-3)) & (deep < DEEP)


def _tied(gm: np.ndarray, place: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Grey matter where the template has it, and what hangs on to it: folds go on, also through corners of voxels."""
    grey = gm > 0.3
    corners = ndimage.generate_binary_structure(3, 3)
    tied = place & (gm > 0.5)
    for _ in range(max(1, round(TIE_MM / float(np.mean(zooms))))):
        tied |= ndimage.binary_dilation(tied, corners) & grey
    return tied | (ndimage.binary_dilation(tied, corners) & ~grey)  # and the partial volume of its border


def _grown(where: np.ndarray, mm: float, zooms: np.ndarray) -> np.ndarray:
    """Voxels within ``mm`` of others, the next ones at least."""
    reach = np.maximum(mm, zooms)
    n = np.floor(reach / zooms + 1e-6).astype(int)
    x, y, z = np.ogrid[-n[0] : n[0] + 1, -n[1] : n[1] + 1, -n[2] : n[2] + 1]
    ball = (x * zooms[0] / reach[0]) ** 2 + (y * zooms[1] / reach[1]) ** 2 + (z * zooms[2] / reach[2]) ** 2 <= 1 + 1e-6
    return ndimage.binary_dilation(where, ball)


def _smooth(data: np.ndarray, fwhm: float, zooms: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(data.astype(np.float32), fwhm * FWHM_TO_SIGMA / zooms, mode="constant", truncate=3)
