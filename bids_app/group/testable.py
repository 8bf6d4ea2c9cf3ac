"""Who answers a question, and why a question cannot be answered."""

from __future__ import annotations

import numpy as np

from bids_app.group.design import Contrast, Covariates
from bids_app.group.rows import Rows, rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study
from bids_app.stats.crossfit import smallest_p, smallest_training_set
from bids_app.stats.linear import nuisance_basis, residualise

_FEWEST = 6  # participants of a contrast
_SPARE = 4  # participants beyond the coefficients of intercept and covariates


def contrast_rows(study: Study, contrast: Contrast, complete: np.ndarray, settings: AnalysisSettings) -> Rows | None:
    """Participants of a contrast, or None where :func:`why_unanswerable` names a reason.

    Parameters
    ----------
    study : Study
    contrast : Contrast
    complete : ndarray of shape (N,), bool
        Scans with everything that the analysis needs.
    settings : AnalysisSettings
    """
    rows = rows_of(study.participants, complete, contrast.y, settings.scan_choice)
    return None if why_unanswerable(contrast, rows, study.covariates) else rows


def why_unanswerable(contrast: Contrast, rows: Rows, covariates: Covariates) -> str | None:
    """Why no analysis can answer a question, in plain words, or None: too few, constant, or told by the covariates."""
    if contrast.problem:
        return contrast.problem
    y, c = rows.take(contrast.y), rows.mean(covariates.matrix)
    if len(y) < _FEWEST or np.ptp(y) == 0:
        return "too few participants with complete data in each group" if len(y) else "no participant has complete data"
    if is_confounded(y, c):
        return "the covariates determine the contrast completely (confounded)"
    if len(y) - nuisance_basis(c, len(y)).shape[1] < _SPARE:
        return "too many covariates for so few participants"
    return None


def is_confounded(y: np.ndarray, covariates: np.ndarray) -> bool:
    """Whether the covariates (n, P) leave nothing of a response (n,) that varies."""
    return bool((residualise(y, covariates) ** 2).sum() < 1e-6 * ((y - y.mean()) ** 2).sum())


def why_not_testable(
    contrast: Contrast,
    rows: Rows,
    covariates: Covariates,
    fold: np.ndarray,
    alpha: float,
    blocks: np.ndarray | None = None,
) -> str | None:
    """The same for a test by predictions of held-out people: also folds too small, or no p value below alpha."""
    if reason := why_unanswerable(contrast, rows, covariates):
        return reason
    if (left := smallest_training_set(rows.take(fold))) < 4:
        return f"the cross-validation folds leave only {left} participants for training"
    if contrast.kind != "score":
        y = rows.take(contrast.y)
        least = smallest_p(y, rows.take(blocks))
        if least >= alpha:
            sizes = " and ".join(str(int((y == v).sum())) for v in np.unique(y))
            within = "" if blocks is None else ", exchanged within their sites,"
            return f"with {sizes} participants{within} even a perfect separation would have p = {least:.2g}"
    return None
