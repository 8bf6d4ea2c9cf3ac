"""Second opinion on grey matter: our mixture, CAT12's AMAP and Atropos, all given the same.

    python benchmarks/tissues.py DATASET [DATASET ...] --cache FOLDER [--scans 5] [--json tissues.json]

Every scan goes once through the program's own brain mask, bias correction and registration, whose results stay in the
cache. Then each model gets the same corrected scan in the same mask:

- ours: ``bids_app.participant.tissue``, with the warped template priors;
- AMAP (Rajapakse et al. 1997), CAT12's tissue model, by the package cat-surf: it starts from our maps' largest
  fractions and knows no priors; a half of each mixed class counts;
- Atropos, with the same priors as ours (as in ``benchmarks/participant.py``).

Grey matter is compared with reference labels (see ``references.py``): ratio of the totals by dataset, trend of the log
ratio with age in % per decade (datasets of one scanner pooled), Dice. Labels have biases of their own, so there is a
last column without them: scans in which a known change of grey matter was planted, and the slope of the measured log
change on the planted one, over the cases of all heads. 1 is right. It is there where ``planted.py`` lies beside this
file. Cases of other making go to :func:`measure`: two or more of a name, which stands for a head.

cat-surf is under the GPL. It serves here to measure with; the program neither needs nor imports it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
from participant import atropos_with_priors
from planted import plant
from references import Line, dice, find_scans, fit_line, read_reference, scanner


class Case(NamedTuple):
    """What a tissue model is given, and the change of the logarithm of grey matter that was planted in it."""

    name: str
    image: nib.Nifti1Image
    mask: nib.Nifti1Image
    priors: tuple  # GM, WM, CSF and deep grey matter (or None)
    planted: float = 0.0


def prepare(path: Path, folder: Path, resolution: float) -> tuple:
    """Corrected scan, mask and warped priors by the program's own functions, from the cache where they are there."""
    from bids_app import __version__
    from bids_app.participant import bias, inputs, normalize, skullstrip, transforms
    from bids_app.space.templates import get_template

    stamp, wanted = folder / "made_by.txt", f"{__version__} {resolution}"
    names = ("corrected", "mask", "gm", "wm", "csf", "deep")
    if not stamp.exists() or stamp.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        t1w = inputs.load_t1w(path)
        mask = skullstrip.extract_brain(t1w).mask
        corrected, _ = bias.correct_bias(t1w, mask)
        template = get_template(resolution=resolution)
        found = normalize.register(corrected, mask, template, folder)
        images = (corrected, mask, *transforms.warp_priors(template, corrected, found))
        for name, image in zip(names, images, strict=True):
            if image is not None:
                image.to_filename(folder / f"{name}.nii.gz")
        stamp.write_text(wanted)
    files = [folder / f"{name}.nii.gz" for name in names]
    corrected, mask, *priors = (nib.load(file) if file.exists() else None for file in files)
    return corrected, mask, tuple(priors)


def ours(case: Case) -> np.ndarray:
    """Fractions of CSF, GM and WM by the program's mixture, (3, X, Y, Z)."""
    from bids_app.participant.tissue import segment

    found = segment(case.image, case.mask, *case.priors)
    return np.stack([np.asarray(image.dataobj) for image in (found.csf, found.gm, found.wm)])


def amap(case: Case, start: np.ndarray) -> np.ndarray:
    """Grey-matter fraction by AMAP, started from the largest of the fractions ``start``."""
    import cat_surf

    from bids_app.space.boxes import bounding_box

    inside = np.asarray(case.mask.dataobj) > 0
    box = bounding_box(inside, 3)
    labels = np.where(inside, 1 + start.argmax(0), 0)[box].astype(np.uint8)
    data = (np.asarray(case.image.dataobj, dtype=np.float32) * inside)[box]
    zooms = np.asarray(case.image.header.get_zooms()[:3], dtype=float)
    probability, _, _ = cat_surf.vol_amap(np.ascontiguousarray(data), np.ascontiguousarray(labels), zooms)
    probability = probability.astype(np.float32)  # CSF, CSF and GM, GM, GM and WM, WM; 0 to 255
    grey = probability[..., 2] + (probability[..., 1] + probability[..., 3]) / 2
    fraction = np.zeros(inside.shape, np.float32)
    fraction[box] = np.where(inside[box], grey / np.maximum(probability.sum(-1), 1), 0)
    return fraction


def grey_of_models(case: Case) -> dict[str, np.ndarray]:
    """Grey-matter fraction of every model."""
    fractions = ours(case)
    return {
        "ours": fractions[1],
        "AMAP": amap(case, fractions),
        "Atropos": np.asarray(atropos_with_priors(case.image, case.mask, case.priors).dataobj),
    }


def measure(cases: Iterable[Case], more: Callable[[np.ndarray], dict] = lambda grey: {}) -> list[dict]:
    """Grey matter of every case by every model: one row each, with what ``more`` says of the map."""
    rows = []
    for case in cases:
        case = Case(*case)
        ml = float(abs(np.linalg.det(case.image.affine[:3, :3]))) / 1000
        for model, grey in grey_of_models(case).items():
            volume = float(grey.sum(dtype=np.float64)) * ml
            rows.append({"name": case.name, "model": model, "planted": case.planted, "gm_ml": volume, **more(grey)})
    return rows


def summarise(scans: pd.DataFrame, planted: pd.DataFrame) -> dict[str, dict]:
    """Ratios, trends, Dice and the slope of measured on planted change of every model."""
    found = {}
    for model, rows in scans.groupby("model", sort=False):
        ratio = np.log(rows.gm_ml / rows.reference_ml)
        by_set, by_scanner = rows.dataset, rows.dataset.map(scanner)
        trends = {name: fit_line(rows.age[part.index], part) for name, part in ratio.groupby(by_scanner, sort=False)}
        mine = planted[planted.model == model]
        line = fit_line(mine.planted, np.log(mine.gm_ml), mine.name)
        found[model] = {
            "ratio": np.exp(ratio.groupby(by_set, sort=False).mean()).to_dict(),
            "dice": rows.dice.groupby(by_set, sort=False).mean().to_dict(),
            "r": {
                name: float(np.corrcoef(part.gm_ml, part.reference_ml)[0, 1]) if len(part) > 2 else None
                for name, part in rows.groupby("dataset", sort=False)
            },
            "trend": {name: trend and asdict(trend) for name, trend in trends.items()},
            "planted": line and asdict(line),
        }
    return found


def table(found: dict[str, dict]) -> str:
    """One line a model."""
    first = next(iter(found.values()))
    sets, scanners = list(first["ratio"]), list(first["trend"])
    head = [
        *("ratio " + name for name in sets),
        *("Dice " + name for name in sets),
        *("% per decade, " + name for name in scanners),
        "measured on planted",
    ]
    lines = [("", *head)]
    for model, values in found.items():
        trends = [percent(trend and Line(**trend)) for trend in values["trend"].values()]
        line = values["planted"]
        planted = f"{line['slope']:.3f} ± {line['error']:.3f}" if line else "-"
        cells = [f"{values[key][name]:.3f}" for key in ("ratio", "dice") for name in sets]
        lines.append((model, *cells, *trends, planted))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def percent(trend: Line | None) -> str:
    """Slope of a logarithm on age in years, as % per decade with its standard error."""
    return f"{1000 * trend.slope:+.2f} ± {1000 * trend.error:.2f}" if trend else "-"


def planted_cases(name: str, image, mask, priors, reference) -> list[Case]:
    """The scan as it is, and those of ``planted.plant`` that lose grey matter."""
    from bids_app.participant._ants import image_like
    from bids_app.simulate.planted import GREY

    inside, mm = np.asarray(mask.dataobj) > 0, float(image.header.get_zooms()[0])
    cases, brain = plant(np.asarray(image.dataobj), inside, reference, mm, more=False)
    whole_ml = np.count_nonzero(brain.tissue == GREY) * brain.mm**3 / 1000
    found = [Case(name, image, mask, priors)]
    for case in cases:
        if case.change is not None:
            change = float(np.log1p(case.change[1] / whole_ml))
            found.append(Case(name, image_like(case.scan, image), mask, priors, change))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for masks, corrected scans and priors")
    parser.add_argument("--scans", type=int, help="only so many of each dataset, evenly spread (default: all)")
    parser.add_argument("--resolution", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before ants is imported

    from tqdm import tqdm

    chosen = []
    for dataset in args.datasets:
        scans = find_scans(dataset)
        count = min(args.scans or len(scans), len(scans))
        chosen += [(dataset, scans[i]) for i in np.linspace(0, len(scans) - 1, count).round().astype(int)]
    rows, planted, start = [], [], time.perf_counter()
    for dataset, scan in tqdm(chosen, unit="scan"):
        name = f"{scan.dataset}/{scan.participant}"
        image, mask, priors = prepare(scan.path, args.cache / scan.dataset / scan.participant, args.resolution)
        reference = read_reference(dataset, scan.participant)
        known = {"dataset": scan.dataset, "age": scan.age, "reference_ml": reference.volume(reference.grey)}
        rows += measure(
            [Case(name, image, mask, priors)],
            lambda grey, known=known, truth=reference.grey: {**known, "dice": dice(grey > 0.5, truth)},
        )
        planted += measure(planted_cases(name, image, mask, priors, reference))
    found = summarise(pd.DataFrame(rows), pd.DataFrame(planted))
    print(table(found))
    print(f"{len(chosen)} scans, {time.perf_counter() - start:.0f} s; errors of slopes are standard errors")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"models": found, "scans": rows, "planted": planted}, indent=2))


if __name__ == "__main__":
    main()
