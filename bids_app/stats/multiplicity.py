"""Several tests of one family: Holm's step-down procedure."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values: reject where they are at most alpha, and no true null of the family is rejected with
    a probability above alpha, however the tests depend on each other.

    Parameters
    ----------
    p : ndarray of shape (m,)
        NaN for questions that could not be tested; they are not counted and stay NaN.

    Returns
    -------
    ndarray of shape (m,)

    References
    ----------
    Holm S (1979). A simple sequentially rejective multiple test procedure. Scandinavian J. Statistics 6, 65-70.
    """
    p = np.asarray(p, float)
    out, known = np.full(p.shape, np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    # Not by statsmodels, which collects the garbage of the whole program at every call.
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def holm_levels(p: np.ndarray, alpha: float) -> np.ndarray:
    """Level at which each test stands in Holm's sequence.

    The i-th smallest of m p values (i = 0, 1, ...) is held against alpha / (m - i), as long as all before it were
    rejected. The first that is not, and all after it, stand at the level of that step. So ``p <= holm_levels(p)``
    exactly where ``holm(p) <= alpha``.

    Parameters
    ----------
    p : ndarray of shape (m,)
        NaN for questions that could not be tested; they are not counted and stay NaN.
    alpha : float
        Level of the family.

    Returns
    -------
    ndarray of shape (m,)
    """
    p = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = alpha / np.arange(len(order), 0, -1)
    failed = np.flatnonzero(p[order] > steps)
    if len(failed):
        steps[failed[0] :] = steps[failed[0]]
    levels = np.full(p.shape, np.nan)
    levels[order] = steps
    return levels
