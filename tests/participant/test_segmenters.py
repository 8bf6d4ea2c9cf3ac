"""What every segmentation engine has to do, whichever it is; each row of the schema is tried."""

from pathlib import Path

import numpy as np
import pytest

from bids_app.config import Config
from bids_app.errors import ScanError
from bids_app.participant import segmenters
from bids_app.participant.segmenters import segmenter
from bids_app.schema.segmenters import SEGMENTERS, SEGMENTERS_BY_NAME


@pytest.fixture(params=SEGMENTERS_BY_NAME)
def engine(request):
    return segmenter(request.param)


def priors(phantom):
    csf, gm, wm = phantom.priors
    return gm, wm, csf


def test_every_row_has_its_engine_and_every_engine_its_row():
    files = {path.stem for path in Path(segmenters.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(SEGMENTERS_BY_NAME)
    assert Config.__dataclass_fields__["segmentation"].metadata["choices"] == tuple(s.name for s in SEGMENTERS)


def test_the_engine_is_part_of_what_tells_a_finished_scan(tmp_path):
    hashes = {
        Config(tmp_path, tmp_path, "participant", segmentation=name).scientific_hash() for name in SEGMENTERS_BY_NAME
    }
    assert len(hashes) == len(SEGMENTERS_BY_NAME)


def test_volumes_of_a_known_head(phantom, engine):
    found = engine(phantom.scan, phantom.mask, *priors(phantom))
    for image, truth in zip((found.csf, found.gm, found.wm), phantom.fractions, strict=True):
        fraction, inside = np.asarray(image.dataobj), phantom.inside
        assert fraction.sum() == pytest.approx(truth[inside].sum(), rel=0.06)
        assert np.corrcoef(fraction[inside], truth[inside])[0, 1] > 0.93


def test_fractions_are_shares_of_the_mask(phantom, engine):
    found = engine(phantom.scan, phantom.mask, *priors(phantom))
    parts = np.stack([np.asarray(image.dataobj) for image in (found.csf, found.gm, found.wm)])
    assert parts.dtype == np.float32
    assert ((parts >= 0) & (parts <= 1 + 1e-5)).all()
    np.testing.assert_allclose(parts.sum(0)[phantom.inside], 1, atol=1e-4)
    assert not parts[:, ~phantom.inside].any()
    assert found.hypointensities.get_data_dtype() == np.uint8
    for image in (found.gm, found.hypointensities):
        np.testing.assert_allclose(image.affine, phantom.affine)


def test_the_same_scan_gives_the_same_maps(phantom, engine):
    one, two = (engine(phantom.scan, phantom.mask, *priors(phantom)) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(one.gm.dataobj), np.asarray(two.gm.dataobj))


def test_deep_grey_matter_counts_as_grey(phantom, engine):
    """A prior of deep grey matter in the white one's place, and intensities between the two."""
    deep = np.zeros(phantom.inside.shape, np.float32)
    deep[26:34, 26:34, 26:34] = 0.95
    data = np.where(deep > 0, 0.9 * phantom.means[2] * 500, phantom.scan.get_fdata())
    found = engine(phantom.image(data), phantom.mask, *priors(phantom), phantom.image(deep))
    assert np.asarray(found.gm.dataobj)[28:32, 28:32, 28:32].mean() > 0.6


def test_an_empty_mask_is_named(phantom, engine):
    with pytest.raises(ScanError, match="mask is empty"):
        engine(phantom.scan, phantom.image(np.zeros(phantom.inside.shape), np.uint8), *priors(phantom))
