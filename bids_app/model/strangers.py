"""Errors of scans by models that never saw anybody of their kind: a site left out as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from bids_app.model.autoencoder import Model, reconstruction_error
from bids_app.model.cross_fitting import fit
from bids_app.model.linear_model import fit_linear
from bids_app.model.plan import Plan, validation_size
from bids_app.model.volumes import Volumes

FEWEST_TO_LEARN = 3  # participants besides those that decide when to stop, as for a fold (`plan.make_plan`)


def are_enough(n_participants: int) -> bool:
    """Whether a model can be trained on so many people."""
    return n_participants - validation_size(n_participants) >= FEWEST_TO_LEARN


def errors_of_strangers(
    volumes: Volumes,
    participant_ids: Sequence[Any] | np.ndarray,
    left_out: np.ndarray,
    plan: Plan,
    *,
    seed: int = 0,
    device: str = "auto",
    n_threads: int | None = None,
    folder: str | PathLike[str] | None = None,
) -> dict[str, np.ndarray]:
    """Retrain every model without the people of some scans, and see how well it describes these scans.

    The fit is that of a fold (`cross_fitting.fit`), the inner split that chooses prior and epochs included.

    Parameters
    ----------
    volumes : Volumes
    participant_ids : sequence of length N
    left_out : (N,) bool array
        The scans. Whoever has one of them is left out of the training with all others, too.
    plan, seed, device, n_threads, folder
        See `cross_fitting.fit`.

    Returns
    -------
    dict
        ``scans`` (n,) the rows left out; (n,) mean squared errors by the ``autoencoder``, its ``linear`` path and
        ``pca``; ``n_train`` the participants trained on.

    Notes
    -----
    Squared errors, and no shares of a variance: without the site the mean map of the training lies further away, so
    that the variance about it grows with the very shift that is looked for.
    """
    ids, left_out = np.asarray(participant_ids).astype(str), np.asarray(left_out, bool)
    known = ~np.isin(ids, ids[left_out])
    fitted = fit(
        volumes,
        np.flatnonzero(known),
        ids,
        plan,
        seed=seed,
        device=device,
        n_threads=n_threads,
        folder=folder,
    )
    scans = np.flatnonzero(left_out)
    models: dict[str, Model] = {"autoencoder": fitted.model, "linear": fitted.model.linear, "pca": fitted.pca}
    errors = {name: reconstruction_error(model, volumes, scans)[0] for name, model in models.items()}
    return {"scans": scans, "n_train": np.array(len(set(ids[known]))), **errors}


def errors_of_known(
    volumes: Volumes,
    participant_ids: Sequence[Any] | np.ndarray,
    scans: np.ndarray,
    fold: np.ndarray,
    n_train: int,
    latent_dim: int,
    seed: int = 0,
) -> np.ndarray:
    """Errors of PCA that never saw the person but may know the site, trained on no more people than without the site.

    What separates these from the errors of strangers is the site alone, and not the number of people trained on.

    Parameters
    ----------
    volumes : Volumes
    participant_ids : sequence of length N
    scans : (n,) int array
        The scans of the site.
    fold : (N,) int array
        Each scan is described by a model of people outside its fold, drawn at random.
    n_train : int
        People drawn; all, where a fold leaves fewer.
    latent_dim, seed : int

    Returns
    -------
    (n,) array
        Mean squared errors.
    """
    ids, rng = np.asarray(participant_ids).astype(str), np.random.default_rng(seed)
    errors = np.empty(len(scans))
    for number in np.unique(fold[scans]):
        others = np.unique(ids[fold != number])
        drawn = rng.choice(others, min(n_train, len(others)), replace=False)
        model = fit_linear(volumes, np.flatnonzero(np.isin(ids, drawn)), latent_dim, seed=seed)
        held = fold[scans] == number
        errors[held] = reconstruction_error(model, volumes, scans[held])[0]
    return errors
