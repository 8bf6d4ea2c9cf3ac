"""Axes of several models laid on each other."""

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist

from bids_app.stats.alignment import align_held_out, turn_onto


def test_a_turned_moved_mirrored_model_comes_back():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(30, 4)) + 5
    turn = stats.ortho_group.rvs(4, random_state=rng)
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * -1  # with a mirror
    moving = target @ turn + rng.normal(size=4)
    np.testing.assert_allclose(turn_onto(moving, target, np.arange(12)), target, atol=1e-10)
    other = rng.normal(size=(30, 4))
    np.testing.assert_allclose(pdist(turn_onto(other, target, np.arange(30) < 20)), pdist(other), atol=1e-10)


def test_the_held_out_rows_have_no_part_in_where_they_are_turned():
    rng = np.random.default_rng(0)
    full, fold = rng.normal(size=(40, 3)), np.arange(40) % 4
    by_fold = np.stack(
        [full @ stats.ortho_group.rvs(3, random_state=rng) + 0.2 * rng.normal(size=full.shape) for _ in range(4)]
    )
    found = align_held_out(full, by_fold, fold)
    changed = full.copy()
    changed[fold == 2] += 100 * rng.normal(size=(10, 3))
    np.testing.assert_array_equal(align_held_out(changed, by_fold, fold)[fold == 2], found[fold == 2])
    assert not np.allclose(align_held_out(changed, by_fold, fold)[fold == 1], found[fold == 1])
    # The same axes for everybody; without turning these correlate at random.
    assert min(np.corrcoef(found[:, k], full[:, k])[0, 1] for k in range(3)) > 0.9
    plain = by_fold[fold, np.arange(40)]
    assert min(abs(np.corrcoef(plain[:, k], full[:, k])[0, 1]) for k in range(3)) < 0.7
