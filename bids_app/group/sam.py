"""Statistical agnostic mapping (SAM): the regions in which the groups differ even in the worst case.

After Gorriz et al. 2020 (doi 10.1016/j.inffus.2020.09.008). What differs from the original:

1. one number per region, the sum of its grey matter, where the original classifies all voxels of a place;
2. the error is out of fold, where the original's is that of the rows that were fitted; the rule is the nearest group
   mean and the error the balanced one, where the original's are a linear support vector machine and the plain one;
3. eta is divided by the number of regions (union bound) and of contrasts, where the original judges a Gaussian z of
   the corrected accuracies over the map;
4. covariates are removed, and a strict bound and a permutation test that the original has not stand beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_app.group.classify import balanced_weights
from bids_app.group.design import Contrast
from bids_app.group.families import share_alpha, test_levels
from bids_app.group.rows import Rows
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.group.testable import contrast_rows
from bids_app.schema.region_tables import SAM_REGIONS
from bids_app.stats.bounds import best_threshold_error, igp_excess, threshold_excess
from bids_app.stats.crossfit import features_of_fold, fold_rows, smallest_training_set
from bids_app.stats.discriminability import auc
from bids_app.stats.linear import residual_operator, residualise
from bids_app.stats.studentised import studentised_test

COLUMNS = [column.name for column in SAM_REGIONS.columns]


def sam(study: Study, settings: AnalysisSettings) -> pd.DataFrame:
    """Worst-case map of the contrasts of two groups.

    Per region, a one-number linear classifier of its grey matter (covariates removed), with a = alpha / (contrasts of
    two groups):

    - ``error``: out-of-fold balanced error of the nearest-group-mean rule; ``bound``: error + the in-general-position
      bound (d = 2: slope and intercept) at eta = a / R, the published kind; ``survives``: bound < chance = 1/2;
    - ``error_strict``: balanced error of the best threshold on all rows; ``bound_strict`` adds the
      Dvoretzky-Kiefer-Wolfowitz-Massart bound, which holds for all thresholds at once and for any distribution;
    - ``p_fwe``: studentised difference of means, its null from rescaled residuals within sites, maximum over regions;
    - ``level``: what that p is held against, the contrast's in Holm's sequence;
    - ``auc``: P(first group has more), covariates removed; below 1/2 where the second has.

    Parameters
    ----------
    study : Study
        Regional grey matter (N, R), as harmonised for each fold (F, N, R); contrasts that are not pairs of groups are
        passed over.
    settings : AnalysisSettings

    Returns
    -------
    DataFrame
        Columns of ``schema.region_tables.SAM_REGIONS``; no rows for contrasts that cannot be tested.
    """
    G, fold, covariates = study.regional.full, study.fold, study.covariates
    asked: list[tuple[int, Contrast, Rows]] = []
    for number, contrast in enumerate(study.contrasts):
        complete = covariates.complete & np.isfinite(G).all(axis=1)
        rows = contrast_rows(study, contrast, complete, settings) if contrast.kind == "groups" else None
        if rows is not None and smallest_training_set(rows.take(fold)) >= 4:
            asked.append((number, contrast, rows))
    levels = share_alpha([contrast.name for _, contrast, _ in asked], settings)
    tables = [pd.DataFrame(columns=COLUMNS)]
    for number, contrast, rows in asked:
        y, c, g = rows.take(contrast.y), rows.mean(covariates.matrix), rows.mean(G)
        share = levels[contrast.name] / G.shape[1]
        weights = balanced_weights(y)
        error = weights @ _nearest_mean_wrong(rows.mean(study.regional.cross_fitted), y, rows.take(fold), c)
        bound = error + igp_excess(round(1 / weights.max()), 2, share)
        free = residualise(g, c)
        strict = best_threshold_error(free, y)
        bound_strict = strict + threshold_excess(int(y.sum()), int((1 - y).sum()), share)
        draws: dict[str, Any] = {"n_permutations": settings.n_permutations, "seed": settings.seed + 301 + number}
        test = studentised_test(g, y, c, blocks=rows.take(study.blocks), **draws)
        area = auc(free, y)
        table = {
            "index": study.regions["index"].to_numpy(),
            "name": study.regions["name"].to_numpy(),
            "contrast": contrast.name,
            "error": error,
            "bound": np.minimum(bound, 1.0),
            "chance": 0.5,
            "survives": bound < 0.5,
            "error_strict": strict,
            "bound_strict": np.minimum(bound_strict, 1.0),
            "survives_strict": bound_strict < 0.5,
            "p_fwe": test.p_fwe,
            "auc": area,
            "higher_in": np.where(area >= 0.5, *contrast.labels),
            "n": len(rows),
        }
        tables.append(pd.DataFrame(table, columns=COLUMNS))
    if len(tables) == 1:
        return tables[0]
    found = pd.concat(tables[1:], ignore_index=True)
    least = found.groupby("contrast", sort=False)["p_fwe"].min().astype(float)
    found["level"] = found["contrast"].map(test_levels(least, settings))
    return found


def _nearest_mean_wrong(g: np.ndarray, y: np.ndarray, fold: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Out-of-fold mistakes (n, R) of the nearest-group-mean rule on each region alone; a tie is half a mistake."""
    wrong = np.full((len(y), g.shape[-1]), 0.5)
    for f, train, test in fold_rows(fold):
        x = features_of_fold(g, f)
        x_train = residual_operator(c, train, train, len(y)) @ x
        x_test = residual_operator(c, train, test, len(y)) @ x
        first, second = x_train[y[train] > 0.5], x_train[y[train] <= 0.5]
        if not len(first) or not len(second):
            continue
        up = first.mean(axis=0) - second.mean(axis=0)
        side = (x_test - (first.mean(axis=0) + second.mean(axis=0)) / 2) * up
        wrong[test] = 0.5 - 0.5 * np.sign(side) * np.where(y[test] > 0.5, 1, -1)[:, None]
    return wrong
