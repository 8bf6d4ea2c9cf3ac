"""Numbers, categories, and cells that are neither."""

import numpy as np
import pandas as pd
import pytest

from bids_app.errors import DatasetError
from bids_app.group.column_values import as_numbers, name_doubts
from bids_app.group.design import build_contrasts, build_covariates

AGES = [str(age) for age in range(60, 84)]


def people(cells, name="age"):
    return pd.DataFrame({"participant_id": [f"sub-{n:02d}" for n in range(len(cells))], name: cells})


@pytest.mark.parametrize(
    "cell",
    [".", "?", "NA", "N/A", "nan", "none", "unknown", "70,5", "89+", ">89", "70 years", "1_000", "inf", "७", "7O", "1e",
     "-", "--", "1.2.3"],
)  # fmt: skip
def test_a_cell_that_is_no_number_is_named_and_the_column_refused(cell):
    table = people([*AGES, cell])
    with pytest.raises(DatasetError, match="sub-24") as caught:
        build_covariates(table, ["age"], file="participants.tsv")
    assert f"'{cell}'" in str(caught.value)
    with pytest.raises(DatasetError, match="sub-24"):
        build_contrasts(table, "age")


def test_decimal_commas_are_refused():
    with pytest.raises(DatasetError, match="use a decimal point"):
        as_numbers(people([f"{age},5" for age in AGES]), "age", "x")


@pytest.mark.parametrize("code", ["-999", "999", "-9999", "9999", "-9", "-99", "888", "999.0", "-1", "150"])
def test_codes_for_a_missing_value_are_named(code):
    with pytest.raises(
        DatasetError, match=rf"look like codes for missing values: '{code}' \(sub-24\)".replace(".0", r"(\.0)?")
    ):
        as_numbers(people([*AGES, code]), "age", "x")


@pytest.mark.parametrize(
    ("cells", "codes"),
    [("129", "9"), ("112220", "0"), ("01019", "9"), ("0011", ""), ("1122", ""), ("013", ""), ("00112", "")],
)
def test_codes_of_sex_for_a_missing_value_are_named(cells, codes):
    table = people(list(cells), "sex")
    if codes:
        with pytest.raises(DatasetError, match=f"codes for missing values: '{codes}'"):
            as_numbers(table, "sex", "x")
    else:
        np.testing.assert_array_equal(as_numbers(table, "sex", "x"), [float(cell) for cell in cells])


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("age", [*AGES, "99"]),  # somebody is 99 years old
        ("volume", ["999", "1200", "800", "1001"]),
        ("change", ["-9", "4", "-3", "8", "-1"]),
        ("z", ["-0.5", "1e-3", "2", "n/a"]),
    ],
)
def test_what_may_be_a_value_is_one(name, cells):
    expected = [np.nan if cell == "n/a" else float(cell) for cell in cells]
    table = people(cells, name).replace("n/a", None)
    np.testing.assert_array_equal(as_numbers(table, name, "x"), expected)


@pytest.mark.parametrize(
    "cells", [["1.5T", "3T", "3T"], ["60-69", "70-79", "80-89"], ["1a", "1b", "2"], ["M", "F", "1"]]
)
def test_categories_with_digits_are_categories(cells):
    assert as_numbers(people(cells), "age", "x") is None


def test_people_without_a_diagnosis_are_a_group():
    table = people(["none"] * 4 + ["MDD"] * 4 + [None], "dx")
    (contrast,) = build_contrasts(table, "dx")
    assert contrast.name == "none-MDD"
    np.testing.assert_array_equal(contrast.y[:8], [1, 1, 1, 1, 0, 0, 0, 0])


def test_doubts_are_named():
    table = people(["AD", "ad", "CN", "NA", "n.a.", "-9", "none"], "dx")
    doubts = "\n".join(name_doubts(table, ["dx"]))
    assert "AD, ad" in doubts
    for word in ("'NA'", "'n.a.'", "'-9'"):
        assert word in doubts
    assert "none" not in doubts
    assert name_doubts(people(["AD", "CN"], "dx"), ["dx"]) == []
