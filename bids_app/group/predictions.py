"""Out-of-fold predictions of every contrast: what one would decide about people whom the model never saw.

Everything that is chosen (covariates' coefficients, shrinkage, threshold, calibration) is chosen on training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import confusion_matrix, roc_curve
from sklearn.model_selection import cross_val_predict
from statsmodels.stats.proportion import proportion_confint

from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows
from bids_app.schema.verdict_tables import PREDICTION_QUALITY
from bids_app.stats.accuracy import auc_interval
from bids_app.stats.crossfit import in_units_of_folds, residual_folds, smallest_training_set
from bids_app.stats.discriminability import concordance
from bids_app.stats.linear import residualise, ridge_predict, standardise
from bids_app.stats.permutation import p_value, permutation_chunks

COLUMNS = [column.name for column in PREDICTION_QUALITY.columns]
_INNER = 5  # folds within the training rows, for threshold and calibration
_PENALTIES = np.geomspace(1e-3, 1e2, 11)
_RELABELLINGS = 500  # of the confusion of several groups: each trains again


@dataclass(frozen=True)
class Predictions:
    """Predictions and how good they are.

    Attributes
    ----------
    people : DataFrame
        ``row`` (of the study's scans), ``contrast, truth, predicted, probability, score, threshold, fold``.
    quality : DataFrame
        Columns of ``schema.verdict_tables.PREDICTION_QUALITY``.
    confusion : DataFrame
        ``truth, predicted, people`` of all groups together; empty where there are fewer than three.
    """

    people: pd.DataFrame
    quality: pd.DataFrame
    confusion: pd.DataFrame


def predict(study: Study, settings: AnalysisSettings) -> Predictions:
    """Predict each contrast from the latents, covariates removed, and say how well.

    Two groups: linear discriminant analysis with Ledoit and Wolf's shrinkage; its threshold is the one with the best
    balanced accuracy, and its probabilities are calibrated (Platt), both by inner folds of the training rows. Orders
    and scores: ridge. Three groups or more in the column: one discriminant analysis of all, with the balanced accuracy
    of its confusion matrix and a permutation p (labels permuted, within sites, everything trained again).

    Parameters
    ----------
    study : Study
    settings : AnalysisSettings
    """
    complete = study.covariates.complete & np.isfinite(study.latents.full).all(axis=1)
    people, quality = [], []
    for contrast in study.contrasts:
        rows = contrast_rows(study, contrast, complete, settings)
        if rows is None or smallest_training_set(rows.take(study.fold)) < 4:
            continue
        y, n = rows.take(contrast.y), len(rows)
        if contrast.kind == "groups":
            found = _two_groups(study, rows, y)
            numbers = _group_quality(found, y, study, rows)
            names = np.array([contrast.labels[1], contrast.labels[0]], object)
            found = found.assign(truth=names[y.astype(int)], predicted=names[found["predicted"].astype(int)])
        else:
            found = _regress(study, rows, y)
            numbers = _score_quality(found["predicted"].to_numpy(), y, study, rows, contrast.kind)
        people.append(found.assign(row=rows.first, contrast=contrast.name, fold=rows.take(study.fold)))
        quality += [(contrast.name, *one, n) for one in numbers]
    confusion, numbers = _all_groups(study, complete, settings)
    quality += numbers
    columns = ["row", "contrast", "truth", "predicted", "probability", "score", "threshold", "fold"]
    table = pd.concat(people, ignore_index=True).reindex(columns=columns) if people else pd.DataFrame(columns=columns)
    return Predictions(table, pd.DataFrame(quality, columns=COLUMNS), confusion)


def _discriminant(priors: np.ndarray | None = None) -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)


def _folds(study: Study, rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Training and held-out rows of every fold with their latents, covariates removed and standardised."""
    latents, c = rows.mean(study.latents.cross_fitted), rows.mean(study.covariates.matrix)
    for train, test, on_train, on_test, x in residual_folds(latents, rows.take(study.fold), c):
        yield (train, test, *standardise(on_train @ x, on_test @ x))


def _two_groups(study: Study, rows: Rows, y: np.ndarray) -> pd.DataFrame:
    out = pd.DataFrame(np.nan, range(len(y)), ["truth", "predicted", "probability", "score", "threshold"])
    for train, test, x, held in _folds(study, rows):
        target = y[train].astype(int)
        inner = min(_INNER, int(np.bincount(target, minlength=2).min()))
        plain = _discriminant().fit(x, target)
        out.loc[test, "score"] = plain.decision_function(held)
        if inner < 3:  # an inner fold would be left with one of a group
            out.loc[test, "predicted"] = plain.predict(held)
            continue
        # Not by scikit-learn's TunedThresholdClassifierCV, which gives up where one inner fold predicts a constant.
        inside = cross_val_predict(_discriminant(), x, target, cv=inner, method="predict_proba")[:, 1]
        fall_out, hits, thresholds = roc_curve(target, inside, drop_intermediate=False)
        best = thresholds[np.argmax(hits - fall_out)]
        threshold = float(best) if np.isfinite(best) else 0.5
        out.loc[test, "threshold"] = threshold
        out.loc[test, "predicted"] = (plain.predict_proba(held)[:, 1] >= threshold).astype(float)
        calibrated = CalibratedClassifierCV(_discriminant(), method="sigmoid", cv=inner, ensemble=False).fit(x, target)
        out.loc[test, "probability"] = calibrated.predict_proba(held)[:, 1]
    return out


def _group_quality(found: pd.DataFrame, y: np.ndarray, study: Study, rows: Rows) -> list[tuple[Any, ...]]:
    """(measure, value, low, high, chance, p) of two groups."""
    first, right = y > 0.5, found["predicted"].to_numpy() == y
    out = [("auc", *auc_interval(in_units_of_folds(found["score"].to_numpy(), rows.take(study.fold)), y), 0.5, np.nan)]
    for name, member in (("sensitivity", first), ("specificity", ~first)):
        low, high = proportion_confint(right[member].sum(), member.sum(), method="beta")
        out.append((name, right[member].mean(), low, high, np.nan, np.nan))
    out.append(("balanced_accuracy", (right[first].mean() + right[~first].mean()) / 2, np.nan, np.nan, 0.5, np.nan))
    probability = found["probability"].to_numpy()
    if np.isfinite(probability).all():
        loss = (probability - y) ** 2
        half = stats.t.isf(0.025, len(y) - 1) * stats.sem(loss)
        out.append(("brier", loss.mean(), loss.mean() - half, loss.mean() + half, y.mean() * (1 - y.mean()), np.nan))
    return out


def _regress(study: Study, rows: Rows, y: np.ndarray) -> pd.DataFrame:
    """Out-of-fold ridge prediction in the units of the score; what the covariates say of it is part of it."""
    c, predicted = rows.mean(study.covariates.matrix), np.zeros(len(y))
    for train, test, x, held in _folds(study, rows):
        design = np.column_stack([np.ones(len(train)), c[train]])
        b = np.linalg.lstsq(design, y[train], rcond=None)[0]
        left = (y[train] - design @ b)[:, None]
        more = ridge_predict(x, left, held, _PENALTIES)[:, 0]
        predicted[test] = np.column_stack([np.ones(len(test)), c[test]]) @ b + more
    return pd.DataFrame({"truth": y, "predicted": predicted})


def _score_quality(predicted: np.ndarray, y: np.ndarray, study: Study, rows: Rows, kind: str) -> list[tuple[Any, ...]]:
    """(measure, value, low, high, chance, p) of an order or a score."""
    error = np.abs(y - predicted)
    half = stats.t.isf(0.025, len(y) - 1) * stats.sem(error)
    nothing = np.abs(y - np.median(y)).mean()
    out = [("mae", error.mean(), error.mean() - half, error.mean() + half, nothing, np.nan)]
    out.append(_correlation("r", predicted, y, 0))
    out.append(("c_index", float(concordance(predicted, y)), np.nan, np.nan, 0.5, np.nan))
    if kind == "score" and study.groups is not None:
        group = pd.get_dummies(pd.Series(list(study.groups)).iloc[rows.first], drop_first=True, dtype=float).to_numpy()
        if group.shape[1] and len(y) > group.shape[1] + 4:
            partial = residualise(np.column_stack([predicted, y]), group)
            out.append(_correlation("r_within_groups", partial[:, 0], partial[:, 1], group.shape[1]))
    return out


def _correlation(name: str, a: np.ndarray, b: np.ndarray, removed: int) -> tuple[Any, ...]:
    """Pearson's r with Fisher's interval; NaN where either is constant."""
    if min(a.std(), b.std()) < 1e-12 or len(a) < removed + 5:
        return name, np.nan, np.nan, np.nan, 0.0, np.nan
    r = float(np.corrcoef(a, b)[0, 1])
    half = stats.norm.isf(0.025) / np.sqrt(len(a) - 3 - removed)
    return name, r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)), 0.0, np.nan


def _all_groups(
    study: Study, complete: np.ndarray, settings: AnalysisSettings
) -> tuple[pd.DataFrame, list[tuple[Any, ...]]]:
    """Confusion of three groups or more, and its balanced accuracy with a permutation p."""
    empty = pd.DataFrame(columns=["truth", "predicted", "people"])
    groups = np.array([group or "" for group in study.groups or []], object)
    names = [name for name in dict.fromkeys(groups) if name]
    if len(names) < 3:
        return empty, []
    code = np.array([names.index(group) if group else np.nan for group in groups], float)
    rows = rows_of(study.participants, complete, code, settings.scan_choice)
    y, fold = rows.take(code).astype(int), rows.take(study.fold)
    few = np.bincount(y, minlength=len(names)).min() < max(len(np.unique(fold)), 4)
    if few or smallest_training_set(fold) < 3 * len(names):
        return empty, []  # a fold would have to predict a group that it has hardly seen
    parts = list(_folds(study, rows))

    def predicted(labels: np.ndarray) -> np.ndarray:
        out = np.zeros(len(labels), int)
        for train, test, x, held in parts:
            present = len(np.unique(labels[train]))
            out[test] = _discriminant(np.full(present, 1 / present)).fit(x, labels[train]).predict(held)
        return out

    guess = predicted(y)
    matrix = confusion_matrix(y, guess, labels=range(len(names)))
    accuracy = _balanced(matrix)
    null = _null(
        predicted, y, rows.take(study.blocks), min(settings.n_permutations, _RELABELLINGS), settings.seed + 601
    )
    table = [(names[i], names[j], matrix[i, j]) for i in range(len(names)) for j in range(len(names))]
    numbers = ("balanced_accuracy", accuracy, np.nan, np.nan, 1 / len(names), float(p_value(accuracy, null)), len(y))
    return pd.DataFrame(table, columns=empty.columns), [("all groups", *numbers)]


def _null(
    predicted: Callable[[np.ndarray], np.ndarray], y: np.ndarray, blocks: np.ndarray | None, n: int, seed: int
) -> np.ndarray:
    out, labels = [], range(int(y.max()) + 1)
    for perms in permutation_chunks(len(y), n, seed, 64, blocks):
        out += [_balanced(confusion_matrix(y[perm], predicted(y[perm]), labels=labels)) for perm in perms]
    return np.array(out)


def _balanced(matrix: np.ndarray) -> float:
    return float((np.diag(matrix) / np.maximum(matrix.sum(axis=1), 1)).mean())
