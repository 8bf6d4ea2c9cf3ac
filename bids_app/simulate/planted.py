"""Plant a known change into a real scan: thinner cortex, wider ventricles, opened sulci, darker white matter.

Or paint its anatomy anew, in intensities that are known as well.

The truth is never a tissue map of this program. A segmentation from elsewhere says where grey and white matter lie, the
scan's own brightness how much of them a place at a border holds. What is planted is worked out on voxels a third as
wide, so that a border moves by less than a voxel, and averaged back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..space.distances import edge_distance, signed_distance

FINE = 3  # fine voxels along the side of one
BAND_MM = 2.2  # so near a border of the segmentation the scan decides where it runs
OUTWARDS_MM = 1.0  # and so far out of it
FLUID, GREY, WHITE, OUTSIDE = 0, 1, 2, 255


@dataclass(frozen=True)
class FineBrain:
    """A brain on fine voxels.

    Attributes
    ----------
    scan : (X, Y, Z) float32 array
        The bias-corrected scan.
    bright : (3X, 3Y, 3Z) float32 array
        Its intensities, interpolated.
    tissue : (3X, 3Y, 3Z) uint8 array
        FLUID, GREY, WHITE or OUTSIDE (of the brain mask).
    ventricles : (3X, 3Y, 3Z) bool array
        Fluid of the ventricles.
    means : (3,) array
        Intensities of pure fluid, grey and white matter.
    mm : float
        Side of a fine voxel.
    """

    scan: np.ndarray
    bright: np.ndarray
    tissue: np.ndarray
    ventricles: np.ndarray
    means: np.ndarray
    mm: float

    @property
    def contrast(self) -> float:
        """Intensity of white matter less that of grey matter."""
        return float(self.means[WHITE] - self.means[GREY])


def anatomy(
    scan: np.ndarray, mask: np.ndarray, grey: np.ndarray, white: np.ndarray, ventricles: np.ndarray, mm: float
) -> FineBrain:
    """Find tissues on fine voxels by an independent segmentation and the scan's brightness.

    Parameters
    ----------
    scan : (X, Y, Z) array
        Bias-corrected scan.
    mask, grey, white, ventricles : (X, Y, Z) bool arrays
        Brain mask; the segmentation's grey and white matter; lateral ventricles.
    mm : float
        Side of a voxel; voxels are cubes.

    Returns
    -------
    FineBrain
    """
    scan = np.asarray(scan, np.float32)
    means = np.array(
        [
            np.median(scan[ndimage.binary_erosion(ventricles)]),
            np.median(scan[grey & (ndimage.uniform_filter(grey.astype(np.float32), 3) > 0.85)]),
            np.median(scan[ndimage.binary_erosion(white, iterations=2)]),
        ]
    )
    bright, mm = _fine(scan), mm / FINE
    brain, matter = _smooth(mask) > 0.5, _smooth(grey | white) > 0.5
    is_white = _smooth(white) > _smooth(grey)
    depth = mm * signed_distance(matter)
    # Half-way between fluid and grey matter runs the border.
    by_scan = (bright > (means[FLUID] + means[GREY]) / 2) & (depth > -OUTWARDS_MM)
    matter = np.where(np.abs(depth) < BAND_MM, by_scan, matter)
    tissue = np.where(matter, np.where(is_white, WHITE, GREY), FLUID).astype(np.uint8)
    tissue[~brain] = OUTSIDE
    return FineBrain(scan, bright, tissue, (_smooth(ventricles) > 0.5) & (tissue == FLUID), means, mm)


def thinner_cortex(brain: FineBrain, mm: float, spared: np.ndarray | None = None) -> np.ndarray:
    """Fine voxels of cortex within ``mm`` of the fluid about it, but where ``spared`` (X, Y, Z) is true."""
    outer = (brain.tissue == FLUID) & ~ndimage.binary_dilation(brain.ventricles, iterations=2)
    lost = (brain.tissue == GREY) & (edge_distance(~outer) * brain.mm <= mm + 0.01)
    return _but(lost, spared)


def wider_ventricles(brain: FineBrain, mm: float) -> np.ndarray:
    """Fine voxels of brain matter within ``mm`` of the ventricles."""
    near = edge_distance(~brain.ventricles) * brain.mm <= mm
    return near & np.isin(brain.tissue, (GREY, WHITE))


def opened_sulci(brain: FineBrain, spared: np.ndarray | None = None) -> np.ndarray:
    """Fine voxels of closed sulci: where two banks of cortex meet and the scan shows no fluid between them.

    None where ``spared`` (X, Y, Z) is true: deep grey matter is thick, and has a ridge like two banks of cortex.
    """
    to_white = edge_distance(brain.tissue != WHITE) * brain.mm
    to_fluid = edge_distance(brain.tissue != FLUID) * brain.mm
    ridge = ndimage.laplace(ndimage.gaussian_filter(to_white, 1.0)) / brain.mm**2 < -0.6
    return _but(ridge & (brain.tissue == GREY) & (to_white > 1.6) & (to_fluid > 1.5), spared)


def without(brain: FineBrain, lost: np.ndarray) -> FineBrain:
    """The anatomy with fine voxels turned into fluid, to be painted; its scan stays what it was."""
    return replace(brain, tissue=np.where(lost, FLUID, brain.tissue).astype(np.uint8))


def fill_with_fluid(brain: FineBrain, lost: np.ndarray, in_full: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Turn fine voxels into fluid.

    Parameters
    ----------
    brain : FineBrain
    lost : (3X, 3Y, 3Z) bool array
        Fine voxels of brain matter that become fluid.
    in_full : bool
        Each counts as a whole voxel of its tissue, and takes the whole contrast of that tissue to fluid with it. By
        default a place at a border loses only what its brightness, between fluid and the tissue, says it held.

    Returns
    -------
    scan : (X, Y, Z) float32 array
    change : (3,) array
        Planted change of fluid, grey and white matter in voxels of the scan.
    """
    fluid = float(brain.means[FLUID])
    bright = brain.means[np.minimum(brain.tissue, WHITE)].astype(np.float32) if in_full else brain.bright
    scan = brain.scan + _coarse(np.where(lost, np.minimum(fluid - bright, 0), 0))
    change = np.zeros(3)
    for tissue in (GREY, WHITE):
        share = np.clip((bright - fluid) / (brain.means[tissue] - fluid), 0, 1)
        change[tissue] = -share[lost & (brain.tissue == tissue)].sum(dtype=np.float64) / FINE**3
    change[FLUID] = -change.sum()
    return scan.astype(np.float32), change


def darker_white_matter(brain: FineBrain, share: float, band_mm: float | None = None) -> np.ndarray:
    """Scan whose white matter is darker by a share of the grey-white contrast; no tissue is lost.

    ``band_mm``: only as near as this to grey matter, as a rim under the cortex.
    """
    where = brain.tissue == WHITE
    if band_mm is not None:
        where &= edge_distance(brain.tissue != GREY) * brain.mm <= band_mm
    return brain.scan - np.float32(share * brain.contrast) * _coarse(where)


def painted(brain: FineBrain, noise: float, texture: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A scan of this anatomy whose tissues are known: each has its one intensity, shared voxels the mean.

    Parameters
    ----------
    brain : FineBrain
    noise : float
        Standard deviation, as a share of the intensity of white matter.
    texture : float
        Standard deviation of a smooth unevenness (7 voxels) of grey and of white matter, as a share of their contrast.
    seed : int

    Returns
    -------
    scan : (X, Y, Z) float32 array
    volumes : (3,) array
        Fluid, grey and white matter in voxels.
    """
    rng = np.random.default_rng(seed)
    shares = [_coarse((brain.tissue == tissue).astype(np.float32)) for tissue in (FLUID, GREY, WHITE)]
    inside = sum(shares) > 0
    scan = sum(share * mean for share, mean in zip(shares, brain.means, strict=True))
    for tissue in (GREY, WHITE):
        uneven = ndimage.gaussian_filter(rng.normal(size=scan.shape), 3.0)
        scan = scan + shares[tissue] * uneven * (texture * brain.contrast / uneven.std())
    scan = scan + rng.normal(0, noise * brain.means[WHITE], scan.shape) * inside
    return scan.astype(np.float32), np.array([share.sum(dtype=np.float64) for share in shares])


def _but(where: np.ndarray, spared: np.ndarray | None) -> np.ndarray:
    return where if spared is None else where & ~(_smooth(spared) > 0.5)


def _fine(volume: np.ndarray) -> np.ndarray:
    return ndimage.zoom(np.asarray(volume, np.float32), FINE, order=1, mode="nearest", grid_mode=True)


def _smooth(mask: np.ndarray) -> np.ndarray:
    """A mask's borders without the corners of its voxels, on fine voxels."""
    return _fine(ndimage.gaussian_filter(np.asarray(mask, np.float32), 0.5))


def _coarse(volume: np.ndarray) -> np.ndarray:
    x, y, z = (n // FINE for n in volume.shape)
    return volume.reshape(x, FINE, y, FINE, z, FINE).mean((1, 3, 5), dtype=np.float32)
