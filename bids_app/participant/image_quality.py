"""Quality of the image itself: MRIQC's measures under their names, and marks of resolution, noise and bias.

None of them looks at the maps' truth: they take the tissue fractions as regions and describe the intensities there.

References
----------
Esteban et al. 2017, MRIQC: advancing the automatic prediction of image quality in MRI from unseen sites, PLoS ONE 12;
definitions as in ``mriqc/qc/anatomical.py`` and ``mriqc/interfaces/anatomical.py``.
Gaser et al. 2024, CAT: a computational anatomy toolbox for the analysis of structural MRI data, GigaScience 13; ranges
of the marks as in ``cat_stat_marks.m``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.participant._grid import block_mean, fine_factors
from bids_app.participant.tissue import Tissues
from bids_app.schema.units import MAD_TO_SD
from bids_app.space.boxes import bounding_box
from bids_app.space.distances import edge_distance

TISSUES = ("csf", "gm", "wm")
HEAD = 0.1  # of white matter: brighter is head, but for specks of noise
AIR_MM = 10.0  # from the head, where ringing and ghosts of the scalp have gone

# Values that get mark 1 and mark 6: voxel size (root mean square, mm), noise and inhomogeneity over the contrast.
RESOLUTION_RANGE = (0.5, 3.0)
NOISE_RANGE = (0.0466, 0.3949)
BIAS_RANGE = (0.2178, 1.1169)
BEST, WORST = 0.5, 9.5  # marks end there
POWER = 8  # of the mean of the marks: the worst one decides
BLOCK_MM = 6.0  # over which noise averages out and a bias field does not


@dataclass(frozen=True)
class Summary:
    """Intensities of a region: weighted median and standard deviation, MAD scaled to a standard deviation, size."""

    median: float
    sd: float
    mad: float
    n: float


def summarise_tissue(data: np.ndarray, weight: np.ndarray) -> Summary:
    """Intensities of a tissue, every voxel weighted by its fraction.

    Parameters
    ----------
    data, weight : (X, Y, Z) arrays
        Intensities; fractions of the tissue, 0 to 1.

    Returns
    -------
    Summary
        The deviation from the median is that of voxels that hold more than half of the largest fraction; ``n`` is the
        sum of the fractions.
    """
    used = weight > 0
    if not used.any():
        return Summary(*(float("nan"),) * 3, 0.0)
    x, w = data[used].astype(np.float64), weight[used].astype(np.float64)
    order = np.argsort(x)
    reached = np.cumsum(w[order])
    total = float(reached[-1])
    median = float(x[order][np.searchsorted(reached, total / 2)])
    mean = float(w @ x) / total
    sd = float(np.sqrt(w @ (x - mean) ** 2 / total))
    mad = float(np.median(np.abs(x[w > 0.5 * w.max()] - median))) * MAD_TO_SD
    return Summary(median, sd, mad, total)


def snr(tissue: Summary) -> float:
    """Signal-to-noise ratio of a tissue, median / (sd * sqrt(n / (n - 1)))."""
    return tissue.median / (tissue.sd * np.sqrt(tissue.n / (tissue.n - 1)))


def cnr(wm: Summary, gm: Summary, air: Summary) -> float:
    """Contrast-to-noise ratio (Magnotta and Friedman 2006), |WM - GM| / sqrt(sd_air^2 + sd_WM^2 + sd_GM^2)."""
    return abs(wm.median - gm.median) / np.sqrt(air.sd**2 + wm.sd**2 + gm.sd**2)


def cjv(wm: Summary, gm: Summary) -> float:
    """Coefficient of joint variation (Ganzetti et al. 2016), (mad_WM + mad_GM) / |WM - GM|."""
    return (wm.mad + gm.mad) / abs(wm.median - gm.median)


def efc(data: np.ndarray) -> float:
    """Entropy focus criterion (Atkinson et al. 1997) of the whole image, over its largest value.

    With N voxels, x >= 0 and E = sqrt(sum x^2) it is sum((x / E) ln(x / E)) / (sqrt(N) ln(1 / sqrt(N))): 0 where one
    voxel has all the energy, 1 where all voxels are equal.
    """

    def slices() -> Iterator[np.ndarray]:
        for part in data:  # one by one: in double precision all of a fine scan is large
            yield part[part > 0].astype(np.float64)  # x ln x is 0 at 0

    energy = np.sqrt(sum(x @ x for x in slices()))
    entropy = sum((x / energy) @ np.log(x / energy) for x in slices())
    return float(entropy / (np.sqrt(data.size) * np.log(1 / np.sqrt(data.size))))


def icvs(*fractions: np.ndarray) -> list[float]:
    """Share of every tissue in the sum of all."""
    sums = [float(f.sum(dtype=np.float64)) for f in fractions]
    return [s / sum(sums) for s in sums]


def rpve(fraction: np.ndarray) -> float:
    """Residual partial volume error of a tissue.

    Over its N voxels (p > 0), P2 and P98 being percentiles of their fractions:
    (sum of p in (0.5, P98] + sum of 1 - p in [P2, 0.5]) / N. This is MRIQC's definition. Its program also adds 1 for
    every voxel outside the tissue, the whole background included, so that its numbers are larger by the size of that.
    """
    p = fraction[fraction > 0].astype(np.float64)
    low, high = np.percentile(p, [2, 98])
    above, below = p[(p > 0.5) & (p <= high)], p[(p <= 0.5) & (p >= low)]
    return float((above.sum() + (1 - below).sum()) / p.size)


def find_air(data: np.ndarray, inside: np.ndarray, zooms: np.ndarray, white: float) -> np.ndarray:
    """Air round the upper head, (X, Y, Z) bool: 10 mm and more from the head, above the middle of the brain.

    Face and neck, and what defacing put there, lie below. It stands for MRIQC's "hat" mask.
    """
    middle = int(ndimage.center_of_mass(inside)[2])
    first = max(0, middle - int(np.ceil(AIR_MM / zooms[2])))  # what lies lower is too far away to matter
    upper = (slice(None), slice(None), slice(first, None))
    # Bone is dark, but less than 20 mm thick.
    head = ndimage.binary_opening(data[upper] > HEAD * white) | inside[upper]
    air = np.zeros(data.shape, bool)
    # On blocks of up to 1 mm, a block with head in it being head: distances take time and memory.
    factors = fine_factors(zooms)
    far = edge_distance(block_mean(head, factors) == 0, zooms * factors) > AIR_MM
    for axis, factor in enumerate(factors):
        far = np.repeat(far, factor, axis=axis)
    air[upper] = far[tuple(slice(n) for n in head.shape)]
    air[:, :, :middle] = False
    return air


def mark(value: float, limits: tuple[float, float]) -> float:
    """A measure on the scale of school marks: 1 at the first limit, 6 at the second, linear, from 0.5 to 9.5."""
    best, worst = limits
    return float(np.clip(1 + 5 * (value - best) / (worst - best), BEST, WORST))


def marks(zooms: np.ndarray, noise: float, inhomogeneity: float) -> dict[str, float]:
    """Marks of resolution, noise and bias, 0.5 (best) to 9.5, and of all three.

    Parameters
    ----------
    zooms : (3,) array
        Voxel size in mm; its root mean square is marked.
    noise : float
        Standard deviation of the noise over the contrast |WM - GM| (CAT12's NCR).
    inhomogeneity : float
        Standard deviation of white matter before the bias correction, noise averaged out, over the contrast (ICR).

    Returns
    -------
    dict
        ``ResolutionMark NoiseMark BiasMark`` and ``ImageQualityMark``, (mean of mark^8)^(1/8), so that the worst mark
        decides. CAT12's own IQR leaves bias out of the mean.
    """
    found = {
        "ResolutionMark": mark(float(np.sqrt(np.mean(np.square(zooms)))), RESOLUTION_RANGE),
        "NoiseMark": mark(noise, NOISE_RANGE),
        "BiasMark": mark(inhomogeneity, BIAS_RANGE),
    }
    found["ImageQualityMark"] = float(np.mean(np.power(list(found.values()), POWER)) ** (1 / POWER))
    return found


def measure_image(
    corrected: nib.Nifti1Image, mask: nib.Nifti1Image, field: nib.Nifti1Image, tissues: Tissues, noise: float
) -> dict[str, float]:
    """MRIQC's measures and the marks of one scan.

    Parameters
    ----------
    corrected, mask, field : Nifti1Image
        Bias-corrected scan (whole head), brain mask and bias field in native space.
    tissues : tissue.Tissues
    noise : float
        Standard deviation of the noise, in the scan's intensities.

    Returns
    -------
    dict
        ``cjv cnr efc snr_csf snr_gm snr_wm snr_total icvs_* rpve_*`` and those of :func:`marks`. Without air round the
        head (stripped scans, and those whose background was set to one value) there is no ``cnr``. Not finite is left
        out.
    """
    data = np.nan_to_num(np.asarray(corrected.dataobj, dtype=np.float32))
    np.maximum(data, 0, out=data)
    inside = np.asarray(mask.dataobj) > 0
    zooms = np.asarray(corrected.header.get_zooms()[:3], dtype=float)
    # Tissues are looked at in the brain's box: a head is several brains large.
    box = bounding_box(inside)
    fractions = {key: np.asarray(getattr(tissues, key).dataobj[box]) for key in TISSUES}
    of = {key: summarise_tissue(data[box], fraction) for key, fraction in fractions.items()}
    found: dict[str, float] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["cjv"] = cjv(of["wm"], of["gm"])
        around = data[find_air(data, inside, zooms, of["wm"].median)]
        air = summarise_tissue(around, np.ones_like(around))
        if air.n > 1000 and air.sd > 0:
            found["cnr"] = cnr(of["wm"], of["gm"], air)
        found["efc"] = efc(data)
        ratios = {f"snr_{key}": snr(of[key]) for key in TISSUES}
        found |= ratios | {"snr_total": float(np.mean(list(ratios.values())))}
        found |= {f"icvs_{key}": share for key, share in zip(TISSUES, icvs(*fractions.values()), strict=True)}
        found |= {f"rpve_{key}": rpve(f) for key, f in fractions.items() if f.any()}
        contrast = abs(of["wm"].median - of["gm"].median)
        uneven = inhomogeneity(data[box] * field.dataobj[box], fractions["wm"] > 0.9, zooms) / contrast
        found |= marks(zooms, noise / contrast, uneven)
    return {key: round(float(value), 4) for key, value in found.items() if np.isfinite(value)}


def inhomogeneity(data: np.ndarray, white: np.ndarray, zooms: np.ndarray) -> float:
    """Standard deviation of white matter over blocks of about 6 mm, which leave no noise."""
    factors = np.maximum(1, np.round(BLOCK_MM / zooms)).astype(int)
    weight = block_mean(white.astype(np.float32), factors)
    full = weight > 0.25
    if np.count_nonzero(full) < 20:
        return float("nan")
    return float(np.std(block_mean(np.where(white, data, 0), factors)[full] / weight[full]))
