"""Does the head lie as its header says? A scan whose axes are mislabelled is matched to the template all the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from bids_app.errors import ScanError

#: Axes of an image in RAS order that are turned -> what is wrong with the scan. Mirror images of left and right fit the
#: template as well as the head does (``space.asymmetry``).
TURNS = {"back to front": (1,), "upside down": (2,), "upside down and back to front": (1, 2)}
SIMILAR = 0.7  # correlation with the template after the affine match, above which nothing else is tried
# What a turned scan must reach, and by how much it must be better. Turned heads reach 0.79 to 0.81 instead of 0.39 to
# 0.53 as they are labelled; heads that lie right 0.62 to 0.85 and, when turned, 0.16 to 0.29 less. Another contrast or
# half a brain fits badly either way.
TURNED, BETTER = 0.55, 0.1


def check_upright(fixed: Any, moving: Any, affine: str) -> None:
    """Refuse a scan that fits the template much better when it is turned.

    Parameters
    ----------
    fixed, moving : ANTsImage
        The template's brain and the scan's, on voxels of some 4 mm, axes in RAS order.
    affine : str
        File of the affine transform between them, as the header has them lie.

    Raises
    ------
    ScanError
        It is back to front, upside down, or both.
    """
    import ants

    labelled = similarity(fixed, ants.apply_transforms(fixed, moving, [affine]))
    if labelled >= SIMILAR:
        return
    turned = {}
    for words, axes in TURNS.items():
        other = ants.new_image_like(moving, np.ascontiguousarray(np.flip(moving.numpy(), axes)))
        with suppress(RuntimeError):  # it could not be matched this way
            found = ants.registration(
                fixed, other, "Affine", aff_iterations=(100, 50, 20), aff_shrink_factors=(4, 2, 1),
                aff_smoothing_sigmas=(2, 1, 0), singleprecision=True,
            )  # fmt: skip
            turned[words] = similarity(fixed, found["warpedmovout"])
    words = max(turned, key=lambda key: turned[key], default="")
    if words and turned[words] > max(labelled + BETTER, TURNED):
        raise ScanError(
            f"By the orientation in its header the head lies {words}: turned, it resembles the template much more (r = "
            f"{turned[words]:.2f}, not {labelled:.2f}).",
            remedy="Correct the sform and qform, or convert the scan again from DICOM; check left and right, too.",
        )


def similarity(fixed: Any, moving: Any) -> float:
    """Correlation of two ANTsImages on one grid where either shows a brain."""
    one, other = fixed.numpy(), moving.numpy()
    brain = (one > 0.05) | (other > 0.05)
    return float(np.corrcoef(one[brain], other[brain])[0, 1])
