"""Whether a file has its content: datasets travel with links or pointers in its place (git-annex, Git LFS)."""

from __future__ import annotations

import gzip
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path

_POINTERS = (b"/annex/objects/", b"version https://git-lfs", b"../.git/annex/objects", b".git/annex/objects")
_FETCH = "fetch its content (datalad get, git annex get, git lfs pull), or exclude it"


_BLOCK = 2**22  # bytes

#: No scan, map or atlas has more; a damaged header may well say so, and the memory would be gone before the error.
MOST_VOXELS = 2**30


def check_size(shape: Sequence[int]) -> None:
    """Refuse an image that no memory holds before anybody reads it.

    Raises
    ------
    ValueError
        It has more than `MOST_VOXELS` voxels by its header, or an axis without any.
    """
    if math.prod(int(n) for n in shape) > MOST_VOXELS or any(int(n) < 1 for n in shape):
        raise ValueError(f"its header says {' x '.join(map(str, shape))} voxels")


def check_checksum(path: Path) -> None:
    """Refuse a gzip file whose content is not what was compressed.

    Whoever reads an image stops after its last voxel, before the checksum: flipped bits would be other intensities.

    Raises
    ------
    Exception
        Of gzip and zlib: the file is damaged. What follows after the compressed data is left alone.
    """
    if not path.name.endswith(".gz"):
        return
    try:
        with gzip.open(path) as file:
            while file.read(_BLOCK):
                pass
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise


def missing_content(path: Path) -> tuple[str, str] | None:
    """What keeps a file from being read, before anybody opens it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (problem, remedy), or None where there is nothing in the way
        Pipes and devices are in the way, too: to read one may wait for ever.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            return "its content is missing: the link is broken", _FETCH
        return "there is no such file", "check the path"
    except OSError as error:  # a loop of links, a name too long, a folder without permission
        return f"it cannot be read ({error.strerror})", "check the path and its permissions"
    if not stat.S_ISREG(found.st_mode):
        return f"it is not a file but {'a folder' if stat.S_ISDIR(found.st_mode) else 'a device'}", "put the file there"
    if not os.access(path, os.R_OK):
        return "it cannot be read (no permission)", "check its permissions"
    if found.st_size == 0:
        return "the file is empty", "copy or convert it again, or exclude it"
    if found.st_size < 1000:
        try:
            with path.open("rb") as file:
                begin = file.read(64)
        except OSError as error:
            return f"it cannot be read ({error.strerror})", "check the disk"
        if begin.startswith(_POINTERS):
            return "its content is missing: the file is only a pointer to it", _FETCH
    return None
