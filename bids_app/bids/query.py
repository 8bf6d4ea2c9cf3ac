"""Find scans with pybids, indexing only what is asked for."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DatasetError, NoInputError

logger = logging.getLogger("latentatlas")

#: Entities of a T1w image that tell two scans of one session apart, in the order of a BIDS file name: pybids' name ->
#: key in the file name.
SCAN_ENTITIES = {
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "run": "run",
    "echo": "echo",
    "part": "part",
}


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
    file = root / "dataset_description.json"
    skip = "or use --skip-bids-validation to go on without it"
    try:
        description = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if not strict:
            return {}
        raise DatasetError(
            "this is not a BIDS dataset: it has no dataset_description.json",
            file=root,
            remedy=f"point at the folder that holds dataset_description.json and sub-*, {skip}",
        ) from None
    except (OSError, ValueError) as error:
        if not strict:
            return {}
        raise DatasetError(f"the dataset description is not readable JSON ({error})", file=file, remedy=skip) from None
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
    database_dir: Path | None = None,
    validate: bool = True,
) -> list[Scan]:
    """All T1-weighted images of the asked participants and sessions.

    Parameters
    ----------
    root : Path
        BIDS dataset.
    participants, sessions : sequence of str
        Labels without prefix; empty for all.
    filter_file : Path, optional
        JSON as for fMRIPrep: ``{"t1w": {entity: value or list}}``.
    database_dir : Path, optional
        Where pybids keeps its index between runs.
    validate : bool
        Leave out files whose names are not valid BIDS.

    Returns
    -------
    list of Scan
        Sorted by name. Phase images (``part-phase``) are never taken.

    Raises
    ------
    NoInputError
        Nothing fits; the message names the participants without a T1w image.
    """
    layout = index(root, participants, database_dir=database_dir, validate=validate)
    query: dict[str, Any] = {"suffix": "T1w", "datatype": "anat", "extension": [".nii", ".nii.gz"], "scope": "raw"}
    query |= asked_entities(participants, sessions) | _filters(filter_file)
    scans = [to_scan(f) for f in layout.get(**query) if f.get_entities().get("part") not in ("phase", "real", "imag")]
    scans.sort(key=lambda s: s.path)
    absent = [p for p in participants if p not in {s.subject for s in scans}]
    if absent:
        raise NoInputError(
            f"no T1-weighted image for: {', '.join('sub-' + p for p in absent)}",
            file=root,
            remedy="check --participant-label, --session-label and the filters; a scan is expected at "
            f"sub-{absent[0]}/[ses-*/]anat/sub-{absent[0]}[_*]_T1w.nii.gz",
        )
    if not scans:
        raise NoInputError(
            "the dataset holds no T1-weighted image that fits the request",
            file=root,
            remedy="images are expected at sub-*/[ses-*/]anat/*_T1w.nii.gz",
        )
    return scans


def asked_entities(participants: Sequence[str], sessions: Sequence[str]) -> dict[str, list[str]]:
    return {k: list(v) for k, v in (("subject", participants), ("session", sessions)) if v}


def index(
    root: Path,
    participants: Sequence[str] = (),
    *,
    database_dir: Path | None = None,
    validate: bool = True,
    derivative: bool = False,
) -> Any:
    from bids import BIDSLayout, BIDSLayoutIndexer

    # Other datatypes, other participants and metadata are what make indexing slow; none of them is needed.
    ignore = [
        re.compile(r"^/(code|stimuli|sourcedata|models|phenotype|group|logs)(/|$)"),
        re.compile(r"/\."),
        re.compile(r"^/sub-[^/]+/(ses-[^/]+/)?(?!anat(/|$)|ses-|sub-)[^/]+"),
    ]
    if not derivative:
        ignore.append(re.compile(r"^/derivatives(/|$)"))
    if participants and database_dir is None:
        ignore.append(re.compile(rf"^/sub-(?!({'|'.join(map(re.escape, participants))})(/|$))"))
    with _database_lock(database_dir):
        fresh = database_dir is not None and not (database_dir / "layout_index.sqlite").exists()
        return BIDSLayout(
            root,
            validate=False,  # the description was checked by check_dataset, with a message that says what to do
            is_derivative=derivative,
            config=["bids", "derivatives"] if derivative else None,
            database_path=database_dir,
            reset_database=fresh,
            indexer=BIDSLayoutIndexer(validate=validate, index_metadata=False, ignore=ignore),
        )


def _database_lock(folder: Path | None) -> AbstractContextManager[object]:
    """Of several jobs that start together one makes the database; the others wait and read it."""
    from contextlib import nullcontext

    from filelock import FileLock

    if folder is None:
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    # A database made beforehand may well lie where nothing can be written.
    return FileLock(folder / "layout_index.lock") if os.access(folder, os.W_OK) else nullcontext()


def to_scan(file: Any) -> Scan:
    found = file.get_entities()
    entities = {k: str(found[k]) for k in SCAN_ENTITIES if found.get(k) is not None}
    # pybids turns run labels into numbers; the file name keeps the zeros that the user wrote.
    if "run" in entities and (run := re.search(r"_run-([a-zA-Z0-9]+)", file.filename)):
        entities["run"] = run[1]
    return Scan(Path(file.path), found["subject"], found.get("session"), entities)


def _filters(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        filters = json.loads(file.read_text())
        chosen = dict(filters.get("t1w", {}))
    except FileNotFoundError:
        raise NoInputError("the BIDS filter file does not exist", file=file) from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"the BIDS filter file is not readable ({error})",
            file=file,
            remedy='write JSON such as {"t1w": {"acquisition": "mprage"}}',
        ) from None
    # pybids' own markers for "absent" and "any", spelt as fMRIPrep spells them.
    from bids.layout import Query

    words = {"Query.NONE": Query.NONE, "Query.ANY": Query.ANY, "Query.OPTIONAL": Query.OPTIONAL}
    return {k: words.get(v, v) if isinstance(v, str) else v for k, v in chosen.items()}
