"""Every claim's error, worst case and permutation p value, side by side (K-fold CUBV, SAR, SAM, permutation)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.group.claims import in_words
from bids_app.group.classify import balanced_weights, classify, full_sample_margins
from bids_app.group.convolutions import Convolutions, compare_convolutions
from bids_app.group.design import Contrast, Covariates
from bids_app.group.explain import ErrorRelation
from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.schema.claims import CONVOLUTIONS, ERROR_EXPLAINED, REGIONS_KEPT, SEPARATION, SINGLE_REGIONS
from bids_app.schema.labels import KEPT, LOST, NOT_CARRIED, PARTLY
from bids_app.schema.verdict_tables import VALIDATION
from bids_app.stats.bounds import held_out_bound, igp_excess, pac_bayes_gibbs, pac_bayes_published, vapnik_excess
from bids_app.stats.crossfit import crossfit_test, out_of_fold_r2, smallest_p, smallest_training_set
from bids_app.stats.linear import residualise
from bids_app.stats.sar import sar

COLUMNS = [column.name for column in VALIDATION.columns]


def validate(
    study: Study,
    settings: AnalysisSettings,
    *,
    lrcp_regions: pd.DataFrame | None = None,
    sam_regions: pd.DataFrame | None = None,
    relation: ErrorRelation | None = None,
) -> pd.DataFrame:
    """One row a bound or test, for every claim.

    For two groups ``error`` is a balanced error (chance 1/2) and ``bound`` the worst case of the actual risk with
    confidence 1 - alpha. The two strict forms (Gibbs PAC-Bayes, exact held-out) share alpha, half each, so that a
    claim may rest on either. For a score or an order, error is SAR's loss, bound its worst case, chance the loss of
    predicting nothing.

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
    lrcp_regions, sam_regions : DataFrame, optional
        Tables of `lrcp` and `sam`: their family-wise claims get their rows here.
    relation : ErrorRelation, optional
        Of `explain`.

    Returns
    -------
    DataFrame
        Columns of ``schema.verdict_tables.VALIDATION``. A claim that cannot be tested has
        one row, method "not testable", with the reason as its note.
    """
    table: list[dict] = []
    Z, latents, fold, covariates = study.latents.full, study.latents.cross_fitted, study.fold, study.covariates
    alpha = settings.alpha
    for number, contrast in enumerate(study.contrasts):
        rows = rows_of(study.participants, covariates.complete & np.isfinite(Z).all(axis=1), contrast.y)
        problem = why_not_testable(contrast, rows, covariates, fold, alpha)
        if problem:
            table.append(_row(SEPARATION, "not testable", contrast, n=len(rows), alpha=alpha, note=problem))
            continue
        y, c, f = rows.take(contrast.y), rows.mean(covariates.matrix), rows.take(fold)
        draws = {"n_permutations": settings.n_permutations, "seed": settings.seed + 201 + number}
        test = crossfit_test(rows.mean(latents), y, f, c, **draws)
        if contrast.kind == "groups":
            found = _two_groups(rows.mean(Z), rows.mean(latents), y, f, c, alpha)
        else:
            found = _regression(rows.mean(latents), y, f, c, alpha)
        r2 = float(out_of_fold_r2(test.response, test.prediction))
        note = f"out-of-fold r = {test.statistic:.3f}, R2 = {r2:.3f} (ridge); Freedman-Lane"
        if not covariates.none:
            share = 1 - (residualise(y, c) ** 2).sum() / ((y - y.mean()) ** 2).sum()
            note += f"; the covariates explain {100 * share:.0f} % of the contrast"
        permutation = {
            "method": "permutation",
            "error": found[0]["error"],
            "chance": found[0]["chance"],
            "p": test.p,
            "strict": False,
            "note": note,
        }
        common = {"n": len(rows), "alpha": alpha}
        table += [_row(SEPARATION, contrast=contrast, **(common | one)) for one in [*found, permutation]]
        if rows.averaged:
            table[-1]["note"] += "; scans of one participant averaged"
    for contrast in study.contrasts:
        table += _lrcp_rows(lrcp_regions, contrast, alpha)
        table += _sam_rows(sam_regions, contrast, alpha)
    if relation is not None:
        table += _error_rows(relation, alpha)
    table.append(_convolutions_row(compare_convolutions(study, settings), alpha))
    return pd.DataFrame(table, columns=COLUMNS)


def why_not_testable(
    contrast: Contrast, rows: Rows, covariates: Covariates, fold: np.ndarray, alpha: float
) -> str | None:
    """The reason in plain words, or None: too few, constant, or confounded with the covariates."""
    if contrast.problem:
        return contrast.problem
    y, c = rows.take(contrast.y), rows.mean(covariates.matrix)
    if len(y) < 6 or np.ptp(y) == 0:
        return "too few participants with complete data in each group" if len(y) else "nobody has complete data"
    if (left := smallest_training_set(rows.take(fold))) < 4:
        return f"the cross-validation folds leave only {left} participants to learn from"
    if contrast.kind != "score":
        least = smallest_p(y)
        if least >= alpha:
            sizes = " and ".join(str(int((y == v).sum())) for v in np.unique(y))
            return f"with {sizes} participants even a perfect separation would have p = {least:.2g}"
    left = residualise(y, c)
    if (left**2).sum() < 1e-6 * ((y - y.mean()) ** 2).sum():
        return "the covariates determine it entirely (confounded)"
    if len(y) - np.linalg.matrix_rank(np.column_stack([np.ones(len(y)), c])) < 4:
        return "too many covariates for so few participants"
    return None


def _two_groups(Z, latents, y, fold, c, alpha) -> list[dict]:
    """K-fold CUBV: out-of-fold balanced error of the linear SVM and its worst case, by five bounds."""
    svm = classify(latents, y, fold, c)
    weights = balanced_weights(y)
    # Rows of the smaller group weigh most: the sample counts for as many rows as a balanced one of that size.
    n_eff = round(1 / weights.max())
    n_train = max(2, round(n_eff * (1 - 1 / max(2, len(np.unique(fold))))))
    k = Z.shape[1]
    published = pac_bayes_published(svm.balanced_error, svm.theta_sq, n_train, alpha)
    gibbs, gibbs_bound = pac_bayes_gibbs(full_sample_margins(Z, y, c), weights, alpha / 2)
    held_out = held_out_bound(svm.wrong, y, fold, alpha / 2)
    smaller = min(y.mean(), 1 - y.mean())
    plain = f"plain error {svm.error:.3f} (best constant classifier {smaller:.3f}), AUC {svm.auc:.3f}"
    error = svm.balanced_error
    return [
        _bound("pac-bayes (published)", error, published, False, plain),
        _bound("pac-bayes (strict)", gibbs, gibbs_bound, True, "randomised (Gibbs) classifier, alpha/2"),
        _bound("held-out (strict)", error, held_out, True, "exact binomial limits per fold and group, alpha/2"),
        _bound("vapnik", error, error + vapnik_excess(n_train, k, alpha), False, ""),
        _bound("igp", error, error + igp_excess(n_train, k + 1, alpha), False, ""),
    ]


def _bound(method, error, bound, strict, note) -> dict:
    return {
        "method": method,
        "error": float(error),
        "bound": float(min(bound, 1.0)),
        "chance": 0.5,
        "strict": strict,
        "note": note,
    }


def _regression(latents, y, fold, c, alpha) -> list[dict]:
    result = sar(latents, y, fold, c, eta=alpha)
    return [_sar_row(result)]


def _sar_row(result) -> dict:
    note = f"loss in SD of the response; out-of-fold R2 = {result.r2:.3f}"
    if result.components:
        note += f"; {result.components} PLS components"
    return {
        "method": "sar",
        "error": result.loss,
        "bound": result.worst,
        "chance": result.gamma,
        "strict": False,
        "note": note,
    }


def _lrcp_rows(regions, contrast, alpha) -> list[dict]:
    claim = REGIONS_KEPT
    mine = _of(regions, contrast)
    if mine is None or "p_fwe" not in mine or mine["p_fwe"].isna().all():
        return [] if regions is None else [_row(claim, "not testable", contrast, alpha=alpha, note=_reason(contrast))]
    p = float(mine["p_fwe"].min())
    counts = mine["label"].value_counts()
    known = [f"{counts.get(label, 0)} {label}" for label in (KEPT, PARTLY, LOST, NOT_CARRIED)]
    note = f"of {len(mine)} regions: {'; '.join(known)} (family-wise)"
    return [_row(claim, "permutation", contrast, n=int(mine["n"].iloc[0]), p=p, alpha=alpha, note=note)]


def _sam_rows(regions, contrast, alpha) -> list[dict]:
    if regions is None or contrast.kind != "groups":
        return []
    claim = SINGLE_REGIONS
    mine = _of(regions, contrast)
    if mine is None:
        return [_row(claim, "not testable", contrast, alpha=alpha, note=_reason(contrast))]
    n = int(mine["n"].iloc[0])
    out = []
    for suffix, method in (("", "sam (igp)"), ("_strict", "sam (strict)")):
        best = mine.loc[mine[f"bound{suffix}"].astype(float).idxmin()]
        count = int(mine[f"survives{suffix}"].sum())
        note = f"{count} of {len(mine)} regions survive; best: {best['name']}"
        numbers = {"error": best[f"error{suffix}"], "bound": best[f"bound{suffix}"], "chance": 0.5}
        out.append(_row(claim, method, contrast, n=n, alpha=alpha, strict=bool(suffix), note=note, **numbers))
    count = int((mine["p_fwe"] <= alpha).sum())
    note = f"{count} of {len(mine)} regions, family-wise"
    out.append(_row(claim, "permutation", contrast, n=n, p=float(mine["p_fwe"].min()), alpha=alpha, note=note))
    return out


def _error_rows(relation: ErrorRelation, alpha: float) -> list[dict]:
    claim = ERROR_EXPLAINED
    if relation.sar is None:
        return [_row(claim, "not testable", None, n=relation.n, alpha=alpha, note=relation.reason)]
    bound = _sar_row(relation.sar)
    permutation = bound | {"method": "permutation", "bound": np.nan, "p": relation.p, "note": relation.reason}
    return [_row(claim, contrast=None, n=relation.n, alpha=alpha, **one) for one in (bound, permutation)]


def _convolutions_row(found: Convolutions, alpha: float) -> dict:
    if found.reason:
        return _row(CONVOLUTIONS, "not testable", None, n=found.n, alpha=alpha, note=found.reason)
    note = f"mean squared error of unseen maps {found.ratio:.3f} times the linear model's; signs flipped by participant"
    return _row(CONVOLUTIONS, "permutation", None, n=found.n, p=found.p, alpha=alpha, note=note)


def _of(regions, contrast):
    if regions is None:
        return None
    mine = regions[regions["contrast"] == contrast.name]
    return mine if len(mine) else None


def _reason(contrast: Contrast) -> str:
    return contrast.problem or "too few participants with complete data"


def _row(claim, method, contrast, **values) -> dict:
    blank = dict.fromkeys(("n", "error", "bound", "p", "chance"), np.nan) | {"strict": False, "note": ""}
    stated = {"claim": in_words(claim, contrast), "claim_id": claim.id}
    return blank | stated | {"method": method, "contrast": contrast.name if contrast else "n/a"} | values
