"""Grey-matter volume in template space: modulation and smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.participant._ants import image_like
from bids_app.participant.transforms import Transforms, jacobian, warp
from bids_app.schema.units import FWHM_TO_SIGMA
from bids_app.space.templates import Template


@dataclass(frozen=True)
class Modulated:
    """Grey matter in template space.

    Attributes
    ----------
    gm : Nifti1Image
        Native GM volume per template volume (warped probability x Jacobian); may exceed 1.
    jacobian : Nifti1Image
        Native volume per template volume.
    """

    gm: nib.Nifti1Image
    jacobian: nib.Nifti1Image


def modulate(
    gm_native: nib.Nifti1Image, transforms: Transforms, template: Template, work_dir: str | PathLike[str]
) -> Modulated:
    """Warp grey matter to the template and multiply by the Jacobian determinant (Good et al. 2001).

    The determinant is that of the whole transform, affine included, so that the sum of the map times the voxel volume
    is the GM volume of the native scan. Before it is sampled on a coarser grid the native map is averaged over about
    one template voxel, so that no volume falls between the grid points.

    Parameters
    ----------
    gm_native : Nifti1Image
        GM probabilities, native space.
    transforms : Transforms
    template : Template
    work_dir : path-like
        For the temporary displacement field.

    Returns
    -------
    Modulated
    """
    determinant = jacobian(template.t1w, transforms.forward, work_dir)
    zooms = np.asarray(gm_native.header.get_zooms()[:3], dtype=float)
    # A box as wide as the template voxel has its variance (r^2 - z^2) / 12; a Gaussian of that variance has no lobes.
    sigma = np.sqrt(np.maximum(template.resolution**2 - zooms**2, 0) / 12) / zooms
    data = ndimage.gaussian_filter(np.asarray(gm_native.dataobj, dtype=np.float32), sigma, mode="constant")
    warped = warp(image_like(data, gm_native), template.t1w, transforms.forward)
    volume = np.asarray(warped.dataobj) * np.clip(np.asarray(determinant.dataobj), 0, None)
    return Modulated(image_like(volume, template.t1w), determinant)


def smooth(image: nib.Nifti1Image, fwhm_mm: float) -> nib.Nifti1Image:
    """Smooth with a Gaussian of ``fwhm_mm`` (full width at half maximum, mm); 0 returns the image as it is."""
    if fwhm_mm < 0:
        raise ValueError("The smoothing width cannot be negative.")
    if fwhm_mm == 0:
        return image
    sigma = fwhm_mm * FWHM_TO_SIGMA / np.asarray(image.header.get_zooms()[:3], dtype=float)
    data = ndimage.gaussian_filter(np.asarray(image.dataobj, dtype=np.float32), sigma, mode="constant")
    return image_like(data, image)
