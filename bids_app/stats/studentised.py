"""Tests that stay valid where groups differ in spread: robust standard errors, their uncertainty, rescaled residuals.

Permuting labels tests that the groups are alike in everything. Patients who are few and vary more break that without
any difference of means. Three remedies, all needed where the largest of many statistics decides:

1. the difference is divided by a standard error that lets the groups differ in variance (Neuhaus 1993; Janssen 1997);
2. of few patients that standard error is itself uncertain: every t is carried to the normal scale by its own
   Satterthwaite degrees of freedom before the maximum is taken;
3. the null is drawn from residuals that are standardised within their group, exchanged, and given the spread of the
   group they come to. Permuted labels would mix both spreads into either group, which makes tails too heavy for a t to
   reach far, and lose what skewness does to the t of a small group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bids_app.schema.names import MOST_GROUPS
from bids_app.stats.crossfit import CrossFitTest, crossfit_operators
from bids_app.stats.linear import nuisance_basis, project_out
from bids_app.stats.permutation import block_rows, p_value, permutation_chunks

_CHUNK = 128  # permutations at a time
_FEWEST = 8  # people who have a spread of their own


@dataclass(frozen=True)
class StudentisedTest:
    """Robust test of R columns against one response.

    Attributes
    ----------
    slope : ndarray of shape (R,)
        Change of the column for one unit of the response given the covariates (two groups: the difference of means).
    t : ndarray of shape (R,)
        Slope over its robust (HC2) standard error; Welch's t for two groups without covariates. 0 where a column
        does not vary.
    df : ndarray of shape (R,)
        Satterthwaite's degrees of freedom; Welch's for two groups without covariates.
    z : ndarray of shape (R,)
        t on the normal scale.
    p : ndarray of shape (R,)
        Two-sided p value of |z|, one column at a time.
    p_fwe : ndarray of shape (R,)
        The same against the largest |z| over the columns.
    """

    slope: np.ndarray
    t: np.ndarray
    df: np.ndarray
    z: np.ndarray
    p: np.ndarray
    p_fwe: np.ndarray


def to_normal(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Student's t as the normal deviate of the same tail probability (Wallace 1959).

    ``z = sign(t) (8 df + 1) / (8 df + 3) sqrt(df ln(1 + t^2 / df))``; a closed form does not run out of small numbers.
    """
    return np.sign(t) * (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t**2 / df))


def studentised_test(
    x: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    blocks: np.ndarray | None = None,
    null: str = "residuals",
    n_permutations: int = 1000,
    seed: int = 0,
) -> StudentisedTest:
    """Does the mean of any column differ between groups (follow an order, a score), whatever the groups' variances?

    With u the response and x the column, both without the covariates, h the leverages and e the residuals of x on u,

    ``b = u'x / u'u,   V = sum_i a_i,   a_i = u_i^2 e_i^2 / (1 - h_i) / (u'u)^2,   t = b / sqrt(V)``

    ``df = V^2 / sum_g (A_g^2 / n_g)``, with ``A_g`` the sum of a and ``n_g`` that of 1 - h over group g (a score is
    one group). The null, t and df computed again each time:

    - "residuals": ``e_i / sqrt(1 - h_i) / s_g(i)``, s_g the residuals' root mean square in the group, are drawn with
      replacement, whole rows of them, and multiplied by the s_g of the row they come to;
    - "labels": the response's residuals are permuted (Freedman & Lane 1983). Exact where the groups are alike in
      everything; not kept to its level by few patients with a large spread. Scores are always tested so.

    Parameters
    ----------
    x : ndarray of shape (n, R)
        One row per participant.
    y : ndarray of shape (n,)
        0/1 groups, an order (few different values), or a score.
    covariates : ndarray of shape (n, P), optional
    blocks : ndarray of shape (n,), optional
        Rows are exchanged within these only (sites), and s_g is that of a group at a site where it has eight people or
        more there. Give the site among the covariates, too.
    null : {"residuals", "labels"}
    n_permutations, seed : int

    Returns
    -------
    StudentisedTest

    Raises
    ------
    ValueError
        Another `null`.

    References
    ----------
    DiCiccio CJ, Romano JP (2017). Robust permutation tests for correlation and regression coefficients. JASA 112.
    MacKinnon JG, White H (1985). Some heteroskedasticity-consistent covariance matrix estimators. J. Econometrics 29.
    """
    if null not in ("residuals", "labels"):
        raise ValueError(f"null is {null!r}: 'residuals' or 'labels'")
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(y)
    basis = nuisance_basis(covariates, n)
    left = project_out(x, basis)
    # Rounding must not make a constant column vary.
    left[:, np.std(x, axis=0) <= 1e-12 * np.abs(x).max(axis=0, initial=1e-300)] = 0.0
    groups, response = _groups(y), project_out(y[:, None], basis)[:, 0]
    leverage = (basis**2).sum(axis=1)
    slope, t, df = _robust_t(left, response[None], groups[:, None], leverage)
    z = to_normal(t, df)[0]
    if null == "residuals" and len(groups) > 1:
        drawn = _from_residuals(left, response, basis, groups, blocks, n_permutations, seed)
    else:
        drawn = _from_labels(left, response, basis, groups, blocks, n_permutations, seed)
    everything = np.concatenate([np.empty((0, x.shape[1])), *drawn])
    size = np.abs(z)
    p = np.array([p_value(one, column) for one, column in zip(size, everything.T, strict=True)]).reshape(-1)
    return StudentisedTest(slope[0], t[0], df[0], z, p, p_value(size, everything.max(axis=1, initial=0.0)))


def _from_labels(
    left: np.ndarray,
    response: np.ndarray,
    basis: np.ndarray,
    groups: np.ndarray,
    blocks: np.ndarray | None,
    n_permutations: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """|z| (<= chunk, R) with the response's residuals permuted."""
    leverage = (basis**2).sum(axis=1)
    for perms in permutation_chunks(len(response), n_permutations, seed, _CHUNK, blocks):
        shuffled = response[perms]
        shuffled -= (shuffled @ basis) @ basis.T
        yield np.abs(to_normal(*_robust_t(left, shuffled, groups[:, perms], leverage)[1:]))


def _from_residuals(
    left: np.ndarray,
    response: np.ndarray,
    basis: np.ndarray,
    groups: np.ndarray,
    blocks: np.ndarray | None,
    n_permutations: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """|z| (1, R) of columns made of standardised residuals that have taken the spread of the group they came to."""
    length = max(float(response @ response), 1e-300)
    leverage = (basis**2).sum(axis=1)
    rest = np.clip(1 - leverage - response**2 / length, 1e-9, 1.0)[:, None]
    residual = (left - response[:, None] * (response @ left / length)) / np.sqrt(rest)
    scale = np.zeros(left.shape)
    for cell in _cells(groups, blocks):
        scale[cell] = np.sqrt((residual[cell] ** 2).mean(axis=0))
    residual = residual / np.where(scale > 0, scale, 1.0)
    for rows in redrawn(len(response), n_permutations, seed, blocks):
        made = project_out(scale * residual[rows], basis)
        yield np.abs(to_normal(*_robust_t(made, response[None], groups[:, None], leverage)[1:]))


def redrawn(n: int, times: int, seed: int, blocks: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Row numbers (n,) drawn with replacement, each from its own block."""
    rng = np.random.default_rng(seed)
    members = block_rows(n, blocks)
    for _ in range(times):
        rows = np.empty(n, int)
        for block in members:
            rows[block] = rng.choice(block, len(block))
        yield rows


def _cells(groups: np.ndarray, blocks: np.ndarray | None) -> list[np.ndarray]:
    """Rows that share one spread: later cells, a group at a site, stand over the group's."""
    cells = [np.flatnonzero(member) for member in groups]
    if blocks is not None:
        parts = [np.flatnonzero(member * (blocks == value)) for member in groups for value in np.unique(blocks)]
        cells += [part for part in parts if len(part) >= _FEWEST]
    return cells


def studentised_crossfit(
    features: np.ndarray,
    response: np.ndarray,
    fold: np.ndarray,
    covariates: np.ndarray | None = None,
    *,
    blocks: np.ndarray | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> CrossFitTest:
    """Do the features predict the response out of fold, whatever the groups' spreads?

    The out-of-fold ridge prediction, from features whose covariates were removed with weights for the groups' spreads
    (`crossfit_operators`), is compared between the groups as `studentised_test` compares a column; predictions are made
    again for every permutation.

    Parameters
    ----------
    features : ndarray of shape (n, K) or (F, n, K)
    response : ndarray of shape (n,)
    fold : ndarray of shape (n,), int
    covariates : ndarray of shape (n, P), optional
    blocks : ndarray of shape (n,), optional
        As in `studentised_test`.
    n_permutations, seed : int

    Returns
    -------
    CrossFitTest
        Its statistic is the t of the prediction on the response, on the normal scale.
    """
    y = np.asarray(response, float)
    predict, explained = crossfit_operators(features, fold, covariates, y if has_groups(y) else None)
    basis, groups = nuisance_basis(covariates, len(y)), _groups(y)
    leverage = (basis**2).sum(axis=1)
    v = project_out(y, basis)

    def statistic(shuffled: np.ndarray, members: np.ndarray) -> np.ndarray:
        left = project_out(shuffled, basis)
        t, df = _one_each(project_out(predict @ left, basis).T, left.T, members, leverage)
        return to_normal(t, df)

    z = float(statistic(v[:, None], groups[:, None])[0])
    null = [np.empty(0)]
    for perms in permutation_chunks(len(v), n_permutations, seed, 512, blocks):
        null.append(statistic(v[perms.T], groups[:, perms]))
    p = float(p_value(z, np.concatenate(null)))
    return CrossFitTest(z, p, predict @ v, v - explained @ v)


def has_groups(y: np.ndarray) -> bool:
    """Whether the values are groups or steps, and not a score: they are few, and have eight rows each on average.

    A score of whole numbers, as of a questionnaire, has as many rows for each number in a large cohort.
    """
    return len(np.unique(y)) <= min(MOST_GROUPS, max(2, len(y) // _FEWEST))


def _groups(y: np.ndarray) -> np.ndarray:
    """Membership (levels, n) of groups whose variances may differ; all are one where values hardly repeat."""
    levels = np.unique(y)
    if not has_groups(y):
        return np.ones((1, len(y)))
    return (y == levels[:, None]).astype(float)


def _robust_t(
    x: np.ndarray, u: np.ndarray, groups: np.ndarray, leverage: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes, t and df (B, R) of columns x (n, R) on B regressors u (B, n); groups (levels, B, n)."""
    length = (u**2).sum(axis=1, keepdims=True)
    slope = u @ x / np.maximum(length, 1e-300)
    left = np.clip(1 - leverage - u**2 / np.maximum(length, 1e-300), 1e-9, 1.0)
    weight = u**2 / left
    squares = x**2
    total, spread = np.zeros(slope.shape), np.zeros(slope.shape)
    for member in groups:
        w = weight * member
        part = w @ squares - 2 * slope * ((w * u) @ x) + slope**2 * (w * u**2).sum(axis=1, keepdims=True)
        part = np.maximum(part, 0.0)
        total += part
        spread += part**2 / np.maximum((left * member).sum(axis=1, keepdims=True), 1e-9)
    return slope, *_ratio(slope * length, total, spread)


def _one_each(x: np.ndarray, u: np.ndarray, groups: np.ndarray, leverage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t and df (B,) of the b-th row of x (B, n) on the b-th of u; groups (levels, B, n)."""
    length = np.maximum((u**2).sum(axis=1, keepdims=True), 1e-300)
    residual = x - u * ((u * x).sum(axis=1, keepdims=True) / length)
    left = np.clip(1 - leverage - u**2 / length, 1e-9, 1.0)
    parts = (groups * (u**2 / left * residual**2)).sum(axis=2)
    spread = (parts**2 / np.maximum((groups * left).sum(axis=2), 1e-9)).sum(axis=0)
    return _ratio((u * x).sum(axis=1), parts.sum(axis=0), spread)


def _ratio(top: np.ndarray, total: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t and df; 0 and 1 where nothing varies."""
    alive = total > 1e-300
    t = np.where(alive, top / np.sqrt(np.where(alive, total, 1.0)), 0.0)
    return t, np.where(alive, total**2 / np.where(alive, np.maximum(spread, 1e-300), 1.0), 1.0)
