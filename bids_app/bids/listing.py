"""The one list of a dataset's images: names and places by the rules of BIDS, whatever the dataset's own path is called.

Entities come from the path inside the dataset alone. Only ``anat`` folders are looked into, so that ten thousand
participants take seconds.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..delimited import decode
from ..errors import LatentAtlasError
from ..schema.outputs import BIDSIGNORE

logger = logging.getLogger("latentatlas")

#: What a label may hold: letters, digits and, since BIDS 1.10, a plus.
LABEL = "[a-zA-Z0-9+]+"
_SUBJECT = re.compile(rf"sub-({LABEL})")
_SESSION = re.compile(rf"ses-({LABEL})")


def list_images(
    root: Path,
    wanted: re.Pattern[str],
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    broken: list[PurePosixPath] | None = None,
) -> Iterator[PurePosixPath]:
    """Paths inside a dataset, sorted, of the files of ``sub-*/[ses-*/]`` and of ``anat`` in them that fit a pattern.

    Parameters
    ----------
    root : Path
    wanted : Pattern
        Fits a file's name from its beginning to its end.
    participants, sessions : sequence of str
        Labels without prefix; empty for all. A folder without a session belongs to none.
    broken : list, optional
        Filled with the ``anat`` folders that are links to nowhere.
    """
    for subject in _folders(root, _SUBJECT, participants):
        whole = PurePosixPath(subject)
        visits = [whole / session for session in _folders(root / whole, _SESSION, sessions)]
        for home in visits if sessions else [whole, *visits]:
            yield from _files(root, home, wanted, deep=False)
            yield from _files(root, home / "anat", wanted, deep=True)
            anat = root / home / "anat"
            if broken is not None and anat.is_symlink() and not anat.exists():
                broken.append(home / "anat")


def list_participants(root: Path) -> list[str]:
    """Labels of a dataset's participants, without prefix."""
    return [name.removeprefix("sub-") for name in _folders(root, _SUBJECT, ())]


def read_bidsignore(root: Path) -> list[str]:
    """Lines of a dataset's ``.bidsignore``, without the comments."""
    file = root / BIDSIGNORE.name
    try:
        lines = decode(file).splitlines() if file.exists() else []
    except LatentAtlasError as error:
        logger.warning("%s is ignored: %s", file, str(error).splitlines()[0])
        return []
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def ignored(paths: Sequence[PurePosixPath], patterns: Sequence[str]) -> set[PurePosixPath]:
    """Which of some paths inside a dataset its ``.bidsignore`` excludes, by the rules of ``.gitignore``."""
    if not patterns:
        return set()
    from pathspec import GitIgnoreSpec

    usable = []
    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError:
            logger.warning(".bidsignore: the pattern '%s' is invalid and is ignored", pattern)
        else:
            usable.append(pattern)
    spec = GitIgnoreSpec.from_lines(usable)
    return {path for path in paths if spec.match_file(str(path))}


def _folders(root: Path, pattern: re.Pattern[str], labels: Sequence[str]) -> list[str]:
    try:
        with os.scandir(root) as scanned:
            entries = list(scanned)
    except OSError as error:
        logger.warning("%s cannot be read (%s)", root, error.strerror)
        return []
    found = [entry.name for entry in entries if entry.is_dir() and entry.name.startswith(pattern.pattern[:4])]
    if lost := [e.name for e in entries if e.is_symlink() and not e.is_dir() and pattern.fullmatch(e.name)]:
        logger.warning("%s: these links are broken (was their content fetched?): %s", root, ", ".join(sorted(lost)))
    odd = sorted(name for name in found if not pattern.fullmatch(name))
    if odd and not labels:
        logger.warning("%s: ignored, because these are not valid BIDS labels: %s", root, ", ".join(odd))
    return sorted(name for name in found if name not in odd and (not labels or name[4:] in labels))


def _files(root: Path, folder: PurePosixPath, wanted: re.Pattern[str], *, deep: bool) -> Iterator[PurePosixPath]:
    try:
        with os.scandir(root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        logger.warning("%s cannot be read (%s)", root / folder, error.strerror)
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        if wanted.fullmatch(entry.name):
            yield folder / entry.name
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from _files(root, folder / entry.name, wanted, deep=True)
