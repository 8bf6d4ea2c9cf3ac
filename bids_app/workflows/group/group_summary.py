"""What the group report says besides the tables: ``group/summary.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ... import __version__
from ...bids.listing import LABEL
from ...bids.tables import read_tsv
from ...config import Config
from ...schema.claims import ALPHA
from ...schema.names import grouping
from ..engine.execute import Finished

#: Outputs that the summary reads -> the step that each comes from.
INPUTS = {
    "cohort": "cohort",
    "rejected": "volumes",
    "latent_dim": "plan",
    "atlas": "regions",
    "profile_notes": "profile",
    "scan_notes": "study",
    "shap": "explain",
}


@dataclass(frozen=True, eq=False)
class MapFacts:
    """What is known of the maps before any step.

    Attributes
    ----------
    table : DataFrame
        One row per map that the quality gate let through.
    template : str
        Of all maps.
    resolution : float
        Edge of their voxels, mm.
    left_out : list of dict
        ``participant_id, session_id, reason`` of the maps that the gate has failed.
    sloppy : bool
        Whether any map was made with ``--sloppy``.
    visits : str
        What the order of a participant's scans rests on; empty if every participant has one.
    warnings : sequence of str
        What a reader must know before any number.
    """

    table: pd.DataFrame
    template: str
    resolution: float
    left_out: list[dict[str, Any]]
    sloppy: bool
    visits: str = ""
    warnings: Sequence[str] = ()


def name_left_out(prefix: str, reason: str) -> dict[str, Any]:
    """A scan that is not analysed, by the entities of its name."""
    # CAT12 puts letters of its own before: mwp1sub-01_T1w.nii
    subject, session = (re.search(rf"{key}-{LABEL}", prefix) for key in ("sub", "ses"))
    return {
        "participant_id": subject.group() if subject else prefix,
        "session_id": session.group() if session else None,
        "reason": reason,
    }


def read_inputs(finished: Mapping[str, Finished]) -> dict[str, Any]:
    """The summary's inputs from the outputs of the steps that ended well; None for those of the others.

    The summary is made after the graph has run, and not in it: a run in which a step has failed needs one, too.
    """
    return {name: finished[step].output(name) if step in finished else None for name, step in INPUTS.items()}


def summarise(  # noqa: PLR0913 - the outputs of steps by their names (INPUTS)
    config: Config,
    maps: MapFacts,
    *,
    cohort: Path | None,
    rejected: list[tuple[str, str]] | None,
    latent_dim: int | None,
    atlas: str | None,
    profile_notes: list[str] | None,
    scan_notes: list[str] | None,
    shap: dict[str, Any] | None,
) -> dict[str, Any]:
    """Settings, sample and what the analyses have to say of themselves.

    Parameters
    ----------
    config : Config
    maps : MapFacts
    cohort : Path or None
        Table with one row per map that could be used; None: that of ``maps``.
    rejected : list of (path, reason), or None
        Maps that could not be used.
    latent_dim : int or None
    atlas : str or None
        As in the ``atlas-`` entity.
    profile_notes : list of str, or None
        Of the profile.
    scan_notes : list of str, or None
        On the scans that the contrasts have no use for.
    shap : dict[str, Any] or None
        What the SHAP values rest on.
    """
    kept = read_tsv(Path(cohort)) if cohort else maps.table
    groups = grouping(kept.get(config.group_column))
    order = [f"The scans of a participant are ordered by {maps.visits}."] if maps.visits else []
    unusable = [name_left_out(Path(path).name, why) for path, why in rejected or []]
    return {
        "n_scans": len(kept),
        "n_participants": kept["participant_id"].nunique(),
        "groups": {} if groups is None else groups.value_counts().to_dict(),
        "group_column": config.group_column,
        "contrasts": list(config.contrast),
        "covariates": list(config.covariates),
        "reference_group": config.reference_group,
        "site_column": config.site_column,
        "primary": config.primary,
        "scan_choice": config.scan_choice,
        "harmonize": config.harmonize if config.site_column else None,
        "site_checks": config.site_checks if config.site_column else None,
        "template": maps.template,
        "resolution": maps.resolution,
        "atlas": atlas,
        "atlas_asked": config.atlas,
        "sloppy": maps.sloppy,
        "smoothing_fwhm": config.smoothing_fwhm,
        "architecture": None if config.model else config.architecture,
        "latent_dim": latent_dim,
        "latent_dim_asked": config.latent_dim,
        "folds": config.folds,
        "n_permutations": config.permutations,
        "alpha": ALPHA,
        "seed": config.random_seed,
        "device": config.device,
        "model": str(config.model) if config.model else None,
        "shap": shap,
        "left_out": [*maps.left_out, *unusable],
        "warnings": list(maps.warnings),
        "notes": [*(profile_notes or []), *(scan_notes or []), *order],
        "versions": {"latentatlas": __version__},
    }
