"""False-positive rates under the null and power under planted effects, for every claim of the group level.

    python benchmarks/calibration.py --simulations 200 --out calibration.json

A simulated cohort has six sources, of which the latents and the regions are noisy mixtures. Under the null the groups
differ in none of them. With a confound, age differs between the groups by one standard deviation and drives every
source, and age is given as a covariate. With an effect of so many standard deviations, the groups differ in one source,
which a tenth of the regions carry, and the reconstruction error depends on one of these regions.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from bids_app.group.baselines import baselines
from bids_app.group.claims import ERROR_CLAIM
from bids_app.group.design import build_contrasts, build_covariates
from bids_app.group.explain import explain
from bids_app.group.lrcp import lrcp
from bids_app.group.sam import sam
from bids_app.group.validate import validate
from bids_app.group.verdicts import SUPPORTED, WORST_CASE, verdicts

SOURCES = 6


def simulate(
    rng, n: int, latents: int, regions: int, effect: float, confound: bool, folds: int = 5, share: float = 0.5
):
    """One cohort: a table and the arrays that the group level works on; the first tenth of the regions is planted."""
    group = np.zeros(n, int)
    group[rng.permutation(n)[: round(n * share)]] = 1
    age = rng.normal(size=n) + (group if confound else 0)
    source = rng.normal(size=(n, SOURCES)) + 0.8 * age[:, None]
    source[:, 0] -= effect * group
    Z = source @ rng.normal(size=(SOURCES, latents)) + 0.5 * rng.normal(size=(n, latents))
    Zf = np.stack([Z @ stats.ortho_group.rvs(latents, random_state=rng) for _ in range(folds)])
    planted = np.arange(regions) < max(1, regions // 10)
    loading = rng.integers(1, SOURCES, regions)
    loading[planted] = 0
    G = 10 + source[:, loading] + rng.normal(size=(n, regions))
    err = 1 + 0.3 * rng.normal(size=n) + 0.3 * age - 0.2 * effect * G[:, 0]
    table = pd.DataFrame(
        {"participant_id": [f"sub-{i:04d}" for i in range(n)], "group": np.where(group, "case", "control"), "age": age}
    )
    return table, Z, Zf, G, err, np.arange(n) % folds, planted


def analyse(rng, n, latents, regions, effect, confound, permutations, share, with_error=True) -> dict:
    """Verdicts, strict bounds and the recovery of the planted regions in one cohort."""
    table, Z, Zf, G, err, fold, planted = simulate(rng, n, latents, regions, effect, confound, share=share)
    names = pd.DataFrame({"index": np.arange(1, regions + 1), "name": [f"R{i}" for i in range(1, regions + 1)]})
    who = table["participant_id"].to_numpy()
    contrasts, covariates = build_contrasts(table, "group"), build_covariates(table, ["age"])
    seed = int(rng.integers(2**31))
    common = {"n_permutations": permutations, "seed": seed}
    profile = lrcp(Z, Zf, fold, G, names, contrasts, covariates, who, n_bootstrap=5, **common).regions
    explained = explain(err, G, names, fold, covariates, who, n_bootstrap=50, **common) if with_error else None
    mapped = sam(G, names, contrasts, covariates, fold, who, **common)
    tables = {"lrcp_regions": profile, "sam_regions": mapped}
    validation = validate(Z, Zf, fold, contrasts, covariates, who, explained=explained, **tables, **common)
    compared = baselines(Z, Zf, None, None, G, fold, contrasts, covariates, who)
    graded = verdicts(validation, compared, contrasts, covariate_names=("age",), **tables)
    out = {}
    for label, verdict in zip(_labels(graded["claim"]), graded["verdict"], strict=True):
        out[f"{label}: supported"] = verdict in (SUPPORTED, WORST_CASE)
        out[f"{label}: worst case"] = verdict == WORST_CASE
    bounds = validation.dropna(subset=["bound"])
    for label, method, below in zip(
        _labels(bounds["claim"]), bounds["method"], bounds["bound"] < bounds["chance"], strict=True
    ):
        out[f"{label}: bound {method}"] = bool(below)
    if effect:
        group = table["group"] == "case"
        t = np.abs(stats.ttest_ind(G[group], G[~group]).statistic)
        scores = {
            "lrcp": profile["lrcp"],
            "encoded signal auc": profile["auc"],
            "sam": -mapped["error"],
            "t test": t,
        }
        if explained is not None:
            scores["shap"] = explained.regions["mean_abs_shap"]
        k = int(planted.sum())
        for name, score in scores.items():
            score = np.asarray(score, float)
            truth = planted if name != "shap" else np.arange(regions) == 0
            top = np.argsort(-score)[: k if name != "shap" else 1]
            out[f"recovery auroc: {name}"] = float(roc_auc_score(truth, score))
            out[f"recovery precision: {name}"] = float(truth[top].mean())
    return out


def _labels(names) -> list[str]:
    """Short names of the claims, the same for all contrasts."""
    short = {
        "The latent space separates": "separation",
        "The latent space beats": "beats covariates",
        "Regions carried": "lrcp",
        "Single regions": "sam",
        ERROR_CLAIM: "error",
    }
    return [next(label for start, label in short.items() if name.startswith(start)) for name in names]


def main() -> None:
    """Run the grid and write a JSON file and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument("--effects", type=float, nargs="+", default=[0.0])
    parser.add_argument("--confound", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--share", type=float, default=0.5, help="share of the first group")
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--regions", type=int, default=40)
    parser.add_argument("--without-error", action="store_true", help="leave the (slow) SHAP regression out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("calibration.json"))
    args = parser.parse_args()
    rows = []
    for n, effect, confound in product(args.participants, args.effects, args.confound):
        started = time.perf_counter()
        rng = np.random.default_rng([args.seed, n, int(100 * effect), confound])
        found = [
            analyse(
                rng,
                n,
                args.latents,
                args.regions,
                effect,
                bool(confound),
                args.permutations,
                args.share,
                not args.without_error,
            )
            for _ in range(args.simulations)
        ]
        for name in sorted({key for one in found for key in one}):
            values = np.array([one[name] for one in found if name in one], float)
            if name.startswith("recovery"):
                low, high = np.quantile(values, [0.025, 0.975])
            else:
                low, high = stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
            rows.append(
                {"n": n, "effect": effect, "confound": confound, "what": name, "value": values.mean()}
                | {"low": low, "high": high, "simulations": len(values)}
            )
        seconds = time.perf_counter() - started
        print(f"n={n} effect={effect} confound={confound}: {seconds:.0f} s", flush=True)
        # Written after every cell: an interrupted run keeps what it has.
        args.out.write_text(json.dumps({"settings": vars(args) | {"out": str(args.out)}, "results": rows}, indent=1))
    wide = pd.DataFrame(rows).pivot_table(index="what", columns=["n", "effect", "confound"], values="value")
    print(wide.round(3).to_string())


if __name__ == "__main__":
    main()
