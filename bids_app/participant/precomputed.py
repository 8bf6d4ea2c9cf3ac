"""Grey-matter maps that another pipeline made: checked, and modulated where their transform is known."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_app.errors import ScanError
from bids_app.participant._ants import image_like
from bids_app.participant.transforms import jacobian


def load_map(path: str | PathLike[str]) -> nib.Nifti1Image:
    """Load a grey-matter map in a standard space as 3D float32.

    Raises
    ------
    ScanError
        It cannot be read, is not 3D, not finite, empty, or holds values no tissue fraction has.
    """
    path = Path(path)
    try:
        image: Any = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel, gzip and zlib each raise their own kinds for damage
        raise ScanError(
            f"The map cannot be read ({type(error).__name__}: {error}).", file=path, remedy="Make it again."
        ) from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        problem = f"it has {data.ndim} dimensions"
    elif not np.isfinite(data).all():
        problem = "it holds values that are not finite"
    elif not data.any():
        problem = "every voxel is zero"
    elif data.min() < -0.01 or data.max() > 10:
        problem = f"its values go from {data.min():g} to {data.max():g}, which no tissue fraction does"
    else:
        return image_like(np.clip(data, 0, None), image)
    raise ScanError(f"This is no grey-matter map: {problem}.", file=path, remedy="Leave it out, or make it again.")


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
