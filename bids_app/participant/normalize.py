"""Bring a scan to the template: affine, then diffeomorphic, the gyri by tissues, the borders by intensities too."""

from __future__ import annotations

import io
import shlex
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like, scratch, to_ants
from bids_app.participant._grid import block_average
from bids_app.participant.segmenters import Segment, segmenter
from bids_app.participant.transforms import Transforms, Warp, warp_priors, write_composites
from bids_app.participant.upright import check_upright
from bids_app.schema.segmenters import SEGMENTERS
from bids_app.space.templates import Template, get_template

MARGIN_MM = 8.0
ALIGN_MM = 4.0  # voxels of the first, coarse match
WORKING_MM = 2.0  # voxels of those that follow, whatever the template's
# SyN on tissues: squared differences, from 16 mm voxels to 4 mm ones.
SYN = {
    "syn_metric": "meansquares",
    "syn_sampling": 0,
    "reg_iterations": (40, 30, 20, 0),
    "grad_step": 0.4,
    "flow_sigma": 3,
    "total_sigma": 0,
}
# Greedy: correlation in windows of 5 voxels; iterations from coarse to fine; standard deviations of the Gaussians that
# smooth each step and the whole field. With -sv the field is the exponential of a velocity, which cannot fold: more of
# the way to a shrunken structure can be gone.
COARSE = "-m WNCC 2x2x2 -n 60x40 -s 1.7vox 0.7vox"
QUICK = "-m WNCC 2x2x2 -n 30x15 -s 1.7vox 0.7vox"
REFINE = "-m WNCC 2x2x2 -sv -n 30 -s 2.0vox 0.5vox"
CHANNELS = (1, 1, 2)  # weights of grey matter, white matter and intensities in the last


def register(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    template: Template,
    work_dir: str | PathLike[str],
    seed: int = 1,
    sloppy: bool = False,
    segmentation: str = SEGMENTERS[0].name,
) -> Transforms:
    """Register the brain to the template: affine (ANTs), then diffeomorphic in three steps.

    The first, by Greedy (Yushkevich et al. 2016), on the intensities of about 4 mm voxels, brings the template's priors
    near enough for a first segmentation. The second, SyN (Avants et al. 2008), starts again from the affine transform
    and matches the scan's grey and white matter to the template's, as DARTEL does (Ashburner 2007): tissue fractions
    have no bias field and no contrast of their own, and cortex weighs as much as the ventricles. Being symmetric and
    coarse it finds the same gyri again from another start. From there the third, Greedy again, moves the borders to
    their places, by the correlation of tissues and intensities in small windows.

    Parameters
    ----------
    corrected, mask : Nifti1Image
        Bias-corrected scan and brain mask in native space.
    template : Template
    work_dir : path-like
        Where the transforms are written (``forward.h5``, ``inverse.h5``) and temporary files live.
    seed : int
        Seed of the affine search's sampling and of the noise that Greedy adds; with one thread the result repeats
        exactly.
    sloppy : bool
        Stop after the coarse match, and hurry it.
    segmentation : str
        Engine of the tissues that are matched, one of ``schema.segmenters``.

    Returns
    -------
    Transforms

    Raises
    ------
    ScanError
        The registration failed, or the scan fits the template better when it is turned.
    """
    from ants.config import set_ants_deterministic

    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    # To ANTs and to Greedy 0 means the clock, and Greedy's is a C int: every seed a user can name is moved between.
    seed = abs(int(seed)) % (2**31 - 2) + 1
    set_ants_deterministic(on=False, seed_value=seed)
    with scratch(work_dir) as folder:
        try:
            affine, found = _align(corrected, mask, template, folder, QUICK if sloppy else COARSE, seed)
            if not sloppy:
                found = _match_tissues(corrected, mask, template, affine, found, folder, seed, segmenter(segmentation))
            return write_composites(affine, found, work_dir)
        except RuntimeError as error:
            raise ScanError(
                f"The registration to {template.name} failed ({error}).",
                remedy="Inspect the brain mask of this scan; if it is wrong, try --skull-strip force.",
            ) from error


def _align(
    corrected: nib.Nifti1Image, mask: nib.Nifti1Image, template: Template, folder: Path, settings: str, seed: int
) -> tuple[Path, Warp]:
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
    check_upright(fixed, moving, affine)
    return Path(affine), _greedy([(fixed, moving, 1)], [affine], settings, str(folder / "coarse_"), seed)


def _match_tissues(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    template: Template,
    affine: Path,
    near: Warp,
    folder: Path,
    seed: int,
    segment: Segment,
) -> Warp:
    """Segment with the priors as the coarse match places them, then match tissues, finally with intensities."""
    if template.resolution != WORKING_MM:
        template = get_template(template.full_name, WORKING_MM)
    scan, inside = block_average(corrected, WORKING_MM), block_average(mask, WORKING_MM)
    inside = image_like(np.asarray(inside.dataobj) > 0.5, inside, np.uint8)
    tissues = segment(scan, inside, *warp_priors(template, scan, write_composites(affine, near, folder)))
    templates = template.gm_with_deep, template.wm_without_deep, _normalised_brain(template.t1w, template.mask)
    fixed = [to_ants(_crop_to_mask(image, template.mask)) for image in templates]
    moving = [to_ants(_crop_to_mask(i, inside)) for i in (tissues.gm, tissues.wm, _normalised_brain(scan, inside))]
    white = ("meansquares", fixed[1], moving[1], 1, 0)
    gyri = _syn(fixed[0], moving[0], affine, str(folder / "gyri_"), multivariate_extras=[white], **SYN)
    channels = list(zip(fixed, moving, CHANNELS, strict=True))
    borders = _greedy(channels, [gyri.field, affine], REFINE, str(folder / "borders_"), seed)
    chains = {"whole_": (borders.field, gyri.field), "whole_inverse_": (gyri.inverse, borders.inverse)}
    return Warp(*(_composed(fixed[0], chain, str(folder / name)) for name, chain in chains.items()))


def _syn(fixed: Any, moving: Any, affine: Path, prefix: str, **settings: Any) -> Warp:
    """Match ANTsImages by SyN, starting from an affine transform."""
    import ants

    ants.registration(
        fixed,
        moving,
        type_of_transform="SyNOnly",
        initial_transform=str(affine),
        outprefix=prefix,
        singleprecision=True,
        **settings,
    )
    return Warp(Path(prefix + "1Warp.nii.gz"), Path(prefix + "1InverseWarp.nii.gz"))


def _greedy(channels: list[tuple[Any, Any, int]], start: list[Path], settings: str, prefix: str, seed: int) -> Warp:
    """Match several (fixed, moving, weight) of ANTsImages at once by Greedy, after the transforms ``start``.

    The warp does not hold ``start``: the whole way is [field, *start].
    """
    import ants
    from picsl_greedy import Greedy3D

    pairs = []
    for number, (fixed, moving, weight) in enumerate(channels):
        moving = ants.apply_transforms(fixed, moving, [str(t) for t in start], singleprecision=True)
        names = [f"{prefix}{side}{number}.nii" for side in ("fixed", "moving")]
        for name, image in zip(names, (fixed, moving), strict=True):
            ants.image_write(image, name)
        pairs.append(f"-w {weight} -i {shlex.join(names)}")
    found, said = Warp(Path(prefix + "warp.nii"), Path(prefix + "inverse.nii")), io.StringIO()  # it draws dots
    Greedy3D().execute(
        f"{' '.join(pairs)} -o {shlex.quote(str(found.field))} -oinv {shlex.quote(str(found.inverse))} "
        f"-wp 0 -float -V 0 -seed {seed} {settings}",
        out=said,
        err=said,
    )
    for path in (found.field, found.inverse):
        field: Any = nib.load(path) if path.exists() else None
        if field is None or not np.isfinite(np.asarray(field.dataobj)).all():
            raise RuntimeError(f"Greedy left no usable field: {said.getvalue()[-300:]}")
    return found


def _composed(grid: Any, chain: tuple[Path, Path], prefix: str) -> Path:
    """One displacement field of two, of which the first is applied to a point first."""
    import ants

    names = [str(path) for path in chain]
    return Path(ants.apply_transforms(grid, grid, names, compose=prefix, singleprecision=True))


def _normalised_brain(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Brain clipped to its 0.5-99.5 percentiles and scaled to 0..1, so that vessels do not fill the histogram."""
    data, inside = np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0
    low, high = np.percentile(data[inside], [0.5, 99.5])
    return image_like(np.where(inside, np.clip((data - low) / (high - low), 0, 1) + 0.01, 0), image)


def _crop_to_mask(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Cut an image to the bounding box of the mask and a margin: nothing then spends time on air."""
    zooms = np.asarray(image.header.get_zooms()[:3])
    box = ndimage.find_objects((np.asarray(mask.dataobj) > 0).astype(np.uint8))[0]
    pad = np.ceil(MARGIN_MM / zooms).astype(int)
    slices = [slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(box, pad, image.shape, strict=True)]
    return image.slicer[tuple(slices)]
