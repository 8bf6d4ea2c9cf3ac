"""The plan of a training: a file that a person can read, edit and hand back."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from bids_app.errors import ConfigError, DatasetError
from bids_app.schema.architectures import ARCHITECTURES, BY_NAME

log = logging.getLogger("latentatlas")
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """Everything a training needs to know besides the maps.

    Attributes
    ----------
    latent_dim : int
        Latents, K; the same in every fold.
    latent_dim_asked : int
        What was asked for; ``notes`` says why it is less.
    architecture : str
        One of ``schema.architectures``.
    channels : tuple of int
        Channels after each stride-2 block.
    max_epochs, patience : int
        Epochs at most, and without gain on held-out participants before training stops.
    batch_size : int
        Maps a step.
    learning_rate, weight_decay : float
        Of AdamW.
    prior : bool
        Whether the linear path may assume smoothness and left-right symmetry, as far as held-out participants gain;
        where symmetry helps, half the maps of a training batch are mirrored, too.
    inner_runs : int
        Trainings on parts of the training participants that decide how many epochs the final one takes.
    notes : tuple of str
        What was decided, and why.
    """

    latent_dim: int
    latent_dim_asked: int
    architecture: str = ARCHITECTURES[0].name
    channels: tuple[int, ...] = (16, 32, 64, 128)
    max_epochs: int = 60
    patience: int = 6
    batch_size: int = 4
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    prior: bool = True
    inner_runs: int = 1
    notes: tuple[str, ...] = field(default=())

    def write(self, path: str | PathLike[str]) -> None:
        """Write the plan as JSON."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Plan:
        """Read a plan; ConfigError where it does not make sense."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"The training plan cannot be used: {error}.",
                file=path,
                remedy="Delete it; the group level makes a new plan.",
            ) from error

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Plan:
        """Make a plan of JSON values; ValueError or TypeError where they do not make sense."""
        unknown = set(record) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"it has unknown fields ({', '.join(sorted(unknown))})")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        plan = cls(**values)
        for name in ("latent_dim", "batch_size", "inner_runs", "patience"):
            if not isinstance(getattr(plan, name), int) or getattr(plan, name) < 1:
                raise ValueError(f"{name} must be a positive whole number")
        if not isinstance(plan.max_epochs, int) or plan.max_epochs < 0:
            raise ValueError("max_epochs must be a whole number, 0 or more")
        if plan.architecture not in BY_NAME:
            raise ValueError(f"architecture must be one of {', '.join(BY_NAME)}")
        if len(plan.channels) != 4 or not all(isinstance(c, int) and c > 0 for c in plan.channels):
            raise ValueError("channels must be four positive whole numbers")
        return plan


def make_plan(
    participant_ids: Sequence[Any], folds: np.ndarray | None, *, latent_dim: int = 64, **settings: Any
) -> Plan:
    """Plan the training for a cohort.

    K is capped so that every training split, the inner ones included, holds more participants than latents: n maps
    span n - 1 dimensions about their mean.

    Parameters
    ----------
    participant_ids : sequence of length N
        The participant of each scan.
    folds : (N,) int array, optional
        Fold of each scan, from ``split_participants``; None without cross-fitting.
    latent_dim : int
        K asked for.
    **settings
        Any other field of Plan; what the architecture has of its own comes before the defaults.

    Returns
    -------
    Plan

    Raises
    ------
    DatasetError
        Too few participants to learn anything from.
    """
    settings = {**BY_NAME[settings.get("architecture", ARCHITECTURES[0].name)].plan, **settings}
    ids = np.asarray(participant_ids).astype(str)
    smallest = len(set(ids))
    if folds is not None:
        smallest = min(len(set(ids[np.asarray(folds) != f])) for f in np.unique(folds))
    inner = smallest - validation_size(smallest)
    if inner < 3:
        raise DatasetError(
            f"{len(set(ids))} participants are too few: the smallest training split would have {max(inner, 0)}.",
            remedy="Use at least seven participants in the default number of folds, or encode each scan with a model "
            "trained elsewhere (participant level, --model).",
        )
    plan = Plan(
        min(latent_dim, inner - 1),
        latent_dim,
        # Many maps make many steps an epoch: fewer and larger ones then do.
        max_epochs=int(np.clip(30_000 / smallest, 15, 60)),
        batch_size=4 if smallest < 200 else 8 if smallest < 1000 else 16,
        inner_runs=2 if smallest < 60 else 1,
    )
    if plan.latent_dim < latent_dim:
        note = (
            f"only {plan.latent_dim} latents instead of {latent_dim}: the smallest training split has {inner} "
            "participants besides those used for early stopping, and n maps span n - 1 dimensions about their mean"
        )
        log.warning("%s.", note[0].upper() + note[1:])
        plan = replace(plan, notes=(note,))
    return Plan.from_dict({**asdict(plan), **settings})


def validation_size(n_participants: int) -> int:
    """Participants of a training split that only decide when to stop: a fifth, at most 200."""
    return int(np.clip(round(VALIDATION_SHARE * n_participants), 2, 200))
