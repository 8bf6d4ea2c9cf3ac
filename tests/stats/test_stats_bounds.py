"""Risk bounds against their closed forms in arbitrary precision, against simulation, and against sarlib."""

from math import comb

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.svm import SVR

from bids_app.stats import bounds

sarlib = pytest.importorskip("sarlib")


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 1), st.floats(0, 50), st.integers(2, 5000), st.floats(0.001, 0.5), st.floats(0, 1), st.floats(0.1, 10)
)
def test_published_bound_is_the_smallest_of_its_closed_form(error, theta_sq, n, eta, dropout, loss_max):
    grid = [mp.mpf(6 + i) / 10 for i in range(95)]
    assert grid[-1] == 10
    expected = min(
        1
        / (1 - 1 / (2 * lam))
        * (error + lam * loss_max / n * ((1 - mp.mpf(dropout)) / 2 * theta_sq + mp.log(95 / mp.mpf(eta))))
        for lam in grid
    )
    found = bounds.pac_bayes_published(error, theta_sq, n, eta, dropout, loss_max)
    np.testing.assert_allclose(found, float(expected), rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_terms_are_sarlibs(seed):
    """sarlib charges ln(k/eta) for the k-th lambda; with that charge the two agree."""
    rng = np.random.default_rng(seed)
    n, d = 80, 5
    x = rng.normal(size=(n, d))
    y = x @ rng.normal(size=d) + rng.normal(size=n)
    machine = SVR(kernel="linear", C=1.0, epsilon=0.1).fit(x, y)
    residual = np.abs(y - machine.predict(x))
    loss = float(np.maximum(residual - 0.1, 0).mean())
    model = sarlib.SAR(n_realiz=1, eta=0.05, dropout_rate=0.3)
    excess = model.pacbayes_bound(x, y, machine, loss)
    lam = np.arange(0.6, 10.1, 0.1)
    theta_sq = float((machine.coef_**2).sum() + machine.intercept_[0] ** 2)
    largest = float(np.maximum(residual - 0.1, 0).max())
    charge = np.log(np.arange(1, len(lam) + 1) / 0.05)
    ours = bounds.pac_bayes(loss, 0.7 / 2 * theta_sq, n, lam, charge, largest).min()
    np.testing.assert_allclose(ours - loss, excess, rtol=1e-10)
    # Our own charge, ln(m/eta) for each, pays for all of them: never below theirs.
    assert bounds.pac_bayes_published(loss, theta_sq, n, 0.05, 0.3, largest) >= ours


def test_mcallesters_inequality_covers_gibbs_risk():
    """Coverage of the strict bound, with a posterior chosen on the sample: at least 1 - eta of the samples."""
    rng = np.random.default_rng(0)
    d, n, eta, misses, runs = 3, 60, 0.1, 0, 300
    shift = np.array([0.6, 0, 0])
    fresh_y = rng.integers(0, 2, 20000)
    fresh = rng.normal(size=(20000, d)) + np.where(fresh_y[:, None] == 1, shift, -shift)
    fresh_sign = np.where(fresh_y == 1, 1, -1)
    ratios = []
    for _ in range(runs):
        y = np.repeat([0, 1], n // 2)
        x = rng.normal(size=(n, d)) + np.where(y[:, None] == 1, shift, -shift)
        sign = np.where(y == 1, 1, -1)
        direction = (sign[:, None] * x).mean(axis=0)
        direction /= np.linalg.norm(direction)
        margin = sign * (x @ direction) / np.linalg.norm(x, axis=1)
        weights = np.full(n, 1 / n)
        empirical, bound = bounds.pac_bayes_gibbs(margin, weights, eta)
        # The scale of the posterior that was chosen, recovered from its empirical risk.
        scales = np.concatenate([[0.0], np.geomspace(0.1, 100, 121)])
        scale = scales[np.abs(bounds.gibbs_error(margin, scales) @ weights - empirical).argmin()]
        fresh_margin = fresh_sign * (fresh @ direction) / np.linalg.norm(fresh, axis=1)
        actual = float(bounds.gibbs_error(fresh_margin, scale).mean())
        misses += actual > bound
        ratios.append(bound / actual)
    assert misses <= eta * runs
    assert np.median(ratios) < 3  # a bound that is always 1 would cover, too


def test_gibbs_error_is_the_average_over_drawn_weights():
    rng = np.random.default_rng(0)
    x, theta = rng.normal(size=(5, 4)), rng.normal(size=4)
    y = np.array([1, -1, 1, 1, -1])
    scale = np.linalg.norm(theta)
    margin = y * (x @ theta / scale) / np.linalg.norm(x, axis=1)
    drawn = theta + rng.normal(size=(200_000, 4))
    np.testing.assert_allclose(bounds.gibbs_error(margin, scale)[0], (y * (drawn @ x.T) < 0).mean(axis=0), atol=0.005)


def test_strict_bound_uses_the_balanced_weights_and_improves_with_n():
    margin = np.full(40, 0.8)
    balanced = bounds.pac_bayes_gibbs(margin, np.full(40, 1 / 40), 0.05)[1]
    lopsided = bounds.pac_bayes_gibbs(margin, np.repeat([0.05, 1 / 60], [10, 30]), 0.05)[1]
    np.testing.assert_allclose(lopsided, bounds.pac_bayes_gibbs(np.full(20, 0.8), np.full(20, 0.05), 0.05)[1])
    assert bounds.pac_bayes_gibbs(np.full(400, 0.8), np.full(400, 1 / 400), 0.05)[1] < balanced < lopsided


@pytest.mark.parametrize(
    ("n", "d", "eta"), [(30, 1, 0.05), (50, 17, 0.1), (800, 65, 0.05), (20, 20, 0.05), (10, 64, 0.5)]
)
def test_vapnik_and_general_position_are_their_closed_forms(n, d, eta):
    dichotomies = 2 * sum(comb(n - 1, k) for k in range(d))
    np.testing.assert_allclose(bounds.log_dichotomies(n, d), float(mp.log(dichotomies)), rtol=1e-10)
    expected = mp.sqrt(mp.log(dichotomies / mp.mpf(eta)) / (2 * n))
    np.testing.assert_allclose(bounds.igp_excess(n, d, eta), float(expected), rtol=1e-10)
    if d + 1 < n:
        h = d + 1
        expected = mp.sqrt((h * (mp.log(mp.mpf(2 * n) / h) + 1) - mp.log(mp.mpf(eta) / 4)) / n)
        np.testing.assert_allclose(bounds.vapnik_excess(n, d, eta), float(expected), rtol=1e-10)
    else:
        assert bounds.vapnik_excess(n, d, eta) >= 1


def test_general_position_does_not_overflow():
    assert np.isfinite(bounds.igp_excess(10_000, 2_000, 0.05))


@pytest.mark.parametrize("n", [4, 7])
def test_dichotomies_of_points_on_a_line_are_counted(n):
    """A threshold on one number (slope and intercept, d = 2) labels n points in 2n ways."""
    assert round(np.exp(bounds.log_dichotomies(n, 2))) == 2 * n


def test_binomial_limit_is_exact():
    for wrong, n in ((0, 12), (3, 20), (11, 12), (5, 5)):
        limit = bounds.binomial_upper(wrong, n, 0.05)
        if wrong < n:
            np.testing.assert_allclose(stats.binom.cdf(wrong, n, limit), 0.05, rtol=1e-8)
        else:
            assert limit == 1
    assert bounds.binomial_upper(0, 0, 0.05) == 1


def test_held_out_bound_covers():
    rng = np.random.default_rng(0)
    y, fold = np.tile([0, 1], 60), np.arange(120) // 2 % 5
    risk = np.where(y == 1, 0.3, 0.1)
    below = [bounds.held_out_bound(rng.random(120) < risk, y, fold, 0.2) < 0.2 for _ in range(300)]
    assert np.mean(below) <= 0.2
    assert bounds.held_out_bound(np.zeros(120, bool), y, fold, 0.2) < 0.35
    # A fold without one of the groups says nothing about it.
    assert bounds.held_out_bound(np.zeros(4, bool), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 0.5) > 0.5


def test_threshold_bound_covers_uniformly_over_thresholds():
    """Largest gap, over every threshold, between sample and actual balanced error, under the null."""
    rng = np.random.default_rng(0)
    excess = bounds.threshold_excess(30, 15, 0.1)
    misses = 0
    for _ in range(500):
        a, b = np.sort(rng.random(30)), np.sort(rng.random(15))
        best = bounds.best_threshold_error(np.concatenate([a, b]), np.repeat([1, 0], [30, 15]))[0]
        misses += best + excess < 0.5
    assert misses <= 50
    assert 0 < excess < 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_best_threshold_is_found_by_trying_them_all(seed, ties):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, 15).astype(float) if ties else rng.normal(size=15)
    y = np.arange(15) % 3 == 0
    cuts = np.concatenate([[-np.inf], np.unique(x), [np.inf]])
    tried = [0.5 * ((x[y] <= t).mean() + (x[~y] > t).mean()) for t in cuts]
    best = min(min(tried), 1 - max(tried))
    np.testing.assert_allclose(bounds.best_threshold_error(x, y)[0], best, atol=1e-12)
