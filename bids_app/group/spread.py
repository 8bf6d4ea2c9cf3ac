"""Scans that stand apart from their own cohort: a reason to look at them, never one to leave them out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_app.schema.units import MAD_TO_SD

FEWEST = 10  # participants, below which a cohort has no spread to speak of
LIMIT = 3.5  # robust standard deviations (Iglewicz and Hoaglin 1993), in a large cohort

# Measure, which side of the cohort is suspicious (-1 low, 1 high, 0 both), smallest spread that is taken as one, what
# to call it. That floor is what the measure itself is worth: it keeps a cohort of nearly equal values (MAD 0, at the
# extreme) from calling a difference that means nothing an outlier.
COMPARED = (
    ("TIV", 0, 30.0, "intracranial volume of {:.0f} ml"),
    ("GMFraction", 0, 0.01, "grey-matter fraction of {:.3f}"),
    ("WMFraction", 0, 0.01, "white-matter fraction of {:.3f}"),
    ("CSFFraction", 0, 0.01, "fluid fraction of {:.3f}"),
    ("GMIntensityAgreement", 0, 0.01, "ratio of grey matter to the intensity estimate of {:.3f}"),
    ("RimOutsideShare", 1, 0.03, "share of bone or membrane in the mask's rim of {:.2f}"),
    ("MaskOverlap", -1, 0.005, "overlap of the mask of {:.3f}"),
    ("PriorCorrelation", -1, 0.02, "correlation with the template's grey matter of {:.2f}"),
    ("GreyWhiteContrast", -1, 0.2, "contrast between grey and white matter of {:.1f} SD"),
    ("SurfaceBrightness", 1, 0.05, "brightness of the mask's rim of {:.2f}"),
    ("Noise", 1, 0.003, "noise of {:.3f}"),
    ("ImageQualityMark", 1, 0.1, "image quality mark of {:.1f}"),
)


def robust_z(values: np.ndarray, reference: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """(x - median) / max(1.4826 MAD, floor), both of the reference.

    Parameters
    ----------
    values : (N,) array
    reference : (M,) array
        Finite.
    floor : float

    Returns
    -------
    (N,) array
        0 where neither MAD nor floor is above 0.
    """
    middle = np.median(reference)
    spread = max(MAD_TO_SD * float(np.median(np.abs(reference - middle))), floor)
    return (values - middle) / spread if spread > 0 else np.zeros(len(values))


def limit(n: int) -> float:
    """Robust standard deviations that a value may lie from the median of n participants, 3.5 (1 + 10 / n).

    Of few values median and MAD are themselves uncertain: 3.5 would call 1.7 % of normal values outliers at n = 10, and
    0.07 % at n = 200. So widened it is 0.12 % and 0.04 % (4000 simulated cohorts each).
    """
    return LIMIT * (1 + 10 / n)


def cohort_reasons(quality: pd.DataFrame, listed: np.ndarray | None = None) -> list[list[str]]:
    """Why each scan stands apart from the cohort.

    No covariate is taken out. Age, diagnosis or scanner would have to be guessed from columns whose meaning is not
    known here, and an error that runs along with one of them (grey matter over-counted in the old, say) would be
    taken out together with it. The price is a wider spread, so that fewer scans are named.

    Parameters
    ----------
    quality : DataFrame, N rows
        ``participant_id`` and the quality numbers, one row per scan.
    listed : (N,) bool array, optional
        Scans that make up the cohort; the others are judged by it. By default all do.

    Returns
    -------
    list of N lists of str
        One sentence a measure, empty for a scan like the others, and for all where fewer than 10 participants have the
        number. Scans of one participant count together as their mean, so that nobody is the cohort alone.

    References
    ----------
    Iglewicz B, Hoaglin DC (1993). How to detect and handle outliers. ASQC.
    """
    reasons: list[list[str]] = [[] for _ in range(len(quality))]
    member = np.ones(len(quality), bool) if listed is None else np.asarray(listed, bool)
    for key, side, floor, text in COMPARED:
        if key not in quality:
            continue
        values = pd.to_numeric(quality[key], errors="coerce").to_numpy(float)
        usable = member & np.isfinite(values)
        people = pd.Series(values[usable]).groupby(quality["participant_id"].to_numpy()[usable]).mean().to_numpy()
        if len(people) < FEWEST:
            continue
        z = robust_z(values, people, floor)
        outside = np.abs(z) > limit(len(people)) if side == 0 else side * z > limit(len(people))
        for i in np.flatnonzero(outside):
            where = "above" if z[i] > 0 else "below"
            reasons[i].append(
                f"{text.format(values[i])} is {abs(z[i]):.1f} robust SD {where} the cohort's median of "
                f"{_number(text, float(np.median(people)))}"
            )
    return reasons


def _number(text: str, value: float) -> str:
    """A number in the format that a text has for it."""
    return text[text.index("{") : text.index("}") + 1].format(value)


def with_cohort(quality: pd.DataFrame, listed: np.ndarray | None = None) -> pd.DataFrame:
    """The quality table with ``CohortReasons``; they turn a pass into a look and stand among the reasons.

    Parameters as in :func:`cohort_reasons`; the table has ``QualityVerdict`` and ``QualityReasons``, which are those of
    the scan alone. A fail stays one. Maps without a verdict get one where the cohort gives a reason.
    """
    found = quality.copy()
    apart = cohort_reasons(quality, listed)
    found["CohortReasons"] = ["; ".join(reasons) or None for reasons in apart]
    verdicts = quality["QualityVerdict"] if "QualityVerdict" in quality else [None] * len(quality)
    own = quality["QualityReasons"] if "QualityReasons" in quality else [None] * len(quality)
    found["QualityVerdict"] = [
        "look" if reasons and verdict != "fail" else verdict for verdict, reasons in zip(verdicts, apart, strict=True)
    ]
    found["QualityReasons"] = [
        "; ".join([*([str(text)] if isinstance(text, str) and text else []), *reasons]) or None
        for text, reasons in zip(own, apart, strict=True)
    ]
    return found
