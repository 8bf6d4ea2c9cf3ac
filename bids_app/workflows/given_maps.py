"""Which grey-matter maps both levels take that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..bids.maps import Wanted, describe_contents, has_maps
from ..bids.query import Unusable
from ..config import Config
from ..errors import NoInputError
from ..space.template_sources import parse_name


def wanted_maps(config: Config) -> Wanted:
    """Which maps ``--template`` and ``--resolution`` ask for."""
    space, modifiers = parse_name(config.template)
    return Wanted(space, modifiers.get("cohort"), modifiers.get("res"), config.resolution)


def check_derivatives(root: Path) -> None:
    """Refuse a dataset named with ``--derivatives`` that gives nothing: its maps would be computed for hours instead.

    Raises
    ------
    NoInputError
        It is not there, or holds no map that can be used.
    """
    if not root.is_dir():
        raise NoInputError(
            "the dataset given with --derivatives does not exist",
            file=root,
            remedy="check the path after --derivatives",
        )
    if not has_maps(root):
        raise NoInputError(
            f"the dataset given with --derivatives has no usable map: {describe_contents(root)}",
            file=root,
            remedy="grey-matter maps are expected at sub-*/[ses-*/]anat/*_space-<template>_*label-GM_probseg.nii.gz "
            "(fMRIPrep, sMRIPrep: --output-spaces MNI152NLin2009cAsym) or as CAT12's mwp1*.nii",
        )


def nothing_left(unusable: Sequence[Unusable], place: Path) -> NoInputError:
    """The error where nothing of what was asked for can be worked on."""
    reasons = [f"{item.name}: {item.reason}" for item in unusable]
    more = f"\n… and {len(reasons) - 10} more" if len(reasons) > 10 else ""
    return NoInputError(
        "none of the requested scans can be used\n" + "\n".join(reasons[:10]) + more,
        file=place,
        remedy="correct the problems listed above, or choose other scans",
    )
