"""Jacobians against analytic ones; modulation conserves volume."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant._ants import image_like, to_ants
from bids_app.participant._grid import block_mean, coarse_affine, interpolate
from bids_app.participant.modulate import modulate, smooth
from bids_app.participant.transforms import (
    Transforms,
    displacement,
    displacement_jacobian,
    in_mask,
    jacobian,
    warp,
    whole,
)
from bids_app.space.templates import Template


def grid(shape=(48, 50, 46), zoom=2.0, affine=None):
    if affine is None:
        affine = np.diag([zoom, zoom, zoom, 1.0])
        affine[:3, 3] = -zoom * (np.array(shape) - 1) / 2
    return nib.Nifti1Image(np.zeros(shape, np.float32), affine)


def template_on(image):
    empty = image_like(np.zeros(image.shape), image)
    return Template("Phantom", float(image.header.get_zooms()[0]), empty, empty, lambda: (empty, empty, empty, None))


def world(image):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in image.shape], indexing="ij"), -1)
    return index @ image.affine[:3, :3].T + image.affine[:3, 3]


def affine_file(path, matrix, offset):
    import ants

    parameters = [*np.asarray(matrix, float).ravel(), *offset]
    transform = ants.create_ants_transform("AffineTransform", dimension=3, parameters=parameters)
    ants.write_transform(transform, str(path))
    return path


def field_file(path, image, displacement_ras):
    lps = (displacement_ras * [-1, -1, 1]).astype(np.float32)
    import ants

    like = to_ants(image)
    ants.image_write(
        ants.from_numpy(lps, origin=like.origin, spacing=like.spacing, direction=like.direction, has_components=True),
        str(path),
    )
    return path


def test_jacobian_of_an_affine_field_on_an_oblique_grid():
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, 10, -30], degrees=True).as_matrix() @ np.diag([1, 2, 1.5])
    image = grid((12, 11, 10), affine=affine)
    matrix = np.array([[0.1, 0.05, 0], [-0.1, -0.2, 0.02], [0, 0.1, 0.15]])
    u = world(image) @ matrix.T
    expected = np.linalg.det(np.eye(3) + matrix)
    np.testing.assert_allclose(displacement_jacobian(u, affine), expected, rtol=1e-4)


def test_jacobian_of_an_affine_transform_file(tmp_path):
    matrix = np.array([[1.2, 0.1, 0], [0, 0.9, -0.05], [0.02, 0, 1.1]])
    path = affine_file(tmp_path / "affine.mat", matrix, [3, -2, 1])
    determinant = jacobian(grid(), path, tmp_path).get_fdata()
    np.testing.assert_allclose(determinant, np.linalg.det(matrix), rtol=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["affine.mat"]


def test_a_displacement_is_that_of_the_file_wherever_the_grid_lies(tmp_path):
    image = grid((20, 22, 18))
    for origin in (0, 3000):  # mm: scanners have strange ideas of it
        affine = image.affine.copy()
        affine[:3, 3] += origin
        there = nib.Nifti1Image(np.zeros(image.shape, np.float32), affine)
        u = np.random.default_rng(1).normal(0, 5, (*image.shape, 3))
        path = field_file(tmp_path / f"{origin}.nii.gz", there, u)
        np.testing.assert_allclose(displacement(there, path, tmp_path), u, atol=5e-4)


def test_affine_modulation_gives_the_native_volume(tmp_path):
    native = grid()
    r = np.linalg.norm(world(native), axis=-1)
    gm = image_like(np.clip((24 - r) / 4, 0, 1) * (r > 8), native)
    matrix = np.array([[1.15, 0.1, 0], [0, 0.9, -0.05], [0.02, 0, 1.05]])
    path = affine_file(tmp_path / "affine.mat", matrix, [2, 1, -3])
    for zoom, shape in ((2.0, (48, 50, 46)), (1.5, (66, 66, 66)), (3.0, (34, 34, 34))):
        template = template_on(grid(shape, zoom))
        result = modulate(gm, Transforms(path, path), template, tmp_path)
        ratio = result.gm.get_fdata().sum() * zoom**3 / (gm.get_fdata().sum() * 8)
        assert ratio == pytest.approx(1, abs=0.002)


def test_diffeomorphic_modulation_gives_the_native_volume(tmp_path):
    native = grid()
    x = world(native)
    r = np.linalg.norm(x, axis=-1)
    gm = image_like(np.clip((28 - r) / 4, 0, 1), native)
    u = 3.0 * np.stack([np.sin(x[..., 1] / 9), np.cos(x[..., 2] / 8), np.sin(x[..., 0] / 10)], -1)
    u += 2.0 * np.stack([np.sin(x[..., 0] / 7), np.sin(x[..., 1] / 7), np.sin(x[..., 2] / 7)], -1)
    path = field_file(tmp_path / "warp.nii.gz", native, u)
    result = modulate(gm, Transforms(path, path), template_on(native), tmp_path)
    determinant = result.jacobian.get_fdata()
    assert determinant.min() > 0
    assert determinant.max() / determinant.min() > 2  # it does deform
    assert result.gm.get_fdata().sum() / gm.get_fdata().sum() == pytest.approx(1, abs=0.002)
    # Without the determinant the volume would be wrong: the test can tell.
    assert warp(gm, native, path).get_fdata().sum() / gm.get_fdata().sum() != pytest.approx(1, abs=0.01)


def test_smoothing_keeps_the_sum_and_has_the_asked_width():
    image = grid((41, 41, 41), 2.0)
    data = np.zeros(image.shape)
    data[20, 20, 20] = 1
    out = smooth(image_like(data, image), 8.0).get_fdata()
    assert out.sum() == pytest.approx(1, abs=1e-4)
    line = out[:, 20, 20] / out[20, 20, 20]
    assert np.interp(4.0, 2.0 * np.arange(21), line[20:]) == pytest.approx(0.5, abs=0.01)
    assert smooth(image, 0) is image
    with pytest.raises(ValueError, match="negative"):
        smooth(image, -1)


def test_blocks_and_back():
    shape, factors = (23, 18, 20), np.array([4, 3, 2])
    x, y, z = np.meshgrid(*[np.arange(n) / 10 for n in shape], indexing="ij")
    data = (1 + x + 2 * y - z).astype(np.float32)
    low = block_mean(data, factors)
    assert low.shape == (6, 6, 10)
    back = interpolate(low[:5], factors, (20, 18, 20))
    inner = (slice(2, 18), slice(1, 17), slice(1, 19))
    np.testing.assert_allclose(back[inner], data[:20][inner], atol=1e-4)
    affine = np.diag([1.0, 2, 3, 1])
    np.testing.assert_allclose(coarse_affine(affine, factors)[:3, 3], [1.5, 2, 1.5])
    assert ndimage.mean(low[:5]) == pytest.approx(data[:20].mean(), rel=1e-5)


def test_what_was_cut_to_the_mask_returns_to_its_place():
    rng = np.random.default_rng(0)
    affine = np.diag([1.0, 2.0, 1.5, 1])
    affine[:3, 3] = [-20, 13, 4]
    inside = np.zeros((40, 30, 34), np.uint8)
    inside[12:20, 3:9, 20:33] = 1
    mask, image = nib.Nifti1Image(inside, affine), nib.Nifti1Image(rng.random(inside.shape, np.float32), affine)
    cut_mask, cut = in_mask(mask, image)
    assert cut.shape == (8 + 10, 9 + 3, 13 + 4 + 1)  # 5 mm on every side, and no further than the scan
    assert np.asarray(cut_mask.dataobj).sum() == inside.sum()
    back = whole(cut, image)
    np.testing.assert_array_equal(back.affine, affine)
    full, found = np.asarray(image.dataobj), np.asarray(back.dataobj)
    np.testing.assert_array_equal(found[inside > 0], full[inside > 0])
    assert np.count_nonzero(found) == cut.shape[0] * cut.shape[1] * cut.shape[2]
