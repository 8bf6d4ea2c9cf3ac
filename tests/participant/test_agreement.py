"""Maps against intensities: right ones agree, planted errors of 15 % of grey matter and of 5 % of the mask are seen."""

import numpy as np
import pytest
from scipy import ndimage, optimize

from bids_app.participant import agreement
from bids_app.participant.quality import RULES

LIMITS = {key: (low, high) for key, low, high, *_ in RULES}


def measured(head, fractions=None, inside=None, **change):
    fractions = head.fractions if fractions is None else fractions
    given = {"data": head.data, "inside": head.inside if inside is None else inside, "zooms": head.zooms} | change
    return agreement.measure_agreement(gm=fractions[1], wm=fractions[2], stripped=False, **given)


def usual(key, value):
    return LIMITS[key][0] <= value <= LIMITS[key][1]


def grown_by(change, gm, share=0.15):
    """The map ``change(k)`` whose grey matter is larger by a share, k between 0 and 1."""
    return change(optimize.brentq(lambda k: change(k).sum() - (1 + share) * gm.sum(), 0, 1, xtol=1e-4))


def counted(head):
    csf, gm, _ = head.fractions
    share = gm / np.maximum(csf + gm, 1e-6)
    mixel = (csf > 0) & (gm > 0)
    return grown_by(lambda k: np.where(mixel, share ** (1 - 0.99 * k) * (csf + gm), gm), gm, 0.10)


def spread_into(tissue):
    def plant(head):
        gm, other = head.fractions[1], head.fractions[tissue]
        near = ndimage.maximum_filter(gm, size=3)
        return grown_by(lambda k: gm + np.minimum(other, k * np.maximum(near - gm, 0)), gm)

    return plant


def everywhere(head):
    gm, total = head.fractions[1], head.fractions.sum(0)
    return grown_by(lambda k: np.minimum(gm * (1 + 3 * k), total), gm)


def test_physical_shares_of_exact_mixels():
    """Closed form: intensities mixed by volume give the shares back."""
    share = np.linspace(0, 1, 11)
    flat = np.full(11, 70.0)
    levels = agreement.Levels(20.0, 70.0, 100.0, flat, np.full(11, 100.0))
    np.testing.assert_allclose(agreement.physical_share(20 + 50 * share, levels), share, atol=1e-9)
    np.testing.assert_allclose(agreement.physical_share(70 + 30 * share, levels), 1 - share, atol=1e-9)
    np.testing.assert_allclose(agreement.physical_share(np.array([0.0, 130.0]), levels_of(levels, 2)), 0)


def levels_of(levels, n):
    return agreement.Levels(levels.fluid, levels.grey, levels.white, levels.local_grey[:n], levels.local_white[:n])


def test_levels_are_those_that_were_mixed(head):
    found = agreement.find_levels(head.data, head.inside, head.fractions[1], head.fractions[2], head.zooms)
    assert found.grey == pytest.approx(350, rel=0.02)
    assert found.white == pytest.approx(500, rel=0.02)
    assert found.fluid == pytest.approx(125, abs=25)


def test_true_fractions_agree(head):
    found = measured(head)
    assert found["GMIntensityAgreement"] == pytest.approx(1, abs=0.05)
    assert usual("RimOutsideShare", found["RimOutsideShare"])


@pytest.mark.parametrize("plant", [counted, spread_into(0), spread_into(2), everywhere])
def test_too_much_grey_matter_is_seen(head, plant):
    csf, gm, wm = head.fractions
    more = plant(head)
    assert more.sum() > 1.09 * gm.sum()
    rest = np.maximum(csf + gm + wm - more, 0) / np.maximum(csf + wm, 1e-6)
    value = measured(head, np.stack([csf * rest, more, wm * rest]))["GMIntensityAgreement"]
    assert value > measured(head)["GMIntensityAgreement"] + 0.05
    assert not usual("GMIntensityAgreement", value)


def test_a_map_without_its_mixels_is_seen(head):
    csf, gm, wm = head.fractions
    less = np.where(gm > 0.95, gm, 0)
    assert measured(head, np.stack([csf, less, wm]))["GMIntensityAgreement"] < LIMITS["GMIntensityAgreement"][0]


@pytest.mark.parametrize("kind", ["dilated", "scaled"])
def test_a_mask_five_percent_too_large_is_seen(head, kind):
    n = int(1.05 * head.inside.sum())
    distance = ndimage.distance_transform_edt(head.inside) - ndimage.distance_transform_edt(~head.inside)
    distance = ndimage.gaussian_filter(distance, 0.7)
    if kind == "scaled":
        matrix = np.eye(3) / np.cbrt(1.05)
        centre = np.array(ndimage.center_of_mass(head.inside))
        distance = ndimage.affine_transform(distance, matrix, centre - matrix @ centre, order=1)
    larger = distance >= np.sort(distance.ravel())[-n]
    assert larger.sum() == pytest.approx(n, rel=0.001)
    assert not usual("RimOutsideShare", measured(head, inside=larger)["RimOutsideShare"])


def test_the_rim_counted_voxel_by_voxel(head):
    """A ball of brain in bone: only its bone counts, whose share a loop over the rim gives."""
    axes = np.meshgrid(*(np.arange(40) - 19.5,) * 3, indexing="ij")
    r = 2.0 * np.sqrt(sum(a**2 for a in axes))
    data = np.where(r < 20, 500.0, np.where(r < 26, 350.0, np.where(r < 32, 125.0, 10.0))).astype(np.float32)
    inside = r < 33
    inside[:20] = (r < 31)[:20]
    csf = ((r >= 26) & (r < 32)).astype(np.float32)
    levels = agreement.Levels(125.0, 350.0, 500.0, data * 0 + 350, data * 0 + 500)
    rim = bone = 0
    padded = np.pad(inside, 1)
    middle = int(np.mean(np.nonzero(inside)[2]))
    for i, j, k in np.argwhere(inside):
        faces = padded[i : i + 3, j + 1, k + 1].all() and padded[i + 1, j : j + 3, k + 1].all()
        if k >= middle and not (faces and padded[i + 1, j + 1, k : k + 3].all()):
            rim, bone = rim + 1, bone + (r[i, j, k] >= 32)
    found = agreement.rim_outside(data, inside, csf, np.full(3, 2.0), levels)
    assert 0.1 < bone / rim < 0.9
    assert found == pytest.approx(bone / rim, abs=1e-9)


def test_what_cannot_be_measured_is_left_out(head):
    assert "RimOutsideShare" not in agreement.measure_agreement(
        head.data, head.inside, *head.fractions[1:], head.zooms, stripped=True
    )
    nothing = np.zeros_like(head.fractions)
    assert measured(head, nothing) == {}
    assert measured(head, data=1000 - head.data) == {}  # T2w: fluid is the brightest


def test_a_fine_scan_is_looked_at_on_blocks_of_up_to_1_mm(head):
    """Every voxel in eight of half its size: the same numbers, without the memory of fine distances."""

    def finer(a):
        return a.repeat(2, axis=-3).repeat(2, axis=-2).repeat(2, axis=-1)

    fine = measured(head, finer(head.fractions), finer(head.inside), data=finer(head.data), zooms=np.full(3, 0.5))
    assert fine == measured(head, zooms=np.full(3, 1.0))
