"""Distances that are measured in a box only, beside those of the whole array."""

import numpy as np
import pytest
from scipy import ndimage

from bids_app.space.deep_grey import _depth, _within


@pytest.mark.parametrize("corner", [(6, 7, 5), (0, 0, 0), (18, 20, 11)])
def test_distances_in_a_box_are_those_of_the_whole(corner):
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 27, 19), bool)
    mask[tuple(slice(c, c + 8) for c in corner)] = True
    mask &= rng.random(mask.shape) < 0.9
    zooms = np.array([1.0, 1.5, 2.0])
    whole = ndimage.distance_transform_edt(mask, sampling=zooms)
    np.testing.assert_array_equal(_depth(mask, zooms), whole.astype(np.float32))
    np.testing.assert_array_equal(
        _within(mask, 4.0, zooms), ndimage.distance_transform_edt(~mask, sampling=zooms) < 4.0
    )


def test_nothing_is_near_an_empty_mask():
    nothing = np.zeros((5, 5, 5), bool)
    assert not _within(nothing, 4.0, np.ones(3)).any()
    assert not _depth(nothing, np.ones(3)).any()
