"""The part of a volume that holds something."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def bounding_box(mask: np.ndarray, margin: int | np.ndarray = 1) -> tuple[slice, ...]:
    """Slices round the voxels of a mask (not empty), with ``margin`` more voxels on each side where there are any."""
    found = ndimage.find_objects(mask.view(np.uint8) if mask.dtype == bool else mask.astype(np.uint8))[0]
    margins = np.broadcast_to(margin, mask.ndim)
    return tuple(slice(max(0, s.start - int(m)), s.stop + int(m)) for s, m in zip(found, margins, strict=True))
