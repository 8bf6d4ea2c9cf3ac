"""Finding inputs: only what is asked for, and a clear word where there is nothing."""

from pathlib import Path

import pytest
from folders import make

from bids_app.bids.query import check_dataset, find_t1w
from bids_app.errors import DatasetError, NoInputError


@pytest.fixture
def dataset(tmp_path):
    return make(
        tmp_path / "bids",
        "sub-01/ses-a/anat/sub-01_ses-a_run-01_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_run-02_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_part-phase_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz",
        "sub-01/ses-b/func/sub-01_ses-b_task-rest_bold.nii.gz",
        "sub-02/anat/sub-02_acq-mprage_T1w.nii",
        "sub-021/anat/sub-021_T1w.nii.gz",
        "derivatives/x/sub-09/anat/sub-09_T1w.nii.gz",
        "sourcedata/sub-08/anat/sub-08_T1w.nii.gz",
    )


def test_all_scans_and_their_names(dataset):
    scans = find_t1w(dataset)
    assert [s.prefix for s in scans] == [
        "sub-01_ses-a_run-01", "sub-01_ses-a_run-02", "sub-01_ses-b", "sub-02_acq-mprage", "sub-021",
    ]  # fmt: skip
    assert scans[0].folder == Path("sub-01/ses-a/anat")
    assert scans[3].folder == Path("sub-02/anat")


def test_labels_choose_and_do_not_match_by_prefix(dataset):
    assert [s.subject for s in find_t1w(dataset, participants=["02"])] == ["02"]
    assert [s.prefix for s in find_t1w(dataset, participants=["01"], sessions=["b"])] == ["sub-01_ses-b"]


def test_filter_file(dataset, tmp_path):
    file = tmp_path / "filter.json"
    file.write_text('{"t1w": {"acquisition": "mprage"}}')
    assert [s.subject for s in find_t1w(dataset, filter_file=file)] == ["02"]
    file.write_text('{"t1w": {"acquisition": "Query.NONE"}}')
    assert "02" not in {s.subject for s in find_t1w(dataset, filter_file=file)}
    file.write_text("{")
    with pytest.raises(DatasetError, match="filter"):
        find_t1w(dataset, filter_file=file)


def test_database_is_made_and_used_again(dataset, tmp_path):
    folder = tmp_path / "db"
    first = find_t1w(dataset, database_dir=folder)
    assert list(folder.glob("*.sqlite"))
    assert find_t1w(dataset, participants=["02"], database_dir=folder) == [s for s in first if s.subject == "02"]


def test_absent_participant_is_named(dataset):
    with pytest.raises(NoInputError, match="sub-77"):
        find_t1w(dataset, participants=["01", "77"])


def test_no_scan_at_all(tmp_path):
    with pytest.raises(NoInputError, match="no T1-weighted"):
        find_t1w(make(tmp_path / "bids", "sub-01/func/sub-01_task-rest_bold.nii.gz"))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"Name": "x"}'])
def test_what_is_not_a_dataset(tmp_path, content):
    if content is not None:
        (tmp_path / "dataset_description.json").write_text(content)
    with pytest.raises(DatasetError):
        check_dataset(tmp_path)
    assert check_dataset(tmp_path, strict=False) == ({"Name": "x"} if content and "Name" in content else {})


def test_a_missing_folder(tmp_path):
    with pytest.raises(NoInputError, match="does not exist"):
        check_dataset(tmp_path / "nothing", strict=False)
