"""What every architecture has to do, whichever it is; each row of the schema is tried."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from sklearn.decomposition import PCA

from bids_app.config import Config
from bids_app.model import architectures
from bids_app.model.architectures import network_class
from bids_app.model.autoencoder import reconstruction_error
from bids_app.model.cross_fitting import collect, cross_fit_one, split_participants
from bids_app.model.linear_model import fit_linear
from bids_app.model.model_files import load_model, make_card, save_model
from bids_app.model.plan import Plan, make_plan
from bids_app.model.training import train
from bids_app.schema.architectures import ARCHITECTURES, BY_NAME

TRAIN, VALID = np.arange(24), np.arange(24, 30)


@pytest.fixture(params=BY_NAME)
def architecture(request):
    return request.param


def run(volumes, architecture, **more):
    plan = Plan(4, 4, architecture=architecture, channels=(8, 8, 16, 16), max_epochs=4)
    options = {"seed": 3, "device": "cpu", "n_threads": 1, **more}
    return train(volumes, fit_linear(volumes, TRAIN, 4), TRAIN, VALID, plan, **options)


def test_every_row_has_its_network_and_every_network_its_row():
    files = {path.stem for path in Path(architectures.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(BY_NAME)
    assert all(network_class(row.name).architecture is row for row in ARCHITECTURES)
    assert Config.__dataclass_fields__["architecture"].metadata["choices"] == tuple(BY_NAME)


def test_a_model_comes_back_from_its_folder_as_it_was(linear_cohort, architecture, tmp_path):
    trained = run(linear_cohort, architecture, epochs=2).model
    X = linear_cohort.rows(VALID)
    back = load_model(save_model(trained, tmp_path, make_card(trained)))
    assert back.kind == BY_NAME[architecture].kind
    assert back.card["architecture"] == BY_NAME[architecture].description
    assert np.array_equal(back.encode(X), trained.encode(X))
    assert np.array_equal(back.reconstruct(X), trained.reconstruct(X))
    assert back.reconstruct(X).std(0).max() > 0  # it tells maps apart


def test_a_training_that_was_stopped_resumes_to_the_same_weights(linear_cohort, architecture, tmp_path):
    class Stopped(Exception):
        pass

    class Stop(Callback):
        def on_train_batch_end(self, trainer, task, outputs, batch, step):
            if (trainer.current_epoch, step) == (2, 3):
                raise Stopped

    with pytest.raises(Stopped):
        run(linear_cohort, architecture, folder=tmp_path, callbacks=(Stop(),))
    resumed, whole = run(linear_cohort, architecture, folder=tmp_path), run(linear_cohort, architecture)
    assert resumed.history.equals(whole.history)
    pairs = zip(resumed.model.network.state_dict().values(), whole.model.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_linear_models_error_on_unseen_people_is_kept(linear_cohort, architecture):
    """Against scikit-learn's PCA, which is what the linear path is without a prior."""
    ids = [f"sub-{i:02d}" for i in range(30)]
    fold = split_participants(ids, 3, 0)
    plan = make_plan(ids, fold, latent_dim=4, architecture=architecture, max_epochs=1, inner_runs=1, prior=False)
    runs = [cross_fit_one(linear_cohort, ids, fold, f, plan, device="cpu", n_threads=1) for f in (None, 0, 1, 2)]
    out = collect(runs[0][0], [arrays for arrays, _ in runs[1:]])
    for number in range(3):
        train_maps, test_maps = (linear_cohort.rows(np.flatnonzero(w)) for w in (fold != number, fold == number))
        pca = PCA(4, svd_solver="full").fit(train_maps)
        error = ((pca.inverse_transform(pca.transform(test_maps)) - test_maps) ** 2).mean(1)
        spread = ((test_maps - train_maps.mean(0)) ** 2).mean(1)
        assert out["ev_linear"][fold == number] == pytest.approx(1 - error / spread, abs=1e-3)
        assert set(out["epochs"][fold == number]) == {runs[number + 1][1].choices["epochs"]}


def test_convolutions_alone_start_at_the_mean_map(linear_cohort):
    ids = [f"sub-{i:02d}" for i in range(30)]
    fold = split_participants(ids, 3, 0)
    plan = make_plan(ids, fold, latent_dim=4, architecture="conv", max_epochs=0)
    arrays, fitted = cross_fit_one(linear_cohort, ids, fold, 0, plan, device="cpu")
    X = linear_cohort.rows(np.flatnonzero(fold == 0))
    mean = linear_cohort.rows(np.flatnonzero(fold != 0)).mean(0)
    assert fitted.model.reconstruct(X) == pytest.approx(np.tile(mean, (len(X), 1)), abs=1e-5)
    assert arrays["ev_ae"] == pytest.approx(0, abs=1e-4)
    assert fitted.choices["epochs"] == 0
    assert "did not describe held-out participants better than the mean map" in fitted.choices["sentence"]
    assert "linear" not in fitted.choices["sentence"]


def test_convolutions_alone_learn_what_no_plane_holds(curved_cohort):
    learn, valid, test = np.arange(64), np.arange(64, 80), np.arange(80, 110)
    linear = fit_linear(curved_cohort, learn, 2)
    plan = Plan(2, 2, architecture="conv", channels=(8, 16, 32, 32), max_epochs=20, learning_rate=2e-3)
    result = train(curved_cohort, linear, learn, valid, plan, device="cpu", n_threads=1)
    pca = reconstruction_error(linear, curved_cohort, test)[1].mean()
    assert reconstruction_error(result.model, curved_cohort, test)[1].mean() > pca + 0.1


def test_a_plan_takes_what_the_architecture_has_of_its_own():
    ids = [f"sub-{i:02d}" for i in range(30)]
    plain, conv = (make_plan(ids, None, architecture=name) for name in ("residual", "conv"))
    assert (plain.patience, plain.learning_rate) == (Plan(4, 4).patience, Plan(4, 4).learning_rate)
    assert {name: getattr(conv, name) for name in BY_NAME["conv"].plan} == dict(BY_NAME["conv"].plan)
    assert make_plan(ids, None, architecture="conv", patience=3).patience == 3
    with pytest.raises(ValueError, match="residual, conv"):
        Plan.from_dict({"latent_dim": 4, "latent_dim_asked": 4, "architecture": "transformer"})
