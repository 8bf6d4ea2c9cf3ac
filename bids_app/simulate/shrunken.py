"""Shrink structures of a real head by a known deformation: tissue contracts, and fluid near it takes the room.

The truth is the deformation itself. No tissue map and no atlas of this program enters it: a segmentation from elsewhere
says where a structure lies, and its volume before and after is what the deformation makes of it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .fields import grid, integrate, sample, velocity_of_divergence

REACH_MM = 14.0  # how far the fluid that takes the room may be
SOFT_MM = 1.4  # standard deviation that softens the edge of the contraction
BESIDES = 0.05  # share of the room that any tissue near by takes for each that fluid does


def fluid_by_brightness(scan: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Where a T1w scan is dark: 1 below a third of the brain's median, 0 above two thirds of it, (X, Y, Z)."""
    return np.clip(2 - 3 * scan / np.median(scan[inside]), 0, 1) * inside


def shrinking(
    structures: list[np.ndarray], fluid: np.ndarray, inside: np.ndarray, loss: float, mm: float
) -> np.ndarray:
    """Velocity field whose flow makes structures smaller.

    Parameters
    ----------
    structures : list of (X, Y, Z) bool arrays
        They contract each for itself; the fluid round one may not be another.
    fluid : (X, Y, Z) array
        Share of fluid in each voxel, 0 to 1: where room is given.
    inside : (X, Y, Z) bool array
        Brain mask, beyond which nothing is deformed on purpose.
    loss : float
        Share of each structure that is to go. Less does, as its edge is softened: measure it (:func:`moved`).
    mm : float
        Side of a voxel; voxels are cubes.

    Returns
    -------
    (3, X, Y, Z) float32 array, voxels per unit of time
    """
    source = np.zeros(fluid.shape)
    for structure in structures:
        contraction = ndimage.gaussian_filter(structure.astype(float), SOFT_MM / mm)
        contraction *= -np.log1p(-loss) * structure.sum() / contraction.sum()
        near = (ndimage.distance_transform_edt(~structure) * mm < REACH_MM) & inside & ~structure
        room = ndimage.gaussian_filter(np.where(near, BESIDES + fluid, 0), SOFT_MM / mm)
        source += room * (contraction.sum() / room.sum()) - contraction
    return velocity_of_divergence(source)


def moved(volumes: np.ndarray, velocity: np.ndarray, time: float) -> np.ndarray:
    """Volumes carried along by a flow, by linear interpolation.

    Parameters
    ----------
    volumes : (C, X, Y, Z) array
    velocity : (3, X, Y, Z) array
        Of :func:`shrinking`.
    time : float
        Negative: against the flow, so that structures grow. Compare two moved volumes, not one with the original,
        which no interpolation has blurred.

    Returns
    -------
    (C, X, Y, Z) float32 array
    """
    back = integrate(-np.float32(time) * velocity)
    return sample(np.asarray(volumes, np.float32), grid(velocity.shape[1:]) + back)
