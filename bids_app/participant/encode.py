"""Where a brain lies in the latent space of a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from bids_app.errors import ModelError
from bids_app.model import model_files
from bids_app.model.calibration import read_calibration, relative_error
from bids_app.stats.conformal import conformal_p


@dataclass(frozen=True)
class EncodedScan:
    """A scan seen through a trained model.

    Attributes
    ----------
    latents : (K,) float array
    reconstruction : Nifti1Image
        Decoded map, smoothed as the model smooths, brought from the model's grid to that of the map by linear
        interpolation.
    error : float
        Mean squared error in the model's mask.
    explained_variance : float
        1 - error / (mean squared distance to the training mean map).
    error_percentile : float
        Where ``error`` lies among the out-of-fold errors of the training cohort, 0 to 100 (NaN if unknown).
    error_p, error_p_bound : float
        How strange the error, as a share of the map's sum of squares, is beside that of people whom the models of the
        folds did not see (`model.calibration`, `stats.conformal`); NaN where the model has no models of its folds, or
        was trained on this participant.
    in_training : bool
        Whether the model was trained on this participant: error and percentile then flatter.
    """

    latents: np.ndarray
    reconstruction: nib.Nifti1Image
    error: float
    explained_variance: float
    error_percentile: float
    error_p: float
    error_p_bound: float
    in_training: bool


def encode_scan(
    modulated: nib.Nifti1Image, model_dir: str | PathLike[str], space: str | None = None, participant: str | None = None
) -> EncodedScan:
    """Encode one modulated, unsmoothed map (the model smooths and samples by itself, as in training).

    Parameters
    ----------
    modulated : Nifti1Image
        Modulated GM in template space.
    model_dir : path-like
        Folder of a trained model (``group/model``).
    space : str, optional
        Template of the map, checked against the model's.
    participant : str, optional
        ``model_files.qualified`` name, to find in the training cohort.

    Returns
    -------
    EncodedScan

    Raises
    ------
    ModelError
        The model is missing or damaged, or was trained in another space or on another grid.
    """
    model = model_files.load_model(model_dir)
    trained_in = model.card.get("space")
    if space and trained_in and trained_in != space:
        raise ModelError(
            f"The model was trained in {trained_in}, but the map is in {space}.",
            file=model_dir,
            remedy=f"Process the scans with --template {trained_in}.",
        )
    x = model.grid.sample(modulated)[None]
    z = model.encode(x)
    decoded = model.decode(z)
    error = float(np.mean((decoded - x) ** 2, dtype=np.float64))
    spread = float(np.mean((x - model.mean) ** 2, dtype=np.float64))
    in_training = participant is not None and model_files.was_trained_on(model.card, participant)
    p = bound = np.nan
    if not in_training and (folds := read_calibration(model_dir)):
        known = [errors for _, errors in folds]
        found = conformal_p(known, np.stack([relative_error(fold, x) for fold, _ in folds]))
        p, bound = (float(value[0]) for value in found)
    return EncodedScan(
        latents=np.asarray(z[0], dtype=np.float64),
        reconstruction=resample_from_to(model.grid.to_image(decoded[0]), modulated, order=1),
        error=error,
        explained_variance=1 - error / max(spread, 1e-12),
        error_percentile=model_files.error_percentile(model.card, error),
        error_p=p,
        error_p_bound=bound,
        in_training=in_training,
    )
