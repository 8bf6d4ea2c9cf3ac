"""Tables: read what is known about the participants, write tables with their dictionaries."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..delimited import MISSING, decode, read_delimited
from ..errors import LatentAtlasError
from ..schema.columns import SCAN, Table
from .files import write_atomically, write_json

logger = logging.getLogger("latentatlas")

#: Columns that say whose scan a row is about, with what they are.
IDENTIFIERS = {column.name: column.description for column in SCAN}


def read_tsv(path: Path, *, quiet: bool = True) -> pd.DataFrame:
    """Read a BIDS table (:func:`bids_app.delimited.read_delimited`); identifiers are kept as text."""
    return read_delimited(path, text=IDENTIFIERS, quiet=quiet)


def identifiers(table: pd.DataFrame) -> pd.DataFrame:
    """Whose scan each row of a table is about: ``participant_id``, and ``session_id`` where scans have one."""
    return table[[column for column in IDENTIFIERS if column in table]].reset_index(drop=True)


def scan_names(table: pd.DataFrame) -> list[str]:
    """What to call the scan of each row: the participant, and the session where there is one."""
    return [" ".join(row.dropna().astype(str)) for _, row in identifiers(table).iterrows()]


def write_tsv(path: Path, table: pd.DataFrame, dictionary: Mapping[str, object] | None = None) -> Path:
    """Write a BIDS table, and its dictionary as JSON beside it when there is one.

    Numbers keep 7 significant digits, the precision of the float32 maps they come from.
    """
    write_atomically(path, lambda p: table.to_csv(p, sep="\t", index=False, na_rep=MISSING, float_format="%.7g"))
    if dictionary is not None:
        described = {k: ({"Description": v} if isinstance(v, str) else v) for k, v in dictionary.items()}
        write_json(path.with_suffix(".json"), {k: v for k, v in described.items() if k in set(table.columns)})
    return path


def write_table(
    output_dir: Path, kind: Table, table: pd.DataFrame, described: Mapping[str, object] | None = None
) -> Path:
    """Write a table of the schema to its place in an output folder, with its dictionary.

    Parameters
    ----------
    output_dir : Path
    kind : Table
    table : DataFrame
    described : mapping, optional
        The dataset's own dictionary of the columns that are its own.

    Raises
    ------
    ValueError
        A column that the schema does not have.
    """
    if unknown := [str(name) for name in table.columns if kind.column(str(name)) is None]:
        raise ValueError(f"{kind.path} has no column called {', '.join(unknown)}")
    known = [name for name in map(str, table.columns) if described is None or name in IDENTIFIERS]
    return write_tsv(output_dir / kind.path, table, {**kind.dictionary(known), **(described or {})})


def read_dictionary(path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """The JSON dictionary beside a table, or an empty one; entries that are none are left out, and named."""
    file = path.with_suffix(".json")
    if not os.path.lexists(file):
        return {}
    try:
        found = json.loads(decode(file, quiet=quiet))
    except (LatentAtlasError, ValueError, RecursionError) as error:
        if not quiet:
            logger.warning("%s is not readable and is ignored (%s)", file, str(error).splitlines()[0])
        return {}
    entries = found if isinstance(found, dict) else {}
    kept = {key: value for key, value in entries.items() if isinstance(value, dict)}
    if not quiet and (wrong := sorted(set(entries) - set(kept)) or (not isinstance(found, dict) and ["all of it"])):
        logger.warning("%s: descriptions without a column are ignored: %s", file, ", ".join(wrong))
    return kept


def fitting_dictionary(table: pd.DataFrame, dictionary: Mapping[str, object]) -> dict[str, object]:
    """A dictionary whose ``Levels`` hold for the table.

    Datasets in the wild list levels that their tables do not use (``M`` for a column of ``m``), which makes a copy of
    both an invalid dataset. Such a list goes; the rest of the entry stays.
    """
    fitting = {}
    for column, entry in dictionary.items():
        if isinstance(entry, Mapping) and "Levels" in entry and column in table:
            levels = entry["Levels"]
            values = {str(v) for v in table[column].dropna()}
            if not isinstance(levels, Mapping) or not values <= {str(level) for level in levels}:
                entry = {k: v for k, v in entry.items() if k != "Levels"}
        fitting[column] = entry
    return fitting
