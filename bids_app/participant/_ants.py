"""The bridge to ANTs: coordinates, volumes, temporary files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike

from bids_app.errors import ScanError

_PLAIN = re.compile(r"[a-zA-Z0-9_./+~=@%-]+")
LPS = np.diag([-1.0, -1.0, 1.0])


def to_ants(image: nib.Nifti1Image) -> Any:
    """Convert a 3D nibabel image (RAS+ world) into a float32 ANTsImage (LPS+ world).

    Raises
    ------
    ValueError
        The affine has shear, which ITK cannot hold (``inputs.load_t1w`` never returns such an image).
    """
    import ants  # a second to import, and its threads are fixed at that moment

    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    direction = image.affine[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError("The affine has shear; resample the image on an orthogonal grid first.")
    # Tiny rounding in stored affines would otherwise make ITK reject the direction cosines.
    u, _, vt = np.linalg.svd(direction)
    return ants.from_numpy(
        np.asarray(image.dataobj, dtype=np.float32),
        origin=tuple(LPS @ image.affine[:3, 3]),
        spacing=tuple(spacing),
        direction=LPS @ (u @ vt),
    )


def from_ants(image: Any, like: nib.Nifti1Image | None = None) -> nib.Nifti1Image:
    """Convert an ANTsImage back to nibabel, float32; ``like`` gives the exact affine and the header codes."""
    data = np.asarray(image.numpy(), dtype=np.float32)
    if like is not None:
        return image_like(data, like)
    affine = np.eye(4)
    affine[:3, :3] = LPS @ np.asarray(image.direction) @ np.diag(image.spacing)
    affine[:3, 3] = LPS @ np.asarray(image.origin)
    return nib.Nifti1Image(data, affine)


def image_like(data: np.ndarray, like: nib.Nifti1Image, dtype: DTypeLike = np.float32) -> nib.Nifti1Image:
    """A NIfTI image on the grid of ``like``, unscaled, with its space codes."""
    image = nib.Nifti1Image(np.ascontiguousarray(data, dtype=dtype), like.affine)
    image.header.set_xyzt_units("mm")
    code = int(like.header["sform_code"]) or int(like.header["qform_code"]) or 1
    image.set_sform(like.affine, code)
    image.set_qform(like.affine, code)
    return image


def voxel_volume(image: nib.Nifti1Image) -> float:
    """Volume of a voxel in ml."""
    return float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000


def total_volume(fraction: nib.Nifti1Image) -> float:
    """Volume of a tissue map in ml: its sum times the voxel volume."""
    return float(np.asarray(fraction.dataobj).sum(dtype=np.float64)) * voxel_volume(fraction)


@contextmanager
def scratch(work_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """Send every temporary file of antspyx into a folder under ``work_dir`` and remove it afterwards."""
    work_dir = Path(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    previous = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="ants-") as folder, plain(folder) as name:
        tempfile.tempdir = str(name)
        try:
            yield name
        finally:
            tempfile.tempdir = previous


@contextmanager
def plain(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name of a file or folder that ANTs' command line does not take apart: its own, or that of a link to it.

    ANTs reads ``[name,0]`` as a list, so that no name may hold a bracket, a comma or a blank; of other letters outside
    ASCII not every library knows what to make.
    """
    path = Path(os.path.abspath(path))
    if _PLAIN.fullmatch(str(path)):
        yield path
        return
    places = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm") if _PLAIN.fullmatch(place)]
    for place in places:
        try:
            folder = tempfile.mkdtemp(prefix="la-", dir=place)
        except OSError:
            continue
        try:
            ending = re.search(r"(\.nii\.gz|\.[a-zA-Z0-9]+)?$", path.name)
            link = Path(folder) / f"x{(ending and ending[0]) or ''}"
            link.symlink_to(path)
            yield link
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise ScanError(
        "ANTs cannot use a folder whose name contains brackets, commas, spaces or non-ASCII letters.",
        file=path,
        remedy="Choose another work folder with -w, or another TMPDIR.",
    )
