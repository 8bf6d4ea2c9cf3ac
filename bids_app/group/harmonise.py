"""Sites made alike by ComBat, fitted without the participants on whom a fold is judged, and without the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.errors import DatasetError
from bids_app.group.design import read_categories
from bids_app.stats.combat import fit_combat

#: Fewest participants of a site: in every fold some of them are left to learn its spread from.
FEWEST = 5


def build_sites(table: pd.DataFrame, column: str, *, file: str | Path = "participants.tsv") -> np.ndarray:
    """Site of every scan as text (N,), "" where it is missing.

    Raises
    ------
    DatasetError
        Unknown column, one site only, or a site of fewer than five participants.
    """
    sites = np.array([s or "" for s in read_categories(table, column, file)])
    people = table["participant_id"].to_numpy()
    sizes = {s: len(set(people[sites == s])) for s in sorted(set(sites) - {""})}
    small = {s: n for s, n in sizes.items() if n < FEWEST}
    if len(sizes) < 2:
        raise DatasetError(
            f"Column '{column}' names {len(sizes)} site: there is nothing to harmonise",
            file=file,
            remedy="Leave --harmonize and --site-column out, or name another column.",
        )
    if small:
        raise DatasetError(
            f"Too few participants to harmonise these sites: {', '.join(f'{s} ({n})' for s, n in small.items())}",
            file=file,
            remedy=f"ComBat needs {FEWEST} of each: merge sites, leave these participants out "
            "(--participant-label), or use --harmonize covariate.",
        )
    return sites


def harmonise(
    features: np.ndarray, site: np.ndarray, covariates: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Harmonise features once with all rows, and once a fold with its training rows alone.

    Parameters
    ----------
    features : ndarray of shape (N, R) or (F, N, R)
        The same in all folds, or the fold model's.
    site : ndarray of shape (N,)
        "" where it is missing: those rows, and rows without covariates or features, become NaN.
    covariates : ndarray of shape (N, P)
        Kept in the features (they are removed later); never the labels of a contrast.
    fold : ndarray of shape (N,)

    Returns
    -------
    full : ndarray of shape (N, R)
        Fitted to all rows, for what is not cross-fitted (of fold 0's features, where they differ).
    per_fold : ndarray of shape (F, N, R)
        Element f is fitted to the rows outside fold f.
    """
    features = np.asarray(features, float)
    stack = features[None] if features.ndim == 2 else features
    usable = (site != "") & np.isfinite(covariates).all(axis=1) & np.isfinite(stack).all(axis=(0, 2))

    def fitted(x, train):
        out = np.full(x.shape, np.nan)
        combat = fit_combat(x[train], site[train], covariates[train])
        out[usable] = combat.apply(x[usable], site[usable], covariates[usable])
        return out

    folds = range(int(fold.max()) + 1)
    per_fold = [fitted(stack[f if len(stack) > 1 else 0], usable & (fold != f)) for f in folds]
    return fitted(stack[0], usable), np.stack(per_fold)
