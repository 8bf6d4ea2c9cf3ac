"""A small ellipsoid of a brain with what the participant level writes about it, by its own writer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_app.bids.anat import write_outputs
from bids_app.bids.query import Scan
from bids_app.reports.participant import build_participant_report
from bids_app.reports.participant_figures import draw_jacobian, make_scan_figures
from bids_app.reports.scan_outputs import find_scans
from bids_app.space.templates import Template

SHAPE, SIZE = (40, 48, 40), 4.0
AFFINE = np.array([[SIZE, 0, 0, -78], [0, SIZE, 0, -110], [0, 0, SIZE, -70], [0, 0, 0, 1.0]])
SPACE = "MNI152NLin2009aSym"


def tissues() -> dict[str, np.ndarray]:
    """Shells of white matter, grey matter and fluid; a spot in white matter, left."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.8) ** 2)
    wm = (radius < 0.6).astype(np.float32)
    gm = ((radius >= 0.6) & (radius < 0.85)).astype(np.float32)
    csf = ((radius >= 0.85) & (radius < 1)).astype(np.float32)
    spot = ((x + 0.3) ** 2 + y**2 + z**2 < 0.15**2).astype(np.uint8)
    return {
        "spot": spot,
        "gm": gm,
        "wm": wm,
        "csf": csf,
        "mask": (radius < 1).astype(np.uint8),
        "t1w": 60 * gm + 100 * wm + 20 * csf,
    }


def image(data: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(data, AFFINE)


def template() -> Template:
    parts = tissues()
    t1w, mask, *priors = (image(parts[name]) for name in ("t1w", "mask", "gm", "wm", "csf"))
    return Template(SPACE, SIZE, t1w, mask, lambda: (*priors, None))


def write_scan(
    output_dir: Path,
    label: str,
    session: str = "",
    acquisition: str = "",
    chunk: str = "",
    verdict: str = "pass",
    **meta,
) -> str:
    """Write the files of one scan as a run does; returns their prefix."""
    parts = tissues()
    entities = {k: v for k, v in (("acquisition", acquisition), ("chunk", chunk)) if v}
    scan = Scan(Path("T1w.nii.gz"), label, session or None, entities)
    images = {
        "t1w": parts["t1w"],
        "mask": parts["mask"],
        "gm": parts["gm"],
        "wm": parts["wm"],
        "csf": parts["csf"],
        "hypointensities": parts["spot"],
        "t1w_std": parts["t1w"],
        "gm_std": parts["gm"],
        "modulated": parts["gm"] * 0.9,
        "recon": parts["gm"] * 0.8,
    }
    numbers = {
        "GMVolume": 640.0, "WMVolume": 480.0, "CSFVolume": 300.0, "TIV": 1420.0, "ModulatedGMVolume": 641.0,
        "GMVolumeConservation": 1.001, "MaskOverlap": 0.97, "JacobianRange": [0.5, 1.9], "SkullStripped": False,
        "QualityVerdict": verdict,
        "QualityReasons": [] if verdict == "pass" else ["a reason <script>alert(3)</script>"],
    }  # fmt: skip
    space = {"template": SPACE, "res": "4", "cohort": "", "resolution": "4 mm isotropic"}
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"{kind}.nii.gz" for kind in images}
        for kind, data in images.items():
            nib.save(image(data), files[kind])
        write_outputs(files, output_dir, scan, space, {"modulated": numbers | meta})
    return scan.prefix


def draw_page(folder: Path, label: str = "01") -> Path:
    """Draw every scan of a participant and build the page, as a run of the participant level does."""
    jacobian = folder / "jacobian.nii.gz"
    nib.save(image(np.where(tissues()["mask"], 1.2, 0).astype(np.float32)), jacobian)
    for scan in find_scans(folder, label):
        draw_jacobian(scan, jacobian, template())
        make_scan_figures(scan, template())
    return build_participant_report(folder, label)
