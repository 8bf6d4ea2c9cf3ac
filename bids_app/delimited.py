"""The one reader of tables, by the rules of BIDS: every cell is what the file says, or there is an error.

BIDS' rules for ``.tsv`` files: UTF-8; cells between tabs; a cell with tabs in it stands in double quotes, a quote in it
doubled; the first line names the columns, none of them blank or twice; ``n/a`` is the one word for a missing value.
What deviates is read where its meaning is beyond doubt, with a note in the log, and refused with its lines where not.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from .content import missing_content
from .errors import DatasetError, NoInputError

logger = logging.getLogger("latentatlas")

MISSING = "n/a"
_LISTED = 5
#: A number as BIDS writes one: a decimal point, perhaps an exponent; nothing that is not finite.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf")
_CODE = re.compile(r"[+-]?0\d")  # leading zeros make a label of what could be a number
# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_delimited(path: Path, *, text: Iterable[str] = (), delimiter: str = "\t", quiet: bool = False) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : Path
    text : iterable of str
        Columns that stay text whatever they hold (identifiers).
    delimiter : str
    quiet : bool
        No notes in the log: somebody has read them already.

    Returns
    -------
    DataFrame
        Columns that hold nothing but numbers are numbers; all others are text. NaN where a cell is ``n/a`` or empty.

    Raises
    ------
    NoInputError
        The table does not exist.
    DatasetError
        It is no table: no text, no tabs, a column without a name or with that of another, a line with a cell too many
        or too few.
    """
    columns, rows = _cells(path, delimiter, quiet)
    table = {}
    for position, name in enumerate(columns):
        cells = [None if row[position] in ("", MISSING) else row[position] for row in rows]
        table[name] = pd.Series(cells, dtype="str") if name in set(text) else _typed(cells)
    return pd.DataFrame(table, index=range(len(rows)))


def decode(path: Path, *, quiet: bool = False) -> str:
    """The text of a file in whatever encoding it has; a note where that is not UTF-8.

    Raises
    ------
    NoInputError, DatasetError
        There is no such file, it cannot be read, or it is no text.
    """
    if not os.path.lexists(path):
        raise NoInputError("the table does not exist", file=path, remedy="check the path")
    if found := missing_content(path):
        raise DatasetError(f"the table cannot be used: {found[0]}", file=path, remedy=found[1])
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"the table cannot be read ({error.strerror})", file=path, remedy="check the disk, or copy it again"
        ) from None
    encoding: str | None = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if encoding is None and b"\0" in raw[:1000]:  # every second byte of Latin text in UTF-16
        encoding = "utf-16-le" if b"\0" in raw[1:1000:2] and b"\0" not in raw[:1000:2] else "utf-16-be"
    try:
        text = raw.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        # Latin-1 has a character for every byte; Windows' own variant first, which has names in most texts.
        encoding = "cp1252"
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            encoding = "latin-1"
            text = raw.decode(encoding)
    if raw.startswith(b"PK\3\4") or "\0" in text:
        raise DatasetError(
            "this is not a text file: a spreadsheet with the wrong extension?",
            file=path,
            remedy="save it as text, tab-separated, in UTF-8",
        )
    if encoding not in (None, "utf-8-sig") and not quiet:
        logger.warning("%s is not in UTF-8, which BIDS requires; read as %s", path, encoding)
    return text


def is_number(cell: str) -> bool:
    """Whether a cell is a number by BIDS' rules."""
    return NUMBER.fullmatch(cell) is not None


def listed(items: Sequence[str], most: int = _LISTED) -> str:
    """The first of some names, and how many there are where those are not all."""
    return ", ".join(items[:most]) + (f" … ({len(items)} in all)" if len(items) > most else "")


def _cells(path: Path, delimiter: str, quiet: bool) -> tuple[list[str], list[list[str]]]:
    content = decode(path, quiet=quiet)
    # Not str.splitlines, which also breaks lines at characters that stand in free text.
    lines = re.split(r"\r\n|\n", content) if "\n" in content else content.split("\r")
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise DatasetError("the table is empty", file=path, remedy="its first line must name the columns")
    header = [name.strip() for name in _split(numbered[0][1], delimiter)]
    used = max(position for position, name in enumerate(header, start=1) if name)
    extra = len(header) - used  # tabs at the end of the header, mostly with as many in the rows
    columns = header[:used]
    _check_header(columns, path, delimiter)
    rows, blank, uneven = [], 0, []
    for number, line in numbered[1:]:
        cells = _split(line, delimiter)
        if len(cells) < used and line.count('"'):
            cells = line.split(delimiter)  # a stray quote in free text holds no cells together
        cells = [cell.strip() for cell in cells]
        while len(cells) > used and not cells[-1]:
            cells.pop()
        if not any(cells):
            blank += 1
        elif len(cells) != used:
            uneven.append((number, len(cells)))
        else:
            rows.append(cells)
    if uneven:
        where = listed([f"line {number} has {found}" for number, found in uneven])
        raise DatasetError(
            f"the header has {used} cells{f' and {extra} blank ones' if extra else ''}, but {where}: it is unclear "
            "which cell belongs to which column",
            file=path,
            remedy=f"give every line as many {'tabs' if delimiter == chr(9) else 'separators'} as the header; write "
            f"{MISSING} for missing values",
        )
    if not quiet:
        _tell_oddities(path, rows, blank)
    return columns, rows


def _tell_oddities(path: Path, rows: list[list[str]], blank: int) -> None:
    if blank:
        logger.info("%s: %d rows without any value are ignored", path, blank)
    if empty := sum(not cell for row in rows for cell in row):
        logger.warning("%s: %d empty cells are read as %s, the BIDS code for missing values", path, empty, MISSING)


def _check_header(columns: list[str], path: Path, delimiter: str) -> None:
    if blank := [str(position) for position, name in enumerate(columns, start=1) if not name]:
        raise DatasetError(
            f"the table has columns without a name: number {listed(blank)}", file=path, remedy="name every column"
        )
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise DatasetError(
            f"the table has several columns called {listed(twice)}", file=path, remedy="give every column its own name"
        )
    if len(columns) == 1 and delimiter == "\t" and re.search(r"[,;\s]", columns[0]):
        raise DatasetError(
            f"the columns are not separated by tabs: the first line is '{columns[0][:80]}'",
            file=path,
            remedy="save it tab-separated (in BIDS, neither spaces nor commas separate columns)",
        )


def _split(line: str, delimiter: str) -> list[str]:
    """Cells of a line. A cell is quoted where a quote opens it and another one ends it; any other quote is text."""
    if '"' not in line:
        return line.split(delimiter)
    mark = re.escape(delimiter)
    cells, start = [], 0
    quoted = re.compile(rf'\s*"((?:[^"]|"")*)"[^\S\t]*(?={mark}|$)')
    while True:
        match = quoted.match(line, start)
        if match:
            cells.append(match[1].replace('""', '"'))
            end = match.end()
        else:
            end = line.find(delimiter, start)
            end = len(line) if end < 0 else end
            cells.append(line[start:end])
        if end >= len(line):
            return cells
        start = end + len(delimiter)


def _typed(cells: list[str | None]) -> pd.Series:
    known = [cell for cell in cells if cell is not None]
    if all(is_number(cell) or _INFINITE.fullmatch(cell) for cell in known) and not any(map(_CODE.match, known)):
        return pd.to_numeric(pd.Series(cells, dtype=object)) if known else pd.Series(cells, dtype=float)
    if set(known) <= {"True", "False"}:
        return pd.Series([None if cell is None else cell == "True" for cell in cells])
    return pd.Series(cells, dtype="str")
