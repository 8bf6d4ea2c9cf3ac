"""How an option is declared, and how its text becomes its value; ValueError where it makes no sense."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

#: What the smallest step needs.
LEAST_MEMORY_GB = 0.5
#: Reads a value of the command line or of a TOML file; ValueError where it makes no sense.
Read = Callable[[Any], Any]


def memory_gb(text: str | float) -> float:
    """Read a memory limit as fMRIPrep does: plain numbers are MB, and K, M, G, T suffixes are understood.

    Examples
    --------
    >>> memory_gb("8000"), memory_gb("8GB"), memory_gb("500M")
    (8.0, 8.0, 0.5)
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    if not match:
        raise ValueError(f"'{text}' is not an amount of memory; write 8000 (MB) or 8G")
    return float(match[1]) * {"K": 1e-6, "M": 1e-3, "": 1e-3, "G": 1.0, "T": 1e3}[match[2].upper()]


def memory_limit(text: str | float) -> float:
    amount = memory_gb(text)
    if amount < LEAST_MEMORY_GB:
        meant = f": did you mean {text}G?" if re.fullmatch(r"\s*\d{1,3}\s*", str(text)) else ""
        raise ValueError(
            f"'{text}' is {1000 * amount:g} MB, which is too little for any step (at least {LEAST_MEMORY_GB:g} "
            f"GB){meant}"
        )
    return amount


def label(prefix: str) -> Read:
    def strip(text: str) -> str:
        bare = str(text).removeprefix(prefix)
        if not re.fullmatch(r"[a-zA-Z0-9+]+", bare):
            raise ValueError(f"'{text}' is not a BIDS label (letters and digits only)")
        return bare

    strip.__name__ = f"{prefix}label"
    return strip


def positive(kind: Callable[[Any], float]) -> Read:
    def check(text: Any) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise ValueError(f"'{text}' must be a number above zero")
        return value

    check.__name__ = f"positive {getattr(kind, '__name__', 'number')}"
    return check


def folds(text: Any) -> int:
    if int(text) < 2:
        raise ValueError(f"'{text}' is too few: cross-fitting needs at least two folds")
    return int(text)


def not_negative(text: Any) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(f"'{text}' must be a number and must not be negative")
    return value


def path(text: Any) -> Path:
    try:
        found = Path(os.path.abspath(os.path.expanduser(str(text))))
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            found.lstat()
        return found
    except FileNotFoundError:
        raise ValueError(
            f"'{text}' is relative to the current folder, which no longer exists: change to another folder, or give "
            "the absolute path"
        ) from None
    except (OSError, ValueError) as error:  # too long, or a character that no path can have
        raise ValueError(
            f"'{str(text)[:200]}' is not a valid path ({getattr(error, 'strerror', None) or error})"
        ) from None


def check_utf8(values: Iterable[Any]) -> None:
    """Refuse paths that the outputs cannot name, which are UTF-8: also by what they link to."""
    paths = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    for found in (one for one in paths if isinstance(one, Path)):
        for name in (str(found), os.path.realpath(found)):
            try:
                name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(name).decode(errors="backslashreplace")
                raise ValueError(f"'{shown}' cannot be written as UTF-8: rename this folder or file") from None


def atlas(text: Any) -> str:
    """A bundled name as it stands, a file as an absolute path."""
    return str(path(text)) if os.sep in str(text) or str(text).endswith((".nii", ".nii.gz")) else str(text)


def declare(  # noqa: PLR0913 - the whole declaration of an option
    default: Any,
    help: str,
    section: str,
    *,
    read: Read = str,
    many: bool = False,
    choices: tuple[str, ...] | None = None,
    short: str | None = None,
    metavar: str | None = None,
    scientific: bool = False,
) -> Any:
    """Declare one option.

    ``scientific`` marks those that change the participant level's numbers: together they decide whether a scan that
    is already there has to be processed again.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "section": section,
            "read": read,
            "many": many,
            "choices": choices,
            "short": short,
            "metavar": metavar,
            "scientific": scientific,
        },
    )
