"""Maps without scans: planted truth, null cohorts, the derivative dataset."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_simulate_dataset import validate

from bids_app.simulate.cli import main
from bids_app.simulate.cohort import draw_person
from bids_app.simulate.map_dataset import simulate_gm_maps
from bids_app.space.atlas_loaders import load_atlas, regional_volumes
from bids_app.space.templates import get_template


@pytest.fixture(scope="module")
def planted():
    return simulate_gm_maps(24, resolution=2.0, seed=4)


def test_the_atlas_reads_the_truth_back_off_the_maps(planted):
    atlas = load_atlas("AAL2", get_template("MNI152NLin2009aSym", 2.0).mask)
    read = regional_volumes((planted.image(row) for row in range(6)), atlas)
    told = planted.regions.pivot(index="participant_id", columns="index", values="gm_ml")[atlas.table["index"]]
    np.testing.assert_allclose(read, told.to_numpy()[:6], rtol=1e-3)


def test_atrophy_is_realised_as_planted(planted):
    rows = planted.regions[planted.regions["planted"] < 0]
    np.testing.assert_allclose(rows["realised"], rows["planted"], rtol=0.02, atol=1e-4)
    np.testing.assert_allclose(planted.truth["realised_AD"], planted.truth["AD"], rtol=0.12)
    elsewhere = planted.regions[(planted.regions["planted"] == 0)]
    assert elsewhere["realised"].abs().max() < 0.08


def test_groups_differ_in_planted_regions_and_not_elsewhere(planted):
    volumes = planted.regions.pivot(index="participant_id", columns="name", values="gm_ml")
    share = volumes.div(volumes.sum(axis=1), axis=0)
    groups = planted.table.set_index("participant_id")["diagnosis"]
    sick, well = share[groups == "AD"], share[groups == "CN"]
    effect = (sick.mean() - well.mean()) / np.sqrt((sick.var() + well.var()) / 2)
    assert effect[["Hippocampus_L", "Hippocampus_R"]].max() < -1
    others = effect.drop(planted.truth["name"])
    assert others.abs().median() < 0.6


def test_maps_vary_as_real_ones_do(planted):
    """Figures of 36 real scans through a quick 2 mm chain: proportional regional CV 0.10, voxel SD 0.16."""
    volumes = planted.regions.pivot(index="participant_id", columns="index", values="gm_ml_without_atrophy").to_numpy()
    share = volumes / volumes.sum(1, keepdims=True)
    assert 0.07 < np.median(share.std(0) / share.mean(0)) < 0.14
    inside = planted.maps.mean(0) > 0.3
    assert 0.12 < planted.maps[:, inside].std(0).mean() < 0.21


def test_null_cohort_has_nothing_planted():
    null = simulate_gm_maps(6, seed=4, effect=0.0)
    assert null.maps.shape == (6, 50, 59, 48)
    assert (null.regions["realised"] == 0).all()
    assert (null.truth[["CN", "MCI", "AD"]] == 0).all(axis=None)
    assert set(null.table["diagnosis"]) == {"CN", "MCI", "AD"}


def test_a_person_is_the_same_in_any_cohort_and_at_any_resolution(planted):
    small = simulate_gm_maps(2, resolution=2.0, seed=4)
    np.testing.assert_array_equal(small.maps, planted.maps[:2])
    coarse = simulate_gm_maps(2, resolution=4.0, seed=4)
    np.testing.assert_allclose(coarse.maps.sum((1, 2, 3)) * 64, small.maps.sum((1, 2, 3)) * 8, rtol=0.01)
    other = simulate_gm_maps(1, resolution=4.0, seed=5)
    assert np.abs(other.maps[0] - coarse.maps[0]).mean() > 0.01


def test_confound_and_demographics():
    people = [draw_person(number, 2, seed=1) for number in range(1, 301)]
    confounded = [draw_person(number, 2, seed=1, confound=True) for number in range(1, 301)]
    rank = {"CN": 0, "MCI": 1, "AD": 2}

    def age_by_rank(group):
        return np.corrcoef([p.age for p in group], [rank[p.diagnosis] for p in group])[0, 1]

    assert abs(age_by_rank(people)) < 0.25
    assert age_by_rank(confounded) > 0.5
    men, women = ([p.tiv for p in people if p.sex == sex] for sex in "MF")
    assert np.mean(men) - np.mean(women) > 80
    scores = {d: np.mean([p.mmse for p in people if p.diagnosis == d]) for d in rank}
    assert scores["CN"] > scores["MCI"] > scores["AD"]
    severity = np.array([p.severity for p in people if p.diagnosis == "AD"])
    assert severity.mean() == pytest.approx(1, abs=0.02)
    assert severity.min() > 0.5


def test_the_dataset_of_maps(tmp_path):
    out = tmp_path / "maps"
    command = [str(out), "--maps-only", "--n-participants", "3", "--sessions", "2", "--resolution", "4", "--quiet"]
    assert main(command) == 0
    assert validate(out) == []
    found = sorted(out.glob("sub-*/ses-*/anat/*_space-MNI152NLin2009aSym_res-4_label-GM_desc-modulated_probseg.nii.gz"))
    assert len(found) == 6
    image = nib.load(found[0])
    template = get_template("MNI152NLin2009aSym", 4.0)
    assert image.shape == template.shape
    np.testing.assert_allclose(image.affine, template.affine)
    sidecar = json.loads(found[0].with_name(found[0].name.replace(".nii.gz", ".json")).read_text())
    assert image.get_fdata().sum() * 0.064 == pytest.approx(sidecar["ModulatedGMVolume"], rel=1e-3)
    assert sidecar["GMVolumeConservation"] == pytest.approx(1, abs=0.01)
    assert sidecar["JacobianRange"][0] > 0
    assert pd.read_csv(out / "code/ground_truth.tsv", sep="\t")["AD"].min() == -0.25
    ages = pd.read_csv(out / "sub-02/sub-02_sessions.tsv", sep="\t")["age"]
    assert ages[1] - ages[0] == pytest.approx(1.5)
    assert main(command) == 0  # again, over itself
