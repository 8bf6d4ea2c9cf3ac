"""Find grey-matter maps in standard space: ours, sMRIPrep's and fMRIPrep's by their BIDS names, CAT12's by its own.

CAT12 (Gaser et al. 2024) writes ``mwp1<scan>.nii``, the modulated grey matter of a scan, into ``sub-*/[ses-*/][anat/]
[mri/]`` depending on its version. The name after the prefix is the scan's BIDS name, and says whose map it is:

=================  ============================================================  ==================================
CAT12's name       what it is                                                    here
=================  ============================================================  ==================================
``mwp1sub-…``      modulated by the whole transform                              taken: modulated
``mwp1rsub-…``     the same, from CAT12's longitudinal pipeline                  taken: modulated
``mwmwp1rsub-…``   the same, longitudinal model for large changes                taken: modulated
``m0wp1sub-…``     modulated by the nonlinear part alone: head size is removed   refused, as its volumes are not ml
``wp1sub-…``       not modulated                                                 left alone
``smwp1sub-…``     smoothed                                                      left alone: smoothing is done here
=================  ============================================================  ==================================

CAT12's volume templates have been in MNI152NLin2009cAsym since version 12.8, and that is the space the maps get. The
total intracranial volume comes from ``cat_<scan>.xml``, in the same folder or in ``report/``.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..content import missing_content
from ..delimited import listed
from ..errors import DatasetError, one_line
from .files import is_json, read_json, sidecar_path
from .listing import LABEL, list_images
from .query import SCAN_ENTITIES, Scan, Unusable, tell_mixtures
from .source import unchanged

logger = logging.getLogger("latentatlas")

LISTED = 20  # scans that a message names
CAT12_SPACE = "MNI152NLin2009cAsym"
_CAT12_NAME = re.compile(rf"(?:mwp1r?|mwmwp1r)(?P<name>sub-{LABEL}(?:_[a-z]+-{LABEL})*_T1w)\.nii(?:\.gz)?")
_CAT12_NAMELESS = (
    "the name of this CAT12 map does not identify the scan: rename it after its scan, as CAT12 does for BIDS input "
    "(mwp1sub-01[_ses-1]_T1w.nii)"
)
#: fMRIPrep and sMRIPrep; before version 1.2 with ``_T1w`` in the name, ``class-`` and ``probtissue``.
_MAP = re.compile(rf"sub-{LABEL}(_[a-zA-Z]+-{LABEL}|_T1w)*_(probseg|probtissue)\.nii(\.gz)?")
#: Labels of ``space-`` that are no standard space.
_NATIVE = ("T1w", "T2w", "orig", "individual", "native", "scanner", "anat")


@dataclass(frozen=True)
class GreyMatterMap(Scan):
    """A grey-matter map in a standard space.

    Attributes
    ----------
    space, resolution : str
        The ``space-`` and ``res-`` labels (the latter None where the name has none).
    modulated : bool
        Whether the map was scaled by the Jacobian of its transform.
    cohort : str
        The ``cohort-`` label of a template that has several.
    tiv : float or None
        Total intracranial volume in ml, where the pipeline that made the map says it.
    home : Path
        The dataset that the map comes from, whose tables know the participant.
    """

    space: str = ""
    resolution: str | None = None
    modulated: bool = True
    cohort: str = ""
    tiv: float | None = None
    home: Path = Path()

    @property
    def template(self) -> str:
        """The space as ``--template`` names it."""
        return f"{self.space}:cohort-{self.cohort}" if self.cohort else self.space

    @property
    def transform(self) -> Path | None:
        """The transform that brought the map to its space, as fMRIPrep and sMRIPrep leave it beside the map."""
        space = f"{self.space}+{self.cohort}" if self.cohort else self.space
        names = (f"from-T1w_to-{space}_mode-image_xfm.h5", f"T1w_target-{space}_warp.h5")
        files = [self.path.with_name(f"{self.prefix}_{name}") for name in names]
        return next((file for file in files if missing_content(file) is None), None)


class Wanted(NamedTuple):
    """Which of several maps of a scan to take.

    Attributes
    ----------
    space, cohort, res : str or None
        Labels of ``--template``: where there are maps in this space (cohort, ``res-``), no others count.
    voxel_mm : float or None
        Voxel edge of ``--resolution``: maps of another size do not count.
    """

    space: str | None = None
    cohort: str | None = None
    res: str | None = None
    voxel_mm: float | None = None


class FoundMaps(NamedTuple):
    """Maps that can be opened, and what cannot be used, with the reason."""

    maps: list[GreyMatterMap]
    unusable: list[Unusable]


def find_maps(
    roots: Iterable[Path],
    *,
    wanted: Wanted = Wanted(),  # noqa: B008  (immutable)
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    own: Path | None = None,
) -> FoundMaps:
    """Grey-matter maps in a standard space, from derivative datasets.

    Per scan the modulated, unsmoothed map is taken where there is one, else the plain probability map.

    Parameters
    ----------
    roots : iterable of Path
        Derivative datasets.
    wanted : Wanted
    participants, sessions : sequence of str
        Labels without prefix; empty for all.
    own : Path, optional
        Of the roots the output of this program: what it has copied from another root is taken from it alone.

    Raises
    ------
    DatasetError
        Two datasets hold maps of a participant of one label, who may be two people; a CAT12 map that is modulated for
        the nonlinear part only.
    """
    best: dict[tuple[Path, str, str, str | None], GreyMatterMap] = {}
    unusable = []
    roots = list(dict.fromkeys(roots))
    for root in roots:
        cat12, lost = _cat12_maps(root, participants, sessions)
        unusable += lost
        for item in (*_bids_maps(root, participants, sessions), *cat12):
            key = (root, item.prefix, item.template, item.resolution)
            if key not in best or (item.modulated and not best[key].modulated):
                best[key] = item
    maps = sorted(best.values(), key=lambda m: (m.prefix, m.path))
    opened = []
    for item in maps:
        if problem := _unreadable(item):
            unusable.append(Unusable(item.prefix, problem))
        else:
            opened.append(item)
    chosen = _choose_kind(opened, wanted)
    chosen = _tell_apart(chosen, roots, own)
    tell_mixtures(chosen)
    return FoundMaps(chosen, sorted(unusable))


def has_maps(root: Path) -> bool:
    """Whether a dataset holds any map that `find_maps` would look at, of whomever."""
    return any(True for _ in _bids_maps(root, (), ())) or bool(_cat12_maps(root, (), ())[0])


def describe_contents(root: Path) -> str:
    """What a dataset has instead of maps in a standard space, in words."""
    native = [path.name for path in list_images(root, _MAP) if "_space-" not in path.name]
    if native:
        return f"its grey-matter maps are in the scans' own space, e.g. {native[0]}"
    seen = [path.name for path in list_images(root, re.compile(r".*\.nii(\.gz)?"))]
    return f"it has other images, e.g. {seen[0]}" if seen else "it has no images in sub-*/[ses-*/]anat"


def _choose_kind(maps: list[GreyMatterMap], wanted: Wanted) -> list[GreyMatterMap]:
    """The maps of the wanted space, cohort and voxel size."""
    preferred = [m for m in maps if m.space == wanted.space] or maps
    if wanted.cohort and any(m.space == wanted.space for m in preferred):
        preferred = [m for m in preferred if m.cohort == wanted.cohort]
    if wanted.res:
        preferred = [m for m in preferred if (m.resolution or "").lstrip("0") == wanted.res.lstrip("0")]
    if wanted.voxel_mm:
        preferred = [m for m in preferred if abs(_voxel_mm(m) / wanted.voxel_mm - 1) < 0.02]
    if preferred and (without := sorted({m.prefix for m in maps} - {m.prefix for m in preferred})):
        logger.warning("scans without a map of the requested kind are excluded: %s", listed(without, LISTED))
    return preferred


def _tell_apart(maps: list[GreyMatterMap], roots: Sequence[Path], own: Path | None) -> list[GreyMatterMap]:
    """Maps from one dataset per participant: two people with the same label are never merged.

    What the output has copied from another root is the same map; the tables of that root speak of it.
    """
    copied = {
        (m.prefix, m.template): m for m in maps if m.home == own and read_json(sidecar_path(m.path)).get("Precomputed")
    }
    left = []
    for item in maps:
        copy = copied.get((item.prefix, item.template))
        if copy is None or item.home == own or not _is_copy(copy, item):
            left.append(item)
        else:
            copied[item.prefix, item.template] = replace(copy, home=item.home)
    left = [copied.get((m.prefix, m.template), m) if m.home == own else m for m in left]
    homes: dict[str, set[Path]] = defaultdict(set)
    for item in left:
        homes[item.subject].add(item.home)
    if twice := sorted(subject for subject, places in homes.items() if len(places) > 1):
        places = [root for root in roots if any(root in homes[subject] for subject in twice)]
        raise DatasetError(
            f"several datasets have maps of {listed([f'sub-{subject}' for subject in twice])}: "
            f"{', '.join(str(place) for place in places)}; are they the same person?",
            remedy="use different labels for the participants of each dataset; if they are the same person, name only "
            "one dataset",
        )
    return left


def _is_copy(copy: GreyMatterMap, item: GreyMatterMap) -> bool:
    told = read_json(sidecar_path(copy.path)).get("SourceFile")
    return isinstance(told, dict) and unchanged(item.path, told)


def _unreadable(item: GreyMatterMap) -> str | None:
    """Why a map cannot be opened, with its file."""
    import nibabel as nib

    if found := missing_content(item.path):
        return f"{found[0]}\n  file: {item.path}\n  what to do: {found[1]}"
    try:
        image: Any = nib.load(item.path)
        shape, affine = image.shape, image.affine
    except Exception as error:  # nibabel, gzip and zlib each raise their own kinds for damage
        return f"the map cannot be read ({one_line(error)})\n  file: {item.path}"
    if len(shape) < 3 or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        return f"the map's header does not say where its voxels are\n  file: {item.path}"
    sidecar = sidecar_path(item.path)
    if os.path.lexists(sidecar) and not is_json(sidecar):
        return f"its sidecar, which records the quality of the map, cannot be read\n  file: {sidecar}"
    return None


def _voxel_mm(item: GreyMatterMap) -> float:
    import nibabel as nib

    image: Any = nib.load(item.path)
    return float(min(image.header.get_zooms()[:3]))


def _bids_maps(root: Path, participants: Sequence[str], sessions: Sequence[str]) -> Iterator[GreyMatterMap]:
    for path in list_images(root, _MAP, participants, sessions):
        parts = path.name.split(".")[0].split("_")[:-1]
        named = dict(part.split("-", 1) for part in parts if "-" in part)
        kind = named.get("label", named.get("class"))
        space = named.get("space")
        if kind != "GM" or not space or space in _NATIVE or named.get("desc") not in ("modulated", None):
            continue
        yield GreyMatterMap(
            root / path,
            named["sub"],
            named.get("ses"),
            {name: named[key] for name, key in SCAN_ENTITIES.items() if key in named},
            space,
            named.get("res"),
            modulated=named.get("desc") == "modulated",
            cohort=named.get("cohort", ""),
            home=root,
        )


def _cat12_maps(
    root: Path, participants: Sequence[str], sessions: Sequence[str]
) -> tuple[list[GreyMatterMap], list[Unusable]]:
    found_files = sorted(root.rglob("m*wp1*.nii*"))  # one walk: datasets are large, and most hold no such file
    partly = [path.name for path in found_files if path.name.startswith("m0wp1")]
    paths = [path for path in found_files if path.name.startswith(("mwp1", "mwmwp1"))]
    if partly and not paths:
        raise DatasetError(
            f"these CAT12 maps are modulated only for the nonlinear part (m0wp1): {listed(partly)}",
            file=root,
            remedy="make the fully modulated maps (mwp1) with CAT12; use head size as a covariate here (tiv)",
        )
    maps, unusable = [], []
    for path in paths:
        match = _CAT12_NAME.fullmatch(path.name)
        if not match:
            unusable.append(Unusable(path.name, f"{_CAT12_NAMELESS}\n  file: {path}"))
            continue
        named = dict(part.split("-", 1) for part in match["name"].split("_")[:-1])
        wrong_subject = participants and named["sub"] not in participants
        if wrong_subject or (sessions and named.get("ses") not in sessions):
            continue
        entities = {name: named[key] for name, key in SCAN_ENTITIES.items() if key in named}
        tiv = _cat12_tiv(path, match["name"])
        maps.append(GreyMatterMap(path, named["sub"], named.get("ses"), entities, CAT12_SPACE, tiv=tiv, home=root))
    return maps, unusable


def _cat12_tiv(path: Path, name: str) -> float | None:
    """``<vol_TIV>`` of CAT12's report of a scan, in ml."""
    for folder in (path.parent, path.parent / "report", path.parent.parent / "report"):
        for report in sorted(folder.glob(f"cat_*{name}.xml")):
            if missing_content(report):
                continue
            if match := re.search(r"<vol_TIV>\s*(\d+(?:\.\d+)?)\s*</vol_TIV>", report.read_text(errors="replace")):
                return float(match[1])
    return None
