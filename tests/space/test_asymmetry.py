"""A map is told from its mirror image where its sides differ as those of most people do."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant.quality import judge
from bids_app.space.asymmetry import WEIGHTS, asymmetry_likeness, measure_sides
from bids_app.space.templates import get_template

TEMPLATE = get_template(resolution=2.0)
GREY = np.asarray(TEMPLATE.gm.dataobj)


def image(data, affine=TEMPLATE.affine):
    return nib.Nifti1Image(np.asarray(data, np.float32), affine)


def people(seed, shared):
    """Symmetric grey matter with differences of one person, and of those that people share."""
    rng = np.random.default_rng(seed)
    own = ndimage.gaussian_filter(rng.normal(size=GREY.shape), 2)
    stored = nib.load(WEIGHTS)
    weights, spread = np.moveaxis(stored.get_fdata(), -1, 0)
    to_stored = np.linalg.inv(stored.affine) @ TEMPLATE.affine
    typical = ndimage.affine_transform(weights * spread, to_stored, output_shape=GREY.shape, order=1)
    typical = typical - typical[::-1]
    return GREY * np.clip(1 + 0.3 * own / own.std() + shared * typical / typical.std(), 0, None)


def test_the_sides_of_the_template_are_alike():
    assert abs(asymmetry_likeness(TEMPLATE.gm)) < 0.02
    assert np.allclose(TEMPLATE.affine[0, 3], -TEMPLATE.affine[0, 0] * (GREY.shape[0] - 1) / 2)  # for all that follows


@pytest.mark.parametrize("seed", range(3))
def test_a_mirror_image_has_the_other_sign_and_fails(seed):
    brain = people(seed, 0.15)
    right, wrong = asymmetry_likeness(image(brain)), asymmetry_likeness(image(brain[::-1]))
    assert right == pytest.approx(-wrong, abs=1e-3)
    assert right > 0.08
    assert judge(measure_sides(image(brain), TEMPLATE))[0] == "pass"
    verdict, reasons = judge(measure_sides(image(brain[::-1]), TEMPLATE))
    assert verdict == "fail"
    assert "mirror image" in reasons[0]


def test_how_a_map_is_stored_is_nothing_to_it():
    brain = people(0, 0.15)
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, GREY.shape[0] - 1
    stored = image(brain[::-1], TEMPLATE.affine @ flip)
    assert asymmetry_likeness(stored) == pytest.approx(asymmetry_likeness(image(brain)), abs=1e-4)
    assert asymmetry_likeness(image(7 * brain)) == pytest.approx(asymmetry_likeness(image(brain)), abs=1e-4)


def test_who_has_no_such_difference_does_not_fail():
    found = [measure_sides(image(people(seed, 0)), TEMPLATE) for seed in range(6)]
    assert "fail" not in [judge(one)[0] for one in found]


@pytest.mark.parametrize("side", [1, -1])
def test_a_lesion_of_one_side_does_not_mirror_the_brain(side):
    """Four fifths of the grey matter within 35 mm of a point of one hemisphere are gone."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in GREY.shape), indexing="ij"), -1)
    places = nib.affines.apply_affine(TEMPLATE.affine, grid)
    brain = people(1, 0.15)
    for centre in ((45, -20, 10), (40, 30, 0), (30, -70, 10)):
        near = (((places - np.array(centre) * [side, 1, 1]) ** 2).sum(-1) < 35**2) & (side * places[..., 0] > 0)
        assert judge(measure_sides(image(brain * (1 - 0.8 * near)), TEMPLATE))[0] == "pass"


def test_other_spaces_have_no_such_number():
    from dataclasses import replace

    assert measure_sides(TEMPLATE.gm, replace(TEMPLATE, name="MNIPediatricAsym")) == {}
