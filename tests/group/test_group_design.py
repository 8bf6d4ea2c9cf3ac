"""Contrasts, covariates and the collapse of repeated scans."""

import re

import numpy as np
import pandas as pd
import pytest

from bids_app.errors import DatasetError
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.rows import rows_of


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(13)],
            "dx": ["CN"] * 4 + ["MCI"] * 4 + ["AD"] * 3 + ["n/a", "FTD"],
            "age": [70, 71.5, "n/a", 66, 80, 77, 75, 74, 73, 72, 71, 70, 69],
            "sex": ["F", "M"] * 6 + [np.nan],
            "score": np.arange(13) * 1.5,
            "site": "one",
            "empty": [None] * 13,
            "code": [f"c{i}" for i in range(13)],
        }
    )


def test_all_pairs_with_the_reference_second(table):
    found = build_contrasts(table, "dx")
    assert [c.name for c in found] == ["MCI-CN", "AD-CN", "FTD-CN", "AD-MCI", "FTD-MCI", "FTD-AD"]
    first = found[0]
    assert first.labels == ("MCI", "CN")
    np.testing.assert_array_equal(first.y[:8], [0, 0, 0, 0, 1, 1, 1, 1])
    assert np.isnan(first.y[8:]).all()
    assert first.problem is None
    assert "FTD has 1 participant " in found[2].problem


def test_named_contrasts(table):
    rest, order, score = build_contrasts(table, "dx", ["AD-rest", "CN<MCI<AD", "score"])
    assert np.nansum(rest.y) == 3
    assert np.isnan(rest.y).sum() == 1
    assert order.kind == "ordinal"
    assert order.labels == ("CN", "MCI", "AD")
    assert order.slug == "CNLtMCILtAD"
    np.testing.assert_array_equal(order.y[[0, 5, 9]], [0, 1, 2])
    assert score.kind == "score"
    np.testing.assert_array_equal(score.y, table["score"])


def test_group_names_may_hold_hyphens(table):
    table["dx"] = table["dx"].replace({"CN": "non-case", "AD": "A-D"})
    (found,) = build_contrasts(table, "dx", ["A-D-non-case"])
    assert found.labels == ("A-D", "non-case")


@pytest.mark.parametrize(
    "names", [("MCI+", "MCI-", "CN"), ("A/B", "A B", "A?B"), ("x", "X", "x-2"), ("PD+/PD-", "PD-/PD+", "hc")]
)
def test_contrasts_of_similar_names_have_files_of_their_own(table, names):
    table["dx"] = np.repeat(names, [4, 4, 5])
    pairs = build_contrasts(table, "dx")
    asked = [contrast.name for contrast in pairs]
    slugs = {contrast.name: contrast.slug for contrast in pairs}
    assert len({slug.lower() for slug in slugs.values()}) == len(pairs) == 3
    assert all(re.fullmatch(r"[\w-]+", slug) for slug in slugs.values())
    again = build_contrasts(table, "dx", asked[::-1])  # in another order of the options
    assert {contrast.name: contrast.slug for contrast in again} == slugs


def test_the_reference_group_comes_second(table):
    table["dx"] = ["Kontrolle"] * 4 + ["Frühe Demenz"] * 4 + ["CN"] * 5
    named = [c.name for c in build_contrasts(table, "dx", reference_group="Kontrolle")]
    assert named == ["CN-Kontrolle", "Frühe Demenz-Kontrolle", "Frühe Demenz-CN"]


def test_a_numeric_column_is_a_score_unless_it_has_few_values(table):
    assert build_contrasts(table, "score")[0].kind == "score"
    table["dx"] = [0.0, 1.0] * 6 + [np.nan]
    (pair,) = build_contrasts(table, "dx")
    assert pair.name == "1-0"
    assert pair.labels == ("1", "0")


@pytest.mark.parametrize(
    ("column", "contrasts", "said"),
    [
        ("diagnosis", None, "no column 'diagnosis'"),
        ("empty", None, "is empty"),
        ("site", None, "only one value"),
        ("dx", ["AD-HC"], "neither a pair of groups"),
        ("dx", ["CN<HC"], "do not exist: HC"),
        ("dx", ["sex"], "column of text"),
    ],
)
def test_wrong_contrasts_name_the_file_and_the_remedy(table, column, contrasts, said):
    with pytest.raises(DatasetError, match=said) as caught:
        build_contrasts(table, column, contrasts, file="somewhere/participants.tsv")
    assert caught.value.file == "somewhere/participants.tsv"
    assert caught.value.remedy


def test_covariates_are_numbers_or_dummies_and_missing_rows_are_listed(table):
    found = build_covariates(table, ["age", "sex", "age"])
    assert found.names == ("age", "sex[M]")
    np.testing.assert_array_equal(found.matrix[:2, 1], [0, 1])
    np.testing.assert_array_equal(np.flatnonzero(~found.complete), [2, 12])
    numbered = build_covariates(table.assign(site=[1, 2, 3] * 4 + [None]), ["site"], categories=("site",))
    assert numbered.names == ("site[2]", "site[3]")
    assert not numbered.complete[12]
    none = build_covariates(table, [])
    assert none.none
    assert none.complete.all()


@pytest.mark.parametrize(
    ("name", "said"),
    [("weight", "no column"), ("site", "one value"), ("empty", "is empty"), ("code", "13 categories")],
)
def test_wrong_covariates(table, name, said):
    with pytest.raises(DatasetError, match=said):
        build_covariates(table, ["age", name])


def test_scans_of_a_participant_become_one_row():
    participants = np.array(["b", "a", "b", "c", "b"])
    rows = rows_of(participants, np.array([True, True, True, True, False]), choice="mean")
    assert rows.averaged
    assert len(rows.left_out) == 0
    np.testing.assert_array_equal(rows.first, [0, 1, 3])
    x = np.arange(10.0).reshape(5, 2)
    np.testing.assert_allclose(rows.mean(x), [(x[0] + x[2]) / 2, x[1], x[3]])
    np.testing.assert_allclose(rows.mean(np.stack([x, 2 * x]))[1], 2 * rows.mean(x))
    # A label that changes: the scans with the first one's label count.
    rows = rows_of(participants, np.ones(5, bool), np.array([0.0, 1, 1, np.nan, 0]), "mean")
    np.testing.assert_array_equal(rows.left_out, [2])
    np.testing.assert_array_equal(rows.first, [0, 1])
    np.testing.assert_allclose(rows.mean(x)[0], (x[0] + x[4]) / 2)
    np.testing.assert_array_equal(rows.take(np.array(list("vwxyz"))), ["v", "w"])


def test_the_earliest_scan_that_takes_part_stands_for_its_participant():
    participants = np.array(["b", "a", "b", "c", "b"])
    x = np.arange(10.0).reshape(5, 2)
    rows = rows_of(participants, np.array([False, True, True, True, True]), np.array([0.0, 1, 1, np.nan, 0]))
    np.testing.assert_array_equal(rows.first, [1, 2])
    np.testing.assert_array_equal(rows.mean(x), x[[1, 2]])
    np.testing.assert_array_equal(rows.mean(np.stack([x, -x]))[1], -x[[1, 2]])
    assert not rows.averaged
    np.testing.assert_array_equal(rows.left_out, [4])
    assert rows.take(None) is None
    with pytest.raises(ValueError, match="first or mean"):
        rows_of(participants, np.ones(5, bool), choice="last")
