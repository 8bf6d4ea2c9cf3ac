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
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .files import read_json, sidecar_path
from .query import SCAN_ENTITIES, Scan, asked_entities, index, to_scan
from .versions import generation, map_engine, map_version

logger = logging.getLogger("latentatlas")

CAT12_SPACE = "MNI152NLin2009cAsym"
_LISTED = 20
_CAT12_NAME = re.compile(r"(?:mwp1r?|mwmwp1r)(?P<name>sub-[a-zA-Z0-9]+(?:_[a-z]+-[a-zA-Z0-9]+)*_T1w)\.nii(?:\.gz)?")


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
    """

    space: str = ""
    resolution: str | None = None
    modulated: bool = True
    cohort: str = ""
    tiv: float | None = None

    @property
    def template(self) -> str:
        """The space as ``--template`` names it."""
        return f"{self.space}:cohort-{self.cohort}" if self.cohort else self.space

    @property
    def transform(self) -> Path | None:
        """The transform that brought the map to its space, as fMRIPrep and sMRIPrep leave it beside the map."""
        space = f"{self.space}+{self.cohort}" if self.cohort else self.space
        file = self.path.with_name(f"{self.prefix}_from-T1w_to-{space}_mode-image_xfm.h5")
        return file if file.exists() else None


def find_maps(
    roots: Iterable[Path],
    *,
    prefer_space: str | None = None,
    resolution: str | None = None,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
) -> list[GreyMatterMap]:
    """Grey-matter maps in a standard space, from derivative datasets.

    Per scan the modulated, unsmoothed map is taken where there is one, else the plain probability map. A scan found in
    several datasets is taken from the first.

    Parameters
    ----------
    roots : iterable of Path
        Derivative datasets, the most trusted first.
    prefer_space : str, optional
        Where there are maps with this ``space-`` label, take no others.
    resolution : str, optional
        Take only maps with this ``res-`` label.
    participants, sessions : sequence of str
        Labels without prefix; empty for all.

    Raises
    ------
    DatasetError
        A CAT12 map that is modulated for the nonlinear part only, or whose name does not say whose it is.
    """
    best: dict[tuple[str, str, str | None], tuple[int, GreyMatterMap]] = {}
    for place, root in enumerate(roots):
        for item in (*_bids_maps(root, participants, sessions), *_cat12_maps(root, participants, sessions)):
            if resolution and item.resolution != resolution:
                continue
            rank = 2 * place + (not item.modulated)
            if rank < best.get(key := (item.prefix, item.template, item.resolution), (rank + 1,))[0]:
                best[key] = (rank, item)
    maps = sorted((item for _, item in best.values()), key=lambda m: m.prefix)
    preferred = [m for m in maps if m.space == prefer_space]
    if preferred and (without := sorted({m.prefix for m in maps} - {m.prefix for m in preferred})):
        logger.warning("no map in %s, and left out: %s", prefer_space, ", ".join(without))
    return preferred or maps


def check_alike(maps: Sequence[GreyMatterMap], remedy: str, *, modulating: bool = False) -> None:
    """Refuse maps of different spaces, voxel grids, methods, or of which only some are modulated.

    Parameters
    ----------
    maps : sequence of GreyMatterMap
    remedy : str
        What the user can do about it.
    modulating : bool
        Maps that have their transform beside them are going to be modulated.

    Raises
    ------
    DatasetError
        Names the kinds with their numbers of scans, and the scans of the rarest.
    """
    kinds: dict[str, Callable[[GreyMatterMap], str]] = {
        "spaces": lambda m: m.template,
        "resolutions": lambda m: f"res-{m.resolution}" if m.resolution else "without res-",
        "grids": _grid,
        "kinds": lambda m: "modulated" if m.modulated or (modulating and m.transform) else "not modulated",
    }
    for what, kind in kinds.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for item in maps:
            groups[kind(item)].append(item.prefix)
        if len(groups) > 1:
            rare = min(groups, key=lambda name: len(groups[name]))
            raise DatasetError(
                f"the maps are of different {what}: {', '.join(f'{k} ({len(v)} scans)' for k, v in groups.items())}; "
                f"{rare}: {', '.join(groups[rare][:10])}{' …' if len(groups[rare]) > 10 else ''}",
                file=maps[0].path.parent,
                remedy=remedy,
            )
    _check_methods(maps)


def _check_methods(maps: Sequence[GreyMatterMap]) -> None:
    """Refuse maps that were made by different methods of this program; what other programs made says neither."""
    sidecars = {item: read_json(sidecar_path(item.path)) for item in maps}
    versions = {item: map_version(sidecar) for item, sidecar in sidecars.items()}
    engines = {item: map_engine(sidecar) for item, sidecar in sidecars.items()}
    _refuse_mixture(
        {item: (generation(version), version) for item, version in versions.items()},
        "by versions of LatentAtlas whose maps must not be mixed",
        "run the participant level again with one version",
    )
    _refuse_mixture(
        {item: (engine, engine) for item, engine in engines.items()},
        "with different segmentations, and must not be mixed",
        "run the participant level again with one --segmentation",
    )


def _refuse_mixture(made: dict[GreyMatterMap, tuple[Any, str | None]], how: str, remedy: str) -> None:
    """Refuse maps of more than one method.

    Parameters
    ----------
    made : dict
        Map -> what tells methods apart (None: unknown, which goes with anything), and its name.
    how, remedy : str
        For the message.
    """
    groups: dict[Any, list[GreyMatterMap]] = defaultdict(list)
    for item, (method, _) in made.items():
        if method is not None:
            groups[method].append(item)
    if len(groups) < 2:
        return
    kinds = []
    for _, items in sorted(groups.items()):
        names = " and ".join(sorted({str(made[item][1]) for item in items}))
        listed = ", ".join(item.prefix for item in items[:_LISTED])
        kinds.append(
            f"{names}: {listed}{' …' if len(items) > _LISTED else ''} ({len(items)} scan{'s' * (len(items) != 1)})"
        )
    raise DatasetError(
        f"the maps were made {how}; {'; '.join(kinds)}",
        file=groups[min(groups)][0].path.parent,
        remedy=f"{remedy} (what it has made itself is kept), or choose with --participant-label",
    )


def _grid(item: GreyMatterMap) -> str:
    """The voxel grid in words; two grids with the same words and another origin differ in their last part."""
    import nibabel as nib

    image: Any = nib.load(item.path)
    size = " x ".join(f"{zoom:.3g}" for zoom in image.header.get_zooms()[:3])
    origin = ", ".join(f"{value:.4g}" for value in image.affine[:3, 3])
    return f"{' x '.join(map(str, image.shape[:3]))} voxels of {size} mm from ({origin})"


def _bids_maps(root: Path, participants: Sequence[str], sessions: Sequence[str]) -> Iterator[GreyMatterMap]:
    layout = index(root, participants, validate=False, derivative=True)
    query: dict[str, Any] = {"suffix": "probseg", "label": "GM", "extension": [".nii", ".nii.gz"]}
    for file in layout.get(**query, **asked_entities(participants, sessions)):
        found = file.get_entities()
        if not found.get("space") or found.get("desc") not in ("modulated", None):
            continue
        scan = to_scan(file)
        # pybids' derivatives configuration has neither res- nor cohort-.
        more = dict(re.findall(r"_(res|cohort)-([a-zA-Z0-9]+)(?=_)", file.filename))
        yield GreyMatterMap(
            scan.path,
            scan.subject,
            scan.session,
            scan.entities,
            found["space"],
            more.get("res"),
            modulated=found.get("desc") == "modulated",
            cohort=more.get("cohort", ""),
        )


def _cat12_maps(root: Path, participants: Sequence[str], sessions: Sequence[str]) -> Iterator[GreyMatterMap]:
    from bids.layout import parse_file_entities

    found_files = sorted(root.rglob("m*wp1*.nii*"))  # one walk: datasets are large, and most hold no such file
    partly = [path.name for path in found_files if path.name.startswith("m0wp1")]
    paths = [path for path in found_files if path.name.startswith(("mwp1", "mwmwp1"))]
    if partly and not paths:
        raise DatasetError(
            f"CAT12's maps here are modulated for the nonlinear part only (m0wp1): {', '.join(partly[:5])}",
            file=root,
            remedy="write the fully modulated maps (mwp1) with CAT12; head size is a covariate here (tiv)",
        )
    for path in paths:
        match = _CAT12_NAME.fullmatch(path.name)
        if not match:
            raise DatasetError(
                "the name of this CAT12 map does not say whose it is",
                file=path,
                remedy="name it after its scan, as CAT12 does for BIDS input: mwp1sub-01[_ses-1]_T1w.nii",
            )
        found = parse_file_entities(f"/{match['name']}.nii")
        wrong_subject = participants and found["subject"] not in participants
        if wrong_subject or (sessions and found.get("session") not in sessions):
            continue
        entities = {k: str(found[k]) for k in SCAN_ENTITIES if found.get(k) is not None}
        tiv = _cat12_tiv(path, match["name"])
        yield GreyMatterMap(path, found["subject"], found.get("session"), entities, CAT12_SPACE, tiv=tiv)


def _cat12_tiv(path: Path, name: str) -> float | None:
    """``<vol_TIV>`` of CAT12's report of a scan, in ml."""
    for folder in (path.parent, path.parent / "report", path.parent.parent / "report"):
        for report in sorted(folder.glob(f"cat_*{name}.xml")):
            if match := re.search(r"<vol_TIV>\s*([\d.]+)\s*</vol_TIV>", report.read_text(errors="replace")):
                return float(match[1])
    return None
