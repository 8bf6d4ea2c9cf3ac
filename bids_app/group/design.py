"""The questions: contrasts of groups and scores, and the covariates to be removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.errors import DatasetError
from bids_app.group.column_values import as_levels, as_numbers
from bids_app.schema.names import MOST_GROUPS, as_text, contrast_slugs
from bids_app.schema.outputs import PARTICIPANTS

# Names under which reference groups and early disease go: in the pairs made by default the earlier comes second.
_STAGE = dict.fromkeys(("cn", "nc", "hc", "con", "ctrl", "ctl", "control", "controls", "healthy", "normal", "td"), 0)
_STAGE |= {"smc": 1, "scd": 1, "emci": 2, "mci": 3, "lmci": 4}


@dataclass(frozen=True)
class Contrast:
    """One question put to the latent space.

    Attributes
    ----------
    name : str
        As shown to people: "AD-CN", "AD-rest", "CN<MCI<AD", or the name of a score.
    kind : {"groups", "ordinal", "score"}
    y : ndarray of shape (N,)
        1 / 0 for the first-named / second-named group, 0, 1, 2 ... along an order, the score itself;
        NaN for scans that take no part.
    labels : tuple of str
        (first, second) for groups: y = 1 is ``labels[0]``; the levels in order for an ordinal; (name,) for a score.
    problem : str or None
        Why the question cannot be tested, in plain words; None if it can.
    slug : str
        What it is called in the names of files and columns; no other contrast of the study is called the same.
    """

    name: str
    kind: str
    y: np.ndarray
    labels: tuple[str, ...]
    problem: str | None = None
    slug: str = ""


@dataclass(frozen=True)
class Covariates:
    """Nuisance variables, one row per scan.

    Attributes
    ----------
    matrix : ndarray of shape (N, P)
        Numeric covariates as they are, categorical ones as 0/1 dummies (first level left out); NaN where missing.
    names : tuple of str
        One a column, ``sex[M]`` for a dummy.
    complete : ndarray of shape (N,), bool
        Scans with every covariate known.
    """

    matrix: np.ndarray
    names: tuple[str, ...]
    complete: np.ndarray

    @property
    def none(self) -> bool:
        """Whether there is nothing to remove."""
        return self.matrix.shape[1] == 0


def build_contrasts(
    table: pd.DataFrame,
    group_column: str,
    contrasts: list[str] | None = None,
    *,
    reference_group: str | None = None,
    file: str | Path = PARTICIPANTS.path,
) -> list[Contrast]:
    """Contrasts of a table with one row per scan.

    Parameters
    ----------
    table : DataFrame
        One row per scan, `participant_id` and the group column among its columns.
    group_column : str
        Column with the groups or a score.
    contrasts : list of str, optional
        ``"AD-CN"`` (AD against CN), ``"AD-rest"``, ``"CN<MCI<AD"``, or the name of a numeric column (a score).
        Default: all pairs of groups, or the column itself if it is a score.
    reference_group : str, optional
        Comes second in all pairs made by default.
    file : path-like
        Named in errors.

    Raises
    ------
    DatasetError
        Unknown column, unknown group, a column with nothing in it or with one value only.
    """
    groups = as_text(_column(table, group_column, file))
    levels = as_levels(groups)
    if not levels:
        raise DatasetError(
            f"Column '{group_column}' is empty", file=file, remedy="Fill it in, or use another --group-column."
        )
    if len(levels) == 1:
        raise DatasetError(
            f"Column '{group_column}' has only one value ({levels[0]!r}): there is nothing to compare",
            file=file,
            remedy="Use another --group-column, or add participants of another group.",
        )
    if contrasts is None:
        if len(levels) > MOST_GROUPS and (numbers := as_numbers(table, group_column, file)) is not None:
            return _with_slugs([_score(group_column, numbers, table)])
        in_order = sorted(levels, key=lambda level: (level != reference_group, _STAGE.get(level.lower(), 5), level))
        contrasts = [f"{b}-{a}" for a, b in combinations(in_order, 2)]
    return _with_slugs([_parse(text, table, group_column, groups, levels, file) for text in contrasts])


def _with_slugs(contrasts: list[Contrast]) -> list[Contrast]:
    slugs = contrast_slugs(contrast.name for contrast in contrasts)
    return [replace(contrast, slug=slugs[contrast.name]) for contrast in contrasts]


def build_covariates(
    table: pd.DataFrame,
    names: list[str],
    *,
    categories: tuple[str, ...] = (),
    file: str | Path = PARTICIPANTS.path,
) -> Covariates:
    """Covariate matrix of a table with one row per scan.

    Columns of text, and those among `categories` (sites that are numbered), become dummies.

    Raises
    ------
    DatasetError
        Unknown column, a column with nothing in it, with one value only, or categorical with a level per participant.
    """
    columns, labels = [], []
    for name in dict.fromkeys(names):
        series = _column(table, name, file)
        text = as_text(series)
        levels = as_levels(text)
        if len(levels) < 2:
            what = "is empty" if not levels else f"has only one value ({levels[0]!r})"
            raise DatasetError(
                f"Covariate '{name}' {what}", file=file, remedy=f"Remove '{name}' from --covariates, or fill it in."
            )
        numbers = None if name in categories else as_numbers(table, name, file)
        if numbers is not None:
            columns.append(numbers)
            labels.append(name)
            continue
        if len(levels) > max(2, len(table) // 2):
            raise DatasetError(
                f"Covariate '{name}' has {len(levels)} categories in {len(table)} rows",
                file=file,
                remedy="A covariate must be a number or a category shared by several participants.",
            )
        known = np.array([t is not None for t in text])
        for level in levels[1:]:
            columns.append(np.where(known, np.array([t == level for t in text], float), np.nan))
            labels.append(f"{name}[{level}]")
    matrix = np.column_stack(columns) if columns else np.empty((len(table), 0))
    return Covariates(matrix, tuple(labels), np.asarray(np.isfinite(matrix).all(axis=1)))


def read_categories(table: pd.DataFrame, column: str, file: str | Path = PARTICIPANTS.path) -> list[str | None]:
    """A column as text, None where it is missing.

    Raises
    ------
    DatasetError
        Unknown column.
    """
    return as_text(_column(table, column, file))


def _parse(
    text: str,
    table: pd.DataFrame,
    group_column: str | None,
    groups: Sequence[str | None],
    levels: list[str],
    file: str | Path,
) -> Contrast:
    if "<" in text:
        order = [part.strip() for part in text.split("<")]
        _known(order, levels, group_column, text, file)
        y = np.array([order.index(g) if g in order else np.nan for g in groups], float)
        return Contrast(text, "ordinal", y, tuple(order), _small(y, order, table))
    for first, second in _splits(text):
        if first in levels and (second in levels or second == "rest") and first != second:
            rest = second == "rest" and "rest" not in levels
            zero = {g for g in levels if rest or g == second}
            y = np.array([1.0 if g == first else 0.0 if g in zero else np.nan for g in groups])
            return Contrast(text, "groups", y, (first, second), _small(y, [second, first], table))
    if text in table.columns:
        numbers = as_numbers(table, text, file)
        if numbers is None:
            raise DatasetError(
                f"Contrast '{text}' names a column of text",
                file=file,
                remedy=f"Use --group-column {text}, or choose a numeric column.",
            )
        return _score(text, numbers, table)
    raise DatasetError(
        f"Contrast '{text}' is neither a pair of groups nor a numeric column",
        file=file,
        remedy=f"Groups in '{group_column}': {', '.join(levels)}. Write e.g. {levels[-1]}-{levels[0]}, "
        f"{levels[-1]}-rest, or {'<'.join(levels)}.",
    )


def _splits(text: str) -> list[tuple[str, str]]:
    # Group names may hold hyphens themselves: every hyphen is tried.
    return [(text[:i].strip(), text[i + 1 :].strip()) for i, c in enumerate(text) if c == "-"]


def _known(order: Sequence[str], levels: Sequence[str], group_column: str | None, text: str, file: str | Path) -> None:
    unknown = [o for o in order if o not in levels]
    if unknown or len(set(order)) < 2:
        raise DatasetError(
            f"Contrast '{text}' names groups that do not exist: {', '.join(unknown) or 'fewer than two'}",
            file=file,
            remedy=f"Groups in '{group_column}': {', '.join(levels)}.",
        )


def _score(name: str, numbers: np.ndarray, table: pd.DataFrame) -> Contrast:
    known = np.isfinite(numbers)
    people = table.loc[known, "participant_id"].nunique() if "participant_id" in table else int(known.sum())
    problem = None
    if len(np.unique(numbers[known])) < 2:
        problem = f"'{name}' does not vary"
    elif people < 8:
        problem = f"only {people} participants have a value of '{name}' (at least 8 are needed)"
    return Contrast(name, "score", np.where(known, numbers, np.nan), (name,), problem)


def _small(y: np.ndarray, levels: list[str], table: pd.DataFrame) -> str | None:
    """Groups with fewer than three participants carry no analysis."""
    people = table["participant_id"].to_numpy() if "participant_id" in table else np.arange(len(y))
    for value, level in enumerate(levels):
        count = len(set(people[y == value]))
        if count < 3:
            return f"group {level} has {count} participant{'' if count == 1 else 's'} (at least 3 are needed)"
    return None


def _column(table: pd.DataFrame, name: str, file: str | Path) -> pd.Series:
    if name not in table.columns:
        raise DatasetError(
            f"There is no column '{name}'",
            file=file,
            remedy=f"Existing columns: {', '.join(map(str, table.columns))}.",
        )
    return table[name]
