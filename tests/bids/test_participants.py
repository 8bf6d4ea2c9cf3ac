"""What participants.tsv and the sessions' tables say of the scans."""

import json

import numpy as np
import pytest

from bids_app.bids.participants import are_listed, copy_participants, read_participants
from bids_app.bids.tables import read_dictionary
from bids_app.errors import DatasetError


@pytest.fixture
def table(tmp_path):
    def write(content, root="bids", name="participants.tsv"):
        file = tmp_path / root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return tmp_path / root

    return write


@pytest.mark.parametrize("spelt", ["1", "001", "Sub-01", "SUB-1", "sub_01", "1.0"])
def test_other_spellings_of_a_participant_match_with_a_note(table, spelt, told):
    root = table(f"participant_id\tage\n{spelt}\t70\nsub-02\t60\n")
    found = read_participants([root], ["01", "02"], [None, None])
    assert found["age"].tolist() == [70, 60]
    assert f"{spelt.removeprefix('sub-')} for sub-01" in told.text
    assert are_listed(root / "participants.tsv", ["sub-02", "sub-01", "sub-03"]) == [True, True, False]


def test_spellings_that_could_be_two_participants_match_none(table, told):
    root = table("participant_id\tage\n1\t70\n001\t71\nsub-02\t60\n")
    found = read_participants([root], ["01", "02"], [None, None])
    np.testing.assert_array_equal(found["age"], [np.nan, 60])
    assert "has no information about" in told.text
    assert "sub-01" in told.text
    found = read_participants([table("participant_id\tage\nA1\t70\na1\t71\n")], ["A1", "a1"], [None, None])
    assert found["age"].tolist() == [70, 71]


def test_a_table_of_other_people_is_refused(table):
    with pytest.raises(DatasetError, match=r"no row .* matches any scan.*sub-x1.*sub-01"):
        read_participants([table("participant_id\tage\nx1\t70\nx2\t3\n")], ["01"], [None])


def test_rows_without_a_participant_are_dropped_and_repeated_rows_count_once(table, told):
    root = table("participant_id\tage\nsub-01\t70\nn/a\t3\n\t4\nsub-01\t70\n\t\n")
    assert read_participants([root], ["01"], [None])["age"].tolist() == [70]
    assert "2 rows without a participant_id" in told.text


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["70", "89+", "n/a", "89"], [70, 89, np.nan, 89]),
        (["70", "90 +", "81.5", "3"], [70, 90, 81.5, 3]),
    ],
)
def test_an_age_that_is_capped_is_read_with_a_note(table, cells, expected, told):
    rows = "".join(f"sub-{n}\t{cell}\n" for n, cell in enumerate(cells))
    found = read_participants([table("participant_id\tage\n" + rows)], list("0123"), [None] * 4)
    np.testing.assert_array_equal(found["age"].astype(float), expected)
    assert "1 participants have" in told.text


@pytest.mark.parametrize("cells", [["70", "60+", "89"], ["1+", "2+", "3"], ["+", "++", "1"], ["70", "89+", "90+"]])
def test_what_is_no_cap_stays_text(table, cells):
    rows = "".join(f"sub-{n}\t{cell}\n" for n, cell in enumerate(cells))
    found = read_participants([table("participant_id\tage\n" + rows)], list("012"), [None] * 3)
    assert found["age"].tolist() == cells


@pytest.mark.parametrize(
    "content",
    [
        "session_id\tage\nses-1\n",
        "age\n3\n",
        "session_id\tage\nses-1\t3\nses-1\t4\n",
        "session_id\tage\tage\n1\t2\t3\n",
    ],
)
def test_a_damaged_table_of_sessions_stops_nobody_and_gives_no_value(table, content, told):
    root = table("participant_id\tage\tsex\nsub-01\t30\tf\nsub-02\t40\tm\n")
    table("session_id\tage\nses-1\t31\n", name="sub-01/sub-01_sessions.tsv")
    table(content, name="sub-02/sub-02_sessions.tsv")
    found = read_participants([root], ["01", "02"], ["1", "1"])
    np.testing.assert_array_equal(found["age"], [31, np.nan])
    assert found["sex"].tolist() == ["f", "m"]
    assert "sub-02_sessions.tsv" in told.text


def test_text_and_numbers_of_one_column_in_two_tables(table):
    root = table("participant_id\tscore\nsub-01\thigh\nsub-02\tlow\n")
    table("session_id\tscore\n1\t31\n", name="sub-01/sub-01_sessions.tsv")
    assert read_participants([root], ["01", "02"], ["1", "1"])["score"].tolist() == [31, "low"]


def test_tables_of_several_datasets_are_joined(table, told):
    here = table("participant_id\tage\tsite\nsub-01\t30\tA\n")
    there = table("participant_id\tage\tmmse\nsub-11\t50\t28\n", root="other")
    found = read_participants([here], ["01", "11"], [None, None], homes=[here, there])
    assert found["age"].tolist() == [30, 50]
    np.testing.assert_array_equal(found["mmse"], [np.nan, 28])
    assert found["site"].tolist()[0] == "A"
    assert "has no information about" not in told.text


def test_tables_that_disagree_are_refused(table):
    here = table("participant_id\tage\nsub-01\t30\nsub-02\t31\n")
    there = table("participant_id\tage\nsub-02\t50\n", root="other")
    with pytest.raises(DatasetError, match=r"disagree about 'age' of sub-02"):
        read_participants([here], ["01", "02"], [None, None], homes=[here, there])
    there = table("participant_id\tage\nsub-02\t31.0\n", root="other")
    assert read_participants([here], ["01", "02"], [None, None], homes=[here, there])["age"].tolist() == [30, 31]


@pytest.mark.parametrize("name", ["participants.tsv", "participants.json"])
def test_bytes_that_are_no_utf8_are_copied_with_a_warning(tmp_path, name, told):
    source = tmp_path / "bids"
    source.mkdir()
    (tmp_path / "out" / "sub-1").mkdir(parents=True)
    (source / "participants.tsv").write_bytes("participant_id\tort\n1\tKöln\n\t\n".encode("latin-1"))
    (source / "participants.json").write_bytes('{"ort": {"Description": "Städte"}}'.encode("latin-1"))
    copy_participants(source, tmp_path / "out", quiet=False)
    copy = (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert {"participants.tsv": "participant_id\tort\nsub-1\tKöln\n"}.get(name, "Städte") in copy
    assert "read as cp1252" in told.text


def test_a_table_that_cannot_be_read_is_not_copied(tmp_path, told):
    source = tmp_path / "bids"
    source.mkdir()
    (tmp_path / "out" / "sub-01").mkdir(parents=True)
    (source / "participants.tsv").write_text("participant_id\tage\nsub-01\n")
    copy_participants(source, tmp_path / "out", quiet=False)
    assert not (tmp_path / "out" / "participants.tsv").exists()
    assert "line 2 has 1" in told.text
    # Mended, it is copied; changed later on, too.
    (source / "participants.tsv").write_text("participant_id\tage\nsub-01\t3\n")
    copy_participants(source, tmp_path / "out", quiet=False)
    assert "sub-01\t3" in (tmp_path / "out" / "participants.tsv").read_text()


@pytest.mark.parametrize("content", ["[1]", "{", '"x"', "\ufeff{}", '{"a": 1, "b": null}', "[" * 100_000])
def test_a_dictionary_that_is_none(tmp_path, content):
    (tmp_path / "participants.json").write_text(content)
    assert read_dictionary(tmp_path / "participants.tsv") == {}


def test_entries_of_a_dictionary_that_are_none_are_left_out(tmp_path, told):
    (tmp_path / "participants.json").write_text(json.dumps({"age": {"Units": "year"}, "sex": "m or f"}))
    assert read_dictionary(tmp_path / "participants.tsv") == {"age": {"Units": "year"}}
    assert "sex" in told.text


def test_the_copy_names_those_who_have_a_folder(table, tmp_path):
    root = table("participant_id\tage\nsub-03\t3\n1\t1\nsub-02\t2\n")
    out = tmp_path / "out"
    copy_participants(root, out)
    assert not (out / "participants.tsv").exists()
    for label, expected in (("01", "sub-01\t1\n"), ("03", "sub-03\t3\nsub-01\t1\n"),
                            ("11", "sub-03\t3\nsub-01\t1\nsub-11\tn/a\n")):  # fmt: skip
        (out / f"sub-{label}").mkdir(parents=True)
        copy_participants(root, out)
        assert (out / "participants.tsv").read_text() == "participant_id\tage\n" + expected
