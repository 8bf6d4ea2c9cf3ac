"""Sites: planted effects are found, none is found where there is none, ComBat stays inside the training rows."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bids_app.group.harmonise import harmonise
from bids_app.group.sites import _Cohort, how_many_relabellings, not_left_out, site_errors, tell_sites_apart, too_small
from bids_app.stats.combat import fit_combat


def make(seed, n=60, k=6, sites=3, shift=0.0, spread=1.0):
    """Latents of people at some sites; the first site's are shifted by ``shift`` and wider by ``spread``."""
    rng = np.random.default_rng(seed)
    site = np.array([f"s{i}" for i in rng.permutation(np.arange(n) % sites)])
    x = rng.normal(size=(n, k))
    x[site == "s0"] = x[site == "s0"] * spread + shift
    fold = rng.permutation(np.arange(n) % 5)
    return x, site, fold, np.array([f"p{i}" for i in range(n)])


def told(x, site, fold, people, covariates=None, n=99, seed=0):
    covariates = np.empty((len(site), 0)) if covariates is None else covariates
    return tell_sites_apart(x, site, covariates, fold, people, n_permutations=n, seed=seed).set_index("latents")


def test_accuracy_is_scikit_learns_in_the_same_folds():
    x, site, fold, people = make(0, shift=0.8)
    machine = make_pipeline(StandardScaler(), SVC(gamma=1 / 6, class_weight="balanced"))
    expected = balanced_accuracy_score(site, cross_val_predict(machine, x, site, cv=PredefinedSplit(fold)))
    found = told(x, site, fold, people)
    assert found.loc["as encoded", "balanced_accuracy"] == pytest.approx(expected)
    assert (found["chance"] == 1 / 3).all()


def test_planted_sites_are_found_and_combat_takes_them_away():
    x, site, fold, people = make(1, n=90, shift=1.2)
    found = told(x, site, fold, people)
    assert found.loc["as encoded", "p"] <= 0.02
    assert found.loc["as encoded", "balanced_accuracy"] > 0.45
    assert found.loc["after ComBat", "p"] > 0.05


def test_a_site_of_wider_spread_is_found_though_its_mean_is_that_of_the_others():
    x, site, fold, people = make(2, n=120, sites=2, spread=2.5)
    found = told(x, site, fold, people)
    assert found.loc["as encoded", "p"] <= 0.02
    assert found.loc["after ComBat", "p"] > 0.05


def test_what_combat_does_not_even_out_is_still_found():
    """Latents that go together at one site only: means and spread are alike, ComBat changes nothing."""
    x, site, fold, people = make(3, n=160, k=4, sites=2)
    x[site == "s0", 1] = x[site == "s0", 0]
    x[site == "s0", 3] = x[site == "s0", 2]
    found = told(x, site, fold, people)
    assert (found["p"] <= 0.02).all()


@pytest.mark.slow
def test_no_effect_is_found_where_there_is_none():
    p = np.array([told(*make(100 + i, n=40, k=4, sites=2), n=39, seed=i)["p"] for i in range(40)])
    for state in (0, 1):
        # As many as chance allows (exact binomial), and p neither low nor high as a whole.
        assert (p[:, state] <= 0.1).sum() <= stats.binom.ppf(0.999, 40, 0.1)
        assert stats.kstest(p[:, state] - 1 / 80, "uniform").pvalue > 0.001


def test_covariates_that_differ_between_sites_are_no_site_effect():
    x, site, fold, people = make(4, n=120, sites=2)
    age = np.random.default_rng(0).normal(size=120) + 2 * (site == "s0")
    aged = x + age[:, None]
    assert told(aged, site, fold, people).loc["as encoded", "p"] <= 0.02
    assert told(aged, site, fold, people, age[:, None]).loc["as encoded", "p"] > 0.05


def test_combat_is_that_of_the_folds_and_sees_training_rows_alone():
    x, site, fold, people = make(5, shift=1.0)
    _, by_fold = harmonise(x, site, np.empty((60, 0)), fold, people)
    code = np.unique(site, return_inverse=True)[1]
    none = np.empty((60, 0))
    assert _Cohort(x, none, fold).accuracy(code, True) == _Cohort(by_fold, none, fold).accuracy(code, False)


def test_combat_fitted_to_all_rows_hides_the_sites():
    """The leak: with held-out people in the fit, their own sites' means are taken out of them, too."""
    inside, outside = [], []
    for seed in range(20):
        x, site, fold, _ = make(200 + seed, n=40, k=30, sites=4, shift=0.5)
        code, none = np.unique(site, return_inverse=True)[1], np.empty((40, 0))
        inside.append(_Cohort(x, none, fold).accuracy(code, True))
        outside.append(_Cohort(fit_combat(x, code).apply(x, code), none, fold).accuracy(code, False))
    assert np.mean(outside) < np.mean(inside) - 0.03


def test_people_count_once_and_each_folds_model_is_its_own():
    x, site, fold, people = make(6, shift=0.7)
    twice = np.concatenate([np.arange(60), np.arange(60)])
    noise = np.concatenate([x, np.random.default_rng(0).normal(size=x.shape)])
    again = told(noise, site[twice], fold[twice], people[twice])
    expected = told(x, site, fold, people)
    np.testing.assert_array_equal(again["balanced_accuracy"], expected["balanced_accuracy"])
    # What the models of other folds make of a fold's people has no say.
    own = np.stack([x] * 5)
    own[1:, fold == 0] = 0
    rest = own.copy()
    rest[0] = np.random.default_rng(1).normal(size=x.shape)
    np.testing.assert_array_equal(told(np.stack([x] * 5), site, fold, people, n=9), told(x, site, fold, people, n=9))
    assert not told(rest, site, fold, people, n=9).equals(told(own, site, fold, people, n=9))


def test_sites_of_few_people_are_not_testable_and_say_why():
    site = np.array(["a"] * 9 + ["b"] * 4 + ["c"] * 8 + [""])
    people = np.array([f"p{i}" for i in range(22)])
    assert too_small(site, people) == {"a": "", "b": "4 participants, but at least 5 are needed", "c": ""}
    assert too_small(np.array(["a"] * 22), people) == {"a": "there is no other site"}
    assert too_small(site, np.array(["p1"] * 22))["a"] == "1 participant, but at least 5 are needed"
    two = np.array(["a"] * 20 + ["b"] * 2)
    assert "2 participants" in not_left_out(two, people)["b"]
    lopsided = np.array(["a"] * 18 + ["b"] * 4)
    assert not_left_out(lopsided, people)["a"] == "4 participants of other sites are too few for training"
    x = np.random.default_rng(0).normal(size=(22, 3))
    table = tell_sites_apart(x, two, np.empty((22, 0)), np.arange(22) % 5, people)
    assert table["p"].isna().all()
    assert table["reason"].str.contains("fewer than two sites").all()
    fine = tell_sites_apart(x, site, np.empty((22, 0)), np.arange(22) % 5, people, n_permutations=9)
    assert fine[["n", "sites"]].to_numpy().tolist() == [[17, 2], [17, 2]]


def test_large_cohorts_are_relabelled_less_often():
    assert [how_many_relabellings(n) for n in (20, 500, 700, 5000)] == [1000, 1000, 510, 199]


def test_where_no_site_can_be_left_out_the_table_says_why():
    site, people = np.array(["a"] * 18 + ["b"] * 4), np.arange(22)
    nothing = {name: np.zeros(22) for name in ("autoencoder", "linear", "pca")}
    table = site_errors(site, people, people % 3, nothing, {}, np.ones(len(site)))
    assert table["site"].tolist() == ["a", "b"]
    assert table["reason"].tolist() == [
        "4 participants of other sites are too few for training",
        "4 participants, but at least 5 are needed",
    ]


def test_errors_stand_beside_those_of_the_folds():
    site = np.array(["a"] * 6 + ["b"] * 7 + ["c"] * 2)
    people = np.array([f"p{i}" for i in range(15)])
    fold = np.arange(15) % 3
    rng = np.random.default_rng(0)
    usual = {name: rng.uniform(0.2, 0.4, 15) for name in ("autoencoder", "linear", "pca")}
    strangers = {
        s: {"scans": (rows := np.flatnonzero(site == s)), "n_train": np.array(15 - len(rows)),
            "same_size": 4 * (usual["pca"][rows] + 0.05),
            **{name: 4 * (usual[name][rows] + shift + 0.01 * rng.normal(size=len(rows))) for name in usual}}
        for s, shift in (("a", 0.1), ("b", 0.0))
    }  # fmt: skip
    table = site_errors(site, people, fold, usual, strangers, np.full(15, 4.0)).set_index(["site", "model"])
    for name, values in usual.items():
        row = table.loc[("a", name)]
        assert row["increase"] == pytest.approx(0.1, abs=0.02)
        difference = strangers["a"][name] / 4 - values[:6]
        low, high = stats.t.interval(0.95, 5, difference.mean(), stats.sem(difference))
        assert (row["increase_low"], row["increase_high"]) == (pytest.approx(low), pytest.approx(high))
        assert table.loc[("b", name), "increase_low"] < 0 < table.loc[("b", name), "increase_high"]
    assert table.loc[("a", "pca"), "error_same_size"] == pytest.approx(usual["pca"][:6].mean() + 0.05)
    assert table["error_same_size"].notna().sum() == 2
    assert table.loc[("a", "pca"), "n_train"] == 9
    assert table.loc[("a", "pca"), "n_train_folds"] == 10
    assert "2 participants" in table.loc["c"]["reason"].iloc[0]
    assert table.loc["c"]["error"].isna().all()
