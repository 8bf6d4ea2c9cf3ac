"""Factors between two ways to say one thing."""

from __future__ import annotations

import math

#: Standard deviation of a Gaussian over its full width at half maximum.
FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))
