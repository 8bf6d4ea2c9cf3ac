"""Which score finds planted regions: the profile's candidates beside the plain |t|, with latents learnt from maps.

    python benchmarks/recovery.py --bank bank.npz --cohorts 20 --minutes 10 --out recovery.json

A bank of simulated grey-matter maps (4 mm, no group effect) is made once; cohorts are drawn from it without
replacement. Patients lose a share of the grey matter of some regions, each of them a little more or less; maps are then
smoothed by 8 mm, and the linear path (ordinary components) is learnt in every fold and in full, with the K that the
plan takes. Age, sex and intracranial volume are covariates. Patterns:

- scattered: 8 regions anywhere;
- medial temporal: hippocampus, amygdala, parahippocampal gyrus and precuneus of both sides, as in the demonstration;
- widespread: 40 regions, each losing a third of that.

AUROC of each score for planted regions against all others. Regions beside a planted one get some of the loss through
smoothing and count as others: no score reaches 1 where the effect is large.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from bank import PATTERNS, learn, make_bank, maps_of, pick, read_bank, region_sums
from sklearn.metrics import roc_auc_score

from bids_app.group.kept import explained
from bids_app.model.cross_fitting import split_participants
from bids_app.model.plan import make_plan
from bids_app.stats.association import associate
from bids_app.stats.discriminability import signed_discriminability
from bids_app.stats.linear import residualise
from bids_app.stats.studentised import studentised_test


def scores(maps: np.ndarray, bank: dict, y: np.ndarray, c: np.ndarray, k: int, seed: int) -> dict[str, np.ndarray]:
    """Every candidate, (R,) each; larger is more."""
    n = len(y)
    regions = region_sums(maps, bank)
    gram = (maps @ maps.T).astype(float)
    fold = split_participants(np.arange(n), 5, seed, strata=y)
    reconstructed = np.zeros(regions.shape)
    for f in range(5):
        reconstructed[fold == f] = learn(gram, regions, np.flatnonzero(fold != f), k)[1][fold == f]
    latents = learn(gram, regions, np.arange(n), k)[0]
    z, g = residualise(latents, c), residualise(regions, c)
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    white = u[:, s > 1e-6 * s.max()]
    rho = (g / np.linalg.norm(g, axis=0)).T @ white
    found = associate(regions, latents, c, n_permutations=199, seed=seed)
    distinct = np.abs(signed_discriminability(z, y, "groups"))
    few = {"n_permutations": 1, "seed": seed}
    observed, kept = studentised_test(regions, y, c, **few), studentised_test(reconstructed, y, c, **few)
    spread = residualise(regions, np.column_stack([c, y])).std(axis=0)
    return {
        "|t|": np.abs(observed.t),
        "present score": np.abs(rho @ signed_discriminability(white, y, "groups")),
        "literal": np.where(found.p_fwe <= 0.05, np.abs(found.rho), 0.0) @ distinct,
        "literal, squared": np.where(found.p_fwe <= 0.05, found.rho**2, 0.0) @ distinct,
        "literal, no threshold": np.abs(found.rho) @ distinct,
        "|difference| in ml": np.abs(observed.slope),
        "|kept| in ml": np.abs(kept.slope),
        "|kept| in SD": np.abs(kept.slope) / spread,
        "|kept|, robust t": np.abs(kept.t),
        "r2 (no labels)": explained(regions, reconstructed, c),
    }


def main() -> None:
    """Make the bank if it is not there, run the cells in turns, print means and paired differences, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, default=Path("bank.npz"))
    parser.add_argument("--bank-size", type=int, default=600)
    parser.add_argument("--participants", type=int, nargs="+", default=[30, 60, 150, 300])
    parser.add_argument("--losses", type=float, nargs="+", default=[0.1])
    parser.add_argument("--latents", type=int, default=64, help="asked for; the plan takes fewer where there are few")
    parser.add_argument("--share", type=float, default=0.5, help="of patients")
    parser.add_argument("--cohorts", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no cohort after so long")
    parser.add_argument("--out", type=Path, default=Path("recovery.json"))
    args = parser.parse_args()
    logging.getLogger("latentatlas").setLevel(logging.ERROR)  # the plan says every time that it takes fewer latents
    if not args.bank.exists():
        make_bank(args.bank, args.bank_size, 1)
    bank, found, started = read_bank(args.bank), [], time.time()
    cells = list(product(args.participants, PATTERNS, args.losses))
    for number, (n, pattern, loss) in product(range(args.cohorts), cells):
        if time.time() - started > 60 * args.minutes:
            break
        rng = np.random.default_rng([number, n, PATTERNS.index(pattern), int(1000 * loss)])
        rows = rng.choice(len(bank["age"]), n, replace=False)
        y = (np.arange(n) < round(args.share * n)).astype(float)
        planted = pick(rng, bank, pattern, loss)
        maps = maps_of(rng, bank, rows, y, planted)
        c = np.column_stack([bank[name][rows] for name in ("age", "sex", "tiv")])
        plan = make_plan(np.arange(n), split_participants(np.arange(n), 5, number, strata=y), latent_dim=args.latents)
        each = scores(maps, bank, y, c, plan.latent_dim, number)
        area = {name: roc_auc_score(planted > 0, value) for name, value in each.items()}
        found.append({"n": n, "latents": plan.latent_dim, "pattern": pattern, "loss": loss} | area)
    table = pd.DataFrame(found)
    args.out.write_text(json.dumps(found, indent=1))
    keys = ["pattern", "loss", "n", "latents"]
    print(table.groupby(keys).mean().round(3).assign(cohorts=table.groupby(keys).size()).T.to_string())
    names = [name for name in table.columns if name not in keys]
    less = table[names].sub(table["|t|"], axis=0).join(table[keys])
    print("\nless |t|, and the standard error of the mean of the pairs")
    print(
        (
            less.groupby(keys).mean().round(3).astype(str) + " ± " + less.groupby(keys).sem().round(3).astype(str)
        ).T.to_string()
    )
    print(f"{len(found)} cohorts in {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
