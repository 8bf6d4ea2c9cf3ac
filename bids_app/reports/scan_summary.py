"""The numbers of one scan as HTML: verdict first, each number beside what is usual and beside the cohort's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from ..bids.versions import map_engine, map_version
from ..schema.limits import USUAL
from ..schema.measures import ENCODED, MEASURES, NAMED, REASONS, VERDICT, Measure
from ..schema.scan_tables import QUALITY
from ..schema.segmenters import KEY
from .group_results import read_shown
from .scan_outputs import ScanOutputs
from .style import Markup, definition_list, esc, number

#: The numbers that are drawn beside their usual range.
DRAWN = tuple(measure for measure in (*MEASURES, *ENCODED) if measure.scale)
ADVICE = {
    "pass": "No number speaks against using this map. The pictures below are still worth twenty seconds.",
    "look": "Something is unusual. Inspect the pictures below before this scan enters an analysis.",
    "fail": "This map should not be used as it is.",
}
_SHOWN_ELSEWHERE = (
    {measure.key for measure in DRAWN}
    | {measure.rule for measure in DRAWN}
    | {VERDICT.name, REASONS.name, "JacobianRange", "ModulatedGMVolume", KEY}
)


def scan_summary(scan: ScanOutputs, cohort: pd.DataFrame | None = None) -> str:
    """HTML of the verdict and the numbers of a scan.

    Parameters
    ----------
    scan : ScanOutputs
        Its sidecar holds the numbers.
    cohort : DataFrame, optional
        ``phenotype/quality.tsv``: one row per scan, columns named as the sidecar's keys.
    """
    meta = scan.sidecar
    parts = [_banner(meta, _cohort_reasons(scan, cohort))]
    rows = [_row(measure, meta, cohort) for measure in DRAWN if isinstance(meta.get(measure.key), int | float)]
    if rows:
        heads = ["Measure", "This scan", "Usual range, and the position of this scan"] + (
            ["Cohort"] if _has_cohort(cohort) else []
        )
        cells = "".join(f'<th scope="col"{" class=num" * (head == "This scan")}>{head}</th>' for head in heads)
        parts.append(
            '<div class="scroll" tabindex="0" role="group" aria-label="Numbers of this scan"><table class="cards">'
            f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
    parts.append(definition_list(_facts(scan)))
    return "\n".join(part for part in parts if part)


def usual_range(measure: Measure, meta: dict[str, Any]) -> tuple[float, float]:
    """Usual range of a number in its own unit, within its scale: the sidecar's limits, else those of the schema."""
    rule = measure.rule or measure.key
    low, high = ((meta.get("QualityLimits") or {}).get(rule) or USUAL[rule])[:2]
    start, stop = _scale(measure)
    share = float(meta["TIV"]) if measure.rule and isinstance(meta.get("TIV"), int | float) else 1.0
    return max((start if low is None else low) * share, start), min((stop if high is None else high) * share, stop)


def _scale(measure: Measure) -> tuple[float, float]:
    assert measure.scale is not None, measure.key  # DRAWN holds no other
    return measure.scale


def _unit(measure: Measure) -> str:
    return measure.shown_unit or measure.units


def _cohort_reasons(scan: ScanOutputs, cohort: pd.DataFrame | None) -> list[str]:
    """What sets this scan apart from its cohort, as the group level found it."""
    if cohort is None or "CohortReasons" not in cohort or "participant_id" not in cohort:
        return []
    own = cohort["participant_id"] == f"sub-{scan.entities['sub']}"
    if "session_id" in cohort and "ses" in scan.entities:
        own &= cohort["session_id"] == f"ses-{scan.entities['ses']}"
    # Several runs of a session have no name of their own in the table: which of them is meant cannot be told.
    return list(cohort.loc[own, "CohortReasons"].dropna().astype(str)) if own.sum() == 1 else []


def _banner(meta: dict[str, Any], from_cohort: list[str]) -> str:
    apart = "".join(
        f'<p class="note">Compared with its cohort: {esc(reason)}. Inspect the pictures.</p>' for reason in from_cohort
    )
    return _verdict(meta) + apart


def _verdict(meta: dict[str, Any]) -> str:
    verdict = str(meta.get("QualityVerdict", "")).lower()
    if verdict not in ADVICE:
        return '<p class="note">No quality verdict was recorded for this scan: inspect every picture below.</p>'
    reasons = meta.get("QualityReasons") or []
    reasons = [reasons] if isinstance(reasons, str) else reasons
    why = "<ul>" + "".join(f"<li>{esc(reason)}</li>" for reason in reasons) + "</ul>" if reasons else ""
    return (
        f'<div class="banner {verdict}"><span class="grade {verdict}">{verdict}</span>'
        f"<span>{ADVICE[verdict]}</span>{why}</div>"
    )


def _has_cohort(cohort: pd.DataFrame | None) -> TypeGuard[pd.DataFrame]:
    return cohort is not None and len(cohort) > 2


def _row(measure: Measure, meta: dict[str, Any], cohort: pd.DataFrame | None) -> str:
    key, name, unit = measure.key, measure.name, _unit(measure)
    value = float(meta[key])
    low, high = usual_range(measure, meta)
    others = np.array([])
    if _has_cohort(cohort) and key in cohort:
        others = pd.to_numeric(cohort[key], errors="coerce").dropna().to_numpy()
    outside = not low <= value <= high
    start, stop = _scale(measure)
    digits = 4 if stop - start < 0.1 else 3
    shown = f"{number(value, digits)} {unit}".strip() + (" (unusual)" if outside else "")
    cells = [
        f'<th scope="row">{name}</th>',
        f'<td class="num">{"<strong>" if outside else ""}{shown}{"</strong>" if outside else ""}</td>',
        f"<td>{_range_picture(value, low, high, measure, others)}</td>",
    ]
    if _has_cohort(cohort):
        if others.size > 2:
            rank, middle = round(100 * float((others <= value).mean())), number(float(np.median(others)))
            cells.append(f"<td>median {middle} of n = {others.size}; this scan at percentile {rank}</td>")
        else:
            cells.append("<td>–</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _range_picture(value: float, low: float, high: float, measure: Measure, others: np.ndarray) -> str:
    """The usual range as a bar, the cohort as ticks, this scan as a diamond."""
    start, stop = _scale(measure)
    start, stop = min(start, value), max(stop, value)

    def at(x: float) -> float:
        return 4 + 232 * (min(max(x, start), stop) - start) / (stop - start)

    ticks = "".join(f'<path d="M{at(x):.1f} 5v10" stroke="#52606d" stroke-opacity=".45"/>' for x in others[:400])
    here = at(value)
    fill = "#004c7a" if low <= value <= high else "#b3400a"
    text = f"{number(value, 4)} {_unit(measure)}; usual {_limit(low)} to {_limit(high)}"
    left, right = at(low), at(high)
    ends = "".join(
        f'<text x="{x:.1f}" y="28" font-size="10" fill="#52606d" text-anchor="{_anchor(x)}">{_limit(bound)}</text>'
        for x, bound in ((left, low), (right, high))
    )
    return (
        f'<svg class="range" viewBox="0 0 240 30" role="img" aria-label="{esc(text)}">'
        f'<path d="M4 10h232" stroke="#9aa5b1"/>'
        f'<rect x="{left:.1f}" y="6" width="{right - left:.1f}" height="8" fill="#a9d3ec"/>{ticks}'
        f'<path d="M{here:.1f} 2l6 8l-6 8l-6 -8z" fill="{fill}" stroke="#fff"/>{ends}</svg>'
    )


def _limit(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.4g}"


def _anchor(x: float) -> str:
    return "start" if x < 15 else "end" if x > 225 else "middle"


def _facts(scan: ScanOutputs) -> list[tuple[str, object]]:
    meta = scan.sidecar
    facts: list[tuple[str, object]] = []
    stripped = meta.get("SkullStripped")
    if stripped is not None:
        facts.append(("Input", "already skull-stripped" if stripped else "whole head; the brain was extracted here"))
    if scan.space:
        resolution = meta.get("Resolution", "")
        facts.append(("Template", f"{scan.space}{', ' if resolution else ''}{resolution}"))
    if isinstance(meta.get("ModulatedGMVolume"), int | float):
        facts.append(("Grey matter in the modulated map", f"{number(float(meta['ModulatedGMVolume']))} ml"))
    span = meta.get("JacobianRange")
    if isinstance(span, list | tuple) and len(span) == 2:
        warning = " (a value of 0 or less is a fold, where the deformation is not invertible)" if span[0] <= 0 else ""
        facts.append(
            (
                "Local volume, relative to the template",
                f"{number(float(span[0]), 2)} to {number(float(span[1]), 3)} times{warning}",
            )
        )
    if scan.modulated is not None and not meta.get("Modulated", "desc-modulated" in scan.modulated.name):
        facts.append(("Modulation", Markup("<strong>none</strong>: no transform was available to modulate the map")))
    if meta.get("SkullStripMethod"):
        method = meta["SkullStripMethod"]
        facts.append(("Brain outline from", "the earlier stripping" if method == "support" else method))
    if engine := map_engine(meta):
        facts.append(("Tissue segmentation", engine))
    if meta.get("InTrainingCohort"):
        said = (
            "<strong>was trained on this participant</strong>: the error and the percentile look better than they are"
        )
        facts.append(("The model", Markup(said)))
    for key, value in meta.items():
        simple = isinstance(value, int | float) and not isinstance(value, bool)
        if simple and key not in _SHOWN_ELSEWHERE:
            name, unit = (NAMED[key].name, _unit(NAMED[key])) if key in NAMED else (_words(key), "")
            facts.append((name, f"{number(value)} {unit}".strip()))
    if version := map_version(meta):
        facts.append(("Map made by", f"LatentAtlas {version}"))
    return facts


def _words(key: str) -> str:
    """``BiasRange`` -> ``Bias range``."""
    out = "".join(f" {c.lower()}" if c.isupper() and i and not key[i - 1].isupper() else c for i, c in enumerate(key))
    return out.strip()


def read_cohort(output_dir: Path) -> pd.DataFrame | None:
    """``phenotype/quality.tsv``, or None before the group level has run."""
    path = Path(output_dir) / QUALITY.path
    return read_shown(path) if path.exists() else None
