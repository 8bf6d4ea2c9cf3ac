"""A scan's way through the participant level's science, without the workflow round it."""

import numpy as np

from bids_app.participant import bias, modulate, normalize, skullstrip, tissue, transforms
from bids_app.space.atlases import load_atlas, regional_volumes


def grey_matter(t1w, template, work, strip="auto"):
    """Brain, bias-corrected scan, field, tissues, transforms and modulated map of a conformed T1w image."""
    brain = skullstrip.extract_brain(t1w, mode=strip)
    corrected, field = bias.correct_bias(t1w, brain.mask)
    found = normalize.register(corrected, brain.mask, template, work)
    tissues = tissue.segment(corrected, brain.mask, *transforms.warp_priors(template, corrected, found))
    return brain, corrected, field, tissues, found, modulate.modulate(tissues.gm, found, template, work)


def regional(template, *maps) -> tuple[np.ndarray, np.ndarray]:
    """Labels (R,) of AAL2 and regional grey matter (N, R) in ml."""
    atlas = load_atlas("AAL2", template.t1w)
    return atlas.table["index"].to_numpy(), regional_volumes(maps, atlas)
