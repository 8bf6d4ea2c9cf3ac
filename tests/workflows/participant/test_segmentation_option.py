"""Another segmentation engine through the command line: what the sidecars say, and what the group level refuses."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.cli import main


def run(root, label, engine):
    command = [root / "bids", root / "out", "participant", "--sloppy", "-w", root / "work", "--segmentation", engine]
    return main([str(part) for part in (*command, "--participant-label", label)])


@pytest.fixture(scope="module")
def mixed(processed, tmp_path_factory):
    """One head under two labels, one by each engine, in one output."""
    root = tmp_path_factory.mktemp("engines")
    for folder in ("bids", "out"):
        shutil.copytree(processed[0] / folder / "sub-01", root / folder / "sub-01")
        shutil.copy(processed[0] / folder / "dataset_description.json", root / folder)
    for path in sorted((root / "bids").rglob("sub-01_*")):
        copy = Path(str(path).replace("sub-01", "sub-02"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (root / "bids" / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    assert run(root, "02", "atropos") == 0
    return root


def sidecars(root, label):
    anat = root / "out" / f"sub-{label}" / "anat"
    return {path.name: json.loads(path.read_text()) for path in anat.glob("*probseg.json")}


def test_every_tissue_map_says_what_made_it(mixed):
    for label, engine in (("01", "mixture"), ("02", "atropos")):
        found = {name: facts.get("TissueSegmentation") for name, facts in sidecars(mixed, label).items()}
        assert {name for name, said in found.items() if said != engine} == {
            name for name in found if "desc-smoothed" in name
        }
    page = (mixed / "out" / "sub-02.html").read_text()
    assert "atropos" in page
    assert "could not be drawn" not in page


def test_its_map_passes_the_gate_and_holds_the_grey_matter_of_the_scan(mixed):
    for label in ("01", "02"):
        facts = next(f for name, f in sidecars(mixed, label).items() if "desc-modulated" in name)
        assert facts["QualityVerdict"] != "fail"
        anat = mixed / "out" / f"sub-{label}" / "anat"
        maps = [nib.load(next(anat.glob(f"sub-{label}_label-{t}_probseg.nii.gz"))) for t in ("GM", "WM", "CSF")]
        total = sum(np.asarray(image.dataobj) for image in maps)
        assert np.isclose(total[total > 0.01], 1, atol=0.02).mean() > 0.99
    one, other = (next(f["GMVolume"] for n, f in sidecars(mixed, s).items() if "desc-mod" in n) for s in ("01", "02"))
    assert 1 < other / one < 1.35  # of one head, 1.23


def test_maps_of_both_are_refused_together(mixed, capsys):
    command = [mixed / "bids", mixed / "out", "group", "-w", mixed / "work"]
    assert main([str(part) for part in command]) == 65
    message = capsys.readouterr().err
    assert "atropos: sub-02 (1 scan); mixture: sub-01 (1 scan)" in message
    assert "--segmentation" in message


def test_another_engine_makes_a_finished_scan_again(mixed, capsys):
    before = {name: facts["Fingerprint"] for name, facts in sidecars(mixed, "02").items() if "Fingerprint" in facts}
    assert run(mixed, "02", "atropos") == 0
    assert "already finished" in capsys.readouterr().err
    assert {n: f["Fingerprint"] for n, f in sidecars(mixed, "02").items() if "Fingerprint" in f} == before
