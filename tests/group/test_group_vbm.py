"""The voxelwise t test beside nilearn's and statsmodels', and its peaks."""

import nibabel as nib
import numpy as np
import pytest
import statsmodels.api as sm
from nilearn.mass_univariate import permuted_ols

from bids_app.group.settings import AnalysisSettings
from bids_app.group.vbm import find_peaks, threshold, vbm
from bids_app.model.grid import Grid, Sampling
from bids_app.model.volumes import Volumes


@pytest.fixture
def brains(cohort_maker):
    """60 smooth noisy maps of 24^3 voxels in which patients lose something in a corner, and their study."""
    c, rng = cohort_maker(n=60, effect=0.0), np.random.default_rng(0)
    shape = (24, 22, 20)
    mask = np.ones(shape, bool)
    mask[:2] = False
    affine = nib.affines.from_matvec(np.diag([3.0, 3, 3]), [-36, -30, -20])
    sick = (c.group == "AD").astype(float)
    data = rng.normal(size=(60, *shape)) * 0.2 + 1 + 0.01 * np.asarray(c.covariates.matrix)[:, :1, None, None]
    data[:, 6:9, 6:9, 6:9] -= 0.35 * sick[:, None, None, None]
    grid = Grid(Sampling(shape, affine, 0.0, 3.0), mask)
    return c, Volumes(data[:, mask].astype(np.float16), grid, [""] * 60, [])


def test_t_is_that_of_statsmodels_and_p_that_of_nilearn(brains):
    c, volumes = brains
    (test,) = vbm(c.study(), AnalysisSettings(n_permutations=400), volumes)
    y, covariates = (c.group == "AD").astype(float), c.covariates.matrix
    design = sm.add_constant(np.column_stack([covariates, y]))
    chosen = [0, 500, int(np.argmax(np.abs(test.t)))]
    for voxel in chosen:
        fit = sm.OLS(volumes.data[:, voxel].astype(float), design).fit()
        assert test.t[voxel] == pytest.approx(fit.tvalues[-1], rel=1e-4)
        assert test.df == fit.df_resid
    theirs = permuted_ols(y, volumes.data[:, ::7].astype(float), covariates, n_perm=400, random_state=1, verbose=0,
                          output_type="dict")  # fmt: skip
    np.testing.assert_allclose(test.t[::7], theirs["t"][0], rtol=1e-3, atol=1e-3)
    few = Volumes(volumes.data[:, ::7], volumes.grid, volumes.paths, [])
    object.__setattr__(few, "grid", Grid(volumes.grid.sampling, _every(volumes.grid.mask, 7)))
    (ours,) = vbm(c.study(), AnalysisSettings(n_permutations=400), few)
    np.testing.assert_allclose(ours.p_fwe, 10 ** -theirs["logp_max_t"][0], atol=0.07)
    assert set(np.flatnonzero(ours.p_fwe <= 0.02)) == set(np.flatnonzero(theirs["logp_max_t"][0] > 1.699))


def _every(mask, step):
    out = np.zeros(mask.size, bool)
    out[np.flatnonzero(mask)[::step]] = True
    return out.reshape(mask.shape)


def test_no_number_depends_on_the_chunks(brains, monkeypatch):
    c, volumes = brains
    settings, seen = AnalysisSettings(n_permutations=99), []
    (whole,) = vbm(c.study(), settings, volumes)
    monkeypatch.setattr("bids_app.group.vbm._CHUNK", 1000)
    (parts,) = vbm(c.study(), settings, volumes, lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(parts.t, whole.t, rtol=1e-5)
    np.testing.assert_allclose(parts.p_fwe, whole.p_fwe, atol=0.011)
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_peaks_lie_where_the_loss_was_planted_and_carry_the_regions_name(brains):
    c, volumes = brains
    (test,) = vbm(c.study(), AnalysisSettings(n_permutations=199), volumes)
    names = np.where(np.argwhere(volumes.grid.mask)[:, 0] < 12, "left", "right")
    peaks = find_peaks(test, volumes, names)
    assert (peaks["p_fwe"] <= 0.05).all()
    assert (peaks["t"] < 0).all()
    assert set(peaks["region"]) == {"left"}
    first = peaks.iloc[0]
    assert first["cluster"] == 1
    np.testing.assert_array_less(np.abs(first[["x", "y", "z"]].astype(float) - [-15, -9, 1]), 4)
    assert first["cluster_ml"] == pytest.approx((test.p_fwe <= 0.05).sum() * 0.027, rel=0.2)
    assert threshold(test) == pytest.approx(np.abs(test.t[test.p_fwe <= 0.05]).min())


def test_without_a_difference_there_is_no_peak(brains):
    c, volumes = brains
    c.contrasts[0].y[:] = np.random.default_rng(3).permutation(c.contrasts[0].y)
    (test,) = vbm(c.study(), AnalysisSettings(n_permutations=199), volumes)
    assert find_peaks(test, volumes, np.full(volumes.grid.n_voxels, "")).empty
    assert threshold(test) == pytest.approx(3.47, abs=0.05)
