"""Read a T1w image and make sure that the next steps can work on it."""

from __future__ import annotations

import logging
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.processing import resample_from_to

from bids_app.content import check_checksum, check_size, missing_content
from bids_app.errors import ScanError, one_line
from bids_app.participant.intensity import Scale, canonical
from bids_app.participant.orientation import differing_sizes, open_image, read_affine, read_qform

logger = logging.getLogger("latentatlas")

MIN_EXTENT, MAX_EXTENT = 80.0, 600.0  # mm; a head is about 150 x 200 x 180
MAX_VOXEL = 6.0  # mm; nothing can be segmented beyond
SAME_SIZE = 0.01  # relative difference of voxel sizes that is a matter of rounding
TEMPLATE_CODES = (3, 4)  # of an sform: Talairach, MNI


def load_t1w(path: str | PathLike[str]) -> nib.Nifti1Image:
    """Load a T1w image; see :func:`read_t1w`."""
    return read_t1w(path)[0]


class T1w(NamedTuple):
    """A T1w image as the next steps take it.

    Attributes
    ----------
    image : Nifti1Image
        float32, 3D, finite, closest to RAS, sform and qform equal.
    scale : Scale
        What was done to the intensities.
    sides_uncertain : int
        0, or why the header leaves open which side is left (:func:`bids_app.participant.orientation.read_affine`).
    sizes_differ: float
        Relative difference of the voxel sizes of sform and qform (``orientation.differing_sizes``).
    """

    image: nib.Nifti1Image
    scale: Scale
    sides_uncertain: int
    sizes_differ: float


def read_t1w(path: str | PathLike[str]) -> T1w:
    """Load a T1w image as 3D float32 in RAS order, air at zero.

    Trailing axes of length one are dropped, single NaN or infinite voxels become zero, an sform with shear, or of a
    template and with other voxel sizes than the qform, is replaced by the qform (without one, a sheared image is
    resampled on an orthogonal grid). An offset of the intensities is taken away
    (:func:`bids_app.participant.intensity.canonical`); a scan without one keeps its values.

    Parameters
    ----------
    path : path-like
        NIfTI file.

    Returns
    -------
    T1w

    Raises
    ------
    ScanError
        Missing, unreadable, truncated, 4D, empty or constant image, no finite value, or a grid no head fits in.
    """
    path = Path(path)
    if found := missing_content(path):
        raise ScanError(f"The image cannot be read: {found[0]}.", file=path, remedy=found[1])
    _check_compression(path)
    try:
        source = open_image(path)
        check_size(source.shape)
        if np.issubdtype(source.get_data_dtype(), np.complexfloating):
            raise TypeError("its values are complex, and it is unknown which part is the image")
        if source.get_data_dtype().names:
            raise ScanError(
                "The image is a colour (RGB) image: a picture of a scan, or of a result.",
                file=path,
                remedy="Export the T1w image itself, or exclude this scan.",
            )
        with np.errstate(all="ignore"):
            data = np.asarray(source.dataobj, dtype=np.float32)
        check_checksum(path)
    except ScanError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise their own kinds for damage
        raise ScanError(
            f"The image cannot be read; it is damaged, truncated or not NIfTI ({one_line(error)}).",
            file=path,
            remedy="Copy or convert it again, or exclude this scan.",
        ) from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ScanError(
            f"The image has {data.ndim} dimensions {data.shape}; a T1w image must have three.",
            file=path,
            remedy="Keep one volume, or average the repetitions after aligning them.",
        )
    finite = np.isfinite(data)
    data = _check_values(data, finite, path)
    data, scale = canonical(data, finite)
    if scale.changed:
        filled = "" if scale.fill is None else f", empty space had the value {scale.fill:g}"
        logger.info(
            "%s: intensities rescaled to the usual range: zero was at %g, factor %g%s",
            path.name, scale.zero, scale.factor, filled,
        )  # fmt: skip
    sizes_differ = differing_sizes(source)
    image, uncertain = _with_usable_affine(data, source, path, sizes_differ > SAME_SIZE)
    image = nib.as_closest_canonical(image)
    _check_grid(image, path)
    code = int(source.header.get("sform_code", 1)) or int(source.header.get("qform_code", 1)) or 1
    clean = nib.Nifti1Image(np.ascontiguousarray(image.dataobj, dtype=np.float32), image.affine)
    clean.header.set_xyzt_units("mm")
    clean.set_sform(image.affine, code)
    clean.set_qform(image.affine, code)
    return T1w(clean, scale, uncertain, sizes_differ)


def _check_compression(path: Path) -> None:
    """Refuse a file whose name and content disagree about compression: nibabel goes by the name."""
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(nib.Nifti2Header.sizeof_hdr)
        zipped, named = begin.startswith(b"\x1f\x8b"), path.suffix == ".gz"
        if zipped and not named:
            raise ScanError(
                "The file is compressed (gzip), but its name ends in .nii.", file=path, remedy="Rename it to .nii.gz."
            )
        if named and any(kind.may_contain_header(begin) for kind in (nib.Nifti1Header, nib.Nifti2Header)):
            raise ScanError(
                "The file is not compressed, but its name ends in .nii.gz.",
                file=path,
                remedy="Rename it to .nii, or compress it with gzip.",
            )


def _check_values(data: np.ndarray, finite: np.ndarray, path: Path) -> np.ndarray:
    if not finite.any():
        raise ScanError("The image has no finite value.", file=path, remedy="Convert it again from DICOM.")
    if not finite.all():
        logger.warning("%s: %d voxels without a finite value were set to zero.", path.name, int((~finite).sum()))
        data = np.where(finite, data, 0)
    if not data.any():
        raise ScanError("The image is empty: every voxel is zero.", file=path, remedy="Convert it again from DICOM.")
    low, high = np.percentile(data, [0.1, 99.9])
    if data.min() == data.max() or low == high:
        raise ScanError(
            "The image is constant (or has only a handful of differing voxels).",
            file=path,
            remedy="Convert it again from DICOM, or exclude this scan.",
        )
    if min(data.shape) < 16:
        raise ScanError(
            f"The image has only {data.shape} voxels.",
            file=path,
            remedy="Use a T1w image of the whole head.",
        )
    return data


def _with_usable_affine(data: np.ndarray, source: Any, path: Path, scaled: bool) -> tuple[nib.Nifti1Image, int]:
    """Image with an affine free of shear (sform, else qform, else resampled), and whether its sides are uncertain."""
    affine, uncertain = read_affine(source)
    if affine is None:
        raise ScanError(
            "The header does not define the position of the voxels (neither sform nor qform can be used).",
            file=path,
            remedy="Repair the sform and qform of the image.",
        )
    if uncertain:
        logger.warning("%s: the header does not say which side is left.", path.name)
    affine = _in_mm(affine, source, data.shape, path)
    image = nib.Nifti1Image(data, affine)
    qform = read_qform(source)
    sheared = shear(affine) >= 1e-3
    if scaled:
        logger.warning("%s: the sform gives other voxel sizes than the qform.", path.name)
    # An affine registration to a template, kept in the sform, would change every volume. Else neither is more right.
    scaled = scaled and int(source.header["sform_code"]) in TEMPLATE_CODES
    if not sheared and not scaled:
        return image, uncertain
    if qform is not None:
        logger.warning(
            "%s: the qform is used, because the sform %s.",
            path.name,
            "has shear" if sheared else "is one of a template",
        )
        return nib.Nifti1Image(data, _in_mm(qform, source, data.shape, path)), uncertain
    logger.warning("%s: the affine has shear; the image was resampled on an orthogonal grid.", path.name)
    spacing = voxel_sizes(affine)
    return resample_from_to(image, nib.spaces.vox2out_vox(image, [float(spacing.min())] * 3), order=1), uncertain


def _in_mm(affine: np.ndarray, source: Any, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """The affine in mm, where the header says that it is in metres or micrometres, and a head fits in then only."""
    code = int(source.header["xyzt_units"]) & 7 if "xyzt_units" in source.header else 0
    factor, units = {1: (1000.0, "metres"), 3: (0.001, "micrometres")}.get(code, (1.0, "mm"))
    extent = voxel_sizes(affine) * shape
    if factor == 1.0 or (extent.min() >= MIN_EXTENT and extent.max() <= MAX_EXTENT):
        return affine
    logger.warning("%s: the header is in %s, and was read accordingly.", path.name, units)
    return np.diag([factor, factor, factor, 1.0]) @ affine


def shear(affine: np.ndarray) -> float:
    """Largest cosine between two axes of an affine: zero for an orthogonal grid."""
    axes = affine[:3, :3] / voxel_sizes(affine)
    return float(np.max(np.abs(axes.T @ axes - np.eye(3))))


def _check_grid(image: nib.Nifti1Image, path: Path) -> None:
    zooms = np.asarray(image.header.get_zooms()[:3], dtype=float)
    extent = zooms * image.shape
    if zooms.max() > MAX_VOXEL or extent.min() < MIN_EXTENT or extent.max() > MAX_EXTENT:
        raise ScanError(
            f"The image does not show a whole head at a usable resolution: voxels {_by(zooms)} mm, field of view "
            f"{_by(extent)} mm.",
            file=path,
            remedy="Check the voxel size in the header; exclude slabs and localisers.",
        )


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
