"""How far voxels lie from a border."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np


def edge_distance(mask: np.ndarray, zooms: Sequence[float] | np.ndarray | float = 1.0) -> np.ndarray:
    """Euclidean distance from every voxel of a mask to the nearest voxel outside it.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        What lies beyond the array is neither inside nor outside.
    zooms : 3 floats, or one
        Voxel size.

    Returns
    -------
    (X, Y, Z) float32 array
        In units of ``zooms``, between centres of voxels; 0 outside the mask, infinite if nothing is outside.
    """
    sides = tuple(float(side) for side in np.broadcast_to(zooms, mask.ndim))
    return edt.edt(np.ascontiguousarray(mask, dtype=bool), anisotropy=sides, black_border=False, parallel=1)


def signed_distance(mask: np.ndarray, zooms: Sequence[float] | np.ndarray | float = 1.0) -> np.ndarray:
    """:func:`edge_distance` inside the mask, and less than zero outside it by the way to the nearest voxel inside."""
    return edge_distance(mask, zooms) - edge_distance(~mask, zooms)
