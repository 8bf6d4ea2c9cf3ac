"""How much of a change planted into real heads the tissue model measures.

    python benchmarks/planted.py DATASET [DATASET ...] [--every 1] [--register] [--work FOLDER] [--json planted.json]

A DATASET holds T1w scans and an independent segmentation (``derivatives/dlmuse``, labels of DLMUSE). Each scan goes
through the program's own brain mask, bias correction and registration; then its cortex is thinned, its ventricles
widened, its closed sulci opened, its white matter darkened, noise added and contrast taken away, and the tissues are
measured again: with the same priors, or with ``--register`` after a registration of the changed scan.

Slopes are measured change over planted change in ml; others are the change of grey and white matter in percent, where
there should be none. How much tissue a place at a border held is uncertain in a scan: it is read from its brightness,
or taken to be all of a voxel ("in full"). Of the last scans the volumes are known, because they are painted on the same
anatomy, whole and with the same losses: in the contrasts of this head, and in those of a scanner that shows cortex
dark. For a whole painted scan, the ratio is measured over true grey matter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from references import DEEP_GREY, VENTRICLES, Reference, Scan, find_scans, read_reference
from tqdm import tqdm


@dataclass(frozen=True)
class Case:
    """A changed scan, and the planted change of fluid, grey and white matter in ml; None where nothing is lost.

    ``volumes`` are those that a painted scan holds. ``whole`` names the painted scan from which this one differs;
    without it, that is the scan as it is.
    """

    name: str
    scan: np.ndarray
    change: np.ndarray | None = None
    volumes: np.ndarray | None = None
    whole: str | None = None


#: Intensities of fluid and grey matter over white matter where cortex is dark, as on two scanners of the real tests.
DARK_CORTEX = (0.2, 0.57)


def plant(scan: np.ndarray, mask: np.ndarray, reference: Reference, mm: float, seed: int = 1, more: bool = True):
    """All planted changes of one bias-corrected head, and its anatomy on fine voxels of the brain's box.

    Scans have the shape of the one given. Losses in full and painted scans are among them with ``more`` only.
    """
    from bids_app.simulate import planted
    from bids_app.space.boxes import bounding_box

    box = bounding_box(mask, 3)  # fine voxels of the whole head would take minutes
    ventricles, spared = (np.isin(reference.labels[box], ids) for ids in (VENTRICLES, DEEP_GREY))
    brain = planted.anatomy(scan[box], mask[box], reference.grey[box], reference.white[box], ventricles, mm)

    def whole(part: np.ndarray) -> np.ndarray:
        changed = np.array(scan, dtype=np.float32)
        changed[box] = part
        return changed

    mask = mask[box]
    ml = (brain.mm * planted.FINE) ** 3 / 1000
    thin = partial(planted.thinner_cortex, brain, spared=spared)
    lost = {
        "cortex 0.7 mm thinner": thin(0.7),
        "cortex 1.3, ventricles 2 mm": thin(1.34) | planted.wider_ventricles(brain, 2.0),
        "closed sulci opened": planted.opened_sulci(brain, spared),
    }
    made = []
    for name, voxels in lost.items():
        for kind in ("", ", in full") if more else ("",):
            changed, change = planted.fill_with_fluid(brain, voxels, in_full=bool(kind))
            made.append(Case(name + kind, whole(changed), change * ml))
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
    made += [Case(name, whole(changed)) for name, changed in kept.items()]
    dark = white * np.array([*DARK_CORTEX, 1.0])
    # The same noise in all, so that they differ by what is lost.
    paint = partial(planted.painted, noise=0.03, texture=0.15, seed=seed)
    for kind, means in {"painted": brain.means, "dark cortex": dark}.items() if more else ():
        head = replace(brain, means=means)
        picture, held = paint(head)
        made.append(Case(f"{kind}, whole", whole(picture), volumes=held * ml))
        for name, voxels in lost.items():
            picture, left = paint(planted.without(head, voxels))
            made.append(Case(f"{kind}, {name}", whole(picture), (left - held) * ml, whole=f"{kind}, whole"))
    return made, brain


def measure(scan: Scan, work: Path, again: bool) -> dict:
    """Results of one scan: {case: {slope, or error of grey matter, and error of white matter in percent}}."""
    from bids_app.participant import bias, inputs, normalize, skullstrip, tissue, transforms
    from bids_app.participant._ants import image_like
    from bids_app.space.templates import get_template

    folder = work / scan.participant
    template = get_template(resolution=2.0)
    t1w = inputs.load_t1w(scan.path)
    mask = skullstrip.extract_brain(t1w, n_threads=1).mask
    corrected, _ = bias.correct_bias(t1w, mask)
    reference = read_reference(scan.path.parents[2], scan.participant)

    def priors_of(image, name):
        found = normalize.register(image, mask, template, folder / name)
        return transforms.warp_priors(template, image, found)

    def volumes(image, priors):
        tissues = tissue.segment(image, mask, *priors)
        return np.array([reference.volume(np.asarray(m.dataobj)) for m in (tissues.csf, tissues.gm, tissues.wm)])

    mm = float(corrected.header.get_zooms()[0])
    cases, _ = plant(np.asarray(corrected.dataobj), np.asarray(mask.dataobj) > 0, reference, mm)
    priors = priors_of(corrected, "before")
    measured: dict[str | None, np.ndarray] = {None: volumes(corrected, priors)}
    results = {}
    for number, case in enumerate(cases):
        image = image_like(case.scan, corrected)
        measured[case.name] = found = volumes(image, priors_of(image, str(number)) if again else priors)
        if case.volumes is not None:
            grey_white = (found / case.volumes)[1:]
            results[case.name] = {"ratio": grey_white[0], "white %": 100 * (grey_white[1] - 1)}
            continue
        before = measured[case.whole]
        change = found - before
        planned = np.zeros(3) if case.change is None else case.change
        grey = {"%": 100 * change[1] / before[1]} if case.change is None else {"slope": change[1] / planned[1]}
        results[case.name] = grey | {"white %": 100 * (change[2] - planned[2]) / before[2]}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every Nth scan")
    parser.add_argument("--register", action="store_true", help="register each changed scan")
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scans = [scan for dataset in options.datasets for scan in find_scans(dataset)][:: options.every]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.nprocs) as pool:
        work = options.work or Path(folder)
        tasks = pool.map(partial(measure, work=work, again=options.register), scans)
        found = dict(zip([scan.participant for scan in scans], tqdm(tasks, total=len(scans), unit="scan"), strict=True))
    print(f"{len(found)} scans: mean (standard deviation)\n\n{'':47}grey matter       error of white matter")
    for name, kinds in next(iter(found.values())).items():
        grey, white = np.array([list(result[name].values()) for result in found.values()]).T
        kind = next(iter(kinds))
        print(f"{name:47}{grey.mean():+.2f} ({grey.std():.2f}) {kind:6}  {white.mean():+.2f} ({white.std():.2f}) %")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
