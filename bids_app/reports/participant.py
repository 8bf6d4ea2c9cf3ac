"""``sub-X.html``: everything about the scans of one participant on one page."""

from __future__ import annotations

from pathlib import Path

from ..errors import NoInputError
from .assemble import Reportlet, Section, build_page
from .logs import errors_html, methods_html
from .participant_figures import make_scan_figures, template_or_none
from .scan_summary import read_cohort, scan_summary
from .scans import ENTITIES, Scan, find_scans
from .style import esc, join_words

REPORTLETS = (
    Reportlet("summary"),
    Reportlet(
        "brainmask",
        "Brain mask",
        "<p><strong>What it shows:</strong> the outline (orange) of what was taken for brain, on the bias-corrected scan in its own space. "
        "<strong>How to read it:</strong> the line should follow the surface of the brain, cerebellum included, and cut neither "
        "into the cortex nor run along the skull or the eyes. <strong>When not to trust the map:</strong> a missing temporal or occipital "
        "pole, or dura and eyes inside the line, change every volume below.</p>",
        "Slices of the scan in three planes with the outline of the brain mask",
    ),
    Reportlet(
        "tissues",
        "Tissues",
        "<p><strong>What it shows:</strong> where grey matter (orange) and white matter (blue) are more likely than not. "
        "<strong>How to read it:</strong> orange should follow the ribbon of the cortex and hold the caudate, putamen and thalamus; blue should "
        "fill the white matter. <strong>When not to trust it:</strong> lines that ignore visible borders in one part of the brain only point to "
        "uneven brightness or motion; an orange rim around the ventricles is partial volume, not grey matter.</p>",
        "Slices of the scan in three planes with contours of grey and white matter",
    ),
    Reportlet(
        "normalisation",
        "Normalisation to the template",
        "<p><strong>What it shows:</strong> the template and this scan after warping, in the same place one after the other, "
        "both with the outline of the <em>template's</em> grey matter (green). <strong>How to read it:</strong> ventricles, the edge of the brain and "
        "large sulci should stand still while the pictures change. <strong>When not to trust it:</strong> structures that jump by more than a gyrus mean that "
        "this person's regions are measured in the wrong place.</p>",
    ),
    Reportlet(
        "jacobian",
        "Local volume (Jacobian determinant)",
        "<p><strong>What it shows:</strong> how much volume each place of the template has in this brain; the modulated map is the "
        "warped grey matter times this number. <strong>How to read it:</strong> white is the template's volume, purple more, brown less; the scale is "
        "logarithmic, so half and double are equally strong. <strong>When not to trust it:</strong> sharp speckles or red outlines "
        "(folds: values of 0 or less) are errors of the registration, not anatomy. A single colour all over is only overall head size.</p>",
        "Slices of the map of local volume change in three planes",
    ),
    Reportlet(
        "modulated",
        "Modulated grey matter",
        "<p><strong>What it shows:</strong> the map that every later stage reads: grey matter in ml per ml of template. "
        "<strong>How to read it:</strong> it should look like a slightly blurred cortex inside the template's outline (white). "
        "<strong>When not to trust it:</strong> a bright band outside the outline is dura; holes are errors of the tissue map.</p>",
        "Slices of the grey-matter map in template space",
    ),
    Reportlet(
        "reconstruction",
        "What the model makes of this map",
        "<p><strong>What it shows:</strong> the map, its reconstruction from the latent space, and the difference. "
        "<strong>How to read it:</strong> the reconstruction is always smoother; purple is grey matter that the model does not expect, brown grey matter "
        "that it expects and does not find. <strong>When not to trust it:</strong> a large difference means that the model has not seen such a map. That "
        "may be disease, another scanner, or a failed mask: look at the pictures above first.</p>",
        "Axial slices of the map, its reconstruction and their difference",
    ),
)


def build_participant_report(output_dir: str | Path, participant_label: str) -> Path:
    """Write ``sub-X.html`` from the files of a participant.

    Pictures that are missing are drawn now where their files allow it; those there already are kept.

    Parameters
    ----------
    output_dir : path-like
        The derivative data set.
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
    nothing = dict.fromkeys(ENTITIES.values())
    sections += [
        Section("methods", "Methods", [Reportlet("methods")], nothing),
        Section("errors", "Errors", [Reportlet("errors")], nothing),
    ]
    return build_page(
        output_dir / f"sub-{label}.html",
        title=f"Participant {label}: grey-matter {'map' if len(scans) == 1 else 'maps'}",
        lead=_lead(scans, cohort is not None),
        sections=sections,
        reportlets_dir=folder,
    )


def _anchor(scan: Scan) -> str:
    return "scan-" + "-".join(f"{key}{value}" for key, value in scan.entities.items())


def _query(scan: Scan) -> dict:
    """What sets the reportlets of this scan apart; an entity that it lacks must be absent."""
    query = {name: scan.entities.get(key) for key, name in ENTITIES.items()}
    if query["run"] is not None:
        query["run"] = int(query["run"])
    return query


def _lead(scans: list[Scan], with_cohort: bool) -> str:
    said = [
        f"{esc(scan.title)}: <strong>{esc(scan.sidecar.get('QualityVerdict', 'no verdict'))}</strong>" for scan in scans
    ]
    ticks = " Ticks in the bars are the other scans of the cohort." if with_cohort else ""
    return f"<p>{join_words(said)}.</p><p>Left of every picture is the left of the brain, unless it is seen from the side.{ticks}</p>"
