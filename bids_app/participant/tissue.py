"""Grey matter, white matter and fluid of a scan.

The mixture (:mod:`.partial_volume`) finds its parameters on blocks of about 2 mm and then goes on with the voxels
themselves; dark spots of white matter are given back to it afterwards (:mod:`.hypointensities`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like
from bids_app.participant._grid import block_mean
from bids_app.participant.hypointensities import give_back
from bids_app.participant.partial_volume import WM, Mixture, Priors, Settings, in_place
from bids_app.space.boxes import bounding_box


@dataclass(frozen=True)
class Tissues:
    """Tissue fractions in native space, float32, 0 to 1; they sum to one in the brain mask and are zero outside.

    ``hypointensities`` is one where white matter is as dark as grey matter (:mod:`.hypointensities`), uint8.
    """

    csf: nib.Nifti1Image
    gm: nib.Nifti1Image
    wm: nib.Nifti1Image
    stats: dict[str, Any] = field(default_factory=dict)
    hypointensities: nib.Nifti1Image | None = None


def segment(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    gm_prior: nib.Nifti1Image,
    wm_prior: nib.Nifti1Image,
    csf_prior: nib.Nifti1Image,
    deep_prior: nib.Nifti1Image | None = None,
    sloppy: bool = False,
) -> Tissues:
    """Segment a bias-corrected scan.

    Parameters
    ----------
    corrected, mask : Nifti1Image
        Bias-corrected scan and brain mask in native space.
    gm_prior, wm_prior, csf_prior : Nifti1Image
        Template priors on the same grid.
    deep_prior : Nifti1Image, optional
        Prior of deep grey matter (thalamus, pallidum, putamen, caudate) on the same grid.
    sloppy : bool
        Fewer iterations.

    Returns
    -------
    Tissues
        ``stats`` holds the class means and standard deviations relative to the initial white-matter median.

    Raises
    ------
    ScanError
        The mask is empty, or the priors hardly meet it.
    """
    inside = np.asarray(mask.dataobj) > 0
    if np.count_nonzero(inside) < 1000:
        raise ScanError("The brain mask is empty.", remedy="Inspect the brain mask; try --skull-strip force.")
    box = bounding_box(inside)
    zooms = np.asarray(corrected.header.get_zooms()[:3], dtype=float)
    images = (csf_prior, gm_prior, wm_prior)
    priors = [np.asarray(image.dataobj, dtype=np.float32)[box] for image in images]
    deep = np.zeros(inside[box].shape, np.float32)
    if deep_prior is not None:
        deep = np.asarray(deep_prior.dataobj, dtype=np.float32)[box]
    settings = Settings(iterations=6, fine_iterations=2) if sloppy else Settings()
    data = np.asarray(corrected.dataobj, dtype=np.float32)[box]
    fractions, stats = segment_arrays(data, inside[box], priors, deep, zooms, settings)
    relative, means = data / stats["WhiteMatterIntensity"], stats["ClassMeans"]
    fractions, spots = give_back(fractions, relative, inside[box], priors, deep, zooms, means)
    maps = []
    for part in (*fractions, spots.astype(np.uint8)):
        full = np.zeros(inside.shape, part.dtype)
        full[box] = part
        maps.append(image_like(full, corrected, part.dtype))
    csf, gm, wm, dark = maps
    return Tissues(csf, gm, wm, stats, dark)


def segment_arrays(
    data: np.ndarray,
    inside: np.ndarray,
    priors: Priors,
    deep: np.ndarray,
    zooms: np.ndarray,
    settings: Settings | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Segment arrays: parameters at about 2 mm, then a few iterations on the voxels themselves.

    Parameters
    ----------
    data : (X, Y, Z) float array
        Intensities.
    inside : (X, Y, Z) bool array
        Brain mask, not touching the border of the array.
    priors : (3, X, Y, Z) array, or three of (X, Y, Z)
        CSF, GM and WM priors.
    deep : (X, Y, Z) array
        Deep grey prior, 0 to 1.
    zooms : (3,) array
        Voxel size in mm.
    settings : Settings, optional

    Returns
    -------
    fractions : (3, X, Y, Z) float32 array
        CSF, GM, WM.
    stats : dict
    """
    settings = settings or Settings()
    scale = _white_median(data, inside, priors)
    data = data / scale
    factors = np.maximum(1, np.round(settings.coarse_mm / zooms + 0.01)).astype(int)
    if np.all(factors == 1):
        mixture = Mixture(data, inside, priors, deep, zooms, settings)
        mixture.run(settings.iterations)
    else:
        weight = block_mean(inside.astype(np.float32), factors)
        share = np.maximum(weight, 1e-3)
        coarse = Mixture(
            block_mean(data * inside, factors) / share,
            weight > 0.5,
            np.stack([block_mean(prior * inside, factors) / share for prior in priors]),
            block_mean(deep * inside, factors) / share,
            zooms * factors,
            settings,
        )
        coarse.run(settings.iterations)
        mixture = Mixture(data, inside, priors, deep, zooms, settings, guess=False)
        del data
        mixture.start_from(coarse, factors)
        mixture.run(settings.fine_iterations, keep_offsets=True)
    stats = {
        "ClassMeans": [round(float(value), 4) for value in mixture.mean],
        "ClassDeviations": [round(float(value), 4) for value in mixture.sd],
        "WhiteMatterIntensity": float(scale),
    }
    # The maps are as large as all of the mixture, which is done with.
    share = mixture.share
    del mixture
    return in_place(share, inside), stats


def _white_median(data: np.ndarray, inside: np.ndarray, priors: Priors) -> float:
    white = data[inside & (priors[WM] > 0.85)]
    if white.size < 50:
        raise ScanError(
            "The template's white matter hardly overlaps the brain of this scan.",
            remedy="Inspect the registration and the brain mask; try --skull-strip force.",
        )
    median = float(np.median(white))
    if median <= 0:
        raise ScanError("White matter is dark in this scan.", remedy="Is it a T1w image?")
    return median
