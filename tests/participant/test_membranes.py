"""The membranes come off the mask of an old head, and nothing comes off a young one."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant.membranes import trim_membranes

DURA_MM = 2.0  # of the fixture


def outline_with_dura(head):
    outside = ndimage.distance_transform_edt(~head.inside, sampling=head.zooms)
    return head.inside | (outside <= DURA_MM + 0.5)


def trimmed(head, data=None):
    image = nib.Nifti1Image(head.data if data is None else data, np.diag([*head.zooms, 1]))
    return trim_membranes(image, outline_with_dura(head))


def test_the_shell_outside_the_fluid_is_trimmed_and_the_brain_kept(head):
    """Too large by a dura of 11 %; most of it goes, no grey or white matter, and of the fluid at most a twentieth."""
    found, whole, truth = trimmed(head), outline_with_dura(head), head.inside
    assert not (found & ~whole).any()
    assert np.count_nonzero(found & ~truth) < 0.4 * np.count_nonzero(whole & ~truth)
    brain = head.fractions[1] + head.fractions[2]
    assert brain[found].sum() > 0.995 * brain[whole].sum()
    assert np.count_nonzero(truth & ~found) < 0.055 * np.count_nonzero(truth)


def test_of_a_correct_outline_only_fluid_goes(head):
    image = nib.Nifti1Image(head.data, np.diag([*head.zooms, 1]))
    found = trim_membranes(image, head.inside)
    assert np.count_nonzero(found) > 0.965 * np.count_nonzero(head.inside)
    brain = head.fractions[1] + head.fractions[2]
    assert brain[found].sum() > 0.995 * brain[head.inside].sum()


def test_the_scale_does_not_matter_and_noise_little(head):
    plain = trimmed(head)
    np.testing.assert_array_equal(trimmed(head, head.data * 7.5), plain)
    noise = np.random.default_rng(1).normal(0, 10, head.data.shape)
    assert np.count_nonzero(trimmed(head, head.data + noise)) == pytest.approx(np.count_nonzero(plain), rel=0.015)


def test_fine_voxels_are_trimmed_alike(head):
    """The same head with every voxel cut into eight: as much goes."""

    def cut(array):
        return array.repeat(2, 0).repeat(2, 1).repeat(2, 2)

    image = nib.Nifti1Image(cut(head.data), np.diag([*head.zooms / 2, 1]))
    found = trim_membranes(image, cut(outline_with_dura(head)))
    assert np.count_nonzero(found) / 8 == pytest.approx(np.count_nonzero(trimmed(head)), rel=0.01)


@pytest.mark.real
@pytest.mark.parametrize("scan", ["ixi15/sub-IXI257", "old10/sub-Subj13"])
def test_a_real_outline_comes_nearer_to_the_independent_one(scan):
    """Two heads whose network outline is 5 and 10 % larger than DLMUSE's: a third of that goes, noise or not."""
    from bids_app.participant import skullstrip
    from bids_app.participant.inputs import load_t1w

    where = os.environ.get("LATENTATLAS_TEST_DATA")
    path = Path(where or "") / scan
    if not where or not path.is_dir():
        pytest.skip("these scans are not there")
    t1w = load_t1w(next(path.glob("anat/*_T1w.nii.gz")))
    name = scan.split("/")[1]
    labels = nib.load(next((path.parent / "derivatives/dlmuse" / name).glob("**/*_dseg.nii.gz")))
    reference = np.count_nonzero(np.asarray(labels.dataobj))
    outline = skullstrip._deepbet_mask(t1w, 1, False)
    found = np.count_nonzero(trim_membranes(t1w, outline))
    before = np.count_nonzero(outline) / reference - 1
    assert before > 0.04
    assert found / reference - 1 < 0.67 * before
    data = np.asarray(t1w.dataobj)
    noise = np.random.default_rng(0).normal(0, 0.04 * np.median(data[outline]), data.shape)
    noisy = nib.Nifti1Image((data + noise).astype(np.float32), t1w.affine)
    assert np.count_nonzero(trim_membranes(noisy, outline)) == pytest.approx(found, rel=0.005)
