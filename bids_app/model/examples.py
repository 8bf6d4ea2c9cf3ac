"""What to show of a model: brains it knows well and badly, where it errs, by group, and what its latents do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.model.autoencoder import Model, traverse
from bids_app.model.cross_fitting import Fit
from bids_app.model.volumes import Volumes


def example_reconstructions(
    models: Sequence[Model],
    volumes: Volumes,
    fold: np.ndarray,
    error: np.ndarray,
    scans: pd.DataFrame,
    n: int = 2,
) -> tuple[nib.Nifti1Image, pd.DataFrame]:
    """The maps with the most usual and with the largest out-of-fold errors, each beside its reconstruction.

    Parameters
    ----------
    models : sequence of F models
        One a fold: a scan is reconstructed by the model that did not see its participant.
    volumes : Volumes
    fold : (N,) int array
    error : (N,) array
        Out-of-fold reconstruction error.
    scans : DataFrame
        Whose scan each row is (``participant_id``[, ``session_id``]).
    n : int
        Examples of each kind.

    Returns
    -------
    image : Nifti1Image, (x, y, z, 4n)
        Map and reconstruction in turn.
    table : DataFrame
        ``volume, participant_id[, session_id], kind, source, error``, one row per volume.
    """
    n = min(n, len(error) // 2)
    extreme = np.argsort(-error)[:n]
    others = np.setdiff1d(np.arange(len(error)), extreme)
    typical = others[np.argsort(np.abs(error[others] - np.median(error)))[:n]]
    maps, rows = [], list[dict[Hashable, Any]]()
    for kind, chosen in (("typical", typical), ("extreme", extreme)):
        for scan in chosen:
            about = {**scans.iloc[scan], "kind": kind, "error": float(error[scan])}
            given = volumes.rows(np.array([scan]))
            for source, values in (("map", given[0]), ("reconstruction", models[fold[scan]].reconstruct(given)[0])):
                maps.append(values)
                rows.append({"volume": len(rows), **about, "source": source})
    table = pd.DataFrame(rows, columns=["volume", *scans.columns, "kind", "source", "error"])
    return volumes.grid.to_image(np.stack(maps)), table


def reconstructions_by_epoch(
    fitted: Fit, volumes: Volumes, scans: pd.DataFrame
) -> tuple[nib.Nifti1Image, pd.DataFrame]:
    """One held-out map beside what the network made of it in the course of the first inner training.

    Parameters
    ----------
    fitted : Fit
    volumes : Volumes
    scans : DataFrame
        Whose scan each row is (``participant_id``[, ``session_id``]).

    Returns
    -------
    image : Nifti1Image, (x, y, z, 1 + epochs kept)
        The map, then its reconstructions by epoch; epoch 0 is the linear path.
    table : DataFrame
        ``volume, participant_id[, session_id], source, epoch, error, epochs_in_use``, one row per volume: ``error`` is
        the mean squared error in the mask, ``epochs_in_use`` the epochs that were chosen for the model itself.
    """
    given = volumes.rows(np.array([fitted.example]))[0]
    about = {**scans.iloc[fitted.example], "epochs_in_use": fitted.choices["epochs"]}
    rows: list[dict[Hashable, Any]] = [{"volume": 0, **about, "source": "map"}]
    for epoch, made in fitted.reconstructions.items():
        error = float(((made - given) ** 2).mean(dtype=np.float64))
        rows.append({"volume": len(rows), **about, "source": "reconstruction", "epoch": epoch, "error": error})
    columns = ["volume", *scans.columns, "source", "epoch", "error", "epochs_in_use"]
    table = pd.DataFrame(rows, columns=columns).astype({"epoch": "Int64"})
    return volumes.grid.to_image(np.stack([given, *fitted.reconstructions.values()])), table


def mean_error_maps(
    models: Sequence[Model], volumes: Volumes, fold: np.ndarray, groups: Sequence[str]
) -> dict[str, nib.Nifti1Image]:
    """Mean squared out-of-fold error at every voxel, one map per group.

    Parameters
    ----------
    groups : sequence of length N
        The group of every scan.

    Returns
    -------
    dict of str to Nifti1Image
    """
    of = np.asarray(groups).astype(str)
    found = {}
    for group in np.unique(of):
        total = np.zeros(volumes.grid.n_voxels)
        for number, model in enumerate(models):
            for _, rows in volumes.batches(np.flatnonzero((of == group) & (np.asarray(fold) == number))):
                total += ((model.reconstruct(rows) - rows) ** 2).sum(0, dtype=np.float64)
        found[group] = volumes.grid.to_image((total / np.count_nonzero(of == group)).astype(np.float32))
    return found


def latent_traversals(
    model: Model, n: int = 4, values: tuple[float, ...] = (-2.0, 2.0)
) -> tuple[nib.Nifti1Image, pd.DataFrame]:
    """What the latents of the largest variance do to a map, one at a time (``traverse``).

    Parameters
    ----------
    model : Autoencoder or LinearModel
        With its card, which holds the latents' means and standard deviations in the training cohort.
    n : int
        Latents, those of the largest variance first.
    values : tuple of float
        Where each is put, in standard deviations from its mean.

    Returns
    -------
    image : Nifti1Image, (x, y, z, n * len(values))
        Differences from the decoded mean latents, ml per ml.
    table : DataFrame
        ``volume, latent, sd, variance_share``, one row per volume; ``latent`` counts from 1, ``variance_share`` is its
        share of the variance of all latents.
    """
    variance = np.square(model.card["training"]["latent_sd"])
    chosen = np.argsort(-variance, kind="stable")[:n]
    parts, rows = [], list[tuple[Any, ...]]()
    for latent in chosen:
        parts.append(traverse(model, int(latent), values))
        for value in values:
            rows.append((len(rows), int(latent) + 1, value, float(variance[latent] / variance.sum())))
    return nib.concat_images(parts, axis=3), pd.DataFrame(rows, columns=["volume", "latent", "sd", "variance_share"])
