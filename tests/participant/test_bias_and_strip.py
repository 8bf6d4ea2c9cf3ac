"""Bias field and the detection of stripped scans."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant._grid import below_the_head
from bids_app.participant.bias import correct_bias
from bids_app.participant.skullstrip import (
    STRIPPED_SHARE,
    _without_padding,
    background_share,
    cut_area,
    extract_brain,
    missing_share,
    support,
)


def test_a_known_field_is_removed(phantom):
    axes = np.meshgrid(*[np.linspace(-1, 1, 60)] * 3, indexing="ij")
    truth = np.exp(0.25 * axes[0] - 0.2 * axes[1] ** 2 + 0.15 * axes[2])
    biased = phantom.image(phantom.scan.get_fdata() * truth)
    corrected, field = correct_bias(biased, phantom.mask)
    inside = phantom.inside
    log_truth, log_field = np.log(truth[inside]), np.log(field.get_fdata()[inside])
    assert np.corrcoef(log_truth, log_field)[0, 1] > 0.95
    assert log_field.mean() == pytest.approx(0, abs=1e-3)
    white = phantom.fractions[2] == 1

    def spread(image):
        return image.get_fdata()[white].std() / image.get_fdata()[white].mean()

    assert spread(corrected) < 0.5 * spread(biased)
    np.testing.assert_allclose(corrected.get_fdata() * field.get_fdata(), biased.get_fdata(), rtol=1e-4, atol=1e-2)


def head_of(phantom, background=0.0):
    """The phantom in a skull (dark) and a scalp (bright), with noise in the air unless it is masked."""
    distance = ndimage.distance_transform_edt(~phantom.inside, sampling=2.0)
    head = np.array(phantom.scan.dataobj)
    rng = np.random.default_rng(4)
    head += (distance > 0) * (30 + rng.normal(0, 8, head.shape))
    head += ((distance > 6) & (distance < 12)) * 350
    return phantom.image(head + background)


def test_stripped_and_whole_heads_are_told_apart(phantom):
    assert background_share(phantom.scan, phantom.inside) == 1.0
    assert background_share(head_of(phantom), phantom.inside) < 0.5
    # A stripped scan whose background is a constant other than zero.
    shifted = phantom.image(np.where(phantom.inside, phantom.scan.get_fdata(), -100))
    assert background_share(shifted, phantom.inside) == 1.0


def test_a_stripped_scan_that_was_resampled_and_denoised_is_still_one(phantom):
    soft = ndimage.gaussian_filter(phantom.scan.get_fdata(), 0.6)
    haze = np.abs(np.random.default_rng(5).normal(0, 8, soft.shape))
    scan = phantom.image(soft + haze)
    assert background_share(scan, phantom.inside) > 0.99
    # Its halo is no brain.
    assert np.count_nonzero(support(scan)) == pytest.approx(np.count_nonzero(phantom.inside), rel=0.04)


def test_a_defaced_head_is_not_taken_for_stripped(phantom):
    head = head_of(phantom).get_fdata()
    head[:, 38:, :] = 0  # everything in front
    head[:3] = head[-3:] = head[:, :3] = head[:, :, :3] = head[:, :, -3:] = 0  # and zero air at the border
    assert background_share(phantom.image(head), phantom.inside) < STRIPPED_SHARE


def test_a_piece_cut_off_is_missed_and_a_sulcus_is_not(phantom):
    whole, inside = np.array(phantom.scan.dataobj), phantom.inside
    assert missing_share(phantom.scan, inside) == 0
    sulcus = whole.copy()
    sulcus[29:31] = 0  # 4 mm wide
    assert missing_share(phantom.image(sulcus), inside) == 0
    cut = whole.copy()
    top = ndimage.find_objects(inside.astype(int))[0][2].stop
    cut[:, :, top - 8 :] = 0
    gone = np.count_nonzero(inside[:, :, top - 8 :]) / np.count_nonzero(inside)
    assert missing_share(phantom.image(cut), inside) == pytest.approx(gone, rel=0.1)
    dark = np.where(inside & (cut == 0), 0.05 * whole.max(), cut)  # dark fluid in its place
    assert missing_share(phantom.image(dark), inside) == 0


def test_a_dark_ventricle_is_not_missing(phantom):
    data = np.array(phantom.scan.dataobj)
    data[22:38, 22:38, 22:38] = 0
    assert missing_share(phantom.image(data), phantom.inside) == 0


def grown(data):
    """A phantom's array on voxels of 2.5 mm: a brain of 800 ml."""
    return nib.Nifti1Image(np.asarray(data, np.float32), np.diag([2.5, 2.5, 2.5, 1]))


def outlined(monkeypatch, brain):
    """The network sees this outline."""
    monkeypatch.setattr("bids_app.participant.skullstrip._deepbet_mask", lambda *_: brain)


def test_a_neck_is_taken_off_and_a_generous_outline_is_left(phantom, monkeypatch):
    whole, inside = np.array(phantom.scan.dataobj), phantom.inside
    neck = np.zeros_like(inside)
    neck[18:42, 18:42, :10] = True
    neck &= ~inside
    outlined(monkeypatch, inside)
    found = extract_brain(grown(np.where(neck, 300, whole)))
    mask = np.asarray(found.mask.dataobj) > 0
    assert found.method == "support"
    assert np.count_nonzero(mask & neck) < 0.3 * np.count_nonzero(neck)
    assert np.count_nonzero(mask & inside) > 0.99 * np.count_nonzero(support(phantom.scan))
    # An outline that is one voxel tighter than what was left is not followed.
    outlined(monkeypatch, ndimage.binary_erosion(inside))
    mask = np.asarray(extract_brain(grown(whole)).mask.dataobj) > 0
    np.testing.assert_array_equal(mask, support(phantom.scan))


def test_a_brain_in_two_pieces_is_kept_whole(phantom, monkeypatch):
    outlined(monkeypatch, phantom.inside)
    parted = np.array(phantom.scan.dataobj)
    parted[29:31] = 0
    mask = np.asarray(extract_brain(grown(parted)).mask.dataobj) > 0
    assert mask[:29].sum() == pytest.approx(mask[31:].sum(), rel=0.1)
    assert np.count_nonzero(mask) > 0.9 * np.count_nonzero(phantom.inside)


def test_support_is_the_filled_largest_component(phantom):
    data = np.array(phantom.scan.dataobj)
    data[28:31, 28:31, 28:31] = 0
    data[2:4, 2:4, 2:4] = 50
    found = support(phantom.image(data))
    assert found[29, 29, 29]
    assert not found[3, 3, 3]
    assert np.mean(found == phantom.inside) > 0.999


def test_skip_takes_the_scan_as_stripped_and_checks_its_volume(phantom):
    grown = phantom.image(np.asarray(phantom.scan.dataobj))
    grown.set_sform(np.diag([2.8, 2.8, 2.8, 1]), 1)  # 46 mm balls hold too little; as 64 mm they are a brain
    brain = extract_brain(grown, "skip")
    assert brain.input_was_stripped
    assert brain.method == "support"
    with pytest.raises(ScanError, match="only"):
        extract_brain(phantom.scan, "skip")


@pytest.mark.parametrize(("mode", "advice"), [("skip", "use --skull-strip auto"), ("force", "voxel size")])
def test_a_mask_that_is_too_large_is_not_called_empty(phantom, monkeypatch, mode, advice):
    large = phantom.image(np.asarray(phantom.scan.dataobj))
    large.set_sform(np.diag([8.0, 8.0, 8.0, 1]), 1)
    outlined(monkeypatch, phantom.inside)
    with pytest.raises(ScanError, match="larger than a brain") as caught:
        extract_brain(large, mode)
    assert advice in caught.value.remedy
    assert "use --skull-strip skip" not in caught.value.remedy


def test_a_long_neck_changes_no_field(phantom):
    """The brain's field of a scan with 200 mm of neck below it, beside that of the scan as it is."""
    axes = np.meshgrid(*[np.linspace(-1, 1, 60)] * 3, indexing="ij")
    biased = phantom.scan.get_fdata() * np.exp(0.2 * axes[0] + 0.2 * axes[2] ** 2)
    before = correct_bias(phantom.image(biased), phantom.mask)[1].get_fdata()

    def with_neck(data, value):
        below = np.full((60, 60, 100), value)
        return nib.Nifti1Image(np.concatenate([below, data], axis=2).astype(np.float32), phantom.affine)

    after = correct_bias(with_neck(biased, 300.0), with_neck(phantom.inside, 0.0))[1].get_fdata()[..., 100:]
    inside = phantom.inside
    assert before[inside].std() > 0.05
    assert np.abs(np.log(after / before))[inside].max() < 0.02


def test_slices_below_the_head():
    brain = np.zeros((4, 4, 300), bool)
    brain[1:3, 1:3, 200:260] = True
    assert below_the_head(brain, 0.5) == 0  # 100 mm
    assert below_the_head(brain, 1.0) == 140
    assert below_the_head(np.zeros_like(brain), 1.0) == 0


def test_area_of_brain_that_the_field_of_view_cuts():
    mask = np.zeros((20, 30, 25), np.uint8)
    mask[5:15, 5:25, 5:20] = 1
    image = nib.Nifti1Image(mask, np.diag([2.0, 1.0, 3.0, 1]))
    assert cut_area(image) == 0
    assert cut_area(image.slicer[:, :, :18]) == pytest.approx(20 * 20 / 100)  # the top: 10 x 2 mm by 20 x 1 mm
    assert cut_area(image.slicer[6:, :, :18]) == pytest.approx((18 * 20 + 20 * 39) / 100)


def test_area_of_brain_on_space_that_was_set_to_zero(head):
    """Defaced into the brain, or half of it gone: the outline ends there, and nothing about it is a hole."""
    affine = np.diag([2.0, 2, 2, 1])
    data, inside = np.maximum(head.data, 1), head.inside.copy()

    def found(data):
        return cut_area(nib.Nifti1Image(inside.astype(np.uint8), affine), nib.Nifti1Image(data, affine))

    assert found(np.where(data < 60, 0, data)) == 0  # thresholded: zeros in the air and in bone
    disc = np.count_nonzero(inside[:, 49] & (data[:, 49] > 250)) * 4 / 100
    data[:, 50:], inside[:, 50:] = 0, False
    assert 20 < disc <= found(data) < 1.5 * disc
    inside[:, 49:] = False  # the outline ends a voxel early
    assert 0.8 * disc < found(data) < 1.5 * disc


@pytest.mark.parametrize(("extent", "cut"), [(420.0, True), (290.0, False)])
def test_empty_space_about_a_head_is_taken_off_where_it_is_wider_than_any_head(head, extent, cut):
    wide = np.pad(head.data.round().clip(1), [(0, 0), (30, round(extent / 2) - 30 - head.data.shape[1]), (0, 0)])
    box = _without_padding(nib.Nifti1Image(wide, np.diag([2.0, 2, 2, 1])))
    if cut:
        assert (box[1].start, box[1].stop) == (29, 30 + head.data.shape[1] + 1)
    else:
        assert box[1] == slice(0, wide.shape[1])
    assert box[0] == slice(0, wide.shape[0])
    assert box[2] == slice(0, wide.shape[2])
