"""Families of claims: those of one kind over the contrasts, which share one level.

A family is what stands under one ``claim_id``: separation over all contrasts that can be tested, regions (SAM) over
all contrasts, and so on. Its m p values are adjusted by Holm, its bounds and intervals hold with 1 - alpha / m each,
hence with 1 - alpha together. A primary contrast, named beforehand, is no member: it has alpha for itself. Different
kinds of claims are not corrected for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bids_app.group.settings import AnalysisSettings
from bids_app.stats.multiplicity import holm, holm_levels


def share_alpha(testable: Sequence[str], settings: AnalysisSettings) -> dict[str, float]:
    """Level of the bounds and intervals of each contrast: alpha for the primary one, alpha / m for the m others.

    Parameters
    ----------
    testable : sequence of str
        Names of the contrasts that can be tested.
    settings : AnalysisSettings
        Its ``alpha`` and ``primary``.
    """
    others = [name for name in testable if name != settings.primary]
    return {name: settings.alpha if name == settings.primary else settings.alpha / len(others) for name in testable}


def test_levels(p: pd.Series, settings: AnalysisSettings) -> pd.Series:
    """Level at which each contrast (the index) stands in Holm's sequence of the p values; alpha for the primary one."""
    levels = pd.Series(settings.alpha, index=p.index)
    others = p.index[p.index != settings.primary]
    levels[others] = holm_levels(p[others].to_numpy(float), settings.alpha)
    return levels


def adjust(p: pd.Series, family: pd.Series, contrast: pd.Series, primary: str | None) -> pd.Series:
    """Holm's adjusted p values within each family; the primary contrast keeps its own, and NaN stays NaN."""
    adjusted = p.astype(float).copy()
    member = (contrast != primary) if primary else pd.Series(True, index=p.index)
    for _, rows in p[member].groupby(family[member]):
        adjusted.loc[rows.index] = holm(rows.to_numpy(float))
    return adjusted
