"""Cross-fitted prediction where everything is linear in the response: thousands of permutations as matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import gammaln

from bids_app.stats.dispersion import group_spreads
from bids_app.stats.linear import Residuals, residual_operator, residualise, ridge_factors, standardise
from bids_app.stats.permutation import block_rows, p_value, permutation_chunks


@dataclass(frozen=True)
class CrossFitTest:
    """Test of out-of-fold ridge predictions against a response.

    Attributes
    ----------
    statistic : float
        Correlation of prediction and response out of fold, both free of the covariates, unless a test says otherwise.
    p : float
        One-sided Freedman-Lane permutation p value.
    prediction : ndarray of shape (n,)
    response : ndarray of shape (n,)
        The response's out-of-fold residuals given the covariates.
    """

    statistic: float
    p: float
    prediction: np.ndarray
    response: np.ndarray


def fold_rows(fold: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(fold, training rows, held-out rows) for every fold number that occurs."""
    return [(int(f), np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in np.unique(fold)]


def smallest_training_set(fold: np.ndarray) -> int:
    """Rows that the largest fold leaves to learn from; 0 if there is only one fold."""
    return len(fold) - int(np.unique(fold, return_counts=True)[1].max(initial=0))


def features_of_fold(features: np.ndarray, f: int) -> np.ndarray:
    """Features of all rows for fold f: (N, K) features are the same in all folds, (F, N, K) are the fold model's."""
    return features if features.ndim == 2 else features[f]


def in_units_of_folds(score: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scores (N,) over the root mean square of their fold: those of different models have no common unit."""
    out = np.array(score, float)
    for f in np.unique(fold):
        out[fold == f] /= max(float(np.sqrt((out[fold == f] ** 2).mean())), 1e-12)
    return out


def residual_folds(
    features: np.ndarray, fold: np.ndarray, covariates: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray, Residuals, Residuals, np.ndarray]]:
    """Fold by fold: training rows, held-out rows, what takes the covariates off either, and the fold's features.

    The covariates' coefficients come from the training rows.
    """
    for f, train, test in fold_rows(fold):
        on_train, on_test = (residual_operator(covariates, train, rows, len(fold)) for rows in (train, test))
        yield train, test, on_train, on_test, features_of_fold(features, f)


class FoldMap:
    """A linear map of responses (n,) or (n, B), fold by fold and in low-rank factors: no (n, n) matrix is made.

    Parameters
    ----------
    parts : list of (test, train, left, right)
        ``out[test] = left @ (right @ v[train])``.
    """

    def __init__(self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]):
        self.parts = parts

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        out = np.zeros(np.shape(v))
        for test, train, left, right in self.parts:
            out[test] = left @ (right @ v[train])
        return out


def _weighted(
    on_train: Residuals, on_test: Residuals, x: np.ndarray, groups: np.ndarray, covariates: np.ndarray | None
) -> tuple[Residuals, Residuals]:
    """The same with the covariates' coefficients by least squares in which a row weighs 1 / spread of its group ^ 2.

    Of the residuals that these leave the coefficients' error is independent. Of those of ordinary least squares it is
    not where the groups differ in spread, and what the ridge learns from them then follows that error into the held-out
    rows: 15 people of twice the spread of 60 others seemed to be told apart from them by 0.3 standard errors of
    nothing.
    """
    train = on_train.train
    spread = group_spreads(x[train], groups[train], None if covariates is None else covariates[train])
    if not np.isfinite(spread).all() or spread.min() < 1e-6 * spread.max():
        return on_train, on_test
    root = 1 / spread[np.unique(groups[train], return_inverse=True)[1]]
    coefficients = np.linalg.pinv(root[:, None] * on_train.design, rcond=1e-10) * root
    return replace(on_train, coefficients=coefficients), replace(on_test, coefficients=coefficients)


def crossfit_operators(
    features: np.ndarray,
    fold: np.ndarray,
    covariates: np.ndarray | None,
    groups: np.ndarray | None = None,
    shrinkage: float = 0.1,
) -> tuple[FoldMap, FoldMap]:
    """Maps H and C: ``H @ v`` predicts v out of fold by ridge, ``v - C @ v`` is what the covariates leave of v.

    In each fold the covariates' coefficients, the standardisation and the ridge weights come from the training rows.
    The penalty depends on the features only (``max(shrinkage * n, K)``), so H does not depend on the response. With
    `groups` (n,) the covariates leave the features by weights that allow the groups to differ in spread.
    """
    predict, explained = [], []
    for train, test, on_train, on_test, x in residual_folds(features, fold, covariates):
        off = (on_train, on_test)
        if groups is not None:
            off = _weighted(on_train, on_test, x, groups, covariates)
        x_train, x_test = standardise(off[0] @ x, off[1] @ x)
        left, right = ridge_factors(x_train, x_test, max(shrinkage * len(train), x_train.shape[1]))
        # The covariates leave the training rows' response first.
        right = right - (right @ on_train.design) @ on_train.coefficients
        predict.append((test, train, left, right))
        explained.append((test, train, on_test.design, on_test.coefficients))
    return FoldMap(predict), FoldMap(explained)


def crossfit_test(
    features: np.ndarray,
    response: np.ndarray,
    fold: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    blocks: np.ndarray | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> CrossFitTest:
    """Do the features predict the response beyond the covariates, out of fold?

    The residuals of the response given the covariates are permuted (Freedman-Lane); prediction and target are fixed
    linear maps of them, so many permutations are a few matrix products.

    Parameters
    ----------
    features : ndarray of shape (n, K) or (F, n, K)
        (F, n, K): the features of fold f's model, used where fold f is held out.
    response : ndarray of shape (n,)
        0/1 groups, ranks of an ordinal, or a score.
    fold : ndarray of shape (n,), int
    covariates : ndarray of shape (n, P), optional
    blocks : ndarray of shape (n,), optional
        Residuals are permuted within these only (sites).
    n_permutations, seed : int
    """
    predict, explained = crossfit_operators(features, fold, covariates)
    v = residualise(response, covariates)
    prediction, target = predict @ v, v - explained @ v
    observed = float(_correlation(prediction[None], target[None])[0])
    null = []
    for perms in permutation_chunks(len(v), n_permutations, seed, 512, blocks):
        shuffled = v[perms.T]
        null.append(_correlation((predict @ shuffled).T, (shuffled - explained @ shuffled).T))
    return CrossFitTest(observed, float(p_value(observed, np.concatenate(null))), prediction, target)


def smallest_p(y: np.ndarray, blocks: np.ndarray | None = None) -> float:
    """Smallest p value that a test by permuted labels can give, whatever the features.

    1 / (number of distinct relabellings, within the blocks where there are any); twice that for two groups of one size
    (in every block), whose swap changes nothing.
    """
    y, levels = np.asarray(y), np.unique(y)
    log_p, ties = 0.0, len(levels) == 2
    for rows in block_rows(len(y), blocks):
        counts = np.array([(y[rows] == level).sum() for level in levels])
        log_p += float(gammaln(counts + 1).sum() - gammaln(len(rows) + 1))
        ties = ties and counts[0] == counts[1]
    return float(min(1.0, (2.0 if ties else 1.0) * np.exp(log_p)))


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(scale > 1e-12, (a * b).sum(axis=1) / np.maximum(scale, 1e-12), 0.0)


def out_of_fold_r2(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """1 - SSE / SST along the first axis, both free of the training mean; NaN where the target is constant."""
    sst = (target**2).sum(axis=0)
    return np.where(sst > 1e-300, 1 - ((target - prediction) ** 2).sum(axis=0) / np.maximum(sst, 1e-300), np.nan)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation, 0 where a side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)
