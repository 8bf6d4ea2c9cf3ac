"""Models of the folds beside the full model, with the errors of the people whom each never saw.

``group/model/folds/fold-<k>`` is a model folder like any other; its card has ``calibration``: the sorted errors of the
people of fold k, one per person. A new brain's error is compared with them by the very models that made them
(`stats.conformal`).

The error here is a share of the map's own sum of squares. A share of its variance about the mean map, as elsewhere, can
fall when half of a brain is missing: the damage is variance, too, and the components describe some of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.errors import ModelError
from bids_app.model.autoencoder import Model
from bids_app.model.model_files import REMEDY, load_model, make_card, read_card, save_model
from bids_app.model.volumes import Volumes
from bids_app.schema.outputs import FOLD_CARD

#: Folder of the models of the folds, in that of the full model.
FOLDS = Path(FOLD_CARD.path).parts[2]


def relative_error(model: Model, maps: np.ndarray) -> np.ndarray:
    """Sum of squares that a model leaves of each map (n, V), as a share of the map's own: (n,)."""
    left = ((model.reconstruct(maps) - maps) ** 2).sum(axis=1, dtype=np.float64)
    return left / np.maximum((maps**2).sum(axis=1, dtype=np.float64), 1e-12)


def relative_errors(model: Model, volumes: Volumes, index: np.ndarray) -> np.ndarray:
    """The same of the rows ``index`` (n,), streamed."""
    parts = [relative_error(model, rows) for _, rows in volumes.batches(index)]
    return np.concatenate(parts) if parts else np.zeros(0)


def write_calibration(
    folder: str | PathLike[str],
    models: Sequence[Model],
    volumes: Volumes,
    fold: np.ndarray,
    participants: Sequence[str] | np.ndarray,
    **about: Any,
) -> None:
    """Keep the models of the folds with the errors of the people whom they did not see.

    Parameters
    ----------
    folder : path-like
        That of the full model.
    models : sequence of F models
    volumes : Volumes
    fold : (N,) int array
    participants : sequence of length N
        A person counts by the first scan.
    **about
        ``seed, space, licence`` of the cards (`model_files.make_card`).
    """
    _, first = np.unique(np.asarray(participants).astype(str), return_index=True)
    whole = {"folds": len(models), "of_weights_sha256": read_card(folder)["weights_sha256"]}
    for number, model in enumerate(models):
        own = first[np.asarray(fold)[first] == number]
        errors = np.sort(relative_errors(model, volumes, own)).tolist()
        card = make_card(model, calibration=errors, **whole, **about)
        save_model(model, Path(folder) / FOLDS / f"fold-{number}", card)


def is_calibrated(folder: str | PathLike[str]) -> bool:
    """Whether a model has the models of its folds beside it: one of an earlier version has not."""
    return any((Path(folder) / FOLDS).glob("fold-*"))


def read_calibration(folder: str | PathLike[str]) -> list[tuple[Model, np.ndarray]]:
    """The models of the folds, each with the (m,) errors of the people whom it did not see; empty where there are none.

    Raises
    ------
    ModelError
        A fold's model is damaged, missing, or another model's: the p value would not be what it says.
    """
    places = sorted((Path(folder) / FOLDS).glob("fold-*"), key=lambda path: int(path.name.split("-")[1]))
    own = read_card(folder).get("weights_sha256") if places else None
    found = []
    for number, place in enumerate(places):
        card = read_card(place)
        errors, whole = card.get("calibration"), (card.get("folds"), card.get("of_weights_sha256"))
        if place.name != f"fold-{number}" or whole != (len(places), own) or not isinstance(errors, list) or not errors:
            raise ModelError(
                "The models of the folds are incomplete, or belong to another model.", file=place, remedy=REMEDY
            )
        found.append((load_model(place), np.asarray(errors, float)))
    return found
