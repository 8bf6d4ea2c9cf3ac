"""Bad input: one clear message (what, which file, what to do), the exit code of the design, no traceback."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from bids_app.cli import main
from bids_app.space.templates import get_template


@pytest.fixture
def bids(tmp_path):
    """A dataset of two participants whose images are never opened by these tests."""
    root = tmp_path / "bids"
    for label in ("01", "02"):
        anat = root / f"sub-{label}" / "anat"
        anat.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), anat / f"sub-{label}_T1w.nii.gz")
    (root / "dataset_description.json").write_text(json.dumps({"Name": "test", "BIDSVersion": "1.10.0"}))
    (root / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-01\ta\t30\nsub-02\tb\t40\n")
    return root


@pytest.fixture
def maps(tmp_path):
    """A derivative dataset of eight grey-matter maps with two groups."""
    root = tmp_path / "maps"
    rng = np.random.default_rng(0)
    grey = get_template(resolution=8.0).gm
    rows = ["participant_id\tgroup\tage\tsite\tempty"]
    for number in range(8):
        anat = root / f"sub-{number:02d}" / "anat"
        anat.mkdir(parents=True)
        image = nib.Nifti1Image(0.7 * grey.get_fdata(dtype=np.float32) * rng.uniform(0.9, 1.1, grey.shape), grey.affine)
        nib.save(
            image, anat / f"sub-{number:02d}_space-MNI152NLin2009aSym_res-8_label-GM_desc-modulated_probseg.nii.gz"
        )
        rows.append(f"sub-{number:02d}\t{'ab'[number % 2]}\t{30 + number}\tone\tn/a")
    description = {"Name": "maps", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "x"}]}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


def check(arguments, code, *words, capsys):
    assert main([str(a) for a in arguments]) == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in words:
        assert str(word) in message
    assert "what to do" in message


def test_a_folder_that_is_no_dataset(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    check([tmp_path / "x", tmp_path / "out", "participant"], 65, "not a BIDS dataset", tmp_path / "x", capsys=capsys)


def test_a_folder_that_is_not_there(tmp_path, capsys):
    check([tmp_path / "x", tmp_path / "out", "participant"], 66, "does not exist", tmp_path / "x", capsys=capsys)


def test_a_participant_without_a_scan(bids, tmp_path, capsys):
    arguments = [bids, tmp_path / "out", "participant", "--participant-label", "01", "33", "-w", tmp_path / "w"]
    check(arguments, 1, "FAILED sub-33 (step input): no T1-weighted image", "FAILED sub-01", capsys=capsys)
    check([*arguments[:4], "33", *arguments[-2:]], 66, "sub-33: no T1-weighted image", capsys=capsys)


def test_a_dataset_of_derivatives_in_the_place_of_the_raw_one(maps, tmp_path, capsys):
    """Its images are called desc-preproc_T1w, so that there is nothing to read in it."""
    arguments = [maps, tmp_path / "out", "participant", "-w", tmp_path / "w"]
    check(arguments, 66, "no T1-weighted image", "with --derivatives", capsys=capsys)


@pytest.mark.parametrize("empty", [b"", bytes(352)])
def test_what_other_libraries_say_of_a_file_stays_in_one_line(bids, tmp_path, empty, capsys):
    """A header that promises more than there is: nibabel breaks the line before it asks whether the file is damaged."""
    header = nib.Nifti1Header()
    header.set_data_shape((64, 64, 64))
    for path in bids.glob("sub-*/anat/*.nii.gz"):
        path.write_bytes(gzip.compress(header.binaryblock + b"\0\0\0\0" + empty))
    arguments = [bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "--nprocs", "1"]
    assert main([str(a) for a in arguments]) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for line in message.splitlines():
        assert "FAILED" not in line or line.endswith(").")
    assert message.count("FAILED") == 2


@pytest.mark.parametrize("where", ["", "out", "sub-01"])
def test_output_in_the_input(bids, where, capsys):
    check([bids, bids / where, "participant"], 78, "BIDS dataset", "derivatives", capsys=capsys)


def test_output_that_cannot_be_written(bids, tmp_path, capsys):
    (tmp_path / "file").touch()
    with_file = tmp_path / "file" / "out"
    assert main([str(bids), str(with_file), "participant"]) == 73
    assert str(with_file) in capsys.readouterr().err


def test_a_template_that_nobody_has(bids, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "templateflow"))
    arguments = [bids, tmp_path / "out", "participant", "--template", "NoSuchTemplate", "-w", tmp_path / "w"]
    check(arguments, 69, "NoSuchTemplate", capsys=capsys)


def test_no_maps_for_the_group(bids, tmp_path, capsys):
    check([bids, tmp_path / "out", "group", "-w", tmp_path / "w"], 66, "no grey-matter maps", capsys=capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group-column", "diagnosis"], ["diagnosis", "group"]),
        (["--group-column", "site"], ["site", "one value"]),
        (["--group-column", "empty"], ["empty"]),
        (["--group-column", "group", "--covariates", "weight"], ["weight"]),
        (["--group-column", "group", "--covariates", "site"], ["site"]),
        (["--group-column", "group", "--contrast", "a-c"], ["a-c", "a, b"]),
        (["--contrast", "a-b"], ["--group-column"]),
        (["--group-column", "group", "--site-column", "site"], ["site", "one value"]),
        (["--group-column", "age", "--site-column", "group", "--harmonize", "combat"], ["a (4), b (4)", "merge sites"]),
    ],
)
def test_columns_that_do_not_fit(maps, tmp_path, options, words, capsys):
    arguments = [maps, tmp_path / "out", "group", "-w", tmp_path / "w", *options]
    check(arguments, 65, "participants.tsv", *words, capsys=capsys)


def test_harmonisation_without_sites(maps, tmp_path, capsys):
    arguments = [maps, tmp_path / "out", "group", "-w", tmp_path / "w", "--harmonize", "combat"]
    check(arguments, 78, "harmonize combat needs sites", "--site-column", capsys=capsys)


def test_a_primary_contrast_that_is_not_asked_for(maps, tmp_path, capsys):
    arguments = [maps, tmp_path / "out", "group", "-w", tmp_path / "w", "--group-column", "group", "--primary", "a-b"]
    check(arguments, 78, "--primary a-b is not one of the contrasts", "contrasts of this run: b-a", capsys=capsys)


def test_maps_of_different_resolutions_are_named(maps, tmp_path, capsys):
    odd = maps / "sub-03" / "anat"
    image = next(odd.glob("*.nii.gz"))
    image.rename(image.with_name(image.name.replace("_res-8_", "_res-4_")))
    arguments = [maps, tmp_path / "out", "group", "-w", tmp_path / "w", "--group-column", "group"]
    check(arguments, 65, "sub-03", "resolutions", capsys=capsys)


def test_an_atlas_that_is_not_there(maps, tmp_path, capsys):
    arguments = [maps, tmp_path / "out", "group", "-w", tmp_path / "w", "--atlas", "Nope"]
    check(arguments, 66, "no atlas called", capsys=capsys)


def test_an_unreadable_plugin_file(bids, tmp_path, capsys):
    (tmp_path / "plugin.yml").write_text("plugin: [")
    arguments = [bids, tmp_path / "out", "participant", "-w", tmp_path / "w", "--use-plugin", tmp_path / "plugin.yml"]
    check(arguments, 78, "plugin.yml", capsys=capsys)
