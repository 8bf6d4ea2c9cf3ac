"""Atropos of ANTs (Avants et al. 2011) with the template's priors: the usual engine of ANTs pipelines, for comparison.

Each tissue is one Gaussian with a Markov random field: there is no class for voxels that two tissues share, so that
its maps are harder than the mixture's.
"""

from __future__ import annotations

import tempfile

import nibabel as nib
import numpy as np

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like, scratch, to_ants
from bids_app.participant.hypointensities import give_back
from bids_app.participant.tissue import Tissues
from bids_app.space.boxes import bounding_box

PRIOR_WEIGHT = 0.25
FIELD = "[0.2,1x1x1]"  # strength of the random field, its neighbourhood in voxels
PURE = 0.9  # share of a tissue from which a voxel says how bright that tissue is


def segment(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    gm_prior: nib.Nifti1Image,
    wm_prior: nib.Nifti1Image,
    csf_prior: nib.Nifti1Image,
    deep_prior: nib.Nifti1Image | None = None,
    sloppy: bool = False,
) -> Tissues:
    """Segment a bias-corrected scan, as ``participant.tissue.segment`` does; deep grey matter counts as grey."""
    import ants

    inside = np.asarray(mask.dataobj) > 0
    if np.count_nonzero(inside) < 1000:
        raise ScanError("The brain mask is empty.", remedy="Inspect the brain mask; try --skull-strip force.")
    box = bounding_box(inside)
    within = inside[box]
    csf, gm, wm = (np.asarray(image.dataobj, np.float32)[box] for image in (csf_prior, gm_prior, wm_prior))
    deep = np.zeros_like(gm) if deep_prior is None else np.asarray(deep_prior.dataobj, np.float32)[box]
    part = corrected.slicer[box]
    head = image_like(np.asarray(part.dataobj, np.float32) * within, part)
    priors = (csf, gm + (1 - gm) * deep, wm * (1 - deep))
    with scratch(tempfile.gettempdir()):
        found = ants.atropos(
            a=to_ants(head),
            x=to_ants(image_like(within, part, np.uint8)),
            i=[to_ants(image_like(prior, part)) for prior in priors],
            priorweight=PRIOR_WEIGHT,
            m=FIELD,
            c=f"[{2 if sloppy else 5},0]",
            r=0,  # a constant seed: by default the clock's
        )["probabilityimages"]
        fractions = np.stack([image.numpy() for image in found]).astype(np.float32) * within
    total = fractions.sum(0)
    fractions = np.where(total > 0, fractions / np.maximum(total, 1e-6), 0)
    fractions[0] += within & (total <= 0)  # where no tissue fits there is fluid
    data = np.asarray(head.dataobj)
    means = np.array([np.average(data, weights=np.where(share > PURE, share, share**4)) for share in fractions])
    relative, zooms = data / means[2], np.array(part.header.get_zooms()[:3])
    fractions, spots = give_back(fractions, relative, within, (csf, gm, wm), deep, zooms, means / means[2])
    maps = []
    for values in (*fractions, spots.astype(np.uint8)):
        full = np.zeros(inside.shape, values.dtype)
        full[box] = values
        maps.append(image_like(full, corrected, values.dtype))
    fluid, grey, white, dark = maps
    stats = {"ClassMeans": [round(float(mean), 4) for mean in means / means[2]]}
    return Tissues(fluid, grey, white, stats, dark)
