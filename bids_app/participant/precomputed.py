"""Grey-matter maps that another pipeline made: checked, and modulated where their transform is known."""

from __future__ import annotations

from functools import lru_cache
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from scipy import ndimage

from bids_app.content import check_size
from bids_app.errors import ScanError, one_line
from bids_app.participant._ants import image_like, total_volume, voxel_volume
from bids_app.participant.orientation import open_image
from bids_app.participant.transforms import jacobian
from bids_app.space.asymmetry import measure_sides
from bids_app.space.templates import Template

LIKENESS_FWHM = 6.0  # mm; templates that share MNI152's coordinates differ by less


def load_map(path: str | PathLike[str], *, modulated: bool = True) -> nib.Nifti1Image:
    """Load a grey-matter map in a standard space as 3D float32.

    Parameters
    ----------
    path : path-like
    modulated : bool
        Values may exceed 1.

    Raises
    ------
    ScanError
        It cannot be read, is not 3D, not finite, empty, or holds values no tissue fraction has.
    """
    path = Path(path)
    try:
        image = open_image(path)
        check_size(image.shape)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel, gzip and zlib each raise their own kinds for damage
        raise ScanError(f"The map cannot be read ({one_line(error)}).", file=path, remedy="Make it again.") from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        problem = f"it has {data.ndim} dimensions"
    elif not np.isfinite(data).all():
        problem = "it contains values that are not finite"
    elif not data.any():
        problem = "every voxel is zero"
    elif data.min() < -0.01 or data.max() > (10 if modulated else 1.05):
        problem = f"its values range from {data.min():g} to {data.max():g}, which is impossible for tissue fractions"
    else:
        return image_like(np.clip(data, 0, None), image)
    raise ScanError(f"This is not a grey-matter map: {problem}.", file=path, remedy="Exclude it, or make it again.")


def measure_map(gm: nib.Nifti1Image, template: Template | None, *, modulated: bool) -> dict[str, float]:
    """What can be known of a map that somebody else has made: the numbers of the gate that need no scan.

    Parameters
    ----------
    gm : Nifti1Image
        In a standard space.
    template : Template or None
        Of that space, or of one close to it; None where none is at hand.
    modulated : bool

    Returns
    -------
    dict
        ``ModulatedGMVolume`` in ml, of a modulated map; ``MapLikeness`` correlation with the template's grey matter,
        both smoothed by 6 mm, inside the template's brain and wherever the map has grey matter; ``MapCoverage`` share
        of the template's grey matter that lies in the map's field of view. White matter and noise have a likeness
        below 0.1, as has a map that is turned upside down or back to front. ``AsymmetryLikeness`` of a modulated map,
        the only number that tells a mirror image (:mod:`bids_app.space.asymmetry`).
    """
    found = {"ModulatedGMVolume": round(total_volume(gm), 3)} if modulated else {}
    if template is None:
        return found
    if modulated:
        found |= measure_sides(gm, template)
    prior, brain = _on_grid(template, gm.shape[:3], gm.affine.tobytes())
    data = np.asarray(gm.dataobj)
    sigma = LIKENESS_FWHM / np.sqrt(8 * np.log(2)) / np.asarray(gm.header.get_zooms()[:3], float)
    both = (brain > 0.5) | (data > 0.1)
    smooth = [ndimage.gaussian_filter(np.asarray(part, np.float32), sigma)[both] for part in (data, prior)]
    with np.errstate(invalid="ignore", divide="ignore"):
        likeness = float(np.corrcoef(*smooth)[0, 1]) if both.any() else float("nan")
    covered = float(prior.sum(dtype=np.float64)) * voxel_volume(gm) / total_volume(template.gm)
    return {**found, "MapLikeness": round(likeness, 4), "MapCoverage": round(min(covered, 1.0), 4)}


@lru_cache(maxsize=2)  # a cohort's maps share a grid
def _on_grid(template: Template, shape: tuple[int, ...], affine: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Grey matter and brain mask of a template on another grid."""
    grid = shape, np.frombuffer(affine).reshape(4, 4)
    brain = image_like(np.asarray(template.mask.dataobj), template.gm)
    found = [np.asarray(resample_from_to(image, grid, order=1).dataobj) for image in (template.gm, brain)]
    return found[0], found[1]


def modulate_map(
    probability: nib.Nifti1Image, transform: str | PathLike[str], work_dir: str | PathLike[str]
) -> nib.Nifti1Image:
    """Multiply a warped probability map by the Jacobian determinant of the transform that warped it (Good et al. 2001).

    Parameters
    ----------
    probability : Nifti1Image
        Warped grey-matter probability, unmodulated.
    transform : path-like
        Composite native-to-template transform (ITK HDF5), affine included.
    work_dir : path-like
        For temporary files.

    Returns
    -------
    Nifti1Image
        Native grey-matter volume per template volume.
    """
    determinant = jacobian(probability, transform, work_dir)
    return image_like(np.asarray(probability.dataobj) * np.asarray(determinant.dataobj), probability)
