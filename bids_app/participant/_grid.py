"""Coarser grids made of blocks of voxels, and the way back."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy.interpolate import CubicSpline, make_interp_spline

LONG_NECK_MM = 140.0  # in the field of view below the brain; heads have some 50 to 100
KEPT_NECK_MM = 60.0  # of it are kept


def below_the_head(brain: np.ndarray, height_mm: float) -> int:
    """Number of axial slices (the last axis, upwards) below the head: none, unless the neck is long."""
    filled = np.flatnonzero(brain.any(axis=(0, 1)))
    if filled.size == 0 or filled[0] * height_mm < LONG_NECK_MM:
        return 0
    return int(filled[0] - round(KEPT_NECK_MM / height_mm))


def fine_factors(zooms: np.ndarray) -> np.ndarray:
    """Voxels a block whose sides come near 1 mm and do not exceed it: 1 unless voxels are of 0.5 mm or less."""
    return np.maximum(1, np.floor(1 / np.asarray(zooms, dtype=float) + 0.01)).astype(int)


def coarse_affine(affine: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Affine of the grid whose voxels are blocks of ``factors`` voxels."""
    coarse = affine @ np.diag([*factors, 1.0])
    coarse[:3, 3] += affine[:3, :3] @ ((factors - 1) / 2)
    return coarse


def interpolate(low: np.ndarray, factors: np.ndarray, shape: tuple[int, ...], order: int = 3) -> np.ndarray:
    """Values of block averages on the voxels: splines of ``order`` 1 or 3 through the centres, axis by axis.

    Beyond the outermost centres the value stays constant.
    """
    for axis, (n, factor) in enumerate(zip(shape, factors, strict=True)):
        centres = factor * np.arange(low.shape[axis]) + (factor - 1) / 2
        if factor == 1 or len(centres) < 2:
            continue
        at = np.clip(np.arange(n), centres[0], centres[-1])
        unit = np.eye(len(centres))
        weights = CubicSpline(centres, unit)(at) if order == 3 else make_interp_spline(centres, unit, k=1)(at)
        low = np.moveaxis(np.tensordot(weights.astype(np.float32), low, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(low[: shape[0], : shape[1], : shape[2]])


def block_mean(data: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mean over blocks of ``factors`` voxels; the last blocks are padded with zeros."""
    padding = [(0, -n % f) for n, f in zip(data.shape, factors, strict=True)]
    padded = np.pad(data, padding)
    shape = [size for n, f in zip(padded.shape, factors, strict=True) for size in (n // f, f)]
    return padded.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)


def block_average(image: nib.Nifti1Image, size_mm: float) -> nib.Nifti1Image:
    """The image on voxels of about ``size_mm``, which are means of blocks of its own; float32."""
    factors = np.maximum(1, np.round(size_mm / np.asarray(image.header.get_zooms()[:3]) + 0.01)).astype(int)
    data = block_mean(np.asarray(image.dataobj, dtype=np.float32), factors)
    return nib.Nifti1Image(data, coarse_affine(image.affine, factors))
