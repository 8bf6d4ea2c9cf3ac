"""The elements that sections are made of, and the words beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from .group_results import numeric
from .style import esc

COARSE = (
    '<p class="note"><strong>Trial run</strong> (<code>--sloppy</code>): the maps were made with coarse, quick '
    "settings. Nothing on this page is a result.</p>"
)


@dataclass(frozen=True)
class Item:
    """One element of a section.

    Attributes
    ----------
    desc : str
        Alphanumeric label, unique in the report.
    content : str, Figure or Path
        HTML, a figure, or the file of either.
    title, caption, alt : str
        Heading (plain text), HTML under it (what it shows, how to read it, when not to trust it), text in place of a
        picture.
    picture : bool
        A figure that is an image (PNG) and no plot (SVG).
    faded : bool
        Drawn in grey: it must not be interpreted.
    """

    desc: str
    content: str | Figure | Path
    title: str = ""
    caption: str = ""
    alt: str = ""
    picture: bool = False
    faded: bool = False


def item(
    key: str,
    content: str | Figure,
    *,
    number: int | str = "",
    before: str = "",
    picture: bool = False,
    faded: bool = False,
    **values: object,
) -> Item:
    """An element with the words that ``captions.yml`` has for it.

    Parameters
    ----------
    key : str
        Entry of ``captions.yml``.
    content : str or Figure
    number : int or str
        Sets several elements of one kind apart.
    before : str
        HTML in front of the caption.
    picture, faded : bool
        As in `Item`.
    **values
        Fill the ``{names}`` of the entry.
    """
    entry = captions()[key]
    return Item(
        f"{key}{number}",
        content,
        entry.get("title", "").format(**values),
        before + caption(key, **values),
        entry.get("alt", "").format(**values),
        picture,
        faded,
    )


def caption(key: str, **values: object) -> str:
    """What it shows, how to read it, when not to trust it (HTML)."""
    entry = captions()[key]
    parts = (("What it shows", "shows"), ("How to read it", "read"), ("When not to trust it", "beware"))
    safe = {name: esc(value) for name, value in values.items()}
    return "<p>" + " ".join(f"<strong>{name}:</strong> {entry[part].format(**safe)}" for name, part in parts) + "</p>"


@cache
def captions() -> dict[str, dict[str, str]]:
    """All entries of ``captions.yml``."""
    return yaml.safe_load(Path(__file__).with_name("captions.yml").read_text(encoding="utf-8"))


def by_region(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as float, indexed by atlas label."""
    return pd.Series(numeric(table, column), index=table["index"].astype(int))


def truthy(values: pd.Series) -> pd.Series:
    """Yes and no as tables hold them."""
    return values.astype(str).str.lower().isin(("true", "1", "1.0", "yes"))


def has_signal(values: pd.Series) -> bool:
    """Whether any value is finite and other than 0."""
    return bool(np.nanmax(np.abs(values.to_numpy()), initial=0) > 0)
