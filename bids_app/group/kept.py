"""Which part of a regional difference the latent space keeps, which it loses, and what may be said of each region.

The model adds a reconstruction to every held-out map. With m the regional grey matter (ml, sums over the voxels of the
model's own grid), k the same sums of the reconstruction and l = m - k,

``difference = kept + lost``   (b(m) = b(k) + b(l), exactly, because least squares is linear in the response)

where b is the coefficient of the contrast y in ``[1, covariates, y]``. Nothing here is fitted to the labels but b
itself: the reconstruction of a person comes from a model that saw neither the person nor any label.

A difference that is kept is not yet one that is *carried*: latents that know who belongs to which group, and nothing
else, reproduce every mean difference in full. So a second question is asked within the groups: does the reconstruction
follow the region from person to person (``r2_within``)? Only a region for which it does can be called kept.

What this cannot see: latents that hold the group beside something that all regions share. Both questions are then
answered yes, region by region. A model that is trained without labels has no such latent; one trained with them may,
and for it a label says less. The columns without total grey matter show it: there such a region is carried no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_app.schema.labels import CARRIED_ONLY, CARRIED_R2, KEPT, LOST, NEITHER, NOT_CARRIED, PARTLY
from bids_app.stats.crossfit import features_of_fold, fold_rows
from bids_app.stats.linear import nuisance_basis, project_out, ridge_predict, unit_residuals
from bids_app.stats.permutation import p_value, permutation_chunks
from bids_app.stats.resampling import bootstrap_rows
from bids_app.stats.studentised import has_groups, studentised_test

MOST, NEARLY_ALL = 0.5, 0.8  # shares of a difference
_PENALTIES = np.geomspace(1e-3, 1e2, 11)


@dataclass(frozen=True)
class Intervals:
    """Bootstrap samples of the coefficients of one contrast, participants drawn within their groups.

    Attributes
    ----------
    difference, kept, lost, g : ndarray of shape (B, R)
        ml; g in standard deviations, for a score the correlation.
    """

    difference: np.ndarray
    kept: np.ndarray
    lost: np.ndarray
    g: np.ndarray


def split_differences(  # noqa: PLR0913 - three arrays, what is removed from them, and settings that all have defaults
    observed: np.ndarray,
    reconstructed: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    total: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
    alpha: float = 0.05,
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Difference, kept and lost of every region in one contrast, and the label that follows.

    Parameters
    ----------
    observed : ndarray of shape (n, R)
        Regional grey matter in ml on the model's grid, one row per participant.
    reconstructed : ndarray of shape (n, R)
        The same of the held-out reconstructions (`decode_regions` where a model has none).
    y : ndarray of shape (n,)
        1 / 0 for groups, 0, 1, 2 ... for an order, or a score; the unit of y is the unit that differences are per.
    covariates : ndarray of shape (n, P), optional
    total : ndarray of shape (n,), optional
        Total grey matter in ml, for specificity. Default: the sum of the observed regions.
    blocks : ndarray of shape (n,), optional
        Sites: rows are exchanged within these only.
    alpha : float
        Family-wise level of every label.
    n_permutations, n_bootstrap, seed : int

    Returns
    -------
    DataFrame
        One row per region. ``difference_ml, kept_ml, lost_ml`` and ``g`` (Hedges; for a score the partial correlation),
        each with ``_low, _high`` (95 %, one region at a time); ``difference_p_fwe, lost_p_fwe`` (studentised
        permutation, over the regions); ``kept_share``, ``_low, _high``, empty where the difference itself is not there;
        ``r2, r2_within`` of the reconstruction (covariates removed; and the contrast, too), ``within_p_fwe``;
        ``specific_ml, specific_kept_ml, specific_p_fwe, specific_r2_within``, the same with total grey matter removed
        as well; ``label``; ``lrcp``, the size of ``kept_ml``, by which regions are ranked.

    Notes
    -----
    ``lrcp`` says how much of the disease the latent space holds in a region. It is no detector of regions that differ:
    there the plain t is better, and better, too, than the article's words taken literally (association that survives,
    times discriminability, summed over latents) and than the correlation with the latents' discriminant. Planted loss
    of 10 % in 8 scattered regions, K of the plan, 30 / 60 / 150 / 300 people, 24 cohorts each, AUROC
    (``benchmarks/recovery.py``): t .72 .92 .97 .99, discriminant .66 .88 .96 .98, literally .49 .49 .54 .62,
    ``lrcp`` .52 .64 .75 .82.

    Raises
    ------
    ValueError
        Shapes that do not agree, values that are not finite, or no degrees of freedom left.
    """
    observed, reconstructed, y = (np.asarray(a, float) for a in (observed, reconstructed, y))
    _check(observed, reconstructed, y, covariates)
    lost = observed - reconstructed
    options: dict[str, Any] = {"blocks": blocks, "n_permutations": n_permutations}
    found = studentised_test(observed, y, covariates, seed=seed, **options)
    loss = studentised_test(lost, y, covariates, seed=seed + 1, **options)
    gain = studentised_test(reconstructed, y, covariates, seed=seed + 5, **options)
    difference, kept = found.slope, gain.slope
    table = {"difference_ml": difference, "kept_ml": kept, "lost_ml": difference - kept}
    table["g"] = difference / _unit(observed, y, covariates) * _small_sample(y, covariates)
    samples = bootstrap(observed, reconstructed, y, covariates, n_bootstrap, seed + 2)
    for name, draws in (("difference_ml", samples.difference), ("kept_ml", samples.kept), ("lost_ml", samples.lost)):
        table |= _interval(name, table[name], draws, y)
    table |= _interval("g", table["g"], samples.g, y)
    if not has_groups(y):
        table |= {end: np.clip(table[end], -1, 1) for end in ("g_low", "g_high")}
    table |= {"difference_p_fwe": found.p_fwe, "kept_p_fwe": gain.p_fwe, "lost_p_fwe": loss.p_fwe}
    table["kept_share"] = kept / np.where(difference == 0, np.nan, difference)
    shares = samples.kept / np.where(np.abs(samples.difference) > 1e-300, samples.difference, np.nan)
    table["kept_share_low"], table["kept_share_high"] = _percentiles(shares)
    table["r2"] = explained(observed, reconstructed, covariates)
    table |= _within(observed, reconstructed, y, covariates, seed=seed + 3, **options)
    table |= _specific(observed, reconstructed, y, covariates, total, seed=seed + 4, **options)
    return hold_to(pd.DataFrame(table).assign(lrcp=np.abs(kept)), alpha)


def hold_to(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The table with labels, and with kept shares of those regions alone that differ, at a family-wise level.

    Held to a lower level, what was held to a higher one loses shares and gets other labels.
    """
    shares = ["kept_share", "kept_share_low", "kept_share_high"]
    there = table["difference_p_fwe"] <= alpha
    return table.assign(**table[shares].where(there), label=label_regions(table, alpha))


def label_regions(table: pd.DataFrame, alpha: float = 0.05) -> np.ndarray:
    """One label per region; the first line that applies decides.

    A region *differs* where ``difference_p_fwe <= alpha``. It is *carried* where the reconstruction follows it within
    the groups: ``within_p_fwe <= alpha`` and ``r2_within >= 0.1``. A loss is *seen* where ``lost_p_fwe <= alpha`` and
    lost and difference have the same sign.

    1. does not differ, carried: *carried without difference*;
    2. does not differ: *neither*;
    3. carried, ``kept_p_fwe <= alpha``, the interval of the kept share above 1/2, and no loss seen or a share of 0.8
       or more: *kept*;
    4. carried, ``kept_p_fwe <= alpha``, and the interval of the kept share above 0: *partly kept*;
    5. a loss is seen, and nothing is kept by 4's standard or the share is below 1/2: *lost*;
    6. anything else: *differs, not carried*.

    So a region is called kept, in part or not, only where `kept_p` is ``alpha`` or less, too.

    Parameters
    ----------
    table : DataFrame
        Columns as `split_differences` returns them.
    alpha : float

    Returns
    -------
    ndarray of shape (R,) of str
        Among ``schema.labels.LABELS``.
    """
    differs = (table["difference_p_fwe"] <= alpha).to_numpy()
    carried = ((table["within_p_fwe"] <= alpha) & (table["r2_within"] >= CARRIED_R2)).to_numpy()
    share, low = table["kept_share"].to_numpy(float), table["kept_share_low"].to_numpy(float)
    loss = (table["lost_p_fwe"] <= alpha).to_numpy() & (table["lost_ml"] * table["difference_ml"] > 0).to_numpy()
    some = (low > 0) & (table["kept_p_fwe"] <= alpha).to_numpy()
    rules = [
        (~differs & carried, CARRIED_ONLY),
        (~differs, NEITHER),
        (carried & some & (low > MOST) & (~loss | (share >= NEARLY_ALL)), KEPT),
        (carried & some, PARTLY),
        (loss & (~some | (share < MOST)), LOST),
    ]
    return np.select([rule for rule, _ in rules], [label for _, label in rules], NOT_CARRIED)


def kept_p(table: pd.DataFrame) -> np.ndarray:
    """p value (R,) of "the difference of this region is kept", family-wise over the regions.

    All of it must hold: the region differs, the reconstruction differs, with the same sign, and follows the region
    within the groups. So the p value is the largest of the three; 1 where the signs disagree or the reconstruction
    follows the region in name only.
    """
    p = table[["difference_p_fwe", "kept_p_fwe", "within_p_fwe"]].max(axis=1).to_numpy()
    possible = (table["kept_ml"] * table["difference_ml"] > 0) & (table["r2_within"] >= CARRIED_R2)
    return np.where(possible, p, 1.0)


def decode_regions(latents: np.ndarray, regions: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Held-out regional grey matter as latents alone predict it (ridge), for latents that have no decoder.

    Parameters
    ----------
    latents : ndarray of shape (n, K) or (F, n, K)
        (F, n, K): those of fold f's model, used where fold f is held out.
    regions : ndarray of shape (n, R)
        ml.
    fold : ndarray of shape (n,), int

    Returns
    -------
    ndarray of shape (n, R)
        ml; the penalty of each region is chosen on the training rows (leave-one-out).
    """
    out = np.zeros(regions.shape)
    for f, train, test in fold_rows(fold):
        x = features_of_fold(latents, f)
        out[test] = ridge_predict(x[train], regions[train], x[test], _PENALTIES)
    return out


def explained(observed: np.ndarray, reconstructed: np.ndarray, nuisance: np.ndarray | None) -> np.ndarray:
    """R2 (R,) of the reconstruction, ``1 - |m - k|^2 / |m|^2``, the nuisance removed from both; NaN for constants.

    The reconstruction is held to the ml that it gives: one of the right shape and the wrong size scores low.
    """
    basis = nuisance_basis(nuisance, len(observed))
    m, k = project_out(observed, basis), project_out(reconstructed, basis)
    size = (m**2).sum(axis=0)
    varies = size > 1e-18 * np.maximum((observed**2).sum(axis=0), 1e-300)
    return np.where(varies, 1 - ((m - k) ** 2).sum(axis=0) / np.where(varies, size, 1.0), np.nan)


def follows_within(
    observed: np.ndarray,
    reconstructed: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    blocks: np.ndarray | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Family-wise p (R,): does the reconstruction follow the region given group and covariates?

    One-sided partial correlation, reconstructions exchanged between people of one group (and block), so that groups
    may differ in spread; the largest over the regions (Freedman & Lane 1983). An order or score has no groups and is
    a nuisance only.
    """
    basis = nuisance_basis(_join(covariates, _levels(y)), len(y))
    m, k = unit_residuals(observed, basis), unit_residuals(reconstructed, basis)
    rho = (m * k).sum(axis=0)
    null = []
    for perms in permutation_chunks(len(y), n_permutations, seed, 64, _cells(y, blocks)):
        for perm in perms:
            shuffled = k[perm]
            # Of unit length before; the nuisance takes a little of it away again.
            left = 1 - ((basis.T @ shuffled) ** 2).sum(axis=0)
            null.append(((m * shuffled).sum(axis=0) / np.sqrt(np.maximum(left, 1e-6))).max(initial=-1.0))
    return p_value(rho, np.asarray(null))


def bootstrap(
    observed: np.ndarray,
    reconstructed: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None,
    n_bootstrap: int,
    seed: int,
) -> Intervals:
    """Coefficients and g in bootstrap samples of participants, covariates removed again in each."""
    n, r = observed.shape
    strata = y if has_groups(y) else None
    both = np.hstack([observed, reconstructed])
    coefficient, size = np.full((n_bootstrap, 2 * r), np.nan), np.full((n_bootstrap, r), np.nan)
    for b, rows in enumerate(bootstrap_rows(n, n_bootstrap, seed, strata)):
        c = None if covariates is None else np.asarray(covariates)[rows]
        u = project_out(y[rows][:, None], nuisance_basis(c, n))[:, 0]
        if u @ u < 1e-9 * n * max(y.var(), 1e-300):
            continue  # this sample cannot tell the contrast from the covariates
        coefficient[b] = (u / (u @ u)) @ both[rows]
        size[b] = _unit(observed[rows], y[rows], c)
    kept = coefficient[:, r:]
    g = coefficient[:, :r] / np.maximum(size, 1e-300) * _small_sample(y, covariates)
    return Intervals(coefficient[:, :r], kept, coefficient[:, :r] - kept, g)


def _interval(name: str, value: np.ndarray, draws: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """95 % percentiles about the estimate, widened by sqrt(m / (m - 1)), m the smaller group: resampling m residuals
    of a mean gives (m - 1) / m of its variance.
    """
    if not len(draws):
        return dict.fromkeys((f"{name}_low", f"{name}_high"), np.full(value.shape, np.nan))
    smallest = np.unique(y, return_counts=True)[1].min() if has_groups(y) else len(y)
    wider = np.sqrt(smallest / max(smallest - 1, 1))
    low, high = _percentiles(draws)
    return {f"{name}_low": value + wider * (low - value), f"{name}_high": value + wider * (high - value)}


def _percentiles(draws: np.ndarray) -> np.ndarray:
    """2.5th and 97.5th percentile (2, R) of draws (B, R); NaN for columns without a number."""
    out, known = np.full((2, draws.shape[1]), np.nan), np.isfinite(draws).any(axis=0)
    if known.any():
        out[:, known] = np.nanquantile(draws[:, known], [0.025, 0.975], axis=0)
    return out


def _within(
    observed: np.ndarray, reconstructed: np.ndarray, y: np.ndarray, covariates: np.ndarray | None, **options: Any
) -> dict[str, np.ndarray]:
    return {
        "r2_within": explained(observed, reconstructed, _join(covariates, _levels(y))),
        "within_p_fwe": follows_within(observed, reconstructed, y, covariates, **options),
    }


def _specific(
    observed: np.ndarray,
    reconstructed: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None,
    total: np.ndarray | None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """The same beyond total grey matter: a region that only shrinks with the whole brain says nothing of its own."""
    nuisance = _join(covariates, observed.sum(axis=1) if total is None else total)
    u = project_out(y[:, None], nuisance_basis(nuisance, len(y)))[:, 0]
    if u @ u < 1e-6 * len(y) * y.var():  # total grey matter is the contrast itself
        names = ("specific_ml", "specific_kept_ml", "specific_p_fwe", "specific_r2_within")
        return dict.fromkeys(names, np.full(observed.shape[1], np.nan))
    test = studentised_test(observed, y, nuisance, **options)
    return {
        "specific_ml": test.slope,
        "specific_kept_ml": u @ reconstructed / (u @ u),
        "specific_p_fwe": test.p_fwe,
        "specific_r2_within": explained(observed, reconstructed, _join(nuisance, _levels(y))),
    }


def _check(observed: np.ndarray, reconstructed: np.ndarray, y: np.ndarray, covariates: np.ndarray | None) -> None:
    if observed.shape != reconstructed.shape or len(y) != len(observed):
        raise ValueError(f"shapes disagree: {observed.shape}, {reconstructed.shape}, {y.shape}")
    if not (np.isfinite(observed).all() and np.isfinite(reconstructed).all() and np.isfinite(y).all()):
        raise ValueError("regional values and the contrast must be finite")
    if len(y) - nuisance_basis(_join(covariates, y), len(y)).shape[1] < 2:
        raise ValueError(f"{len(y)} participants leave no degrees of freedom")


def _unit(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None) -> np.ndarray:
    """What a coefficient is divided by to be an effect size.

    Groups: the pooled standard deviation given group and covariates. A score: the ratio of the standard deviations of
    region and score given the covariates, which makes a partial correlation.
    """
    if has_groups(y):
        basis = nuisance_basis(_join(covariates, y), len(y))
        sd = np.sqrt((project_out(x, basis) ** 2).sum(axis=0) / (len(y) - basis.shape[1]))
    else:
        left = project_out(np.column_stack([x, y]), nuisance_basis(covariates, len(y)))
        length = np.linalg.norm(left, axis=0)
        sd = length[:-1] / max(length[-1], 1e-300)
    return np.maximum(sd, 1e-300)


def _small_sample(y: np.ndarray, covariates: np.ndarray | None) -> float:
    """Hedges' factor ``1 - 3 / (4 df - 1)``; 1 for a score."""
    if not has_groups(y):
        return 1.0
    return 1 - 3 / (4 * (len(y) - nuisance_basis(_join(covariates, y), len(y)).shape[1]) - 1)


def _levels(y: np.ndarray) -> np.ndarray:
    """Columns that hold the groups, an order's steps not taken as equal: what is left is within the groups."""
    return (y[:, None] == np.unique(y)[1:]).astype(float) if has_groups(y) else y[:, None]


def _cells(y: np.ndarray, blocks: np.ndarray | None) -> np.ndarray | None:
    """Rows that may be exchanged: those of one group and one block."""
    known = ([y] if has_groups(y) else []) + ([blocks] if blocks is not None else [])
    keys = [np.unique(one, return_inverse=True)[1] for one in known]
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].ravel() if keys else None


def _join(covariates: np.ndarray | None, *more: np.ndarray) -> np.ndarray:
    columns = np.column_stack(more)
    if covariates is None or not np.size(covariates):
        return columns
    return np.hstack([np.asarray(covariates, float).reshape(len(columns), -1), columns])
