"""Finding inputs: only what is asked for, and a clear word where there is nothing."""

import json
import re
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
    scans = find_t1w(dataset).scans
    assert [s.prefix for s in scans] == [
        "sub-01_ses-a_run-01", "sub-01_ses-a_run-02", "sub-01_ses-b", "sub-02_acq-mprage", "sub-021",
    ]  # fmt: skip
    assert scans[0].folder == Path("sub-01/ses-a/anat")
    assert scans[3].folder == Path("sub-02/anat")


def test_labels_choose_and_do_not_match_by_prefix(dataset):
    assert [s.subject for s in find_t1w(dataset, participants=["02"]).scans] == ["02"]
    assert [s.prefix for s in find_t1w(dataset, participants=["01"], sessions=["b"]).scans] == ["sub-01_ses-b"]


def test_filter_file(dataset, tmp_path):
    file = tmp_path / "filter.json"
    file.write_text('{"t1w": {"acquisition": "mprage"}}')
    assert [s.subject for s in find_t1w(dataset, filter_file=file).scans] == ["02"]
    file.write_text('{"t1w": {"acquisition": "Query.NONE"}}')
    assert "02" not in {s.subject for s in find_t1w(dataset, filter_file=file).scans}
    file.write_text("{")
    with pytest.raises(DatasetError, match="filter"):
        find_t1w(dataset, filter_file=file)


def test_absent_participant_is_named(dataset):
    found = find_t1w(dataset, participants=["01", "77"])
    assert {s.subject for s in found.scans} == {"01"}
    assert [(u.name, "no T1-weighted image" in u.reason) for u in found.unusable] == [("sub-77", True)]


def test_no_scan_at_all(tmp_path):
    assert find_t1w(make(tmp_path / "bids", "sub-01/func/sub-01_task-rest_bold.nii.gz")) == ([], [])


@pytest.mark.parametrize("above", ["ses-2024", "sub-99", "run-1", "func", "anat", "acq-x_ce-y", "[x], & y", "ü #?%"])
def test_a_folder_above_the_dataset_is_none_of_its_entities(tmp_path, above):
    root = make(tmp_path / above / "bids", "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz")
    assert [s.prefix for s in find_t1w(root).scans] == ["sub-01", "sub-02_ses-1"]
    assert [s.prefix for s in find_t1w(root, sessions=["1"]).scans] == ["sub-02_ses-1"]


def test_labels_hold_what_bids_allows(tmp_path):
    root = make(tmp_path, "sub-a+1/ses-b+/anat/sub-a+1_ses-b+_acq-1+1_run-01_chunk-2_T1w.nii.gz")
    (scan,) = find_t1w(root).scans
    assert scan.prefix == "sub-a+1_ses-b+_acq-1+1_run-01_chunk-2"


def test_pieces_of_one_image_are_no_scans_of_their_own(tmp_path):
    anat = "sub-01/anat/sub-01_{}T1w.nii.gz"
    names = [anat.format(f"{more}chunk-{n}_") for more in ("", "acq-x_") for n in (1, 2)]
    root = make(tmp_path, *names, anat.format("acq-y_chunk-1_"), anat.format(""))
    found = find_t1w(root)
    assert [scan.prefix for scan in found.scans] == ["sub-01", "sub-01_acq-y_chunk-1"]
    assert [item.name for item in found.unusable] == [
        f"sub-01_{more}chunk-{n}" for more in ("acq-x_", "") for n in (1, 2)
    ]
    assert all("one of the 2 parts" in item.reason and "what to do: join" in item.reason for item in found.unusable)
    (tmp_path / "filter.json").write_text('{"t1w": {"chunk": "2", "acquisition": "x"}}')
    assert [s.prefix for s in find_t1w(root, filter_file=tmp_path / "filter.json").scans] == ["sub-01_acq-x_chunk-2"]


def test_bidsignore_is_heeded(tmp_path):
    names = [f"sub-{n:02d}/anat/sub-{n:02d}_{k}T1w.nii.gz" for n in (1, 2, 3) for k in ("", "acq-bad_", "run-2_")]
    root = make(tmp_path, *names)
    (root / ".bidsignore").write_bytes(
        b"\xef\xbb\xbf# none of these\r\n*_acq-bad_*\r\nsub-02/\r\n!sub-03/anat/*_acq-bad_*\r\n[\r\n"
    )
    prefixes = [s.prefix for s in find_t1w(root).scans]
    assert prefixes == ["sub-01", "sub-01_run-2", "sub-03", "sub-03_acq-bad", "sub-03_run-2"]


def test_several_images_of_a_session_are_chosen_by_rule(tmp_path, told):
    root = make(
        tmp_path / "bids",
        *(f"sub-01/anat/sub-01_{k}T1w.nii.gz" for k in ("", "rec-norm_", "ce-gadolinium_", "ce-gadolinium_rec-norm_")),
        *(
            f"sub-02/anat/sub-02_{k}T1w.nii.gz"
            for k in ("run-1_echo-2_", "run-1_echo-1_", "run-2_echo-2_", "run-2_echo-10_")
        ),
        *(f"sub-03/anat/sub-03_{k}T1w.nii.gz" for k in ("ce-gd_", "acq-a_rec-norm_", "acq-b_", "acq-b_rec-dis_")),
        "sub-04/anat/sub-04_ce-gd_T1w.nii.gz",
        *(f"sub-05/ses-{n}/anat/sub-05_ses-{n}_{k}T1w.nii.gz" for n, k in ((1, "rec-norm_"), (2, ""))),
    )
    assert {s.prefix for s in find_t1w(root).scans} == {
        "sub-01_rec-norm", "sub-02_run-1_echo-1", "sub-02_run-2_echo-2", "sub-03_acq-a_rec-norm", "sub-03_acq-b",
        "sub-03_acq-b_rec-dis", "sub-04_ce-gd", "sub-05_ses-1_rec-norm", "sub-05_ses-2",
    }  # fmt: skip
    for words in (
        "without contrast agent",
        "rec-norm is preferred",
        "the first echo",
        "differ in reconstruction",
        "sub-03",
    ):
        assert words in told.text
    # What a filter file names, it decides.
    file = tmp_path / "filter.json"
    for chosen, expected in (
        ({"ce": "gadolinium"}, {"sub-01_ce-gadolinium_rec-norm"}),
        ({"subject": "01", "ceagent": None, "rec": None}, {"sub-01"}),
        ({"subject": "02", "echo": "Query.ANY"}, {f"sub-02_run-{k}" for k in ("1_echo-1", "1_echo-2", "2_echo-2",
                                                                             "2_echo-10")}),
    ):  # fmt: skip
        file.write_text(json.dumps({"t1w": chosen}))
        assert {s.prefix for s in find_t1w(root, filter_file=file).scans} == expected


def test_what_cannot_be_used_is_named_and_the_rest_found(tmp_path, told):
    root = make(
        tmp_path,
        *(f"sub-{n:02d}/anat/sub-{n:02d}_T1w.nii.gz" for n in range(1, 10)),
        "sub-02/anat/sub-02_T1w.nii",
        "sub-03/anat/backup/sub-03_T1w.nii.gz",
        "sub-04/anat/sub-05_T1w.nii.gz",
        "sub-04/ses-1/anat/sub-04_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w_copy.nii.gz",
        "sub-01/anat/._sub-01_T1w.nii.gz",
        "sub-01/sub-01_T1w.nii.gz",
    )
    for label, content in (("06", b""), ("07", b"/annex/objects/MD5E-s1--x.nii.gz\n"), ("08", None)):
        file = root / f"sub-{label}/anat/sub-{label}_T1w.nii.gz"
        file.unlink()
        file.mkdir() if content is None else file.write_bytes(content)
    (root / "sub-09/anat/sub-09_T1w.nii.gz").unlink()
    (root / "sub-09/anat/sub-09_T1w.nii.gz").symlink_to("../../.git/annex/objects/x")
    found = find_t1w(root)
    assert [s.prefix for s in found.scans] == ["sub-01", "sub-03", "sub-04", "sub-05"]
    reasons = dict(found.unusable)
    assert sorted(reasons) == ["sub-02", "sub-04", "sub-05", "sub-06", "sub-07", "sub-08", "sub-09"]
    for name, words in (
        ("sub-02", "sub-02_T1w.nii.gz"), ("sub-02", "sub-02_T1w.nii,"), ("sub-05", "unclear whose scan it is"),
        ("sub-06", "is empty"), ("sub-07", "only a pointer"), ("sub-08", "a folder"), ("sub-09", "the link is broken"),
    ):  # fmt: skip
        assert words in reasons[name]
    for name in ("backup/sub-03_T1w.nii.gz", "sub-01_T1w_copy.nii.gz", "sub-01/sub-01_T1w.nii.gz"):
        assert f"{name} is excluded" in told.text
    assert "._sub" not in told.text


def test_a_broken_link_in_place_of_a_folder_is_named(tmp_path):
    root = make(tmp_path / "bids", "sub-01/anat/sub-01_T1w.nii.gz", "sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz")
    for home in ("sub-02", "sub-03/ses-2", "sub-04"):
        (root / home).mkdir()
        (root / home / "anat").symlink_to("nowhere")
    for pattern in ("sub-04/anat/", "sub-04/anat/**", "sub-04"):
        (root / ".bidsignore").write_text(f"{pattern}\n")
        assert "sub-04" not in [item.name for item in find_t1w(root).unusable]
    found = find_t1w(root)
    assert [s.prefix for s in found.scans] == ["sub-01", "sub-03_ses-1"]
    assert [item.name for item in found.unusable] == ["sub-02", "sub-03_ses-2"]
    assert all("the link is broken" in item.reason and "/anat\n" in item.reason for item in found.unusable)
    file = tmp_path / "filter.json"
    for chosen, expected in (({"session": "2"}, ["sub-03_ses-2"]), ({"acq": "x"}, ["sub-02", "sub-03_ses-2"])):
        file.write_text(json.dumps({"t1w": chosen}))
        assert [item.name for item in find_t1w(root, filter_file=file).unusable] == expected
    covered = find_t1w(root, participants=["02"], covered=lambda scan: scan.subject == "02")
    assert covered.unusable == []


def test_zeros_before_an_index_tell_no_scans_apart(tmp_path):
    names = [f"sub-01_run-{run}_T1w.nii.gz" for run in ("01", "1", "2", "10")]
    found = find_t1w(make(tmp_path, *(f"sub-01/anat/{name}" for name in names)))
    assert [s.prefix for s in found.scans] == ["sub-01_run-10", "sub-01_run-2"]
    assert [item.name for item in found.unusable] == ["sub-01_run-01"]
    assert all(name in found.unusable[0].reason for name in names[:2])


def test_what_a_filter_excludes_is_not_missed(tmp_path):
    root = make(
        tmp_path / "bids",
        "sub-01/anat/sub-03_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
    )
    file = tmp_path / "filter.json"
    for subject, unusable in (("02", []), ("03", ["sub-03"]), ("01", ["sub-01_ses-2", "sub-03"])):
        file.write_text(json.dumps({"t1w": {"subject": subject}}))
        assert [item.name for item in find_t1w(root, filter_file=file).unusable] == unusable


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"T1w": {"acq": "x"}}, "did you mean 't1w'"),
        ({"t1w": {"acqisition": "x"}}, "did you mean 'acquisition'"),
        ({"t1w": {"acq": {"x": 1}}}, "neither a label"),
        ({"t1w": {"acq": True}}, "neither a label"),
        ({"t1w": ["acq"]}, "not a JSON object"),
        (["t1w"], "not a JSON object"),
        ({"t1w": {"suffix": "T2w"}}, "only T1w"),
        ({"t1w": {"acq": "(", "regex_search": True}}, "regular expression"),
        ({"t1w": {"regex_search": "yes"}}, "neither true nor false"),
        ({"t1w": {"space": "MNI"}}, "'space'"),
    ],
)
def test_filters_that_mean_nothing_are_refused(dataset, tmp_path, content, said):
    file = tmp_path / "filter.json"
    file.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=re.escape(said)):
        find_t1w(dataset, filter_file=file)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"t1w": {"acq": "mprage"}, "bold": {"task": "rest"}}, ["sub-02_acq-mprage"]),
        ({"t1w": {"acq": "acq-mprage", "datatype": "anat", "suffix": "T1w"}}, ["sub-02_acq-mprage"]),
        ({"t1w": {"run": 1}}, ["sub-01_ses-a_run-01"]),
        ({"t1w": {"run": ["1", "02"], "ses": "ses-a"}}, ["sub-01_ses-a_run-01", "sub-01_ses-a_run-02"]),
        ({"t1w": {"session": None}}, ["sub-02_acq-mprage", "sub-021"]),
        ({"t1w": {"session": "*", "run": None}}, ["sub-01_ses-b"]),
        ({"t1w": {"acquisition": "MP", "regex_search": True}}, ["sub-02_acq-mprage"]),
        ({"t1w": {"acq": "mp"}}, []),
    ],
)
def test_filters_by_long_and_short_names(dataset, tmp_path, content, expected):
    file = tmp_path / "filter.json"
    file.write_bytes(json.dumps(content).encode("utf-8-sig"))
    assert [s.prefix for s in find_t1w(dataset, filter_file=file).scans] == expected


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
