"""What the cells of a column mean: numbers, categories, or neither, which is refused with the cells."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.delimited import MISSING, is_number, listed
from bids_app.errors import DatasetError
from bids_app.schema.names import as_text

#: Words for a missing value that BIDS does not know: one of them in a column of categories is a category of its own.
_DOUBTFUL = {"", ".", "-", "?", "na", "n.a.", "nan", "n/a", "null", "nil", "missing", "unknown", "#n/a", "#null!"}
# What somebody meant as a number and BIDS does not take for one: 30,5  >89  89+  30 years
_NEARLY = re.compile(
    r"[<>≤≥~=±]?\s*[+-]?\d+([.,]\d+)*\s*(\+|%|years?|yrs?|y|months?|mo|ml|cm3|mm3|cc)?", re.ASCII | re.IGNORECASE
)
# Runs of nines (eights, sevens) that stand for "not measured" in questionnaires and statistics programs.
_CODE = re.compile(r"-?(9{2,}|8{3,}|7{3,})|-(9|8|7|88|77)")
_OLDEST = 125  # years
_CENTRED = 0.25  # share of ages below zero from which on they are none in years


def as_levels(text: Sequence[str | None]) -> list[str]:
    """The different values of a column, sorted."""
    return sorted({t for t in text if t is not None})


def as_numbers(table: pd.DataFrame, name: str, file: str | Path) -> np.ndarray | None:
    """A column as floats with NaN where missing, or None if it holds categories or nothing at all.

    Parameters
    ----------
    table : DataFrame
        With `participant_id`, which errors name.
    name : str
    file : path-like
        Named in errors.

    Raises
    ------
    DatasetError
        A column of numbers with cells that are none, or that stand for a missing value (-999).
    """
    cells = as_text(table[name])
    known = [cell for cell in cells if cell is not None]
    plain = [cell for cell in known if is_number(cell)]
    meant = len(plain) + sum(_NEARLY.fullmatch(cell) is not None for cell in known if not is_number(cell))
    if not known or meant <= len(known) / 2:
        return None
    who = list(table["participant_id"]) if "participant_id" in table else [f"row {n}" for n in range(1, len(cells) + 1)]
    if wrong := [(cell, label) for cell, label in zip(cells, who, strict=True) if cell and not is_number(cell)]:
        raise DatasetError(
            f"column '{name}' contains numbers and cells that are not numbers: {_named(wrong)}",
            file=file,
            remedy=f"correct them (use a decimal point), or write {MISSING} for missing values; categories need "
            "letters (site1)",
        )
    numbers = np.array([np.nan if cell is None else float(cell) for cell in cells])
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    codes = _codes(cells, numbers)
    if name.lower() in ("age", "age_years"):  # BIDS: in years
        odd = (numbers < 0) | (numbers > _OLDEST)
        # A column of which a good part lies below zero was centred on purpose.
        codes |= odd & (np.mean(odd[np.isfinite(numbers)]) < _CENTRED)
    if name.lower() in ("sex", "gender"):
        codes |= _no_sex(numbers)
    if codes.any():
        doubtful = [(cell, label) for cell, label, code in zip(cells, who, codes, strict=True) if code and cell]
        raise DatasetError(
            f"column '{name}' contains values that look like codes for missing values: {_named(doubtful)}",
            file=file,
            remedy=f"write {MISSING} for missing values, or correct them",
        )
    return numbers


def name_doubts(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """What may be meant otherwise in columns of categories: spellings, words and codes for a missing value.

    Parameters
    ----------
    table : DataFrame
    columns : sequence of str
        Those that hold categories.

    Returns
    -------
    list of str
        One sentence a doubt.
    """
    doubts = []
    for name in dict.fromkeys(columns):
        text = as_text(table[name])
        levels = as_levels(text)
        spelt = defaultdict(list)
        for level in levels:
            spelt[level.casefold()].append(level)
        doubts += [
            f"column '{name}' has values that differ only in case and count as different: {', '.join(alike)}"
            for alike in spelt.values()
            if len(alike) > 1
        ]
        words = [level for level in levels if level.casefold() in _DOUBTFUL or (_CODE.fullmatch(level))]
        doubts += [
            f"column '{name}' has the value '{word}' ({text.count(word)} scans), which counts as a category: the BIDS "
            f"code for missing values is {MISSING}"
            for word in words
        ]
    return doubts


def _codes(cells: Sequence[str | None], numbers: np.ndarray) -> np.ndarray:
    """Which numbers are codes for a missing value: spelt like one, and far from all the others."""
    spelt = np.array([cell is not None and _CODE.fullmatch(re.sub(r"\.0*$", "", cell)) is not None for cell in cells])
    others = numbers[~spelt & np.isfinite(numbers)]
    if not spelt.any() or not others.size:
        return np.zeros(len(cells), bool)
    low, high = others.min(), others.max()
    far = (numbers > high + max(high - low, 1)) | (numbers < low - max(high - low, 1))
    return spelt & (far | ((numbers < 0) & (low >= 0)))


def _no_sex(numbers: np.ndarray) -> np.ndarray:
    """ISO 5218: 1 is male, 2 female, 0 not known and 9 not applicable. As frequent as they are, 0 is a sex."""
    counts = {code: int((numbers == code).sum()) for code in (0, 1, 2, 9)}
    if sum(counts.values()) < np.isfinite(numbers).sum():
        return np.zeros(len(numbers), bool)
    return (numbers == 9) | ((numbers == 0) & (counts[0] < min(counts[1], counts[2])))


def _named(cells: Sequence[tuple[str | None, str]]) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for cell, who in cells:
        groups[str(cell)].append(str(who))
    return listed([f"'{cell}' ({listed(list(dict.fromkeys(who)), 3)})" for cell, who in groups.items()], 8)
