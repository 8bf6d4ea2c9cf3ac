"""Latent-regional correlation profile (LRCP): which regions the latent space carries, and whether they separate groups.

The published equations were not at hand: this is LatentAtlas' own reading of "statistical association combined with
supervised discriminability" (Gorriz et al. 2026, doi 10.1142/S012906572650053X).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from bids_app.group.rows import rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.stats.association import Association, associate
from bids_app.stats.crossfit import features_of_fold, fold_rows, out_of_fold_r2, smallest_training_set
from bids_app.stats.discriminability import (
    concordance,
    discriminability,
    permuted_discriminability,
    signed_discriminability,
)
from bids_app.stats.linear import residual_operator, residualise, ridge_predict
from bids_app.stats.permutation import max_statistic_p, p_value
from bids_app.stats.resampling import bootstrap_rows

COLUMNS = ["index", "name", "contrast", "lrcp", "p_fwe", "r2", "auc", "rank_median", "rank_iqr"]
COLUMNS += ["auc_p_fwe", "higher_in", "n_latents", "lrcp_thresholded", "n"]
_PENALTIES = np.geomspace(1e-3, 1e2, 11)


@dataclass(frozen=True)
class LRCPResult:
    """Latent-regional correlation profile.

    Attributes
    ----------
    regions : DataFrame
        `index, name, contrast, lrcp, p_fwe, r2, auc, rank_median, rank_iqr, auc_p_fwe, higher_in, n_latents,
        lrcp_thresholded, n`; one row a region and contrast, contrasts in the order given (one with contrast "n/a" if
        there is none).
    profile : DataFrame
        `index, name, latent, rho, p_fwe, q`; one row a region and latent.
    notes : list of str
        What a reader must know: participants left out, scans averaged, contrasts not tested.
    """

    regions: pd.DataFrame
    profile: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def lrcp(study: Study, settings: AnalysisSettings) -> LRCPResult:
    """Association of regions with latents, weighted by how well each latent answers the question.

    ``LRCP_r = | sum over latents k of rho_rk delta_k |``

    over the latents made uncorrelated and of equal variance (their left singular vectors): rho_rk is the partial
    correlation of region r with latent k given the covariates, delta_k its discriminability with the sign kept,
    2 AUC - 1 or Spearman. A region scores where what the latents know of it is what tells the groups apart; latents
    that pull it in opposite directions cancel, and no rotation of the latent space changes the score. ``p_fwe``:
    residual labels permuted, the largest LRCP over the regions, not studentised: a region that the latents hardly know
    has a score of small spread, and in such units chance looks large.

    ``lrcp_thresholded`` is the sum of ``rho_rk^2 |delta_k|`` over the latents as they are with p_fwe(r, k) <= alpha,
    the plainer reading. It forgets directions, hangs on arbitrary axes, and a region that no single latent follows
    significantly scores zero: in simulated cohorts of 48 it ranked planted regions no better than by chance.

    Beside the score stand ``r2``, the out-of-fold share of the region's variance that all latents predict (ridge), and
    ``auc``, how well that predicted signal separates the groups (0.5..1; `higher_in` names the group with more of it;
    c-index for orders and scores), with its own family-wise `auc_p_fwe`. ``rank_median, rank_iqr``: rank of the region
    by LRCP (1 = first) over the fold models and bootstrap samples of participants, each in the latents of one of the
    fold models.

    The latents of the full model, (N, K), are associated with the regions, (N, R); what is out of fold starts from
    those of the fold models, (F, N, K) and (F, N, R). Scans of one participant are averaged.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
        ``alpha`` is the family-wise level at which a latent counts for a region in ``lrcp_thresholded``.
    """
    fold, contrasts, covariates, participants = study.fold, study.contrasts, study.covariates, study.participants
    Z, G, regions = study.latents.full, study.regional.full, study.regions
    n_permutations, alpha, seed = settings.n_permutations, settings.alpha, settings.seed
    everyone = rows_of(participants, covariates.complete & np.isfinite(G).all(axis=1))
    notes = []
    if everyone.averaged:
        notes.append("Scans of one participant were averaged before testing, because they are not independent.")
    left_out = sorted(set(participants) - set(np.asarray(participants)[everyone.first]))
    if left_out:
        notes.append(
            f"{len(left_out)} of {len(set(participants))} participants have no complete covariates or regional values "
            f"and take no part in what needs them: {', '.join(map(str, left_out))}."
        )
    if len(everyone) < covariates.matrix.shape[1] + 3 or smallest_training_set(everyone.take(fold)) < 2:
        notes.append(f"{len(everyone)} complete participants are too few for the association of regions and latents.")
        return _nothing(regions, Z.shape[1], len(everyone), notes)
    association = associate(
        everyone.mean(G),
        everyone.mean(Z),
        everyone.mean(covariates.matrix),
        n_permutations=n_permutations,
        seed=seed,
    )
    latents = study.latents.cross_fitted
    target, predicted = encoded_signal(
        everyone.mean(study.regional.cross_fitted),
        everyone.mean(latents),
        everyone.take(fold),
        everyone.mean(covariates.matrix),
    )
    r2 = out_of_fold_r2(target, predicted)
    # The out-of-fold signal of every scan's participant, so that a contrast can pick its rows.
    signal = np.full(G.shape, np.nan)
    position = {p: i for i, p in enumerate(np.asarray(participants)[everyone.first])}
    for scan, participant in enumerate(participants):
        if participant in position:
            signal[scan] = predicted[position[participant]]

    shared = {"index": regions["index"].to_numpy(), "name": regions["name"].to_numpy()}
    tables = []
    for number, contrast in enumerate(contrasts):
        rows = rows_of(participants, covariates.complete & np.isfinite(signal).all(axis=1), contrast.y)
        if contrast.problem or len(rows) < 6 or np.ptp(rows.take(contrast.y)) == 0:
            notes.append(f"{contrast.name} was not tested: {contrast.problem or 'too few complete participants'}.")
            continue
        y, c = rows.take(contrast.y), rows.mean(covariates.matrix)
        columns = _score_regions(
            association, rows.mean(Z), rows.mean(G), y, contrast, c, alpha, n_permutations, seed + 1 + number
        )
        columns["r2"] = r2
        columns |= _signal_auc(rows.mean(signal), y, contrast, c, n_permutations, seed + 101 + number)
        ranks = _ranks(rows.mean(latents), rows.mean(G), y, contrast, c, settings.n_rank_samples, seed)
        columns["rank_median"] = np.median(ranks, axis=0)
        columns["rank_iqr"] = np.subtract(*np.percentile(ranks, [75, 25], axis=0))
        tables.append(pd.DataFrame(shared | {"contrast": contrast.name} | columns | {"n": len(rows)}))
    if not tables:
        tables = [pd.DataFrame(shared | {"contrast": "n/a", "r2": r2, "n": len(everyone)})]
    table = pd.concat(tables, ignore_index=True).reindex(columns=COLUMNS)
    return LRCPResult(table, _profile(association, shared), notes)


def encoded_signal(
    G: np.ndarray, latents: np.ndarray, fold: np.ndarray, covariates: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Regional grey matter and its out-of-fold ridge prediction from all latents, both free of the covariates.

    Parameters
    ----------
    G : ndarray of shape (n, R) or (F, n, R)
    latents : ndarray of shape (n, K) or (F, n, K)
    fold : ndarray of shape (n,)
    covariates : ndarray of shape (n, P) or None

    Returns
    -------
    target, prediction : ndarray of shape (n, R)
    """
    n = len(fold)
    target, prediction = np.zeros((n, G.shape[-1])), np.zeros((n, G.shape[-1]))
    for f, train, test in fold_rows(fold):
        x, g = features_of_fold(latents, f), features_of_fold(G, f)
        on_train = residual_operator(covariates, train, train, n)
        on_test = residual_operator(covariates, train, test, n)
        target[test] = on_test @ g
        prediction[test] = ridge_predict(on_train @ x, on_train @ g, on_test @ x, _PENALTIES)
    return target, prediction


def _score_regions(association: Association, Z, G, y, contrast, c, alpha, n_permutations, seed) -> dict:
    """LRCP of every region, and its family-wise permutation p value."""
    z, g = residualise(Z, c), _clean(G, c)
    latents = _whiten(z)
    rho = _correlations(g, latents)
    observed, null = permuted_discriminability(
        latents, y, contrast.kind, c, n_permutations=n_permutations, seed=seed, signed=True
    )
    significant = association.p_fwe <= alpha
    return {
        "lrcp": _score(rho, latents, y, contrast.kind),
        "p_fwe": p_value(np.abs(rho @ observed), np.abs(null @ rho.T).max(axis=1)),
        "n_latents": significant.sum(axis=1),
        "lrcp_thresholded": np.where(significant, association.rho**2, 0.0) @ discriminability(z, y, contrast.kind),
    }


def _score(rho: np.ndarray, latents: np.ndarray, y: np.ndarray, kind: str) -> np.ndarray:
    return np.abs(rho @ signed_discriminability(latents, y, kind))


def _clean(G: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """Regions without the covariates; one that never varied is exactly zero, not a remainder of rounding."""
    varies = np.std(G, axis=0) > 1e-12 * np.abs(G).max(axis=0, initial=1e-300)
    return residualise(G, c) * varies


def _whiten(z: np.ndarray) -> np.ndarray:
    """Latents made uncorrelated and of equal variance; directions without variance are dropped."""
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    return u[:, s > 1e-6 * s.max(initial=0.0)]


def _signal_auc(signal, y, contrast, c, n_permutations, seed) -> dict:
    """How well the encoded signal of every region separates the groups (or follows the order, the score)."""
    area = concordance(signal, y)
    observed, null = permuted_discriminability(signal, y, contrast.kind, c, n_permutations=n_permutations, seed=seed)
    high, low = ("up", "down") if contrast.kind != "groups" else contrast.labels
    return {
        "auc": np.maximum(area, 1 - area),
        "higher_in": np.where(area >= 0.5, high, low),
        "auc_p_fwe": max_statistic_p(observed, null),
    }


def _ranks(latents, G, y, contrast, c, n_bootstrap, seed) -> np.ndarray:
    """Ranks of the regions by LRCP (F + n_bootstrap, R): all rows in every fold model, then bootstrap samples."""
    models = [latents] if latents.ndim == 2 else list(latents)
    models = [residualise(z, c) for z in models]
    g = _clean(G, c)
    strata = y if contrast.kind != "score" else None
    everyone = np.arange(len(y))
    draws = [(z, everyone) for z in models]
    boots = bootstrap_rows(len(y), n_bootstrap, seed + 977, strata)
    draws += [(models[b % len(models)], rows) for b, rows in enumerate(boots)]
    ranks = []
    for z, rows in draws:
        white = _whiten(z[rows])
        score = _score(_correlations(g[rows], white), white, y[rows], contrast.kind)
        ranks.append(stats.rankdata(-score))
    return np.array(ranks)


def _correlations(g: np.ndarray, z: np.ndarray) -> np.ndarray:
    g, z = g - g.mean(axis=0), z - z.mean(axis=0)
    g = g / np.maximum(np.linalg.norm(g, axis=0), 1e-12)
    return g.T @ (z / np.maximum(np.linalg.norm(z, axis=0), 1e-12))


def _nothing(regions: pd.DataFrame, k: int, n: int, notes: list[str]) -> LRCPResult:
    """Tables of the usual shape without a number in them."""
    shared = {"index": regions["index"].to_numpy(), "name": regions["name"].to_numpy()}
    table = pd.DataFrame(shared | {"contrast": "n/a", "n": n}).reindex(columns=COLUMNS)
    unknown = np.full((len(regions), k), np.nan)
    return LRCPResult(table, _profile(Association(unknown, unknown, unknown, unknown, np.empty(0), 0), shared), notes)


def _profile(association: Association, shared: dict) -> pd.DataFrame:
    r, k = association.rho.shape
    return pd.DataFrame(
        {
            "index": np.repeat(shared["index"], k),
            "name": np.repeat(shared["name"], k),
            "latent": np.tile(latent_names(k), r),
            "rho": association.rho.ravel(),
            "p_fwe": association.p_fwe.ravel(),
            "q": association.q.ravel(),
        }
    )


def latent_names(k: int) -> list[str]:
    """``latent_01`` ... as in phenotype/latents.tsv."""
    width = max(2, len(str(k)))
    return [f"latent_{i:0{width}d}" for i in range(1, k + 1)]
