"""Examples and error maps come from the model that did not see the participant."""

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.model.cross_fitting import cross_fit_one, fit, split_participants
from bids_app.model.examples import (
    example_reconstructions,
    latent_traversals,
    mean_error_maps,
    reconstructions_by_epoch,
)
from bids_app.model.linear_model import LinearModel, fit_linear
from bids_app.model.model_files import make_card
from bids_app.model.plan import make_plan
from bids_app.model.volumes import build_volumes
from bids_app.simulate.map_dataset import simulate_gm_maps


def test_errors_of_maps_add_up_to_the_errors_of_scans(tmp_path):
    cohort = simulate_gm_maps(12, resolution=4.0, seed=0)
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.nii.gz")
        nib.save(cohort.image(number), paths[-1])
    volumes = build_volumes(paths, tmp_path / "v.npy", fwhm=8)
    ids = cohort.table["participant_id"]
    fold = split_participants(ids, 3, 0)
    plan = make_plan(ids, fold, latent_dim=3, max_epochs=0)
    parts = [cross_fit_one(volumes, ids, fold, f, plan, n_threads=1) for f in range(3)]
    models = [fitted.model for _, fitted in parts]
    scans = pd.DataFrame({"participant_id": ids, "session_id": "ses-1"})
    error = np.array([parts[f][0]["err"][i] for i, f in enumerate(fold)])

    groups = np.array(["a", "b"] * 6)
    maps = mean_error_maps(models, volumes, fold, groups)
    for group in "ab":
        values = maps[group].get_fdata()[volumes.grid.mask]
        np.testing.assert_allclose(values.sum() / volumes.grid.n_voxels, error[groups == group].mean(), rtol=1e-3)

    image, table = reconstructions_by_epoch(parts[0][1], volumes, scans)  # no epoch at all: the map and the linear path
    assert table["source"].tolist() == ["map", "reconstruction"]
    assert table["epoch"].tolist() == [pd.NA, 0]

    image, table = example_reconstructions(models, volumes, fold, error, scans, n=2)
    assert image.shape[3] == len(table) == 8
    assert [*table] == ["volume", "participant_id", "session_id", "kind", "source", "error"]
    assert table["source"].tolist() == ["map", "reconstruction"] * 4
    worst = table[(table["kind"] == "extreme") & (table["source"] == "map")]["participant_id"].tolist()
    assert worst == [ids[i] for i in np.argsort(-error)[:2]]
    data = image.get_fdata()
    size = np.prod(data.shape[:3]) / volumes.grid.n_voxels
    difference = ((data[..., 1] - data[..., 0]) ** 2).mean() * size
    np.testing.assert_allclose(difference, table["error"][0], rtol=1e-2)


def test_errors_by_epoch_are_those_of_the_pictures(curved_cohort):
    ids = [f"sub-{i:03d}" for i in range(110)]
    fold = split_participants(ids, 5, 0)
    plan = make_plan(ids, fold, latent_dim=2, channels=(8, 8, 16, 16), max_epochs=5, learning_rate=2e-3, prior=False)
    fitted = fit(curved_cohort, np.flatnonzero(fold != 0), ids, plan, n_threads=1)
    image, table = reconstructions_by_epoch(fitted, curved_cohort, pd.DataFrame({"participant_id": ids}))
    scan = ids.index(table["participant_id"][0])
    assert fold[scan] != 0
    assert table["epoch"].tolist()[1:] == sorted({0, 1, 2, 4, fitted.choices["epochs"]})
    assert set(table["epochs_in_use"]) == {fitted.choices["epochs"]}
    values = image.get_fdata()[curved_cohort.grid.mask].T
    np.testing.assert_array_equal(values[0], curved_cohort.rows([scan])[0])
    np.testing.assert_allclose(table["error"][1:], ((values[1:] - values[0]) ** 2).mean(1), rtol=1e-6)
    assert table["error"].iloc[-1] < table["error"][1]  # a curved cohort is learnt


def test_traversals_are_the_components_of_largest_variance(linear_cohort):
    every = np.arange(30)
    model = fit_linear(linear_cohort, every, 5)
    shuffled = LinearModel(model.grid, model.mean, model.components[[3, 0, 4, 1, 2]], model.scale[[3, 0, 4, 1, 2]])
    Z = shuffled.encode(linear_cohort.rows(every))
    shuffled.card = make_card(shuffled, latents=Z)
    image, table = latent_traversals(shuffled, n=2)
    assert table["latent"].tolist() == [2, 2, 4, 4]  # the first two principal components
    assert table["sd"].tolist() == [-2, 2, -2, 2]
    share = Z.var(0)[[1, 1, 3, 3]] / Z.var(0).sum()
    np.testing.assert_allclose(table["variance_share"], share, rtol=1e-4)
    moved = image.get_fdata()[model.grid.mask][:, 3]
    np.testing.assert_allclose(moved, 2 * Z[:, 3].std() * model.components[1], atol=1e-5)
