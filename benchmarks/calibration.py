"""False positives under the null, power and recovery under planted effects, for every claim of the group level.

    python benchmarks/calibration.py --cohorts 200 50 --jobs 16 --minutes 10 --out calibration.json

A simulated cohort has six sources, of which latents and regions are noisy mixtures; age is always a covariate. With an
effect of so many standard deviations the groups differ in one source, which a tenth of the regions carry, and the
reconstruction error rises where these regions are small. Conditions:

- none: age and site play no part;
- age: it differs between the groups by one standard deviation and drives every source and the error;
- site: 70 % of the cases and 30 % of the controls come from a scanner that shifts every latent, region and error by
  about one standard deviation and spreads them 1.4 times as wide; the site is a covariate;
- combat: the same, harmonised by ComBat within the folds;
- three: three groups of equal size in place of two, hence three contrasts; age as in none. "anything" is what a reader
  of the page sees: a claim of any kind and contrast. For the family-wise levels:

    python benchmarks/calibration.py --null-conditions three --null-participants 60 --participants --cohorts 400 1

Cohorts are taken in turns from all cells, so that a run that reaches its time limit has something of each. What is
done is kept in a file beside ``--out`` (``.jsonl``), and a second run with the same settings goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections import defaultdict
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from bids_app.group.baselines import baselines
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.explain import explain
from bids_app.group.harmonise import build_sites, harmonise
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.settings import AnalysisSettings
from bids_app.group.study import Features, Study
from bids_app.group.validate import validate
from bids_app.group.verdicts import SUPPORTED, WORST_CASE, verdicts
from bids_app.schema import claims
from bids_app.stats.linear import residualise

SOURCES, FOLDS = 6, 5
CONDITIONS = ("none", "age", "site", "combat", "three")


def simulate(
    rng, n: int, latents: int, regions: int, effect: float, condition: str, share: float = 0.5, spread: float = 1.0
) -> dict:
    """One cohort: a table and the arrays that the group level works on; the first tenth of the regions is planted."""
    group = np.zeros(n, int)
    group[rng.permutation(n)[: round(n * share)]] = 1
    names = np.where(group, "case", "control")
    if condition == "three":
        names = rng.permutation(np.resize(["case", "control", "other"], n))
        group = (names == "case").astype(int)
    age = rng.normal(size=n) + (group if condition == "age" else 0)
    wide = np.where(group == 1, spread, 1.0)[:, None]
    source = wide * rng.normal(size=(n, SOURCES)) + 0.8 * age[:, None]
    source[:, 0] -= effect * group
    planted = np.arange(regions) < max(1, regions // 10)
    loading = rng.integers(1, SOURCES, regions)
    loading[planted] = 0
    G = source[:, loading] + wide * rng.normal(size=(n, regions))
    Z = source @ rng.normal(size=(SOURCES, latents)) + 0.5 * wide * rng.normal(size=(n, latents))
    err = 0.3 * rng.normal(size=n) + 0.3 * age - 0.2 * effect * G[:, planted].mean(axis=1)
    site = (rng.random(n) < np.where(group == 1, 0.7, 0.3)).astype(int)
    if condition in ("site", "combat"):
        # Everyone from one scanner would be no confound: the first two of each group come from both.
        for value in (0, 1):
            site[np.flatnonzero(group == value)[:2]] = 0, 1
        by_site = np.where(site == 1, 1.4, 1.0)
        G, Z = (x * by_site[:, None] + site[:, None] * x.std(axis=0) * rng.normal(size=x.shape[1]) for x in (G, Z))
        err = err * by_site + site * err.std()
    return {
        "table": pd.DataFrame(
            {
                "participant_id": [f"sub-{i:04d}" for i in range(n)],
                "group": names,
                "age": age,
                "site": np.where(site, "b", "a"),
            }
        ),
        "Z": Z,
        "Zf": np.stack([Z @ stats.ortho_group.rvs(latents, random_state=rng) for _ in range(FOLDS)]),
        "G": 10 + G,
        "err": 1 + err,
        "fold": np.arange(n) % FOLDS,
        "planted": planted,
    }


def analyse(
    rng, n, effect, condition, *, latents, regions, permutations, share=0.5, spread=1.0, with_error=True
) -> dict:
    """Verdicts, bounds and the recovery of the planted regions in one cohort."""
    cohort = simulate(rng, n, latents, regions, effect, condition, share, spread)
    table, Z, Zf, G, err, fold, planted = cohort.values()
    names = pd.DataFrame({"index": np.arange(1, regions + 1), "name": [f"R{i}" for i in range(1, regions + 1)]})
    contrasts, seed = tuple(build_contrasts(table, "group")), int(rng.integers(2**31))
    removed = ["age", "site"] if condition in ("site", "combat") else ["age"]
    covariates, latents_made, regional = build_covariates(table, removed), Features(Z, Zf), Features(G)
    if condition == "combat":
        site, preserved = build_sites(table, "site"), build_covariates(table, ["age"]).matrix
        latents_made = Features(*harmonise(Z, site, preserved, fold, by_fold=Zf))
        regional = Features(*harmonise(G, site, preserved, fold))
    scans, blocks = table[["participant_id"]], table["site"].to_numpy(str) if len(removed) > 1 else None
    study = Study(scans, names, fold, err, latents_made, Features(Z, Zf), None, regional, contrasts, covariates,
                  blocks=blocks)  # fmt: skip
    settings = AnalysisSettings(permutations, seed=seed, n_rank_samples=5, n_interval_samples=50)
    profile = lrcp(study, settings).regions
    explained = explain(study, settings) if with_error else None
    mapped = sam(study, settings)
    tables = {"lrcp_regions": profile, "sam_regions": mapped}
    relation = None if explained is None else explained.relation
    validation = validate(study, settings, relation=relation, **tables)
    graded = verdicts(validation, baselines(study, settings), contrasts, covariate_names=covariates.names, **tables)
    out = defaultdict(bool)  # of several contrasts: in any of them
    for label, verdict in zip(_labels(graded["claim_id"]), graded["verdict"], strict=True):
        for name in (label, "anything"):
            out[f"{name}: supported"] |= verdict in (SUPPORTED, WORST_CASE)
            out[f"{name}: worst case"] |= verdict == WORST_CASE
    bounds = validation.dropna(subset=["bound"])
    below = bounds["bound"] < bounds["chance"]
    for label, method, claimed in zip(_labels(bounds["claim_id"]), bounds["method"], below, strict=True):
        out[f"{label}: bound {method}"] |= bool(claimed)
    if effect:
        y, g = (residualise(x, covariates.matrix) for x in (contrasts[0].y, regional.full))
        scores = {
            "LRCP": profile["lrcp"],
            "encoded signal": profile["auc"],
            "SAM": -mapped["error"].astype(float),
            "t test": np.abs(y @ g) / np.linalg.norm(g, axis=0),
        }
        if explained is not None:
            scores["SHAP"] = explained.regions["mean_abs_shap"]
        for name, score in scores.items():
            top = np.argsort(-np.asarray(score, float))[: planted.sum()]
            out[f"recovery, AUROC: {name}"] = float(roc_auc_score(planted, score))
            out[f"recovery, precision at k: {name}"] = float(planted[top].mean())
    return dict(out)


def _labels(claim_ids) -> list[str]:
    """Short names of the claims, the same for all contrasts."""
    short = {
        claims.SEPARATION.id: "separation",
        claims.BEATS_COVARIATES.id: "beats covariates",
        claims.REGIONS_CARRIED.id: "LRCP",
        claims.SINGLE_REGIONS.id: "SAM",
        claims.ERROR_EXPLAINED.id: "error",
    }
    return [short[claim_id] for claim_id in claim_ids]


def run_one(job: tuple) -> tuple[tuple, int, dict | None]:
    """One cohort of one cell; None where the time is up or something broke (said once, on the standard output)."""
    cell, number, settings, deadline = job
    if time.time() > deadline:
        return cell, number, None
    n, effect, condition = cell
    rng = np.random.default_rng([settings["seed"], n, int(100 * effect), CONDITIONS.index(condition), number])
    try:
        more = {k: v for k, v in settings.items() if k != "seed"}
        return cell, number, analyse(rng, n, effect, condition, **more)
    except Exception:
        print(cell, number, traceback.format_exc(limit=3), flush=True)
        return cell, number, None


def read_log(path: Path, settings: dict) -> tuple[dict[tuple, list[dict]], set[tuple]]:
    """What an earlier run with the same settings has found: cohorts by cell, and which they are."""
    found, known = defaultdict(list), set()
    for line in path.read_text().splitlines() if path.exists() else ():
        made, cell, number, result = json.loads(line)
        if made == settings:
            found[tuple(cell)].append(result)
            known.add((tuple(cell), number))
    return found, known


def summarise(found: dict[tuple, list[dict]]) -> list[dict]:
    """One row a cell and quantity: share of cohorts with its Wilson interval, or the mean with its central 95 %."""
    rows = []
    for (n, effect, condition), cohorts in found.items():
        for what in sorted({key for one in cohorts for key in one}):
            values = np.array([one[what] for one in cohorts if what in one], float)
            if what.startswith("recovery"):
                low, high = np.quantile(values, [0.025, 0.975])
            else:
                low, high = stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
            rows.append(
                {"n": n, "effect": effect, "condition": condition, "what": what, "value": values.mean()}
                | {"low": low, "high": high, "cohorts": len(values)}
            )
    return rows


def main() -> None:
    """Run the cells and write a JSON file and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null-participants", type=int, nargs="*", default=[30, 100, 300])
    parser.add_argument("--null-conditions", nargs="+", default=CONDITIONS, choices=CONDITIONS)
    parser.add_argument("--participants", type=int, nargs="*", default=[30, 60, 100, 200, 300])
    parser.add_argument("--effects", type=float, nargs="+", default=[0.5, 1.0, 2.0, 3.0])
    parser.add_argument("--conditions", nargs="+", default=["none"], choices=CONDITIONS, help="of the planted effects")
    parser.add_argument("--cohorts", type=int, nargs=2, default=[200, 50], help="of a null cell, of the others")
    parser.add_argument("--share", type=float, default=0.5, help="share of the cases")
    parser.add_argument("--spread", type=float, default=1.0, help="of the cases, the controls' being 1")
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--regions", type=int, default=40)
    parser.add_argument("--without-error", action="store_true", help="leave the (slow) SHAP regression out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cohort after so long")
    parser.add_argument("--out", type=Path, default=Path("calibration.json"))
    args = parser.parse_args()
    settings = {
        "latents": args.latents,
        "regions": args.regions,
        "permutations": args.permutations,
        "share": args.share,
        **({"spread": args.spread} if args.spread != 1 else {}),
        "with_error": not args.without_error,
        "seed": args.seed,
    }
    null = list(product(args.null_participants, [0.0], args.null_conditions))
    wanted = dict.fromkeys(null, args.cohorts[0])
    wanted |= dict.fromkeys(product(args.participants, args.effects, args.conditions), args.cohorts[1])
    log = args.out.with_suffix(".jsonl")
    found, known = read_log(log, settings)
    started = time.time()
    # Turn by turn: after half of the time every cell has half of its cohorts.
    turns = sorted(((i + 1) / total, cell, i) for cell, total in wanted.items() for i in range(total))
    deadline = started + 60 * args.minutes
    jobs = [(cell, i, settings, deadline) for _, cell, i in turns if (cell, i) not in known]
    # Read by the workers, which start afresh: one thread each.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with get_context("spawn").Pool(args.jobs) as pool, log.open("a") as lines:
        for cell, number, result in pool.imap_unordered(run_one, jobs):
            if result is not None:
                found[cell].append(result)
                print(json.dumps([settings, cell, number, result]), file=lines, flush=True)
    rows = summarise(dict(sorted(found.items())))
    args.out.write_text(json.dumps({"settings": settings, "results": rows}, indent=1))
    done = sum(map(len, found.values()))
    print(f"{done} of {len(turns)} cohorts, {len(jobs)} asked of this run, in {time.time() - started:.0f} s")
    if rows:
        wide = pd.DataFrame(rows).pivot_table(index="what", columns=["condition", "n", "effect"], values="value")
        print(wide.round(3).to_string())


if __name__ == "__main__":
    main()
