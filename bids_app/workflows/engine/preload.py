"""What every worker needs; imported once, by the process that they are forked from."""

import nibabel  # noqa: F401
import nipype.pipeline.plugins.multiproc  # noqa: F401
import scipy.ndimage  # noqa: F401

from . import plugin  # noqa: F401
