"""Dark spots of white matter in a phantom: what is planted comes back as white matter, what looks alike stays."""

import numpy as np
import pytest

from bids_app.participant.hypointensities import give_back
from bids_app.participant.tissue import segment, segment_arrays

WHITE_MM = 30  # radius of the phantom's white matter


def balls(shape, zoom, centres, radius, fine=4):
    """Share (0 to 1) of every voxel inside balls; centres in mm from the middle."""
    share = np.zeros(shape, np.float32)
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3) * zoom
    grid = np.stack(np.meshgrid(*((np.arange(n) + 0.5 - n / 2) * zoom for n in shape), indexing="ij"), -1)
    for centre in centres:
        inside = [np.linalg.norm(grid + offset - centre, axis=-1) <= radius for offset in offsets]
        share = np.maximum(share, np.mean(inside, axis=0))
    return share


def sum_of(image):
    return float(np.asarray(image.dataobj).sum())


def with_spots(phantom, radius, level, centres):
    share = balls(phantom.inside.shape, phantom.zoom, centres, radius)
    return share, phantom.image(np.asarray(phantom.scan.dataobj) * (1 - share * (1 - level)))


def by_the_mixture(phantom, scan):
    """Fractions before anything is given back."""
    priors = np.stack([np.asarray(p.dataobj) for p in phantom.priors])
    data = np.asarray(scan.dataobj, dtype=np.float32)
    return segment_arrays(data, phantom.inside, priors, np.zeros_like(data), np.full(3, phantom.zoom))[0]


def run(phantom, scan, priors=None):
    priors = priors or phantom.priors
    return segment(scan, phantom.mask, priors[1], priors[2], priors[0])


CENTRES = [(12, 0, 0), (-11, 3, 2), (0, 13, -4), (2, -12, 6), (-3, 2, 14), (4, 4, -13)]


@pytest.mark.parametrize("radius", [3.0, 4.0])
@pytest.mark.parametrize(("level", "least"), [(0.6, 0.6), (0.7, 0.6), (0.8, 0.35)])
def test_planted_spots_are_white_matter_and_are_measured(phantom, level, least, radius):
    share, scan = with_spots(phantom, radius, level, CENTRES)
    plain, found = run(phantom, phantom.scan), run(phantom, scan)
    assert sum_of(found.gm) == pytest.approx(sum_of(plain.gm), rel=0.005)
    assert sum_of(found.wm) == pytest.approx(sum_of(plain.wm), rel=0.01)
    inner = share > 0.9
    assert np.asarray(found.wm.dataobj)[inner].mean() > 0.9
    # Of a spot hardly darker than halfway to grey matter only a part is seen.
    planted, measured = share.sum(), sum_of(found.hypointensities) - sum_of(plain.hypointensities)
    assert least < measured / planted < 1.4
    assert sum_of(plain.hypointensities) < 0.03 * planted


def test_the_mixture_alone_takes_spots_for_other_tissue(phantom):
    """That the test above can fail."""
    share, scan = with_spots(phantom, 4.0, 0.7, CENTRES)
    assert by_the_mixture(phantom, scan)[:2].sum(0)[share > 0.9].mean() > 0.4


def test_fluid_where_the_template_has_white_matter_stays_fluid(phantom):
    """A ventricle that has grown: as dark as fluid, with partial volume round it."""
    share, scan = with_spots(phantom, 10.0, float(phantom.means[0]), [(0, 0, 0)])
    found, before = run(phantom, scan), by_the_mixture(phantom, scan)[0]
    assert np.asarray(found.csf.dataobj)[share > 0].sum() == pytest.approx(before[share > 0].sum(), rel=1e-3)
    assert before[share > 0].sum() == pytest.approx(share.sum(), rel=0.05)
    assert sum_of(found.hypointensities) == 0


def test_a_spot_beside_a_ventricle_is_white_matter(phantom):
    hole, _ = with_spots(phantom, 10.0, 0.0, [(0, 0, 0)])
    cap = np.clip(balls(hole.shape, phantom.zoom, [(13, 0, 0)], 6.0) - hole, 0, 1)
    levels = 1 - hole * (1 - phantom.means[0]) - 0.3 * cap
    found = run(phantom, phantom.image(np.asarray(phantom.scan.dataobj) * levels))
    beyond = (cap > 0.9) & (balls(hole.shape, phantom.zoom, [(0, 0, 0)], 13.0) == 0)  # of partial volume
    assert beyond.sum() > 20
    assert np.asarray(found.wm.dataobj)[beyond].mean() > 0.9
    assert np.asarray(found.csf.dataobj)[hole > 0.9].mean() > 0.95


def test_deep_grey_matter_stays_grey():
    """A caudate without cortex in reach: the template's own prior ties it."""
    shape = (40, 40, 40)
    zooms = np.full(3, 2.0)
    deep = balls(shape, 2.0, [(0, 0, 0)], 8.0, fine=2)
    white = 1 - 0.9 * deep
    priors = np.stack([np.zeros(shape), 1 - white, white]).astype(np.float32)
    fractions = np.stack([np.zeros(shape), deep, 1 - deep]).astype(np.float32)
    data = np.tensordot([0.35, 0.7, 1.0], fractions, 1)
    inside = np.ones(shape, bool)
    found, spots = give_back(fractions, data, inside, priors, deep, zooms, np.array([0.35, 0.7, 1.0]))
    np.testing.assert_allclose(found[1], fractions[1], atol=1e-6)
    assert not spots.any()


@pytest.mark.parametrize(("depth", "least"), [(4, 0.99), (6, 0.75)])
def test_a_fold_of_cortex_deeper_than_the_templates_stays_grey(phantom, depth, least):
    """Grey matter from the cortex some mm into the template's white matter."""
    x, y, z = np.meshgrid(*((np.arange(n) + 0.5 - n / 2) * 2 for n in phantom.inside.shape), indexing="ij")
    white = phantom.fractions[2]
    fold = (x > WHITE_MM - depth) & (np.abs(y) <= 4) & (np.abs(z) <= 16) & (white > 0)
    scan = phantom.image(np.asarray(phantom.scan.dataobj) * (1 - fold * white * (1 - phantom.means[1])))
    found, before = run(phantom, scan), by_the_mixture(phantom, scan)[1]
    assert before[fold].mean() > 0.7  # the template has white matter here, and the rest of it is read as that
    assert np.asarray(found.gm.dataobj)[fold].sum() / before[fold].sum() > least


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_voxel_size_does_not_matter(zoom):
    """The same spot of 6 mm on 1 mm and 2 mm voxels, and noise of single voxels that is none."""
    n = int(60 / zoom)
    shape, zooms = (n, n, n), np.full(3, zoom)
    spot = balls(shape, zoom, [(1, 1, 1)], 3.0)
    white = np.zeros(shape, np.float32)
    priors = np.stack([white, white, white + 1])
    fractions = np.stack([spot * 0.5, spot * 0.5, 1 - spot]).astype(np.float32)
    fractions[:, 3, 3, 3] = 0.3, 0, 0.7
    data = np.tensordot([0.35, 0.7, 1.0], fractions, 1)
    means = np.array([0.35, 0.7, 1.0])
    found, spots = give_back(fractions, data, white == 0, priors, white, zooms, means)
    assert spots.sum() * zoom**3 == pytest.approx(4 / 3 * np.pi * 27, rel=0.35)
    assert found[2][spot > 0].min() > 0.999
    assert found[0][3, 3, 3] == pytest.approx(0.3)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
