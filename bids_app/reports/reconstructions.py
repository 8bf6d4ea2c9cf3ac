"""What the model makes of maps: examples, errors by group, and what its latents do."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .group_results import GroupResults
from .participant_figures import DIVERGING
from .slices import canonical, mosaic, plan_layout

MOST = 4


def reconstruction_figure(results: GroupResults) -> Figure | None:
    """One row an example: axial slices of the map, of the reconstruction and of the difference.

    Reads ``group/reconstructions.nii.gz`` (4D) and ``group/reconstructions.tsv`` (``volume`` index, ``participant_id``,
    ``kind`` such as *typical*, ``source`` *map* or *reconstruction*, ``error``).
    """
    table = results.table("reconstructions")
    path = results.folder / "reconstructions.nii.gz"
    if table is None or not path.exists():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    pairs = []
    for (kind, person), rows in table.groupby(["kind", "participant_id"], sort=False):
        volumes = {str(source): int(volume) for source, volume in zip(rows["source"], rows["volume"], strict=True)}
        if {"map", "reconstruction"} <= volumes.keys():
            pairs.append((str(kind), str(person), float(rows["error"].iloc[0]), volumes))
    pairs = pairs[:MOST]
    if not pairs:
        return None
    data = canonical(image)[0]
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
    for row, (kind, person, error, volumes) in zip(grid, pairs, strict=True):
        given, made = data[..., volumes["map"]], data[..., volumes["reconstruction"]]
        parts = (
            (given, "inferno", maps, f"{kind}: {person}, map"),
            (made, "inferno", maps, f"reconstruction (error {error:.2g})"),
            (given - made, DIVERGING, difference, "map − reconstruction"),
        )
        for axes, (volume, cmap, norm, title) in zip(row, parts, strict=True):
            axes.imshow(mosaic(volume, layout), cmap=cmap, norm=norm)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=10)
            ink = "white" if cmap == "inferno" else "black"
            axes.text(4, 4, "L", color=ink, va="top", fontweight="bold")
            axes.text(wide - 4, 4, "R", color=ink, va="top", ha="right", fontweight="bold")
            for spine in axes.spines.values():
                spine.set_visible(False)
    height = figure.get_size_inches()[1]
    for left, cmap, norm, label in (
        (0.2, "inferno", maps, "grey matter, ml per ml of template (smoothed as for training)"),
        (0.7, DIVERGING, difference, "difference, ml per ml: purple more than reconstructed"),
    ):
        bar = figure.add_axes((left, 0.5 / height, 0.26, 0.12 / height))
        figure.colorbar(
            ScalarMappable(norm, cmap), cax=bar, orientation="horizontal", extend="max" if cmap == "inferno" else "both"
        ).set_label(label, fontsize=9)
    return figure


def traversal_figure(results: GroupResults) -> Figure | None:
    """One row a latent: axial slices of the change of the decoded map at each value of the latent.

    Reads ``group/traversals.nii.gz`` (4D) and ``group/traversals.tsv`` (``volume, latent, sd, variance_share``).
    """
    table = results.table("traversals")
    path = results.folder / "traversals.nii.gz"
    if table is None or not path.exists():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    data = canonical(image)[0]
    inside = (data != 0).any(-1)
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
            axes.imshow(mosaic(data[..., int(said["volume"])], layout), cmap=DIVERGING, norm=norm)
            share = f"{100 * said['variance_share']:.0f} % of the latents' variance"
            axes.set_title(f"latent {int(said['latent'])} at {said['sd']:+g} SD ({share})", fontsize=10)
            axes.set(xticks=[], yticks=[])
            axes.text(4, 4, "L", va="top", fontweight="bold")
            axes.text(wide - 4, 4, "R", va="top", ha="right", fontweight="bold")
            for spine in axes.spines.values():
                spine.set_visible(False)
    bar = figure.add_axes((0.3, 0.5 / height, 0.4, 0.12 / height))
    figure.colorbar(ScalarMappable(norm, DIVERGING), cax=bar, orientation="horizontal", extend="both").set_label(
        "change of the decoded map, ml of grey matter per ml of template: purple more", fontsize=9
    )
    return figure


def error_figure(results: GroupResults) -> Figure | None:
    """One row a group: axial slices of the root mean squared out-of-fold error.

    Reads ``group/error_<group>.nii.gz``, the mean squared error at each voxel.
    """
    paths = sorted(results.folder.glob("error_*.nii.gz"))
    if not paths:
        return None
    image = nib.as_closest_canonical(nib.load(paths[0]))
    maps = [np.sqrt(np.maximum(canonical(nib.load(path))[0], 0)) for path in paths]
    inside = maps[0] > 0
    layout = plan_layout(inside, image.affine, planes=("axial",), columns=10, pixel=1.3, margin_mm=3)
    norm = Normalize(0, float(np.percentile(np.stack(maps)[:, inside], 99.5)) or 1.0)
    tall, wide = layout.tile[0], layout.tile[1] * 10
    figure = Figure(figsize=(14, 14 * tall / wide * len(maps) * 1.25 + 0.9))
    height = figure.get_size_inches()[1]
    margins = {"left": 0, "right": 1, "top": 1 - 0.3 / height, "bottom": 0.75 / height}
    grid = figure.subplots(len(maps), squeeze=False, gridspec_kw={"hspace": 0.2, **margins})[:, 0]
    for axes, data, path in zip(grid, maps, paths, strict=True):
        axes.imshow(mosaic(data, layout), cmap="inferno", norm=norm)
        group = path.name.removeprefix("error_").removesuffix(".nii.gz")
        axes.set_title(
            f"{group} (root of the mean over the brain: {np.sqrt((data[inside] ** 2).mean()):.3g})", fontsize=10
        )
        axes.set(xticks=[], yticks=[])
        axes.text(4, 4, "L", color="white", va="top", fontweight="bold")
        axes.text(wide - 4, 4, "R", color="white", va="top", ha="right", fontweight="bold")
        for spine in axes.spines.values():
            spine.set_visible(False)
    bar = figure.add_axes((0.3, 0.5 / height, 0.4, 0.12 / height))
    figure.colorbar(ScalarMappable(norm, "inferno"), cax=bar, orientation="horizontal", extend="max").set_label(
        "root mean squared error of unseen participants, ml of grey matter per ml of template", fontsize=9
    )
    return figure
