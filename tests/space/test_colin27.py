"""AAL on the template: the way from Colin27 against a straight resampling, the template's symmetry and its tissue."""

import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

from bids_app.space import aal, colin27
from bids_app.space.atlas_loaders import load_atlas
from bids_app.space.templates import get_template

TEMPLATE = get_template(resolution=2.0)


def straight(labels):
    """The labels as their file has them."""
    return np.asarray(resample_from_to(labels, TEMPLATE.t1w, order=0).dataobj).astype(int)


@pytest.fixture(scope="module")
def drawn():
    return np.asarray(load_atlas("AAL2", TEMPLATE.t1w).image.dataobj)


def test_without_a_displacement_labels_are_only_resampled(monkeypatch):
    labels, _, _ = aal.bundled_aal2()
    field, affine = colin27.load_displacement()
    monkeypatch.setattr(colin27, "load_displacement", lambda: (np.zeros_like(field), affine))
    found = colin27.sample_labels(labels, TEMPLATE.shape, TEMPLATE.affine)
    assert (found == straight(labels)).mean() > 0.999  # ties between two voxels may fall either way


def test_a_displacement_moves_labels_the_other_way(monkeypatch):
    """A template point is 4 mm in front of its place in Colin27: what lay at y is drawn at y + 4."""
    labels, _, _ = aal.bundled_aal2()
    field, affine = colin27.load_displacement()
    shift = np.zeros_like(field)
    shift[1] = -4
    monkeypatch.setattr(colin27, "load_displacement", lambda: (shift, affine))
    found = colin27.sample_labels(labels, TEMPLATE.shape, TEMPLATE.affine)
    expected = np.roll(straight(labels), 2, axis=1)
    assert (found == expected)[:, 2:].mean() > 0.999


def test_the_midline_is_the_templates(drawn):
    """The template is symmetric about x = 0; Colin27 is not."""
    labels, table, _ = aal.bundled_aal2()
    index = dict(zip(table["name"], table["index"], strict=True))

    def middle(data):
        pairs = [n[:-2] for n in table["name"] if n.endswith("_L")]
        x = [
            np.mean([ndimage.center_of_mass(data == index[f"{n}_{side}"])[0] for side in "LR"])
            for n in pairs
            if f"{n}_R" in index
        ]
        return TEMPLATE.affine[0, 3] + TEMPLATE.affine[0, 0] * np.median(x)

    assert abs(middle(drawn)) < 0.5 < abs(middle(straight(labels)))


def test_regions_hold_more_of_the_templates_grey_matter(drawn):
    labels, _, _ = aal.bundled_aal2()
    grey = np.asarray(TEMPLATE.gm.dataobj)
    assert grey[drawn > 0].sum() > 1.05 * grey[straight(labels) > 0].sum()


def test_an_aal_with_another_header_is_put_in_its_place():
    labels, table, _ = aal.bundled_aal2()
    moved = aal._moved(labels, (0.7, -1.2, 1.3))
    some = table.iloc[10:70]
    np.testing.assert_allclose(aal._placed(moved, some).affine, labels.affine, atol=0.01)
