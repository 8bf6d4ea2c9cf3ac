"""How the analyses of a study are run."""

from __future__ import annotations

from dataclasses import dataclass

from bids_app.schema.claims import ALPHA


@dataclass(frozen=True)
class AnalysisSettings:
    """What every analysis is given beside the study.

    Attributes
    ----------
    n_permutations : int
        Relabellings behind every permutation p value.
    alpha : float
        Level of the tests; 1 - alpha is the confidence of the bounds.
    primary : str or None
        Name of the contrast that is tested at alpha on its own, outside the correction for several contrasts.
    scan_choice : {"first", "mean"}
        Which scans stand for a participant with several (`rows.rows_of`).
    seed : int
        Each analysis draws from seeds of its own, made from this one.
    n_rank_samples : int
        Bootstrap samples of participants behind a region's rank by LRCP.
    n_interval_samples : int
        Bootstrap samples behind the interval of a region's mean absolute SHAP value.
    n_view_seeds : int
        Seeds of every two-dimensional embedding.
    n_threads : int
    """

    n_permutations: int = 1000
    alpha: float = ALPHA
    primary: str | None = None
    scan_choice: str = "first"
    seed: int = 0
    n_rank_samples: int = 100
    n_interval_samples: int = 1000
    n_view_seeds: int = 5
    n_threads: int = 1
