"""How well one number per participant separates two groups, follows an order of groups, or follows a score."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bids_app.stats.linear import nuisance_basis, residualise
from bids_app.stats.permutation import permutation_chunks


def auc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every column of `x`, ties counted half (Mann-Whitney).

    Parameters
    ----------
    x : ndarray of shape (N,) or (N, M)
    y : ndarray of shape (N,)
        1 for the positive group, 0 for the other.

    Returns
    -------
    ndarray of shape (M,) or float
        P(x of a positive > x of a negative); NaN if a group is empty.
    """
    y = np.asarray(y) > 0.5
    positive, negative = int(y.sum()), int((~y).sum())
    ranks = stats.rankdata(x, axis=0)
    if not positive or not negative:
        return np.full(ranks.shape[1:], np.nan)[()]
    return (ranks[y].sum(axis=0) - positive * (positive + 1) / 2) / (positive * negative)


def concordance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(x_i > x_j given y_i > y_j), ties in x counted half: the AUC for two groups, the c-index for a score.

    Parameters
    ----------
    x : ndarray of shape (N,) or (N, M)
    y : ndarray of shape (N,)

    Returns
    -------
    ndarray of shape (M,) or float
    """
    y = np.asarray(y, float)
    if len(np.unique(y)) == 2:
        return auc(x, (y == y.max()).astype(float))
    x = np.asarray(x, float)
    pairs = len(y) * (len(y) - 1) / 2
    untied = pairs - _tied_pairs(y)
    if not untied:
        return np.full(x.shape[1:], np.nan)[()]
    out = []
    for column in x.reshape(len(x), -1).T:
        # Kendall's tau-b, in n log n time, back to concordant minus discordant pairs.
        scale = np.sqrt((pairs - _tied_pairs(column)) * untied)
        tau = stats.kendalltau(column, y, method="asymptotic").statistic if scale else 0.0
        out.append(0.5 + 0.5 * tau * scale / untied)
    return np.reshape(out, x.shape[1:])[()]


def _tied_pairs(x: np.ndarray) -> float:
    counts = np.unique(x, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def signed_discriminability(x: np.ndarray, y: np.ndarray, kind: str) -> np.ndarray:
    """Discriminability of every column with its direction: 2 AUC - 1 for two groups, Spearman for an order or a score.

    Parameters
    ----------
    x : ndarray of shape (N, K)
    y : ndarray of shape (N,)
    kind : {"groups", "ordinal", "score"}

    Returns
    -------
    ndarray of shape (K,)
        Between -1 and 1; 0 for constant columns.
    """
    if kind == "groups":
        return 2 * auc(x, y) - 1
    return _unit(stats.rankdata(x, axis=0)).T @ _unit(stats.rankdata(y))


def discriminability(x: np.ndarray, y: np.ndarray, kind: str) -> np.ndarray:
    """Discriminability d of every column, 0 to 1: |2 AUC - 1| or |Spearman| (see `signed_discriminability`)."""
    return np.abs(signed_discriminability(x, y, kind))


def permuted_discriminability(
    x: np.ndarray,
    y: np.ndarray,
    kind: str,
    covariates: np.ndarray | None = None,
    *,
    n_permutations: int = 1000,
    seed: int = 0,
    signed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Discriminability with the labels' residuals permuted (Freedman-Lane), as matrix products.

    Both discriminabilities are linear in the ranks of x, ``d = |ranks' y| / constant``. The ranks (of covariate-free
    x) and the labels are made orthogonal to the covariates, and the labels' residuals are permuted. What the covariates
    explain of permuted residuals is removed again and the rest brought back to the same length: left out, the null
    would be too narrow by ``sqrt(1 - P / (N - 1))``. Without covariates the observed value is `discriminability`
    exactly. With ``signed`` the direction is kept.

    Returns
    -------
    observed : ndarray of shape (K,)
    null : ndarray of shape (n_permutations, K)
    """
    ranks = residualise(stats.rankdata(residualise(x, covariates), axis=0), covariates)
    # A constant column has no ranks to speak of: rounding must not make any.
    ranks[:, np.std(x, axis=0) <= 1e-12 * np.abs(x).max(initial=1e-300)] = 0.0
    if kind == "groups":
        labels = (np.asarray(y) > 0.5).astype(float)
        scale = 2.0 / (labels.sum() * (1 - labels).sum())
        residual = residualise(labels, covariates)
        weights = scale * ranks
    else:
        residual = residualise(stats.rankdata(y), covariates)
        residual = residual / np.maximum(np.linalg.norm(stats.rankdata(y) - (len(y) + 1) / 2), 1e-12)
        weights = ranks / np.maximum(np.linalg.norm(ranks, axis=0), 1e-12)
    size = np.positive if signed else np.abs
    basis = nuisance_basis(covariates, len(y))
    null = [np.empty((0, x.shape[1]))]
    for perms in permutation_chunks(len(y), n_permutations, seed, 256):
        shuffled = residual[perms]
        left = 1.0 - ((shuffled @ basis) ** 2).sum(axis=1) / max((residual**2).sum(), 1e-300)
        null.append(size(shuffled @ weights) / np.sqrt(np.maximum(left, 1e-6))[:, None])
    return size(residual @ weights), np.concatenate(null)


def _unit(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    return centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-12)
