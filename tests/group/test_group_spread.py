"""Scans apart from their cohort: planted ones are named, by a median and a deviation of another library."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_app.group.spread import COMPARED, FEWEST, cohort_reasons, limit, robust_z, with_cohort


def table(n=24, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(n)],
            "TIV": rng.normal(1500, 120, n),
            "CSFFraction": rng.normal(0.2, 0.03, n),
            "GMIntensityAgreement": rng.normal(1.0, 0.015, n),
            "RimOutsideShare": rng.normal(0.12, 0.03, n),
            "Noise": rng.normal(0.03, 0.004, n),
            "QualityVerdict": "pass",
            "QualityReasons": None,
        }
    )


def test_robust_z_is_scipys():
    x = np.random.default_rng(1).standard_t(2, 31)
    expected = (x - np.median(x)) / stats.median_abs_deviation(x, scale="normal")
    np.testing.assert_allclose(robust_z(x, x), expected, rtol=1e-12)


def test_an_ordinary_cohort_has_none_apart():
    assert not any(cohort_reasons(table()))


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("GMIntensityAgreement", 1.15, "above"),
        ("GMIntensityAgreement", 0.85, "below"),
        ("RimOutsideShare", 0.45, "above"),
        ("TIV", 2600, "intracranial"),
        ("Noise", 0.09, "noise"),
    ],
)
def test_a_planted_scan_is_named_and_no_other(key, value, word):
    quality = table()
    quality.loc[7, key] = value
    reasons = cohort_reasons(quality)
    assert [i for i, found in enumerate(reasons) if found] == [7]
    assert word in reasons[7][0]
    z = (value - quality[key].median()) / stats.median_abs_deviation(quality[key], scale="normal")
    floor = next(m[2] for m in COMPARED if m[0] == key)
    if stats.median_abs_deviation(quality[key], scale="normal") > floor:
        assert f"{abs(z):.1f} robust SD" in reasons[7][0]


def test_the_good_side_is_no_reason():
    quality = table()
    quality.loc[3, ["RimOutsideShare", "Noise"]] = 0.0, 0.0
    assert not any(cohort_reasons(quality))


def test_few_participants_have_no_spread_however_many_scans():
    quality = table(FEWEST - 1)
    quality.loc[2, "TIV"] = 5000
    many = pd.concat([quality] * 4)
    assert not any(cohort_reasons(many))
    assert cohort_reasons(pd.concat([quality, table(FEWEST).tail(1)]))[2]


def test_equal_values_call_no_difference_that_means_nothing():
    quality = table().assign(GMIntensityAgreement=1.0)
    quality.loc[4, "GMIntensityAgreement"] = 1.02
    assert not any(cohort_reasons(quality))
    quality.loc[4, "GMIntensityAgreement"] = 1.12
    assert cohort_reasons(quality)[4]
    assert list(robust_z(np.array([1.0, 2.0]), np.ones(5))) == [0, 0]


def test_one_participant_of_many_scans_is_not_the_cohort():
    quality = table()
    again = pd.concat([quality, *[quality.tail(1).assign(TIV=2500.0)] * 200], ignore_index=True)
    reasons = cohort_reasons(again)
    assert not any(reasons[:23])
    assert all(reasons[24:])


def test_those_outside_the_list_are_judged_by_it():
    quality = table(30)
    quality.loc[20:, "TIV"] = 2600  # ten strangers, alike
    listed = np.arange(30) < 20
    assert all(cohort_reasons(quality, listed)[20:])
    assert not any(cohort_reasons(quality, listed)[:20])


def test_false_alarms_are_as_rare_as_the_text_says():
    rng = np.random.default_rng(2)
    for n, most in ((10, 0.002), (200, 0.0008)):
        x = rng.normal(size=(1000, n))
        share = np.mean([np.abs(robust_z(row, row)) > limit(n) for row in x])
        assert share < most


def test_the_cohort_gives_a_look_and_never_a_fail_or_a_pass():
    quality = table()
    quality.loc[7, "CSFFraction"] = 0.6  # atrophy
    quality.loc[8, ["QualityVerdict", "QualityReasons"]] = "look", "fluid is 0.36"
    quality.loc[9, ["QualityVerdict", "QualityReasons", "Noise"]] = "fail", "folded", 0.2
    quality.loc[10, ["QualityVerdict", "Noise"]] = None, 0.2
    judged = with_cohort(quality)
    assert judged["QualityVerdict"].to_list()[7:11] == ["look", "look", "fail", "look"]
    assert "fluid fraction of 0.600" in judged["QualityReasons"][7]
    assert judged["QualityReasons"][8] == "fluid is 0.36"
    assert judged["QualityReasons"][9].startswith("folded; noise of 0.200")
    assert judged["CohortReasons"].notna().sum() == 3
    assert (judged["QualityVerdict"].drop([7, 8, 9, 10]) == "pass").all()
    assert quality["QualityVerdict"][7] == "pass"  # the table given is left as it is
