"""The order of a participant's scans."""

import numpy as np
import pandas as pd
import pytest

from bids_app.bids.visits import order_visits


def ordered(**columns):
    table = pd.DataFrame(columns)
    order, basis = order_visits(table)
    assert sorted(order) == list(range(len(table)))
    return table.iloc[order].reset_index(drop=True), basis


def test_sessions_are_counted_and_not_spelt():
    labels = [f"ses-{i}" for i in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]  # as file names are sorted
    found, basis = ordered(participant_id=["sub-b"] * 10 + ["sub-a"], session_id=[*labels, "ses-1"])
    assert found["session_id"].tolist() == [f"ses-{i}" for i in range(1, 11)] + ["ses-1"]
    assert found["participant_id"].tolist()[-1] == "sub-a"
    assert basis == "session label (1 participant)"


@pytest.mark.parametrize("labels", [["ses-m06", "ses-bl", "ses-m12"], ["ses-y1", "ses-baseline", "ses-y2"],
                                    ["ses-post", "ses-pre", "ses-post2"]])  # fmt: skip
def test_a_baseline_comes_first(labels):
    found, _ = ordered(participant_id=["sub-1"] * 3, session_id=labels)
    assert found["session_id"].tolist() == [labels[1], labels[0], labels[2]]


def test_dates_come_before_ages_and_ages_before_labels():
    ids, labels = ["sub-1"] * 3, ["ses-a", "ses-b", "ses-c"]
    dates = ["2020-05-01T10:00:00", "2019-05-01T10:00:00Z", "2019-01-01"]
    found, basis = ordered(participant_id=ids, session_id=labels, acq_time=dates, age=[70, 71, 72])
    assert found["session_id"].tolist() == ["ses-c", "ses-b", "ses-a"]
    assert basis.startswith("acquisition time")
    found, basis = ordered(participant_id=ids, session_id=labels, acq_time=[dates[0], None, dates[2]], Age=[72, 71, 70])
    assert found["session_id"].tolist() == ["ses-c", "ses-b", "ses-a"]
    assert basis.startswith("age")
    # The age of participants.tsv is one for all scans, and orders nothing.
    found, basis = ordered(participant_id=ids, session_id=labels[::-1], age=[70, 70, 70])
    assert found["session_id"].tolist() == labels
    assert basis.startswith("session label")


def test_one_scan_each_stays_as_it_is():
    order, basis = order_visits(pd.DataFrame({"participant_id": ["sub-2", "sub-1"]}))
    np.testing.assert_array_equal(order, [0, 1])
    assert basis == ""
    found, _ = ordered(participant_id=["sub-1"] * 2, session_id=[None, "ses-1"])
    assert found["session_id"].isna().tolist() == [True, False]
