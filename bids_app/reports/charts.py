"""Plots of the group report. Each takes tables and returns a Matplotlib figure; n stands in every panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..schema.architectures import Architecture
from ..schema.labels import CARRIED_R2, DIFFERING
from ..schema.methods import FEATURES, TESTS
from .group_results import MISSING, numeric
from .style import ABOVE, BELOW, BLUE, FAINT, GREEN, ORANGE, PALETTE, VERMILION, p_text


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """One colour a group, the same in every figure; people without a group are grey."""
    names = [name for name in dict.fromkeys(groups) if name != MISSING]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    return colours | ({MISSING: "#9aa5b1"} if MISSING in groups else {})


def age_figure(scans: pd.DataFrame, groups: Sequence[str], age: str = "age") -> Figure | None:
    """Ages as one strip per group, a dot per scan and a bar at the median."""
    of = np.asarray(groups)
    years = numeric(scans, age)
    if not np.isfinite(years).any():
        return None
    names = list(dict.fromkeys(of))
    colours = group_colours(names)
    figure = Figure(figsize=(6.4, 0.9 + 0.5 * len(names)))
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for row, name in enumerate(names):
        values = years[(of == name) & np.isfinite(years)]
        axes.scatter(
            values,
            row + rng.uniform(-0.22, 0.22, values.size),
            s=14,
            alpha=0.7,
            color=colours[name],
            lw=0,
            rasterized=values.size > 500,
        )
        if values.size:
            axes.plot([np.median(values)] * 2, [row - 0.32, row + 0.32], color="black", lw=1.6)
    counts = [int(((of == name) & np.isfinite(years)).sum()) for name in names]
    axes.set_yticks(
        range(len(names)), [f"{_short(name)} (n = {count})" for name, count in zip(names, counts, strict=True)]
    )
    axes.set(xlabel="age, years", ylim=(len(names) - 0.4, -0.6))
    return figure


def training_figure(training: pd.DataFrame) -> Figure:
    """Loss against epoch for every fold model and the full model."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    folds = list(dict.fromkeys(training["fold"].astype(str)))
    for fold in folds:
        part = training[training["fold"].astype(str) == fold].sort_values("epoch")
        whole = fold == "all"
        style: dict[str, Any] = {
            "lw": 2.0 if whole else 0.9,
            "alpha": 1.0 if whole else 0.55,
            "zorder": 3 if whole else 2,
        }
        axes.plot(
            part["epoch"],
            part["train_loss"],
            color=BLUE,
            label="training" if whole or len(folds) == 1 else None,
            **style,
        )
        valid = numeric(part, "valid_loss")
        axes.plot(
            part["epoch"],
            valid,
            color=VERMILION,
            label="held out for early stopping" if whole or len(folds) == 1 else None,
            **style,
        )
        if np.isfinite(valid).any():
            best = int(np.nanargmin(valid))
            axes.plot(part["epoch"].iloc[best], valid[best], "o", color=VERMILION, ms=6 if whole else 3.5, zorder=4)
    lines, labels = axes.get_legend_handles_labels()
    if lines:
        axes.legend(lines, labels, loc="lower left", bbox_to_anchor=(0, 1.08), borderaxespad=0, ncols=2)
    axes.set(
        xlabel="epoch",
        ylabel="loss: share of the variance\nleft unexplained in the brain mask",
        title=f"n = {len(folds)} model{'s' if len(folds) > 1 else ''} (thick: full model; dot: best epoch)",
    )
    return figure


def compared_models(cross_fit: pd.DataFrame, architecture: Architecture) -> dict[str, np.ndarray]:
    """Held-out explained variance of every fold, by model; the network only where a fold's has left its start."""
    used = numeric(cross_fit, "epochs")
    found = {
        "mean map": np.zeros(len(cross_fit)),
        "PCA of the same size": numeric(cross_fit, "ev_pca"),
        "linear path": numeric(cross_fit, "ev_linear"),
        architecture.label: numeric(cross_fit, "ev_autoencoder") * np.where(np.any(used != 0), 1, np.nan),
    }
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def explained_figure(cross_fit: pd.DataFrame, architecture: Architecture) -> Figure:
    """Held-out explained variance of the models side by side, fold by fold."""
    models = compared_models(cross_fit, architecture)
    weights = numeric(cross_fit, "n_test")
    weights = np.where(np.isfinite(weights), weights, 1.0)
    figure = Figure(figsize=(1.2 + 1.6 * len(models), 3.4))
    axes = figure.subplots()
    places = np.arange(len(models))
    for fold in np.stack([*models.values()], 1):
        axes.plot(places, fold, color=FAINT, lw=0.8, alpha=0.7, zorder=1)
    for x, values, colour in zip(places, models.values(), (FAINT, ORANGE, GREEN, BLUE), strict=False):
        axes.scatter([x] * len(values), values, color=colour, s=26, zorder=2)
        good = np.isfinite(values)
        mean = float(np.average(values[good], weights=weights[good]))
        axes.plot([x - 0.2, x + 0.2], [mean] * 2, color="black", lw=2)
        axes.annotate(f"{mean:.3f}", (x + 0.22, mean), ha="left", va="center")
    axes.axhline(0, color=FAINT, lw=0.8, ls=":")
    total = int(np.nansum(numeric(cross_fit, "n_test"))) if "n_test" in cross_fit else 0
    axes.set_xticks(places, [name.replace(" with ", "\nwith ").replace(" of ", "\nof ") for name in models])
    axes.set(
        xlim=(-0.5, len(models) - 0.3),
        ylabel="explained variance, held-out maps",
        title=f"{len(cross_fit)} folds{f', n = {total} held-out scans' if total else ''}",
    )
    return figure


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


def axis_figure(places: pd.Series, groups: Sequence[str], regions: pd.DataFrame, top: int = 12) -> Figure:
    """Each person's place on a contrast's axis, and the grey matter that goes with one step along it."""
    of, values = np.asarray(groups), places.to_numpy(float)
    known = np.isfinite(values)
    names = list(dict.fromkeys(of[known]))
    colours = group_colours(names)
    figure = Figure(figsize=(8.6, 1.2 + max(0.5 * len(names), 0.24 * min(top, len(regions)))))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.75})
    rng = np.random.default_rng(0)
    for row, name in enumerate(names):
        mine = values[(of == name) & known]
        left.scatter(mine, row + rng.uniform(-0.22, 0.22, mine.size), s=16, alpha=0.75, color=colours[name], lw=0)
        left.plot([mine.mean()] * 2, [row - 0.32, row + 0.32], color="black", lw=1.6)
    left.set_yticks(range(len(names)), [f"{_short(n)} (n = {int((of[known] == n).sum())})" for n in names])
    left.set(xlabel="held-out position, SD within groups", ylim=(len(names) - 0.4, -0.6))
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
    colours, rng = group_colours(names), np.random.default_rng(0)
    figure = Figure(figsize=(6.4, 1.1 + 0.5 * len(names)))
    axes = figure.subplots()
    for row, name in enumerate(names):
        values = people["less"].to_numpy()[groups == name]
        axes.scatter(values, row + rng.uniform(-0.22, 0.22, values.size), s=14, alpha=0.7, color=colours[name], lw=0)
        axes.plot([np.median(values)] * 2, [row - 0.32, row + 0.32], color="black", lw=1.6)
    axes.set_yticks(range(len(names)), [f"{_short(n)} (n = {int((groups == n).sum())})" for n in names])
    axes.set(xlabel=f"regions with W of -2 or less, of {regions}", ylim=(len(names) - 0.4, -0.6))
    return figure


def forest_figure(validation: pd.DataFrame) -> Figure:
    """Error of every bound and test, the worst case as the end of a line, chance as a tick."""
    table = validation.reset_index(drop=True)
    error, bound, chance = numeric(table, "error"), numeric(table, "bound"), numeric(table, "chance")
    claims = list(dict.fromkeys(table["claim"]))
    rows, labels, y = [], [], 0.0
    figure = Figure(figsize=(8.6, 0.9 + 0.3 * (len(table) + 1.6 * len(claims))))
    axes = figure.subplots()
    finite = np.concatenate([error, bound, chance])
    finite = finite[np.isfinite(finite)]
    edge = float(np.clip(finite.max() * 1.06 if finite.size else 1.0, 0.6, 1.6))
    for claim in claims:
        axes.text(0, y, claim, fontweight="bold", va="center", fontsize=9)
        y += 1
        for i in np.flatnonzero(table["claim"] == claim):
            excluded = np.isfinite(bound[i]) and np.isfinite(chance[i]) and bound[i] < chance[i]
            colour = BLUE if excluded else VERMILION
            if np.isfinite(bound[i]):
                stop = min(bound[i], edge)
                axes.plot([error[i], stop], [y, y], color=colour, lw=2.2, solid_capstyle="butt")
                axes.plot(stop, y, ">" if bound[i] > edge else "|", color=colour, ms=8, mew=2, clip_on=False)
            colour = colour if np.isfinite(bound[i]) else FAINT
            inside = "white" if "sample" in table and table["sample"][i] == "in-sample" else colour
            axes.plot(error[i], y, "o", color=colour, mfc=inside, ms=5.5)
            if np.isfinite(chance[i]):
                axes.plot([chance[i]] * 2, [y - 0.42, y + 0.42], color="black", lw=1.6)
            note = f"n = {int(table['n'][i])}" if "n" in table and np.isfinite(table["n"][i]) else ""
            p = numeric(table, "p")[i]
            note += f",  p {'= ' if p >= 0.001 else ''}{p_text(p)}" if np.isfinite(p) else ""
            adjusted = numeric(table, "p_adjusted")[i]
            note += f", adjusted {p_text(adjusted)}" if adjusted > p else ""
            area = numeric(table, "auc")[i]
            note += f",  AUC {area:.2f}" if np.isfinite(area) else ""
            axes.text(edge * 1.02, y, note, va="center", fontsize=8, color=FAINT)
            rows.append(y)
            labels.append(TESTS.get(table["method"][i], table["method"][i]))
            y += 1
        y += 0.5
    axes.set_yticks(rows, labels)
    axes.set(
        xlim=(0, edge),
        ylim=(y - 0.4, -0.8),
        xlabel="error (dot), its upper bound (end of the line), chance (black tick)",
    )
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    return figure


def baselines_figure(baselines: pd.DataFrame) -> Figure:
    """Balanced accuracy of the latents beside that of simpler features, one panel per contrast."""
    contrasts = list(dict.fromkeys(baselines["contrast"]))
    longest = max((baselines["contrast"] == contrast).sum() for contrast in contrasts)
    figure = Figure(figsize=(8.6, len(contrasts) * (0.75 + 0.3 * longest)))
    panels = np.atleast_1d(figure.subplots(len(contrasts), 1, sharex=True, gridspec_kw={"hspace": 0.55}))
    for axes, contrast in zip(panels, contrasts, strict=True):
        part = baselines[baselines["contrast"] == contrast].reset_index(drop=True)
        # A score has no balanced accuracy: its concordance (c index) stands in the column of the AUC.
        score = not np.isfinite(numeric(part, "balanced_accuracy")).any()
        value = numeric(part, "auc" if score else "balanced_accuracy")
        part, value = part[np.isfinite(value)].reset_index(drop=True), value[np.isfinite(value)]
        low, high = (numeric(part, column) for column in ("ci_low", "ci_high"))
        for i in range(len(part)):
            colour = BLUE if str(part["features"][i]).startswith("latent") else FAINT
            if np.isfinite(low[i]) and np.isfinite(high[i]):
                axes.plot([low[i], high[i]], [i, i], color=colour, lw=2)
            axes.plot(value[i], i, "o", color=colour, ms=6)
        axes.axvline(0.5, color="black", lw=1, ls="--")
        axes.set_yticks(range(len(part)), [FEATURES.get(name, name) for name in part["features"]])
        axes.set(ylim=(len(part) - 0.5, -0.5))
        n = numeric(part, "n")
        measure = "concordance with the score" if score else "balanced accuracy"
        axes.set_title(f"{contrast}: {measure}" + (f", n = {int(np.nanmax(n))}" if np.isfinite(n).any() else ""))
    panels[-1].set_xlabel("out of fold (dot) with 95 % confidence interval (line); dashed: guessing")
    return figure


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


def truth_figure(ranked_truth: np.ndarray, title: str) -> Figure:
    """How many planted regions are among the k highest ranks, against guessing and against the best possible."""
    total, planted = ranked_truth.size, int(ranked_truth.sum())
    k = np.arange(1, total + 1)
    figure = Figure(figsize=(5.6, 3.4))
    axes = figure.subplots()
    axes.plot(k, np.minimum(k, planted), color=GREEN, lw=1.2, ls=":", label="best possible")
    axes.plot(k, np.cumsum(ranked_truth), color=BLUE, lw=2, label="LRCP")
    axes.plot(k, k * planted / total, color=FAINT, lw=1.2, ls="--", label="guessing")
    axes.axvline(planted, color=FAINT, lw=0.8)
    axes.legend(loc="lower right")
    axes.set(
        xlabel="regions taken from the top of the LRCP list",
        ylabel="planted regions among them",
        title=title,
        xlim=(1, total),
        ylim=(0, planted * 1.05),
    )
    return figure


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


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
