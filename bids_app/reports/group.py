"""``group.html``: what the cohort's latent space encodes and what may be claimed of it, from the output files alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import NoInputError
from ..schema.outputs import GROUP_FIGURES, GROUP_PAGE
from . import (
    sections_model,
    sections_overview,
    sections_predictions,
    sections_projections,
    sections_regions,
    sections_sites,
)
from .group_results import GroupResults, read_group_results
from .interactive import plotly_script
from .items import COARSE, Item
from .logs import errors_html, methods_html
from .page import Section, build_page
from .style import esc, save_png, save_svg, styled
from .truth import truth_sections

logger = logging.getLogger("latentatlas")

PARTS: tuple[tuple[str, str, Callable[[GroupResults], Iterator[Item]]], ...] = (
    ("verdicts", "Verdicts", sections_overview.verdicts),
    ("cohort", "Cohort", sections_overview.cohort),
    ("training", "Model", sections_model.training),
    ("projections", "Projections of the latent space", sections_projections.projections),
    ("lrcp", "Regions encoded (LRCP)", sections_regions.lrcp),
    ("maps", "Maps", sections_regions.maps),
    ("norms", "Each participant and the reference group", sections_regions.norms),
    ("strangeness", "Each participant and the model's training cohort", sections_model.strangeness),
    ("shap", "Regions that explain the error (SHAP)", sections_regions.shap),
    ("validation", "Validation in the worst case", sections_overview.validation),
    ("sam", "Agnostic map (SAM)", sections_regions.sam),
    ("vbm", "Voxelwise test (VBM)", sections_regions.voxels),
    ("predictions", "Predictions", sections_predictions.predictions),
    ("baselines", "Baselines", sections_overview.baselines),
    ("sites", "Sites", sections_sites.sites),
)

#: Sections that are there only where someone asked for them.
ASKED_FOR = ("truth", "norms", "strangeness", "vbm", "sites")


def build_group_report(output_dir: str | Path, ground_truth: str | Path | None = None) -> Path:
    """Write ``group.html`` from ``phenotype/`` and ``group/``.

    Parameters
    ----------
    output_dir : path-like
        The derivative dataset.
    ground_truth : path-like, optional
        ``code/ground_truth.tsv`` of a simulated cohort.

    Returns
    -------
    Path

    Raises
    ------
    NoInputError
        The group level has not written anything yet.
    """
    results = read_group_results(output_dir)
    if not results.tables and not results.summary:
        raise NoInputError(
            "There are no group-level results to report.",
            file=results.output_dir,
            remedy="Run the group level first.",
        )
    truth = Path(ground_truth) if ground_truth else None
    parts = [*PARTS, ("truth", "Comparison with the planted truth", lambda r: truth_sections(r, truth))]
    figures = GROUP_FIGURES.at(results.output_dir)
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.glob("group_desc-*"):
        old.unlink()
    page, missing = [], []
    with styled():
        for name, title, make in parts:
            items = [_write(item, figures) for item in _made(make, results, title)]
            if items:
                page.append(Section(name, title, items))
            elif name not in ASKED_FOR:
                missing.append(title)
        closing = {
            "methods": ("Methods", methods_html(results.output_dir)),
            "provenance": (
                "Settings and errors",
                sections_overview.settings(results) + errors_html(results.output_dir),
            ),
        }
        for name, (title, text) in closing.items():
            page.append(Section(name, title, [_write(Item(name, text), figures)]))
    return build_page(
        GROUP_PAGE.at(results.output_dir),
        title="Group report",
        lead=_lead(results, missing),
        sections=page,
        scripts=_scripts(figures),
    )


def _made(make: Callable[[GroupResults], Iterator[Item]], results: GroupResults, title: str) -> Iterator[Item]:
    """The items of a section; a figure that cannot be drawn costs a sentence, not the report."""
    items = make(results)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:  # one odd table must not take the other sections down
            logger.warning("Section '%s' of the group report is incomplete: %s", title, error, exc_info=True)
            yield Item(
                f"trouble{abs(hash(title)) % 10**6}",
                f'<p class="note">The rest of this section could not be drawn: {esc(error)}</p>',
            )
            return
        yield item


def _write(item: Item, figures: Path) -> Item:
    """The item as a file of its own, which the page shows."""
    stem = figures / f"group_desc-{item.desc}_probseg"
    if isinstance(item.content, Figure):
        save = save_png if item.picture else save_svg
        return replace(item, content=save(item.content, stem.with_suffix(".png" if item.picture else ".svg")))
    path = stem.with_suffix(".html")
    path.write_text(str(item.content) or " ", encoding="utf-8")
    return replace(item, content=path)


def _scripts(figures: Path) -> list[str]:
    """Plotly, where anything needs it."""
    interactive = any((figures / f"group_desc-{desc}_probseg.html").exists() for desc in ("explorer", "profile"))
    return [plotly_script()] if interactive else []


def _lead(results: GroupResults, missing: list[str]) -> str:
    people, scans = results.n_participants, results.n_scans
    counts = results.summary.get("groups") or {}
    who = ", ".join(f"{name} {count}" for name, count in counts.items())
    said = f"{scans} scan{'s' * (scans != 1)} of {people} participant{'s' * (people != 1)}"
    said += f" ({esc(who)})." if who else "."
    lead = f"<p>{said} Left of every brain picture is the left of the brain.</p>"
    if results.summary.get("sloppy"):
        lead += COARSE
    lead += "".join(f'<p class="note">{esc(text)}</p>' for text in results.summary.get("warnings") or [])
    return lead + (f"<p>Not computed in this run: {esc(', '.join(missing))}.</p>" if missing else "")
