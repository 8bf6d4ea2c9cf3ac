"""What stands beside a claim: bounds and what they may be called, errors and their sample, intervals, what is added."""

import numpy as np
import pandas as pd
import pytest
from cohorts import Cohort, make_cohort
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from statsmodels.stats.proportion import proportion_confint

from bids_app.group.baselines import NESTED, baselines
from bids_app.group.classify import classify
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.explain import explain
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Features
from bids_app.group.validate import validate
from bids_app.group.verdicts import verdicts
from bids_app.schema import claims as schema
from bids_app.schema.claims import BEATS_COVARIATES, ERROR_EXPLAINED, SEPARATION
from bids_app.stats.studentised import studentised_crossfit

SUPPORTED = schema.SUPPORTED.name
WORST_CASE = schema.WORST_CASE.name

NOBODY = pd.DataFrame(columns=["contrast", "features"])


def test_the_top_grade_rests_on_the_held_out_bound():
    c = make_cohort(n=400, effect=4.0)
    table = validate(c.study(), AnalysisSettings(n_permutations=99))
    strict = table[table["strict"].astype(bool)]
    assert list(strict["method"]) == ["held-out (strict)"]
    assert strict["alpha"].item() == 0.05
    gibbs = table[table["method"].str.startswith("pac-bayes (Gibbs), given the latents")]
    assert gibbs["sample"].item() == "in-sample"
    table.loc[table["strict"].astype(bool), "bound"] = 0.6
    graded = verdicts(table, NOBODY, c.contrasts)
    assert graded["verdict"].iloc[0] == SUPPORTED
    assert (table.loc[gibbs.index, "bound"] < 0.5).all()


def test_the_held_out_bound_has_all_of_alpha():
    """Clopper and Pearson's limits by scipy, alpha shared by folds and groups and by nothing else."""
    c = make_cohort(n=60, effect=1.5)
    table = validate(c.study(), AnalysisSettings(n_permutations=19)).set_index("method")
    y, wrong = (c.group == "AD").astype(float), classify(c.Zf, (c.group == "AD").astype(float), c.fold,
                                                         c.covariates.matrix).wrong  # fmt: skip
    limits = []
    for f in range(5):
        for g in (0, 1):
            mine = wrong[(c.fold == f) & (y == g)]
            test = stats.binomtest(int(mine.sum()), len(mine), alternative="less")
            limits.append(test.proportion_ci(1 - 0.05 / 10, method="exact").high)
    assert table.loc["held-out (strict)", "bound"] == pytest.approx(np.mean(limits), abs=1e-9)


def learnt_from_all(seed, n=500, voxels=25_000, size=6.5, fresh=2000):
    """Maps of white noise; the groups differ by `size` in one voxel of many. Two components, of all and of each fold.

    Also what fresh people have in the components of all, and of each fold.
    """
    rng, y = np.random.default_rng(seed), (np.arange(n) % 2).astype(float)
    maps = rng.normal(size=(n, voxels)).astype(np.float32)
    maps[:, 0] += size * (y - 0.5)
    new_y = (np.arange(fresh) % 2).astype(float)

    def learn(rows):
        mean = maps[rows].mean(axis=0)
        value, vector = np.linalg.eigh((maps[rows] - mean) @ (maps[rows] - mean).T)
        axes = (maps[rows] - mean).T @ (vector[:, -2:] / np.sqrt(value[-2:]))
        # White noise along orthonormal axes is white noise.
        new = rng.normal(size=(fresh, 2)) + np.outer(size * (new_y - 0.5), axes[0]) - mean @ axes
        return (maps - mean) @ axes, new

    everybody, fold = np.arange(n), np.arange(n) // 2 % 5
    (Z, new), folds = learn(everybody), [learn(everybody[fold != f]) for f in range(5)]
    table = pd.DataFrame({"participant_id": [f"s{i}" for i in range(n)], "dx": np.where(y == 1, "AD", "CN")})
    c = Cohort(
        table=table, Z=Z, Zf=np.stack([part for part, _ in folds]), G=rng.normal(size=(n, 2)), err=np.ones(n),
        fold=fold, regions=pd.DataFrame({"index": range(2), "name": list("ab")}),
        contrasts=build_contrasts(table, "dx"), covariates=build_covariates(table, []),
    )  # fmt: skip
    return c, y, new, [part for _, part in folds], new_y


def test_what_is_called_strict_holds_where_the_latents_were_learnt_from_the_same_people():
    for seed in range(2):
        c, y, new, new_of_folds, new_y = learnt_from_all(seed)
        table = validate(c.study(), AnalysisSettings(n_permutations=19)).set_index("method")
        sign = np.where(new_y == 1, 1, -1)
        # The randomised classifier of the Gibbs form: weights drawn, fresh people classified.
        machine = make_pipeline(StandardScaler(), SVC(kernel="linear", class_weight="balanced")).fit(c.Z, y)
        theta = np.append(machine[-1].coef_[0], machine[-1].intercept_[0])
        one = np.column_stack([machine[0].transform(new), np.ones(len(new))])
        same = np.column_stack([machine[0].transform(c.Z), np.ones(len(y))])
        draws = np.random.default_rng(0).normal(size=(400, 3))
        gibbs = table.loc["pac-bayes (Gibbs), given the latents"]
        scales = np.geomspace(0.1, 100.0, 121)
        risk = [(np.where(y == 1, 1, -1)[:, None] * (same @ (s * theta / np.linalg.norm(theta) + draws).T) < 0).mean()
                for s in scales]  # fmt: skip
        scale = scales[np.abs(np.array(risk) - gibbs["error"]).argmin()]
        actual = (sign[:, None] * (one @ (scale * theta / np.linalg.norm(theta) + draws).T) < 0).mean()
        assert gibbs["bound"] < actual  # no bound at all, and so not strict
        assert not gibbs["strict"]
        wrong = []
        for f, part in enumerate(new_of_folds):
            train = c.fold != f
            machine = make_pipeline(StandardScaler(), SVC(kernel="linear", class_weight="balanced"))
            wrong.append((machine.fit(c.Zf[f][train], y[train]).predict(part) != new_y).mean())
        strict = table[table["strict"].astype(bool)]
        assert len(strict) > 0
        assert (strict["bound"] >= np.mean(wrong)).all()


def test_errors_called_in_sample_are_optimistic_and_the_held_out_are_not():
    """Groups that differ in nothing, and more latents than people."""
    found = []
    for seed in range(8):
        c = make_cohort(n=50, effect=0.0, seed=seed, r=4)
        c.Z, c.Zf = np.random.default_rng(seed).normal(size=(50, 60)), None
        found.append(validate(c.study(), AnalysisSettings(n_permutations=19)))
    table = pd.concat(found)
    table = table[table["error"].notna() & (table["claim_id"] == SEPARATION.id)]
    assert set(table["sample"]) == {"held-out", "in-sample"}
    for (_, sample), rows in table.groupby(["method", "sample"]):
        gain = 0.5 - rows["error"]
        if sample == "held-out":
            assert abs(gain.mean()) < 0.06
        else:
            assert (gain > 0.01).all()


def test_p_and_area_are_of_one_prediction():
    from sklearn.metrics import roc_auc_score

    c = make_cohort(n=60, effect=1.5)
    table = validate(c.study(), AnalysisSettings(n_permutations=99))
    test = table[table["method"] == "permutation"].iloc[0]
    y = (c.group == "AD").astype(float)
    tested = studentised_crossfit(c.Zf, y, c.fold, c.covariates.matrix, n_permutations=99, seed=201)
    assert test["auc"] == pytest.approx(roc_auc_score(y, tested.prediction))
    assert test["auc_low"] < test["auc"] < test["auc_high"]
    assert test["p"] == tested.p
    assert np.isnan(test["error"])
    sentence = verdicts(table, NOBODY, c.contrasts)["sentence"][0]
    svm = table[table["method"] == "held-out (strict)"].iloc[0]
    assert f"AUC {test['auc']:.2f}, 95 % interval" in sentence
    assert f"SVM's balanced error {svm['error']:.2f} is at worst {svm['bound']:.2f}" in sentence
    assert set(table["sample"].dropna()) == {"held-out", "in-sample"}


def test_areas_have_their_sign():
    c = make_cohort(n=200, effect=0.0, r=4)
    sick = c.group == "AD"
    c.G = np.random.default_rng(0).normal(size=(200, 4)) + np.outer(sick, [1.0, -1.0, 0.0, 0.0])
    c.covariates = build_covariates(c.table, [])
    found = sam(c.study(), AnalysisSettings(n_permutations=99))
    expected = [
        stats.mannwhitneyu(c.G[sick, r], c.G[~sick, r]).statistic / (sick.sum() * (~sick).sum()) for r in range(4)
    ]
    np.testing.assert_allclose(found["auc"].astype(float), expected)
    assert found["auc"][1] < 0.4
    np.testing.assert_array_equal(found["higher_in"], np.where(np.array(expected) >= 0.5, "AD", "CN"))


def test_verdict_and_grey_values_agree_whatever_the_numbers():
    """Also where the linear relation has a p of .05 and the regression that is explained predicts nobody."""
    seen = set()
    for seed in (0, 1, 2, 3):
        c = make_cohort(n=40, effect=0.0, seed=seed, r=8)
        c.err = 1 + 0.12 * (c.G[:, 0] - 5) + 0.3 * np.random.default_rng(seed).normal(size=40)
        study, settings = c.study(), AnalysisSettings(n_permutations=99, n_interval_samples=20, seed=seed)
        relation = explain(study, settings).relation
        graded = verdicts(validate(study, settings, relation=relation), NOBODY, c.contrasts).set_index("claim_id")
        assert relation.supported == (graded.loc[ERROR_EXPLAINED.id, "verdict"] in (SUPPORTED, WORST_CASE))
        seen.add((relation.p <= 0.05, relation.r2 > 0))
    assert {(True, True), (True, False), (False, False)} <= seen


def test_accuracies_beside_the_latents_have_the_interval_of_counted_people():
    """Wilson's limits of either group by statsmodels, put together; 0.4.0 had the t interval of five folds."""
    c = make_cohort(n=40, effect=1.0, r=6)
    y = (c.group == "AD").astype(float)
    wrong, row = classify(c.Zf, y, c.fold).wrong, baselines(c.study(), AnalysisSettings()).set_index("features")
    limits = [proportion_confint((~wrong)[y == g].sum(), (y == g).sum(), method="wilson") for g in (1, 0)]
    p = [(~wrong)[y == g].mean() for g in (1, 0)]
    half = [
        1.3 * np.hypot(*(abs(one[end] - share) for one, share in zip(limits, p, strict=True))) / 2 for end in (0, 1)
    ]
    expected = np.mean(p) - half[0], np.mean(p) + half[1]
    assert row.loc["latent", ["ci_low", "ci_high"]].tolist() == pytest.approx(expected)


def test_the_nested_question_is_about_what_is_added():
    """Latents that repeat the covariate add nothing; those that know something else add it, the better ones or not."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    table = pd.DataFrame({"participant_id": [f"s{i}" for i in range(300)], "dx": np.where(y, "AD", "CN")})
    table["age"] = 70 + 1.6 * y + rng.normal(size=300)
    c = make_cohort(n=300, effect=0.0)
    c.table, c.contrasts, c.Zf = table, build_contrasts(table, "dx"), None
    c.covariates = build_covariates(table, ["age"])
    for repeats, known, added in ((1.0, 0.0, False), (1.0, 2.0, True), (0.0, 0.9, True)):
        noise = 0.5 * rng.normal(size=(300, 4)) if repeats else rng.normal(size=(300, 4))
        c.Z = repeats * table["age"].to_numpy()[:, None] + noise + known * np.outer(y, [1, -1, 0, 0])
        study, settings = c.study(latents=Features(c.Z)), AnalysisSettings(n_permutations=199)
        compared = baselines(study, settings)
        row = compared.set_index("features").loc[NESTED]
        assert (row["gain_p"] <= 0.05 and row["gain"] > 0) == added
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        graded = verdicts(validate(study, settings), compared, c.contrasts, covariate_names=("age",))
        verdict = graded.set_index("claim_id").loc[BEATS_COVARIATES.id, "verdict"]
        assert (verdict in (SUPPORTED, WORST_CASE)) == added
        area = compared.set_index("features")["auc"]
        assert (area["latent"] > area["covariates"]) == (known == 2.0)  # what 0.4.0 asked for
