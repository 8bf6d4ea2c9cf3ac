"""A head that lies otherwise than its header says."""

import numpy as np
import pytest
from scipy import ndimage

from bids_app.errors import ScanError
from bids_app.participant import normalize, upright
from bids_app.participant._ants import image_like
from bids_app.space.templates import get_template


@pytest.fixture(scope="module")
def brain():
    """The template's brain, tilted by 12 degrees, wider and noisy, and a function that turns it."""
    template = get_template(resolution=3.0)
    angle = np.deg2rad(12)
    tilt = np.array([[0.94, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    centre = np.array(template.shape) / 2
    offset = centre - tilt @ centre

    def turned(*axes):
        scan, mask = (
            np.flip(ndimage.affine_transform(np.asarray(image.dataobj, np.float32), tilt, offset, order=1), axes)
            for image in (template.t1w, template.mask)
        )
        inside = mask > 0.5
        scan = scan + np.random.default_rng(0).normal(0, 0.05 * scan[inside].mean(), scan.shape)
        return image_like(scan * inside, template.t1w), image_like(inside, template.t1w, np.uint8)

    return template, turned


@pytest.mark.parametrize(
    ("axes", "said"),
    [((1,), "lies back to front:"), ((2,), "lies upside down:"), ((1, 2), "lies upside down and back to front:")],
)
def test_a_turned_head_is_refused_with_what_is_wrong(brain, tmp_path, axes, said):
    template, turned = brain
    with pytest.raises(ScanError, match=said) as caught:
        normalize.register(*turned(*axes), template, tmp_path, sloppy=True)
    assert "sform and qform" in caught.value.remedy


def test_a_head_that_lies_right_is_matched_once(brain, tmp_path, monkeypatch):
    template, turned = brain
    monkeypatch.setattr(upright, "TURNS", None)  # nothing else is tried
    for axes in ((), (0,)):  # the other side fits as well
        normalize.register(*turned(*axes), template, tmp_path, sloppy=True)


@pytest.mark.parametrize("damage", ["half", "other contrast", "none"])
def test_a_head_that_fits_badly_either_way_is_matched(brain, tmp_path, monkeypatch, damage):
    """Little of it may be left, or its contrast be another: that is for later steps and the quality gate."""
    template, turned = brain
    scan, mask = turned()
    data, inside = scan.get_fdata(), np.asarray(mask.dataobj) > 0
    if damage == "half":
        inside[:, :, : inside.shape[2] // 2] = False
    if damage == "other contrast":
        data = data[inside].max() - data
    monkeypatch.setattr(upright, "SIMILAR", 1.0)
    scan, mask = image_like(data * inside, scan), image_like(inside, scan, np.uint8)
    normalize.register(scan, mask, template, tmp_path, sloppy=True)
