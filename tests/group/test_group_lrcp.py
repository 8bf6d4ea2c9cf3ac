"""LRCP and SAM: planted regions, invariances, repeated scans."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.lrcp import latent_names, lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.stats.discriminability import auc

NAMED = ["index", "name", "contrast", "lrcp", "p_fwe", "r2", "auc", "rank_median", "rank_iqr"]


def run(c, **options):
    return lrcp(c.study(), AnalysisSettings(n_permutations=300, n_rank_samples=20, **options))


def run_sam(c):
    return sam(c.study(), AnalysisSettings(n_permutations=300))


def test_planted_regions_come_first(cohort):
    found = run(cohort)
    table = found.regions
    assert list(table.columns[:9]) == NAMED
    assert list(found.profile.columns) == ["index", "name", "latent", "rho", "p_fwe", "q"]
    assert len(found.profile) == 30 * 8
    assert set(table.nlargest(5, "lrcp")["name"]) == {f"R{i}" for i in range(1, 6)}
    carried = (table["p_fwe"] <= 0.05) & (table["auc_p_fwe"] <= 0.05)
    np.testing.assert_array_equal(carried, np.arange(30) < 5)
    assert (table["rank_median"][:5] <= 6).all()
    assert (table["rank_median"][15:] > 6).all()
    assert (table["higher_in"][:5] == "CN").all()
    # Regions of the other source are encoded just as well, but say nothing about the groups.
    assert (table["r2"][:15] > 0.3).all()
    assert (table["r2"][15:] < 0.1).all()


def test_score_is_its_definition(cohort):
    found = run(cohort)
    c = cohort
    design = c.covariates.matrix
    clean = lambda x: x - LinearRegression().fit(design, x).predict(design)  # noqa: E731
    z, g, y = clean(c.Z), clean(c.G), (c.group == "AD").astype(float)
    white = PCA(whiten=True, svd_solver="full").fit_transform(z)
    expected = [
        abs(sum(stats.pearsonr(g[:, r], white[:, k])[0] * (2 * auc(white[:, k], y) - 1) for k in range(8)))
        for r in range(30)
    ]
    np.testing.assert_allclose(found.regions["lrcp"], expected, atol=1e-8)


def test_thresholded_score_is_its_definition(cohort):
    found = run(cohort)
    c = cohort
    design = c.covariates.matrix
    clean = lambda x: x - LinearRegression().fit(design, x).predict(design)  # noqa: E731
    z, g, y = clean(c.Z), clean(c.G), (c.group == "AD").astype(float)
    d = np.abs(2 * auc(z, y) - 1)
    p = found.profile["p_fwe"].to_numpy().reshape(30, 8)
    expected = [
        sum(stats.pearsonr(g[:, r], z[:, k])[0] ** 2 * d[k] for k in range(8) if p[r, k] <= 0.05) for r in range(30)
    ]
    np.testing.assert_allclose(found.regions["lrcp_thresholded"], expected, atol=1e-8)


def test_no_rotation_of_the_latents_changes_a_score(cohort):
    before = run(cohort).regions
    rng = np.random.default_rng(5)
    cohort.Z = cohort.Z @ stats.ortho_group.rvs(8, random_state=rng)
    cohort.Zf = np.stack([z @ stats.ortho_group.rvs(8, random_state=rng) for z in cohort.Zf])
    after = run(cohort).regions
    for column in ("lrcp", "p_fwe", "r2", "auc", "auc_p_fwe", "rank_median"):
        np.testing.assert_allclose(after[column], before[column], atol=1e-8, err_msg=column)
    assert not np.allclose(after["lrcp_thresholded"], before["lrcp_thresholded"], atol=1e-3)


def test_swapping_the_groups_changes_the_direction_only(cohort):
    before = run(cohort).regions
    cohort.contrasts = build_contrasts(cohort.table, "dx", ["CN-AD"])
    after = run(cohort).regions
    for column in ("lrcp", "p_fwe", "auc", "auc_p_fwe", "higher_in"):
        pd.testing.assert_series_equal(after[column], before[column], check_exact=False)


def test_a_confound_that_is_a_covariate_is_no_effect(cohort_maker):
    c = cohort_maker(effect=0.0, confound=2.0, n=120)
    with_age = run(c).regions
    assert ((with_age["p_fwe"] > 0.05) | (with_age["auc_p_fwe"] > 0.05)).all()
    assert (run_sam(c)["p_fwe"] > 0.05).all()
    c.covariates = build_covariates(c.table, [])
    without = run(c).regions
    assert ((without["p_fwe"] <= 0.05) & (without["auc_p_fwe"] <= 0.05)).any()


def test_two_identical_scans_are_one_participant(cohort):
    single = run(cohort).regions
    twice = np.repeat(np.arange(90), 2)
    c = cohort
    table = c.table.iloc[twice].reset_index(drop=True)
    c.table, c.group = table, c.group[twice]
    c.Z, c.Zf, c.G, c.err, c.fold = c.Z[twice], c.Zf[:, twice], c.G[twice], c.err[twice], c.fold[twice]
    c.contrasts, c.covariates = build_contrasts(table, "dx"), build_covariates(table, ["age", "sex"])
    found = run(c)
    for column in ("lrcp", "p_fwe", "r2", "auc", "rank_median"):
        np.testing.assert_allclose(found.regions[column], single[column], atol=1e-8)
    assert (found.regions["n"] == 90).all()


@pytest.mark.parametrize("contrasts", [["CN<AD"], ["age"]])
def test_orders_and_scores(cohort_maker, contrasts):
    c = cohort_maker(contrasts=contrasts)
    c.covariates = build_covariates(c.table, ["sex"])
    table = run(c).regions
    assert (table["lrcp"] >= 0).all()
    assert table["auc"].between(0.5, 1).all()
    if contrasts == ["CN<AD"]:
        assert set(table.nlargest(5, "lrcp")["name"]) == {f"R{i}" for i in range(1, 6)}


def test_degenerate_cohorts_do_not_break(cohort_maker):
    c = cohort_maker(n=8, effect=0.5, folds=4)
    c.G[:, 3] = 2.0
    c.Z[:, 1] = 0.0
    c.Zf[:, :, 2] = 1.0
    c.G[0, 0] = np.nan
    found = run(c)
    assert "1 of 8 participants" in found.notes[0]
    assert "sub-000." in found.notes[0]
    constant = found.regions.iloc[3]
    assert constant["lrcp"] == 0
    assert constant["p_fwe"] == 1
    assert constant["auc_p_fwe"] == 1
    c.contrasts = build_contrasts(c.table.assign(dx=["CN"] * 7 + ["AD"]), "dx")
    found = run(c)
    assert "AD has 1 participant" in found.notes[-1]
    assert (found.regions["contrast"] == "n/a").all()
    assert found.regions["lrcp"].isna().all()
    assert not len(run_sam(c))


def test_too_few_complete_participants_leave_empty_tables(cohort):
    cohort.G[4:] = np.nan
    found = run(cohort)
    assert "4 complete participants are too few" in found.notes[-1]
    assert list(found.regions.columns[:9]) == NAMED
    assert found.regions["lrcp"].isna().all()
    assert found.profile["rho"].isna().all()


def test_without_fold_models_the_given_latents_serve(cohort):
    cohort.Zf = None
    assert (run(cohort).regions["r2"][:15] > 0.3).all()


def test_same_seed_same_numbers(cohort):
    pd.testing.assert_frame_equal(run(cohort, seed=3).regions, run(cohort, seed=3).regions)


def test_latent_names_match_the_table_of_latents():
    assert latent_names(3) == ["latent_01", "latent_02", "latent_03"]
    assert latent_names(128)[0] == "latent_001"


def test_sam_maps_the_planted_regions(cohort_maker):
    table = run_sam(cohort_maker(n=400, effect=2.5))
    assert list(table.columns[:7]) == ["index", "name", "contrast", "error", "bound", "chance", "survives"]
    planted = np.arange(30) < 5
    np.testing.assert_array_equal(table["survives"], planted)
    np.testing.assert_array_equal(table["survives_strict"], planted)
    np.testing.assert_array_equal(table["p_fwe"] <= 0.05, planted)
    assert (table["bound"] >= table["error"]).all()
    assert (table["chance"] == 0.5).all()
    np.testing.assert_allclose(table["error"][15:], 0.5, atol=0.1)


def test_sam_in_lopsided_groups_has_chance_one_half(cohort_maker):
    table = run_sam(cohort_maker(n=60, effect=0.0, sizes=[48, 12]))
    assert abs(table["error"].mean() - 0.5) < 0.06
    assert not table["survives"].any()
    assert not table["survives_strict"].any()
