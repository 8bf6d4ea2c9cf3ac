"""Which sites are left out, and what is told of it before anything is trained."""

import pandas as pd
import pytest

from bids_app.config import Config
from bids_app.workflows.group.group_level import _sites_left_out

TABLE = pd.DataFrame(
    {
        "participant_id": [f"sub-{i:02d}" for i in range(30)],
        "scanner": ["1"] * 12 + ["2"] * 10 + ["3"] * 6 + ["4"] * 2,
    }
)


def left_out(tmp_path, table=TABLE, **options):
    return _sites_left_out(Config(tmp_path, tmp_path, "group", **{"site_column": "scanner", **options}), table)


def test_the_cost_is_told_beforehand_and_small_sites_are_named(tmp_path, told):
    assert left_out(tmp_path, folds=4) == ["1", "2", "3"]
    assert "3 sites are left out in turn: 8 trainings instead of 5, about 1.6 times as long" in told.text
    assert "--site-checks latents" in told.text
    assert "site 4 is not tested on its own: 2 participants, but at least 5 are needed" in told.text


@pytest.mark.parametrize(
    "options", [{"site_checks": "latents"}, {"site_checks": "none"}, {"site_column": None}, {"model": "x"}]
)
def test_nothing_is_trained_where_nobody_wants_it(tmp_path, told, options):
    assert left_out(tmp_path, **options) is None
    assert "trainings" not in told.text


def test_one_site_among_small_ones(tmp_path, told):
    assert left_out(tmp_path, TABLE[TABLE["scanner"].isin(["1", "4"])]) == []  # two people are left to train on
    more = TABLE.assign(scanner=["1"] * 24 + [str(i) for i in range(2, 8)])
    assert left_out(tmp_path, more) == ["1"]
    assert "1 site is left out in turn: 7 trainings instead of 6" in told.text


def test_one_site_is_none(tmp_path, told):
    assert left_out(tmp_path, TABLE.assign(scanner="1")) == []
    assert "there is no other site" in told.text
