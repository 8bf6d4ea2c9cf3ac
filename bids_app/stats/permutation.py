"""Permutation p values, family-wise control by the maximum statistic, and the false discovery rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def block_rows(n: int, blocks: np.ndarray | None) -> list[np.ndarray]:
    """Rows of every block; all ``n`` rows are one where there are no blocks."""
    if blocks is None:
        return [np.arange(n)]
    return [np.flatnonzero(blocks == value) for value in np.unique(blocks)]


def permutation_chunks(
    n: int, n_permutations: int, seed: int, chunk: int, blocks: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Random permutations of ``range(n)`` in chunks of shape (<= chunk, n); the chunk size does not change them.

    With ``blocks`` (n,), a label per row, every row stays among those of its own block: rows of different scanners are
    not exchangeable.
    """
    rng = np.random.default_rng(seed)
    members = block_rows(n, blocks)
    done = 0
    while done < n_permutations:
        size = min(chunk, n_permutations - done)
        # argsort of independent uniforms: every row is an independent uniform permutation.
        keys = rng.random((size, n), dtype=np.float32)
        perms = np.empty((size, n), int)
        for rows in members:
            perms[:, rows] = rows[np.argsort(keys[:, rows], axis=1)]
        yield perms
        done += size


def p_value(observed: np.ndarray | float, null: np.ndarray) -> np.ndarray:
    """Permutation p value of a statistic that is large under the alternative.

    ``(1 + #{null >= observed}) / (1 + B)`` (Phipson & Smyth 2010): never zero, valid at any B.

    Parameters
    ----------
    observed : float or ndarray
        Observed statistic(s).
    null : ndarray of shape (B,)
        Statistic under each permutation: its maximum over the family for family-wise control.

    Returns
    -------
    ndarray
        p value(s) of the shape of `observed`; NaN where `observed` is NaN.
    """
    observed = np.asarray(observed, float)
    null = np.sort(np.asarray(null, float))
    # Ties that only rounding separates count as ties.
    tolerance = 1e-6 * np.maximum(np.abs(observed), 1e-12)
    reached = len(null) - np.searchsorted(null, observed - tolerance, side="left")
    p = (1.0 + reached) / (1.0 + len(null))
    return np.where(np.isnan(observed), np.nan, p)


def max_statistic_p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Family-wise p values from studentised statistics, so that every member of the family has the same say.

    Parameters
    ----------
    observed : ndarray of shape (R,)
    null : ndarray of shape (B, R)
        The same statistics under B permutations.

    Returns
    -------
    ndarray of shape (R,)
        1 for members that never vary.
    """
    everything = np.vstack([observed[None], null])
    centre, spread = everything.mean(axis=0), everything.std(axis=0)
    varies = spread > 1e-12
    if not varies.any():
        return np.ones(len(observed))
    z = (everything[:, varies] - centre[varies]) / spread[varies]
    p = np.ones(len(observed))
    p[varies] = p_value(z[0], z[1:].max(axis=1))
    return p


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values of an array of p values of any shape; NaN stays NaN and is not counted."""
    p = np.asarray(p, float)
    flat = p.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    q = np.full(flat.shape, np.nan)
    order = known[np.argsort(flat[known])]
    m = len(order)
    scaled = flat[order] * m / np.arange(1, m + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q.reshape(p.shape)
