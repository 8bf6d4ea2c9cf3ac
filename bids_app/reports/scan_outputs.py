"""Find the scans of a participant in an output folder, and the files of each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib

from ..bids.files import read_json, sidecar_path
from ..bids.listing import LABEL
from ..bids.query import SCAN_ENTITIES
from ..schema.outputs import FIGURES, SCAN_FILES

# Entities that tell two T1w scans of one participant apart: key in the file name -> name.
ENTITIES = {"ses": "session", **{key: name for name, key in SCAN_ENTITIES.items()}}
_ENDING = ".nii.gz"
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
        """A file of this scan (a key of :data:`.SCAN_FILES`); None if not there.

        Of several templates and resolutions that with which the images in the scan's own space were made, if it is
        known, else the first.
        """
        found = self._all(kind)
        if SCAN_FILES[kind].on_template and self._grid:
            found = [path for path in found if self._entities(path)[0] == self._grid]
        return found[0] if found else None

    def _all(self, kind: str) -> list[Path]:
        known = SCAN_FILES[kind]
        paths = sorted(self.anat.glob(f"{self.prefix}_*{_ENDING}"))
        return [
            p for p in paths if self._entities(p)[1] == known.stem and bool(self._entities(p)[0]) == known.on_template
        ]

    def _entities(self, path: Path) -> tuple[str, str]:
        """What a file's name says of the template, and what it says else, without the scan's prefix."""
        parts = path.name[len(self.prefix) + 1 : -len(_ENDING)].split("_")
        of_grid = [part.startswith(("space-", "cohort-", "res-")) for part in parts]
        grid, rest = (
            "_".join(p for p, is_one in zip(parts, of_grid, strict=True) if is_one is want) for want in (True, False)
        )
        return grid, rest

    @cached_property
    def _grid(self) -> str | None:
        """Entities of the template of the last run, where maps of several lie beside each other."""
        maps, native = self._all("modulated"), self._all("gm")
        if len(maps) < 2 or not native:
            return None
        made = read_json(sidecar_path(native[0])).get("Fingerprint")
        same = [path for path in maps if read_json(sidecar_path(path)).get("Fingerprint") == made]
        return self._entities(same[0])[0] if same else None

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
