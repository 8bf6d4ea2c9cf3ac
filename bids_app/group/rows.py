"""One row a participant: repeated scans are not independent, so inference is made on participants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    """

    scans: np.ndarray
    row: np.ndarray
    first: np.ndarray
    averaged: bool

    def __len__(self) -> int:
        return len(self.first)

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

    def take(self, x: np.ndarray) -> np.ndarray:
        """Value of the first scan of every participant (labels, folds)."""
        return np.asarray(x)[self.first]


def rows_of(participants: np.ndarray, take_part: np.ndarray, y: np.ndarray | None = None) -> Rows:
    """Collapse scans to participants.

    Parameters
    ----------
    participants : ndarray of shape (N,)
        Participant label of every scan.
    take_part : ndarray of shape (N,), bool
        Scans that take part in this analysis.
    y : ndarray of shape (N,), optional
        Labels. Where a participant's label changes between scans, only the scans with the first one's label count.
    """
    participants = np.asarray(participants)
    take_part = np.asarray(take_part, bool).copy()
    if y is not None:
        y = np.asarray(y, float)
        take_part &= ~np.isnan(y)
    scans = np.flatnonzero(take_part)
    _, index, inverse = np.unique(participants[scans], return_index=True, return_inverse=True)
    order = np.argsort(index)  # participants in the order of their first scan
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    row, first = rank[inverse], scans[index[order]]
    if y is not None:
        same = y[scans] == y[first][row]
        scans, row = scans[same], row[same]
    return Rows(scans, row, first, len(scans) > len(first))
