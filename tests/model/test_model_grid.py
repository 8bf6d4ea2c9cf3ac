import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates, zoom

from bids_app.errors import ModelError, ScanError
from bids_app.model.grid import Grid, Sampling, model_resolution


@pytest.mark.parametrize(("voxel", "resolution"), [(2.0, 4.0), (1.5, 4.0), (2.0, 2.0), (1.0, 1.5)])
def test_sampling_keeps_the_world_coordinates(voxel, resolution):
    affine = np.array([[-voxel, 0, 0, 40], [0, voxel, 0, -50], [0, 0, voxel, -30], [0, 0, 0, 1.0]])
    shape = (41, 47, 39)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = nib.affines.apply_affine(affine, voxels)
    sampling = Sampling(shape, affine, 0.0, resolution)
    coarse = np.stack(np.meshgrid(*map(np.arange, sampling.shape), indexing="ij"), -1)
    expected = nib.affines.apply_affine(sampling.affine, coarse)
    for axis in range(3):
        assert np.allclose(sampling.apply(world[..., axis]), expected[..., axis], atol=1e-3)


def test_smoothing_has_the_width_it_says():
    affine = np.diag([1.0, 1, 1, 1])
    point = np.zeros((41, 41, 41))
    point[20, 20, 20] = 1
    profile = Sampling((41, 41, 41), affine, 8.0, 1.0).apply(point)[:, 20, 20]
    assert profile[16] == pytest.approx(profile[20] / 2, rel=0.01)  # half the height at half of 8 mm
    assert Sampling((41, 41, 41), affine, 8.0, 1.0).apply(point).sum() == pytest.approx(1, rel=1e-3)


def test_half_the_smoothing_width_samples_almost_everything():
    rng = np.random.default_rng(0)
    affine = np.diag([2.0, 2, 2, 1])
    noise = rng.standard_normal((48, 48, 48)).astype(np.float32)
    fine = Sampling(noise.shape, affine, 8.0, 2.0).apply(noise)
    resolution = model_resolution(2.0, 8.0)
    coarse = Sampling(noise.shape, affine, 8.0, resolution).apply(noise)
    assert resolution == 4.0
    again = zoom(coarse, 2, order=3, grid_mode=False)
    inner = slice(10, 38)
    points = np.linspace(0, 23, 48)[inner] * 2  # zoom aligns the first and last samples
    at = np.stack(np.meshgrid(points, points, points, indexing="ij"))
    truth = map_coordinates(fine, at, order=3)
    left = ((again[inner, inner, inner] - truth) ** 2).mean() / truth.var()
    assert coarse.shape == (24, 24, 24)
    assert left < 0.01


@given(
    size=st.tuples(*[st.integers(5, 20)] * 3),
    origin=st.floats(-30, 10),
    flip=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_mirror_is_an_involution(size, origin, flip, seed):
    affine = np.diag([-3.0 if flip else 3.0, 3, 3, 1])
    affine[:3, 3] = [origin, -20, -10]
    mask = np.random.default_rng(seed).random(size) < 0.6
    mask.ravel()[0] = True
    mirror = Grid(Sampling(size, affine, 0.0, 3.0), mask).mirror
    assert (mirror[mirror] == np.arange(mask.sum())).all()


def test_mirror_swaps_left_and_right(linear_cohort):
    grid = linear_cohort.grid
    world = nib.affines.apply_affine(grid.affine, np.argwhere(grid.mask))
    assert np.allclose(world[grid.mirror], world * [-1, 1, 1])


def test_box_holds_every_voxel_once(linear_cohort):
    grid = linear_cohort.grid
    assert all(n % 16 == 0 for n in grid.box_shape)
    assert len(set(grid.box_index)) == grid.n_voxels
    assert grid.box_index.max() < np.prod(grid.box_shape)
    # Neighbours stay neighbours: the box is a translation of the grid.
    offset = np.argwhere(grid.mask) - np.stack(np.unravel_index(grid.box_index, grid.box_shape), 1)
    assert (offset == offset[0]).all()


def test_image_and_vector_are_inverse(linear_cohort):
    grid, values = linear_cohort.grid, linear_cohort.rows([0, 1])
    image = grid.to_image(values)
    assert image.shape[3] == 2
    assert np.array_equal(grid.sample(grid.to_image(values[0])), values[0])
    assert np.array_equal(image.get_fdata()[grid.mask].T, values)


def test_another_grid_is_refused(linear_cohort):
    grid = linear_cohort.grid
    image = grid.to_image(linear_cohort.rows([0])[0])
    shifted = image.affine.copy()
    shifted[0, 3] += 1
    with pytest.raises(ModelError, match="first voxel at"):
        grid.sample(nib.Nifti1Image(image.get_fdata(), shifted))
    with pytest.raises(ScanError, match="not finite"):
        grid.sample(nib.Nifti1Image(np.full(image.shape, np.nan), image.affine))
    with pytest.raises(ScanError, match="empty"):
        grid.sample(nib.Nifti1Image(np.zeros(image.shape), image.affine))
