"""The rules of the quality gate: which number is usual, which is a failure, and what to say of it.

A failure is left out by the group level. It is therefore a technical one, with which no map can be right. What is only
unusual for an adult, or says that a map may be biased, asks for a look (``NEVER`` fails): atrophy must not be what is
left out. Volumes in ml.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

NEVER = (-inf, inf)


class Rule(NamedTuple):
    """One rule; ``reason`` is a format for the value that breaks it."""

    key: str
    low: float
    high: float
    fail_low: float
    fail_high: float
    reason: str


#: In the order in which the reasons of a verdict are given.
RULES = (
    Rule("TIV", 1050, 2000, 400, 3000, "intracranial volume of {:.0f} ml"),
    Rule("GMFraction", 0.32, 0.62, *NEVER, "grey matter is {:.2f} of the intracranial volume"),
    Rule("WMFraction", 0.22, 0.50, *NEVER, "white matter is {:.2f} of the intracranial volume"),
    Rule("CSFFraction", 0.02, 0.35, *NEVER, "fluid is {:.2f} of the intracranial volume"),
    Rule(
        "GMIntensityAgreement",
        0.85,
        1.01,
        *NEVER,
        "the map has {:.2f} times the grey matter that the intensities suggest",
    ),
    Rule(
        "RimOutsideShare",
        0,
        0.21,
        *NEVER,
        "{:.2f} of the mask's rim is bone or membrane (is the mask too large?)",
    ),
    Rule(
        "ImageQualityMark",
        0,
        4.5,
        *NEVER,
        "the image quality mark is {:.1f} (resolution, noise, bias; 1 is good, 6 is poor)",
    ),
    Rule("MaskOverlap", 0.93, 1, 0.85, 1, "the warped brain overlaps with the template's by {:.3f} (Dice)"),
    Rule("GMVolumeConservation", 0.995, 1.005, 0.98, 1.02, "modulation preserves {:.4f} of the grey-matter volume"),
    Rule("FoldedShare", 0, 1e-4, 0, 1e-2, "{:.2g} of the brain is folded by the normalisation"),
    Rule("PriorCorrelation", 0.60, 1, 0.35, 1, "grey matter correlates with the template's by r = {:.2f}"),
    Rule("MapLikeness", 0.55, 1, 0.30, 1, "the map correlates with the template's grey matter by r = {:.2f}"),
    Rule("MapCoverage", 0.98, 1, 0.85, 1, "the field of view of the map contains {:.2f} of the template's grey matter"),
    Rule(
        "AsymmetryLikeness",
        -0.06,
        1,
        -0.08,
        1,
        "right and left differ as in a mirror image ({:.2f}; most brains 0.03 to 0.2)",
    ),
    Rule("ModulatedGMVolume", 400, 1000, 200, 1400, "the map contains {:.0f} ml of grey matter"),
    Rule("GreyWhiteContrast", 2.0, inf, 1.0, inf, "grey and white matter are {:.1f} standard deviations apart"),
    Rule(
        "SurfaceBrightness",
        0,
        1.15,
        0,
        1.6,
        "the rim of the mask is {:.2f} times as bright as white matter (does it include skull or scalp?)",
    ),
    Rule(
        "CutShare",
        0,
        0.35,
        0,
        0.6,
        "{:.2f} of the brain's rim is as bright as grey matter on both sides (is brain cut off?)",
    ),
    Rule(
        "SidesUncertain",
        0,
        0.5,
        *NEVER,
        "the header does not say which side is left ({:.0f}: 1 if neither form has a code, 2 if sform and qform "
        "disagree)",
    ),
    Rule(
        "VoxelSizesDiffer", 0, 0.01, *NEVER, "the voxel sizes of sform and qform differ by {:.0%} (which one is right?)"
    ),
    Rule("CutArea", 0, 5, *NEVER, "{:.0f} cm² of the brain lie where the scan ends (cut, defaced, half stripped?)"),
    Rule(
        "MissingShare",
        0,
        0.03,
        0,
        0.075,
        "{:.3f} of the brain is missing from the scan (removed by stripping or defacing?)",
    ),
)
#: Usual range of every number that has one; nothing is judged by the last.
USUAL = {rule.key: (rule.low, rule.high) for rule in RULES} | {"ReconstructionErrorPercentile": (0.0, 95.0)}
