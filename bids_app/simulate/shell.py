"""What surrounds a brain in a whole-head scan: skull with marrow, scalp, eyes, the soft tissue of face and neck.

Anatomically crude, and meant to be: it is there so that brain extraction has something to remove.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..space.distances import edge_distance
from .anatomy import Anatomy
from .fields import smooth_noise

STEP = 2.0  # mm
FIRST = (-104.0, -140.0, -122.0)  # template mm of the first voxel
SHAPE = (105, 121, 121)
AIR, BONE, MARROW, MUSCLE, FAT, VITREOUS, FLUID = 0.0, 0.06, 0.42, 0.50, 1.15, 0.20, 0.22  # relative to WM


def make_shell(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Build the shell round the template's brain.

    Returns
    -------
    intensity : ndarray, float32
        T1w intensity relative to WM, zero inside the brain mask.
    affine : ndarray, (4, 4)
        Its 2 mm grid, which reaches below the template's to hold the neck.
    """
    rng = np.random.default_rng(20110101)  # one and the same shell for everybody; shape and contrast vary later
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = FIRST
    x, y, z = (np.indices(SHAPE, np.float32) * STEP + np.array(FIRST, np.float32).reshape(3, 1, 1, 1)).astype(
        np.float32
    )
    brain = _brain(anatomy)
    distance = edge_distance(~brain) * STEP
    noise = smooth_noise(SHAPE, (8, 8, 8), rng)
    mottle = smooth_noise(SHAPE, (2.5, 2.5, 2.5), rng)

    out = np.full(SHAPE, AIR, np.float32)
    low = np.clip((-z - 25) / 20, 0, 1)  # 0 at the vault, 1 at the base of the skull and below
    table = 7.0 + 0.8 * noise
    scalp = table + 5.5 + 0.7 * noise
    # Face and neck: an elliptic column below the eyes, narrower at the bottom.
    narrow = np.clip((-z - 70) / 50, 0, 1)
    column = ((x / (66 - 12 * narrow)) ** 2 + ((y + 12) / (92 - 22 * narrow)) ** 2 < 1) & (z < -25)
    soft = np.where(mottle > 0.9, FAT, MUSCLE) + 0.06 * noise
    cavity = (np.abs(x) < 16) & (y > 30) & (y < 68) & (z < -38) & (z > -75) & (mottle > -0.6)
    head = (distance < scalp) | column

    out[head] = soft[head]
    skin = head & ~ndimage.binary_erosion(head, iterations=2)
    vault = (distance < scalp) & (low < 0.5)
    out[vault] = FAT
    bone = (distance < table) & (distance > 0)
    out[bone] = BONE
    out[bone & (distance > 3) & (distance < table - 2)] = MARROW
    out[bone & (low > 0.5) & (mottle > 0.3)] = MARROW
    out[skin] = 0.55
    out[cavity & head] = AIR
    for side in (-1, 1):
        eye = np.sqrt((x - side * 31) ** 2 + (y - 58) ** 2 + (z + 38) ** 2)
        out[(eye < 17) & (distance > 3)] = FAT
        out[(eye < 13) & (distance > 3)] = MUSCLE
        out[(eye < 11.5) & (distance > 3)] = VITREOUS
    out[(distance > 0) & (distance <= 2)] = FLUID  # subarachnoid space and dura
    cord = brain & (z < anatomy.labels_affine[2, 3])
    out[brain] = 0
    out[cord] = 0.8
    return ndimage.gaussian_filter(out, 0.4) * ~(brain & ~cord), affine


def _brain(anatomy: Anatomy) -> np.ndarray:
    """The brain mask on the shell's grid, its lowest slice drawn down as the spinal cord."""
    step = anatomy.affine[0, 0]
    stride = round(STEP / step)
    mask = anatomy.mask[::stride, ::stride, ::stride]
    start = np.rint((anatomy.affine[:3, 3] - FIRST) / STEP).astype(int)
    out = np.zeros(SHAPE, bool)
    out[tuple(slice(s, s + n) for s, n in zip(start, mask.shape, strict=True))] = mask
    bottom = int(np.flatnonzero(out.any((0, 1)))[0])
    section = ndimage.binary_erosion(out[:, :, bottom + 1], iterations=2)
    components, n = ndimage.label(section)
    if n:
        centre = [SHAPE[0] / 2, SHAPE[1] * 0.42]
        distances = [
            np.hypot(*(np.array(c) - centre)) for c in ndimage.center_of_mass(section, components, range(1, n + 1))
        ]
        section = components == 1 + int(np.argmin(distances))
    out[:, :, : bottom + 1] |= section[:, :, None]
    return out
