"""Heads: what was planted is what the scan contains."""

import numpy as np
import pytest

from bids_app.errors import UsageError
from bids_app.simulate.anatomy import tissue_shares, to_coarse
from bids_app.simulate.atrophy import DEFAULT_REGIONS, deform, plan_atrophy, regional_sums
from bids_app.simulate.cohort import draw_person
from bids_app.simulate.fields import field_jacobian, grid, sample
from bids_app.simulate.head import make_head, to_template

WEIGHTS = np.array(list(DEFAULT_REGIONS.values()))


def test_tissues_are_shares_of_the_mask(anatomy):
    parts = tissue_shares(anatomy, np.random.default_rng(0), 3.0)
    total = parts.sum(0)
    np.testing.assert_allclose(total[anatomy.mask], 1, atol=1e-5)
    assert not total[~anatomy.mask].any()
    assert parts.min() >= 0


def test_age_takes_the_share_of_grey_matter_it_should(anatomy):
    average = tissue_shares(anatomy)[0].sum(dtype=float)
    for loss in (-5.0, 5.0):
        assert tissue_shares(anatomy, None, loss)[0].sum(dtype=float) / average == pytest.approx(
            1 - loss / 100, abs=0.004
        )


def test_coarse_tissue_keeps_its_volume(anatomy):
    gm = tissue_shares(anatomy)[0]
    assert to_coarse(anatomy, gm).sum() * 8 == pytest.approx(gm.sum(), rel=1e-3)


@pytest.mark.parametrize("effect", [0.05, 0.125, 0.25, 0.4])
def test_planted_change_is_realised_and_stays_where_it_is(anatomy, plan, effect):
    change = -effect * WEIGHTS
    forward, _ = deform(plan, plan.gain * np.log1p(change))
    density = field_jacobian(forward)
    assert density.min() > 0
    gm = to_coarse(anatomy, tissue_shares(anatomy)[0])
    index = anatomy.table["index"].to_numpy()
    realised = regional_sums(anatomy.labels, gm * density, index) / regional_sums(anatomy.labels, gm, index) - 1
    planted = np.isin(index, plan.index)
    order = [int(np.flatnonzero(index == i)[0]) for i in plan.index]
    np.testing.assert_allclose(realised[order], change, rtol=0.06)
    assert np.abs(realised[~planted]).max() < 0.2 * effect


def test_the_flow_back_undoes_the_flow_there(plan):
    there, back = deform(plan, plan.gain * np.log1p(-0.25 * WEIGHTS))
    here = grid(there.shape[1:])
    left = np.abs(there + sample(back, here + there))
    assert np.abs(there).max() > 0.5  # voxels
    assert left.max() < 0.1
    assert left.mean() < 2e-4


def test_realised_change_as_counted_in_the_head_itself(anatomy, plan):
    """Independent of Jacobians: carry labels and grey matter into the head and count millilitres there."""
    person = draw_person(3, len(WEIGHTS), seed=5)
    change = np.full(len(WEIGHTS), -0.25)
    counted = []
    for planted in (np.zeros(len(WEIGHTS)), change):
        head = make_head(anatomy, plan, person, planted, 0.0, seed=5)
        box = np.stack(np.meshgrid(*[np.arange(*r, 1.0) for r in ((-60, 60), (-80, 20), (-50, 85))], indexing="ij"))
        points = to_template(head, anatomy, box.astype(np.float32))
        gm = sample(head.tissue[:1], points - anatomy.affine[:3, 3].astype(np.float32).reshape(3, 1, 1, 1))[0]
        voxels = np.rint((points - anatomy.labels_affine[:3, 3].reshape(3, 1, 1, 1)) / 2).astype(int)
        labels = anatomy.labels[tuple(voxels)]
        counted.append(regional_sums(labels, gm, plan.index) * head.scale**3 / 1000)
    order = [list(head.truth["index"]).index(i) for i in plan.index]
    reported = head.truth["after"][order]
    inside = [name not in ("Precuneus_L", "Precuneus_R") for name in plan.names]  # these reach out of the box
    np.testing.assert_allclose(counted[1][inside], reported[inside], rtol=0.04)
    np.testing.assert_allclose((counted[1] / counted[0] - 1)[inside], -0.25, atol=0.03)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_heads_are_plausible(anatomy, plan, number):
    person = draw_person(number, len(WEIGHTS), seed=0)
    head = make_head(anatomy, plan, person, person.change_at(0, WEIGHTS, 0.25), person.gm_loss_at(0), seed=0)
    assert head.truth["tissue_ml"].sum() == pytest.approx(person.tiv, rel=1e-4)
    gm, wm, csf = head.truth["tissue_ml"] / person.tiv
    assert 0.40 < gm < 0.54
    assert 0.28 < wm < 0.42
    assert 0.12 < csf < 0.28
    least, greatest = head.truth["jacobian"]
    assert 0.15 < least < 1 < greatest < 4


def test_unknown_region(anatomy):
    with pytest.raises(UsageError, match="Hippocampus_X"):
        plan_atrophy(anatomy, {"Hippocampus_X": 1.0}, 0.25)


def test_more_atrophy_than_there_is_room_for(anatomy):
    crowded = [name for name in anatomy.table["name"] if name.startswith(("Vermis", "Cerebelum"))]
    with pytest.raises(UsageError, match="too little"):
        plan_atrophy(anatomy, dict.fromkeys(crowded, 1.0), 0.5, flow=False)


def test_other_regions_work_as_well(anatomy):
    """Deep, cortical, cerebellar, tiny: each within a few percent in one person's head."""
    names = ("Thalamus_L", "Frontal_Sup_2_R", "Cerebelum_Crus1_L", "Vermis_3", "Putamen_R")
    plan = plan_atrophy(anatomy, dict.fromkeys(names, 1.0), 0.2)
    head = make_head(anatomy, plan, draw_person(3, 5, seed=2), np.full(5, -0.2), 0.0, seed=2)
    order = [list(head.truth["index"]).index(i) for i in plan.index]
    realised = (head.truth["after"] / head.truth["before"] - 1)[order]
    np.testing.assert_allclose(realised, -0.2, atol=0.02)
    assert head.truth["jacobian"][0] > 0


def test_a_fold_is_refused(anatomy, plan):
    person = draw_person(3, len(WEIGHTS), seed=2)
    with pytest.raises(UsageError, match="would fold the head of participant 03") as caught:
        make_head(anatomy, plan, person, np.full(len(WEIGHTS), -0.6), 0.0, seed=2)
    assert caught.value.remedy == "Choose a smaller --effect."
    make_head(anatomy, plan, person, np.full(len(WEIGHTS), -0.3), 0.0, seed=2)
