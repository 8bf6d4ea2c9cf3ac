"""Linear interpolation from one grid to another."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage


def resample(data: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], mode: str = "constant") -> np.ndarray:
    """Values at the voxels of another grid, by linear interpolation.

    Parameters
    ----------
    data : (X, Y, Z) array
    matrix : (4, 4) array
        From voxel numbers of the other grid to those of ``data``.
    shape : 3 ints
        Of the other grid.
    mode : str
        What lies beyond ``data``, as :func:`scipy.ndimage.affine_transform` has it.

    Returns
    -------
    array of ``shape``
    """
    linear = matrix[:3, :3]
    with warnings.catch_warnings():
        # The same values in a third of the time where axes stay what they are. SciPy warns, for it was once wrong.
        warnings.filterwarnings("ignore", message="The behavior of affine_transform with a 1-D array")
        if not np.any(linear - np.diag(np.diag(linear))):
            linear = np.diag(linear)
        return ndimage.affine_transform(data, linear, matrix[:3, 3], output_shape=shape, order=1, mode=mode)
