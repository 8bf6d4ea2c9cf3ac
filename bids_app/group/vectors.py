"""A study of a table: principal components of its numbers stand in for the latents of a model of images.

Every analysis takes the study as it takes one of maps, so that regional volumes of any origin (FreeSurfer, a published
table) go through the same tests and verdicts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.errors import DatasetError
from bids_app.group.study import Design, Study, build_questions, build_study
from bids_app.model.cross_fitting import split_participants
from bids_app.model.plan import make_plan


def study_of_volumes(
    people: pd.DataFrame, volumes: pd.DataFrame, design: Design, *, latent_dim: int = 64, folds: int = 5, seed: int = 0
) -> Study:
    """The study of a table of regional volumes, each region in units of its standard deviation.

    The mean and standard deviation are those of everybody; the components are learnt from the training rows.

    Parameters
    ----------
    people : DataFrame, N rows
        ``participant_id`` and the columns of the design.
    volumes : DataFrame of shape (N, R)
        ml, one column per region, rows as in ``people``.
    design : Design
    latent_dim : int
        Components asked for; the plan takes fewer where there are few people or regions.
    folds, seed : int

    Returns
    -------
    Study

    Raises
    ------
    DatasetError
        A volume is missing, or a region does not vary.

    Examples
    --------
    >>> study = study_of_volumes(people, volumes, Design("diagnosis", covariates=("age", "sex", "tiv")))
    >>> regions = lrcp(study, AnalysisSettings()).regions
    """
    values = volumes.to_numpy(float)
    gaps = [str(name) for name, known in zip(volumes, np.isfinite(values).all(axis=0), strict=True) if not known]
    if gaps:
        raise DatasetError(f"volumes are missing in {', '.join(gaps)}", remedy="exclude these participants or regions")
    mean, spread = values.mean(axis=0), values.std(axis=0)
    flat = [str(name) for name, sd in zip(volumes, spread, strict=True) if sd == 0]
    if flat:
        raise DatasetError(
            f"all participants have the same volume of {', '.join(flat)}", remedy="exclude these regions"
        )
    regions = pd.DataFrame({"index": range(1, len(mean) + 1), "name": volumes.columns.astype(str)})
    vectors = (values - mean) / spread
    return study_of_vectors(
        people, regions, vectors, (np.diag(spread), mean), design, latent_dim=latent_dim, folds=folds, seed=seed
    )


def study_of_vectors(
    people: pd.DataFrame,
    regions: pd.DataFrame,
    vectors: np.ndarray,
    readout: tuple[np.ndarray, np.ndarray],
    design: Design,
    *,
    latent_dim: int,
    folds: int,
    seed: int,
) -> Study:
    """The study of one vector per person: principal components, learnt for every fold and in full, are the latents.

    Parameters
    ----------
    people : DataFrame, N rows
        ``participant_id`` and the columns of the design.
    regions : DataFrame, R rows
        ``index, name``.
    vectors : ndarray of shape (N, D)
    readout : tuple of ndarrays of shape (D, R) and (R,)
        ``vectors @ loadings + mean`` is the regional grey matter, ml.
    design : Design
    latent_dim, folds, seed : int
    """
    loadings, mean = readout
    questions = build_questions(people, design)
    ids, n = people["participant_id"].tolist(), len(people)
    fold = split_participants(ids, folds, seed, people[design.group_column].tolist() if design.group_column else None)
    # A column that is the sum of others would make a component of rounding errors.
    rank = int(np.linalg.matrix_rank(vectors - vectors.mean(axis=0)))
    k = min(make_plan(ids, fold, latent_dim=latent_dim).latent_dim, rank)
    observed = mean + vectors @ loadings
    reconstructed, explained, by_fold = np.zeros(observed.shape), np.zeros(n), []
    for f in range(folds):
        held = fold == f
        centre, axes = _components(vectors[~held], k)
        by_fold.append((vectors - centre) @ axes.T)
        made = centre + by_fold[-1][held] @ axes
        reconstructed[held] = mean + made @ loadings
        left, total = ((vectors[held] - made) ** 2).sum(axis=1), ((vectors[held] - centre) ** 2).sum(axis=1)
        explained[held] = 1 - left / np.maximum(total, 1e-300)
    centre, axes = _components(vectors, k)
    products = {"Z": (vectors - centre) @ axes.T, "Zf": np.stack(by_fold), "fold": fold, "ev_ae": explained}
    return build_study(people[["participant_id"]], regions, questions, products, observed, (observed, reconstructed))


def _components(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and the first k principal axes (k, D), from inner products: people are fewer than coordinates."""
    centre = vectors.mean(axis=0)
    left = vectors - centre
    values, weights = np.linalg.eigh(left @ left.T)
    order = np.argsort(-values)[: min(k, len(vectors) - 1)]
    return centre, (weights[:, order] / np.sqrt(np.maximum(values[order], 1e-12))).T @ left
