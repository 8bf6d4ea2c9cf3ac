"""What one can play with in the group report: the projection explorer and the heat map of regions by latents."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from ..bids.tables import IDENTIFIERS
from ..schema.methods import PROJECTION_TITLES
from .brain_maps import script_json
from .charts import group_colours
from .group_results import MISSING, numeric
from .style import DIVERGING, esc

MOST_LEVELS = 12
_COORDINATE = re.compile(r"^([a-z]+[a-z0-9]*)(?:_.*)?_(\d+)$")


def plotly_script() -> str:
    """The Plotly library, once for the page."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def projection_explorer(
    scans: pd.DataFrame,
    projections: pd.DataFrame,
    first_columns: Sequence[str] = (),
    supervisors: Sequence[str] = (),
) -> str | None:
    """Scatter plot whose view and colour can be chosen, with the participant on hover.

    Parameters
    ----------
    scans : DataFrame
        One row per scan: projections joined with whatever may colour them.
    projections : DataFrame
        ``phenotype/projections.tsv``; names the coordinates.
    first_columns : sequence of str
        Columns to offer first as colours.
    supervisors : sequence of str
        Contrasts of the supervised projections, in the order of their coordinates.

    Returns
    -------
    str or None
        HTML; None without any pair of coordinates.
    """
    coordinates = [column for column in projections.columns if column not in IDENTIFIERS]
    views = _views(coordinates, supervisors)
    if not views:
        return None
    others = [c for c in scans.columns if c not in IDENTIFIERS and c not in coordinates and not c.startswith("latent_")]
    ordered = [c for c in first_columns if c in others] + [c for c in others if c not in first_columns]
    columns = [column for column in (_colour_column(scans[name], name) for name in ordered) if column is not None]
    keys = [column for column in IDENTIFIERS if column in scans]
    payload = {
        "ids": [" ".join(str(part) for part in row) for row in scans[keys].fillna("").itertuples(index=False)],
        "coordinates": {name: _numbers(numeric(scans, name), 4) for name in coordinates},
        "views": views,
        "columns": columns,
    }
    view_options = "".join(f'<option value="{i}">{esc(view["title"])}</option>' for i, view in enumerate(views))
    colour_options = "".join(f'<option value="{i}">{esc(column["name"])}</option>' for i, column in enumerate(columns))
    return (
        f'<div data-projection><div class="controls"><label>Projection<select>{view_options}</select></label>'
        f'<label>Colour<select>{colour_options}<option value="-1">none</option></select></label></div>'
        '<div class="plotly-box" role="group" aria-label="Scatter plot of the scans in the chosen projection"></div>'
        f'<script type="application/json">{script_json(payload)}</script></div>'
    )


def profile_heat_map(profile: pd.DataFrame) -> str:
    """Correlation of every region with every latent; the regions with the strongest one first.

    Parameters
    ----------
    profile : DataFrame
        ``group/lrcp_profile.tsv``.
    """
    rho = profile.pivot_table(index="name", columns="latent", values="rho", sort=False)
    p = profile.pivot_table(index="name", columns="latent", values="p_fwe", sort=False).reindex(
        index=rho.index, columns=rho.columns
    )
    strongest = rho.abs().max(axis=1).sort_values(ascending=False).index
    rho, p = rho.loc[strongest], p.loc[strongest]
    limit = float(np.nanmax(np.abs(rho.to_numpy()))) if rho.size else 1.0
    scale = [[i / 20, matplotlib.colors.to_hex(matplotlib.colormaps[DIVERGING](i / 20))] for i in range(21)]
    payload = {
        "regions": list(map(str, rho.index)),
        "latents": [str(latent).removeprefix("latent_").lstrip("0") for latent in rho.columns],
        "rho": [_numbers(row, 3) for row in rho.to_numpy(float)],
        "p": [_numbers(row, 3) for row in p.to_numpy(float)],
        "limit": round(limit or 1.0, 3),
        "scale": scale,
    }
    total = len(rho)
    sizes = [size for size in (30, 60) if size < total] + [total]
    options = "".join(
        f'<option value="{size}">{"all " if size == total else "strongest "}{size}</option>' for size in sizes
    )
    return (
        f'<div data-profile><div class="controls"><label>Regions<select>{options}</select></label></div>'
        '<div class="plotly-box" role="group" aria-label="Heat map of the correlation of regions with latents"></div>'
        f'<script type="application/json">{script_json(payload)}</script></div>'
    )


def _views(coordinates: Sequence[str], supervisors: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs (and triples) of the coordinates that belong to one method and, for supervised ones, one contrast."""
    families: dict[str, list[str]] = {}
    for name in coordinates:
        match = _COORDINATE.match(name)
        if match:
            families.setdefault(name[: -len(match.group(2)) - 1], []).append(name)
    supervised = dict(zip((family for family in families if family.split("_")[0] == "pls"), supervisors, strict=False))
    views = []
    for family, names in families.items():
        method, _, rest = family.partition("_")
        rest = supervised.get(family, rest)
        title = PROJECTION_TITLES.get(method, method) + (f", {rest}" if rest else "")
        label = dict(zip(names, (f"{title} {i + 1}" for i in range(len(names))), strict=True))
        choices = [] if method.endswith("3d") else list(combinations(range(len(names)), 2))
        views += [_view(f"{title}: {i + 1} and {j + 1}", [names[i], names[j]], label) for i, j in choices]
        if len(names) >= 3:
            views.append(_view(title if method.endswith("3d") else f"{title}: in 3D", names[:3], label))
        if len(names) == 1 and coordinates[0] != names[0]:
            views.append(_view(f"{title} and {coordinates[0]}", [names[0], coordinates[0]], label))
    return views


def _view(title: str, axes: list[str], labels: dict[str, str]) -> dict[str, Any]:
    return {"title": title, "axes": axes, "labels": [labels.get(axis, axis) for axis in axes]}


def _colour_column(values: pd.Series, name: str) -> dict[str, Any] | None:
    """A column as colours: numbers as a scale, a few levels as categories; None for anything else (free text)."""
    numbers = pd.to_numeric(values, errors="coerce")
    known = values.notna()
    if known.sum() == 0:
        return None
    if numbers[known].notna().all() and (
        numbers[known].nunique() > MOST_LEVELS or (numbers[known].dtype.kind == "f" and numbers[known].nunique() > 6)
    ):
        return {"name": name, "kind": "number", "values": _numbers(numbers.to_numpy(float), 4)}
    texts = [str(v) if ok else None for v, ok in zip(values, known, strict=True)]
    levels = list(dict.fromkeys(text for text in texts if text is not None))
    if len(levels) > MOST_LEVELS:
        return None
    named = [*levels, MISSING] if not known.all() else levels
    colours = group_colours(named)
    return {
        "name": name,
        "kind": "category",
        "values": texts,
        "levels": [{"name": level, "colour": colours[level]} for level in named],
    }


def _numbers(values: np.ndarray, digits: int) -> list[float | None]:
    """Numbers of so many significant digits, null where there is none."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in np.asarray(values, float)]
