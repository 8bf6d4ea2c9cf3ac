"""What a model keeps of its folds, and that a damaged brain is strange to it and a new one is not."""

import shutil

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from small_volumes import as_volumes, ball

from bids_app.errors import ModelError
from bids_app.model import model_files
from bids_app.model.calibration import is_calibrated, read_calibration, relative_errors, write_calibration
from bids_app.model.linear_model import fit_linear
from bids_app.participant.encode import encode_scan
from bids_app.stats.conformal import conformal_p

FOLDS = 4


def people(n, rng, grid, points):
    """Brains that share eight patterns, each with noise of its own."""
    centres = np.random.default_rng(9).uniform(-5, 5, (8, 3))
    patterns = np.array([np.exp(-((points - c) ** 2).sum(1) / 20) for c in centres])
    return 0.6 + 0.15 * rng.standard_normal((n, 8)) @ patterns + 0.05 * rng.standard_normal((n, len(points)))


def trained(folder, maps, ids, grid):
    """A model with its folds, in a folder; people in turn are dealt to the folds."""
    cohort = as_volumes(grid, maps)
    codes = np.unique(ids, return_inverse=True)[1]
    fold = codes % FOLDS
    models = [fit_linear(cohort, np.flatnonzero(fold != f), 6) for f in range(FOLDS)]
    full = fit_linear(cohort, np.arange(len(ids)), 6)
    model_files.save_model(full, folder, model_files.make_card(full, participant_ids=[f"study/{i}" for i in ids]))
    write_calibration(folder, models, cohort, fold, ids, seed=0, space=None)
    return fold, cohort


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    grid, points = ball(12)
    folder = tmp_path_factory.mktemp("calibrated") / "model"
    ids = np.array([f"sub-{i:02d}" for i in (*range(40), 0, 1, 2)])  # three came twice
    maps = people(43, np.random.default_rng(0), grid, points)
    return folder, grid, points, ids, trained(folder, maps, ids, grid)


def test_one_error_per_person_by_the_model_that_did_not_see_the_person(model):
    folder, _, _, ids, (fold, cohort) = model
    kept = read_calibration(folder)
    assert [len(errors) for _, errors in kept] == [10] * FOLDS
    maps = cohort.rows(np.arange(43)).astype(float)
    for f, (_, errors) in enumerate(kept):
        pca, own = PCA(6, svd_solver="full").fit(maps[fold != f]), maps[:40][fold[:40] == f]
        left = ((own - pca.inverse_transform(pca.transform(own))) ** 2).sum(1) / (own**2).sum(1)
        np.testing.assert_allclose(errors, np.sort(left), rtol=0.01)
    text = "".join(path.read_text() for path in folder.rglob("*.json"))
    assert not any(i in text for i in ids)


def test_a_damaged_brain_is_strange_and_new_people_are_not(model):
    folder, grid, points, *_ = model
    new = people(60, np.random.default_rng(1), grid, points)
    healthy = [encode_scan(grid.to_image(one), folder) for one in new]
    p = np.array([scan.error_p for scan in healthy])
    assert (p <= 0.05).mean() < 0.2
    assert p.mean() == pytest.approx(0.5, abs=0.2)
    for gone in ((points[:, 0] > 0) & (points[:, 2] > 0), ((points - [2, 2, 0]) ** 2).sum(1) < 9, points[:, 0] > 0):
        damaged = np.where(gone, 0, new)  # a quarter of the brain, a hole of 24 mm, one half
        for one in damaged[:10]:
            scan = encode_scan(grid.to_image(one), folder)
            assert scan.error_p == pytest.approx(1 / 41)
            assert scan.error_p_bound == pytest.approx(2 * FOLDS / 44)


def test_coverage_over_cohorts_that_are_drawn_anew(tmp_path):
    """Each cohort, its models and one new person from scratch, through the files: exact binomial limits."""
    grid, points = ball(6)
    rng, p = np.random.default_rng(3), []
    ids = np.array([f"sub-{i:02d}" for i in range(20)])
    for number in range(150):
        maps = people(21, rng, grid, points)
        trained(tmp_path / str(number), maps[:20], ids, grid)
        kept = read_calibration(tmp_path / str(number))
        new = [relative_errors(model, as_volumes(grid, maps[20:]), np.arange(1)) for model, _ in kept]
        p.append(np.ravel(conformal_p([errors for _, errors in kept], np.array(new))))
        shutil.rmtree(tmp_path / str(number))
    p, bound = np.transpose(p)
    for level in (0.1, 0.25, 0.5):
        assert (bound <= level).sum() <= stats.binom.ppf(0.999, 150, level)
        assert (p <= level).sum() <= stats.binom.ppf(0.999, 150, min(1, 2 * level + 2 * 3 / 24))
        assert (p <= level).sum() >= stats.binom.ppf(0.001, 150, 0.6 * level)


def test_people_of_the_training_have_no_p(model):
    folder, grid, points, *_ = model
    one = grid.to_image(people(1, np.random.default_rng(2), grid, points)[0])
    assert np.isnan(encode_scan(one, folder, participant="study/sub-03").error_p)
    assert np.isfinite(encode_scan(one, folder, participant="elsewhere/sub-03").error_p)


def test_a_model_without_its_folds_gives_no_p_and_an_incomplete_one_is_refused(model, tmp_path):
    folder, grid, points, *_ = model
    plain, torn = (shutil.copytree(folder, tmp_path / name) for name in ("plain", "torn"))
    shutil.rmtree(plain / "folds")
    one = grid.to_image(people(1, np.random.default_rng(2), grid, points)[0])
    assert (is_calibrated(folder), is_calibrated(plain)) == (True, False)
    assert np.isnan(encode_scan(one, plain).error_p)
    shutil.rmtree(torn / "folds" / "fold-1")
    with pytest.raises(ModelError, match="incomplete"):
        encode_scan(one, torn)
    shutil.copytree(folder / "folds" / "fold-1", torn / "folds" / "fold-1")
    assert encode_scan(one, torn).error_p == encode_scan(one, folder).error_p
    shutil.rmtree(torn / "folds" / f"fold-{FOLDS - 1}")  # those that are left are numbered as they should be
    with pytest.raises(ModelError, match="incomplete"):
        encode_scan(one, torn)
    other = tmp_path / "other"
    trained(other, people(40, np.random.default_rng(5), grid, points), np.arange(40).astype(str), grid)
    shutil.rmtree(other / "folds")
    shutil.copytree(folder / "folds", other / "folds")
    with pytest.raises(ModelError, match="belong to another model"):
        encode_scan(one, other)
