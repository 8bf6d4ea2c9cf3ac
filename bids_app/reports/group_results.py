"""Read everything the group level has written; whatever is missing is None."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from ..bids.files import sidecar_path
from ..bids.tables import IDENTIFIERS
from ..delimited import read_delimited
from ..schema.architectures import ARCHITECTURES, BY_KIND, Architecture
from ..schema.catalogue import TABLES
from ..schema.claims import ERROR_EXPLAINED, SUPPORTED, WORST_CASE, Claim
from ..schema.columns import Table
from ..schema.names import grouping
from ..schema.outputs import ATLAS, GROUP, MODEL_CARD, PARTICIPANTS, SUMMARY
from ..schema.region_tables import LRCP_REGIONS
from ..schema.scan_tables import COHORT, LATENTS, PROJECTIONS, QUALITY, RECONSTRUCTION, REGIONAL
from ..schema.verdict_tables import VERDICTS
from ..space.templates import Template
from .participant_figures import template_or_none

#: What pictures call the group of a scan that has none.
MISSING = "(missing)"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class GroupResults:
    """The files of the group level.

    Attributes
    ----------
    output_dir : Path
    tables : dict of DataFrame
        ``group/*.tsv`` and ``phenotype/*.tsv`` by their bare names; only those that exist.
    summary : dict
        ``group/summary.json``; empty where there is none.
    participants : DataFrame
        ``phenotype/cohort.tsv`` or ``participants.tsv``; no rows where there is none.
    """

    output_dir: Path
    tables: dict[str, pd.DataFrame]
    summary: dict[str, Any]
    participants: pd.DataFrame = field(default_factory=pd.DataFrame)

    def table(self, kind: Table) -> pd.DataFrame | None:
        """A table that has rows, or None."""
        table = self.tables.get(kind.name)
        return table if table is not None and len(table) else None

    @property
    def folder(self) -> Path:
        """``group/``"""
        return self.output_dir / GROUP

    @cached_property
    def scans(self) -> pd.DataFrame:
        """One row per scan: identifiers, participants' columns, quality, reconstruction, projections."""
        places = (RECONSTRUCTION, PROJECTIONS, QUALITY, LATENTS, REGIONAL)
        base = next((self.tables[kind.name] for kind in places if kind.name in self.tables), None)
        if base is None:
            return self.participants
        keys = [column for column in IDENTIFIERS if column in base]
        joined = base[keys].copy()
        for kind in (RECONSTRUCTION, PROJECTIONS, QUALITY):
            if kind.name in self.tables:
                other = self.tables[kind.name]
                on = [key for key in keys if key in other]
                fresh = [column for column in other.columns if column in on or column not in joined]
                joined = joined.merge(other[fresh].drop_duplicates(on), on=on, how="left")
        people = self.participants
        if "participant_id" in people:
            on = [key for key in keys if key in people]
            fresh = [column for column in people.columns if column in on or column not in joined]
            joined = joined.merge(people[fresh].drop_duplicates(on), on=on, how="left")
        return joined

    @cached_property
    def template(self) -> Template | None:
        """The template of the maps at 2 mm, or None."""
        return template_or_none(self.summary.get("template") or self._space)

    @property
    def _space(self) -> str | None:
        folders = sorted(self.output_dir.glob("tpl-*"))
        return folders[0].name.removeprefix("tpl-") if folders else None

    @cached_property
    def atlas(self) -> tuple[nib.Nifti1Image, pd.DataFrame] | None:
        """Labels and names (columns ``index`` and ``name``) of the atlas of the analysis."""
        wanted = self.summary.get("atlas")
        found = []
        for path in ATLAS.find(self.output_dir):
            names = sidecar_path(path).with_suffix(".tsv")
            if names.exists():
                found.append((f"_atlas-{wanted}_" not in path.name, path, names))
        if not found:
            return None
        _, path, names = min(found)
        image: Any = nib.load(path)
        return image, read_shown(names)

    @cached_property
    def architecture(self) -> Architecture:
        """What was trained; the default where nothing was."""
        path = MODEL_CARD.at(self.output_dir)
        kind = json.loads(path.read_text(encoding="utf-8")).get("kind") if path.exists() else None
        return BY_KIND.get(str(kind), ARCHITECTURES[0])

    @property
    def group_column(self) -> str | None:
        """The participants' column that defines the groups."""
        column = self.summary.get("group_column")
        return column if column in self.scans else None

    @cached_property
    def groups(self) -> pd.Series | None:
        """Group of every scan, missing where it has none; None without groups."""
        return grouping(self.scans[self.group_column]) if self.group_column else None

    def groups_of(self, table: pd.DataFrame) -> list[str]:
        """Group of every row of a table of scans as the pictures name it; "all" where there are no groups."""
        if self.groups is None:
            return ["all"] * len(table)
        return same_rows(self.scans.assign(group=self.groups), table)["group"].fillna(MISSING).tolist()

    def score(self, contrast: str, table: pd.DataFrame) -> pd.Series | None:
        """Value of every row of a table of scans where a contrast is a score, a column of the participants' table."""
        if contrast not in self.scans:
            return None
        return pd.to_numeric(same_rows(self.scans, table)[contrast], errors="coerce").rename(contrast)

    @property
    def n_scans(self) -> int:
        """Scans in the analysis."""
        return int(self.summary.get("n_scans") or len(self.scans))

    def n_of(self, part: pd.DataFrame) -> int:
        """Scans that a part of a table speaks of: its column ``n``, or all in the analysis."""
        n = numeric(part, "n")
        return int(np.nanmax(n)) if np.isfinite(n).any() else self.n_scans

    @property
    def n_participants(self) -> int:
        """People in the analysis."""
        ids = self.scans.get("participant_id", pd.Series(dtype=str))
        return int(self.summary.get("n_participants") or ids.nunique())

    def contrasts(self, table: Table = LRCP_REGIONS) -> list[str]:
        """Contrasts of a table in the order of their appearance."""
        found = self.table(table)
        return (
            list(dict.fromkeys(found["contrast"].dropna().astype(str)))
            if found is not None and "contrast" in found
            else []
        )


def read_group_results(output_dir: str | Path) -> GroupResults:
    """Read all group-level files of an output folder.

    Parameters
    ----------
    output_dir : path-like

    Returns
    -------
    GroupResults
    """
    output_dir = Path(output_dir).absolute()
    tables = {}
    for kind in TABLES:
        if kind is not COHORT and (output_dir / kind.path).exists():
            tables[kind.name] = read_shown(output_dir / kind.path)
    path = SUMMARY.at(output_dir)
    summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    places = [output_dir / COHORT.path, PARTICIPANTS.at(output_dir)]
    people = next((read_shown(path) for path in places if path.exists()), pd.DataFrame())
    return GroupResults(output_dir, tables, summary, people)


def read_shown(path: Path) -> pd.DataFrame:
    """A BIDS table: ``n/a`` is missing, identifiers and names stay text, control characters become blanks."""
    text = (*IDENTIFIERS, "name", "contrast", "claim", "group", "method", "verdict", "site")
    table = read_delimited(path, text=text, quiet=True)
    # XML has no place for control characters: one in the name of a group would break every SVG that shows it.
    for column in map(str, table.select_dtypes("str").columns):
        table[column] = table[column].str.replace(_CONTROL, " ", regex=True)
    return table.rename(columns=lambda name: _CONTROL.sub(" ", name))


def rows_of_claim(table: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """Rows of a table about one kind of claim; none where an earlier version wrote it, without `claim_id`."""
    return table[table["claim_id"] == claim.id] if "claim_id" in table else table.iloc[:0]


def error_is_explained(output_dir: Path) -> bool:
    """Whether the verdict lets the regression of the reconstruction error be interpreted; yes where there is none."""
    if not (output_dir / VERDICTS.path).exists():
        return True
    table = read_shown(output_dir / VERDICTS.path)
    verdict = rows_of_claim(table, ERROR_EXPLAINED)["verdict"]
    return verdict.empty or bool(verdict.isin((SUPPORTED.name, WORST_CASE.name)).any())


def same_rows(table: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table for the scans of another one, in its order."""
    keys = [column for column in IDENTIFIERS if column in table and column in like]
    return like[keys].merge(table.drop_duplicates(keys), on=keys, how="left")


def numeric(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64, NaN where it is missing or no number."""
    return (
        pd.to_numeric(table[column], errors="coerce").to_numpy(float)
        if column in table
        else np.full(len(table), np.nan)
    )
