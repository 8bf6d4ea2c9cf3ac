"""One look for every figure and every piece of HTML: colours, fonts, numbers, escaping."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image

from ..bids.files import write_atomically

# Okabe and Ito's palette: told apart by people with any of the common colour-vision deficiencies.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#000000")
BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, *_ = PALETTE
#: Of maps with a sign; what is above 0 is purple in plots, too, and what is below it brown.
DIVERGING = "PuOr"
BELOW, ABOVE = (matplotlib.colors.to_hex(matplotlib.colormaps[DIVERGING](place)) for place in (0.1, 0.9))
INK, FAINT = "#1f2933", "#52606d"

MIME = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # a group called "$x$" is a name, not a formula
    "axes.prop_cycle": cycler(color=PALETTE),
    "legend.frameon": False,
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "latentatlas",  # the same run gives the same file
}


def styled() -> AbstractContextManager[None]:
    """Context manager in which every Matplotlib figure takes the reports' look."""
    return matplotlib.rc_context(_RC)  # type: ignore[arg-type]  # a literal type of every key's name


def save_svg(figure: Figure, path: Path) -> Path:
    """Write a plot as SVG; the same figure always gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", bbox_inches="tight", dpi=150, metadata={"Date": None, "Creator": None})
    return path


def save_png(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a brain picture as a PNG with a palette of 256 colours, about a third of the size of a true-colour one."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # Matplotlib's
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # Matplotlib's
    picture = Image.fromarray(np.ascontiguousarray(drawn[..., :3]))
    # The median cut would spend its colours on the many dark pixels and leave colour bars with steps; a quarter of the
    # pixels is enough to choose the colours from.
    sample = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.NEAREST)
    palette = sample.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    # Paper stays white and the dark stays black: the averages of a palette are a shade off.
    shades = np.array(palette.getpalette()).reshape(-1, 3)
    shades[(shades > 246).all(1)], shades[(shades < 5).all(1)] = 255, 0
    palette.putpalette(shades.ravel().tolist())
    picture = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    return write_atomically(path, lambda p: picture.save(p, format="PNG", optimize=True))


def data_uri(path: Path) -> str:
    """The picture itself, as an address that needs no second file."""
    return f"data:{MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def esc(text: object) -> str:
    """Make any value safe inside HTML, in text and in quoted attributes."""
    return html.escape(str(text), quote=True)


def number(value: object, digits: int = 3) -> str:
    """A number as a person would write it; an en dash where there is none.

    Parameters
    ----------
    value : object
        Number, string or missing value.
    digits : int
        Significant digits of a fractional number.
    """
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return "–" if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if not isinstance(value, float | np.floating):
        return str(value)
    value = float(value)
    if abs(value) < 1e-12:  # rounding errors of a zero
        return "0"
    if value == round(value) and abs(value) < 10**digits:
        return f"{value:.0f}".replace("-", "−")
    if abs(value) >= 10 ** max(digits, 3):
        text = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", "−")


def p_text(p: Any) -> str:
    """``p = 0.012``, ``p < 0.001``; an en dash where it was not computed."""
    if p is None or pd.isna(p):
        return "–"
    return "< 0.001" if float(p) < 0.001 else f"{float(p):.3f}"


def html_table(
    table: pd.DataFrame,
    *,
    caption: str = "",
    headers: dict[str, str] | None = None,
    formats: Mapping[str, Callable[[Any], object]] | None = None,
    sortable: bool = False,
    table_id: str = "",
    max_height: bool = False,
    cards: bool = False,
) -> str:
    """A table as HTML; every cell is escaped, so that text from a dataset can never become markup.

    Parameters
    ----------
    table : DataFrame
        What to show, one row per row.
    caption : str
        One sentence for the table's ``caption`` element.
    headers : dict, optional
        Column name -> heading (default: the column's name).
    formats : dict, optional
        Column name -> function from a value to text (default: `number`).
    sortable : bool
        Give the headings buttons that sort the rows, and the table a filter box.
    table_id : str
        HTML id.
    max_height : bool
        Scroll inside a box instead of running down the page.
    cards : bool
        On a small screen set the cells of a row below each other.

    Returns
    -------
    str
    """
    headers, formats = headers or {}, formats or {}
    columns = list(table.columns)
    heads = []
    for place, column in enumerate(columns):
        text = esc(headers.get(column, column))
        css = " class=num" if pd.api.types.is_numeric_dtype(table.dtypes.iloc[place]) else ""
        heads.append(
            f'<th scope="col"{css}><button type="button">{text}</button></th>'
            if sortable
            else f'<th scope="col"{css}>{text}</th>'
        )
    rows = []
    for values in table.itertuples(index=False, name=None):
        cells = []
        for column, value in zip(columns, values, strict=True):
            numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            shown = formats[column](value) if column in formats else number(value)
            key = f' data-key="{float(value)!r}"' if sortable and numeric and not pd.isna(value) else ""
            css = " class=num" if numeric else " class=short" if len(str(shown)) < 20 else ""
            cells.append(f"<td{css}{key}>{shown if isinstance(shown, Markup) else esc(shown)}</td>")
        rows.append("<tr>" + "".join(cells) + "</tr>")
    name = f' id="{esc(table_id)}"' if table_id else ""
    kinds = " ".join(kind for kind, wanted in (("sortable", sortable), ("cards", cards)) if wanted)
    box = "scroll tall" if max_height else "scroll"
    return (
        f'<div class="{box}" tabindex="0" role="group" aria-label="{esc(caption or "table")}">'
        f'<table{name} class="{kinds}">'
        + (f"<caption>{esc(caption)}</caption>" if caption else "")
        + f"<thead><tr>{''.join(heads)}</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


class Markup(str):
    """Text that is HTML already and must not be escaped again."""


def definition_list(items: Iterable[tuple[str, object]]) -> str:
    """Pairs of name and value as an HTML description list (values escaped unless they are `Markup`)."""
    rows = [
        f"<div><dt>{esc(name)}</dt><dd>{value if isinstance(value, Markup) else esc(number(value))}</dd></div>"
        for name, value in items
    ]
    return '<dl class="facts">' + "".join(rows) + "</dl>"


def join_words(words: Sequence[object], last: str = "and") -> str:
    """``a, b and c``."""
    said = [str(word) for word in words]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} {last} {said[-1]}" if said else ""
