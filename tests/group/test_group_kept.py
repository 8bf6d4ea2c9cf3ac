"""What is kept and lost of a regional difference: identities, oracles, planted truth, and latents that pretend."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import r2_score

from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.disease_axis import axis_profile, disease_axis, find_axis, walk
from bids_app.group.kept import explained, follows_within, label_regions, split_differences
from bids_app.group.parcels import compare_parcels, explained_by_borders, name_matters, random_parcels
from bids_app.group.settings import AnalysisSettings
from bids_app.model.grid import Grid, Sampling
from bids_app.model.volumes import Volumes
from bids_app.schema.labels import CARRIED_ONLY, KEPT, LOST, NEITHER, NOT_CARRIED, PARTLY

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from kept import cohort, planned

FAST = {"n_permutations": 99, "n_bootstrap": 100}
SIZES = [(n, k) for n in (30, 60, 150, 600) for k in (2, 8, planned(n), n - 2)]


def split(one, **options):
    return split_differences(one.observed, one.reconstructed, one.y, one.age, **(FAST | options))


@pytest.fixture(scope="module")
def spread():
    return cohort("spread", 80, 8, 1)


def test_difference_is_kept_and_lost_and_that_of_statsmodels(spread):
    table = split(spread)
    np.testing.assert_allclose(table["difference_ml"], table["kept_ml"] + table["lost_ml"])
    design = sm.add_constant(np.column_stack([spread.age, spread.y]))
    for r in (0, 20):
        fits = [sm.OLS(x[:, r], design).fit() for x in (spread.observed, spread.reconstructed)]
        assert table["difference_ml"][r] == pytest.approx(fits[0].params[-1])
        assert table["kept_ml"][r] == pytest.approx(fits[1].params[-1])
        hedges = fits[0].params[-1] / np.sqrt(fits[0].mse_resid) * (1 - 3 / (4 * fits[0].df_resid - 1))
        assert table["g"][r] == pytest.approx(hedges)
        assert table["difference_ml_low"][r] < table["difference_ml"][r] < table["difference_ml_high"][r]


def test_r2_is_sklearns_of_residuals(spread):
    design = sm.add_constant(spread.age)
    clean = lambda x: sm.OLS(x, design).fit().resid  # noqa: E731
    expected = r2_score(clean(spread.observed[:, 3]), clean(spread.reconstructed[:, 3]))
    assert explained(spread.observed, spread.reconstructed, spread.age)[3] == pytest.approx(expected)
    assert np.isnan(explained(np.ones((9, 1)), np.zeros((9, 1)), None)).all()


def test_a_perfect_reconstruction_keeps_all_and_a_mean_nothing(spread):
    table = split_differences(spread.observed, spread.observed, spread.y, spread.age, **FAST)
    assert set(table["label"][spread.planted]) == {KEPT}
    assert set(table["label"][~spread.planted]) == {CARRIED_ONLY}
    np.testing.assert_allclose(table["kept_share"][spread.planted], 1)
    mean = np.tile(spread.observed.mean(axis=0), (80, 1))
    table = split_differences(spread.observed, mean, spread.y, spread.age, **FAST)
    assert set(table["label"][spread.planted]) == {LOST}
    assert set(table["label"][~spread.planted]) == {NEITHER}


def test_no_share_of_a_difference_that_is_not_there(spread):
    table = split(spread)
    there = table["difference_p_fwe"] <= 0.05
    assert there.any()
    assert not there.all()
    for column in ("kept_share", "kept_share_low", "kept_share_high"):
        np.testing.assert_array_equal(table[column].notna(), there)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_noise_keeps_and_carries_nothing(n, k):
    one = cohort("noise", n, k, 0)
    table = split(one)
    assert not table["label"].isin([KEPT, PARTLY, CARRIED_ONLY]).any()
    assert set(table["label"][one.planted]) <= {LOST, NOT_CARRIED}
    # Of 24 training rows even noise predicts something, which blurs the loss.
    assert (table["label"][one.planted] == LOST).mean() >= (0.25 if n == 30 else 0.75)
    assert table["r2"].median() < 0
    assert np.abs(table["kept_share"][one.planted]).max() < 0.5


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_the_group_alone_keeps_no_region(n, k):
    one = cohort("group", n, k, 0)
    table = split(one)
    # The share alone would call the planted regions kept: that is the point of asking within groups.
    assert table["kept_share"][one.planted].mean() > 0.4
    assert not table["label"].isin([KEPT, PARTLY, CARRIED_ONLY]).any()
    assert table["r2_within"].median() < 0.02


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_a_local_effect_that_the_latents_miss_is_lost(n, k):
    one = cohort("local", n, k, 0)
    table = split(one)
    assert (table["label"][one.planted] == LOST).mean() >= 0.75
    assert not (table["label"][one.planted] == KEPT).any()
    assert (table["label"][~one.planted] == CARRIED_ONLY).any()


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_a_spread_effect_that_they_hold_is_kept(n, k):
    one = cohort("spread", n, k, 0)
    label = split(one)["label"]
    found = label[one.planted].isin([KEPT, PARTLY]).mean()
    # 28 latents of 24 people's training rows: some regions are not followed any more.
    assert found >= (0.5 if n == 30 else 0.8)
    assert not (label[one.planted] == LOST).any()
    assert not label[~one.planted].isin([KEPT, PARTLY, LOST]).any()


def test_a_group_beside_what_all_regions_share_passes_until_total_grey_matter_is_removed():
    one = cohort("group and all", 150, 8, 0)
    table = split(one)
    assert table["label"][one.planted].isin([KEPT, PARTLY]).any()  # the limit that the module's text admits
    assert table["r2_within"].median() > 0.2
    assert table["specific_r2_within"].max() < 0.1


def test_latents_that_follow_one_group_only_by_its_spread_carry_nothing():
    claimed = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.repeat([1.0, 0.0], (15, 60))
        wide = np.where(y == 1, 3, 1)[:, None]
        p = follows_within(rng.normal(size=(75, 30)) * wide, rng.normal(size=(75, 30)) * wide, y, n_permutations=99)
        claimed.append(p.min() <= 0.05)
    assert np.mean(claimed) <= 0.14  # 0.05, and three binomial errors


def row(**changed):
    plain = {"difference_p_fwe": 0.01, "kept_p_fwe": 0.01, "lost_p_fwe": 0.5, "within_p_fwe": 0.01, "r2_within": 0.5}
    plain |= {"kept_share": 0.7, "kept_share_low": 0.6, "difference_ml": -1.0, "lost_ml": -0.3}
    return plain | changed


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({}, KEPT),
        ({"lost_p_fwe": 0.01}, PARTLY),
        ({"lost_p_fwe": 0.01, "kept_share": 0.9}, KEPT),
        ({"kept_p_fwe": 0.2}, NOT_CARRIED),
        ({"kept_share_low": 0.4}, PARTLY),
        ({"kept_share_low": -0.1}, NOT_CARRIED),
        ({"kept_share_low": -0.1, "lost_p_fwe": 0.01}, LOST),
        ({"kept_share_low": 0.1, "kept_p_fwe": 0.2, "lost_p_fwe": 0.01}, LOST),
        ({"r2_within": 0.05}, NOT_CARRIED),
        ({"within_p_fwe": 0.2}, NOT_CARRIED),
        ({"r2_within": np.nan}, NOT_CARRIED),
        ({"within_p_fwe": 0.2, "lost_p_fwe": 0.01, "kept_share": 0.3}, LOST),
        ({"kept_share_low": -0.1, "lost_p_fwe": 0.01, "lost_ml": 0.3}, NOT_CARRIED),
        ({"difference_p_fwe": 0.2}, CARRIED_ONLY),
        ({"difference_p_fwe": 0.2, "r2_within": 0.05}, NEITHER),
        ({"difference_p_fwe": 0.2, "lost_p_fwe": 0.01, "r2_within": 0.05}, NEITHER),
    ],
)
def test_the_first_rule_that_applies_decides(changed, label):
    assert label_regions(pd.DataFrame([row(**changed)])).tolist() == [label]


def test_swapping_the_groups_changes_signs_and_no_label(spread):
    before = split(spread)
    after = split_differences(spread.observed, spread.reconstructed, 1 - spread.y, spread.age, **FAST)
    np.testing.assert_allclose(after["kept_ml"], -before["kept_ml"])
    np.testing.assert_allclose(after["lrcp"], np.abs(before["kept_ml"]))
    np.testing.assert_allclose(after["kept_share"], before["kept_share"])
    assert (after["label"] == before["label"]).mean() > 0.9  # drawn anew for the other labels


def test_intervals_cover_the_planted_difference():
    covered = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        y = np.repeat([1.0, 0.0], (15, 30))
        x = rng.normal(size=(45, 20)) * np.where(y == 1, 1.5, 1.0)[:, None] + 10 - 0.8 * y[:, None]
        table = split_differences(x, 0.5 * x, y, n_permutations=1, n_bootstrap=300, seed=seed)
        covered.append((table["difference_ml_low"] <= -0.8) & (table["difference_ml_high"] >= -0.8))
    assert 0.92 < np.mean(covered) < 0.975


def test_intervals_cover_the_planted_share():
    """Six tenths of a loss, of a region whose reconstruction follows it as far and errs besides."""
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.repeat([1.0, 0.0], (30, 45))
        x = rng.normal(size=(75, 20)) * np.where(y == 1, 1.5, 1.0)[:, None] + 10 - 3 * y[:, None]
        table = split_differences(x, 0.6 * x + 0.5 * rng.normal(size=x.shape), y, n_permutations=19, n_bootstrap=200)
        assert table["kept_share"].notna().all()
        covered.append((table["kept_share_low"] <= 0.6) & (table["kept_share_high"] >= 0.6))
    assert 0.92 < np.mean(covered) < 0.975


def test_scores_are_per_unit():
    one = cohort("spread", 120, 8, 2)
    score = 30 - 4 * one.y + np.random.default_rng(0).normal(size=120)
    table = split_differences(one.observed, one.reconstructed, score, one.age, **FAST)
    fitted = sm.OLS(one.observed[:, 0], sm.add_constant(np.column_stack([one.age, score]))).fit()
    assert table["difference_ml"][0] == pytest.approx(fitted.params[-1])
    assert table["label"][one.planted].isin([KEPT, PARTLY]).mean() > 0.7
    t = fitted.tvalues[-1]
    assert table["g"][0] == pytest.approx(t / np.sqrt(t**2 + fitted.df_resid))  # a correlation
    assert ((table["g_low"] < table["g"]) & (table["g"] < table["g_high"])).all()


def test_a_score_of_whole_numbers_is_a_score_in_a_large_cohort():
    """MMSE of 400 people: 16 numbers, some of one person alone, and no groups of unlike spread."""
    rng = np.random.default_rng(4)
    score = np.clip(np.rint(27 - rng.gamma(2, 1.8, size=400)), 0, 30)
    age = rng.normal(size=(400, 1))
    x = 0.1 * score[:, None] + age + rng.normal(size=(400, 6))
    table = split_differences(x, 0.8 * x, score, age, **FAST)
    for r in range(6):
        clean = [v - sm.OLS(v, sm.add_constant(age)).fit().fittedvalues for v in (x[:, r], score)]
        assert table["g"][r] == pytest.approx(stats.pearsonr(*clean).statistic)
    assert ((table["g_low"] < table["g"]) & (table["g"] < table["g_high"])).all()
    design = sm.add_constant(np.column_stack([age, score]))
    left = x[:, 0] - sm.OLS(x[:, 0], design).fit().fittedvalues
    assert table["r2_within"][0] == pytest.approx(1 - ((0.2 * left) ** 2).sum() / (left**2).sum())


def test_the_interval_of_a_correlation_covers():
    """Planted r of 0.5; an exact relation ends at 1."""
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        score, age = rng.normal(size=80), rng.normal(size=(80, 1))
        x = 0.5 * score[:, None] + np.sqrt(0.75) * rng.normal(size=(80, 5)) + age
        table = split_differences(x, x, score + age[:, 0], age, n_permutations=9, n_bootstrap=200)
        covered.append((table["g_low"] <= 0.5) & (table["g_high"] >= 0.5))
    assert 0.90 < np.mean(covered) < 0.99
    exact = split_differences(x, x, x[:, 0], age, n_permutations=9, n_bootstrap=50)
    assert exact["g_high"].max() == pytest.approx(1)
    assert exact["g_high"].max() <= 1


def test_values_that_make_no_sense_are_refused(spread):
    with pytest.raises(ValueError, match="shapes"):
        split_differences(spread.observed, spread.reconstructed[:, :3], spread.y)
    broken = spread.observed.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        split_differences(broken, spread.reconstructed, spread.y)
    with pytest.raises(ValueError, match="degrees of freedom"):
        split_differences(spread.observed[:3], spread.reconstructed[:3], np.array([0.0, 1, 1]), spread.age[:3])


def test_the_place_on_the_axis_is_held_out_and_in_standard_deviations():
    one = cohort("spread", 150, 8, 0)
    axis = find_axis(one.latents, one.y, one.fold, one.age)
    assert axis.place[one.y == 0].mean() == pytest.approx(0)
    assert axis.place[one.y == 1].mean() > 0.7
    within = np.concatenate([axis.place[one.y == g] - axis.place[one.y == g].mean() for g in (0, 1)])
    assert within.std() == pytest.approx(1)
    # Nobody's own label moves the own place before the common scale: noise separates nothing, however many latents.
    noise = np.random.default_rng(0).normal(size=(150, 148))
    place = find_axis(noise, one.y, one.fold).place
    assert abs(place[one.y == 1].mean()) < 0.6


def test_the_walk_is_the_planted_direction_and_what_people_follow():
    rng = np.random.default_rng(0)
    n, loading = 400, np.array([[-2.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    y = (np.arange(n) % 2).astype(float)
    z = rng.normal(size=(n, 2))
    z[:, 0] += 1.5 * y
    observed = z @ loading + 0.1 * rng.normal(size=(n, 4))
    fold = np.arange(n) // 2 % 5
    axis = find_axis(z, y, fold)
    drawn = walk(axis, [lambda points: points @ loading] * 5)
    assert drawn.shape == (5, 4)
    np.testing.assert_allclose(drawn.mean(axis=0), [-2, -1, 0, 0], atol=0.2)
    table = axis_profile(axis.place, observed, z @ loading, y, n_bootstrap=200)
    np.testing.assert_allclose(table["reconstructed_ml_per_sd"], drawn.mean(axis=0), atol=0.1)
    low, high = table["observed_ml_per_sd_low"], table["observed_ml_per_sd_high"]
    assert (low < table["observed_ml_per_sd"]).all()
    assert (table["observed_ml_per_sd"] < high).all()
    assert high[0] < 0 < high[3]


def test_parcels_have_the_sizes_and_hang_together():
    points = np.argwhere(np.ones((12, 10, 8))).astype(float)
    sizes = np.array([100, 260, 300, 40, 160, 100])
    parcel = random_parcels(points, sizes, 3)
    np.testing.assert_array_equal(np.bincount(parcel), sizes)
    assert (random_parcels(points, sizes, 4) != parcel).any()
    # Compact: far smaller than voxels dealt out at random would be.
    spread = np.mean([points[parcel == r].var(axis=0).sum() for r in range(6)])
    assert spread < 0.6 * points.var(axis=0).sum()
    with pytest.raises(ValueError, match="add up"):
        random_parcels(points, sizes[:-1])


@pytest.mark.parametrize("follows", [True, False])
def test_the_names_matter_where_the_difference_follows_their_borders(follows):
    points = np.argwhere(np.ones((12, 12, 12))).astype(float)
    blocks = (points // 6).astype(int) @ [4, 2, 1]
    sizes = np.bincount(blocks)
    rng = np.random.default_rng(0)
    density = rng.normal(size=len(points)) * 0.1
    # A whole block, or a slab that crosses four of them.
    density -= (blocks == 3) if follows else (np.abs(points @ [1, 1, 1] - 16.5) < 1)
    between = lambda parcel: explained_by_borders(np.bincount(parcel, density), sizes)  # noqa: E731
    p = name_matters(between(blocks), np.array([between(random_parcels(points, sizes, s)) for s in range(99)]))
    assert (p <= 0.05) == follows


def test_each_contrast_has_its_axis_and_everyone_in_it_a_place(cohort_maker):
    c = cohort_maker(contrasts=["AD-CN", "age"])
    c.covariates = build_covariates(c.table, ["sex"])
    c.table.loc[3, "dx"] = None
    c.contrasts = build_contrasts(c.table, "dx", ["AD-CN", "age"])
    found = disease_axis(c.study(), AnalysisSettings(n_interval_samples=50))
    assert list(found.places.columns) == ["place_AD-CN", "place_age"]
    np.testing.assert_array_equal(np.flatnonzero(found.places["place_AD-CN"].isna()), [3])
    sick = (c.table["dx"] == "AD").to_numpy()
    assert found.places["place_AD-CN"][sick].mean() > 1
    assert found.places["place_AD-CN"][(c.table["dx"] == "CN").to_numpy()].mean() == pytest.approx(0, abs=1e-9)
    assert found.regions.groupby("contrast").size().tolist() == [30, 30]
    assert found.regions["decoded_ml_per_sd"].isna().all()
    first = found.regions[found.regions["contrast"] == "AD-CN"]
    assert set(first.nsmallest(5, "observed_ml_per_sd")["name"]) == {f"R{i}" for i in range(1, 6)}
    drawn = disease_axis(c.study(), AnalysisSettings(n_interval_samples=2), [lambda z: z[:, :1] @ np.ones((1, 30))])
    assert drawn.regions["decoded_ml_per_sd"].notna().all()


@pytest.mark.parametrize("planted", [True, False])
def test_a_pattern_that_follows_the_atlas_is_told_from_one_that_does_not(cohort_maker, planted):
    """A loss within four regions of a grid of cubes, or within four parcels of another cut."""
    c, rng = cohort_maker(n=60, effect=0.0), np.random.default_rng(0)
    c.covariates = build_covariates(c.table, [])
    where = np.argwhere(np.ones((12, 12, 12), bool))
    member = (where // 4) @ [9, 3, 1]
    sick = (c.group == "AD").astype(float)
    other = random_parcels(where.astype(float), np.full(27, 64), seed=1000)
    loss = np.isin(member if planted else other, [0, 13, 20, 26])
    maps = rng.normal(size=(60, 12**3)) * 0.3 + 1 - sick[:, None] * loss
    grid = Grid(Sampling((12,) * 3, np.eye(4), 0.0, 1.0), np.ones((12,) * 3, bool))
    volumes = Volumes(maps, grid, [""] * 60, [])
    table = compare_parcels(c.study(), AnalysisSettings(), volumes, np.where(member == 5, -1, member), cuts=59)
    assert table["regions"].tolist() == [26]
    assert (table["p"][0] <= 0.05) == planted
    assert table["between_regions"][0] > 0.05
