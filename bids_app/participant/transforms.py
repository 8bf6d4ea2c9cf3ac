"""Carry images through a scan's transforms, and read the volume change off them."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_app.errors import ScanError
from bids_app.participant._ants import from_ants, image_like, plain, scratch, to_ants
from bids_app.space.boxes import bounding_box
from bids_app.space.templates import Template

CUT_MARGIN_MM = 5.0
INTERPOLATION = {"linear": "linear", "nearest": "nearestNeighbor", "label": "genericLabel", "spline": "bSpline"}


@dataclass(frozen=True)
class Transforms:
    """Composite transforms, one HDF5 file each.

    ``forward`` resamples T1w images on the template grid (from-T1w_to-template), ``inverse`` the other way round.
    """

    forward: Path
    inverse: Path


@dataclass(frozen=True)
class Warp:
    """Displacement fields on the template's brain, as ITK has them: NIfTI files, (X, Y, Z, 1, 3), mm, LPS.

    ``inverse`` undoes ``field``. Neither moves anything outside its grid.
    """

    field: Path
    inverse: Path


def write_composites(affine: Path, found: Warp, folder: Path) -> Transforms:
    """Put an affine transform and a warp into one file for either direction.

    Parameters
    ----------
    affine : Path
        ANTs' file; from the template to the scan, and after ``found.field``.
    found : Warp
    folder : Path
        Where ``forward.h5`` and ``inverse.h5`` are written.

    Returns
    -------
    Transforms
    """
    import ants

    def field(path: Path) -> Any:
        return ants.transform_from_displacement_field(ants.image_read(str(path)))

    linear = ants.read_transform(str(affine))
    # The first of a chain is applied to a point first.
    chains = {"forward": [field(found.field), linear], "inverse": [linear.invert(), field(found.inverse)]}
    for name, chain in chains.items():
        whole = folder / f"{name}_double.h5"
        ants.write_transform(ants.compose_ants_transforms(chain), str(whole))
        _write_single(whole, folder / f"{name}.h5")
        whole.unlink()
    return Transforms(folder / "forward.h5", folder / "inverse.h5")


def _write_single(source: Path, target: Path) -> None:
    """Rewrite a transform file in single precision and compressed; antspyx has neither, and files twice as large."""
    import h5py

    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for key in set(old) - {"TransformGroup"}:
            old.copy(key, new)
        for number, group in old["TransformGroup"].items():
            copy = new.create_group(f"TransformGroup/{number}")
            kind = group["TransformType"]
            copy.create_dataset("TransformType", data=[kind[0].replace(b"double", b"float")], dtype=kind.dtype)
            if "TransformParameters" in group:
                group.copy("TransformFixedParameters", copy)
                values = group["TransformParameters"][:].astype("f4")
                copy.create_dataset(
                    "TransformParameters", data=values, compression="gzip", compression_opts=1, shuffle=True
                )


def warp(
    image: nib.Nifti1Image, reference: nib.Nifti1Image, transform: str | PathLike[str], interpolation: str = "linear"
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

    with plain(transform) as name:
        warped = ants.apply_transforms(
            to_ants(reference),
            to_ants(image),
            [str(name)],
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


def in_mask(mask: nib.Nifti1Image, *images: nib.Nifti1Image) -> tuple[nib.Nifti1Image, ...]:
    """A mask and images on its grid, cut to the mask's bounding box and a margin of 5 mm or a little more."""
    inside = np.asarray(mask.dataobj) > 0
    if not inside.any():
        raise ScanError("The brain mask is empty.", remedy="Inspect the brain mask; try --skull-strip force.")
    margin = np.ceil(CUT_MARGIN_MM / np.asarray(mask.header.get_zooms()[:3])).astype(int)
    box = bounding_box(inside, margin)
    return tuple(image.slicer[box] for image in (mask, *images))


def whole(part: nib.Nifti1Image, like: nib.Nifti1Image) -> nib.Nifti1Image:
    """What :func:`in_mask` has cut out, back on the grid it was cut from; zero elsewhere."""
    start = np.round(np.linalg.inv(like.affine) @ part.affine[:, 3]).astype(int)[:3]
    data = np.zeros(like.shape, part.get_data_dtype())
    data[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))] = np.asarray(part.dataobj)
    return image_like(data, like, data.dtype)


def jacobian(
    reference: nib.Nifti1Image, transform: str | PathLike[str], work_dir: str | PathLike[str]
) -> nib.Nifti1Image:
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
    return image_like(displacement_jacobian(displacement(reference, transform, work_dir), reference.affine), reference)


def displacement(
    reference: nib.Nifti1Image, transform: str | PathLike[str], work_dir: str | PathLike[str]
) -> np.ndarray:
    """Displacement phi(x) - x of the whole transform at every voxel of ``reference``: (X, Y, Z, 3), mm, RAS."""
    import ants

    grid = to_ants(reference)
    with scratch(work_dir) as folder, plain(transform) as name:
        field_file = ants.apply_transforms(grid, grid, [str(name)], compose=str(folder / "phi_"), singleprecision=True)
        image: Any = nib.load(field_file)
        field = np.squeeze(np.asarray(image.dataobj, dtype=np.float32))
    return field * np.array([-1, -1, 1], dtype=np.float32)  # ITK's are LPS


def displacement_jacobian(field: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """det(I + du/dx) of a displacement field.

    Parameters
    ----------
    field : (X, Y, Z, 3) array
        Displacements in mm, RAS.
    affine : (4, 4) array
        Voxel-to-world matrix (RAS) of the grid.

    Returns
    -------
    (X, Y, Z) array
    """
    by_voxel = np.stack([np.gradient(field[..., i]) for i in range(3)])  # component, voxel axis, x, y, z
    by_world = np.einsum("iaxyz,aj->ijxyz", by_voxel, np.linalg.inv(affine[:3, :3]).astype(np.float32))
    m = by_world + np.eye(3, dtype=np.float32)[:, :, None, None, None]
    return (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )
