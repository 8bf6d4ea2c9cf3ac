"""One real head in the shapes in which heads come: grey matter stays within 1 % of the clean scan's."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant import bias, inputs, normalize, skullstrip, tissue, transforms
from bids_app.participant._ants import total_volume
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def head(real_data):
    found = sorted(real_data.glob("ixi10/sub-IXI014/anat/*_T1w.nii.gz"))
    if not found:
        pytest.skip("no ixi10/sub-IXI014")
    return inputs.load_t1w(found[0])


@pytest.fixture(scope="module")
def clean(head, tmp_path_factory):
    """Brain mask, transforms and grey matter (ml) of the scan as it is."""
    mask = skullstrip.extract_brain(head).mask
    corrected = bias.correct_bias(head, mask)[0]
    found = normalize.register(corrected, mask, get_template(resolution=2.0), tmp_path_factory.mktemp("clean"))
    return mask, found, grey_matter(corrected, mask, found)


def grey_matter(corrected, mask, found):
    inside, image = transforms.in_mask(mask, corrected)
    priors = transforms.warp_priors(get_template(resolution=2.0), image, found)
    return total_volume(tissue.segment(image, inside, *priors).gm)


def array(image):
    return np.asarray(image.dataobj)


def salted(data):
    """Salt and pepper over the whole range in place of air."""
    bright = np.percentile(data, 98)
    tissue_there = ndimage.binary_closing(data > 0.15 * bright, iterations=2)
    noise = np.random.default_rng(0).uniform(0, 1.2 * bright, data.shape)
    return np.where(ndimage.binary_fill_holes(tissue_there), data, noise)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d - 1024,
        lambda d: d + 3000,
        lambda d: (d - d.mean()) / d.std(),
        lambda d: (d - d[d > 0.3 * d.max()].mean()) / d[d > 0.3 * d.max()].std(),
        salted,
        lambda d: salted(d) / d.max() - 0.5,
    ],
    ids=["-1024", "+3000", "z-scored", "z-scored by the head", "salt and pepper", "salt and pepper about zero"],
)
def test_intensities(head, clean, tmp_path, change):
    """The mask of the clean scan is kept where the new one is the same, and its transforms always."""
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(change(array(head)).astype(np.float32), head.affine), path)
    t1w = inputs.load_t1w(path)
    mask = skullstrip.extract_brain(t1w).mask
    assert array(mask).sum() == pytest.approx(array(clean[0]).sum(), rel=0.005)
    corrected = bias.correct_bias(t1w, mask)[0]
    assert grey_matter(corrected, mask, clean[1]) == pytest.approx(clean[2], rel=0.01)


def test_a_neck_of_200_mm(head, clean):
    """The lowest centimetre, to and fro, twenty times."""
    data = array(head)
    lowest = data[..., :5]
    neck = np.concatenate([lowest[..., ::-1] if i % 2 else lowest for i in range(20)], axis=2)
    affine = head.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * neck.shape[2]
    long = nib.Nifti1Image(np.concatenate([neck, data], axis=2), affine)
    mask = skullstrip.extract_brain(long).mask
    brain, before = array(mask) > 0, array(clean[0]) > 0
    assert not brain[..., : neck.shape[2]].any()
    both = np.count_nonzero(brain[..., neck.shape[2] :] & before)
    assert 2 * both / (brain.sum() + before.sum()) > 0.99  # 0.985 with all of the neck
    corrected = bias.correct_bias(long, mask)[0]
    assert grey_matter(corrected, mask, clean[1]) == pytest.approx(clean[2], rel=0.01)
