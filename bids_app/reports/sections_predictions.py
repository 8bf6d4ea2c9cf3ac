"""Section of the group report about predictions: how well unseen participants are classified."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from ..schema.verdict_tables import CONFUSION, PREDICTION_QUALITY, PREDICTIONS
from ..stats.crossfit import in_units_of_folds
from .charts import group_colours
from .group_results import GroupResults, numeric
from .items import Item, item
from .style import BLUE, FAINT, html_table, p_text

_BINS = 5  # of a calibration curve


def predictions(results: GroupResults) -> Iterator[Item]:
    """ROC and calibration of two groups, scatter of scores, confusion of several groups, and all measures."""
    people, quality = results.table(PREDICTIONS), results.table(PREDICTION_QUALITY)
    if quality is None:
        return
    parts = [] if people is None else list(people.groupby(people["contrast"].astype(str), sort=False))
    for i, (contrast, part) in enumerate(parts):
        if part["score"].notna().all():
            yield item("roc", two_group_figure(part, contrast), number=i, contrast=contrast, n=len(part))
        else:
            yield item("scatter", score_figure(part, contrast), number=i, contrast=contrast, n=len(part))
    confusion = results.table(CONFUSION)
    if confusion is not None:
        total = int(numeric(confusion, "people").sum())
        yield item("confusion", confusion_figure(confusion), n=total)
    headers = PREDICTION_QUALITY.headers(quality)
    yield item("predictionTable", html_table(quality, headers=headers, formats={"p": p_text}))


def two_group_figure(people: pd.DataFrame, contrast: str) -> Figure:
    """ROC curve and calibration of one contrast of two groups."""
    truth = (people["truth"].astype(str) == _first_label(people, contrast)).to_numpy()
    figure = Figure(figsize=(8.0, 3.6))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.35})
    fall_out, hits, _ = roc_curve(truth, in_units_of_folds(numeric(people, "score"), people["fold"].to_numpy()))
    left.plot(fall_out, hits, color=BLUE, lw=1.8)
    left.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    predicted = (people["predicted"].astype(str) == people["truth"].astype(str)).to_numpy()
    left.plot(1 - predicted[~truth].mean(), predicted[truth].mean(), "o", color="black", ms=6)
    left.set(xlabel="1 − specificity", ylabel="sensitivity", aspect="equal", title=f"n = {len(people)}")
    probability = numeric(people, "probability")
    right.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
    if np.isfinite(probability).all():
        bins = min(_BINS, len(truth) // 6 or 1)
        share, middle = calibration_curve(truth, probability, n_bins=bins, strategy="quantile")
        right.plot(middle, share, "o-", color=BLUE, lw=1.4)
    right.set(xlabel="predicted probability", ylabel="share for which it is true", title=f"n = {len(people)}")
    right.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))
    return figure


def _first_label(people: pd.DataFrame, contrast: str) -> str:
    """The group that a contrast names first; names may hold hyphens."""
    names = sorted(people["truth"].astype(str).unique(), key=len, reverse=True)
    return next((name for name in names if contrast.startswith(f"{name}-")), names[0])


def score_figure(people: pd.DataFrame, contrast: str) -> Figure:
    """Predicted against true score; an order's steps are jittered."""
    truth, predicted = numeric(people, "truth"), numeric(people, "predicted")
    figure = Figure(figsize=(4.4, 3.8))
    axes = figure.subplots()
    steps = np.unique(truth)
    ordinal = len(steps) <= 8
    shift = np.random.default_rng(0).uniform(-0.15, 0.15, len(truth)) if ordinal else 0.0
    axes.scatter(truth + shift, predicted, s=18, color=BLUE, alpha=0.7, lw=0)
    if ordinal:
        for step in steps:
            axes.plot([step - 0.25, step + 0.25], [np.median(predicted[truth == step])] * 2, color="black", lw=1.6)
        names = contrast.split("<")
        if len(names) == len(steps):
            axes.set_xticks(steps, names)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, lw=0.8, ls=":")
    axes.set(xlabel=f"true ({contrast})", ylabel="predicted, held out", title=f"n = {len(people)}")
    return figure


def confusion_figure(confusion: pd.DataFrame) -> Figure:
    """People by true and predicted group; the colour is the share of the true group."""
    names = list(dict.fromkeys(confusion["truth"].astype(str)))
    pairs = confusion.assign(people=numeric(confusion, "people")).pivot(
        index="truth", columns="predicted", values="people"
    )
    counts = pairs.loc[names, names].to_numpy()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.6 + 0.9 * len(names), 1.2 + 0.8 * len(names)))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        axes.text(
            j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color="white" if share[i, j] > 0.6 else "black"
        )
    colours = group_colours(names)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(
        range(len(names)), [f"{name} (n = {n:.0f})" for name, n in zip(names, counts.sum(axis=1), strict=True)]
    )
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(colours[name])
    axes.set(xlabel="predicted, held out", ylabel="true group")
    return figure
