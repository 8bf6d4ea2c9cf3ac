"""What the MNI152 priors leave open in the depth of the brain: the deep nuclei, and the walls of the ventricles.

On a T1w image the thalamus, the putamen and above all the pallidum are nearly as bright as white matter, and the
template's own grey-matter prior is undecided there. This prior takes their place from the AAL atlas and their border
from the template's own contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_app.space.aal import bundled_aal2
from bids_app.space.colin27 import sample_labels

# Structure -> how many of AAL and its mirror image must agree, and by how many mm that is still too wide: AAL draws the
# thalamus too narrow, the putamen and the caudate too wide.
NUCLEI = {"Thalamus": (1, 0), "Pallidum": (1, 0), "Putamen": (2, 2), "Caudate": (2, 1)}
WHITE_FROM, GREY_TO, FLUID_TO = 0.98, 0.92, 0.55  # of white-matter intensity
DEPTH_MM, WALL_MM = 25.0, 5.0
BLUR_MM = 1.1  # standard deviation: how well a border is known after registration


@dataclass(frozen=True)
class Regions:
    """AAL's labels on a grid as drawn and, because it was drawn on one, asymmetric, brain, mirrored."""

    sides: tuple[np.ndarray, np.ndarray]
    index: dict[str, int]

    @classmethod
    def on(cls, shape: tuple[int, ...], affine: np.ndarray) -> Regions:
        labels, table, _ = bundled_aal2()
        mirrored = np.diag([-1.0, 1, 1, 1]) @ affine
        sides = tuple(sample_labels(labels, shape, grid) for grid in (affine, mirrored))
        return cls(sides, dict(zip(table["name"], table["index"], strict=True)))

    def both(self, name: str) -> list[int]:
        """Labels of a structure, left and right."""
        return [self.index[f"{name}_L"], self.index[f"{name}_R"]]


def deep_grey_prior(brain: np.ndarray, wm: np.ndarray, regions: Regions, affine: np.ndarray) -> np.ndarray:
    """Probability of deep grey matter on the grid of a template.

    Parameters
    ----------
    brain : (X, Y, Z) array
        Brain-extracted T1w template.
    wm : (X, Y, Z) array
        Its white-matter prior.
    regions : Regions
    affine : (4, 4) array
        RAS, MNI152 space.

    Returns
    -------
    (X, Y, Z) float32 array, 0 to 1
    """
    relative = brain / np.median(brain[wm > 0.95])
    contrast = np.clip((WHITE_FROM - relative) / (WHITE_FROM - GREY_TO), 0, 1)
    contrast *= np.clip((relative - FLUID_TO) / 0.1, 0, 1)
    prior = np.zeros(brain.shape, np.float32)
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    for name, (agreeing, margin) in NUCLEI.items():
        votes = sum(np.isin(side, regions.both(name)).astype(np.uint8) for side in regions.sides)
        core = ndimage.distance_transform_edt(votes >= agreeing, sampling=zooms) > margin
        prior = np.maximum(prior, core * contrast)
    return ndimage.gaussian_filter(prior, BLUR_MM / zooms).astype(np.float32)


def ventricle_walls(
    csf: np.ndarray, mask: np.ndarray, deep: np.ndarray, regions: Regions, affine: np.ndarray
) -> np.ndarray:
    """Voxels round the ventricles where there is no grey matter.

    The average of many brains shows a grey seam between a ventricle and white matter, which is partial volume; as a
    prior it would draw the same false seam into every scan.

    Parameters
    ----------
    csf : (X, Y, Z) array
        Fluid prior.
    mask : (X, Y, Z) bool array
        Brain mask.
    deep : (X, Y, Z) array
        Deep grey prior.
    regions : Regions
    affine : (4, 4) array
        RAS, MNI152 space.

    Returns
    -------
    (X, Y, Z) bool array
    """
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    nuclei = [label for name in NUCLEI for label in regions.both(name)]
    cortex = np.any([(labels > 0) & ~np.isin(labels, nuclei) for labels in regions.sides], axis=0)
    far_inside = ndimage.distance_transform_edt(mask, sampling=zooms) > DEPTH_MM
    ventricles = (csf > 0.5) & far_inside & ~cortex
    near = ndimage.distance_transform_edt(~ventricles, sampling=zooms) < WALL_MM
    return near & mask & ~cortex & (deep < 0.05)
