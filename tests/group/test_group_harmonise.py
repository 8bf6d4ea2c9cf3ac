"""ComBat against neuroCombat and neuroHarmonize, and what it may not see."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_app.errors import DatasetError
from bids_app.group.design import build_covariates
from bids_app.group.harmonise import build_sites, harmonise
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Features
from bids_app.stats.combat import fit_combat

# What neuroHarmonize 2.5.2 makes of the last four rows of `data` after learning from the first 20 (x, age, site).
HELD_OUT = np.array(
    [
        [4.1419248, 4.4764812, -2.6376461, 5.7879308],
        [2.3006858, 4.5877445, -3.7549124, 1.2212829],
        [4.5991404, 3.8851060, -2.3909896, 4.8380634],
        [4.6915872, 3.8058019, -5.4588040, 2.0143815],
    ]
)


def data():
    rng = np.random.default_rng(7)
    site = np.arange(24) % 3
    age = np.round(rng.normal(60, 8, 24), 1) + 3 * site
    x = 5 + 0.05 * age[:, None] * rng.normal(size=4) + rng.normal(size=(24, 4)) * (1 + 0.4 * site[:, None])
    return np.round(x + site[:, None] * rng.normal(size=4), 3), site, age


def test_rows_that_were_harmonised_together_are_neurocombats():
    reference = pytest.importorskip("neuroCombat")
    rng = np.random.default_rng(0)
    site, age = np.repeat(["a", "b", "c"], [20, 30, 40]), rng.normal(70, 8, 90)
    x = rng.normal(size=(90, 50)) * rng.uniform(1, 3, 50) + 5 * rng.normal(size=50) + 0.1 * age[:, None]
    x[site == "b"] *= 1.4
    x[site == "c"] += rng.normal(size=50)
    table = pd.DataFrame({"site": site, "age": age})
    expected = reference.neuroCombat(x.T, table, "site", continuous_cols=["age"])["data"].T
    np.testing.assert_allclose(fit_combat(x, site, age).apply(x, site, age), expected, atol=1e-3)


def test_held_out_rows_are_neuroharmonizes():
    x, site, age = data()
    found = fit_combat(x[:20], site[:20], age[:20]).apply(x[20:], site[20:], age[20:])
    np.testing.assert_allclose(found, HELD_OUT, atol=1e-5)


def test_sites_become_alike_and_covariates_stay():
    rng = np.random.default_rng(1)
    n = 600
    site, age = rng.integers(0, 3, n), rng.normal(size=n)
    clean = rng.normal(size=(n, 20)) + age[:, None]
    x = clean * np.array([1, 1.5, 0.7])[site, None] + rng.normal(size=(3, 20))[site]
    out = fit_combat(x, site, age).apply(x, site, age)
    free = out - np.outer(age, np.linalg.lstsq(np.column_stack([age, np.ones(n)]), out, rcond=None)[0][0])
    for r in range(20):
        groups = [free[site == s, r] for s in range(3)]
        assert stats.f_oneway(*groups).pvalue > 0.05
        assert stats.levene(*groups).pvalue > 0.05
        assert stats.pearsonr(out[:, r], age).statistic > 0.5


def test_a_fold_is_harmonised_without_its_held_out_rows():
    x, site, age = data()
    fold = np.arange(24) // 3 % 4
    site, age = np.array([f"s{s}" for s in site]), age[:, None]
    full, per_fold = harmonise(x, site, age, fold)
    changed = x.copy()
    changed[fold == 2] += 100 * np.random.default_rng(0).normal(size=(6, 4))
    other_full, other = harmonise(changed, site, age, fold)
    np.testing.assert_array_equal(per_fold[2][fold != 2], other[2][fold != 2])
    assert not np.allclose(per_fold[1][fold != 2], other[1][fold != 2])
    assert not np.allclose(full, other_full)
    # The fold model's own latents are harmonised fold by fold.
    np.testing.assert_allclose(
        harmonise(x, site, age, fold, by_fold=np.stack([x, x, 2 * x, x]))[1][2], 2 * per_fold[2], atol=1e-9
    )


def test_rows_without_site_are_unknown_and_unseen_sites_stay_as_they_are():
    x, site, age = data()
    site = np.array([f"s{s}" for s in site])
    fold = np.arange(24) % 4
    site[5], site[8] = "", "elsewhere"
    full, per_fold = harmonise(x, site, age[:, None], fold)
    assert np.isnan(full[5]).all()
    assert np.isfinite(np.delete(full, 5, axis=0)).all()
    np.testing.assert_array_equal(per_fold[0][8], x[8])


def test_constant_features_and_few_rows_do_no_harm():
    x, site, age = data()
    x[:, 1] = 3.0
    out = fit_combat(x, site, np.column_stack([age, age, site])).apply(x, site, np.column_stack([age, age, site]))
    np.testing.assert_allclose(out[:, 1], 3.0)
    assert np.isfinite(out).all()
    assert np.isfinite(fit_combat(x[:, :1], site).apply(x[:, :1], site)).all()


@pytest.mark.parametrize(
    ("sites", "said"),
    [(["a"] * 12, "has 1 site"), (["a"] * 9 + ["b"] * 3, r"b \(3\)"), ([1] * 6 + [None] * 6, "has 1 site")],
)
def test_sites_that_cannot_be_harmonised(sites, said):
    table = pd.DataFrame({"participant_id": [f"sub-{i}" for i in range(12)], "site": sites})
    with pytest.raises(DatasetError, match=said) as caught:
        build_sites(table, "site")
    assert caught.value.remedy
    with pytest.raises(DatasetError, match="no column 'scanner'"):
        build_sites(table, "scanner")


def test_a_site_that_goes_with_the_group_is_no_finding(cohort_maker):
    """Scanners of different gain, groups unevenly spread over them: nothing is left, and a real effect is."""
    settings = AnalysisSettings(n_permutations=300)
    for effect in (0.0, 1.8):
        c = cohort_maker(n=120, effect=effect, seed=3)
        rng = np.random.default_rng(0)
        b = rng.random(120) < np.where(c.group == "AD", 0.8, 0.2)
        c.G = c.G * np.where(b, 1.6, 1.0)[:, None] + np.where(b, 4.0, 0.0)[:, None]
        c.table["site"] = np.where(b, "b", "a")
        naive = sam(c.study(), settings)
        assert (naive["p_fwe"][5:] <= 0.05).all()
        covariates = build_covariates(c.table, ["age", "sex", "site"], categories=("site",))
        full, per_fold = harmonise(c.G, build_sites(c.table, "site"), c.covariates.matrix, c.fold)
        found = sam(c.study(regional=Features(full, per_fold), covariates=covariates), settings)
        np.testing.assert_array_equal(found["p_fwe"] <= 0.05, (np.arange(30) < 5) & (effect > 0))
