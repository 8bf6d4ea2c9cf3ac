"""Association of every region with every latent: partial correlation with family-wise permutation p values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bids_app.stats.linear import nuisance_basis, unit_residuals
from bids_app.stats.permutation import benjamini_hochberg, p_value, permutation_chunks

# Permuted regressors held at a time: few enough to stay in the processor's cache. Their products with the regions:
# thousands of voxels and few people would fill the memory otherwise.
_CHUNK_BYTES, _PRODUCT_BYTES = 4e6, 64e6


@dataclass(frozen=True)
class Association:
    """Association of R regions with K latents.

    Attributes
    ----------
    rho : ndarray of shape (R, K)
        Partial (Pearson or Spearman) correlation, 0 where either side is constant.
    p : ndarray of shape (R, K)
        Two-sided parametric p value with `df` degrees of freedom.
    p_fwe : ndarray of shape (R, K)
        Permutation p value, family-wise over all R x K.
    q : ndarray of shape (R, K)
        Benjamini-Hochberg q value of `p`.
    null_max : ndarray of shape (B,)
        Largest |rho| of each permutation.
    df : int
        N - 2 - (number of independent covariates).
    """

    rho: np.ndarray
    p: np.ndarray
    p_fwe: np.ndarray
    q: np.ndarray
    null_max: np.ndarray
    df: int


def associate(
    regions: np.ndarray,
    latents: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    n_permutations: int = 1000,
    method: str = "pearson",
    seed: int = 0,
    blocks: np.ndarray | None = None,
) -> Association:
    """Partial correlation of every region with every latent.

    The permutation test is Freedman & Lane's (1983): residuals of the regions given the covariates are permuted, the
    covariates are removed again, and the largest |rho| over all pairs is kept (Winkler et al. 2014). Permuting the
    latents and the nuisance basis by the inverse permutation gives the same numbers and needs one matrix product for
    a whole chunk of permutations, in single precision.

    Parameters
    ----------
    regions : ndarray of shape (N, R)
        Regional grey matter. Rows must be exchangeable: one row per participant.
    latents : ndarray of shape (N, K)
    covariates : ndarray of shape (N, P), optional
    n_permutations : int
    method : {"pearson", "spearman"}
        Spearman: regions and latents are ranked before the covariates are removed.
    seed : int
    blocks : ndarray of shape (N,), optional
        Sites: rows are exchanged within these only.

    Returns
    -------
    Association

    Raises
    ------
    ValueError
        If there are no degrees of freedom left.
    """
    regions, latents = np.asarray(regions, float), np.asarray(latents, float)
    n = len(regions)
    if method == "spearman":
        regions, latents = stats.rankdata(regions, axis=0), stats.rankdata(latents, axis=0)
    elif method != "pearson":
        raise ValueError(f"method is {method!r}: 'pearson' or 'spearman'")
    basis = nuisance_basis(covariates, n)
    df = n - basis.shape[1] - 1
    if df < 1:
        raise ValueError(f"{n} rows and {basis.shape[1] - 1} covariates leave no degrees of freedom")
    g, z = unit_residuals(regions, basis), unit_residuals(latents, basis)
    rho = np.clip(g.T @ z, -1.0, 1.0)
    with np.errstate(divide="ignore"):
        t = rho * np.sqrt(df / np.maximum(1 - rho**2, 0.0))
    p = 2 * stats.t.sf(np.abs(t), df)
    null_max = _null_max(g, z, basis, n_permutations, seed, blocks)
    return Association(rho, p, p_value(np.abs(rho), null_max), benjamini_hochberg(p), null_max, df)


def _null_max(
    g: np.ndarray, z: np.ndarray, basis: np.ndarray, n_permutations: int, seed: int, blocks: np.ndarray | None
) -> np.ndarray:
    """Largest |rho| over all pairs, for every permutation."""
    alive = np.linalg.norm(g, axis=0) > 0
    if not alive.any() or z.shape[1] == 0:
        return np.zeros(n_permutations)
    out = []
    for product, left in _permuted(g[:, alive], z, basis, n_permutations, seed, blocks):
        largest = np.maximum(product.max(axis=2), -product.min(axis=2))  # (R, B)
        out.append((largest if left is None else largest / np.sqrt(left)).max(axis=0))
    return np.concatenate(out).astype(float)


def permuted_correlations(
    values: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    n_permutations: int = 1000,
    seed: int = 0,
    blocks: np.ndarray | None = None,
) -> np.ndarray:
    """Partial correlation of every column with one variable under each permutation of `associate`.

    Parameters
    ----------
    values : ndarray of shape (N, V)
    y : ndarray of shape (N,)
    covariates : ndarray of shape (N, P), optional
    n_permutations, seed, blocks
        As in `associate`; the same seed and blocks are the same permutations.

    Returns
    -------
    ndarray of shape (n_permutations, V), float32
        0 for columns that the covariates explain.
    """
    basis = nuisance_basis(covariates, len(y))
    g, z = unit_residuals(np.asarray(values, float), basis), unit_residuals(np.asarray(y, float)[:, None], basis)
    out, done = np.empty((n_permutations, g.shape[1]), np.float32), 0
    for product, left in _permuted(g, z, basis, n_permutations, seed, blocks):
        rho = product[:, :, 0] if left is None else product[:, :, 0] / np.sqrt(left)
        out[done : done + rho.shape[1]] = rho.T
        done += rho.shape[1]
    return out


def _permuted(
    g: np.ndarray, z: np.ndarray, basis: np.ndarray, n_permutations: int, seed: int, blocks: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Chunks of B permutations: products of residuals and permuted regressors, and the residuals' squared lengths.

    (R, B, K) and (R, B); the lengths are those once the covariates are removed again, None without covariates.
    """
    n, k = z.shape
    only_intercept = basis.shape[1] == 1
    regressors = np.ascontiguousarray(z if only_intercept else np.hstack([z, basis]), dtype=np.float32)  # (N, K + p)
    columns = np.ascontiguousarray(g.T, dtype=np.float32)  # (R, N)
    chunk = max(1, int(min(_CHUNK_BYTES / n, _PRODUCT_BYTES / len(columns)) / (4 * regressors.shape[1])))
    for perms in permutation_chunks(n, n_permutations, seed, chunk, blocks):
        # One product a chunk: the permuted regressors side by side, (N, B * (K + p)).
        product = (columns @ regressors[perms.T].reshape(n, -1)).reshape(len(columns), len(perms), -1)
        taken = product[:, :, k:]
        left = None if only_intercept else np.maximum(1.0 - np.einsum("rbp,rbp->rb", taken, taken), 1e-6)
        yield product[:, :, :k], left
