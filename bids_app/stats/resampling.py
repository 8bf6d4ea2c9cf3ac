"""Intervals: corrected resampled differences over folds, and the bootstrap over participants."""

from __future__ import annotations

import numpy as np
from scipy import stats


def nadeau_bengio(differences: np.ndarray, test_share: float, level: float = 0.95) -> tuple[float, float, float, float]:
    """Corrected resampled t interval of a mean difference over cross-validation folds (Nadeau & Bengio 2003).

    Training sets overlap, so the variance of the mean is ``(1/J + n_test/n_train) s^2`` and not ``s^2 / J``.

    Parameters
    ----------
    differences : ndarray of shape (J,)
        One paired difference a fold.
    test_share : float
        n_test / n_train.
    level : float

    Returns
    -------
    mean, low, high, p : float
        p is two-sided. NaN interval with fewer than two folds; a zero-width one where all folds agree.
    """
    d = np.asarray(differences, float)
    d = d[~np.isnan(d)]
    if len(d) < 2:
        return (float(d.mean()) if len(d) else np.nan, np.nan, np.nan, np.nan)
    mean, se = d.mean(), np.sqrt((1 / len(d) + test_share) * d.var(ddof=1))
    if se == 0:
        return float(mean), float(mean), float(mean), (1.0 if mean == 0 else 0.0)
    half = stats.t.ppf(0.5 + level / 2, len(d) - 1) * se
    return float(mean), float(mean - half), float(mean + half), float(2 * stats.t.sf(abs(mean / se), len(d) - 1))


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
