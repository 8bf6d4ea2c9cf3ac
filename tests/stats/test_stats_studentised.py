"""Robust tests against other libraries, exact enumeration, and their level where spreads differ."""

from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import Ridge

from bids_app.stats.crossfit import crossfit_operators, crossfit_test
from bids_app.stats.discriminability import permuted_discriminability
from bids_app.stats.dispersion import group_spreads
from bids_app.stats.permutation import max_statistic_p, permutation_chunks
from bids_app.stats.studentised import has_groups, redrawn, studentised_crossfit, studentised_test, to_normal


def two_groups(sizes, ratio, columns, seed, skewed=False):
    rng = np.random.default_rng(seed)
    y = np.repeat([1.0, 0.0], sizes)
    x = (rng.gamma(4, size=(len(y), columns)) - 4) / 2 if skewed else rng.normal(size=(len(y), columns))
    x[y == 1] *= ratio
    return x, y


@pytest.mark.parametrize(
    ("levels", "rows", "groups"), [(2, 10, True), (3, 60, True), (3, 12, False), (6, 60, True), (20, 663, False)]
)
def test_a_few_values_are_groups_and_many_are_a_score(levels, rows, groups):
    assert has_groups(np.arange(rows) % levels) is groups


def test_without_covariates_it_is_welchs_t():
    x, y = two_groups((12, 40), 2.0, 6, 0)
    found = studentised_test(x, y, n_permutations=9)
    expected = stats.ttest_ind(x[y == 1], x[y == 0], equal_var=False)
    np.testing.assert_allclose(found.t, expected.statistic)
    np.testing.assert_allclose(found.df, expected.df)
    np.testing.assert_allclose(found.slope, x[y == 1].mean(0) - x[y == 0].mean(0))


@pytest.mark.parametrize("response", ["groups", "score"])
def test_with_covariates_it_is_the_hc2_of_statsmodels(response):
    rng = np.random.default_rng(1)
    x, y = two_groups((12, 40), 2.0, 4, 1)
    y = y if response == "groups" else rng.normal(size=len(y))
    c = rng.normal(size=(len(y), 2)) + y[:, None]
    found = studentised_test(x, y, c, n_permutations=9)
    for r in range(4):
        fitted = sm.OLS(x[:, r], sm.add_constant(np.column_stack([c, y]))).fit(cov_type="HC2")
        assert (found.slope[r], found.t[r]) == pytest.approx((fitted.params[-1], fitted.tvalues[-1]))


@pytest.mark.parametrize("df", [4, 10, 30, 300])
def test_normal_deviates_have_the_tail_of_t(df):
    t = np.array([-6, -2.0, -0.5, 0.0, 1.0, 3.0, 6.0])
    np.testing.assert_allclose(to_normal(t, df), -np.sign(t) * stats.norm.ppf(stats.t.sf(np.abs(t), df)), atol=0.03)
    assert np.isfinite(to_normal(np.array([1e6]), 300.0)).all()


def test_permuted_labels_approach_the_enumeration_of_all():
    x, y = two_groups((4, 6), 1.5, 3, 2)
    x[:4, 0] += 2
    found = studentised_test(x, y, null="labels", n_permutations=4000, seed=3)
    tails = []
    for chosen in combinations(range(10), 4):
        first = np.isin(np.arange(10), chosen)
        welch = stats.ttest_ind(x[first], x[~first], equal_var=False)
        tails.append(np.abs(stats.norm.ppf(stats.t.sf(np.abs(welch.statistic), welch.df))))
    tails, size = np.array(tails), np.abs(found.z)
    # The closed form of the tail and scipy's differ by 0.03 at most; a tie may fall either way.
    for r in range(3):
        low, high = (tails[:, r] >= size[r] + 0.03).mean(), (tails[:, r] >= size[r] - 0.03).mean()
        assert low - 0.03 <= found.p[r] <= high + 0.03
        low, high = (tails.max(1) >= size[r] + 0.03).mean(), (tails.max(1) >= size[r] - 0.03).mean()
        assert low - 0.03 <= found.p_fwe[r] <= high + 0.03


@pytest.mark.parametrize("null", ["labels", "residuals"])
def test_one_column_of_equal_spreads_has_the_p_of_students_t(null):
    x, y = two_groups((40, 40), 1.0, 8, 4)
    x[:40] += np.linspace(0, 0.6, 8)
    found = studentised_test(x, y, null=null, n_permutations=4000)
    np.testing.assert_allclose(found.p, stats.ttest_ind(x[:40], x[40:]).pvalue, atol=0.03)
    assert (found.p_fwe >= found.p).all()


def level(sizes, ratio, cohorts, skewed=False, **options):
    claimed = []
    for seed in range(cohorts):
        x, y = two_groups(sizes, ratio, 60, 1000 + seed, skewed)
        claimed.append(studentised_test(x, y, n_permutations=99, seed=seed, **options).p_fwe.min() <= 0.05)
    return np.mean(claimed)


def test_few_patients_who_vary_more_are_no_finding():
    # 100 cohorts: a level of 0.05 exceeds 0.11 once in 200 times.
    assert level((30, 120), 2.0, 100) <= 0.11
    pooled = []
    for seed in range(100):
        x, y = two_groups((30, 120), 2.0, 60, 1000 + seed)
        pooled.append(max_statistic_p(*permuted_discriminability(x, y, "groups", n_permutations=99)).min() <= 0.05)
    assert np.mean(pooled) > 0.2


@pytest.mark.slow
def test_the_largest_of_many_regions_keeps_its_level_with_fifteen_patients():
    """Studentising alone does not: permuted labels claim a region of 120 in one cohort of twelve."""
    found = {"labels": [], "residuals": []}
    for seed in range(600):
        x, y = two_groups((15, 60), 2.0, 120, 9000 + seed)
        for null, hits in found.items():
            hits.append(studentised_test(x, y, null=null, n_permutations=99, seed=seed).p_fwe.min() <= 0.05)
    assert np.mean(found["residuals"]) <= 0.072  # 0.05, and two and a half binomial errors
    assert np.mean(found["labels"]) > 0.072


def test_skewness_is_no_finding():
    assert level((30, 120), 2.0, 100, skewed=True) <= 0.11


def test_a_difference_is_found_as_often_as_by_the_pooled_test():
    studentised, pooled = [], []
    for seed in range(60):
        x, y = two_groups((30, 120), 1.0, 60, seed)
        x[y == 1, 0] += 0.8
        studentised.append(studentised_test(x, y, n_permutations=99, seed=seed).p_fwe[0] <= 0.05)
        null = permuted_discriminability(x, y, "groups", n_permutations=99, seed=seed)
        pooled.append(max_statistic_p(*null)[0] <= 0.05)
    assert 0.3 < np.mean(pooled) < 0.97
    assert np.mean(studentised) >= np.mean(pooled) - 0.1


def test_spread_that_a_site_brings_is_no_finding():
    claimed = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = np.repeat([1.0, 0.0], (30, 120))
        site = (rng.random(150) < np.where(y == 1, 0.7, 0.3)).astype(float)
        x = rng.normal(size=(150, 40)) * np.where(site == 1, 2, 1)[:, None] + site[:, None]
        found = studentised_test(x, y, site[:, None], blocks=site, n_permutations=99, seed=seed)
        claimed.append(found.p_fwe.min() <= 0.05)
    assert np.mean(claimed) <= 0.11


def test_rows_stay_in_their_block():
    blocks = np.array(list("aabbbbcab"))
    for perms in permutation_chunks(9, 50, 0, 16, blocks):
        assert (blocks[perms] == blocks).all()
        assert (np.sort(perms, axis=1) == np.arange(9)).all()
        assert len(np.unique(perms, axis=0)) > 1
    assert all((blocks[rows] == blocks).all() for rows in redrawn(9, 20, 0, blocks))


def test_constant_columns_say_nothing():
    x, y = two_groups((10, 20), 1.0, 3, 0)
    x[:, 1] = 7.3
    x[:, 2] = 0.0
    for null in ("labels", "residuals"):
        found = studentised_test(x, y, null=null, n_permutations=99)
        assert (found.t[1:] == 0).all()
        assert (found.p_fwe[1:] == 1).all()
    with pytest.raises(ValueError, match="null is"):
        studentised_test(x, y, null="guess")


def separation(sizes, ratio, cohorts, effect=0.0):
    robust, pooled = [], []
    for seed in range(cohorts):
        x, y = two_groups(sizes, ratio, 8, 5000 + seed)
        x[y == 1, 0] += effect
        fold = np.arange(len(y)) % 5
        robust.append(studentised_crossfit(x, y, fold, n_permutations=99, seed=seed).p <= 0.05)
        pooled.append(crossfit_test(x, y, fold, n_permutations=99, seed=seed).p <= 0.05)
    return np.mean(robust), np.mean(pooled)


def test_separation_is_not_granted_to_spread():
    robust, pooled = separation((20, 100), 2.0, 150)
    assert robust <= 0.10
    assert pooled > robust


def test_separation_is_found_as_often():
    robust, pooled = separation((30, 120), 1.0, 80, effect=0.9)
    assert pooled > 0.4
    assert robust >= pooled - 0.1


def test_separation_is_welchs_t_of_the_predictions():
    x, y = two_groups((20, 60), 1.5, 4, 0)
    x[y == 1, 0] += 0.8
    fold = np.arange(80) % 5
    z = studentised_crossfit(x, y, fold, n_permutations=9).statistic
    prediction = crossfit_test(x, y, fold, n_permutations=9).prediction
    welch = stats.ttest_ind(prediction[y == 1], prediction[y == 0], equal_var=False)
    # Folds here hold the same shares of the groups, so that the held-out response is the label less a constant.
    assert z == pytest.approx(to_normal(welch.statistic, welch.df), abs=1e-6)


def test_the_error_of_the_covariates_is_no_difference_of_groups():
    """Few people, three times the spread: covariates that differ by chance made a z of 0.5 on average of nothing."""
    y, fold, found = np.repeat([1.0, 0.0], [15, 60]), np.concatenate([np.arange(15), np.arange(60)]) % 5, []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(75, 30)) * np.where(y == 1, 3, 1)[:, None]
        found.append(studentised_crossfit(x, y, fold, rng.normal(size=(75, 6)), n_permutations=1).statistic)
    assert abs(np.mean(found)) < 0.25


def test_covariates_leave_the_features_by_weighted_least_squares():
    rng = np.random.default_rng(3)
    x, y = two_groups((20, 60), 2.0, 3, 0)
    c, fold = rng.normal(size=(80, 2)), np.arange(80) % 4
    train, test = fold != 0, fold == 0
    spread = group_spreads(x[train], y[train], c[train])
    weights = 1 / spread[y[train].astype(int)] ** 2
    design = np.column_stack([np.ones(80), c])
    fits = [sm.WLS(column, design[train], weights).fit().params for column in x[train].T]
    left = x - design @ np.array(fits).T
    left = (left - left[train].mean(axis=0)) / left[train].std(axis=0)
    v = y - design @ np.linalg.lstsq(design[train], y[train], rcond=None)[0]
    ridge = Ridge(alpha=0.1 * train.sum(), fit_intercept=False).fit(left[train], v[train])
    predict, explained = crossfit_operators(x, fold, c, y)
    np.testing.assert_allclose((predict @ y)[test], ridge.predict(left[test]), atol=1e-9)
    np.testing.assert_allclose((y - explained @ y)[test], v[test], atol=1e-9)
