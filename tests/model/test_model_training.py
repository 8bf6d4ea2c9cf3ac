import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from bids_app.errors import ConfigError, DatasetError, UsageError
from bids_app.model.autoencoder import reconstruction_error, traverse
from bids_app.model.launch import pick_device
from bids_app.model.linear_model import Prior, fit_linear
from bids_app.model.network import folded_index
from bids_app.model.plan import Plan, make_plan
from bids_app.model.training import EpochOrder, train

TRAIN, VALID = np.arange(24), np.arange(24, 30)
PLAN = Plan(4, 4, channels=(8, 8, 16, 16), max_epochs=4)


def weights(training):
    return {k: v.clone() for k, v in training.model.network.state_dict().items()}


def run(volumes, **more):
    options = {"seed": 3, "device": "cpu", "n_threads": 1, **more}
    return train(volumes, fit_linear(volumes, TRAIN, 4), TRAIN, VALID, PLAN, **options)


def test_starts_as_the_linear_model(linear_cohort):
    linear = fit_linear(linear_cohort, TRAIN, 4)
    result = train(linear_cohort, linear, TRAIN, None, PLAN, epochs=0, device="cpu")
    X = linear_cohort.rows(VALID)
    assert np.allclose(result.model.encode(X), linear.encode(X), atol=1e-4)
    assert np.allclose(result.model.reconstruct(X), linear.reconstruct(X), atol=1e-5)


def test_same_seed_same_weights(linear_cohort):
    one, two, other = run(linear_cohort), run(linear_cohort), run(linear_cohort, seed=4)
    torch.rand(5)  # the global generator plays no part
    assert all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(two).values(), strict=True))
    assert one.history.equals(two.history)
    assert not one.history.equals(other.history)
    assert one.history.epoch.tolist() == [0, 1, 2, 3, 4]


def test_reconstructions_are_kept_from_the_linear_path_to_the_best_epoch(curved_cohort):
    train_index, valid = np.arange(64), np.arange(64, 80)
    linear = fit_linear(curved_cohort, train_index, 2)
    plan = Plan(2, 2, channels=(8, 16, 32, 32), max_epochs=11, learning_rate=2e-3)
    result = train(curved_cohort, linear, train_index, valid, plan, device="cpu", n_threads=1)
    assert result.best_epoch > 2
    assert [*result.reconstructions] == sorted({0, 1, 2, 4, 8, result.best_epoch})
    explained = reconstruction_error(linear, curved_cohort, valid)[1]
    assert abs(explained[result.example - 64] - np.median(explained)) == abs(explained - np.median(explained)).min()
    X = curved_cohort.rows([result.example])
    assert np.allclose(result.reconstructions[0], linear.reconstruct(X)[0], atol=1e-5)
    assert np.allclose(result.reconstructions[result.best_epoch], result.model.reconstruct(X)[0], atol=1e-5)
    for epoch, made in result.reconstructions.items():
        left = 1 - ((made - X[0]) ** 2).sum() / ((linear.mean - X[0]) ** 2).sum()
        assert left == pytest.approx(result.valid_explained[epoch][result.example - 64], abs=1e-4)


KILLED = """
import os, sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
import lightning.pytorch as pl
from small_volumes import as_volumes, ball
from test_model_training import PLAN, TRAIN, VALID, fit_linear, train
class Killer(pl.Callback):
    def on_train_batch_end(self, trainer, task, outputs, batch, step):
        if trainer.current_epoch == 2 and step == 3:
            os._exit(9)
v = as_volumes(ball()[0], np.load(sys.argv[2]))
more = {"folder": sys.argv[3], "callbacks": (Killer(),)}
train(v, fit_linear(v, TRAIN, 4), TRAIN, VALID, PLAN, seed=3, device="cpu", n_threads=1, **more)
"""


def test_a_killed_training_resumes_to_the_same_weights(linear_cohort, tmp_path):
    np.save(tmp_path / "maps.npy", linear_cohort.data)
    folder, here = tmp_path / "run", os.path.dirname(__file__)
    command = [sys.executable, "-c", KILLED, here, str(tmp_path / "maps.npy"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.npy", "run"]  # nothing outside the folder
    assert not done.stdout
    assert not done.stderr  # and no advice

    started = []

    class Notes(Callback):
        def on_train_epoch_start(self, trainer, task):
            started.append(trainer.current_epoch)

    resumed = run(linear_cohort, folder=folder, callbacks=(Notes(),))
    whole = run(linear_cohort)
    assert started == [2, 3]  # only what was missing
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed).values(), weights(whole).values(), strict=True))
    assert resumed.history.equals(whole.history)
    assert resumed.example == whole.example
    assert [*resumed.reconstructions] == [*whole.reconstructions]
    assert all(np.array_equal(resumed.reconstructions[e], made) for e, made in whole.reconstructions.items())
    # Asked again, a finished training does not train; asked something else, it does not resume.
    again = run(linear_cohort, folder=folder, callbacks=(Notes(),))
    assert started == [2, 3]
    assert again.history.equals(whole.history)
    run(linear_cohort, folder=folder, seed=8, callbacks=(Notes(),))
    assert started[2:] == [0, 1, 2, 3]


def test_stops_when_held_out_maps_stop_gaining_and_keeps_the_best(linear_cohort, tmp_path):
    plan = Plan(4, 4, channels=(8, 8, 16, 16), max_epochs=60, patience=3, learning_rate=1e-2)
    linear = fit_linear(linear_cohort, TRAIN, 4)
    result = train(linear_cohort, linear, TRAIN, VALID, plan, device="cpu", n_threads=1, folder=tmp_path)
    losses = result.history.valid_loss
    assert result.best_epoch == losses.argmin()
    assert len(losses) == result.best_epoch + 1 + 3 < 61
    explained = reconstruction_error(result.model, linear_cohort, VALID)[1]
    assert explained.mean() == pytest.approx(1 - losses.min(), abs=1e-5)
    again = train(linear_cohort, linear, TRAIN, VALID, plan, device="cpu", n_threads=1, folder=tmp_path)
    assert again.history.equals(result.history)  # patience that ran out stays out


def test_convolutions_learn_what_no_plane_holds(curved_cohort):
    train_index, valid, test = np.arange(64), np.arange(64, 80), np.arange(80, 110)
    linear = fit_linear(curved_cohort, train_index, 2)
    plan = Plan(2, 2, channels=(8, 16, 32, 32), max_epochs=12, learning_rate=2e-3)
    result = train(curved_cohort, linear, train_index, valid, plan, device="cpu", n_threads=1)
    pca = reconstruction_error(linear, curved_cohort, test)[1].mean()
    autoencoder = reconstruction_error(result.model, curved_cohort, test)[1].mean()
    assert autoencoder > pca + 0.1


def test_folding_puts_the_voxels_of_a_cube_side_by_side():
    shape = (2, 4, 6)
    place = folded_index(np.arange(48), shape)
    assert sorted(place) == list(range(48))
    folded = np.empty(48, int)
    folded[place] = np.arange(48)
    x, y, z = np.unravel_index(folded.reshape(6, 8), shape)
    for axis in (x, y, z):
        assert (axis // 2 == axis[:, :1] // 2).all()  # the eight of a row share a cube


def test_traversal_moves_one_latent_both_ways(linear_cohort):
    linear = fit_linear(linear_cohort, TRAIN, 4)
    image = traverse(linear, 1, (-2, 2))
    low, high = image.get_fdata()[linear.mask].T
    assert np.allclose(high, 2 * linear.scale[1] * linear.components[1], atol=1e-5)
    assert np.allclose(low, -high, atol=1e-5)


def test_device_is_cpu_without_cuda():
    if not torch.cuda.is_available():
        assert pick_device("auto") == "cpu"
        with pytest.raises(UsageError):
            pick_device("cuda")
    with pytest.raises(UsageError):
        pick_device("abacus")


def test_plan_survives_its_file_and_refuses_nonsense(tmp_path):
    plan = make_plan([f"s{i}" for i in range(20)], None, latent_dim=64, weight_decay=0.1)
    assert plan.latent_dim == 15
    assert "instead of 64" in plan.notes[0]
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    record = json.loads((tmp_path / "plan.json").read_text())
    for change in ({"latent_dim": 0}, {"channels": [1, 2]}, {"epocs": 3}, {"max_epochs": "many"}):
        (tmp_path / "bad.json").write_text(json.dumps(record | change))
        with pytest.raises(ConfigError):
            Plan.read(tmp_path / "bad.json")
    with pytest.raises(DatasetError, match="too few"):
        make_plan(["a", "b", "c", "d"], None)


@pytest.mark.parametrize("n", [22, 23])
def test_processes_take_turns_in_the_order_of_one(n):
    whole, parts = list(EpochOrder(n, 3)), [list(EpochOrder(n, 3, rank, 2)) for rank in range(2)]
    together = np.stack(parts, 1).ravel().tolist()
    assert together == whole + whole[: len(together) - n]  # none waits for another's last batch


def test_processes_that_share_a_batch_learn_what_one_does(linear_cohort, monkeypatch):
    """Two processes over gloo, in a job whose scheduler speaks of four tasks that will never come."""
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}.items():
        monkeypatch.setenv(name, value)
    maps = TRAIN[:22]  # the last batch of an epoch is smaller
    linear = fit_linear(linear_cohort, maps, 4, prior=Prior(0.5, 0.0))  # mirrors maps at random, too
    plan = Plan(4, 4, channels=(8, 8, 16, 16), learning_rate=1e-4)

    def once(seed, processes):
        options = {"epochs": 2, "device": "cpu", "n_threads": 1, "n_processes": processes}
        return train(linear_cohort, linear, maps, VALID, plan, seed=seed, **options)

    one, two, untrained = once(3, 1), once(3, 2), train(linear_cohort, linear, maps, None, plan, seed=3, epochs=0)
    # Adam turns the rounding of tiny gradients into whole steps: the weights agree in direction, not in every digit.
    start, *ends = (torch.cat([w.flatten() for w in weights(t).values()]) for t in (untrained, one, two))
    first, second = (end - start for end in ends)
    assert torch.cosine_similarity(first, second, dim=0) > 0.9
    assert one.example == two.example
    assert [*one.reconstructions] == [*two.reconstructions] == [0, 1, 2]
    assert np.array_equal(one.reconstructions[0], two.reconstructions[0])
    assert np.allclose(one.history.train_loss, two.history.train_loss, rtol=1e-4, equal_nan=True)
    assert once(4, 1).history.train_loss[1] != pytest.approx(one.history.train_loss[1], rel=1e-3)
