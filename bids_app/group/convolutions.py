"""Whether convolutions describe unseen brains better than the linear model of the same training participants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test

from bids_app.group.rows import rows_of
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Study

_NUMBERS_AT_ONCE = 2_000_000  # of the flipped differences in memory


@dataclass(frozen=True)
class Convolutions:
    """Held-out errors of the network and of the linear model.

    Attributes
    ----------
    n : int
        Participants.
    ratio : float
        Mean error of the network over that of the linear model; below 1 the network is better.
    p : float
        One-sided; NaN where it cannot be tested.
    reason : str
        Why it cannot be tested; empty where it can.
    used, folds : int
        In how many of the folds the network was trained for an epoch.
    """

    n: int
    ratio: float
    p: float
    reason: str = ""
    used: int = 0
    folds: int = 0


def compare_convolutions(study: Study, settings: AnalysisSettings) -> Convolutions:
    """Test the difference of held-out errors by flipping its sign for whole participants.

    Errors are shares of the map's variance that a model leaves unexplained that never saw the participant. Under the
    null hypothesis a participant's two errors could be exchanged; the statistic is the mean difference. The test takes
    the models of the folds as they are: it is about other people's brains, not about other trainings.

    Parameters
    ----------
    study : Study
        With ``error_linear`` and ``epochs``; where a fold's network left nothing of its start, its two errors agree.
    settings : AnalysisSettings

    Returns
    -------
    Convolutions
        Not testable where no network was trained for an epoch, or where even differences of one sign throughout
        would have p above alpha.
    """
    if study.error_linear is None or study.epochs is None:
        return Convolutions(0, np.nan, np.nan, "the error of the linear model is unknown")
    known = np.isfinite(study.error) & np.isfinite(study.error_linear)
    rows = rows_of(study.participants, known, choice=settings.scan_choice)
    network, linear = rows.mean(study.error), rows.mean(study.error_linear)
    n, ratio = len(rows), float(network.mean() / linear.mean()) if len(rows) else np.nan
    if not study.epochs.any():
        return Convolutions(n, ratio, np.nan, "the convolutions were not trained for any epoch in any fold")
    if 0.5**n > settings.alpha:
        return Convolutions(
            n, ratio, np.nan, f"with {n} participants, even a gain in every one of them would give p = {0.5**n:.2g}"
        )
    test = permutation_test(
        (linear, network),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=settings.n_permutations,
        batch=max(1, _NUMBERS_AT_ONCE // n),
        rng=settings.seed + 401,
    )
    folds = [study.epochs[study.fold == fold].any() for fold in np.unique(study.fold)]
    return Convolutions(n, ratio, float(test.pvalue), used=int(np.sum(folds)), folds=len(folds))
