"""What is written: atomically, as a dataset of its own, never into the input."""

import json
import threading

import numpy as np
import pandas as pd
import pytest

from bids_app.bids.dataset import check_output, write_dataset_files
from bids_app.bids.files import write_atomically, write_json, write_text
from bids_app.bids.participants import copy_participants, read_participants
from bids_app.bids.tables import read_tsv, write_tsv
from bids_app.errors import ConfigError, DatasetError, OutputError


def test_output_must_not_be_the_input(tmp_path):
    source = tmp_path / "bids"
    source.mkdir()
    for wrong in (source, source / "out", source / "sub-01", source / "derivatives"):
        with pytest.raises(ConfigError, match="BIDS dataset"):
            check_output(source, wrong)
    for right in (source / "derivatives" / "latentatlas", tmp_path / "out"):
        check_output(source, right)
        assert right.is_dir()


def test_output_under_a_file_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "bids").mkdir()
    with pytest.raises(OutputError, match="cannot be created"):
        check_output(tmp_path / "bids", tmp_path / "file" / "out")


def test_another_dataset_in_the_output_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    write_dataset_files(tmp_path / "a", tmp_path / "out", {"Name": "A"})
    write_dataset_files(tmp_path / "a", tmp_path / "out", {"Name": "A"})
    with pytest.raises(DatasetError, match="another dataset"):
        write_dataset_files(tmp_path / "b", tmp_path / "out", {"Name": "B"})


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    target = tmp_path / "x.json"
    texts = [str(i) * 200_000 for i in range(8)]
    threads = [threading.Thread(target=write_text, args=(target, t)) for t in texts]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert target.read_text() in texts
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = write_text(tmp_path / "x.txt", "before")

    def broken(path):
        path.write_text("half")
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError):
        write_atomically(target, broken)
    assert target.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_json_takes_numpy_and_has_no_nan(tmp_path):
    file = write_json(tmp_path / "a.json", {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan")})
    assert json.loads(file.read_text()) == {"a": 1.5, "b": [1, 2], "c": None}


def test_table_reads_back_as_written(tmp_path):
    table = pd.DataFrame({"participant_id": ["sub-01", "sub-02"], "age": [30.5, np.nan], "group": ["a", None]})
    file = write_tsv(tmp_path / "t.tsv", table, {"age": {"Description": "age", "Units": "year"}, "other": "x"})
    assert "n/a" in file.read_text()
    again = read_tsv(file)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert set(json.loads(file.with_suffix(".json").read_text())) == {"age"}


def test_participants_follow_the_order_of_the_scans(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\n01\t30\nsub-02\tn/a\n")
    table = read_participants([tmp_path], ["02", "01", "03", "01"], [None] * 4)
    assert table["participant_id"].tolist() == ["sub-02", "sub-01", "sub-03", "sub-01"]
    assert table["age"].isna().tolist() == [True, False, True, False]
    assert "session_id" not in table


def test_session_values_overrule_those_of_the_participant(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t30\tF\nsub-02\t40\tM\n")
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-1\t30\nses-2\t32\n")
    table = read_participants([tmp_path], ["01", "01", "02"], ["1", "2", "1"])
    assert table["age"].tolist() == [30, 32, 40]
    assert table["sex"].tolist() == ["F", "F", "M"]


def test_a_participant_twice_is_refused(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-01\t31\n")
    with pytest.raises(DatasetError, match="sub-01"):
        read_participants([tmp_path], ["01"], [None])


def test_levels_that_the_table_does_not_use_are_not_passed_on(tmp_path):
    source = tmp_path / "bids"
    source.mkdir()
    (source / "participants.tsv").write_text("participant_id\tgender\tgroup\nsub-01\tm\ta\nsub-02\tn/a\tb\n")
    entries = {
        "gender": {"Description": "sex", "Levels": {"M": "male", "F": "female"}},
        "group": {"Levels": {"a": "one", "b": "other"}},
    }
    (source / "participants.json").write_text(json.dumps(entries))
    for label in ("01", "02"):
        (tmp_path / "out" / f"sub-{label}").mkdir(parents=True)
    copy_participants(source, tmp_path / "out")
    assert (tmp_path / "out/participants.tsv").read_text() == (source / "participants.tsv").read_text()
    assert json.loads((tmp_path / "out/participants.json").read_text()) == {
        "gender": {"Description": "sex"},
        "group": {"Levels": {"a": "one", "b": "other"}},
    }
