"""What the MNI152 priors leave open in the depth of the brain: the deep nuclei, and the walls of the ventricles.

On a T1w image the thalamus, the putamen and above all the pallidum are nearly as bright as white matter, and the
template's own grey-matter prior is undecided there. This prior takes their place from the AAL atlas and their border
from the template's own contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.space.aal import bundled_aal2
from bids_app.space.boxes import bounding_box
from bids_app.space.colin27 import sample_labels
from bids_app.space.distances import edge_distance

# Structure -> how many of AAL and its mirror image must agree, and by how many mm that is still too wide: AAL draws the
# thalamus too narrow, the putamen and the caudate too wide.
NUCLEI = {"Thalamus": (1, 0), "Pallidum": (1, 0), "Putamen": (2, 2), "Caudate": (2, 1)}
WHITE_FROM, GREY_TO, FLUID_TO = 0.98, 0.92, 0.55  # of white-matter intensity
DEPTH_MM, WALL_MM = 25.0, 5.0
BOX_MM = ((-60.0, -85, -55), (60, 65, 65))  # nuclei and ventricles lie in it
BLUR_MM = 1.1  # standard deviation: how well a border is known after registration


def deep_grey(
    brain: np.ndarray, mask: np.ndarray, wm: np.ndarray, csf: np.ndarray, affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the priors of a template leave open.

    Parameters
    ----------
    brain : (X, Y, Z) array
        Brain-extracted T1w template.
    mask : (X, Y, Z) bool array
        Brain mask.
    wm, csf : (X, Y, Z) arrays
        Its white-matter and fluid priors.
    affine : (4, 4) array
        RAS, MNI152 space.

    Returns
    -------
    deep : (X, Y, Z) float32 array
        Probability of deep grey matter.
    walls : (X, Y, Z) bool array
        Voxels round the ventricles where there is no grey matter.
    """
    first, last = np.round(nib.affines.apply_affine(np.linalg.inv(affine), BOX_MM)).astype(int)
    box = tuple(slice(max(0, a), b) for a, b in zip(first, last, strict=True))
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    relative = brain[box] / np.median(brain[wm > 0.95])
    depth = _depth(mask, zooms)[box]
    grid = affine.copy()
    grid[:3, 3] = nib.affines.apply_affine(affine, [s.start for s in box])
    regions = _Regions.on(relative.shape, grid)
    deep, walls = np.zeros(brain.shape, np.float32), np.zeros(brain.shape, bool)
    deep[box] = _nuclei(relative, regions, zooms)
    walls[box] = _ventricle_walls(csf[box], depth, deep[box], regions, zooms)
    return deep, walls


@dataclass(frozen=True)
class _Regions:
    """AAL's labels on a grid as drawn and, because it was drawn on one, asymmetric, brain, mirrored."""

    sides: tuple[np.ndarray, np.ndarray]
    index: dict[str, int]

    @classmethod
    def on(cls, shape: tuple[int, ...], affine: np.ndarray) -> _Regions:
        labels, table, _ = bundled_aal2()
        mirrored = np.diag([-1.0, 1, 1, 1]) @ affine
        sides = sample_labels(labels, shape, affine), sample_labels(labels, shape, mirrored)
        return cls(sides, dict(zip(table["name"], table["index"], strict=True)))

    def both(self, name: str) -> list[int]:
        """Labels of a structure, left and right."""
        return [self.index[f"{name}_L"], self.index[f"{name}_R"]]


def _nuclei(relative: np.ndarray, regions: _Regions, zooms: np.ndarray) -> np.ndarray:
    """Probability of deep grey matter; ``relative`` is the intensity in units of white matter's."""
    contrast = np.clip((WHITE_FROM - relative) / (WHITE_FROM - GREY_TO), 0, 1)
    contrast *= np.clip((relative - FLUID_TO) / 0.1, 0, 1)
    prior = np.zeros(relative.shape, np.float32)
    for name, (agreeing, margin) in NUCLEI.items():
        votes = np.sum([np.isin(side, regions.both(name)) for side in regions.sides], axis=0)
        core = _depth(votes >= agreeing, zooms) > margin
        prior = np.maximum(prior, core * contrast)
    return ndimage.gaussian_filter(prior, BLUR_MM / zooms).astype(np.float32)


def _ventricle_walls(
    csf: np.ndarray, depth: np.ndarray, deep: np.ndarray, regions: _Regions, zooms: np.ndarray
) -> np.ndarray:
    """Voxels round the ventricles where there is no grey matter; ``depth`` is the way to the mask's border in mm.

    The average of many brains shows a grey seam between a ventricle and white matter, which is partial volume; as a
    prior it would draw the same false seam into every scan.
    """
    nuclei = [label for name in NUCLEI for label in regions.both(name)]
    cortex = np.any([(labels > 0) & ~np.isin(labels, nuclei) for labels in regions.sides], axis=0)
    ventricles = (csf > 0.5) & (depth > DEPTH_MM) & ~cortex
    near = _within(ventricles, WALL_MM, zooms)
    return near & (depth > 0) & ~cortex & (deep < 0.05)


def _depth(mask: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Way from every voxel of a mask to the nearest one outside, mm; measured in the mask's bounding box only."""
    depth = np.zeros(mask.shape)
    if mask.any():
        box = bounding_box(mask)
        depth[box] = edge_distance(mask[box], zooms)
    return depth


def _within(mask: np.ndarray, mm: float, zooms: np.ndarray) -> np.ndarray:
    """Voxels less than ``mm`` away from a mask."""
    near = np.zeros(mask.shape, bool)
    if mask.any():
        box = bounding_box(mask, int(np.ceil(mm / zooms.min())))
        near[box] = edge_distance(~mask[box], zooms) < mm
    return near
