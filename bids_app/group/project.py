"""Two- and three-dimensional views of the latent space, and how faithful each is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import procrustes
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from bids_app.group.design import Contrast
from bids_app.group.embeddings import EMBED
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.stats.alignment import turn_onto
from bids_app.stats.crossfit import features_of_fold, fold_rows
from bids_app.stats.discriminability import concordance
from bids_app.stats.linear import standardise

_LARGEST = 2000  # rows on which the quadratic quality measures are taken, and up to which many seeds are tried


@dataclass(frozen=True)
class Projections:
    """Coordinates and their quality.

    Attributes
    ----------
    coordinates : DataFrame
        One row per scan: `pca_1..3`, of every embedding such as t-SNE `tsne_1, tsne_2, tsne3d_1..3`, `pls_1..3` (first
        contrast) and `pls_<contrast>_1..3` (the others). Methods that a small sample does not allow are left out.
    quality : DataFrame
        `method, trustworthiness, continuity, knn_auc, contrast, dimensions, seed_disparity`.
    seeds : DataFrame
        `row, method, seed, x, y`: every embedding in two dimensions from every seed, each turned, mirrored, moved and
        scaled onto the first (Procrustes); `row` is the scan's.
    """

    coordinates: pd.DataFrame
    quality: pd.DataFrame
    seeds: pd.DataFrame


def project(study: Study, settings: AnalysisSettings) -> Projections:
    """Project the latents by PCA and the embeddings (unsupervised) and by PLS (supervised, out of fold).

    The latents are those that the model gave, (N, K), not harmonised: where sites lie apart, the views show it. Scans
    of one participant do not count as neighbours. ``seed_disparity`` is the mean Procrustes disparity (0 same shape
    .. 1) of the other seeds from the first, whose coordinates are given; views of three dimensions have one seed, more
    than 2000 scans two at the most.

    Parameters
    ----------
    study : Study
        A PLS for each contrast; the kNN AUC is given for each.
    settings : AnalysisSettings
        ``n_threads`` serves the embeddings.
    """
    Z, fold, contrasts, participants = study.raw_latents.full, study.fold, study.contrasts, study.participants
    n, seed = len(Z), settings.seed
    scaled, _ = standardise(np.asarray(Z, float), np.asarray(Z, float))
    views: dict[tuple[str, int], np.ndarray] = {}
    disparity: dict[tuple[str, int], float] = {}
    size = min(3, *scaled.shape)
    pca = PCA(size, random_state=seed).fit_transform(scaled)
    views["pca", 2], views["pca", 3] = pca[:, :2], pca
    seeds = [pd.DataFrame(columns=["row", "method", "seed", "x", "y"])]
    for method, embed in EMBED.items() if n >= 8 else ():
        count = max(1, settings.n_view_seeds if n <= _LARGEST else min(2, settings.n_view_seeds))
        runs = [embed(scaled, 2, seed + i, settings.n_threads) for i in range(count)]
        aligned, apart = align(runs)
        views[method, 2], disparity[method, 2] = runs[0], apart
        views[method, 3] = embed(scaled, 3, seed, settings.n_threads)
        for i, xy in enumerate(aligned):
            table = {"row": np.arange(n), "method": method, "seed": seed + i, "x": xy[:, 0], "y": xy[:, 1]}
            seeds.append(pd.DataFrame(table))
    supervised = {}
    for number, contrast in enumerate(contrasts):
        raw = study.raw_latents
        scores = None if contrast.problem else pls_scores(raw.cross_fitted, contrast.y, fold, full=raw.full)
        if scores is not None:
            supervised[contrast.name] = (("pls" if number == 0 else f"pls_{contrast.slug}"), scores)

    columns: dict[str, np.ndarray] = {}
    for (method, dims), xy in views.items():
        if (method, dims) == ("pca", 2):
            continue
        prefix = f"{method}3d" if dims == 3 and method != "pca" else method
        columns |= {f"{prefix}_{i + 1}": xy[:, i] for i in range(xy.shape[1])}
    for prefix, xy in supervised.values():
        columns |= {f"{prefix}_{i + 1}": xy[:, i] for i in range(xy.shape[1])}

    rows = []
    for (method, dims), xy in views.items():
        faith = _faithfulness(scaled, xy, seed)
        for one in contrasts or [None]:
            rows.append(_quality(method, dims, faith, xy, one, participants, disparity.get((method, dims))))
    for contrast in contrasts:
        if contrast.name in supervised:
            xy = supervised[contrast.name][1]
            rows.append(_quality("pls", xy.shape[1], _faithfulness(scaled, xy, seed), xy, contrast, participants, None))
    drawn = pd.concat(seeds[1:], ignore_index=True) if len(seeds) > 1 else seeds[0]
    return Projections(pd.DataFrame(columns), pd.DataFrame(rows), drawn)


def pls_scores(
    latents: np.ndarray, y: np.ndarray, fold: np.ndarray, components: int = 3, *, full: np.ndarray
) -> np.ndarray | None:
    """Out-of-fold PLS scores (N, <= 3) of one response: a scan's coordinates come from weights that never saw it.

    PLS with one response turns each axis towards larger y by itself, so the folds' first axes agree. The others differ
    from fold to fold in order and sign and are turned, among themselves, onto those of the full model by orthogonal
    Procrustes on the training rows. The first is left alone: its weights must not have seen the labels held out.
    Scans without y get coordinates, too. None if a fold has too few or constant training labels.

    Parameters
    ----------
    latents : ndarray of shape (N, K) or (F, N, K)
    y : ndarray of shape (N,)
    fold : ndarray of shape (N,), int
    components : int
    full : ndarray of shape (N, K)
        Latents by one model, for the axes that the picture has.
    """
    k = latents.shape[-1]
    components = min(components, k)
    out = np.zeros((len(y), components))
    everybody = np.flatnonzero(np.isfinite(y))
    if len(everybody) <= components + 1 or np.ptp(y[everybody]) == 0:
        return None
    common = _pls(full, y, everybody, components)
    for f, train, test in fold_rows(fold):
        known = train[np.isfinite(y[train])]
        if len(known) <= components + 1 or np.ptp(y[known]) == 0:
            return None
        scores = _pls(features_of_fold(latents, f), y, known, components)
        if components > 1:
            scores[:, 1:] = turn_onto(scores[:, 1:], common[:, 1:], known)
        out[test] = scores[test]
    return out


def _pls(x: np.ndarray, y: np.ndarray, known: np.ndarray, components: int) -> np.ndarray:
    """Scores (N, components) of all rows by weights of the known ones, in standard deviations of these."""
    x_known, x = standardise(x[known], x)
    with warnings.catch_warnings():
        # With more latents than participants few components may already exhaust y: the others are zero.
        warnings.filterwarnings("ignore", message="y residual is constant")
        pls = PLSRegression(components, scale=False).fit(x_known, y[known])
    scale = pls.x_scores_.std(axis=0)
    sign = np.sign(pls.y_loadings_[0])
    return pls.transform(x) * np.where(sign == 0, 1, sign) / np.where(scale > 1e-12, scale, 1.0)


def align(runs: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Every run (N, 2) fitted onto the first by Procrustes, and the mean disparity of the others (NaN without any)."""
    first = runs[0]
    fits = [procrustes(first, other) for other in runs[1:]]
    centre = first.mean(axis=0)
    aligned = [first] + [centre + np.linalg.norm(first - centre) * fit[1] for fit in fits]
    return aligned, float(np.mean([fit[2] for fit in fits])) if fits else np.nan


def _faithfulness(x: np.ndarray, xy: np.ndarray, seed: int) -> tuple[float, float]:
    """(trustworthiness, continuity), Venna & Kaski 2006: continuity is trustworthiness with the spaces exchanged."""
    if len(x) > _LARGEST:
        some = np.random.default_rng(seed).choice(len(x), _LARGEST, replace=False)
        x, xy = x[some], xy[some]
    k = min(10, (len(x) - 1) // 2)
    if k < 1:
        return np.nan, np.nan
    return float(trustworthiness(x, xy, n_neighbors=k)), float(trustworthiness(xy, x, n_neighbors=k))


def knn_auc(xy: np.ndarray, y: np.ndarray, participants: np.ndarray, k: int = 10) -> float:
    """AUC (c-index) of the mean label among the k nearest other participants' scans.

    In small cohorts chance lies below 1/2, since no scan is among its own neighbours: 0.41 for 26 against 10.
    """
    known = np.isfinite(y)
    xy, y, participants = xy[known], y[known], participants[known]
    repeats = int(np.unique(participants, return_counts=True)[1].max(initial=1))
    k = min(k, len(y) - repeats)
    if k < 1 or np.ptp(y) == 0:
        return np.nan
    index = NearestNeighbors(n_neighbors=min(len(y), k + repeats)).fit(xy).kneighbors(xy, return_distance=False)
    other = participants[index] != participants[:, None]
    nearest = other & (np.cumsum(other, axis=1) <= k)
    return float(concordance((y[index] * nearest).sum(axis=1) / nearest.sum(axis=1), y))


def _quality(
    method: str,
    dims: int,
    faith: tuple[float, float],
    xy: np.ndarray,
    contrast: Contrast | None,
    participants: np.ndarray,
    disparity: float | None,
) -> dict[str, Any]:
    return {
        "method": method,
        "trustworthiness": faith[0],
        "continuity": faith[1],
        "knn_auc": knn_auc(xy, contrast.y, participants) if contrast and contrast.problem is None else np.nan,
        "contrast": contrast.name if contrast else "n/a",
        "dimensions": dims,
        "seed_disparity": np.nan if disparity is None else disparity,
    }
