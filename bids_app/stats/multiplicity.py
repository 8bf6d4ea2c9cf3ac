"""Holm's sequence over the members of a family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm_levels(p: Sequence[float], alpha: float) -> np.ndarray:
    """Level at which Holm's sequence tests each p value (m,).

    The smallest is tested at alpha / m, the next at alpha / (m - 1), and so on; from the first that fails all that
    follow stay at its level.
    """
    values = np.asarray(p, float)
    levels, m, failed, level = np.empty(len(values)), len(values), False, alpha
    for step, place in enumerate(np.argsort(values, kind="stable")):
        if not failed:
            level = alpha / (m - step)
            failed = bool(values[place] > level)
        levels[place] = level
    return levels
