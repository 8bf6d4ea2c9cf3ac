"""Registration: what was deformed is found again, the same way every time."""

import numpy as np
import pytest
from scipy import ndimage

from bids_app.participant import normalize, transforms
from bids_app.participant._ants import image_like
from bids_app.space.templates import get_template


@pytest.fixture(scope="module")
def moved():
    """The template's brain, shrunk by 10 % a side and shifted."""
    template = get_template(resolution=3.0)
    centre = np.array(template.shape) / 2
    scale = 1 / 0.9
    offset = centre - scale * (centre + np.array([2, -1, 1]))

    def shrink(image, order):
        data = ndimage.affine_transform(np.asarray(image.dataobj, np.float32), np.full(3, scale), offset, order=order)
        return image_like(data, template.t1w)

    return template, shrink(template.t1w, 1), image_like(shrink(template.mask, 0).get_fdata(), template.t1w, np.uint8)


@pytest.mark.filterwarnings("ignore:The behavior of affine_transform")
def test_a_known_shrinkage_is_found_and_repeats_exactly(moved, tmp_path):
    template, scan, mask = moved
    runs = [normalize.register(scan, mask, template, tmp_path / name, seed=0, sloppy=True) for name in "ab"]
    for run, name in zip(runs, "ab", strict=True):
        assert run.forward == tmp_path / name / "forward.h5"
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["forward.h5", "inverse.h5"]
    first, second = (transforms.warp(scan, template.t1w, run.forward).get_fdata() for run in runs)
    np.testing.assert_array_equal(first, second)

    inside = np.asarray(template.mask.dataobj) > 0
    inner = ndimage.binary_erosion(inside, iterations=3)
    determinant = transforms.jacobian(template.t1w, runs[0].forward, tmp_path).get_fdata()
    assert determinant[inner].mean() == pytest.approx(0.9**3, rel=0.05)
    warped = transforms.warp(mask, template.t1w, runs[0].forward, "nearest").get_fdata() > 0
    assert 2 * (warped & inside).sum() / (warped.sum() + inside.sum()) > 0.97
    # There and back again.
    back = transforms.warp(template.mask, scan, runs[0].inverse, "nearest").get_fdata() > 0
    native = np.asarray(mask.dataobj) > 0
    assert 2 * (back & native).sum() / (back.sum() + native.sum()) > 0.97


def test_priors_follow_the_inverse_transform(moved, tmp_path):
    template, scan, mask = moved
    found = normalize.register(scan, mask, template, tmp_path, sloppy=True)
    gm, wm, csf, deep = transforms.warp_priors(template, scan, found)
    inner = ndimage.binary_erosion(np.asarray(mask.dataobj) > 0, iterations=2)
    total = sum(np.asarray(p.dataobj) for p in (gm, wm, csf))
    assert np.mean(np.abs(total[inner] - 1) < 0.01) > 0.999
    # The quick schedule is loose in the depth of the brain.
    assert deep.get_fdata().sum() == pytest.approx(0.9**3 * template.deep.get_fdata().sum(), rel=0.10)
