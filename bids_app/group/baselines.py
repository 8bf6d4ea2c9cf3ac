"""Latents beside what a sceptic would use instead: PCA of the same size, regional grey matter, the covariates alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.classify import classify
from bids_app.group.design import Contrast
from bids_app.group.families import adjust, share_alpha
from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.schema.verdict_tables import BASELINES
from bids_app.stats.accuracy import auc_gain, balanced_interval, paired_gain
from bids_app.stats.crossfit import crossfit_operators, smallest_training_set
from bids_app.stats.discriminability import concordance

COLUMNS = [column.name for column in BASELINES.columns]
LATENT, COVARIATES, NESTED = "latent", "covariates", "covariates + latents"


def baselines(study: Study, settings: AnalysisSettings) -> pd.DataFrame:
    """The same question put to every set of features, in the same folds, nothing removed from any of them.

    Rows: "latent", "latent, covariates removed", "pca", "regional GM", and where there are any "covariates" and
    "covariates + latents". Two groups: linear SVM, balanced accuracy (chance 1/2) and AUC. Orders and scores: ridge,
    c-index in `auc`, differences in out-of-fold R2. ``delta_vs_latent`` is latent minus baseline, in `delta_of`, paired
    by person: positive and clear of zero means that the latents do better.

    "covariates + latents" asks the nested question. The covariates predict by least squares, and what a ridge of the
    latents, freed of the covariates, predicts of the rest is added; ``gain`` is what that adds out of fold, in AUC
    (groups) or R2. Its interval has the family's share of alpha. Nothing is drawn at random.

    Returns
    -------
    DataFrame
        Columns of ``schema.verdict_tables.BASELINES``; no rows for contrasts that cannot be tested.
    """
    table, fold, covariates = [], study.fold, study.covariates
    known = covariates.complete & np.isfinite(study.regional.full).all(axis=1)
    asked: list[tuple[Contrast, Rows]] = []
    for contrast in study.contrasts:
        rows = rows_of(study.participants, known, contrast.y, settings.scan_choice)
        if contrast.problem or len(rows) < 6 or np.ptp(rows.take(contrast.y)) == 0:
            continue
        if smallest_training_set(rows.take(fold)) >= 4:
            asked.append((contrast, rows))
    levels = share_alpha([contrast.name for contrast, _ in asked], settings)
    for contrast, rows in asked:
        y, f, c = rows.take(contrast.y), rows.take(fold), rows.mean(covariates.matrix)
        latents = rows.mean(study.latents.cross_fitted)
        sets = {LATENT: (latents, None), "latent, covariates removed": (latents, c)}
        if study.pca is not None:
            sets["pca"] = (rows.mean(study.pca.cross_fitted), None)
        sets["regional GM"] = (rows.mean(study.regional.cross_fitted), None)
        if not covariates.none:
            sets[COVARIATES] = (c, None)
        else:
            del sets["latent, covariates removed"]
        scored = {name: _score(x, y, f, nuisance, contrast.kind) for name, (x, nuisance) in sets.items()}
        about = {"contrast": contrast.name, "n": len(rows)}
        table += [about | _compare(name, scored, y, contrast) for name in scored]
        if not covariates.none:
            table.append(about | _nested(latents, y, f, c, contrast, levels[contrast.name]))
    frame = pd.DataFrame(table, columns=COLUMNS)
    frame["gain_p_adjusted"] = adjust(frame["gain_p"], frame["features"], frame["contrast"], settings.primary)
    return frame


def _score(x: np.ndarray, y: np.ndarray, fold: np.ndarray, covariates: np.ndarray | None, kind: str) -> dict[str, Any]:
    """Performance of one set of features, all in all and person by person."""
    if kind == "groups":
        result = classify(x, y, fold, covariates)
        middle, low, high = balanced_interval(~result.wrong, y)
        limits = {"balanced_accuracy": middle, "ci_low": low, "ci_high": high}
        return {**limits, "auc": result.auc, "credit": 1.0 - result.wrong}
    predict, explained = crossfit_operators(x, fold, covariates)
    guess, truth = predict @ y, y - explained @ y
    return {"auc": float(concordance(guess, y if kind == "ordinal" else truth)), "credit": _credit(truth, guess)}


def _credit(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Each person's part in the out-of-fold R2: their mean is R2."""
    return 1 - (truth - guess) ** 2 / max((truth**2).mean(), 1e-300)


def _compare(name: str, scored: dict[str, dict[str, Any]], y: np.ndarray, contrast: Contrast) -> dict[str, Any]:
    one, latent = scored[name], scored[LATENT]
    grouped = contrast.kind == "groups"
    row = {key: value for key, value in one.items() if key != "credit"}
    row |= {"features": name, "delta_of": "balanced accuracy" if grouped else "R2"}
    if name == LATENT:
        return row
    mean, low, high, p = paired_gain(latent["credit"] - one["credit"], y if grouped else None)
    if grouped:  # two accuracies differ by 1 at the most
        low, high = max(low, -1.0), min(high, 1.0)
    return row | {"delta_vs_latent": mean, "delta_ci_low": low, "delta_ci_high": high, "delta_p": p}


def _nested(
    latents: np.ndarray, y: np.ndarray, fold: np.ndarray, c: np.ndarray, contrast: Contrast, alpha: float
) -> dict[str, Any]:
    predict, explained = crossfit_operators(latents, fold, c)
    before = explained @ y
    after = before + predict @ y
    row = {"features": NESTED, "auc": float(concordance(after, y)), "gain_level": alpha}
    if contrast.kind == "groups":
        mean, low, high, p = auc_gain(after, before, y, 1 - alpha)
        gain, of = (mean, max(low, -1.0), min(high, 1.0), p), "AUC"
    else:
        mean = y - crossfit_operators(np.zeros((len(y), 1)), fold, None)[1] @ y
        scale = max((mean**2).mean(), 1e-300)
        gain, of = paired_gain(((y - before) ** 2 - (y - after) ** 2) / scale, level=1 - alpha), "R2"
    return row | dict(zip(("gain", "gain_low", "gain_high", "gain_p"), gain, strict=True)) | {"gain_of": of}
