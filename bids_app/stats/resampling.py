"""Intervals by the bootstrap over participants."""

from __future__ import annotations

import numpy as np


def bootstrap_rows(n: int, n_bootstrap: int, seed: int, strata: np.ndarray | None = None) -> np.ndarray:
    """Row numbers of bootstrap samples, shape (n_bootstrap, n); drawn within strata, whose sizes stay as they are."""
    rng = np.random.default_rng(seed)
    if strata is None:
        return rng.integers(0, n, (n_bootstrap, n))
    rows = np.empty((n_bootstrap, n), int)
    start = 0
    for value in np.unique(strata):
        members = np.flatnonzero(strata == value)
        rows[:, start : start + len(members)] = members[rng.integers(0, len(members), (n_bootstrap, len(members)))]
        start += len(members)
    return rows


def bootstrap_mean_interval(
    values: np.ndarray, n_bootstrap: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the column means of `values` (N, R), rows (participants) resampled."""
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    means = counts @ values / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
