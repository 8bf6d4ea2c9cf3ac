"""Which rows of a table form groups, and what the groups are called."""

import pandas as pd
import pytest

from bids_app.reports.group_results import GroupResults
from bids_app.schema.names import grouping


@pytest.mark.parametrize(
    ("cells", "groups"),
    [
        (["AD", " CN", None], ["AD", "CN", None]),
        ([0, 1, 1], ["0", "1", "1"]),
        ([0.0, 1.0, float("nan")], ["0", "1", None]),  # a missing cell makes pandas read whole numbers as fractions
        ([0.5, 1.0, 0.5], ["0.5", "1", "0.5"]),
        (["n/a", "", "AD"], [None, None, "AD"]),
    ],
)
def test_groups_are_called_what_the_table_calls_them(cells, groups):
    assert grouping(pd.Series(cells)).tolist() == groups


def test_a_score_makes_no_groups():
    assert grouping(pd.Series(range(20))) is None
    assert grouping(None) is None


def test_pictures_find_the_groups_of_the_rows_that_they_draw(tmp_path):
    people = pd.DataFrame({"participant_id": ["sub-1", "sub-2", "sub-3"], "status": [1.0, None, 0.0], "age": [1, 2, 3]})
    results = GroupResults(tmp_path, {}, {"group_column": "status"}, people)
    drawn = pd.DataFrame({"participant_id": ["sub-3", "sub-2", "sub-1", "sub-3"]})
    assert results.groups_of(drawn) == ["0", "(missing)", "1", "0"]
    assert GroupResults(tmp_path, {}, {}, people).groups_of(drawn) == ["all"] * 4
