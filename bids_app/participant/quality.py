"""Numbers that tell whether a scan's maps can be trusted, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.participant._ants import total_volume, voxel_volume
from bids_app.participant.agreement import MARGIN_MM, measure_agreement
from bids_app.participant.image_quality import measure_image
from bids_app.participant.modulate import Modulated
from bids_app.participant.tissue import Tissues
from bids_app.schema.limits import NEVER, RULES
from bids_app.schema.units import MAD_TO_SD
from bids_app.space.asymmetry import measure_sides
from bids_app.space.boxes import bounding_box
from bids_app.space.templates import Template


def measure(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    field: nib.Nifti1Image,
    tissues: Tissues,
    modulated: Modulated,
    warped_mask: nib.Nifti1Image,
    template: Template,
    stripped: bool = False,
) -> dict[str, float | list[float]]:
    """Quality numbers of one scan.

    Parameters
    ----------
    corrected, mask, field : Nifti1Image
        Bias-corrected scan, brain mask and bias field, native space.
    tissues : tissue.Tissues
    modulated : modulate.Modulated
    warped_mask : Nifti1Image
        The brain mask in template space.
    template : Template
    stripped : bool
        The scan came without a skull.

    Returns
    -------
    dict
        ``GMVolume WMVolume CSFVolume TIV ModulatedGMVolume`` in ml; ``WMHypointensityVolume``, part of WMVolume,
        where the tissues tell it; ``GMVolumeConservation`` modulated / native;
        ``JacobianRange`` [min, max] in the template mask; ``FoldedShare`` share of it with a determinant <= 0;
        ``MaskOverlap`` Dice of the warped mask with the template's; ``PriorCorrelation`` of unmodulated GM with the
        template's; ``AsymmetryLikeness`` in an MNI152 space; ``Noise`` robust standard deviation of white matter
        against its neighbours, over the white-matter mean; ``GreyWhiteContrast`` distance of the means over the pooled
        standard deviation; ``BiasRange`` ratio of the 98th to the 2nd percentile of the field; ``GMFraction WMFraction
        CSFFraction`` of TIV; ``SurfaceBrightness``; ``CutShare``; those of :func:`agreement.measure_agreement` and of
        :func:`image_quality.measure_image`.
    """
    inside = np.asarray(mask.dataobj) > 0
    tiv = float(np.count_nonzero(inside)) * voxel_volume(corrected)
    zooms = np.asarray(corrected.header.get_zooms()[:3], dtype=float)
    # Of a head, which is several brains large, the brain with a margin.
    box = bounding_box(inside, np.ceil(MARGIN_MM / zooms).astype(int))
    inside = inside[box]
    data = np.asarray(corrected.dataobj[box], dtype=np.float32)
    csf, gm, wm = (np.asarray(getattr(tissues, key).dataobj[box]) for key in ("csf", "gm", "wm"))
    ml = voxel_volume(corrected)
    volumes = {name: float(part.sum(dtype=np.float64)) * ml for name, part in (("GM", gm), ("WM", wm), ("CSF", csf))}
    spots = tissues.hypointensities
    modulated_ml = total_volume(modulated.gm)

    determinant = np.asarray(modulated.jacobian.dataobj)
    brain = np.asarray(template.mask.dataobj) > 0
    warped = np.asarray(warped_mask.dataobj) > 0.5
    unmodulated = np.asarray(modulated.gm.dataobj) / np.maximum(determinant, 0.05)
    both = brain | warped

    # Contrast is that of healthy white matter: spots in it widen its class, not the scanner's noise.
    healthy = inside if spots is None else inside & (np.asarray(spots.dataobj[box]) == 0)
    white, grey = data[(wm > 0.9) & healthy], data[(gm > 0.9) & inside]
    if white.size < 100 or grey.size < 100:
        noise = contrast = white_mean = float("nan")
    else:
        white_mean = float(white.mean())
        contrast = float(abs(white_mean - grey.mean()) / np.sqrt((white.var() + grey.var()) / 2 + 1e-12))
        noise = _noise(data, ndimage.binary_erosion(wm > 0.9)) / white_mean
    surface, cut = _rim(data, inside, white_mean, grey.mean() if grey.size else float("nan"))
    low, high = np.percentile(np.asarray(field.dataobj[box])[inside], [2, 98])
    agreement = measure_agreement(data, inside, gm, wm, zooms, stripped)
    del data, csf, gm, wm  # the next reads its own
    return {
        **{f"{name}Volume": round(value, 3) for name, value in volumes.items()},
        **({"WMHypointensityVolume": round(total_volume(spots), 3)} if spots is not None else {}),
        "TIV": round(tiv, 3),
        "ModulatedGMVolume": round(modulated_ml, 3),
        "GMVolumeConservation": round(modulated_ml / max(volumes["GM"], 1e-6), 5),
        "JacobianRange": [round(float(determinant[brain].min()), 4), round(float(determinant[brain].max()), 4)],
        "FoldedShare": float(np.mean(determinant[brain] <= 0)),
        "MaskOverlap": round(2 * float((brain & warped).sum()) / float(brain.sum() + warped.sum()), 4),
        "PriorCorrelation": round(
            float(np.corrcoef(unmodulated[both], np.asarray(template.gm.dataobj)[both])[0, 1]), 4
        ),
        **measure_sides(modulated.gm, template),
        "Noise": round(noise, 4),
        "GreyWhiteContrast": round(contrast, 3),
        "BiasRange": round(float(high / low), 4),
        **{f"{name}Fraction": round(value / tiv, 4) for name, value in volumes.items()},
        "SurfaceBrightness": round(surface, 3),
        "CutShare": round(cut, 3),
        **agreement,
        **measure_image(corrected, mask, field, tissues, noise * white_mean),
    }


def usual_ranges() -> dict[str, list[float | None]]:
    """Lowest and highest value of every rule that passes, for the sidecar; None where there is no limit."""
    return {name: [low, None if np.isinf(high) else high] for name, low, high, *_ in RULES}


def judge(metrics: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Verdict on a scan from its quality numbers.

    Returns
    -------
    verdict : {"pass", "look", "fail"}
    reasons : list of str
        One sentence a broken rule, the worst first.
    """
    fails, looks = list[str](), list[str]()
    for key, low, high, fail_low, fail_high, text in RULES:
        value = metrics.get(key)
        if value is None:
            continue
        if not np.isfinite(value):
            (looks if (fail_low, fail_high) == NEVER else fails).append(f"{key} could not be measured")
        elif not fail_low <= value <= fail_high:
            fails.append(text.format(value))
        elif not low <= value <= high:
            looks.append(text.format(value))
    return ("fail" if fails else "look" if looks else "pass"), fails + looks


def _noise(data: np.ndarray, white: np.ndarray) -> float:
    """Immerkaer-like noise: robust spread of second differences in white matter, scaled to one voxel's deviation."""
    if np.count_nonzero(white) < 100:
        return float("nan")
    second = data[1:-1] - (data[:-2] + data[2:]) / 2
    inner = white[1:-1] & white[:-2] & white[2:]
    if not inner.any():
        return float("nan")
    return float(MAD_TO_SD * np.median(np.abs(second[inner])) / np.sqrt(1.5))


def _rim(data: np.ndarray, inside: np.ndarray, white: float, grey: float) -> tuple[float, float]:
    """Brightness of the outermost voxels of the mask, and the share of its edge where brain goes on outside.

    The first is their 95th percentile over the white-matter mean: fluid and cortex stay below one, marrow and fat do
    not. The second counts rim voxels as bright as grey matter that have an equally bright voxel just outside.
    """
    inner = inside & ~ndimage.binary_erosion(inside)
    outside = np.where(inside, 0, data)
    across = ndimage.maximum_filter(outside, size=3)
    bright = data[inner] > 0.85 * grey
    brain_goes_on = bright & (across[inner] > 0.85 * grey) & (across[inner] < 1.1 * white)
    return float(np.percentile(data[inner], 95) / white), float(np.mean(brain_goes_on))
