"""Atlas values on the brain: a glass brain with slices, and slices one can walk through."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..space.templates import Template
from .slices import in_ras, mosaic, on_grid, open_figure, plan_layout, window
from .style import DIVERGING, esc

FAINTEST = 0.25  # weak regions let the brain shine through
SEQUENTIAL = "inferno"  # dark to bright on a grey brain


def region_image(values: pd.Series, labels: nib.Nifti1Image) -> np.ndarray:
    """One number per region put back on the atlas.

    Parameters
    ----------
    values : Series
        Indexed by atlas label.
    labels : Nifti1Image
        Integer labels.

    Returns
    -------
    ndarray (X, Y, Z)
        float32, NaN outside every region that has a value; canonical orientation.
    """
    data = np.rint(in_ras(labels)[0]).astype(np.int64)
    lookup = np.full(int(data.max()) + 1, np.nan, np.float32)
    known = values[(values.index >= 0) & (values.index < lookup.size)]
    lookup[known.index.to_numpy(int)] = known.to_numpy(np.float32)
    lookup[0] = np.nan
    return lookup[data]


def region_figure(
    values: pd.Series,
    labels: nib.Nifti1Image,
    template: Template | None,
    *,
    label: str,
    diverging: bool = False,
    outlined: Collection[int] = (),
) -> Figure:
    """Values of regions on slices of the template in three planes.

    Parameters
    ----------
    values : Series
        Indexed by atlas label; NaN is not drawn.
    labels : Nifti1Image
        The atlas.
    template : Template or None
        What lies under it; the outline of the atlas where there is none.
    label : str
        Of the colour bar, with its unit.
    diverging : bool
        Colours symmetric about 0.
    outlined : collection of int
        Labels of regions to draw a white line round.
    """
    painted = region_image(values, labels)
    affine = nib.as_closest_canonical(labels).affine
    under = in_ras(on_grid(template.t1w, nib.as_closest_canonical(labels)))[0] if template is not None else None
    inside = under > 0 if under is not None else in_ras(labels)[0] > 0
    layout = plan_layout(inside, affine, columns=8, pixel=0.9, margin_mm=3)
    figure, axes, colours = open_figure(layout, colourbar=True)
    if under is not None:
        low, high = window(under, inside)
        axes.imshow(mosaic(under, layout), cmap="gray", vmin=low, vmax=high * 1.25)
    else:
        axes.imshow(mosaic(inside.astype(np.float32), layout, order=0), cmap="gray", vmin=0, vmax=3)
    cmap, norm = colour_scale(values, diverging)
    tiles = mosaic(painted, layout, order=0, fill=np.nan)
    strength = np.abs(np.nan_to_num(tiles)) / max(abs(limit) for limit in (norm.vmin, norm.vmax) if limit is not None)
    axes.imshow(tiles, cmap=cmap, norm=norm, alpha=np.clip(FAINTEST + (0.95 - FAINTEST) * 2 * strength, 0, 0.95))
    if outlined:
        marked = np.isin(np.rint(in_ras(labels)[0]).astype(int), list(outlined)).astype(np.float32)
        axes.contour(mosaic(marked, layout), levels=[0.5], colors="white", linewidths=1.1)
    figure.colorbar(ScalarMappable(norm, cmap), cax=colours, orientation="horizontal").set_label(label, fontsize=9)
    return figure


def glass_figure(image: nib.Nifti1Image, threshold: float, *, label: str) -> Figure:
    """A map looked at through a transparent brain from the left, back, right and above (nilearn), colours about 0."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from nilearn.plotting import plot_glass_brain

    top = float(np.abs(np.asanyarray(image.dataobj)).max(initial=threshold))
    figure = plt.figure(figsize=(12, 3.3))
    limits = {"vmin": -top, "vmax": top, "plot_abs": False, "threshold": threshold}
    place = {"figure": figure, "axes": (0, 0.16, 1, 0.78), "display_mode": "lyrz", "colorbar": False}
    display = plot_glass_brain(image, cmap=DIVERGING, annotate=True, **limits, **place)
    for side, name in (("l", "seen from the left"), ("r", "seen from the right")):
        display.axes[side].ax.set_title(name, fontsize=9, loc="center")
    colours = figure.add_axes((0.35, 0.13, 0.3, 0.035))
    scale = ScalarMappable(Normalize(-top, top), DIVERGING)
    figure.colorbar(scale, cax=colours, orientation="horizontal").set_label(label, fontsize=9)
    plt.close(figure)
    return figure


def colour_scale(values: pd.Series, diverging: bool) -> tuple[str, Normalize]:
    """Colour map name and normalisation of a set of region values."""
    finite = values[np.isfinite(values)]
    top = (float(finite.abs().max()) if len(finite) else 1.0) or 1.0
    return (DIVERGING, Normalize(-top, top)) if diverging else (SEQUENTIAL, Normalize(0, top))


def viewer_html(
    maps: dict[str, tuple[pd.Series, str, bool]],
    labels: nib.Nifti1Image,
    names: pd.DataFrame,
    template: Template | None,
) -> str:
    """Three planes that follow the pointer, with any of the maps on the template; works without network or server.

    The template (8 bit) and the region of every voxel travel once, compressed; a map is one number per region.

    Parameters
    ----------
    maps : dict
        Title -> (values indexed by atlas label, unit, diverging?).
    labels : Nifti1Image
        The atlas.
    names : DataFrame
        Columns ``index`` and ``name``.
    template : Template or None
    """
    import matplotlib

    flat = nib.as_closest_canonical(labels)
    whole = np.rint(in_ras(flat)[0]) if template is None else in_ras(on_grid(template.t1w, flat))[0]
    flat = flat.slicer[_box(whole > 0)]
    data = np.rint(in_ras(flat)[0]).astype(np.int64)
    order = [int(index) for index in names["index"] if (data == index).any()]
    small = np.zeros(max(int(data.max()), max(order, default=0)) + 1, np.uint16)
    small[order] = np.arange(1, len(order) + 1)
    regions = small[data]
    if template is not None:
        under = in_ras(on_grid(template.t1w, flat))[0]
        low, high = window(under, under > 0)
        grey = np.clip(255 * (under - low) / (high * 1.15 - low), 0, 255).astype(np.uint8)
    else:
        grey = np.where(regions > 0, 90, 0).astype(np.uint8)
    named = dict(zip(names["index"].astype(int), names["name"].astype(str), strict=True))
    payload = {
        "shape": list(data.shape),
        "affine": np.asarray(flat.affine).tolist(),
        "grey": _pack(grey),
        "regions": _pack(regions),
        "names": [named[index] for index in order],
        "maps": [],
        "scales": {
            name: [[round(255 * c) for c in matplotlib.colormaps[name](i / 63)[:3]] for i in range(64)]
            for name in (SEQUENTIAL, DIVERGING)
        },
    }
    for title, (values, unit, diverging) in maps.items():
        cmap, norm = colour_scale(values, diverging)
        numbers = [float(values.get(index, np.nan)) for index in order]
        payload["maps"].append(
            {
                "title": title,
                "unit": unit,
                "scale": cmap,
                "from": norm.vmin,
                "to": norm.vmax,
                "values": [None if np.isnan(v) else float(f"{v:.5g}") for v in numbers],
            }
        )
    options = "".join(f'<option value="{i}">{esc(title)}</option>' for i, title in enumerate(maps))
    keys = "arrow keys move the crosshair, page up and page down change the slice"
    planes = "".join(
        f'<figure><canvas tabindex="0" data-plane="{plane}" role="img" aria-label="{plane} slice; {keys}"></canvas>'
        "<figcaption></figcaption></figure>"
        for plane in ("axial", "coronal", "sagittal")
    )
    return (
        f'<div class="viewer" data-viewer><div class="controls"><label>Map<select>{options}</select></label>'
        '<label>Hide weak regions <input type="range" min="0" max="100" value="0"></label></div>'
        f'<output aria-live="polite">Hover over the brain.</output><div class="planes">{planes}</div>'
        '<div class="scale" aria-hidden="true"></div>'
        f'<script type="application/json">{script_json(payload)}</script></div>'
    )


def script_json(payload: object) -> str:
    """JSON that cannot end the script element it stands in, whatever text it holds."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _pack(array: np.ndarray) -> str:
    """Little-endian voxels, x fastest, gzipped, base64."""
    raw = np.asarray(array, dtype=array.dtype.newbyteorder("<")).tobytes(order="F")
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")


def _box(inside: np.ndarray, margin: int = 2) -> tuple[slice, ...]:
    """The part of the volume that holds the brain."""
    filled = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(slice(max(0, int(f[0]) - margin), int(f[-1]) + 1 + margin) if f.size else slice(None) for f in filled)
