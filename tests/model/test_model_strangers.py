"""A site left out: scikit-learn's LeaveOneGroupOut with PCA, and nobody of the site in the training."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import LeaveOneGroupOut
from small_volumes import as_volumes

from bids_app.model.plan import Plan
from bids_app.model.strangers import are_enough, errors_of_known, errors_of_strangers

PLAN = Plan(4, 4, prior=False, max_epochs=0)


def test_errors_are_those_of_leave_one_group_out(linear_cohort):
    site = np.array(["a", "b", "c"])[np.arange(30) % 3]
    maps = linear_cohort.rows(np.arange(30)).astype(float)
    for train, test in LeaveOneGroupOut().split(maps, groups=site):
        found = errors_of_strangers(linear_cohort, np.arange(30), site == site[test[0]], PLAN)
        pca = PCA(4, svd_solver="full").fit(maps[train])
        expected = ((maps[test] - pca.inverse_transform(pca.transform(maps[test]))) ** 2).mean(1)
        np.testing.assert_array_equal(found["scans"], test)
        assert found["n_train"] == len(train)
        for model in ("autoencoder", "linear", "pca"):
            np.testing.assert_allclose(found[model], expected, rtol=2e-3)


def test_a_site_of_its_own_kind_is_described_worse_without_it(linear_cohort):
    """Ten maps have a pattern that no other has: models that saw some of them know it."""
    rng, maps = np.random.default_rng(0), linear_cohort.rows(np.arange(30))
    pattern = rng.standard_normal(maps.shape[1]) * 0.3
    odd = np.arange(30) < 10
    maps[odd] += rng.standard_normal((10, 1)) * pattern
    cohort = as_volumes(linear_cohort.grid, maps)
    alone = errors_of_strangers(cohort, np.arange(30), odd, PLAN)["pca"]
    with_others = [errors_of_strangers(cohort, np.arange(30), np.arange(30) == i, PLAN)["pca"][0] for i in range(10)]
    assert np.mean(alone) > 1.2 * np.mean(with_others)


def test_a_site_shifted_along_usual_directions_is_described_worse_without_it(linear_cohort):
    """The variance about the mean map of the others grows with the shift: a share of it would not see the site."""
    maps = linear_cohort.rows(np.arange(30))
    direction = PCA(6, svd_solver="full").fit(maps.astype(float)).components_[4:].sum(axis=0)
    odd = np.arange(30) < 10
    maps[odd] += 12 * maps.std() * np.sqrt(len(direction)) * direction / 10
    cohort = as_volumes(linear_cohort.grid, maps)
    alone = errors_of_strangers(cohort, np.arange(30), odd, PLAN)["pca"]
    with_others = [errors_of_strangers(cohort, np.arange(30), np.arange(30) == i, PLAN)["pca"][0] for i in range(10)]
    print(np.mean(alone) / np.mean(with_others))
    assert np.mean(alone) > 1.2 * np.mean(with_others)


def test_whoever_was_at_the_site_is_left_out_with_all_scans(linear_cohort):
    """Person 0 has scans at both sites: the one elsewhere must not teach the model."""
    people = np.concatenate([[0], np.arange(29)])
    left_out = np.zeros(30, bool)
    left_out[[0, 5, 9]] = True
    found = errors_of_strangers(linear_cohort, people, left_out, PLAN)
    assert found["n_train"] == 26
    pca = PCA(4, svd_solver="full").fit(linear_cohort.rows(np.setdiff1d(np.arange(30), [0, 1, 5, 9])).astype(float))
    maps = linear_cohort.rows(np.array([0, 5, 9])).astype(float)
    left = ((maps - pca.inverse_transform(pca.transform(maps))) ** 2).mean(1)
    np.testing.assert_allclose(found["pca"], left, rtol=2e-3)


@pytest.mark.parametrize(("people", "enough"), [(4, False), (5, True), (20, True)])
def test_how_many_a_model_needs(people, enough):
    assert are_enough(people) is enough


def test_fewer_people_err_more_and_the_site_has_no_part_in_it(linear_cohort):
    """Where sites are alike, leaving one out costs what training on as few people costs, and no more."""
    found, people = [], np.arange(30)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        left_out, fold = rng.permutation(people) < 20, rng.permutation(people % 5)
        scans = np.flatnonzero(left_out)
        alone = errors_of_strangers(linear_cohort, people, left_out, PLAN)["pca"]
        as_few, as_many = (errors_of_known(linear_cohort, people, scans, fold, n, 4, seed) for n in (10, 99))
        found.append([alone.mean(), as_few.mean(), as_many.mean()])
    alone, as_few, as_many = np.mean(found, axis=0)
    assert alone > 1.03 * as_many
    assert abs(alone - as_few) < 0.2 * (alone - as_many)


def test_with_all_there_are_the_errors_are_those_of_the_folds(linear_cohort):
    fold, maps = np.arange(30) % 5, linear_cohort.rows(np.arange(30)).astype(float)
    found = errors_of_known(linear_cohort, np.arange(30), np.arange(30), fold, 99, 4)
    pca = PCA(4, svd_solver="full").fit(maps[fold != 2])
    left = ((maps[fold == 2] - pca.inverse_transform(pca.transform(maps[fold == 2]))) ** 2).mean(1)
    np.testing.assert_allclose(found[fold == 2], left, rtol=2e-3)
