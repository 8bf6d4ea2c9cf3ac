"""The measures of the gate on a real old head: planted errors of the map and of the mask move them."""

import nibabel as nib
import numpy as np
import pytest
from chain import grey_matter
from scipy import ndimage

from bids_app.participant import agreement, inputs
from bids_app.participant.quality import RULES, judge
from bids_app.space.asymmetry import measure_sides
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real
LIMITS = {key: (low, high) for key, low, high, *_ in RULES}


@pytest.fixture(scope="module")
def scan(real_data, tmp_path_factory):
    """An old head, with the outline of an independent segmentation (DLMUSE) as its right mask."""
    root = real_data / "old10"
    found = sorted(root.glob("sub-Subj11/anat/*_T1w.nii.gz"))
    if not found:
        pytest.skip(f"no sub-Subj11 in {root}")
    work = tmp_path_factory.mktemp("gate")
    t1w, template = inputs.load_t1w(found[0]), get_template(resolution=3.0)
    brain, corrected, _, tissues, _, modulated = grey_matter(t1w, template, work)
    label = next((root / "derivatives" / "dlmuse" / "sub-Subj11" / "anat").glob("*_dseg.nii.gz"))
    reference = np.asarray(nib.as_closest_canonical(nib.load(label)).dataobj) > 0
    arrays = [np.asarray(image.dataobj, dtype=np.float32) for image in (corrected, tissues.gm, tissues.wm, tissues.csf)]
    zooms = np.asarray(corrected.header.get_zooms()[:3], dtype=float)
    return *arrays, np.asarray(brain.mask.dataobj) > 0, ndimage.binary_fill_holes(reference), zooms, modulated.gm


def test_a_right_mask_and_one_five_percent_larger(scan):
    data, gm, wm, _, _, reference, zooms, _ = scan
    distance = ndimage.distance_transform_edt(reference) - ndimage.distance_transform_edt(~reference)
    distance = ndimage.gaussian_filter(distance, 0.7)
    larger = distance >= np.sort(distance.ravel())[-int(1.05 * reference.sum())]
    right, wrong = (
        agreement.measure_agreement(data, mask, gm, wm, zooms, stripped=False)["RimOutsideShare"]
        for mask in (reference, larger)
    )
    assert right <= LIMITS["RimOutsideShare"][1] < wrong


def test_grey_matter_that_spreads_moves_the_agreement(scan):
    data, gm, wm, csf, mask, _, zooms, _ = scan
    near = ndimage.maximum_filter(gm, size=3)
    before = agreement.measure_agreement(data, mask, gm, wm, zooms, stripped=False)["GMIntensityAgreement"]
    for other in (csf, wm):
        share = 0.15 * gm.sum() / np.minimum(other, np.maximum(near - gm, 0)).sum()
        assert share < 1
        more = gm + share * np.minimum(other, np.maximum(near - gm, 0))
        white = wm - (more - gm) if other is wm else wm
        after = agreement.measure_agreement(data, mask, more, white, zooms, stripped=False)["GMIntensityAgreement"]
        assert before <= LIMITS["GMIntensityAgreement"][1] < after


def test_its_map_is_told_from_its_mirror_image(scan):
    """The weights come from other people, who are younger, and from other scanners."""
    gm = scan[-1]
    mirrored = nib.Nifti1Image(np.asarray(gm.dataobj)[::-1], gm.affine)
    assert np.allclose(gm.affine[0, 3], -gm.affine[0, 0] * (gm.shape[0] - 1) / 2, atol=gm.affine[0, 0])
    template = get_template(resolution=3.0)
    right, wrong = (judge(measure_sides(image, template))[0] for image in (gm, mirrored))
    assert right == "pass"
    assert wrong != "pass"
