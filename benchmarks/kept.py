"""Labels of regions where it is known what the latents hold: shares of each label, by size of cohort and latents.

    python benchmarks/kept.py --cohorts 20 --out kept.json

40 regions follow six sources; ages differ and are a covariate. The latents, of K = 2, 8, as many as the plan takes, and
n - 2, are decoded into regions by ridge, held out. They are

- noise: independent of everything, while four regions differ between the groups;
- group: they know who belongs to which group and nothing else; the same four regions differ;
- group and all: the group, and what all regions share;
- local: they hold the sources, while four regions differ by something of their own;
- spread: they hold the sources, and the groups differ in one of them, which ten regions follow.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from bids_app.group.kept import decode_regions, split_differences
from bids_app.schema.labels import CARRIED_ONLY, KEPT, LABELS, NEITHER, PARTLY

KINDS = ("noise", "group", "group and all", "local", "spread")
REGIONS, SOURCES, FOLDS = 40, 6, 5


def planned(n: int) -> int:
    """Latents that the plan takes for n participants, of 64 asked for."""
    return min(64, int(0.8 * int(0.8 * n)) - 1)


def cohort(kind: str, n: int, latents: int, seed: int, errors: float = 6.0, share: float = 0.5) -> SimpleNamespace:
    """Observed and reconstructed regions (n, R), ``y, age``, the planted regions and the shared part.

    Planted differences are so many standard errors of a difference of means large.
    """
    rng = np.random.default_rng([seed, n, latents, KINDS.index(kind)])
    y = np.zeros(n)
    y[rng.permutation(n)[: round(n * share)]] = 1
    effect = errors / np.sqrt(n * share * (1 - share))
    age = rng.normal(size=n)
    sources = rng.normal(size=(n, SOURCES)) + 0.5 * age[:, None]
    follows = rng.integers(0, SOURCES, REGIONS)
    follows[:10] = 0
    planted = follows == 0 if kind == "spread" else np.arange(REGIONS) < 4
    if kind == "spread":
        sources[:, 0] -= effect * y
    common = rng.normal(size=n) if kind == "group and all" else np.zeros(n)
    regions = 20 + sources[:, follows] + 0.6 * rng.normal(size=(n, REGIONS)) + common[:, None]
    if kind != "spread":
        regions[:, planted] -= 1.17 * effect * y[:, None]
    z = rng.normal(size=(n, latents))
    if kind != "noise":
        z *= 0.3
    if kind in ("local", "spread"):
        z[:, : min(latents, SOURCES)] += sources[:, : min(latents, SOURCES)]
    if kind.startswith("group"):
        z += y[:, None] * rng.choice([-1.0, 1.0], latents) + 2 * common[:, None] * rng.normal(size=latents)
    fold, order = np.empty(n, int), rng.permutation(n)
    fold[order[np.argsort(y[order], kind="stable")]] = np.arange(n) % FOLDS
    return SimpleNamespace(
        observed=regions,
        reconstructed=decode_regions(z, regions, fold),
        latents=z,
        y=y,
        age=age[:, None],
        fold=fold,
        planted=planted,
    )


def main() -> None:
    """Run the grid, print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=20)
    parser.add_argument("--participants", type=int, nargs="+", default=[30, 60, 150, 600])
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cell after so long")
    parser.add_argument("--out", type=Path, default=Path("kept.json"))
    args = parser.parse_args()
    rows, started = [], time.time()
    for n, kind in product(args.participants, KINDS):
        for latents in sorted({2, 8, planned(n), n - 2}):
            if time.time() - started > 60 * args.minutes:
                break
            found = []
            for seed in range(args.cohorts):
                one = cohort(kind, n, latents, seed)
                options = {"n_permutations": args.permutations, "n_bootstrap": 200, "seed": seed}
                table = split_differences(one.observed, one.reconstructed, one.y, one.age, **options)
                label, planted = table["label"], one.planted
                found.append(
                    {name: (label[planted] == name).mean() for name in LABELS}
                    | {
                        "share": table["kept_share"][planted].mean(),
                        "r2_within": table["r2_within"].mean(),
                        "unplanted differ": (~label[~planted].isin([NEITHER, CARRIED_ONLY])).any(),
                        "any kept": label.isin([KEPT, PARTLY]).any(),
                        "any carried": label.isin([KEPT, PARTLY, CARRIED_ONLY]).any(),
                    }
                )
            rows.append({"n": n, "latents": latents, "kind": kind} | pd.DataFrame(found).mean().to_dict())
    args.out.write_text(json.dumps(rows, indent=1))
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
