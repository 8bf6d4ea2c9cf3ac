"""A model as a folder that a stranger can read: ``model.safetensors`` and ``model.json``. No pickle is ever loaded."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import bids_app
from bids_app.errors import ModelError
from bids_app.model.architectures import network_class
from bids_app.model.autoencoder import Autoencoder, Model, linear_of
from bids_app.model.grid import Grid
from bids_app.model.linear_model import LinearModel
from bids_app.model.volumes import sampling_from_json, sampling_to_json
from bids_app.schema.architectures import BY_KIND
from bids_app.schema.outputs import MODEL_CARD, MODEL_WEIGHTS

FORMAT = "latentatlas-model"
FORMAT_VERSION = 2  # 2: convolutions on folded voxels, 3x3x3 decoder
WEIGHTS, CARD = MODEL_WEIGHTS.name, MODEL_CARD.name
REMEDY = "Copy the model folder again from its origin, or train the model again."


def make_card(  # noqa: PLR0913 - one parameter per part of the card
    model: Model,
    *,
    participant_ids: Sequence[str] = (),
    training_errors: np.ndarray | None = None,
    latents: np.ndarray | None = None,
    choices: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    seed: int | None = None,
    space: str | None = None,
    licence: str = "not stated",
    **more: Any,
) -> dict[str, Any]:
    """Describe a model.

    Parameters
    ----------
    model : Autoencoder or LinearModel
    participant_ids : sequence
        Whom it was trained on; only salted hashes are kept (``was_trained_on``).
    training_errors : (n,) array, optional
        Out-of-fold reconstruction errors of the training cohort; their quantiles place a new scan's error.
    latents : (n, K) array, optional
        Latents of the training cohort; their means and standard deviations are kept.
    choices, metrics : dict, optional
        What the training decided, and how well it does.
    seed : int, optional
    space : str, optional
        Name of the template.
    licence : str
        Under which the weights may be used.
    **more
        Further JSON values.

    Returns
    -------
    dict
    """
    salt = secrets.token_hex(16)
    card: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "latent_dim": model.latent_dim,
        "channels": list(getattr(model, "channels", ())),
        "architecture": model.description,
        "space": space,
        "grid": {
            **sampling_to_json(model.grid.sampling),
            "affine": model.grid.affine.tolist(),
            "shape": list(model.grid.sampling.shape),
            "box_shape": list(model.grid.box_shape),
            "n_voxels": model.grid.n_voxels,
        },
        "training": {
            "n_participants": len(set(map(str, participant_ids))),
            "salt": salt,
            "participants": sorted({_hash(p, salt) for p in participant_ids}),
            "seed": seed,
            "choices": choices or {},
            "metrics": metrics or {},
        },
        "licence": licence,
        "versions": {"latentatlas": bids_app.__version__, "torch": torch.__version__, "numpy": np.__version__},
        **more,
    }
    if training_errors is not None:
        errors = np.asarray(training_errors, float)
        errors = errors[np.isfinite(errors)]
        card["training"]["error_percentiles"] = np.percentile(errors, np.arange(101)).tolist() if len(errors) else []
    if latents is not None:
        card["training"]["latent_mean"] = np.mean(latents, 0).astype(float).tolist()
        card["training"]["latent_sd"] = np.std(latents, 0).astype(float).tolist()
    return card


def save_model(model: Model, folder: str | PathLike[str], card: dict[str, Any] | None = None) -> Path:
    """Write a model.

    Parameters
    ----------
    model : Autoencoder or LinearModel
    folder : path-like
        Made if need be.
    card : dict, optional
        From ``make_card``.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    linear = linear_of(model)
    tensors = {
        "mask": torch.from_numpy(model.grid.mask.astype(np.uint8)),
        "mean": torch.from_numpy(linear.mean),
        "components": torch.from_numpy(linear.components),
        "scale": torch.from_numpy(linear.scale),
    }
    if isinstance(model, Autoencoder):
        tensors["data_scale"] = model.network.data_scale.reshape(1)
        tensors |= {f"network.{k}": v for k, v in model.network.state_dict().items()}
    card = dict(card or make_card(model))
    # The hash ties the two files together; it is written last, so that a half-written folder does not load.
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / WEIGHTS)
    card["weights_sha256"] = _file_hash(folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(_plain(card), indent=1, allow_nan=False) + "\n")
    return folder


def load_model(folder: str | PathLike[str]) -> Model:
    """Read a model.

    Parameters
    ----------
    folder : path-like
        The model folder, or one of its files.

    Returns
    -------
    Autoencoder or LinearModel
        With its card as ``model.card``.

    Raises
    ------
    ModelError
        It is not there, damaged, not one of ours (pickled weights are refused unread), or of another version.
    """
    folder = Path(folder)
    folder = folder.parent if folder.is_file() else folder
    card = read_card(folder)
    weights = folder / WEIGHTS
    try:
        if _file_hash(weights) != card["weights_sha256"]:
            raise ModelError(f"{WEIGHTS} does not match the description in {CARD}.", file=weights, remedy=REMEDY)
        tensors = load_file(weights)
        mask = tensors["mask"].numpy().astype(bool)
        grid = Grid(sampling_from_json(card["grid"]), mask)
        linear = LinearModel(grid, tensors["mean"].numpy(), tensors["components"].numpy(), tensors["scale"].numpy())
        if linear.components.shape != (card["latent_dim"], grid.n_voxels) or linear.mean.shape != (grid.n_voxels,):
            raise ModelError("The model's arrays do not match its grid.", file=folder, remedy=REMEDY)
        model: Model = linear
        if card["kind"] in BY_KIND:
            channels = tuple(int(c) for c in card["channels"])
            network = network_class(BY_KIND[card["kind"]].name)(linear, channels, float(tensors["data_scale"]))
            prefix = "network."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            network.load_state_dict(state)
            model = Autoencoder(linear, network, channels)
        elif card["kind"] != LinearModel.kind:
            raise ModelError(f"There is no model of kind {card['kind']!r}.", file=folder, remedy="Update LatentAtlas.")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"The model cannot be read: {error}.", file=folder, remedy=REMEDY) from error
    model.card = card
    return model


def read_card(folder: str | PathLike[str]) -> dict[str, Any]:
    """Read and check a model's card; ModelError where it is missing, damaged or of another version."""
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"The model's description cannot be read: {error}.", file=path, remedy=REMEDY) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError("This is not a LatentAtlas model.", file=path, remedy="Give the folder group/model of a run.")
    if card.get("format_version") != FORMAT_VERSION:
        versions = card.get("versions")
        made = versions.get("latentatlas") if isinstance(versions, dict) else None
        raise ModelError(
            f"The model has format {card.get('format_version')}; this version reads format {FORMAT_VERSION}.",
            file=path,
            remedy="Train it again from its maps (the group level without --model), or use the version of "
            f"LatentAtlas with which it was trained ({made or 'not stated'}).",
        )
    training = card.get("training")
    if not isinstance(training, dict) or not {"salt", "participants"} <= set(training):
        raise ModelError("The model's description does not list its training participants.", file=path, remedy=REMEDY)
    return card


def qualified(dataset: str, participant_id: str) -> str:
    """A participant's name that is unique beyond the dataset: every dataset has a sub-01."""
    return f"{dataset}/{participant_id}"


def was_trained_on(card: dict[str, Any], participant_id: str) -> bool:
    """Whether a participant (``qualified``, as in training) was among those a model was trained on."""
    return _hash(participant_id, card["training"]["salt"]) in card["training"]["participants"]


def error_percentile(card: dict[str, Any], error: float) -> float:
    """Where a reconstruction error lies among the training cohort's out-of-fold errors, 0 to 100; NaN if unknown."""
    known = card["training"].get("error_percentiles") or []
    if not known or not math.isfinite(error):
        return math.nan
    return float(np.interp(error, known, np.linspace(0, 100, len(known))))


def _hash(participant_id: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}{participant_id}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Values as JSON knows them: numpy's become Python's, numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
