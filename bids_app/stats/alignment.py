"""Axes of several models laid onto those of one, by the people whom both have seen."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes


def turn_onto(moving: np.ndarray, target: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Coordinates moved and turned (mirrored, if need be) so that some rows come to lie closest to a target.

    Orthogonal Procrustes (Schoenemann 1966) about the means of these rows. Distances between any two rows stay as they
    are; nothing is scaled.

    Parameters
    ----------
    moving, target : ndarray of shape (N, K)
    rows : ndarray of int or bool
        Rows by which they are laid on each other.

    Returns
    -------
    ndarray of shape (N, K)
    """
    centre, to = moving[rows].mean(axis=0), target[rows].mean(axis=0)
    turn, _ = orthogonal_procrustes(moving[rows] - centre, target[rows] - to)
    return (moving - centre) @ turn + to


def align_held_out(full: np.ndarray, by_fold: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Out-of-fold latents on common axes: each row by the model that never saw it, turned onto the full model's axes.

    Which turn, the training rows of the fold decide; the held-out rows have no part in it.

    Parameters
    ----------
    full : ndarray of shape (N, K)
        Latents by the model of all rows.
    by_fold : ndarray of shape (F, N, K)
        Element f by the model that never saw the rows of fold f.
    fold : ndarray of shape (N,), int

    Returns
    -------
    ndarray of shape (N, K)
    """
    out = np.empty(full.shape)
    for f in np.unique(fold):
        out[fold == f] = turn_onto(by_fold[f], full, fold != f)[fold == f]
    return out
