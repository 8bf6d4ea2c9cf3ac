"""``sub-X.html``: everything about the scans of one participant on one page."""

from __future__ import annotations

from pathlib import Path

from ..errors import NoInputError
from ..schema.outputs import PARTICIPANT_PAGE
from .items import COARSE, Item, caption, captions
from .logs import errors_html, methods_html
from .page import Section, build_page
from .participant_figures import make_scan_figures, template_or_none
from .scan_outputs import ScanOutputs, find_scans
from .scan_summary import read_cohort, scan_summary
from .style import esc, join_words

KINDS = ("brainmask", "tissues", "normalisation", "jacobian", "modulated", "reconstruction")


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
        sections.append(Section(_anchor(scan), scan.title, _items(scan)))
    whole = {"methods": ("Methods", methods_html(output_dir)), "errors": ("Errors", errors_html(output_dir, label))}
    for desc, (title, text) in whole.items():
        (scans[0].figures / f"sub-{label}_desc-{desc}_T1w.html").write_text(text, encoding="utf-8")
        sections.append(Section(desc, title, [Item(desc, text)]))
    return build_page(
        PARTICIPANT_PAGE.at(output_dir, label=label),
        title=f"Participant {label}: grey-matter {'map' if len(scans) == 1 else 'maps'}",
        lead=_lead(scans, cohort is not None),
        sections=sections,
    )


def _anchor(scan: ScanOutputs) -> str:
    return "scan-" + "-".join(f"{key}{value}" for key, value in scan.entities.items())


def _items(scan: ScanOutputs) -> list[Item]:
    """What was drawn of a scan; pictures that could not be drawn are missing."""
    items = [Item("summary", scan.figure("summary", ".html"), caption=caption("summary"))]
    for kind in KINDS:
        entry = captions()[kind]
        for path in (scan.figure(kind, ending) for ending in (".html", ".png")):
            if path.exists():
                items.append(Item(kind, path, entry["title"], caption(kind), entry["alt"]))
    return items


def _lead(scans: list[ScanOutputs], with_cohort: bool) -> str:
    said = [
        f"{esc(scan.title)}: <strong>{esc(scan.sidecar.get('QualityVerdict', 'no verdict'))}</strong>" for scan in scans
    ]
    ticks = " Ticks in the bars are the other scans of the cohort." if with_cohort else ""
    sides = "Left of every picture is the left of the brain, unless it is seen from the side."
    coarse = COARSE if any(scan.sidecar.get("Sloppy") for scan in scans) else ""
    return f"<p>{join_words(said)}.</p><p>{sides}{ticks}</p>{coarse}"
