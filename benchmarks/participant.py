"""How long a scan takes step by step and how good its grey matter is, beside a plain antspyx chain, in one run.

    python benchmarks/participant.py SCAN [SCAN ...] [--resolution 1.5] [--threads 2] [--sloppy]
                                     [--labels FOLDER] [--json participant.json]

The peer does what a user of antspyx would write down: N4, SyN and Atropos with the library's defaults, inside the same
brain mask, to the same template. Times are seconds by the clock, the template loaded and the libraries imported before.

``--labels`` names a derivative dataset with an independent segmentation (``*_dseg.nii.gz`` of DLMUSE labels and
``roi_composites.csv``). Then three tissue models are compared on each scan with the same mask, bias correction and
warped priors: our mixture, Atropos with those priors, and Atropos by k-means as the peer runs it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

GREY = "601"  # composite of the DLMUSE labels


class Clock:
    """Seconds by step."""

    def __init__(self):
        self.steps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.steps[step] = round(self.steps.get(step, 0) + now - self.last, 2)
        self.last = now


def ours(path: Path, template, work: Path, sloppy: bool, threads: int):
    """The project's own steps, as the participant level runs them."""
    from bids_app.participant import bias, inputs, modulate, normalize, quality, skullstrip, tissue, transforms

    clock = Clock()
    t1w = inputs.load_t1w(path)
    clock.lap("load")
    brain = skullstrip.extract_brain(t1w, n_threads=threads)
    clock.lap("brain mask")
    corrected, field = bias.correct_bias(t1w, brain.mask, sloppy=sloppy)
    clock.lap("bias field")
    found = normalize.register(corrected, brain.mask, template, work, sloppy=sloppy)
    clock.lap("normalisation")
    priors = transforms.warp_priors(template, corrected, found)
    tissues = tissue.segment(corrected, brain.mask, *priors, sloppy=sloppy)
    clock.lap("tissues")
    modulated = modulate.modulate(tissues.gm, found, template, work)
    modulate.smooth(modulated.gm, 8.0)
    clock.lap("modulation, smoothing")
    warped = transforms.warp(brain.mask, template.t1w, found.forward, "nearest")
    metrics = quality.measure(corrected, brain.mask, field, tissues, modulated, warped, template)
    clock.lap("quality")
    return clock.steps, corrected, brain.mask, priors, tissues, metrics


def plain_ants(path: Path, mask, template, work: Path):
    """N4 + SyN + Atropos with antspyx's defaults, then warping and modulation; returns times and native GM."""
    import ants

    from bids_app.participant import inputs
    from bids_app.participant._ants import from_ants, scratch, to_ants

    with scratch(work):
        t1w = inputs.load_t1w(path)
        head, inside, fixed = to_ants(t1w), to_ants(mask), to_ants(template.t1w)
        clock = Clock()
        corrected = ants.n4_bias_field_correction(head, mask=inside)
        clock.lap("bias field")
        moved = ants.registration(fixed, corrected * inside, type_of_transform="SyN")
        clock.lap("normalisation")
        found = ants.atropos(a=corrected * inside, x=inside, m="[0.2,1x1x1]")  # its default neighbourhood is 2D
        clock.lap("tissues")
        grey = found["probabilityimages"][1]
        warped = ants.apply_transforms(fixed, grey, moved["fwdtransforms"])
        determinant = ants.create_jacobian_determinant_image(fixed, moved["fwdtransforms"][0])
        _ = warped * determinant
        clock.lap("modulation, smoothing")
        return clock.steps, from_ants(grey, like=t1w)


def atropos_with_priors(corrected, mask, priors):
    """Grey matter by Atropos with the warped priors (weight 0.25, the usual smoothness), deep grey counted as grey."""
    import ants
    import numpy as np

    from bids_app.participant._ants import from_ants, image_like, to_ants

    gm, wm, csf, deep = priors
    if deep is not None:
        share = np.asarray(deep.dataobj)
        grey, white = np.asarray(gm.dataobj), np.asarray(wm.dataobj)
        gm, wm = image_like(grey + (1 - grey) * share, gm), image_like(white * (1 - share), wm)
    images = [to_ants(prior) for prior in (csf, gm, wm)]
    found = ants.atropos(a=to_ants(corrected), x=to_ants(mask), i=images, priorweight=0.25, m="[0.2,1x1x1]", c="[5,0]")
    return from_ants(found["probabilityimages"][1], like=corrected)


def accuracy(grey, labels, composite: list[int]) -> dict[str, float]:
    """Dice of grey matter (fraction > 0.5) with the labels, and the ratio of the volumes."""
    import nibabel as nib
    import numpy as np

    truth = np.isin(np.asarray(nib.as_closest_canonical(labels).dataobj), composite)
    fraction = np.asarray(grey.dataobj)
    drawn = fraction > 0.5
    return {
        "dice": round(float(2 * (drawn & truth).sum() / (drawn.sum() + truth.sum())), 4),
        "ml": round(float(fraction.sum()) * float(np.prod(labels.header.get_zooms()[:3])) / 1000, 1),
        "reference_ml": round(float(truth.sum()) * float(np.prod(labels.header.get_zooms()[:3])) / 1000, 1),
    }


def table(results: list[dict]) -> str:
    """Times of every step and, where there are labels, the accuracy of the three tissue models."""
    import numpy as np

    lines = [f"{'seconds a scan (median)':28s}{'ours':>10s}{'plain ANTs':>12s}"]
    steps = list(dict.fromkeys(step for r in results for step in (*r["ours"], *r["plain_ants"])))
    for step in [*steps, "all"]:
        cells = []
        for chain in ("ours", "plain_ants"):
            values = [sum(r[chain].values()) if step == "all" else r[chain].get(step) for r in results]
            known = [v for v in values if v is not None]
            cells.append(f"{np.median(known):.1f}" if known else "-")
        lines.append(f"{step:28s}{cells[0]:>10s}{cells[1]:>12s}")
    ratio = np.median([sum(r["plain_ants"].values()) / sum(r["ours"].values()) for r in results])
    lines.append(f"plain ANTs takes {ratio:.1f} times as long (its brain mask, which it was given, not counted)")
    scored = [r["tissue_models"] for r in results if "tissue_models" in r]
    if scored:
        lines += ["", f"{'grey matter':28s}{'Dice':>10s}{'volume r':>12s}{'volume ratio':>15s}"]
        for model in scored[0]:
            dice = np.mean([s[model]["dice"] for s in scored])
            ml, truth = (np.array([s[model][key] for s in scored]) for key in ("ml", "reference_ml"))
            r = f"{np.corrcoef(ml, truth)[0, 1]:.3f}" if len(scored) > 2 else "-"
            lines.append(f"{model:28s}{dice:>10.3f}{r:>12s}{np.mean(ml / truth):>15.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--resolution", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sloppy", action="store_true")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before ants is imported

    import nibabel as nib
    from tqdm import tqdm

    from bids_app.space.templates import get_template

    template = get_template(resolution=args.resolution)
    with tempfile.TemporaryDirectory() as folder:
        ours(args.scans[0], template, Path(folder), True, args.threads)  # libraries, weights, templates
    results = []
    for path in tqdm(args.scans):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            times, corrected, mask, priors, tissues, _ = ours(path, template, work, args.sloppy, args.threads)
            peer_times, peer_grey = plain_ants(path, mask, template, work)
        result = {"scan": path.name, "ours": times, "plain_ants": peer_times}
        if args.labels:
            name = path.name.split(".")[0].removesuffix("_T1w")
            labels = nib.load(next(args.labels.rglob(f"{name}_*dseg.nii.gz")))
            with open(args.labels / "roi_composites.csv", newline="") as stream:
                parts = {row[0]: [int(v) for v in row[2:] if v] for row in csv.reader(stream)}
            models = {
                "mixture (ours)": tissues.gm,
                "Atropos, same priors": atropos_with_priors(corrected, mask, priors),
                "Atropos, k-means": peer_grey,
            }
            result["tissue_models"] = {k: accuracy(v, labels, parts[GREY]) for k, v in models.items()}
        results.append(result)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(table(results))
    print(f"peak memory of this process (peer included): {memory:.1f} GB, {args.threads} threads, {platform.machine()}")
    if args.json:
        args.json.write_text(json.dumps({"resolution": args.resolution, "results": results}, indent=2))


if __name__ == "__main__":
    main()
