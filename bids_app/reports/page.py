"""A page out of sections of items, carrying everything inside: no second file, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from .. import __version__
from ..bids.files import write_text
from .items import Item
from .style import data_uri, esc

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """A heading and its items.

    Attributes
    ----------
    name : str
        Anchor, unique in the page.
    title : str
        Heading, plain text.
    items : sequence of Item
        Their contents are HTML, or files: ``.html``, ``.png`` or ``.svg``. An empty one is left out.
    """

    name: str
    title: str
    items: Sequence[Item]


def build_page(
    out_file: Path, *, title: str, lead: str, sections: Sequence[Section], scripts: Sequence[str] = ()
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
        Those without any content are left out.
    scripts : sequence of str
        JavaScript libraries the page needs, as text.

    Returns
    -------
    Path
    """
    # The template is given HTML: what comes from data has been escaped where it was put into HTML (`esc`).
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    shown = []
    for section in sections:
        items = [(item, text) for item in section.items if (text := _html(item))]
        if items:
            shown.append({"name": section.name, "title": esc(section.title), "items": items})
    page = environment.get_template("report.tpl").render(
        title=esc(title), lead=lead, sections=shown, scripts=scripts, version=esc(__version__), esc=esc
    )
    return write_text(out_file, page)


def _html(item: Item) -> str:
    """What a page holds of an item."""
    if isinstance(item.content, Figure):
        raise TypeError(f"the figure {item.desc} has to be a file first")
    if isinstance(item.content, str):
        return item.content.strip()
    if item.content.suffix == ".html":
        return item.content.read_text(encoding="utf-8").strip()
    plot = item.content.suffix == ".svg"
    kinds = "figure" + (" plot" if plot else "") + (" unsupported" if item.faded else "")
    width = _plot_width(item.content) if plot else 0
    size = f' style="width: {width}px; min-width: {round(0.75 * width)}px"' if plot else ""
    alt = esc(item.alt or item.title)
    return (
        f'<div class="scroll picture" tabindex="0" role="group" aria-label="{alt}">'
        f'<img class="{kinds}"{size} src="{data_uri(item.content)}" alt="{alt}"></div>'
    )


def _plot_width(path: Path, enlarge: float = 1.5) -> int:
    """Width in pixels that gives every plot the same size of letters."""
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ', path.read_text(encoding="utf-8")[:2000])
    return round(float(box.group(1)) * enlarge) if box else 800
