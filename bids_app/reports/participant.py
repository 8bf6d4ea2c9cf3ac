"""``sub-X.html``: everything about the scans of one participant on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import NoInputError
from ..schema.outputs import PARTICIPANT_PAGE
from .assemble import Reportlet, Section, build_page
from .items import COARSE, caption, captions
from .logs import errors_html, methods_html
from .participant_figures import make_scan_figures, template_or_none
from .scan_outputs import ENTITIES, ScanOutputs, find_scans
from .scan_summary import read_cohort, scan_summary
from .style import esc, join_words

KINDS = ("brainmask", "tissues", "normalisation", "jacobian", "modulated", "reconstruction")
REPORTLETS = (
    Reportlet("summary", caption=caption("summary")),
    *(Reportlet(kind, captions()[kind]["title"], caption(kind), captions()[kind]["alt"]) for kind in KINDS),
)


def build_participant_report(output_dir: str | Path, participant_label: str) -> Path:
    """Write ``sub-X.html`` from the files of a participant.

    Pictures that are missing are drawn now where their files allow it; those there already are kept.

    Parameters
    ----------
    output_dir : path-like
        The derivative dataset.
    participant_label : str
        With or without ``sub-``.

    Returns
    -------
    Path

    Raises
    ------
    NoInputError
        There is no file of this participant.
    """
    output_dir = Path(output_dir).absolute()
    label = participant_label.removeprefix("sub-")
    scans = find_scans(output_dir, label)
    folder = output_dir / f"sub-{label}"
    if not scans:
        raise NoInputError(
            f"There is nothing to report about participant {label}.",
            file=folder,
            remedy="Run the participant level first, or check the label.",
        )
    cohort = read_cohort(output_dir)
    sections = []
    for scan in scans:
        scan.figures.mkdir(parents=True, exist_ok=True)
        if not scan.figure("modulated", ".png").exists():
            make_scan_figures(scan, template_or_none(scan.space))
        scan.figure("summary", ".html").write_text(scan_summary(scan, cohort), encoding="utf-8")
        sections.append(Section(_anchor(scan), scan.title, REPORTLETS, _query(scan)))
    about = scans[0].figures
    items = {"methods": methods_html(output_dir), "errors": errors_html(output_dir, label)}
    for desc, text in items.items():
        (about / f"sub-{label}_desc-{desc}_T1w.html").write_text(text, encoding="utf-8")
    nothing = dict.fromkeys(ENTITIES)
    sections += [
        Section("methods", "Methods", [Reportlet("methods")], nothing),
        Section("errors", "Errors", [Reportlet("errors")], nothing),
    ]
    return build_page(
        PARTICIPANT_PAGE.at(output_dir, label=label),
        title=f"Participant {label}: grey-matter {'map' if len(scans) == 1 else 'maps'}",
        lead=_lead(scans, cohort is not None),
        sections=sections,
        reportlets_dir=folder,
    )


def _anchor(scan: ScanOutputs) -> str:
    return "scan-" + "-".join(f"{key}{value}" for key, value in scan.entities.items())


def _query(scan: ScanOutputs) -> dict[str, Any]:
    """What sets the reportlets of this scan apart; an entity that it lacks must be absent."""
    return {key: scan.entities.get(key) for key in ENTITIES}


def _lead(scans: list[ScanOutputs], with_cohort: bool) -> str:
    said = [
        f"{esc(scan.title)}: <strong>{esc(scan.sidecar.get('QualityVerdict', 'no verdict'))}</strong>" for scan in scans
    ]
    ticks = " Ticks in the bars are the other scans of the cohort." if with_cohort else ""
    sides = "Left of every picture is the left of the brain, unless it is seen from the side."
    coarse = COARSE if any(scan.sidecar.get("Sloppy") for scan in scans) else ""
    return f"<p>{join_words(said)}.</p><p>{sides}{ticks}</p>{coarse}"
