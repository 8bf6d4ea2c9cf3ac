"""One scan through a trained model."""

import numpy as np
import pytest

from bids_app.errors import ModelError
from bids_app.model import model_files
from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear_model import LinearModel
from bids_app.participant.encode import encode_scan


@pytest.fixture
def model_dir(tmp_path):
    affine = np.diag([4.0, 4, 4, 1])
    mask = np.zeros((10, 12, 11), bool)
    mask[2:8, 2:10, 2:9] = True
    grid = Grid(Sampling(mask.shape, affine, 0.0, 4.0), mask)
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.standard_normal((grid.n_voxels, 3)))[0].T
    model = LinearModel(grid, np.full(grid.n_voxels, 0.5), components, np.ones(3))
    card = model_files.make_card(
        model,
        participant_ids=[model_files.qualified("Study", f"sub-{i}") for i in (1, 2)],
        training_errors=np.linspace(0.001, 0.1, 50),
        latents=rng.standard_normal((2, 3)),
        seed=0,
        space="PhantomSpace",
    )
    model_files.save_model(model, tmp_path / "model", card)
    return tmp_path / "model", model


def test_a_map_in_the_model_s_span_comes_back(model_dir):
    folder, model = model_dir
    z = np.array([[1.0, -2.0, 0.5]], np.float32)
    image = model.grid.to_image(model.decode(z)[0])
    scan = encode_scan(image, folder, "PhantomSpace")
    np.testing.assert_allclose(scan.latents, z[0], atol=1e-3)
    assert scan.error < 1e-6
    assert scan.explained_variance > 0.999
    assert scan.error_percentile == 0
    np.testing.assert_allclose(scan.reconstruction.get_fdata(), image.get_fdata(), atol=1e-3)


def test_a_foreign_map_has_a_large_error(model_dir):
    folder, model = model_dir
    rng = np.random.default_rng(5)
    values = 0.5 + rng.standard_normal(model.grid.n_voxels).astype(np.float32)
    scan = encode_scan(model.grid.to_image(values), folder)
    assert scan.error > 0.5
    assert scan.error_percentile == 100


@pytest.mark.parametrize(("name", "known"), [("Study/sub-1", True), ("Other/sub-1", False), ("Study/sub-3", False)])
def test_whom_the_model_was_trained_on_is_said(model_dir, name, known):
    folder, model = model_dir
    image = model.grid.to_image(np.linspace(0, 1, model.grid.n_voxels))
    assert encode_scan(image, folder, participant=name).in_training is known


def test_another_space_or_grid_is_refused(model_dir):
    folder, model = model_dir
    image = model.grid.to_image(np.ones(model.grid.n_voxels))
    with pytest.raises(ModelError, match="PhantomSpace"):
        encode_scan(image, folder, "OtherSpace")
    with pytest.raises(ModelError, match="does not fit"):
        encode_scan(image.slicer[:-1], folder)
