"""The dataset on disk and the command that writes it."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.simulate.cli import main
from bids_app.simulate.scan_dataset import SimulationSettings, simulate_dataset


def validate(folder):
    """Errors that the official validator finds."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    run = subprocess.run([program, folder, "--json"], capture_output=True, text=True, timeout=120)
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue["severity"] == "error"]


def digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_official_validator_passes_it(cohort):
    assert validate(cohort.folder) == []


def test_scans_are_ordinary_files(cohort):
    codes, forms = set(), set()
    for number in range(1, 7):
        image = nib.load(cohort.folder / f"sub-{number:02d}/anat/sub-{number:02d}_T1w.nii.gz")
        data = np.asanyarray(image.dataobj)
        assert data.dtype == np.int16
        assert 100 < data.max() < 5000
        assert image.header.get_zooms() == pytest.approx((4, 4, 4), abs=1e-4)
        codes.add("".join(nib.aff2axcodes(image.affine)))
        forms.add((int(image.header["qform_code"]), int(image.header["sform_code"])))
        # The head lies in the middle of the field of view, the background is dark.
        bright = np.argwhere(data > np.percentile(data, 75)).mean(0) / data.shape
        assert np.all((bright > 0.3) & (bright < 0.7))
        assert np.median(data[:2]) < 0.2 * np.percentile(data, 95)
    assert {"RAS", "PSR", "LAS"} <= codes
    assert forms == {(1, 1), (1, 0)}


def test_ground_truth_says_what_was_planted(cohort):
    truth = pd.read_csv(cohort.folder / "code/ground_truth.tsv", sep="\t")
    assert list(truth.columns[:5]) == ["index", "name", "CN", "MCI", "AD"]
    assert len(truth) == 8
    assert (truth["CN"] == 0).all()
    assert (truth["AD"] < truth["MCI"]).all()
    assert (truth["MCI"] < 0).all()
    assert truth.loc[truth["name"] == "Hippocampus_L", "AD"].item() == -0.25
    scans = pd.read_csv(cohort.folder / "code/ground_truth_participants.tsv", sep="\t")
    assert len(scans) == 6 * 120
    planted = scans[scans["planted"] < 0]
    np.testing.assert_allclose(planted["realised"], planted["planted"], rtol=0.15)
    assert np.mean(planted["realised"] / planted["planted"]) == pytest.approx(1, abs=0.05)
    assert scans.loc[scans["diagnosis"] == "CN", "realised"].abs().max() == 0
    means = planted[planted["diagnosis"] == "AD"].groupby("name")["realised"].mean()
    np.testing.assert_allclose(truth["realised_AD"], means[truth["name"]], atol=1e-4)


def test_participants_table(cohort):
    people = pd.read_csv(cohort.folder / "participants.tsv", sep="\t")
    assert list(people.columns) == ["participant_id", "age", "sex", "diagnosis", "mmse", "site"]
    assert people["diagnosis"].tolist() == ["CN", "MCI", "AD"] * 2
    described = json.loads((cohort.folder / "participants.json").read_text())
    assert set(people.columns) - {"participant_id"} == set(described)


def test_same_seed_same_bytes_whatever_the_size_of_the_cohort(cohort, tmp_path):
    time.sleep(1.1)  # a compressed file must not carry the time it was made
    again = simulate_dataset(tmp_path / "again", SimulationSettings(n_participants=2, resolution=4.0, seed=3))
    first, second = digests(cohort.folder), digests(again)
    scans = [name for name in second if name.startswith(("sub-", "code/ground_truth_scans/"))]
    assert len(scans) == 6
    assert {name: first[name] for name in scans} == {name: second[name] for name in scans}


def test_an_interrupted_run_resumes(cohort, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(cohort.folder, broken)
    for name in ("participants.tsv", "code/ground_truth.tsv", "sub-02/anat/sub-02_T1w.nii.gz"):
        (broken / name).unlink()
    kept = broken / "sub-01/anat/sub-01_T1w.nii.gz"
    before = kept.stat().st_mtime_ns
    seen = []
    simulate_dataset(broken, cohort.settings, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 6), (6, 6)]
    assert kept.stat().st_mtime_ns == before
    assert digests(broken) == digests(cohort.folder)


def test_sessions_progress_and_stripped_scans_have_no_skull(tmp_path):
    out = tmp_path / "out"
    arguments = ["--n-participants", "3", "--sessions", "2", "--resolution", "5", "--stripped", "--quiet"]
    assert main([str(out), *arguments, "--nprocs", "2"]) == 0
    assert validate(out) == []
    assert len(list(out.glob("sub-*/ses-*/anat/*_T1w.nii.gz"))) == 6
    sessions = pd.read_csv(out / "sub-03/sub-03_sessions.tsv", sep="\t")
    assert sessions["age"].diff().iloc[1] == pytest.approx(1.5)
    scans = pd.read_csv(out / "code/ground_truth_participants.tsv", sep="\t")
    hippocampus = scans[(scans["name"] == "Hippocampus_L") & (scans["diagnosis"] == "AD")].set_index("session_id")
    assert hippocampus.loc["ses-02", "realised"] < hippocampus.loc["ses-01", "realised"] < -0.1
    image = nib.load(next(out.glob("sub-01/ses-01/anat/*.nii.gz")))
    sidecar = json.loads(next(out.glob("sub-01/ses-01/anat/*.json")).read_text())
    assert sidecar["SkullStripped"] is True
    volume = np.count_nonzero(np.asanyarray(image.dataobj)) * 125 / 1000
    assert volume == pytest.approx(sidecar["SimulatedTrueVolumes"]["TIV"], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--n-participants", "0"], 2, "--n-participants"),
        (["--resolution", "0.1"], 2, "--resolution"),
        (["--effect", "0.9"], 2, "--effect"),
        (["--nprocs", "0"], 2, "--nprocs"),
        (["--region", "Hippocampus_L=much"], 2, "no number"),
        (["--region", "Hippocampus_L=2"], 2, "weight"),
        (["--region", "Atlantis"], 2, "Atlantis"),
        (["--maps-only", "--resolution", "3"], 2, "2 or 4"),
    ],
)
def test_nonsense_is_refused(tmp_path, capsys, arguments, code, says):
    assert main([str(tmp_path / "new"), *arguments, "--quiet"]) == code
    message = capsys.readouterr().err
    assert says in message
    assert "what to do" in message
    assert "Traceback" not in message
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").iterdir())  # free for another try


def test_a_folder_in_use_is_left_alone(cohort, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main([str(tmp_path), "--quiet"]) == 73
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    assert "not empty" in capsys.readouterr().err
    before = digests(cohort.folder)
    assert main([str(cohort.folder), "--seed", "9", "--quiet"]) == 73
    assert "other settings" in capsys.readouterr().err
    assert main([str(cohort.folder), "--seed", "3", "--resolution", "4", "--n-participants", "3", "--quiet"]) == 73
    assert digests(cohort.folder) == before
    assert main([str(tmp_path / "precious.txt"), "--quiet"]) == 73


def test_help_is_quick():
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bids_app.simulate.cli", "--help"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert "--maps-only" in run.stdout
    assert time.perf_counter() - start < 5
    for heavy in ("numpy", "torch", "nibabel", "pandas", "tqdm"):
        assert f"| {heavy}\n" not in run.stderr
