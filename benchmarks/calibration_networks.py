"""Claims of studies whose latents come from trained networks, beside those of principal components.

    python benchmarks/calibration_networks.py --train --processes 2 [--device cuda] [--minutes 9]
    python benchmarks/calibration_networks.py [--write docs/verdicts.md]

Studies are those of ``benchmarks/calibration.py``, a few cells of them. ``--train`` puts the maps of the cohorts back
together (``tools/planning_bank.py`` makes ``work/bank.npz``; ``--maps`` keeps what is needed of it) and trains what a
real run trains: the prior of the linear path, the epochs and the network, for every fold and in full. Studies of all
cells are taken in turns; each is one file in ``--studies``, and those that are there are not trained again. Without
``--train`` the studies are judged and the table printed: that needs no GPU, and may be done on another machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import traceback
import warnings
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bids_app.group.study import Study, build_questions, build_study
from bids_app.model.cross_fitting import collect, cross_fit_one, split_participants
from bids_app.model.grid import Grid, Sampling
from bids_app.model.linear_model import MIRROR_WEIGHTS, SMOOTHING
from bids_app.model.plan import make_plan
from bids_app.model.regions import region_weights, sum_regions
from bids_app.model.volumes import Volumes
from bids_app.planning.bank import FOLDS, Scenario, design_of, draw_study, load_bank


class Cell(NamedTuple):
    """What is trained on which cohorts.

    Attributes
    ----------
    latents : str
        What they are, for the table.
    scenario : Scenario
    often : int
        Studies each time its turn comes.
    plan : dict
        Settings of the training plan.
    relabelled : bool
        Whether further null studies are made of its cohorts.
    """

    latents: str
    scenario: Scenario
    often: int
    plan: dict[str, Any]
    relabelled: bool = False


NULL, WIDE = Scenario((30, 30)), Scenario((30, 30), spread=2.0)
SCATTERED, BOTH = Scenario((30, 30), 1.2), Scenario((30, 30), 1.2, "medial-temporal")
CONV, PRIOR = {"architecture": "conv"}, {"max_epochs": 0}
CELLS = {
    # A network could make a difference of location out of one of spread.
    "conv-wide": Cell("conv", WIDE, 2, CONV),
    "conv-null": Cell("conv", NULL, 2, CONV, relabelled=True),
    "conv-effect": Cell("conv", SCATTERED, 1, CONV),
    "residual-wide": Cell("residual", WIDE, 2, {}),
    "residual-null": Cell("residual", NULL, 1, {}, relabelled=True),
    "residual-effect": Cell("residual", SCATTERED, 1, {}),
    "residual-both": Cell("residual", BOTH, 1, {}),
    "prior-effect": Cell("linear path with its prior", SCATTERED, 1, PRIOR),
    "prior-both": Cell("linear path with its prior", BOTH, 1, PRIOR),
}
KEPT = (
    "Z",
    "Zf",
    "fold",
    "ev_ae",
    "ev_linear",
    "ev_pca",
    "epochs",
    "observed",
    "reconstructed",
    "coordinates",
    "prior",
)


def prepare(bank_file: Path, out: Path) -> None:
    """Write the voxels of the coordinates of ``bids_app/planning/bank.npz``, and where they lie."""
    from bank import deviations, read_bank, region_sums

    from bids_app.simulate.anatomy import load_anatomy
    from bids_app.simulate.map_dataset import map_affine

    bank, stored = read_bank(bank_file), load_bank()
    centre, everything, _ = deviations(bank)
    coordinates = np.vstack([stored.maps, *stored.patterns.values(), stored.spread])
    # The orthonormal basis in which the coordinates come nearest to the maps (orthogonal Procrustes).
    left, _, right = np.linalg.svd(coordinates.T @ everything, full_matrices=False)
    basis = left @ right
    missed = ((everything - coordinates @ basis) ** 2).sum() / (everything**2).sum()
    off = np.abs(region_sums(basis, bank) - stored.loadings).max() / np.abs(stored.loadings).max()
    print(f"{len(basis)} coordinates, {basis.shape[1]} voxels: variance missed {missed:.1e}, readout off by {off:.1e}")
    np.savez(
        out,
        basis=basis.astype(np.float16),
        centre=centre.astype(np.float32),
        mask=bank["mask"],
        labels=bank["labels"],
        affine=map_affine(load_anatomy(step=2), 4.0),
    )


def train_one(job: tuple) -> tuple[str, bool]:
    """One study: draw it, train its networks, write its file. Returns a line to print, and whether it went well."""
    cell, number, maps_file, folder, device, deadline = job
    before, out = time.process_time(), folder / f"{cell}-{number:04d}.npz"
    if time.time() > deadline:
        return "", True
    logging.getLogger("latentatlas").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    try:
        with np.load(maps_file) as maps:
            arrays = train_study(cell, number, dict(maps), device)
    except Exception:
        return f"{out.stem}: {traceback.format_exc(limit=4)}", False
    half = out.with_suffix(".partial")
    with half.open("wb") as file:
        np.savez_compressed(file, **arrays)
    half.rename(out)
    explained, linear = arrays["ev_ae"].mean(), arrays["ev_linear"].mean()
    epochs, took = np.unique(arrays["epochs"]).tolist(), time.process_time() - before
    line = f"{out.stem}: {took:.0f} processor s, explained {explained:.3f}, linear {linear:.3f}, epochs {epochs}"
    return line, True


def train_study(cell: str, number: int, maps: dict[str, np.ndarray], device: str) -> dict[str, np.ndarray]:
    """What a real run learns of a cohort of n people.

    Parameters
    ----------
    cell : str
    number : int
        Of the study.
    maps : dict
        Of `prepare`.
    device : str

    Returns
    -------
    dict
        ``Z`` (n, K), ``Zf`` (F, n, K), and (n,) ``fold, ev_ae, ev_linear, ev_pca, epochs`` as of
        :func:`bids_app.model.cross_fitting.collect`; ``observed, reconstructed`` (n, R), ml; ``coordinates`` (n, D)
        of the maps; ``prior`` (F, 2), mirror weight and smoothing in mm of the linear path of every fold.
    """
    scenario = CELLS[cell].scenario
    bank = load_bank()
    table, coordinates = draw_study(bank, number, scenario)
    mask = maps["mask"]
    grid = Grid(Sampling(mask.shape, maps["affine"], 8.0, 4.0), mask)
    data = maps["centre"] + coordinates.astype(np.float32) @ maps["basis"].astype(np.float32)
    volumes = Volumes(data.astype(np.float16), grid, table["participant_id"].tolist(), [])
    ids = table["participant_id"].to_numpy()
    fold = split_participants(ids, FOLDS, number, table["group"].tolist())
    plan = make_plan(ids, fold, latent_dim=scenario.latent_dim, **CELLS[cell].plan)
    every = [
        cross_fit_one(volumes, ids, fold, held, plan, seed=number, device=device, n_threads=1)
        for held in (None, *range(FOLDS))
    ]
    arrays = collect(every[0][0], [products for products, _ in every[1:]])
    weights = region_weights(grid, maps["labels"], bank.regions["index"].to_numpy())
    models = [fitted.model for _, fitted in every[1:]]
    arrays["observed"], arrays["reconstructed"] = sum_regions(models, volumes, fold, weights)
    arrays["coordinates"] = coordinates
    arrays["prior"] = np.array([model.linear.prior for model in models])
    return {name: arrays[name].astype(np.float32) for name in KEPT}


def read_trained(file: Path, cell: str, number: int, relabel: int = 0) -> tuple[Study, dict[str, float]]:
    """The study of a file of ``--train``, and the shares of variance explained and of networks given an epoch.

    Explained by the network, by the linear path with its prior, and by ordinary principal components.

    Groups are dealt out anew within the folds where ``relabel`` is not 0: the networks were told nothing of the groups
    but how many of each a fold has.
    """
    scenario = CELLS[cell].scenario
    bank = load_bank()
    table, coordinates = draw_study(bank, number, scenario)
    with np.load(file) as stored:
        arrays = {name: stored[name].astype(float) for name in stored.files}
    if not np.allclose(arrays["coordinates"], coordinates, rtol=1e-4, atol=1e-4):
        raise SystemExit(f"{file}: its cohort is another one than is drawn here")
    arrays["fold"] = arrays["fold"].astype(int)
    if relabel:
        rng = np.random.default_rng([number, relabel])
        table["group"] = table.groupby(arrays["fold"])["group"].transform(lambda labels: rng.permutation(labels))
    questions = build_questions(table, design_of(scenario))
    sums = arrays["observed"], arrays["reconstructed"]
    study = build_study(table[["participant_id"]], bank.regions, questions, arrays, sums[0], sums)
    models = {"explained": "ev_ae", "linear": "ev_linear", "ordinary": "ev_pca"}
    shares = {name: float(arrays[key].mean()) for name, key in models.items()}
    return study, shares | {"trained": float((arrays["epochs"] > 0).mean())}


def judge_one(job: tuple) -> tuple[str, int, dict[str, float], dict[str, float] | None]:
    """What is supported of a trained study, and of principal components of the same cohort (as labelled at first)."""
    cell, number, file, relabel = job
    from bids_app.planning.power import judge_study, simulate  # not needed, and slow, where networks are trained

    warnings.simplefilter("ignore")
    scenario = CELLS[cell].scenario
    study, shares = read_trained(file, cell, number, relabel)
    found = judge_study(study, number + 100_000 * relabel, scenario) | shares
    return cell, number, found, None if relabel else simulate(number, scenario)


def table(judged: list[tuple]) -> str:
    """Markdown: percent of studies in which a claim is supported; that of principal components in brackets."""
    from bids_app.planning.power import TITLES

    heads = ["separation", "beats covariates", "regions kept", "single regions", "regions found", "kept"]
    columns = [*TITLES, "planted differ", "planted kept"]
    models = ["variance explained", "by its linear path", "by ordinary components", "folds trained"]
    lines = ["| cohort, latents | " + " | ".join([*models, *heads]) + " | studies |"]
    lines.append("|" + "---|" * (len(models) + len(heads) + 2))
    for cell, (latents, scenario, *_) in CELLS.items():
        for again in (False, True):
            mine = [one for one in judged if one[0] == cell and (one[3] is None) == again]
            if not mine:
                continue
            people = len({number for _, number, *_ in mine})
            what = f"{scenario.effect_sd:g} SD {scenario.pattern}" if scenario.effect_sd else f"SD {scenario.spread:g}"
            name = f"{' + '.join(map(str, scenario.sizes))}, {what}{', labels dealt out anew' if again else ''}"
            shares = [
                100 * np.mean([one[2][k] for one in mine]) for k in ("explained", "linear", "ordinary", "trained")
            ]
            row = [f"{name}: {latents}", *(f"{share:.0f}" for share in shares)]
            for column in columns:
                if column not in mine[0][2]:
                    row.append("")
                    continue
                own, other = ([one[place][column] for one in mine if one[place]] for place in (2, 3))
                digits = 1 if column in TITLES else 0
                text = mean_of(own, [one[1] for one in mine], digits)
                row.append(text + (f" ({100 * np.mean(other):.{digits}f})" if other else ""))
            number = f"{len(mine)} of {people} cohorts" if again else str(people)
            lines.append("| " + " | ".join([*row, number]) + " |")
    return "\n".join(lines) + "\n"


def mean_of(values: list[float], cohort: list[int], digits: int) -> str:
    """Percent and its standard error: that of means over cohorts, and binomial where values are 0 and 1, if larger."""
    from bids_app.planning.power import share_error

    p = float(np.mean(values))
    each = pd.Series(values).groupby(cohort).mean()
    error = float(each.std() / np.sqrt(len(each))) if len(each) > 1 else 0.0
    if set(values) <= {0.0, 1.0}:
        error = max(error, share_error(p, len(values)))
    return f"{100 * p:.{digits}f} ± {100 * error:.{digits}f}"


def judge_all(args: argparse.Namespace, pool: Pool) -> None:
    """Judge all files of ``--studies``, print the table and write it where asked."""
    from calibration import write_page
    from tqdm import tqdm

    jobs = []
    if args.write and (lacking := [cell for cell in CELLS if not [*args.studies.glob(f"{cell}-*.npz")]]):
        raise SystemExit(f"nothing is written: no study of {', '.join(lacking)} in {args.studies}")
    for cell in CELLS if args.write else args.cells:
        again = range(1, args.relabel + 1) if CELLS[cell].relabelled else ()
        for file in sorted(args.studies.glob(f"{cell}-*.npz")):
            jobs += [(cell, int(file.stem.rpartition("-")[2]), file, relabel) for relabel in (0, *again)]
    judged = list(tqdm(pool.imap_unordered(judge_one, jobs), total=len(jobs), unit="study", disable=None))
    text = table(judged)
    print(text)
    priors = [np.load(file)["prior"] for file in sorted(args.studies.glob("prior-*.npz"))]
    if priors:
        strongest = np.mean(np.concatenate(priors) == (MIRROR_WEIGHTS[-1], SMOOTHING[-1]), axis=0)
        print(f"folds with the strongest prior: symmetry {strongest[0]:.0%}, smoothing {strongest[1]:.0%}")
    if args.write:
        write_page(args.write, text, "networks")


def train(args: argparse.Namespace, pool: Pool) -> None:
    """Train the studies that are not there."""
    if not args.maps.exists():
        prepare(args.bank, args.maps)
    args.studies.mkdir(parents=True, exist_ok=True)
    deadline, jobs = time.time() + 60 * args.minutes, []
    for turn in range(args.first, args.first + args.turns):
        for cell in args.cells:
            share = CELLS[cell].often
            numbers = range(turn * share, (turn + 1) * share)
            jobs += [(cell, n, args.maps, args.studies, args.device, deadline) for n in numbers]
    jobs = [job for job in jobs if not (args.studies / f"{job[0]}-{job[1]:04d}.npz").exists()]
    failed = 0
    for line, ok in pool.imap_unordered(train_one, jobs):
        failed += not ok
        if line:
            print(line, flush=True)
    if failed:
        raise SystemExit(f"{failed} studies failed")


def main() -> None:
    """Train what is asked for, or judge what was trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train networks; without, judge and print tables")
    parser.add_argument("--studies", type=Path, default=Path("work/networks"), help="folder of trained studies")
    parser.add_argument("--bank", type=Path, default=Path("work/bank.npz"), help="made by tools/planning_bank.py")
    parser.add_argument("--maps", type=Path, default=Path("work/networks-maps.npz"), help="made from --bank if absent")
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--turns", type=int, default=100, help="how many times all cells are gone through")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no study after so long")
    parser.add_argument("--first", type=int, default=0, help="number of the first turn")
    parser.add_argument("--relabel", type=int, default=20, help="further null studies of each cohort of the null cells")
    parser.add_argument("--write", type=Path, help="page with the marks <!-- networks --> and <!-- end -->")
    args = parser.parse_args()
    # Read by the workers, which start afresh: one thread each.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with get_context("spawn").Pool(args.processes) as pool:
        if args.train:
            train(args, pool)
        else:
            judge_all(args, pool)


if __name__ == "__main__":
    main()
