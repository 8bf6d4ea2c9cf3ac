"""Maps that another program made are measured, not believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib

from ..errors import LatentAtlasError
from ..participant.orientation import open_image, read_affine
from ..participant.precomputed import measure_map
from ..participant.quality import judge, usual_ranges
from ..space.template_sources import BUNDLED
from ..space.templates import Template, get_template

_MM = 2.0  # fine enough to compare smoothed maps
_GRADES = ("pass", "look", "fail")


def judge_map(
    path: Path, gm: nib.Nifti1Image, space: str, told: Mapping[str, Any], *, modulated: bool
) -> dict[str, Any]:
    """Measure a map and judge it, together with what is told of it.

    Parameters
    ----------
    path : Path
        The map as it was given, whose header may leave its sides open.
    gm : Nifti1Image
        The map as it is going to be used.
    space : str
        As ``--template`` names it.
    told : mapping
        What the sidecar of the map says (:func:`bids_app.bids.anat.read_quality`); its verdict is not made any better.
    modulated : bool

    Returns
    -------
    dict
        The numbers, ``QualityVerdict``, ``QualityReasons`` and ``QualityLimits``.
    """
    template = _reference(space)
    measured = measure_map(gm, template, modulated=modulated)
    measured["SidesUncertain"] = read_affine(open_image(path))[1]
    verdict, reasons = judge({**({"TIV": told["TIV"]} if "TIV" in told else {}), **measured})
    if template is None:
        verdict = "look" if verdict == "pass" else verdict
        reasons = [*reasons, f"not compared with the template {space}, which is not available locally"]
    reasons = list(dict.fromkeys([*(told.get("QualityReasons") or ()), *reasons]))
    verdict = max(told.get("QualityVerdict", "pass"), verdict, key=_GRADES.index)
    return {**measured, "QualityVerdict": verdict, "QualityReasons": reasons, "QualityLimits": usual_ranges()}


def _reference(space: str) -> Template | None:
    """The template of a space where it is at hand, else the bundled one, which shares MNI152's coordinates."""
    for name in (space, BUNDLED) if space.startswith("MNI152") else (space,):
        try:
            return get_template(name, _MM, fetch=False)
        except LatentAtlasError:
            continue
    return None
