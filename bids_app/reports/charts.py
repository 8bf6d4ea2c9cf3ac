"""Plots of the group report. Each takes tables and returns a Matplotlib figure; n stands in every panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..schema.architectures import Architecture
from ..schema.methods import FEATURES, TESTS
from .group_results import MISSING, numeric
from .style import BLUE, FAINT, GREEN, ORANGE, PALETTE, VERMILION, p_text


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
        range(len(names)), [f"{short(name)} (n = {count})" for name, count in zip(names, counts, strict=True)]
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
            mark = ">" if error[i] > edge else "o"
            axes.plot(min(error[i], edge), y, mark, color=colour, mfc=inside, ms=5.5, clip_on=False)
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


def short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
