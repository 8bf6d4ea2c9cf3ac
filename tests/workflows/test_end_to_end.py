"""Both levels on a simulated cohort, through the command line, with the real engines."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_docs import undocumented

from bids_app.bids.maps import find_maps
from bids_app.cli import main
from bids_app.simulate.cli import main as simulate

SPACE = "space-MNI152NLin2009aSym_res-3"


def validator_errors(dataset: Path) -> list:
    """Errors of the official validator."""
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), "--json", str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [i for i in issues if i.get("severity") == "error"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three simulated participants, and four scans that cannot be used."""
    root = tmp_path_factory.mktemp("scans")
    assert simulate([str(root / "bids"), "--n-participants", "3", "--seed", "3", "--quiet"]) == 0
    bids = root / "bids"
    good = next((bids / "sub-01" / "anat").glob("*_T1w.nii.gz"))
    image = nib.load(good)
    bad = {
        "truncated": lambda p: p.write_bytes(good.read_bytes()[: good.stat().st_size // 2]),
        "empty": lambda p: nib.save(nib.Nifti1Image(np.zeros(image.shape, np.float32), image.affine), p),
        "nan": lambda p: nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), p),
        "4d": lambda p: nib.save(nib.Nifti1Image(np.ones((*image.shape, 2), np.float32), image.affine), p),
    }
    for name, make in bad.items():
        target = bids / f"sub-bad{name}" / "anat" / f"sub-bad{name}_T1w.nii.gz"
        target.parent.mkdir(parents=True)
        make(target)
        shutil.copy(good.with_name(good.name.replace(".nii.gz", ".json")), target.with_name(f"sub-bad{name}_T1w.json"))
    return root


def participant(root: Path, *more: str) -> int:
    command = [root / "bids", root / "out", "participant", "--sloppy", "-w", root / "work", *more]
    return main([str(c) for c in command])


@pytest.fixture(scope="module")
def processed(cohort):
    """The participant level has run on good and bad scans together."""
    return cohort, participant(cohort)


def test_bad_scans_fail_alone(processed):
    root, code = processed
    assert code == 1
    done = {m.subject for m in find_maps([root / "out"])}
    assert done == {"01", "02", "03"}
    for label in done:
        assert (root / "out" / f"sub-{label}.html").stat().st_size > 5000


def test_every_bad_scan_is_named_with_what_to_do(processed, capsys):
    root, _ = processed
    assert participant(root) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert "3 scans are finished already" in message
    for name in ("truncated", "empty", "nan", "4d"):
        assert f"sub-bad{name}_T1w.nii.gz" in message
    assert message.count("what to do") == 4


def test_grey_matter_is_conserved_and_plausible(processed):
    root, _ = processed
    truth = {}
    for label in ("01", "02", "03"):
        sidecar = next((root / "bids" / f"sub-{label}" / "anat").glob("*_T1w.json"))
        truth[label] = json.loads(sidecar.read_text())["SimulatedTrueVolumes"]
    for label, volumes in truth.items():
        name = f"sub-{label}_{SPACE}_label-GM_desc-modulated_probseg"
        facts = json.loads((root / "out" / f"sub-{label}" / "anat" / f"{name}.json").read_text())
        image = nib.load(root / "out" / f"sub-{label}" / "anat" / f"{name}.nii.gz")
        summed = image.get_fdata().sum() * np.prod(image.header.get_zooms()) / 1000
        assert summed == pytest.approx(facts["ModulatedGMVolume"], rel=1e-3)
        assert facts["GMVolumeConservation"] == pytest.approx(1, abs=0.02)
        assert facts["JacobianRange"][0] > 0
        assert facts["QualityVerdict"] in ("pass", "look")
        assert facts["GMVolume"] == pytest.approx(volumes["GM"], rel=0.15)
        assert facts["TIV"] == pytest.approx(volumes["TIV"], rel=0.1)
        spots = nib.load(root / "out" / f"sub-{label}" / "anat" / f"sub-{label}_desc-hypointensities_mask.nii.gz")
        voxel = abs(np.linalg.det(spots.affine)) / 1000
        assert facts["WMHypointensityVolume"] == pytest.approx(np.asarray(spots.dataobj).sum() * voxel, abs=0.001)


def test_the_output_is_a_valid_dataset(processed):
    root, _ = processed
    assert validator_errors(root / "out") == []


def test_a_finished_scan_is_left_alone_and_a_missing_file_made_again(processed):
    root, _ = processed
    anat = root / "out" / "sub-02" / "anat"
    kept = anat / f"sub-02_{SPACE}_label-GM_desc-modulated_probseg.nii.gz"
    before = kept.stat().st_mtime_ns
    assert participant(root, "--participant-label", "02") == 0
    assert kept.stat().st_mtime_ns == before
    lost = anat / "sub-02_label-WM_probseg.nii.gz"
    lost.unlink()
    assert participant(root, "--participant-label", "sub-02") == 0
    assert lost.exists()


def test_the_saved_configuration_can_be_fed_back(processed):
    root, _ = processed
    saved = sorted((root / "out" / "logs").glob("*.toml"))[0]
    command = [root / "bids", root / "out", "participant", "--config-file", saved, "--participant-label", "01"]
    kept = root / "out" / "sub-01" / "anat" / f"sub-01_{SPACE}_label-GM_desc-modulated_probseg.nii.gz"
    before = kept.stat().st_mtime_ns
    assert main([str(c) for c in command]) == 0
    assert kept.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """The group level has run on the maps of a simulated cohort."""
    root = tmp_path_factory.mktemp("group")
    arguments = [
        "--maps-only",
        "--n-participants",
        "48",
        "--resolution",
        "4",
        "--seed",
        "5",
        "--effect",
        "0.35",
        "--quiet",
    ]
    assert simulate([str(root / "maps"), *arguments]) == 0
    command = [root / "maps", root / "out", "group", "-w", root / "work", "--group-column", "diagnosis", "--covariates",
               "age", "sex", "--latent-dim", "8", "--epochs", "2", "--folds", "3", "--permutations", "500"]  # fmt: skip
    assert main([str(c) for c in command]) == 0
    return root


def test_tables_have_the_promised_columns(analysed):
    out = analysed / "out"
    promised = {
        "group/lrcp_regions.tsv": "index name contrast lrcp p_fwe r2 auc rank_median rank_iqr",
        "group/lrcp_profile.tsv": "index name latent rho p_fwe q",
        "group/validation.tsv": "claim method n error bound p alpha",
        "group/verdicts.tsv": "claim verdict deciding_number sentence",
        "group/cross_fit.tsv": "fold n_train n_test ev_autoencoder ev_pca",
        "phenotype/cohort.tsv": "participant_id age sex diagnosis",
        "phenotype/latents.tsv": "participant_id latent_01",
        "phenotype/reconstruction.tsv": "participant_id error explained_variance",
        "phenotype/projections.tsv": "participant_id pca_1 pca_2",
    }
    for file, columns in promised.items():
        table = pd.read_csv(out / file, sep="\t")
        assert list(table.columns[: len(columns.split())]) == columns.split(), file
    assert len(pd.read_csv(out / "phenotype/regional_gm.tsv", sep="\t")) == 48


@pytest.mark.parametrize("level", ["processed", "analysed"])
def test_every_file_and_column_is_documented(level, request):
    made = request.getfixturevalue(level)
    assert undocumented((made[0] if level == "processed" else made) / "out") == []


def test_planted_regions_come_out_on_top(analysed):
    truth = pd.read_csv(analysed / "maps" / "code" / "ground_truth.tsv", sep="\t")
    planted = set(truth.loc[truth["AD"] < -0.05, "name"])
    regions = pd.read_csv(analysed / "out/group/lrcp_regions.tsv", sep="\t")
    ad = regions[regions["contrast"].str.contains("AD") & regions["contrast"].str.contains("CN")]
    from sklearn.metrics import roc_auc_score

    assert len(planted) >= 4
    assert roc_auc_score(ad["name"].isin(planted), ad["lrcp"]) > 0.8
    verdicts = pd.read_csv(analysed / "out/group/verdicts.tsv", sep="\t")
    found = verdicts[verdicts["claim"].str.contains("AD") & verdicts["claim"].str.contains("separates")]
    assert found["verdict"].str.startswith("supported").any()


def test_group_output_is_valid_and_has_its_report(analysed):
    assert validator_errors(analysed / "out") == []
    page = (analysed / "out" / "group.html").read_text()
    assert "Verdicts" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?https?:", page)
    assert 50_000 < len(page) < 20_000_000


def test_a_rerun_trains_nothing_again(analysed, capsys):
    toml = sorted((analysed / "out" / "logs").glob("*group*.toml"))[0]
    model = analysed / "work" / "latentatlas_group" / "fit_all" / "fitted.npz"
    before = model.stat().st_mtime_ns
    command = [analysed / "maps", analysed / "out", "group", "--config-file", toml]
    assert main([str(c) for c in command]) == 0
    assert model.stat().st_mtime_ns == before


def test_sessions_stay_apart_in_every_table(tmp_path):
    arguments = ["--maps-only", "--n-participants", "15", "--sessions", "2", "--resolution", "4", "--quiet"]
    assert simulate([str(tmp_path / "maps"), *arguments]) == 0
    command = ["group", "-w", str(tmp_path / "work"), "--group-column", "diagnosis", "--covariates", "age", "sex",
               "--latent-dim", "4", "--epochs", "1", "--folds", "3", "--permutations", "100"]  # fmt: skip
    assert main([str(tmp_path / "maps"), str(tmp_path / "out"), *command]) == 0
    for path in sorted((tmp_path / "out/phenotype").glob("*.tsv")):
        table = pd.read_csv(path, sep="\t")
        assert [*table.columns[:2]] == ["participant_id", "session_id"], path
        assert len(table.drop_duplicates(["participant_id", "session_id"])) == len(table) == 30, path
    cohort = pd.read_csv(tmp_path / "out/phenotype/cohort.tsv", sep="\t")
    np.testing.assert_allclose(cohort.groupby("participant_id")["age"].diff().dropna(), 1.5, atol=0.06)
    folds = pd.read_csv(tmp_path / "out/phenotype/reconstruction.tsv", sep="\t").groupby("participant_id")["fold"]
    assert folds.nunique().max() == 1
    for name in ("projection_seeds", "shap_values", "reconstructions", "reconstructions_by_epoch"):
        table = pd.read_csv(tmp_path / f"out/group/{name}.tsv", sep="\t")
        assert table["session_id"].str.fullmatch("ses-0[12]").all(), name
    claims = pd.read_csv(tmp_path / "out/group/verdicts.tsv", sep="\t")
    assert set(claims["n"]) == {10, 15}  # people, not scans
    assert undocumented(tmp_path / "out") == []


def test_the_model_encodes_strangers_but_not_its_own_cohort(analysed, tmp_path, capsys):
    arguments = ["--maps-only", "--n-participants", "12", "--resolution", "4", "--seed", "77", "--quiet"]
    assert simulate([str(tmp_path / "others"), *arguments]) == 0
    description = tmp_path / "others" / "dataset_description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "Name": "Another cohort"}))
    common = ["group", "--model", str(analysed / "out"), "-w", str(tmp_path / "w"), "--folds", "3",
              "--permutations", "100"]  # fmt: skip
    assert main([str(tmp_path / "others"), str(tmp_path / "out"), *common]) == 0
    latents = pd.read_csv(tmp_path / "out/phenotype/latents.tsv", sep="\t")
    assert latents.shape == (12, 9)
    assert main([str(analysed / "maps"), str(tmp_path / "again"), *common]) == 1
    assert "in the training of this model" in capsys.readouterr().err


def test_precomputed_maps_are_adopted_and_encoded(analysed, tmp_path, capsys):
    arguments = ["--maps-only", "--n-participants", "3", "--resolution", "4", "--seed", "99", "--quiet"]
    assert simulate([str(tmp_path / "maps"), *arguments]) == 0
    sidecar = next((tmp_path / "maps/sub-02/anat").glob("*.json"))
    judged = {"QualityVerdict": "fail", "QualityReasons": ["half of the brain is missing"]}
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **judged}))
    command = [tmp_path / "maps", tmp_path / "out", "participant", "-d", tmp_path / "maps", "--model", analysed / "out",
               "--participant-label", "01", "02", "-w", tmp_path / "w"]  # fmt: skip
    assert main([str(c) for c in command]) == 0
    for label in ("01", "02"):
        name = f"sub-{label}_space-MNI152NLin2009aSym_res-4_label-GM_desc-{{}}_probseg"
        anat = tmp_path / "out" / f"sub-{label}" / "anat"
        given = nib.load(next((tmp_path / "maps" / f"sub-{label}" / "anat").glob("*.nii.gz")))
        adopted = nib.load(anat / f"{name.format('modulated')}.nii.gz")
        np.testing.assert_allclose(adopted.get_fdata(), given.get_fdata(), atol=1e-3)
        facts = json.loads((anat / f"{name.format('recon')}.json").read_text())
        assert len(facts["Latents"]) == 8
        assert 0 <= facts["ReconstructionErrorPercentile"] <= 100
        assert facts["InTrainingCohort"] is True  # a dataset of that name had a participant of that label
        assert "was trained on this participant" in (tmp_path / "out" / f"sub-{label}.html").read_text()
        assert nib.load(anat / f"{name.format('recon')}.nii.gz").shape == adopted.shape
    assert not (tmp_path / "out" / "sub-03").exists()
    assert json.loads((anat / f"{name.format('modulated')}.json").read_text()).items() >= judged.items()
    assert "sub-02: fail: half of the brain is missing" in capsys.readouterr().err
    assert validator_errors(tmp_path / "out") == []


def test_cat12_maps_are_adopted_with_their_intracranial_volume(analysed, tmp_path, capsys):
    given = next((analysed / "maps/sub-01/anat").glob("*.nii.gz"))
    mri = tmp_path / "cat12/sub-01/mri"
    mri.mkdir(parents=True)
    nib.save(nib.load(given), mri / "mwp1sub-01_T1w.nii")
    (mri / "cat_sub-01_T1w.xml").write_text("<S><subjectmeasures><vol_TIV>1511.2</vol_TIV></subjectmeasures></S>")
    bids = tmp_path / "bids"
    for label in ("01", "02"):
        (bids / f"sub-{label}/anat").mkdir(parents=True)
        (bids / f"sub-{label}/anat/sub-{label}_T1w.nii.gz").touch()
    (bids / "dataset_description.json").write_text('{"Name": "two", "BIDSVersion": "1.10.0"}')
    command = [str(p) for p in (bids, tmp_path / "out", "participant", "-d", tmp_path / "cat12", "-w", tmp_path / "w")]
    # The second participant's map would be computed on another grid than CAT12's.
    assert main(command) == 65
    assert "sub-02" in capsys.readouterr().err
    assert main([*command, "--participant-label", "01"]) == 0
    name = "sub-01_space-MNI152NLin2009cAsym_res-4_label-GM_desc-modulated_probseg"
    facts = json.loads((tmp_path / "out/sub-01/anat" / f"{name}.json").read_text())
    assert (facts["TIV"], facts["Modulated"], facts["Precomputed"]) == (1511.2, True, True)
    assert facts["Sources"] == ["mwp1sub-01_T1w.nii"]
    volume = nib.load(given).get_fdata().sum() * 4**3 / 1000
    assert facts["ModulatedGMVolume"] == pytest.approx(volume, rel=1e-3)
    assert validator_errors(tmp_path / "out") == []
