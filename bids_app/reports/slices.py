"""Brain slices: three planes of an image as one picture, left and right marked.

Images are brought to the nearest canonical orientation (RAS), so array axes run left to right, back to front and
bottom to top. The left of the picture is the left of the brain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nibabel.processing import resample_from_to
from scipy.ndimage import zoom

_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
_LETTER = "xyz"


@dataclass(frozen=True)
class Layout:
    """Where to cut and how to lay the tiles out.

    Attributes
    ----------
    rows : tuple of (plane, tuple of int)
        One row of tiles each: the plane and the voxel indices of its slices.
    box : ndarray (3, 2)
        First and last + 1 voxel shown on every axis.
    spacing : ndarray (3,)
        Voxel size, mm.
    affine : ndarray (4, 4)
        Of the canonical image, for the coordinates under the tiles.
    pixel : float
        Size of a pixel of the picture, mm.
    """

    rows: tuple[tuple[str, tuple[int, ...]], ...]
    box: np.ndarray
    spacing: np.ndarray
    affine: np.ndarray
    pixel: float

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a tile in pixels; the same for every plane, so that the columns line up."""
        extent = (self.box[:, 1] - self.box[:, 0]) * self.spacing
        height = max(extent[2], extent[1] if any(plane == "axial" for plane, _ in self.rows) else 0)
        width = max(extent[0], extent[1] if any(plane == "sagittal" for plane, _ in self.rows) else 0)
        return int(np.ceil(height / self.pixel)) + 2, int(np.ceil(width / self.pixel)) + 2


def in_ras(image: nib.Nifti1Image) -> tuple[np.ndarray, np.ndarray]:
    """Data (float32, RAS) and affine of an image; a non-finite voxel becomes 0."""
    image = nib.as_closest_canonical(image)
    data = np.asarray(image.dataobj, dtype=np.float32)
    return np.nan_to_num(np.squeeze(data), posinf=0.0, neginf=0.0), image.affine


def on_grid(image: nib.Nifti1Image, reference: nib.Nifti1Image, order: int = 1) -> nib.Nifti1Image:
    """The image on the grid of the reference; untouched where it is there already."""
    if image.shape[:3] == reference.shape[:3] and np.allclose(image.affine, reference.affine, atol=1e-3):
        return image
    return resample_from_to(image, (reference.shape[:3], reference.affine), order=order)


def plan_layout(
    inside: np.ndarray,
    affine: np.ndarray,
    *,
    planes: tuple[str, ...] = ("axial", "coronal", "sagittal"),
    columns: int = 7,
    margin_mm: float = 6.0,
    pixel: float = 1.0,
) -> Layout:
    """Spread slices evenly over whatever lies inside a mask.

    Parameters
    ----------
    inside : ndarray of bool (X, Y, Z)
        What the picture must show.
    affine : ndarray (4, 4)
        Voxel to mm.
    planes, columns : tuple of str, int
        One row of `columns` tiles a plane.
    margin_mm : float
        Left round the mask.
    pixel : float
        Size of a picture pixel, mm.
    """
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    shape = np.array(inside.shape)
    filled = np.stack([np.zeros(3, int), shape - 1], axis=1)
    if inside.any():
        for axis in range(3):
            stops = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
            filled[axis] = stops[0], stops[-1]
    pad = np.round(margin_mm / spacing).astype(int)
    box = np.stack([np.maximum(0, filled[:, 0] - pad), np.minimum(shape, filled[:, 1] + 1 + pad)], axis=1)
    rows = []
    for plane in planes:
        low, high = filled[_AXIS[plane]]
        # The outermost tenth of a brain shows little but rind.
        stops = np.linspace(low + (high - low) * 0.1, high - (high - low) * 0.1, columns)
        rows.append((plane, tuple(round(float(stop)) for stop in stops)))
    return Layout(tuple(rows), box, spacing, np.asarray(affine), pixel)


def mosaic(data: np.ndarray, layout: Layout, order: int = 1, fill: float = 0.0) -> np.ndarray:
    """All tiles of a volume as one picture.

    Parameters
    ----------
    data : ndarray (X, Y, Z)
    layout : Layout
    order : int
        Interpolation: 1 linear, 0 for labels.
    fill : float
        Between the tiles.

    Returns
    -------
    ndarray (rows * tile height, columns * tile width)
        First row at the top.
    """
    height, width = layout.tile
    columns = max(len(stops) for _, stops in layout.rows)
    picture = np.full((height * len(layout.rows), width * columns), fill, dtype=np.float32)
    for row, (plane, stops) in enumerate(layout.rows):
        axis = _AXIS[plane]
        across, up = (a for a in range(3) if a != axis)
        cutter: list[slice | int] = [slice(*layout.box[a]) for a in range(3)]
        factors = (layout.spacing[up] / layout.pixel, layout.spacing[across] / layout.pixel)
        for column, stop in enumerate(stops):
            cutter[axis] = stop
            cut = data[tuple(cutter)].T[::-1]
            cut = zoom(cut.astype(np.float32), factors, order=order, grid_mode=True, mode="grid-constant", cval=fill)
            cut = cut[:height, :width]
            top = row * height + (height - cut.shape[0]) // 2
            left = column * width + (width - cut.shape[1]) // 2
            picture[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return picture


def window(data: np.ndarray, inside: np.ndarray | None = None) -> tuple[float, float]:
    """Grey levels between which a T1w reads well: 0 (or the 1st percentile) to a little over the 99th."""
    values = data[inside] if inside is not None and inside.any() else data[data > 0]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.5])
    low = min(0.0, float(low)) if low < 0 else 0.0
    return low, float(max(high * 1.05, low + 1e-6))


def open_figure(layout: Layout, *, colourbar: bool = False, width_px: int = 1400) -> tuple[Figure, Axes, Axes | None]:
    """A black figure that holds one mosaic, pixel for pixel, with coordinates and L/R drawn in.

    Returns
    -------
    figure, axes : Figure, Axes
        Draw mosaics with `Axes.imshow` (``extent`` and ``origin`` are the default) and `Axes.contour`.
    colour axes : Axes or None
        Where a horizontal colour bar goes, on white under the picture.
    """
    height, width = layout.tile
    rows, columns = len(layout.rows), max(len(stops) for _, stops in layout.rows)
    inches = width_px / 100
    picture = inches * (rows * height) / (columns * width)
    bar = 0.68 if colourbar else 0.0
    figure = Figure(figsize=(inches, picture + bar), facecolor="white")
    axes = figure.add_axes((0, bar / (picture + bar), 1, picture / (picture + bar)), facecolor="black")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, columns * width - 0.5), ylim=(rows * height - 0.5, -0.5))
    axes.set_facecolor("black")
    for spine in axes.spines.values():
        spine.set_visible(False)
    style: dict[str, Any] = {"color": "white", "fontsize": 10, "zorder": 10}
    for row, (plane, stops) in enumerate(layout.rows):
        axis = _AXIS[plane]
        for column, stop in enumerate(stops):
            middle = layout.box.mean(axis=1)
            middle[axis] = stop
            mm = (layout.affine @ np.append(middle, 1.0))[axis]
            x, y = column * width, row * height
            axes.text(x + 5, y + height - 4, f"{_LETTER[axis]} = {round(mm)}".replace("-", "−"), va="bottom", **style)
            if plane != "sagittal":
                axes.text(x + 5, y + 4, "L", va="top", fontweight="bold", **style)
                axes.text(x + width - 5, y + 4, "R", va="top", ha="right", fontweight="bold", **style)
            elif column == 0:
                axes.text(x + 5, y + 4, "back", va="top", **style)
                axes.text(x + width - 5, y + 4, "front", va="top", ha="right", **style)
    colours = None
    if colourbar:
        total = picture + bar
        colours = figure.add_axes((0.3, 0.47 / total, 0.4, 0.13 / total))
    return figure, axes, colours
