"""How strange a new value is beside values of people whom a model never saw: conformal p values over folds.

For fold k the model was trained without the m_k calibration people of the fold and without the new person. If the new
person comes from where they come from, the m_k + 1 scores by that model are exchangeable, and
``p_k = (1 + #{calibration >= score}) / (m_k + 1)`` is a p value in finite samples whatever the model is (split
conformal). The folds' p values depend on each other; their mean, weighted by m_k + 1, is a p value up to a factor of 2
(Vovk & Wang 2020). Over all n people, each by the model of the own fold, ``p = (1 + #{calibration >= score}) / (n +
1)`` (cross-conformal; Vovk 2015) hence obeys ``P(p <= a) <= 2a + 2 (K - 1) / (n + K)``, the bound of CV+ (Barber et al.
2021, theorem 4). With one fold p is exact. Scores by models of the folds beside a score by the model of all people
would have no such bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def conformal_p(calibration: Sequence[np.ndarray], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P values of new scores, large ones being strange.

    Parameters
    ----------
    calibration : sequence of K arrays (m_k,)
        Scores of people whom the model of fold k never saw, one per person.
    scores : ndarray of shape (K, n)
        The new people's scores by the model of each fold.

    Returns
    -------
    p : ndarray of shape (n,)
        ``(1 + #{calibration >= score}) / (n_calibration + 1)``, each person by the own fold's model.
    bound : ndarray of shape (n,)
        A p value without any approximation: of K folds twice the weighted mean of their p values, at most 1; p itself
        where there is one fold. NaN where a score is.
    """
    scores = np.asarray(scores, float)
    reached = np.zeros(scores.shape[1])
    for known, new in zip(calibration, scores, strict=True):
        ordered = np.sort(np.asarray(known, float))
        reached += len(ordered) - np.searchsorted(ordered, new, side="left")
    folds, people = len(scores), sum(map(len, calibration))
    p = (1 + reached) / (people + 1)
    bound = p if folds == 1 else np.minimum(1.0, 2 * (folds + reached) / (people + folds))
    missing = ~np.isfinite(scores).all(axis=0)
    return np.where(missing, np.nan, p), np.where(missing, np.nan, bound)
