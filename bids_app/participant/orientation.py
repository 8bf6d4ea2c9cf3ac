"""Where the voxels of an image are: what is good in its header is used, and what it leaves open is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

#: Why it is unknown which side is left: neither form has a code, or the two point different ways.
NO_CODE, DIFFERENT = 1, 2
_ROUNDED = 1e-2  # a quaternion of this much too great a length is one that was rounded
_AGREE = 0.5  # cosine between an axis of the sform and that of the qform; a registration tilts a head by less


class _Rounded1(nib.Nifti1Header):
    quaternion_threshold = np.float32(_ROUNDED)


class _Rounded2(nib.Nifti2Header):
    quaternion_threshold = np.float64(_ROUNDED)


class _Tolerant1(nib.Nifti1Image):
    header_class = _Rounded1


class _Tolerant2(nib.Nifti2Image):
    header_class = _Rounded2


def open_image(path: Path) -> Any:
    """Open an image, also one whose quaternion was rounded when its header was written.

    Raises
    ------
    Exception
        Of nibabel, gzip and zlib: it is no image.
    """
    try:
        return nib.load(path)
    except Exception:
        for kind in (_Tolerant1, _Tolerant2):
            try:
                return kind.from_filename(path)
            except Exception:
                continue
        raise


def read_affine(image: Any) -> tuple[np.ndarray | None, int]:
    """The affine of an image in mm, and whether its header leaves open which side is left.

    The sform counts, then the qform; one that has a code but no volume does not. Without a code the axes are a guess,
    and where the two forms point different ways it is unknown which of them is right.

    Returns
    -------
    affine : ndarray of shape (4, 4), or None where neither form says where the voxels are
    uncertain : int
        0 where the sides are certain, `NO_CODE` or `DIFFERENT` where they are not.
    """
    header = image.header
    if not hasattr(header, "get_qform"):  # another format, which has one affine
        affine = np.asarray(image.affine, float)
        return (affine if _usable(affine) else None), 0
    sform, qform = header.get_sform(), _qform(header)
    coded = [form for form, code in ((sform, "sform_code"), (qform, "qform_code")) if int(header[code]) > 0]
    forms = [form for form in coded if form is not None and _usable(form)]
    if len(forms) == 2:
        return forms[0], DIFFERENT if np.min(_cosines(*forms)) < _AGREE else 0
    if coded:
        return (forms[0] if forms else None), 0
    guess = np.asarray(header.get_base_affine(), float)
    return (guess if _usable(guess) else None), NO_CODE


def read_qform(image: Any) -> np.ndarray | None:
    """The qform, where it has a code and is usable."""
    header = image.header
    if not hasattr(header, "get_qform") or int(header["qform_code"]) <= 0:
        return None
    qform = _qform(header)
    return qform if _usable(qform) else None


def differing_sizes(image: Any) -> float:
    """Largest relative difference of the voxel sizes that a usable sform and qform give; 0 where there is one form."""
    qform = read_qform(image)
    if qform is None or int(image.header["sform_code"]) <= 0 or not _usable(image.header.get_sform()):
        return 0.0
    return float(np.max(np.abs(voxel_sizes(image.header.get_sform()) / voxel_sizes(qform) - 1)))


def _qform(header: Any) -> np.ndarray | None:
    try:
        return np.asarray(header.get_qform(), float)
    except Exception:  # a quaternion that is none
        return None


def _usable(affine: np.ndarray | None) -> bool:
    if affine is None or not np.isfinite(affine).all():
        return False
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(edges.all()) and abs(np.linalg.det(affine[:3, :3] / edges)) > 1e-3


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each voxel axis in one affine to the same in the other, (3,)."""
    first, second = (form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (one, other))
    return np.sum(first * second, axis=0)
