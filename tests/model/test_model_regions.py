"""Regional grey matter on the model's grid: sums over an atlas, and reconstructions by who has not seen a scan."""

import numpy as np
import pytest
from scipy import ndimage
from small_volumes import as_volumes, ball

from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear_model import fit_linear
from bids_app.model.regions import region_decoder, region_weights, sum_regions


@pytest.fixture
def coarse():
    """Maps of 1.5 mm, a model of 4 mm, and a random atlas with labels 3, 7 and 9."""
    rng = np.random.default_rng(0)
    sampling = Sampling((31, 28, 25), np.diag([1.5, 1.5, 1.5, 1]), 8.0, 4.0)
    labels = np.array([0, 3, 7, 9])[rng.integers(0, 4, sampling.source_shape)]
    mask = np.zeros(sampling.shape, bool)
    mask[1:-1, 1:-1, 1:-1] = True
    return Grid(sampling, mask), labels


def test_sums_are_those_of_the_map_laid_back_on_the_atlas(coarse):
    grid, labels = coarse
    values = np.random.default_rng(1).random(grid.n_voxels)
    weights = region_weights(grid, labels, np.array([9, 3, 7]))
    small = np.zeros(grid.mask.shape)
    small[grid.mask] = values
    steps = np.diag(1 / grid.sampling.steps)
    laid = ndimage.affine_transform(small, steps, output_shape=labels.shape, order=0, mode="nearest")
    expected = [laid[labels == label].sum() * 1.5**3 / 1000 for label in (9, 3, 7)]
    np.testing.assert_allclose(values @ weights, expected)


def test_sums_on_one_grid_are_plain_sums():
    grid, _ = ball()
    labels = np.zeros(grid.mask.shape, int)
    labels[:10], labels[10:] = 1, 2
    weights = region_weights(grid, labels, np.array([1, 2]))
    np.testing.assert_allclose(weights.sum(axis=0), [grid.mask[:10].sum() * 0.064, grid.mask[10:].sum() * 0.064])


def test_each_scan_is_reconstructed_by_the_model_of_its_fold(linear_cohort):
    grid, fold = linear_cohort.grid, np.arange(30) % 3
    labels = np.random.default_rng(0).integers(0, 4, grid.mask.shape)
    weights = region_weights(grid, labels, np.array([1, 2, 3]))
    models = [fit_linear(linear_cohort, np.flatnonzero(fold != f), 4, seed=0) for f in range(3)]
    observed, reconstructed = sum_regions(models, linear_cohort, fold, weights)
    for scan in (0, 4, 29):
        given = linear_cohort.rows(np.array([scan]))
        np.testing.assert_allclose(observed[scan], (given @ weights)[0], rtol=1e-5)
        made = models[fold[scan]].reconstruct(given)
        np.testing.assert_allclose(reconstructed[scan], (made @ weights)[0], rtol=1e-5)
        decoded = region_decoder(models[fold[scan]], weights)(models[fold[scan]].encode(given))
        np.testing.assert_allclose(reconstructed[scan], decoded[0], rtol=1e-4)
    alone = sum_regions(models[:1], linear_cohort, fold, weights)[1]
    np.testing.assert_allclose(
        alone[1], (models[0].reconstruct(linear_cohort.rows(np.array([1]))) @ weights)[0], rtol=1e-5
    )


def test_weighted_sum_of_maps(linear_cohort):
    weight = np.where(np.arange(30) % 2, np.arange(30) - 7.0, 0.0)
    expected = weight @ np.asarray(linear_cohort.data, float)
    np.testing.assert_allclose(linear_cohort.weighted_sum(weight), expected, rtol=1e-5, atol=1e-4)
    again = as_volumes(linear_cohort.grid, linear_cohort.data[:0])
    assert not again.weighted_sum(np.zeros(0)).any()
