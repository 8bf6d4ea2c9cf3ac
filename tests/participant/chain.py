"""A scan's way through the participant level's science, without the workflow round it."""

import csv

import nibabel as nib
import numpy as np
import pytest

from bids_app.participant import bias, modulate, normalize, skullstrip, tissue, transforms
from bids_app.space.atlas_loaders import load_atlas, regional_volumes


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


def first(folder, pattern):
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in {folder}")
    return found[0]


def dlmuse_labels(path):
    """DLMUSE's labels of a scan (RAS), and the labels of every composite."""
    root = path.parents[2] / "derivatives" / "dlmuse"
    with open(root / "roi_composites.csv", newline="") as stream:
        parts = {row[0]: [int(label) for label in row[2:] if label] for row in csv.reader(stream)}
    name = path.name.replace("_T1w", "_desc-dlmuse_dseg")
    return nib.as_closest_canonical(nib.load(root / path.parts[-3] / "anat" / name)), parts
