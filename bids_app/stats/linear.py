"""Least squares as projections: nuisance removal, and ridge regression as a fixed operator on the response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def nuisance_basis(covariates: np.ndarray | None, n: int) -> np.ndarray:
    """Orthonormal basis of the intercept and the covariates.

    Parameters
    ----------
    covariates : ndarray of shape (n, P) or None
        Nuisance variables in any unit; an intercept is always added.
    n : int
        Number of rows.

    Returns
    -------
    ndarray of shape (n, p)
        Orthonormal columns; ``p`` is the rank of ``[1, covariates]``, so collinear covariates do no harm.
    """
    design = np.ones((n, 1))
    if covariates is not None and np.size(covariates):
        covariates = np.asarray(covariates, float).reshape(n, -1)
        spread = covariates.std(axis=0)
        design = np.hstack([design, (covariates - covariates.mean(axis=0)) / np.where(spread > 0, spread, 1.0)])
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    return u[:, s > s[0] * 1e-10]


def project_out(x: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What is left of (N, ...) values when an orthonormal basis (N, q) is taken out of them."""
    return x - basis @ (basis.T @ x)


def unit_residuals(x: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Columns (N, M) with an orthonormal basis (N, q) taken out, of unit length; those that it explains are zero."""
    residual = project_out(x, basis)
    length, before = np.linalg.norm(residual, axis=0), np.linalg.norm(x, axis=0)
    alive = length > 1e-9 * np.maximum(before, 1e-300)
    return np.where(alive, residual / np.where(alive, length, 1.0), 0.0)


def residualise(x: np.ndarray, covariates: np.ndarray | None = None) -> np.ndarray:
    """Remove the intercept and the covariates from every column of `x` (N,) or (N, M) by least squares."""
    x = np.asarray(x, float)
    basis = nuisance_basis(covariates, len(x))
    return x - basis @ (basis.T @ x)


@dataclass(frozen=True)
class Residuals:
    """Linear map ``x -> x[test] - design @ (coefficients @ x[train])``, applied with ``@``; no (n, n) matrix is made.

    Attributes
    ----------
    train, test : ndarray of int
    design : ndarray of shape (len(test), p)
    coefficients : ndarray of shape (p, len(train))
    """

    train: np.ndarray
    test: np.ndarray
    design: np.ndarray
    coefficients: np.ndarray

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        return x[self.test] - self.design @ (self.coefficients @ x[self.train])


def residual_operator(covariates: np.ndarray | None, train: np.ndarray, test: np.ndarray, n: int) -> Residuals:
    """What is left of the test rows without what the covariates predict, with coefficients of the training rows.

    Parameters
    ----------
    covariates : ndarray of shape (n, P) or None
    train, test : ndarray of int
        Row numbers. Where they are the same rows this is the ordinary residual-forming matrix.
    n : int
        Number of rows in all.

    Returns
    -------
    Residuals
        ``residuals_of_test = operator @ x`` for any ``x`` of shape (n,) or (n, M).
    """
    design = np.ones((n, 1))
    if covariates is not None and np.size(covariates):
        c = np.asarray(covariates, float).reshape(n, -1)
        spread = c[train].std(axis=0)
        varies = spread > 1e-12 * np.maximum(np.abs(c[train]).max(axis=0), 1e-300)
        centred = (c[:, varies] - c[train][:, varies].mean(axis=0)) / spread[varies]
        design = np.hstack([design, centred])
    return Residuals(train, test, design[test], np.linalg.pinv(design[train], rcond=1e-10))


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale columns by the training rows; constant columns become zero."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    varies = spread > 1e-10 * np.maximum(np.abs(mean), 1e-300)
    scale = np.where(varies, spread, 1.0)
    return np.where(varies, (train - mean) / scale, 0.0), np.where(varies, (test - mean) / scale, 0.0)


def ridge_factors(train: np.ndarray, test: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression as two matrices: ``prediction_of_test = left @ (right @ y_train)`` for centred ``y_train``.

    ``X_test (X'X + alpha I)^-1 X'``, in whichever of the primal and the dual form is smaller.

    Parameters
    ----------
    train : ndarray of shape (n, K)
        Centred predictors.
    test : ndarray of shape (m, K)
    alpha : float
        Penalty, > 0.

    Returns
    -------
    left, right : ndarray of shape (m, q) and (q, n), q the smaller of n and K
    """
    n, k = train.shape
    if k <= n:
        return test, np.linalg.solve(train.T @ train + alpha * np.eye(k), train.T)
    return test @ train.T, np.linalg.inv(train @ train.T + alpha * np.eye(n))


def ridge_predict(train: np.ndarray, y: np.ndarray, test: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Ridge predictions of many responses, each with the penalty that its leave-one-out error prefers.

    The predictors are centred but not scaled one by one, so that the prediction does not change when the predictors
    are rotated: an autoencoder's axes are arbitrary.

    Parameters
    ----------
    train, test : ndarray of shape (n, K), (m, K)
    y : ndarray of shape (n, R)
        Responses of the training rows.
    alphas : ndarray of shape (A,)
        Penalties, as multiples of the mean squared singular value of the centred training predictors.

    Returns
    -------
    ndarray of shape (m, R)
    """
    mean_x, mean_y = train.mean(axis=0), y.mean(axis=0)
    u, s, vt = np.linalg.svd(train - mean_x, full_matrices=False)
    keep = s > (s[0] if s.size else 0.0) * 1e-10
    if not keep.any():
        return np.repeat(mean_y[None], len(test), axis=0)
    u, s, vt = u[:, keep], s[keep], vt[keep]
    rotated, residual = u.T @ (y - mean_y), y - mean_y
    scores = (test - mean_x) @ vt.T
    best = np.full(y.shape[1], np.inf)
    prediction = np.zeros((len(test), y.shape[1]))
    for alpha in np.asarray(alphas) * np.mean(s**2):
        shrink = s**2 / (s**2 + alpha)
        leverage = (u**2) @ shrink + 1 / len(train)
        loo = (((residual - u @ (shrink[:, None] * rotated)) / np.maximum(1 - leverage, 1e-8)[:, None]) ** 2).sum(0)
        better = loo < best
        best[better] = loo[better]
        prediction[:, better] = scores @ ((shrink / s)[:, None] * rotated[:, better])
    return prediction + mean_y
