"""How far each person lies from what a reference group of the same age, sex and head size leads one to expect."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.group.rows import rows_of
from bids_app.group.study import Study
from bids_app.schema.names import latent_names
from bids_app.stats.alignment import align_held_out
from bids_app.stats.crossfit import features_of_fold, fold_rows
from bids_app.stats.linear import nuisance_basis
from bids_app.stats.studentised import to_normal

FEWEST = 5  # degrees of freedom that the reference group leaves


def deviations(study: Study, reference: str) -> pd.DataFrame:
    """W-scores of every scan: reconstruction error, latents and regional grey matter beside the reference group.

    ``t = (x - c'b) / (s sqrt(1 + h))``, with b, s and the leverage h from a regression of the reference group's values
    on ``[1, covariates]``: the error of a prediction. W is the normal deviate of the same tail as this t (as in
    `stats.studentised.to_normal`), so that a W of 2 is as rare beside 15 controls as beside 200.
    Scans of fold f are scored by reference people outside fold f: no one is compared with a group that holds them, and
    each is scored by as many. Error and latents are held out for scored and reference people alike: latents by models
    that saw the reference would spread more there than in anyone new. The folds' latents lie on the full model's axes
    (`stats.alignment`).

    Parameters
    ----------
    study : Study
        N scans.
    reference : str
        Name of the group.

    Returns
    -------
    DataFrame
        N rows: ``error``, ``latent_<number>``, then one column per region; NaN where covariates or values are missing,
        and everywhere where the reference group has too few people.
    """
    groups = np.asarray([group or "" for group in study.groups or [""] * len(study.fold)])
    latents = study.latents.full
    if study.latents.by_fold is not None:
        latents = _aligned(latents, study.latents.by_fold, study.fold)
    held_out = np.column_stack([study.error, latents])
    values = np.column_stack([held_out, study.regional.full])
    by_fold = study.regional.by_fold
    usable = study.covariates.complete & np.isfinite(values).all(axis=1)
    first = rows_of(study.participants, usable & (groups == reference)).first
    scores = np.full(values.shape, np.nan)
    for f, _, held in fold_rows(study.fold):
        norm, scored = first[study.fold[first] != f], held[usable[held]]
        x = values if by_fold is None else np.column_stack([held_out, features_of_fold(by_fold, f)])
        if len(norm) - 1 - study.covariates.matrix.shape[1] >= FEWEST:
            scores[scored] = w_scores(
                x[norm], study.covariates.matrix[norm], x[scored], study.covariates.matrix[scored]
            )
    return pd.DataFrame(scores, columns=["error", *latent_names(latents.shape[1]), *study.regions["name"]])


def _aligned(full: np.ndarray, by_fold: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Held-out latents on common axes; scans that harmonisation could not place stay unknown."""
    known = np.isfinite(full).all(axis=1) & np.isfinite(by_fold).all(axis=(0, 2))
    out = np.full(full.shape, np.nan)
    out[known] = align_held_out(full[known], by_fold[:, known], fold[known])
    return out


def w_scores(norm: np.ndarray, norm_covariates: np.ndarray, x: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """W of new rows (n, M), by a regression on the rows of the norm (m, M).

    NaN for columns that the covariates of the norm explain entirely.
    """
    centre = norm_covariates.mean(axis=0) if norm_covariates.size else norm_covariates[:1].sum(axis=0)
    c, new = norm_covariates - centre, covariates - centre
    rank = nuisance_basis(c, len(c)).shape[1]
    design = np.column_stack([np.ones(len(c)), c])
    inverse = np.linalg.pinv(design)
    b = inverse @ norm
    spread = np.sqrt(((norm - design @ b) ** 2).sum(axis=0) / (len(norm) - rank))
    at = np.column_stack([np.ones(len(new)), new])
    leverage = ((at @ inverse) ** 2).sum(axis=1)
    varies = spread > 1e-9 * np.maximum(np.abs(norm).max(axis=0), 1e-300)
    t = np.where(varies, (x - at @ b) / np.where(varies, spread, 1.0), np.nan) / np.sqrt(1 + leverage)[:, None]
    return to_normal(t, np.full(t.shape, float(len(norm) - rank)))
