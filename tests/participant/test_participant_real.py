"""Real scans: full heads, stripped heads, and the DLMUSE reference."""

import nibabel as nib
import numpy as np
import pytest
from chain import dlmuse_labels, first, grey_matter
from scipy import ndimage

from bids_app.participant import inputs, normalize, quality, skullstrip, transforms
from bids_app.space.atlas_loaders import load_atlas
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("pattern", "stripped"),
    [
        ("ds000011/sub-01/anat/*_T1w.nii.gz", False),
        ("ixi10/sub-IXI051/anat/*_T1w.nii.gz", False),
        ("ds002748/sub-41/anat/*_T1w.nii.gz", True),
    ],
)
def test_stripped_scans_are_recognised(real_data, pattern, stripped):
    brain = skullstrip.extract_brain(inputs.load_t1w(first(real_data, pattern)))
    assert brain.input_was_stripped is stripped
    # The decision is not a close one.
    assert brain.background_share > 0.98 if stripped else brain.background_share < 0.5


def test_a_lobe_cut_off_and_a_neck_left_on(real_data, tmp_path):
    """A stripped scan that lost a part of the brain and kept one of the neck."""
    t1w = inputs.load_t1w(first(real_data, "ds002748/sub-41/anat/*_T1w.nii.gz"))
    before = skullstrip.extract_brain(t1w)
    assert before.missing_share < 0.01
    mask, data = np.asarray(before.mask.dataobj) > 0, np.array(t1w.dataobj)
    x, y, z = ndimage.find_objects(mask.astype(int))[0]
    corner = np.zeros_like(mask)
    corner[(x.start + x.stop) // 2 :, y.start : y.start + 80, z.stop - 70 : z.stop] = True
    neck = np.zeros_like(mask)
    cx, cy = (round(c) for c in ndimage.center_of_mass(mask)[:2])
    neck[cx - 25 : cx + 25, cy - 30 : cy + 20, : z.start + 12] = True
    neck &= ~mask
    data[corner] = 0
    data[neck] = np.median(data[mask])
    brain = skullstrip.extract_brain(nib.Nifti1Image(data, t1w.affine, t1w.header))
    found = np.asarray(brain.mask.dataobj) > 0
    assert brain.input_was_stripped
    assert brain.missing_share > 0.5 * np.count_nonzero(corner & mask) / np.count_nonzero(mask)
    assert not found[corner].any()
    assert np.count_nonzero(found & neck) < 0.25 * np.count_nonzero(neck)
    assert np.count_nonzero(found & mask & ~corner) > 0.98 * np.count_nonzero(mask & ~corner)


@pytest.fixture(scope="module")
def processed(real_data, tmp_path_factory):
    """One ixi10 scan through the whole chain at 2 mm."""
    work = tmp_path_factory.mktemp("chain")
    path = first(real_data, "ixi10/sub-IXI014/anat/*_T1w.nii.gz")
    template = get_template(resolution=2.0)
    brain, corrected, field, tissues, found, modulated = grey_matter(inputs.load_t1w(path), template, work)
    warped = transforms.warp(brain.mask, template.t1w, found.forward)
    metrics = quality.measure(corrected, brain.mask, field, tissues, modulated, warped, template)
    assert sorted(p.name for p in work.iterdir()) == ["forward.h5", "inverse.h5"]  # nothing temporary left
    return path, brain, tissues, metrics, found


def test_against_the_independent_segmentation(processed):
    path, brain, tissues, metrics, _ = processed
    image, parts = dlmuse_labels(path)
    labels = np.asarray(image.dataobj)

    def dice(a, b):
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    grey, cranium = np.isin(labels, parts["601"]), np.isin(labels, parts["702"])
    # Physical shares lie inside DLMUSE's wide cortex: Dice says little, the volumes differ by about a sixth.
    assert dice(np.asarray(tissues.gm.dataobj) > 0.5, grey) > 0.78
    assert dice(np.asarray(brain.mask.dataobj) > 0, cranium) > 0.97
    assert metrics["GMVolume"] == pytest.approx(0.83 * grey.sum() * 0.008, rel=0.06)
    assert metrics["TIV"] == pytest.approx(cranium.sum() * 0.008, rel=0.03)
    thalamus = np.isin(labels, [59, 60])
    assert np.asarray(tissues.gm.dataobj)[thalamus].mean() > 0.75


def test_aal_regions_hold_the_structures_they_are_named_after(processed):
    """As AAL's file has them they hold .59 of DLMUSE's right hippocampus and .19 of its right amygdala (ten scans)."""
    path, *_, found = processed
    template = get_template(resolution=2.0)
    image, _ = dlmuse_labels(path)
    labels = np.asarray(transforms.warp(image, template.t1w, found.forward, "nearest").dataobj)
    atlas = load_atlas("AAL2", template.t1w)
    index = dict(zip(atlas.table["name"], atlas.table["index"], strict=True))
    drawn = np.asarray(atlas.image.dataobj)
    for name, label, share in (
        ("Hippocampus_R", 47, 0.75),
        ("Amygdala_R", 31, 0.6),
        ("Amygdala_L", 32, 0.6),
        ("Putamen_R", 57, 0.9),
    ):
        assert np.mean(drawn[labels == label] == index[name]) > share, name


def test_a_real_scan_passes_the_gate_and_conserves_volume(processed):
    metrics = processed[3]
    assert quality.judge(metrics) == ("pass", [])
    assert metrics["GMVolumeConservation"] == pytest.approx(1, abs=0.002)
    assert metrics["FoldedShare"] == 0


def test_a_head_is_found_on_the_default_grid(real_data, tmp_path):
    """An affine search on 4.5 mm voxels once turned this head."""
    t1w = inputs.load_t1w(first(real_data, "ds000011/sub-05/anat/*_T1w.nii.gz"))
    mask, template = skullstrip.extract_brain(t1w).mask, get_template(resolution=1.5)
    found = normalize.register(t1w, mask, template, tmp_path, sloppy=True)
    warped = transforms.warp(mask, template.t1w, found.forward, "nearest").get_fdata() > 0
    inside = np.asarray(template.mask.dataobj) > 0
    assert 2 * (warped & inside).sum() / (warped.sum() + inside.sum()) > 0.95
