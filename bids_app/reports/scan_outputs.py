"""Find the scans of a participant in an output folder, and the files of each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib

from ..bids.files import sidecar_path
from ..bids.listing import LABEL
from ..bids.query import SCAN_ENTITIES
from ..schema.outputs import FIGURES, SCAN_FILES

# Entities that tell two T1w scans of one participant apart: key in the file name -> name.
ENTITIES = {"ses": "session", **{key: name for name, key in SCAN_ENTITIES.items()}}
# Reportlets that belong to no scan.
WHOLE_PARTICIPANT = ("_desc-methods_T1w.html", "_desc-errors_T1w.html")
_DERIVED = re.compile(
    rf"^(?P<prefix>sub-{LABEL}(?:_(?:{'|'.join(ENTITIES)})-{LABEL})*)"
    r"_(?:space|res|label|desc|from|to|cohort)-"
)


@dataclass(frozen=True)
class ScanOutputs:
    """The files of one scan.

    Attributes
    ----------
    prefix : str
        ``sub-X[_ses-Y][_acq-..][_run-..]``, which starts the name of every file of the scan.
    anat : Path
        The folder of its images.
    figures : Path
        The folder of its reportlets, ``sub-X/figures``.
    """

    prefix: str
    anat: Path
    figures: Path

    @property
    def entities(self) -> dict[str, str]:
        """BIDS key -> value, as in the prefix."""
        return dict(part.split("-", 1) for part in self.prefix.split("_"))

    @property
    def title(self) -> str:
        """What to call the scan in a heading."""
        names = {**ENTITIES, "ce": "contrast agent"}
        rest = [f"{names[key]} {value}" for key, value in self.entities.items() if key != "sub"]
        title = ", ".join(rest)
        return title[:1].upper() + title[1:] if title else "T1-weighted scan"

    def find(self, kind: str) -> Path | None:
        """A file of this scan (a key of :data:`.SCAN_FILES`), of any template and resolution; None if not there."""
        known, ending = SCAN_FILES[kind], ".nii.gz"
        for path in sorted(self.anat.glob(f"{self.prefix}_*{ending}")):
            rest = path.name[len(self.prefix) + 1 : -len(ending)].split("_")
            own = [part for part in rest if not part.startswith(("space-", "cohort-", "res-"))]
            if "_".join(own) == known.stem and (len(own) < len(rest)) == known.on_template:
                return path
        return None

    @cached_property
    def modulated(self) -> Path | None:
        """The modulated grey-matter map, or the unmodulated one where nothing could modulate it."""
        return self.find("modulated") or self.find("gm_std")

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """Metadata of the map, which carry all quality numbers, and of its reconstruction."""
        found: dict[str, Any] = {}
        # What the model says of the map stands beside its reconstruction; the map's own numbers win.
        for image in (self.find("recon"), self.modulated):
            path = image and sidecar_path(image)
            if path and path.exists():
                found |= json.loads(path.read_text(encoding="utf-8"))
        return found

    @property
    def space(self) -> str | None:
        """Name of the template the map lies on."""
        match = re.search(r"_space-([a-zA-Z0-9]+)", self.modulated.name) if self.modulated else None
        return match.group(1) if match else None

    def figure(self, desc: str, ending: str) -> Path:
        """Path of a reportlet of this scan."""
        return self.figures / f"{self.prefix}_desc-{desc}_T1w{ending}"


def find_scans(output_dir: Path, participant_label: str) -> list[ScanOutputs]:
    """All scans of a participant that have any derivative or any reportlet, in the order of their names.

    Parameters
    ----------
    output_dir : Path
        The derivative dataset.
    participant_label : str
        With or without ``sub-``.
    """
    folder = Path(output_dir) / f"sub-{participant_label.removeprefix('sub-')}"
    figures = folder / FIGURES
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("anat/*"), *folder.glob("ses-*/anat/*"), *figures.glob("*")]):
        match = _DERIVED.match(path.name)
        if match and not path.name.endswith(WHOLE_PARTICIPANT):
            prefix = match.group("prefix")
            session = dict(part.split("-", 1) for part in prefix.split("_")).get("ses")
            found[prefix] = folder / f"ses-{session}" / "anat" if session else folder / "anat"
    return [ScanOutputs(prefix, anat, figures) for prefix, anat in sorted(found.items())]


def load(path: Path | None) -> nib.Nifti1Image | None:
    """The image of a file, or None where there is no file."""
    image: Any = nib.load(path) if path is not None else None
    return image
