"""The cohort as one thing: what is asked of it, how it is harmonised, and that a file brings it back whole."""

import numpy as np
import pandas as pd
import pytest

from bids_app.errors import ConfigError, DatasetError
from bids_app.group.study import Design, build_questions, build_study, describe_missing, read_study, write_study
from bids_app.stats.combat import fit_combat

DESIGN = Design("dx", ("AD-CN", "CN<AD", "age"), ("sex", "site"), "site", "combat")


def products(c, **more):
    return {"Z": c.Z, "Zf": c.Zf, "ev_ae": 1 - c.err, "err": 9 * c.err, "fold": c.fold, **more}


def held_out(c):
    return c.G, 0.5 * c.G


@pytest.fixture
def scans(cohort):
    """Two sites, a missing site, sex and group, and visits of which one has no name."""
    table = cohort.table
    table["site"] = np.where(np.arange(90) % 2, "b", "a")
    table.insert(1, "session_id", ["ses-01"] * 89 + [None])
    table.loc[3, "site"] = table.loc[4, "sex"] = table.loc[5, "dx"] = None
    return table


def test_a_file_brings_back_the_whole_study(cohort, scans, tmp_path):
    questions = build_questions(scans, DESIGN)
    made = build_study(scans[["participant_id", "session_id"]], cohort.regions, questions,
                       products(cohort, Zpca=cohort.Z[:, ::-1], Zpca_f=cohort.Zf[:, :, ::-1],
                                ev_linear=1 - 2 * cohort.err, epochs=cohort.fold), cohort.G,
                       held_out(cohort))  # fmt: skip
    read = read_study(write_study(tmp_path / "study.npz", made))
    pd.testing.assert_frame_equal(read.scans, made.scans)
    pd.testing.assert_frame_equal(read.regions, made.regions)
    for name in ("latents", "raw_latents", "pca", "regional"):
        for part in ("full", "by_fold"):
            one, other = (getattr(getattr(study, name), part) for study in (made, read))
            assert one.dtype == other.dtype if one is not None else name == "regional", (name, part)
            np.testing.assert_array_equal(one, other)
    for name in ("fold", "error", "participants", "observed", "reconstructed", "error_linear", "epochs"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert [(c.name, c.kind, c.labels, c.problem, c.slug) for c in read.contrasts] == [
        (c.name, c.kind, c.labels, c.problem, c.slug) for c in made.contrasts
    ]
    np.testing.assert_array_equal([c.y for c in read.contrasts], [c.y for c in made.contrasts])
    assert read.covariates.names == made.covariates.names == ("sex[M]", "site[b]")
    np.testing.assert_array_equal(read.covariates.matrix, made.covariates.matrix)
    np.testing.assert_array_equal(np.flatnonzero(~read.covariates.complete), [3, 4])
    np.testing.assert_array_equal(read.blocks, made.blocks)
    np.testing.assert_array_equal(read.blocks, scans["site"].fillna("").to_numpy(str))
    assert read.groups == made.groups
    assert read.groups[5] is None


def test_the_error_is_the_share_that_is_not_explained(cohort):
    """The mean squared error (`err`) is head size: the demonstration's r was .90, and that is what SHAP explained."""
    made = build_study(cohort.table[["participant_id"]], cohort.regions, build_questions(cohort.table, Design()),
                       products(cohort, ev_linear=1 - 2 * cohort.err), cohort.G, held_out(cohort))  # fmt: skip
    np.testing.assert_allclose(made.error, cohort.err)
    np.testing.assert_allclose(made.error_linear, 2 * cohort.err)


def test_what_is_absent_stays_absent(cohort, tmp_path):
    questions = build_questions(cohort.table, Design())
    given = {"Z": cohort.Z, "ev_ae": 1 - cohort.err, "fold": cohort.fold}
    made = build_study(cohort.table[["participant_id"]], cohort.regions, questions, given, cohort.G, held_out(cohort))
    read = read_study(write_study(tmp_path / "study.npz", made))
    assert (read.pca, read.groups, read.contrasts, read.latents.by_fold) == (None, None, (), None)
    assert (read.error_linear, read.epochs) == (None, None)
    assert read.blocks is None
    assert read.covariates.none
    assert read.latents.cross_fitted is read.latents.full


def test_latents_components_and_regions_are_harmonised_without_the_held_out_scans(cohort, scans):
    questions = build_questions(scans, DESIGN)
    components = cohort.Zf[:, :, ::-1]
    study = build_study(scans[["participant_id"]], cohort.regions, questions, products(cohort, Zpca_f=components),
                        cohort.G, held_out(cohort))  # fmt: skip
    # ComBat by hand: all but the scans without a site or a sex, who are in nothing.
    sex, site = (scans["sex"] == "M").to_numpy(float)[:, None], scans["site"].fillna("").to_numpy(str)
    usable = ~np.isin(np.arange(90), [3, 4])
    for features, full, by_fold in (
        (study.latents, cohort.Z, cohort.Zf),
        (study.pca, components[0], components),
        (study.regional, cohort.G, np.stack([cohort.G] * 5)),
    ):
        expected = fit_combat(full[usable], site[usable], sex[usable]).apply(full[usable], site[usable], sex[usable])
        np.testing.assert_array_equal(features.full[usable], expected)
        assert np.isnan(features.full[~usable]).all()
        for f in range(5):
            train = usable & (cohort.fold != f)
            combat = fit_combat(by_fold[f][train], site[train], sex[train])
            expected = combat.apply(by_fold[f][usable], site[usable], sex[usable])
            np.testing.assert_array_equal(features.by_fold[f][usable], expected)
        assert features.cross_fitted is features.by_fold
    assert study.raw_latents.full is cohort.Z
    assert study.raw_latents.by_fold is cohort.Zf


def test_who_is_in_no_test_is_told_before_the_training(scans):
    said = describe_missing(scans, DESIGN, build_questions(scans, DESIGN))
    assert "2 of 90 participants take part in no test" in said
    assert "scans without sex in 1, site in 1" in said
    visits = pd.concat([scans, scans.iloc[[3]].assign(site="a")], ignore_index=True)  # a later scan has all
    assert "1 of 90 participants" in describe_missing(visits, DESIGN, build_questions(visits, DESIGN))
    assert f"{scans['participant_id'][3]}, {scans['participant_id'][4]}" in said
    numbered = scans.assign(site=scans["site"].map({"a": 1, "b": 999}))  # a number that no other column may have
    assert "site in 1" in describe_missing(numbered, DESIGN, build_questions(numbered, DESIGN))
    complete = scans.drop(index=[3, 4]).reset_index(drop=True)
    assert describe_missing(complete, DESIGN, build_questions(complete, DESIGN)) == ""


@pytest.mark.parametrize("harmonize", ["covariate", "combat"])
def test_people_belong_to_their_site_however_it_is_used(scans, harmonize):
    found = build_questions(scans, Design("dx", site_column="site", harmonize=harmonize))
    assert found.blocks[[0, 1, 3]].tolist() == ["a", "b", ""]
    assert (found.sites is None) == (harmonize == "covariate")
    assert build_questions(scans, Design("dx", covariates=("site",))).blocks is None


def test_the_groups_have_no_part_in_the_harmonisation(cohort, scans):
    other = scans.assign(dx=scans["dx"].sample(frac=1, random_state=0).to_numpy())
    one, two = (
        build_study(
            table[["participant_id"]],
            cohort.regions,
            build_questions(table, DESIGN),
            products(cohort),
            cohort.G,
            held_out(cohort),
        )
        for table in (scans, other)
    )
    assert not np.array_equal(one.contrasts[0].y, two.contrasts[0].y, equal_nan=True)
    np.testing.assert_array_equal(one.latents.by_fold, two.latents.by_fold)
    np.testing.assert_array_equal(one.regional.full, two.regional.full)


@pytest.mark.parametrize(
    ("design", "error", "said"),
    [
        (Design(contrasts=("AD-CN",)), DatasetError, "need --group-column"),
        (Design("dx", harmonize="combat"), ConfigError, "harmonize combat needs sites"),
        (Design("dx", covariates=("weight",)), DatasetError, "no column 'weight'"),
        (Design("dx", site_column="scanner"), DatasetError, "no column 'scanner'"),
        (Design("dx", site_column="sex", harmonize="combat"), DatasetError, "Too few participants"),
    ],
)
def test_designs_that_do_not_fit_the_cohort(cohort, design, error, said):
    cohort.table.loc[:, "sex"] = ["F"] * 86 + ["M"] * 4
    with pytest.raises(error, match=said):
        build_questions(cohort.table, design)
