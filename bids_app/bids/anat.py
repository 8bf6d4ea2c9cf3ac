"""Names and sidecars of what the participant level writes for one scan."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import OutputError
from ..schema.measures import MEASURES, REASONS, VERDICT
from ..schema.outputs import SCAN_FILES
from .files import copy_file, read_json, sidecar_path, write_json
from .maps import GreyMatterMap
from .query import Scan
from .source import describe_source, unchanged


def output_path(
    output_dir: Path, scan: Scan, kind: str, *, template: str = "", res: str = "", cohort: str = ""
) -> Path:
    """Where a file of :data:`.SCAN_FILES` belongs.

    Parameters
    ----------
    output_dir : Path
    scan : Scan
    kind : str
        A key of :data:`.SCAN_FILES`.
    template, cohort, res : str
        Labels of the ``space-``, ``cohort-`` and ``res-`` entities.
    """
    std = "_".join([f"space-{template}", *([f"cohort-{cohort}"] if cohort else []), f"res-{res}"])
    space = f"{template}+{cohort}" if cohort else template
    return output_dir / scan.folder / f"{scan.prefix}_{SCAN_FILES[kind].ending.format(std=std, space=space)}"


def read_sidecar(image: Path) -> dict[str, Any]:
    """What the JSON file beside a NIfTI image says; nothing where there is none that can be read."""
    return read_json(sidecar_path(image))


def read_quality(image: Path) -> dict[str, Any]:
    """The sidecar of a map without those numbers of the gate that are none, and verdicts that mean nothing.

    Other programs use the same words for other things, and people edit sidecars.
    """
    found = read_sidecar(image)
    for measure in MEASURES:
        if measure.key in found and not _is_number(found[measure.key]):
            found.pop(measure.key)
    if not (isinstance(found.get("JacobianRange"), list) and len(found["JacobianRange"]) == 2
            and all(map(_is_number, found["JacobianRange"]))):  # fmt: skip
        found.pop("JacobianRange", None)
    if found.get(VERDICT.name) not in ("pass", "look", "fail"):
        found.pop(VERDICT.name, None)
    reasons = found.pop(REASONS.name, None)
    if VERDICT.name in found:
        found[REASONS.name] = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    if not isinstance(found.get("QualityLimits"), dict):
        found.pop("QualityLimits", None)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def write_outputs(
    files: dict[str, Path], output_dir: Path, scan: Scan, space: dict[str, str], metadata: dict[str, dict[str, Any]]
) -> None:
    """Copy a scan's images into the output dataset, each with its sidecar.

    The modulated map's sidecar comes last: that it is there says that all else is there too.

    Parameters
    ----------
    files : dict
        Kind (a key of :data:`.SCAN_FILES`) -> image in the work folder.
    space : dict
        ``template``, ``res``, ``cohort`` labels, and ``resolution`` in words.
    metadata : dict
        Kind -> what its sidecar says beyond the common.
    """
    source = {"Sources": [_source(scan)], "LatentAtlasVersion": __version__}
    labels = {k: space[k] for k in ("template", "res", "cohort")}
    for kind in sorted(files, key=list(SCAN_FILES).index):
        target = output_path(output_dir, scan, kind, **labels)
        copy_file(Path(files[kind]), target)
        known = SCAN_FILES[kind]
        if not known.is_image:
            continue
        content = {"Description": known.description, **source}
        if known.type:
            content["Type"] = known.type
        if known.on_template:
            content["Resolution"] = space["resolution"]
        write_json(sidecar_path(target), {**content, **metadata.get(kind, {})})


def finished(output_dir: Path, scan: Scan, kinds: list[str], fingerprint: str, **labels: str) -> bool:
    """Whether all outputs of a scan are there and were made with the same options from a file of the same content.

    Maps of other options may lie beside them, but images in the scan's own space and transforms have no place for two
    sets of options: those of the last run are there.
    """
    paths = {kind: output_path(output_dir, scan, kind, **labels) for kind in kinds}
    if not all(p.exists() for p in paths.values()):
        return False
    stamped = paths.get("modulated") or paths["gm_std"]
    facts = read_sidecar(stamped)
    told = facts.get("SourceFile")
    if facts.get("Fingerprint") != fingerprint or not isinstance(told, dict) or not unchanged(scan.path, told):
        return False
    if "gm" in paths and read_sidecar(paths["gm"]).get("Fingerprint", fingerprint) != fingerprint:
        return False
    now = describe_source(scan.path)
    if now["Time"] != told.get("Time"):
        # The same content under another time: said once, so that the next run need not read it all again.
        with suppress(OutputError):
            write_json(sidecar_path(stamped), {**facts, "SourceFile": {**told, **now}})
    return True


def _source(scan: Scan) -> str:
    # A map taken from another derivative dataset has no place in the raw one.
    return scan.path.name if isinstance(scan, GreyMatterMap) else f"bids:raw:{scan.folder.as_posix()}/{scan.path.name}"
