"""The anatomy every simulated head is deformed from: tissue of the bundled template, and an atlas.

Two grids share the template's origin: 1 mm for tissue, 2 mm for regions, deformation by atrophy and volumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from ..space.atlas_loaders import load_atlas
from ..space.distances import edge_distance
from ..space.template_sources import BUNDLED
from ..space.templates import get_template
from .fields import smooth_noise

FLOOR = 2e-3  # keeps the log-odds of the priors finite
SHARPNESS = 2.5  # the priors are averages over 152 people: one person's tissue borders are sharper
FOLDING_SD = 0.6  # log-odds by which one person's cortex departs from the average
FOLDING_MM = 3.5  # and the width of the Gaussian that makes these departures smooth
TISSUE_SHARES = (0.48, 0.345, 0.175)  # GM, WM, CSF of the intracranial volume
TYPICAL_T1 = (0.70, 1.0, 0.25)  # GM, WM, CSF relative to WM


@dataclass(frozen=True)
class Anatomy:
    """Template anatomy on the box of voxels around the brain.

    Attributes
    ----------
    affine : ndarray, (4, 4)
        Voxel to mm of the 1 mm box.
    logits : ndarray, (3, X, Y, Z), float32
        Log-odds of GM, WM, CSF.
    mask : ndarray, (X, Y, Z), bool
        Intracranial.
    texture : ndarray, (X, Y, Z), float32
        What the template's T1w shows beyond three tissues (brighter deep nuclei, vessels), relative to WM.
    labels : ndarray, (x, y, z), int32
        Atlas on the 2 mm grid, whose affine is ``labels_affine``.
    table : DataFrame
        ``index`` and ``name`` of the regions.
    age_slope : float
        Shift of the CSF log-odds that takes 1 % of all grey matter.
    """

    affine: np.ndarray
    logits: np.ndarray
    mask: np.ndarray
    texture: np.ndarray
    labels: np.ndarray
    labels_affine: np.ndarray
    table: pd.DataFrame
    age_slope: float


@lru_cache(maxsize=2)
def load_anatomy(step: int = 1, atlas: str = "AAL2") -> Anatomy:
    """Build the anatomy from the bundled template.

    Parameters
    ----------
    step : {1, 2}
        Voxel edge of the tissue in mm; 2 is for maps without scans.
    atlas : str
    """
    template = get_template(BUNDLED, float(step))
    coarse = get_template(BUNDLED, 2.0)
    mask = np.asarray(template.mask.dataobj) > 0
    priors = np.stack([np.asarray(p.dataobj, np.float32) for p in (template.gm, template.wm, template.csf)])
    margin = 4 // step
    starts = [max(0, int(where.min()) - margin) for where in np.where(mask)]
    # An even first voxel: every second one then lies on the 2 mm grid, as ``to_coarse`` needs.
    box = tuple(
        slice(first - first % 2, int(where.max()) + 1 + margin)
        for first, where in zip(starts, np.where(mask), strict=True)
    )
    mask, priors = mask[box], priors[:, *box]
    affine = template.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [b.start for b in box]

    logits = np.log(priors + np.float32(FLOOR))
    logits = _with_shares(logits, mask)
    t1w = np.asarray(template.t1w.dataobj, np.float32)[box]
    white = np.median(t1w[priors[1] > 0.95])
    texture = t1w / white - np.tensordot(np.array(TYPICAL_T1, np.float32), priors, 1)
    # Only deep inside: near the surface the template's average shows blur, not anatomy.
    inside = np.clip(edge_distance(mask) * step / 8 - 0.5, 0, 1).astype(np.float32)
    texture = ndimage.gaussian_filter(texture, 1.5 / step) * inside

    regions = load_atlas(atlas, coarse.mask)
    return Anatomy(
        affine=affine,
        logits=logits,
        mask=mask,
        texture=texture.astype(np.float32),
        labels=np.asarray(regions.image.dataobj).astype(np.int32),
        labels_affine=coarse.affine.copy(),
        table=regions.table,
        age_slope=_age_slope(logits, mask),
    )


def tissue_shares(anatomy: Anatomy, rng: np.random.Generator | None = None, gm_loss: float = 0.0) -> np.ndarray:
    """One person's tissue fractions in template space.

    Parameters
    ----------
    anatomy : Anatomy
    rng : Generator, optional
        Draws this person's cortical folding; the average person's when not given.
    gm_loss : float
        Percent of all grey matter that has thinned away into CSF (negative: thicker than average).

    Returns
    -------
    ndarray, shape (3, X, Y, Z), float32
        GM, WM, CSF; sums to one in the mask, zero outside.
    """
    logits = anatomy.logits.copy()
    logits[2] += np.float32(anatomy.age_slope * gm_loss)
    if rng is not None:
        shape = logits.shape[1:]
        step = float(anatomy.affine[0, 0])
        coarse = tuple(int(np.ceil(n * step / 2)) for n in shape)
        noise = smooth_noise((2, *coarse), (0, *[FOLDING_MM / 2] * 3), rng) * np.float32(FOLDING_SD)
        logits[1:] += torch.nn.functional.interpolate(
            torch.from_numpy(noise)[None], size=shape, mode="trilinear", align_corners=True
        )[0].numpy()
    return _sharpen(logits, anatomy.mask)


def to_coarse(anatomy: Anatomy, volume: np.ndarray) -> np.ndarray:
    """Bring a volume of the tissue box to the 2 mm grid of the atlas, keeping its integral.

    Binomial smoothing, then every second voxel (the grids share their origin); zero outside the box.
    """
    step = round(float(anatomy.affine[0, 0]))
    if step == 1:
        for axis in range(3):
            volume = ndimage.convolve1d(volume, [0.25, 0.5, 0.25], axis=axis, mode="constant")
        volume = volume[::2, ::2, ::2]
    start = np.rint(np.linalg.solve(anatomy.labels_affine, anatomy.affine @ [0, 0, 0, 1])[:3]).astype(int)
    out = np.zeros(anatomy.labels.shape, np.float32)
    out[tuple(slice(s, s + n) for s, n in zip(start, volume.shape, strict=True))] = volume
    return out


def _sharpen(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    scaled = (logits - logits.max(0)) * np.float32(SHARPNESS)
    np.exp(scaled, out=scaled)
    scaled *= mask / scaled.sum(0)
    return scaled


def _with_shares(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shift the log-odds so that the average person has the tissue shares of a healthy adult."""
    few, where = _thin(logits, mask)
    shift = np.zeros((3, 1, 1, 1), np.float32)
    for _ in range(12):
        share = _sharpen(few + shift, where).sum((1, 2, 3)) / where.sum()
        shift += np.log(np.asarray(TISSUE_SHARES) / share).reshape(3, 1, 1, 1).astype(np.float32) * np.float32(0.5)
    return logits + shift


def _thin(logits: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every other voxel: enough for shares of the whole."""
    return logits[:, ::2, ::2, ::2], mask[::2, ::2, ::2]


def _age_slope(logits: np.ndarray, mask: np.ndarray) -> float:
    shift = np.zeros((3, 1, 1, 1), np.float32)
    shift[2] = 0.2
    few, where = _thin(logits, mask)
    less, more = (_sharpen(few + sign * shift, where)[0].sum() for sign in (1, -1))
    return 0.4 / (100 * (more - less) / (0.5 * (more + less)))
