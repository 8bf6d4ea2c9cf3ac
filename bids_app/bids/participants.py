"""What ``participants.tsv`` and ``sub-*_sessions.tsv`` say of the scans, a row each."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from ..delimited import MISSING, is_number, listed, read_delimited
from ..errors import DatasetError, LatentAtlasError
from ..schema.outputs import LOGS, PARTICIPANTS
from .files import write_json
from .listing import list_participants
from .tables import IDENTIFIERS, fitting_dictionary, read_dictionary, read_tsv, write_tsv

logger = logging.getLogger("latentatlas")

FILE = PARTICIPANTS.path
_CAP = re.compile(r"(\d+(?:\.\d+)?)\s*\+")


def read_participants(
    roots: Iterable[Path],
    subjects: Sequence[str],
    sessions: Sequence[str | None],
    homes: Sequence[Path | None] | None = None,
) -> pd.DataFrame:
    """What is known about each scan's participant: one row per scan, in the order given.

    Parameters
    ----------
    roots : iterable of Path
        Datasets in which to look; the first that has a ``participants.tsv`` counts. Its ``sub-*_sessions.tsv``, where
        there are, add columns to the scans of their session and overrule those of the participant.
    subjects : sequence of str, length N
    sessions : sequence of str or None, length N
    homes : sequence of Path or None, length N, optional
        The dataset that a scan comes from, where its own tables count, too: they fill what the first ones leave open.

    Returns
    -------
    DataFrame, N rows
        ``participant_id``, ``session_id`` (only when some scan has one), then every column of the table. Without any
        table only the identifiers. An age such as ``89+`` is read as 89.

    Raises
    ------
    DatasetError
        The table has no ``participant_id``, names a participant twice, fits no scan at all, or two tables disagree.
    """
    scans = pd.DataFrame({"participant_id": [f"sub-{s}" for s in subjects]})
    if any(sessions):
        scans["session_id"] = [f"ses-{s}" if s else None for s in sessions]
    roots = list(roots)
    first = next((root for root in roots if os.path.lexists(root / FILE)), None)
    found = scans if first is None else _join(scans, first)
    for home in dict.fromkeys(homes or ()):
        if home is None or home == first or not os.path.lexists(home / FILE):
            continue
        own = scans[[place == home for place in homes or ()]]
        found = _fill(found, _join(own, home).set_index(own.index), home / FILE)
    if first is not None or len(found.columns) > len(scans.columns):
        _tell_unknown(found, scans, roots)
    return _read_caps(found)


def read_participants_table(file: Path, *, as_text: bool = False, quiet: bool = True) -> pd.DataFrame:
    """A ``participants.tsv`` with one row per participant, ``participant_id`` with its prefix.

    Rows without a participant are left out, as are repetitions of a row.

    Raises
    ------
    DatasetError
        There is no such column, or two rows of one participant differ.
    """
    table = _all_text(file, quiet) if as_text else read_tsv(file, quiet=quiet)
    if "participant_id" not in table:
        raise DatasetError(
            f"participants.tsv has no column participant_id; it has: {', '.join(map(str, table.columns))}",
            file=file,
            remedy="name its first column participant_id",
        )
    known = table["participant_id"].notna()
    if not quiet and not known.all():
        logger.warning("%s: %d rows without a participant_id are ignored", file, int((~known).sum()))
    table = table[known].drop_duplicates().reset_index(drop=True)
    # Some datasets leave the prefix out; BIDS asks for it.
    table["participant_id"] = [f"sub-{label.removeprefix('sub-')}" for label in table["participant_id"]]
    _check_once(list(table["participant_id"]), file, "participant")
    return table


def are_listed(file: Path, labels: Sequence[str]) -> list[bool]:
    """Which participants (with ``sub-``) a ``participants.tsv`` names."""
    named = list(read_participants_table(file)["participant_id"])
    found = _matched(list(dict.fromkeys(labels)), named)
    return [label in found for label in labels]


def _all_text(file: Path, quiet: bool) -> pd.DataFrame:
    names = read_delimited(file, quiet=True).columns
    return read_delimited(file, text=names, quiet=quiet)


def _check_once(labels: Sequence[str], file: Path, what: str) -> None:
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise DatasetError(
            f"{file.name} has more than one row for: {listed(twice)}", file=file, remedy=f"keep one row per {what}"
        )


def _join(scans: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The rows of a dataset's tables that belong to the scans."""
    file = root / FILE
    table = read_participants_table(file, quiet=False)
    labels = list(dict.fromkeys(scans["participant_id"]))
    rows = _matched(labels, list(table["participant_id"]), file)
    if len(table) and not rows:
        raise DatasetError(
            "no row of participants.tsv matches any scan: the table has e.g. "
            f"{listed(list(table['participant_id']), 3)}, the scans have e.g. {listed(labels, 3)}",
            file=file,
            remedy="write participant_id exactly as the folder names",
        )
    table = table.iloc[list(rows.values())].assign(participant_id=list(rows))
    merged = scans.merge(table.drop(columns="session_id", errors="ignore"), on="participant_id", how="left")
    return _add_sessions(merged, root) if "session_id" in scans else merged


def _matched(labels: Sequence[str], named: Sequence[str], file: Path | None = None) -> dict[str, int]:
    """Participant -> row. Another case or other leading zeros match where only one participant can be meant."""
    rows = {label: row for row, label in enumerate(named)}
    found = {label: rows[label] for label in labels if label in rows}
    left = [label for label in labels if label not in found]
    spare = [label for label in named if label not in found]
    loosely = {}
    for label in left:
        alike = [other for other in spare if _plain(other) == _plain(label)]
        if len(alike) == 1 and [_plain(other) for other in left].count(_plain(label)) == 1:
            loosely[label] = alike[0]
    if loosely and file:
        pairs = [f"{other.removeprefix('sub-')} for {label}" for label, other in loosely.items()]
        logger.warning("%s: participants are spelt differently from their folders: %s", file, listed(pairs))
    return found | {label: rows[other] for label, other in loosely.items()}


def _plain(label: str) -> str:
    bare = re.sub(r"^(sub[-_ ]?)+", "", label.strip().casefold())
    bare = re.sub(r"^(\d+)\.0+$", r"\1", bare)  # a spreadsheet's idea of a label
    return bare.lstrip("0") or bare


def _fill(first: pd.DataFrame, own: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Fill what one table leaves open from another one of the same people; the index says which rows.

    Raises
    ------
    DatasetError
        Both know a value, and not the same.
    """
    filled = first.copy()
    for column in (c for c in own.columns if c not in IDENTIFIERS):
        if column not in filled:
            filled[column] = own[column].reindex(filled.index)
            continue
        here, there = filled.loc[own.index, column], own[column]
        known = here.notna() & there.notna()
        differ = known & (here.astype(str) != there.astype(str))
        differ &= pd.to_numeric(here, errors="coerce") != pd.to_numeric(there, errors="coerce")
        if differ.any():
            who = list(dict.fromkeys(own["participant_id"][differ]))
            raise DatasetError(
                f"two tables of participants disagree about '{column}' of {listed(who)}: are these the same people?",
                file=file,
                remedy="use different labels for the participants of each dataset, or correct the tables",
            )
        filled[column] = _first_known(filled[column], there.reindex(filled.index))
    return filled


def _first_known(one: pd.Series, other: pd.Series) -> pd.Series:
    # As objects: text and numbers may well stand in the same column of two tables.
    return one.astype(object).where(one.notna(), other.astype(object)).infer_objects()


def _tell_unknown(found: pd.DataFrame, scans: pd.DataFrame, roots: Sequence[Path]) -> None:
    more = found.drop(columns=list(scans.columns))
    if more.shape[1]:
        unknown = list(dict.fromkeys(scans["participant_id"][more.isna().all(axis=1)]))
        if unknown:
            logger.warning("%s has no information about %s", roots[0] / FILE, listed(unknown, 10))


def _add_sessions(scans: pd.DataFrame, root: Path) -> pd.DataFrame:
    tables, unusable = [], []
    for participant in scans["participant_id"].unique():
        file = root / participant / f"{participant}_sessions.tsv"
        if os.path.lexists(file):
            try:
                tables.append(_read_sessions(file).assign(participant_id=participant))
            except LatentAtlasError as error:
                unusable.append(participant)
                logger.warning(
                    "values that vary by session are missing for %s: %s", participant, str(error).replace("\n", ";")
                )
    if not tables:
        return scans
    visits = pd.concat(tables, ignore_index=True)
    joined = scans.merge(visits, on=["participant_id", "session_id"], how="left", suffixes=("_participant", ""))
    for column in [c for c in map(str, joined) if c.endswith("_participant")]:
        own = column.removesuffix("_participant")
        joined[own] = _first_known(joined[own], joined[column])
        joined = joined.drop(columns=column)
    unknown = joined["participant_id"].isin(unusable)
    for column in (c for c in visits.columns if c not in IDENTIFIERS):
        joined[column] = joined[column].where(~unknown)
    return joined


def _read_sessions(file: Path) -> pd.DataFrame:
    table = read_tsv(file, quiet=False)
    if "session_id" not in table:
        raise DatasetError(
            "the table of sessions has no column session_id", file=file, remedy="name its first column session_id"
        )
    table = table[table["session_id"].notna()].drop_duplicates().drop(columns="participant_id", errors="ignore")
    table["session_id"] = [f"ses-{label.removeprefix('ses-')}" for label in table["session_id"]]
    _check_once(list(table["session_id"]), file, "session")
    return table


def _read_caps(table: pd.DataFrame) -> pd.DataFrame:
    """Read ``89+`` as 89 in columns of numbers none of which is larger: BIDS asks for ages to be capped."""
    for column in table.columns:
        known = table[column].dropna()
        if column in IDENTIFIERS or pd.api.types.is_numeric_dtype(known) or known.empty:
            continue
        cells = [str(cell) for cell in known]
        caps = [cell for cell in cells if _CAP.fullmatch(cell)]
        others = [float(cell) for cell in cells if is_number(cell)]
        if not caps or len(caps) + len(others) < len(cells) or len(set(caps)) > 1 or len(others) < len(caps):
            continue
        match = _CAP.fullmatch(caps[0])
        if match and max(others) <= float(match[1]):
            logger.warning("'%s': %d participants have %s, read as %s", column, len(caps), caps[0], match[1])
            values = [None if pd.isna(cell) else float(str(cell).rstrip("+ ")) for cell in table[column]]
            table = table.assign(**{str(column): pd.Series(values, index=table.index, dtype=float)})
    return table


def copy_participants(bids_dir: Path, output_dir: Path, *, quiet: bool = True) -> None:
    """Copy ``participants.tsv``, and of its dictionary what holds, for the participants who have a folder.

    With the participants beside the maps the group level needs nothing but the output. A table and folders that do not
    name the same participants make a dataset invalid: the table grows with them, whoever of several jobs comes last
    names all. One that deviates from BIDS is mended, one that cannot be read is not copied; no scan depends on it.

    Parameters
    ----------
    bids_dir, output_dir : Path
    quiet : bool
        Nothing in the log.
    """
    source, target = bids_dir / FILE, output_dir / FILE
    if not os.path.lexists(source):
        return
    with _one_at_a_time(output_dir):
        labels = [f"sub-{label}" for label in list_participants(output_dir)]
        try:
            table = read_participants_table(source, as_text=True, quiet=quiet)
            rows = _matched(labels, list(table["participant_id"]))
            order = sorted(labels, key=lambda label: (rows.get(label, len(table)), label))
            found = table.iloc[[rows[label] for label in order if label in rows]].assign(
                participant_id=[label for label in order if label in rows]
            )
            unknown = pd.DataFrame({"participant_id": [label for label in order if label not in rows]})
            chosen = pd.concat([found, unknown], ignore_index=True) if len(unknown) else found
        except LatentAtlasError as error:
            if not quiet:
                logger.warning("the table of participants was not copied: %s", str(error).replace("\n  ", "; "))
            return
        if not labels:
            return
        plain = chosen.to_csv(sep="\t", index=False, na_rep=MISSING)
        if not target.exists() or target.read_bytes() != plain.encode():
            write_tsv(target, chosen)
        if dictionary := read_dictionary(source, quiet=quiet):
            write_json(target.with_suffix(".json"), fitting_dictionary(chosen, dictionary))


@contextmanager
def _one_at_a_time(output_dir: Path) -> Iterator[None]:
    file = output_dir / LOGS / "locks" / "participants.lock"
    lock = FileLock(file, timeout=30)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout, NotImplementedError):  # no locks here, or somebody died with one on another machine
        yield
        return
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()
