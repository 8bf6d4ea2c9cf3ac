"""What a run works on: scans and maps of several datasets, each told from the others."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_app.bids.files import write_json
from bids_app.bids.source import describe_source, hash_content
from bids_app.cli import main, parse
from bids_app.errors import DatasetError, NoInputError
from bids_app.space.templates import get_template
from bids_app.workflows.group import group_level
from bids_app.workflows.participant import participant_level

SPACE = "space-MNI152NLin2009aSym_res-3_label-GM_desc-modulated_probseg"
GREY = get_template(resolution=3.0).gm


def dataset(root, *names, table=None):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": root.name, "BIDSVersion": "1.10.0"}))
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if "probseg" in name:
            nib.save(nib.Nifti1Image(0.7 * GREY.get_fdata(dtype=np.float32), GREY.affine), file)
        else:
            file.write_bytes(b"x" * 2000)
    if table:
        (root / "participants.tsv").write_text(table)
    return root


def a_map(label, session=""):
    folder = f"sub-{label}/" + (f"ses-{session}/" if session else "")
    return f"{folder}anat/sub-{label}_" + (f"ses-{session}_" if session else "") + f"{SPACE}.nii.gz"


def sources(tmp_path, *options, roots=("maps",)):
    arguments = [tmp_path / "bids", tmp_path / "out", "participant", "-w", tmp_path / "w", *options]
    return participant_level._sources(parse([*map(str, arguments), "-d", *(str(tmp_path / root) for root in roots)]))


def test_a_map_covers_its_session_and_run_and_no_other(tmp_path):
    dataset(
        tmp_path / "bids",
        *(f"sub-01/ses-{n}/anat/sub-01_ses-{n}_run-{r}_T1w.nii.gz" for n in (1, 2) for r in (1, 2)),
        "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz",
        "sub-03/anat/sub-03_T1w.nii.gz",
    )
    dataset(tmp_path / "maps", a_map("01", "1"), a_map("02"), "sub-03/anat/sub-03_run-9_" + SPACE + ".nii.gz")
    found = sources(tmp_path, "--sloppy")
    assert [(s.prefix, "probseg" in s.path.name) for s in found.scans] == [
        ("sub-01_ses-1", True), ("sub-02", True), ("sub-03_run-9", True),
        ("sub-01_ses-2_run-1", False), ("sub-01_ses-2_run-2", False), ("sub-03", False),
    ]  # fmt: skip
    assert found.unusable == []
    # Where the maps have another grid than what would be computed here, the rest fails by name.
    found = sources(tmp_path, "--resolution", "3", "--template", "MNI152NLin2009cAsym")
    assert {s.prefix for s in found.scans} == {"sub-01_ses-1", "sub-02", "sub-03_run-9"}
    assert [u.name for u in found.unusable] == ["sub-01_ses-2_run-1", "sub-01_ses-2_run-2", "sub-03"]
    assert "would not be on the grid" in found.unusable[0].reason


def test_who_has_a_map_needs_no_scan_whose_content_is_there(tmp_path):
    bids = dataset(tmp_path / "bids", "sub-03/anat/sub-03_T1w.nii.gz")
    (bids / "sub-01" / "anat").mkdir(parents=True)
    (bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz").symlink_to("../../.git/annex/x")
    dataset(tmp_path / "maps", a_map("01"), a_map("02"))
    found = sources(tmp_path, "--sloppy", "--participant-label", "01", "02")
    assert ([s.prefix for s in found.scans], found.unusable) == (["sub-01", "sub-02"], [])
    found = sources(tmp_path, "--sloppy", "--participant-label", "01", "07")
    assert ([s.prefix for s in found.scans], [u.name for u in found.unusable]) == (["sub-01"], ["sub-07"])


def test_a_dataset_without_a_map_is_an_error_that_says_what_is_there(tmp_path):
    dataset(tmp_path / "bids", "sub-01/anat/sub-01_T1w.nii.gz")
    dataset(tmp_path / "maps", a_map("01"))
    dataset(tmp_path / "native", "sub-01/anat/sub-01_label-GM_probseg.nii.gz")
    dataset(tmp_path / "other", "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    (tmp_path / "empty").mkdir()
    for roots, said in ((["native"], "own space"), (["maps", "other"], "desc-preproc"), (["empty"], "no images")):
        with pytest.raises(NoInputError, match=said):
            sources(tmp_path, roots=roots)
    # Maps of others than those who were asked for are no fault of the dataset.
    assert [s.path.name for s in sources(tmp_path, "--sloppy", roots=["maps"]).scans] == [f"sub-01_{SPACE}.nii.gz"]


@pytest.fixture
def sites(tmp_path):
    """Our own output, and a dataset of another site."""
    dataset(tmp_path / "bids", table="participant_id\tage\tdx\nsub-01\t60\tAD\nsub-02\t61\tCN\n")
    dataset(tmp_path / "out", a_map("01"), a_map("02"))
    dataset(
        tmp_path / "siteB", a_map("11"), a_map("12"), table="participant_id\tage\tdx\nsub-11\t70\tAD\nsub-12\t71\tCN\n"
    )

    def cohort(*roots):
        arguments = [
            tmp_path / "bids",
            tmp_path / "out",
            "group",
            "-w",
            tmp_path / "w",
            "-d",
            *(tmp_path / r for r in roots),
        ]
        config = parse([str(a) for a in arguments])
        maps, _ = group_level._maps(config)
        kept, sidecars, _ = group_level._trusted(maps)
        return group_level._cohort(config, kept, sidecars)

    return cohort


def test_several_datasets_are_one_cohort_with_a_column_that_tells_them_apart(sites, tmp_path):
    table = sites("siteB")
    assert table["participant_id"].tolist() == ["sub-01", "sub-02", "sub-11", "sub-12"]
    assert table["age"].tolist() == [60, 61, 70, 71]
    assert table["dx"].tolist() == ["AD", "CN", "AD", "CN"]
    assert table["dataset"].tolist() == ["out", "out", "siteB", "siteB"]


def test_two_people_of_one_label_are_refused(sites, tmp_path):
    dataset(tmp_path / "siteC", a_map("01"), a_map("21"))
    with pytest.raises(DatasetError, match=r"sub-01.*siteC"):
        sites("siteC")
    # What the output has copied from there is the same map.
    copy = tmp_path / "out" / a_map("01")
    shutil.copy(tmp_path / "siteC" / a_map("01"), copy)
    given = tmp_path / "siteC" / a_map("01")
    told = {**describe_source(given), "SHA256": hash_content(given)}
    write_json(copy.with_name(copy.name.replace(".nii.gz", ".json")),
               {"Precomputed": True, "SourceDataset": "siteC", "SourceFile": told})  # fmt: skip
    table = sites("siteC")
    assert table["participant_id"].tolist() == ["sub-01", "sub-02", "sub-21"]
    assert table["dataset"].tolist() == ["siteC", "out", "siteC"]


def test_the_label_of_a_scan_may_hold_a_plus_up_to_the_names_of_its_steps(tmp_path, capsys):
    bids = dataset(tmp_path / "bids", "sub-1+1/anat/sub-1+1_acq-a+b_T1w.nii.gz", "sub-2/anat/sub-2_T1w.nii.gz")
    (bids / "sub-2/anat/sub-2_T1w.nii").write_bytes(b"x" * 2000)
    assert main([str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w"), "--nprocs", "1"]) == 1
    message = capsys.readouterr().err
    assert "FAILED sub-1+1-acq-a+b (step conform): The image cannot be read" in message
    assert "FAILED sub-2 (step input): several files are this scan" in message


def test_another_model_in_the_same_folder_encodes_anew(tmp_path):
    write_json(tmp_path / "model" / "model.json", {
        "format": "latentatlas-model", "format_version": 2, "weights_sha256": "new",
        "training": {"salt": "", "participants": []},
    })  # fmt: skip
    for weights, same in (("new", True), ("old", False)):
        write_json(tmp_path / "recon.json", {"ModelWeights": weights})
        assert participant_level._encoded_by(tmp_path / "model", tmp_path / "recon.nii.gz") is same


def test_what_lies_beside_a_map_is_part_of_what_it_was_made_from(tmp_path):
    dataset(tmp_path / "bids")
    dataset(tmp_path / "maps", a_map("01"))
    config = parse([str(tmp_path / "bids"), str(tmp_path / "out"), "participant", "-d", str(tmp_path / "maps")])
    (scan,) = participant_level._sources(config).scans
    before = participant_level.fingerprint(config, scan)
    assert participant_level.fingerprint(config, scan) == before
    sidecar = scan.path.with_name(scan.path.name.replace(".nii.gz", ".json"))
    for told in ({"QualityVerdict": "pass"}, {"QualityVerdict": "fail"}):
        write_json(sidecar, told)
        assert participant_level.fingerprint(config, scan) != before
        before = participant_level.fingerprint(config, scan)
