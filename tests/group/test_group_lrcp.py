"""LRCP and SAM: planted regions, latents that pretend, invariances, repeated scans."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from cohorts import make_cohort
from scipy import stats
from sklearn.linear_model import LinearRegression
from statsmodels.stats.multitest import multipletests

from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.validate import validate
from bids_app.schema.claims import REGIONS_KEPT
from bids_app.schema.labels import CARRIED_ONLY, DIFFERING, KEPT, LOST, NEITHER, NOT_CARRIED, PARTLY
from bids_app.schema.names import latent_names
from bids_app.stats.discriminability import auc
from bids_app.stats.multiplicity import holm_levels

NAMED = ["index", "name", "contrast", "lrcp", "label"]
PLANTED = np.arange(30) < 5


def run(c, **options):
    return lrcp(
        c.study(),
        AnalysisSettings(**({"n_permutations": 199, "n_rank_samples": 20, "n_interval_samples": 100} | options)),
    )


def run_sam(c):
    return sam(c.study(), AnalysisSettings(n_permutations=300))


def test_planted_differences_are_kept_and_come_first(cohort):
    found = run(cohort)
    table = found.regions
    assert list(table.columns[:5]) == NAMED
    assert list(found.profile.columns) == ["index", "name", "latent", "rho", "p_fwe", "q"]
    assert len(found.profile) == 30 * 8
    assert set(table.nlargest(5, "lrcp")["name"]) == {f"R{i}" for i in range(1, 6)}
    assert set(table["label"][PLANTED]) <= {KEPT, PARTLY}
    np.testing.assert_array_equal(table["p_fwe"] <= 0.05, PLANTED)
    # Regions of the other source are followed just as well, but do not differ.
    assert set(table["label"][5:15]) == {CARRIED_ONLY}
    assert set(table["label"][15:]) == {NEITHER}
    assert (table["rank_median"][:5] <= 6).all()
    assert (table["rank_median"][15:] > 6).all()
    assert (table["higher_in"][:5] == "CN").all()
    assert (table["kept_share"].notna() == PLANTED).all()
    np.testing.assert_allclose(table["difference_ml"], table["kept_ml"] + table["lost_ml"])


def test_white_noise_in_place_of_the_latents_keeps_nothing(cohort):
    """As many latents as the plan takes: the ranking used to be that of the t test, with p = .002."""
    rng = np.random.default_rng(0)
    cohort.Z = rng.normal(size=(90, 56))
    cohort.Zf = None
    table = run(cohort).regions
    assert not set(table["label"]) & {KEPT, PARTLY, CARRIED_ONLY}
    assert (table["p_fwe"] > 0.05).all()
    assert (table["label"][PLANTED] == LOST).any()


def test_white_noise_of_the_plans_size_neither_finds_nor_ranks():
    """57 latents of 90 people hold any contrast of 60: their in-sample discriminant is the t test itself."""
    group = np.repeat(["AD", "MCI", "CN"], 30)
    shift = np.select([group == "AD", group == "MCI"], [1.0, 0.5])
    alike = []
    for seed in range(6):
        c, rng = make_cohort(n=90, effect=0.0, seed=seed), np.random.default_rng(seed)
        c.table["dx"], c.Z, c.Zf = group, rng.normal(size=(90, 57)), None
        c.G = 5 + rng.normal(size=(90, 30)) - shift[:, None] * np.linspace(0, 1.2, 30)
        c.contrasts = build_contrasts(c.table, "dx", ["AD-CN"])
        table = run(c).regions
        assert not set(table["label"]) & {KEPT, PARTLY, CARRIED_ONLY}
        assert (table["p_fwe"] > 0.05).all()
        two = group != "MCI"
        design = sm.add_constant(np.column_stack([c.covariates.matrix[two], group[two] == "AD"]).astype(float))
        size = [abs(sm.OLS(g, design).fit().tvalues[-1]) for g in c.G[two].T]
        assert (table["label"][np.argsort(size)[-3:]].isin((LOST, NOT_CARRIED))).any()  # there is something to rank
        alike.append(stats.spearmanr(table["lrcp"], size).statistic)
    assert np.mean(alike) < 0.5  # 0.98 where the discriminant is not held out


def knowing(seed, n, k, carried):
    """Four regions differ; the latents hold what makes them differ, or differ as well and know nothing else of them."""
    rng = np.random.default_rng([seed, n, k])
    c = make_cohort(n=n, effect=0.0, seed=seed, k=k)
    sick = (c.group == "AD").astype(float)
    source = rng.normal(size=n) - sick
    c.G = 5 + rng.normal(size=(n, 30))
    c.G[:, :4] = 5 + source[:, None] + 0.6 * rng.normal(size=(n, 4)) if carried else c.G[:, :4] - sick[:, None]
    held = source if carried else rng.normal(size=n) - sick
    c.Z, c.Zf = 0.5 * rng.normal(size=(n, k)) + 2 * np.outer(held, rng.normal(size=k) / np.sqrt(k)), None
    return c


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize(("n", "k"), [(100, 16), (200, 32)])
def test_latents_that_differ_as_the_regions_do_are_granted_none_of_them(n, k, carried):
    """Independent given the group; the claim of 0.4.0 was granted to three cohorts of four and more."""
    granted = []
    for seed in range(8):
        c = knowing(seed, n, k, carried)
        found = run(c, n_permutations=99, n_interval_samples=50, n_rank_samples=2).regions
        assert found["p_fwe"][4:].min() > 0.05
        rows = validate(c.study(), AnalysisSettings(n_permutations=19), lrcp_regions=found)
        p = rows.loc[rows["claim_id"] == REGIONS_KEPT.id, "p"].item()
        granted.append(p <= 0.05)
        assert found["label"][:4].isin((KEPT, PARTLY)).any() == granted[-1]
    assert np.mean(granted) >= 0.6 if carried else not any(granted)


def test_the_literal_score_is_its_definition(cohort):
    found = run(cohort)
    c = cohort
    design = c.covariates.matrix
    clean = lambda x: x - LinearRegression().fit(design, x).predict(design)  # noqa: E731
    z, g, y = clean(c.Z), clean(c.G), (c.group == "AD").astype(float)
    d = np.abs(2 * auc(z, y) - 1)
    p = found.profile["p_fwe"].to_numpy().reshape(30, 8)
    expected = [
        sum(abs(stats.pearsonr(g[:, r], z[:, k])[0]) * d[k] for k in range(8) if p[r, k] <= 0.05) for r in range(30)
    ]
    np.testing.assert_allclose(found.regions["lrcp_literal"], expected, atol=1e-8)


def test_no_rotation_of_the_latents_changes_what_is_kept(cohort):
    before = run(cohort).regions
    rng = np.random.default_rng(5)
    cohort.Z = cohort.Z @ stats.ortho_group.rvs(8, random_state=rng)
    cohort.Zf = np.stack([z @ stats.ortho_group.rvs(8, random_state=rng) for z in cohort.Zf])
    after = run(cohort).regions
    for column in ("lrcp", "p_fwe", "r2", "r2_within", "lost_ml", "rank_median"):
        np.testing.assert_allclose(after[column], before[column], atol=1e-8, err_msg=column)
    assert not np.allclose(after["lrcp_literal"], before["lrcp_literal"], atol=1e-3)


def test_swapping_the_groups_changes_signs_only(cohort):
    before = run(cohort).regions
    cohort.contrasts = build_contrasts(cohort.table, "dx", ["CN-AD"])
    after = run(cohort).regions
    for column in ("lrcp", "label", "higher_in", "r2"):
        pd.testing.assert_series_equal(after[column], before[column], check_exact=False)
    np.testing.assert_allclose(after["difference_ml"], -before["difference_ml"])


def test_a_confound_that_is_a_covariate_is_no_difference(cohort_maker):
    c = cohort_maker(effect=0.0, confound=2.0, n=120)
    assert not run(c).regions["label"].isin((KEPT, PARTLY, LOST, NOT_CARRIED)).any()
    assert (run_sam(c)["p_fwe"] > 0.05).all()
    c.covariates = build_covariates(c.table, [])
    assert run(c).regions["label"].isin((KEPT, PARTLY)).any()


def test_two_identical_scans_are_one_participant(cohort):
    single = run(cohort).regions
    twice = np.repeat(np.arange(90), 2)
    c = cohort
    table = c.table.iloc[twice].reset_index(drop=True)
    study = c.study()
    c.table, c.group = table, c.group[twice]
    c.Z, c.Zf, c.G, c.err, c.fold = c.Z[twice], c.Zf[:, twice], c.G[twice], c.err[twice], c.fold[twice]
    c.contrasts, c.covariates = build_contrasts(table, "dx"), build_covariates(table, ["age", "sex"])
    settings = AnalysisSettings(n_permutations=199, n_rank_samples=20, n_interval_samples=100)
    found = lrcp(c.study(reconstructed=study.reconstructed[twice]), settings)
    for column in ("lrcp", "p_fwe", "r2", "rank_median", "lrcp_literal"):
        np.testing.assert_allclose(found.regions[column], single[column], atol=1e-8)
    assert (found.regions["n"] == 90).all()


@pytest.mark.parametrize("contrasts", [["CN<AD"], ["age"]])
def test_orders_and_scores(cohort_maker, contrasts):
    c = cohort_maker(contrasts=contrasts)
    c.covariates = build_covariates(c.table, ["sex"])
    table = run(c).regions
    assert (table["lrcp"] >= 0).all()
    if contrasts == ["CN<AD"]:
        assert set(table.nlargest(5, "lrcp")["name"]) == {f"R{i}" for i in range(1, 6)}
        assert set(table["higher_in"][PLANTED]) == {"down"}


@pytest.mark.parametrize(("effect", "alone", "together"), [(0.7, 3, 0), (0.8, 5, 1)])
def test_three_contrasts_are_tested_as_a_family(cohort_maker, effect, alone, together):
    """The weakest of three is labelled at alpha, the strongest at alpha / 3: none at alpha by itself."""
    c = cohort_maker(effect=effect, n=120, seed=1)
    (contrast,), rng = c.contrasts, np.random.default_rng(3)
    one = run(c).regions
    c.contrasts += [replace(contrast, name=f"none{i}", y=rng.permutation(contrast.y)) for i in range(2)]
    table = run(c).regions
    first = table[table["contrast"] == contrast.name]
    np.testing.assert_array_equal(first["p_fwe"], one["p_fwe"])  # the level alone is another
    counts = [int(t["label"].isin((KEPT, PARTLY)).sum()) for t in (one, first)]
    assert counts == [alone, together]
    least = table.groupby("contrast", sort=False)["p_fwe"].min()
    supported = multipletests(least, 0.05, method="holm")[0]
    np.testing.assert_array_equal(supported, [together > 0, False, False])
    for name, level in zip(least.index, holm_levels(least.to_numpy(), 0.05), strict=True):
        mine = table[table["contrast"] == name]
        np.testing.assert_array_equal(mine["label"].isin(DIFFERING), mine["difference_p_fwe"] <= level)
        assert (mine["p_fwe"][mine["label"].isin((KEPT, PARTLY))] <= level).all()


def test_a_share_is_given_of_regions_that_are_said_to_differ_and_of_no_others(cohort_maker):
    """Also where a region differs at alpha, but not at the level that Holm leaves to its contrast."""
    c = cohort_maker(effect=1.0, n=90)
    rng = np.random.default_rng(0)
    whole = c.contrasts[0]
    # The same question with ever more of the labels exchanged: differences that fade.
    for share in (0.3, 0.5, 0.7):
        some = np.flatnonzero(np.isfinite(whole.y))
        some = rng.choice(some, int(share * len(some)), replace=False)
        y = whole.y.copy()
        y[some] = rng.permutation(y[some])
        c.contrasts = [*c.contrasts, replace(whole, name=f"{share}", y=y)]
    table = run(c).regions
    differs = table["label"].isin(DIFFERING)
    assert differs.any()
    assert ((table["difference_p_fwe"] <= 0.05) & ~differs).any()
    for name in ("kept_share", "kept_share_low", "kept_share_high"):
        assert (table[name].notna() == differs).all()


def test_degenerate_cohorts_do_not_break(cohort_maker):
    c = cohort_maker(n=12, effect=0.5, folds=4)
    c.G[:, 3] = 2.0
    c.Z[:, 1] = 0.0
    c.Zf[:, :, 2] = 1.0
    c.G[0, 0] = np.nan
    found = run(c)
    assert "1 of 12 participants" in found.notes[0]
    assert "sub-000." in found.notes[0]
    constant = found.regions.iloc[3]
    assert constant["difference_ml"] == pytest.approx(0, abs=1e-9)
    assert constant["p_fwe"] == 1
    assert constant["label"] == NEITHER
    c.contrasts = build_contrasts(c.table.assign(dx=["CN"] * 11 + ["AD"]), "dx")
    found = run(c)
    assert "AD has 1 participant" in found.notes[-1]
    assert (found.regions["contrast"] == "n/a").all()
    assert found.regions["lrcp"].isna().all()
    assert found.regions["r2"].notna().any()
    assert not len(run_sam(c))


def test_too_few_complete_participants_leave_empty_tables(cohort):
    cohort.G[4:] = np.nan
    found = run(cohort)
    assert "too few" in found.notes[-1]
    assert list(found.regions.columns[:5]) == NAMED
    assert found.regions["lrcp"].isna().all()
    assert found.profile["rho"].isna().all()


def test_without_groups_there_is_r2_alone(cohort):
    cohort.contrasts = []
    table = run(cohort).regions
    assert (table["r2"][:15] > 0.3).all()
    assert (table["r2"][15:] < 0.1).all()
    assert table["label"].isna().all()


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
