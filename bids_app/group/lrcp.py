"""Latent-regional correlation profile (LRCP): which regional differences the latent space keeps, and which it loses.

The published equations were not at hand: this is LatentAtlas' own reading of "statistical association combined with
supervised discriminability" (Gorriz et al. 2026, doi 10.1142/S012906572650053X). `kept` has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bids_app.group.design import Contrast
from bids_app.group.families import test_levels
from bids_app.group.kept import bootstrap, explained, hold_to, kept_p, split_differences
from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows, why_unanswerable
from bids_app.schema.names import latent_names
from bids_app.schema.region_tables import LRCP_REGIONS
from bids_app.stats.association import Association, associate
from bids_app.stats.crossfit import smallest_training_set
from bids_app.stats.discriminability import discriminability
from bids_app.stats.linear import residualise

COLUMNS = [column.name for column in LRCP_REGIONS.columns]


@dataclass(frozen=True)
class LRCPResult:
    """Latent-regional correlation profile.

    Attributes
    ----------
    regions : DataFrame
        Columns of ``schema.region_tables.LRCP_REGIONS``; one row per region and contrast, contrasts in the order given
        (one with contrast "n/a" and no more than ``r2`` if there is none).
    profile : DataFrame
        `index, name, latent, rho, p_fwe, q`; one row per region and latent.
    notes : list of str
        What a reader must know: participants left out, scans averaged, contrasts not tested.
    """

    regions: pd.DataFrame
    profile: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def lrcp(study: Study, settings: AnalysisSettings) -> LRCPResult:
    """Split each regional difference of each contrast into what the latent space keeps and what it loses.

    Each contrast has its `kept.split_differences` and, of it, one label per region. Contrasts are one family: a
    contrast's labels are given at the level at which Holm's sequence tests it. Beside them stand

    - ``p_fwe``, the p value of "the difference of this region is kept" (`kept.kept_p`);
    - ``rank_median, rank_iqr``: rank of the region by ``lrcp`` (1 = first) in bootstrap samples of participants;
    - ``lrcp_literal``, the article's words taken literally: ``sum_k |rho_rk| |delta_k|`` over the latents k whose
      correlation rho with the region r survives a family-wise test, delta the discriminability of the latent
      (2 AUC - 1, or Spearman's rho). In sample; it depends on the axes that the latent space happens to have.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
        ``alpha`` is the family-wise level of the labels and of ``lrcp_literal``.
    """
    Z, G, covariates, participants = study.latents.full, study.regional.full, study.covariates, study.participants
    alpha, seed = settings.alpha, settings.seed
    complete = covariates.complete & np.isfinite(G).all(axis=1) & np.isfinite(study.reconstructed).all(axis=1)
    everyone = rows_of(participants, complete, choice=settings.scan_choice)
    notes = _left_out(everyone, participants)
    if len(everyone) < covariates.matrix.shape[1] + 3 or smallest_training_set(everyone.take(study.fold)) < 2:
        notes.append(
            f"{len(everyone)} participants with complete data are too few for the association between "
            "regions and latents."
        )
        return _nothing(study.regions, Z.shape[1], len(everyone), notes)
    association = associate(
        everyone.mean(G),
        everyone.mean(Z),
        everyone.mean(covariates.matrix),
        n_permutations=settings.n_permutations,
        seed=seed,
        blocks=everyone.take(study.blocks),
    )
    shared = {"index": study.regions["index"].to_numpy(), "name": study.regions["name"].to_numpy()}
    tables: dict[str, pd.DataFrame] = {}
    for number, contrast in enumerate(study.contrasts):
        rows = contrast_rows(study, contrast, complete, settings)
        if rows is None:
            asked = rows_of(participants, complete, contrast.y, settings.scan_choice)
            notes.append(f"{contrast.name} was not tested: {why_unanswerable(contrast, asked, covariates)}.")
            continue
        y, c = rows.take(contrast.y), rows.mean(covariates.matrix)
        observed, reconstructed = rows.mean(study.observed), rows.mean(study.reconstructed)
        table = split_differences(
            observed,
            reconstructed,
            y,
            c,
            blocks=rows.take(study.blocks),
            alpha=alpha,
            n_permutations=settings.n_permutations,
            n_bootstrap=settings.n_interval_samples,
            seed=seed + 1 + 10 * number,
        )
        table = table.assign(p_fwe=kept_p(table), contrast=contrast.name, n=len(rows))
        table["higher_in"] = _higher_in(table["difference_ml"], contrast)
        table["lrcp_literal"] = literally(association, residualise(rows.mean(Z), c), y, contrast.kind, alpha)
        samples = bootstrap(observed, reconstructed, y, c, settings.n_rank_samples, seed + 977)
        kept = np.abs(samples.kept)[np.isfinite(samples.kept).all(axis=1)]
        if len(kept):
            ranks = stats.rankdata(-kept, axis=1)
            table["rank_median"] = np.median(ranks, axis=0)
            table["rank_iqr"] = np.subtract(*np.percentile(ranks, [75, 25], axis=0))
        tables[contrast.name] = pd.DataFrame(shared).join(table)
    least = pd.Series({name: table["p_fwe"].min() for name, table in tables.items()}, dtype=float)
    for name, level in test_levels(least, settings).items():
        tables[str(name)] = hold_to(tables[str(name)], level)
    if not tables:
        r2 = explained(
            everyone.mean(study.observed), everyone.mean(study.reconstructed), everyone.mean(covariates.matrix)
        )
        tables = {"n/a": pd.DataFrame(shared | {"contrast": "n/a", "r2": r2, "n": len(everyone)})}
    table = pd.concat(tables.values(), ignore_index=True).reindex(columns=COLUMNS)
    return LRCPResult(table, _profile(association, shared), notes)


def literally(association: Association, latents: np.ndarray, y: np.ndarray, kind: str, alpha: float) -> np.ndarray:
    """The article's words taken literally (R,): surviving association times discriminability, summed over latents."""
    surviving = np.where(association.p_fwe <= alpha, np.abs(association.rho), 0.0)
    return surviving @ discriminability(latents, y, kind)


def _left_out(everyone: Rows, participants: np.ndarray) -> list[str]:
    notes = []
    if everyone.averaged:
        notes.append("Scans of one participant were averaged before testing, because they are not independent.")
    left_out = sorted(set(participants) - set(np.asarray(participants)[everyone.first]))
    if left_out:
        notes.append(
            f"{len(left_out)} of {len(set(participants))} participants have incomplete covariates or regional values "
            f"and are excluded from the analyses that need them: {', '.join(map(str, left_out))}."
        )
    return notes


def _higher_in(difference: pd.Series, contrast: Contrast) -> np.ndarray:
    high, low = ("up", "down") if contrast.kind != "groups" else contrast.labels
    return np.where(difference >= 0, high, low)


def _nothing(regions: pd.DataFrame, k: int, n: int, notes: list[str]) -> LRCPResult:
    """Tables of the usual shape without a number in them."""
    shared = {"index": regions["index"].to_numpy(), "name": regions["name"].to_numpy()}
    table = pd.DataFrame(shared | {"contrast": "n/a", "n": n}).reindex(columns=COLUMNS)
    unknown = np.full((len(regions), k), np.nan)
    return LRCPResult(table, _profile(Association(unknown, unknown, unknown, unknown, np.empty(0), 0), shared), notes)


def _profile(association: Association, shared: dict[str, Any]) -> pd.DataFrame:
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
