"""Where the zero of a scan's intensities is, on heads of every kind; the truth is what was added to them."""

import logging

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bids_app.participant.inputs import read_t1w
from bids_app.participant.intensity import Scale, canonical, find_scale

SHAPE = (64, 72, 60)
WHITE = 900.0


def distance_to_centre():
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij", sparse=True)
    return np.sqrt(sum(a**2 for a in axes))


@pytest.fixture(scope="module")
def brain():
    """A ball of white matter, grey matter and fluid; 0 elsewhere."""
    r, rng = distance_to_centre(), np.random.default_rng(1)
    data = np.select([r < 0.4, r < 0.6, r < 0.68], [WHITE, 0.7 * WHITE, 0.25 * WHITE], 0.0)
    return (np.clip(data + rng.normal(0, 25, SHAPE), 1, None) * (data > 0)).astype(np.float32)


@pytest.fixture(scope="module")
def head(brain):
    """The brain in dark bone and a bright scalp, in air of Rayleigh noise, in whole numbers."""
    r, rng = distance_to_centre(), np.random.default_rng(2)
    data = brain + np.where((r > 0.75) & (r < 0.85), 0.8 * WHITE, 0)
    return np.round(np.hypot(data + rng.normal(0, 9, SHAPE), rng.normal(0, 9, SHAPE))).astype(np.float32)


@pytest.fixture(scope="module")
def salted(head):
    """As MP2RAGE: whatever has no signal is noise over the whole range."""
    noise = np.random.default_rng(3).uniform(0, 1.2 * WHITE, SHAPE)
    return np.where(ndimage.gaussian_filter(head, 1) > 0.15 * WHITE, head, noise).astype(np.float32)


def z_scored(data):
    return ((data - data.mean()) / data.std()).astype(np.float32)


@pytest.mark.parametrize("kind", ["brain", "head", "salted"])
def test_a_clean_scan_keeps_its_values(request, kind):
    data = request.getfixturevalue(kind)
    found, scale = canonical(data)
    assert scale == Scale()
    assert found is data


@pytest.mark.parametrize(
    ("kind", "offset"),
    [
        *((kind, offset) for kind in ("brain", "head", "salted") for offset in (-1024, 3000)),
        # One that is small against the range is not seen where there is neither air nor a filling.
        *((kind, 100) for kind in ("brain", "head")),
    ],
)
def test_an_offset_is_taken_away(request, kind, offset):
    data = request.getfixturevalue(kind)
    found, scale = canonical(data + np.float32(offset))
    assert scale.zero == pytest.approx(offset, abs=0.005 * WHITE)
    np.testing.assert_allclose(found, data, atol=0.005 * WHITE)


@pytest.mark.parametrize("kind", ["brain", "head", "salted"])
def test_z_scores_are_brought_back(request, kind):
    data = request.getfixturevalue(kind)
    found, scale = canonical(z_scored(data))
    assert scale.zero == pytest.approx(-data.mean() / data.std(), abs=0.01)
    white = distance_to_centre() < 0.35
    np.testing.assert_allclose(found / found[white].mean(), data / data[white].mean(), atol=0.005)


@settings(max_examples=30, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-20, 20))
def test_the_result_does_not_depend_on_gain_and_offset(head, gain, offset):
    """Up to a power of two, by which it differs where the gain leaves the usual units."""
    changed = ((head / WHITE + offset) * gain).astype(np.float32)
    found = canonical(changed)[0]
    white = distance_to_centre() < 0.35
    level = float(found[white].mean())
    assert 4 < level < 2e5
    # A zero within the air may stay where it is; nothing is off by more than the air is wide.
    np.testing.assert_allclose(found / level, head / head[white].mean(), atol=0.04)


@settings(max_examples=10, deadline=None)
@given(exponent=st.integers(-30, 30))
def test_a_gain_that_is_a_power_of_two_rounds_nothing(head, exponent):
    found, scale = canonical(head * np.float32(2.0**exponent))
    ratio = found[head > 0] / head[head > 0]
    assert np.unique(ratio).size == 1
    assert scale.zero == 0


def test_what_fills_a_stripped_scan_becomes_zero(brain):
    inside = brain > 0
    # As CT-like units have it: the brain as measured, -1024 round about.
    found, scale = canonical(np.where(inside, brain, np.float32(-1024)))
    assert scale == Scale(fill=-1024)
    np.testing.assert_array_equal(found, brain)


def test_a_stripped_scan_z_scored_inside_has_its_filling_below_the_brain(brain):
    """The filling lies amid the brain's values, and says nothing of the zero: that is near the darkest fluid."""
    inside = brain > 0
    scored = np.where(inside, (brain - brain[inside].mean()) / brain[inside].std(), 0)
    found, scale = canonical(scored.astype(np.float32))
    assert scale.fill == 0
    assert (found[~inside] == 0).all()
    truth = -brain[inside].mean() / brain[inside].std()
    white = WHITE / brain[inside].std()
    assert truth - 0.01 * white < scale.zero < truth + 0.25 * white


@pytest.mark.parametrize("change", [lambda d: d + np.float32(3000), z_scored], ids=["offset", "z-scored"])
def test_zeros_of_defacing_are_not_the_zero(head, change):
    face = np.zeros(SHAPE, bool)
    face[:, 40:, :25] = True
    found, scale = canonical(np.where(face, np.float32(0), change(head)))
    assert scale.fill == 0
    assert (found[face] == 0).all()
    white = distance_to_centre() < 0.35
    white &= ~face
    level, truth = found[white].mean(), head[white].mean()
    np.testing.assert_allclose(found[~face] / level, head[~face] / truth, atol=0.02)


def test_a_saturated_neck_is_no_filling(head):
    """Cut off above: a plateau of one value that reaches the end of the field of view."""
    data = head.copy()
    data[12:52, 14:58, :14] = 1.1 * WHITE
    found, scale = canonical(data)
    assert scale == Scale()
    found, scale = canonical(data + np.float32(3000))
    assert scale.fill is None
    np.testing.assert_array_equal(found, data)


def test_a_field_of_view_that_ends_at_the_brain(brain):
    """No air at all: 0 stays the zero where it may be, and goes where it cannot."""
    fluid = np.float32(0.25 * WHITE) + np.random.default_rng(5).normal(0, 25, SHAPE).astype(np.float32)
    box = np.where(brain > 0, brain, fluid)[18:46, 20:52, 17:43]
    assert find_scale(box) == Scale()
    zero = find_scale(box + np.float32(3000)).zero
    assert 3000 <= zero <= box.min() + 3000 + 0.05 * WHITE


def test_voxels_without_a_value_become_air(head, tmp_path, caplog):
    data = z_scored(head)
    data[:, :, -6:] = np.nan
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([2.5, 2.5, 2.5, 1])), path)
    logger = logging.getLogger("latentatlas")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, "latentatlas"):
            image, scale, *_ = read_t1w(path)
    finally:
        logger.removeHandler(caplog.handler)
    found = np.asarray(image.dataobj)
    assert (found[:, :, -6:] == 0).all()
    assert scale.zero < -0.3
    assert f"zero was at {scale.zero:g}" in caplog.text
    white = distance_to_centre()[..., :-6] < 0.35
    np.testing.assert_allclose(
        found[..., :-6] / found[..., :-6][white].mean(), head[..., :-6] / head[..., :-6][white].mean(), atol=0.02
    )


@pytest.mark.parametrize("scale", [1e-42, 1e-37, 1e-20, 1e30])
def test_no_scale_makes_intensities_infinite(scale):
    """As a damaged ``scl_slope`` may; one voxel is far brighter than all others."""
    data = (np.random.default_rng(0).random((20, 20, 20)) * 100 * scale).astype(np.float32)
    data[3, 3, 3] = 1e10 * min(scale * 1e20, 1.0)
    found, scale_found = canonical(data)
    assert np.isfinite(found).all()
    assert np.isfinite(np.float32(scale_found.factor))
