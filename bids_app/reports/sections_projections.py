"""Section of the group report: projections of the latent space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..bids.tables import IDENTIFIERS
from ..schema.methods import EMBEDDINGS, PROJECTION_TITLES
from ..schema.model_tables import PROJECTION_QUALITY, PROJECTION_SEEDS
from ..schema.scan_tables import PROJECTIONS
from .charts import group_colours
from .group_results import GroupResults, numeric
from .interactive import projection_explorer
from .items import Item, item
from .style import html_table, join_words, number

NAMES = join_words([each.title for each in EMBEDDINGS])


def projections(results: GroupResults) -> Iterator[Item]:
    """The latent space in two and three dimensions."""
    table = results.table(PROJECTIONS)
    if table is None:
        return
    first = [column for column in (results.group_column, "error") if column]
    quality = results.table(PROJECTION_QUALITY)
    explorer = projection_explorer(results.scans, table, first, _supervisors(quality))
    if explorer is not None:
        yield item("explorer", explorer, n=len(table), embeddings=NAMES)
    seeds = results.table(PROJECTION_SEEDS)
    if seeds is not None:
        keys = [column for column in IDENTIFIERS if column in seeds and column in results.scans]
        grouped = results.scans[keys].assign(group=results.groups_of(results.scans))
        drawn = seeds.merge(grouped, on=keys, how="left")
        count = seeds["seed"].nunique()
        yield item("seeds", seeds_figure(drawn, _disparities(quality)), seeds=count, n=len(table), embeddings=NAMES)
    if quality is not None:
        headers = PROJECTION_QUALITY.headers(quality)
        shown = quality.assign(method=quality["method"].map(lambda m: PROJECTION_TITLES.get(m, m)))
        yield item("projectionQuality", html_table(shown, headers=headers, sortable=True, max_height=len(shown) > 14))


def _supervisors(quality: pd.DataFrame | None) -> list[str]:
    """Contrasts of the supervised projections, in the order of their coordinates."""
    if quality is None:
        return []
    return quality.loc[quality["method"] == "pls", "contrast"].astype(str).tolist()


def seeds_figure(seeds: pd.DataFrame, disparities: dict[str, float]) -> Figure:
    """Every scan in the first seed's picture (dot), and threads to where the other seeds put it.

    Parameters
    ----------
    seeds : DataFrame
        ``group/projection_seeds.tsv`` with the `group` of each scan: the scans in one order for every method and seed.
    disparities : dict
        Mean Procrustes disparity of a method.
    """
    methods, colours = list(dict.fromkeys(seeds["method"])), group_colours(seeds["group"].tolist())
    figure = Figure(figsize=(3.9 * len(methods), 3.9))
    for axes, method in zip(np.atleast_1d(figure.subplots(1, len(methods))), methods, strict=True):
        part = seeds[seeds["method"] == method]
        runs = np.stack([np.column_stack([numeric(one, "x"), numeric(one, "y")]) for _, one in part.groupby("seed")])
        threads = np.stack([np.broadcast_to(runs[:1], runs[1:].shape), runs[1:]], axis=2).reshape(-1, 2, 2)
        tints = [colours[g] for g in part[part["seed"] == part["seed"].iloc[0]]["group"]]
        # Thousands of threads would be a grey sheet, and megabytes of vectors.
        faint = min(0.35, 60 / max(1, len(tints)))
        lines = LineCollection(list(threads), colors=tints * (len(runs) - 1), lw=0.5, alpha=faint, rasterized=True)
        axes.add_collection(lines)
        axes.scatter(*runs[0].T, c=tints, s=12, lw=0, zorder=3, rasterized=len(tints) > 500)
        apart = disparities.get(method, np.nan)
        said = f", disparity {number(apart)}" if np.isfinite(apart) else ""
        axes.set(title=f"{PROJECTION_TITLES.get(method, method)}, {len(runs)} seeds{said}", xticks=[], yticks=[])
        axes.set_aspect("equal", "datalim")
        axes.autoscale_view()
    marks = [Line2D([], [], ls="", marker="o", ms=5, color=colour, label=name) for name, colour in colours.items()]
    if len(marks) > 1:
        figure.legend(handles=marks, loc="outside lower center", ncols=min(6, len(marks)))
    return figure


def _disparities(quality: pd.DataFrame | None) -> dict[str, float]:
    if quality is None or "seed_disparity" not in quality:
        return {}
    flat = quality[quality["dimensions"] == 2].drop_duplicates("method")
    return dict(zip(flat["method"], numeric(flat, "seed_disparity"), strict=True))
