"""Intervals of balanced accuracies, of their paired differences, and of areas under the ROC curve.

Held-out predictions are counted, person by person. They are not independent, since one model serves a whole fold and
training sets overlap; errors of independent counts are therefore widened by what simulated cohorts ask for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint

#: By how much errors of independent counts are too small for held-out predictions: of accuracies and areas (what is
#: meant being that of the models that were trained), and of a difference of two, in which much of it cancels.
WIDER, WIDER_GAIN = 1.3, 1.2


def balanced_interval(
    right: np.ndarray, y: np.ndarray, level: float = 0.95, wider: float = WIDER
) -> tuple[float, float, float]:
    """Mean of two groups' accuracies with its interval (estimate, low, high).

    Wilson's interval of either group, put together as independent parts of a sum (Zou & Donner 2008):
    ``low = (p1 + p0) / 2 - wider sqrt((p1 - l1)^2 + (p0 - l0)^2) / 2``, never beyond 0 and 1.

    Parameters
    ----------
    right : ndarray of shape (n,), bool
        Held-out prediction was right.
    y : ndarray of shape (n,)
        1 or 0; both occur.
    level, wider : float
    """
    right, first = np.asarray(right, bool), np.asarray(y) > 0.5
    parts = []
    for member in (first, ~first):
        count, n = int(right[member].sum()), int(member.sum())
        parts.append((count / n, *proportion_confint(count, n, alpha=1 - level, method="wilson")))
    (p1, low1, high1), (p0, low0, high0) = parts
    middle = (p1 + p0) / 2
    below, above = wider * np.hypot(p1 - low1, p0 - low0) / 2, wider * np.hypot(high1 - p1, high0 - p0) / 2
    return float(middle), float(max(middle - below, 0.0)), float(min(middle + above, 1.0))


def paired_gain(
    gain: np.ndarray, y: np.ndarray | None = None, level: float = 0.95, wider: float = WIDER_GAIN
) -> tuple[float, float, float, float]:
    """Mean gain of one prediction over another in the same people: (mean, low, high, two-sided p).

    With groups the mean of the two groups' means. t interval with Satterthwaite's degrees of freedom. One person
    better and one worse in each group are added in halves to what the standard error is made of (Agresti & Min 2005):
    predictions that never differ would otherwise have an interval of no width.

    Parameters
    ----------
    gain : ndarray of shape (n,)
        Of each person: right now (1) and wrong before (0) is 1, the reverse -1; or a difference of losses.
    y : ndarray of shape (n,), optional
        1 or 0.
    level, wider : float
    """
    gain = np.asarray(gain, float)
    members = [np.ones(len(gain), bool)] if y is None else [np.asarray(y) > 0.5, np.asarray(y) <= 0.5]
    unit = 1.0 if y is not None else float(np.sqrt((gain**2).mean()))
    means, variances, sizes = [], [], []
    for member in members:
        part, n = gain[member], int(member.sum())
        means.append(part.mean())
        spread = ((part**2).sum() + unit**2 - part.sum() ** 2 / (n + 2)) / (n + 1)
        variances.append(spread / n)
        sizes.append(n)
    scale = len(members) ** 2
    return _t_interval(float(np.mean(means)), [v / scale for v in variances], sizes, level, wider)


def auc_interval(
    score: np.ndarray, y: np.ndarray, level: float = 0.95, wider: float = WIDER
) -> tuple[float, float, float]:
    """AUC of out-of-fold scores with its interval (estimate, low, high).

    DeLong's standard error (1988) times `wider`, on the logit scale. Where the groups do not overlap at all that error
    is 0; the open end is then the exact binomial one for as many people as the smaller group has.

    Parameters
    ----------
    score : ndarray of shape (n,)
    y : ndarray of shape (n,)
        1 or 0.
    level, wider : float
    """
    score, first = np.asarray(score, float), np.asarray(y) > 0.5
    n1, n0 = int(first.sum()), int((~first).sum())
    if min(n1, n0) < 2:
        return float("nan"), float("nan"), float("nan")
    above, below = _placements(score, first)
    area = float(above.mean())
    if area in (0.0, 1.0):
        least = (0.5 - level / 2) ** (1 / min(n1, n0))
        return (area, least, 1.0) if area else (area, 0.0, 1 - least)
    error = wider * float(np.sqrt(above.var(ddof=1) / n1 + below.var(ddof=1) / n0)) / (area * (1 - area))
    middle, half = special.logit(area), float(stats.norm.ppf(0.5 + level / 2)) * error
    return area, float(special.expit(middle - half)), float(special.expit(middle + half))


def auc_gain(
    score: np.ndarray, before: np.ndarray, y: np.ndarray, level: float = 0.95, wider: float = WIDER_GAIN
) -> tuple[float, float, float, float]:
    """AUC of one out-of-fold score minus that of another in the same people: (difference, low, high, two-sided p).

    DeLong's standard error of the difference (1988) times `wider`; the degrees of freedom of t are Satterthwaite's.

    Parameters
    ----------
    score, before : ndarray of shape (n,)
    y : ndarray of shape (n,)
        1 or 0.
    level, wider : float
    """
    first = np.asarray(y) > 0.5
    sizes = int(first.sum()), int((~first).sum())
    if min(sizes) < 2:
        return float("nan"), float("nan"), float("nan"), float("nan")
    gains = [
        one - other
        for one, other in zip(
            _placements(np.asarray(score), first), _placements(np.asarray(before), first), strict=True
        )
    ]
    return _t_interval(float(gains[0].mean()), [g.var(ddof=1) / n for g, n in zip(gains, sizes, strict=True)], sizes,
                       level, wider)  # fmt: skip


def _placements(score: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the other group that each of the first group lies above, and by which each of the other is surpassed."""
    ranks = stats.rankdata(score)
    n1, n0 = int(first.sum()), int((~first).sum())
    above = (ranks[first] - stats.rankdata(score[first])) / n0
    below = 1 - (ranks[~first] - stats.rankdata(score[~first])) / n1
    return above, below


def _t_interval(
    mean: float, variances: Sequence[float], sizes: Sequence[int], level: float, wider: float
) -> tuple[float, float, float, float]:
    """Mean, low, high and two-sided p from the variances of independent parts."""
    parts, degrees = np.array(variances, float), np.maximum(np.array(sizes, float) - 1, 1)
    if parts.sum() < 1e-300:
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    se = wider * float(np.sqrt(parts.sum()))
    df = float(parts.sum() ** 2 / (parts**2 / degrees).sum())
    half = float(stats.t.ppf(0.5 + level / 2, df)) * se
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / se, df))
