"""The engines that can segment tissues, and the texts that describe each.

A row here and ``participant/segmenters/<name>.py`` with a function ``segment`` are all that an engine needs: the
option's choices, the sidecars, the check of the group level and the methods text are made from the row.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Key of the sidecars that says which engine told the tissues of a map apart.
KEY = "TissueSegmentation"


@dataclass(frozen=True)
class Segmenter:
    """Name and descriptions of an engine.

    Attributes
    ----------
    name : str
        As ``--segmentation`` takes it, and the value of ``TissueSegmentation``.
    option : str
        What it is, for ``--help``.
    methods : str
        How tissues were segmented, for the methods text: the end of a sentence, citations in it.
    threaded : bool
        Whether it uses more than one processor.
    memory : (float, float)
        GB that it takes whatever the scan, and bytes per voxel of it: a tenth above what was measured.
    """

    name: str
    option: str
    methods: str
    threaded: bool = False
    memory: tuple[float, float] = (0.6, 28)


MIXTURE = Segmenter(
    name="mixture",
    option="LatentAtlas's mixture model with partial volume",
    methods="by a mixture model with partial-volume classes, guided by the tissue priors of the template",
)
ATROPOS = Segmenter(
    name="atropos",
    option="Atropos (ANTs) with the template's priors, for comparison",
    methods="with Atropos [@atropos], guided by the tissue priors of the template (weight 0.25)",
    threaded=True,
    memory=(0.55, 95),
)
#: The default comes first.
SEGMENTERS = (MIXTURE, ATROPOS)
SEGMENTERS_BY_NAME = {segmenter.name: segmenter for segmenter in SEGMENTERS}
