"""Distances to a border, against SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from bids_app.space.distances import edge_distance

SIDES = st.tuples(*[st.integers(1, 9)] * 3)
ZOOMS = st.tuples(*[st.sampled_from([0.45, 1.0, 1.3333333, 5.0])] * 3)


@given(SIDES.flatmap(lambda shape: arrays(bool, shape)), ZOOMS)
def test_agrees_with_scipy(mask, zooms):
    found = edge_distance(mask, zooms)
    assert found.dtype == np.float32
    if mask.all():
        assert np.isinf(found).all()  # SciPy measures to a corner that is not there
    else:
        np.testing.assert_allclose(found, ndimage.distance_transform_edt(mask, sampling=zooms), rtol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_layout_of_memory_will_do(order):
    mask = np.asarray(np.random.default_rng(1).random((12, 14, 16)) > 0.2, order=order)[1:-1, ::2, 3:]
    expected = ndimage.distance_transform_edt(mask, sampling=(1.0, 2.0, 0.5))
    np.testing.assert_allclose(edge_distance(mask, np.array([1.0, 2.0, 0.5])), expected, rtol=1e-6)
