"""Statistical agnostic mapping: the regions in which the groups differ even in the worst case.

After Gorriz et al. 2020 (doi 10.1016/j.inffus.2020.09.008), with eta divided by the number of regions (union bound)
in place of a Gaussian z of the accuracies.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.group.classify import balanced_weights
from bids_app.group.rows import rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.stats.bounds import best_threshold_error, igp_excess, threshold_excess
from bids_app.stats.crossfit import features_of_fold, fold_rows, smallest_training_set
from bids_app.stats.discriminability import auc, permuted_discriminability
from bids_app.stats.linear import residual_operator, residualise
from bids_app.stats.permutation import max_statistic_p

COLUMNS = ["index", "name", "contrast", "error", "bound", "chance", "survives"]
COLUMNS += ["error_strict", "bound_strict", "survives_strict", "p_fwe", "auc", "higher_in", "n"]


def sam(study: Study, settings: AnalysisSettings) -> pd.DataFrame:
    """Worst-case map of the contrasts of two groups.

    Per region, a one-number linear classifier of its grey matter (covariates removed):

    - ``error``: out-of-fold balanced error of the nearest-group-mean rule; ``bound``: error + the in-general-position
      bound (d = 2: slope and intercept) at eta = alpha / R, the published kind; ``survives``: bound < chance = 1/2;
    - ``error_strict``: balanced error of the best threshold on all rows; ``bound_strict`` adds the
      Dvoretzky-Kiefer-Wolfowitz-Massart bound, which holds for all thresholds at once and for any distribution;
    - ``p_fwe``: label permutation, |2 AUC - 1|, maximum over the regions.

    Parameters
    ----------
    study : Study
        Regional grey matter (N, R), as harmonised for each fold (F, N, R); contrasts that are not pairs of groups are
        passed over.
    settings : AnalysisSettings

    Returns
    -------
    DataFrame
        `index, name, contrast, error, bound, chance, survives, error_strict, bound_strict, survives_strict, p_fwe,
        auc, higher_in, n`; no rows for contrasts that cannot be tested.
    """
    G, fold, covariates = study.regional.full, study.fold, study.covariates
    tables = [pd.DataFrame(columns=COLUMNS)]
    for number, contrast in enumerate(study.contrasts):
        rows = rows_of(study.participants, covariates.complete & np.isfinite(G).all(axis=1), contrast.y)
        if contrast.kind != "groups" or contrast.problem or len(rows) < 6:
            continue
        y, c, g = rows.take(contrast.y), rows.mean(covariates.matrix), rows.mean(G)
        if y.min() == y.max() or smallest_training_set(rows.take(fold)) < 4:
            continue
        share = settings.alpha / G.shape[1]
        weights = balanced_weights(y)
        error = weights @ _nearest_mean_wrong(rows.mean(study.regional.cross_fitted), y, rows.take(fold), c)
        bound = error + igp_excess(round(1 / weights.max()), 2, share)
        free = residualise(g, c)
        strict = best_threshold_error(free, y)
        bound_strict = strict + threshold_excess(int(y.sum()), int((1 - y).sum()), share)
        observed, null = permuted_discriminability(
            g, y, "groups", c, n_permutations=settings.n_permutations, seed=settings.seed + 301 + number
        )
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
            "p_fwe": max_statistic_p(observed, null),
            "auc": np.maximum(area, 1 - area),
            "higher_in": np.where(area >= 0.5, *contrast.labels),
            "n": len(rows),
        }
        tables.append(pd.DataFrame(table, columns=COLUMNS))
    return pd.concat(tables[1:], ignore_index=True) if len(tables) > 1 else tables[0]


def _nearest_mean_wrong(g: np.ndarray, y: np.ndarray, fold: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Out-of-fold mistakes (n, R) of the nearest-group-mean rule on every region by itself; a tie is half a mistake."""
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
