"""Validation, baselines and verdicts: no grade above what the numbers carry."""

import warnings

import numpy as np
import pandas as pd
import pytest
from cohorts import Cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bids_app.bids.tables import read_tsv, write_tsv
from bids_app.group.baselines import baselines
from bids_app.group.classify import balanced_weights, classify
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.explain import explain
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.validate import validate
from bids_app.group.verdicts import grade_claim, verdicts
from bids_app.schema import claims as schema

GRADES = tuple(grade.name for grade in schema.GRADES)
NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, WORST_CASE = (
    schema.NOT_SUPPORTED.name,
    schema.NOT_TESTABLE.name,
    schema.SUPPORTED.name,
    schema.WORST_CASE.name,
)


def run(c, explained=False):
    study, settings = c.study(), AnalysisSettings(n_permutations=300, n_rank_samples=5)
    tables = {"lrcp_regions": lrcp(study, settings).regions, "sam_regions": sam(study, settings)}
    relation = explain(study, settings).relation if explained else None
    validation = validate(study, settings, relation=relation, **tables)
    compared = baselines(study, settings)
    graded = verdicts(validation, compared, study.contrasts, covariate_names=study.covariates.names, **tables)
    return validation, compared, graded


def test_a_real_effect_is_supported_and_the_tables_are_complete(cohort_maker):
    c = cohort_maker(n=120, effect=2.5)
    validation, compared, graded = run(c, explained=True)
    assert list(validation.columns[:7]) == ["claim", "method", "n", "error", "bound", "p", "alpha"]
    assert list(compared.columns[:8]) == [
        "contrast", "features", "n", "balanced_accuracy", "ci_low", "ci_high", "auc", "delta_vs_latent",
    ]  # fmt: skip
    assert list(graded.columns[:4]) == ["claim", "verdict", "deciding_number", "sentence"]
    verdict = graded.set_index("claim")["verdict"]
    assert verdict["The latent space separates AD from CN"] in (SUPPORTED, WORST_CASE)
    assert verdict["The latent space keeps regional differences (AD-CN)"] == SUPPORTED
    assert verdict["Regional grey matter explains the reconstruction error"] in (SUPPORTED, WORST_CASE)
    named = graded.set_index("claim").loc["The latent space keeps regional differences (AD-CN)", "sentence"]
    assert all(f"R{i}" in named for i in range(1, 6))
    assert set(compared["features"]) == {
        "latent", "latent, covariates removed", "pca", "regional GM", "covariates", "covariates + latents",
    }  # fmt: skip
    assert graded["sentence"].str.endswith(".").all()
    assert not graded["claim"].duplicated().any()


def test_intervals_stay_where_accuracies_and_their_differences_can_be(cohort_maker):
    c = cohort_maker(n=12, effect=6.0, sizes=[4, 8], folds=3)  # intervals wider than the scale
    c.contrasts += build_contrasts(c.table, "dx", ["age"])
    compared = baselines(c.study(), AnalysisSettings())
    groups, score = (compared[compared["delta_of"] == of] for of in ("balanced accuracy", "R2"))
    assert groups["ci_low"].min() >= 0
    assert groups["ci_high"].max() == 1
    assert groups["delta_ci_low"].min() >= -1
    assert compared["gain_high"][compared["gain_of"] == "AUC"].item() == 1
    assert (score["delta_ci_high"] - score["delta_ci_low"]).max() > 2  # R2 has no lower end


def test_a_huge_effect_in_a_large_cohort_is_supported_in_the_worst_case(cohort_maker):
    c = cohort_maker(n=400, effect=4.0)
    validation, _, graded = run(c)
    row = graded.iloc[0]
    assert row["verdict"] == WORST_CASE
    strict = validation[validation["strict"].astype(bool) & (validation["contrast"] == "AD-CN")]
    assert row["deciding_number"] == strict[strict["claim"] == row["claim"]]["bound"].item() < 0.5
    assert graded[graded["claim"].str.startswith("Single regions")]["verdict"].item() == WORST_CASE


def test_a_confounded_difference_is_not_supported(cohort_maker):
    """The groups differ in age, age drives the latents, and age is given: there is nothing left to claim."""
    c = cohort_maker(n=120, effect=0.0, confound=2.0)
    _, compared, graded = run(c)
    about = graded[graded["contrast"] == "AD-CN"]
    assert len(about) == 4
    assert (about["verdict"] == NOT_SUPPORTED).all()
    latent = compared.set_index("features")["balanced_accuracy"]
    assert latent["latent"] > 0.6 > latent["latent, covariates removed"]
    assert "do not show that the latents add information" in graded["sentence"][1]


@pytest.mark.parametrize("why", ["few", "alias", "single", "missing", "one fold"])
def test_not_testable_says_why(cohort_maker, why):
    c = cohort_maker(n=40)
    if why == "few":
        c = cohort_maker(n=6, sizes=[3, 3], folds=3)
        c.covariates = build_covariates(c.table, [])
    if why == "one fold":
        c.fold[:] = 0
    if why == "alias":
        c.covariates = build_covariates(c.table.assign(site=c.table["dx"]), ["site"])
    if why == "single":
        c.contrasts = build_contrasts(c.table.assign(dx=["CN"] * 39 + ["AD"]), "dx")
    if why == "missing":
        c.covariates = build_covariates(c.table.assign(age=[70.0, 71] + [np.nan] * 38), ["age"])
        validation = validate(c.study(), AnalysisSettings(n_permutations=50))
        graded = verdicts(validation, pd.DataFrame(columns=["contrast", "features"]), c.contrasts)
    else:
        validation, _, graded = run(c)
    assert graded["verdict"].iloc[0] == NOT_TESTABLE
    said = {
        "few": "perfect separation",
        "alias": "confounded",
        "single": "AD has 1",
        "missing": "too few",
        "one fold": "only 0",
    }[why]
    assert said in graded["sentence"].iloc[0]
    assert pd.isna(graded["deciding_number"].iloc[0])
    assert graded["verdict"].isin([NOT_TESTABLE, NOT_SUPPORTED]).all()
    if why == "alias":  # whatever is asked of a contrast that the covariates tell, and for this reason
        about = graded[graded["contrast"] == "AD-CN"]
        assert (about["verdict"] == NOT_TESTABLE).all()
        assert about["sentence"].str.contains("confounded").all()


def rows(p=0.01, error=0.2, chance=0.5, strict_bound=0.6, published=0.4, alpha=0.05, auc=0.8):
    common = {"claim": "x", "claim_id": "x", "n": 50, "alpha": alpha, "contrast": "AD-CN", "note": "", "strict": False}
    common |= dict.fromkeys(("error", "bound", "p", "p_adjusted", "auc", "auc_low", "auc_high", "chance"), np.nan)
    svm = common | {"error": error, "chance": chance}
    return pd.DataFrame(
        [
            svm | {"method": "pac-bayes (published)", "bound": published},
            svm | {"method": "held-out (strict)", "bound": strict_bound, "strict": True},
            common
            | {"method": "permutation", "p": p / 2, "p_adjusted": p, "auc": auc, "auc_low": 0.1, "auc_high": 0.9},
        ]
    )


@settings(max_examples=200, deadline=None)
@given(st.floats(0.001, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_no_grade_above_what_the_numbers_carry(p, auc, strict_bound, published):
    grade, number, by, _ = grade_claim(rows(p, 0.2, 0.5, strict_bound, published, auc=auc))
    assert grade in GRADES
    if grade == WORST_CASE:
        assert p <= 0.05
        assert auc > 0.5
        assert number == strict_bound < 0.5
    elif grade == SUPPORTED:
        assert p <= 0.05
        assert auc > 0.5
        assert strict_bound >= 0.5
        assert number == p
    else:
        assert p > 0.05 or auc <= 0.5
        assert number in (p, auc)
    assert by


def test_a_published_bound_alone_is_no_worst_case():
    assert grade_claim(rows(strict_bound=0.55, published=0.1))[0] == SUPPORTED
    text = verdicts(rows(strict_bound=0.55, published=0.1), pd.DataFrame(columns=["contrast", "features"]), [])
    assert "does not exclude chance" in text["sentence"][0]


def test_a_claim_without_a_permutation_test_is_not_testable():
    assert grade_claim(rows().iloc[:2])[0] == NOT_TESTABLE
    assert grade_claim(rows(p=np.nan))[0] == NOT_TESTABLE


def test_classification_is_sklearns_in_a_loop():
    rng = np.random.default_rng(0)
    y, fold = (rng.random(40) < 0.3).astype(float), np.arange(40) % 4
    zf = rng.normal(size=(4, 40, 3)) + y[:, None]
    found = classify(zf, y, fold)
    wrong = np.zeros(40, bool)
    for f in range(4):
        train, test = fold != f, fold == f
        model = make_pipeline(StandardScaler(), SVC(kernel="linear", class_weight="balanced"))
        wrong[test] = model.fit(zf[f][train], y[train]).predict(zf[f][test]) != y[test]
    np.testing.assert_array_equal(found.wrong, wrong)
    assert found.balanced_error == pytest.approx((wrong[y == 1].mean() + wrong[y == 0].mean()) / 2)
    assert balanced_weights(y).sum() == pytest.approx(1)


def test_lopsided_noise_is_at_chance_in_balanced_error(cohort_maker):
    errors = []
    for seed in range(15):
        c = cohort_maker(n=36, effect=0.0, sizes=[26, 10], seed=seed)
        y = (c.group == "AD").astype(float)
        errors.append(classify(c.Zf, y, c.fold).balanced_error)
    assert abs(np.mean(errors) - 0.5) < 0.06


def test_scores_and_orders_use_sar(cohort_maker):
    c = cohort_maker(n=90, contrasts=["CN<AD", "age"])
    c.covariates = build_covariates(c.table, ["sex"])
    validation, compared, graded = run(c)
    methods = set(validation[validation["contrast"] == "age"]["method"])
    assert methods == {"sar (held out)", "sar (as in sarlib)", "permutation"}
    assert "The latent space predicts age" in set(graded["claim"])
    assert "The latent space follows the order CN<AD" in set(graded["claim"])
    assert compared["balanced_accuracy"].isna().all()
    assert set(compared["delta_of"].dropna()) == set(compared["gain_of"].dropna()) == {"R2"}
    for name in ("age", "CN<AD"):  # the sentence has what the p value is of
        row = validation[(validation["contrast"] == name) & (validation["method"] == "permutation")].iloc[0]
        sentence = graded[(graded["contrast"] == name) & (graded["claim_id"] == "separation")]["sentence"].item()
        assert f"out-of-fold R2 {1 - row['error']:.2f}, c-index {row['auc']:.2f}" in sentence
        assert f"R2 = {1 - row['error']:.3f}" in row["note"]


@pytest.mark.parametrize(("r2", "grade"), [(0.1, SUPPORTED), (-0.1, NOT_SUPPORTED)])
def test_an_order_that_is_predicted_worse_than_by_its_mean_is_not_supported(r2, grade):
    table = rows(auc=0.6).iloc[2:]
    assert grade_claim(table.assign(error=1 - r2, chance=1.0))[0] == grade


@pytest.mark.slow
def test_nothing_is_supported_beyond_the_nominal_rate_under_the_null(cohort_maker):
    counts = {}
    for seed in range(60):
        c = cohort_maker(n=30, effect=0.0, confound=1.0, seed=seed, r=12)
        _, _, graded = run(c)
        for claim, verdict in zip(graded["claim"], graded["verdict"], strict=True):
            counts[claim] = counts.get(claim, 0) + (verdict in (SUPPORTED, WORST_CASE))
            assert verdict != WORST_CASE
    # 60 draws at 5 %: 9 or more have a chance of 0.3 %.
    assert max(counts.values()) <= 8


def test_latents_beat_uninformative_covariates(cohort_maker):
    _, _, graded = run(cohort_maker(n=200, effect=3.0))
    row = graded[graded["claim"].str.contains("beats the covariates")].iloc[0]
    assert row["verdict"] == SUPPORTED
    assert row["deciding_number"] > 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_any_small_cohort_gets_its_verdicts(seed):
    """Repeated scans, missing values, constant columns, tiny groups: verdicts without a warning, p in (0, 1]."""
    rng = np.random.default_rng(seed)
    n, k, r, folds = (int(rng.integers(*limits)) for limits in ((6, 26), (1, 20), (1, 15), (2, 6)))
    people = rng.integers(0, n, n) if rng.random() < 0.5 else np.arange(n)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{p:02d}" for p in people],
            "dx": rng.permutation(np.resize(["CN", "AD", "CN", "AD", "MCI"], n)),
            "age": np.where(rng.random(n) < 0.15, np.nan, rng.normal(70, 5, n)),
            "score": rng.normal(size=n),
        }
    )
    Z, Zf, G = rng.normal(size=(n, k)), rng.normal(size=(folds, n, k)), rng.normal(size=(n, r))
    if rng.random() < 0.3:
        Z[:, 0], Zf[:, :, 0], G[:, 0] = 0, 0, 3
    if rng.random() < 0.3:
        G[1, 0] = np.nan
    cohort = Cohort(
        table=table,
        Z=Z,
        Zf=Zf,
        G=G,
        fold=rng.permutation(np.arange(n) % folds)[people],
        regions=pd.DataFrame({"index": range(r), "name": [f"R{i}" for i in range(r)]}),
        contrasts=build_contrasts(table, "dx") + build_contrasts(table, "dx", ["score"]),
        covariates=build_covariates(table, ["age"] if rng.random() < 0.5 else []),
        err=np.ones(n),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        validation, _, graded = run(cohort)
    assert graded["verdict"].isin(GRADES).all()
    assert not graded["claim"].duplicated().any()
    p = validation["p"].dropna()
    assert ((p > 0) & (p <= 1)).all()


def test_written_tables_give_the_same_verdicts(cohort_maker, tmp_path):
    """Seven digits and `n/a` carry all that a verdict rests on, so that a reader can check it against the tables."""
    c = cohort_maker(n=60, effect=1.0)
    c.contrasts += build_contrasts(c.table.assign(dx=["CN"] * 59 + ["AD"]), "dx", ["AD-rest", "age"])
    validation, compared, graded = run(c, explained=True)
    assert set(validation["contrast"]) == {"AD-CN", "AD-rest", "age", "n/a"}
    assert NOT_TESTABLE in set(graded["verdict"])
    again = [read_tsv(write_tsv(tmp_path / "table.tsv", table)) for table in (validation, compared)]
    graded_again = verdicts(*again, c.contrasts, covariate_names=c.covariates.names)
    plain = verdicts(validation, compared, c.contrasts, covariate_names=c.covariates.names)
    one, two = (write_tsv(tmp_path / "verdicts.tsv", table).read_bytes() for table in (plain, graded_again))
    assert one == two
