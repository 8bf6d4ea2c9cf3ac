"""How much of a change planted into real young heads the tissue model measures.

    python benchmarks/planted.py DATASET [DATASET ...] [--every 1] [--register] [--work FOLDER] [--json planted.json]

A DATASET holds T1w scans and an independent segmentation (``derivatives/dlmuse``, labels of DLMUSE). Each scan goes
through the program's own brain mask, bias correction and registration; then its cortex is thinned, its ventricles
widened, its closed sulci opened, its white matter darkened, noise added and contrast taken away, and the tissues are
measured again: with the same priors, or with ``--register`` after a registration of the changed scan.

Slopes are measured change over planted change in ml; the others are the change of grey and white matter in percent,
where there should be none.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

DEEP_GREY = (23, 30, 36, 37, 55, 56, 57, 58, 59, 60)  # accumbens, caudate, pallidum, putamen, thalamus
VENTRICLES = (51, 52)
GREY, WHITE = "601", "604"


@dataclass(frozen=True)
class Case:
    """A changed scan, and the planted change of fluid, grey and white matter in ml; None where nothing is lost."""

    name: str
    scan: np.ndarray
    change: np.ndarray | None


def cases(brain, spared, mask, seed: int = 1) -> list[Case]:
    """All planted changes of one head; ``spared`` are the voxels of deep grey matter."""
    from bids_app.simulate import planted

    ml = (brain.mm * planted.FINE) ** 3 / 1000
    thin = partial(planted.thinner_cortex, brain, spared=spared)
    lost = {
        "cortex 0.7 mm thinner": thin(0.7),
        "cortex 1.3, ventricles 2 mm": thin(1.34) | planted.wider_ventricles(brain, 2.0),
        "closed sulci opened": planted.opened_sulci(brain),
    }
    made = []
    for name, voxels in lost.items():
        scan, change = planted.fill_with_fluid(brain, voxels)
        made.append(Case(name, scan, change * ml))
    white = float(brain.means[planted.WHITE])
    noise = np.random.default_rng(seed).normal(0, 0.03 * white, brain.scan.shape) * mask
    kept = {
        "white matter 5 % darker": planted.darker_white_matter(brain, 0.05),
        "white matter 10 % darker": planted.darker_white_matter(brain, 0.1),
        "rim of 3 mm 5 % darker": planted.darker_white_matter(brain, 0.05, 3.0),
        "rim of 3 mm 10 % darker": planted.darker_white_matter(brain, 0.1, 3.0),
        "noise of 3 %": brain.scan + noise,
        "contrast 20 % lower": 0.8 * brain.scan + 0.2 * white * mask,
    }
    return made + [Case(name, np.float32(scan), None) for name, scan in kept.items()]


def labels_of(path: Path) -> tuple[np.ndarray, dict[str, list[int]]]:
    """DLMUSE's labels of a scan in canonical orientation, and the labels of each composite."""
    root = path.parents[2] / "derivatives" / "dlmuse"
    with open(root / "roi_composites.csv", newline="") as stream:
        parts = {row[0]: [int(label) for label in row[2:] if label.strip()] for row in csv.reader(stream)}
    image = nib.as_closest_canonical(nib.load(next((root / path.parts[-3]).glob("**/*_dseg.nii.gz"))))
    return np.asarray(image.dataobj).astype(int), parts


def measure(path: Path, work: Path, again: bool) -> dict:
    """Results of one scan: {case: [slope or error of grey matter, error of white matter in percent]}."""
    from bids_app.participant import bias, inputs, normalize, skullstrip, tissue, transforms
    from bids_app.participant._ants import image_like
    from bids_app.participant._grid import bounding_box
    from bids_app.simulate import planted
    from bids_app.space.templates import get_template

    folder = work / path.parts[-3]
    template = get_template(resolution=2.0)
    t1w = inputs.load_t1w(path)
    mask = skullstrip.extract_brain(t1w, n_threads=1).mask
    corrected, _ = bias.correct_bias(t1w, mask)
    inside = np.asarray(mask.dataobj) > 0

    def priors_of(scan, name):
        found = normalize.register(scan, mask, template, folder / name)
        return transforms.warp_priors(template, scan, found)

    def volumes(scan, priors):
        return (
            np.array([np.asarray(m.dataobj).sum(dtype=np.float64) for m in _maps(tissue.segment(scan, mask, *priors))])
            * ml
        )

    labels, parts = labels_of(path)
    mm = float(corrected.header.get_zooms()[0])
    ml = mm**3 / 1000
    box = bounding_box(inside, 3)  # fine voxels of the whole head would take minutes
    data = np.asarray(corrected.dataobj, dtype=np.float32)
    marks = (np.isin(labels[box], ids) for ids in (parts[GREY], parts[WHITE], VENTRICLES))
    brain = planted.anatomy(data[box], inside[box], *marks, mm)
    priors = priors_of(corrected, "before")
    before, results = volumes(corrected, priors), {}
    for number, case in enumerate(cases(brain, np.isin(labels[box], DEEP_GREY), inside[box])):
        changed = data.copy()
        changed[box] = case.scan
        scan = image_like(changed, corrected)
        change = volumes(scan, priors_of(scan, str(number)) if again else priors) - before
        planned = np.zeros(3) if case.change is None else case.change
        grey_result = 100 * change[1] / before[1] if case.change is None else change[1] / planned[1]
        results[case.name] = [float(grey_result), float(100 * (change[2] - planned[2]) / before[2])]
    return results


def _maps(tissues):
    return tissues.csf, tissues.gm, tissues.wm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every Nth scan")
    parser.add_argument("--register", action="store_true", help="register each changed scan")
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scans = [p for d in options.datasets for p in sorted(d.glob("sub-*/anat/*_T1w.nii.gz"))][:: options.every]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.nprocs) as pool:
        work = options.work or Path(folder)
        tasks = pool.map(partial(measure, work=work, again=options.register), scans)
        found = dict(zip([p.parts[-3] for p in scans], tqdm(tasks, total=len(scans), unit="scan"), strict=True))
    print(f"{len(found)} scans: mean (standard deviation)\n\n{'':30}grey matter       error of white matter")
    for name in next(iter(found.values())):
        grey, white = np.array([result[name] for result in found.values()]).T
        unit = "slope" if abs(grey.mean()) > 0.5 and "darker" not in name and "noise" not in name else "%"
        print(f"{name:30}{grey.mean():+.2f} ({grey.std():.2f}) {unit:6}  {white.mean():+.2f} ({white.std():.2f}) %")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
