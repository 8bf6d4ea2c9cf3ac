"""Bring a scan to the template: affine, then diffeomorphic, driven by the tissues rather than by the intensities."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like, scratch, to_ants
from bids_app.participant._grid import block_average
from bids_app.participant.tissue import segment
from bids_app.participant.transforms import Transforms, warp_priors
from bids_app.space.templates import Template, get_template

MARGIN_MM = 8.0
ALIGN_MM = 4.0  # voxels of the first, coarse match
WORKING_MM = 2.0  # voxels of the tissue-driven one; its displacements are smoother than that
COARSE = {"syn_metric": "mattes", "syn_sampling": 32, "reg_iterations": (100, 70, 50), "grad_step": 0.1}
QUICK = {**COARSE, "reg_iterations": (100, 70, 10)}  # the last level, on the voxels themselves, takes most of the time
FINE = {"syn_metric": "meansquares", "syn_sampling": 0, "reg_iterations": (40, 30, 20, 5), "grad_step": 0.4}


def register(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    template: Template,
    work_dir: str | PathLike,
    seed: int = 1,
    sloppy: bool = False,
) -> Transforms:
    """Register the brain to the template: affine, then symmetric diffeomorphic (SyN, Avants et al. 2008), twice.

    A first SyN on the intensities of about 4 mm voxels brings the template's priors near enough for a first
    segmentation. The second starts again from the affine transform and matches the scan's grey and white matter to the
    template's, as DARTEL does (Ashburner 2007): tissue fractions have no bias field and no contrast of their own, and
    cortex weighs as much as the ventricles.

    Parameters
    ----------
    corrected, mask : Nifti1Image
        Bias-corrected scan and brain mask in native space.
    template : Template
    work_dir : path-like
        Where the transforms are written (``forward.h5``, ``inverse.h5``) and temporary files live.
    seed : int
        Seed of the metric's sampling; with one thread the result repeats exactly.
    sloppy : bool
        Stop after the coarse match, and hurry it.

    Returns
    -------
    Transforms

    Raises
    ------
    ScanError
        The registration failed.
    """
    from ants.config import set_ants_deterministic

    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    # To ANTs a seed of 0 means the clock: every seed that a user can name is moved above it.
    set_ants_deterministic(on=False, seed_value=abs(int(seed)) + 1)
    with scratch(work_dir) as folder:
        try:
            affine, found = _align(corrected, mask, template, folder, QUICK if sloppy else COARSE)
            if not sloppy:
                found = _match_tissues(corrected, mask, template, affine, found, folder)
        except RuntimeError as error:
            raise ScanError(
                f"The registration to {template.name} failed ({error}).",
                remedy="Look at the brain mask of this scan; if it is wrong try --skull-strip force.",
            ) from error
        forward, inverse = work_dir / "forward.h5", work_dir / "inverse.h5"
        found.forward.replace(forward)
        found.inverse.replace(inverse)
    return Transforms(forward, inverse)


def _align(
    corrected: nib.Nifti1Image, mask: nib.Nifti1Image, template: Template, folder: Path, settings: dict
) -> tuple[str, Transforms]:
    """Affine transform (a file) and a coarse diffeomorphic one, from intensities."""
    import ants

    target = _crop_to_mask(template.t1w, template.mask)
    brain = _crop_to_mask(_normalised_brain(corrected, mask), mask)
    # The affine search halves its images three times; of coarse voxels too little would be left to find the head by.
    fixed, moving = (to_ants(block_average(image, WORKING_MM)) for image in (target, brain))
    affine = ants.registration(
        fixed, moving, "antsRegistrationSyNQuick[a]", outprefix=str(folder / "affine_"), singleprecision=True
    )["fwdtransforms"][0]
    fixed, moving = (to_ants(block_average(image, ALIGN_MM)) for image in (target, brain))
    return affine, _syn(fixed, moving, affine, str(folder / "coarse_"), **settings)


def _match_tissues(
    corrected: nib.Nifti1Image, mask: nib.Nifti1Image, template: Template, affine: str, near: Transforms, folder: Path
) -> Transforms:
    """Segment with the priors as the coarse match places them, then match grey and white matter."""
    if template.resolution < WORKING_MM:
        template = get_template(template.full_name, WORKING_MM)
    scan, inside = block_average(corrected, WORKING_MM), block_average(mask, WORKING_MM)
    inside = image_like(np.asarray(inside.dataobj) > 0.5, inside, np.uint8)
    tissues = segment(scan, inside, *warp_priors(template, scan, near))
    fixed = [
        to_ants(_crop_to_mask(image, template.mask)) for image in (template.gm_with_deep, template.wm_without_deep)
    ]
    moving = [to_ants(_crop_to_mask(image, inside)) for image in (tissues.gm, tissues.wm)]
    white = ("meansquares", fixed[1], moving[1], 1, 0)
    return _syn(fixed[0], moving[0], affine, str(folder / "fine_"), multivariate_extras=[white], **FINE)


def _syn(fixed, moving, affine: str, prefix: str, **settings) -> Transforms:
    import ants

    ants.registration(
        fixed,
        moving,
        type_of_transform="SyNOnly",
        initial_transform=affine,
        outprefix=prefix,
        write_composite_transform=True,
        singleprecision=True,
        flow_sigma=3,
        total_sigma=0,
        **settings,
    )
    return Transforms(Path(prefix + "Composite.h5"), Path(prefix + "InverseComposite.h5"))


def _normalised_brain(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Brain clipped to its 0.5-99.5 percentiles and scaled to 0..1, so that vessels do not fill the histogram."""
    data, inside = np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0
    low, high = np.percentile(data[inside], [0.5, 99.5])
    return image_like(np.where(inside, np.clip((data - low) / (high - low), 0, 1) + 0.01, 0), image)


def _crop_to_mask(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Cut an image to the bounding box of the mask and a margin: SyN then spends no time on air."""
    zooms = np.asarray(image.header.get_zooms()[:3])
    box = ndimage.find_objects((np.asarray(mask.dataobj) > 0).astype(np.uint8))[0]
    pad = np.ceil(MARGIN_MM / zooms).astype(int)
    slices = [slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(box, pad, image.shape, strict=True)]
    return image.slicer[tuple(slices)]
