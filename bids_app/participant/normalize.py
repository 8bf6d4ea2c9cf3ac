"""Bring a scan to the template, and images across."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant._ants import from_ants, image_like, scratch, to_ants
from bids_app.participant._grid import block_mean, coarse_affine
from bids_app.space.templates import Template

INTERPOLATION = {"linear": "linear", "nearest": "nearestNeighbor", "label": "genericLabel", "spline": "bSpline"}
MARGIN_MM = 12.0
SLOPPY_MM = 4.0


@dataclass(frozen=True)
class Transforms:
    """Composite transforms, one HDF5 file each.

    ``forward`` resamples T1w images on the template grid (from-T1w_to-template), ``inverse`` the other way round.
    """

    forward: Path
    inverse: Path


def register(
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    template: Template,
    work_dir: str | PathLike,
    seed: int = 1,
    sloppy: bool = False,
) -> Transforms:
    """Register the brain to the template: rigid, affine, then symmetric diffeomorphic (SyN, Avants et al. 2008).

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
        Work on voxels of about 4 mm.

    Returns
    -------
    Transforms

    Raises
    ------
    ScanError
        The registration failed.
    """
    import ants
    from ants.config import set_ants_deterministic

    target = _crop_to_mask(template.t1w, template.mask)
    brain = _crop_to_mask(_normalised_brain(corrected, mask), mask)
    if sloppy:
        target, brain = _coarser(target), _coarser(brain)
    fixed, moving = to_ants(target), to_ants(brain)
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    # To ANTs a seed of 0 means the clock: every seed that a user can name is moved above it.
    set_ants_deterministic(on=False, seed_value=abs(int(seed)) + 1)
    with scratch(work_dir) as folder:
        prefix = str(folder / "to_template_")
        try:
            ants.registration(
                fixed,
                moving,
                type_of_transform="antsRegistrationSyNQuick[s]",
                outprefix=prefix,
                write_composite_transform=True,
                singleprecision=True,
            )
        except RuntimeError as error:
            raise ScanError(
                f"The registration to {template.name} failed ({error}).",
                remedy="Look at the brain mask of this scan; if it is wrong try --skull-strip force.",
            ) from error
        forward, inverse = work_dir / "forward.h5", work_dir / "inverse.h5"
        Path(prefix + "Composite.h5").replace(forward)
        Path(prefix + "InverseComposite.h5").replace(inverse)
    return Transforms(forward, inverse)


def warp(
    image: nib.Nifti1Image, reference: nib.Nifti1Image, transform: str | PathLike, interpolation: str = "linear"
) -> nib.Nifti1Image:
    """Resample ``image`` on the grid of ``reference`` through a composite transform file.

    Parameters
    ----------
    image, reference : Nifti1Image
    transform : path-like
        ``Transforms.forward`` for native -> template, ``Transforms.inverse`` for template -> native.
    interpolation : {"linear", "nearest", "label", "spline"}

    Returns
    -------
    Nifti1Image, float32, zero outside the image.
    """
    import ants

    warped = ants.apply_transforms(
        to_ants(reference),
        to_ants(image),
        [str(transform)],
        interpolator=INTERPOLATION[interpolation],
        singleprecision=True,
    )
    return from_ants(warped, like=reference)


def warp_priors(
    template: Template, native: nib.Nifti1Image, transforms: Transforms
) -> tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image | None]:
    """The template's GM, WM, CSF and deep-grey priors (None where it has no deep prior) on the grid of ``native``."""
    gm, wm, csf = (warp(getattr(template, key), native, transforms.inverse) for key in ("gm", "wm", "csf"))
    deep = None if template.deep is None else warp(template.deep, native, transforms.inverse)
    return gm, wm, csf, deep


def jacobian(reference: nib.Nifti1Image, transform: str | PathLike, work_dir: str | PathLike) -> nib.Nifti1Image:
    """Jacobian determinant of the whole transform (affine included) at every voxel of ``reference``.

    The composite maps each point x of the reference to phi(x) in the moving image; the determinant of d phi / d x,
    by central differences on the reference grid, is the native volume per template volume.

    Parameters
    ----------
    reference : Nifti1Image
        The template grid.
    transform : path-like
        ``Transforms.forward``.
    work_dir : path-like
        For the temporary displacement field.

    Returns
    -------
    Nifti1Image, float32, unitless
    """
    import ants

    grid = to_ants(reference)
    with scratch(work_dir) as folder:
        field_file = ants.apply_transforms(
            grid, grid, [str(transform)], compose=str(folder / "phi_"), singleprecision=True
        )
        displacement = np.squeeze(np.asarray(nib.load(field_file).dataobj, dtype=np.float32))
    return image_like(displacement_jacobian(displacement, reference.affine), reference)


def displacement_jacobian(displacement: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """det(I + du/dx) of an ITK displacement field.

    Parameters
    ----------
    displacement : (X, Y, Z, 3) array
        Displacements in mm, LPS components.
    affine : (4, 4) array
        Voxel-to-world matrix (RAS) of the grid.

    Returns
    -------
    (X, Y, Z) array
    """
    u = displacement * np.array([-1, -1, 1], dtype=np.float32)  # LPS -> RAS
    by_voxel = np.stack([np.gradient(u[..., i]) for i in range(3)])  # component, voxel axis, x, y, z
    by_world = np.einsum("iaxyz,aj->ijxyz", by_voxel, np.linalg.inv(affine[:3, :3]).astype(np.float32))
    m = by_world + np.eye(3, dtype=np.float32)[:, :, None, None, None]
    return (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


def _normalised_brain(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Brain clipped to its 0.5-99.5 percentiles and scaled to 0..1, so that vessels do not fill the histogram."""
    data, inside = np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0
    low, high = np.percentile(data[inside], [0.5, 99.5])
    return image_like(np.where(inside, np.clip((data - low) / (high - low), 0, 1) + 0.01, 0), image)


def _coarser(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Block averages of about ``SLOPPY_MM``."""
    factors = np.maximum(1, np.round(SLOPPY_MM / np.asarray(image.header.get_zooms()[:3]))).astype(int)
    data = block_mean(np.asarray(image.dataobj, dtype=np.float32), factors)
    return nib.Nifti1Image(data, coarse_affine(image.affine, factors))


def _crop_to_mask(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Cut an image to the bounding box of the mask and a margin: SyN then spends no time on air."""
    zooms = np.asarray(image.header.get_zooms()[:3])
    box = ndimage.find_objects((np.asarray(mask.dataobj) > 0).astype(np.uint8))[0]
    pad = np.ceil(MARGIN_MM / zooms).astype(int)
    slices = [slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(box, pad, image.shape, strict=True)]
    return image.slicer[tuple(slices)]
