"""Cross-fitting: every number about unseen participants comes from a model that never saw them.

How one model is fitted (``fit``), for the full cohort and for the training participants of each fold alike:

1. an inner split of the *training* participants decides which prior the linear path uses (smoothness, left-right
   symmetry) and how many epochs the network is trained; 0 epochs, its start (the linear path alone), is a choice
   like any other;
2. linear path and network are then fitted to *all* training participants for that many epochs.

So network, linear path and PCA learn from exactly the same participants. Giving a fifth of them up for early stopping
alone would cost a small cohort more than the network can win back, and comparing against a PCA of four fifths would
flatter it. A network leaves its start only where its gain on held-out participants exceeds twice the standard error of
that gain: the lowest point of a noisy curve is not evidence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_app.errors import DatasetError
from bids_app.model.autoencoder import Autoencoder, encode_all, reconstruction_error
from bids_app.model.linear_model import ORDINARY, LinearModel, Prior, choose_prior, fit_linear
from bids_app.model.plan import Plan, validation_size
from bids_app.model.training import train
from bids_app.model.volumes import Volumes
from bids_app.schema.architectures import BY_NAME

log = logging.getLogger("latentatlas")
PRIOR_SPLITS = 5
STANDARD_ERRORS = 2


def split_participants(
    participant_ids: Sequence[Any] | np.ndarray, folds: int = 5, seed: int = 0, strata: Sequence[Any] | None = None
) -> np.ndarray:
    """Give every scan a fold, all scans of a participant the same one.

    Folds differ by at most one participant in size. With strata, participants of each stratum are dealt out evenly, so
    that every fold gets its share; strata serve for nothing else.

    Parameters
    ----------
    participant_ids : sequence of length N
        The participant of each scan.
    folds : int
        How many; fewer where there are fewer participants.
    seed : int
    strata : sequence of length N, optional
        Group of each scan. A participant whose scans differ counts as what it is in its first scan; missing values
        are a stratum of their own.

    Returns
    -------
    (N,) int array
        Fold of each scan, 0 to folds - 1.

    Raises
    ------
    DatasetError
        Fewer than two participants.
    """
    ids = np.asarray(participant_ids).astype(str)
    unique, first, owner = np.unique(ids, return_index=True, return_inverse=True)
    folds = min(folds, len(unique))
    if folds < 2:
        raise DatasetError(
            "Cross-fitting needs at least two participants and two folds.",
            remedy="Add participants, or use --folds 2.",
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(unique))
    if strata is not None:
        # Deal the strata out one after the other, like cards: no fold is more than one behind in any of them.
        codes = pd.factorize(pd.Series(list(strata), dtype=object).iloc[first], use_na_sentinel=False)[0]
        order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(unique), int)
    fold[order] = np.arange(len(unique)) % folds
    return fold[owner]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model and how it came about.

    Attributes
    ----------
    model : Autoencoder
    pca : LinearModel
        Ordinary PCA of the same maps, with as many components.
    history : DataFrame
        ``epoch, train_loss, valid_loss`` of the inner training (the mean, where there were several).
    choices : dict
        What the inner split decided: mirror weight, epochs, explained variances, and a sentence.
    example, reconstructions
        Of the first inner training, in which that scan was held out (see ``Training``).
    """

    model: Autoencoder
    pca: LinearModel
    history: pd.DataFrame
    choices: dict[str, Any]
    example: int
    reconstructions: dict[int, np.ndarray]


def fit(
    volumes: Volumes,
    index: np.ndarray,
    participant_ids: Sequence[Any] | np.ndarray,
    plan: Plan,
    *,
    seed: int = 0,
    device: str = "auto",
    n_threads: int | None = None,
    folder: str | PathLike[str] | None = None,
) -> Fit:
    """Fit autoencoder and PCA to the scans ``index`` (see the module for how).

    Parameters
    ----------
    volumes : Volumes
    index : (n,) int array
        Scans that may be learnt from.
    participant_ids : sequence of length N
        Participant of every scan of ``volumes``.
    plan : Plan
    seed : int
    device, n_threads : see ``train``
    folder : path-like, optional
        Where checkpoints go, to resume from.

    Returns
    -------
    Fit
    """
    index = np.sort(np.asarray(index, int))
    ids = np.asarray(participant_ids).astype(str)[index]
    inner = inner_splits(ids, plan.inner_runs, seed)
    prior, explained = ORDINARY, dict[Prior, float]()
    if plan.prior:
        prior, explained = choose_prior(volumes, index, inner_splits(ids, PRIOR_SPLITS, seed), plan.latent_dim)
    settings: dict[str, Any] = {"device": device, "n_threads": n_threads}
    runs, linear_explained = [], []
    for number, (learn, hold) in enumerate(inner):
        linear = fit_linear(volumes, index[learn], plan.latent_dim, prior=prior, seed=seed)
        linear_explained.append(reconstruction_error(linear, volumes, index[hold])[1])
        where = Path(folder) / f"inner-{number}" if folder is not None else None
        runs.append(
            train(volumes, linear, index[learn], index[hold], plan, seed=seed + number, folder=where, **settings)
        )
    epochs, gain, error = choose_epochs([run.valid_explained for run in runs])
    linear = fit_linear(volumes, index, plan.latent_dim, prior=prior, seed=seed)
    where = Path(folder) / "final" if folder is not None else None
    final = train(volumes, linear, index, None, plan, seed=seed, epochs=epochs, folder=where, **settings)
    pca = linear if prior == ORDINARY else fit_linear(volumes, index, plan.latent_dim, seed=seed)
    choices = {
        "prior": prior._asdict(),
        "priors_tried": [{**p._asdict(), "explained": v} for p, v in explained.items()],
        "epochs": epochs,
        "residual_gain": gain,
        "residual_gain_se": error,
        "valid_explained_linear_path": float(np.mean(np.concatenate(linear_explained))),
        "sentence": describe_model(plan.architecture, prior, epochs, gain, error),
    }
    first = runs[0]
    history = _mean_history([r.history for r in runs])
    return Fit(final.model, pca, history, choices, first.example, first.reconstructions)


def inner_splits(ids: np.ndarray, runs: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits of scans into ``(learn, hold)`` places, participants kept whole, a fifth of them held out each time."""
    n = len(set(ids))
    parts = max(2, -(-n // validation_size(n)))
    part = split_participants(ids, parts, seed)
    return [(np.flatnonzero(part != p), np.flatnonzero(part == p)) for p in range(min(runs, parts))]


def choose_epochs(explained: Sequence[np.ndarray]) -> tuple[int, float, float]:
    """How many epochs to train: where held-out maps gain most, or 0 where that is within two standard errors.

    Parameters
    ----------
    explained : sequence of (epochs + 1, n_valid) arrays
        Explained variance of each held-out map after each epoch, one array a training; cut to the shortest.

    Returns
    -------
    epochs : int
    gain, standard_error : float
        Mean gain over the linear path (epoch 0) there, and its standard error over held-out maps.
    """
    shortest = min(len(e) for e in explained)
    gains = np.concatenate([e[:shortest] - e[0] for e in explained], axis=1)
    best = int(gains.mean(1).argmax())
    gain = float(gains[best].mean())
    error = float(gains[best].std(ddof=1) / np.sqrt(gains.shape[1])) if gains.shape[1] > 1 else float("inf")
    return (best if gain > STANDARD_ERRORS * error else 0), gain, error


def describe_model(architecture: str, prior: Prior, epochs: int, gain: float, error: float) -> str:
    """Say what was chosen."""
    parts = []
    if prior.smoothing:
        parts.append(f"smooths its components by {prior.smoothing:g} mm")
    if prior.mirror_weight:
        parts.append(f"weights left-right mirror images by {prior.mirror_weight:g}")
    row = BY_NAME[architecture]
    found = (row.trained if epochs else row.untrained).format(
        epochs=f"{epochs} epoch{'s' * (epochs > 1)}", gain=f"{100 * gain:.2f}", error=f"{100 * error:.2f}"
    )
    linear = f"The linear path {' and '.join(parts)}." if parts else "The linear path is ordinary PCA."
    return f"{linear} {found}" if row.has_linear_path else found


def cross_fit_one(  # noqa: PLR0913 - the last four say where and how it runs, not what is fitted
    volumes: Volumes,
    participant_ids: Sequence[Any] | np.ndarray,
    fold: np.ndarray,
    number: int | None,
    plan: Plan,
    *,
    seed: int = 0,
    device: str = "auto",
    n_threads: int | None = None,
    folder: str | PathLike[str] | None = None,
) -> tuple[dict[str, np.ndarray], Fit]:
    """Fit one fold's model (or the full one) and apply it to every scan.

    Parameters
    ----------
    volumes : Volumes
    participant_ids : sequence of length N
    fold : (N,) int array
        From ``split_participants``.
    number : int or None
        The fold that is held out; None fits the full model.
    plan, seed, device, n_threads, folder
        See ``fit``.

    Returns
    -------
    arrays : dict
        ``Z, Zpca`` (N, K) latents of every scan; of every scan (N,) ``err, ev_ae`` by the model, ``ev_linear``
        by the linear model of the same training maps, ``ev_pca``, and the ``epochs`` of the model;
        ``held_out`` (N,) bool.
    fit : Fit

    Raises
    ------
    DatasetError
        A participant has scans in two folds.
    """
    ids, fold = np.asarray(participant_ids).astype(str), np.asarray(fold, int)
    torn = pd.Series(fold).groupby(ids).nunique().loc[lambda n: n > 1]
    if len(torn):
        raise DatasetError(
            f"Scans of {', '.join(torn.index[:5])} are in more than one fold: numbers about unseen participants would "
            "come from models that saw them.",
            remedy="Split with split_participants.",
        )
    held_out = np.zeros(len(fold), bool) if number is None else fold == number
    fitted = fit(
        volumes,
        np.flatnonzero(~held_out),
        ids,
        plan,
        seed=seed + 1000 * (0 if number is None else number + 1),
        device=device,
        n_threads=n_threads,
        folder=folder,
    )
    who = "All participants" if number is None else f"Without fold {number}"
    log.info("%s: %s", who, fitted.choices["sentence"])
    every = np.arange(len(fold))
    err, ev_ae = reconstruction_error(fitted.model, volumes, every)
    _, ev_linear = reconstruction_error(fitted.model.linear, volumes, every)
    _, ev_pca = reconstruction_error(fitted.pca, volumes, every)
    return {
        "Z": encode_all(fitted.model, volumes, every),
        "Zpca": encode_all(fitted.pca, volumes, every),
        "err": err,
        "ev_ae": ev_ae,
        "ev_linear": ev_linear,
        "ev_pca": ev_pca,
        "epochs": np.full(len(fold), fitted.choices["epochs"]),
        "held_out": held_out,
    }, fitted


def collect(full: dict[str, np.ndarray], folds: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Put the products of ``cross_fit_one`` together.

    Parameters
    ----------
    full : dict
        Of the full model.
    folds : sequence of dict
        Of each fold's model, in order.

    Returns
    -------
    dict
        ``Z, Zpca`` (N, K); ``Zf, Zpca_f`` (F, N, K); ``fold`` (N,); out-of-fold (N,) ``err, ev_ae, ev_linear,
        ev_pca``, and ``epochs`` of the model that held the scan out.
    """
    seen = np.sum([f["held_out"] for f in folds], axis=0)
    if not (seen == 1).all():
        raise ValueError("every scan must be held out by exactly one fold")
    fold = np.argmax([f["held_out"] for f in folds], axis=0)
    scan = np.arange(len(fold))
    out = {"Z": full["Z"], "Zpca": full["Zpca"], "fold": fold}
    out["Zf"] = np.stack([f["Z"] for f in folds])
    out["Zpca_f"] = np.stack([f["Zpca"] for f in folds])
    for name in ("err", "ev_ae", "ev_linear", "ev_pca", "epochs"):
        out[name] = np.stack([f[name] for f in folds])[fold, scan]
    return out


def cross_fit_table(products: dict[str, np.ndarray]) -> pd.DataFrame:
    """Explained variance of unseen participants by fold; columns of ``schema.model_tables.CROSS_FIT``."""
    fold = products["fold"]
    rows = [
        {
            "fold": f,
            "n_train": int((fold != f).sum()),
            "n_test": int((fold == f).sum()),
            "ev_autoencoder": float(products["ev_ae"][fold == f].mean()),
            "ev_pca": float(products["ev_pca"][fold == f].mean()),
            "ev_linear": float(products["ev_linear"][fold == f].mean()),
            "epochs": int(products["epochs"][fold == f][0]),
        }
        for f in np.unique(fold)
    ]
    return pd.DataFrame(rows)


def _mean_history(histories: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean of the inner trainings, up to where the first of them stopped: a mean over fewer would jump there."""
    shortest = min(map(len, histories))
    return pd.concat([history[:shortest] for history in histories]).groupby("epoch", as_index=False).mean()
