"""Plots of the group report about regions; as in `charts`, n stands in every panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..schema.labels import CARRIED_R2, DIFFERING
from .charts import group_colours, short
from .group_results import numeric
from .style import ABOVE, BELOW, BLUE, FAINT, GREEN


def split_figure(regions: pd.DataFrame, n: int, unit: str = "ml", top: int = 20) -> Figure:
    """The largest regional differences, each split into what is kept and what is lost; beside them R2 within groups."""
    order = numeric(regions, "difference_ml")
    best = regions.iloc[np.argsort(-np.abs(order), kind="stable")]
    differs = best["label"].isin(DIFFERING)
    best = pd.concat([best[differs], best[~differs]]).head(top).reset_index(drop=True)
    kept, lost, total = (numeric(best, f"{name}_ml") for name in ("kept", "lost", "difference"))
    rows, solid = np.arange(len(best)), best["label"].isin(DIFFERING).to_numpy()
    figure = Figure(figsize=(8.6, 1.2 + 0.235 * len(best)))
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (2.2, 1), "wspace": 0.06})
    for shown, alpha in ((solid, 1.0), (~solid, 0.3)):
        left.barh(rows[shown] - 0.18, kept[shown], height=0.34, color=ABOVE, alpha=alpha)
        left.barh(rows[shown] + 0.18, lost[shown], height=0.34, color=BELOW, alpha=alpha)
    low, high = numeric(best, "difference_ml_low"), numeric(best, "difference_ml_high")
    left.errorbar(total, rows, xerr=np.abs([total - low, high - total]), fmt="D", color="black", ms=3.5, lw=1)
    left.axvline(0, color=FAINT, lw=0.8)
    left.set_yticks(rows, best["name"])
    left.set(xlabel=unit, title=f"difference, n = {n}")
    keys = [("kept", ABOVE, "s"), ("lost", BELOW, "s"), ("difference, 95 %", "black", "D")]
    handles = [Line2D([], [], color=c, marker=m, ls="", ms=6 if m == "s" else 3.5, label=name) for name, c, m in keys]
    left.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0 + 0.5 / len(best)), ncols=3, borderaxespad=0)
    left.set_title("")
    right.scatter(numeric(best, "r2_within"), rows, color=GREEN, s=20)
    right.axvline(CARRIED_R2, color=FAINT, lw=0.8, ls=":")
    right.set(xlabel=f"R² within groups, n = {n}")
    ends = right.get_xlim()
    right.set_xlim(min(-0.05, max(ends[0], -1)), max(ends[1], 0.3))
    right.tick_params(left=False)
    for row, label in zip(rows, best["label"], strict=True):
        right.text(1.03, row, label, transform=right.get_yaxis_transform(), va="center", fontsize=8, color=FAINT)
    left.invert_yaxis()
    return figure


def axis_figure(
    places: pd.Series, groups: Sequence[str], regions: pd.DataFrame, score: pd.Series | None = None, top: int = 12
) -> Figure:
    """Each person's place on a contrast's axis, and the grey matter that goes with one step along it.

    The places stand by group, or against the score where the contrast is one.
    """
    names = list(dict.fromkeys(np.asarray(groups)[np.isfinite(places.to_numpy(float))]))
    height = 0.24 * min(top, len(regions))
    figure = Figure(figsize=(8.6, 1.2 + (max(0.5 * len(names), height) if score is None else max(2.4, height))))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.75})
    if score is None:
        _strips(left, places.to_numpy(float), np.asarray(groups), names, np.mean)
        left.set(xlabel="held-out position, SD within groups")
    else:
        left.scatter(score, places, s=16, alpha=0.75, color=BLUE, lw=0)
        known = int((score.notna() & places.notna()).sum())
        left.set(xlabel=f"{score.name}, n = {known}", ylabel="held-out position, SD")
    size = np.abs(numeric(regions, "observed_ml_per_sd"))
    best = regions.iloc[np.argsort(-size, kind="stable")].head(top).reset_index(drop=True)
    rows = np.arange(len(best))
    seen = numeric(best, "observed_ml_per_sd")
    low, high = numeric(best, "observed_ml_per_sd_low"), numeric(best, "observed_ml_per_sd_high")
    right.errorbar(seen, rows, xerr=np.abs([seen - low, high - seen]), fmt="D", color="black", ms=3.5, lw=1,
                   label="maps, 95 %")  # fmt: skip
    drawn = numeric(best, "decoded_ml_per_sd")
    if np.isfinite(drawn).any():
        right.scatter(drawn, rows, color=BLUE, s=26, zorder=3, label="decoder")
    right.axvline(0, color=FAINT, lw=0.8)
    right.set_yticks(rows, best["name"])
    right.set(xlabel="ml per SD along the axis")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0)
    right.invert_yaxis()
    return figure


def deviation_figure(people: pd.DataFrame, regions: int) -> Figure:
    """How many regions of each person lie far below the norm, one strip per group."""
    groups = people["group"].to_numpy()
    names = list(dict.fromkeys(groups))
    figure = Figure(figsize=(6.4, 1.1 + 0.5 * len(names)))
    axes = figure.subplots()
    _strips(axes, people["less"].to_numpy(float), groups, names, np.median)
    axes.set(xlabel=f"regions with W of -2 or less, of {regions}")
    return figure


def _strips(
    axes: Axes, values: np.ndarray, of: np.ndarray, names: Sequence[str], middle: Callable[[np.ndarray], float]
) -> None:
    """One strip of points per group, with its middle."""
    known, colours, rng = np.isfinite(values), group_colours(names), np.random.default_rng(0)
    for row, name in enumerate(names):
        mine = values[(of == name) & known]
        axes.scatter(mine, row + rng.uniform(-0.22, 0.22, mine.size), s=16, alpha=0.75, color=colours[name], lw=0)
        axes.plot([middle(mine)] * 2, [row - 0.32, row + 0.32], color="black", lw=1.6)
    axes.set_yticks(range(len(names)), [f"{short(n)} (n = {int((of[known] == n).sum())})" for n in names])
    axes.set(ylim=(len(names) - 0.4, -0.6))


def beeswarm_figure(values: pd.DataFrame, amounts: pd.DataFrame | None, order: Sequence[str]) -> Figure:
    """SHAP values of the regions that matter most, one dot per scan, coloured by the region's grey matter.

    Parameters
    ----------
    values : DataFrame (N scans, R regions)
        SHAP values.
    amounts : DataFrame (N scans, R regions) or None
        Grey matter, ml, for the colours; the same rows.
    order : sequence of str
        Regions to show, the most important first.
    """
    figure = Figure(figsize=(8.0, 1.2 + 0.3 * len(order)))
    axes = figure.subplots()
    norm = Normalize(0, 1)
    for row, name in enumerate(order):
        x = numeric(values, name)
        good = np.isfinite(x)
        colour = _rank01(numeric(amounts, name))[good] if amounts is not None and name in amounts else None
        axes.scatter(
            x[good],
            row + _pile(x[good]),
            c=colour if colour is not None else FAINT,
            cmap="cividis",
            norm=norm if colour is not None else None,
            s=11,
            lw=0,
            rasterized=True,
        )
    axes.axvline(0, color=FAINT, lw=0.9)
    axes.set_yticks(range(len(order)), order)
    axes.set(
        ylim=(len(order) - 0.4, -0.6),
        xlabel="SHAP value: change of the predicted reconstruction error (share of the map's variance)",
        title=f"n = {len(values)} scans",
    )
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3))
    if amounts is not None:
        bar = figure.colorbar(ScalarMappable(norm, "cividis"), ax=axes, fraction=0.025, pad=0.02)
        bar.set_ticks([0, 1], labels=["least", "most"])
        bar.set_label("grey matter of the region (rank)")
    return figure


def _rank01(values: np.ndarray) -> np.ndarray:
    """Ranks between 0 and 1; one extreme scan does not wash out the colours of the others."""
    ranks = pd.Series(values).rank().to_numpy(float)
    return (
        (ranks - 1) / max(1.0, float(np.nanmax(ranks)) - 1) if np.isfinite(ranks).any() else np.full(values.size, 0.5)
    )


def _pile(x: np.ndarray, bins: int = 60, reach: float = 0.38) -> np.ndarray:
    """Vertical offsets that stack dots with similar x beside each other."""
    if x.size < 2 or x.max() == x.min():
        return np.linspace(-reach, reach, x.size) if x.size > 1 else np.zeros(x.size)
    place = np.digitize(x, np.linspace(x.min(), x.max(), bins))
    offsets = np.zeros(x.size)
    counts = np.bincount(place)
    for which in np.unique(place):
        members = np.flatnonzero(place == which)
        steps = np.arange(members.size)
        signed = np.where(steps % 2, -(steps + 1) // 2, steps // 2)
        offsets[members] = signed
    return offsets / max(6, counts.max()) * 2 * reach
