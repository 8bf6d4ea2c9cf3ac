"""From the brain that AAL was drawn on to the templates of the maps.

AAL's regions were drawn on one person's scan, Colin27 (Tzourio-Mazoyer et al. 2002). That brain shares the MNI152
templates' coordinates only roughly: its structures lie 3.6 mm (median) from those of the average brain. Taken as they
are, much of a small region lies beside the structure that it is named after.

``colin27.nii.gz`` holds, for points of MNI152NLin2009aSym every 5 mm, the displacement to the same structure in
Colin27. It is this project's own normalisation of that scan, made by ``tools/colin27.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.space.resample import resample

FIELD = Path(__file__).with_name("colin27.nii.gz")
FINER = 2  # the field is refined by cubic splines once, and read linearly at the many points of a grid


@lru_cache(maxsize=1)
def load_displacement() -> tuple[np.ndarray, np.ndarray]:
    """Displacements from the template to Colin27: (3, X, Y, Z) float32, mm, RAS; and their grid's (4, 4) affine."""
    image: Any = nib.load(FIELD)
    step = np.eye(3) / FINER
    shape = [FINER * (n - 1) + 1 for n in image.shape[:3]]
    field = np.moveaxis(np.asarray(image.dataobj, dtype=np.float32), -1, 0)
    fine = [ndimage.affine_transform(u, step, output_shape=shape, order=3, mode="nearest") for u in field]
    return np.stack(fine), image.affine @ np.diag([*(1 / FINER,) * 3, 1.0])


def sample_labels(labels: nib.Nifti1Image, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Labels drawn on Colin27, on the grid of a template, by nearest neighbour.

    Parameters
    ----------
    labels : Nifti1Image
        Integer labels in Colin27's space.
    shape, affine : 3 ints, (4, 4) array
        The grid, in an MNI152 space.

    Returns
    -------
    (X, Y, Z) int32 array
        0 outside the field of view of ``labels``.
    """
    field, field_affine = load_displacement()
    to_field = np.linalg.inv(field_affine) @ affine
    to_labels = np.linalg.inv(labels.affine)
    moved = [resample(u, to_field, shape, mode="nearest") for u in field]
    straight = to_labels @ affine
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    where = np.empty((3, *shape), np.float32)
    for axis in range(3):
        where[axis] = straight[axis, 3] + sum(straight[axis, i] * grid[i] for i in range(3))
        where[axis] += sum(np.float32(to_labels[axis, i]) * moved[i] for i in range(3))
    return ndimage.map_coordinates(np.asanyarray(labels.dataobj).astype(np.int32), where, order=0, mode="constant")
