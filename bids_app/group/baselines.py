"""Latents beside what a sceptic would use instead: PCA of the same size, regional grey matter, the covariates alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.group.classify import balanced_weights, classify
from bids_app.group.rows import rows_of
from bids_app.group.study import Study
from bids_app.stats.crossfit import crossfit_operators, smallest_training_set
from bids_app.stats.discriminability import concordance
from bids_app.stats.resampling import nadeau_bengio

COLUMNS = ["contrast", "features", "n", "balanced_accuracy", "ci_low", "ci_high", "auc"]
COLUMNS += ["delta_vs_latent", "delta_ci_low", "delta_ci_high", "delta_p", "delta_of"]
LATENT, COVARIATES = "latent", "covariates"


def baselines(study: Study) -> pd.DataFrame:
    """The same question put to every set of features, in the same folds, nothing removed from any of them.

    Rows: "latent", "latent, covariates removed", "pca", "regional GM", "covariates" (where there are any). Two groups:
    linear SVM, balanced accuracy (chance 1/2) and AUC. Orders and scores: ridge, c-index in `auc`, differences in
    out-of-fold R2. The difference
    ``delta_vs_latent`` (latent minus baseline, in `delta_of`) has a corrected resampled interval over the folds
    (Nadeau & Bengio 2003): positive and clear of zero means that the latents do better. Nothing is drawn at random, so
    that there are no settings.

    Returns
    -------
    DataFrame
        `contrast, features, n, balanced_accuracy, ci_low, ci_high, auc, delta_vs_latent, delta_ci_low,
        delta_ci_high, delta_p, delta_of`; no rows for contrasts that cannot be tested.
    """
    table, fold, covariates = [], study.fold, study.covariates
    known = covariates.complete & np.isfinite(study.regional.full).all(axis=1)
    for contrast in study.contrasts:
        rows = rows_of(study.participants, known, contrast.y)
        if contrast.problem or len(rows) < 6 or np.ptp(rows.take(contrast.y)) == 0:
            continue
        y, f, c = rows.take(contrast.y), rows.take(fold), rows.mean(covariates.matrix)
        if smallest_training_set(f) < 4:
            continue
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
        table += [_compare(name, scored, f, contrast, len(rows)) for name in scored]
    return pd.DataFrame(table, columns=COLUMNS)


def _score(x, y, fold, covariates, kind) -> dict:
    """Overall and fold-wise performance of one set of features."""
    if kind == "groups":
        result = classify(x, y, fold, covariates)
        weights = balanced_weights(y)
        folds = [np.average(~result.wrong[fold == f], weights=weights[fold == f]) for f in np.unique(fold)]
        return {"balanced_accuracy": 1 - result.balanced_error, "auc": result.auc, "folds": np.array(folds)}
    predict, explained = crossfit_operators(x, fold, covariates)
    guess, truth = predict @ y, y - explained @ y
    # R2, fold by fold: the parts add up to the out-of-fold R2 of all rows.
    folds = [1 - ((truth - guess)[fold == f] ** 2).mean() / max((truth**2).mean(), 1e-300) for f in np.unique(fold)]
    return {"balanced_accuracy": np.nan, "auc": float(concordance(guess, truth)), "folds": np.array(folds)}


def _compare(name, scored, fold, contrast, n) -> dict:
    one, latent = scored[name], scored[LATENT]
    sizes = np.unique(fold, return_counts=True)[1]
    share = sizes.mean() / (n - sizes.mean()) if len(sizes) > 1 else np.nan
    _, low, high, _ = nadeau_bengio(one["folds"], share)
    half = (high - low) / 2
    row = {
        "contrast": contrast.name,
        "features": name,
        "n": n,
        "balanced_accuracy": one["balanced_accuracy"],
        "ci_low": np.maximum(0.0, one["balanced_accuracy"] - half),
        "ci_high": np.minimum(1.0, one["balanced_accuracy"] + half),
        "auc": one["auc"],
        "delta_of": "balanced accuracy" if contrast.kind == "groups" else "R2",
    }
    if name == LATENT:
        return row
    mean, low, high, p = nadeau_bengio(latent["folds"] - one["folds"], share)
    if contrast.kind == "groups":  # two accuracies differ by 1 at the most
        low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
    return row | {"delta_vs_latent": mean, "delta_ci_low": low, "delta_ci_high": high, "delta_p": p}
