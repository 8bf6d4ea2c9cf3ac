"""The claim on convolutions: a sign flip over participants, and no p where no network was trained."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_app.group.convolutions import compare_convolutions
from bids_app.group.settings import AnalysisSettings
from bids_app.group.validate import validate
from bids_app.group.verdicts import verdicts
from bids_app.schema import claims as schema
from bids_app.schema.claims import CONVOLUTIONS

NOT_SUPPORTED = schema.NOT_SUPPORTED.name
NOT_TESTABLE = schema.NOT_TESTABLE.name
SUPPORTED = schema.SUPPORTED.name

SETTINGS = AnalysisSettings(n_permutations=4000)


def study(maker, gain, n=60, epochs=3, noise=0.02, seed=0):
    """Errors of which the linear model's are larger by ``gain`` on average."""
    c = maker(n=n)
    rng = np.random.default_rng(seed)
    linear = c.err + gain + noise * rng.normal(size=n)
    return c.study(error_linear=linear, epochs=np.where(c.fold == 0, 0, epochs))


def graded(study):
    table = validate(study, SETTINGS)
    found = verdicts(table, _no_baselines(), study.contrasts, covariate_names=study.covariates.names)
    mine = found[found["claim_id"] == CONVOLUTIONS.id]
    return table[table["claim_id"] == CONVOLUTIONS.id], mine.squeeze()


def _no_baselines():
    return pd.DataFrame(columns=["contrast", "features"])


def test_all_flips_of_a_small_cohort_are_counted(cohort_maker):
    """Against the definition: the share of all 2^n sign patterns whose mean is as large."""
    made = study(cohort_maker, 0.01, n=10)
    difference = made.error_linear - made.error
    means = np.array([(difference * signs).mean() for signs in product((1, -1), repeat=10)])
    expected = (means >= difference.mean() - 1e-12).mean()
    assert compare_convolutions(made, SETTINGS).p == pytest.approx(expected)


def test_p_of_a_large_cohort_is_near_the_t_tests(cohort_maker):
    made = study(cohort_maker, 0.0025, n=120)
    expected = stats.ttest_rel(made.error_linear, made.error, alternative="greater").pvalue
    assert 0.001 < expected < 0.2
    assert compare_convolutions(made, SETTINGS).p == pytest.approx(expected, abs=0.02)


def test_visits_of_a_participant_count_once(cohort_maker):
    made = study(cohort_maker, 0.01, n=20)
    twice = np.repeat(np.arange(20), 2)
    scans = made.scans.iloc[twice].reset_index(drop=True)
    visits = cohort_maker(n=40).study(
        scans=scans, error=made.error[twice], error_linear=made.error_linear[twice], epochs=made.epochs[twice]
    )
    one, two = compare_convolutions(made, SETTINGS), compare_convolutions(visits, SETTINGS)
    assert (two.n, two.ratio) == (20, pytest.approx(one.ratio))
    assert two.p == one.p


@pytest.mark.parametrize(("gain", "grade"), [(0.05, SUPPORTED), (-0.05, NOT_SUPPORTED), (0.0, NOT_SUPPORTED)])
def test_the_grade_follows_the_errors(cohort_maker, gain, grade):
    rows, verdict = graded(study(cohort_maker, gain))
    assert verdict["verdict"] == grade
    assert rows["method"].tolist() == ["permutation"]
    assert "removed" not in verdict["sentence"]  # no covariate was
    assert (rows["p"].item() < 0.05) is (grade == SUPPORTED)
    said = f"{rows['error'].item():.3f} times the linear model's"
    assert said in verdict["sentence"]  # a gain may be sure and tiny
    assert "4 of 5 folds use convolutions" in verdict["sentence"]
    if gain < 0:
        assert rows["p"].item() > 0.95


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"epochs": 0}, "not trained for any epoch in any fold"),
        ({"n": 4}, "with 4 participants"),
    ],
)
def test_what_cannot_be_tested_has_no_p(cohort_maker, changed, reason):
    rows, verdict = graded(study(cohort_maker, 0.05, **changed))
    assert verdict["verdict"] == NOT_TESTABLE
    assert rows["method"].tolist() == ["not testable"]
    assert rows["p"].isna().all()
    assert reason in verdict["sentence"]


def test_false_positives_stay_at_the_level(cohort_maker):
    """No gain on average: one test in twenty is positive, give or take three standard errors of 300 tests."""
    settings = AnalysisSettings(n_permutations=200)
    positive = [compare_convolutions(study(cohort_maker, 0.0, n=20, seed=s), settings).p <= 0.05 for s in range(300)]
    assert 0.012 < np.mean(positive) < 0.088
