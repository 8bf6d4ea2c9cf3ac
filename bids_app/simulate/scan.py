"""From a head to a T1-weighted scan: contrast, partial volume, position, bias field, noise, integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from .anatomy import Anatomy
from .fields import sample
from .head import Head, to_template

FWHM = 0.42466  # sigma of a Gaussian of unit width at half maximum
# Axes of the scan's voxel grid, by number of the scan: most as usual, some sagittal (P-S-R), some L-A-S.
AXES = ("RAS", "PSR", "LAS", "RAS", "LPS", "RAS")
FIELD_OF_VIEW = ((-92.0, -118.0, -96.0), (92.0, 94.0, 98.0))  # mm about the head's centre, full head
BRAIN_VIEW = ((-80.0, -98.0, -82.0), (80.0, 88.0, 82.0))
CENTRE = np.array([0.0, -16.0, 0.0])  # of the template, mm


@dataclass(frozen=True)
class Scanner:
    """What differs between scans of the same head.

    Attributes
    ----------
    contrast : ndarray, (3,)
        Mean intensity of GM, WM, CSF relative to WM.
    fat : float
        Brightness of what is outside the brain.
    gain : float
        Intensity of white matter in the file.
    noise : float
        Standard deviation of the noise in each channel, relative to WM.
    bias : ndarray, (4, 4, 4)
        Legendre coefficients of the logarithm of the bias field.
    rotation : ndarray, (3, 3)
    shift : ndarray, (3,)
        mm
    oblique : ndarray, (3, 3)
        Rotation of the voxel grid.
    axes : str
    qform_only : bool
    """

    contrast: np.ndarray
    fat: float
    gain: float
    noise: float
    bias: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    oblique: np.ndarray
    axes: str
    qform_only: bool


def draw_scanner(number: int, site: str, rng: np.random.Generator) -> Scanner:
    """Draw the conditions of one scan."""
    south = site == "south"
    contrast = np.array([rng.normal(0.70 if south else 0.68, 0.015), 1.0, rng.normal(0.27, 0.02)])
    bias = rng.standard_normal((4, 4, 4))
    order = np.add.outer(np.add.outer(np.arange(4), np.arange(4)), np.arange(4))
    bias *= np.where((order > 0) & (order < 4), 0.10 / np.maximum(order, 1), 0)
    tilt = rng.normal(0, np.deg2rad([4.0, 2.0, 3.0]))
    oblique = np.deg2rad([12.0, -7.0, 9.0]) if number % 6 == 4 else np.zeros(3)
    return Scanner(
        contrast=contrast,
        fat=float(rng.normal(1.0, 0.08)),
        gain=float(rng.uniform(500, 900) if south else rng.uniform(180, 320)),
        noise=float(rng.uniform(0.025, 0.035) if south else rng.uniform(0.018, 0.028)),
        bias=bias,
        rotation=_rotation(tilt),
        shift=rng.normal(0, [3.0, 6.0, 8.0]),
        oblique=_rotation(oblique),
        axes=AXES[(number - 1) % len(AXES)],
        qform_only=number % 6 == 0,
    )


def scan_head(
    head: Head,
    anatomy: Anatomy,
    scanner: Scanner,
    resolution: float,
    shell: tuple[np.ndarray, np.ndarray] | None,
    rng: np.random.Generator,
) -> nib.Nifti1Image:
    """Scan a head.

    Parameters
    ----------
    head, anatomy, scanner
    resolution : float
        Voxel edge in mm.
    shell : (intensity, affine) or None
        From :func:`.shell.make_shell`; None gives a skull-stripped scan.
    rng : Generator
        Noise.

    Returns
    -------
    Nifti1Image, int16
    """
    blur = FWHM * np.sqrt(max(resolution**2 - 1, 0))  # the tissue already has the blur of 1 mm voxels
    brain = np.tensordot(scanner.contrast.astype(np.float32), head.tissue, 1) + anatomy.texture * anatomy.mask
    layers = np.stack([_smooth(brain, blur), _smooth(anatomy.mask.astype(np.float32), blur)])
    shape, affine = voxel_grid(scanner, resolution, full_head=shell is not None)

    signal = np.empty(shape, np.float32)
    inside = np.empty(shape, np.float32)
    start = _column(anatomy.affine[:3, 3])
    for here in _slabs(shape):
        points = to_template(head, anatomy, _head_points(here, shape, affine, scanner, head.scale))
        found = sample(layers, (points - start) / np.float32(anatomy.affine[0, 0]))
        if shell is not None:
            around, shell_affine = shell
            voxels = (points - _column(shell_affine[:3, 3])) / np.float32(shell_affine[0, 0])
            found[0] += sample(around[None], voxels)[0] * np.float32(scanner.fat)
        signal[here], inside[here] = found
    if shell is None:
        signal *= inside > 0.5

    signal *= np.exp(_legendre(scanner.bias, shape))
    noise = rng.standard_normal((2, *shape), dtype=np.float32) * np.float32(scanner.noise)
    signal = np.hypot(signal + noise[0], noise[1])  # Rician
    if shell is None:
        signal *= inside > 0.5
    data = np.clip(np.rint(signal * scanner.gain), 0, 32767).astype(np.int16)
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(None if scanner.qform_only else affine, code=0 if scanner.qform_only else 1)
    image.header.set_xyzt_units("mm", "sec")
    return image


def voxel_grid(scanner: Scanner, resolution: float, full_head: bool) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and voxel-to-scanner affine of a scan; the head's centre lies at the shift from the scanner's origin."""
    low, high = np.array(FIELD_OF_VIEW if full_head else BRAIN_VIEW)
    directions = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    shape, matrix, first = [], np.zeros((3, 3)), np.zeros(3)
    for column, letter in enumerate(scanner.axes):
        axis, sign = directions[letter]
        n = int(np.ceil((high[axis] - low[axis]) / resolution))
        shape.append(n)
        matrix[axis, column] = sign * resolution
        first[axis] = low[axis] if sign > 0 else low[axis] + (n - 1) * resolution
    affine = np.eye(4)
    affine[:3, :3] = scanner.oblique @ matrix
    affine[:3, 3] = scanner.oblique @ first + scanner.shift
    # As the header stores it: single precision.
    x, y, z = shape
    return (x, y, z), affine.astype(np.float32).astype(float)


def _head_points(here: slice, shape: Sequence[int], affine: np.ndarray, scanner: Scanner, scale: float) -> np.ndarray:
    """Template-sized head coordinates (mm) of the voxels of a slab, shape (3, n, Y, Z)."""
    voxels = np.indices((here.stop - here.start, *shape[1:]), np.float32)
    voxels[0] += here.start
    matrix = scanner.rotation.T @ affine[:3, :3] / scale
    offset = scanner.rotation.T @ (affine[:3, 3] - scanner.shift) / scale + CENTRE
    return np.tensordot(matrix.astype(np.float32), voxels, 1) + _column(offset)


def _slabs(shape: Sequence[int], voxels: int = 1_500_000) -> list[slice]:
    """Slices along the first axis of at most so many voxels: keeps a 1 mm head within memory."""
    thick = max(1, voxels // (shape[1] * shape[2]))
    return [slice(i, min(i + thick, shape[0])) for i in range(0, shape[0], thick)]


def _column(vector: ArrayLike) -> np.ndarray:
    return np.asarray(vector, np.float32).reshape(3, 1, 1, 1)


def _smooth(volume: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(volume, sigma, mode="constant", truncate=3) if sigma > 0 else volume


def _rotation(angles: ArrayLike) -> np.ndarray:
    """Rotation matrix of angles (radians) about x, y, z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _legendre(coefficients: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Sum of products of Legendre polynomials on [-1, 1]^3, float32."""
    bases = [np.polynomial.legendre.legvander(np.linspace(-1, 1, n), 3).astype(np.float32) for n in shape]
    return np.einsum("abc,xa,yb,zc->xyz", coefficients.astype(np.float32), *bases, optimize=True)
