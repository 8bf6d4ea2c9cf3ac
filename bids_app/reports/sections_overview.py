"""Sections of the group report: verdicts, cohort, validation, baselines, settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..bids.tables import IDENTIFIERS
from ..schema.claims import ALPHA, GRADES, OVERALL
from ..schema.methods import FEATURES, TESTS
from ..schema.scan_tables import QUALITY
from ..schema.verdict_tables import BASELINES, VALIDATION, VERDICTS
from . import charts
from .group_results import GroupResults, numeric
from .items import Item, item
from .style import Markup, definition_list, esc, html_table, join_words, number, p_text

SETTINGS = {
    "template": "template",
    "resolution": "resolution (mm)",
    "smoothing_fwhm": "smoothing (FWHM, mm)",
    "atlas": "atlas",
    "architecture": "architecture",
    "latent_dim": "latents",
    "folds": "folds",
    "n_permutations": "permutations",
    "alpha": "alpha",
    "seed": "seed",
    "device": "device",
    "covariates": "covariates",
    "site_column": "site",
    "harmonize": "handling of sites",
    "site_checks": "site checks",
    "contrasts": "contrasts",
    "primary": "primary contrast",
    "scan_choice": "scan used if a participant has several",
}


def verdicts(results: GroupResults) -> Iterator[Item]:
    """The claims and what may be said of them."""
    table = results.table(VERDICTS)
    if table is None:
        return
    shown = table[["claim", "verdict", "deciding_number", "sentence"]].copy()
    if "decided_by" in table:
        pairs = zip(table["decided_by"], shown["deciding_number"], strict=True)
        shown["deciding_number"] = [f"{by}: {number(n)}" if isinstance(by, str) else number(n) for by, n in pairs]
    content = html_table(
        shown,
        headers=VERDICTS.headers(shown),
        formats={"verdict": _grade},
        caption=f"{len(table)} claims, {results.n_participants} participants",
        cards=True,
    )
    legend = "".join(f"<li>{_grade(grade.name)} {grade.meaning}</li>" for grade in GRADES)
    yield item("verdicts", content, before=f'<ul class="legend">{legend}</ul><p>{_levels(results)}</p>')


def _levels(results: GroupResults) -> str:
    """What the verdicts' level is over, and what it is not."""
    alpha, primary = float(results.summary.get("alpha", ALPHA)), results.summary.get("primary")
    said = f"Each kind of claim is held to {100 * alpha:g} % over all its contrasts (Holm)"
    said += f"; {esc(primary)}, specified in advance, is held to {100 * alpha:g} % on its own. " if primary else ". "
    said += (
        "There is no correction across kinds of claims: if three groups do not differ at all, some claim about them "
    )
    return said + f"is supported in {100 * OVERALL:.0f} % of simulated studies."


def cohort(results: GroupResults) -> Iterator[Item]:
    """Who is in the analysis, who was left out, and the scans that look unusual."""
    scans = results.scans
    if len(scans) == 0:
        return
    groups = results.groups_of(scans)
    who = f"{results.n_scans} scans of {results.n_participants} participants"
    asked = [*(results.summary.get("covariates") or []), results.summary.get("site_column")]
    covariates = [name for name in dict.fromkeys(asked) if name in scans]
    yield item("cohortTable", html_table(_cohort_table(scans, groups, covariates), caption=who))
    if "age" in scans and (figure := charts.age_figure(scans, groups)) is not None:
        yield item("age", figure)
    left_out = results.summary.get("left_out") or []
    if left_out:
        table = pd.DataFrame(left_out).dropna(axis=1, how="all").fillna("")
        many = len(table) > 15
        yield item("leftOut", html_table(table, caption=f"Excluded: {len(table)}", max_height=many, sortable=many))
    quality = results.table(QUALITY)
    if quality is not None:
        keys = [column for column in IDENTIFIERS if column in quality and column in scans]
        quality = quality.merge(scans[keys].drop_duplicates(), on=keys)  # not the maps that proved unusable later
        outliers = quality_outliers(quality)
        said = f"{len(outliers)} of {len(quality)} scans should be inspected"
        content = f"<p>None of the {len(quality)} scans stands out.</p>"
        if len(outliers):
            content = html_table(outliers, sortable=True, max_height=len(outliers) > 12, caption=said)
        yield item("qualityOutliers", content)


def quality_outliers(quality: pd.DataFrame) -> pd.DataFrame:
    """Scans with a verdict other than pass, by themselves or by their cohort.

    Parameters
    ----------
    quality : DataFrame
        ``phenotype/quality.tsv``.

    Returns
    -------
    DataFrame
        Identifiers, ``verdict``, ``what stands out``; the fails first.
    """
    keys = [column for column in IDENTIFIERS if column in quality]
    verdict, reasons = _texts(quality, "QualityVerdict"), _texts(quality, "QualityReasons")
    keep = [i for i, found in enumerate(verdict) if found not in ("", "pass")]
    out = quality.iloc[keep][keys].copy()
    out["verdict"] = [verdict[i] for i in keep]
    out["what stands out"] = [reasons[i] for i in keep]
    return out.sort_values("verdict", key=lambda v: v.map({"fail": 0}).fillna(1), kind="stable").reset_index(drop=True)


def validation(results: GroupResults) -> Iterator[Item]:
    """Bounds of the actual risk and permutation tests."""
    table = results.table(VALIDATION)
    if table is None:
        return
    alpha = float(results.summary.get("alpha", ALPHA))
    yield item("forest", charts.forest_figure(table), confidence=f"{1 - alpha:g}")
    table = table.drop(columns="contrast", errors="ignore")  # the claims name it
    formats = {"p": p_text, "n": _count, "alpha": _exact, "method": _test}
    yield item(
        "validationTable",
        html_table(
            table, headers=VALIDATION.headers(table), formats=formats, sortable=True, max_height=len(table) > 14
        ),
    )


def baselines(results: GroupResults) -> Iterator[Item]:
    """Whether anything simpler does as well."""
    table = results.table(BASELINES)
    if table is None:
        return
    yield item("baselines", charts.baselines_figure(table))
    kinds = list(table["delta_of"].dropna().unique()) if "delta_of" in table else []
    said = f"Differences are in {kinds[0]}" if len(kinds) == 1 else ""
    if said:  # a column that says one thing only
        table = table.drop(columns="delta_of")
    headers = BASELINES.headers(table)
    formats = {"n": _count, "delta_p": p_text, "features": lambda name: FEATURES.get(name, name)}
    yield item(
        "baselinesTable",
        html_table(table, caption=said, headers=headers, formats=formats, sortable=True, max_height=len(table) > 14),
    )


def settings(results: GroupResults) -> str:
    """Settings, software and time as HTML."""
    facts: list[tuple[str, object]] = []
    for key, name in SETTINGS.items():
        value = results.summary.get(key)
        if value not in (None, [], ""):
            facts.append((name, ", ".join(map(str, value)) if isinstance(value, list) else _exact(value)))
    for step, seconds in (results.summary.get("wall_time") or {}).items():
        facts.append((f"time, {step.replace('_', ' ')}", f"{max(0.0, float(seconds)):.1f} s"))
    for name, version in (results.summary.get("versions") or {}).items():
        facts.append((f"version of {name}", version))
    notes = "".join(f"<li>{esc(note)}</li>" for note in results.summary.get("notes") or [])
    return (definition_list(facts) if facts else "") + (f"<ul>{notes}</ul>" if notes else "")


def _grade(verdict: object) -> Markup:
    css = next((grade.style for grade in GRADES if grade.name == verdict), "none")
    return Markup(f'<span class="grade {css}">{esc(verdict)}</span>')


def _exact(value: object) -> str:
    """A number that somebody set, as it was set."""
    return f"{value:g}" if isinstance(value, float) else number(value)


def _test(name: Any) -> str:
    return TESTS.get(name, name)


def _count(value: Any) -> str:
    return "–" if pd.isna(value) else f"{int(value)}"


def _cohort_table(scans: pd.DataFrame, groups: list[str], covariates: list[str]) -> pd.DataFrame:
    rows, complete = [], scans[covariates].notna().all(axis=1)
    sex = next((column for column in ("sex", "gender", "Sex", "Gender") if column in scans), None)
    for name in dict.fromkeys(groups):
        part = scans[np.asarray(groups) == name]
        people = part["participant_id"].nunique() if "participant_id" in part else len(part)
        row: dict[str, Any] = {"group": name, "participants": int(people)}
        if not complete.all():
            tested = part.loc[complete[part.index], "participant_id"]
            row["of them with all covariates (in the tests)"] = tested.nunique()
        row["scans"] = len(part)
        if "age" in scans:
            row["age, years: mean ± SD (range)"] = _spread(numeric(part, "age"))
        if sex:
            counts = part[sex].fillna("unknown").astype(str).value_counts().sort_index()
            row["sex"] = join_words([f"{count} {value}" for value, count in counts.items()])
        if "TIV" in part and np.isfinite(numeric(part, "TIV")).any():
            row["intracranial volume, ml: mean"] = f"{np.nanmean(numeric(part, 'TIV')):.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _spread(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not values.size:
        return "–"
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return f"{values.mean():.1f} ± {deviation:.1f} ({values.min():.0f}–{values.max():.0f})"


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    """A column as text, empty where it is missing."""
    return ["" if pd.isna(value) else str(value) for value in table[name]] if name in table else [""] * len(table)
