"""Remove the intensity bias field."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bids_app.participant._ants import image_like, to_ants
from bids_app.participant._grid import below_the_head, block_mean, coarse_affine, interpolate

WORKING_MM = 4.0  # a bias field is smooth: N4 sees the scan at this resolution


def correct_bias(
    t1w: nib.Nifti1Image, mask: nib.Nifti1Image, sloppy: bool = False
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Correct the bias field with N4 (Tustison et al. 2010).

    The field is estimated on block averages of about 4 mm and interpolated, as a logarithm, on the grid of the scan.

    Parameters
    ----------
    t1w, mask : Nifti1Image
        The scan and its brain mask on one grid.
    sloppy : bool
        Fewer iterations.

    Returns
    -------
    corrected : Nifti1Image
        Bias-corrected scan, whole head, float32; mean intensity in the mask unchanged to first order.
    field : Nifti1Image
        Multiplicative field, geometric mean 1 in the mask.
    """
    import ants

    data = np.asarray(t1w.dataobj, dtype=np.float32)
    inside = np.asarray(mask.dataobj) > 0
    zooms = np.asarray(t1w.header.get_zooms()[:3], dtype=float)
    factors = np.maximum(1, np.round(WORKING_MM / zooms)).astype(int)
    positive = inside & (data > 0)
    weight = block_mean(positive.astype(np.float32), factors)
    low = block_mean(data * positive, factors) / np.maximum(weight, 1e-3)
    del positive
    # N4 works on logarithms: only blocks that are mostly brain take part.
    brain = weight > 0.5
    # Its splines span the whole field of view: a long neck would make them stiffer in the brain.
    start = below_the_head(brain, float(zooms[2] * factors[2]))
    low, brain = low[..., start:], brain[..., start:]
    affine = coarse_affine(t1w.affine, factors)
    affine[:3, 3] += affine[:3, 2] * start
    estimate = ants.n4_bias_field_correction(
        to_ants(nib.Nifti1Image(low * brain, affine)),
        mask=to_ants(nib.Nifti1Image(brain.astype(np.float32), affine)),
        shrink_factor=1,
        convergence={"iters": [30, 20] if sloppy else [50, 50, 50], "tol": 1e-7},
        return_bias_field=True,
    ).numpy()
    log_low = np.log(np.clip(estimate, 1e-3, 1e3))
    log_low = np.pad(log_low, ((0, 0), (0, 0), (start, 0)), mode="edge")
    log_field = interpolate(log_low, factors, data.shape)
    log_field -= log_field[inside].mean()
    field = np.exp(log_field, out=log_field)
    return image_like(data / field, t1w), image_like(field, t1w)
