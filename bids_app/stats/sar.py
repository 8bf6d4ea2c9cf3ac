"""Statistical agnostic regression (SAR, arXiv 2402.15213): does a regression beat predicting nothing, at worst?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.cross_decomposition import PLSRegression
from sklearn.svm import SVR, LinearSVR

from bids_app.stats.bounds import PUBLISHED_GRID, pac_bayes, pac_bayes_published
from bids_app.stats.crossfit import residual_folds
from bids_app.stats.linear import residualise, standardise

_COMPONENTS = 5


@dataclass(frozen=True)
class SarResult:
    """SAR of one response. All losses are epsilon-insensitive, in standard deviations of the response.

    Attributes
    ----------
    loss : float
        Mean loss: held out, or (`sar_published`) on the rows that were fitted.
    worst : float
        loss + Delta, its worst case with confidence 1 - eta; the relation is claimed where ``worst < gamma``.
    gamma : float
        Mean loss of predicting nothing.
    r2 : float
        Share of variance explained, on the same rows.
    n : int
    components : int
        PLS components that stood in for the predictors; 0 if the predictors were used as they are.
    """

    loss: float
    worst: float
    gamma: float
    r2: float
    n: int
    components: int

    @property
    def holds(self) -> bool:
        """Whether the worst case beats predicting nothing."""
        return bool(self.worst < self.gamma)


def sar(
    features: np.ndarray,
    response: np.ndarray,
    fold: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    eta: float = 0.05,
) -> SarResult:
    """Cross-validated linear support vector regression with the PAC-Bayes bound of its loss.

    C = 1, epsilon = IQR(y) / 13.49. Covariates, standardisation and (where there are more than half as many
    predictors as training rows) PLS components come from the training rows. The loss is bounded by the largest loss
    seen, held out or for predicting nothing: an overfitted machine's small training losses do not shrink the bound.

    Parameters
    ----------
    features : ndarray of shape (n, K) or (F, n, K)
    response : ndarray of shape (n,)
    fold : ndarray of shape (n,), int
    covariates : ndarray of shape (n, P), optional
    eta : float
        1 - confidence.
    """
    n = len(response)
    rows = []
    components = 0
    for train, test, on_train, on_test, x in residual_folds(features, fold, covariates):
        x_train, x_test = standardise(on_train @ x, on_test @ x)
        y_train, y_test = standardise((on_train @ response)[:, None], (on_test @ response)[:, None])
        y_train, y_test = y_train[:, 0], y_test[:, 0]
        if x.shape[1] > len(train) / 2:
            components = min(_COMPONENTS, max(1, len(train) // 5), x.shape[1])
            pls = PLSRegression(n_components=components).fit(x_train, y_train)
            x_train, x_test = standardise(pls.transform(x_train), pls.transform(x_test))
        epsilon = stats.iqr(y_train) / 13.49
        machine = _machine(len(train), epsilon).fit(x_train, y_train)
        predicted = machine.predict(x_test)
        theta_sq = float((machine.coef_**2).sum() + np.ravel(machine.intercept_)[0] ** 2)
        loss = np.maximum(np.abs(y_test - predicted) - epsilon, 0)
        nothing = np.maximum(np.abs(y_test) - epsilon, 0)
        largest = max(loss.max(), np.maximum(np.abs(y_train) - epsilon, 0).max(), nothing.max(), 1e-12)
        squares = ((y_test - predicted) ** 2).sum(), (y_test**2).sum()
        rows.append((len(test), loss.mean(), nothing.mean(), theta_sq, largest, len(train), *squares))
    table = np.array(rows, float)
    weight = table[:, 0] / table[:, 0].sum()
    loss, gamma = float(weight @ table[:, 1]), float(weight @ table[:, 2])
    # The bound is monotone and linear in the loss at a fixed lambda: taken at the mean over folds.
    worst = pac_bayes_published(
        loss, float(weight @ table[:, 3]), int(table[:, 5].min()), eta, loss_max=float(table[:, 4].max())
    )
    r2 = 1 - table[:, 6].sum() / max(table[:, 7].sum(), 1e-300)
    return SarResult(loss, worst, gamma, float(r2), n, components)


def sar_published(
    features: np.ndarray, response: np.ndarray, covariates: np.ndarray | None = None, *, eta: float = 0.05
) -> SarResult:
    """SAR in the form that the authors' program has (sarlib 0.0.5): everything on the rows that were fitted.

    It differs from `sar` in that machine and loss see the same rows; losses of 0 are left out of both means; the loss
    is bounded by the largest on these rows, however small overfitting has made it; the k-th value of lambda is charged
    ln(k / eta) where all are tried; predictors are never reduced. sarlib's own eta is 0.5. It knows no covariates: here
    they are removed first, from predictors and response.

    Parameters
    ----------
    features : ndarray of shape (n, K)
    response : ndarray of shape (n,)
    covariates : ndarray of shape (n, P), optional
    eta : float
        1 - confidence.
    """
    x, y = residualise(features, covariates), residualise(response, covariates)
    x, _ = standardise(x, x)
    y = y / max(y.std(), 1e-300)
    epsilon = stats.iqr(y) / 13.49
    machine = _machine(len(x), epsilon).fit(x, y)
    residual = y - machine.predict(x)
    losses, nothing = (np.maximum(np.abs(v) - epsilon, 0) for v in (residual, y))
    loss, gamma = (float(v[v != 0].mean()) if v.any() else 0.0 for v in (losses, nothing))
    theta_sq = float((machine.coef_**2).sum() + np.ravel(machine.intercept_)[0] ** 2)
    charge = np.log(np.arange(1, len(PUBLISHED_GRID) + 1) / eta)
    worst = float(pac_bayes(loss, theta_sq / 4, len(x), PUBLISHED_GRID, charge, float(losses.max())).min())
    r2 = 1 - (residual**2).sum() / max((y**2).sum(), 1e-300)
    return SarResult(loss, worst, gamma, float(r2), len(x), 0)


def _machine(n: int, epsilon: float) -> SVR | LinearSVR:
    """The exact solver's time grows with n^2 and more."""
    return SVR(kernel="linear", epsilon=epsilon) if n <= 3000 else LinearSVR(epsilon=epsilon, random_state=0)
