"""The voxelwise t test beside nilearn's and statsmodels', and its peaks."""

import dataclasses
from multiprocessing import get_context

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from cohorts import Cohort
from nilearn.maskers import NiftiMasker
from nilearn.mass_univariate import permuted_ols
from scipy import stats
from scipy.ndimage import gaussian_filter

from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.settings import AnalysisSettings
from bids_app.group.vbm import enhance, find_peaks, tfce, threshold, vbm
from bids_app.model.grid import Grid, Sampling
from bids_app.model.volumes import Volumes
from bids_app.stats.permutation import permutation_chunks


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


def scanned_twice(seed, *, effect=0.0, shift=0.0, wide=1.0, sizes=(20, 20), shape=(8, 8, 6), confounded=0.7):
    """Maps of two sites: the second is shifted and spread; patients come from it more often; a loss in a corner."""
    rng = np.random.default_rng(seed)
    sick, n = np.repeat([True, False], sizes), sum(sizes)
    site = np.where(rng.random(n) < np.where(sick, confounded, 1 - confounded), "b", "a")
    site[[0, 1, -2, -1]] = "a", "b", "a", "b"
    noise = gaussian_filter(rng.normal(size=(n, *shape)), (0, 1, 1, 1))
    data = noise / noise.std() * np.where(site == "b", wide, 1.0)[:, None, None, None] + 10
    data[:, :4] += shift * (site == "b")[:, None, None, None]
    data[:, -3:, :3, :3] -= effect * sick[:, None, None, None]
    table = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(n)], "dx": np.where(sick, "AD", "CN"),
                          "site": site, "age": rng.normal(70, 6, n)})  # fmt: skip
    grid = Grid(Sampling(shape, np.diag([3.0, 3, 3, 1]), 0.0, 3.0), np.ones(shape, bool))
    return table, Volumes(data.reshape(n, -1), grid, [""] * n, [])


def asked(table, *, sites):
    """The study of these people: the site a covariate and their block, or nothing known of it."""
    n, names = len(table), ["age", "site"] if sites else ["age"]
    cohort = Cohort(
        table=table, Z=np.zeros((n, 1)), Zf=None, G=np.ones((n, 1)), err=np.ones(n), fold=np.arange(n) % 5,
        regions=pd.DataFrame({"index": [1], "name": ["R1"]}), contrasts=build_contrasts(table, "dx"),
        covariates=build_covariates(table, names, categories=("site",) if sites else ()),
    )  # fmt: skip
    return cohort.study(blocks=table["site"].to_numpy() if sites else None)


def mask_of(volumes):
    return nib.Nifti1Image(volumes.grid.mask.astype(np.uint8), volumes.grid.affine)


def enhanced_by_nilearn(y, data, covariates, volumes, **options):
    given = {"masker": NiftiMasker(mask_of(volumes)).fit(), "tfce": True, "output_type": "dict", "verbose": 0}
    return permuted_ols(y, data, covariates, **given, **options)


def test_without_sites_cluster_enhancement_is_that_of_permuted_ols():
    table, volumes = scanned_twice(0, effect=0.8)
    study = asked(table, sites=False)
    y, covariates = (table["dx"] == "AD").to_numpy(float), study.covariates.matrix
    theirs = enhanced_by_nilearn(y, volumes.data, covariates, volumes, n_perm=300, random_state=1)
    np.testing.assert_allclose(enhance(theirs["t"][0], mask_of(volumes)), theirs["tfce"][0], rtol=1e-6)
    ours = tfce(study, AnalysisSettings(), volumes, 300)["AD-CN"]
    np.testing.assert_allclose(ours, 10 ** -theirs["logp_max_tfce"][0], atol=0.09)
    assert ours.min() == pytest.approx(1 / 301)
    assert set(np.flatnonzero(ours <= 0.02)) <= set(np.flatnonzero(theirs["logp_max_tfce"][0] > -np.log10(0.05)))


def test_with_sites_each_permutation_is_freedman_and_lanes_within_them(monkeypatch):
    """By the book: residuals change places within a site, the fit is added again, nilearn fits the whole model."""
    table, volumes = scanned_twice(1, effect=0.5, shift=1.0, wide=1.5)
    study, b = asked(table, sites=True), 12
    y, covariates, site = (table["dx"] == "AD").to_numpy(float), study.covariates.matrix, table["site"].to_numpy()
    design = sm.add_constant(covariates)
    fit = design @ np.linalg.lstsq(design, volumes.data, rcond=None)[0]
    perms = np.concatenate(list(permutation_chunks(len(y), b, AnalysisSettings().seed + 501, b, site)))
    assert all((site[perm] == site).all() for perm in perms)
    # The test's t of a permutation is that of residuals in the inverse order: who gets whose.
    made = [fit + (volumes.data - fit)[np.argsort(perm)] for perm in perms]
    theirs = [enhanced_by_nilearn(y, data, covariates, volumes, n_perm=0) for data in made]
    seen = []
    monkeypatch.setattr("bids_app.group.vbm.p_value", lambda observed, null: seen.append((observed, null)))
    tfce(study, AnalysisSettings(), volumes, b)
    vbm(study, AnalysisSettings(n_permutations=b), volumes)
    observed = enhanced_by_nilearn(y, volumes.data, covariates, volumes, n_perm=0)
    (enhanced, null_of_tfce), (rho, null_of_rho) = seen
    np.testing.assert_allclose(enhanced, np.abs(observed["tfce"][0]), rtol=2e-2, atol=1e-2 * enhanced.max())
    np.testing.assert_allclose(null_of_tfce, [np.abs(one["tfce"]).max() for one in theirs], rtol=2e-3)
    df = len(y) - design.shape[1] - 1
    largest = np.array([np.abs(one["t"]).max() for one in theirs])
    np.testing.assert_allclose(null_of_rho * np.sqrt(df / (1 - null_of_rho**2)), largest, rtol=1e-4)
    assert rho.max() < 1


def found_by(test, study, volumes, b):
    if test == "tfce":
        return tfce(study, AnalysisSettings(), volumes, b)["AD-CN"]
    return vbm(study, AnalysisSettings(n_permutations=b), volumes)[0].p_fwe


@pytest.mark.parametrize("test", ["fwe", "tfce"])
def test_what_only_the_site_does_is_not_found_and_a_true_loss_is(test):
    """The shift of a scanner that has most of the patients looks like a loss to a test that knows no site."""
    table, volumes = scanned_twice(2, effect=1.5, shift=1.5, confounded=0.85)
    shifted = np.zeros((8, 8, 6), bool)
    shifted[:4] = True
    lost = np.zeros_like(shifted)
    lost[-3:, :3, :3] = True
    known = found_by(test, asked(table, sites=True), volumes, 99)
    unknown = found_by(test, asked(table, sites=False), volumes, 99)
    assert known[shifted.ravel()].min() > 0.05
    assert unknown[shifted.ravel()].min() <= 0.05
    assert known[lost.ravel()].min() <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("test", "cohorts"), [("fwe", 150), ("tfce", 30)])
def test_without_a_difference_sites_of_another_mean_and_spread_keep_the_level(test, cohorts):
    """The few patients come from the scanner that varies more: people exchanged across sites seem to differ too often.

    There, too, the site is a covariate.
    """
    found = {"within": 0, "across": 0}
    for seed in range(cohorts):
        table, volumes = scanned_twice(
            100 + seed, shift=1.0, wide=5.0, sizes=(10, 50), shape=(5, 5, 4), confounded=0.85
        )
        study = asked(table, sites=True)
        found["within"] += found_by(test, study, volumes, 19).min() <= 0.05
        found["across"] += found_by(test, dataclasses.replace(study, blocks=None), volumes, 19).min() <= 0.05
    most = stats.binom.ppf(0.999, cohorts, 0.05)
    assert found["within"] <= most < found["across"], found


def _enhance_with_two_processes():
    table, volumes = scanned_twice(2, effect=0.5)
    found = tfce(asked(table, sites=False), AnalysisSettings(n_threads=2), volumes, 20)
    alone = tfce(asked(table, sites=False), AnalysisSettings(), volumes, 20)
    np.testing.assert_array_equal(found["AD-CN"], alone["AD-CN"])


def test_a_step_that_enhances_with_several_processes_ends_with_them():
    """A step runs in a process of its own, which does not end before those that it began."""
    step = get_context("forkserver").Process(target=_enhance_with_two_processes)
    step.start()
    step.join(120)
    late = step.is_alive()
    step.kill()
    assert not late
    assert step.exitcode == 0
