"""One verdict a claim, by rule: no grade above what its bound or its permutation test carries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bids_app.group.baselines import COVARIATES, LATENT
from bids_app.group.claims import in_words
from bids_app.group.design import Contrast
from bids_app.schema import claims
from bids_app.schema.labels import KEPT, LOST, PARTLY
from bids_app.schema.verdict_tables import VERDICTS

GRADES = tuple(grade.name for grade in claims.GRADES)
WORST_CASE, SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = GRADES

COLUMNS = [column.name for column in VERDICTS.columns]
_NAMED = 5


def verdicts(
    validation: pd.DataFrame,
    baselines: pd.DataFrame,
    contrasts: Sequence[Contrast],
    *,
    lrcp_regions: pd.DataFrame | None = None,
    sam_regions: pd.DataFrame | None = None,
    covariate_names: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Grade every claim of `validation`, and whether the latents beat the covariates.

    The rule, the same for all claims:

    - *not testable*: `validation` says so;
    - *not supported*: permutation p > alpha, or the out-of-fold error is no better than chance;
    - *supported in the worst case*: besides, a strict bound (a row with ``strict``) lies below chance;
    - *supported*: everything else.

    "Beats the covariates" is supported where the corrected interval of the difference lies above zero and the latents
    answer the question with the covariates removed.

    Parameters
    ----------
    validation, baselines : DataFrame
        Tables of `validate` and `baselines`.
    contrasts : sequence of Contrast
    lrcp_regions, sam_regions : DataFrame, optional
        To name regions in the sentences.
    covariate_names : tuple of str
        What was removed, for the sentences.

    Returns
    -------
    DataFrame
        Columns of ``schema.verdict_tables.VERDICTS``.
    """
    by_name = {c.name: c for c in contrasts}
    removed = _removed(covariate_names)
    out = []
    for claim, rows in validation.groupby("claim", sort=False):
        name, claim_id = rows["contrast"].iloc[0], rows["claim_id"].iloc[0]
        grade, number, by, n = grade_claim(rows)
        detail = _detail(claim_id, by_name.get(name), lrcp_regions, sam_regions, float(rows["alpha"].iloc[0]))
        without = "" if claim_id in claims.UNADJUSTED else removed
        sentence = _sentence(claim, grade, rows, detail, without)
        out.append(_verdict(claim, grade, number, sentence, by, name, n, claim_id))
        if claim_id == claims.SEPARATION.id and name in by_name:
            out.append(_beats_covariates(by_name[name], grade, baselines, bool(covariate_names)))
    return pd.DataFrame(out, columns=COLUMNS)


def grade_claim(rows: pd.DataFrame) -> tuple[str, float, str, float]:
    """(verdict, deciding number, what it is, n) from the rows of one claim in `validation`."""
    first = rows.iloc[0]
    if (rows["method"] == "not testable").any():
        return NOT_TESTABLE, np.nan, first["note"], first["n"]
    test = rows[rows["method"] == "permutation"]
    if not len(test) or pd.isna(test["p"].iloc[0]):
        return NOT_TESTABLE, np.nan, "there is no permutation test", first["n"]
    test = test.iloc[0]
    if test["p"] > test["alpha"]:
        return NOT_SUPPORTED, float(test["p"]), "permutation p", test["n"]
    if not pd.isna(test["error"]) and not test["error"] < test["chance"]:
        return NOT_SUPPORTED, float(test["error"]), "out-of-fold error", test["n"]
    strict = rows[rows["strict"].astype(bool) & (rows["bound"] < rows["chance"])]
    if len(strict):
        best = strict.loc[strict["bound"].astype(float).idxmin()]
        return WORST_CASE, float(best["bound"]), f"worst-case error, {best['method']}", best["n"]
    return SUPPORTED, float(test["p"]), "permutation p", test["n"]


def _beats_covariates(contrast: Contrast, separation: str, baselines: pd.DataFrame, any_covariates: bool) -> dict:
    claim, claim_id = in_words(claims.BEATS_COVARIATES, contrast), claims.BEATS_COVARIATES.id
    mine = baselines[baselines["contrast"] == contrast.name]
    rival, latent = mine[mine["features"] == COVARIATES], mine[mine["features"] == LATENT]
    if not any_covariates:
        reason = "no covariates were given"
    elif separation == NOT_TESTABLE or not len(rival) or pd.isna(rival["delta_ci_low"].iloc[0]):
        reason = "the two could not be compared in these folds"
    else:
        reason = None
    if reason:
        sentence = f"{claim}: not testable, {reason}."
        return _verdict(claim, NOT_TESTABLE, np.nan, sentence, reason, contrast.name, np.nan, claim_id)
    rival, latent = rival.iloc[0], latent.iloc[0]
    what, column = ("c-index", "auc") if contrast.kind != "groups" else ("balanced accuracy", "balanced_accuracy")
    difference = "difference" if contrast.kind == "groups" else f"difference in {rival['delta_of']}"
    numbers = (
        f"{what} {latent[column]:.2f} against {rival[column]:.2f}, {difference} {rival['delta_vs_latent']:+.2f} "
        f"(95 % interval {rival['delta_ci_low']:+.2f} to {rival['delta_ci_high']:+.2f})"
    )
    n, low = rival["n"], float(rival["delta_ci_low"])
    if low > 0 and separation in (SUPPORTED, WORST_CASE):
        sentence = f"For {contrast.name} the latents do better than the covariates alone: {numbers}."
        return _verdict(claim, SUPPORTED, low, sentence, "lower limit of the difference", contrast.name, n, claim_id)
    if low > 0:
        sentence = (
            f"For {contrast.name} the latents score higher than the covariates ({numbers}), but nothing is left once "
            "the covariates are removed from them."
        )
    else:
        sentence = f"For {contrast.name} the latents do not beat the covariates alone: {numbers}."
    return _verdict(claim, NOT_SUPPORTED, low, sentence, "lower limit of the difference", contrast.name, n, claim_id)


def _sentence(claim, grade, rows, detail, removed) -> str:
    if grade == NOT_TESTABLE:
        return f"{claim}: this cannot be tested here, because {_lower(grade_claim(rows)[2])}."
    test = rows[rows["method"] == "permutation"].iloc[0]
    facts = [f"permutation p {_p(test['p'])}"]
    if not pd.isna(test["error"]):
        kind = "loss" if (rows["method"] == "sar").any() else "balanced error"
        facts.insert(0, f"out-of-fold {kind} {test['error']:.2f}, chance {test['chance']:.2f}")
    bounds = rows[rows["bound"].notna()]
    strict = bounds[bounds["strict"].astype(bool)]
    shown = strict if len(strict) else bounds
    if len(shown):
        best = shown.loc[shown["bound"].astype(float).idxmin()]
        facts.append(f"worst case {best['bound']:.2f} against chance {best['chance']:.2f}")
    text = {
        WORST_CASE: f"{claim}, even in the worst case",
        SUPPORTED: f"{claim}, but the worst case does not exclude chance" if len(shown) else claim,
        NOT_SUPPORTED: f"The data do not show that {_lower(claim)}",
    }[grade]
    if grade == SUPPORTED and len(shown) and not len(strict) and best["bound"] < best["chance"]:
        text = f"{claim}; the published bound excludes chance, too, but it is no strict worst case"
    return f"{text} ({', '.join(facts)}; n = {int(test['n'])}{removed}).{detail if grade != NOT_SUPPORTED else ''}"


def _detail(claim_id, contrast, lrcp_regions, sam_regions, alpha) -> str:
    """Names of the regions that carry a regional claim."""
    if contrast is None:
        return ""
    if claim_id == claims.REGIONS_KEPT.id and lrcp_regions is not None:
        mine = lrcp_regions[lrcp_regions["contrast"] == contrast.name].sort_values("lrcp", ascending=False)
        lost = mine[mine["label"] == LOST].sort_values("lost_ml", key=abs, ascending=False)
        return _names(mine[mine["label"].isin((KEPT, PARTLY))]) + _names(lost, "Lost")
    if claim_id == claims.SINGLE_REGIONS.id and sam_regions is not None:
        mine = sam_regions[sam_regions["contrast"] == contrast.name]
        worst = mine[mine["survives_strict"].astype(bool)]
        mine = worst if len(worst) else mine[mine["p_fwe"] <= alpha]
        return _names(mine.sort_values("auc", ascending=False))
    return ""


def _names(regions: pd.DataFrame, what: str = "Regions") -> str:
    names = [str(name) for name in regions["name"]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" {what}: {', '.join(names[:_NAMED])}{more}." if names else ""


def _verdict(claim, grade, number, sentence, by, contrast, n, claim_id) -> dict:
    return dict(zip(COLUMNS, (claim, grade, number, sentence, by, contrast, n, claim_id), strict=True))


def _removed(names: tuple[str, ...]) -> str:
    plain = list(dict.fromkeys(name.split("[")[0] for name in names))
    return f"; {', '.join(plain)} removed" if plain else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[:2] != text[:2].upper() else text


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.0005 else "< 0.0005"
