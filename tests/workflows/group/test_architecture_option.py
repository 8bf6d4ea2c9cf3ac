"""The group level with convolutions alone, and with a model of theirs that was trained before."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.cli import main
from bids_app.participant.encode import encode_scan
from bids_app.simulate.cli import main as simulate

RUN = ["group", "--group-column", "diagnosis", "--latent-dim", "4", "--folds", "2", "--permutations", "60",
       "--voxelwise", "none"]  # fmt: skip


def maps(root, n, seed):
    options = f"--maps-only --n-participants {n} --resolution 4 --seed {seed} --effect 0.3 --quiet"
    assert simulate([str(root), *options.split()]) == 0
    return root


def run(root, name, *more):
    assert main([str(root), str(root.parent / name), *RUN, "-w", str(root.parent / f"{name}-work"), *more]) == 0
    return root.parent / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(maps(tmp_path_factory.mktemp("conv") / "maps", 26, 5), "out", "--architecture", "conv", "--epochs", "12")


def test_every_step_goes_on_from_convolutions_alone(trained):
    card = json.loads((trained / "group" / "model" / "model.json").read_text())
    assert card["kind"] == "convolutional-autoencoder"
    assert json.loads((trained / "group" / "summary.json").read_text())["architecture"] == "conv"
    latents = pd.read_csv(trained / "phenotype" / "latents.tsv", sep="\t").filter(like="latent_")
    assert np.linalg.matrix_rank(latents.to_numpy()) == 4
    errors = pd.read_csv(trained / "phenotype" / "reconstruction.tsv", sep="\t")
    assert not np.allclose(errors["explained_variance"], errors["explained_variance_linear"])
    for name in ("verdicts", "lrcp_regions", "shap_regions", "projection_quality", "traversals", "baselines"):
        assert len(pd.read_csv(trained / "group" / f"{name}.tsv", sep="\t")), name


def test_the_page_and_the_methods_call_it_what_it_is(trained):
    page = (trained / "group.html").read_text()
    assert "could not be drawn" not in page
    assert "convolutional autoencoder 0." in page or "the model in use is the mean map" in page
    text = (trained / "logs" / "CITATION.md").read_text()
    assert "A three-dimensional convolutional autoencoder with 4 latent variables" in text
    assert "linear path" not in text


def test_its_model_encodes_another_cohort_and_a_single_scan(trained, tmp_path):
    other = maps(tmp_path / "others", 24, 6)
    description = other / "dataset_description.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"Name": "another dataset"}))
    out = run(other, "out", "--model", str(trained))
    errors = pd.read_csv(out / "phenotype" / "reconstruction.tsv", sep="\t")
    path = next((other / "sub-01").rglob("*label-GM*_probseg.nii.gz"))
    scan = encode_scan(nib.load(path), trained / "group" / "model")
    row = errors.set_index("participant_id").loc["sub-01"]
    assert scan.error == pytest.approx(row["mean_squared_error"], rel=1e-3)
    assert 1 - scan.explained_variance == pytest.approx(row["error"], rel=1e-3)
    latents = pd.read_csv(out / "phenotype" / "latents.tsv", sep="\t").set_index("participant_id")
    expected = latents.loc["sub-01"].filter(like="latent_").to_numpy(float)
    # The group level keeps maps in half precision, one part in 2,000; what a network makes of it differs by processor.
    assert scan.latents == pytest.approx(expected, abs=1e-3 * np.abs(expected).max())
