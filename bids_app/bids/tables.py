"""Tables: read what is known about the participants, write tables with their dictionaries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DatasetError, NoInputError
from ..schema.columns import SCAN, Table
from .files import copy_file, write_atomically, write_json

MISSING = "n/a"
#: Columns that say whose scan a row is about, with what they are.
IDENTIFIERS = {column.name: column.description for column in SCAN}


def read_tsv(path: Path) -> pd.DataFrame:
    """Read a BIDS table: tab-separated, ``n/a`` for missing, identifiers kept as text.

    Raises
    ------
    NoInputError, DatasetError
        The table does not exist, or is not a table.
    """
    try:
        table = pd.read_csv(
            path, sep="\t", na_values=[MISSING], dtype=dict.fromkeys(IDENTIFIERS, str), encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise NoInputError("the table does not exist", file=path) from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DatasetError(f"the table is not readable ({error})", file=path, remedy="save it tab-separated") from None
    return table.rename(columns=str.strip)


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


def read_participants(roots: Iterable[Path], subjects: Sequence[str], sessions: Sequence[str | None]) -> pd.DataFrame:
    """What is known about each scan's participant: one row a scan, in the order given.

    Parameters
    ----------
    roots : iterable of Path
        Datasets in which to look; the first that has a ``participants.tsv`` counts. Its ``sub-*_sessions.tsv``, where
        there are, add columns to the scans of their session and overrule those of the participant.
    subjects : sequence of str, length N
    sessions : sequence of str or None, length N

    Returns
    -------
    DataFrame, N rows
        ``participant_id``, ``session_id`` (only when some scan has one), then every column of the table. Without any
        table only the identifiers.

    Raises
    ------
    DatasetError
        The table has no ``participant_id``, or names a participant twice.
    """
    scans = pd.DataFrame({"participant_id": [f"sub-{s}" for s in subjects]})
    if any(sessions):
        scans["session_id"] = [f"ses-{s}" if s else None for s in sessions]
    roots = list(roots)
    file = next((r / "participants.tsv" for r in roots if (r / "participants.tsv").exists()), None)
    if file is None:
        return scans
    known = read_tsv(file)
    if "participant_id" not in known:
        raise DatasetError(
            "participants.tsv has no column participant_id", file=file, remedy="name its first column participant_id"
        )
    # Some datasets leave the prefix out; BIDS asks for it.
    known["participant_id"] = "sub-" + known["participant_id"].str.strip().str.removeprefix("sub-")
    twice = known["participant_id"][known["participant_id"].duplicated()].unique()
    if len(twice):
        raise DatasetError(
            f"participants.tsv names more than once: {', '.join(twice)}", file=file, remedy="keep one row a participant"
        )
    merged = scans.merge(known.drop(columns="session_id", errors="ignore"), on="participant_id", how="left")
    if "session_id" in scans:
        merged = _add_sessions(merged, file.parent)
    return merged


def _add_sessions(scans: pd.DataFrame, root: Path) -> pd.DataFrame:
    tables = []
    for participant in scans["participant_id"].unique():
        file = root / participant / f"{participant}_sessions.tsv"
        if file.exists():
            table = read_tsv(file)
            if "session_id" in table:
                tables.append(table.assign(participant_id=participant))
    if not tables:
        return scans
    visits = pd.concat(tables).drop_duplicates(["participant_id", "session_id"])
    joined = scans.merge(visits, on=["participant_id", "session_id"], how="left", suffixes=("_participant", ""))
    for column in [c for c in map(str, joined) if c.endswith("_participant")]:
        own = column.removesuffix("_participant")
        joined[own] = joined[own].where(joined[own].notna(), joined[column])
        joined = joined.drop(columns=column)
    return joined


def read_dictionary(path: Path) -> dict[str, Any]:
    """The JSON dictionary beside a table, or an empty one."""
    try:
        found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        return found
    except (OSError, ValueError):
        return {}


def fitting_dictionary(table: pd.DataFrame, dictionary: Mapping[str, object]) -> dict[str, object]:
    """A dictionary whose ``Levels`` hold for the table.

    Datasets in the wild list levels that their tables do not use (``M`` for a column of ``m``), which makes a copy of
    both an invalid dataset. Such a list goes; the rest of the entry stays.
    """
    fitting = {}
    for column, entry in dictionary.items():
        if isinstance(entry, Mapping) and isinstance(entry.get("Levels"), Mapping) and column in table:
            values = {str(v) for v in table[column].dropna()}
            if not values <= {str(level) for level in entry["Levels"]}:
                entry = {k: v for k, v in entry.items() if k != "Levels"}
        fitting[column] = entry
    return fitting


def copy_participants(source: Path, target: Path) -> None:
    """Copy ``participants.tsv``, and of its dictionary what holds."""
    copy_file(source, target)
    if dictionary := read_dictionary(source):
        table = pd.read_csv(
            source, sep="\t", na_values=[MISSING], keep_default_na=False, dtype=str, encoding="utf-8-sig"
        )
        write_json(target.with_suffix(".json"), fitting_dictionary(table, dictionary))
