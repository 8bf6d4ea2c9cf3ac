import hashlib
import json
import pickle

import numpy as np
import pytest
import torch

from bids_app.errors import ModelError
from bids_app.model.autoencoder import traverse
from bids_app.model.linear_model import fit_linear
from bids_app.model.model_files import error_percentile, load_model, make_card, save_model, was_trained_on
from bids_app.model.plan import Plan
from bids_app.model.training import train

IDS = [f"sub-secret{i:02d}" for i in range(24)]


@pytest.fixture(scope="module")
def trained(linear_cohort):
    index = np.arange(24)
    plan = Plan(4, 4, channels=(8, 8, 16, 16))
    return train(linear_cohort, fit_linear(linear_cohort, index, 4), index, None, plan, epochs=2, device="cpu").model


@pytest.fixture
def saved(trained, linear_cohort, tmp_path):
    Z = trained.encode(linear_cohort.rows(np.arange(24)))
    card = make_card(trained, participant_ids=IDS, training_errors=np.arange(24.0), latents=Z, seed=0, licence="CC0")
    return save_model(trained, tmp_path / "model", card)


def test_round_trip(trained, saved, linear_cohort):
    model, X = load_model(saved), linear_cohort.rows(np.arange(24, 30))
    assert np.array_equal(model.encode(X), trained.encode(X))
    assert np.array_equal(model.reconstruct(X), trained.reconstruct(X))
    assert np.array_equal(model.mask, trained.mask)
    image = trained.grid.to_image(X[0])
    assert np.array_equal(model.grid.sample(image), X[0])
    assert traverse(model, 0).shape[3] == 4
    assert not np.allclose(model.reconstruct(X), model.linear.reconstruct(X))  # the convolutions came along


def test_linear_round_trip(linear_cohort, tmp_path):
    linear = fit_linear(linear_cohort, np.arange(24), 4)
    X = linear_cohort.rows([25])
    assert np.array_equal(load_model(save_model(linear, tmp_path / "m")).encode(X), linear.encode(X))


def test_card_knows_participants_but_not_their_names(saved):
    text = (saved / "model.json").read_text()
    assert "secret" not in text
    assert "secret" not in (saved / "model.safetensors").read_bytes().decode("latin1")
    card = json.loads(text)
    assert was_trained_on(card, IDS[3])
    assert not was_trained_on(card, "sub-stranger")
    assert card["licence"] == "CC0"
    assert card["training"]["n_participants"] == 24
    assert error_percentile(card, 11.5) == pytest.approx(50)
    assert (error_percentile(card, -1), error_percentile(card, 99)) == (0, 100)
    assert np.isnan(error_percentile(make_card(load_model(saved)), 1.0))


def test_card_takes_numbers_of_any_kind(trained, tmp_path):
    metrics = {"a": np.float32(0.5), "b": np.nan, "c": np.arange(2), "d": float("inf")}
    card = load_model(save_model(trained, tmp_path / "m", make_card(trained, metrics=metrics))).card
    assert card["training"]["metrics"] == {"a": 0.5, "b": None, "c": [0, 1], "d": None}


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "a flipped byte": lambda f: flip_a_byte(f / "model.safetensors"),
    "a truncated file": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]),
    "weights missing": lambda f: (f / "model.safetensors").unlink(),
    "card missing": lambda f: (f / "model.json").unlink(),
    "card torn": lambda f: (f / "model.json").write_text((f / "model.json").read_text()[:200]),
    "card of something else": lambda f: (f / "model.json").write_text("[1, 2]"),
    "a later format": lambda f: edit(f / "model.json", format_version=3),
    "another architecture": lambda f: edit(f / "model.json", channels=[8, 8, 8, 8]),
    "an unknown kind": lambda f: edit(f / "model.json", kind="transformer"),
    "another grid": lambda f: edit(f / "model.json", grid={"source_shape": [3, 3, 3]}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(saved, damage):
    DAMAGE[damage](saved)
    with pytest.raises(ModelError) as caught:
        load_model(saved)
    assert caught.value.remedy


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    "writer", [lambda path: path.write_bytes(pickle.dumps(Bomb())), lambda p: torch.save(Bomb(), p)]
)
def test_a_pickle_is_refused_unread_even_with_a_matching_hash(saved, writer):

    weights = saved / "model.safetensors"
    writer(weights)
    edit(saved / "model.json", weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(ModelError):
        load_model(saved)
