"""The claims that the group level puts to the test, and the grades that it gives them."""

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
NOT_SUPPORTED = Grade("not supported", "not-supported", "the data do not support this claim")
NOT_TESTABLE = Grade(
    "not testable", "not-testable", "too few participants, no variation, or confounded with a covariate"
)
#: The best first.
GRADES = (WORST_CASE, SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE)


@dataclass(frozen=True)
class Claim:
    """A kind of claim, in words that stay the same in every table.

    Attributes
    ----------
    id : str
        By which tables and pages find it, whatever its wording.
    groups, ordinal, score : str
        What it says of two groups, of an order of groups, of a score; empty where it says the same as of groups.
        ``{first}`` and ``{second}`` are the groups, ``{contrast}`` is the contrast's name.
    removes_covariates : bool
        Whether its test removes the influence of the covariates.
    """

    id: str
    groups: str
    ordinal: str = ""
    score: str = ""
    removes_covariates: bool = True


SEPARATION = Claim(
    "separation",
    groups="The latent space separates {first} from {second}",
    ordinal="The latent space follows the order {contrast}",
    score="The latent space predicts {contrast}",
)
BEATS_COVARIATES = Claim("beats_covariates", "The latent space beats the covariates ({contrast})")
REGIONS_KEPT = Claim("regions_kept", "The latent space keeps regional differences ({contrast})")
SINGLE_REGIONS = Claim("single_regions", "Single regions' grey matter separates the groups ({contrast})")
ERROR_EXPLAINED = Claim("error_explained", "Regional grey matter explains the reconstruction error")
CONVOLUTIONS = Claim(
    "convolutions",
    "Convolutions describe unseen brains better than the linear model",
    removes_covariates=False,
)
CLAIMS = (SEPARATION, BEATS_COVARIATES, REGIONS_KEPT, SINGLE_REGIONS, ERROR_EXPLAINED, CONVOLUTIONS)
#: Claims whose tests remove no covariate.
UNADJUSTED = tuple(claim.id for claim in CLAIMS if not claim.removes_covariates)

#: A remark on a test begins so, in its note and in the verdict's sentence: where the smaller of two groups has fewer
#: people than this, and one group's standard deviation is more than so many times the other's.
DISPERSION, SMALL_GROUP, DISPERSION_RATIO = "dispersion differs", 30, 1.5
#: The same for the contrast that was named beforehand.
PRIMARY = "primary contrast"

#: Share of simulated studies of three groups that differ in nothing in which any claim about the groups is supported:
#: the larger one in the table of docs/verdicts.md. ``benchmarks/calibration.py --write`` writes both.
OVERALL = 0.062

#: Level of every test, and one minus the confidence of every bound.
ALPHA = 0.05
