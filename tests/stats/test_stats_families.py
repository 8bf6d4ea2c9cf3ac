"""Holm against statsmodels and by enumeration, spreads, and intervals of held-out predictions with their coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from statsmodels.stats.multitest import multipletests

from bids_app.group.classify import classify
from bids_app.stats.accuracy import auc_gain, auc_interval, balanced_interval, paired_gain
from bids_app.stats.crossfit import crossfit_operators, smallest_p
from bids_app.stats.dispersion import dispersion_ratio
from bids_app.stats.multiplicity import holm, holm_levels


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.001, 0.01, 0.016, 0.02, 0.026, 0.05, 0.3, 1.0]), min_size=1, max_size=6))
def test_holm_and_its_levels_reject_the_same(p):
    p = np.array(p)
    reject, adjusted, *_ = multipletests(p, 0.05, method="holm")
    np.testing.assert_allclose(holm(p), adjusted)
    np.testing.assert_array_equal(p <= holm_levels(p, 0.05), reject)
    assert holm_levels(p, 0.05).min() >= 0.05 / len(p) - 1e-12


def test_levels_climb_until_one_fails():
    np.testing.assert_allclose(
        holm_levels(np.array([0.5, 0.001, 0.03, np.nan, 0.6]), 0.06), [0.02, 0.015, 0.02, np.nan, 0.02]
    )
    np.testing.assert_allclose(holm_levels(np.array([0.01, 0.02]), 0.05), [0.025, 0.05])
    np.testing.assert_allclose(holm(np.array([np.nan, 0.01, 0.02])), [np.nan, 0.02, 0.02])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_ratio_of_spreads():
    rng = np.random.default_rng(0)
    y, age = np.repeat([1.0, 0.0], (300, 900)), rng.normal(size=1200)
    x = rng.normal(size=(1200, 20)) * np.where(y == 1, 1.8, 1.0)[:, None] * np.geomspace(0.01, 100, 20)
    x += 5 * np.geomspace(0.01, 100, 20) * (y + age)[:, None]
    assert dispersion_ratio(x, y, age[:, None]) == pytest.approx(1.8, rel=0.02)
    assert dispersion_ratio(x, 1 - y, age[:, None]) == pytest.approx(1.8, rel=0.02)
    assert dispersion_ratio(x, y) < 1.5  # age, left in, is the same in both
    few = [
        dispersion_ratio(rng.normal(size=(40, 20)), np.repeat([1, 0], (6, 34)), rng.normal(size=(40, 3)))
        for _ in range(40)
    ]
    assert np.mean(few) < 1.2  # leverage is accounted for
    assert np.isnan(dispersion_ratio(np.ones((9, 2)), np.arange(9) % 2))
    assert np.isnan(dispersion_ratio(rng.normal(size=(5, 2)), np.array([0, 0, 0, 0, 1])))


def test_fewest_relabellings_within_blocks():
    y, blocks = np.array([1, 1, 0, 0, 1, 0, 0]), np.array(list("aaaabbb"))
    assert smallest_p(y, blocks) == pytest.approx(1 / (6 * 3))
    assert smallest_p(np.array([1, 0, 1, 0]), np.array(list("aabb"))) == pytest.approx(2 / 4)
    assert smallest_p(np.array([1, 1, 0, 0]), np.array(list("aabb"))) == 1


def test_areas_are_sklearns_and_open_at_the_end():
    rng = np.random.default_rng(0)
    y, x = np.arange(30) % 2, rng.normal(size=30).round(1)
    area, low, high = auc_interval(x, y)
    assert area == pytest.approx(roc_auc_score(y, x))
    assert 0 < low < area < high < 1
    np.testing.assert_allclose(auc_interval(-x, y), [1 - area, 1 - high, 1 - low])
    area, low, high = auc_interval(y + 0.1 * x / np.abs(x).max(), y)
    assert (area, high) == (1, 1)
    assert low == pytest.approx(0.025 ** (1 / 15))
    gain, *_ = auc_gain(x, np.roll(x, 1), y)
    assert gain == pytest.approx(roc_auc_score(y, x) - roc_auc_score(y, np.roll(x, 1)))
    assert auc_gain(x, x, y) == (0, 0, 0, 1)


def test_predictions_that_agree_have_an_interval_of_some_width():
    mean, low, high, p = paired_gain(np.zeros(20), np.arange(20) % 2)
    assert mean == 0
    assert low < 0 < high
    assert p == 1


def test_intervals_cover_and_are_narrow():
    """What held-out predictions say of the models that made them, in 120 cohorts of 40 people."""
    rng, covered, widths, areas = np.random.default_rng(0), [], [], []
    for _ in range(120):
        n, fresh = 40, 1000
        y, x = np.arange(n) % 2 * 1.0, rng.normal(size=(n, 6))
        new_y, new_x = np.arange(fresh) % 2 * 1.0, rng.normal(size=(fresh, 6))
        x[:, 0], new_x[:, 0] = x[:, 0] + 1.2 * y, new_x[:, 0] + 1.2 * new_y
        fold = np.arange(n) // 2 % 5
        true = []
        for f in range(5):
            scale = StandardScaler().fit(x[fold != f])
            machine = SVC(kernel="linear", class_weight="balanced").fit(scale.transform(x[fold != f]), y[fold != f])
            true.append((machine.predict(scale.transform(new_x)) == new_y).mean())
        _, low, high = balanced_interval(~classify(x, y, fold).wrong, y)
        covered.append(low <= np.mean(true) <= high)
        widths.append(high - low)
        predict, _ = crossfit_operators(x, fold, None)
        areas.append(auc_interval(predict @ (y - y.mean()), y))
    area, low, high = np.transpose(areas)
    # 95 %: 107 of 120 or fewer have a chance of 0.6 %.
    assert np.sum(covered) > 107
    assert ((low <= area.mean()) & (area.mean() <= high)).sum() > 107
    assert np.mean(widths) < 0.42  # 0.55 by the t interval over five folds


def test_noise_adds_nothing_to_a_covariate_that_knows():
    rng, claims, found = np.random.default_rng(0), 0, 0
    for _ in range(150):
        y, fold = np.arange(50) % 2 * 1.0, np.arange(50) // 2 % 5
        age, x = rng.normal(size=(50, 1)) + 0.5 * y[:, None], rng.normal(size=(50, 6))
        for effect in (0.0, 1.5):
            predict, explained = crossfit_operators(x + effect * np.outer(y, [1, 0, 0, 0, 0, 0]), fold, age)
            gain, low, high, p = auc_gain(explained @ y + predict @ y, explained @ y, y)
            assert (p <= 0.05) == (not low < 0 < high)
            claims += effect == 0 and p <= 0.05 and gain > 0
            found += effect > 0 and p <= 0.05 and gain > 0
    assert claims <= 8  # 5 % one-sided would be more than twice the 2.5 % it is asked for
    assert found > 45
