"""One row a participant: repeated scans are not independent, so inference is made on participants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Which scans make up which row of an analysis.

    Attributes
    ----------
    weights : ndarray of shape (n, N)
        Row-stochastic: row i averages the scans of participant i that take part.
    first : ndarray of shape (n,), int
        First scan of every participant that takes part.
    averaged : bool
        Whether any participant has several scans here.
    """

    weights: np.ndarray
    first: np.ndarray
    averaged: bool

    def __len__(self) -> int:
        return len(self.first)

    def mean(self, x: np.ndarray | None) -> np.ndarray | None:
        """Average (N, ...) arrays, and (F, N, K) arrays along their second axis, over each participant's scans."""
        if x is None:
            return None
        x = np.asarray(x, float)
        if not self.averaged:
            return x[:, self.first] if x.ndim == 3 else x[self.first]
        return np.einsum("nN,fNk->fnk", self.weights, x) if x.ndim == 3 else self.weights @ x

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
    weights = np.zeros((len(first), len(participants)))
    weights[row, scans] = 1.0
    counts = weights.sum(axis=1, keepdims=True)
    return Rows(weights / np.maximum(counts, 1), first, bool((counts > 1).any()))
