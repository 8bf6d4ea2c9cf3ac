"""How names of the data become parts of file names, and what latents are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ..delimited import MISSING

#: A column with more different numbers than these is a score, one with fewer holds groups.
MOST_GROUPS = 6
#: What the maps of the error call the scans that have no group.
NO_GROUP = "unknown"


def is_score(values: Iterable[Any]) -> bool:
    """Whether a column holds a score and no groups; what is missing does not count."""
    known = pd.Series(list(values), dtype=object).dropna()
    return bool(known.nunique() > MOST_GROUPS and pd.to_numeric(known, errors="coerce").notna().all())


def as_text(values: Iterable[Any]) -> list[str | None]:
    """Cells of a table as stripped text, whole numbers without their .0; None where one is missing or empty."""
    found: list[str | None] = []
    for value in values:
        whole = isinstance(value, float) and value.is_integer()
        text = "" if pd.isna(value) else str(int(value) if whole else value).strip()
        found.append(None if text in ("", MISSING) else text)
    return found


def grouping(column: pd.Series | None) -> pd.Series | None:
    """Group of every row as text, missing where a row has none; None where there is no column or it holds a score."""
    if column is None or is_score(column):
        return None
    return pd.Series(as_text(column), column.index, dtype=object)


def contrast_slugs(names: Iterable[str]) -> dict[str, str]:
    """What each contrast is called in the names of files and columns."""
    words = str.maketrans({"<": "Lt", "+": "plus", " ": ""})
    plain = {name: "".join(c if c.isalnum() else "-" for c in name.translate(words)).strip("-") for name in names}
    return _numbered({name: slug or "contrast" for name, slug in plain.items()})


def group_slugs(groups: Iterable[str]) -> dict[str, str]:
    """What each group is called in file names: signs become words, whatever else is no letter or digit a hyphen."""
    words = {"+": "plus", "<": "below", ">": "above", "≤": "upto", "≥": "from"}
    found = {}
    for group in groups:
        name = re.sub(r"-$", "minus", group.strip())
        found[group] = re.sub(r"[\W_]+", "-", "".join(words.get(letter, letter) for letter in name))
    return _numbered(found)


def _numbered(slugs: Mapping[str, str]) -> dict[str, str]:
    """Those that are the same, whatever their case, told apart by a number, in alphabetical order of their names."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(slugs):
        slug = slugs[name]
        number = 1
        while slug.lower() in taken:
            number += 1
            slug = f"{slugs[name]}-{number}"
        taken.add(slug.lower())
        found[name] = slug
    return found


def latent_names(count: int) -> list[str]:
    """Columns of ``count`` latents, of one width: ``latent_01`` ..."""
    width = max(2, len(str(count)))
    return [f"latent_{number:0{width}d}" for number in range(1, count + 1)]
