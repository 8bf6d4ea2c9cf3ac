"""Every claim's error, worst case and permutation p value, side by side (K-fold CUBV, SAR, SAM, permutation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.claim_words import in_words
from bids_app.group.classify import balanced_weights, classify, full_sample_margins
from bids_app.group.convolutions import Convolutions, compare_convolutions
from bids_app.group.design import Contrast
from bids_app.group.explain import ErrorRelation
from bids_app.group.families import adjust, share_alpha
from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import why_not_testable
from bids_app.schema.claims import (
    CONVOLUTIONS,
    DISPERSION,
    DISPERSION_RATIO,
    ERROR_EXPLAINED,
    PRIMARY,
    REGIONS_KEPT,
    SEPARATION,
    SINGLE_REGIONS,
    SMALL_GROUP,
    Claim,
)
from bids_app.schema.labels import KEPT, LOST, NOT_CARRIED, PARTLY
from bids_app.schema.verdict_tables import VALIDATION
from bids_app.stats.accuracy import auc_interval
from bids_app.stats.bounds import held_out_bound, igp_excess, pac_bayes_gibbs, pac_bayes_published, vapnik_excess
from bids_app.stats.crossfit import CrossFitTest, out_of_fold_r2
from bids_app.stats.discriminability import concordance
from bids_app.stats.dispersion import dispersion_ratio
from bids_app.stats.linear import residualise
from bids_app.stats.sar import SarResult, sar, sar_published
from bids_app.stats.studentised import studentised_crossfit

COLUMNS = [column.name for column in VALIDATION.columns]
HELD_OUT, IN_SAMPLE = "held-out", "in-sample"


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
    confidence 1 - alpha, alpha shared out among the contrasts that can be tested (`families`). One bound is strict:
    the exact held-out one. The Gibbs form of PAC-Bayes holds given the latents, which were learnt from the same
    people, and so is not. For a score or an order, error is SAR's loss, bound its worst case, chance the loss of
    predicting nothing. The row "permutation" has the p value of the out-of-fold ridge prediction and that prediction's
    own AUC; for a score or an order, error is what it leaves unexplained, 1 - R2.

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
    alpha = settings.alpha
    table = _separation_rows(study, settings)
    testable = [contrast.name for contrast in study.contrasts if _of(sam_regions, contrast) is not None]
    levels = share_alpha(testable, settings)
    for contrast in study.contrasts:
        rows = _people(study, study.regional.full, contrast, settings)
        problem = why_not_testable(contrast, rows, study.covariates, study.fold, alpha, study.blocks)
        reason = problem or "too few participants with complete data"
        table += _lrcp_rows(lrcp_regions, contrast, alpha, reason)
        table += _sam_rows(sam_regions, contrast, alpha, levels, reason)
    if relation is not None:
        table += _error_rows(relation, alpha)
    table.append(_convolutions_row(compare_convolutions(study, settings), alpha))
    frame = pd.DataFrame(table, columns=COLUMNS)
    frame["p_adjusted"] = adjust(frame["p"], frame["claim_id"], frame["contrast"], settings.primary)
    return _remark(frame, study, settings)


def _separation_rows(study: Study, settings: AnalysisSettings) -> list[dict[str, Any]]:
    Z, fold, covariates = study.latents.full, study.fold, study.covariates
    table, asked = [], []
    for number, contrast in enumerate(study.contrasts):
        rows = _people(study, Z, contrast, settings)
        problem = why_not_testable(contrast, rows, covariates, fold, settings.alpha, study.blocks)
        if problem:
            more = {"n": len(rows), "alpha": settings.alpha, "note": problem}
            table.append(_row(SEPARATION, "not testable", contrast, **more))
        else:
            asked.append((number, contrast, rows))
    levels = share_alpha([contrast.name for _, contrast, _ in asked], settings)
    for number, contrast, rows in asked:
        level, latents = levels[contrast.name], rows.mean(study.latents.cross_fitted)
        y, f, c = rows.take(contrast.y), rows.take(fold), rows.mean(covariates.matrix)
        if contrast.kind == "groups":
            found = _two_groups(rows.mean(Z), latents, y, f, c, level)
        else:
            found = [_sar_row("sar (held out)", sar(latents, y, f, c, eta=level), HELD_OUT)]
            found.append(_sar_row("sar (as in sarlib)", sar_published(rows.mean(Z), y, c, eta=level), IN_SAMPLE))
        draws = {"n_permutations": settings.n_permutations, "seed": settings.seed + 201 + number}
        tested = studentised_crossfit(latents, y, f, c, blocks=rows.take(study.blocks), **draws)
        test = _prediction(tested, y, c, contrast.kind, level) | {
            "method": "permutation",
            "p": tested.p,
            "alpha": settings.alpha,
        }
        test["note"] += f"; studentised, z = {tested.statistic:.2f}"
        if rows.averaged:
            test["note"] += "; scans of one participant averaged"
        common = {"n": len(rows), "alpha": level}
        table += [_row(SEPARATION, contrast=contrast, **(common | one)) for one in [*found, test]]
    return table


def _prediction(tested: CrossFitTest, y: np.ndarray, c: np.ndarray, kind: str, level: float) -> dict[str, Any]:
    """What there is to say of the out-of-fold ridge prediction, whose p is the permutation's."""
    guess, truth = tested.prediction, tested.response
    r2 = float(out_of_fold_r2(truth, guess))
    if kind == "groups":
        area = auc_interval(guess, y, 1 - level)
    else:  # of an order the steps themselves: within a step, what the covariates left of it says nothing
        area = float(concordance(guess, y if kind == "ordinal" else truth)), np.nan, np.nan
    note = f"ridge: out-of-fold R2 = {r2:.3f}"
    if c.shape[1]:
        share = 1 - (residualise(y, c) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        note += f"; the covariates explain {100 * share:.0f} % of the contrast"
    error = {} if kind == "groups" else {"error": 1 - r2, "chance": 1.0}
    return dict(zip(("auc", "auc_low", "auc_high"), area, strict=True)) | error | {"sample": HELD_OUT, "note": note}


def _two_groups(
    Z: np.ndarray, latents: np.ndarray, y: np.ndarray, fold: np.ndarray, c: np.ndarray, alpha: float
) -> list[dict[str, Any]]:
    """K-fold CUBV: out-of-fold balanced error of the linear SVM and its worst case, by five bounds."""
    svm = classify(latents, y, fold, c)
    weights = balanced_weights(y)
    # Rows of the smaller group weigh most: the sample counts for as many rows as a balanced one of that size.
    n_eff = round(1 / weights.max())
    n_train = max(2, round(n_eff * (1 - 1 / max(2, len(np.unique(fold))))))
    k = Z.shape[1]
    published = pac_bayes_published(svm.balanced_error, svm.theta_sq, n_train, alpha)
    gibbs, gibbs_bound = pac_bayes_gibbs(full_sample_margins(Z, y, c), weights, alpha)
    held_out = held_out_bound(svm.wrong, y, fold, alpha)
    smaller = min(y.mean(), 1 - y.mean())
    plain = f"plain error {svm.error:.3f} (best constant classifier {smaller:.3f}), the SVM's AUC {svm.auc:.3f}"
    learnt = (
        "randomised classifier; the latents were learnt from the same participants, which the theorem does not "
        "account for"
    )
    error = svm.balanced_error
    return [
        _bound("pac-bayes (published)", error, published, HELD_OUT, plain),
        _bound("pac-bayes (Gibbs), given the latents", gibbs, gibbs_bound, IN_SAMPLE, learnt),
        _bound("held-out (strict)", error, held_out, HELD_OUT, "exact binomial limits per fold and group", strict=True),
        _bound("vapnik", error, error + vapnik_excess(n_train, k, alpha), HELD_OUT, ""),
        _bound("igp", error, error + igp_excess(n_train, k + 1, alpha), HELD_OUT, ""),
    ]


def _bound(method: str, error: float, bound: float, sample: str, note: str, strict: bool = False) -> dict[str, Any]:
    return {
        "method": method,
        "error": float(error),
        "bound": float(min(bound, 1.0)),
        "chance": 0.5,
        "sample": sample,
        "strict": strict,
        "note": note,
    }


def _sar_row(method: str, result: SarResult, sample: str) -> dict[str, Any]:
    note = f"loss in SD of the response; {sample} R2 = {result.r2:.3f}"
    if result.components:
        note += f"; {result.components} PLS components"
    numbers = {"error": result.loss, "bound": result.worst, "chance": result.gamma}
    return {"method": method, **numbers, "sample": sample, "strict": False, "note": note}


def _lrcp_rows(regions: pd.DataFrame | None, contrast: Contrast, alpha: float, reason: str) -> list[dict[str, Any]]:
    claim = REGIONS_KEPT
    mine = _of(regions, contrast)
    if mine is None or "p_fwe" not in mine or mine["p_fwe"].isna().all():
        return [] if regions is None else [_row(claim, "not testable", contrast, alpha=alpha, note=reason)]
    p = float(mine["p_fwe"].min())
    counts = mine["label"].value_counts()
    known = [f"{counts.get(label, 0)} {label}" for label in (KEPT, PARTLY, LOST, NOT_CARRIED)]
    note = f"of {len(mine)} regions: {'; '.join(known)} (family-wise)"
    more = {"p": p, "alpha": alpha, "sample": HELD_OUT, "note": note}
    return [_row(claim, "permutation", contrast, n=int(mine["n"].iloc[0]), **more)]


def _sam_rows(
    regions: pd.DataFrame | None, contrast: Contrast, alpha: float, levels: Mapping[str, float], reason: str
) -> list[dict[str, Any]]:
    if regions is None or contrast.kind != "groups":
        return []
    claim = SINGLE_REGIONS
    mine = _of(regions, contrast)
    if mine is None:
        return [_row(claim, "not testable", contrast, alpha=alpha, note=reason)]
    common = {"n": int(mine["n"].iloc[0]), "alpha": levels[contrast.name]}
    out = []
    for suffix, method, sample in (("", "sam (igp)", HELD_OUT), ("_strict", "sam (strict)", IN_SAMPLE)):
        best = mine.iloc[int(mine[f"bound{suffix}"].astype(float).argmin())]
        count = int(mine[f"survives{suffix}"].sum())
        note = f"{count} of {len(mine)} regions survive; best: {best['name']}"
        numbers = {"error": best[f"error{suffix}"], "bound": best[f"bound{suffix}"], "chance": 0.5}
        more = {"strict": bool(suffix), "sample": sample, "note": note}
        out.append(_row(claim, method, contrast, **common, **numbers, **more))
    count, best = int((mine["p_fwe"] <= mine["level"]).sum()), mine.iloc[int(mine["p_fwe"].astype(float).argmin())]
    note = f"{count} of {len(mine)} regions, family-wise; best: {best['name']}, AUC {best['auc']:.2f}; studentised"
    more = {"p": float(mine["p_fwe"].min()), "alpha": alpha, "sample": IN_SAMPLE, "note": note}
    out.append(_row(claim, "permutation", contrast, **(common | more)))
    return out


def _error_rows(relation: ErrorRelation, alpha: float) -> list[dict[str, Any]]:
    """The permutation's row has what the explained regression leaves over: by both the SHAP values are greyed."""
    claim = ERROR_EXPLAINED
    common: dict[str, Any] = {"n": relation.n, "alpha": alpha}
    if relation.sar is None or relation.sar_published is None:
        return [_row(claim, "not testable", None, **common, note=relation.reason)]
    found = [_sar_row("sar (held out)", relation.sar, HELD_OUT)]
    found.append(_sar_row("sar (as in sarlib)", relation.sar_published, IN_SAMPLE))
    test = {"method": "permutation", "error": 1 - relation.r2, "chance": 1.0, "p": relation.p, "sample": HELD_OUT}
    found.append(test | {"note": relation.reason})
    return [_row(claim, contrast=None, **(common | one)) for one in found]


def _remark(table: pd.DataFrame, study: Study, settings: AnalysisSettings) -> pd.DataFrame:
    """Say in the notes of tests which contrast is the primary one, and where few people vary unlike the others."""
    for contrast in study.contrasts:
        tests = (table["method"] == "permutation") & (table["contrast"] == contrast.name)
        if contrast.name == settings.primary:
            table.loc[tests, "note"] += f"; {PRIMARY}: tested at {settings.alpha:g} on its own"
        for claim, x in ((SEPARATION, study.latents.full), (SINGLE_REGIONS, study.regional.full)):
            mine = tests & (table["claim_id"] == claim.id)
            if contrast.kind == "groups" and mine.any():
                rows = _people(study, x, contrast, settings)
                y = rows.take(contrast.y)
                ratio = dispersion_ratio(rows.mean(x), y, rows.mean(study.covariates.matrix))
                fewer = int(min((y == 1).sum(), (y == 0).sum()))
                if fewer < SMALL_GROUP and ratio > DISPERSION_RATIO:
                    said = (
                        f"{DISPERSION}: one group's SD is {ratio:.1f} times the other's, {fewer} participants in "
                        "the smaller group"
                    )
                    table.loc[mine, "note"] += f"; {said}"
    return table


def _people(study: Study, x: np.ndarray, contrast: Contrast, settings: AnalysisSettings) -> Rows:
    complete = study.covariates.complete & np.isfinite(x).all(axis=1)
    return rows_of(study.participants, complete, contrast.y, settings.scan_choice)


def _convolutions_row(found: Convolutions, alpha: float) -> dict[str, Any]:
    if found.reason:
        return _row(CONVOLUTIONS, "not testable", None, n=found.n, alpha=alpha, note=found.reason)
    note = f"{found.used} of {found.folds} folds use convolutions; signs flipped by participant"
    test = {"error": found.ratio, "chance": 1.0, "p": found.p, "sample": HELD_OUT, "note": note}
    return _row(CONVOLUTIONS, "permutation", None, n=found.n, alpha=alpha, **test)


def _of(regions: pd.DataFrame | None, contrast: Contrast) -> pd.DataFrame | None:
    if regions is None:
        return None
    mine = regions[regions["contrast"] == contrast.name]
    return mine if len(mine) else None


def _row(claim: Claim, method: str, contrast: Contrast | None, **values: Any) -> dict[str, Any]:
    blank = dict.fromkeys(COLUMNS, np.nan) | {"strict": False, "note": ""}
    stated = {"claim": in_words(claim, contrast), "claim_id": claim.id}
    return blank | stated | {"method": method, "contrast": contrast.name if contrast else "n/a"} | values
