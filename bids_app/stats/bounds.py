"""Upper bounds of the actual risk: PAC-Bayes (two forms), Vapnik, in general position, held out, one dimension.

Each says: with probability at least 1 - eta over the sample, the actual risk is at most the value returned (or at
most the empirical risk plus the value returned, where the docstring says "excess").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

PUBLISHED_GRID = np.arange(0.6, 10.05, 0.1)
STRICT_GRID = np.geomspace(0.6, 10.0, 12)


def pac_bayes(
    empirical: np.ndarray | float,
    complexity: np.ndarray | float,
    n: float,
    lam: np.ndarray | float,
    log_term: np.ndarray | float,
    loss_max: float = 1.0,
) -> np.ndarray:
    """McAllester's linear PAC-Bayes bound (arXiv 1307.2118, theorem 2) at one value of lambda.

    ``L <= [L_emp + (lam Lmax / n) (KL + log_term)] / (1 - 1 / (2 lam))``

    Parameters
    ----------
    empirical : float
        Empirical risk of the posterior, 0..Lmax.
    complexity : float
        KL divergence of the posterior from the prior; with dropout rate delta and unit Gaussians
        ``(1 - delta) / 2 ||theta||^2``.
    n : float
        Number of independent rows (1 / the largest weight of a row, for a weighted risk).
    lam : float
        lambda > 1/2.
    log_term : float
        ``ln(1/eta)`` for a lambda fixed beforehand, ``ln(m/eta)`` for the best of m values.
    loss_max : float
        Upper limit of the loss.
    """
    bound: Any = (empirical + lam * loss_max / n * (complexity + log_term)) / (1 - 1 / (2 * lam))
    return bound


def pac_bayes_published(
    empirical: float, theta_sq: float, n: int, eta: float, dropout: float = 0.5, loss_max: float = 1.0
) -> float:
    """Dropout bound as Gorriz et al. (arXiv 2401.16407) apply it: the deterministic linear machine's own error.

    The theorem speaks of randomised weights, so this form is an approximation: see `pac_bayes_gibbs`.

    Parameters
    ----------
    empirical : float
        Empirical risk of the linear machine.
    theta_sq : float
        Squared length of its weights, intercept included.
    n : int
        Training rows.
    eta : float
        1 - confidence.
    dropout : float
        Dropout rate delta of the posterior.
    loss_max : float

    Returns
    -------
    float
        Bound of the actual risk; the minimum over 95 values of lambda in (1/2, 10], paid for by ln(95/eta).
    """
    complexity = (1 - dropout) / 2 * theta_sq
    log_term = np.log(len(PUBLISHED_GRID) / eta)
    return float(pac_bayes(empirical, complexity, n, PUBLISHED_GRID, log_term, loss_max).min())


def gibbs_error(margins: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Error of a linear rule with weights drawn from N(scale * direction, I), row by row.

    Parameters
    ----------
    margins : ndarray of shape (n,)
        ``y x.direction / ||x||`` with ``||direction|| = 1`` and y = +-1.
    scale : ndarray of shape (S,)

    Returns
    -------
    ndarray of shape (S, n)
        ``Phi(-scale * margin)``.
    """
    return special.ndtr(-np.multiply.outer(np.atleast_1d(scale), margins))


def pac_bayes_gibbs(margins: np.ndarray, weights: np.ndarray, eta: float) -> tuple[float, float]:
    """Strict PAC-Bayes bound of the weighted risk of the randomised (Gibbs) linear classifier.

    Prior N(0, I), posterior N(c * direction, I), KL = c^2 / 2. The bound holds for every posterior at once, so the
    scale c that makes it smallest may be taken; lambda is one of 12 values, paid for by ln(12/eta). For a risk with
    row weights w the moment step of the theorem goes through with 1/n replaced by max(w): with
    ``w = 1 / (2 n_group)`` it bounds the balanced error, whose chance level is exactly 1/2 whatever the group sizes.

    Parameters
    ----------
    margins : ndarray of shape (n,)
        See `gibbs_error`.
    weights : ndarray of shape (n,)
        Non-negative row weights that add up to 1.
    eta : float

    Returns
    -------
    empirical, bound : float
        Empirical Gibbs risk of the chosen posterior and the bound of its actual risk.
    """
    scale = np.concatenate([[0.0], np.geomspace(0.1, 100.0, 121)])
    empirical = gibbs_error(margins, scale) @ weights
    values = pac_bayes(
        empirical[:, None], scale[:, None] ** 2 / 2, 1 / weights.max(), STRICT_GRID, np.log(len(STRICT_GRID) / eta)
    )
    best = np.unravel_index(values.argmin(), values.shape)
    return float(empirical[best[0]]), float(values[best])


def vapnik_excess(n: int, d: int, eta: float) -> float:
    """Vapnik's bound of (actual - empirical) risk for linear rules in d dimensions (VC dimension d + 1).

    ``sqrt(((d+1)(ln(2n/(d+1)) + 1) - ln(eta/4)) / n)``; at least 1 (empty) once d + 1 >= n.
    """
    if d + 1 >= n:
        return max(1.0, float(np.sqrt((n * (np.log(2) + 1) - np.log(eta / 4)) / n)))
    return float(np.sqrt(((d + 1) * (np.log(2 * n / (d + 1)) + 1) - np.log(eta / 4)) / n))


def log_dichotomies(n: int, d: int) -> float:
    """ln of Cover's number ``C = 2 sum_{k<d} binom(n-1, k)`` of linear dichotomies of n points in general position."""
    k = np.arange(min(d, n))
    log_binomials = special.gammaln(n) - special.gammaln(k + 1) - special.gammaln(n - k)
    return float(np.log(2) + special.logsumexp(log_binomials))


def igp_excess(n: int, d: int, eta: float) -> float:
    """In-general-position bound of (actual - empirical) risk, ``sqrt(ln(C/eta) / (2n))``.

    Parameters
    ----------
    n : int
        Training rows.
    d : int
        Free parameters of the linear rule: number of predictors, plus one for an intercept.
    eta : float
    """
    return float(np.sqrt((log_dichotomies(n, d) - np.log(eta)) / (2 * n)))


def binomial_upper(errors: int, n: int, eta: float) -> float:
    """Clopper-Pearson upper limit of an error rate: `errors` of `n` independent held-out rows, confidence 1 - eta."""
    if n == 0 or errors >= n:
        return 1.0
    return float(stats.beta.ppf(1 - eta, errors + 1, n - errors))


def held_out_bound(wrong: np.ndarray, y: np.ndarray, fold: np.ndarray, eta: float) -> float:
    """Worst case of the balanced error of cross-validated classifiers, averaged over the folds.

    In each fold the classifier is fixed once its training rows are seen, so its errors on the held-out rows of one
    group are binomial, and Clopper-Pearson's limit is exact. eta is split over folds and groups (union bound).

    Parameters
    ----------
    wrong : ndarray of shape (n,), bool
        Held-out prediction was wrong.
    y : ndarray of shape (n,)
        1 or 0.
    fold : ndarray of shape (n,)
    eta : float

    Returns
    -------
    float
        Bound of the mean over folds of the actual balanced risk; folds that hold no row of a group count as risk 1
        for that group.
    """
    folds = np.unique(fold)
    share = eta / (2 * len(folds))
    limits = [
        binomial_upper(int(wrong[(fold == f) & (y == g)].sum()), int(((fold == f) & (y == g)).sum()), share)
        for f in folds
        for g in (0, 1)
    ]
    return float(np.mean(limits))


def threshold_excess(n_first: int, n_second: int, eta: float) -> float:
    """Uniform bound of (actual - empirical) balanced error of all threshold rules on ONE number.

    The balanced error of a threshold is half the difference of two distribution functions (plus 1/2), and
    Dvoretzky-Kiefer-Wolfowitz-Massart bounds both uniformly: half the sum of ``sqrt(ln(4/eta) / (2 n_group))``.
    Holds for the threshold and the direction chosen on the same rows; no assumption about the distributions.
    """
    return float(0.5 * sum(np.sqrt(np.log(4 / eta) / (2 * n)) for n in (n_first, n_second)))


def best_threshold_error(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smallest balanced error, on the same rows, of any threshold rule on each column of `x` (N, R); y is 1 or 0."""
    x = np.asarray(x, float).reshape(len(y), -1)
    first, second = x[np.asarray(y) > 0.5], x[np.asarray(y) <= 0.5]
    gap = [stats.ks_2samp(first[:, r], second[:, r], method="asymp").statistic for r in range(x.shape[1])]
    return 0.5 * (1 - np.asarray(gap))
