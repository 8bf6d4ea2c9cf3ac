"""Whether groups vary alike about their means."""

from __future__ import annotations

import numpy as np

from bids_app.stats.linear import nuisance_basis


def group_spreads(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None = None) -> np.ndarray:
    """How far the rows of each group lie from their expectation, all columns together.

    Every column is freed of the covariates and the group means and divided by its root mean square over all;
    a group's spread is the root mean square of what its rows then hold, each square divided by 1 - h, h the row's
    leverage.

    Parameters
    ----------
    x : ndarray of shape (n, R)
        One row per participant.
    y : ndarray of shape (n,)
        Groups.
    covariates : ndarray of shape (n, P), optional

    Returns
    -------
    ndarray, one number per group in the order of ``np.unique(y)``
        NaN where no column varies within the groups, or a group has fewer than two rows.
    """
    x, levels = np.asarray(x, float), np.unique(y)
    member = (np.asarray(y)[:, None] == levels).astype(float)
    if member.sum(axis=0).min() < 2:
        return np.full(len(levels), np.nan)
    c = member[:, 1:] if covariates is None else np.column_stack([np.asarray(covariates, float), member[:, 1:]])
    basis = nuisance_basis(c, len(x))
    left = x - basis @ (basis.T @ x)
    size = np.sqrt((left**2).mean(axis=0))
    varies = size > 1e-9 * np.maximum(np.abs(x).max(axis=0, initial=0.0), 1e-300)
    if not varies.any():
        return np.full(len(levels), np.nan)
    squares = ((left[:, varies] / size[varies]) ** 2).mean(axis=1) / np.clip(1 - (basis**2).sum(axis=1), 1e-9, 1.0)
    return np.sqrt(member.T @ squares / member.sum(axis=0))


def dispersion_ratio(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None = None) -> float:
    """Spread of the most variable group over that of the least (`group_spreads`): 1 or more, or NaN."""
    spread = group_spreads(x, y, covariates)
    return float(spread.max() / max(spread.min(), 1e-12))
