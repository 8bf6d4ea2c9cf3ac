"""How much memory a step of the participant level takes: what is reserved for it, so that ``--mem`` is held."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ...content import check_size
from ...schema.segmenters import SEGMENTERS

#: Step -> GB whatever the scan, and bytes a voxel of it: a tenth above the peaks of a process that does nothing else,
#: on one head at 1 and at 0.45 mm (10.5 and 114 million voxels). The peaks are in docs/participant.md.
MEMORY = {
    "conform": (0.2, 10.5),
    "brain_mask": (1.0, 24),
    "bias_field": (0.35, 15),
    "normalise": (1.35, 15),
    "tissues": SEGMENTERS[0].memory,
    "modulate": (0.85, 16),
    "quality": (0.6, 26),
    "write": (0.3, 6),
    "figures": (0.6, 22),
}
#: GB of steps that see the map alone.
ON_THE_MAP = {"encode": 2.0, "adopt": 1.5, "write_adopted": 0.2}
WORKER_GB = 0.15  # what a worker keeps of earlier steps
USUAL_VOXELS = 12_000_000


def step_memory_gb(step: str, voxels: int, needs: tuple[float, float] | None = None) -> float:
    """GB to reserve for a step on a scan of so many voxels; ``needs`` in place of what ``MEMORY`` says."""
    if step in ON_THE_MAP:
        return ON_THE_MAP[step]
    base, each = needs or MEMORY[step]
    return round(base + WORKER_GB + each * voxels / 1e9, 2)


def count_voxels(image: Path) -> int:
    """Voxels of a scan, by its header; of a usual head where it cannot be read (the first step says why)."""
    import nibabel as nib

    try:
        found: Any = nib.load(image)
        check_size(found.shape)
        return math.prod(map(int, found.shape))
    except Exception:  # nibabel, gzip and zlib each raise their own kinds for damage
        return USUAL_VOXELS
