"""Hyperintensities found on FLAIR in old heads, and spots planted in young ones."""

import nibabel as nib
import numpy as np
import pytest
from chain import dlmuse_labels, first, grey_matter
from scipy import ndimage

from bids_app.participant import inputs, tissue, transforms
from bids_app.participant._ants import image_like
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real
OLD = ("sub-Subj5", "sub-Subj11", "sub-Subj17")
YOUNG = ("ixi10/sub-IXI012", "ixi15/sub-IXI383")


def array(image):
    return np.asarray(image.dataobj)


def read(path):
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


@pytest.mark.slow
def test_hyperintensities_are_hardly_called_grey_or_fluid(real_data, tmp_path):
    root = real_data / "old10"
    lesion, grey, fluid = [], [], []
    for name in OLD:
        found = sorted(root.glob(f"{name}/anat/*_T1w.nii.gz"))
        if not found:
            pytest.skip(f"no {name} in {root}")
        tissues = grey_matter(inputs.load_t1w(found[0]), get_template(resolution=2.0), tmp_path / name)[3]
        mask = read(next((root / "derivatives" / "wmh" / name).glob("**/*_mask.nii.gz"))) > 0
        lesion.append(mask.sum())
        grey.append(array(tissues.gm)[mask].sum())
        fluid.append(array(tissues.csf)[mask].sum())
        # Ventricles stay fluid.
        label = read(next((root / "derivatives" / "dlmuse" / name).glob("**/*_dseg.nii.gz")))
        ventricle = ndimage.binary_erosion(np.isin(label, [51, 52]))
        assert array(tissues.hypointensities)[ventricle].mean() < 0.01
    lesion, grey, fluid = (np.array(values, float) for values in (lesion, grey, fluid))
    assert grey.sum() / lesion.sum() < 0.10
    assert fluid.sum() / lesion.sum() < 0.05
    assert np.median(grey / lesion) < 0.10
    assert np.median(fluid / lesion) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("scan", YOUNG)
def test_spots_planted_in_a_healthy_head_leave_grey_matter_as_it_was(real_data, tmp_path, scan):
    """Twenty dark spots of 4 to 8 mm in the white matter of an independent segmentation (DLMUSE)."""
    path = first(real_data, f"{scan}/anat/*_T1w.nii.gz")
    image, parts = dlmuse_labels(path)
    label = array(image)
    white = np.isin(label, parts["604"]) & ~np.isin(label, [40, 41, 61, 62])
    template = get_template(resolution=2.0)
    brain, corrected, _, before, forward, _ = grey_matter(inputs.load_t1w(path), template, tmp_path)

    rng = np.random.default_rng(1)
    middles = np.argwhere(ndimage.distance_transform_edt(white, sampling=2.0) >= 4)
    share, darker = np.zeros(white.shape, np.float32), np.zeros(white.shape, np.float32)
    grid = np.stack(np.meshgrid(*map(np.arange, white.shape), indexing="ij"), -1) * 2.0
    for middle in rng.choice(middles, 20, replace=False):
        edge = rng.uniform(2, 4) + 1 - np.linalg.norm(grid - middle * 2.0, axis=-1)
        part = np.clip(edge / 2, 0, 1) * white
        darker = np.where(part > share, rng.uniform(0.1, 0.45), darker)
        share = np.maximum(share, part)
    planted = image_like(array(corrected) * (1 - share * darker), corrected)
    after = tissue.segment(planted, brain.mask, *transforms.warp_priors(template, planted, forward))
    assert array(after.gm).sum() == pytest.approx(array(before.gm).sum(), rel=0.005)
    seen = array(after.hypointensities).sum() - array(before.hypointensities).sum()
    dark = share[darker > 0.25].sum()
    assert 0.4 * dark < seen < 1.5 * share.sum()
    # Healthy, it has next to none.
    assert array(before.hypointensities).sum() < 0.01 * array(before.wm).sum()
