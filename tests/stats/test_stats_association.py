"""Association, permutation and false discovery rate against column-by-column loops of other libraries."""

import tracemalloc

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bids_app.stats.association import associate, permuted_correlations
from bids_app.stats.linear import residualise
from bids_app.stats.permutation import (
    benjamini_hochberg,
    max_statistic_p,
    p_value,
    permutation_chunks,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    c = np.column_stack([rng.normal(70, 8, 40), rng.integers(0, 2, 40)])
    z = rng.normal(size=(40, 4)) + 0.05 * c[:, :1]
    g = rng.normal(size=(40, 6)) + 0.05 * c[:, :1] + z[:, :1] * [1, 0.5, 0, 0, 0, 0]
    return g, z, c


def test_partial_correlation_and_p_are_those_of_ordinary_least_squares(data):
    g, z, c = data
    found = associate(g, z, c, n_permutations=10)
    for r in range(g.shape[1]):
        for k in range(z.shape[1]):
            fit = sm.OLS(g[:, r], sm.add_constant(np.column_stack([z[:, k], c]))).fit()
            t = fit.tvalues[1]
            np.testing.assert_allclose(found.p[r, k], fit.pvalues[1], rtol=1e-8)
            np.testing.assert_allclose(found.rho[r, k], t / np.sqrt(t**2 + fit.df_resid), rtol=1e-8)
    assert found.df == 40 - 2 - 2


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_without_covariates_it_is_scipys_correlation(data, method):
    g, z, _ = data
    found = associate(g, z, n_permutations=10, method=method)
    oracle = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[method]
    for r in range(g.shape[1]):
        for k in range(z.shape[1]):
            rho, p = oracle(g[:, r], z[:, k])
            np.testing.assert_allclose([found.rho[r, k], found.p[r, k]], [rho, p], rtol=1e-7)


def test_null_is_freedman_and_lanes_by_the_book(data):
    """Permute the reduced model's residuals, add the fit back, refit the full model: one permutation at a time."""
    g, z, c = data
    b = 30
    found = associate(g, z, c, n_permutations=b, seed=5)
    design = sm.add_constant(c)
    perms = np.concatenate(list(permutation_chunks(40, b, 5, 7)))
    for i, perm in enumerate(perms):
        inverse = np.argsort(perm)
        largest = 0
        for r in range(g.shape[1]):
            reduced = sm.OLS(g[:, r], design).fit()
            y = reduced.fittedvalues + reduced.resid[inverse]
            for k in range(z.shape[1]):
                full = sm.OLS(y, np.column_stack([z[:, k], design])).fit()
                t = full.tvalues[0]
                largest = max(largest, abs(t) / np.sqrt(t**2 + full.df_resid))
        np.testing.assert_allclose(found.null_max[i], largest, rtol=1e-4)


def test_planted_pairs_are_found_and_the_others_are_not(data):
    g, z, c = data
    found = associate(g, z, c, n_permutations=500)
    assert (found.p_fwe[:1, 0] <= 0.05).all()
    assert (found.p_fwe[2:] > 0.05).all()


def test_constant_columns_and_collinear_covariates_do_no_harm():
    rng = np.random.default_rng(0)
    g, z = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    g[:, 1], z[:, 2] = 7.3, 0.0
    c = rng.normal(size=(20, 1))
    found = associate(g, z, np.hstack([c, 2 * c + 1]), n_permutations=50)
    assert found.df == 17
    assert (found.rho[1] == 0).all()
    assert (found.rho[:, 2] == 0).all()
    assert (found.p_fwe[1] == 1).all()
    with pytest.raises(ValueError, match="degrees of freedom"):
        associate(g[:4], z[:4], rng.normal(size=(4, 3)), n_permutations=5)


def test_false_positives_of_the_family_stay_at_the_nominal_rate():
    rng = np.random.default_rng(3)
    hits = 0
    for s in range(300):
        c = rng.normal(size=(25, 2))
        g, z = rng.normal(size=(25, 8)) + c[:, :1], rng.standard_t(4, size=(25, 5)) + c[:, :1]
        hits += (associate(g, z, c, n_permutations=99, seed=s).p_fwe <= 0.05).any()
    assert stats.binomtest(hits, 300, 0.05).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_q_values_are_statsmodels(p):
    p = np.array(p)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)
    holes = np.append(p, np.nan)
    np.testing.assert_allclose(benjamini_hochberg(holes)[:-1], benjamini_hochberg(p))
    assert np.isnan(benjamini_hochberg(holes)[-1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50),
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5),
)
def test_permutation_p_counts_and_is_never_zero(null, observed):
    p = p_value(np.array(observed), np.array(null))
    tolerance = 1e-6 * np.maximum(np.abs(observed), 1e-12)
    counted = [(1 + sum(x >= o - t for x in null)) / (1 + len(null)) for o, t in zip(observed, tolerance, strict=True)]
    np.testing.assert_allclose(p, counted)
    assert ((p > 0) & (p <= 1)).all()


def test_max_statistic_is_uniform_under_the_null_whatever_the_scales():
    rng = np.random.default_rng(0)
    scale = np.array([1, 100, 0.01, 0])
    draws = [rng.normal(size=(100, 4)) * scale for _ in range(500)]
    smallest = np.array([max_statistic_p(x[0], x[1:]).min() for x in draws])
    assert stats.binomtest(int((smallest <= 0.05).sum()), 500, 0.05).pvalue > 1e-3
    assert stats.kstest(smallest, "uniform").pvalue > 1e-4


def test_permutations_do_not_depend_on_the_chunk():
    one = np.concatenate(list(permutation_chunks(9, 20, 3, 20)))
    many = np.concatenate(list(permutation_chunks(9, 20, 3, 7)))
    np.testing.assert_array_equal(one, many)
    assert (np.sort(one, axis=1) == np.arange(9)).all()


def test_residuals_are_orthogonal_to_the_covariates():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(30, 2)) * [1e4, 1e-4]
    x = rng.normal(size=(30, 3)) + c @ rng.normal(size=(2, 3))
    left = residualise(x, c)
    np.testing.assert_allclose(np.column_stack([np.ones(30), c / c.std(0)]).T @ left, 0, atol=1e-8)


def test_thousands_of_voxels_and_few_people_do_not_fill_the_memory():
    """All 5,000 products of 16,384 voxels would take 1.6 GB."""
    rng = np.random.default_rng(0)
    voxels, y, c = rng.normal(size=(20, 16384)), rng.normal(size=(20, 1)), rng.normal(size=(20, 3))
    tracemalloc.start()
    found = associate(voxels, y, c, n_permutations=5000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250e6
    few = associate(voxels[:, :50], y, c, n_permutations=5000)
    rho = permuted_correlations(voxels[:, :50], y[:, 0], c, n_permutations=5000)
    np.testing.assert_allclose(few.null_max, np.abs(rho).max(axis=1), rtol=1e-5)
    assert (found.null_max >= few.null_max).all()
