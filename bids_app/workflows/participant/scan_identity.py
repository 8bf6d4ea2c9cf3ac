"""What a scan's maps are called, and what tells whether those that are there were made as they would be now."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ... import __version__
from ...bids.files import sidecar_path
from ...bids.maps import GreyMatterMap
from ...bids.query import Scan
from ...bids.source import hash_content
from ...bids.versions import generation
from ...config import Config


def branch_name(scan: Scan) -> str:
    """What Nipype calls the steps of a scan: letters, digits and lines, whatever its labels hold."""
    return scan.prefix.replace("-", "_").replace("+", "__")


def fingerprint(config: Config, scan: Scan) -> str:
    """What a scan's maps depend on beside the file they are made from: the method and the scientific options."""
    facts = [generation(__version__), config.scientific_hash(), scan.path.name]
    if isinstance(scan, GreyMatterMap):
        sidecar = sidecar_path(scan.path)
        facts.append(hash_content(sidecar) if sidecar.is_file() else None)
        if scan.transform and not scan.modulated:  # a file too large to be read for every rerun
            found = scan.transform.stat()
            facts += [found.st_size, found.st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def adopted_labels(scan: GreyMatterMap) -> dict[str, str]:
    """Labels of a precomputed map: its own, its voxel size where it names none."""
    import nibabel as nib

    from ...space.templates import res_label

    image: Any = nib.load(scan.path)
    size = min(image.header.get_zooms()[:3])
    labels = {"template": scan.space, "cohort": scan.cohort, "res": scan.resolution or res_label(round(float(size), 2))}
    return {**labels, "resolution": f"{size:g} mm"}


def adopted_kind(scan: GreyMatterMap) -> str:
    """What a precomputed map is written as: modulated, if it is or can be, else a plain probability map."""
    return "modulated" if scan.modulated or scan.transform else "gm_std"
