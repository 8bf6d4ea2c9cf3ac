"""Nulls that hold: spreads, sites, repeated scans and converters, several contrasts, and what a sentence says."""

import numpy as np
import pandas as pd
import pytest
from cohorts import Cohort, make_cohort
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bids_app.errors import ConfigError
from bids_app.group.baselines import NESTED, baselines
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.explain import explain
from bids_app.group.harmonise import harmonise
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Design, Features, build_questions, describe_scans
from bids_app.group.validate import validate
from bids_app.group.verdicts import verdicts
from bids_app.schema import claims as schema
from bids_app.schema.claims import DISPERSION, ERROR_EXPLAINED, PRIMARY, SEPARATION, SINGLE_REGIONS
from bids_app.stats.combat import fit_combat
from bids_app.stats.studentised import studentised_crossfit

NOT_SUPPORTED = schema.NOT_SUPPORTED.name
SUPPORTED = schema.SUPPORTED.name
WORST_CASE = schema.WORST_CASE.name

NOBODY = pd.DataFrame(columns=["contrast", "features"])


def unequal(sizes, spread, seed, k=6, r=40, by_site=False):
    """Two groups alike in their means; patients vary more, or come more often from the site that does."""
    rng = np.random.default_rng(seed)
    n, sick = sum(sizes), np.repeat([True, False], sizes)
    site = np.where(rng.random(n) < np.where(sick, 0.7, 0.3), "b", "a")
    wide = np.where(site == "b" if by_site else sick, spread, 1.0)[:, None]
    Z, G = rng.normal(size=(n, k)) * wide, rng.normal(size=(n, r)) * wide
    if by_site:
        Z, G = Z + (site == "b")[:, None], G + (site == "b")[:, None]
    table = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(n)], "dx": np.where(sick, "AD", "CN")})
    table["site"] = site
    return Cohort(
        table=table, Z=Z, Zf=None, G=10 + G, err=np.ones(n), fold=np.arange(n) % 5,
        regions=pd.DataFrame({"index": range(r), "name": [f"R{i}" for i in range(r)]}),
        contrasts=build_contrasts(table, "dx"),
        covariates=build_covariates(table, ["site"] if by_site else [], categories=("site",)),
    )  # fmt: skip


def claimed(cohorts, **options):
    found = []
    for seed in range(cohorts):
        c = unequal(seed=seed, **options)
        blocks = c.table["site"].to_numpy() if options.get("by_site") else None
        study, settings = c.study(blocks=blocks), AnalysisSettings(n_permutations=99, seed=seed)
        table = validate(study, settings, sam_regions=sam(study, settings))
        p = table[table["method"] == "permutation"].set_index("claim_id")["p"]
        found.append([p[SEPARATION.id] <= 0.05, p[SINGLE_REGIONS.id] <= 0.05])
    return np.mean(found, axis=0)


# 30 cohorts: a level of 0.05 exceeds 0.17 three times in a thousand.
@pytest.mark.parametrize("options", [{"sizes": (30, 120), "spread": 2.0}, {"sizes": (40, 40), "spread": 2.0},
                                     {"sizes": (30, 90), "spread": 2.0, "by_site": True}])  # fmt: skip
def test_a_spread_that_differs_is_no_finding(options):
    assert (claimed(30, r=20, **options) <= 0.17).all()


def test_people_are_exchanged_within_their_site(monkeypatch):
    """Every permutation of the run's tests keeps people at their site."""
    from bids_app.stats import crossfit, studentised

    seen = []

    def spy(function, place):
        def called(*args, **more):
            blocks = args[place] if len(args) > place else more.get("blocks")
            for rows in function(*args, **more):
                seen.append((blocks[rows] == blocks).all())
                yield rows

        return called

    monkeypatch.setattr(studentised, "permutation_chunks", spy(studentised.permutation_chunks, 4))
    monkeypatch.setattr(studentised, "redrawn", spy(studentised.redrawn, 3))
    monkeypatch.setattr(crossfit, "permutation_chunks", spy(crossfit.permutation_chunks, 4))
    c = unequal((30, 60), 1.0, 0, by_site=True)
    c.err = np.random.default_rng(0).normal(size=90)
    study, settings = c.study(blocks=c.table["site"].to_numpy()), AnalysisSettings(n_permutations=20)
    validate(study, settings, sam_regions=sam(study, settings))
    explain(study, settings)
    assert len(seen) == 20 + 2  # residuals of the regions one by one; labels and errors in one chunk each
    assert all(seen)


def test_few_people_of_another_spread_are_named_in_note_and_sentence():
    c = unequal((15, 60), 2.0, 1)
    c.Z[:15, 0] += 6
    c.G[:15, 0] += 9
    study, settings = c.study(), AnalysisSettings(n_permutations=199)
    tables = {"sam_regions": sam(study, settings)}
    table = validate(study, settings, **tables)
    notes = table[table["method"] == "permutation"].set_index("claim_id")["note"]
    assert DISPERSION in notes[SEPARATION.id]
    # Root mean square SD over the columns, by hand; the columns had one scale before.
    spread = [c.G[c.table["dx"] == g].std(axis=0, ddof=1) for g in ("AD", "CN")]
    size = np.sqrt((14 * spread[0] ** 2 + 59 * spread[1] ** 2) / 75)
    ratio = np.sqrt(((spread[0] / size) ** 2).mean() / ((spread[1] / size) ** 2).mean())
    assert f"{ratio:.1f} times the other's, 15 participants in the smaller" in notes[SINGLE_REGIONS.id]
    graded = verdicts(table, NOBODY, study.contrasts, **tables).set_index("claim_id")
    assert graded.loc[[SEPARATION.id, SINGLE_REGIONS.id], "verdict"].isin((SUPPORTED, WORST_CASE)).all()
    assert graded.loc[[SEPARATION.id, SINGLE_REGIONS.id], "sentence"].str.contains(DISPERSION).all()
    for sizes, spread in (((30, 60), 2.0), ((15, 60), 1.2)):
        c = unequal(sizes, spread, 1)
        assert not validate(c.study(), settings)["note"].str.contains(DISPERSION).any()


def with_visits(c, later, group_later):
    """The cohort, and behind it a second scan of everybody with other numbers and another group."""
    n = len(c.table)
    table = pd.concat([c.table, c.table.assign(dx=group_later)], ignore_index=True)
    order = np.argsort(np.tile(np.arange(n), 2), kind="stable")  # a participant's scans follow each other
    table = table.iloc[order].reset_index(drop=True)
    double = lambda x: np.concatenate([x, x + later])[order]  # noqa: E731
    return Cohort(
        table=table, Z=double(c.Z), Zf=np.stack([double(z) for z in c.Zf]), G=double(c.G), err=double(c.err),
        fold=np.tile(c.fold, 2)[order], regions=c.regions, contrasts=build_contrasts(table, "dx", ["AD-CN", "CN<AD"]),
        covariates=build_covariates(table, ["age", "sex"]), group=table["dx"].to_numpy(),
    )  # fmt: skip


def test_later_scans_change_nothing_of_a_contrast():
    """At the second visit half of the AD are CN and the reverse, and all has moved: the first alone counts."""
    c = make_cohort(n=60, effect=1.0, contrasts=["AD-CN", "CN<AD"])
    rng = np.random.default_rng(0)
    doubled = with_visits(c, 5.0, np.where(rng.random(60) < 0.5, c.group, np.where(c.group == "AD", "CN", "AD")))
    settings = AnalysisSettings(n_permutations=99, n_interval_samples=50)
    for analyse in (sam, validate, baselines):
        alone, both = (analyse(x.study(), settings) for x in (c, doubled))
        pd.testing.assert_frame_equal(alone, both)
    alone, both = (explain(x.study(), settings) for x in (c, doubled))
    pd.testing.assert_frame_equal(alone.regions, both.regions)
    assert alone.relation == both.relation
    assert both.values.notna().all(axis=None)  # every scan has its values
    notes = describe_scans(doubled.study(), "first")
    changed = int((c.group != doubled.group[1::2]).sum())
    assert len(notes) == 2
    assert f"60 further scans of 60 participants are unused, {changed} of them because" in notes[0]
    assert describe_scans(c.study(), "first") == []
    mean = validate(doubled.study(), AnalysisSettings(n_permutations=99, scan_choice="mean"))
    assert mean["note"].str.contains("averaged").any()
    assert f"{changed} further scans" in describe_scans(doubled.study(), "mean")[0]


def test_converters_do_not_leak_into_the_baseline():
    """No difference at baseline; half of the MCI convert, and look like AD at their next visit."""
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        group = np.repeat(["CN", "MCI"], 30)
        converts = np.repeat([False, True, False], [30, 15, 15])
        scans = pd.DataFrame({"participant_id": np.repeat([f"sub-{i:02d}" for i in range(60)], 2)})
        scans["dx"] = [g if visit == 0 or not converts[i] else "AD" for i, g in enumerate(group) for visit in (0, 1)]
        shift = np.array([3.0 if converts[i] and visit else 0.0 for i in range(60) for visit in (0, 1)])
        Z = np.repeat(rng.normal(size=(60, 4)), 2, axis=0) + shift[:, None]
        G = np.repeat(rng.normal(size=(60, 8)), 2, axis=0) + shift[:, None]
        c = Cohort(
            table=scans, Z=Z, Zf=None, G=G, err=np.ones(120), fold=np.repeat(np.arange(60) % 5, 2),
            regions=pd.DataFrame({"index": range(8), "name": list("abcdefgh")}),
            contrasts=build_contrasts(scans, "dx", ["MCI-CN"]), covariates=build_covariates(scans, []),
        )  # fmt: skip
        study, settings = c.study(), AnalysisSettings(n_permutations=99, seed=seed)
        p = validate(study, settings, sam_regions=sam(study, settings))["p"]
        hits += (p <= 0.05).any()
    assert hits <= 5  # two tests at 5 %: 6 or more have a chance of one percent


def three_groups(seed, n=45, effect=0.0):
    """Nothing differs between three groups, or all three do."""
    c = make_cohort(n=n, effect=0.0, seed=seed, r=12, k=4)
    group = np.repeat(["AD", "CN", "MCI"], n // 3)
    c.table["dx"] = group
    c.Z[:, 0] += effect * (group == "AD") - effect * (group == "CN")
    c.Zf = None
    c.contrasts = build_contrasts(c.table, "dx")
    c.covariates = build_covariates(c.table, ["age"])
    return c.study()


def test_a_family_has_one_level_over_its_contrasts():
    settings = AnalysisSettings(n_permutations=199)
    study = three_groups(1, effect=0.4)
    tables = {"sam_regions": sam(study, settings)}
    table = validate(study, settings, **tables)
    for claim in (SEPARATION, SINGLE_REGIONS):
        mine = table[(table["claim_id"] == claim.id) & (table["method"] == "permutation")]
        np.testing.assert_allclose(mine["p_adjusted"], multipletests(mine["p"], method="holm")[1])
        bounds = table[(table["claim_id"] == claim.id) & table["bound"].notna()]
        np.testing.assert_allclose(bounds["alpha"], 0.05 / 3)
        assert (mine["alpha"] == 0.05).all()
    compared = baselines(study, settings)
    nested = compared[compared["features"] == NESTED]
    np.testing.assert_allclose(nested["gain_p_adjusted"], multipletests(nested["gain_p"], method="holm")[1])
    assert table.columns[-1] == "claim_id"
    graded = verdicts(table, compared, study.contrasts, covariate_names=("age",), **tables)
    assert graded.columns[-1] == "claim_id"
    assert graded["sentence"].str.contains("98.3 % interval").sum() >= 3
    least = tables["sam_regions"].groupby("contrast", sort=False)["p_fwe"].min().to_numpy(float)
    expected = {0: 0.05 / 3, 1: 0.05 / 2, 2: 0.05}
    levels = tables["sam_regions"].groupby("contrast", sort=False)["level"].first().to_numpy()
    rank = 0
    for place in np.argsort(least, kind="stable"):
        assert levels[place] == pytest.approx(expected[rank])
        rank += least[place] <= expected[rank]


def test_p_values_that_would_each_pass_do_not_pass_together():
    study = three_groups(0)
    settings = AnalysisSettings(n_permutations=39)
    table = validate(study, settings)
    tests = table["method"] == "permutation"
    table.loc[tests, ["p", "auc"]] = np.array([[0.03, 0.7]] * 3)
    table.loc[tests, "p_adjusted"] = multipletests(table.loc[tests, "p"], method="holm")[1]
    graded = verdicts(table, NOBODY, study.contrasts)
    mine = graded[graded["claim_id"] == SEPARATION.id]
    assert (mine["verdict"] == NOT_SUPPORTED).all()
    np.testing.assert_allclose(mine["deciding_number"], 0.09)
    assert mine["sentence"].str.contains("0.090 adjusted for the contrasts").all()


def test_the_primary_contrast_stands_alone():
    study = three_groups(1, effect=0.4)
    plain, settings = AnalysisSettings(n_permutations=199), AnalysisSettings(n_permutations=199, primary="AD-MCI")
    tables = {"sam_regions": sam(study, settings)}
    table = validate(study, settings, **tables)
    test = table[(table["method"] == "permutation") & (table["claim_id"] == SEPARATION.id)].set_index("contrast")
    assert test.loc["AD-MCI", "p_adjusted"] == test.loc["AD-MCI", "p"]
    others = test.drop("AD-MCI")
    np.testing.assert_allclose(others["p_adjusted"], multipletests(others["p"], method="holm")[1])
    levels = table[table["method"] == "held-out (strict)"].set_index("contrast")["alpha"]
    assert levels.to_dict() == pytest.approx({"AD-CN": 0.025, "MCI-CN": 0.025, "AD-MCI": 0.05})
    assert (tables["sam_regions"].set_index("contrast").loc["AD-MCI", "level"] == 0.05).all()
    graded = verdicts(table, baselines(study, settings), study.contrasts, covariate_names=("age",), **tables)
    said = graded["sentence"].str.contains(PRIMARY)
    assert set(graded.loc[said, "contrast"]) == {"AD-MCI"}
    assert said.sum() == 2
    # What was measured is the same; only what it is held against differs.
    numbers = ["claim", "method", "error", "p", "auc"]
    pd.testing.assert_frame_equal(validate(study, plain)[numbers], validate(study, settings)[numbers])


@pytest.mark.parametrize(("design", "said"), [(Design("dx", primary="CN-AD"), "contrasts of this run: AD-CN"),
                                              (Design(primary="AD-CN"), "needs --group-column")])  # fmt: skip
def test_a_primary_contrast_that_is_none_is_refused(cohort, design, said):
    with pytest.raises(ConfigError, match="not one of the contrasts") as caught:
        build_questions(cohort.table, design)
    assert said in caught.value.remedy


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
    for seed in range(8):
        c = make_cohort(n=40, effect=0.0, seed=seed, r=8)
        rng = np.random.default_rng(seed)
        c.err = 1 + 0.06 * seed * (c.G[:, 0] - 5) * rng.choice([1, 1, -1], 40) + 0.3 * rng.normal(size=40)
        study, settings = c.study(), AnalysisSettings(n_permutations=99, n_interval_samples=20, seed=seed)
        relation = explain(study, settings).relation
        graded = verdicts(validate(study, settings, relation=relation), NOBODY, c.contrasts).set_index("claim_id")
        assert relation.supported == (graded.loc[ERROR_EXPLAINED.id, "verdict"] in (SUPPORTED, WORST_CASE))


def test_four_scans_of_everybody_make_no_interval_narrower():
    c = make_cohort(n=40, r=6)
    often = np.repeat(np.arange(40), 4)
    table = c.table.iloc[often].reset_index(drop=True)
    more = Cohort(
        table=table, Z=c.Z[often], Zf=c.Zf[:, often], G=c.G[often], err=c.err[often], fold=c.fold[often],
        regions=c.regions, contrasts=build_contrasts(table, "dx"), covariates=build_covariates(table, ["age", "sex"]),
        group=c.group[often],
    )  # fmt: skip
    for choice in ("first", "mean"):
        settings = AnalysisSettings(n_permutations=20, n_interval_samples=200, scan_choice=choice)
        one, four = (explain(x.study(), settings).regions for x in (c, more))
        width = [(t["ci_high"] - t["ci_low"]).to_numpy() for t in (one, four)]
        np.testing.assert_allclose(width[1], width[0], rtol=1e-6 if choice == "first" else 0.35)


def test_people_who_came_often_do_not_make_their_site():
    rng = np.random.default_rng(0)
    people = np.concatenate([np.arange(20), np.repeat(0, 10)])  # the first one ten times more
    site = np.where(people % 2, "b", "a")
    x = rng.normal(size=(30, 5)) + 1.5 * (site == "b")[:, None]
    x[20:] = x[0] + 4 + 0.1 * rng.normal(size=(10, 5))
    nothing, fold = np.empty((30, 0)), people % 4
    full, by_fold = harmonise(x, site, nothing, fold, people)
    np.testing.assert_array_equal(full, fit_combat(x[:20], site[:20]).apply(x, site))
    train = (fold != 1) & (np.arange(30) < 20)
    np.testing.assert_array_equal(by_fold[1], fit_combat(x[train], site[train]).apply(x, site))


def test_the_nested_question_is_about_what_is_added():
    """Latents that repeat the covariate add nothing, however well they do; those that know more add it."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    table = pd.DataFrame({"participant_id": [f"s{i}" for i in range(120)], "dx": np.where(y, "AD", "CN")})
    table["age"] = 2.0 * y + rng.normal(size=120)
    c = make_cohort(n=120, effect=0.0)
    c.table, c.contrasts, c.Zf = table, build_contrasts(table, "dx"), None
    c.covariates = build_covariates(table, ["age"])
    for known, added in ((0.0, False), (2.0, True)):
        c.Z = table["age"].to_numpy()[:, None] + 0.5 * rng.normal(size=(120, 4)) + known * np.outer(y, [1, -1, 0, 0])
        study = c.study(latents=Features(c.Z))
        row = baselines(study, AnalysisSettings()).set_index("features").loc[NESTED]
        assert (row["gain_p"] <= 0.05 and row["gain"] > 0) == added
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
