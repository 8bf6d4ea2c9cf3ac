"""One row per participant: repeated scans are not independent, so inference is made on participants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np

#: How a participant's scans become one row: the earliest alone, or the mean of all that have its label.
CHOICES = ("first", "mean")


@dataclass(frozen=True)
class Rows:
    """Which scans make up which row of an analysis.

    Attributes
    ----------
    scans : ndarray of shape (M,), int
        Scans that take part.
    row : ndarray of shape (M,), int
        Row (participant) that each of them belongs to.
    first : ndarray of shape (n,), int
        First scan of every participant that takes part.
    averaged : bool
        Whether any participant has several scans here.
    left_out : ndarray of shape (L,), int
        Scans with complete data and a label that are not used: later ones, or those with another label.
    """

    scans: np.ndarray
    row: np.ndarray
    first: np.ndarray
    averaged: bool
    left_out: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def mean(self, x: np.ndarray) -> np.ndarray: ...

    @overload
    def mean(self, x: None) -> None: ...

    def mean(self, x: np.ndarray | None) -> np.ndarray | None:
        """Average (N, ...) arrays, and (F, N, K) arrays along their second axis, over each participant's scans."""
        if x is None:
            return None
        x = np.asarray(x, float)
        if x.ndim == 3:
            return np.stack([self.mean(one) for one in x])
        if not self.averaged:
            return x[self.first]
        total = np.zeros((len(self), *x.shape[1:]))
        np.add.at(total, self.row, x[self.scans])
        counts = np.bincount(self.row, minlength=len(self))
        return total / counts.reshape(-1, *[1] * (x.ndim - 1))

    @overload
    def take(self, x: np.ndarray) -> np.ndarray: ...

    @overload
    def take(self, x: None) -> None: ...

    def take(self, x: np.ndarray | None) -> np.ndarray | None:
        """Value of the first scan of every participant (labels, folds, sites)."""
        return None if x is None else np.asarray(x)[self.first]


def rows_of(
    participants: np.ndarray, take_part: np.ndarray, y: np.ndarray | None = None, choice: str = "first"
) -> Rows:
    """Collapse scans to participants.

    Parameters
    ----------
    participants : ndarray of shape (N,)
        Participant of every scan; each participant's scans in the order in which they were made.
    take_part : ndarray of shape (N,), bool
        Scans that take part in this analysis.
    y : ndarray of shape (N,), optional
        Labels; NaN for scans that take no part.
    choice : {"first", "mean"}
        "first": a participant's earliest scan that takes part. "mean": the mean of all that take part and have the
        same label as that one.

    Raises
    ------
    ValueError
        Another `choice`.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice is {choice!r}: {' or '.join(CHOICES)}")
    participants = np.asarray(participants)
    take_part = np.asarray(take_part, bool).copy()
    if y is not None:
        y = np.asarray(y, float)
        take_part &= ~np.isnan(y)
    all_scans = np.flatnonzero(take_part)
    _, index, inverse = np.unique(participants[all_scans], return_index=True, return_inverse=True)
    order = np.argsort(index)  # participants in the order of their first scan
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    row, first = rank[inverse], all_scans[index[order]]
    kept = np.isin(all_scans, first)
    if choice == "mean":
        kept = np.ones(len(all_scans), bool) if y is None else y[all_scans] == y[first][row]
    return Rows(all_scans[kept], row[kept], first, int(kept.sum()) > len(first), all_scans[~kept])
