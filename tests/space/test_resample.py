"""Resampling inside the box of what is there, beside SciPy's of the whole array."""

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bids_app.schema.units import FWHM_TO_SIGMA
from bids_app.space.resample import resample
from bids_app.space.templates import BLUR_REACH, _to_grid, isotropic_grid

CORNER = st.tuples(*[st.integers(0, 10)] * 3)


def plain(data, source, target, shape):
    """Blur and interpolation of the whole array, with whole matrices."""
    old, new = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (source, target))
    sigma = np.sqrt(np.maximum(new**2 - old**2, 0)) * FWHM_TO_SIGMA / old
    data = ndimage.gaussian_filter(data, sigma, mode="constant", truncate=BLUR_REACH)
    matrix = np.linalg.inv(source) @ target
    return ndimage.affine_transform(data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode="constant")


@settings(max_examples=60, deadline=None)
@given(CORNER, st.floats(0.4, 3.5), st.tuples(*[st.floats(-4, 4)] * 3), st.permutations(range(3)), st.booleans())
def test_a_box_gives_what_the_whole_gives(corner, resolution, shift, order, flip):
    data = np.zeros((18, 20, 17), np.float32)
    box = tuple(slice(c, c + 8) for c in corner)
    data[box] = np.random.default_rng(1).random(data[box].shape, dtype=np.float32)
    source = np.eye(4)[[*order, 3]] @ np.diag([1.0, -1.2 if flip else 1.2, 0.9, 1])
    target = np.diag([resolution] * 3 + [1.0])
    target[:3, 3] = shift
    shape = (14, 15, 16)
    found = _to_grid(data, source, target, shape)
    assert found.dtype == data.dtype
    np.testing.assert_allclose(found, plain(data, source, target, shape), atol=1e-6)


def test_nothing_stays_nothing():
    import nibabel as nib

    image = nib.Nifti1Image(np.zeros((8, 9, 10), np.float32), np.eye(4))
    for resolution in (0.5, 2.0):
        affine, shape = isotropic_grid(image, resolution)
        found = _to_grid(np.asarray(image.dataobj), image.affine, affine, shape)
        assert found.shape == shape
        assert not found.any()


def test_mirrored_axes_are_read_backwards():
    data = np.random.default_rng(2).random((6, 7, 8))
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[0, 3] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(resample(data, mirror, data.shape), data[::-1], atol=1e-12)
