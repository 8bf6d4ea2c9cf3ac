"""ComBat (Johnson et al. 2007; Fortin et al. 2018): sites given one location and spread, by empirical Bayes.

Fitted on some rows and applied to others, so that held-out participants are harmonised without having been seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Fewest rows of a site whose spread can be estimated.
FEWEST = 2


@dataclass(frozen=True)
class ComBat:
    """``x -> (z - gamma_site) / sqrt(delta_site) * sd + mean + c beta``, with ``z = (x - mean - c beta) / sd``.

    Attributes
    ----------
    sites : ndarray of shape (S,)
    centre : ndarray of shape (P,)
        Mean of the covariates in the rows that were fitted.
    mean, sd : ndarray of shape (R,)
        Grand mean of every feature, and standard deviation about site and covariates.
    beta : ndarray of shape (P, R)
        Effects of the covariates, which harmonisation leaves in place.
    gamma, delta : ndarray of shape (S, R)
        Location (in standard deviations) and variance ratio of every site.
    """

    sites: np.ndarray
    centre: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    delta: np.ndarray

    def apply(self, x: np.ndarray, site: np.ndarray, covariates: np.ndarray | None = None) -> np.ndarray:
        """Harmonised rows (n, R); those of a site that was not fitted come back as they are."""
        x, c = np.asarray(x, float), _matrix(covariates, len(x))
        kept = self.mean + (c - self.centre) @ self.beta
        z = (x - kept) / self.sd
        out = x.copy()
        for s, one in enumerate(self.sites):
            rows = site == one
            out[rows] = ((z[rows] - self.gamma[s]) / np.sqrt(self.delta[s])) * self.sd + kept[rows]
        return out


def fit_combat(x: np.ndarray, site: np.ndarray, covariates: np.ndarray | None = None) -> ComBat:
    """Estimate site effects; the labels of a contrast never belong among the covariates.

    Parameters
    ----------
    x : ndarray of shape (n, R)
        Features without missing values.
    site : ndarray of shape (n,)
        Sites with fewer than two rows are left alone.
    covariates : ndarray of shape (n, P), optional
        Their effects are estimated together with the sites' and kept in the data.

    Returns
    -------
    ComBat
    """
    x, site, c = np.asarray(x, float), np.asarray(site), _matrix(covariates, len(x))
    sites, counts = np.unique(site, return_counts=True)
    sites = sites[counts >= FEWEST]
    some = np.isin(site, sites)
    x, site, c = x[some], site[some], c[some]
    if not len(sites):
        raise ValueError("no site has two rows")
    batch = (site[:, None] == sites).astype(float)
    share = batch.mean(axis=0)
    centre = c.mean(axis=0)
    # Least squares of smallest norm: covariates that the site determines do no harm.
    weights = np.linalg.lstsq(np.hstack([batch, c - centre]), x, rcond=1e-10)[0]
    mean, beta = share @ weights[: len(sites)], weights[len(sites) :]
    sd = np.sqrt(((x - batch @ weights[: len(sites)] - (c - centre) @ beta) ** 2).mean(axis=0))
    varies = sd > 1e-10 * np.maximum(np.abs(mean), 1e-300)
    sd = np.where(varies, sd, 1.0)
    z = (x - mean - (c - centre) @ beta) / sd
    gamma, delta = np.zeros((len(sites), x.shape[1])), np.ones((len(sites), x.shape[1]))
    for s, one in enumerate(sites):
        gamma[s, varies], delta[s, varies] = _shrink(z[site == one][:, varies])
    return ComBat(sites, centre, mean, sd, beta, gamma, delta)


def _shrink(z: np.ndarray, tolerance: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Posterior location and variance of one site's features (n, R): normal and inverse-gamma priors over features."""
    n = len(z)
    observed, spread = z.mean(axis=0), z.var(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1.0)
    if z.shape[1] < 2:
        return observed, spread  # one feature says nothing about the others
    prior, prior_variance = observed.mean(), observed.var(ddof=1)
    m, v = spread.mean(), max(spread.var(ddof=1), 1e-12)
    a, b = (2 * v + m**2) / v, (m * v + m**3) / v
    gamma, delta = observed, spread
    for _ in range(1000):
        before = gamma, delta
        gamma = (n * prior_variance * observed + delta * prior) / (n * prior_variance + delta)
        delta = (0.5 * ((z - gamma) ** 2).sum(axis=0) + b) / (n / 2 + a - 1)
        if max(np.abs(gamma - before[0]).max(), np.abs(delta / before[1] - 1).max()) < tolerance:
            break
    return gamma, delta


def _matrix(covariates: np.ndarray | None, n: int) -> np.ndarray:
    return np.empty((n, 0)) if covariates is None else np.asarray(covariates, float).reshape(n, -1)
