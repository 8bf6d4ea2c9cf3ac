"""Deviations from a reference group: statsmodels' predictions, coverage, and who is compared with whom."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from cohorts import make_cohort
from scipy import stats

from bids_app.group.norms import deviations, w_scores
from bids_app.stats.alignment import align_held_out


def test_w_is_the_normal_deviate_of_statsmodels_prediction():
    rng = np.random.default_rng(0)
    c, new = rng.normal(size=(25, 2)), rng.normal(size=(4, 2))
    norm, x = rng.normal(size=(25, 3)) + c[:, :1], rng.normal(size=(4, 3))
    found = w_scores(norm, c, x, new)
    for m in range(3):
        fit = sm.OLS(norm[:, m], sm.add_constant(c)).fit().get_prediction(sm.add_constant(new, has_constant="add"))
        t = (x[:, m] - fit.predicted_mean) / fit.se_obs
        np.testing.assert_allclose(found[:, m], stats.norm.ppf(stats.t.cdf(t, 22)), atol=0.005)
    assert np.isnan(w_scores(np.ones((12, 1)), c[:12], x[:, :1], new)).all()


@pytest.mark.parametrize("controls", [12, 200])
def test_as_many_healthy_people_lie_beyond_two_whatever_the_size_of_the_reference(controls):
    rng = np.random.default_rng(1)
    beyond = []
    for _ in range(300):
        c = rng.normal(size=(controls + 20, 3))
        x = rng.normal(size=(controls + 20, 1)) + c @ [[1.0], [0], [2]]
        w = w_scores(x[:controls], c[:controls], x[controls:], c[controls:])
        beyond.append((np.abs(w) > stats.norm.isf(0.025)).mean())
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.012)


def test_patients_deviate_and_no_one_is_in_the_own_norm(cohort_maker):
    c = cohort_maker(n=120, effect=2.0)
    table = deviations(c.study(), "CN")
    assert list(table.columns) == ["error", *[f"latent_{k:02d}" for k in range(1, 9)], *c.regions["name"]]
    sick = c.group == "AD"
    assert table.loc[sick, "R1"].mean() < -0.8
    assert abs(table.loc[~sick, "R1"].mean()) < 0.2
    # A control's own value moves its score alone: the norm of its fold does not hold it.
    one = int(np.flatnonzero(~sick)[0])
    c.G[one, 0] += 50
    moved = deviations(c.study(), "CN")
    same_fold = c.fold == c.fold[one]
    others = same_fold & (np.arange(120) != one)
    np.testing.assert_allclose(moved.loc[others, "R1"], table.loc[others, "R1"])
    assert moved.loc[one, "R1"] - table.loc[one, "R1"] > 8
    assert not np.allclose(moved.loc[~same_fold, "R1"], table.loc[~same_fold, "R1"])


def test_repeated_scans_of_a_person_do_not_make_a_reference(cohort_maker):
    c = cohort_maker(n=60, effect=0.0)
    study = c.study()
    controls = np.flatnonzero(c.group == "CN")
    c.table = pd.concat([c.table, c.table.iloc[controls]], ignore_index=True)
    again = np.concatenate([np.arange(60), controls])
    for name in ("Z", "G", "err", "fold", "group"):
        setattr(c, name, getattr(c, name)[again])
    c.Zf = c.Zf[:, again]
    c.covariates = type(c.covariates)(c.covariates.matrix[again], c.covariates.names, c.covariates.complete[again])
    twice = c.study(reconstructed=c.G)
    np.testing.assert_allclose(deviations(twice, "CN")[:60], deviations(study, "CN"))


def test_too_few_people_make_no_norm(cohort_maker):
    c = cohort_maker(n=40, sizes=[6, 34])
    assert deviations(c.study(), "CN").isna().all(axis=None)
    assert deviations(c.study(), "nobody").isna().all(axis=None)


def test_held_out_latents_of_patients_deviate_and_those_of_the_reference_do_not():
    """Overfitted latents: training rows spread more than anyone new, by whom nobody may be judged."""
    rng, n, folds, k = np.random.default_rng(0), 200, 5, 4
    c = make_cohort(n=n, effect=0.0, k=k)
    true = rng.normal(size=(n, k))
    true[c.group == "AD", 0] += 3
    overfitted = np.stack([np.where((c.fold != f)[:, None], 2.0, 1.0) * true for f in range(folds)])
    c.Z = 2 * true
    c.Zf = np.stack([part @ stats.ortho_group.rvs(k, random_state=f) for f, part in enumerate(overfitted)])
    table = deviations(c.study(), "CN").filter(like="latent_")
    controls = table[c.group == "CN"]
    assert controls.std().to_numpy() == pytest.approx(1, abs=0.2)
    assert (controls.abs() > 1.96).to_numpy().mean() == pytest.approx(0.05, abs=0.03)
    # Held out, patients lie three standard deviations off along the first axis of the full model.
    assert table.loc[c.group == "AD", "latent_01"].mean() == pytest.approx(3, abs=0.5)
    # The W is statsmodels' on the held-out latents as they are written (phenotype/latents.tsv).
    aligned = align_held_out(c.Z, c.Zf, c.fold)
    norm, one = np.flatnonzero((c.group == "CN") & (c.fold != 0)), int(np.flatnonzero(c.fold == 0)[0])
    covariates = c.covariates.matrix
    fit = sm.OLS(aligned[norm, 1], sm.add_constant(covariates[norm])).fit()
    seen = fit.get_prediction(sm.add_constant(covariates[[one]], has_constant="add"))
    t = (aligned[one, 1] - seen.predicted_mean) / seen.se_obs
    expected = stats.norm.ppf(stats.t.cdf(t, len(norm) - 1 - covariates.shape[1]))
    np.testing.assert_allclose(table.loc[one, "latent_02"], expected, atol=0.01)
