"""Section of the group report: the sites."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..schema.site_tables import SITE_ERRORS, SITE_LATENTS
from .group_results import GroupResults, numeric
from .items import Item, item
from .style import BLUE, FAINT, esc, html_table, number, p_text

MODEL = {"autoencoder": "model in use", "linear": "linear path", "pca": "PCA"}


def sites(results: GroupResults) -> Iterator[Item]:
    """The error on a site that the model never saw, and whether the latents know the site."""
    table = results.table(SITE_ERRORS)
    if table is not None:
        known = table[table["reason"].isna()]
        if len(known):
            yield item("siteErrors", site_errors_figure(known), before=_untestable(table))
            shown = known.drop(columns=["reason", "increase_low", "increase_high"]).replace({"model": MODEL})
            parts = (numeric(known, f"increase{end}") for end in ("", "_low", "_high"))
            shown["increase"] = [f"{number(at)} ({number(a)} to {number(b)})" for at, a, b in zip(*parts, strict=True)]
            content = html_table(shown, headers=SITE_ERRORS.headers(shown), sortable=True, max_height=len(shown) > 14)
            yield item("siteErrorsTable", content)
        else:
            yield Item("siteErrorsNone", _untestable(table), "Sites that the model never saw")
    table = results.table(SITE_LATENTS)
    if table is None:
        return
    known = table[table["reason"].isna()]
    if known.empty:
        said = f"<p>Not testable: {esc(table['reason'].iloc[0])}.</p>"
        yield Item("siteLatentsNone", said, "Site information in the latents")
        return
    shown = known.drop(columns="reason")
    content = html_table(shown, headers=SITE_LATENTS.headers(shown), formats={"p": p_text})
    yield item("siteLatents", content)


def _untestable(table: pd.DataFrame) -> str:
    lost = table[table["reason"].notna()]
    lines = [f"<li>{esc(site)}: {esc(why)}</li>" for site, why in zip(lost["site"], lost["reason"], strict=True)]
    return f"<p>Sites that were not tested on their own:</p><ul>{''.join(lines)}</ul>" if lines else ""


def site_errors_figure(table: pd.DataFrame) -> Figure:
    """Error of each site's people by the model in use: in the folds, and trained without their site."""
    part = table[table["model"] == "autoencoder"].reset_index(drop=True)
    figure = Figure(figsize=(6.4, 1.2 + 0.42 * len(part)))
    axes = figure.subplots()
    inside, outside = numeric(part, "error_folds"), numeric(part, "error")
    low, high = inside + numeric(part, "increase_low"), inside + numeric(part, "increase_high")
    rows = np.arange(len(part))
    axes.hlines(rows, low, high, color=BLUE, lw=2, alpha=0.5)
    axes.scatter(inside, rows, s=34, facecolors="white", edgecolors=FAINT, zorder=3, label="ordinary folds")
    axes.scatter(outside, rows, s=30, color=BLUE, zorder=3, label="trained without the site")
    axes.set_yticks(rows, [f"{site} (n = {int(n)})" for site, n in zip(part["site"], part["n"], strict=True)])
    axes.set(xlabel="share of the map's variance left unexplained", ylim=(len(part) - 0.5, -0.5))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0)
    return figure
