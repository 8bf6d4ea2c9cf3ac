"""Out-of-fold linear classification of two groups, nuisances removed inside the folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.svm import SVC, LinearSVC

from bids_app.stats.crossfit import features_of_fold, fold_rows
from bids_app.stats.discriminability import auc
from bids_app.stats.linear import residual_operator, residualise, standardise

_LARGE = 3000


@dataclass(frozen=True)
class Classification:
    """Out-of-fold predictions of a linear support vector machine.

    Attributes
    ----------
    wrong : ndarray of shape (n,), bool
    score : ndarray of shape (n,)
        Signed distance from the boundary, in units of the training scores' standard deviation.
    theta_sq : float
        Mean over the folds of the squared length of the weights, intercept included.
    error : float
        Share of wrong predictions. Chance: the share of the smaller group.
    balanced_error : float
        Mean of the two groups' error rates. Chance: 1/2, whatever the sizes of the groups.
    auc : float
    """

    wrong: np.ndarray
    score: np.ndarray
    theta_sq: float
    error: float
    balanced_error: float
    auc: float


def balanced_weights(y: np.ndarray) -> np.ndarray:
    """Row weights 1 / (2 n_group): they add up to 1, half of it for each group."""
    y = np.asarray(y) > 0.5
    return np.where(y, 0.5 / max(y.sum(), 1), 0.5 / max((~y).sum(), 1))


def classify(
    features: np.ndarray, y: np.ndarray, fold: np.ndarray, covariates: np.ndarray | None = None
) -> Classification:
    """Cross-validated linear SVM (C = 1, classes weighted equally).

    Covariates' coefficients and the standardisation come from the training rows; the held-out rows of fold f are seen
    through the features of fold f's model.

    Parameters
    ----------
    features : ndarray of shape (n, K) or (F, n, K)
    y : ndarray of shape (n,)
        1 or 0.
    fold : ndarray of shape (n,)
    covariates : ndarray of shape (n, P), optional
    """
    n = len(y)
    label = np.asarray(y) > 0.5
    score, guess, lengths = np.zeros(n), np.zeros(n, bool), []
    for f, train, test in fold_rows(fold):
        if label[train].all() or not label[train].any():
            guess[test] = label[train][0]  # one group only to learn from
            continue
        x = features_of_fold(features, f)
        on_train = residual_operator(covariates, train, train, n)
        on_test = residual_operator(covariates, train, test, n)
        x_train, x_test = standardise(on_train @ x, on_test @ x)
        machine = _machine(len(train)).fit(x_train, label[train])
        distance = machine.decision_function(x_test)
        guess[test] = distance > 0
        score[test] = distance / max(machine.decision_function(x_train).std(), 1e-12)
        lengths.append(float((machine.coef_**2).sum() + np.ravel(machine.intercept_)[0] ** 2))
    wrong = guess != label
    return Classification(
        wrong,
        score,
        float(np.mean(lengths)) if lengths else 0.0,
        float(wrong.mean()),
        float(balanced_weights(y) @ wrong),
        float(auc(score, y)),
    )


def _machine(n: int) -> SVC | LinearSVC:
    """The exact solver's time grows with n^2 and more; a linear-time one takes over where that begins to hurt."""
    if n > _LARGE:
        return LinearSVC(C=1.0, class_weight="balanced", dual=False)
    return SVC(kernel="linear", C=1.0, class_weight="balanced")


def full_sample_margins(features: np.ndarray, y: np.ndarray, covariates: np.ndarray | None = None) -> np.ndarray:
    """Normalised margins ``y x.direction / ||x||`` of the linear SVM fitted to all rows, for the Gibbs bound.

    Parameters
    ----------
    features : ndarray of shape (n, K)
    y : ndarray of shape (n,)
        1 or 0.
    covariates : ndarray of shape (n, P), optional

    Returns
    -------
    ndarray of shape (n,)
    """
    x = residualise(features, covariates)
    x, _ = standardise(x, x)
    label = np.asarray(y) > 0.5
    machine = _machine(len(x)).fit(x, label)
    theta = np.append(machine.coef_[0], np.ravel(machine.intercept_)[0])
    x = np.column_stack([x, np.ones(len(x))])
    length = np.linalg.norm(x, axis=1) * max(np.linalg.norm(theta), 1e-12)
    return np.where(label, 1, -1) * (x @ theta) / length
