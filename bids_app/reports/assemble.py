"""Pages out of reportlets with nireports, carrying everything inside: no second file, no network."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

import yaml

from .. import __version__
from ..bids.files import write_text
from .style import data_uri, esc

HERE = Path(__file__).parent
_IMAGE = re.compile(
    r'<div class="reportlet">\s*<img class="[a-z]+-reportlet" src="\./([^"]+)"[^>]*/>\s*</div>\s*<small>.*?</small>',
    re.S,
)


@dataclass(frozen=True)
class Reportlet:
    """One element of a page.

    Attributes
    ----------
    desc : str
        The ``desc-`` label of its file; alphanumeric.
    title : str
        Heading, plain text; empty for none.
    caption : str
        HTML under it: what it shows, how to read it, when not to trust it.
    alt : str
        Text in place of the picture for those who cannot see it.
    faded : bool
        Draw the picture in grey: it must not be interpreted.
    """

    desc: str
    title: str = ""
    caption: str = ""
    alt: str = ""
    faded: bool = False


@dataclass(frozen=True)
class Section:
    """A heading and its reportlets.

    Attributes
    ----------
    name : str
        Anchor, unique in the page.
    title : str
        Heading, plain text.
    reportlets : sequence of Reportlet
    entities : dict
        What else tells the files of this section from those of another: key in the name (``ses``, ``run``, ...) ->
        label; None: must be absent.
    """

    name: str
    title: str
    reportlets: Sequence[Reportlet]
    entities: dict[str, Any] = field(default_factory=dict)


def build_page(
    out_file: Path,
    *,
    title: str,
    lead: str,
    sections: Sequence[Section],
    reportlets_dir: Path,
    scripts: Sequence[str] = (),
) -> Path:
    """Write a page.

    Parameters
    ----------
    out_file : Path
        The page.
    title : str
        Plain text.
    lead : str
        HTML under the title.
    sections : sequence of Section
        Those without any file are left out.
    reportlets_dir : Path
        Folder that holds the ``figures`` folder; below the folder of `out_file`, or that folder itself.
    scripts : sequence of str
        JavaScript libraries the page needs, as text.

    Returns
    -------
    Path
    """
    from nireports.assembler.report import Report  # half a second to import

    bootstrap = {
        "template_path": str(HERE / "report.tpl"),
        "title": esc(title),
        "sections": [
            {
                "name": section.name,
                "title": esc(section.title),
                "reportlets": [
                    {
                        "name": f"{section.name}-{item.desc}",
                        "bids": {"acquisition": str(number), "desc": item.desc},
                        "subtitle": esc(item.title),
                        "caption": item.caption,
                    }
                    for item in section.reportlets
                ],
            }
            for number, section in enumerate(sections)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        settings, root = Path(folder) / "bootstrap.yml", Path(folder) / "page"
        settings.write_text(yaml.safe_dump(bootstrap, allow_unicode=True, width=10**6), encoding="utf-8")
        _gather(sections, reportlets_dir / "figures", root / "figures")
        report = Report(  # type: ignore[no-untyped-call]  # nireports has no annotations
            root,
            None,
            bootstrap_file=settings,
            out_filename=out_file.name,
            reportlets_dir=root,
            plugins=[],
            metadata={"filename": out_file.stem},
        )
        report.header = [f"<script>{script}</script>" for script in scripts]
        report.navbar = [lead]
        report.footer = [f"LatentAtlas {esc(__version__)}. Assembled with nireports."]
        report.generate_report()  # type: ignore[no-untyped-call]  # nireports has no annotations
        items = {item.desc: item for section in sections for item in section.reportlets}
        page = _embed(report.out_filename.read_text(encoding="utf-8"), root, items)
    return write_text(out_file, page)


def _gather(sections: Sequence[Section], figures: Path, target: Path) -> None:
    """Copy what the sections show under names that nireports cannot misread.

    It takes entities from the whole path, folders above the dataset included, and knows fewer of them than BIDS has.
    """
    target.mkdir(parents=True)
    for number, section in enumerate(sections):
        for item in section.reportlets:
            for path in sorted(figures.glob(f"*_desc-{item.desc}_*")):
                named = dict(part.split("-", 1) for part in path.name.split(".")[0].split("_") if "-" in part)
                if all(named.get(key) == label for key, label in section.entities.items()):
                    copyfile(path, target / f"page_acq-{number}_desc-{item.desc}_T1w{path.suffix}")


def _embed(page: str, root: Path, items: dict[str, Reportlet]) -> str:
    """Put every picture that nireports linked into the page itself."""

    def replace(match: re.Match[str]) -> str:
        path = root / match.group(1)
        item = items[path.name.split("_desc-")[1].split("_")[0]]
        plot = path.suffix == ".svg"
        kinds = "figure" + (" plot" if plot else "") + (" unsupported" if item.faded else "")
        width = _plot_width(path) if plot else 0
        size = f' style="width: {width}px; min-width: {round(0.75 * width)}px"' if plot else ""
        return (
            f'<div class="scroll picture" tabindex="0" role="group" aria-label="{esc(item.alt)}">'
            f'<img class="{kinds}"{size} src="{data_uri(path)}" alt="{esc(item.alt)}"></div>'
        )

    return _IMAGE.sub(replace, page)


def _plot_width(path: Path, enlarge: float = 1.5) -> int:
    """Width in pixels that gives every plot the same size of letters (nireports takes the size out of SVG files)."""
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ', path.read_text(encoding="utf-8")[:2000])
    return round(float(box.group(1)) * enlarge) if box else 800
