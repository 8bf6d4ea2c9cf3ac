"""Smooth, invertible displacement fields on regular grids: random ones, and ones with a prescribed divergence.

All vectors are in voxels of the field's own grid, component first: shape ``(3, X, Y, Z)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy import fft, ndimage


def sample(volumes: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read volumes at any point by linear interpolation; outside the grid the nearest border value counts.

    Parameters
    ----------
    volumes : ndarray, shape (C, X, Y, Z), float32
    coordinates : ndarray, shape (3, ...), float32
        In voxels of the volumes' grid.

    Returns
    -------
    ndarray, shape (C, ...), float32
    """
    size = np.asarray(volumes.shape[1:], np.float32).reshape(3, *([1] * (coordinates.ndim - 1)))
    unit = coordinates * (2 / (size - 1)) - 1
    points = np.ascontiguousarray(unit[::-1].reshape(3, -1).T, np.float32)  # torch wants (z, y, x), each in [-1, 1]
    found = torch.nn.functional.grid_sample(
        torch.from_numpy(np.require(volumes, np.float32, ["C", "W"]))[None],  # workers get read-only memory maps
        torch.from_numpy(points)[None, None, None],
        padding_mode="border",
        align_corners=True,
    )
    return found.numpy().reshape(volumes.shape[0], *coordinates.shape[1:])


def grid(shape: tuple[int, int, int]) -> np.ndarray:
    """Voxel coordinates of every voxel, shape ``(3, *shape)``, float32."""
    return np.indices(shape, dtype=np.float32)


def integrate(velocity: np.ndarray) -> np.ndarray:
    """Displacement of the flow of a stationary velocity field after unit time, by scaling and squaring.

    The flow is a diffeomorphism, and that of ``-velocity`` is its inverse (Arsigny et al. 2006,
    doi 10.1007/11866565_113).

    Parameters
    ----------
    velocity : ndarray, shape (3, X, Y, Z)

    Returns
    -------
    ndarray, shape (3, X, Y, Z), float32
    """
    longest = float(np.abs(velocity).max())
    steps = max(2, int(np.ceil(np.log2(max(longest, 1e-6) / 0.1))))  # first step at most a tenth of a voxel
    displacement = (velocity / 2**steps).astype(np.float32)
    here = grid(velocity.shape[1:])
    for _ in range(steps):
        displacement = displacement + sample(displacement, here + displacement)
    return displacement


def field_jacobian(displacement: np.ndarray) -> np.ndarray:
    """Jacobian determinant of ``x -> x + displacement(x)`` by central differences, shape (X, Y, Z)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (np.gradient(component) for component in displacement)
    xx, yy, zz = xx + 1, yy + 1, zz + 1
    return xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)


def random_velocity(
    shape: Sequence[int], voxel_mm: float, components: Iterable[tuple[float, float]], rng: np.random.Generator
) -> np.ndarray:
    """Gaussian random velocity field.

    Parameters
    ----------
    shape : 3 ints
    voxel_mm : float
    components : sequence of (sigma_mm, sd_mm)
        Width of the Gaussian that smooths white noise, and the standard deviation of each vector component then.
    rng : Generator

    Returns
    -------
    ndarray, shape ``(3, *shape)``, float32
    """
    velocity = np.zeros((3, *shape), np.float32)
    for sigma, sd in components:
        velocity += smooth_noise((3, *shape), (0, *[sigma / voxel_mm] * 3), rng) * np.float32(sd / voxel_mm)
    return velocity


def smooth_noise(shape: Sequence[int], sigma: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field of zero mean and unit variance in expectation (periodic), float32."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3)
    widths = np.broadcast_to(sigma, len(shape))
    # White noise through a unit-sum kernel keeps sum(kernel^2) of its variance.
    kept = 1.0
    for width in widths[widths > 0]:
        tap = np.exp(-0.5 * (np.arange(-int(3 * width + 0.5), int(3 * width + 0.5) + 1) / width) ** 2)
        kept *= np.sum((tap / tap.sum()) ** 2)
    return noise / np.float32(np.sqrt(kept))


def velocity_of_divergence(source: np.ndarray) -> np.ndarray:
    """The curl-free velocity field whose divergence is given (Poisson's equation by FFT, periodic).

    Along its flow the logarithm of the Jacobian determinant grows at the rate ``source`` (Liouville's formula), so a
    source of ``log(1 + c)`` in a region changes the volume of that region by the factor ``1 + c``, to first order in
    how far the flow carries it.

    Parameters
    ----------
    source : ndarray, shape (X, Y, Z)
        Its mean is subtracted: what shrinks somewhere has to grow elsewhere.

    Returns
    -------
    ndarray, shape (3, X, Y, Z), float32
    """
    shape = source.shape
    padded = [fft.next_fast_len(n + 8, real=True) for n in shape]
    spectrum = fft.rfftn(source.astype(np.float32), padded)
    waves = [fft.fftfreq(n).astype(np.float32) * np.float32(2 * np.pi) for n in padded[:2]]
    waves.append(fft.rfftfreq(padded[2]).astype(np.float32) * np.float32(2 * np.pi))
    kx, ky, kz = np.meshgrid(*waves, indexing="ij", sparse=True)
    square = kx**2 + ky**2 + kz**2
    square[0, 0, 0] = 1
    potential = spectrum / square
    potential[0, 0, 0] = 0
    box = tuple(slice(n) for n in shape)
    return np.stack([fft.irfftn(-1j * k * potential, padded)[box] for k in (kx, ky, kz)]).astype(np.float32)
