import os
from pathlib import Path

import numpy as np
import pytest

from bids_app.model.cross_fitting import collect, cross_fit_one, split_participants
from bids_app.model.plan import make_plan
from bids_app.model.volumes import build_volumes

FOLDER = Path(os.environ.get("LATENTATLAS_TEST_DATA", "/nonexistent")) / "ds002748-gm"


@pytest.mark.real
@pytest.mark.skipif(not FOLDER.exists(), reason="LATENTATLAS_TEST_DATA names no folder with ds002748-gm")
@pytest.mark.parametrize(("fwhm", "latent_dim"), [(8, 8), (8, 16), (0, 16)])
def test_at_least_pca_on_unseen_people(tmp_path, fwhm, latent_dim):
    paths = sorted(FOLDER.glob("sub-*/**/*label-GM_desc-modulated_probseg.nii.gz"))
    ids = [p.name.split("_")[0] for p in paths]
    volumes = build_volumes(paths, tmp_path / "v.npy", fwhm=fwhm)
    assert not volumes.rejected
    fold = split_participants(ids, 5, 1)
    # One short inner training: enough to see that convolutions are kept only where they help.
    plan = make_plan(ids, fold, latent_dim=latent_dim, max_epochs=1 if fwhm else 0, inner_runs=1)
    parts = [cross_fit_one(volumes, ids, fold, f, plan, device="cpu", n_threads=1)[0] for f in range(5)]
    out = collect(parts[0], parts)  # the full model is not needed here
    gain = out["ev_ae"] - out["ev_pca"]
    assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert out["ev_ae"].mean() > 0


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.exists(), reason="LATENTATLAS_TEST_DATA names no folder with ds002748-gm")
def test_plain_convolutions_beat_the_mean_map_on_unseen_people(tmp_path):
    paths = sorted(FOLDER.glob("sub-*/**/*label-GM_desc-modulated_probseg.nii.gz"))
    ids = [p.name.split("_")[0] for p in paths]
    volumes = build_volumes(paths, tmp_path / "v.npy", fwhm=8)
    fold = split_participants(ids, 5, 0)
    plan = make_plan(ids, fold, latent_dim=16, architecture="conv", inner_runs=1)
    parts = [cross_fit_one(volumes, ids, fold, f, plan, device="cpu", n_threads=1)[0] for f in range(5)]
    explained = collect(parts[0], parts)["ev_ae"]  # 0 is the mean map of the participants trained on
    assert explained.mean() > 4 * explained.std(ddof=1) / np.sqrt(len(explained))
