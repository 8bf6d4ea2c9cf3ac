"""Whether a file is still the one from which something was made: cheap properties first, its content last."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HEADER = 4096  # bytes that hold the header of an image and the beginning of its data


def describe_source(path: Path) -> dict[str, Any]:
    """Size in bytes, time of change (ns), and a hash of the header: what `unchanged` looks at first."""
    found = path.stat()
    return {"Size": found.st_size, "Time": found.st_mtime_ns, "Header": _hash_header(path)}


def hash_content(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unchanged(path: Path, told: Mapping[str, Any]) -> bool:
    """Whether a file has the content that was described.

    Parameters
    ----------
    path : Path
    told : mapping
        Of `describe_source`, with the hash of the content as ``SHA256``. The content is read only where the time of
        change differs and size and header do not: a copy, a clone, or a file that was changed in place.
    """
    now = describe_source(path)
    if now["Size"] != told.get("Size") or now["Header"] != told.get("Header"):
        return False
    return bool(now["Time"] == told.get("Time") or hash_content(path) == told.get("SHA256"))


def _hash_header(path: Path) -> str:
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            begin = file.read(_HEADER)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # damaged: whoever reads the image says so
        begin = type(error).__name__.encode()
    return hashlib.sha256(begin).hexdigest()[:16]
