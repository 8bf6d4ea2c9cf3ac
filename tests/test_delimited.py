"""The reader of tables: every cell is what the file says, or an error that names the line."""

import os

import numpy as np
import pandas as pd
import pytest

from bids_app.delimited import read_delimited
from bids_app.errors import DatasetError, NoInputError


@pytest.fixture
def read(tmp_path):
    def made(content, **options):
        file = tmp_path / "table.tsv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_delimited(file, **options)

    return made


@pytest.mark.parametrize(
    "cells",
    [
        ['5" tall', "plain"],
        ['"open, and never closed', "plain"],
        ['closed only"', 'he said "so"'],
        ['"one', 'two"'],  # two stray quotes in one line: it has as many cells as the header without them
        ["None", "NA"],
        ["nan", "null"],
        ["line\u2028separator", "form\x0c\x85feed"],
        ["Größe", "中"],
    ],
)
def test_free_text_is_kept_as_it_stands(read, cells):
    table = read("participant_id\ta\tb\n" + "sub-01\t" + "\t".join(cells) + "\nsub-02\tx\ty\n")
    assert list(table.iloc[0, 1:]) == cells
    assert list(table.iloc[1]) == ["sub-02", "x", "y"]


def test_a_quoted_cell_holds_tabs_and_doubled_quotes(read):
    table = read('a\tb\n"one\ttwo"\t"say ""so"""\n')
    assert table.to_dict("list") == {"a": ["one\ttwo"], "b": ['say "so"']}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_tabs_behind_the_last_column(read, end):
    table = read(
        end.join(["participant_id\t age \t", "sub-01\t3\t", "sub-02\t4", "\t\t", " ", "sub-03\tn/a\t\t\t"]) + end
    )
    assert list(table.columns) == ["participant_id", "age"]
    assert list(table["participant_id"]) == ["sub-01", "sub-02", "sub-03"]
    np.testing.assert_array_equal(table["age"], [3, 4, np.nan])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_encodings(read, encoding, told):
    table = read("participant_id\tort\nsub-01\tKöln\n".encode(encoding))
    assert table.to_dict("list") == {"participant_id": ["sub-01"], "ort": ["Köln"]}
    assert ("not in UTF-8" in told.text) == (encoding != "utf-8-sig")


def test_numbers_are_told_column_by_column(read):
    table = read("n\tcode\tmixed\tbool\tword\n1\t007\t1\tTrue\tinf1\n2.5e1\t010\t.\tFalse\t1_000\n", text=("code",))
    assert table["n"].tolist() == [1, 25]
    assert table["code"].tolist() == ["007", "010"]
    assert table["mixed"].tolist() == ["1", "."]
    assert table["bool"].tolist() == [True, False]
    assert table["word"].tolist() == ["inf1", "1_000"]
    assert read("site\n01\n02\n")["site"].tolist() == ["01", "02"]


def test_only_n_a_and_nothing_are_missing(read):
    table = read("a\tb\nn/a\tNA\n\tnone\nx\tN/A\n")
    assert table["a"].isna().tolist() == [True, True, False]
    assert table["b"].tolist() == ["NA", "none", "N/A"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\tb\n1\t2\n1\n3\t4\t5\n", "line 3 has 1, line 4 has 3"),
        ("a\tb\n1\tsub-01\t3\n", "line 2 has 3"),  # row names, as R writes them
        ("a\t\tc\n1\t2\t3\n", "without a name: number 2"),
        ("age\tage\n1\t2\n", "several columns called age"),
        ("participant_id,age\nsub-01,3\n", "not separated by tabs"),
        ("participant_id age sex\nsub-01 3 f\n", "not separated by tabs"),
        ("", "empty"),
        ("\n \n", "empty"),
        (b"PK\x03\x04" + bytes(range(256)), "spreadsheet"),
        (b"\x1f\x8b\x00\x01\x02" * 9, "not a text file"),
        ("/annex/objects/MD5E-s30--abc.tsv\n", "only a pointer to it"),
    ],
)
def test_what_is_no_table_is_refused_in_words(read, content, said):
    with pytest.raises(DatasetError, match=said) as caught:
        read(content)
    assert caught.value.file is not None


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(NoInputError):
        read_delimited(tmp_path / "x.tsv")
    (tmp_path / "x.tsv").symlink_to(tmp_path / "annex")
    with pytest.raises(DatasetError, match="the link is broken"):
        read_delimited(tmp_path / "x.tsv")
    os.mkfifo(tmp_path / "pipe.tsv")
    for other in (tmp_path, tmp_path / "pipe.tsv"):
        with pytest.raises(DatasetError, match="it is not a file"):
            read_delimited(other)


def test_other_separators(read):
    table = read('index,name\n1,"left, upper"\n2,right\n', delimiter=",")
    pd.testing.assert_frame_equal(table, pd.DataFrame({"index": [1, 2], "name": ["left, upper", "right"]}))
