"""Take the membranes off a brain mask: in old heads they lie apart from the brain, with fluid between.

In a young head the cortex touches the dura, and the network's outline runs there. Where the brain has shrunk, fluid
fills the gap; the outline then tends to run outside the dura, whose grey shell is counted as brain and read as cortex.
The shell gives itself away: on the way inwards the scan becomes darker first (fluid), then bright again (cortex).
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.participant._grid import block_mean, interpolate
from bids_app.space.boxes import bounding_box
from bids_app.space.distances import edge_distance, signed_distance

WORKING_MM = 2.0  # coarse enough for noise to average out, fine enough for the shell
SHELL_MM, LOOK_MM = 6, 5  # how deep the shell may reach, and how far further in the fluid may lie
NOISE_MM = 0.8  # standard deviation of the Gaussian that takes noise off the profiles
DIRECTION_MM = 3.0  # standard deviation that makes the outline's inward direction smooth
# The constants below were chosen on 35 scans by their intracranial volume (docs/methods.md says what that is worth).
# In units of the median brain intensity, which lies between grey and white matter; fluid is at 0.3 to 0.5.
FALL, FLUID, WHITE = 0.06, 0.7, 1.08
CORTEX_MM = 3.0  # nearer to white matter than this it is cortex, however dark a sulcus under it
WHITE_MM = 4.0  # white matter is not nearer to the outline than this; marrow and fat are
SMOOTH_MM = 1.5  # standard deviation that makes the new outline smooth: single voxels (vessels, noise) stay


def trim_membranes(t1w: nib.Nifti1Image, brain: np.ndarray) -> np.ndarray:
    """Brain mask without what lies outside the fluid.

    Along the inward direction of the outline, sampled every mm, a point belongs to the shell when within 5 mm further
    in the scan is darker by 0.06 of the median brain intensity and as dark as fluid; so does all that lies outside
    such a point. Points within 3 mm of white matter are cortex over a sulcus and stay.

    Parameters
    ----------
    t1w : Nifti1Image
        Full head, zero where there is air.
    brain : (X, Y, Z) bool array
        Outline to trim, on the voxels of the scan.

    Returns
    -------
    (X, Y, Z) bool array
        Part of ``brain``.
    """
    zooms = np.asarray(t1w.header.get_zooms()[:3], dtype=float)
    factors = np.maximum(1, np.round(WORKING_MM / zooms + 0.01)).astype(int)
    box = bounding_box(brain, 2 * factors)
    whole = brain[box]
    data = block_mean(np.asarray(t1w.dataobj[box], dtype=np.float32), factors)
    inside = block_mean(whole.astype(np.float32), factors) > 0.5
    data /= max(float(np.median(data[inside])), 1e-6)
    data = ndimage.gaussian_filter(data, NOISE_MM / (zooms * factors))
    share = _share_kept(inside, _shell(data, inside, zooms * factors), zooms * factors)
    kept = whole & (interpolate(share, factors, whole.shape, order=1) > 0.5)
    labels, n = ndimage.label(kept)
    if n > 1:
        kept = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    trimmed = np.zeros_like(brain)
    trimmed[box] = ndimage.binary_fill_holes(kept)
    return trimmed


def _shell(data: np.ndarray, inside: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Voxels of the mask outside the fluid; ``data`` in units of the median brain intensity."""
    signed = signed_distance(inside, zooms)
    depth = np.maximum(signed, 0)
    inwards = np.stack(np.gradient(ndimage.gaussian_filter(signed, DIRECTION_MM / zooms), *zooms))
    where = np.nonzero(inside & (depth <= SHELL_MM))
    step = np.stack([component[where] for component in inwards])
    step /= np.maximum(np.linalg.norm(step, axis=0), 1e-3) * zooms[:, None]
    profile = np.stack(
        [
            ndimage.map_coordinates(data, np.stack(where) + step * mm, order=1, mode="nearest")
            for mm in range(SHELL_MM + LOOK_MM + 1)
        ]
    )
    outside = np.zeros(profile.shape[1], bool)
    for mm in range(SHELL_MM + 1):
        darkest = profile[mm + 1 : mm + 1 + LOOK_MM].min(0)
        outside |= (profile[mm] - darkest > FALL) & (darkest < FLUID)
    white = (data > WHITE) & (depth > WHITE_MM)
    shell = np.zeros_like(inside)
    shell[where] = outside
    return shell & (edge_distance(~white, zooms) > CORTEX_MM)


def _share_kept(inside: np.ndarray, shell: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Share of the mask round each voxel that is kept, 0 to 1."""
    kept, all_of_it = (
        ndimage.gaussian_filter(part.astype(np.float32), SMOOTH_MM / zooms) for part in (inside & ~shell, inside)
    )
    return kept / np.maximum(all_of_it, 1e-3)
