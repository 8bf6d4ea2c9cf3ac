"""How much of a structure's loss, planted into real heads by a known deformation, its region of the map shows.

    python benchmarks/shrunken.py DATASET [DATASET ...] [--every 1] [--json shrunken.json]

A DATASET holds T1w scans and an independent segmentation (``derivatives/dlmuse``, labels of DLMUSE). After the
program's brain mask and bias correction each scan is deformed twice, so that some structures are larger and smaller,
and each of the two goes through registration, tissues and modulation. In the same person nothing else differs: neither
the way in which the segmentation draws borders, nor how people differ, can make the figures.

- ``log``: change of the logarithm of the AAL2 region's grey matter over that of the structure's volume. It falls short
  of 1 by as much as the region holds of other grey matter, which has not shrunk;
- ``region`` and ``near``: grey matter lost in the region, and in it and 10 mm about it, over the volume that the
  structure lost (ml). Of that volume not all is grey matter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from references import Scan, find_scans, read_reference
from scipy import ndimage
from tqdm import tqdm

STRUCTURES = {
    "Hippocampus": (47, 48), "Amygdala": (31, 32), "Thalamus": (59, 60), "Caudate": (36, 37), "Putamen": (57, 58),
}  # fmt: skip
APART = (("Hippocampus", "Caudate"), ("Amygdala", "Putamen"), ("Thalamus",))  # planted together: no neighbours
LOSS = 0.25
NEAR_MM = 10.0


def measure(scan: Scan, work: Path) -> dict[str, dict[str, float]]:
    """Results of one scan by structure."""
    from bids_app.participant import bias, inputs, modulate, normalize, skullstrip, tissue, transforms
    from bids_app.participant._ants import image_like
    from bids_app.simulate.shrunken import fluid_by_brightness, moved, shrinking
    from bids_app.space.atlas_loaders import load_atlas
    from bids_app.space.templates import get_template

    template = get_template(resolution=2.0)
    atlas = load_atlas("AAL2", template.t1w)
    labels, names = np.asarray(atlas.image.dataobj), atlas.table
    t1w = inputs.load_t1w(scan.path)
    mask = skullstrip.extract_brain(t1w, n_threads=1).mask
    corrected, _ = bias.correct_bias(t1w, mask)
    reference = read_reference(scan.path.parents[2], scan.participant)
    data, inside = np.asarray(corrected.dataobj), np.asarray(mask.dataobj) > 0
    mm = float(corrected.header.get_zooms()[0])

    def mapped(image, name):
        found = normalize.register(image, mask, template, work / scan.participant / name)
        tissues = tissue.segment(image, mask, *transforms.warp_priors(template, image, found))
        return np.asarray(modulate.modulate(tissues.gm, found.forward, template).gm.dataobj)

    fluid, results = fluid_by_brightness(data, inside), {}
    for together in APART:
        where = [np.isin(reference.labels, STRUCTURES[name]) for name in together]
        velocity = shrinking(where, fluid, inside, LOSS, mm)
        grey, true = [], []
        for time in (-0.5, 0.5):
            head, *parts = moved(np.stack([data, *where]), velocity, time)
            grey.append(mapped(image_like(np.where(inside, head, data), corrected), f"{together[0]}{time}"))
            true.append([reference.volume(part) for part in parts])
        ml = template.resolution**3 / 1000
        for number, name in enumerate(together):
            region = np.isin(labels, names["index"][names["name"].str.startswith(name)])
            near = ndimage.distance_transform_edt(~region) * template.resolution <= NEAR_MM
            sums = np.array([[g[area].sum(dtype=np.float64) * ml for area in (region, near)] for g in grey])
            larger, smaller = (volumes[number] for volumes in true)
            region_lost, near_lost = (sums[1] - sums[0]) / (smaller - larger)
            results[name] = {
                "planted %": 100 * (smaller / larger - 1),
                "log": np.log(sums[1, 0] / sums[0, 0]) / np.log(smaller / larger),
                "region": region_lost,
                "near": near_lost,
            }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every Nth scan of a dataset")
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scans = [scan for dataset in options.datasets for scan in find_scans(dataset)[:: options.every]]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(options.nprocs) as pool:
        tasks = pool.map(partial(measure, work=Path(folder)), scans)
        found = list(tqdm(tasks, total=len(scans), unit="scan"))
    for dataset in dict.fromkeys(scan.dataset for scan in scans):
        of = [result for scan, result in zip(scans, found, strict=True) if scan.dataset == dataset]
        print(f"\n{dataset}, {len(of)} scans: mean (standard deviation)")
        for name in STRUCTURES:
            values = {key: np.array([result[name][key] for result in of]) for key in of[0][name]}
            print(
                f"  {name:12}" + "  ".join(f"{key} {v.mean():+.2f} ({v.std(ddof=1):.2f})" for key, v in values.items())
            )
    if options.json:
        rows = [
            {"dataset": s.dataset, "participant": s.participant, "age": s.age, **r}
            for s, r in zip(scans, found, strict=True)
        ]
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
