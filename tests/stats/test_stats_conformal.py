"""Conformal p values: exact by ranks with one fold, within their bound with several, whatever the model."""

import numpy as np
import pytest
from scipy import stats

from bids_app.stats.conformal import conformal_p


def test_one_fold_is_the_rank_among_all():
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=30), rng.normal(size=200)
    p, bound = conformal_p([known], new[None])
    expected = [stats.rankdata([-value, *-known], method="max")[0] / 31 for value in new]
    np.testing.assert_allclose(p, expected)
    np.testing.assert_array_equal(p, bound)


def test_ties_count_against_the_new_value():
    p, _ = conformal_p([np.array([1.0, 2.0, 2.0])], np.array([[2.0, 2.1, 0.5]]))
    np.testing.assert_allclose(p, [0.75, 0.25, 1.0])


def test_several_folds_count_each_person_by_the_own_model():
    known, scores = [np.array([1.0, 3.0]), np.array([10.0, 20.0, 30.0])], np.array([[2.0, 5.0], [25.0, 5.0]])
    p, bound = conformal_p(known, scores)
    np.testing.assert_allclose(p, [(1 + 1 + 1) / 6, (1 + 0 + 3) / 6])
    by_fold = np.array([[2 / 3, 1 / 3], [2 / 4, 4 / 4]])
    np.testing.assert_allclose(bound, np.minimum(1, 2 * np.average(by_fold, axis=0, weights=[3, 4])))


def test_a_score_that_is_missing_has_no_p():
    p, bound = conformal_p([np.arange(5.0)] * 2, np.array([[1.0, np.nan], [1.0, 2.0]]))
    assert np.isnan(p[1])
    assert np.isnan(bound[1])
    assert np.isfinite(p[0])


def test_p_is_uniform_with_one_fold():
    """Of 19 others: each of 20 values as often as any other, over independent cohorts."""
    rng = np.random.default_rng(1)
    p = [conformal_p([known[1:]], known[:1, None])[0][0] for known in rng.exponential(size=(4000, 20))]
    counts = np.bincount(np.rint(np.array(p) * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize(("n", "folds", "k"), [(20, 5, 3), (24, 3, 6), (12, 12, 4)])
def test_people_whom_no_model_saw_are_called_strange_no_oftener_than_said(n, folds, k):
    """PCA of each fold, new people from where the others come from: exact binomial limits over independent cohorts."""
    rng, found = np.random.default_rng(n), []
    fold = np.arange(n) % folds
    for _ in range(1500):
        x = rng.standard_t(5, size=(n + 1, 12)) * np.linspace(2, 0.5, 12)
        known, scores = [], []
        for f in range(folds):
            train = x[:n][fold != f]
            mean = train.mean(0)
            basis = np.linalg.svd(train - mean, full_matrices=False)[2][:k]
            centred = x - mean
            error = 1 - ((centred @ basis.T) ** 2).sum(1) / (centred**2).sum(1)
            known.append(error[:n][fold == f])
            scores.append([error[n]])
        found.append(np.ravel(conformal_p(known, np.array(scores))))
    p, bound = np.transpose(found)
    for level in (0.05, 0.1, 0.2, 0.5):
        most = 2 * level + 2 * (folds - 1) / (n + folds)
        assert (p <= level).sum() <= stats.binom.ppf(0.999, 1500, min(1, most))
        assert (bound <= level).sum() <= stats.binom.ppf(0.999, 1500, level)
        # The bound is for the worst model; with these, p is at its level or, in the tail, below it.
        exact = np.floor(level * (n + 1) + 1e-9) / (n + 1)
        low, high = stats.binom.ppf([0.0005, 0.9995], 1500, [exact * 0.3, min(1, exact * 1.2)])
        assert low <= (p <= level + 1e-9).sum() <= high
