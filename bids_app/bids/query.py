"""Find the T1w images of a dataset: what is asked for, what BIDS allows, what can be opened."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from ..content import missing_content
from ..delimited import listed
from ..errors import DatasetError, NoInputError
from ..schema.outputs import DESCRIPTION
from .filters import read_filters
from .listing import LABEL, ignored, list_images, list_participants, read_bidsignore

logger = logging.getLogger("latentatlas")

#: Entities of a T1w image that tell two scans of one session apart, in the order of a BIDS file name: name -> key in
#: the file name.
SCAN_ENTITIES = {
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "run": "run",
    "echo": "echo",
    "part": "part",
    "chunk": "chunk",
}
_SHOWN = 10
_INDICES = ("run", "echo", "chunk")
_ANY_T1W = re.compile(r"(.*_)?t1w?([^a-z].*)?\.nii(\.gz)?", re.IGNORECASE)  # whatever somebody may take for one
_LOOSE = re.compile(rf"sub-{LABEL}(_[a-zA-Z]+-{LABEL})*_T1w\.nii(\.gz)?")
_T1W = re.compile(
    rf"sub-{LABEL}(_ses-{LABEL})?"
    + "".join(rf"(_{key}-{'[0-9]+' if name in _INDICES else LABEL})?" for name, key in SCAN_ENTITIES.items())
    + r"_T1w\.nii(\.gz)?"
)
_ABSENT = (
    "no T1-weighted image\n  file: {root}\n  what to do: check --participant-label, --session-label and the filters; "
    "scans are expected at sub-{label}/[ses-*/]anat/sub-{label}[_*]_T1w.nii.gz"
)


@dataclass(frozen=True)
class Scan:
    """One image of one participant.

    Attributes
    ----------
    path : Path
    subject, session : str
        Labels without prefix; ``session`` is None where the dataset has no sessions.
    entities : dict
        The entities of :data:`SCAN_ENTITIES` that the file name carries.
    """

    path: Path
    subject: str
    session: str | None = None
    entities: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def prefix(self) -> str:
        """The part of the file name that all outputs of this scan share, e.g. ``sub-01_ses-1_run-2``."""
        parts = [f"sub-{self.subject}", *([f"ses-{self.session}"] if self.session else [])]
        return "_".join(
            [*parts, *(f"{key}-{self.entities[name]}" for name, key in SCAN_ENTITIES.items() if name in self.entities)]
        )

    @property
    def folder(self) -> Path:
        """Where outputs of this scan go, relative to the output dataset."""
        return Path(f"sub-{self.subject}", *([f"ses-{self.session}"] if self.session else []), "anat")

    @property
    def facts(self) -> dict[str, str]:
        """Every entity by its name, as filters ask for them."""
        session = {"session": self.session} if self.session else {}
        return {"subject": self.subject, **session, **self.entities}


S = TypeVar("S", bound=Scan)


class Unusable(NamedTuple):
    """Something that was asked for and cannot be worked on: its name, and why."""

    name: str
    reason: str

    @property
    def subject(self) -> str:
        """Whose it is, without ``sub-``."""
        return self.name.split("_")[0].removeprefix("sub-")


class Found(NamedTuple):
    """What a query gives: scans that can be opened, and what cannot be used, with the reason."""

    scans: list[Scan]
    unusable: list[Unusable]


def check_dataset(root: Path, *, strict: bool = True) -> dict[str, Any]:
    """Check that a folder is a BIDS dataset and return its description.

    Parameters
    ----------
    root : Path
    strict : bool
        Without it (``--skip-bids-validation``) only the folder itself has to exist.

    Raises
    ------
    NoInputError
        The folder does not exist.
    DatasetError
        ``dataset_description.json`` is missing, is not JSON, or lacks ``Name`` or ``BIDSVersion``.
    """
    if not root.is_dir():
        raise NoInputError("the BIDS dataset does not exist", file=root, remedy="check the first argument")
    file = DESCRIPTION.at(root)
    skip = "or use --skip-bids-validation to continue without it"
    try:
        description = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if not strict:
            return {}
        raise DatasetError(
            "this is not a BIDS dataset: it has no dataset_description.json",
            file=root,
            remedy=f"give the folder that contains dataset_description.json and sub-*, {skip}",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        if not strict:
            return {}
        raise DatasetError(
            f"the dataset description is not readable JSON ({error})", file=file, remedy=f"repair it, {skip}"
        ) from None
    missing = [k for k in ("Name", "BIDSVersion") if not isinstance(description, dict) or not description.get(k)]
    if missing and strict:
        raise DatasetError(
            f"the dataset description lacks {' and '.join(missing)}", file=file, remedy=f"add it, {skip}"
        )
    return description if isinstance(description, dict) else {}


def find_t1w(
    root: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filter_file: Path | None = None,
    validate: bool = True,
    covered: Callable[[Scan], bool] = lambda scan: False,
) -> Found:
    """All T1-weighted images of the asked participants and sessions, checked: what is named here can be opened.

    Parameters
    ----------
    root : Path
        BIDS dataset.
    participants, sessions : sequence of str
        Labels without prefix; empty for all.
    filter_file : Path, optional
        JSON as for fMRIPrep: ``{"t1w": {entity: value or list}}`` (:mod:`bids_app.bids.filters`).
    validate : bool
        Leave out files whose names or places are not valid BIDS.
    covered : callable
        Which scans are not needed, because somebody else has made their maps.

    Returns
    -------
    Found
        Scans sorted by name; of several T1w of one session those that :func:`choose` takes. Phase images
        (``part-phase``) are never taken.
    """
    filters = read_filters(filter_file)
    broken: list[PurePosixPath] = []
    paths = list(list_images(root, _ANY_T1W, participants, sessions, broken))
    # A pattern such as `anat/` is one of folders, and of what is in them.
    inside = {path / "any": path for path in broken}
    away = ignored([*paths, *broken, *inside], read_bidsignore(root))
    away |= {inside[path] for path in away & inside.keys()}
    if away:
        logger.info(".bidsignore excludes %s", listed([str(path) for path in [*paths, *broken] if path in away]))
    scans: list[Scan] = []
    unusable: list[Unusable] = []
    odd: list[tuple[PurePosixPath, str]] = []
    known: set[str] = set()
    for path in (path for path in paths if path not in away):
        problem = _misnamed(path, validate)
        if problem:
            odd.append((path, problem))
            continue
        scan = _to_scan(root, path)
        if covered(scan):
            known.add(scan.subject)
            continue
        problem = _misplaced(path, scan)
        # One that is misplaced may be whose its name says, or whose its folders say.
        whose = (scan.facts, {**scan.facts, **_facts_of_folders(path)}) if problem else (scan.facts,)
        if scan.entities.get("part") in ("phase", "real", "imag") or not any(map(filters.take, whose)):
            continue
        if problem:
            unusable.append(Unusable(scan.prefix, f"{problem}\n  file: {scan.path}"))
        else:
            scans.append(scan)
    folders = []
    for path in (path for path in broken if path not in away):
        facts = _facts_of_folders(path)
        folder = Scan(root / path, facts["subject"], facts.get("session"))
        if covered(folder):
            known.add(folder.subject)
        elif filters.places.take(facts):
            folders.append(folder)
    for path, problem in odd:
        logger.warning("%s is excluded: %s", path, problem)
    scans, twice = _unique(scans)
    if "chunk" not in filters.named:
        scans, pieces = _whole(scans)
        unusable += pieces
    scans = choose(scans, overruled=filters.named)
    scans += folders  # a link to nowhere in place of all scans is missing content, too
    for scan in list(scans):
        if found := missing_content(scan.path):
            scans.remove(scan)
            unusable.append(Unusable(scan.prefix, f"{found[0]}\n  file: {scan.path}\n  what to do: {found[1]}"))
    known |= {scan.subject for scan in scans} | {item.subject for item in (*twice, *unusable)}
    absent = [
        Unusable(f"sub-{label}", _ABSENT.format(label=label, root=root))
        for label in (participants or list_participants(root))
        if label not in known
    ]  # fmt: skip
    if absent and not participants:  # nobody has asked for them
        logger.info("no T1w image is used for %s", listed([item.name for item in absent], 10))
        absent = []
    return Found(scans, sorted((*twice, *unusable, *absent)))


def choose(scans: Sequence[S], overruled: Collection[str] = ()) -> list[S]:
    """Of several T1w of one session those to work on; what is left out is said in the log.

    Images with a contrast agent (``ce-``) yield to images without; among images whose names differ in nothing else,
    ``rec-norm`` comes before none, and the first echo before the others. All that are left are taken.

    Parameters
    ----------
    scans : sequence of Scan
    overruled : collection of str
        Entities that a filter file names: it decides about them, not this rule.
    """
    kept = list(scans)
    for entity, better in _BETTER.items():
        groups: dict[tuple[object, ...], list[S]] = defaultdict(list)
        for scan in kept if entity not in overruled else ():
            rest = () if entity == "ceagent" else tuple(sorted((k, v) for k, v in scan.entities.items() if k != entity))
            groups[scan.subject, scan.session, rest].append(scan)
        worse = set()
        for group in groups.values():
            best = min(better(scan.entities.get(entity)) for scan in group)
            worse |= {scan.prefix for scan in group if better(scan.entities.get(entity)) > best}
        if worse:
            rule = _RULE[entity]
            logger.info("of several T1w images in one session, %s; excluded: %s", rule, listed(sorted(worse), _SHOWN))
            kept = [scan for scan in kept if scan.prefix not in worse]
    tell_mixtures(kept)
    return kept


def tell_mixtures(scans: Sequence[Scan]) -> None:
    """Say which sessions have several scans that differ in more than their run."""
    sessions: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        sessions[f"sub-{scan.subject}" + (f"_ses-{scan.session}" if scan.session else "")].append(scan)
    for entity in ("ceagent", "reconstruction", "echo", "part", "acquisition", "chunk"):
        mixed = [name for name, group in sessions.items() if len({scan.entities.get(entity) for scan in group}) > 1]
        if mixed:
            logger.warning(
                "T1w images that differ in %s are separate scans; at the group level each person is represented by "
                    "one scan (--scan-choice; or choose with a filter file): %s", entity, listed(mixed, _SHOWN),
            )  # fmt: skip


#: Entity -> how far a value is from what is wanted.
_BETTER: dict[str, Callable[[str | None], int]] = {
    "ceagent": lambda value: value is not None,
    "reconstruction": lambda value: 1 if value is None else 0 if value.lower() == "norm" else 1,
    "echo": lambda value: int(value) if value and value.isdecimal() else 0,
}
_RULE = {
    "ceagent": "those without contrast agent are used",
    "reconstruction": "rec-norm is preferred to the plain image",
    "echo": "the first echo is used",
}


def _misnamed(path: PurePosixPath, validate: bool) -> str | None:
    """Why BIDS does not know a file of this name in this place."""
    if not (_LOOSE if not validate else _T1W).fullmatch(path.name):
        return "its name is not a BIDS name for a T1w image (sub-<label>[_ses-<label>][_<entity>-<label>]_T1w.nii.gz)"
    if validate and path.parent.name != "anat":
        return "BIDS allows T1w images only in sub-<label>/[ses-<label>/]anat"
    return None


def _misplaced(path: PurePosixPath, scan: Scan) -> str | None:
    """Whether the name says another participant or session than the folders: nobody knows whose image this is."""
    folders = [part for part in path.parts[:-1] if part.startswith(("sub-", "ses-"))]
    named = [f"sub-{scan.subject}", *([f"ses-{scan.session}"] if scan.session else [])]
    if folders != named:
        return f"its name has {'_'.join(named)}, but its folder {'/'.join(folders)}: it is unclear whose scan it is"
    return None


def _facts_of_folders(path: PurePosixPath) -> dict[str, str]:
    names = {"sub": "subject", "ses": "session"}
    folders = (part.split("-", 1) for part in path.parts[:-1] if part.startswith(("sub-", "ses-")))
    return {names[key]: label for key, label in folders}


def _unique(scans: Sequence[Scan]) -> tuple[list[Scan], list[Unusable]]:
    """Scans whose names are their own; of two files that are the same scan none is anybody's first choice."""
    groups: dict[tuple[object, ...], list[Scan]] = defaultdict(list)
    for scan in scans:
        # Zeros before an index mean nothing in BIDS: run-1 is run-01.
        rest = tuple((name, int(v) if name in _INDICES and v.isdecimal() else v) for name, v in scan.entities.items())
        groups[scan.subject, scan.session, rest].append(scan)
    twice = [
        Unusable(
            group[0].prefix,
            f"several files are this scan: {', '.join(str(scan.path) for scan in group)}\n  what to do: keep one of "
            "them, or list the others in .bidsignore"
            + ("; run-1 and run-01 are the same run" if len({scan.prefix for scan in group}) > 1 else ""),
        )
        for group in groups.values()
        if len(group) > 1
    ]
    return [group[0] for group in groups.values() if len(group) == 1], twice


def _whole(scans: Sequence[Scan]) -> tuple[list[Scan], list[Unusable]]:
    """Scans that are no pieces: several chunks of one name are one image that was acquired in parts."""
    groups: dict[tuple[object, ...], list[Scan]] = defaultdict(list)
    for scan in scans:
        rest = tuple(sorted((k, v) for k, v in scan.entities.items() if k != "chunk"))
        if "chunk" in scan.entities:
            groups[scan.subject, scan.session, rest].append(scan)
    pieces = {scan.prefix: len(group) for group in groups.values() if len(group) > 1 for scan in group}
    unusable = [
        Unusable(
            scan.prefix,
            f"it is one of the {pieces[scan.prefix]} parts (chunks) of an image\n  file: {scan.path}\n  what to do: "
            "join them into one image of the whole head; if one part contains the whole head, select it in a "
            "filter file",
        )
        for scan in scans
        if scan.prefix in pieces
    ]
    return [scan for scan in scans if scan.prefix not in pieces], unusable


def _to_scan(root: Path, path: PurePosixPath) -> Scan:
    named = dict(part.split("-", 1) for part in path.name.split(".")[0].split("_")[:-1])
    entities = {name: named[key] for name, key in SCAN_ENTITIES.items() if key in named}
    return Scan(root / path, named["sub"], named.get("ses"), entities)
