"""Nothing upside down: a marked voxel is found where a reader expects it."""

import nibabel as nib
import numpy as np
import pytest

from bids_app.reports.slices import in_ras, mosaic, open_figure, plan_layout, window

SHAPE = (20, 26, 22)


def marked(direction):
    """Axes in RAS; a bright block at the end of one direction."""
    data = np.zeros(SHAPE, np.float32)
    where = {
        "left": np.s_[:4],
        "right": np.s_[-4:],
        "back": np.s_[:, :4],
        "front": np.s_[:, -4:],
        "low": np.s_[:, :, :4],
        "high": np.s_[:, :, -4:],
    }
    data[where[direction]] = 1
    return data


def centre(picture):
    rows, columns = np.nonzero(picture > 0.5)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


@pytest.mark.parametrize(
    ("direction", "plane", "vertical", "horizontal"),
    [
        ("left", "axial", 0.5, 0.1),
        ("right", "axial", 0.5, 0.9),
        ("front", "axial", 0.1, 0.5),
        ("back", "axial", 0.9, 0.5),
        ("left", "coronal", 0.5, 0.1),
        ("high", "coronal", 0.1, 0.5),
        ("front", "sagittal", 0.5, 0.9),
        ("high", "sagittal", 0.1, 0.5),
    ],
)
def test_directions(direction, plane, vertical, horizontal):
    layout = plan_layout(np.ones(SHAPE, bool), np.diag([2.0, 2, 2, 1]), planes=(plane,), columns=1)
    picture = mosaic(marked(direction), layout, order=0)
    box = np.argwhere(mosaic(np.ones(SHAPE), layout, order=0) > 0.5)
    (top, left), (bottom, right) = box.min(0), box.max(0) + 1
    row, column = centre(picture[top:bottom, left:right])
    assert abs(row - vertical) < 0.1
    assert abs(column - horizontal) < 0.1


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_orientation_of_the_file_does_not_matter(flip):
    data = marked("left") + 0.5 * marked("high")
    affine = np.diag([2.0, 2, 2, 1])
    stored = data[:: flip[0], :: flip[1], :: flip[2]]
    back, back_affine = in_ras(nib.Nifti1Image(stored, _flipped(affine, flip)))
    np.testing.assert_allclose(back, data)
    np.testing.assert_allclose(back_affine, affine)


def _flipped(affine, flip):
    change = np.eye(4)
    for axis, sign in enumerate(flip):
        if sign < 0:
            change[axis, axis], change[axis, 3] = -1, SHAPE[axis] - 1
    return affine @ change


def test_anisotropic_voxels_keep_their_proportions():
    data = np.zeros((40, 40, 20), np.float32)
    x, y, z = np.meshgrid(np.arange(40), np.arange(40), np.arange(20), indexing="ij")
    data[(x - 20) ** 2 + (y - 20) ** 2 + (2 * (z - 10)) ** 2 < 15**2] = 1  # a ball, as voxels are twice as high as wide
    layout = plan_layout(data > 0, np.diag([1.0, 1, 2, 1]), planes=("coronal",), columns=1)
    rows, columns = np.nonzero(mosaic(data, layout, order=0) > 0.5)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 3


def test_every_plane_has_its_row_and_coordinates_are_millimetres():
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -10, -20, -30
    layout = plan_layout(np.ones(SHAPE, bool), affine, columns=3)
    _, axes, bar = open_figure(layout, colourbar=True)
    texts = [text.get_text() for text in axes.texts]
    assert sum(text == "L" for text in texts) == sum(text == "R" for text in texts) == 6
    assert bar is not None
    stop = layout.rows[0][1][0]
    assert f"z = {stop * 2 - 30:.0f}".replace("-", "−") in texts


def test_an_empty_mask_still_gives_a_picture():
    layout = plan_layout(np.zeros(SHAPE, bool), np.eye(4))
    assert mosaic(np.zeros(SHAPE), layout).ndim == 2
    low, high = window(np.zeros(SHAPE))
    assert high > low


def test_not_a_number_becomes_background():
    data = np.full(SHAPE, np.nan, np.float32)
    data[5] = np.inf
    assert np.all(in_ras(nib.Nifti1Image(data, np.eye(4)))[0] == 0)
