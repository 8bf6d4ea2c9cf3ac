"""Make ``bids_app/space/asymmetry.nii.gz``: what in the difference between the sides of the brain people share.

    python tools/asymmetry.py OUTPUT [OUTPUT ...] --flipped FLIPPED

OUTPUT is what the participant level wrote, FLIPPED what it wrote for the scans of the first OUTPUT, whose voxels had
been flipped left to right. What is the same in both is no anatomy but the program's own, and is taken out of the
weights. The file in the package was made from the 14 people of OpenfMRI's ds000011 (PDDL), these flipped, and 36 of
OpenNeuro's ds002748 (CC0). The standard deviation between people is that within datasets, and a place
of a small one counts no more than one of the median. The weights are those of a ridge regression of 1 on the
differences, without intercept: the linear discriminant between maps and their mirror images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from bids_app.space.asymmetry import EVERY_MM, WEIGHTS, limited, side_difference
from bids_app.space.templates import get_template

GREY = 0.15  # of the template: where there is less, nothing is compared
RIDGE = 0.5  # of the mean squared length of a map's differences
STEP = 1 / 1000
MAPS = "sub-*/**/anat/*_desc-modulated_probseg.nii.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="+")
    parser.add_argument("--flipped", type=Path, required=True)
    args = parser.parse_args()
    template = get_template(resolution=EVERY_MM)
    grey = np.asarray(template.gm.dataobj) > GREY
    voxels = np.argwhere(grey)
    points = apply_affine(template.affine, voxels)
    right = points[:, 0] > EVERY_MM / 4
    voxels, points = voxels[right], points[right]
    *found, flipped = (
        np.array([side_difference(nib.load(path), points) for path in sorted(output.glob(MAPS))])
        for output in (*args.output, args.flipped)
    )
    within = np.concatenate([one - one.mean(axis=0) for one in found])
    spread = np.sqrt((within**2).sum(axis=0) / (len(within) - len(found)))
    spread = np.sqrt((spread**2 + np.median(spread**2)) / 2)
    people = limited(np.concatenate(found), spread)
    own = (limited(found[0], spread) + limited(flipped, spread)).mean(axis=0)
    people -= np.outer(people @ own, own) / (own @ own)
    products = people @ people.T
    ridge = RIDGE * np.trace(products) / len(products)
    weights = people.T @ np.linalg.solve(products + ridge * np.eye(len(products)), np.ones(len(products)))
    data = np.zeros((*grey.shape, 2))
    data[tuple(voxels.T)] = np.stack([weights / np.sqrt((weights**2).mean()), spread], axis=-1)
    image = nib.Nifti1Image(np.round(data / STEP).astype(np.int16), template.affine)
    image.header.set_slope_inter(STEP, 0)
    image.header["descrip"] = b"right less left grey matter: weight, SD"
    nib.save(image, WEIGHTS)


if __name__ == "__main__":
    main()
