"""Both levels on a simulated cohort, through the command line, with the real engines."""

import ast
import html
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
from scipy.spatial.distance import pdist
from test_docs import undocumented

from bids_app import __version__, reports
from bids_app.bids.maps import find_maps
from bids_app.cli import main
from bids_app.group.study import read_study
from bids_app.reports.group import PARTS
from bids_app.reports.items import captions
from bids_app.reports.participant import KINDS
from bids_app.reports.sections_overview import SETTINGS
from bids_app.schema.measures import NAMED
from bids_app.schema.methods import FEATURES, PROJECTION_TITLES, TESTS
from bids_app.simulate.cli import main as simulate
from bids_app.workflows.group.analysis_steps import vbm

SPACE = "space-MNI152NLin2009aSym_res-3"


def validator_errors(dataset: Path) -> list:
    """Errors of the official validator."""
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), "--json", str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [i for i in issues if i.get("severity") == "error"]


def participant(root: Path, *more: str) -> int:
    command = [root / "bids", root / "out", "participant", "--sloppy", "-w", root / "work", *more]
    return main([str(c) for c in command])


def test_bad_scans_fail_alone(processed):
    root, code = processed
    assert code == 1
    done = {m.subject for m in find_maps([root / "out"]).maps}
    assert done == {"01", "02", "03"}
    for label in done:
        assert (root / "out" / f"sub-{label}.html").stat().st_size > 5000


def test_every_bad_scan_is_named_with_what_to_do(processed, capsys):
    root, _ = processed
    assert participant(root) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert "3 scans are already finished" in message
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


def test_tables_have_the_promised_columns(analysed):
    out = analysed / "out"
    promised = {
        "group/lrcp_regions.tsv": "index name contrast lrcp label difference_ml",
        "group/disease_axis.tsv": "index name contrast observed_ml_per_sd",
        "group/lrcp_parcels.tsv": "contrast between_regions between_random p",
        "phenotype/axis.tsv": "participant_id",
        "group/lrcp_profile.tsv": "index name latent rho p_fwe q",
        "group/verdicts.tsv": "claim verdict deciding_number sentence",
        "group/cross_fit.tsv": "fold n_train n_test ev_autoencoder ev_pca ev_linear epochs",
        "group/site_errors.tsv": "site model n n_train n_train_folds error error_folds error_same_size increase",
        "group/site_latents.tsv": "latents n sites balanced_accuracy chance p permutations",
        "phenotype/deviations.tsv": "participant_id error latent_01",
        "phenotype/cohort.tsv": "participant_id age sex diagnosis",
        "phenotype/latents.tsv": "participant_id latent_01",
        "group/latents_full.tsv": "participant_id latent_01",
        "group/validation.tsv": "claim method n error bound p alpha p_adjusted",
        "phenotype/reconstruction.tsv": "participant_id error explained_variance",
        "phenotype/projections.tsv": "participant_id pca_1 pca_2",
    }
    for file, columns in promised.items():
        table = pd.read_csv(out / file, sep="\t")
        assert list(table.columns[: len(columns.split())]) == columns.split(), file
    assert len(pd.read_csv(out / "phenotype/regional_gm.tsv", sep="\t")) == 48


def test_each_site_is_left_out_and_its_people_with_it(analysed):
    """Simulated sites are alike in maps: their errors rise by what fewer people cost, and nobody tells them apart."""
    table = pd.read_csv(analysed / "out/group/site_errors.tsv", sep="\t").set_index(["site", "model"])
    sites = pd.read_csv(analysed / "out/phenotype/cohort.tsv", sep="\t")["site"].value_counts()
    for site, n in sites.items():
        assert (table.loc[(site, "pca"), "n"], table.loc[(site, "pca"), "n_train"]) == (n, 48 - n)
        rise = table.loc[(site, "pca"), "error"] - table.loc[(site, "pca"), "error_same_size"]
        assert abs(rise) < 0.05
    known = pd.read_csv(analysed / "out/group/site_latents.tsv", sep="\t")
    assert known["p"].min() > 0.02
    assert (known["chance"] == 0.5).all()


def test_cluster_enhancement_is_written_for_each_contrast(analysed, tmp_path):
    study = analysed / "work/latentatlas_group/study/study.npz"
    people = read_study(study).participants
    maps = [next((analysed / "maps" / person / "anat").glob("*_probseg.nii.gz")) for person in people]
    (labels,) = (analysed / "out").rglob("*_dseg.nii.gz")
    vbm.function(
        folder=tmp_path, study=study, maps=maps, kept=list(range(len(maps))), labels=labels, smoothing_fwhm=8.0,
        voxelwise="tfce", permutations=4, random_seed=0, n_jobs=1, scan_choice="first",
    )  # fmt: skip
    for contrast in ("AD-CN", "mmse"):
        image = nib.load(tmp_path / f"out/group/vbm_{contrast}_tfce_logp.nii.gz")
        p = 10 ** -image.get_fdata()
        np.testing.assert_allclose(5 * p, np.rint(5 * p), atol=1e-3)  # as many permutations as were asked for
        assert p.min() < 0.5
        np.testing.assert_allclose(image.header.get_zooms(), 4)
    assert not list(tmp_path.glob("*.npy"))


def test_the_error_is_no_measure_of_head_size(analysed):
    """Not in a straight line: it still falls with the distance from the mean, which the documentation says."""
    table = pd.read_csv(analysed / "out/phenotype/reconstruction.tsv", sep="\t")
    np.testing.assert_allclose(table["error"], 1 - table["explained_variance"], atol=1e-6)
    tiv = pd.read_csv(analysed / "out/phenotype/cohort.tsv", sep="\t")["tiv"]
    assert np.corrcoef(table["mean_squared_error"], tiv)[0, 1] > 0.8
    assert abs(np.corrcoef(table["error"], tiv)[0, 1]) < 0.4


def test_a_run_without_head_size_among_the_covariates_says_so(analysed):
    said = "head size is not among the covariates"
    assert said in (analysed / "out/group.html").read_text().split('<section id="cohort"')[0]


def test_latents_are_out_of_fold_on_the_axes_of_the_full_model(analysed):
    held, full = (pd.read_csv(analysed / "out" / name, sep="\t").filter(like="latent_").to_numpy()
                  for name in ("phenotype/latents.tsv", "group/latents_full.tsv"))  # fmt: skip
    products = np.load(analysed / "work/latentatlas_group/collect/products.npz")
    np.testing.assert_allclose(full, products["Z"], rtol=1e-5, atol=1e-4)
    fold = products["fold"]
    for f in range(3):  # a fold's own distances: turned, not changed
        own = products["Zf"][f][fold == f]
        np.testing.assert_allclose(pdist(held[fold == f]), pdist(own), rtol=1e-4)
    assert np.corrcoef(held[:, 0], full[:, 0])[0, 1] > 0.8


def test_every_file_of_a_scan_is_documented(processed):
    assert undocumented(processed[0] / "out") == []


def test_every_file_and_column_of_the_group_level_is_documented(analysed):
    assert undocumented(analysed / "out") == []


def test_every_method_has_a_name_for_the_page(analysed):
    for table, column, named in (
        ("validation", "method", TESTS),
        ("baselines", "features", FEATURES),
        ("projection_quality", "method", PROJECTION_TITLES),
        ("projection_seeds", "method", PROJECTION_TITLES),
    ):
        found = set(pd.read_csv(analysed / f"out/group/{table}.tsv", sep="\t")[column])
        assert len(found) > 1
        assert found - set(named) == set(), table


def sections(page: Path) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', page.read_text())


def test_the_group_page_shows_all_that_was_computed(analysed):
    page = analysed / "out" / "group.html"
    parts = [name for name, *_ in PARTS if name != "strangeness"]  # that is for a model from elsewhere
    assert sections(page) == [*parts, "truth", "methods", "provenance"]
    for excuse in ("could not be drawn", "Not computed", "has not been written yet"):
        assert excuse not in page.read_text()
    figures = (page.parent / "group" / "figures").iterdir()
    drawn = {path.name.split("_desc-")[1].split("_")[0].rstrip("0123456789") for path in figures}
    assert set(captions()) - {"summary", "strangeness", *KINDS} <= drawn


def test_the_pages_of_participants_show_all_that_was_computed(processed):
    out = processed[0] / "out"
    for page in sorted(out.glob("sub-??.html")):
        label = page.stem
        assert sections(page) == [f"scan-{label.replace('-', '')}", "methods", "errors"]
        drawn = {p.name.split("_desc-")[1].split("_")[0] for p in (out / label / "figures").iterdir()}
        assert {"summary", *KINDS} - {"reconstruction"} <= drawn
        text = html.unescape(page.read_text())
        assert "could not be drawn" not in text
        (sidecar,) = (out / label / "anat").glob("*_desc-modulated_probseg.json")
        facts = json.loads(sidecar.read_text())
        assert f"LatentAtlas {facts['LatentAtlasVersion']}" in text
        numbers = {key for key, value in facts.items() if isinstance(value, float) and not key.endswith("Fraction")}
        assert len(numbers) > 25
        assert numbers - set(NAMED) == set()
        assert [key for key in numbers if NAMED[key].name not in text] == []


def read_keys(names: tuple[str, ...]) -> set[str]:
    """Keys that the reports ask of a dictionary of one of these names, found in their source."""
    keys = set()
    for path in Path(reports.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                source, key = node.func.value, node.args[0]
            elif isinstance(node, ast.Subscript):
                source, key = node.value, node.slice
            else:
                continue
            if ast.unparse(source).split(".")[-1] in names and isinstance(key, ast.Constant):
                keys.add(key.value)
    return keys


def test_every_key_of_the_summary_that_is_read_is_written(analysed):
    written = json.loads((analysed / "out" / "group" / "summary.json").read_text())
    read = read_keys(("summary",)) | set(SETTINGS)
    assert len(read) > 15
    assert read - set(written) == set()


def test_every_key_of_a_sidecar_that_is_read_is_written(processed, analysed, tmp_path):
    adopted = [analysed / "maps", tmp_path / "out", "participant", "-d", analysed / "maps", "--model",
               analysed / "out", "--participant-label", "01", "-w", tmp_path / "w"]  # fmt: skip
    assert main([str(c) for c in adopted]) == 0
    written = set()
    for out in (processed[0] / "out", tmp_path / "out"):
        written |= {key for path in out.glob("sub-*/anat/*.json") for key in json.loads(path.read_text())}
    read = read_keys(("meta", "sidecar"))
    read -= {"Subject"}  # the methods text adds it, from the file name
    assert len(read) > 10
    # Nothing of it was in the training cohort, nothing came from another version: tests of their own.
    assert read - written == set()


def test_scans_that_differ_in_one_entity_have_sections_of_their_own(analysed, tmp_path):
    for echo, verdict in (("1", "pass"), ("2", "fail")):
        for given in (analysed / "maps" / f"sub-0{echo}" / "anat").iterdir():
            name = given.name.replace(f"sub-0{echo}_", f"sub-01_echo-{echo}_part-mag_")
            copy = tmp_path / "maps" / "sub-01" / "anat" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(given, copy)
            if copy.suffix == ".json":
                copy.write_text(json.dumps({**json.loads(copy.read_text()), "QualityVerdict": verdict}))
    shutil.copy(analysed / "maps" / "dataset_description.json", tmp_path / "maps")
    command = [tmp_path / "maps", tmp_path / "out", "participant", "-d", tmp_path / "maps", "-w", tmp_path / "w",
               "--participant-label", "01"]  # fmt: skip
    assert main([str(c) for c in command]) == 0
    page = tmp_path / "out" / "sub-01.html"
    assert sections(page) == ["scan-sub01-echo1-partmag", "scan-sub01-echo2-partmag", "methods", "errors"]
    _, first, second = re.split(r'<section id="scan-', page.read_text())
    assert (first.count('class="banner pass"'), first.count('class="banner fail"')) == (1, 0)
    assert (second.count('class="banner pass"'), second.count('class="banner fail"')) == (0, 1)
    assert [part.split('id="methods"')[0].count("<img ") for part in (first, second)] == [1, 1]


def made_by(version: str, out: Path, label: str) -> None:
    """Let the maps of a participant say that another version has made them."""
    for sidecar in (out / f"sub-{label}" / "anat").glob("*.json"):
        facts = json.loads(sidecar.read_text())
        assert facts["LatentAtlasVersion"] == __version__
        sidecar.write_text(json.dumps({**facts, "LatentAtlasVersion": version}))


def test_maps_of_versions_that_must_not_be_mixed_are_refused_together(processed, tmp_path, capsys):
    root = processed[0]
    mixed, old, new = (shutil.copytree(root / "out", tmp_path / name) for name in ("mixed", "old", "new"))
    made_by("0.4.0", mixed, "02")
    made_by("0.4.0", old, "02")
    for label in ("01", "03"):
        shutil.rmtree(old / f"sub-{label}")
    shutil.rmtree(new / "sub-02")
    group = ["group", "-w", str(tmp_path / "w")]
    for command in ([mixed, *group], [new, *group, "-d", old]):
        assert main([str(c) for c in (root / "bids", *command)]) == 65
        message = capsys.readouterr().err
        assert "0.4.0: sub-02 (1 scan)" in message
        assert f"{__version__}: sub-01, sub-03 (2 scans)" in message
        assert "process all scans again" in message
    # Copied by this version, it is still a map of that one, and so is nothing to put new maps beside.
    copied = [root / "bids", tmp_path / "copied", "participant", "-w", tmp_path / "w", "-d", old, "--participant-label"]
    assert main([str(c) for c in (*copied, "02")]) == 0
    (sidecar,) = (tmp_path / "copied" / "sub-02" / "anat").glob("*desc-modulated*.json")
    facts = json.loads(sidecar.read_text())
    assert (facts["SourceLatentAtlasVersion"], facts["LatentAtlasVersion"]) == ("0.4.0", __version__)
    assert "LatentAtlas 0.4.0" in (tmp_path / "copied" / "sub-02.html").read_text()
    assert main([str(c) for c in (root / "bids", new, *group, "-d", tmp_path / "copied")]) == 65
    assert "0.4.0: sub-02" in capsys.readouterr().err
    copied += ["01", "02", "--resolution", "3"]
    assert main([str(c) for c in copied]) == 1
    assert "FAILED sub-01 (step input): it has no precomputed map, and a map computed" in capsys.readouterr().err


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
    assert "head size is not among the covariates" in capsys.readouterr().err


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """The group level has run on two visits of everybody, whose maps lie in another space than ``--template``."""
    root = tmp_path_factory.mktemp("visits")
    arguments = ["--maps-only", "--n-participants", "15", "--sessions", "2", "--resolution", "4", "--quiet"]
    assert simulate([str(root / "maps"), *arguments]) == 0
    for path in sorted((root / "maps").glob("sub-*/ses-*/anat/*")):
        path.rename(path.with_name(path.name.replace("NLin2009aSym", "Lab")))
    command = ["group", "-w", str(root / "work"), "--group-column", "diagnosis", "--covariates", "age", "sex",
               "--latent-dim", "4", "--epochs", "1", "--folds", "3", "--permutations", "100"]  # fmt: skip
    assert main([str(root / "maps"), str(root / "out"), *command]) == 0
    return root / "out"


def test_text_and_page_name_the_space_of_the_maps(visits):
    summary = json.loads((visits / "group" / "summary.json").read_text())
    assert (summary["template"], summary["resolution"]) == ("MNI152Lab", 4)
    text = (visits / "logs" / "CITATION.md").read_text()
    assert "in the space of the MNI152Lab template" in text
    assert "2009aSym" not in text + (visits / "group.html").read_text().split('<section id="provenance"')[1]


def test_sessions_stay_apart_in_every_table(visits):
    for path in sorted((visits / "phenotype").glob("*.tsv")):
        table = pd.read_csv(path, sep="\t")
        assert [*table.columns[:2]] == ["participant_id", "session_id"], path
        assert len(table.drop_duplicates(["participant_id", "session_id"])) == len(table) == 30, path
    cohort = pd.read_csv(visits / "phenotype/cohort.tsv", sep="\t")
    np.testing.assert_allclose(cohort.groupby("participant_id")["age"].diff().dropna(), 1.5, atol=0.06)
    folds = pd.read_csv(visits / "phenotype/reconstruction.tsv", sep="\t").groupby("participant_id")["fold"]
    assert folds.nunique().max() == 1
    for name in ("projection_seeds", "shap_values", "reconstructions", "reconstructions_by_epoch"):
        table = pd.read_csv(visits / f"group/{name}.tsv", sep="\t")
        assert table["session_id"].str.fullmatch("ses-0[12]").all(), name
    claims = pd.read_csv(visits / "group/verdicts.tsv", sep="\t")
    assert set(claims["n"]) == {10, 15}  # people, not scans
    notes = json.loads((visits / "group" / "summary.json").read_text())["notes"]
    assert "The scans of a participant are ordered by age (15 participants)." in notes
    assert sum("one row per person, the earliest with complete data; 10 further scans" in note for note in notes) == 3
    assert undocumented(visits) == []


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
    assert not (tmp_path / "out/group/latents_full.tsv").exists()  # nobody was in the training
    strange = pd.read_csv(tmp_path / "out/phenotype/deviations.tsv", sep="\t")
    assert list(strange.columns) == ["participant_id", "error_p", "error_p_bound"]
    steps = np.rint(strange["error_p"] * 49)  # 48 people of the training, and one
    np.testing.assert_allclose(strange["error_p"] * 49, steps, atol=1e-4)
    assert steps.between(1, 49).all()
    assert strange["error_p"].median() > 0.1
    assert (strange["error_p_bound"] >= strange["error_p"]).all()
    page = tmp_path / "out" / "group.html"
    assert "strangeness" in sections(page)
    assert "How unusual each brain is for the model" in page.read_text()
    assert "cross-conformal p value" in (tmp_path / "out/logs/CITATION.md").read_text()
    assert undocumented(tmp_path / "out") == []
    assert main([str(analysed / "maps"), str(tmp_path / "again"), *common]) == 1
    assert "in the training cohort of this model" in capsys.readouterr().err


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
        assert facts["ReconstructionErrorP"] is None
        assert facts["InTrainingCohort"] is True  # a dataset of that name had a participant of that label
        assert "was trained on this participant" in (tmp_path / "out" / f"sub-{label}.html").read_text()
        assert nib.load(anat / f"{name.format('recon')}.nii.gz").shape == adopted.shape
    # Under another name of the dataset it is a stranger.
    description = tmp_path / "maps" / "dataset_description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "Name": "Another cohort"}))
    stranger = [
        *map(str, command[:1]),
        str(tmp_path / "new"),
        *map(str, command[2:-4]),
        "01",
        "-w",
        str(tmp_path / "v"),
    ]
    assert main(stranger) == 0
    (sidecar,) = (tmp_path / "new" / "sub-01" / "anat").glob("*desc-recon*.json")
    facts = json.loads(sidecar.read_text())
    assert 1 / 49 <= facts["ReconstructionErrorP"] <= facts["ReconstructionErrorPBound"] <= 1
    assert "p of the reconstruction error among unseen people" in (tmp_path / "new" / "sub-01.html").read_text()
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
        (bids / f"sub-{label}/anat/sub-{label}_T1w.nii.gz").write_bytes(b"x" * 2000)
    (bids / "dataset_description.json").write_text('{"Name": "two", "BIDSVersion": "1.10.0"}')
    command = [str(p) for p in (bids, tmp_path / "out", "participant", "-d", tmp_path / "cat12", "-w", tmp_path / "w")]
    # The second participant's map would be computed on another grid than CAT12's.
    assert main(command) == 1
    message = capsys.readouterr().err
    assert "FAILED sub-02" in message
    assert "would not be on the grid of the others" in message
    assert (tmp_path / "out/sub-01.html").exists()
    assert main([*command, "--participant-label", "01"]) == 0
    name = "sub-01_space-MNI152NLin2009cAsym_res-4_label-GM_desc-modulated_probseg"
    facts = json.loads((tmp_path / "out/sub-01/anat" / f"{name}.json").read_text())
    assert (facts["TIV"], facts["Modulated"], facts["Precomputed"]) == (1511.2, True, True)
    assert facts["Sources"] == ["mwp1sub-01_T1w.nii"]
    volume = nib.load(given).get_fdata().sum() * 4**3 / 1000
    assert facts["ModulatedGMVolume"] == pytest.approx(volume, rel=1e-3)
    assert validator_errors(tmp_path / "out") == []
