"""What the model makes of maps: examples, in the course of training, errors by group, and what its latents do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..bids.tables import scan_names
from ..schema.columns import Table
from ..schema.model_tables import RECONSTRUCTIONS, RECONSTRUCTIONS_BY_EPOCH, TRAVERSALS
from ..schema.names import NO_GROUP, group_slugs
from ..schema.outputs import BY_EPOCH, ERROR_MAP, EXAMPLES, TRAVERSALS_IMAGE, Output
from .group_results import GroupResults, numeric
from .slices import Layout, in_ras, mosaic, plan_layout
from .style import DIVERGING

MOST = 4  # examples
MOST_EPOCHS = 6


def reconstruction_figure(results: GroupResults) -> Figure | None:
    """One row an example: axial slices of the map, of the reconstruction and of the difference.

    Reads ``group/reconstructions.nii.gz`` (4D) and ``group/reconstructions.tsv`` (``volume`` index,
    ``participant_id``[, ``session_id``], ``kind`` such as *typical*, ``source`` *map* or *reconstruction*, ``error``).
    """
    found = _maps_and_table(results, RECONSTRUCTIONS, EXAMPLES)
    if found is None:
        return None
    table, image, data = found
    pairs = []
    for (kind, scan), rows in table.groupby(["kind", scan_names(table)], sort=False):
        volumes = {str(source): int(volume) for source, volume in zip(rows["source"], rows["volume"], strict=True)}
        if {"map", "reconstruction"} <= volumes.keys():
            pairs.append((str(kind), str(scan), float(rows["error"].iloc[0]), volumes))
    pairs = pairs[:MOST]
    if not pairs:
        return None
    layout = plan_layout(
        np.abs(data[..., 0]) > 0.05, image.affine, planes=("axial",), columns=4, pixel=1.3, margin_mm=3
    )
    tall, wide = layout.tile[0], layout.tile[1] * 4
    top = float(np.percentile(data[data > 0.02], 99.5)) if (data > 0.02).any() else 1.0
    maps, difference = Normalize(0, top), Normalize(-top / 2, top / 2)
    figure = Figure(figsize=(14, 14 * (tall / (3 * wide)) * len(pairs) * 1.35 + 0.7))
    grid = figure.subplots(
        len(pairs),
        3,
        squeeze=False,
        gridspec_kw={
            "wspace": 0.02,
            "hspace": 0.3,
            "left": 0,
            "right": 1,
            "top": 0.93,
            "bottom": 0.17 if len(pairs) > 1 else 0.25,
        },
    )
    for row, (kind, scan, error, volumes) in zip(grid, pairs, strict=True):
        given, made = data[..., volumes["map"]], data[..., volumes["reconstruction"]]
        parts = (
            (given, "inferno", maps, f"{kind}: {scan}, map"),
            (made, "inferno", maps, f"reconstruction (error {error:.2g})"),
            (given - made, DIVERGING, difference, "map − reconstruction"),
        )
        for axes, (volume, cmap, norm, title) in zip(row, parts, strict=True):
            _panel(axes, volume, layout, cmap, norm, title)
    for left, cmap, norm, label in (
        (0.2, "inferno", maps, "grey matter, ml per ml of template (smoothed as for training)"),
        (0.7, DIVERGING, difference, "difference, ml per ml: purple more than reconstructed"),
    ):
        _bar(figure, (left, 0.26), cmap, norm, label)
    return figure


def epochs_shown(errors: Mapping[int, float], used: int) -> list[int]:
    """Epoch 0, the one in use, that of the lowest error, and of the others the latest: six at most.

    Parameters
    ----------
    errors : mapping of int to float
        Error of the held-out map after each epoch, in order.
    used : int
        Epochs of the model in use.
    """
    kept = {0, used, min(errors, key=lambda epoch: errors[epoch])} & {*errors}
    others = [epoch for epoch in errors if epoch not in kept]
    return sorted(kept | {*others[max(0, len(others) - MOST_EPOCHS + len(kept)) :]})


def epochs_figure(results: GroupResults) -> tuple[Figure, str] | None:
    """A held-out map and its reconstructions by epoch; under each, what was missing and what training changed.

    Reads ``group/reconstructions_by_epoch.nii.gz`` (4D) and the table of that name (``volume,
    participant_id[, session_id], source, epoch, error, epochs_in_use``).

    Returns
    -------
    figure : Figure
    sentence : str
        Whether training left its start (HTML).
    """
    found = _maps_and_table(results, RECONSTRUCTIONS_BY_EPOCH, BY_EPOCH)
    if found is None:
        return None
    table, image, data = found
    used = int(table["epochs_in_use"].iloc[0])
    made = table[table["source"] == "reconstruction"].assign(epoch=lambda t: numeric(t, "epoch").astype(int))
    made = made.set_index("epoch")
    shown = epochs_shown(dict(zip(made.index, numeric(made, "error"), strict=True)), used)
    given, start = data[..., 0], data[..., int(made["volume"][0])]
    layout = plan_layout(np.abs(given) > 0.05, image.affine, planes=("axial",), columns=3, margin_mm=3)
    layout = replace(layout, rows=(("axial", layout.rows[0][1][1:2]),))  # the middle of three
    top = float(np.percentile(given[given > 0.02], 99.5)) if (given > 0.02).any() else 1.0
    missed = float(np.percentile(np.abs(given - start)[np.abs(given) > 0.05], 99)) or 1.0
    maps, change = Normalize(0, top), Normalize(-missed, missed)
    columns = [(given, f"map of {scan_names(table)[0]}", given - start, "map − epoch 0")]
    for epoch in shown:
        volume = data[..., int(made["volume"][epoch])]
        name = results.architecture.start if epoch == 0 else f"epoch {epoch}"
        title = f"{name}{' (in use)' if epoch == used else ''}\nerror {made['error'][epoch]:.4g}"
        columns.append((volume, title, volume - start, f"epoch {epoch} − epoch 0" if epoch else ""))
    tall, wide = layout.tile
    figure = Figure(figsize=(14, 14 / (MOST_EPOCHS + 1) * tall / wide * 2 * 1.08 + 1.3))
    height = figure.get_size_inches()[1]
    margins = {"left": 0, "right": 1, "top": 1 - 0.45 / height, "bottom": 0.75 / height}
    grid = figure.subplots(2, MOST_EPOCHS + 1, gridspec_kw={"wspace": 0.02, "hspace": 0.1, **margins})
    for axes in grid.flat:
        axes.set_axis_off()
    for (upper, lower), (volume, title, difference, below) in zip(grid.T, columns, strict=False):
        _panel(upper, volume, layout, "inferno", maps, title)
        if below:
            _panel(lower, difference, layout, DIVERGING, change, below)
    _bar(figure, (0.2, 0.26), "inferno", maps, "grey matter, ml per ml of template (smoothed as for training)")
    _bar(figure, (0.6, 0.26), DIVERGING, change, "difference, ml per ml: purple more than at epoch 0")
    if used:
        return figure, f"<p>The model in use was trained for {used} epoch{'s' * (used > 1)}.</p>"
    return figure, (
        f"<p>The model in use stayed at the {results.architecture.start} (epoch 0): training gave held-out "
        "participants no gain beyond twice its standard error. The later pictures show how training would have "
        "changed this map; no result depends on them.</p>"
    )


def traversal_figure(results: GroupResults) -> Figure | None:
    """One row a latent: axial slices of the change of the decoded map at each value of the latent.

    Reads ``group/traversals.nii.gz`` (4D) and ``group/traversals.tsv`` (``volume, latent, sd, variance_share``).
    """
    found = _maps_and_table(results, TRAVERSALS, TRAVERSALS_IMAGE)
    if found is None:
        return None
    table, image, data = found
    inside = (data != 0).any(-1)
    if not inside.any():  # latents that the decoder ignores: a network that never left the mean map
        return None
    layout = plan_layout(inside, image.affine, planes=("axial",), columns=5, pixel=1.3, margin_mm=3)
    top = float(np.percentile(np.abs(data[inside]), 99.5)) or 1.0
    norm = Normalize(-top, top)
    latents = [rows for _, rows in table.groupby("latent", sort=False)]
    columns = max(len(rows) for rows in latents)
    tall, wide = layout.tile[0], layout.tile[1] * 5
    figure = Figure(figsize=(14, 14 * tall / (columns * wide) * len(latents) * 1.3 + 0.9))
    height = figure.get_size_inches()[1]
    grid = figure.subplots(
        len(latents),
        columns,
        squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.25, "left": 0, "right": 1, "top": 1 - 0.3 / height,
                     "bottom": 0.75 / height},
    )  # fmt: skip
    for row, rows in zip(grid, latents, strict=True):
        for axes, (_, said) in zip(row, rows.iterrows(), strict=True):
            share = f"{100 * said['variance_share']:.0f} % of the latents' variance"
            title = f"latent {int(said['latent'])} at {said['sd']:+g} SD ({share})"
            _panel(axes, data[..., int(said["volume"])], layout, DIVERGING, norm, title)
    label = "change of the decoded map, ml of grey matter per ml of template: purple more"
    _bar(figure, (0.3, 0.4), DIVERGING, norm, label)
    return figure


def error_figure(results: GroupResults) -> Figure | None:
    """One row per group: axial slices of the root mean squared out-of-fold error.

    Reads ``group/error_<group>.nii.gz``, the mean squared error at each voxel.
    """
    # In the order of the other figures.
    counts = {} if results.groups is None else dict(Counter(results.groups.fillna(NO_GROUP)))
    slugs = group_slugs(counts)
    groups = {slugs[group]: group for group in counts}
    order = {slug: place for place, slug in enumerate(groups)}
    paths = sorted(ERROR_MAP.find(results.output_dir), key=lambda p: order.get(ERROR_MAP.label(p), len(order)))
    if not paths:
        return None
    images: list[Any] = [nib.load(path) for path in paths]
    image = nib.as_closest_canonical(images[0])
    maps = [np.sqrt(np.maximum(in_ras(one)[0], 0)) for one in images]
    inside = maps[0] > 0
    layout = plan_layout(inside, image.affine, planes=("axial",), columns=10, pixel=1.3, margin_mm=3)
    norm = Normalize(0, float(np.percentile(np.stack(maps)[:, inside], 99.5)) or 1.0)
    tall, wide = layout.tile[0], layout.tile[1] * 10
    figure = Figure(figsize=(14, 14 * tall / wide * len(maps) * 1.25 + 0.9))
    height = figure.get_size_inches()[1]
    margins = {"left": 0, "right": 1, "top": 1 - 0.3 / height, "bottom": 0.75 / height}
    grid = figure.subplots(len(maps), squeeze=False, gridspec_kw={"hspace": 0.2, **margins})[:, 0]
    for axes, data, path in zip(grid, maps, paths, strict=True):
        slug = ERROR_MAP.label(path)
        group = groups.get(slug, slug)
        whole = np.sqrt((data[inside] ** 2).mean())
        n = f", n = {counts[group]}" if group in counts else ""
        _panel(axes, data, layout, "inferno", norm, f"{group}{n}: {whole:.3g} over the whole brain")
    label = "root mean squared error of unseen participants, ml of grey matter per ml of template"
    _bar(figure, (0.3, 0.4), "inferno", norm, label)
    return figure


def _maps_and_table(
    results: GroupResults, kind: Table, maps: Output
) -> tuple[pd.DataFrame, nib.Nifti1Image, np.ndarray] | None:
    """The table of a 4D image in ``group/``, the image (RAS) and its data; None where either is absent."""
    table, path = results.table(kind), maps.at(results.output_dir)
    if table is None or not path.exists():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    return table, image, in_ras(image)[0]


def _panel(axes: Axes, volume: np.ndarray, layout: Layout, cmap: str, norm: Normalize, title: str) -> None:
    """Slices of a volume with a title, left and right marked."""
    picture = mosaic(volume, layout)
    axes.imshow(picture, cmap=cmap, norm=norm)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    ink = "white" if cmap == "inferno" else "black"
    axes.text(4, 4, "L", color=ink, va="top", fontweight="bold")
    axes.text(picture.shape[1] - 4, 4, "R", color=ink, va="top", ha="right", fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bar(figure: Figure, span: tuple[float, float], cmap: str, norm: Normalize, label: str) -> None:
    """A colour bar at the foot of a figure; ``span`` is its left edge and width."""
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((span[0], 0.5 / height, span[1], 0.12 / height))
    extend = "max" if cmap == "inferno" else "both"
    bar = figure.colorbar(ScalarMappable(norm, cmap), cax=axes, orientation="horizontal", extend=extend)
    bar.set_label(label, fontsize=9)
