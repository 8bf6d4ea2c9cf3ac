"""Level and power of the tests of separation and of single regions where groups differ in size and spread.

    python benchmarks/nulls.py --cohorts 400 --minutes 20 --out nulls.json

No means differ in the cells of level; age is a covariate in all. Regions (half of their variance shared, or none) and
latents are normal, long-tailed (t with 5 degrees of freedom) or skewed (gamma of shape 4, skewness 1); patients have
so many times the spread of controls. With ``site``, two sites are dealt out unevenly, and the spread belongs to the
site: patients have it by being scanned there. In the cells of power one region, or one latent, differs by ``effect``.

"pooled" are the tests of version 0.4.0. Standard errors are binomial.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from bids_app.stats.crossfit import crossfit_test
from bids_app.stats.discriminability import permuted_discriminability
from bids_app.stats.permutation import max_statistic_p
from bids_app.stats.studentised import studentised_crossfit, studentised_test

SIZES = ((15, 60), (20, 100), (30, 120), (60, 240), (30, 30), (40, 40))
RATIOS = (1.0, 1.5, 2.0)
SHAPES = ("normal", "long tails", "skewed")
ALPHA, FOLDS = 0.05, 5


def noise(rng, size, shape: str) -> np.ndarray:
    """Values of mean 0 and variance 1."""
    if shape == "normal":
        return rng.normal(size=size)
    if shape == "long tails":
        return rng.standard_t(5, size=size) / np.sqrt(5 / 3)
    return (rng.gamma(4, size=size) - 4) / 2


def cohort(rng, sizes, ratio, shape, shared, columns, effect=0.0, by_site=False) -> dict:
    """One cohort: ``x`` (n, columns), ``y``, ``c`` (age[, site]), ``site``."""
    n = sum(sizes)
    y = np.repeat([1.0, 0.0], sizes)
    site = (rng.random(n) < np.where(y == 1, 0.7, 0.3)).astype(float)
    age = rng.normal(size=n)
    x = np.sqrt(shared) * noise(rng, (n, 1), shape) + np.sqrt(1 - shared) * noise(rng, (n, columns), shape)
    wide = site == 1 if by_site else y == 1
    x[wide] *= ratio
    x += 0.5 * age[:, None]
    x[:, 0] += effect * y
    if by_site:
        x += site[:, None] * rng.normal(size=columns)
    c = np.column_stack([age, site]) if by_site else age[:, None]
    return {"x": x, "y": y, "c": c, "site": site if by_site else None}


def claims(rng, cell: dict, regions: int, latents: int, permutations: int) -> dict[str, bool]:
    """Which tests claim something in one cohort of a cell."""
    seed, options = int(rng.integers(2**31)), {"n_permutations": permutations}
    base = (cell["sizes"], cell["ratio"], cell["shape"])
    out = {}
    one = cohort(rng, *base, cell["shared"], regions, cell["effect"], cell["site"])
    x, y, c = one["x"], one["y"], one["c"]
    observed, null = permuted_discriminability(x, y, "groups", c, seed=seed, **options)
    out["regions, pooled"] = max_statistic_p(observed, null).min() <= ALPHA
    for kind in ("labels", "residuals"):
        found = studentised_test(x, y, c, blocks=one["site"], null=kind, seed=seed, **options)
        out[f"regions, studentised, {kind}"] = found.p_fwe.min() <= ALPHA
    one = cohort(rng, *base, 0.0, latents, cell["effect"], cell["site"])
    x, y, c = one["x"], one["y"], one["c"]
    fold = np.empty(len(y), int)
    order = rng.permutation(len(y))
    fold[order[np.argsort(y[order], kind="stable")]] = np.arange(len(y)) % FOLDS
    out["separation, pooled"] = crossfit_test(x, y, fold, c, seed=seed, **options).p <= ALPHA
    found = studentised_crossfit(x, y, fold, c, blocks=one["site"], seed=seed, **options)
    out["separation, studentised"] = found.p <= ALPHA
    return {name: bool(value) for name, value in out.items()}


def cells(effect_sizes: bool) -> list[dict]:
    """Every cell; those of power have equal spreads, where the pooled tests keep their level."""
    found = []
    for sizes, ratio, shape in product(SIZES, RATIOS, SHAPES):
        shared = 0.5 if shape == "long tails" else 0.0
        common = {"sizes": sizes, "ratio": ratio, "shape": shape, "shared": shared}
        found.append(common | {"effect": 0.0, "site": False})
        if shape == "normal":
            found.append(common | {"shared": 0.5, "effect": 0.0, "site": True})
        if effect_sizes and ratio == 1:
            # So many standard errors of the difference of means.
            effect = 3.5 * float(np.sqrt(1 / sizes[0] + 1 / sizes[1]))
            found.append(common | {"effect": effect, "site": False})
    return found


def main() -> None:
    """Run the cells in turns, print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=400)
    parser.add_argument("--regions", type=int, default=120)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cohort after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("nulls.json"))
    args = parser.parse_args()
    wanted, started = cells(True), time.time()
    found: list[list[dict]] = [[] for _ in wanted]
    for number, (place, cell) in product(range(args.cohorts), enumerate(wanted)):
        if time.time() - started > 60 * args.minutes:
            break
        rng = np.random.default_rng([args.seed, place, number])
        found[place].append(claims(rng, cell, args.regions, args.latents, args.permutations))
    rows = []
    for cell, cohorts in zip(wanted, found, strict=True):
        if cohorts:
            rates = pd.DataFrame(cohorts).mean().to_dict()
            rows.append(cell | {"sizes": "/".join(map(str, cell["sizes"])), "cohorts": len(cohorts)} | rates)
    table = pd.DataFrame(rows)
    args.out.write_text(json.dumps(rows, indent=1))
    print(table.round(3).to_string(index=False))
    print(
        f"standard error of a level of 0.05 in {rows[0]['cohorts']} cohorts: "
        f"{np.sqrt(0.0475 / rows[0]['cohorts']):.3f}; {time.time() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
