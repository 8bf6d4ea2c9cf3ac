"""The direction in latent space that tells a contrast: each person's held-out place on it, and ml per step along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows
from bids_app.schema.region_tables import DISEASE_AXIS
from bids_app.stats.crossfit import residual_folds, smallest_training_set
from bids_app.stats.linear import nuisance_basis, residualise, standardise
from bids_app.stats.resampling import bootstrap_rows
from bids_app.stats.studentised import has_groups


@dataclass(frozen=True)
class Axis:
    """A held-out discriminant.

    Attributes
    ----------
    place : ndarray of shape (n,)
        Each person's place by a discriminant that never saw the person: 0 is the mean of y = 0 (of everybody for a
        score), 1 is one standard deviation within groups.
    steps : ndarray of shape (F, K)
        What one such standard deviation is in the latents of each fold's model, in fold order.
    centres : ndarray of shape (F, K)
        Mean latents of each fold's training rows, from where the decoder walks.
    """

    place: np.ndarray
    steps: np.ndarray
    centres: np.ndarray


@dataclass(frozen=True)
class AxisResult:
    """Disease axes of a study.

    Attributes
    ----------
    regions : DataFrame
        Columns of ``schema.region_tables.DISEASE_AXIS``, one row per contrast and region.
    places : DataFrame, N rows
        ``place_<contrast>``: the held-out place of each scan that takes part.
    """

    regions: pd.DataFrame
    places: pd.DataFrame


def disease_axis(
    study: Study, settings: AnalysisSettings, decoders: Sequence[Callable[[np.ndarray], np.ndarray]] = ()
) -> AxisResult:
    """Each person's place on the direction that tells a contrast, and the grey matter that goes with it.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
    decoders : sequence of callable
        Of each fold's model, or of the one model: latents as encoded (m, K) to regional ml (m, R). None where latents
        were harmonised, which no decoder knows: ``decoded_ml_per_sd`` is then empty.
    """
    tables, places = [], {}
    complete = study.covariates.complete & np.isfinite(study.reconstructed).all(axis=1)
    complete &= np.isfinite(study.latents.full).all(axis=1)
    for number, contrast in enumerate(study.contrasts):
        rows = contrast_rows(study, contrast, complete, settings)
        if rows is None or smallest_training_set(rows.take(study.fold)) < 4:
            continue
        y, c = rows.take(contrast.y), rows.mean(study.covariates.matrix)
        axis = find_axis(rows.mean(study.latents.cross_fitted), y, rows.take(study.fold), c)
        regional = rows.mean(study.observed), rows.mean(study.reconstructed)
        draws: dict[str, Any] = {"n_bootstrap": settings.n_interval_samples, "seed": settings.seed + 401 + number}
        table = axis_profile(axis.place, *regional, y, c, **draws)
        if decoders:
            one_each = decoders if len(decoders) > 1 else [decoders[0]] * len(axis.steps)
            table["decoded_ml_per_sd"] = walk(axis, one_each).mean(axis=0)
        tables.append(study.regions[["index", "name"]].assign(contrast=contrast.name).join(table).assign(n=len(rows)))
        place = np.full(len(study.fold), np.nan)
        place[rows.first] = axis.place
        places[f"place_{contrast.name}"] = place
    columns = [column.name for column in DISEASE_AXIS.columns]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return AxisResult(table.reindex(columns=columns), pd.DataFrame(places, index=study.scans.index))


def find_axis(latents: np.ndarray, y: np.ndarray, fold: np.ndarray, covariates: np.ndarray | None = None) -> Axis:
    """Ridge discriminant of every fold, applied to the people it never saw.

    In fold f, on training rows without the covariates, latents standardised: ``w = (X'X + max(n/10, K) I)^-1 X'v``,
    ``s_i = x_i'w``. The step is the discriminant's pattern and not w, which also has what only cancels noise (Haufe et
    al. 2014): ``a = Cov(z, s) / SD(s)``, within groups, so that the group difference itself does not draw the axis.

    Parameters
    ----------
    latents : ndarray of shape (n, K) or (F, n, K)
    y : ndarray of shape (n,)
    fold : ndarray of shape (n,), int
    covariates : ndarray of shape (n, P), optional

    Returns
    -------
    Axis

    References
    ----------
    Haufe S et al. (2014). On the interpretation of weight vectors of linear models in multivariate neuroimaging.
    NeuroImage 87, 96-110.
    """
    y = np.asarray(y, float)
    n = len(y)
    place, steps, centres = np.zeros(n), [], []
    for train, test, on_train, on_test, x in residual_folds(latents, fold, covariates):
        left = on_train @ x
        z, z_test = standardise(left, on_test @ x)
        penalty = max(0.1 * len(train), z.shape[1])
        w = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (on_train @ y))
        score = z @ w
        inside = residualise(np.column_stack([score, left]), y[train][:, None])
        spread = inside[:, 0].std()
        steps.append(inside[:, 0] @ inside[:, 1:] / (len(train) * spread) if spread > 1e-12 else np.zeros(x.shape[1]))
        centres.append(x[train].mean(axis=0))
        place[test] = z_test @ w / max(spread, 1e-12)
    within = residualise(place, y[:, None]).std()
    zero = place[y == y.min()].mean() if has_groups(y) else place.mean()
    return Axis((place - zero) / max(within, 1e-12), np.array(steps), np.array(centres))


def walk(axis: Axis, decoders: Sequence[Callable[[np.ndarray], np.ndarray]], far: float = 1.0) -> np.ndarray:
    """Regional ml for one standard deviation, as each fold's decoder draws it: (F, R).

    ``(D_f(c + far a) - D_f(c - far a)) / (2 far)`` with c the centre, a the step of fold f; D takes latents (m, K) to
    regional ml (m, R).
    """
    profiles = []
    for decode, centre, step in zip(decoders, axis.centres, axis.steps, strict=True):
        ends = decode(np.stack([centre + far * step, centre - far * step]))
        profiles.append((ends[0] - ends[1]) / (2 * far))
    return np.array(profiles)


def axis_profile(
    place: np.ndarray,
    observed: np.ndarray,
    reconstructed: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much grey matter goes with one standard deviation along the axis, within groups and held out.

    Slopes of the observed and of the reconstructed regions on the place, given ``[1, covariates, y]``, in ml. For a
    linear decoder the latter is what `walk` draws; the former says whether the people follow it.

    Parameters
    ----------
    place, y : ndarray of shape (n,)
    observed, reconstructed : ndarray of shape (n, R)
        ml.
    covariates : ndarray of shape (n, P), optional
    n_bootstrap, seed : int

    Returns
    -------
    DataFrame
        ``observed_ml_per_sd, reconstructed_ml_per_sd`` with ``_low, _high`` (95 %, participants drawn within groups).
    """
    n, r = observed.shape
    both = np.hstack([observed, reconstructed])
    nuisance = y[:, None] if covariates is None else np.column_stack([covariates, y])
    grouped = has_groups(y)

    def slopes(rows: np.ndarray) -> np.ndarray:
        basis = nuisance_basis(nuisance[rows], n)
        u = place[rows] - basis @ (basis.T @ place[rows])
        return u @ both[rows] / max(u @ u, 1e-300)

    found = slopes(np.arange(n))
    draws = np.array([slopes(rows) for rows in bootstrap_rows(n, n_bootstrap, seed, y if grouped else None)])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0) if n_bootstrap else np.full((2, 2 * r), np.nan)
    table: dict[str, np.ndarray] = {}
    for name, part in (("observed", slice(0, r)), ("reconstructed", slice(r, 2 * r))):
        table |= {f"{name}_ml_per_sd": found[part], f"{name}_ml_per_sd_low": low[part]}
        table |= {f"{name}_ml_per_sd_high": high[part]}
    return pd.DataFrame(table)
