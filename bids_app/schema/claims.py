"""The grades that the group level gives to its claims."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grade:
    """A grade of a claim.

    Attributes
    ----------
    name : str
        As it stands in ``group/verdicts.tsv``.
    style : str
        Its class in the report.
    meaning : str
        For the legend.
    """

    name: str
    style: str
    meaning: str


WORST_CASE = Grade(
    "supported in the worst case", "worst-case", "even the strict upper bound of the error excludes chance"
)
SUPPORTED = Grade(
    "supported", "supported", "out-of-fold and permutation tests agree, but the bound does not exclude chance"
)
NOT_SUPPORTED = Grade("not supported", "not-supported", "the data give no ground for this claim")
NOT_TESTABLE = Grade("not testable", "not-testable", "too few scans, no variation, or confounded")
#: The best first.
GRADES = (WORST_CASE, SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE)
