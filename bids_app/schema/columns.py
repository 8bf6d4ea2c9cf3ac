"""What a table and its columns are."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

_PLACEHOLDER = re.compile(r"<\w+>")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        As it stands in the file; ``<placeholders>`` stand for a group, a contrast, a number.
    description : str
        One sentence without a full stop, for the dictionary and the documentation.
    units : str
        Empty for none.
    header : str
        Heading in the report, where the table is shown there.
    """

    name: str
    description: str
    units: str = ""
    header: str = ""

    def fits(self, name: str) -> bool:
        """Whether a column of a file is this one."""
        return self._match(name) is not None

    def entry(self, name: str) -> dict[str, Any]:
        """Entry of a BIDS dictionary for a column of a file."""
        return {"Description": self._fill(self.description, name), **({"Units": self.units} if self.units else {})}

    def heading(self, name: str) -> str:
        """Heading of a column of a file."""
        return self._fill(self.header, name)

    def _match(self, name: str) -> re.Match[str] | None:
        return re.fullmatch("(.+)".join(map(re.escape, _PLACEHOLDER.split(self.name))), name)

    def _fill(self, text: str, name: str) -> str:
        found = self._match(name)
        for placeholder, value in zip(_PLACEHOLDER.findall(self.name), found.groups() if found else (), strict=False):
            text = text.replace(placeholder, value)
        return text


@dataclass(frozen=True)
class Table:
    """A table of the output.

    Attributes
    ----------
    path : str
        In the output folder, with extension.
    row : str
        What one row is about.
    columns : tuple of Column
        In the order of the file.
    others : Column, optional
        What every further column is, where their names are the dataset's (regions, variables).
    """

    path: str
    row: str
    columns: tuple[Column, ...]
    others: Column | None = None

    @property
    def name(self) -> str:
        """File name without extension."""
        return self.path.split("/")[-1].removesuffix(".tsv")

    def column(self, name: str) -> Column | None:
        """The column of that name; None if the table has none such."""
        return next((column for column in self.columns if column.fits(name)), self.others)

    def dictionary(self, names: Iterable[Hashable]) -> dict[str, dict[str, Any]]:
        """BIDS dictionary of the columns of a file."""
        return {name: column.entry(name) for name, column in self._known(names)}

    def headers(self, names: Iterable[Hashable]) -> dict[str, str]:
        """Heading of every column of a file that has one."""
        return {name: column.heading(name) for name, column in self._known(names) if column.header}

    def _known(self, names: Iterable[Hashable]) -> list[tuple[str, Column]]:
        known = ((str(name), self.column(str(name))) for name in names)
        return [(name, column) for name, column in known if column is not None]


PARTICIPANT = Column("participant_id", "Participant")
SESSION = Column("session_id", "Session, where scans have one")
#: Whose scan a row is about.
SCAN = (PARTICIPANT, SESSION)
INDEX = Column("index", "Label of the region in the atlas")
NAME = Column("name", "Name of the region", header="Region")
CONTRAST = Column("contrast", "The contrast: two groups, an order of groups, or a score", header="Contrast")
N = Column("n", "Participants in the analysis", header="n")
HIGHER_IN = Column("higher_in", "The group with more of it; for a score, its higher or lower end", header="More in")
VOLUME = Column("volume", "Index along the fourth dimension of the image of the same name, from 0")
