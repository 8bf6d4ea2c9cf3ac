"""The pictures of one scan, drawn from its output files; that of the Jacobian, which is none, from a work file.

Every function takes a `ScanOutputs` (and what is no output file: the template, the Jacobian) and returns the path of
the reportlet it wrote into ``sub-X/figures``, or None where a file it needs is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ..space.templates import Template
from .scan_outputs import ScanOutputs, load
from .slices import Layout, in_ras, mosaic, on_grid, open_figure, plan_layout, window
from .style import DIVERGING, GREEN, ORANGE, PINK, SKY, data_uri, esc, save_png, styled

JACOBIAN_LIMIT = 2.0  # colours end at half and at twice the volume
GM_LIMIT = 1.2  # ml of grey matter per ml of template


def make_scan_figures(scan: ScanOutputs, template: Template | None) -> list[Path]:
    """Draw every reportlet that the files of a scan allow.

    Parameters
    ----------
    scan : ScanOutputs
    template : Template or None
        The template of the maps at any resolution; without it (not available offline) the comparison with the
        template is left out.

    Returns
    -------
    list of Path
    """
    with styled():
        # The map itself comes last: that its picture is there says that the others are.
        drawn = [
            draw_mask(scan),
            draw_tissues(scan),
            draw_normalisation(scan, template),
            draw_reconstruction(scan),
            draw_modulated(scan, template),
        ]
    return [path for path in drawn if path is not None]


def draw_mask(scan: ScanOutputs) -> Path | None:
    """Outline of the brain mask on the native T1w."""
    t1w, mask = load(scan.find("t1w")), load(scan.find("mask"))
    if t1w is None or mask is None:
        return None
    data, affine = in_ras(t1w)
    inside = in_ras(on_grid(mask, t1w, order=0))[0] > 0.5
    low, high = window(data, inside)
    # Wide enough to see what the mask has missed; the whole volume where there is hardly any mask.
    layout = plan_layout(inside if inside.mean() > 0.01 else data > 0.1 * high, affine, pixel=1.1, margin_mm=18)
    figure, axes, _ = open_figure(layout)
    axes.imshow(mosaic(data, layout), cmap="gray", vmin=low, vmax=high)
    if inside.any():
        axes.contour(mosaic(inside, layout), levels=[0.5], colors=ORANGE, linewidths=1.4)
    return save_png(figure, scan.figure("brainmask", ".png"))


def draw_tissues(scan: ScanOutputs) -> Path | None:
    """Where grey and white matter are more likely than not, and dark spots of white matter, on the native T1w."""
    t1w = load(scan.find("t1w"))
    gm, wm = (load(scan.find(tissue)) for tissue in ("gm", "wm"))
    if t1w is None or gm is None or wm is None:
        return None
    data, affine = in_ras(t1w)
    tissues = {ORANGE: in_ras(on_grid(gm, t1w))[0], SKY: in_ras(on_grid(wm, t1w))[0]}
    brain = np.sum([*tissues.values()], axis=0) > 0.5
    spots = load(scan.find("hypointensities"))
    if spots is not None:  # an earlier version wrote none
        tissues[PINK] = in_ras(on_grid(spots, t1w, order=0))[0]
    low, high = window(data, brain)
    layout = plan_layout(brain, affine, columns=5, pixel=0.8)
    figure, axes, _ = open_figure(layout)
    axes.imshow(mosaic(data, layout), cmap="gray", vmin=low, vmax=high)
    for colour, tissue in tissues.items():
        if (tissue > 0.5).any():
            width = 1.4 if colour == PINK else 1.0  # a pale line on white matter
            axes.contour(mosaic(tissue, layout), levels=[0.5], colors=colour, linewidths=width)
    return save_png(figure, scan.figure("tissues", ".png"))


def draw_normalisation(scan: ScanOutputs, template: Template | None) -> Path | None:
    """The template and the warped scan in one place, one after the other, each with the template's grey matter."""
    warped = load(scan.find("t1w_std"))
    if warped is None or template is None:
        return None
    layers = []
    layout = _template_layout(template)
    outline = mosaic(in_ras(template.gm)[0], layout)
    inside = in_ras(template.mask)[0] > 0.5
    for name, image in (("template", template.t1w), ("scan", on_grid(warped, template.t1w))):
        data = in_ras(image)[0]
        low, high = window(data, inside)
        figure, axes, _ = open_figure(layout)
        axes.imshow(mosaic(data, layout), cmap="gray", vmin=low, vmax=high)
        axes.contour(outline, levels=[0.5], colors=GREEN, linewidths=0.7)
        layers.append((name, save_png(figure, scan.figure(f"{name}Aligned", ".png"))))
    page = scan.figure("normalisation", ".html")
    page.write_text(_flicker(layers, scan.space or "template"), encoding="utf-8")
    for _, picture in layers:
        picture.unlink()
    return page


def draw_jacobian(scan: ScanOutputs, jacobian: Path, template: Template | None) -> Path:
    """How much volume every place of the template has in this brain, over that of the whole brain; logarithmic scale.

    Parameters
    ----------
    scan : ScanOutputs
    jacobian : Path
        Jacobian determinant of the whole native-to-template transform, on the template grid: a work file, so that this
        picture cannot be drawn later from the outputs.
    template : Template or None
    """
    image: Any = nib.load(jacobian)
    with styled():
        return _draw_jacobian(scan, image, template)


def _draw_jacobian(scan: ScanOutputs, image: nib.Nifti1Image, template: Template | None) -> Path:
    data, affine = in_ras(image)
    inside = in_ras(on_grid(template.mask, image, order=0))[0] > 0.5 if template else data > 0
    layout = plan_layout(inside, affine, columns=7, pixel=1.0)
    figure, axes, colours = open_figure(layout, colourbar=True)
    # The template is larger than most heads: unless divided by the overall size, most would be one colour. The
    # logarithm makes halving and doubling equally strong colours.
    overall = max(float(np.median(data[inside])), 1e-6) if inside.any() else 1.0
    logs = np.log2(np.clip(data / overall, 1e-6, None))
    norm = Normalize(-np.log2(JACOBIAN_LIMIT), np.log2(JACOBIAN_LIMIT))
    axes.imshow(
        np.where(mosaic(inside, layout, order=0) > 0.5, mosaic(logs, layout), np.nan), cmap=DIVERGING, norm=norm
    )
    folded = (data <= 0) & inside
    if folded.any():
        axes.contour(mosaic(folded, layout, order=0), levels=[0.5], colors="red", linewidths=1.2)
    bar = figure.colorbar(ScalarMappable(norm, DIVERGING), cax=colours, orientation="horizontal", extend="both")
    ticks = [0.5, 0.71, 1.0, 1.41, 2.0]
    bar.set_ticks([np.log2(tick) for tick in ticks], labels=["½", "0.71", "1", "1.41", "2"])
    bar.set_label(
        f"volume here / volume in the template, relative to the brain's median of {overall:.2f} (log scale): "
        "brown smaller, purple larger",
        fontsize=9,
    )
    return save_png(figure, scan.figure("jacobian", ".png"))


def draw_modulated(scan: ScanOutputs, template: Template | None) -> Path | None:
    """The grey-matter map that all later steps use."""
    image = load(scan.modulated)
    if image is None:
        return None
    data, affine = in_ras(image)
    layout = plan_layout(data > 0.1, affine, columns=7, pixel=1.0)
    figure, axes, colours = open_figure(layout, colourbar=True)
    norm = Normalize(0, GM_LIMIT)
    axes.imshow(mosaic(data, layout), cmap="inferno", norm=norm)
    if template is not None:
        axes.contour(
            mosaic(in_ras(on_grid(template.mask, image, order=0))[0], layout),
            levels=[0.5],
            colors="white",
            linewidths=0.5,
        )
    bar = figure.colorbar(ScalarMappable(norm, "inferno"), cax=colours, orientation="horizontal", extend="max")
    modulated = scan.modulated is not None and "desc-modulated" in scan.modulated.name
    bar.set_label(
        "ml of grey matter per ml of template" if modulated else "grey-matter probability (not modulated)", fontsize=9
    )
    return save_png(figure, scan.figure("modulated", ".png"))


def draw_reconstruction(scan: ScanOutputs) -> Path | None:
    """Map, what the model made of it, and the difference, in the same slices."""
    recon = load(scan.find("recon"))
    source = load(scan.find("smoothed")) or load(scan.modulated)
    if recon is None or source is None:
        return None
    made, affine = in_ras(recon)
    given = in_ras(on_grid(source, recon))[0]
    layout = plan_layout(given > 0.1, affine, planes=("axial",) * 3, columns=7, pixel=1.2)
    tall = layout.tile[0]
    figure, axes, colours = open_figure(layout, colourbar=True)
    one = Layout(layout.rows[:1], layout.box, layout.spacing, layout.affine, layout.pixel)
    rest = given - made
    brain = (given > 0.02) | (made > 0.02)
    # Strong enough to see, but never so strong that a good reconstruction looks bad.
    limit = max(0.1, float(np.percentile(np.abs(rest[brain]), 99.5))) if brain.any() else 0.1
    maps, difference = Normalize(0, GM_LIMIT), Normalize(-limit, limit)
    width = mosaic(given, one).shape[1]
    pictures = (
        (given, "inferno", maps, "map"),
        (made, "inferno", maps, "reconstruction"),
        (np.where(brain, rest, np.nan), DIVERGING, difference, "difference"),
    )
    for row, (data, colour, norm, name) in enumerate(pictures):
        place = (-0.5, width - 0.5, (row + 1) * tall - 0.5, row * tall - 0.5)
        axes.imshow(mosaic(data, one, fill=np.nan), cmap=colour, norm=norm, extent=place)
        axes.text(width / 2, row * tall + 4, name, color="white", ha="center", va="top", fontsize=11)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(3 * tall - 0.5, -0.5))
    assert colours is not None  # asked for
    _, bottom, _, height = colours.get_position().bounds
    colours.set_position((0.08, bottom, 0.36, height))
    second = figure.add_axes((0.56, bottom, 0.36, height))
    figure.colorbar(ScalarMappable(maps, "inferno"), cax=colours, orientation="horizontal", extend="max").set_label(
        "map and reconstruction: ml of grey matter per ml of template", fontsize=9
    )
    figure.colorbar(
        ScalarMappable(difference, DIVERGING), cax=second, orientation="horizontal", extend="both"
    ).set_label("map − reconstruction, ml/ml:  purple more than the model expects", fontsize=9)
    return save_png(figure, scan.figure("reconstruction", ".png"))


def _template_layout(template: Template) -> Layout:
    return plan_layout(in_ras(template.mask)[0] > 0.5, template.affine, columns=6, pixel=0.9)


def _flicker(layers: list[tuple[str, Path]], space: str) -> str:
    """Two pictures on top of each other; the page's style sheet fades the upper one in and out, the button stops it."""
    (_, below), (_, above) = layers
    names = esc(space), "this scan"
    return f"""<div class="flicker" data-flicker>
<div class="flicker-controls" role="group" aria-label="Compare template and scan">
<button type="button" data-show="both" aria-pressed="true">flicker</button>
<button type="button" data-show="below" aria-pressed="false">template</button>
<button type="button" data-show="above" aria-pressed="false">this scan</button>
<span class="flicker-label"><span class="on-below">{names[0]}</span><span class="on-above">{names[1]}</span></span>
</div>
<div class="scroll picture" tabindex="0" role="group" aria-label="Template and scan, flickering">
<div class="flicker-stack">
<img class="below" src="{data_uri(below)}" alt="Slices of the template {names[0]} with the outline of its grey matter">
<img class="above" src="{data_uri(above)}" alt="The same slices of the scan in template space with the same outline">
</div></div></div>"""


def template_or_none(name: str | None, resolution: float = 2.0) -> Template | None:
    """The template by name, or None where it is not at hand: a picture less is better than waiting for a download."""
    from ..errors import LatentAtlasError
    from ..space.templates import get_template

    try:
        return get_template(name, resolution, fetch=False) if name else None
    except LatentAtlasError:
        return None
