"""Examples and error maps come from the model that did not see the participant."""

import nibabel as nib
import numpy as np

from bids_app.model.crossfit import cross_fit_one, split_participants
from bids_app.model.examples import example_reconstructions, mean_error_maps
from bids_app.model.plan import make_plan
from bids_app.model.volumes import build_volumes
from bids_app.simulate.maps import simulate_gm_maps


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
    error = np.array([parts[f][0]["err"][i] for i, f in enumerate(fold)])

    groups = np.array(["a", "b"] * 6)
    maps = mean_error_maps(models, volumes, fold, groups)
    for group in "ab":
        values = maps[group].get_fdata()[volumes.grid.mask]
        np.testing.assert_allclose(values.sum() / volumes.grid.n_voxels, error[groups == group].mean(), rtol=1e-3)

    image, table = example_reconstructions(models, volumes, fold, error, ids, n=2)
    assert image.shape[3] == len(table) == 8
    assert table["source"].tolist() == ["map", "reconstruction"] * 4
    worst = table[(table["kind"] == "extreme") & (table["source"] == "map")]["participant_id"].tolist()
    assert worst == [ids[i] for i in np.argsort(-error)[:2]]
    data = image.get_fdata()
    size = np.prod(data.shape[:3]) / volumes.grid.n_voxels
    difference = ((data[..., 1] - data[..., 0]) ** 2).mean() * size
    np.testing.assert_allclose(difference, table["error"][0], rtol=1e-2)
