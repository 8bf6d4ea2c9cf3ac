"""Sites made alike by ComBat, fitted without the participants on whom a fold is judged, and without the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.errors import DatasetError
from bids_app.group.design import read_categories
from bids_app.group.rows import rows_of
from bids_app.schema.outputs import PARTICIPANTS
from bids_app.stats.combat import fit_combat

#: Fewest participants of a site: in every fold some of them are left to learn its spread from.
FEWEST = 5


def build_sites(table: pd.DataFrame, column: str, *, file: str | Path = PARTICIPANTS.path) -> np.ndarray:
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
            f"Column '{column}' has {len(sizes)} site: there is nothing to harmonise",
            file=file,
            remedy="Omit --harmonize and --site-column, or use another column.",
        )
    if small:
        raise DatasetError(
            f"Too few participants to harmonise these sites: {', '.join(f'{s} ({n})' for s, n in small.items())}",
            file=file,
            remedy=f"ComBat needs {FEWEST} participants per site: merge sites, exclude these participants "
            "(--participant-label), or use --harmonize covariate.",
        )
    return sites


def harmonise(
    full: np.ndarray,
    site: np.ndarray,
    covariates: np.ndarray,
    fold: np.ndarray,
    participants: np.ndarray | None = None,
    *,
    by_fold: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Harmonise features with all participants, and per fold with its training participants alone: F + 1 fits.

    A fit sees one scan per person, the first that is complete, and is applied to all: people who came often would
    otherwise make their site.

    Parameters
    ----------
    full : ndarray of shape (N, R)
    site : ndarray of shape (N,)
        "" where it is missing: those rows, and rows without covariates or features, become NaN.
    covariates : ndarray of shape (N, P)
        Kept in the features (they are removed later); never the labels of a contrast.
    fold : ndarray of shape (N,)
    participants : ndarray of shape (N,), optional
        Participant of every row. Default: each row is a person.
    by_fold : ndarray of shape (F, N, R), optional
        Features of each fold's model. Default: `full` in every fold.

    Returns
    -------
    full : ndarray of shape (N, R)
        Fitted to all participants, for results that are not cross-fitted.
    by_fold : ndarray of shape (F, N, R)
        Element f is fitted to the rows outside fold f.
    """
    full = np.asarray(full, float)
    folds = range(int(fold.max()) + 1)
    stack = [full for _ in folds] if by_fold is None else np.asarray(by_fold, float)
    people = np.arange(len(full)) if participants is None else participants
    known = (site != "") & np.isfinite(covariates).all(axis=1)

    def fitted(x: np.ndarray, usable: np.ndarray, train: np.ndarray) -> np.ndarray:
        out = np.full(x.shape, np.nan)
        once = rows_of(people, train).first
        combat = fit_combat(x[once], site[once], covariates[once])
        out[usable] = combat.apply(x[usable], site[usable], covariates[usable])
        return out

    in_full = known & np.isfinite(full).all(axis=1)
    in_folds = known & np.all([np.isfinite(x).all(axis=1) for x in stack], axis=0)
    return fitted(full, in_full, in_full), np.stack([fitted(stack[f], in_folds, in_folds & (fold != f)) for f in folds])
