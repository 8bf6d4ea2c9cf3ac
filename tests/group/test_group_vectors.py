"""Regional volumes of any origin go through the same analyses; components stand in for latents."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from bids_app.errors import DatasetError
from bids_app.group.baselines import baselines
from bids_app.group.lrcp import lrcp
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Design
from bids_app.group.validate import validate
from bids_app.group.vectors import study_of_volumes
from bids_app.schema.labels import DIFFERING

N, PLANTED = 120, "entorhinal"


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    people = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(N)], "group": ["AD", "CN"] * (N // 2)})
    people["age"] = rng.uniform(60, 90, N)
    size = rng.normal(size=(N, 1))
    volumes = pd.DataFrame(3 + 0.1 * size + 0.3 * rng.normal(size=(N, 8)), columns=[f"region {i}" for i in range(8)])
    volumes["region 1"] = volumes["region 1"] + 0.02 * (75 - people["age"])
    volumes[PLANTED] = volumes.pop("region 7") - 0.45 * (people["group"] == "AD")
    return people, volumes


def test_components_are_those_of_the_standardised_volumes(table):
    people, volumes = table
    study = study_of_volumes(people, volumes, Design("group", covariates=("age",)), latent_dim=3, seed=2)
    np.testing.assert_allclose(study.observed, volumes, atol=1e-9)
    assert study.regions["name"].tolist() == list(volumes)
    z = ((volumes - volumes.mean()) / volumes.std(ddof=0)).to_numpy()
    for latents, rows in ((study.latents.full, study.fold >= 0), (study.latents.by_fold[1], study.fold != 1)):
        expected = PCA(3).fit(z[rows]).transform(z)
        np.testing.assert_allclose(np.abs(latents), np.abs(expected), atol=1e-6)
    model = PCA(3).fit(z[study.fold != 1])
    made = model.inverse_transform(model.transform(z)) * volumes.std(ddof=0).to_numpy() + volumes.mean().to_numpy()
    held = study.fold == 1
    np.testing.assert_allclose(study.reconstructed[held], made[held], atol=1e-6)


def test_the_region_with_a_loss_is_found_and_no_other(table):
    people, volumes = table
    study = study_of_volumes(people, volumes, Design("group", covariates=("age",)), latent_dim=7)
    found = lrcp(study, AnalysisSettings(n_permutations=499)).regions.set_index("name")
    assert found["label"][PLANTED] in DIFFERING
    assert not found["label"].drop(PLANTED).isin(DIFFERING).any()
    assert found["g"][PLANTED] == pytest.approx(-1.5, abs=0.5)
    assert found["g"].abs().idxmax() == PLANTED


def test_latents_that_know_the_steps_of_an_order_have_a_c_index_of_one(table):
    """Also beside a covariate: what it leaves within a step is nothing to be put in order."""
    people, rng = table[0].assign(group=np.tile(["CN", "MCI", "AD"], N // 3)), np.random.default_rng(1)
    step = people["group"].map({"CN": 0, "MCI": 1, "AD": 2}).to_numpy(float)
    volumes = pd.DataFrame(step[:, None] + 0.05 * rng.normal(size=(N, 4)), columns=list("abcd"))
    study = study_of_volumes(people, volumes, Design("group", ("CN<MCI<AD",), ("age",)), latent_dim=1)
    few = AnalysisSettings(n_permutations=19)
    tested = validate(study, few).set_index("method")["auc"]
    compared = baselines(study, few).set_index("features")["auc"]
    assert tested["permutation"] == compared["latent"] == pytest.approx(1, abs=0.005)


def test_tables_that_cannot_serve_are_refused(table):
    people, volumes = table
    gap = volumes.copy()
    gap.iloc[3, 2] = np.nan
    with pytest.raises(DatasetError, match="missing in region 2"):
        study_of_volumes(people, gap, Design("group"))
    with pytest.raises(DatasetError, match="same volume of region 0"):
        study_of_volumes(people, volumes.assign(**{"region 0": 2.0}), Design("group"))
