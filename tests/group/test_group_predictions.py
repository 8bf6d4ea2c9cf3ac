"""Out-of-fold predictions: planted truth, nothing learnt from who is held out, and measures beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, mean_absolute_error

from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.predictions import predict
from bids_app.group.settings import AnalysisSettings

SETTINGS = AnalysisSettings(n_permutations=39)


def quality(found, contrast="AD-CN"):
    return found.quality[found.quality["contrast"] == contrast].set_index("measure")


def test_a_real_difference_is_predicted_and_the_measures_are_those_of_scikit_learn(cohort):
    found = predict(cohort.study(), SETTINGS)
    people, numbers = found.people, quality(found)
    assert len(people) == 90
    truth = (people["truth"] == "AD").to_numpy(float)
    np.testing.assert_array_equal(truth, cohort.group == "AD")
    assert numbers["value"]["auc"] > 0.75
    assert numbers["low"]["auc"] > 0.5
    assert numbers["value"]["brier"] == pytest.approx(brier_score_loss(truth, people["probability"]))
    assert numbers["value"]["brier"] < numbers["chance"]["brier"]
    right = people["predicted"] == people["truth"]
    assert numbers["value"]["sensitivity"] == pytest.approx(right[truth == 1].mean())
    assert numbers["value"]["specificity"] == pytest.approx(right[truth == 0].mean())
    assert found.confusion.empty


def test_noise_is_not_predicted(cohort_maker):
    areas = [quality(predict(cohort_maker(effect=0.0, n=60, seed=s).study(), SETTINGS)).loc["auc"] for s in range(8)]
    assert sum(area["low"] <= 0.5 <= area["high"] for area in areas) >= 7
    assert np.mean([area["value"] for area in areas]) == pytest.approx(0.5, abs=0.1)


def test_no_label_of_the_held_out_touches_their_prediction(cohort):
    before = predict(cohort.study(), SETTINGS).people
    held = np.flatnonzero(cohort.fold == 2)
    swapped = cohort.contrasts[0].y
    swapped[held] = np.random.default_rng(0).permutation(swapped[held])
    after = predict(cohort.study(), SETTINGS).people
    for column in ("score", "probability", "threshold"):
        np.testing.assert_allclose(after[column][held], before[column][held])
        assert not np.allclose(after[column], before[column])


def test_orders_and_scores_have_an_error_in_their_units(cohort_maker):
    c = cohort_maker(contrasts=["CN<AD", "age"])
    c.covariates = build_covariates(c.table, ["sex"])
    found = predict(c.study(), SETTINGS)
    numbers, people = quality(found, "age"), found.people[found.people["contrast"] == "age"]
    assert numbers["value"]["mae"] == pytest.approx(
        mean_absolute_error(c.table["age"], people["predicted"].astype(float))
    )
    assert numbers["low"]["mae"] < numbers["value"]["mae"] < numbers["high"]["mae"]
    assert numbers["chance"]["mae"] == pytest.approx(np.abs(c.table["age"] - c.table["age"].median()).mean())
    assert "r_within_groups" in numbers.index
    assert quality(found, "CN<AD")["value"]["c_index"] > 0.7


@pytest.mark.parametrize("effect", [0.0, 3.0])
def test_three_groups_have_a_confusion_matrix_and_chance_is_a_third(cohort_maker, effect):
    c = cohort_maker(n=120, effect=0.0, seed=4)
    rng = np.random.default_rng(1)
    group = rng.permutation(np.repeat(["CN", "MCI", "AD"], 40))
    shift = effect * np.array([{"CN": 0, "MCI": 1, "AD": 2}[g] for g in group])
    c.Zf = None
    c.Z[:, 0] += shift * c.Z[:, 0].std()
    c.table["dx"], c.group = group, group
    c.contrasts = build_contrasts(c.table, "dx")
    found = predict(c.study(), SETTINGS)
    row = quality(found, "all groups").loc["balanced_accuracy"]
    assert row["chance"] == pytest.approx(1 / 3)
    assert found.confusion["people"].sum() == 120
    diagonal = found.confusion[found.confusion["truth"] == found.confusion["predicted"]].set_index("truth")["people"]
    assert row["value"] == pytest.approx((diagonal / 40).mean())
    assert (row["p"] <= 0.05) == (effect > 0)


def test_three_groups_of_a_handful_are_not_told_apart_at_once(cohort_maker):
    c = cohort_maker(n=12, effect=0.0, folds=2)
    c.group = c.table["dx"] = np.resize(["CN", "MCI", "AD"], 12)
    c.contrasts = build_contrasts(c.table, "dx")
    assert predict(c.study(), SETTINGS).confusion.empty


def test_groups_too_small_to_tune_in_are_predicted_all_the_same(cohort_maker):
    found = predict(cohort_maker(n=14, sizes=[4, 10], folds=3).study(), SETTINGS)
    assert found.people["predicted"].isin(("AD", "CN")).all()
