"""Change planted into a real head, young and old: what is lost is measured, and nothing where nothing is lost."""

from dataclasses import replace

import numpy as np
import pytest
from chain import dlmuse_labels, first
from scipy import ndimage

from bids_app.participant import bias, inputs, normalize, skullstrip, tissue, transforms
from bids_app.participant._ants import image_like
from bids_app.simulate import planted
from bids_app.space.boxes import bounding_box
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def head(real_data, tmp_path_factory):
    """An ixi10 scan (38 years), as :func:`planting` takes it."""
    return planting(first(real_data, "ixi10/sub-IXI012/anat/*_T1w.nii.gz"), tmp_path_factory.mktemp("young"))


@pytest.fixture(scope="module")
def old_head(real_data, tmp_path_factory):
    """A scan of 80 years: wide sulci, thin cortex, another scanner."""
    return planting(first(real_data, "old10/sub-Subj9/anat/*_T1w.nii.gz"), tmp_path_factory.mktemp("old"))


def planting(path, work):
    """A scan's anatomy by DLMUSE, and a function that measures a changed scan with the same priors."""
    t1w, template = inputs.load_t1w(path), get_template(resolution=2.0)
    mask = skullstrip.extract_brain(t1w).mask
    corrected, _ = bias.correct_bias(t1w, mask)
    found = normalize.register(corrected, mask, template, work)
    priors = transforms.warp_priors(template, corrected, found)
    image, parts = dlmuse_labels(path)
    inside, data = np.asarray(mask.dataobj) > 0, np.asarray(corrected.dataobj, dtype=np.float32)
    box = bounding_box(inside, 3)  # fine voxels of the whole head would take minutes
    labels = np.asarray(image.dataobj)[box].astype(int)
    grey, white, ventricles = (np.isin(labels, ids) for ids in (parts["601"], parts["604"], (51, 52)))
    brain = planted.anatomy(data[box], inside[box], grey, white, ventricles, 2.0)

    def volumes(scan):
        """Voxels of fluid, grey and white matter."""
        changed = data.copy()
        changed[box] = scan
        maps = tissue.segment(image_like(changed, corrected), mask, *priors)
        return np.array([np.asarray(m.dataobj).sum(dtype=np.float64) for m in (maps.csf, maps.gm, maps.wm)])

    spared = np.isin(labels, (23, 30, 36, 37, 55, 56, 57, 58, 59, 60))
    return brain, spared, inside[box], volumes, volumes(brain.scan)


@pytest.mark.parametrize(("mm", "ventricles"), [(0.7, 0.0), (1.34, 2.0)])
def test_thinner_cortex_is_measured_in_full(head, mm, ventricles):
    brain, spared, _, volumes, before = head
    lost = planted.thinner_cortex(brain, mm, spared) | planted.wider_ventricles(brain, ventricles)
    scan, change = planted.fill_with_fluid(brain, lost)
    assert change[1] < -0.05 * before[1]  # something was planted
    measured = volumes(scan) - before
    assert measured[1] / change[1] == pytest.approx(1, abs=0.15)
    assert measured[2] - change[2] == pytest.approx(0, abs=(0.015 if ventricles else 0.01) * before[2])


@pytest.mark.parametrize(("which", "at_least"), [("head", 0.85), ("old_head", 0.6)])
def test_opened_sulci_are_measured(request, which, at_least):
    brain, spared, _, volumes, before = request.getfixturevalue(which)
    lost = planted.opened_sulci(brain, spared)
    scan, change = planted.fill_with_fluid(brain, lost)
    assert change[1] < -0.03 * before[1]
    assert at_least < (volumes(scan) - before)[1] / change[1] < 1.15


@pytest.mark.parametrize(("mm", "ventricles"), [(0.7, 0.0), (1.34, 2.0)])
def test_what_an_old_head_loses_further_is_measured(old_head, mm, ventricles):
    """Half of the cortex is lost in the second case; 0.2 to 0.4 of it were measured when the class could drift."""
    brain, spared, _, volumes, before = old_head
    lost = planted.thinner_cortex(brain, mm, spared) | planted.wider_ventricles(brain, ventricles)
    scan, change = planted.fill_with_fluid(brain, lost)
    assert change[1] < -0.08 * before[1]
    measured = volumes(scan) - before
    assert measured[1] / change[1] == pytest.approx(1, abs=0.15)
    assert measured[2] - change[2] == pytest.approx(0, abs=0.03 * before[2])


def test_the_level_is_that_of_a_scan_painted_anew(head, old_head):
    """Tissues of known volume on the anatomy of either head: one level for both."""
    ratios = []
    for brain, _, _, volumes, _ in (head, old_head):
        scan, true = planted.painted(brain, noise=0.03, texture=0.15, seed=1)
        ratios.append(volumes(scan)[1:] / true[1:])
    grey, white = np.transpose(ratios)
    np.testing.assert_allclose(grey, 1, atol=0.025)
    np.testing.assert_allclose(white, 1, atol=0.035)
    assert abs(np.log(grey[1] / grey[0])) < 0.02


def test_thinner_cortex_is_measured_alike_in_young_and_old(head, old_head):
    """Painted heads, whole and thinned: how much was lost does not depend on how a border's brightness is read."""
    found = []
    for brain, spared, _, volumes, _ in (head, old_head):
        lost = planted.thinner_cortex(brain, 0.7, spared)
        thinned = planted.without(brain, lost)
        (scan, whole), (thin, left) = (planted.painted(b, noise=0.03, texture=0.15, seed=1) for b in (brain, thinned))
        assert left[1] < 0.95 * whole[1]  # something was planted
        found.append((volumes(thin) - volumes(scan))[1] / (left - whole)[1])
    assert min(found) > 0.85
    assert max(found) < 1.05
    assert abs(found[1] - found[0]) < 0.06


@pytest.mark.parametrize(("grey", "at_least"), [(0.48, 0.45), (0.57, 0.65), (0.75, 0.85)])
def test_thin_cortex_of_other_contrasts_is_measured(old_head, grey, at_least):
    """The old head painted in the contrasts of other scanners, before and after half of its cortex is lost.

    The nearer grey matter lies to fluid, the less is found; 0.06, 0.62 and 0.84 were when its class could drift.
    """
    brain, spared, _, volumes, _ = old_head
    lost = planted.thinner_cortex(brain, 1.34, spared) | planted.wider_ventricles(brain, 2.0)
    found, true = [], []
    for kept in (brain, planted.without(brain, lost)):
        head = replace(kept, means=brain.means[planted.WHITE] * np.array([0.2, grey, 1.0]))
        scan, inside = planted.painted(head, noise=0.04, texture=0.15, seed=1)
        found.append(volumes(scan))
        true.append(inside)
    change = np.diff(np.log(found), axis=0)[0] / np.diff(np.log(true), axis=0)[0]
    np.testing.assert_allclose(np.divide(found[0], true[0])[1:], 1, atol=0.035)
    assert at_least < change[planted.GREY] < 1.1


@pytest.mark.parametrize(("share", "band"), [(0.05, None), (0.1, None), (0.05, 3.0)])
def test_darker_white_matter_stays_white_matter(head, share, band):
    brain, _, _, volumes, before = head
    after = volumes(planted.darker_white_matter(brain, share, band))
    assert after[1] == pytest.approx(before[1], rel=0.01)
    assert after[2] == pytest.approx(before[2], rel=0.012)


def test_noise_and_contrast_change_nothing(head):
    brain, _, inside, volumes, before = head
    white = float(brain.means[planted.WHITE])
    noise = np.random.default_rng(1).normal(0, 0.03 * white, brain.scan.shape) * inside
    assert volumes(brain.scan + noise)[1] == pytest.approx(before[1], rel=0.01)
    assert volumes(0.8 * brain.scan + 0.2 * white * inside)[1] == pytest.approx(before[1], rel=0.002)


def test_planted_losses_lie_where_they_should(head):
    """The planting itself: only the rim of the cortex, only about the ventricles, only inside the brain."""
    brain, spared, inside, _, _ = head
    thin = planted.thinner_cortex(brain, 0.7, spared)
    assert (brain.tissue[thin] == planted.GREY).all()
    fluid = brain.tissue == planted.FLUID
    assert thin[ndimage.binary_dilation(fluid, iterations=1)].sum() > 0.8 * thin.sum()
    scan, change = planted.fill_with_fluid(brain, thin)
    assert change.sum() == pytest.approx(0, abs=1e-6)
    lost = brain.scan - scan
    assert lost.min() > -1e-3
    assert not lost[~ndimage.binary_dilation(inside)].any()  # a fine voxel at the rim may lie in the next voxel
    # Brightness lost, in units of what a voxel of grey matter has over fluid, is what was planted.
    over = brain.means[planted.GREY] - brain.means[planted.FLUID]
    assert lost.sum() / over == pytest.approx(-change[1], rel=0.1)
