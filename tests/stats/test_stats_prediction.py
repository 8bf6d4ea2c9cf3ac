"""Discriminability, cross-fitted prediction, SAR and resampled intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from bids_app.stats.crossfit import crossfit_operators, crossfit_test, out_of_fold_r2, smallest_p
from bids_app.stats.discriminability import auc, concordance, discriminability, permuted_discriminability
from bids_app.stats.linear import residual_operator, residualise, ridge_factors, ridge_predict
from bids_app.stats.permutation import permutation_chunks
from bids_app.stats.resampling import bootstrap_mean_interval, bootstrap_rows
from bids_app.stats.sar import sar, sar_published


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 30), st.booleans())
def test_auc_is_sklearns_and_symmetric(seed, n, ties):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (n, 3)).astype(float) if ties else rng.normal(size=(n, 3))
    y = np.arange(n) % 2
    rng.shuffle(y)
    np.testing.assert_allclose(auc(x, y), [roc_auc_score(y, c) for c in x.T])
    np.testing.assert_allclose(auc(x, y), 1 - auc(x, 1 - y))
    np.testing.assert_allclose(auc(np.exp(x), y), auc(x, y))
    np.testing.assert_allclose(concordance(x, y), auc(x, y))


def test_concordance_of_a_score_is_somers_d():
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 5, 40), rng.normal(size=40).round(1)
    np.testing.assert_allclose(concordance(x, y), (stats.somersd(y, x).statistic + 1) / 2)
    np.testing.assert_allclose(concordance(np.column_stack([x, -x]), y).sum(), 1)


def test_auc_of_one_group_is_unknown():
    assert np.isnan(auc(np.arange(4.0), np.ones(4)))


@pytest.mark.parametrize("kind", ["groups", "ordinal", "score"])
def test_discriminability_and_its_permutations_without_covariates(kind):
    rng = np.random.default_rng(0)
    y = {"groups": np.arange(30) % 2, "ordinal": np.arange(30) % 3, "score": rng.normal(size=30)}[kind].astype(float)
    x = rng.normal(size=(30, 4)) + y[:, None] * [2, 0, 0, 0]
    x[:, 3] = 1.0
    d = discriminability(x, y, kind)
    observed, null = permuted_discriminability(x, y, kind, n_permutations=400, seed=1)
    np.testing.assert_allclose(observed, d, atol=1e-10)
    if kind != "groups":
        np.testing.assert_allclose(d[:3], [abs(stats.spearmanr(c, y).statistic) for c in x.T[:3]], atol=1e-10)
    assert d[3] == pytest.approx(0)
    assert (null[:, 3] == 0).all()
    assert (null[:, 0] >= observed[0]).mean() < 0.01
    p = [(null[:, k] >= observed[k]).mean() for k in (1, 2)]
    oracle = [
        stats.mannwhitneyu(x[y == 1, k], x[y == 0, k]).pvalue
        if kind == "groups"
        else stats.spearmanr(x[:, k], y).pvalue
        for k in (1, 2)
    ]
    np.testing.assert_allclose(p, oracle, atol=0.08)


def test_permuted_labels_hold_their_level_beside_a_confound():
    rng = np.random.default_rng(0)
    hits = 0
    for s in range(400):
        c = rng.normal(size=(40, 1))
        y = (c[:, 0] + 0.7 * rng.normal(size=40) > 0).astype(float)
        x = 2 * c + rng.normal(size=(40, 1))
        observed, null = permuted_discriminability(x, y, "groups", c, n_permutations=99, seed=s)
        hits += (1 + (null >= observed).sum()) / 100 <= 0.05
    assert 0.01 <= hits / 400 <= 0.085


@pytest.mark.parametrize("kind", ["groups", "score"])
def test_permuted_labels_are_freedman_and_lanes_by_the_book(kind):
    """Permute the reduced model's residuals, add its fit back, refit: the null stands to the observed as partial r."""
    rng = np.random.default_rng(2)
    c, x = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    y = np.arange(20) % 2.0 if kind == "groups" else rng.normal(size=20)
    observed, null = permuted_discriminability(x, y, kind, c, n_permutations=15, seed=4)
    labels = y if kind == "groups" else stats.rankdata(y)
    design = np.column_stack([np.ones(20), c])
    left = lambda v: v - design @ np.linalg.lstsq(design, v, rcond=None)[0]  # noqa: E731
    ranks = stats.rankdata(left(x), axis=0)
    fit = labels - left(labels)
    partial = lambda k, v: abs(stats.pearsonr(left(ranks[:, k]), left(v)).statistic)  # noqa: E731
    for b, perm in enumerate(np.concatenate(list(permutation_chunks(20, 15, 4, 5)))):
        shuffled = fit + left(labels)[perm]
        for k in range(2):
            expected = partial(k, shuffled) / partial(k, labels)
            assert null[b, k] / observed[k] == pytest.approx(expected, rel=1e-8)


def test_nuisances_of_held_out_rows_use_the_training_coefficients():
    rng = np.random.default_rng(0)
    c, x = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    train, test = np.arange(14), np.arange(14, 20)
    fit = LinearRegression().fit(c[train], x[train])
    np.testing.assert_allclose(residual_operator(c, train, test, 20) @ x, x[test] - fit.predict(c[test]), atol=1e-10)
    np.testing.assert_allclose(
        residual_operator(c, np.arange(20), np.arange(20), 20) @ x, residualise(x, c), atol=1e-10
    )


@pytest.mark.parametrize("k", [3, 40])
def test_ridge_factors_are_sklearns(k):
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(20, k)), rng.normal(size=20), rng.normal(size=(5, k))
    y -= y.mean()
    expected = Ridge(alpha=2.5, fit_intercept=False).fit(x, y).predict(new)
    left, right = ridge_factors(x, new, 2.5)
    np.testing.assert_allclose(left @ (right @ y), expected, atol=1e-8)


@pytest.mark.parametrize("k", [5, 40])
def test_ridge_with_its_own_penalty_is_sklearns_leave_one_out(k):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(25, k)), rng.normal(size=(6, k))
    y = x[:, :2] @ rng.normal(size=(2, 3)) + rng.normal(size=(25, 3)) + 5
    alphas = np.array([1e-2, 1e-1, 1.0, 10.0])
    s = np.linalg.svd(x - x.mean(0), compute_uv=False)
    scale = np.mean(s[s > s[0] * 1e-10] ** 2)
    expected = RidgeCV(alphas * scale, alpha_per_target=True).fit(x, y).predict(new)
    np.testing.assert_allclose(ridge_predict(x, y, new, alphas), expected, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_ridge_prediction_does_not_feel_rotation(seed):
    rng = np.random.default_rng(seed)
    x, new, y = rng.normal(size=(30, 6)), rng.normal(size=(8, 6)), rng.normal(size=(30, 4))
    turn = stats.ortho_group.rvs(6, random_state=rng)
    alphas = np.geomspace(1e-2, 1e2, 5)
    np.testing.assert_allclose(
        ridge_predict(x @ turn, y, new @ turn, alphas), ridge_predict(x, y, new, alphas), atol=1e-7
    )


def test_operators_are_a_loop_over_folds_with_sklearn():
    rng = np.random.default_rng(0)
    n = 30
    zf, c, y, fold = rng.normal(size=(3, n, 4)), rng.normal(size=(n, 2)), rng.normal(size=n), np.arange(n) % 3
    predict, explained = crossfit_operators(zf, fold, c)
    expected, left = np.zeros(n), np.zeros(n)
    for f in range(3):
        train, test = fold != f, fold == f
        clean_x, clean_y = (LinearRegression().fit(c[train], v[train]) for v in (zf[f], y))
        x_train, x_test = zf[f][train] - clean_x.predict(c[train]), zf[f][test] - clean_x.predict(c[test])
        scaler = StandardScaler().fit(x_train)
        model = Ridge(max(0.1 * train.sum(), 4), fit_intercept=False)
        model.fit(scaler.transform(x_train), y[train] - clean_y.predict(c[train]))
        expected[test], left[test] = model.predict(scaler.transform(x_test)), y[test] - clean_y.predict(c[test])
    np.testing.assert_allclose(predict @ y, expected, atol=1e-9)
    np.testing.assert_allclose(y - explained @ y, left, atol=1e-9)
    # Only what the covariates do not explain matters: a permutation of the residuals is all that is needed.
    np.testing.assert_allclose(predict @ residualise(y, c), expected, atol=1e-9)


def test_cross_fitted_test_finds_an_effect_and_holds_its_level():
    rng = np.random.default_rng(0)
    hits = 0
    for s in range(200):
        c = rng.normal(size=(30, 1))
        y = (c[:, 0] + rng.normal(size=30) > 0.7).astype(float)
        x = rng.normal(size=(30, 6)) + 1.5 * c
        p = crossfit_test(x, y, np.arange(30) % 5, c, n_permutations=99, seed=s).p
        assert 0 < p <= 1
        hits += p <= 0.05
    assert stats.binomtest(hits, 200, 0.05).pvalue > 1e-3
    y = np.arange(30) % 2
    x = rng.normal(size=(30, 6)) + 3 * y[:, None]
    assert crossfit_test(x, y, np.arange(30) // 2 % 5, n_permutations=199).p == pytest.approx(1 / 200)


def test_out_of_fold_r2_of_constant_targets_is_unknown():
    target = np.column_stack([np.zeros(5), [1.0, -1, 2, -2, 0]])
    r2 = out_of_fold_r2(target, np.zeros((5, 2)))
    assert np.isnan(r2[0])
    assert r2[1] == 0


def test_smallest_p_counts_relabellings():
    assert smallest_p(np.repeat([0, 1], [3, 7])) == pytest.approx(1 / 120)
    assert smallest_p(np.repeat([0, 1], [4, 4])) == pytest.approx(2 / 70)
    assert smallest_p(np.ones(5)) == 1


def test_sar_claims_a_strong_relation_and_not_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    fold = np.arange(400) % 5
    strong = sar(x, x[:, 0] + 0.1 * rng.normal(size=400), fold)
    assert strong.holds
    assert strong.r2 > 0.95
    assert strong.components == 0
    wide = rng.normal(size=(60, 120))
    noise = sar(wide, rng.normal(size=60), np.arange(60) % 5)
    assert not noise.holds
    assert noise.components == 5
    assert noise.r2 < 0.1


@pytest.mark.parametrize("beta", [0.0, 1.5])
def test_the_authors_form_of_sar_is_sarlibs(beta):
    sarlib = pytest.importorskip("sarlib")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    y = beta * x[:, 0] + rng.normal(size=120)
    found, expected = sar_published(x, y), sarlib.SAR(n_realiz=1, eta=0.05).fit(x, y, verbose=False)
    np.testing.assert_allclose([found.loss, found.worst, found.gamma],
                               [expected[name] for name in ("emp_loss", "loss", "thres")], rtol=1e-6)  # fmt: skip
    # Everything on the rows that were fitted: it says more of the same data than the held-out form.
    assert found.worst - found.gamma < sar(x, y, np.arange(120) % 5).worst - sar(x, y, np.arange(120) % 5).gamma


def test_sar_false_positives():
    rng = np.random.default_rng(0)
    held = [sar(rng.normal(size=(60, 4)), rng.normal(size=60), np.arange(60) % 5).holds for _ in range(60)]
    assert not any(held)


def test_sar_does_not_see_what_the_covariates_explain():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(300, 1))
    x, y = c + 0.3 * rng.normal(size=(300, 3)), c[:, 0] + 0.1 * rng.normal(size=300)
    fold = np.arange(300) % 5
    assert sar(x, y, fold).holds
    assert not sar(x, y, fold, c).holds


def test_bootstrap_keeps_strata_and_covers():
    strata = np.repeat([0, 1], [3, 9])
    rows = bootstrap_rows(12, 50, 0, strata)
    assert (np.sort(strata[rows], axis=1) == strata).all()
    rng = np.random.default_rng(0)
    covered = 0
    for s in range(200):
        low, high = bootstrap_mean_interval(rng.exponential(size=(40, 1)), 300, s)
        covered += (low <= 1 <= high).item()
    assert 170 <= covered <= 200
