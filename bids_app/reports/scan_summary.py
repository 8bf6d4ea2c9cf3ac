"""The numbers of one scan as HTML: verdict first, each number beside what is usual and beside the cohort's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from .scans import Scan
from .style import Markup, definition_list, esc, number

# (key of the sidecar, what to call it, unit, usual from, usual to, drawn from, drawn to). The volumes are wide bounds for
# adults on T1w scans; they are to catch a failure, not to judge a person.
MEASURES = (
    ("GMVolume", "Grey matter", "ml", 500, 950, 200, 1200),
    ("WMVolume", "White matter", "ml", 350, 750, 150, 1000),
    ("CSFVolume", "Cerebrospinal fluid", "ml", 100, 600, 0, 900),
    ("TIV", "Total intracranial volume", "ml", 1100, 1950, 700, 2300),
    ("GMVolumeConservation", "Grey matter kept by modulation", "ratio", 0.98, 1.02, 0.94, 1.06),
    ("MaskOverlap", "Overlap with the template's brain", "Dice", 0.94, 1.0, 0.8, 1.0),
    ("ReconstructionErrorPercentile", "Reconstruction error among the training cohort", "percentile", 0, 95, 0, 100),
)
VERDICTS = {
    "pass": "Nothing in the numbers speaks against using this map. The pictures below are still worth twenty seconds.",
    "look": "Something is unusual. Look at the pictures below before this scan enters an analysis.",
    "fail": "This map should not be used as it is.",
}
_SHOWN_ELSEWHERE = {key for key, *_ in MEASURES} | {"QualityVerdict", "QualityReasons", "JacobianRange", "ModulatedGMVolume"}


def scan_summary(scan: Scan, cohort: pd.DataFrame | None = None) -> str:
    """HTML of the verdict and the numbers of a scan.

    Parameters
    ----------
    scan : Scan
        Its sidecar holds the numbers.
    cohort : DataFrame, optional
        ``phenotype/quality.tsv``: one row a scan, columns named as the sidecar's keys.
    """
    meta = scan.sidecar
    parts = [_banner(meta)]
    rows = [_row(measure, meta, cohort) for measure in MEASURES if isinstance(meta.get(measure[0]), int | float)]
    if rows:
        heads = ["Measure", "This scan", "usual range, and where this scan lies"] + (["Cohort"] if _has_cohort(cohort) else [])
        cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
        parts.append(
            '<div class="scroll" tabindex="0" role="region" aria-label="Numbers of this scan"><table>'
            f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
    parts.append(definition_list(_facts(scan)))
    return "\n".join(part for part in parts if part)


def _banner(meta: dict) -> str:
    verdict = str(meta.get("QualityVerdict", "")).lower()
    if verdict not in VERDICTS:
        return '<p class="note">No quality verdict was recorded for this scan: look at every picture below.</p>'
    reasons = meta.get("QualityReasons") or []
    reasons = [reasons] if isinstance(reasons, str) else reasons
    why = "<ul>" + "".join(f"<li>{esc(reason)}</li>" for reason in reasons) + "</ul>" if reasons else ""
    return (
        f'<div class="banner {verdict}"><span class="grade {verdict}">{verdict}</span>'
        f"<span>{VERDICTS[verdict]}</span>{why}</div>"
    )


def _has_cohort(cohort: pd.DataFrame | None) -> bool:
    return cohort is not None and len(cohort) > 2


def _row(measure: tuple, meta: dict, cohort: pd.DataFrame | None) -> str:
    key, name, unit, low, high, start, stop = measure
    value = float(meta[key])
    others = np.array([])
    if _has_cohort(cohort) and key in cohort:
        others = pd.to_numeric(cohort[key], errors="coerce").dropna().to_numpy()
    outside = not low <= value <= high
    shown = f"{number(value, 4 if unit in ('ratio', 'Dice') else 3)} {unit}" + (" (unusual)" if outside else "")
    cells = [
        f'<th scope="row">{name}</th>',
        f'<td class="num">{"<strong>" if outside else ""}{shown}{"</strong>" if outside else ""}</td>',
        f"<td>{_range_picture(value, low, high, start, stop, others, unit)}</td>",
    ]
    if _has_cohort(cohort):
        if others.size > 2:
            rank = round(100 * float((others <= value).mean()))
            cells.append(f"<td>median {number(float(np.median(others)))} of n = {others.size}; this scan at percentile {rank}</td>")
        else:
            cells.append("<td>–</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _range_picture(value, low, high, start, stop, others, unit) -> str:
    """The usual range as a bar, the cohort as ticks, this scan as a diamond."""
    start, stop = min(start, value), max(stop, value)

    def at(x: float) -> float:
        return 4 + 232 * (min(max(x, start), stop) - start) / (stop - start)

    ticks = "".join(f'<path d="M{at(x):.1f} 5v10" stroke="#52606d" stroke-opacity=".45"/>' for x in others[:400])
    here = at(value)
    fill = "#004c7a" if low <= value <= high else "#b3400a"
    text = f"{number(value, 4)} {unit}; usual {number(low)} to {number(high)}"
    return (
        f'<svg class="range" viewBox="0 0 240 30" role="img" aria-label="{esc(text)}" preserveAspectRatio="xMinYMid meet">'
        f'<path d="M4 10h232" stroke="#9aa5b1"/><rect x="{at(low):.1f}" y="6" width="{at(high) - at(low):.1f}" height="8" fill="#a9d3ec"/>'
        f'{ticks}<path d="M{here:.1f} 2l6 8l-6 8l-6 -8z" fill="{fill}" stroke="#fff"/>'
        f'<text x="{at(low):.1f}" y="28" font-size="9" fill="#52606d" text-anchor="middle">{number(low)}</text>'
        f'<text x="{at(high):.1f}" y="28" font-size="9" fill="#52606d" text-anchor="{"end" if at(high) > 225 else "middle"}">{number(high)}</text></svg>'
    )


def _facts(scan: Scan) -> list[tuple[str, object]]:
    meta = scan.sidecar
    facts: list[tuple[str, object]] = []
    stripped = meta.get("SkullStripped", meta.get("InputSkullStripped"))
    if stripped is not None:
        facts.append(("The head came", "already stripped of its skull" if stripped else "whole; the brain was extracted here"))
    if scan.space:
        resolution = meta.get("Resolution", "")
        facts.append(("Template", f"{scan.space}{', ' if resolution else ''}{resolution}"))
    if isinstance(meta.get("ModulatedGMVolume"), int | float):
        facts.append(("Grey matter in the modulated map", f"{number(float(meta['ModulatedGMVolume']))} ml"))
    span = meta.get("JacobianRange")
    if isinstance(span, list | tuple) and len(span) == 2:
        warning = " (a value of 0 or less is a fold: the deformation is not invertible there)" if span[0] <= 0 else ""
        facts.append(("Local volume, against the template", f"{number(float(span[0]), 2)} to {number(float(span[1]), 3)} times{warning}"))
    if scan.modulated is not None and "desc-modulated" not in scan.modulated.name:
        facts.append(("Modulation", Markup("<strong>none</strong>: no transform was there to modulate the map with")))
    for key, value in meta.items():
        simple = isinstance(value, int | float) and not isinstance(value, bool)
        if simple and key not in _SHOWN_ELSEWHERE:
            facts.append((_words(key), number(float(value) if isinstance(value, float) else value)))
    for generated in meta.get("GeneratedBy", [])[:3]:
        facts.append(("Made by", f"{generated.get('Name', '')} {generated.get('Version', '')}"))
    return facts


def _words(key: str) -> str:
    """``BiasRange`` -> ``Bias range``."""
    out = "".join(f" {c.lower()}" if c.isupper() and i and not key[i - 1].isupper() else c for i, c in enumerate(key))
    return out.strip()


def read_cohort(output_dir: Path) -> pd.DataFrame | None:
    """``phenotype/quality.tsv``, or None before the group level has run."""
    path = Path(output_dir) / "phenotype" / "quality.tsv"
    return pd.read_csv(path, sep="\t") if path.exists() else None
