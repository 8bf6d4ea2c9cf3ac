"""One verdict a claim, by rule: no grade above what its bound or its permutation test carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.baselines import NESTED
from bids_app.group.claim_words import in_words
from bids_app.group.design import Contrast
from bids_app.schema import claims
from bids_app.schema.labels import KEPT, LOST, PARTLY
from bids_app.schema.methods import ERRORS
from bids_app.schema.verdict_tables import VERDICTS

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
    - *not supported*: the permutation p, adjusted for the contrasts, is above alpha, or what it is of points the wrong
      way (an AUC of 1/2 or less, an error no better than chance);
    - *supported in the worst case*: besides, a strict bound (a row with ``strict``) lies below chance;
    - *supported*: everything else.

    "Beats the covariates" is supported where what the latents add to the covariates is above zero with an adjusted p of
    alpha or less and the latents answer the question with the covariates removed.

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
        why = by if grade == claims.NOT_TESTABLE.name else None
        detail = _detail(claim_id, by_name.get(name), lrcp_regions, sam_regions)
        without = "" if claim_id in claims.UNADJUSTED else removed
        sentence = _sentence(str(claim), grade, rows, detail, without)
        out.append(_verdict(claim, grade, number, sentence, by, name, n, claim_id))
        if claim_id == claims.SEPARATION.id and name in by_name:
            out.append(_beats_covariates(by_name[name], grade, why, baselines, bool(covariate_names)))
    return pd.DataFrame(out, columns=COLUMNS)


def grade_claim(rows: pd.DataFrame) -> tuple[str, float, str, float]:
    """(verdict, deciding number, what it is, n) from the rows of one claim in `validation`."""
    first = rows.iloc[0]
    if (rows["method"] == "not testable").any():
        return claims.NOT_TESTABLE.name, np.nan, first["note"], first["n"]
    test = rows[rows["method"] == "permutation"]
    if not len(test) or pd.isna(test["p"].iloc[0]):
        return claims.NOT_TESTABLE.name, np.nan, "there is no permutation test", first["n"]
    facts: dict[Any, Any] = test.iloc[0].to_dict()
    if facts["p_adjusted"] > facts["alpha"]:
        return claims.NOT_SUPPORTED.name, float(facts["p_adjusted"]), f"permutation p{_adjusted(facts)}", facts["n"]
    if not pd.isna(facts["auc"]) and not facts["auc"] > 0.5:
        return claims.NOT_SUPPORTED.name, float(facts["auc"]), "out-of-fold AUC", facts["n"]
    if not pd.isna(facts["error"]) and not facts["error"] < facts["chance"]:
        return claims.NOT_SUPPORTED.name, float(facts["error"]), "out-of-fold error", facts["n"]
    strict = rows[rows["strict"].astype(bool) & (rows["bound"] < rows["chance"])]
    if len(strict):
        best = strict.iloc[int(strict["bound"].astype(float).argmin())]
        return claims.WORST_CASE.name, float(best["bound"]), f"worst-case error, {best['method']}", best["n"]
    return claims.SUPPORTED.name, float(facts["p_adjusted"]), f"permutation p{_adjusted(facts)}", facts["n"]


def _beats_covariates(
    contrast: Contrast, separation: str, why: str | None, baselines: pd.DataFrame, any_covariates: bool
) -> dict[str, Any]:
    claim, claim_id = in_words(claims.BEATS_COVARIATES, contrast), claims.BEATS_COVARIATES.id
    mine = baselines[(baselines["contrast"] == contrast.name) & (baselines["features"] == NESTED)]
    if not any_covariates:
        reason = "no covariates were specified"
    elif why:
        reason = _lower(why)
    elif not len(mine) or pd.isna(mine["gain_p"].iloc[0]):
        reason = "the two could not be compared in these folds"
    else:
        reason = None
    if reason:
        sentence = f"{claim}: not testable, {reason}."
        return _verdict(claim, claims.NOT_TESTABLE.name, np.nan, sentence, reason, contrast.name, np.nan, claim_id)
    row = mine.iloc[0]
    test = {"p": row["gain_p"], "p_adjusted": row["gain_p_adjusted"]}
    numbers = (
        f"out-of-fold {row['gain_of']} {row['gain']:+.2f}, {_level(row['gain_level'])} interval "
        f"{row['gain_low']:+.2f} to {row['gain_high']:+.2f}, {_tested('p', test)}; n = {int(row['n'])}"
    )
    p = float(test["p_adjusted"])
    more = p <= claims.ALPHA and row["gain"] > 0
    add = "the latents add information beyond the covariates"
    if more and separation in (claims.SUPPORTED.name, claims.WORST_CASE.name):
        grade, sentence = claims.SUPPORTED.name, f"For {contrast.name}, {add} ({numbers})."
    elif more:
        grade = claims.NOT_SUPPORTED.name
        sentence = (
            f"For {contrast.name}, {add} ({numbers}), but after removing the covariates they do not predict it by "
            "themselves."
        )
    else:
        grade = claims.NOT_SUPPORTED.name
        sentence = f"For {contrast.name}, the data do not show that {add} ({numbers})."
    by = f"p of the gain{_adjusted(test)}"
    return _verdict(claim, grade, p, sentence, by, contrast.name, row["n"], claim_id)


def _sentence(claim: str, grade: str, rows: pd.DataFrame, detail: str, removed: str) -> str:
    if grade == claims.NOT_TESTABLE.name:
        return f"{claim}: this cannot be tested here: {_lower(grade_claim(rows)[2])}."
    test: dict[Any, Any] = rows[rows["method"] == "permutation"].iloc[0].to_dict()
    tested = _tested("permutation p", test)
    if test["claim_id"] == claims.ERROR_EXPLAINED.id:
        tested = f"out-of-fold R2 {1 - test['error']:.2f}, {tested} for the linear relation"
    elif test["claim_id"] == claims.CONVOLUTIONS.id:
        used = str(test["note"]).split("; ")[0]
        tested = f"error of unseen maps {test['error']:.3f} times the linear model's, {tested}; {used}"
    elif not pd.isna(test["auc_low"]):
        interval = f"{_level(rows['alpha'].min())} interval {test['auc_low']:.2f} to {test['auc_high']:.2f}"
        tested = f"out-of-fold AUC {test['auc']:.2f}, {interval}, {tested}"
    elif not pd.isna(test["auc"]):
        tested = f"out-of-fold R2 {1 - test['error']:.2f}, c-index {test['auc']:.2f}, {tested}"
    facts, said = [tested, *_remarks(test["note"])], ""
    bounds = rows[rows["bound"].notna() & rows["method"].isin(ERRORS)]
    for row in bounds.to_dict("records"):
        what, error, bound, chance = ERRORS[row["method"]], row["error"], row["bound"], row["chance"]
        facts.append(f"{what} {error:.2f} is at worst {bound:.2f}, with {chance:.2f} by chance")
        worst = "also excludes chance, but is not strict" if bound < chance else "does not exclude chance"
        said = f", but the worst case {worst}"
    text = {
        claims.WORST_CASE.name: f"{claim}, even in the worst case",
        claims.SUPPORTED.name: f"{claim}{said}",
        claims.NOT_SUPPORTED.name: f"The data do not show that {_lower(claim)}",
    }[grade]
    more = detail if grade != claims.NOT_SUPPORTED.name else ""
    return f"{text} ({'; '.join(facts)}; n = {int(test['n'])}{removed}).{more}"


def _tested(name: str, test: Mapping[str, Any]) -> str:
    """The p value, and the adjusted one where that is another."""
    adjusted = test["p_adjusted"]
    more = f", {_p(adjusted).removeprefix('= ')} adjusted for the contrasts" if adjusted > test["p"] else ""
    return f"{name} {_p(test['p'])}{more}"


def _adjusted(test: Mapping[str, Any]) -> str:
    return " (adjusted)" if test["p_adjusted"] > test["p"] else ""


def _remarks(note: object) -> list[str]:
    """What a note says of the test that the sentence must say, too."""
    return [part for part in str(note).split("; ") if part.startswith((claims.DISPERSION, claims.PRIMARY))]


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):.3g} %"


def _detail(
    claim_id: str, contrast: Contrast | None, lrcp_regions: pd.DataFrame | None, sam_regions: pd.DataFrame | None
) -> str:
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
        mine = worst if len(worst) else mine[mine["p_fwe"] <= mine["level"]]
        return _names(mine.sort_values("auc", key=lambda area: (area - 0.5).abs(), ascending=False))
    return ""


def _names(regions: pd.DataFrame, what: str = "Regions") -> str:
    names = [str(name) for name in regions["name"]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" {what}: {', '.join(names[:_NAMED])}{more}." if names else ""


def _verdict(*cells: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, cells, strict=True))


def _removed(names: tuple[str, ...]) -> str:
    plain = list(dict.fromkeys(name.split("[")[0] for name in names))
    return f"; {', '.join(plain)} removed" if plain else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[:2] != text[:2].upper() else text


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.0005 else "< 0.0005"
