"""Factors between two ways to say one thing."""

from __future__ import annotations

import math

#: Standard deviation of a Gaussian over its full width at half maximum.
FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))

#: Standard deviation of a normal distribution over its median absolute deviation, 1 / (its third quartile).
MAD_TO_SD = 1 / 0.6744897501960817
